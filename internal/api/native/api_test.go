package native_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api/native"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// at is the path of a line with something in place of its parameters.
func at(l native.Line) string { return parameter.ReplaceAllString(l.Path, "nowhere") }

// codeOf returns the status and the code of a problem, and fails where a refusal is none.
func codeOf(t *testing.T, h *house, l native.Line, header ...string) (status int, code string) {
	t.Helper()
	w := h.call(l.Method, at(l), "{}", header...)
	var p struct{ Code, Detail string }
	if w.Code >= 400 {
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Detail == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %q is no problem: %v", l.Method, l.Path, w.Code, w.Body, err)
		}
	}
	if asks := w.Header().Get("Www-Authenticate") == `Bearer realm="gatehouse"`; asks != (w.Code == http.StatusUnauthorized) {
		t.Errorf("%s %s: %d with %v", l.Method, l.Path, w.Code, w.Header())
	}
	return w.Code, p.Code
}

// Rules W1 and W6: each operation, whatever it is, is opened by the session of a user and by nothing else; what does not open it gets one plain 401.
func TestDoors(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	dana := h.signIn(t, "dana")
	over := h.signIn(t, "beth")
	x, err := h.api.Sessions.Of(t.Context(), access.LocalCaller("root", start), access.Subject{Kind: access.User, ID: h.ids["beth"]})
	must(t, err)
	must(t, h.api.Sessions.End(t.Context(), access.LocalCaller("root", start), x[0].ID))
	closed := map[string][]string{
		"nothing":                           nil,
		"a session that waits":              bearer(h.signIn(t, "finn")),
		"a session that is over":            bearer(over),
		"a session of an application":       bearer(h.signIn(t, "ci")),
		"a token that is none":              bearer(strings.Repeat("a", 86)),
		"a session as an API key":           {"X-Api-Key", dana},
		"an API key":                        {"X-Api-Key", "gate_" + strings.Repeat("a", 38)},
		"a password":                        {"Authorization", "Basic ZGFuYTpjb3JyZWN0IGhvcnNlIGJhdHRlcnk="},
		"two sessions":                      {"Authorization", "Bearer " + dana, "Authorization", "Bearer " + dana},
		"a session in the query":            {"X-Original-Url", "/?access_token=" + dana},
		"a session as another cookie":       {"Cookie", "session=" + dana, "X-Gatehouse-Csrf", "1"},
		"a cookie beside a wrong bearer":    {"Authorization", "Bearer x", "Cookie", "gatehouse=" + dana, "X-Gatehouse-Csrf", "1"},
		"two cookies, of which one is good": {"Cookie", "gatehouse=" + dana + "; gatehouse=x", "X-Gatehouse-Csrf", "1"},
	}
	for _, l := range h.api.Lines() {
		if l.Public {
			continue
		}
		for what, header := range closed {
			if status, _ := codeOf(t, h, l, header...); status != http.StatusUnauthorized {
				t.Errorf("%s %s with %s: %d", l.Method, l.Path, what, status)
			}
		}
	}
}

// Rule W6: a personal access token opens what is marked, which is nothing about credentials, and a token of a place opens nothing.
func TestTokens_open_what_is_marked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx, root := t.Context(), access.LocalCaller("root", start)
	dana := access.Caller{Principal: access.Principal{Kind: access.User, ID: h.ids["dana"], Name: "dana"}, At: start, Scopes: []access.Action{"*"}}
	all := token.Draft{Name: "x", Permissions: []token.Permission{token.RepoAdmin, token.ProjectAdmin}}
	hers, _, err := h.api.Tokens.Issue(ctx, dana, token.OfUser(dana.ID), all)
	must(t, err)
	places, _, err := h.api.Tokens.Issue(ctx, root, access.Project(h.pid), all)
	must(t, err)
	marked := 0
	for _, l := range h.api.Lines() {
		if l.Public {
			continue
		}
		if status, _ := codeOf(t, h, l, "Authorization", "Bearer "+hers.Reveal()); (status == http.StatusUnauthorized) == l.Tokens {
			t.Errorf("%s %s: %d", l.Method, l.Path, status)
		}
		if status, _ := codeOf(t, h, l, "Authorization", "Bearer "+places.Reveal()); status != http.StatusUnauthorized {
			t.Errorf("%s %s by a token of a project: %d", l.Method, l.Path, status)
		}
		if status, _ := codeOf(t, h, l, "Cookie", "gatehouse="+hers.Reveal(), "X-Gatehouse-Csrf", "1"); status != http.StatusUnauthorized {
			t.Errorf("%s %s by a token as a cookie: %d", l.Method, l.Path, status)
		}
		if l.Tokens {
			marked++
		}
		if l.Tokens && regexp.MustCompile(`token|key|factor|session|password|users`).MatchString(l.Path) {
			t.Errorf("%s %s is about credentials", l.Method, l.Path)
		}
	}
	if marked < 10 {
		t.Errorf("only %d are marked", marked)
	}
}

