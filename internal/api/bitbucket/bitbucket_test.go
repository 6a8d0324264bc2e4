package bitbucket_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	notIn       = `{"message":"You must be logged in."}`
	noTalk      = `{"message":"The conversation does not exist or has expired."}`
	wrongCode   = `{"message":"The code is not correct."}`
	notSetUp    = `{"message":"Two-step verification is not set up."}`
	unavailable = `{"message":"This confirmation method is not available."}`
)

// The doors of this dialect: what they are called, without the version, and what opens them.
var (
	openDoors = []string{
		"POST /authenticate", "POST /authenticate/totp-code", "POST /authenticate/recovery-code",
		"POST /totp/start-enforced-enrollment", "POST /totp/complete-enforced-enrollment",
	}
	sessionDoors = []string{
		"GET /elevate-permissions", "POST /elevate-permissions/password", "POST /elevate-permissions/totp", "POST /elevate-permissions/recovery-code",
		"POST /totp/start-voluntary-enrollment", "POST /totp/complete-voluntary-enrollment", "POST /totp/start-enrollment-update",
		"POST /totp/complete-enrollment-update", "POST /totp/recovery-code/rotate", "DELETE /totp/unenroll",
	}
	personDoors = []string{"GET /sso-management-status", "GET /status", "DELETE /totp/unenroll/user/erin"}
	officeDoors = []string{
		"GET /authconfig/idps", "POST /authconfig/idps", "GET /authconfig/idps/1", "PATCH /authconfig/idps/1", "DELETE /authconfig/idps/1",
		"GET /authconfig/jit-users", "GET /authconfig/sso", "PATCH /authconfig/sso", "GET /basicauth/config", "PUT /basicauth/config",
	}
)

// tsv calls an operation by its name in the lists above: one of two-step verification where no other part is named.
func (h *house) tsv(version, operation, authorization, body string, header ...string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(operation, " ")
	for _, part := range []string{"/authconfig", "/basicauth"} {
		if rest, ok := strings.CutPrefix(path, part); ok {
			return h.call(method, "/rest"+part+"/"+version+rest, authorization, body, header...)
		}
	}
	return h.call(method, "/rest/tsv/"+version+path, authorization, body, header...)
}

