// Package senhasegura speaks the A2A API of senhasegura (Segura PAM): links by which people open recorded sessions, and the devices, credentials and
// sessions around them, so that programs written for it work with Gatehouse unchanged.
//
// Its wire was written down from the vendor's public documentation. Where that is silent or contradicts itself the choice is ours; docs/dialects/senhasegura.md
// lists the choices, and the test of every operation.
//
// A call is judged in one order, whatever else is wrong with it: the path (404), the method (405), the token (401), where the call comes from (500), the
// resource (500), reading or writing (400, number 1039), the form of the body (400, 413), its fields. Only oauth2/token reads its body before it knows who
// is calling: the credential lies in it. Every call leaves a row in the access log.
package senhasegura

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Dialect answers in the words of the wire what the services behind it do.
type Dialect struct {
	Login          *login.Service
	Authorizations *identity.Authorizations
	Devices        *device.Service
	Vault          *vault.Service
	Remote         *remote.Service

	Tenant    string        // how the installation calls itself
	PublicURL string        // where browsers reach us, without a slash at the end
	Node      string        // names this process in the access log
	Timeout   time.Duration // how long a call may take; 0 is for ever
	BodyWait  time.Duration // how long a body may take to arrive; 0 is for ever
	Now       func() time.Time
	OnError   func(doing string, err error)

	strangers tally
}

// Name is the dialect's name among owners of paths, in logs and in the audit record.
const Name = "senhasegura"

// route is an operation of the wire.
type route struct {
	method, pattern string
	action          access.Action
	resource        string // that an authorization must have; "" where there is no caller yet
	writes          bool
	handler         handler
}

// handler answers a call. It returns an error before it writes anything.
type handler func(w http.ResponseWriter, c *call) error

// call is one call on its way.
type call struct {
	*http.Request
	route route
	by    access.Caller
	from  identity.Authorization // whose call it is, as far as it is known
	body  *fields

	refused *refusal // what was answered where the answer had another form than the envelope
}

// Owner is the dialect's part of the HTTP door. What browsers get is another owner's.
func (d *Dialect) Owner() api.Owner {
	return api.Owner{
		Name: Name, Prefixes: []string{"/api", "/iso"}, FoldCase: true, Spell: spell, Routes: d.Routes(),
		NotFound:         d.open(route{handler: unknownPath}).ServeHTTP,
		MethodNotAllowed: d.open(route{handler: wrongMethod}).ServeHTTP,
		Fail:             d.fail,
	}
}

// routes are the operations of the wire, under one of its prefixes and without "pam": spell brings the others here.
func (d *Dialect) routes() []route {
	const core, proxy = identity.PAMCore, identity.WebProxySession
	return []route{
		{"POST", "/api/oauth2/token", access.Public, "", false, d.token},
		{"POST", "/api/remote/session", access.RemoteLaunch, proxy, true, d.launch},

		{"GET", "/api/session/remotesessions", access.RemoteRead, core, false, d.listSessions},
		{"GET", "/api/session/remotesessions/{id}", access.RemoteRead, core, false, d.showSession},
		{"DELETE", "/api/session/drop/{session}", access.RemoteEnd, core, true, d.drop},

		{"POST", "/api/device", access.DeviceCreate, core, true, d.putDevice},
		{"GET", "/api/device", access.DeviceRead, core, false, d.listDevices},
		{"GET", "/api/device/{device}", access.DeviceRead, core, false, d.showDevice},
		{"DELETE", "/api/device/{device}", access.DeviceUpdate, core, true, d.deactivateDevice},
		{"PUT", "/api/device/{device}", access.DeviceUpdate, core, true, d.activateDevice},

		{"POST", "/api/credential", access.CredentialCreate, core, true, d.putCredential},
		{"GET", "/api/credential", access.CredentialRead, core, false, d.listCredentials},
		{"GET", "/api/credential/{credential}", access.CredentialCheckOut, core, false, d.checkOut},
		{"DELETE", "/api/credential/{credential}", access.CredentialUpdate, core, true, d.deactivateCredential},
		{"PUT", "/api/credential/{credential}", access.CredentialUpdate, core, true, d.activateCredential},
		{"DELETE", "/api/credential/custody/{credential}", access.CredentialCheckIn, core, true, d.checkIn},
	}
}

// Routes are the operations as the HTTP door has them.
func (d *Dialect) Routes() []api.Route {
	all := d.routes()
	mounted := make([]api.Route, len(all))
	for i, r := range all {
		h := d.open(r)
		if r.resource != "" {
			h = d.behind(r)
		}
		mounted[i] = api.Route{Method: r.method, Pattern: r.pattern, Action: r.action, Handler: noHead(all, r, h)}
	}
	return mounted
}

// noHead refuses HEAD where GET is taken: some GETs of this wire do something.
func noHead(all []route, of route, h http.Handler) http.Handler {
	var allowed []string
	for _, r := range all {
		if r.pattern == of.pattern {
			allowed = append(allowed, r.method)
		}
	}
	slices.Sort(allowed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
		}
		h.ServeHTTP(w, r)
	})
}

// open answers calls that need no token.
func (d *Dialect) open(r route) http.Handler { return d.handle(r, r.handler) }

// behind answers calls of authorizations that have what the route takes.
func (d *Dialect) behind(r route) http.Handler {
	return d.handle(r, func(w http.ResponseWriter, c *call) error {
		if err := d.admit(c); err != nil {
			return err
		}
		if c.Method == http.MethodPost || c.Method == http.MethodPut {
			var err error
			if c.body, err = read(c.Request); err != nil {
				return err
			}
		}
		return r.handler(w, c)
	})
}

// handle gives a call its time, answers it, and writes it down.
func (d *Dialect) handle(r route, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		begun := d.Now()
		if d.BodyWait > 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.BodyWait))
		}
		c, out, failed := &call{route: r}, &answered{ResponseWriter: w}, error(nil)
		defer func() { d.record(c, out, failed, begun) }()
		api.Adapter{Fail: d.fail}.Open(func(_ http.ResponseWriter, _ *http.Request) error {
			failed = d.inTime(out, c, req, h)
			return failed
		}).ServeHTTP(out, req)
	})
}

// inTime runs a handler for as long as a call may take.
func (d *Dialect) inTime(w http.ResponseWriter, c *call, r *http.Request, h handler) error {
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if d.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
	}
	defer cancel()
	c.Request = r.WithContext(ctx)
	if r.Method == http.MethodHead {
		return errMethod
	}
	err := h(w, c)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && r.Context().Err() == nil && fault.Is(err, fault.Internal) {
		return errTimedOut
	}
	return err
}