// Both ways to present one session get one and the same answer (rule W6).
func TestDoors_answer_alike(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.signIn(t, "dana")
	for _, l := range h.api.Lines() {
		if l.Method != "GET" || l.Stream { // which a cookie alone does not open
			continue
		}
		one := h.call(l.Method, at(l), "", "Authorization", "Bearer "+token)
		other := h.call(l.Method, at(l), "", "Cookie", "gatehouse="+token)
		if one.Code == http.StatusUnauthorized || one.Code != other.Code || one.Body.String() != other.Body.String() {
			t.Errorf("%s: %d %s and %d %s", l.Path, one.Code, one.Body, other.Code, other.Body)
		}
	}
}

// A cookie changes something only where the request began at our own pages.
func TestCookies_of_foreign_pages_change_nothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cookie := "gatehouse=" + h.cookie(t, "root")
	for _, l := range h.api.Lines() {
		for what, header := range map[string][]string{
			"no origin":        {"Cookie", cookie},
			"a foreign origin": {"Cookie", cookie, "Origin", "https://evil.example", "X-Gatehouse-Csrf", "1"},
			"a null origin":    {"Cookie", cookie, "Origin", "null", "Sec-Fetch-Site", "same-origin"},
			"a look-alike":     {"Cookie", cookie, "Origin", "http://localhost:8080.evil.example"},
		} {
			status, code := codeOf(t, h, l, header...)
			if refused := status == http.StatusForbidden && code == "origin_required"; refused != ((l.Method != "GET" || l.Stream) && !l.Public) { // rules W1 and W12
				t.Errorf("%s %s with %s: %d %s", l.Method, l.Path, what, status, code)
			}
		}
	}
	if w := h.call("DELETE", "/api/v1/session", "", "Cookie", cookie, "Origin", local); w.Code != http.StatusNoContent || !strings.HasPrefix(w.Header().Get("Set-Cookie"), "gatehouse=; ") {
		t.Errorf("from our own pages: %d %v", w.Code, w.Header())
	}
}

// mustBeFresh says in words of paths what changes how a person signs in.
var mustBeFresh = []string{
	"POST /api/v1/users", "PUT /api/v1/users/{user}/password", "POST /api/v1/users/{user}/reset-factors", "POST /api/v1/users/{user}/devices",
	"POST /api/v1/users/{user}/grant-admin", "POST /api/v1/users/{user}/links", "DELETE /api/v1/users/{user}/links/{provider}",
	"PATCH /api/v1/factors/devices/{device}", "DELETE /api/v1/factors/devices/{device}", "POST /api/v1/factors/recovery-codes",
	"POST /api/v1/providers", "PATCH /api/v1/providers/{provider}", "DELETE /api/v1/providers/{provider}",
	"POST /api/v1/providers/{provider}/enable", "POST /api/v1/providers/{provider}/disable",
	"PUT /api/v1/groups/{group}/members/{user}", "PUT /api/v1/accounts/{account}/members/{user}",
	"PUT /api/v1/groups/{group}/roles/{role}", "DELETE /api/v1/groups/{group}/roles/{role}",
	"POST /api/v1/tokens", "PATCH /api/v1/tokens/{token}", "POST /api/v1/ssh-keys", "POST /api/v1/ssh-keys/import",
	"POST /api/v1/subscriptions", "DELETE /api/v1/subscriptions/{subscription}",
	"POST /api/v1/devices/{device}/host-keys", "POST /api/v1/credentials/{credential}/check-out", "POST /api/v1/grants",
	"POST /api/v1/authorizations", "PATCH /api/v1/authorizations/{authorization}", "PUT /api/v1/authorizations/{authorization}/lists/{kind}/{target}",
}

// Rule F14: a stale session is refused on each operation that makes or changes a credential of a person, before its body is looked at, and on no other; the one
// that proves the old password is its own proof.
func TestStale_sessions_change_no_credential(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.signIn(t, "root")
	h.clock.pass(11 * time.Minute)
	for _, l := range h.api.Lines() {
		if l.Method == "DELETE" && l.Path == "/api/v1/session" {
			continue // it would end the test
		}
		listed := slices.Contains(mustBeFresh, l.Method+" "+l.Path)
		if listed != l.Fresh {
			t.Errorf("%s %s is marked %v", l.Method, l.Path, l.Fresh)
		}
		status, code := codeOf(t, h, l, "Authorization", "Bearer "+token)
		if refused := status == http.StatusForbidden && code == "elevation_required"; refused != listed {
			t.Errorf("%s %s: %d %s", l.Method, l.Path, status, code)
		}
	}
}

