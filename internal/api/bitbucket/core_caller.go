package bitbucket

import (
	"errors"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
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

// httpToken is the HTTP token that came, with the name that came with it where it came in the place of a password.
func httpToken(r *http.Request) (login.Presented, bool) {
	p := presented(r, login.HTTPToken)
	sent, ok := credentials(r, "Bearer")
	if !ok {
		p.Basic, p.Path = login.BasicREST, r.URL.Path
		p.Name, sent, _ = basic(r)
	}
	p.Secret = secret.New(sent)
	return p, token.IsAccess(sent)
}

// holder is whom an HTTP token stands for. How often an address has sent a wrong one is not told.
func (d *Dialect) holder(r *http.Request, p login.Presented) (access.Caller, error) {
	by, err := d.Login.Authenticate(r.Context(), p)
	if fault.Is(err, fault.Unauthenticated) || errors.Is(err, login.ErrBlocked) {
		err = errCredential
	}
	return by, err
}
