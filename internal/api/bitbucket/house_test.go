package bitbucket_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" // the wire's TOTP is SHA-1 (RFC 6238)
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/bitbucket"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/idp/oidc"
	"github.com/gatehouse-project/gatehouse/internal/idp/saml"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

const (
	password = "correct: horse battery" // passwords may hold colons
	local    = "http://localhost:8080"
	puzzle   = "H4X7KP" // what every CAPTCHA shows
)

// house is the dialect behind the front door, on real services and a SQLite file of its own. Its clock
// stands still unless the test turns it, and waiting takes no time.
type house struct {
	http.Handler
	dialect  *bitbucket.Dialect
	login    *login.Service
	users    *identity.Service
	apps     *identity.Applications
	accounts *identity.Accounts
	provided *identity.Providers
	policies *overtaken
	projects *project.Service
	repos    *repo.Service
	keys     *sshkey.Service
	tokens   *token.Accesses
	groups   *identity.Groups
	reasons  []string // why the house is not ready
	mux      *api.Mux
	clock    *clock
	hasher   *hasher
	waited   atomic.Int64

	// Everybody has the same password but olga, who has none. admin is a system administrator, mara an administrator, dana and erin are nobody special;
	// erin has set up an app.
	ids       map[string]string // by user name
	bearers   map[string]string // a session of each
	program   string            // the session of an application
	appID     string
	appSecret string
	erin      string // secret of erin's app
	erinKey   string // erin's recovery key
}

func newHouse(t *testing.T, public string) *house {
	t.Helper()
	return newHouseThatDemands(t, public, login.DemandNone)
}

func newHouseThatDemands(t *testing.T, public, enforcement string) *house {
	t.Helper()
	h := &house{clock: &clock{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}, hasher: &hasher{}, ids: map[string]string{}, bearers: map[string]string{}}
	at, err := url.Parse(public)
	must(t, err)
	h.build(openStore(t), newSealer(t), at)
	h.mux, err = api.Mount(h.dialect.Owner())
	must(t, err)
	h.Handler = coding{&api.Door{Handler: h.mux, Log: slog.New(slog.DiscardHandler), Now: h.clock.Now}, h.clock}
	h.furnish(t)
	h.login.Enforcement = enforcement
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
func (h *house) build(db *store.DB, sealer *secret.Sealer, public *url.URL) {
	now := h.clock.Now
	rights := &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: newID}
	h.users = &identity.Service{Store: store.Users{DB: db}, Hasher: h.hasher, Now: now, NewID: newID, TopRoles: access.TopRoles()}
	h.accounts = &identity.Accounts{Store: store.Accounts{DB: db}, Now: now, NewID: newID}
	h.apps = &identity.Applications{Store: store.Applications{DB: db, Sealer: sealer}, Now: now, NewID: newID}
	sessions := &session.Service{
		Store: store.Sessions{DB: db}, Access: rights, Accounts: h.accounts, Now: now, NewID: newID,
		Users: session.Life{Idle: 24 * time.Hour, Max: 168 * time.Hour, Limit: 100},
		Apps:  session.Life{Idle: 10 * time.Minute, Max: 24 * time.Hour, Limit: 1000}, Wait: 5 * time.Minute, CacheFor: 2 * time.Second,
	}
	h.policies = &overtaken{Store: store.Policies{DB: db}}
	h.tokens = &token.Accesses{
		Store: store.HTTPTokens{DB: db}, Access: rights, Reports: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
		Now: now, NewID: newID, UsedEvery: time.Minute, FreshFor: 10 * time.Minute, MaxPerScope: 100,
	}
	h.login = &login.Service{
		HTTPTokens: h.tokens,
		Tokens:     &token.Service{Store: store.Tokens{DB: db}, Access: rights, Now: now, NewID: newID},
		Failures:   &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
		Audit:      &audit.Service{Store: store.Audit{DB: db}, Now: now, Folder: audit.NewFolder(time.Minute)},
		Access:     rights, Users: h.users, Applications: h.apps, Sessions: sessions, Accounts: h.accounts, Lockout: guard.NewLockout(store.Guards{DB: db}, now),
		Second: &factor.Service{
			Store: store.Factors{DB: db, Sealer: sealer}, Now: now, NewID: newID, RPID: public.Hostname(), RPName: "Gatehouse", Origins: []string{public.String()},
			Wait: 5 * time.Minute, Talk: 10 * time.Minute, Tries: 5,
		},
		Hasher: h.hasher, MinFailure: 250 * time.Millisecond, QueueWait: 10 * time.Second, Now: now, Wait: func(context.Context, time.Duration) { h.waited.Add(1) },
		Policy:      &policy.Service{Store: h.policies, Access: rights, Now: now},
		Enforcement: login.DemandNone, RefuseEnrolledBasic: true,
		ElevationFor: 10 * time.Minute, UnlockFor: 10 * time.Minute, FreshFor: 10 * time.Minute, ElevationTries: 5,
	}
	h.provided = &identity.Providers{
		Store: store.Providers{DB: db, Sealer: sealer}, Users: store.Users{DB: db}, Now: now, NewID: newID, Check: h.login.CheckProvider,
		Guarded: func(context.Context, string) (bool, error) { return false, nil },
		Heavy:   func(context.Context, string) (bool, error) { return false, nil },
	}
	h.login.Providers = h.provided
	h.login.Federations = map[identity.ProviderKind]login.Federation{
		identity.OIDC: &oidc.Federation{Client: http.DefaultClient, RedirectURI: local + "/oauth", Now: now},
		identity.SAML: &saml.Federation{EntityID: local + "/saml/metadata.xml", ACS: local + "/saml", Now: now},
	}
	h.projects = &project.Service{Store: store.Projects{DB: db}, Access: rights, Now: now, NewID: newID}
	h.repos = &repo.Service{Store: store.Repos{DB: db}, Access: rights, Projects: h.projects, Disk: disk{}, Now: now, NewID: newID}
	h.keys = &sshkey.Service{
		Store: store.SSHKeys{DB: db}, Access: rights, Now: now, NewID: newID, UsedEvery: time.Minute, FreshFor: 10 * time.Minute, RequireProof: sshkey.ProofConsole, AccessKeys: true,
	}
	h.groups = &identity.Groups{Store: store.Groups{DB: db}, Now: now, NewID: newID, Weigh: rights.Weigh}
	rights.Belongs = belongs(h.groups.Store)
	h.dialect = &bitbucket.Dialect{
		Login: h.login, Access: rights, Providers: h.provided, Policy: h.login.Policy, Cookies: api.Cookies{PublicURL: public}, BodyWait: 10 * time.Second,
		Users: h.users, Projects: h.projects, Repos: h.repos, Keys: h.keys, Now: now, Groups: h.groups, Ready: func(context.Context) []string { return h.reasons },
		SSH: func() bitbucket.SSHDoor {
			return bitbucket.SSHDoor{Host: "gate.example.test", Port: 2222, Fingerprint: "SHA256:uNiVztksCsDhcc0u9e8BrJQXVUpKZIDTMczCvj3tD2s"}
		},
		Captcha: &guard.Captcha{Sealer: sealer, Once: store.Once{DB: db}, Now: now, Life: 5 * time.Minute, Choose: func() string { return puzzle }},
	}
}

