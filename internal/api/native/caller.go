package native

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Which credential opens this door; everything else gets its plain 401, unread (rule W6):
//
//	the cookie of a session, where the request began at our own pages
//	the token of a user's session as Bearer, which outweighs a cookie
//	a personal HTTP access token as Bearer, where the operation is marked so: what is about credentials is not
//
// Sessions of applications, API keys and tokens of projects and repositories open nothing here: programs have the dialects, and nothing below acts for one.

// authenticate lets an active session of a user in, and where the operation takes it a personal token.
func (a *API) authenticate(o line) func(r *http.Request) (access.Caller, error) {
	accepts := []login.Kind{login.Session}
	if o.tokens {
		accepts = append(accepts, login.HTTPToken)
	}
	return func(r *http.Request) (access.Caller, error) { return a.caller(r, accepts) }
}

func (a *API) caller(r *http.Request, accepts []login.Kind) (access.Caller, error) {
	p := login.Presented{
		Kind: login.Session, Accepts: accepts, Door: name, Address: api.Remote(r.Context()), Request: api.RequestID(r.Context()), Certificate: certificate(r),
	}
	var ok bool
	if len(r.Header.Values("Authorization")) > 0 {
		p.Secret, ok = bearer(r)
		if token.IsAccess(p.Secret.Reveal()) {
			p.Kind = login.HTTPToken
		}
	} else {
		p.Secret, ok = a.Cookies.Read(r)
		p.Cookie = true
	}
	if !ok || !slices.Contains(accepts, p.Kind) {
		return access.Caller{}, errNoSession
	}
	by, err := a.Login.Authenticate(r.Context(), p)
	if err == nil && by.Kind != access.User {
		err = errNoSession
	}
	return by, err
}

// bearer returns the token of the one Authorization header. Two headers are none: whatever stands before us may have looked at the other one.
func bearer(r *http.Request) (secret.String, bool) {
	sent := r.Header.Values("Authorization")
	if len(sent) != 1 {
		return secret.String{}, false
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(sent[0]), " ")
	return secret.New(strings.TrimLeft(rest, " ")), strings.EqualFold(word, "Bearer")
}

// certificate is the one that the client has proved on this connection, DER; nil where it showed none.
func certificate(r *http.Request) []byte {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0].Raw
}
