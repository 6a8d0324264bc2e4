package signin_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
)

var (
	noForm = policy.SSO{HideForm: true}
	onAsk  = policy.SSO{HideForm: true, Fallback: true}
)

// What the page offers follows from the policy, the providers and what it was called with.
func TestOptions(t *testing.T) {
	t.Parallel()
	kinds := func(all ...identity.ProviderKind) []identity.ProviderKind { return all }
	for name, c := range map[string]struct {
		policy policy.SSO
		kinds  []identity.ProviderKind // by number
		query  string
		to     string   // where the browser is sent; empty: nowhere
		action string   // of the form; empty: there is none
		links  []string // of the buttons
	}{
		"the form alone":               {action: "/login"},
		"the form and all providers":   {kinds: kinds("oidc", "ldap", "saml"), action: "/login", links: []string{"/login/sso/1", "/login?with=2", "/login/sso/3"}},
		"the form and its directory":   {kinds: kinds("oidc", "ldap"), query: "?with=2", action: "/login", links: []string{"/login/sso/1", "/login"}},
		"the form whatever is asked":   {kinds: kinds("oidc"), query: "?auth_fallback", action: "/login", links: []string{"/login/sso/1"}},
		"the form after signing out":   {kinds: kinds("oidc"), query: "?out=1", action: "/login", links: []string{"/login/sso/1"}},
		"no provider that cannot be":   {kinds: kinds("crowd", "oidc"), action: "/login", links: []string{"/login/sso/2"}},
		"the target kept":              {kinds: kinds("oidc", "ldap"), query: "?target=/docs", action: "/login", links: []string{"/login/sso/1?target=%2Fdocs", "/login?target=%2Fdocs&with=2"}},
		"the target of a login option": {kinds: kinds("oidc"), query: "?targetUrl=/docs", action: "/login", links: []string{"/login/sso/1?target=%2Fdocs"}},

		"hidden, no provider: the form":                {policy: noForm, action: "/login"},
		"hidden, a directory alone: the form":          {policy: noForm, kinds: kinds("ldap"), action: "/login", links: []string{"/login?with=1"}},
		"hidden, none supported: the form":             {policy: onAsk, kinds: kinds("crowd"), action: "/login"},
		"hidden, one provider: there":                  {policy: noForm, kinds: kinds("oidc"), to: "/login/sso/1"},
		"hidden, one provider: there, target kept":     {policy: noForm, kinds: kinds("saml"), query: "?target=%2Fdocs%3Fa%3Db", to: "/login/sso/1?target=%2Fdocs%3Fa%3Db"},
		"hidden, one provider and a directory: there":  {policy: noForm, kinds: kinds("ldap", "oidc"), query: "?with=1", to: "/login/sso/2"},
		"hidden, one of two is supported: there":       {policy: noForm, kinds: kinds("crowd", "oidc"), to: "/login/sso/2"},
		"hidden, fallback is off: there":               {policy: noForm, kinds: kinds("oidc"), query: "?auth_fallback=true&target=/docs", to: "/login/sso/1?target=%2Fdocs"},
		"hidden, fallback is on, not asked for: there": {policy: onAsk, kinds: kinds("oidc"), to: "/login/sso/1"},
		"hidden, several: buttons alone":               {policy: noForm, kinds: kinds("oidc", "saml", "ldap"), query: "?target=/docs", links: []string{"/login/sso/1?target=%2Fdocs", "/login/sso/2?target=%2Fdocs"}},
		"hidden, several, fallback is off: buttons":    {policy: noForm, kinds: kinds("oidc", "saml"), query: "?auth_fallback", links: []string{"/login/sso/1", "/login/sso/2"}},

		"asked for by name alone":       {policy: onAsk, kinds: kinds("oidc"), query: "?auth_fallback", action: "/login?auth_fallback=1", links: []string{"/login/sso/1"}},
		"asked for by any value":        {policy: onAsk, kinds: kinds("oidc"), query: "?auth_fallback=false", action: "/login?auth_fallback=1", links: []string{"/login/sso/1"}},
		"asked for beside a directory":  {policy: onAsk, kinds: kinds("oidc", "ldap"), query: "?auth_fallback&target=/docs", action: "/login?auth_fallback=1", links: []string{"/login/sso/1?target=%2Fdocs", "/login?auth_fallback=1&target=%2Fdocs&with=2"}},
		"asked for, with the directory": {policy: onAsk, kinds: kinds("oidc", "ldap"), query: "?auth_fallback&with=2", action: "/login?auth_fallback=1", links: []string{"/login/sso/1", "/login?auth_fallback=1"}},

		// Whoever signs out, fails or is signed out at the only provider would be back at once.
		"signed out: a button":       {policy: onAsk, kinds: kinds("oidc"), query: "?out=1", links: []string{"/login/sso/1"}},
		"the session over: a button": {policy: noForm, kinds: kinds("oidc"), query: "?over=1&target=/docs", links: []string{"/login/sso/1?target=%2Fdocs"}},
		"failed: a button":           {policy: noForm, kinds: kinds("oidc"), query: "?again=1", links: []string{"/login/sso/1"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			for i, kind := range c.kinds {
				h.provide(t, kind, "Provider "+itoa(int64(i+1)), "")
			}
			h.choose(t, c.policy)
			w := h.browser(t).get("/login" + c.query)
			if c.to != "" {
				wantTo(t, w, c.to)
				return
			}
			want(t, w, http.StatusOK, "<h1>Sign in")
			if action := actionOf(w); action != c.action {
				t.Errorf("the form goes to %q, want %q", action, c.action)
			}
			if links := linksOf(w); !slices.Equal(links, c.links) {
				t.Errorf("the buttons lead to %q, want %q", links, c.links)
			}
		})
	}
}

