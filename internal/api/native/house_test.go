package native_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/native"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

const (
	password = "correct horse battery"
	local    = "http://localhost:8080"
)

// start is when every test begins.
var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// house is the API behind the front door, on real services and a SQLite file of its own. Its clock stands still unless the test turns it.
//
// Root holds every right; adam administers the installation, below root; beth administers the account "shop", to which dana belongs as well; finn has a
// security key, so that his sign-in waits; ci is an application.
type house struct {
	http.Handler
	api   *native.API
	mux   *api.Mux
	clock *clock
	db    *store.DB
	ids   map[string]string
	key   string // id of finn's security key
	shop  string // id of the account
	pid   string // id of project DEMO

	stream *webhook.Stream // what follows the events; the API has one that has ended
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{clock: &clock{now: start}, db: openStore(t), ids: map[string]string{}}
	at, err := url.Parse(local)
	must(t, err)
	h.build(h.db, newSealer(t))
	h.api.Cookies = api.Cookies{PublicURL: at}
	doc := native.NewDocument("test", local)
	h.api.Describe(doc)
	owner, err := native.New(doc, h.api.Routes()...)
	must(t, err)
	h.mux, err = api.Mount(owner)
	must(t, err)
	h.Handler = &api.Door{Handler: h.mux, Log: slog.New(slog.DiscardHandler), Now: h.clock.Now}
	h.furnish(t)
	return h
}

