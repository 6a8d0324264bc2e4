package signin_test

import (
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func TestPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	want(t, b.get("/"), http.StatusOK, "Welcome")
	want(t, b.get("/login"), http.StatusOK, `autocomplete="current-password"`)
	want(t, b.signIn("password", "wrong"), http.StatusUnauthorized, "do not open anything")
	b.opens(false)
	wantTo(t, b.signIn("target", "/login/enrol?x=1"), "/login/enrol?x=1")
	b.opens(true)
	first := b.cookies["gatehouse"]
	wantTo(t, b.signIn(), "/")
	old := h.browser(t)
	old.cookies["gatehouse"] = first
	old.opens(false) // rule F11: one browser, one session
	b.opens(true)
	wantTo(t, b.post("/login/out"), "/login?out=1")
	want(t, b.get("/login?out=1"), http.StatusOK, "You are signed out.")
	b.opens(false)
}

// An id that somebody planted in the browser is not the one that the sign-in opens.
func TestPassword_with_a_planted_cookie(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	planted := strings.Repeat("A", 86)
	b, thief := h.browser(t), h.browser(t)
	b.cookies["gatehouse"], thief.cookies["gatehouse"] = planted, planted
	wantTo(t, b.signIn(), "/")
	if b.cookies["gatehouse"] == planted {
		t.Error("the planted id was kept")
	}
	thief.opens(false)

	wantTo(t, thief.signIn(), "/")
	b = h.browser(t)
	b.cookies["gatehouse"] = thief.cookies["gatehouse"] // the thief's own session
	wantTo(t, b.post("/login", "username", "erik", "password", password), "/")
	if strings.Contains(thief.get("/").Body.String(), "erik") {
		t.Error("the thief is Erik")
	}
}

// Rule F6: what is told of a wrong sign-in does not depend on whether anybody has that name.
func TestPassword_tells_nothing_of_names(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for try := range 7 {
		pages := map[string]string{}
		for _, name := range []string{"dana", "nobody"} {
			w := h.browser(t).post("/login", "username", name, "password", "wrong")
			text := strings.ReplaceAll(w.Body.String(), name, "NAME")
			if strings.Contains(text, "captcha") != (try >= 4) {
				t.Errorf("%d. try of %s: %s", try+1, name, text)
			}
			if id := captchaOf(w); id != "" {
				text = strings.ReplaceAll(text, id, "ID")
			}
			pages[name] = strconv.Itoa(w.Code) + text
		}
		if pages["dana"] != pages["nobody"] {
			t.Errorf("%d. try: %s\n%s", try+1, pages["dana"], pages["nobody"])
		}
	}
}