var (
	actions = regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	links   = regexp.MustCompile(`<a class="button[^"]*" href="([^"]+)"`)
)

func actionOf(w *httptest.ResponseRecorder) string {
	if found := actions.FindStringSubmatch(w.Body.String()); found != nil {
		return html.UnescapeString(found[1])
	}
	return ""
}

func linksOf(w *httptest.ResponseRecorder) (to []string) {
	for _, one := range links.FindAllStringSubmatch(w.Body.String(), -1) {
		to = append(to, html.UnescapeString(one[1]))
	}
	return to
}

// Where the form can be reached in no way its passwords are not even looked at.
func TestForm_hidden(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	oidc, ldap := h.provide(t, identity.OIDC, "Corp", ""), h.provide(t, identity.LDAP, "Directory", "")
	h.choose(t, noForm)
	b := h.browser(t)
	for range 6 { // more than a CAPTCHA lets pass
		w := b.signIn("password", "wrong")
		want(t, w, http.StatusForbidden, "Passwords are not taken here")
		if links := linksOf(w); !slices.Equal(links, []string{"/login/sso/" + oidc}) {
			t.Errorf("leads to %q", links)
		}
	}
	for _, fields := range [][]string{nil, {"auth_fallback", "1"}, {"with", ldap, "password", theirs}} {
		if w := b.signIn(fields...); w.Code != http.StatusForbidden || len(b.cookies) > 0 {
			t.Errorf("%q: %d %v", fields, w.Code, b.cookies)
		}
	}
	h.choose(t, policy.SSO{})
	wantTo(t, b.signIn(), "/") // no try was counted
}

