package fortanix_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/fortanix"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

const (
	password = "correct: horse battery" // passwords may hold colons
	email    = "dana@example.test"
	local    = "http://localhost:8080"
)

// start is when every test begins.
var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// house is the dialect behind the front door, on real services and a SQLite file of its own. Its clock
// stands still unless the test turns it, and waiting takes no time.
type house struct {
	http.Handler
	dialect *fortanix.Dialect
	mux     *api.Mux
	clock   *clock
	hasher  *countingHasher
	waited  *waits
	down    atomic.Bool // the store cannot be reached

	captcha   *guard.Captcha
	providers *identity.Providers

	admin, dana string // ids of users; both have the same password, and Dana is an ordinary member
	app, secret string // an application of the default account
	other       string // an account that only the administrator belongs to
}

func newHouse(t *testing.T, public string) *house {
	t.Helper()
	h := &house{clock: &clock{now: start}, waited: &waits{}}
	h.hasher = &countingHasher{}
	at, err := url.Parse(public)
	must(t, err)
	h.build(openStore(t), newSealer(t))
	h.dialect.Cookies = api.Cookies{PublicURL: at}
	h.mux, err = api.Mount(h.dialect.Owner())
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
	rights := &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: newID}
	users := &identity.Service{Store: store.Users{DB: db}, Hasher: h.hasher, Now: now, NewID: newID, TopRoles: access.TopRoles()}
	accounts := &identity.Accounts{Store: store.Accounts{DB: db}, Now: now, NewID: newID}
	apps := &identity.Applications{Store: store.Applications{DB: db, Sealer: sealer}, Now: now, NewID: newID}
	sessions := &session.Service{
		Store: store.Sessions{DB: db}, Access: rights, Accounts: accounts, Now: now, NewID: newID,
		Users: session.Life{Idle: 24 * time.Hour, Max: 168 * time.Hour, Limit: 100},
		Apps:  session.Life{Idle: 10 * time.Minute, Max: 24 * time.Hour, Limit: 1000}, Wait: 5 * time.Minute, CacheFor: 2 * time.Second,
	}
	factors := &factor.Service{
		Store: store.Factors{DB: db, Sealer: sealer}, Now: now, NewID: newID, RPID: "localhost", RPName: "Gatehouse", Origins: []string{local},
		Wait: 5 * time.Minute, Talk: 10 * time.Minute, Tries: 5,
	}
	h.captcha = &guard.Captcha{Sealer: sealer, Once: store.Once{DB: db}, Now: now, Life: 5 * time.Minute}
	h.providers = &identity.Providers{Store: store.Providers{DB: db, Sealer: sealer}, Users: store.Users{DB: db}, Now: now, NewID: newID, Guarded: func(context.Context, string) (bool, error) { return false, nil }}
	apps.Providers = h.providers.Store
	h.dialect = &fortanix.Dialect{
		Login: &login.Service{
			Tokens:   &token.Service{Store: store.Tokens{DB: db}, Access: rights, Now: now, NewID: newID},
			Failures: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
			Audit:    &audit.Service{Store: store.Audit{DB: db}, Now: now, Folder: audit.NewFolder(time.Minute)},
			Access:   rights, Users: users, Applications: apps, Sessions: sessions, Lockout: guard.NewLockout(store.Guards{DB: db}, now),
			Hasher: h.hasher, MinFailure: 250 * time.Millisecond, QueueWait: 10 * time.Second, Now: now, Wait: h.waited.wait,
			Policy: &policy.Service{Store: store.Policies{DB: db}, Access: rights, Now: now},
			Second: factors, Accounts: accounts, Enforcement: login.DemandNone, RefuseEnrolledBasic: true,
			ElevationFor: 10 * time.Minute, UnlockFor: 10 * time.Minute, FreshFor: 10 * time.Minute, ElevationTries: 5,
			Providers: h.providers, Flows: store.Flows{DB: db, Sealer: sealer}, Once: store.Once{DB: db}, NewID: newID, Directory: phoneBook{}, Cloud: cloud{},
			Federations: map[identity.ProviderKind]login.Federation{identity.OIDC: federation{}, identity.SAML: federation{}},
			Discoveries: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 60, Window: time.Minute},
		},
		Sessions: sessions, Factors: factors, Captcha: h.captcha, Access: rights, Users: users, Accounts: accounts,
		Groups: &identity.Groups{Store: store.Groups{DB: db}, Now: now, NewID: newID}, Apps: apps,
		FreshFor: 10 * time.Minute, BodyWait: 10 * time.Second, Now: now,
		Ready: func(context.Context) error {
			if h.down.Load() {
				return io.ErrUnexpectedEOF
			}
			return nil
		},
	}
}

