// Package fortanix speaks the session API of Fortanix DSM, so that programs written for it sign in to
// Gatehouse unchanged.
//
// Its wire was written down from the vendor's public documentation: signing in by Basic, by a certificate or by a body, second factors
// and their settings, keeping, multiplying and ending sessions, and the few calls that a program makes right after that. Where that documentation is silent
// or contradicts itself the choice is ours; docs/dialects/fortanix.md lists the choices, and the test of every operation.
//
// A request is judged in one order, whatever else is wrong with it: the path (404), the method (405), the
// credential (401), the state of the session (401, 403), where a cookie's request began (403), the kind of caller (403), the
// form of the body and its members (400, 413), the object (404), the caller's role (403). Only
// session/auth reads its body first: the credential may lie in it.
package fortanix

import (
	"context"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
)

// Dialect answers in the words of the wire what the services behind it do.
type Dialect struct {
	Login    *login.Service
	Sessions *session.Service
	Factors  *factor.Service
	Captcha  Captcha
	Access   *access.Service
	Users    *identity.Service
	Accounts *identity.Accounts
	Groups   *identity.Groups
	Apps     *identity.Applications

	Cookies  api.Cookies
	Ready    func(ctx context.Context) error // says why the store cannot be reached
	BodyWait time.Duration                   // how long a request may take to arrive; 0 is for ever
	FreshFor time.Duration                   // how long ago people may have signed in who make a credential of a person
	Now      func() time.Time                // for what is left of a session
}

// Captcha checks answers to CAPTCHAs: a *guard.Captcha.
type Captcha interface {
	Check(ctx context.Context, id, answer string) (bool, error)
}

// Name is the dialect's name among owners of paths, in logs and in the audit record.
const Name = "fortanix"

// Owner is the dialect's part of the HTTP door.
func (d *Dialect) Owner() api.Owner {
	return api.Owner{
		Name:             Name,
		Prefixes:         []string{"/sys/v1"},
		Routes:           d.Routes(),
		NotFound:         d.open(refuse(errNotFound)).ServeHTTP,
		MethodNotAllowed: d.open(refuse(errMethod)).ServeHTTP,
		Fail:             fail,
	}
}

// Routes are the operations of the wire.
func (d *Dialect) Routes() []api.Route {
	alive := []session.State{session.Active, session.EnrolOnly}
	each := []session.State{session.Active, session.EnrolOnly, session.Pending}
	own := []api.Route{
		{Method: "POST", Pattern: "/sys/v1/session/auth", Action: access.Public, Handler: d.open(d.auth)},
		{Method: "POST", Pattern: "/sys/v1/session/auth/discover", Action: access.Public, Handler: d.open(d.discover)},
		{Method: "POST", Pattern: "/sys/v1/session/auth/2fa/fido2", Action: access.SessionKeep, Handler: d.behind(d.waiting, d.finish(byKey))},
		{Method: "POST", Pattern: "/sys/v1/session/auth/2fa/recovery_code", Action: access.SessionKeep, Handler: d.behind(d.waiting, d.finish(byCode(factor.Recovery, "recovery_code")))},
		{Method: "POST", Pattern: "/sys/v1/session/auth/2fa/totp", Action: access.SessionKeep, Handler: d.behind(d.waiting, d.finish(byCode(factor.TOTP, "totp_code")))},
		{Method: "POST", Pattern: "/sys/v1/session/auth/2fa/u2f", Action: access.SessionKeep, Handler: d.inSession(noU2F, each...)},
		{Method: "POST", Pattern: "/sys/v1/session/refresh", Action: access.SessionKeep, Handler: d.inSession(d.refresh, alive...)},
		{Method: "POST", Pattern: "/sys/v1/session/reauth", Action: access.SessionStart, Handler: d.inSession(d.reauth)},
		{Method: "POST", Pattern: "/sys/v1/session/terminate", Action: access.SessionEnd, Handler: d.inSession(d.terminate, each...)},
		{Method: "POST", Pattern: "/sys/v1/session/select_account", Action: access.SessionKeep, Handler: d.inSession(d.selectAccount)},
		{Method: "POST", Pattern: "/sys/v1/session/config_2fa/auth", Action: access.FactorEnrol, Handler: d.inSession(usersOnly(d.unlock), alive...)},
		{Method: "POST", Pattern: "/sys/v1/session/config_2fa/terminate", Action: access.FactorEnrol, Handler: d.inSession(usersOnly(d.lock), alive...)},
		{Method: "POST", Pattern: "/sys/v1/session/config_2fa/new_challenge", Action: access.FactorEnrol, Handler: d.inSession(usersOnly(d.newChallenge), alive...)},

		{Method: "GET", Pattern: "/sys/v1/version", Action: access.Public, Handler: d.open(version)},
		{Method: "GET", Pattern: "/sys/v1/info", Action: access.Public, Handler: d.open(version)},
		{Method: "GET", Pattern: "/sys/v1/health", Action: access.Public, Handler: d.open(d.health)},
	}
	return append(own, d.neighbours()...)
}

// open is for routes that need no caller.
func (d *Dialect) open(h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return d.inTime(api.Adapter{Fail: fail}.Open(h))
}

// inSession is for routes that a session alone opens: an active one, or one in the given states.
func (d *Dialect) inSession(h api.Handler, states ...session.State) http.Handler {
	return d.behind(d.bySession(states), h)
}

// handle is for all other routes: a session opens them, an active one or one in the given states, or the API key of an application.
func (d *Dialect) handle(h api.Handler, states ...session.State) http.Handler {
	return d.behind(d.bySessionOrKey(states), h)
}

// handleStranger is for routes that strangers may try as well; whoever presents something must be let in by it.
func (d *Dialect) handleStranger(h api.Handler) http.Handler { return d.behind(d.byAnything, h) }

func (d *Dialect) behind(authenticate func(*http.Request) (access.Caller, error), h api.Handler) http.Handler {
	return d.inTime(api.Adapter{Authenticate: authenticate, Fail: fail}.Handle(d.Cookies.Guard(h, errOrigin)))
}

// inTime bounds how long the body may take. It is set first: an unread body is waited for as well.
func (d *Dialect) inTime(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.BodyWait > 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.BodyWait))
		}
		h.ServeHTTP(w, r)
	})
}

// refuse answers for what does not exist.
func refuse(err error) func(http.ResponseWriter, *http.Request) error {
	return func(http.ResponseWriter, *http.Request) error { return err }
}