func captchaOf(w *httptest.ResponseRecorder) string {
	_, rest, _ := strings.Cut(w.Body.String(), `name="captcha" value="`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

func TestCaptcha(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	for range 5 {
		b.signIn("password", "wrong")
		h.clock.pass(20 * time.Minute)
	}
	w := b.signIn()
	want(t, w, http.StatusUnauthorized, "Type the characters of the picture as well")
	id := captchaOf(w)
	picture := b.get("/captcha/" + id + ".png")
	want(t, picture, http.StatusOK, "PNG")
	if picture.Header().Get("Content-Type") != "image/png" {
		t.Error(picture.Header())
	}
	for _, path := range []string{id, id + ".gif", "x.png", id[1:] + ".png"} {
		want(t, b.get("/captcha/"+path), http.StatusNotFound, "Not found")
	}
	w = b.signIn("captcha", id, "answer", "wrong!")
	want(t, w, http.StatusUnauthorized, "The characters were not right")
	id = captchaOf(w)
	text, _ := h.captcha.Text(id)
	wantTo(t, b.signIn("captcha", id, "answer", strings.ToLower(text)), "/")
}

func TestSecond_factor_by_app(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	app, recovery := b.enrolApp()
	wantTo(t, b.signIn("target", "/docs"), "/login/second")
	want(t, b.get("/login/second"), http.StatusOK, "Signing in as dana.")
	before := b.cookies["gatehouse"]
	want(t, b.post("/login/second", "kind", "totp", "code", "000000"), http.StatusUnauthorized, "That code is not right")
	want(t, b.post("/login/second", "kind", "recovery_code", "code", "000000"), http.StatusUnauthorized, "That recovery code is not right")
	want(t, b.post("/login/second", "kind", "fido2", "credential", "{}"), http.StatusUnauthorized, "did not work with this security key")
	want(t, b.post("/login/second", "kind", "charm"), http.StatusBadRequest, "could not be read")
	b.opens(false)
	wantTo(t, b.post("/login/second", "kind", "totp", "code", h.code(app)), "/docs") // the target lasted
	if b.cookies["gatehouse"] == before {
		t.Error("the cookie stays the same (rule F11)")
	}
	b.opens(true)
	wantTo(t, b.get("/login/second"), "/login")
	b.post("/login/out")
	b.signIn()
	wantTo(t, b.post("/login/second", "kind", "recovery_code", "code", strings.ToLower(recovery)), "/")
	b.opens(true)
	b.post("/login/out")
	b.signIn()
	if w := b.get("/login/second"); strings.Contains(w.Body.String(), "recovery") {
		t.Error("asks for a recovery code where none is left")
	}
	wantTo(t, b.post("/login/cancel"), "/login?again=1")
	wantTo(t, b.get("/login/second"), "/login")
}

// Rule F7: the fifth wrong answer ends the half-open sign-in.
func TestSecond_factor_five_times_wrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	app, _ := b.enrolApp()
	b.signIn()
	cookie := b.cookies["gatehouse"]
	for range 4 {
		want(t, b.post("/login/second", "kind", "totp", "code", "000000"), http.StatusUnauthorized, "That code is not right")
	}
	want(t, b.post("/login/second", "kind", "totp", "code", "000000"), http.StatusUnauthorized, "Too many wrong answers")
	if b.cookies["gatehouse"] != "" {
		t.Error("keeps the cookie")
	}
	b.cookies["gatehouse"] = cookie
	wantTo(t, b.post("/login/second", "kind", "totp", "code", h.code(app)), "/login?over=1")
	want(t, b.get("/login?over=1"), http.StatusOK, "You were signed out")
}

func TestSecond_factor_by_key(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	b.signIn()
	h.clock.pass(time.Hour) // the sign-in is long ago; the proof just now is what counts
	wantTo(t, b.get("/login/enrol?target=/docs"), "/login/confirm?target=%2Fdocs")
	w := b.get("/login/confirm?target=/docs")
	want(t, b.post("/login/confirm", "password", "wrong", "target", hidden(t, w, "target")), http.StatusUnauthorized, "That is not right")
	wantTo(t, b.post("/login/confirm", "password", password, "target", "/docs"), "/login/enrol?target=%2Fdocs")
	want(t, b.post("/login/enrol/key", "name", " "), http.StatusBadRequest, "Give the security key a name")
	want(t, b.post("/login/enrol/key", "name", "Blue", "credential", "{}"), http.StatusBadRequest, "was not set up")
	key, w := b.enrolKey("Blue")
	want(t, w, http.StatusOK, "Your recovery codes")
	if n := strings.Count(w.Body.String(), "<br>"); n != 10 {
		t.Errorf("%d codes", n)
	}
	recovery := value(t, w, `<code class="secret">([A-Z2-7-]+)<br>`)
	_, w = b.enrolKey("Green") // the codes on paper stay good
	want(t, w, http.StatusOK, "is set up")
	if strings.Contains(w.Body.String(), "recovery codes") {
		t.Error("replaced the codes")
	}
	_, w = b.enrolKey("Blue")
	want(t, w, http.StatusBadRequest, "You have a security key of that name")
	want(t, b.get("/"), http.StatusOK, "2 security keys")
	b.post("/login/out")

	wantTo(t, b.signIn(), "/login/second")
	w = b.get("/login/second")
	if strings.Contains(w.Body.String(), `value="totp"`) {
		t.Error("asks for a code of an app that there is not")
	}
	asked := b.asked(w)
	asked.Origin = "https://evil.example"
	want(t, b.post("/login/second", "kind", "fido2", "credential", string(authenticator.AssertionJSON(key.Get(asked)))), http.StatusUnauthorized, "did not work with this security key")
	wantTo(t, b.post("/login/second", "kind", "fido2", "credential", string(authenticator.AssertionJSON(key.Get(b.asked(b.get("/login/second")))))), "/")
	b.post("/login/out")
	b.signIn()
	wantTo(t, b.post("/login/second", "kind", "recovery_code", "code", recovery), "/")
}

func TestEnrolment_of_an_app(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	b.signIn()
	wantTo(t, b.post("/login/enrol/app"), "/login/confirm")
	b.post("/login/confirm", "password", password)
	w := b.post("/login/enrol/app", "target", "/docs")
	app := value(t, w, `<code class="secret">([A-Z2-7]{32})</code>`)
	w = b.post("/login/enrol/app", "conversation", hidden(t, w, "conversation"), "code", "000000", "target", "/docs")
	want(t, w, http.StatusUnauthorized, "That code was not right")
	if strings.Contains(w.Body.String(), app) {
		t.Error("shows the secret once more")
	}
	other := h.browser(t)
	other.signIn()
	other.post("/login/confirm", "password", password)
	want(t, other.post("/login/enrol/app", "conversation", hidden(t, w, "conversation"), "code", h.code(app)), http.StatusBadRequest, "begin again")
	w = b.post("/login/enrol/app", "conversation", hidden(t, w, "conversation"), "code", h.code(app), "target", hidden(t, w, "target"))
	want(t, w, http.StatusOK, `href="/docs"`)
	other.opens(false) // the other sessions end
	b.opens(true)

	h.clock.pass(time.Minute)
	want(t, b.get("/login/confirm"), http.StatusOK, "Code of your authenticator app")
	want(t, b.post("/login/confirm", "password", password), http.StatusUnauthorized, "That is not right")
	want(t, b.post("/login/confirm", "code", "000000"), http.StatusUnauthorized, "That is not right")
	recovery := value(t, w, `<code class="secret">([A-Z2-7-]+)</code>`)
	w = b.post("/login/confirm", "code", recovery)
	want(t, w, http.StatusOK, "That recovery code is used up")
	want(t, b.get("/login/enrol"), http.StatusOK, "An authenticator app is set up")
	want(t, b.post("/login/enrol/app"), http.StatusBadRequest, "is set up already")
	fresh := value(t, w, `<code class="secret">([A-Z2-7-]+)</code>`)
	w = b.post("/login/enrol/codes")
	want(t, w, http.StatusOK, "Your recovery key")
	if strings.Contains(w.Body.String(), fresh) {
		t.Error("the recovery key is the old one")
	}
}

// Wrong proofs in a row end the session.
func TestConfirm_five_times_wrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	b.signIn()
	for range 4 {
		want(t, b.post("/login/confirm", "password", "wrong"), http.StatusUnauthorized, "That is not right")
		h.clock.pass(time.Hour)
	}
	b.post("/login/confirm", "password", "wrong")
	b.opens(false)
}

