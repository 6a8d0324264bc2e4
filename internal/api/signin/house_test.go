package signin_test

import (
	"context"
	"encoding/base64"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/signin"
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
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

const (
	password = "correct: horse battery"
	local    = "http://localhost:8080"
)

// house is the pages behind the front door, on real services and a SQLite file of its own. Its clock stands still unless the test
// turns it, and waiting takes no time.
type house struct {
	http.Handler
	pages     *signin.Pages
	clock     *clock
	captcha   *guard.Captcha
	providers *identity.Providers
	users     *identity.Service
	apps      *identity.Applications
	access    *access.Service
	policy    *policy.Service
	posts     bool // SAML providers are posted to
	away      bool // no provider can be asked
}

func newHouse(t *testing.T, public string) *house {
	t.Helper()
	h := &house{clock: &clock{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}}
	at, err := url.Parse(public)
	must(t, err)
	h.build(openStore(t), newSealer(t))
	h.pages.Cookies = api.Cookies{PublicURL: at}
	mux, err := api.Mount(h.pages.Owner(), h.pages.Home())
	must(t, err)
	h.Handler = &api.Door{Handler: mux, Log: slog.New(slog.DiscardHandler), Now: h.clock.Now}
	for _, name := range []string{"dana", "erik"} {
		_, err := h.users.Add(t.Context(), h.root(), identity.New{Name: name, Email: name + "@example.test", Password: secret.New(password)})
		must(t, err)
	}
	return h
}

func (h *house) root() identity.Authority {
	return h.access.For(access.LocalCaller("root", h.clock.Now()))
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
	now, hasher := h.clock.Now, secret.NewHasher(4, 10*time.Second)
	h.access = &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: newID}
	h.users = &identity.Service{Store: store.Users{DB: db}, Hasher: hasher, Now: now, NewID: newID, TopRoles: access.TopRoles()}
	accounts := &identity.Accounts{Store: store.Accounts{DB: db}, Now: now, NewID: newID}
	h.apps = &identity.Applications{Store: store.Applications{DB: db, Sealer: sealer}, Now: now, NewID: newID}
	sessions := &session.Service{
		Store: store.Sessions{DB: db}, Access: h.access, Accounts: accounts, Now: now, NewID: newID,
		Users: session.Life{Idle: 24 * time.Hour, Max: 168 * time.Hour, Limit: 100},
		Apps:  session.Life{Idle: 10 * time.Minute, Max: 24 * time.Hour, Limit: 1000}, Wait: 5 * time.Minute, CacheFor: 2 * time.Second,
	}
	h.captcha = &guard.Captcha{Sealer: sealer, Once: store.Once{DB: db}, Now: now, Life: 5 * time.Minute}
	h.providers = &identity.Providers{Store: store.Providers{DB: db, Sealer: sealer}, Users: store.Users{DB: db}, Now: now, NewID: newID, Guarded: func(context.Context, string) (bool, error) { return false, nil }}
	h.policy = &policy.Service{Store: store.Policies{DB: db}, Access: h.access, Now: now}
	h.pages = &signin.Pages{
		Login: &login.Service{
			Tokens:   &token.Service{Store: store.Tokens{DB: db}, Access: h.access, Now: now, NewID: newID},
			Failures: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
			Audit:    &audit.Service{Store: store.Audit{DB: db}, Now: now, Folder: audit.NewFolder(time.Minute)},
			Access:   h.access, Users: h.users, Applications: h.apps, Sessions: sessions, Lockout: guard.NewLockout(store.Guards{DB: db}, now),
			Hasher: hasher, QueueWait: 10 * time.Second, Now: now, Wait: func(context.Context, time.Duration) {},
			Second: &factor.Service{
				Store: store.Factors{DB: db, Sealer: sealer}, Now: now, NewID: newID, RPID: "localhost", RPName: "Gatehouse", Origins: []string{local},
				Wait: 5 * time.Minute, Talk: 10 * time.Minute, Tries: 5,
			},
			Accounts: accounts, Enforcement: login.DemandNone, RefuseEnrolledBasic: true,
			ElevationFor: 10 * time.Minute, UnlockFor: 10 * time.Minute, FreshFor: 10 * time.Minute, ElevationTries: 5,
			Policy: h.policy, Providers: h.providers, Flows: store.Flows{DB: db, Sealer: sealer}, Once: store.Once{DB: db}, NewID: newID, Directory: phoneBook{},
			Federations: map[identity.ProviderKind]login.Federation{identity.OIDC: federation{h}, identity.SAML: federation{h}},
			Discoveries: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 60, Window: time.Minute},
		},
		Sessions: sessions, Captcha: h.captcha, Pictures: api.NewPictures(2), BodyWait: 10 * time.Second,
		Metadata: func(context.Context) ([]byte, error) { return []byte("<EntityDescriptor/>"), nil },
	}
}