func openStore(t *testing.T) *store.DB {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	engine, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(t.TempDir(), "gatehouse.db")})
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
func (h *house) build(db *store.DB, sealer *secret.Sealer) {
	now := h.clock.Now
	hasher := secret.NewHasher(4, 10*time.Second)
	rights := &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: newID}
	users := &identity.Service{Store: store.Users{DB: db}, Hasher: hasher, Now: now, NewID: newID, TopRoles: access.TopRoles()}
	groups := &identity.Groups{Store: store.Groups{DB: db}, Now: now, NewID: newID, Weigh: rights.Weigh}
	accounts := &identity.Accounts{Store: store.Accounts{DB: db}, Now: now, NewID: newID, Weigh: groups.WeighLeaving}
	apps := &identity.Applications{Store: store.Applications{DB: db, Sealer: sealer}, Now: now, NewID: newID}
	sessions := &session.Service{
		Store: store.Sessions{DB: db}, Access: rights, Accounts: accounts, Now: now, NewID: newID,
		Users: session.Life{Idle: 24 * time.Hour, Max: 168 * time.Hour, Limit: 100},
		Apps:  session.Life{Idle: 10 * time.Minute, Max: 24 * time.Hour, Limit: 1000}, Wait: time.Hour, CacheFor: 2 * time.Second,
	}
	factors := &factor.Service{
		Store: store.Factors{DB: db, Sealer: sealer}, Now: now, NewID: newID, RPID: "localhost", RPName: "Gatehouse", Origins: []string{local},
		Wait: time.Hour, Talk: time.Hour, Tries: 5,
	}
	providers := &identity.Providers{Store: store.Providers{DB: db, Sealer: sealer}, Users: store.Users{DB: db}, Now: now, NewID: newID, Guarded: func(context.Context, string) (bool, error) { return false, nil }}
	projects := &project.Service{Store: store.Projects{DB: db}, Access: rights, Now: now, NewID: newID}
	hooks := &webhook.Service{
		Store: store.Webhooks{DB: db, Sealer: sealer}, Access: rights, Now: now, NewID: newID, Allowed: func(netip.Addr) bool { return true }, MaxPer: 10,
	}
	hooks.Start()
	subscriptions := &webhook.Subscriptions{Store: store.Subscriptions{DB: db, Sealer: sealer}, Hooks: hooks, Access: rights, Now: now, NewID: newID, Max: 3}
	subscriptions.Start()
	stream := func() *webhook.Stream {
		s := &webhook.Stream{
			Chain: store.Audit{DB: db}, Access: rights, Look: 20 * time.Millisecond, Beat: 50 * time.Millisecond, PerUser: 2,
			Living: func(ctx context.Context, by access.Caller) error { _, err := sessions.Own(ctx, by); return err },
		}
		s.Start()
		return s
	}
	h.stream = stream()
	ended := stream()
	ended.Stop() // tests that walk all operations wait for each answer
	tokens := &token.Accesses{
		Store: store.HTTPTokens{DB: db}, Access: rights, Reports: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute}, Now: now, NewID: newID,
		FreshFor: 10 * time.Minute, MaxPerScope: 100,
	}
	keys := &sshkey.Service{
		Store: store.SSHKeys{DB: db}, Access: rights, Now: now, NewID: newID, FreshFor: 10 * time.Minute, RequireProof: sshkey.ProofConsole, AccessKeys: true,
	}
	signIn := &login.Service{
		HTTPTokens: tokens, Tokens: &token.Service{Store: store.Tokens{DB: db}, Access: rights, Now: now, NewID: newID},
		Failures: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
		Audit:    &audit.Service{Store: store.Audit{DB: db}, Now: now, Folder: audit.NewFolder(time.Minute)},
		Access:   rights, Users: users, Applications: apps, Sessions: sessions, Lockout: guard.NewLockout(store.Guards{DB: db}, now),
		Hasher: hasher, MinFailure: time.Millisecond, QueueWait: 10 * time.Second, Now: now, Wait: func(context.Context, time.Duration) {},
		Policy: &policy.Service{Store: store.Policies{DB: db}, Access: rights, Now: now},
		Second: factors, Accounts: accounts, Enforcement: login.DemandNone, RefuseEnrolledBasic: true,
		ElevationFor: 10 * time.Minute, UnlockFor: 10 * time.Minute, FreshFor: 10 * time.Minute, ElevationTries: 5,
		Providers: providers, Flows: store.Flows{DB: db, Sealer: sealer}, Once: store.Once{DB: db}, NewID: newID, Directory: directory{},
	}
	providers.Check = signIn.CheckProvider
	rights.Standing = func(ctx context.Context, of access.Subject) (name, shut string, err error) {
		if of.Kind == access.Application {
			a, err := apps.ForLogin(ctx, of.ID)
			return a.Name, "", err
		}
		u, err := users.Store.ByID(ctx, of.ID)
		if u.Disabled {
			shut = "user " + u.Name + " is disabled"
		}
		return u.Name, shut, err
	}
	rights.Belongs = func(ctx context.Context, on access.Resource) (access.Resource, error) {
		switch on.Kind {
		case access.GroupKind:
			g, err := groups.Store.ByID(ctx, on.ID)
			return access.InAccount(g.Account, on.Kind, on.ID), err
		case access.ApplicationKind:
			a, err := apps.ForLogin(ctx, on.ID)
			return access.InAccount(a.Account, on.Kind, on.ID), err
		}
		return on, nil
	}
	devices := &device.Service{
		Store: store.Devices{DB: db}, Access: rights, Now: now, NewID: newID, Allowed: func(a netip.Addr) bool { return !a.IsLoopback() }, Scanner: hostKeys(),
	}
	credentials := &vault.Service{
		Store: store.Credentials{DB: db, Sealer: sealer}, Access: rights, Devices: devices, Now: now, NewID: newID, Held: time.Hour, FreshFor: 10 * time.Minute,
	}
	h.api = &native.API{
		Library: &remote.Library{
			Store: store.Recordings{DB: db}, Archive: tapes{}, Access: rights, Audit: &audit.Service{Store: store.Audit{DB: db}, Now: now}, Now: now, OnError: func(string, error) {},
		},
		Devices: devices, Vault: credentials, Remote: &remote.Service{
			Store: store.Remotes{DB: db}, Access: rights, Audit: signIn.Audit, Users: people{users, store.Remotes{DB: db}}, Devices: devices, Vault: credentials, Now: now, NewID: newID,
		},
		Repos: &repo.Service{Store: store.Repos{DB: db}, Access: rights, Projects: projects, Disk: disk{}, Now: now, NewID: newID}, Tokens: tokens, Keys: keys,
		SSH:   func() (string, int) { return "gate.example.test", 2222 },
		Login: signIn, Sessions: sessions, Access: rights, Users: users, Accounts: accounts, Groups: groups,
		Apps: apps, Authorizations: &identity.Authorizations{Store: store.Authorizations{DB: db}, Now: now, NewID: newID}, Providers: providers, Policy: signIn.Policy, Projects: projects, Webhooks: hooks, Subscriptions: subscriptions, Events: ended, FreshFor: 10 * time.Minute, BodyWait: 10 * time.Second, SendWait: 200 * time.Millisecond, Now: now,
		Keyproof: &keyproof.Service{
			Store: store.Keyproofs{DB: db, Webhooks: store.Webhooks{DB: db, Sealer: sealer}}, Access: rights, Projects: projects, Webhooks: hooks, Now: now, NewID: newID,
			MaxKeys: 32, MaxHooks: 10, CommitWait: 10 * time.Second, Keys: keys, OnFile: store.SSHKeyProofs{DB: db}, OnFileTime: 15 * time.Minute,
		},
	}
}