// Who must enrol does so right after the password, which is not asked for again, and goes on to the target.
func TestEnrolment_that_is_demanded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.pages.Login.Enforcement = login.DemandAll
	b := h.browser(t)
	wantTo(t, b.signIn("target", "/docs"), "/login/enrol?target=%2Fdocs")
	b.opens(false)
	wantTo(t, b.get("/login/second"), "/login/enrol")
	w := b.get("/login/enrol?target=/docs")
	want(t, w, http.StatusOK, "Set up an authenticator app")
	if strings.Contains(w.Body.String(), "recovery codes") {
		t.Error("offers recovery codes for nothing")
	}
	key, w := b.enrolKey("Blue")
	want(t, w, http.StatusOK, "Your recovery codes")
	b.opens(true)
	b.post("/login/out")
	wantTo(t, b.signIn(), "/login/second")
	wantTo(t, b.post("/login/second", "kind", "fido2", "credential", string(authenticator.AssertionJSON(key.Get(b.asked(b.get("/login/second")))))), "/")
}

// A session that waits for its second factor is shown that and the way out, and nothing else (rule F11).
func TestPending_session(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	b.enrolApp()
	b.signIn()
	for _, route := range h.pages.Routes() {
		if route.Action == access.Public || strings.HasPrefix(route.Pattern, "/log") && slices.Contains([]string{"/login/second", "/login/cancel", "/login/out", "/logout"}, route.Pattern) {
			continue
		}
		w := b.get(route.Pattern)
		if route.Method == "POST" {
			w = b.post(route.Pattern)
		}
		wantTo(t, w, "/login/second")
	}
	h.clock.pass(5 * time.Minute)
	wantTo(t, b.post("/login/second", "kind", "totp", "code", "1"), "/login?over=1")
}

