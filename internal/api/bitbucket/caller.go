package bitbucket

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Which credential opens which door; everything else is refused unread (rule W6):
//
//	tsv authenticate/**, enforced enrolment          nothing is needed and no Authorization is looked at
//	tsv elevate-permissions/**, one's own factors    a person's session, as Bearer or cookie
//	tsv status, sso-management-status, unenroll/user the same, or a person's name and password by Basic
//	authconfig login-options                         nothing is needed and no Authorization is looked at
//	authconfig otherwise, basicauth                  a person's session, or name and password by Basic

// signed are the states of sessions that count as logged in, enrolling those that may enrol as well.
var (
	signed    = []session.State{session.Active}
	enrolling = []session.State{session.Active, session.EnrolOnly}
)

// bySession lets a person's session in one of the states in.
func (d *Dialect) bySession(states []session.State) func(*http.Request) (access.Caller, error) {
	return func(r *http.Request) (access.Caller, error) {
		p, ok := d.token(r)
		if !ok {
			return access.Caller{}, errNotIn
		}
		p.States = states
		return d.person(r, p)
	}
}

// bySessionOrPassword lets a person in by an active session, or by name and password.
func (d *Dialect) bySessionOrPassword(r *http.Request) (access.Caller, error) {
	p, ok := byBasic(r)
	switch {
	case !ok:
		return d.bySession(signed)(r)
	case token.IsAccess(p.Secret.Reveal()):
		return access.Caller{}, errNotIn
	}
	return d.person(r, p)
}

// byBasic is the name and the password that came by Basic.
func byBasic(r *http.Request) (login.Presented, bool) {
	name, password, ok := basic(r)
	p := presented(r, login.Password)
	p.Name, p.Secret, p.Basic, p.Path = name, secret.New(password), login.BasicREST, r.URL.Path
	return p, ok
}

// person authenticates, and gives everybody else the one answer of plugins: which reason it was stands in the audit log alone. That a
// CAPTCHA is due is told, because it cannot be answered here.
func (d *Dialect) person(r *http.Request, p login.Presented) (access.Caller, error) {
	by, err := d.Login.Authenticate(r.Context(), p)
	var failed *login.Failed
	switch {
	case errors.As(err, &failed) && failed.Unread:
		return access.Caller{}, errCaptcha
	case fault.Is(err, fault.Unauthenticated), errors.Is(err, login.ErrEnrolFirst):
		return access.Caller{}, errNotIn
	case err == nil && by.Kind != access.User:
		return access.Caller{}, errNotIn
	}
	return by, err
}

// token finds the token of a session: in the header, which wins, or in the cookie.
func (d *Dialect) token(r *http.Request) (login.Presented, bool) {
	p := presented(r, login.Session)
	if len(r.Header.Values("Authorization")) > 0 {
		sent, ok := credentials(r, "Bearer")
		p.Secret = secret.New(sent)
		return p, ok && !token.IsAccess(sent)
	}
	sent, ok := d.Cookies.Read(r)
	p.Secret, p.Cookie = sent, true
	return p, ok
}

// presented is a credential of that kind at this door.
func presented(r *http.Request, kind login.Kind) login.Presented {
	return login.Presented{
		Kind: kind, Address: api.Remote(r.Context()), Door: Name, Accepts: []login.Kind{kind}, Request: api.RequestID(r.Context()),
	}
}

// basic reads name and password. What cannot be read is a nameless person, who is refused as everybody else is.
func basic(r *http.Request) (name, password string, ok bool) {
	sent, ok := credentials(r, "Basic")
	if !ok {
		return "", "", false
	}
	if plain, err := base64.StdEncoding.DecodeString(sent); err == nil {
		if before, after, found := strings.Cut(string(plain), ":"); found {
			name, password = before, after
		}
	}
	return name, password, true
}

// credentials returns what follows a scheme in the Authorization header. Two headers are none: whatever stands before us may have
// looked at the other one.
func credentials(r *http.Request, scheme string) (string, bool) {
	sent := r.Header.Values("Authorization")
	if len(sent) != 1 {
		return "", false
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(sent[0]), " ")
	return strings.TrimLeft(rest, " "), strings.EqualFold(word, scheme)
}

// named tells callers as whom they are known: that is how they tell "log in" from "you may not".
func named(h api.Handler) api.Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		announce(w, by)
		return h(w, r, by)
	}
}

func announce(w http.ResponseWriter, who access.Caller) {
	w.Header().Set("X-AUSERNAME", url.PathEscape(who.Name))
}

// fresh returns access.ErrNotFresh where the caller proved too long ago who they are for what gives rights, or a way to sign in (rule F14).
func (d *Dialect) fresh(by access.Caller) error {
	return access.Fresh(by, d.Now(), d.Login.FreshFor)
}

// atLogin is for operations by which strangers sign in. A cookie that could not be kept safe is refused before anything is looked at, and
// one that another site asks for would sign its victim in as somebody else (rule W12).
func (d *Dialect) atLogin(h func(w http.ResponseWriter, r *http.Request) error) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		switch {
		case !d.Cookies.Possible():
			return errCookieHTTP
		case !slices.Contains([]string{http.MethodGet, http.MethodHead}, r.Method) && d.Cookies.Foreign(r):
			return errOrigin
		}
		return h(w, r)
	}
}
