package bitbucket

import (
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// gitCredential is what came with a request of git. Which credential opens this door, and by which way; everything else gets the one 401 (rule W6):
//
//	none                            what anybody may read
//	a session's token               Bearer; a cookie is not looked at
//	name and password               Basic, where the operator and the policy let them
//	a person's HTTP token           Bearer, or Basic with the name of its owner
//	a project's or repository's     Bearer
type gitCredential struct {
	presented login.Presented
	any       bool // there was one
	readable  bool // and it can be looked at
}

// authenticate finds out who calls.
func (v *gitCall) authenticate() (access.Caller, error) {
	v.shown = v.credential()
	switch {
	case !v.shown.any:
		return access.NobodyAt(api.Remote(v.r.Context()), GitName, v.Now()), nil
	case !v.shown.readable:
		return access.Caller{}, errCredential
	}
	p := v.shown.presented
	if text, err := v.Login.BasicWarning(v.r.Context(), p); err == nil { // an error meets the password as well, and is told there
		api.Warn(v.w, text)
	}
	by, err := v.Login.Authenticate(v.r.Context(), p)
	var failed *login.Failed
	switch {
	case errors.As(err, &failed) && failed.Unread:
		return by, errCaptcha
	case fault.Is(err, fault.Unauthenticated), errors.Is(err, login.ErrEnrolFirst), errors.Is(err, login.ErrBlocked):
		return by, errCredential
	case err == nil && by.Kind != access.User && by.Kind != access.ServiceIdentity: // the session of a program
		return by, errCredential
	}
	return by, err
}

// credential reads the Authorization header, and no cookie.
func (v *gitCall) credential() gitCredential {
	c := gitCredential{any: len(v.r.Header.Values("Authorization")) > 0}
	kind := login.Session
	sent, bearer := credentials(v.r, "Bearer")
	name, password, byName := basic(v.r)
	if byName {
		sent, kind = password, login.Password
	}
	if token.IsAccess(sent) {
		kind = login.HTTPToken
	}
	p := presented(v.r, kind)
	p.Door, p.Secret, p.Path = GitName, secret.New(sent), v.r.URL.Path
	if byName {
		p.Name, p.Basic = name, login.BasicElsewhere
	}
	if kind == login.Password && !v.Passwords {
		p.Accepts = nil // refused unread, and on record
	}
	c.presented, c.readable = p, bearer || byName
	return c
}