// furnish makes people and a program, each with a session, and erin's app.
func (h *house) furnish(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	root := access.LocalCaller("root", h.clock.Now())
	by := h.login.Access.For(root)
	_, err := h.users.EnsureFirst(ctx, secret.New(password))
	must(t, err)
	for _, name := range []string{"dana", "erin", "mara", "olga"} {
		in := identity.New{Name: name, Email: name + "@example.test", Password: secret.New(password)}
		if name == "olga" {
			in.Password = secret.String{}
		}
		_, err := h.users.Add(ctx, by, in)
		must(t, err)
	}
	for _, name := range []string{"admin", "dana", "erin", "mara", "olga"} {
		u, err := h.users.ByName(ctx, by, name)
		must(t, err)
		h.ids[name] = u.ID
		h.bearers[name] = h.session(t, name, session.Active)
	}
	must(t, h.login.Access.Grant(ctx, root, access.Subject{Kind: access.User, ID: h.ids["mara"]}, access.Admin, access.Installation))
	a, plain, err := h.apps.Create(ctx, by, identity.NewApplication{Account: identity.DefaultAccount, Name: "build-agent"})
	must(t, err)
	h.appID, h.appSecret = a.ID, plain.Reveal()
	in, err := h.login.SignIn(ctx, login.Presented{
		Kind: login.AppSecret, Name: a.ID, Secret: plain, Accepts: []login.Kind{login.AppSecret}, Address: netip.MustParseAddr("192.0.2.1"),
	}, login.Begin{})
	must(t, err)
	h.program = in.Token.Reveal()
	h.erin, h.erinKey = h.setUp(t, "erin")
	h.hasher.checks.Store(0)
	h.waited.Store(0)
}

// settle makes projects and repositories: 1, OPS, with 1, infra, and 2, site, of which dana is the administrator, and olga that of infra alone; erin reads OPS; and 2,
// PRJ, with 3, my-repo, which are mara's.
func (h *house) settle(t *testing.T) {
	t.Helper()
	ctx, root := t.Context(), access.LocalCaller("root", h.clock.Now())
	give := func(name string, role access.Role, on access.Resource) {
		must(t, h.login.Access.Grant(ctx, root, access.Subject{Kind: access.User, ID: h.ids[name]}, role, on))
	}
	create := func(p project.Project, name string) repo.Repo {
		r, err := h.repos.Create(ctx, root, p, repo.New{Name: name})
		must(t, err)
		return r
	}
	ops, err := h.projects.Create(ctx, root, project.New{Key: "OPS", Name: "Operations"})
	must(t, err)
	give("dana", access.ProjectAdmin, ops.Resource())
	give("erin", access.ProjectReader, ops.Resource())
	give("olga", access.RepoAdmin, create(ops, "infra").Resource())
	create(ops, "site")
	prj, err := h.projects.Create(ctx, root, project.New{Key: "PRJ", Name: "Project"})
	must(t, err)
	give("mara", access.ProjectAdmin, prj.Resource())
	create(prj, "my-repo")
}