// Each door takes what it takes by every way that it accepts; everything else gets the one plain 401, unread and uncounted (rule W6).
func TestDoors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	token := "BBDC-" + strings.Repeat("A", 44)
	refused := map[string][]string{
		"nothing":                       {},
		"a session that is none":        {"Authorization", "Bearer " + strings.Repeat("A", 86)},
		"a session that waits":          {"Authorization", "Bearer " + h.session(t, "dana", session.Pending)},
		"an application's session":      {"Authorization", "Bearer " + h.program},
		"an application's Basic":        {"Authorization", basic(h.appID, h.appSecret)},
		"an HTTP token":                 {"Authorization", "Bearer " + token},
		"an HTTP token by Basic":        {"Authorization", basic("dana", token)},
		"a native API key":              {"Authorization", "Bearer gate_" + strings.Repeat("A", 40)},
		"a JWT":                         {"Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."},
		"an API key's header":           {"X-Api-Key", "gate_" + strings.Repeat("A", 40)},
		"another scheme":                {"Authorization", "Digest x"},
		"two headers":                   {"Authorization", h.bearer("dana"), "Authorization", h.bearer("dana")},
		"a cookie of another dialect":   {"Cookie", "BITBUCKETSESSIONID=" + h.bearers["dana"]},
		"a bad header with a good one":  {"Authorization", "Bearer x", "Cookie", "gatehouse=" + h.bearers["dana"]},
		"unreadable Basic":              {"Authorization", "Basic !"},
		"a person with a second factor": {"Authorization", basic("erin", password)},
	}
	accepted := map[string][]string{
		"a session as a bearer": {"Authorization", h.bearer("dana")},
		"a session as a cookie": {"Cookie", "gatehouse=" + h.bearers["dana"], "X-Atlassian-Token", "no-check"},
	}
	password := map[string][]string{"name and password": {"Authorization", basic("dana", password)}, "address and password": {"Authorization", basic("dana@example.test", password)}}
	enrolling := map[string][]string{"a session good for enrolment": {"Authorization", "Bearer " + h.session(t, "dana", session.EnrolOnly)}}

	check := func(doors []string, with map[string][]string, opens bool) {
		for _, door := range doors {
			for name, header := range with {
				w := h.tsv("latest", door, "", "", header...)
				if is := strings.TrimSpace(w.Body.String()) == notIn && w.Code == http.StatusUnauthorized; is == opens {
					t.Errorf("%s with %s answered %d %s", door, name, w.Code, w.Body)
				}
				if named := w.Header().Get("X-AUSERNAME") == "dana"; named != opens {
					t.Errorf("%s with %s named the caller %q", door, name, w.Header().Get("X-AUSERNAME"))
				}
				if w.Header().Get("WWW-Authenticate") != "" {
					t.Errorf("%s with %s asks browsers for a password", door, name)
				}
			}
		}
	}
	check(sessionDoors, accepted, true)
	byPassword := slices.Concat(personDoors, officeDoors)
	check(byPassword, accepted, true)
	check(byPassword, password, true)
	check(sessionDoors[:6], enrolling, true)
	hashes := h.hasher.checks.Load()
	check(sessionDoors, password, false)
	check(sessionDoors[6:], enrolling, false)
	check(byPassword, enrolling, false)
	check(sessionDoors, refused, false)
	if n := h.hasher.checks.Load(); n != hashes {
		t.Errorf("%d hashes for what is refused unread", n-hashes)
	}
	delete(refused, "a person with a second factor") // these two are read, and counted
	delete(refused, "an application's Basic")
	check(personDoors, refused, false)
	delete(refused, "unreadable Basic") // so often from nobody that a CAPTCHA is due
	check(officeDoors, refused, false)
}

// Whoever is signing in is nobody yet: what they present beside the body is not looked at.
func TestDoors_by_which_one_signs_in_look_at_no_header(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, door := range openDoors {
		plain := h.tsv("latest", door, "", "{}")
		for _, header := range []string{h.bearer("dana"), basic("dana", password), basic("dana", "wrong"), "Bearer x", "Digest"} {
			w := h.tsv("latest", door, header, "{}")
			want(t, w, plain.Code, strings.TrimSpace(plain.Body.String()))
			if w.Header().Get("X-AUSERNAME") != "" {
				t.Errorf("%s: named %s", door, w.Header().Get("X-AUSERNAME"))
			}
		}
	}
	if n := h.hasher.checks.Load(); n != 0 {
		t.Errorf("%d hashes", n)
	}
}

// Every operation answers the same under either version, and a HEAD where there is a GET.
func TestVersions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, door := range append(slices.Concat(openDoors, sessionDoors, personDoors, officeDoors), "GET /authconfig/login-options") {
		latest, one := h.tsv("latest", door, h.bearer("dana"), ""), h.tsv("1.0", door, h.bearer("dana"), "")
		if latest.Code != one.Code || latest.Body.String() != one.Body.String() || latest.Code == http.StatusNotFound {
			t.Errorf("%s: latest %d %s, 1.0 %d %s", door, latest.Code, latest.Body, one.Code, one.Body)
		}
	}
	want(t, h.tsv("latest", "HEAD /status", h.bearer("dana"), ""), http.StatusOK, "")
}

// example is one of the vendor's published examples, as printed, and what it answers in each state of a system administrator.
type example struct {
	operation, body string
	answers         []outcome
}

type outcome struct {
	when   string // plain, elevated, enrolled, both, nobody
	status int
	body   string // "" is not compared
}