// Whoever has no session begins at the beginning.
func TestNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for _, path := range []string{"/login/second", "/login/confirm", "/login/enrol"} {
		wantTo(t, h.browser(t).get(path), "/login")
	}
	for _, path := range []string{"/login/second", "/login/confirm", "/login/cancel", "/login/out", "/login/enrol/app", "/login/enrol/key", "/login/enrol/codes"} {
		wantTo(t, h.browser(t).post(path), "/login?over=1")
	}
}

func TestProvider_by_browser(t *testing.T) {
	t.Parallel()
	for kind, door := range map[identity.ProviderKind]string{identity.OIDC: "/oauth", identity.SAML: "/saml"} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			number := h.provide(t, kind, "Corp", "")
			b := h.browser(t)
			want(t, b.get("/login?target=/docs"), http.StatusOK, `href="/login/sso/`+number+`?target=%2Fdocs">Log in with Corp`)
			state := b.depart(t, "/login/sso/"+number+"?targetUrl=/docs")
			stranger := h.browser(t)
			stranger.origin = "https://provider.example.test"
			back := func(state, what string) *httptest.ResponseRecorder { // another site's page sends it: without cookies
				if kind == identity.SAML {
					return stranger.post(door, "SAMLResponse", state+"|"+what, "RelayState", hostile)
				}
				return stranger.get(door + "?" + url.Values{"state": {state}, "code": {what}}.Encode())
			}
			want(t, back("unknown", theirs), http.StatusForbidden, "That sign-in did not work")
			w := back(state, theirs)
			to := w.Header().Get("Location")
			if w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "/login/finish?flow=") || len(w.Result().Cookies()) > 0 {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
			want(t, stranger.get(to), http.StatusForbidden, "That sign-in did not work") // without the cookie of who began
			if h := b.head(to); h.Code != http.StatusMethodNotAllowed {
				t.Errorf("HEAD: %d", h.Code)
			}
			wantTo(t, b.get(to), "/docs")
			b.opens(true)
			if len(b.cookies) != 1 {
				t.Errorf("%v", b.cookies)
			}
			want(t, b.get(to), http.StatusForbidden, "That sign-in did not work")
			want(t, back(state, theirs), http.StatusForbidden, "That sign-in did not work")
			want(t, back(b.depart(t, "/login/sso/"+number), "wrong"), http.StatusForbidden, "That sign-in did not work")
		})
	}
}

// depart begins at a provider and returns the state.
func (b *browser) depart(t *testing.T, path string) string {
	t.Helper()
	w := b.get(path)
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusSeeOther || to.Host != "provider.example.test" || b.cookies["gatehouse-login"] == "" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	return to.Query().Get("state")
}

func (b *browser) head(path string) *httptest.ResponseRecorder {
	return b.send(httptest.NewRequestWithContext(b.t.Context(), "HEAD", path, nil))
}

func TestProvider_is_not_there(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	ldap := h.provide(t, identity.LDAP, "Directory", "")
	for _, path := range []string{"/login/sso/99", "/login/sso/x", "/login/sso/" + ldap, "/login/sso/-1"} {
		want(t, b.get(path), http.StatusNotFound, "Not found")
	}
	want(t, b.post("/login", "username", "dana", "password", password, "with", "99"), http.StatusNotFound, "Not found")
	oidc := h.provide(t, identity.OIDC, "Corp", "")
	want(t, b.post("/login", "username", "dana", "password", theirs, "with", oidc), http.StatusNotFound, "Not found")
	for range 60 {
		b.get("/login/sso/" + oidc)
	}
	w := b.get("/login/sso/" + oidc)
	want(t, w, http.StatusTooManyRequests, "Wait a minute")
	if w.Header().Get("Retry-After") == "" {
		t.Error("does not say when")
	}
}

// A directory's password is typed on our own page; whom it looks after settles second factors there.
func TestProvider_directory(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	number := h.provide(t, identity.LDAP, "Directory", "")
	b := h.browser(t)
	want(t, b.get("/login"), http.StatusOK, `href="/login?with=`+number+`"`)
	want(t, b.get("/login?with="+number), http.StatusOK, "Sign in with Directory")
	oidc := h.provide(t, identity.OIDC, "Corp", "")
	for _, other := range []string{oidc, "99", "x"} { // nobody types a password for Corp here
		if w := b.get("/login?with=" + other); strings.Contains(w.Body.String(), `name="with"`) || strings.Contains(w.Body.String(), "Sign in with Corp") {
			t.Errorf("%s: %s", other, w.Body)
		}
	}
	want(t, b.signIn("with", number), http.StatusUnauthorized, `name="with" value="`+number+`"`)
	wantTo(t, b.signIn("with", number, "password", theirs), "/")
	w := b.get("/")
	want(t, w, http.StatusOK, "left to your identity provider")
	if strings.Contains(w.Body.String(), "/login/enrol") {
		t.Error("offers what it refuses")
	}
	wantTo(t, b.get("/login/enrol"), "/login/confirm")
	want(t, b.get("/login/confirm"), http.StatusForbidden, "second factors are set up there")
	want(t, b.post("/login/enrol/app"), http.StatusForbidden, "second factors are set up there")
}

