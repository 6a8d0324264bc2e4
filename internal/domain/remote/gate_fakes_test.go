package remote_test

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// gate is the service on stores in memory, with a clock that the test turns. Its people, devices, credentials and bindings are the test's to change.
type gate struct {
	*remote.Service

	mu       sync.Mutex
	now      time.Time
	ids      int
	events   []audit.Event
	sessions map[string]remote.Session
	links    map[[32]byte]string
	handles  map[[32]byte]string
	cookies  map[string][32]byte
	requests map[string]remote.Request
	bindings []access.Binding
	people   map[string]remote.Person
	devices  []device.Device
	creds    []vault.Credential
	factor   bool
	counts   map[string]guard.Counter
}

var gateStart = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{
		now: gateStart, sessions: map[string]remote.Session{}, links: map[[32]byte]string{}, handles: map[[32]byte]string{}, cookies: map[string][32]byte{},
		requests: map[string]remote.Request{}, people: map[string]remote.Person{}, factor: true, counts: map[string]guard.Counter{},
	}
	clock := func() time.Time { g.mu.Lock(); defer g.mu.Unlock(); return g.now }
	id := func() string { g.mu.Lock(); defer g.mu.Unlock(); g.ids++; return "id-" + strconv.Itoa(g.ids) }
	rights := &access.Service{Store: gateAccess{g: g}, Now: clock, NewID: id}
	devices := &device.Service{Store: gateDevices{g: g}, Access: rights, Now: clock, NewID: id}
	g.Service = &remote.Service{
		Store: gateStore{gate: g}, Access: rights, Audit: &audit.Service{Store: gateAudit{g: g}, Now: clock, Folder: audit.NewFolder(time.Minute)}, Users: gateUsers{g}, Devices: devices,
		Vault:     &vault.Service{Store: gateVault{g: g}, Access: rights, Devices: devices, Now: clock, NewID: id},
		HasFactor: func(context.Context, string) (bool, error) { return g.factor, nil },
		Prove: func(_ context.Context, by access.Caller, a remote.Answer) error {
			if by.ID != "ana" || a.Code != "123456" {
				return fault.New(fault.Unauthenticated, "The code is not correct.")
			}
			return nil
		},
		Refusals: &guard.Failures{Store: gateCounts{g}, Now: clock, Threshold: 10, Window: time.Minute},
		Settings: remote.Settings{LinkLife: 30 * time.Second, Grace: 5 * time.Minute, Wait: 10 * time.Minute, AddressScope: "session", FinishedKept: 24 * time.Hour},
		Now:      clock, NewID: id, Node: "n1", OnError: func(doing string, err error) { t.Errorf("%s: %v", doing, err) },
	}
	g.person("ana")
	g.person("eve")
	g.device(device.Device{ID: "web", Host: "web-01", IP: netip.MustParseAddr("10.0.0.1")})
	g.device(device.Device{ID: "dc", Host: "dc-01", IP: netip.MustParseAddr("10.0.0.2"), Domains: []string{"CORP"}, Connect: []device.Connectivity{{Name: "SSH", Port: 2222}}})
	g.credential("web", vault.Credential{ID: "svc", Username: "svc", Identifier: "svc-id"})
	g.grants("ana", access.DeviceConnect, access.Device("web"), access.Terms{})
	return g
}

func (g *gate) person(id string) { g.people[id] = remote.Person{User: identity.User{ID: id, Name: id}} }

func (g *gate) device(d device.Device) {
	d.Number = int64(len(g.devices) + 1)
	g.devices = append(g.devices, d)
}

func (g *gate) credential(on string, c vault.Credential) {
	c.Number, c.Device.ID = int64(len(g.creds)+1), on
	if c.Kind == "" {
		c.Kind = vault.Password
	}
	g.creds = append(g.creds, c)
}

func (g *gate) grants(who string, role access.Role, on access.Resource, terms access.Terms) {
	g.bindings = append(g.bindings, access.Binding{Subject: access.Subject{Kind: access.User, ID: who}, Role: role, Resource: on, Number: int64(len(g.bindings) + 1), Terms: terms})
}