// belongs tells of groups alone what they belong to.
func belongs(groups identity.GroupStore) func(context.Context, access.Resource) (access.Resource, error) {
	return func(ctx context.Context, on access.Resource) (access.Resource, error) {
		g, err := groups.ByID(ctx, on.ID)
		if err != nil {
			return on, nil //nolint:nilerr // what is not there belongs to nothing
		}
		on.Parents = []access.Resource{access.Account(g.Account)}
		return on, nil
	}
}

// disk is where no repository lies: this room never opens one.
type disk struct{}

func (disk) Create(context.Context, string, string) error { return nil }
func (disk) Remove(context.Context, string) error         { return nil }

// session begins one for somebody as if they had signed in just now.
func (h *house) session(t *testing.T, name string, state session.State) string {
	t.Helper()
	who := access.Caller{Principal: access.Principal{Kind: access.User, ID: h.ids[name], Name: name}, Method: string(login.Password), At: h.clock.Now(), Scopes: []access.Action{"*"}, Door: "test"}
	token, _, err := h.login.Sessions.Start(t.Context(), who, session.New{State: state, Transport: session.Bearer})
	must(t, err)
	return token.Reveal()
}

// caller is somebody by their session.
func (h *house) caller(t *testing.T, name string) access.Caller {
	t.Helper()
	by, err := h.login.Authenticate(t.Context(), login.Presented{
		Kind: login.Session, Secret: secret.New(h.bearers[name]), Accepts: []login.Kind{login.Session}, Door: "test",
	})
	must(t, err)
	return by
}

// setUp gives somebody an app and returns its secret and the recovery key. Half a minute passes, so that the next code is a new one.
func (h *house) setUp(t *testing.T, name string) (app, key string) {
	t.Helper()
	by := h.caller(t, name)
	_, err := h.login.ElevateByPassword(t.Context(), by, secret.New(password))
	must(t, err)
	e, err := h.login.StartVoluntary(t.Context(), by)
	must(t, err)
	in, err := h.login.CompleteVoluntary(t.Context(), by, e.Token, secret.New(code(e.Secret.Reveal(), h.clock.Now())))
	must(t, err)
	h.clock.pass(30 * time.Second)
	return e.Secret.Reveal(), in.Recovery.Reveal()
}

// code computes a TOTP code by the book (RFC 6238): the service is tested with codes that it did not make.
func code(key string, at time.Time) string {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key)
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha1.New, raw)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	from := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[from:from+4])&0x7fffffff%1_000_000)
}

// coding lets testdata ask for a code: code(SECRET) in a body is what the app shows now, wrong(SECRET) is none that it shows around now.
type coding struct {
	http.Handler
	clock *clock
}

var asked = regexp.MustCompile(`(code|wrong)\(([A-Z2-7]{32})\)`)

func (c coding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	body = asked.ReplaceAllFunc(body, func(m []byte) []byte {
		part := asked.FindSubmatch(m)
		now := c.clock.Now()
		if string(part[1]) == "code" {
			return []byte(code(string(part[2]), now))
		}
		return []byte(code(string(part[2]), now.Add(time.Hour)))
	})
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	c.Handler.ServeHTTP(w, r)
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

func (h *house) bearer(name string) string { return "Bearer " + h.bearers[name] }

func basic(name, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+secret))
}

// want compares an answer's status and, where one is given, its body to the byte.
func want(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || body != "" && strings.TrimSuffix(w.Body.String(), "\n") != body {
		t.Errorf("answered %d %q, want %d %q", w.Code, w.Body, status, body)
	}
}

// hasher stands in for the slow one: this room is about what is asked of it, and when. It counts, and can be busy.
type hasher struct {
	checks atomic.Int64
	busy   atomic.Bool
}

func (c *hasher) Hash(_ context.Context, p secret.String) (string, error) {
	return "hash of " + p.Reveal(), nil
}

func (c *hasher) Check(_ context.Context, hash string, p secret.String) (right, old bool, err error) {
	c.checks.Add(1)
	if c.busy.Load() {
		return false, false, secret.ErrBusy
	}
	return hash == "hash of "+p.Reveal(), false, nil
}

func (c *hasher) CheckNobody(context.Context, secret.String) error {
	c.checks.Add(1)
	if c.busy.Load() {
		return secret.ErrBusy
	}
	return nil
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

// bodyOf is what an answer says.
func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	must(t, err)
	must(t, r.Body.Close())
	return strings.TrimSuffix(string(text), "\n")
}