// A program with a cookie is greeted too; it has no second factor.
func TestHome_of_a_program(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	a, plain, err := h.apps.Create(t.Context(), h.root(), identity.NewApplication{Account: identity.DefaultAccount, Name: "build-agent"})
	must(t, err)
	in, err := h.pages.Login.SignIn(t.Context(), login.Presented{
		Kind: login.AppSecret, Name: a.ID, Secret: plain, Accepts: []login.Kind{login.AppSecret},
	}, login.Begin{Transport: session.Cookie})
	must(t, err)
	b := h.browser(t)
	b.cookies["gatehouse"] = in.Token.Reveal()
	w := b.get("/")
	want(t, w, http.StatusOK, "build-agent")
	if strings.Contains(w.Body.String(), "econd factor") {
		t.Error("speaks of second factors")
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	b.signIn()
	b.cookies["gatehouse-login"] = "x"
	token := b.cookies["gatehouse"]
	want(t, b.post("/logout"), http.StatusNoContent, "")
	if len(b.cookies) > 0 {
		t.Errorf("%v", b.cookies)
	}
	b.cookies["gatehouse"] = token
	b.opens(false)
	want(t, b.post("/logout"), http.StatusNoContent, "") // nothing to end
	for name, value := range map[string]string{"X-Atlassian-Token": "no-check", "X-Gatehouse-Csrf": "1", "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/logout", nil)
		r.Header.Set(name, value)
		want(t, h.browser(t).send(r), http.StatusNoContent, "")
	}
}

// Rule W12: over plain http from elsewhere there are no cookies, so there is no sign-in by browser.
func TestCookies_need_TLS(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "http://gate.example.test")
	b := h.browser(t)
	b.origin = "http://gate.example.test"
	number := h.provide(t, identity.OIDC, "Corp", "")
	for _, w := range []*httptest.ResponseRecorder{b.get("/login"), b.signIn(), b.get("/login/sso/" + number)} {
		want(t, w, http.StatusForbidden, "needs an https address")
	}
	h = newHouse(t, "https://gate.example.test")
	b = h.browser(t)
	b.origin = "https://gate.example.test"
	w := b.signIn()
	if line := w.Header().Get("Set-Cookie"); !strings.HasPrefix(line, "__Host-gatehouse=") || !strings.HasSuffix(line, "; Path=/; Secure; HttpOnly; SameSite=Lax") {
		t.Error(line)
	}
}

// Forms come from our own pages, or change nothing. The exceptions are what a SAML provider has the browser post, which opens nothing there, and what a provider
// sends itself when somebody signs out.
func TestForms_from_elsewhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b, waiting := h.browser(t), h.browser(t)
	waiting.enrolApp()
	waiting.signIn()
	wantTo(t, b.post("/login", "username", "erik", "password", password), "/")
	for _, route := range h.pages.Routes() {
		if route.Method != "POST" || route.Pattern == "/saml" || route.Pattern == signedOut {
			continue
		}
		b := b
		if route.Pattern == "/login/second" {
			b = waiting
		}
		for _, origin := range []string{"", "null", "https://evil.example", "http://localhost:8081", "http://localhost", "https://localhost:8080", local + ".evil.example", local + "/"} {
			b.origin = origin
			if w := b.post(route.Pattern, "username", "dana", "password", password, "name", "x"); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "did not come from a page of this server") {
				t.Errorf("POST %s from %q: %d %s", route.Pattern, origin, w.Code, w.Body)
			}
		}
	}
	b.opens(true)
	want(t, waiting.get("/login/second"), http.StatusOK, "Signing in as dana.")
}