// What changes a person's credential and is not listed above would be found here: by the words that such paths have.
func TestPaths_about_credentials_are_marked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	words := regexp.MustCompile(`password|factor|users/.*/device|codes|links|providers|/v1/tokens|ssh-keys|check-out|host-keys$`)
	for _, l := range h.api.Lines() {
		own := l.Path == "/api/v1/session/password" || strings.HasSuffix(l.Path, "/test") || strings.HasSuffix(l.Path, "/prove") // that asks for the key itself
		if ends := l.Method == "DELETE" || strings.HasSuffix(l.Path, "/disable") || l.Public; ends && regexp.MustCompile(`tokens|ssh-keys`).MatchString(l.Path) {
			continue // what ends a token or a key makes no other
		}
		if l.Method != "GET" && words.MatchString(l.Path) && !own && !l.Fresh {
			t.Errorf("%s %s needs no fresh proof", l.Method, l.Path)
		}
	}
}

// Without rights nothing but one's own is answered: with a refusal, or as if it were not there.
func TestStrangers_to_everything(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	root := access.LocalCaller("root", start)
	_, err := h.api.Users.Add(t.Context(), h.api.Access.For(root), newUser("gus"))
	must(t, err)
	token := h.signIn(t, "gus")
	own := []string{
		"GET /api/v1/session", "PUT /api/v1/session/account", "POST /api/v1/session/elevate", "PUT /api/v1/session/password", "GET /api/v1/sessions", "DELETE /api/v1/sessions",
		"GET /api/v1/sign-ins", "GET /api/v1/factors", "POST /api/v1/factors/recovery-codes", "GET /api/v1/access/explain", "GET /api/v1/accounts",
		"GET /api/v1/tokens", "GET /api/v1/tokens/expiring", "POST /api/v1/tokens", "POST /api/v1/tokens/leaked", "GET /api/v1/ssh-keys", "POST /api/v1/ssh-keys",
		"POST /api/v1/ssh-keys/import", "GET /api/v1/projects", "GET /api/v1/devices", "GET /api/v1/credentials",
		"GET /api/v1/events", "GET /api/v1/grants", "GET /api/v1/remote-requests", "GET /api/v1/remote-sessions", "GET /api/v1/recordings",
	}
	bodies := map[string]string{
		"POST /api/v1/accounts": `{"name":"x"}`, "PUT /api/v1/accounts/{account}/members/{user}": `{"role":"member"}`, "POST /api/v1/accounts/{account}/groups": `{"name":"x"}`,
		"POST /api/v1/users": `{"name":"x","email":"x@example.test"}`, "PUT /api/v1/users/{user}/password": `{"password":"another horse entirely"}`,
		"POST /api/v1/users/{user}/devices": `{"name":"x","key_handle":"eA==","public_key":"eA==","app_id":"x"}`, "POST /api/v1/users/{user}/links": `{"provider_id":"x","subject":"x"}`,
		"POST /api/v1/accounts/{account}/applications": `{"name":"x"}`, "PATCH /api/v1/factors/devices/{device}": `{"name":"x"}`,
		"POST /api/v1/devices": `{"host":"x","ip":"10.0.0.1"}`, "POST /api/v1/device-domains": `{"domain":"x"}`, "POST /api/v1/credentials": `{"device":"x","username":"x"}`,
		"POST /api/v1/devices/{device}/host-keys/scan": `{}`, "POST /api/v1/projects": `{"key":"X"}`, "POST /api/v1/authorizations": `{"application_id":"x","name":"x","resources":[]}`, "POST /api/v1/subscriptions": `{"url":"https://x.example/","events":["*"]}`, "POST /api/v1/projects/{project}/repos": `{"name":"x"}`,
		"POST /api/v1/grants": `{"user_id":"x","device":"x"}`, "POST /api/v1/remote-sessions": `{"device":"x","protocol":"ssh"}`,
		"POST /api/v1/providers": `{"kind":"oidc","name":"x","settings":{"oidc":{"issuer":"https://x.example","client_id":"x"}}}`,
	}
	for _, l := range h.api.Lines() {
		what := l.Method + " " + l.Path
		if slices.Contains(own, what) || what == "DELETE /api/v1/session" {
			continue
		}
		body := bodies[what]
		for _, part := range []struct{ in, text string }{
			{"/permissions/", `{"permission":"read"}`},
			{"/access-keys", `{"permission":"read"}`},
			{"/tokens", `{}`},
			{"/host-keys", `{"key":"x"}`},
		} {
			if body == "" && strings.Contains(l.Path, part.in) {
				body = part.text
			}
		}
		switch {
		case l.Method == "POST" && strings.HasSuffix(l.Path, "/access-keys"):
			body = `{"text":"x","permission":"read"}`
		case l.Method == "POST" && strings.HasSuffix(l.Path, "/tokens"):
			body = `{"name":"x","permissions":["repo.read"]}`
		case body == "":
			body = "{}"
		}
		if w := h.call(l.Method, at(l), body, "Authorization", "Bearer "+token); w.Code != http.StatusForbidden && w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
}

// No answer to a reader of everything holds a secret: those that were given to the house stand nowhere.
func TestReads_tell_no_secret(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx, root := t.Context(), access.LocalCaller("root", start)
	token := h.signIn(t, "root")
	made := h.call("POST", "/api/v1/providers", `{"kind":"ldap","name":"Corp","secret":"of-the-directory","settings":{"ldap":{"url":"ldaps://l.example.test","resolve":"upn"}}}`, "Authorization", "Bearer "+token)
	if made.Code != http.StatusCreated {
		t.Fatal(made.Body)
	}
	var corp struct{ ID string }
	must(t, json.Unmarshal(made.Body.Bytes(), &corp))
	u, err := h.api.Users.ByID(ctx, h.api.Access.For(root), h.ids["dana"])
	must(t, err)
	secrets := []string{token, "of-the-directory", h.ids["cisecret"], password, u.PasswordHash}
	asked := 0
	for _, l := range h.api.Lines() {
		if l.Method != "GET" {
			continue
		}
		path := strings.NewReplacer("{user}", h.ids["dana"], "{account}", h.shop, "{application}", h.ids["ci"], "{provider}", corp.ID, "{project}", "DEMO").Replace(l.Path)
		w := h.call("GET", path, "", "Authorization", "Bearer "+token)
		if w.Code == http.StatusOK {
			asked++
		}
		for _, s := range secrets {
			if strings.Contains(w.Body.String(), s) {
				t.Errorf("%s tells %q", path, s)
			}
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept", path)
		}
	}
	if asked < 15 {
		t.Errorf("only %d reads were answered", asked)
	}
	if strings.Contains(made.Body.String(), "of-the-directory") {
		t.Error("the answer to the maker tells the secret")
	}
}

// The document has every operation, with who may call it, and its page tells of all of them.
func TestDocument_has_every_operation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID, Summary string
			Tags                 []string
			Responses            map[string]any
			Security             []map[string][]string
		}
		Components struct{ Schemas map[string]any }
	}
	w := h.call("GET", "/openapi.json", "")
	must(t, json.Unmarshal(w.Body.Bytes(), &doc))
	page := h.call("GET", "/docs", "").Body.String()
	for _, l := range h.api.Lines() {
		op := doc.Paths[l.Path][strings.ToLower(l.Method)]
		ways := 2
		if l.Tokens {
			ways = 3
		}
		if l.Public {
			ways = 0
		}
		if op.Summary == "" || len(op.Tags) != 1 || (op.Responses["401"] == nil) != l.Public || (op.Responses["403"] == nil) != l.Public || len(op.Security) != ways {
			t.Errorf("%s %s: %+v", l.Method, l.Path, op)
		}
		if !strings.Contains(page, `<code>`+l.Path+`</code>`) {
			t.Errorf("the page lacks %s", l.Path)
		}
	}
	for _, name := range []string{"User", "UserPage", "SessionPage", "ProviderSettings", "LDAP", "SSO", "BasicAuth", "GroupMemberPage", "Explanation", "Problem", "NewToken", "SSHKeyPage", "RepoPage"} {
		if doc.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
	if !strings.Contains(page, `id="post-api-v1-session-elevate"`) {
		t.Error("the type of problems leads nowhere")
	}
}

// A flood of one's own wrong proofs is slowed down, and ends the session.
func TestElevate_ends_a_session_that_guesses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.signIn(t, "dana")
	for range 5 {
		if w := h.call("POST", "/api/v1/session/elevate", `{"password":"wrong"}`, "Authorization", "Bearer "+token); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"code":"wrong_proof"`) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		h.clock.pass(20 * time.Minute)
	}
	if w := h.call("GET", "/api/v1/session", "", "Authorization", "Bearer "+token); w.Code != http.StatusUnauthorized {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func newUser(name string) identity.New {
	return identity.New{Name: name, Email: name + "@example.test", Password: secret.New(password)}
}
