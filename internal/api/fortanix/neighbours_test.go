package fortanix_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/apitest"
	"github.com/gatehouse-project/gatehouse/internal/api/fortanix"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// street is the dialect with a few people in two accounts, on real services and a SQLite file of its own. Its clock
// stands still unless the test turns it.
type street struct {
	http.Handler
	dialect *fortanix.Dialect
	t       *testing.T

	mu  sync.Mutex
	now time.Time

	ids    map[string]string // of users and accounts, by name
	tokens map[string]string // of sessions, by user
}

// phrase is everybody's password.
const phrase = "a long phrase of mine"

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{t: t, now: time.Date(2026, 3, 12, 8, 15, 0, 0, time.UTC), ids: map[string]string{}, tokens: map[string]string{}}
	s.build()
	mux, err := api.Mount(s.dialect.Owner())
	s.must(err)
	s.Handler = &api.Door{Handler: mux, Log: slog.New(slog.DiscardHandler), Now: s.clock}
	s.furnish()
	return s
}

func (s *street) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *street) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *street) pass(d time.Duration) func(*testing.T) {
	return func(*testing.T) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now = s.now.Add(d)
	}
}

// build makes the services as the program does, but for the slow part of passwords.
func (s *street) build() {
	ctx := context.WithoutCancel(s.t.Context())
	engine, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(s.t.TempDir(), "gatehouse.db")})
	s.must(err)
	s.t.Cleanup(func() { s.must(engine.Close()) })
	s.must(engine.Migrate(ctx))
	db, id, now := &store.DB{Engine: engine}, func() string { return uuid.Must(uuid.NewV7()).String() }, s.clock
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	s.must(err)
	sealer, err := secret.OpenKeyset(master, wrapped)
	s.must(err)

	rights := &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: id}
	users := &identity.Service{Store: store.Users{DB: db}, Hasher: plainHasher{}, Now: now, NewID: id, TopRoles: access.TopRoles()}
	accounts := &identity.Accounts{Store: store.Accounts{DB: db}, Now: now, NewID: id}
	apps := &identity.Applications{Store: store.Applications{DB: db, Sealer: sealer}, Now: now, NewID: id}
	life := session.Life{Idle: 24 * time.Hour, Max: 48 * time.Hour, Limit: 10}
	sessions := &session.Service{
		Store: store.Sessions{DB: db}, Access: rights, Accounts: accounts, Now: now, NewID: id, Users: life, Apps: life, Wait: time.Minute,
	}
	factors := &factor.Service{Store: store.Factors{DB: db, Sealer: sealer}, Now: now, NewID: id, RPID: "localhost", Wait: time.Minute, Tries: 5}
	apps.Providers = store.Providers{DB: db, Sealer: sealer}
	s.dialect = &fortanix.Dialect{
		Login: &login.Service{
			Second: factors, Accounts: accounts, ElevationFor: 10 * time.Minute, UnlockFor: 10 * time.Minute, FreshFor: 10 * time.Minute,
			Now: now, Access: rights, Users: users, Applications: apps, Sessions: sessions, Lockout: guard.NewLockout(store.Guards{DB: db}, now),
			Gate: &guard.Gate{Width: 4}, Hasher: plainHasher{}, QueueWait: 10 * time.Second,
			Failures: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
			Audit:    &audit.Service{Store: store.Audit{DB: db}, Now: now, Folder: audit.NewFolder(time.Minute)},
		},
		Sessions: sessions, Factors: factors, Access: rights, Users: users, Accounts: accounts, Apps: apps,
		Groups:  &identity.Groups{Store: store.Groups{DB: db}, Now: now, NewID: id},
		Cookies: api.Cookies{PublicURL: &url.URL{Scheme: "http", Host: "localhost:8080"}}, Ready: func(context.Context) error { return nil },
		FreshFor: 10 * time.Minute, Now: now,
	}
}

// plainHasher stands in for Argon2id, which is not what is tested here.
type plainHasher struct{}

func (plainHasher) Hash(_ context.Context, p secret.String) (string, error) {
	return "plain:" + p.Reveal(), nil
}

