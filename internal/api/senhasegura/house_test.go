package senhasegura_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/senhasegura"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// start is when every test begins.
var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// here is where the calls of tests come from.
var here = netip.MustParsePrefix("192.0.2.0/24")

// house is the dialect behind the front door, on real services and a SQLite file of its own. Its clock stands still unless the test turns it.
type house struct {
	http.Handler
	dialect  *senhasegura.Dialect
	mux      *api.Mux
	clock    *clock
	db       *store.DB
	dir      string // where the database lies
	rights   *access.Service
	users    *identity.Service
	groups   *identity.Groups
	apps     *identity.Applications
	log      *logged
	observed *observed

	app     string // id of the application billing
	clients map[string]client
	vars    map[string]string
}

// client is an authorization as a program has it.
type client struct{ id, client, secret, bearer string }

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{clock: &clock{now: start}, clients: map[string]client{}, vars: map[string]string{}, log: &logged{}, observed: &observed{}}
	h.dir = t.TempDir()
	h.db = openStore(t, h.dir)
	h.build(newSealer(t))
	var err error
	h.mux, err = api.Mount(h.dialect.Owner(), api.Owner{Name: "native", Prefixes: []string{"/api/v1"}})
	must(t, err)
	h.Handler = &api.Door{Handler: h.mux, Log: slog.New(slog.NewTextHandler(h.log, nil)), Now: h.clock.Now, Observe: h.observed.note}
	h.furnish(t)
	return h
}

func openStore(t *testing.T, dir string) *store.DB {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	engine, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "gatehouse.db")})
	must(t, err)
	t.Cleanup(func() { must(t, engine.Close()) })
	must(t, engine.Migrate(ctx))
	return &store.DB{Engine: engine}
}

func newSealer(t *testing.T) *secret.Sealer {
	t.Helper()
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	must(t, err)
	sealer, err := secret.OpenKeyset(master, wrapped)
	must(t, err)
	return sealer
}

// build makes the services as the program does.
func (h *house) build(sealer *secret.Sealer) {
	now, db := h.clock.Now, h.db
	h.rights = &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: newID}
	h.users = &identity.Service{Store: store.Users{DB: db}, Now: now, NewID: newID, TopRoles: access.TopRoles()}
	h.groups = &identity.Groups{Store: store.Groups{DB: db}, Now: now, NewID: newID, Weigh: h.rights.Weigh}
	h.apps = &identity.Applications{Store: store.Applications{DB: db, Sealer: sealer}, Now: now, NewID: newID}
	authorizations := &identity.Authorizations{Store: store.Authorizations{DB: db}, Now: now, NewID: newID, PerMinute: 600}
	devices := &device.Service{
		Store: store.Devices{DB: db}, Access: h.rights, Now: now, NewID: newID,
		Allowed: func(a netip.Addr) bool { return !a.IsLoopback() },
	}
	credentials := &vault.Service{
		Store: store.Credentials{DB: db, Sealer: sealer}, Access: h.rights, Devices: devices, Now: now, NewID: newID, Held: 30 * time.Minute,
		OnError: func(string, error) {},
	}
	h.dialect = &senhasegura.Dialect{
		Login: &login.Service{
			Authorizations: authorizations, Access: h.rights, Users: h.users, Applications: h.apps, Now: now,
			Failures:       &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
			ClientFailures: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 9, Window: time.Minute},
			Audit:          &audit.Service{Store: store.Audit{DB: db}, Now: now, Folder: audit.NewFolder(time.Minute)},
		},
		Authorizations: authorizations, Devices: devices, Vault: credentials, Remote: h.remote(credentials),
		Tenant: "gatehouse", PublicURL: "https://gate.example.test", Node: "node-1", Timeout: time.Minute, BodyWait: 10 * time.Second, Now: now,
		OnError: func(doing string, err error) { panic(doing + ": " + err.Error()) },
	}
}

func root(h *house) access.Caller { return access.LocalCaller("root", h.clock.Now()) }