// theirs is everybody's password, code and assertion at the outside parties of these tests.
const theirs = "known elsewhere"

// phoneBook is a directory in which everybody has one password.
type phoneBook struct{}

func (phoneBook) Bind(_ context.Context, _ identity.Provider, name string, given secret.String) (identity.Visitor, error) {
	if given.Reveal() != theirs {
		return identity.Visitor{}, &login.Wrong{Reason: "the directory says no"}
	}
	return visitor(name), nil
}

func visitor(name string) identity.Visitor {
	name, _, _ = strings.Cut(name, "@")
	return identity.Visitor{Subject: "subject of " + name, Name: name, Email: name + "@example.test", EmailVerified: true, Session: "session of " + name}
}

func (phoneBook) Present(context.Context, identity.Provider, string) (bool, error) { return true, nil }
func (phoneBook) Check(identity.Provider) error                                    { return nil }
func (phoneBook) Test(context.Context, identity.Provider) []login.Step             { return nil }

// federation vouches for Dana. Its states are "state" and the provider's name; the response of SAML is the state and what is known.
type federation struct{ h *house }

const hostile = `"><script>alert(1)</script>`

func (f federation) Depart(_ context.Context, p identity.Provider, flow *login.Flow) (login.Departure, error) {
	if f.h.away {
		return login.Departure{}, &login.Wrong{Reason: "the provider cannot be asked"}
	}
	flow.State = secret.New("state of " + secret.Token(16))
	to := url.Values{"state": {flow.State.Reveal()}}
	if p.Kind == identity.SAML && f.h.posts {
		return login.Departure{URL: "https://saml.example.test/sso?a=1&b=2", Form: url.Values{"SAMLRequest": {hostile}, "RelayState": {hostile}}}, nil
	}
	return login.Departure{URL: "https://provider.example.test/auth?" + to.Encode()}, nil
}

func (federation) StateOf(back login.Return) string {
	if back.Response == "" {
		return back.State
	}
	state, _, _ := strings.Cut(back.Response, "|")
	return state
}

func (federation) Arrive(_ context.Context, _ identity.Provider, flow *login.Flow, back login.Return) (identity.Visitor, []login.Once, error) {
	if flow == nil || !strings.HasPrefix(back.Code, theirs) && !strings.HasSuffix(back.Response, "|"+theirs) {
		return identity.Visitor{}, nil, &login.Wrong{Reason: "nobody that is known there"}
	}
	return visitor("dana"), nil, nil
}

func (federation) Logout(_ context.Context, p identity.Provider, token string) (login.Logout, []login.Once, error) {
	subject, sid, ok := strings.Cut(token, "/")
	if !ok {
		return login.Logout{}, nil, &login.Wrong{Reason: "what came is no logout token"}
	}
	return login.Logout{Subject: subject, Session: sid}, []login.Once{{Key: p.ID + token, Until: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}}, nil
}

func (federation) Check(identity.Provider) error                        { return nil }
func (federation) Test(context.Context, identity.Provider) []login.Step { return nil }

// crowd is a kind of provider that is kept but not supported.
const crowd identity.ProviderKind = "crowd"

// choose sets what the sign-in page does with providers.
func (h *house) choose(t *testing.T, chosen policy.SSO) {
	t.Helper()
	_, err := h.policy.ChangeSSO(t.Context(), access.LocalCaller("root", h.clock.Now()), func(was policy.SSO) (policy.SSO, error) {
		was.HideForm, was.Fallback = chosen.HideForm, chosen.Fallback
		return was, nil
	})
	must(t, err)
}

// provide adds a provider and returns its number.
func (h *house) provide(t *testing.T, kind identity.ProviderKind, name, button string) string {
	t.Helper()
	s := identity.ProviderSettings{Link: identity.LinkByEmail, Button: button}
	if kind == crowd {
		kind, s.Unsupported = identity.SAML, "Crowd identity providers are not supported."
	}
	switch kind {
	case identity.LDAP:
		s.LDAP = &identity.LDAPSettings{}
	case identity.OIDC:
		s.OIDC = &identity.OIDCSettings{}
	case identity.SAML:
		s.SAML = &identity.SAMLSettings{}
	}
	p, err := h.providers.Add(t.Context(), h.root(), identity.NewProvider{Kind: kind, Name: name, Settings: s})
	must(t, err)
	return itoa(p.Number)
}