func (plainHasher) Check(_ context.Context, phc string, p secret.String) (ok, rehash bool, err error) {
	return phc == "plain:"+p.Reveal(), false, nil
}

func (plainHasher) CheckNobody(context.Context, secret.String) error { return nil }

// furnish lets people in: admin, who administers the installation; dana, mel and otto of the account default: its administrator, a
// member, an auditor; oz, who administers the account other, where dana is a mere member. All have signed in and, but for new, chosen
// an account.
func (s *street) furnish() {
	ctx, by := s.t.Context(), s.dialect.Access.For(access.LocalCaller("root", s.clock()))
	_, err := s.dialect.Users.EnsureFirst(ctx, secret.New(phrase))
	s.must(err)
	other, err := s.dialect.Accounts.Create(ctx, by, "other")
	s.must(err)
	s.ids["default"], s.ids["other"] = identity.DefaultAccount, other.ID
	for _, name := range []string{"dana", "mel", "otto", "oz", "new"} {
		u, err := s.dialect.Users.Add(ctx, by, identity.New{Name: name, Email: name + "@example.test", Password: secret.New(phrase)})
		s.must(err)
		s.ids[name] = u.ID
	}
	join := func(account, user string, role identity.AccountRole) {
		s.must(s.dialect.Accounts.SetMember(ctx, by, s.ids[account], s.ids[user], role))
	}
	join("default", "dana", identity.Administrator)
	join("default", "otto", identity.Auditor)
	join("other", "oz", identity.Administrator)
	join("other", "dana", identity.Ordinary)
	s.tokens["admin"] = s.signIn("admin@gatehouse.local", "default")
	s.tokens["new"] = s.signIn("new@example.test", "")
	for name, account := range map[string]string{"dana": "default", "mel": "default", "otto": "default", "oz": "other"} {
		s.tokens[name] = s.signIn(name+"@example.test", account)
	}
}

// signIn begins a session and chooses the account.
func (s *street) signIn(email, account string) string {
	s.t.Helper()
	var in struct {
		Token string `json:"access_token"`
	}
	w := s.call("POST", "/sys/v1/session/auth", "Basic "+base64.StdEncoding.EncodeToString([]byte(email+":"+phrase)), "")
	if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &in) != nil {
		s.t.Fatalf("%s: %d %s", email, w.Code, w.Body)
	}
	if account == "" {
		return in.Token
	}
	if w := s.call("POST", "/sys/v1/session/select_account", "Bearer "+in.Token, `{"acct_id":"`+s.ids[account]+`"}`); w.Code != http.StatusOK {
		s.t.Fatalf("%s selects %s: %d %s", email, account, w.Code, w.Body)
	}
	return in.Token
}

func (s *street) call(method, target, authorization, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// made creates something and returns a member of the answer.
func (s *street) made(who, target, body, member string) string {
	s.t.Helper()
	var out map[string]any
	w := s.call("POST", target, "Bearer "+s.tokens[who], body)
	if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &out) != nil {
		s.t.Fatalf("POST %s: %d %s", target, w.Code, w.Body)
	}
	return out[member].(string)
}

// credential is the secret of an application that was made or reset just now.
func (s *street) credential(who, app string) string {
	s.t.Helper()
	var out struct {
		Credential struct{ Secret string }
	}
	w := s.call("GET", "/sys/v1/apps/"+app+"/credential", "Bearer "+s.tokens[who], "")
	if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &out) != nil {
		s.t.Fatalf("credential: %d %s", w.Code, w.Body)
	}
	return out.Credential.Secret
}

func apiKey(app, plain string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(app+":"+plain))
}

