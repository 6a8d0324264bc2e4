package signin_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

const (
	signedOut = "/oauth/logout/{number}"
	notTaken  = `{"error":"invalid_request","error_description":"The logout token was not accepted."}` + "\n"
)

// goes signs Dana in at a provider.
func (b *browser) goes(number string) {
	b.t.Helper()
	state := b.depart(b.t, "/login/sso/"+number)
	to := b.get("/oauth?" + url.Values{"state": {state}, "code": {theirs + state}}.Encode()).Header().Get("Location")
	wantTo(b.t, b.get(to), "/")
	b.opens(true)
}

// OpenID Connect Back-Channel Logout 1.0 sections 2.5 and 2.8.
func TestLogout_by_a_provider(t *testing.T) {
	t.Parallel()
	tell := func(h *house, t *testing.T, number, token string) *httptest.ResponseRecorder {
		t.Helper()
		caller := h.browser(t)
		caller.origin = ""
		w := caller.post("/oauth/logout/"+number, "logout_token", token)
		if w.Header().Get("Cache-Control") != "no-store" || len(w.Result().Cookies()) > 0 {
			t.Errorf("%v", w.Header())
		}
		return w
	}
	taken := func(t *testing.T, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusOK || w.Body.Len() > 0 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	}
	refused := func(t *testing.T, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusBadRequest || w.Body.String() != notTaken || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("answered %d %v %s", w.Code, w.Header(), w.Body)
		}
	}
	t.Run("ends the session that the token names, and no other", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, local)
		corp, other := h.provide(t, identity.OIDC, "Corp", ""), h.provide(t, identity.OIDC, "Other", "")
		b, own := h.browser(t), h.browser(t)
		own.signIn()
		b.goes(corp)
		taken(t, tell(h, t, corp, "/session of somebody else"))
		taken(t, tell(h, t, other, "/session of dana"))
		b.opens(true)
		taken(t, tell(h, t, corp, "/session of dana"))
		b.opens(false)
		own.opens(true)
		refused(t, tell(h, t, corp, "/session of dana")) // once
	})
	t.Run("ends all sessions of whom the token names", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, local)
		corp := h.provide(t, identity.OIDC, "Corp", "")
		b, c, own := h.browser(t), h.browser(t), h.browser(t)
		own.signIn()
		b.goes(corp)
		c.goes(corp)
		taken(t, tell(h, t, corp, "subject of nobody/"))
		b.opens(true)
		taken(t, tell(h, t, corp, "subject of dana/"))
		b.opens(false)
		c.opens(false)
		own.opens(true)
		b.goes(corp) // whoever signs in there again is welcome
	})
	t.Run("ends a sign-in that waits for its browser", func(t *testing.T) {
		t.Parallel()
		for _, token := range []string{"subject of dana/", "/session of dana"} {
			h := newHouse(t, local)
			corp := h.provide(t, identity.OIDC, "Corp", "")
			b := h.browser(t)
			state := b.depart(t, "/login/sso/"+corp)
			to := b.get("/oauth?" + url.Values{"state": {state}, "code": {theirs + state}}.Encode()).Header().Get("Location")
			taken(t, tell(h, t, corp, token))
			want(t, b.get(to), http.StatusForbidden, "That sign-in did not work")
			b.opens(false)
		}
	})
	t.Run("lets nobody in by a session that has just ended there", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, local)
		corp := h.provide(t, identity.OIDC, "Corp", "")
		b := h.browser(t)
		state := b.depart(t, "/login/sso/"+corp)
		taken(t, tell(h, t, corp, "/session of dana"))
		to := b.get("/oauth?" + url.Values{"state": {state}, "code": {theirs + state}}.Encode()).Header().Get("Location")
		want(t, b.get(to), http.StatusForbidden, "That sign-in did not work")
		b.opens(false)
		h.clock.pass(2 * time.Minute)
		b.goes(corp)
	})
	t.Run("refuses everything else alike", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, local)
		corp, saml, off := h.provide(t, identity.OIDC, "Corp", ""), h.provide(t, identity.SAML, "Saml", ""), h.provide(t, identity.OIDC, "Off", "")
		_, err := h.providers.Change(t.Context(), h.root(), h.id(t, off), func(p identity.Provider) (identity.Provider, error) { p.Enabled = false; return p, nil })
		must(t, err)
		b := h.browser(t)
		b.goes(corp)
		for _, number := range []string{"99", "x", "-1", off, corp, "99999999999999999999"} {
			refused(t, tell(h, t, number, "garbage"))
		}
		refused(t, tell(h, t, off, "subject of dana/"))
		_ = saml
		const token = "logout_token=subject+of+dana%2F"
		for _, r := range []*http.Request{
			httptest.NewRequestWithContext(t.Context(), "POST", "/oauth/logout/"+corp+"?"+token, strings.NewReader("")),
			httptest.NewRequestWithContext(t.Context(), "POST", "/oauth/logout/"+corp, strings.NewReader(token+"&"+token)),
			httptest.NewRequestWithContext(t.Context(), "POST", "/oauth/logout/"+corp, strings.NewReader(token+"&x="+strings.Repeat("x", 64<<10))),
			httptest.NewRequestWithContext(t.Context(), "POST", "/oauth/logout/"+corp, strings.NewReader(token+"&%zz")),
		} {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			refused(t, h.browser(t).send(r))
		}
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/oauth/logout/"+corp, strings.NewReader(token))
		r.Header.Set("Content-Type", "text/plain")
		refused(t, h.browser(t).send(r))
		b.opens(true)
	})
	t.Run("says when there were too many wrong ones, and takes a right one all the same", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, local)
		corp := h.provide(t, identity.OIDC, "Corp", "")
		b := h.browser(t)
		b.goes(corp)
		for range 20 {
			refused(t, tell(h, t, corp, "garbage"))
		}
		w := tell(h, t, corp, "garbage")
		if seconds, err := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != http.StatusTooManyRequests || w.Body.String() != notTaken || err != nil || seconds < 1 {
			t.Errorf("answered %d %v %s", w.Code, w.Header(), w.Body)
		}
		taken(t, tell(h, t, corp, "subject of dana/"))
		b.opens(false)
	})
}

// A provider that does not send what it announced is told so in the form of this address, as any other mistake; the wait is the pages' own.
func TestLogout_of_which_the_body_never_arrives(t *testing.T) {
	t.Parallel()
	h := newHouse(t, local)
	corp := h.provide(t, identity.OIDC, "Corp", "")
	h.pages.BodyWait = 50 * time.Millisecond
	server := httptest.NewServer(h)
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	fmt.Fprintf(c, "POST /oauth/logout/%s HTTP/1.1\r\nHost: gate\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nlogout_token=", corp)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode != http.StatusBadRequest || string(body) != notTaken {
		t.Errorf("answered %d %s", answer.StatusCode, body)
	}
}

// id finds a provider by its number.
func (h *house) id(t *testing.T, number string) string {
	t.Helper()
	n, err := strconv.ParseInt(number, 10, 64)
	must(t, err)
	p, err := h.providers.Store.ByNumber(t.Context(), n)
	must(t, err)
	return p.ID
}
