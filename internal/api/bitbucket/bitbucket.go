// Package bitbucket speaks the authentication API of Bitbucket Data Center, so that programs written for it sign in to Gatehouse
// unchanged.
//
// Its wire was written down from the vendor's public documentation: login and two-step verification, /rest/tsv, identity providers and the
// sign-in page, /rest/authconfig, the policy on passwords by Basic, /rest/basicauth, HTTP access tokens, /rest/access-tokens, access keys, /rest/keys, SSH keys, /rest/ssh,
// and what programs need beside them, /rest/api. The other
// parts of /rest answer as a route does that is missing there. Where that documentation is silent or contradicts itself the
// choice is ours; docs/dialects/bitbucket.md lists the choices, and the test of every operation.
//
// A request is judged in one order, whatever else is wrong with it: the path (404), the method (405), the credential (401, 403), where a
// cookie's request began (403), an administrator's right (403), how long ago who sets up identity providers signed in (401), the form of the body (413, 400), and what the operation itself asks: elevation (401), whether two-step
// verification is set up (400), the conversation (400), the code (400, 401). Signing in looks at no credential but those in its body, and at
// where every request began.
package bitbucket

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// Dialect answers in the words of the wire what the services behind it do.
type Dialect struct {
	Login     *login.Service
	Captcha   Captcha
	Access    *access.Service
	Providers *identity.Providers
	Policy    *policy.Service
	Users     *identity.Service
	Groups    *identity.Groups
	Projects  *project.Service
	Repos     *repo.Service
	Keys      *sshkey.Service

	Cookies  api.Cookies
	SSH      func() SSHDoor // asked when the doors are open
	Now      func() time.Time
	Ready    func(ctx context.Context) []string // why the instance is not ready; nothing where it is
	BodyWait time.Duration                      // how long a request may take to arrive; 0 is for ever
}

// Captcha makes puzzles whose pictures lie at /captcha/ID.png: a *guard.Captcha.
type Captcha interface {
	New() (id string, err error)
	Check(ctx context.Context, id, answer string) (bool, error)
}

// Name is the dialect's name among owners of paths, in logs and in the audit record.
const Name = "bitbucket"

// versions are the version segments of paths; each serves every route.
var versions = []string{"latest", "1.0"}

// Owner is the dialect's part of the HTTP door.
func (d *Dialect) Owner() api.Owner {
	return api.Owner{
		Name:             Name,
		Prefixes:         []string{"/rest", statusPath},
		Routes:           d.Routes(),
		NotFound:         unrouted(errNotFound, http.StatusNotFound),
		MethodNotAllowed: unrouted(errMethod, http.StatusMethodNotAllowed),
		Fail:             failPlugin(),
	}
}

// Routes are the operations of the wire.
func (d *Dialect) Routes() []api.Route {
	return append(versioned(slices.Concat(
		d.verification(), d.singleSignOn(), d.basicAuth(), d.accessKeys(), d.userKeys(), d.accessTokens(),
		d.instance(), d.projects(), d.repositories(), d.permissions(), d.directory(), d.administration(),
	)), d.running())
}

// versioned serves routes under each version.
func versioned(routes []api.Route) []api.Route {
	var all []api.Route
	for _, v := range versions {
		for _, route := range routes {
			route.Pattern = strings.Replace(route.Pattern, "{v}", v, 1)
			all = append(all, route)
		}
	}
	return all
}