// Every neighbouring operation with its refusals stands in testdata, byte for byte.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	for _, noun := range []string{"account", "user", "group", "app"} {
		apitest.Dir(t, "testdata/"+noun+"*.txtar", func(t *testing.T) apitest.Replay {
			t.Helper()
			s := newStreet(t)
			app := s.made("dana", "/sys/v1/apps", `{"name":"build-agent"}`, "app_id")
			foreign := s.made("oz", "/sys/v1/apps", `{"name":"build-agent"}`, "app_id")
			vars := map[string]string{"agent": app, "foreign": foreign, "key": apiKey(app, s.credential("dana", app))}
			for name, id := range s.ids {
				vars[name+"id"] = id
			}
			for name, token := range s.tokens {
				vars[name] = "Bearer " + token
			}
			s.credentials(vars)
			steps := map[string]func(*testing.T){
				"ten minutes pass":     s.pass(10 * time.Minute),
				"fifteen minutes pass": s.pass(15 * time.Minute),
				"strangers may register": func(*testing.T) {
					s.dialect.Users.SignUp = true
				},
				"everybody may make accounts": func(*testing.T) {
					s.dialect.Accounts.UsersMake = true
				},
			}
			return apitest.Replay{Handler: s, Vars: vars, Steps: steps}
		})
	}
}

// credentials adds what applications may be given to prove themselves: a certificate, an authority, a directory, and a provider that is none.
func (s *street) credentials(vars map[string]string) {
	s.t.Helper()
	ctx, by := s.t.Context(), s.dialect.Access.For(access.LocalCaller("root", s.clock()))
	providers := &identity.Providers{Store: s.dialect.Apps.Providers, Now: s.clock, NewID: newID}
	directory, err := providers.Add(ctx, by, identity.NewProvider{Kind: identity.LDAP, Name: "Corp LDAP", Settings: identity.ProviderSettings{LDAP: &identity.LDAPSettings{}}})
	s.must(err)
	oidc, err := providers.Add(ctx, by, identity.NewProvider{Kind: identity.OIDC, Name: "Corp OIDC", Settings: identity.ProviderSettings{OIDC: &identity.OIDCSettings{}}})
	s.must(err)
	vars["directory"], vars["handle"], vars["oidc"] = directory.ID, uuid.UUID(directory.Handle).String(), oidc.ID
	authority := newCertificate(s.t, "authority", nil, s.clock())
	vars["authority"], vars["certificate"] = base64Of(authority.Leaf.Raw), base64Of(newCertificate(s.t, "robot", &authority, s.clock()).Leaf.Raw)
}

// codes sends one request with each authorization and returns the numbers of the answers.
func (s *street) codes(method, target string, authorizations ...string) (codes []int) {
	for _, authorization := range authorizations {
		codes = append(codes, s.call(method, target, authorization, "").Code)
	}
	return codes
}

func (s *street) want(what string, got []int, want ...int) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// programSession signs an application in.
func (s *street) programSession(key string) string {
	s.t.Helper()
	var in struct {
		Token string `json:"access_token"`
	}
	w := s.call("POST", "/sys/v1/session/auth", key, "")
	if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &in) != nil {
		s.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return "Bearer " + in.Token
}

func TestResetSecret_kills_sessions_at_once(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	app := s.made("dana", "/sys/v1/apps", `{"name":"a"}`, "app_id")
	old := apiKey(app, s.credential("dana", app))
	session := s.programSession(old)
	s.want("before", s.codes("GET", "/sys/v1/apps/"+app, old, session), 200, 200)
	s.made("dana", "/sys/v1/apps/"+app+"/reset_secret", `{}`, "app_id")
	fresh := apiKey(app, s.credential("dana", app))
	s.want("after", s.codes("GET", "/sys/v1/apps/"+app, fresh, old, session), 200, 401, 401)
	s.want("signing in", s.codes("POST", "/sys/v1/session/auth", fresh, old), 200, 401)
}

func TestResetSecret_with_a_period_lets_both_work_until_it_ends(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	app := s.made("dana", "/sys/v1/apps", `{"name":"a"}`, "app_id")
	old := apiKey(app, s.credential("dana", app))
	session := s.programSession(old)
	s.made("dana", "/sys/v1/apps/"+app+"/reset_secret", `{"credential_migration_period":60}`, "app_id")
	fresh := apiKey(app, s.credential("dana", app))
	s.pass(59 * time.Second)(t)
	s.want("within", s.codes("GET", "/sys/v1/apps/"+app, fresh, old, session), 200, 200, 200)
	s.want("signing in within", s.codes("POST", "/sys/v1/session/auth", fresh, old), 200, 200)
	s.pass(time.Second)(t)
	s.want("after", s.codes("GET", "/sys/v1/apps/"+app, fresh, old, session), 200, 401, 200)
	s.want("signing in after", s.codes("POST", "/sys/v1/session/auth", fresh, old), 200, 401)
}

