package fortanix

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Which credential opens which door; everything else is refused unread (rule W6):
//
//	session/auth          a user's or an application's Basic, the certificate of the connection, or one method of the body
//	session/...           a session's token, as Bearer or cookie
//	everything else       the same, or the API key of an application by Basic
//	discover, version,
//	info, health          nothing is needed and nothing is looked at

// bySession lets a session in the given states in, an active one where none is given.
func (d *Dialect) bySession(states []session.State) func(*http.Request) (access.Caller, error) {
	return func(r *http.Request) (access.Caller, error) {
		p, ok := d.token(r)
		if !ok {
			return access.Caller{}, errNoSession
		}
		p.States = states
		return d.Login.Authenticate(r.Context(), p)
	}
}

// waiting lets a session in that waits for its second factor.
func (d *Dialect) waiting(r *http.Request) (access.Caller, error) {
	by, err := d.bySession([]session.State{session.Pending})(r)
	if errors.Is(err, session.ErrNotActive) { // which tells of one that is active already
		err = errNoFactor
	}
	return by, err
}

// bySessionOrKey lets an active session in, or an application by its API key. A user's Basic is not looked
// at: a second factor could not be asked for.
func (d *Dialect) bySessionOrKey(states []session.State) func(*http.Request) (access.Caller, error) {
	return func(r *http.Request) (access.Caller, error) {
		sent, ok := credentials(r, "Basic")
		if !ok {
			return d.bySession(states)(r)
		}
		p := d.basic(r, sent)
		if p.Kind == login.Password && p.Name != "" {
			return access.Caller{}, errNoSession
		}
		p.Kind, p.Accepts = login.AppSecret, []login.Kind{login.AppSecret} // what cannot be read is a failed attempt
		p.Certificate = nil                                                // it begins sessions, and is no API key
		return d.Login.Authenticate(r.Context(), p)
	}
}

// byAnything is bySessionOrKey for doors where presenting nothing is fine too.
func (d *Dialect) byAnything(r *http.Request) (access.Caller, error) {
	_, hasCookie := d.Cookies.Read(r)
	if len(r.Header.Values("Authorization")) == 0 && !hasCookie {
		by := access.NobodyAt(api.Remote(r.Context()), Name, d.Now())
		by.Request = api.RequestID(r.Context())
		return by, nil
	}
	return d.bySessionOrKey(nil)(r)
}

// token finds the token of a session: in the header, which wins, or in the cookie.
func (d *Dialect) token(r *http.Request) (login.Presented, bool) {
	p := d.presented(r, login.Session)
	if len(r.Header.Values("Authorization")) > 0 {
		sent, ok := credentials(r, "Bearer")
		p.Secret = secret.New(sent)
		return p, ok
	}
	sent, ok := d.Cookies.Read(r)
	p.Secret, p.Cookie = sent, true
	return p, ok
}

// presented is a credential of that kind at this door.
func (d *Dialect) presented(r *http.Request, kind login.Kind) login.Presented {
	return login.Presented{
		Kind: kind, Address: api.Remote(r.Context()), Door: Name, Accepts: []login.Kind{kind}, Request: api.RequestID(r.Context()), Certificate: certificate(r), Path: r.URL.Path,
	}
}

// certificate is the one that the client has proved on this connection, DER; nil where it showed none, or where somebody else ends TLS.
func certificate(r *http.Request) []byte {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0].Raw
}

// basic reads what follows "Basic": an application where the left part is an id, otherwise a user. What cannot be
// read is a user without a name, who is refused as everybody else is.
func (d *Dialect) basic(r *http.Request, sent string) login.Presented {
	name, password, ok := unpack(sent)
	if !ok {
		return d.presented(r, login.Password)
	}
	p := d.presented(r, login.Password)
	p.Basic = login.BasicElsewhere
	if id, isApp := wireUUID(name); isApp {
		p, name = d.presented(r, login.AppSecret), id
	}
	p.Name, p.Secret = name, secret.New(password)
	return p
}

// unpack decodes Basic: either alphabet of base64, padded or not, split at the first colon.
func unpack(sent string) (name, password string, ok bool) {
	plain, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(sent, "=")))
	if err != nil || !utf8.Valid(plain) {
		return "", "", false
	}
	name, password, ok = strings.Cut(string(plain), ":")
	return name, password, ok
}

// credentials returns what follows a scheme in the Authorization header. Two headers are none: whatever
// stands before us may have looked at the other one.
func credentials(r *http.Request, scheme string) (string, bool) {
	sent := r.Header.Values("Authorization")
	if len(sent) != 1 {
		return "", false
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(sent[0]), " ")
	return strings.TrimLeft(rest, " "), strings.EqualFold(word, scheme)
}