func TestForms_that_are_none(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for kind, body := range map[string]string{
		"":                                  "username=dana&password=x",
		"text/plain":                        "username=dana&password=x",
		"application/json":                  `{"username":"dana"}`,
		"multipart/form-data; boundary=x":   "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\ndana\r\n--x--\r\n",
		"application/x-www-form-urlencoded": "username=%zz",
	} {
		for _, path := range []string{"/login", "/saml"} {
			r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(body))
			r.Header.Set("Origin", local)
			if kind != "" {
				r.Header.Set("Content-Type", kind)
			}
			want(t, h.browser(t).send(r), http.StatusBadRequest, "The form could not be read.")
		}
	}
	want(t, h.browser(t).signIn("password", strings.Repeat("x", 600<<10)), http.StatusBadRequest, "The form could not be read.")
	var read counter // what comes with a question is left alone
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/login", &read)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	want(t, h.browser(t).send(r), http.StatusOK, "Sign in")
	if read > 0 {
		t.Errorf("%d bytes of a GET were read", read)
	}
}

// counter counts what is read of it, and ends after a while.
type counter int

func (c *counter) Read(p []byte) (int, error) {
	if *c += counter(len(p)); *c > 1<<20 {
		return 0, io.EOF
	}
	return len(p), nil
}

// Every answer keeps out of caches, frames, other origins and guesses about its type.
func TestGuards_of_every_answer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	number := h.provide(t, identity.OIDC, "Corp", "")
	var all []*httptest.ResponseRecorder
	for _, signed := range []bool{false, true} {
		b := h.browser(t)
		for _, route := range h.pages.Routes() {
			path := strings.NewReplacer("{number}", number, "{file}", "signin.css").Replace(route.Pattern)
			if signed && b.cookies["gatehouse"] == "" {
				b.signIn()
			}
			if route.Method == "POST" {
				all = append(all, b.post(path, "name", "x"))
			} else {
				all = append(all, b.get(path), b.head(path))
			}
		}
		all = append(all, b.get("/"), b.get("/nowhere"), b.get("/login/nowhere"), b.post("/"), b.get("/logout"), b.get("/login/static/none.css"), b.get("/login/static/index.html"))
	}
	for _, w := range all {
		policy := w.Header().Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !slices.Contains(strings.Split(policy, "; "), part) {
				t.Errorf("%d %s: the policy is %q", w.Code, w.Body, policy)
			}
		}
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
			if got := w.Header().Get(name); got != value {
				t.Errorf("%d: %s is %q", w.Code, name, got)
			}
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" && (got != "no-cache" || w.Header().Get("Etag") == "") {
			t.Errorf("%d: Cache-Control is %q", w.Code, got)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "text/html; charset=utf-8" && !strings.Contains(w.Body.String(), "logout token") {
			t.Errorf("%d is no page: %v", w.Code, w.Header())
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Error("other origins may read it")
		}
	}
}