// verification are the routes of login and two-step verification.
func (d *Dialect) verification() []api.Route {
	const at = "/rest/tsv/{v}"
	return []api.Route{
		{Method: "POST", Pattern: at + "/authenticate", Action: access.Public, Handler: d.open(d.authenticate)},
		{Method: "GET", Pattern: at + "/authenticate/captcha", Action: access.Public, Handler: d.open(d.captcha)},
		{Method: "POST", Pattern: at + "/authenticate/totp-code", Action: access.Public, Handler: d.open(d.authenticateByTOTP, wrongCode401...)},
		{Method: "POST", Pattern: at + "/authenticate/recovery-code", Action: access.Public, Handler: d.open(d.authenticateByRecovery, wrongCode401...)},

		{Method: "GET", Pattern: at + "/elevate-permissions", Action: access.SessionRead, Handler: d.inSession(d.elevation, enrolling)},
		{Method: "POST", Pattern: at + "/elevate-permissions/password", Action: access.SessionKeep, Handler: d.inSession(d.elevateByPassword, enrolling)},
		{Method: "POST", Pattern: at + "/elevate-permissions/totp", Action: access.SessionKeep, Handler: d.inSession(d.elevateByTOTP, enrolling, noApp...)},
		{Method: "POST", Pattern: at + "/elevate-permissions/recovery-code", Action: access.SessionKeep, Handler: d.inSession(d.elevateByRecovery, enrolling, noApp...)},

		{Method: "GET", Pattern: at + "/sso-management-status", Action: access.FactorRead, Handler: d.inPerson(d.managed)},
		{Method: "GET", Pattern: at + "/status", Action: access.FactorRead, Handler: d.inPerson(d.status)},

		{Method: "POST", Pattern: at + "/totp/start-voluntary-enrollment", Action: access.FactorEnrol, Handler: d.inSession(d.startVoluntary, enrolling)},
		{Method: "POST", Pattern: at + "/totp/complete-voluntary-enrollment", Action: access.FactorEnrol, Handler: d.inSession(d.completeVoluntary, enrolling, wrongCode400...)},
		{Method: "POST", Pattern: at + "/totp/start-enforced-enrollment", Action: access.Public, Handler: d.open(d.startEnforced)},
		{Method: "POST", Pattern: at + "/totp/complete-enforced-enrollment", Action: access.Public, Handler: d.open(d.completeEnforced, wrongCode400...)},
		{Method: "POST", Pattern: at + "/totp/start-enrollment-update", Action: access.FactorEnrol, Handler: d.inSession(d.startUpdate, signed)},
		{Method: "POST", Pattern: at + "/totp/complete-enrollment-update", Action: access.FactorEnrol, Handler: d.inSession(d.completeUpdate, signed, wrongCode400...)},
		{Method: "POST", Pattern: at + "/totp/recovery-code/rotate", Action: access.FactorCodes, Handler: d.inSession(d.rotateRecovery, signed)},
		{Method: "DELETE", Pattern: at + "/totp/unenroll", Action: access.FactorRemove, Handler: d.inSession(d.unenrol, signed)},
		{Method: "DELETE", Pattern: at + "/totp/unenroll/user/{userName}", Action: access.FactorReset, Handler: d.inPerson(d.unenrolOther, wrongCode401...)},
	}
}

// open is for routes by which strangers sign in.
func (d *Dialect) open(h func(w http.ResponseWriter, r *http.Request) error, own ...row) http.Handler {
	return d.inTime(api.Adapter{Fail: failPlugin(own...)}.Open(d.atLogin(h)))
}

// anybody is for routes that tell everybody something.
func (d *Dialect) anybody(h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return d.inTime(api.Adapter{Fail: failPlugin()}.Open(h))
}

// inSession is for routes that a person's session alone opens, in one of the states.
func (d *Dialect) inSession(h api.Handler, states []session.State, own ...row) http.Handler {
	return d.behind(d.bySession(states), h, own)
}

// inPerson is for routes that name and password open as well.
func (d *Dialect) inPerson(h api.Handler, own ...row) http.Handler {
	return d.warned(d.behind(d.bySessionOrPassword, h, own))
}

// office is a route for administrators. The right is asked for before the body is looked at, and by the verb once more.
func (d *Dialect) office(method, pattern string, action access.Action, h api.Handler, own ...row) api.Route {
	allowed := func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if err := d.Access.Require(r.Context(), by, action, access.Installation); err != nil {
			return err
		}
		return h(w, r, by)
	}
	return api.Route{Method: method, Pattern: pattern, Action: action, Handler: d.inPerson(allowed, own...)}
}

// vouching is an office that says who vouches for people: the administrator must have proved who they are not long ago (rule F14). Whoever sends a password
// by Basic does so with each request.
func (d *Dialect) vouching(method, pattern string, action access.Action, h api.Handler, own ...row) api.Route {
	return d.office(method, pattern, action, func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if err := d.fresh(by); err != nil {
			return err
		}
		return h(w, r, by)
	}, own...)
}

func (d *Dialect) behind(authenticate func(*http.Request) (access.Caller, error), h api.Handler, own []row) http.Handler {
	guarded := d.Cookies.Guard(h, errOrigin, api.HeaderVoucher("X-Atlassian-Token", "no-check"), api.JSONVoucher)
	return d.inTime(api.Adapter{Authenticate: authenticate, Fail: failPlugin(own...)}.Handle(named(guarded)))
}

// core is a route of the core for people and HTTP tokens; own are rows of the operation itself. What the path names is looked up by the
// operation before the verb asks for a right: what is not there is 404 even to who might not have seen it.
func (d *Dialect) core(method, pattern string, action access.Action, h api.Handler, own ...coreRow) api.Route {
	guarded := d.Cookies.Guard(h, errOrigin, api.HeaderVoucher("X-Atlassian-Token", "no-check"), api.JSONVoucher)
	adapter := api.Adapter{Authenticate: d.coreCaller, Fail: d.failCore(own...)}
	return api.Route{Method: method, Pattern: pattern, Action: action, Handler: d.warned(d.inTime(adapter.Handle(named(guarded))))}
}

// coreOpen is a route of the core that tells everybody something.
func (d *Dialect) coreOpen(method, pattern string, h func(w http.ResponseWriter, r *http.Request) error) api.Route {
	return api.Route{Method: method, Pattern: pattern, Action: access.Public, Handler: d.inTime(api.Adapter{Fail: d.failCore()}.Open(h))}
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
