// Package sshverify speaks the HTTP API of the SSHVerify service, so that programs written for it work
// with Gatehouse unchanged.
//
// Its wire was written down from the service's public documentation: verify and collect sessions with
// their webhooks, and what an API key is. Where that documentation is silent or contradicts itself
// the choice is ours; docs/dialects/sshverify.md lists the choices, and the test of every operation.
//
// A request is judged in one order, whatever else is wrong with it: the key (401), the budget of its
// project (429), the session and webhook in the path (404), the form of the body (413, 415, 400), its
// fields (422, all faults at once), the rules between fields (400), the state of the session (409).
package sshverify

import (
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

// Dialect answers in the words of the wire what the services behind it do.
type Dialect struct {
	Login    *login.Service
	Budget   *guard.Budget
	Projects *project.Service
	Tokens   *token.Service
	Sessions *keyproof.Service

	RatePerHour int              // requests of a project that sets no rate of its own; 0 is no limit
	BodyWait    time.Duration    // how long a request may take to arrive; 0 is for ever
	Now         func() time.Time // for the status of sessions
}

// Name is the dialect's name among owners of paths, in logs and in the audit record.
const Name = "sshverify"

// Owner is the dialect's part of the HTTP door.
func (d *Dialect) Owner() api.Owner {
	return api.Owner{
		Name:             Name,
		Prefixes:         []string{"/api/v1/ssh", "/api/v1/auth/info"},
		Routes:           d.Routes(),
		NotFound:         d.handle(refuse(errNoEndpoint)).ServeHTTP, // strangers learn about no path, not even that it is none
		MethodNotAllowed: d.handle(refuse(errMethod)).ServeHTTP,
		Fail:             fail,
	}
}

// Routes are the operations of the wire.
func (d *Dialect) Routes() []api.Route {
	verify, collect := sessions{d, keyproof.Verify}, sessions{d, keyproof.Collect}
	h := d.handle
	return []api.Route{
		{Method: "GET", Pattern: "/api/v1/auth/info", Action: access.AuthInfo, Handler: h(d.authInfo)},

		{Method: "GET", Pattern: "/api/v1/ssh/verify/sessions", Action: access.KeyproofRead, Handler: h(verify.list)},
		{Method: "POST", Pattern: "/api/v1/ssh/verify/sessions", Action: access.KeyproofCreate, Handler: h(verify.create)},
		{Method: "GET", Pattern: "/api/v1/ssh/verify/sessions/{session}", Action: access.KeyproofRead, Handler: h(verify.show)},
		{Method: "PATCH", Pattern: "/api/v1/ssh/verify/sessions/{session}", Action: access.KeyproofUpdate, Handler: h(verify.update)},
		{Method: "PUT", Pattern: "/api/v1/ssh/verify/sessions/{session}", Action: access.KeyproofUpdate, Handler: h(verify.update)},
		{Method: "POST", Pattern: "/api/v1/ssh/verify/sessions/{session}/complete", Action: access.KeyproofComplete, Handler: h(verify.complete)},
		{Method: "DELETE", Pattern: "/api/v1/ssh/verify/sessions/{session}", Action: access.KeyproofDelete, Handler: h(verify.remove)},
		{Method: "GET", Pattern: "/api/v1/ssh/verify/sessions/{session}/webhooks", Action: access.KeyproofRead, Handler: h(verify.listWebhooks)},
		{Method: "POST", Pattern: "/api/v1/ssh/verify/sessions/{session}/webhooks", Action: access.KeyproofWebhook, Handler: h(verify.addWebhook)},
		{Method: "GET", Pattern: "/api/v1/ssh/verify/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofRead, Handler: h(verify.showWebhook)},
		{Method: "PATCH", Pattern: "/api/v1/ssh/verify/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofWebhook, Handler: h(verify.updateWebhook)},
		{Method: "PUT", Pattern: "/api/v1/ssh/verify/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofWebhook, Handler: h(verify.updateWebhook)},
		{Method: "DELETE", Pattern: "/api/v1/ssh/verify/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofWebhook, Handler: h(verify.removeWebhook)},

		{Method: "GET", Pattern: "/api/v1/ssh/collect/sessions", Action: access.KeyproofRead, Handler: h(collect.list)},
		{Method: "POST", Pattern: "/api/v1/ssh/collect/sessions", Action: access.KeyproofCreate, Handler: h(collect.create)},
		{Method: "GET", Pattern: "/api/v1/ssh/collect/sessions/{session}", Action: access.KeyproofRead, Handler: h(collect.show)},
		{Method: "PATCH", Pattern: "/api/v1/ssh/collect/sessions/{session}", Action: access.KeyproofUpdate, Handler: h(collect.update)},
		{Method: "PUT", Pattern: "/api/v1/ssh/collect/sessions/{session}", Action: access.KeyproofUpdate, Handler: h(collect.update)},
		{Method: "POST", Pattern: "/api/v1/ssh/collect/sessions/{session}/complete", Action: access.KeyproofComplete, Handler: h(collect.complete)},
		{Method: "DELETE", Pattern: "/api/v1/ssh/collect/sessions/{session}", Action: access.KeyproofDelete, Handler: h(collect.remove)},
		{Method: "GET", Pattern: "/api/v1/ssh/collect/sessions/{session}/webhooks", Action: access.KeyproofRead, Handler: h(collect.listWebhooks)},
		{Method: "POST", Pattern: "/api/v1/ssh/collect/sessions/{session}/webhooks", Action: access.KeyproofWebhook, Handler: h(collect.addWebhook)},
		{Method: "GET", Pattern: "/api/v1/ssh/collect/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofRead, Handler: h(collect.showWebhook)},
		{Method: "PATCH", Pattern: "/api/v1/ssh/collect/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofWebhook, Handler: h(collect.updateWebhook)},
		{Method: "PUT", Pattern: "/api/v1/ssh/collect/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofWebhook, Handler: h(collect.updateWebhook)},
		{Method: "DELETE", Pattern: "/api/v1/ssh/collect/sessions/{session}/webhooks/{webhook}", Action: access.KeyproofWebhook, Handler: h(collect.removeWebhook)},
	}
}

// handle puts a handler behind the deadline of the body, the key and the budget. Paths and methods
// that do not exist pass here too: they cost as much as any other call.
func (d *Dialect) handle(h api.Handler) http.Handler {
	behind := api.Adapter{Authenticate: d.authenticate, Fail: fail}.Handle(d.withinBudget(h))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.BodyWait > 0 { // set before the key is looked at: an unread body is waited for as well
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.BodyWait))
		}
		behind.ServeHTTP(w, r)
	})
}

// refuse is a handler for what does not exist.
func refuse(err error) api.Handler {
	return func(http.ResponseWriter, *http.Request, access.Caller) error { return err }
}