// furnish makes an administrator, a member, an application and a second account.
func (h *house) furnish(t *testing.T) {
	t.Helper()
	ctx, d := t.Context(), h.dialect
	root := d.Access.For(access.LocalCaller("root", h.clock.Now()))
	_, err := d.Users.EnsureFirst(ctx, secret.New(password))
	must(t, err)
	u, err := d.Users.ByName(ctx, root, identity.FirstName)
	must(t, err)
	h.admin = u.ID
	u, err = d.Users.Add(ctx, root, identity.New{Name: "dana", Email: email, Password: secret.New(password)})
	must(t, err)
	h.dana = u.ID
	a, plain, err := d.Apps.Create(ctx, root, identity.NewApplication{Account: identity.DefaultAccount, Name: "build-agent"})
	must(t, err)
	h.app, h.secret = a.ID, plain.Reveal()
	b, err := d.Accounts.Create(ctx, root, "other")
	must(t, err)
	h.other = b.ID
	h.hasher.checks.Store(0)
}

// post sends a request without a Content-Type, as many clients of this wire do.
func (h *house) post(path, authorization, body string, header ...string) *httptest.ResponseRecorder {
	return h.call("POST", path, authorization, body, header...)
}

func (h *house) call(method, path, authorization, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// signIn begins a session by Basic and returns the Authorization header of its bearer.
func (h *house) signIn(t *testing.T, basic string) string {
	t.Helper()
	w := h.post("/sys/v1/session/auth", basic, "")
	want(t, w, http.StatusOK, "")
	return "Bearer " + accessToken(t, w)
}

func accessToken(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var in struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &in); err != nil || len(in.Token) != 86 {
		t.Fatalf("no token in %s", w.Body)
	}
	return in.Token
}

func (h *house) asDana() string { return basic(email, password) }
func (h *house) asApp() string  { return basic(h.app, h.secret) }

func basic(name, secret string) string { return "Basic " + base64Of([]byte(name+":"+secret)) }

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// plain is what base64 says; nothing where it is none.
func plain(text string) string {
	b, _ := base64.StdEncoding.DecodeString(text)
	return string(b)
}

// want compares an answer's status and, where one is given, its body to the byte.
func want(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || body != "" && w.Body.String() != body {
		t.Fatalf("answered %d %q, want %d %q", w.Code, w.Body, status, body)
	}
}

// countingHasher counts the hashes that checks cost, and can be busy.
type countingHasher struct {
	plainHasher
	checks atomic.Int64
	busy   atomic.Bool
}

func (c *countingHasher) Check(ctx context.Context, phc string, p secret.String) (bool, bool, error) {
	c.checks.Add(1)
	if c.busy.Load() {
		return false, false, secret.ErrBusy
	}
	return c.plainHasher.Check(ctx, phc, p)
}

func (c *countingHasher) CheckNobody(ctx context.Context, p secret.String) error {
	c.checks.Add(1)
	return c.plainHasher.CheckNobody(ctx, p)
}

// waits notes how long failures would have been held back.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) wait(_ context.Context, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
}

// last returns how many waits there were, and the latest.
func (w *waits) last() (int, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 {
		return 0, 0
	}
	return len(w.all), w.all[len(w.all)-1]
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