func TestResetSecret_makes_secrets_of_the_size_that_is_asked_for(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	app := s.made("dana", "/sys/v1/apps", `{"name":"a"}`, "app_id")
	for body, characters := range map[string]int{`{}`: 86, `{"secret_size":null}`: 86, `{"secret_size":16}`: 22, `{"secret_size":256}`: 342} {
		s.made("dana", "/sys/v1/apps/"+app+"/reset_secret", body, "app_id")
		if got := len(s.credential("dana", app)); got != characters {
			t.Errorf("%s: %d characters, want %d", body, got, characters)
		}
	}
}

func TestDeleteApp_ends_its_sessions(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	app := s.made("dana", "/sys/v1/apps", `{"name":"a"}`, "app_id")
	key := apiKey(app, s.credential("dana", app))
	session := s.programSession(key)
	s.want("delete", s.codes("DELETE", "/sys/v1/apps/"+app, "Bearer "+s.tokens["dana"]), 204)
	s.want("after", s.codes("GET", "/sys/v1/accounts", key, session), 401, 401)
}

func TestApp_works_from_its_networks_alone(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	for networks, code := range map[string]int{`["198.51.100.0/24"]`: 401, `["192.0.2.0/24"]`: 200, `["::ffff:192.0.2.1"]`: 200} { // httptest calls from 192.0.2.1
		app := s.made("dana", "/sys/v1/apps", `{"name":`+strconv.Quote(networks)+`,"ip_address_policy":{"whitelist":`+networks+`}}`, "app_id")
		s.want(networks, s.codes("POST", "/sys/v1/session/auth", apiKey(app, s.credential("dana", app))), code)
	}
}

func TestCreateApp_bounds_its_lists(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	networks := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"10.0.0.0/8",`, n), ",") }
	group := s.made("dana", "/sys/v1/groups", `{"name":"g"}`, "group_id")
	groups := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"`+group+`",`, n), ",") }
	for body, want := range map[string]string{
		`{"name":"a","ip_address_policy":{"whitelist":[` + networks(256) + `]}}`: "",
		`{"name":"b","ip_address_policy":{"whitelist":[` + networks(257) + `]}}`: "Invalid request: ip_address_policy",
		`{"name":"c","add_groups":[` + groups(256) + `]}`:                        "",
		`{"name":"d","add_groups":[` + groups(257) + `]}`:                        "Invalid request: add_groups",
		`{"name":"e","description":"` + strings.Repeat("x", 4097) + `"}`:         "Invalid request: description",
	} {
		w := s.call("POST", "/sys/v1/apps", "Bearer "+s.tokens["dana"], body)
		if got := w.Body.String(); w.Code != http.StatusOK && got != want || w.Code == http.StatusOK && want != "" {
			t.Errorf("%.60s: %d %s", body, w.Code, got)
		}
	}
}

func TestChangePassword_ends_all_other_sessions(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	here, there := "Bearer "+s.tokens["mel"], "Bearer "+s.signIn("mel@example.test", "")
	w := s.call("POST", "/sys/v1/users/change_password", here, `{"current_password":"`+phrase+`","new_password":"another phrase of mine"}`)
	if w.Code != http.StatusNoContent || w.Body.Len() > 0 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	s.want("sessions", s.codes("GET", "/sys/v1/users/accounts", here, there), 200, 401)
	basic := func(password string) string { return apiKey("mel@example.test", password) }
	s.want("signing in", s.codes("POST", "/sys/v1/session/auth", basic("another phrase of mine"), basic(phrase)), 200, 401)
}