const (
	byPassword = `{"elevationMethods":["PASSWORD"]}`
	byTOTP     = `{"elevationMethods":["TOTP"]}`
)

var examples = []example{
	{
		"POST /authenticate", `{ "captchaChallenge": "<string>", "captchaId": "<string>", "password": "<string>", "rememberMe": true, "targetUrl": "<string>", "username": "<string>" }`,
		[]outcome{{"plain", 401, `{"captchaRequired":false,"message":"Invalid username or password."}`}, {"nobody", 401, `{"captchaRequired":false,"message":"Invalid username or password."}`}},
	},
	{"GET /authenticate/captcha", "", []outcome{{"plain", 200, ""}, {"nobody", 200, ""}}},
	{"POST /authenticate/totp-code", `{ "conversationId": "<string>", "totpCode": "<string>" }`, []outcome{{"plain", 400, noTalk}, {"nobody", 400, noTalk}}},
	{"POST /authenticate/recovery-code", `{ "conversationId": "<string>", "recoveryCode": "<string>" }`, []outcome{{"plain", 400, noTalk}, {"nobody", 400, noTalk}}},
	{"GET /elevate-permissions", "", []outcome{{"plain", 401, byPassword}, {"enrolled", 401, byTOTP}, {"elevated", 204, ""}, {"both", 204, ""}, {"nobody", 401, notIn}}},
	{
		"POST /elevate-permissions/password", `{ "totpCode": "<string>" }`,
		[]outcome{{"plain", 400, `{"message":"The password is not correct."}`}, {"enrolled", 400, unavailable}, {"nobody", 401, notIn}},
	},
	{"POST /elevate-permissions/totp", `{ "totpCode": "<string>" }`, []outcome{{"plain", 400, notSetUp}, {"enrolled", 400, wrongCode}, {"nobody", 401, notIn}}},
	{"POST /elevate-permissions/recovery-code", `{ "recoveryCode": "<string>" }`, []outcome{{"plain", 400, notSetUp}, {"enrolled", 400, wrongCode}, {"nobody", 401, notIn}}},
	{"GET /sso-management-status", "", []outcome{{"plain", 200, `{"isManaged":false}`}, {"nobody", 401, notIn}}},
	{"GET /status", "", []outcome{{"plain", 200, `{"methods":[{"type":"TOTP","enabled":false}],"twoSVActive":false}`}, {"enrolled", 200, ""}, {"nobody", 401, notIn}}},
	{
		"POST /totp/start-voluntary-enrollment", "",
		[]outcome{{"plain", 401, byPassword}, {"elevated", 200, ""}, {"both", 400, `{"message":"Two-step verification is already set up."}`}, {"nobody", 401, notIn}},
	},
	{
		"POST /totp/complete-voluntary-enrollment", `{ "conversationId": "<string>", "totpCode": "<string>" }`,
		[]outcome{{"plain", 401, byPassword}, {"elevated", 400, noTalk}, {"nobody", 401, notIn}},
	},
	{"POST /totp/start-enforced-enrollment", `{ "conversationId": "<string>" }`, []outcome{{"plain", 400, noTalk}, {"nobody", 400, noTalk}}},
	{"POST /totp/complete-enforced-enrollment", `{ "conversationId": "<string>", "totpCode": "<string>" }`, []outcome{{"plain", 400, noTalk}, {"nobody", 400, noTalk}}},
	{"POST /totp/start-enrollment-update", "", []outcome{{"plain", 401, byPassword}, {"elevated", 400, notSetUp}, {"both", 200, ""}, {"nobody", 401, notIn}}},
	{
		"POST /totp/complete-enrollment-update", `{ "conversationId": "<string>", "totpCode": "<string>" }`,
		[]outcome{{"plain", 401, byPassword}, {"elevated", 400, notSetUp}, {"both", 400, noTalk}, {"nobody", 401, notIn}},
	},
	{"POST /totp/recovery-code/rotate", "", []outcome{{"plain", 401, byPassword}, {"elevated", 400, notSetUp}, {"both", 200, ""}, {"nobody", 401, notIn}}},
	{"DELETE /totp/unenroll", "", []outcome{{"plain", 401, byPassword}, {"elevated", 400, notSetUp}, {"both", 204, ""}, {"nobody", 401, notIn}}},
	{"DELETE /totp/unenroll/user/erin", `{ "totpCode": "<string>" }`, []outcome{{"plain", 401, wrongCode}, {"enrolled", 401, wrongCode}, {"nobody", 401, notIn}}},
	{"DELETE /totp/unenroll/user/admin", `{ "totpCode": "<string>" }`, []outcome{{"plain", 403, ""}}},
}