// furnish makes people, devices, credentials and authorizations.
func (h *house) furnish(t *testing.T) {
	t.Helper()
	ctx, by, d := t.Context(), root(h), h.dialect
	as := h.rights.For(by)
	for _, name := range []string{"mlopes", "ana", "otto"} {
		u, err := h.users.Add(ctx, as, identity.New{Name: name, Email: name + "@example.test"})
		must(t, err)
		h.vars[name] = u.ID
	}
	must(t, d.Devices.AddDomain(ctx, by, "corp.example.net"))
	h.addDevice(t, "web-01.example.net", "10.2.0.11", nil, "SSH:22", "HTTPS:443")
	h.addDevice(t, "dc-01", "10.2.0.14", []string{"corp.example.net"}, "SSH:22", "RDP:3389")
	h.addDevice(t, "dc-02", "10.2.0.15", []string{"corp.example.net"}, "RDP:3390", "SSH:22")
	h.addDevice(t, "hidden", "10.2.0.99", nil, "SSH:22")
	h.addCredential(t, "web-01.example.net", "svc-web", "pw-svc-web", "web-svc", "")
	h.addCredential(t, "dc-01", "ops1", "pw-ops1", "corp-ops1", "corp.example.net")
	h.addCredential(t, "hidden", "root", "pw-root", "hidden-root", "")
	app, _, err := h.apps.Create(ctx, as, identity.NewApplication{Account: identity.DefaultAccount, Name: "billing"})
	must(t, err)
	h.app = app.ID
	both := []string{identity.PAMCore, identity.WebProxySession}
	h.authorize(t, "full", identity.NewAuthorization{Resources: both, Writes: true})
	h.authorize(t, "reader", identity.NewAuthorization{Resources: both})
	h.authorize(t, "core", identity.NewAuthorization{Resources: both[:1], Writes: true})
	h.authorize(t, "proxy", identity.NewAuthorization{Resources: both[1:], Writes: true})
	h.authorize(t, "picker", identity.NewAuthorization{Resources: both, Writes: true, AutoPick: true})
	h.authorize(t, "stranger", identity.NewAuthorization{Resources: both, Writes: true}, "nothing is listed")
	h.authorize(t, "far", identity.NewAuthorization{Resources: both, Writes: true, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	h.authorize(t, "nowhere", identity.NewAuthorization{Resources: both, Writes: true, Addresses: []netip.Prefix{}})
	h.authorize(t, "referred", identity.NewAuthorization{Resources: both, Writes: true, Referrers: []string{"https://tools.example.test"}})
}

func (h *house) addDevice(t *testing.T, host, ip string, domains []string, connect ...string) {
	t.Helper()
	in := device.New{Host: host, IP: netip.MustParseAddr(ip), Domains: &domains, Connect: &[]device.Connectivity{}}
	for _, c := range connect {
		name, port, _ := strings.Cut(c, ":")
		*in.Connect = append(*in.Connect, device.Connectivity{Name: name, Port: map[string]int{"22": 22, "443": 443, "3389": 3389, "3390": 3390}[port]})
	}
	x, err := h.dialect.Devices.Create(t.Context(), root(h), in)
	must(t, err)
	h.vars[strings.NewReplacer("-", "", ".example.net", "", "0", "", "1", "one", "2", "two").Replace(host)] = x.ID
}

func (h *house) addCredential(t *testing.T, host, username, plain, identifier, domain string) vault.Credential {
	t.Helper()
	at, err := h.dialect.Devices.Find(t.Context(), root(h), host)
	must(t, err)
	x, err := h.dialect.Vault.Create(t.Context(), root(h), vault.New{Device: at.ID, Username: username, Secret: secret.New(plain), Identifier: identifier, Domain: &domain})
	must(t, err)
	return x
}

// authorize makes an authorization that reaches all but the device "hidden" unless nothing is to be listed, and gets it a token.
func (h *house) authorize(t *testing.T, name string, in identity.NewAuthorization, nothing ...string) {
	t.Helper()
	ctx, by := t.Context(), root(h)
	in.Application, in.Name = h.app, name
	if in.Addresses == nil {
		in.Addresses = []netip.Prefix{here}
	}
	a, plain, err := h.dialect.Authorizations.Create(ctx, h.rights.For(by), in)
	must(t, err)
	if len(nothing) == 0 {
		h.list(t, a.ID)
	}
	token, _, err := h.dialect.Authorizations.Issue(ctx, a, here.Addr(), "test")
	must(t, err)
	h.clients[name] = client{a.ID, a.ClientID, plain.Reveal(), token.Reveal()}
	h.vars[name], h.vars[name+"client"], h.vars[name+"secret"] = token.Reveal(), a.ClientID, plain.Reveal()
}

func (h *house) list(t *testing.T, authorization string) {
	t.Helper()
	ctx, by := t.Context(), root(h)
	to := access.Subject{Kind: access.Authorization, ID: authorization}
	devices, err := h.dialect.Devices.List(ctx, by, page.Of(0, 100))
	must(t, err)
	for _, x := range devices.Items {
		if x.Host != "hidden" {
			must(t, h.rights.Grant(ctx, by, to, access.DeviceListed, x.Resource()))
		}
	}
	credentials, err := h.dialect.Vault.List(ctx, by, page.Of(0, 100))
	must(t, err)
	for _, x := range credentials.Items {
		if x.Device.Host != "hidden" {
			must(t, h.rights.Grant(ctx, by, to, access.CredentialListed, x.Resource()))
		}
	}
	for _, name := range []string{"mlopes", "ana"} {
		must(t, h.rights.Grant(ctx, by, to, access.UserListed, access.Resource{Kind: access.UserKind, ID: h.vars[name]}))
	}
}

// call sends a request as a client of that name; "" sends no Authorization.
func (h *house) call(as, method, path, kind, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+h.clients[as].bearer)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// logged is what the front door writes to its log.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// observed is the latest that metrics were told.
type observed struct {
	mu   sync.Mutex
	last api.Observation
}

func (o *observed) note(x api.Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = x
}

// clock stands still until somebody turns it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// people finds users for remote sessions.
func (h *house) person(ctx context.Context, name string) (identity.User, error) {
	u, err := h.users.Store.ByName(ctx, identity.DefaultAccount, identity.Fold(name))
	if fault.Is(err, fault.NotFound) {
		u, err = h.users.Store.ByID(ctx, name)
	}
	return u, err
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