func TestChangePassword_counts_wrong_ones_and_backs_off(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	change := func(old string) *httptest.ResponseRecorder {
		return s.call("POST", "/sys/v1/users/change_password", "Bearer "+s.tokens["mel"], `{"current_password":"`+old+`","new_password":"another phrase of mine"}`)
	}
	for range 6 {
		if w := change("wrong"); w.Code != http.StatusUnauthorized || w.Body.String() != "Invalid credentials" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if w := change(phrase); w.Code != http.StatusUnauthorized || w.Header().Get("X-Gatehouse-Captcha") != "required" {
		t.Errorf("the right one while backing off: %d %v", w.Code, w.Header())
	}
}

func TestCreateUser_needs_a_fresh_sign_in(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	add := func(name, token string) string {
		w := s.call("POST", "/sys/v1/users", "Bearer "+token, `{"user_email":"`+name+`@example.test","user_password":"a phrase of theirs"}`)
		if w.Code == http.StatusOK {
			return "added"
		}
		return w.Body.String()
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	old := s.tokens["admin"]
	s.pass(10*time.Minute - time.Second)(t)
	want("just within", add("u1", old), "added")
	s.pass(time.Second)(t)
	want("ten minutes later", add("u2", old), "Recent authentication required")
	want("in another session", add("u2", s.signIn("admin@gatehouse.local", "")), "added")
	want("in the old one still", add("u3", old), "Recent authentication required")

	by, err := s.dialect.Login.Authenticate(t.Context(), login.Presented{Kind: login.Session, Secret: secret.New(old), Accepts: []login.Kind{login.Session}})
	s.must(err)
	_, _, err = s.dialect.Sessions.Elevate(t.Context(), by, 10*time.Minute)
	s.must(err)
	want("elevated", add("u3", old), "added")
	s.pass(10 * time.Minute)(t)
	want("and not for ever", add("u4", old), "Recent authentication required")
}

func TestListUsers_lists_all_of_them(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	by := s.dialect.Access.For(access.LocalCaller("root", s.clock()))
	for i := range 120 {
		name := "user" + strconv.Itoa(i)
		_, err := s.dialect.Users.Add(t.Context(), by, identity.New{Name: name, Email: name + "@example.test"})
		s.must(err)
	}
	var all []struct {
		ID    string `json:"user_id"`
		Email string `json:"user_email"`
	}
	w := s.call("GET", "/sys/v1/users", "Bearer "+s.tokens["mel"], "")
	s.must(json.Unmarshal(w.Body.Bytes(), &all))
	seen := map[string]bool{}
	for _, u := range all {
		seen[u.ID] = true
	}
	if len(all) != 126 || len(seen) != 126 { // and the six that were there
		t.Errorf("%d users, %d different", len(all), len(seen))
	}
}

func TestNeighbours_are_kept_nowhere(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	for _, target := range []string{"/sys/v1/accounts", "/sys/v1/users", "/sys/v1/apps", "/sys/v1/groups", "/sys/v1/users/" + strings.ToUpper(s.ids["mel"]), "/sys/v1/apps/none"} {
		w := s.call("GET", target, "Bearer "+s.tokens["mel"], "")
		h := w.Header()
		if w.Code == http.StatusUnauthorized || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", target, w.Code, h)
		}
	}
}

func TestNeighbours_follow_the_account_that_is_chosen(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	dana := "Bearer " + s.tokens["dana"]
	here := s.made("dana", "/sys/v1/apps", `{"name":"here"}`, "app_id")
	there := s.made("oz", "/sys/v1/apps", `{"name":"there"}`, "app_id")
	s.want("in default", []int{s.codes("GET", "/sys/v1/apps/"+here, dana)[0], s.codes("GET", "/sys/v1/apps/"+there, dana)[0]}, 200, 404)
	if w := s.call("POST", "/sys/v1/session/select_account", dana, `{"acct_id":"`+s.ids["other"]+`"}`); w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	s.want("in other", []int{s.codes("GET", "/sys/v1/apps/"+here, dana)[0], s.codes("GET", "/sys/v1/apps/"+there, dana)[0]}, 404, 200)
	s.want("what its administrator alone does", s.codes("DELETE", "/sys/v1/apps/"+there, dana), 403)
	s.want("and what she administers elsewhere", s.codes("DELETE", "/sys/v1/apps/"+here, dana), 404)
}