func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"plain", "elevated", "enrolled", "both", "nobody"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			for _, e := range examples {
				for _, o := range e.answers {
					if o.when == when {
						h, header := newHouseIn(t, when)
						t.Log(e.operation)
						want(t, h.tsv("latest", e.operation, header, e.body, "Content-Type", "application/json", "Accept", "application/json"), o.status, o.body)
					}
				}
			}
		})
	}
}

// newHouseIn returns a house, and the credential of its system administrator in that state.
func newHouseIn(t *testing.T, when string) (h *house, header string) {
	t.Helper()
	h = newHouse(t, local)
	if when == "nobody" {
		return h, ""
	}
	if when == "enrolled" || when == "both" {
		app, _ := h.setUp(t, "admin")
		if when == "both" {
			want(t, h.tsv("latest", "POST /elevate-permissions/totp", h.bearer("admin"), `{"totpCode":"code(`+app+`)"}`), http.StatusNoContent, "")
		}
	}
	if when == "elevated" {
		want(t, h.tsv("latest", "POST /elevate-permissions/password", h.bearer("admin"), `{"password":"`+password+`"}`), http.StatusNoContent, "")
	}
	return h, h.bearer("admin")
}

// Five wrong confirmations in a row end the session, and each counts as a failed sign-in (rule F7).
func TestElevation_ends_with_the_session_after_five_wrong_proofs(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]struct{ who, operation, body string }{
		"password":      {"dana", "POST /elevate-permissions/password", `{"password":"wrong"}`},
		"code":          {"erin", "POST /elevate-permissions/totp", `{"totpCode":"wrong(SECRET)"}`},
		"recovery code": {"erin", "POST /elevate-permissions/recovery-code", `{"recoveryCode":"AAAAA-AAAAA-AAAAA-AAAAA"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			for range 5 {
				want(t, h.tsv("latest", send.operation, h.bearer(send.who), strings.Replace(send.body, "SECRET", h.erin, 1)), http.StatusBadRequest, "")
			}
			want(t, h.tsv("latest", "GET /elevate-permissions", h.bearer(send.who), ""), http.StatusUnauthorized, notIn)
			want(t, h.tsv("latest", "POST /authenticate", "", `{"username":"`+send.who+`@example.test","password":"`+password+`"}`),
				http.StatusUnauthorized, `{"captchaRequired":true,"message":"Complete the CAPTCHA and try again."}`)
		})
	}
}

// Refused sign-ins take the same time, and attempts that must not be looked at cost no hash (rules F6 and W13).
func TestRefusals_take_their_time_and_no_hash(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"dana", "nobody"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			for range 8 {
				want(t, h.tsv("latest", "POST /authenticate", "", `{"username":"`+who+`","password":"wrong"}`), http.StatusUnauthorized, "")
			}
			if n := h.hasher.checks.Load(); n != 5 {
				t.Errorf("%d hashes, want 5", n)
			}
			if n := h.waited.Load(); n != 8 {
				t.Errorf("%d of 8 refusals waited", n)
			}
		})
	}
}

// A CAPTCHA that comes along before one is due is not looked at, so it is still good when one is.
func TestCaptcha_is_looked_at_only_when_due(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	var c struct{ CaptchaID string }
	must(t, json.Unmarshal(h.tsv("latest", "GET /authenticate/captcha", "", "").Body.Bytes(), &c))
	body := func(password string) string {
		return `{"username":"dana","password":"` + password + `","captchaId":"` + c.CaptchaID + `","captchaChallenge":"` + puzzle + `"}`
	}
	for range 5 {
		want(t, h.tsv("latest", "POST /authenticate", "", body("wrong")), http.StatusUnauthorized, "")
	}
	want(t, h.tsv("latest", "POST /authenticate", "", body(password)), http.StatusOK, `{"next":"/"}`)
}

// Whoever is shut out is out everywhere at once (rule F12).
func TestWhoIsShutOutIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	must(t, h.users.SetDisabled(t.Context(), h.login.Access.For(access.LocalCaller("root", h.clock.Now())), h.ids["dana"], true))
	want(t, h.tsv("latest", "GET /status", h.bearer("dana"), ""), http.StatusUnauthorized, notIn)
	want(t, h.tsv("latest", "GET /status", basic("dana", password), ""), http.StatusUnauthorized, notIn)
	want(t, h.tsv("latest", "POST /authenticate", "", `{"username":"dana","password":"`+password+`"}`), http.StatusUnauthorized, `{"captchaRequired":false,"message":"Invalid username or password."}`)
}

// Who has security keys alone cannot show a code, and the password alone opens nobody who has a second factor.
func TestSecurityKeysAloneNeedTheLoginPage(t *testing.T) {
	t.Parallel()
	for _, demand := range []string{login.DemandNone, login.DemandAll} {
		t.Run(demand, func(t *testing.T) {
			t.Parallel()
			h := newHouseThatDemands(t, local, demand)
			_, err := h.login.Second.Store.Change(t.Context(), h.ids["dana"], func(set *factor.Set) (factor.Change, error) {
				set.Devices = append(set.Devices, factor.Device{
					ID: newID(), Name: "key", Kind: factor.WebAuthn, Credential: []byte("credential"), PublicKey: []byte("key"), Origin: local, AAGUID: make([]byte, 16), Format: "none", Created: h.clock.Now(),
				})
				return factor.Change{}, nil
			})
			must(t, err)
			w := h.tsv("latest", "POST /authenticate", "", `{"username":"dana","password":"`+password+`"}`)
			want(t, w, http.StatusUnauthorized, `{"captchaRequired":false,"message":"Sign in on the Gatehouse login page."}`)
			if w.Header().Get("Set-Cookie") != "" {
				t.Error("a cookie was set")
			}
			want(t, h.tsv("latest", "GET /status", basic("dana", password), ""), http.StatusUnauthorized, notIn)
			want(t, h.tsv("latest", "GET /status", h.bearer("dana"), ""), http.StatusOK, `{"methods":[{"type":"TOTP","enabled":false}],"twoSVActive":false}`)
			want(t, h.tsv("latest", "GET /elevate-permissions", h.bearer("dana"), ""), http.StatusUnauthorized, byPassword)
		})
	}
}

// What the password unlocks at another dialect's door opens these settings only while there is no second factor.
func TestElevation_by_a_password_at_another_door(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for who, status := range map[string]int{"dana": http.StatusNoContent, "erin": http.StatusUnauthorized} {
		by := h.caller(t, who)
		_, err := h.login.UnlockSettings(t.Context(), by, secret.New(password))
		must(t, err)
		want(t, h.tsv("latest", "GET /elevate-permissions", h.bearer(who), ""), status, "")
	}
}

// Every answer, good or bad, stays out of caches.
func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, route := range h.mux.Routes() {
		for _, header := range []string{"", h.bearer("dana")} {
			w := h.call(route.Method, strings.ReplaceAll(route.Pattern, "{userName}", "erin"), header, "")
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("%s %s: Cache-Control %q", route.Method, route.Pattern, got)
			}
			if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("%s %s: X-Content-Type-Options %q", route.Method, route.Pattern, got)
			}
			if w.Code != http.StatusNoContent && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %s: %d %s", route.Method, route.Pattern, w.Code, w.Body)
			}
		}
	}
}

// A conversation lasts ten minutes, and an enrolment of one's own accord belongs to the session that began it.
func TestEnrolment_belongs_to_its_session(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	other := "Bearer " + h.session(t, "dana", session.Active)
	for _, header := range []string{h.bearer("dana"), other} {
		want(t, h.tsv("latest", "POST /elevate-permissions/password", header, `{"password":"`+password+`"}`), http.StatusNoContent, "")
	}
	w := h.tsv("latest", "POST /totp/start-voluntary-enrollment", h.bearer("dana"), "")
	var e struct{ ConversationID, Secret string }
	must(t, json.Unmarshal(w.Body.Bytes(), &e))
	body := func() string {
		return `{"conversationId":"` + e.ConversationID + `","totpCode":"code(` + e.Secret + `)"}`
	}
	want(t, h.tsv("latest", "POST /totp/complete-voluntary-enrollment", other, body()), http.StatusBadRequest, noTalk)
	h.clock.pass(9 * time.Minute)
	want(t, h.tsv("latest", "POST /totp/complete-enrollment-update", h.bearer("dana"), body()), http.StatusBadRequest, notSetUp) // extends the elevation
	h.clock.pass(2 * time.Minute)
	want(t, h.tsv("latest", "POST /totp/complete-voluntary-enrollment", h.bearer("dana"), body()), http.StatusBadRequest, noTalk)
}

// operations is how many operations the vendor's part on authentication has below each path. git is none of them.
var operations = map[string]int{"access-tokens": 15, "keys": 13, "ssh": 6, "authconfig": 9, "basicauth": 2, "tsv": 19}

// The document lists every route, the 64 operations apart, and each test that it names is there.
func TestTheDocumentListsEveryRoute(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/dialects/bitbucket.md")
	must(t, err)
	table, _, found := strings.Cut(string(text), "### Neighbours")
	if !found {
		t.Fatal("there is no table of neighbours")
	}
	counted := map[string]int{}
	for _, row := range operationRow.FindAllStringSubmatch(table, -1) {
		part, _, _ := strings.Cut(strings.TrimPrefix(row[2], "/rest/"), "/")
		counted[part]++
	}
	if !maps.Equal(counted, operations) {
		t.Errorf("operations: %v, want %v", counted, operations)
	}
	var listed, routes []string
	for _, row := range operationRow.FindAllStringSubmatch(string(text), -1) {
		for _, v := range []string{"latest", "1.0"} {
			listed = append(listed, row[1]+" "+strings.Replace(row[2], "{v}", v, 1))
		}
		files := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[3], -1)
		if len(files) == 0 {
			t.Errorf("%s %s: no test is named", row[1], row[2])
		}
		for _, file := range files {
			if _, err := os.Stat("../../../" + file[1]); err != nil {
				t.Errorf("%s %s: its test is not there: %v", row[1], row[2], err)
			}
		}
	}
	for _, route := range newHouse(t, local).mux.Routes() {
		routes = append(routes, route.Method+" "+route.Pattern)
	}
	slices.Sort(listed)
	slices.Sort(routes)
	listed = slices.Compact(listed) // a path without a version is there once
	if !slices.Equal(listed, routes) {
		t.Errorf("listed:\n%s\nroutes:\n%s", strings.Join(listed, "\n"), strings.Join(routes, "\n"))
	}
}

// operationRow is a line of the document's tables: method, path and where it is shown.
var operationRow = regexp.MustCompile("(?m)^\\| `([A-Z]+) (/[^`]*)` \\|[^|]*\\| ([^|]+) \\|$")
