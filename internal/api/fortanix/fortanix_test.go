package fortanix_test

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

const (
	noSession = "Session is invalid or expired"
	refused   = "Invalid credentials"
)

// No body, blanks and an empty object are the same, with and without a Content-Type.
func TestAuth_takes_every_form_of_no_body(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, body := range []string{"", " \n", "{}", "{}\n"} {
		want(t, h.post("/sys/v1/session/auth", h.asApp(), body), http.StatusOK, "")
		want(t, h.post("/sys/v1/session/auth", h.asApp(), body, "Content-Type", "application/json; charset=UTF-8"), http.StatusOK, "")
	}
}

func TestReauth_begins_a_session_that_outlives_the_first(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	first := h.signIn(t, h.asApp())
	want(t, h.post("/sys/v1/session/refresh", first, ""), http.StatusNoContent, "")
	w := h.post("/sys/v1/session/reauth", first, "")
	want(t, w, http.StatusOK, "")
	second := "Bearer " + accessToken(t, w)
	if first == second {
		t.Fatal("reauth gave the same token")
	}
	want(t, h.post("/sys/v1/session/terminate", first, ""), http.StatusNoContent, "")
	want(t, h.post("/sys/v1/session/refresh", first, ""), http.StatusUnauthorized, noSession)
	want(t, h.post("/sys/v1/session/refresh", second, ""), http.StatusNoContent, "")
}

// Every use looks at the clock (rule W11).
func TestSessions_end_by_idleness_and_by_age(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	idle, busy := h.signIn(t, h.asApp()), h.signIn(t, h.asApp())
	h.clock.pass(9 * time.Minute)
	want(t, h.post("/sys/v1/session/refresh", busy, ""), http.StatusNoContent, "")
	h.clock.pass(2 * time.Minute)
	want(t, h.post("/sys/v1/session/refresh", idle, ""), http.StatusUnauthorized, noSession)
	for range 24*60/9 - 2 { // always in use, for almost a day
		want(t, h.post("/sys/v1/session/refresh", busy, ""), http.StatusNoContent, "")
		h.clock.pass(9 * time.Minute)
	}
	w := h.post("/sys/v1/session/reauth", busy, "")
	want(t, w, http.StatusOK, "")
	heir := "Bearer " + accessToken(t, w)
	h.clock.pass(9 * time.Minute) // a day is over, for the session and for what came of it
	want(t, h.post("/sys/v1/session/refresh", busy, ""), http.StatusUnauthorized, noSession)
	want(t, h.post("/sys/v1/session/refresh", heir, ""), http.StatusUnauthorized, noSession)
}

// From the fifth failure on a CAPTCHA is due and from the sixth on there is a back-off; neither shows but in one header, which is
// the same for names that do not exist, and neither costs a hash (rules F6 and W13).
func TestLockout_looks_like_any_failure(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]string{"a user": email, "nobody": "nobody@example.test"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			for n := 1; n <= 7; n++ {
				w := h.post("/sys/v1/session/auth", basic(who, "wrong"), "")
				want(t, w, http.StatusUnauthorized, refused)
				if due := w.Header().Get("X-Gatehouse-Captcha") == "required"; due != (n >= 5) {
					t.Errorf("failure %d: CAPTCHA due is %v", n, due)
				}
				if waits, last := h.waited.last(); waits != n || last != 250*time.Millisecond {
					t.Errorf("failure %d waited %d times, %v at last", n, waits, last)
				}
			}
			if n := h.hasher.checks.Load(); n != 5 {
				t.Errorf("%d hashes, want 5: refused attempts must cost none", n)
			}
			want(t, h.post("/sys/v1/session/auth", basic(who, password), ""), http.StatusUnauthorized, refused)
			if n := h.hasher.checks.Load(); n != 5 {
				t.Error("the right password was looked at")
			}
		})
	}
}

func TestLockout_of_an_application_holds_where_it_failed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for range 6 {
		w := h.post("/sys/v1/session/auth", basic(h.app, "wrong"), "")
		want(t, w, http.StatusUnauthorized, refused)
		if w.Header().Get("X-Gatehouse-Captcha") != "" {
			t.Error("an application was asked for a CAPTCHA")
		}
	}
	want(t, h.post("/sys/v1/session/auth", h.asApp(), ""), http.StatusUnauthorized, refused)
	h.clock.pass(2 * time.Second)
	want(t, h.post("/sys/v1/session/auth", h.asApp(), ""), http.StatusOK, "")
}

// All other doors take a session or an application's API key; everything else is refused unread and uncounted (rule W6).
func TestOtherDoors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for name, c := range map[string]struct {
		header string
		status int
		body   string
	}{
		"a user's session":         {h.signIn(t, h.asDana()), http.StatusOK, ""},
		"an application's session": {h.signIn(t, h.asApp()), http.StatusOK, ""},
		"its API key":              {h.asApp(), http.StatusOK, ""},
		"a wrong secret":           {basic(h.app, "wrong"), http.StatusUnauthorized, refused},
		"unreadable Basic":         {"Basic !", http.StatusUnauthorized, refused},
		"a user's Basic":           {h.asDana(), http.StatusUnauthorized, noSession},
		"nothing":                  {"", http.StatusUnauthorized, noSession},
		"an HTTP token":            {"Bearer BBDC-abc", http.StatusUnauthorized, noSession},
		"a JWT":                    {"Bearer eyJhbGciOiJub25lIn0.e30.", http.StatusUnauthorized, noSession},
		"another scheme":           {"Digest x", http.StatusUnauthorized, noSession},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want(t, h.call("GET", "/sys/v1/accounts", c.header, ""), c.status, c.body)
			want(t, h.call("GET", "/sys/v1/accounts/", c.header, ""), c.status, c.body)
		})
	}
	want(t, h.call("GET", "/sys/v1/accounts", "", "", "X-Api-Key", "gate_abc"), http.StatusUnauthorized, noSession)
}