// tapes hold one terminal, whatever is asked for.
type tapes struct{}

func (tapes) Tracks(context.Context, string) ([]remote.TrackInfo, error) {
	return []remote.TrackInfo{{Name: "terminal", Kind: "terminal"}}, nil
}

func (tapes) Export(_ context.Context, _ string, x remote.Export, to io.Writer) error {
	_, err := fmt.Fprintf(to, "%s %s %v\n", x.Track, x.Format, x.Raw)
	return err
}

func (tapes) Erase(context.Context, string) error { return nil }

// people finds users for remote sessions.
type people struct {
	users    *identity.Service
	sessions store.Remotes
}

func (p people) ForRemote(ctx context.Context, id string) (remote.Person, error) {
	u, err := p.users.Store.ByID(ctx, id)
	if err != nil {
		return remote.Person{}, remote.ErrNoUser
	}
	groups, err := p.sessions.GroupsOf(ctx, u.ID)
	return remote.Person{User: u, Shut: u.Shut(), Groups: groups}, err
}

// disk is where no repository lies: this room never opens one.
type disk struct{}

func (disk) Create(context.Context, string, string) error { return nil }
func (disk) Remove(context.Context, string) error         { return nil }

// directory is an LDAP server that answers.
type directory struct{ login.Directory }

func (directory) Check(identity.Provider) error { return nil }

func (directory) Test(context.Context, identity.Provider) []login.Step {
	return []login.Step{{Name: "connect", OK: true, Note: "TLS 1.3"}, {Name: "bind", Note: "the password is wrong; give the right one"}}
}

func (h *house) furnish(t *testing.T) {
	t.Helper()
	ctx, a, root := t.Context(), h.api, access.LocalCaller("root", h.clock.Now())
	as := a.Access.For(root)
	for _, name := range []string{"root", "adam", "beth", "dana", "finn"} {
		u, err := a.Users.Add(ctx, as, identity.New{Name: name, Email: name + "@example.test", Password: secret.New(password)})
		must(t, err)
		h.ids[name] = u.ID
	}
	must(t, a.Access.Grant(ctx, root, access.Subject{Kind: access.User, ID: h.ids["root"]}, access.SysAdmin, access.Installation))
	must(t, a.Access.Grant(ctx, root, access.Subject{Kind: access.User, ID: h.ids["adam"]}, access.Admin, access.Installation))
	shop, err := a.Accounts.Create(ctx, as, "shop")
	must(t, err)
	h.shop = shop.ID
	must(t, a.Accounts.SetMember(ctx, as, shop.ID, h.ids["beth"], identity.Administrator))
	must(t, a.Accounts.SetMember(ctx, as, shop.ID, h.ids["dana"], identity.Ordinary))
	d, err := a.Login.ImportU2F(ctx, root, h.ids["finn"], "old key", []byte("handle of finn's"), point(), "https://old.example.test")
	must(t, err)
	h.key = d.ID
	app, plain, err := a.Apps.Create(ctx, as, identity.NewApplication{Account: shop.ID, Name: "ci"})
	must(t, err)
	h.ids["ci"], h.ids["cisecret"] = app.ID, plain.Reveal()
	p, err := a.Projects.Create(ctx, root, project.New{Key: "DEMO", Name: "Demo"})
	must(t, err)
	h.pid = p.ID
}

// signIn begins a session and returns its token.
func (h *house) signIn(t *testing.T, who string) string {
	t.Helper()
	p := login.Presented{
		Kind: login.Password, Name: who, Secret: secret.New(password), Address: netip.MustParseAddr("192.0.2.1"), Door: "test", Accepts: []login.Kind{login.Password, login.AppSecret},
	}
	if who == "ci" {
		p.Kind, p.Name, p.Secret = login.AppSecret, h.ids["ci"], secret.New(h.ids["cisecret"])
	}
	in, err := h.api.Login.SignIn(t.Context(), p, login.Begin{UserAgent: "test"})
	must(t, err)
	h.ids[who+"session"] = in.Session.ID
	return in.Token.Reveal()
}