func TestStatic_files_are_kept_while_they_are_the_same(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for file, kind := range map[string]string{"signin.css": "text/css; charset=utf-8", "signin.js": "text/javascript; charset=utf-8"} {
		w := h.browser(t).get("/login/static/" + file)
		want(t, w, http.StatusOK, "")
		if w.Header().Get("Content-Type") != kind {
			t.Error(w.Header())
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/login/static/"+file, nil)
		r.Header.Set("If-None-Match", w.Header().Get("Etag"))
		want(t, h.browser(t).send(r), http.StatusNotModified, "")
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	number := h.provide(t, identity.OIDC, "Corp", "")
	b := h.browser(t)
	for path, allowed := range map[string]string{"/logout": "POST", "/login/cancel": "POST", "/": "GET, HEAD"} {
		r := httptest.NewRequestWithContext(t.Context(), "DELETE", path, nil)
		w := b.send(r)
		want(t, w, http.StatusMethodNotAllowed, "does not take that kind of request")
		if w.Header().Get("Allow") != allowed {
			t.Errorf("%s allows %q", path, w.Header().Get("Allow"))
		}
	}
	w := b.head("/login/sso/" + number) // begins nothing
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET" || len(b.cookies) > 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	want(t, b.get("/saml/metadata.xml"), http.StatusOK, "<EntityDescriptor/>")
	if kind := b.get("/saml/metadata.xml").Header().Get("Content-Type"); kind != "application/samlmetadata+xml" {
		t.Error(kind)
	}
}

// Rule F4: nobody is sent anywhere but to a path of ours, and our own links do not listen to the request's host.
func TestTargets(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	for target, path := range map[string]string{
		"/docs": "/docs", "/a?b=c#d": "/a?b=c#d", "": "/", "docs": "/", "//evil.example": "/", "///evil.example": "/", "/\\evil.example": "/", `\\evil.example`: "/",
		"https://evil.example": "/", "https:/evil.example": "/", "https:evil.example": "/", "javascript:alert(1)": "/", "/\t/evil.example": "/", "/\n/evil.example": "/",
		"data:text/html,x": "/", "/a\r\nSet-Cookie: x": "/", " /docs": "/", "/" + strings.Repeat("x", 2100): "/", "@evil.example": "/", "/%zz": "/",
	} {
		if w := h.browser(t).signIn("target", target); w.Header().Get("Location") != path {
			t.Errorf("%q leads to %q, want %q", target, w.Header().Get("Location"), path)
		}
	}
	for _, page := range []string{"/login", "/login/second", "/nowhere", "/"} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", page, nil)
		r.Host = "evil.example"
		r.Header.Set("X-Forwarded-Host", "evil.example")
		w := h.browser(t).send(r)
		if strings.Contains(w.Body.String()+w.Header().Get("Location"), "evil.example") {
			t.Errorf("%s repeats the host", page)
		}
	}
}

// Rule F3: whatever somebody sends comes back as text.
func TestMarkup_is_inert(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.posts = true
	saml := h.provide(t, identity.SAML, "Corp "+hostile, hostile)
	ldap := h.provide(t, identity.LDAP, "People "+hostile, "")
	b := h.browser(t)
	query := url.QueryEscape(hostile)
	pages := map[string]*httptest.ResponseRecorder{
		"target of a link": b.get("/login?target=" + query), "provider of a link": b.get("/login?with=" + query), "name of a directory": b.get("/login?with=" + ldap),
		"form": b.post("/login", "username", hostile, "password", hostile, "target", hostile, "with", hostile, "captcha", hostile),
		"post": b.get("/login/sso/" + saml + "?target=" + query), "SAML": b.post("/saml", "SAMLResponse", hostile, "RelayState", hostile),
		"code": b.get("/oauth?code=" + query + "&state=" + query + "&error=" + query), "flow": b.get("/login/finish?flow=" + query), "path": b.get("/login/" + query),
	}
	b.signIn()
	b.post("/login/confirm", "password", password)
	pages["key's name"] = b.post("/login/enrol/key", "name", hostile, "target", hostile)
	pages["conversation"] = b.post("/login/enrol/app", "conversation", hostile, "code", hostile, "target", hostile)
	pages["target of an app"] = b.post("/login/enrol/app", "target", hostile)
	pages["credential"] = b.post("/login/enrol/key", "name", hostile, "credential", hostile, "target", hostile)
	b.enrolKey("Key " + hostile)
	b.post("/login/confirm", "password", password)
	pages["names of keys"] = b.get("/login/enrol?target=" + query)
	if n := strings.Count(html.UnescapeString(pages["names of keys"].Body.String()), "Key "+hostile); n != 1 {
		t.Errorf("the key is listed %d times: %s", n, pages["names of keys"].Body)
	}
	for name, w := range pages {
		if strings.Contains(w.Body.String(), "<script>") || strings.Contains(w.Body.String(), `"">`) {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
	post := pages["post"]
	want(t, post, http.StatusOK, `name="RelayState" value="`+hostile+`"`)
	want(t, post, http.StatusOK, `action="https://saml.example.test/sso?a=1&b=2"`)
	if policy := post.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https:;") {
		t.Error(policy)
	}
}

// What a page shows once is shown to who asked, and an error never repeats a secret.
func TestErrors_repeat_no_secret(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	b := h.browser(t)
	typed := "a secret in the wrong place"
	for _, w := range []*httptest.ResponseRecorder{
		b.signIn("password", typed), b.signIn("captcha", typed, "answer", typed, "password", "x"), b.post("/saml", "SAMLResponse", typed), b.get("/oauth?code=" + url.QueryEscape(typed)),
	} {
		if strings.Contains(w.Body.String(), typed) {
			t.Errorf("%s", w.Body)
		}
	}
	u, err := h.users.ByName(t.Context(), h.root(), "dana")
	must(t, err)
	b.signIn()
	must(t, h.users.SetPassword(t.Context(), h.root(), u.ID, secret.New("another: "+typed)))
	b.opens(false)
}
