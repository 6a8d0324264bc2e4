package bitbucket

import (
	"errors"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// coreCaller lets in a person by an active session or by name and password, and HTTP tokens: personal ones as Bearer or in the place of
// their owner's password, those of projects and repositories as Bearer alone. Everything else that is sent gets one answer (rule W6).
func (d *Dialect) coreCaller(r *http.Request) (access.Caller, error) {
	sent := len(r.Header.Values("Authorization")) > 0
	if _, cookie := d.Cookies.Read(r); !sent && !cookie {
		return access.Caller{}, errNobody
	}
	by, err := d.coreCredential(r)
	if errors.Is(err, errNotIn) {
		err = errCredential
	}
	return by, err
}

func (d *Dialect) coreCredential(r *http.Request) (access.Caller, error) {
	if p, ok := httpToken(r); ok {
		return d.holder(r, p)
	}
	return d.bySessionOrPassword(r)
}

// httpToken is the HTTP token that came, with a name where it came in the place of a password.
func httpToken(r *http.Request) (login.Presented, bool) {
	sent, ok := credentials(r, "Bearer")
	name := ""
	if !ok {
		name, sent, _ = basic(r)
	}
	p := presented(r, login.Session)
	p.Name, p.Secret = name, secret.New(sent)
	return p, login.IsHTTPToken(sent)
}

// holder is whom an HTTP token stands for.
func (d *Dialect) holder(*http.Request, login.Presented) (access.Caller, error) {
	return access.Caller{}, errCredential
}