// secondFactor is what finn proves: his pending session is active then.
func (h *house) secondFactor(t *testing.T, token string) {
	t.Helper()
	x, err := h.api.Sessions.Check(t.Context(), secret.New(token), netip.MustParseAddr("192.0.2.1"))
	must(t, err)
	_, _, err = h.api.Sessions.Complete(t.Context(), x.Caller(netip.MustParseAddr("192.0.2.1"), "test", ""))
	must(t, err)
}

// arrive lets somebody whom nobody has added come from an OpenID Connect provider.
func (h *house) arrive(t *testing.T) {
	t.Helper()
	p := h.provide(t, identity.Provider{Kind: identity.OIDC, Name: "Corp", Settings: identity.ProviderSettings{
		JIT: identity.JIT{Provision: true, Groups: "groups"}, OIDC: &identity.OIDCSettings{Issuer: "https://id.example.test", ClientID: "gatehouse"},
	}})
	_, err := h.api.Providers.Arrive(t.Context(), p, identity.Visitor{Subject: "s-9", Name: "gina", Email: "gina@example.test", Display: "Gina", Groups: []string{"developers"}})
	must(t, err)
}

// unsupported adds a provider by which nobody can sign in, as a dialect may.
func (h *house) unsupported(t *testing.T) {
	t.Helper()
	h.provide(t, identity.Provider{Kind: identity.LDAP, Name: "Old", Settings: identity.ProviderSettings{
		Unsupported: "Old directories are not supported.", LDAP: &identity.LDAPSettings{URL: "ldaps://ldap.example.test", Resolve: "upn"},
	}})
}

// provide adds a provider without asking whether it can work.
func (h *house) provide(t *testing.T, p identity.Provider) identity.Provider {
	t.Helper()
	root := access.LocalCaller("root", h.clock.Now())
	p.ID, p.Enabled, p.Created, p.Updated = newID(), true, h.clock.Now(), h.clock.Now()
	copy(p.Handle[:], p.Name)
	p, err := h.api.Providers.Store.Insert(t.Context(), p, root.Event(h.clock.Now(), access.ProviderCreate, access.Resource{Kind: "provider", ID: p.ID}, audit.Done))
	must(t, err)
	return p
}

// fail gives every delivery up.
func (h *house) fail(t *testing.T) {
	t.Helper()
	must(t, h.db.Write(context.WithoutCancel(t.Context()), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE webhook_deliveries SET state = 'failed', attempts = 1, reason = 'no answer'`)
		return err
	}))
}

// cookie begins a session of a browser.
func (h *house) cookie(t *testing.T, who string) string {
	t.Helper()
	p := login.Presented{Kind: login.Password, Name: who, Secret: secret.New(password), Address: netip.MustParseAddr("192.0.2.1"), Door: "test", Accepts: []login.Kind{login.Password}}
	in, err := h.api.Login.SignIn(t.Context(), p, login.Begin{Transport: session.Cookie, UserAgent: "browser"})
	must(t, err)
	return in.Token.Reveal()
}

// proof makes a proof of project DEMO that a webhook hears of, which is over after a minute.
func (h *house) proof(t *testing.T) {
	t.Helper()
	_, err := h.api.Keyproof.Create(t.Context(), access.LocalCaller("root", h.clock.Now()), h.pid, keyproof.Collect, keyproof.Draft{
		Timeout: time.Minute, Webhooks: []webhook.Webhook{{URL: "https://shop.example.test/hook"}},
	})
	must(t, err)
}

// push records a push to OPS/infra, which dana sends with one of her keys.
func (h *house) push(t *testing.T) {
	t.Helper()
	by := access.Caller{Principal: access.Principal{Kind: access.User, ID: h.ids["dana"], Name: "dana"}, Credential: "a-key", Address: netip.MustParseAddr("192.0.2.1"), Door: "ssh"}
	r, err := h.api.Repos.ByPath(t.Context(), access.LocalCaller("root", h.clock.Now()), "OPS", "infra")
	must(t, err)
	must(t, h.api.Repos.RecordPush(t.Context(), by, r, []repo.Ref{{Name: "refs/heads/main", Old: strings.Repeat("0", 40), New: strings.Repeat("1", 40)}}))
}

func (h *house) call(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
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

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