func TestRefusedUserBasicIsNotRead(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for range 10 {
		want(t, h.call("GET", "/sys/v1/accounts", basic(email, "wrong"), ""), http.StatusUnauthorized, noSession)
		want(t, h.post("/sys/v1/session/refresh", h.asApp(), ""), http.StatusUnauthorized, noSession)
	}
	if n := h.hasher.checks.Load(); n != 0 {
		t.Errorf("%d hashes", n)
	}
	h.signIn(t, h.asDana())
	h.signIn(t, h.asApp())
}

// Shut out is shut out at every door, for sessions that exist and for new ones (rule F12).
func TestWhoIsShutOutIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	user, app := h.signIn(t, h.asDana()), h.signIn(t, h.asApp())
	root := h.dialect.Access.For(access.LocalCaller("root", h.clock.Now()))
	must(t, h.dialect.Users.SetDisabled(t.Context(), root, h.dana, true))
	must(t, h.dialect.Apps.SetDisabled(t.Context(), root, h.app, true))
	for session, way := range map[string]string{user: h.asDana(), app: h.asApp()} {
		want(t, h.post("/sys/v1/session/refresh", session, ""), http.StatusUnauthorized, noSession)
		want(t, h.post("/sys/v1/session/auth", way, ""), http.StatusUnauthorized, refused)
	}
}

// Nobody works in an account that they do not belong to.
func TestSelectAccountNeedsMembership(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	dana := h.signIn(t, h.asDana())
	choose := func(account string) string { return `{"acct_id":"` + account + `"}` }
	want(t, h.call("GET", "/sys/v1/apps", dana, ""), http.StatusForbidden, "No account selected")
	want(t, h.post("/sys/v1/session/select_account", dana, choose(h.other)), http.StatusForbidden, "This operation is forbidden")
	want(t, h.post("/sys/v1/session/select_account", dana, choose(strings.ToUpper(identity.DefaultAccount))), http.StatusOK, "{}\n")
	want(t, h.call("GET", "/sys/v1/users", dana, ""), http.StatusOK, "")
}

// Every answer, good or bad, stays out of caches and asks no browser for a password.
func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, route := range h.mux.Routes() {
		w := h.call(route.Method, regexp.MustCompile(`\{\w+\}`).ReplaceAllString(route.Pattern, newID()), "", "")
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s %s: Cache-Control %q", route.Method, route.Pattern, got)
		}
		if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s %s: X-Content-Type-Options %q", route.Method, route.Pattern, got)
		}
		if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") != `Bearer realm="gatehouse"` {
			t.Errorf("%s %s: WWW-Authenticate %q", route.Method, route.Pattern, w.Header().Get("WWW-Authenticate"))
		}
		if w.Code >= 400 && strings.HasSuffix(w.Body.String(), "\n") {
			t.Errorf("%s %s: ends with a newline", route.Method, route.Pattern)
		}
	}
}

// No door sets a cookie where it would travel in the open, and every cookie has all its attributes (rule W12).
func TestCookies_need_TLS_or_loopback(t *testing.T) {
	t.Parallel()
	for public, want := range map[string]string{
		"https://gate.example.test":      `^__Host-gatehouse=[\w-]{86}; Path=/; Secure; HttpOnly; SameSite=Lax$`,
		"https://gate.example.test:8443": `^__Host-gatehouse=[\w-]{86}; Path=/; Secure; HttpOnly; SameSite=Lax$`,
		"http://127.0.0.1:8080":          `^gatehouse=[\w-]{86}; Path=/; HttpOnly; SameSite=Lax$`,
		"http://[::1]:8080":              `^gatehouse=[\w-]{86}; Path=/; HttpOnly; SameSite=Lax$`,
		"http://localhost":               `^gatehouse=[\w-]{86}; Path=/; HttpOnly; SameSite=Lax$`,
		"http://gate.example.test":       `^$`,
		"http://localhost.example.test":  `^$`,
		"http://10.0.0.1:8080":           `^$`,
	} {
		t.Run(public, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, public)
			w := h.post("/sys/v1/session/auth", h.asApp(), `{"token_type":"Cookie"}`)
			if got := strings.Join(w.Header().Values("Set-Cookie"), "\n"); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("Set-Cookie %q", got)
			}
			if (want == "^$") != (w.Code == http.StatusForbidden) {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
		})
	}
}

// The document lists every route, and each that is not there says what it comes with.
func TestTheDocumentListsEveryRoute(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/dialects/fortanix.md")
	must(t, err)
	var listed, routes []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /sys/v1/[^`]*)` \\|[^|]*\\| ([^|]+) \\|$").FindAllStringSubmatch(string(text), -1) {
		if !strings.HasPrefix(row[2], "comes with ") {
			listed = append(listed, row[1])
			for _, file := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
				if _, err := os.Stat("../../../" + file[1]); err != nil {
					t.Errorf("%s: its test is not there: %v", row[1], err)
				}
			}
		}
	}
	for _, route := range newHouse(t, local).mux.Routes() {
		routes = append(routes, route.Method+" "+route.Pattern)
	}
	slices.Sort(listed)
	slices.Sort(routes)
	if !slices.Equal(listed, routes) {
		t.Errorf("listed:\n%s\nroutes:\n%s", strings.Join(listed, "\n"), strings.Join(routes, "\n"))
	}
}