// A form that was asked for stays until somebody is in.
func TestForm_asked_for(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.provide(t, identity.OIDC, "Corp", "")
	ldap := h.provide(t, identity.LDAP, "Directory", "")
	h.choose(t, onAsk)
	b := h.browser(t)
	sent := actionOf(b.get("/login?auth_fallback"))
	var w *httptest.ResponseRecorder
	for range 5 {
		h.clock.pass(20 * time.Minute)
		w = b.post(sent, "username", "dana", "password", "wrong", "target", "/docs")
		if w.Code != http.StatusUnauthorized || actionOf(w) != sent || !slices.Contains(linksOf(w), "/login/sso/1?target=%2Fdocs") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	h.clock.pass(time.Minute)
	text, _ := h.captcha.Text(captchaOf(w))
	wantTo(t, b.post(sent, "username", "dana", "password", password, "target", hidden(t, w, "target"), "captcha", captchaOf(w), "answer", text), "/docs")

	w = h.browser(t).post(sent, "username", "erik", "password", "wrong", "with", ldap)
	want(t, w, http.StatusUnauthorized, "Sign in with Directory")
	if actionOf(w) != sent || !slices.Contains(linksOf(w), "/login?auth_fallback=1") {
		t.Errorf("%s", w.Body)
	}
}

// Nobody is sent to the only provider without asking for it: who was there just now would be back at once.
func TestProvider_alone_does_not_loop(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	number := h.provide(t, identity.SAML, "Corp", "")
	h.choose(t, noForm)
	b := h.browser(t)
	come := func() {
		wantTo(t, b.get("/login?target=/docs"), "/login/sso/"+number+"?target=%2Fdocs")
		state := b.depart(t, "/login/sso/"+number+"?target=%2Fdocs")
		wantTo(t, b.get(b.post("/saml", "SAMLResponse", state+"|"+theirs).Header().Get("Location")), "/docs")
		b.opens(true)
	}
	stays := func(w *httptest.ResponseRecorder, text string) {
		t.Helper()
		for w.Code == http.StatusSeeOther {
			w = b.get(w.Header().Get("Location"))
		}
		if !strings.Contains(html.UnescapeString(w.Body.String()), text) || !slices.Equal(linksOf(w), []string{"/login/sso/" + number}) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	come()
	stays(b.post("/login/out"), "You are signed out here. At your identity provider you may still be signed in.")
	b.opens(false)
	come()
	stays(b.post("/login/cancel"), "You sign in at your identity provider")
	stays(b.post("/login/out"), "You were signed out, or it took too long.") // a page of a session that is over, in a browser that has forgotten it
	come()
	stays(b.post("/login/second", "kind", "totp"), "You sign in at your identity provider") // sent twice
	b.cookies["gatehouse"] = strings.Repeat("A", 86)
	stays(b.get("/login/enrol"), "You were signed out, or it took too long.")
	state := b.depart(t, "/login/sso/"+number)
	stays(b.post("/saml", "SAMLResponse", state+"|wrong"), "That sign-in did not work")
	stays(b.get("/oauth?state=unknown"), "That sign-in did not work")
	stays(b.get("/login/finish?flow=unknown"), "That sign-in did not work")
	stays(b.get("/login?again=1"), "You sign in at your identity provider")
	h.away = true
	stays(b.get("/login/sso/"+number), "That sign-in did not work")
	for range 60 {
		b.get("/login/sso/" + number)
	}
	w := b.get("/login/sso/" + number)
	want(t, w, http.StatusTooManyRequests, "Too many attempts")
	if links := linksOf(w); !slices.Equal(links, []string{"/login?again=1"}) {
		t.Errorf("leads to %q", links)
	}
}

// Whatever went wrong at a provider, the page is the same, and offers what is left.
func TestProvider_fails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy policy.SSO
		links  []string
	}{
		"with the form":              {policy.SSO{}, []string{"/login/sso/1", "/login/sso/2", "/login?with=3", "/login"}},
		"with a form on request":     {onAsk, []string{"/login/sso/1", "/login/sso/2", "/login?auth_fallback=1&with=3", "/login?auth_fallback=1"}},
		"without one, two providers": {noForm, []string{"/login/sso/1", "/login/sso/2"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, local)
			h.provide(t, identity.OIDC, "Corp", "")
			h.provide(t, identity.SAML, "Guests", "")
			h.provide(t, identity.LDAP, "Directory", "")
			h.provide(t, crowd, "Crowd", "")
			h.choose(t, c.policy)
			b := h.browser(t)
			oidc, saml := b.depart(t, "/login/sso/1"), b.depart(t, "/login/sso/2")
			h.away = true
			all := []*httptest.ResponseRecorder{
				b.get("/login/sso/1"), b.get("/login/sso/2"), b.get("/oauth?error=access_denied&error_description=why&state=" + url.QueryEscape(oidc)),
				b.get("/oauth?code=x&state=" + url.QueryEscape(oidc)), b.post("/saml", "SAMLResponse", saml+"|wrong"), b.get("/login/finish?flow=x"),
			}
			for _, w := range all {
				want(t, w, http.StatusForbidden, "That sign-in did not work")
				if w.Body.String() != all[0].Body.String() {
					t.Errorf("tells them apart: %s\n%s", w.Body, all[0].Body)
				}
			}
			if links := linksOf(all[0]); !slices.Equal(links, c.links) {
				t.Errorf("leads to %q, want %q", links, c.links)
			}
			want(t, b.get("/login/sso/1?target=/docs"), http.StatusForbidden, `href="/login/sso/2?target=%2Fdocs"`)
			w := b.get("/login/sso/4")
			want(t, w, http.StatusForbidden, "Crowd identity providers are not supported.")
			if links := linksOf(w); !slices.Equal(links, []string{"/login?again=1"}) {
				t.Errorf("leads to %q", links)
			}
		})
	}
}

// Rule F4: what is asked for on the way to a provider leads nowhere but to a path of ours.
func TestTargets_of_the_only_provider(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	h.provide(t, identity.SAML, "Corp", "")
	h.choose(t, noForm)
	for target, path := range map[string]string{
		"/docs?a=b": "/docs?a=b", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example": "/", "/\n/evil.example": "/", "/a\r\nSet-Cookie: x": "/", "javascript:alert(1)": "/",
	} {
		b := h.browser(t)
		w := b.get("/login?target=" + url.QueryEscape(target))
		if to := w.Header().Get("Location"); to != "/login/sso/1?target="+url.QueryEscape(target) {
			t.Fatalf("%q: on to %q", target, to)
		}
		w = b.post("/saml", "SAMLResponse", b.depart(t, w.Header().Get("Location"))+"|"+theirs)
		wantTo(t, b.get(w.Header().Get("Location")), path)
	}
}