// api is an application's authorization that lists what is named: kind and id.
func (g *gate) api(lists ...string) access.Caller {
	for _, one := range lists {
		kind, id, _ := strings.Cut(one, " ")
		g.bindings = append(g.bindings, access.Binding{
			Subject: access.Subject{Kind: access.Authorization, ID: "z"}, Role: access.Role(kind + ".listed"), Resource: access.Resource{Kind: kind, ID: id},
		})
	}
	return access.Caller{Principal: access.Principal{Kind: access.Authorization, ID: "z", Name: "billing"}, Scopes: []access.Action{"device.*", "credential.*", "remote.*"}, Door: "senhasegura"}
}

func (g *gate) everything() access.Caller { return g.api("device *", "credential *", "user *") }

func (g *gate) as(name string) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: name, Name: name}, Scopes: []access.Action{"*"}, Session: "console of " + name, At: g.now}
}

func (g *gate) pass(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

// told are the actions that were recorded since it was asked last.
func (g *gate) told() string {
	var all []string
	for _, e := range g.events {
		all = append(all, e.Action)
	}
	g.events = nil
	return strings.Join(all, " ")
}

type (
	gateStore struct {
		remote.Store
		*gate
	}
	gateAccess struct {
		access.Store
		g *gate
	}
	gateDevices struct {
		device.Store
		g *gate
	}
	gateVault struct {
		vault.Store
		g *gate
	}
	gateAudit struct {
		audit.Store
		g *gate
	}
	gateUsers  struct{ g *gate }
	gateCounts struct{ g *gate }
)

func (a gateAccess) BindingsOf(_ context.Context, of access.Subject) (out []access.Binding, _ error) {
	for _, b := range a.g.bindings {
		if b.Subject == of {
			out = append(out, b)
		}
	}
	return out, nil
}

func (a gateAudit) Append(_ context.Context, events ...audit.Event) error {
	a.g.events = append(a.g.events, events...)
	return nil
}

func (u gateUsers) ForRemote(_ context.Context, nameOrID string) (remote.Person, error) {
	p, ok := u.g.people[nameOrID]
	if !ok {
		return p, remote.ErrNoUser
	}
	return p, nil
}

func (c gateCounts) Count(_ context.Context, key string, decide func(guard.Counter, bool) guard.Counter) (guard.Counter, error) {
	was, found := c.g.counts[key]
	c.g.counts[key] = decide(was, found)
	return c.g.counts[key], nil
}
func (gateCounts) Sweep(context.Context, time.Time) error { return nil }

func (d gateDevices) find(is func(device.Device) bool) (device.Device, error) {
	for _, one := range d.g.devices {
		if is(one) {
			return one, nil
		}
	}
	return device.Device{}, device.ErrUnknown
}

func (d gateDevices) ByID(_ context.Context, id string) (device.Device, error) {
	return d.find(func(x device.Device) bool { return x.ID == id })
}

func (d gateDevices) ByNumber(_ context.Context, n int64) (device.Device, error) {
	return d.find(func(x device.Device) bool { return x.Number == n })
}

func (d gateDevices) ByHost(_ context.Context, host string) (device.Device, error) {
	return d.find(func(x device.Device) bool { return strings.EqualFold(x.Host, host) })
}

func (d gateDevices) ByIP(_ context.Context, ip netip.Addr) (all []device.Device, _ error) {
	for _, one := range d.g.devices {
		if one.IP == ip {
			all = append(all, one)
		}
	}
	return all, nil
}

func (v gateVault) read(c vault.Credential) vault.Credential {
	c.Device, _ = gateDevices{g: v.g}.ByID(context.Background(), c.Device.ID)
	return c
}

func (v gateVault) ByID(_ context.Context, id string) (vault.Credential, error) {
	for _, c := range v.g.creds {
		if c.ID == id {
			return v.read(c), nil
		}
	}
	return vault.Credential{}, vault.ErrUnknown
}

func (v gateVault) OfDevice(_ context.Context, id string) (all []vault.Credential, _ error) {
	for _, c := range v.g.creds {
		if c.Device.ID == id {
			all = append(all, v.read(c))
		}
	}
	return all, nil
}

func (g *gate) counted(x, y remote.Session) bool {
	return (x.State == remote.Active || (x.State == remote.Issued || x.State == remote.Waiting) && x.Expires.After(y.Created))
}

func (g gateStore) Insert(_ context.Context, x remote.Session, pick []remote.Session, d remote.Digests, most int, e func(remote.Session) audit.Event) (remote.Session, error) {
	g.mu.Lock()
	living, busy := 0, map[string]bool{}
	for _, y := range g.sessions {
		if g.counted(y, x) {
			busy[y.Credential] = true
			if y.User.ID == x.User.ID {
				living++
			}
		}
	}
	g.mu.Unlock()
	if most > 0 && living >= most {
		return x, remote.ErrTooMany
	}
	for i, one := range pick {
		if x = one; !busy[one.Credential] {
			break
		}
		if i == len(pick)-1 {
			return x, remote.ErrNoneFree
		}
	}
	g.sessions[x.ID] = x
	if d.Link != nil {
		g.links[*d.Link], g.handles[*d.Handle] = x.ID, x.ID
	}
	g.events = append(g.events, e(x))
	return x, nil
}

func (g gateStore) ByID(_ context.Context, id string) (remote.Session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	x, ok := g.sessions[id]
	if !ok {
		return x, remote.ErrUnknown
	}
	return x, nil
}

func (g gateStore) ByLink(ctx context.Context, d [32]byte) (remote.Session, error) {
	return g.ByID(ctx, g.links[d])
}

func (g gateStore) ByHandle(ctx context.Context, d [32]byte) (remote.Session, error) {
	return g.ByID(ctx, g.handles[d])
}

func (g gateStore) ByCookie(ctx context.Context, id string, d [32]byte) (remote.Session, error) {
	if got, ok := g.cookies[id]; !ok || got != d {
		return remote.Session{}, remote.ErrUnknown
	}
	return g.ByID(ctx, id)
}

func (g gateStore) ByNumber(context.Context, int64) (remote.Session, error) {
	return remote.Session{}, remote.ErrUnknown
}

func (g gateStore) Change(ctx context.Context, id string, cookie *[32]byte, decide func(remote.Session) (remote.Session, []audit.Event, error)) (remote.Session, error) {
	x, err := g.ByID(ctx, id)
	if err != nil {
		return x, err
	}
	y, events, err := decide(x)
	if err != nil {
		return remote.Session{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[id].State != x.State {
		return remote.Session{}, remote.ErrOver
	}
	g.sessions[id] = y
	if cookie != nil {
		g.cookies[id] = *cookie
	}
	g.events = append(g.events, events...)
	return y, nil
}

func (g gateStore) SteppedUp(_ context.Context, user string, cookies [][32]byte) (at time.Time, _ error) {
	for id, c := range g.cookies {
		for _, one := range cookies {
			if x := g.sessions[id]; one == c && x.User.ID == user && x.SteppedUp.After(at) {
				at = x.SteppedUp
			}
		}
	}
	return at, nil
}

func (g gateStore) InsertRequest(ctx context.Context, r remote.Request, e func(remote.Request) audit.Event) (remote.Request, error) {
	if was, err := g.RequestOf(ctx, r.Session); err == nil {
		return was, nil
	}
	r.Number = int64(len(g.requests) + 1)
	g.requests[r.ID] = r
	x := g.sessions[r.Session]
	x.Expires = r.Expires
	g.sessions[x.ID], g.events = x, append(g.events, e(r))
	return r, nil
}

func (g gateStore) RequestOf(_ context.Context, session string) (remote.Request, error) {
	for _, r := range g.requests {
		if r.Session == session {
			return r, nil
		}
	}
	return remote.Request{}, remote.ErrNoRequest
}

func (g gateStore) RequestByNumber(_ context.Context, n int64) (remote.Request, error) {
	for _, r := range g.requests {
		if r.Number == n {
			return r, nil
		}
	}
	return remote.Request{}, remote.ErrNoRequest
}

func (g gateStore) ChangeRequest(_ context.Context, id string, decide func(remote.Request, remote.Session) (remote.Request, remote.Session, []audit.Event, error)) (remote.Request, error) {
	r := g.requests[id]
	r, x, events, err := decide(r, g.sessions[r.Session])
	if err != nil {
		return r, err
	}
	g.requests[id], g.sessions[x.ID], g.events = r, x, append(g.events, events...)
	return r, nil
}

func (g gateStore) Overdue(_ context.Context, now time.Time, _ int) (all []remote.Session, _ error) {
	for _, x := range g.sessions {
		if (x.State == remote.Issued || x.State == remote.Waiting) && !now.Before(x.Expires) {
			all = append(all, x)
		}
	}
	return all, nil
}
func (g gateStore) Purge(context.Context, time.Time, int) (int, error) { return 0, nil }

func (g gateStore) Requests(context.Context, remote.WhichRequests, page.Window) (page.Page[remote.Request], error) {
	return page.Page[remote.Request]{}, nil
}