// browser sends what a browser would: our own Origin with forms, and the cookies that it was given.
type browser struct {
	t       *testing.T
	h       *house
	origin  string
	cookies map[string]string
}

func (h *house) browser(t *testing.T) *browser {
	t.Helper()
	return &browser{t, h, local, map[string]string{}}
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.send(httptest.NewRequestWithContext(b.t.Context(), "GET", path, nil))
}

// post sends a form: names and values in turn.
func (b *browser) post(path string, fields ...string) *httptest.ResponseRecorder {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r := httptest.NewRequestWithContext(b.t.Context(), "POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b.origin != "" {
		r.Header.Set("Origin", b.origin)
	}
	return b.send(r)
}

func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // a request's cookie has no attributes
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

func (b *browser) signIn(more ...string) *httptest.ResponseRecorder {
	return b.post("/login", append([]string{"username", "dana", "password", password}, more...)...)
}

// opens checks whether the browser's session opens anything.
func (b *browser) opens(whether bool) {
	b.t.Helper()
	if got := strings.Contains(b.get("/").Body.String(), "You are signed in"); got != whether {
		b.t.Errorf("opens something: %v", got)
	}
}

// enrolApp gives Dana an app in this browser and returns its secret and the recovery key. The clock moves on.
func (b *browser) enrolApp() (app, recovery string) {
	b.t.Helper()
	b.signIn()
	want(b.t, b.post("/login/confirm", "password", password), http.StatusSeeOther, "")
	w := b.post("/login/enrol/app")
	want(b.t, w, http.StatusOK, "Scan this")
	app = value(b.t, w, `<code class="secret">([A-Z2-7]{32})</code>`)
	w = b.post("/login/enrol/app", "conversation", hidden(b.t, w, "conversation"), "code", b.h.code(app))
	want(b.t, w, http.StatusOK, "The app is set up")
	recovery = value(b.t, w, `<code class="secret">([A-Z2-7-]+)</code>`)
	b.h.clock.pass(time.Minute)
	b.post("/login/out")
	return app, recovery
}

// enrolKey gives Dana a security key and returns it with what the last page showed.
func (b *browser) enrolKey(name string) (*authenticator.Key, *httptest.ResponseRecorder) {
	b.t.Helper()
	w := b.post("/login/enrol/key", "name", name)
	want(b.t, w, http.StatusOK, "Touch the security key")
	key := authenticator.New(authenticator.ES256)
	return key, b.post("/login/enrol/key", "name", name, "credential", string(authenticator.AttestationJSON(key.Create(b.asked(w)))))
}

var challenged = regexp.MustCompile(`"challenge":"([\w-]{43})"`)

// asked is what a page asks of a security key.
func (b *browser) asked(w *httptest.ResponseRecorder) authenticator.Ceremony {
	b.t.Helper()
	found := challenged.FindStringSubmatch(html.UnescapeString(w.Body.String()))
	if found == nil {
		b.t.Fatalf("no challenge in %s", w.Body)
	}
	challenge, err := base64.RawURLEncoding.DecodeString(found[1])
	must(b.t, err)
	return authenticator.Ceremony{Challenge: challenge, Origin: local, RPID: "localhost"}
}

func (h *house) code(app string) string { return authenticator.Code(app, h.clock.Now()) }

// value finds what an expression catches in a page.
func value(t *testing.T, w *httptest.ResponseRecorder, expression string) string {
	t.Helper()
	found := regexp.MustCompile(expression).FindStringSubmatch(w.Body.String())
	if found == nil {
		t.Fatalf("nothing like %s in %s", expression, w.Body)
	}
	return html.UnescapeString(found[1])
}

func hidden(t *testing.T, w *httptest.ResponseRecorder, name string) string {
	t.Helper()
	return value(t, w, `<input type="hidden" name="`+name+`" value="([^"]*)">`)
}

// want compares a status, and looks for a text.
func want(t *testing.T, w *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	if w.Code != status || !strings.Contains(html.UnescapeString(w.Body.String()), text) {
		t.Fatalf("answered %d to %q %s, want %d %q", w.Code, w.Header().Get("Location"), w.Body, status, text)
	}
}

// wantTo checks where the browser is sent.
func wantTo(t *testing.T, w *httptest.ResponseRecorder, path string) {
	t.Helper()
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != path {
		t.Fatalf("answered %d to %q %s, want %q", w.Code, to, w.Body, path)
	}
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
