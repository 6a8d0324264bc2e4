package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func cookies(t *testing.T, public string, origins ...string) api.Cookies {
	t.Helper()
	u, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	return api.Cookies{PublicURL: u, Origins: origins}
}

func sent(method string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// rules W12, F11: the public URL decides about every cookie, and the pre-login one has a name of its own.
func TestCookies_follow_the_public_URL(t *testing.T) {
	t.Parallel()
	const attributes = "; Path=/; HttpOnly; SameSite=Lax"
	const secure = "; Path=/; Secure; HttpOnly; SameSite=Lax"
	tests := []struct{ public, session, preLogin string }{
		{"https://gate.example.test", "__Host-gatehouse=v" + secure, "__Host-gatehouse-login=v" + secure},
		{"https://localhost:8443", "__Host-gatehouse=v" + secure, "__Host-gatehouse-login=v" + secure},
		{"http://localhost:8080", "gatehouse=v" + attributes, "gatehouse-login=v" + attributes},
		{"http://127.0.0.1:8080", "gatehouse=v" + attributes, "gatehouse-login=v" + attributes},
		{"http://[::1]:8080", "gatehouse=v" + attributes, "gatehouse-login=v" + attributes},
		{"http://gate.example.test", "", ""},
		{"http://localhost.example.test", "", ""},
		{"http://10.0.0.1", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.public, func(t *testing.T) {
			t.Parallel()
			c := cookies(t, tt.public)
			if c.Possible() != (tt.session != "") {
				t.Errorf("possible: %v", c.Possible())
			}
			w := httptest.NewRecorder()
			c.Set(w, secret.New("v"))
			if got := w.Header().Get("Set-Cookie"); got != tt.session {
				t.Errorf("session: %q, want %q", got, tt.session)
			}
			w = httptest.NewRecorder()
			c.SetPreLogin(w, secret.New("v"))
			if got := w.Header().Get("Set-Cookie"); got != tt.preLogin {
				t.Errorf("pre-login: %q, want %q", got, tt.preLogin)
			}
		})
	}
}

func TestCookies_are_taken_away(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	c := cookies(t, "https://gate.example.test")
	c.Set(w, secret.String{})
	c.SetPreLogin(w, secret.String{})
	want := []string{
		"__Host-gatehouse=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
		"__Host-gatehouse-login=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
	}
	if got := w.Header().Values("Set-Cookie"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, public, header string
		session, preLogin    string
	}{
		{"each by its own name", "https://g.test", "__Host-gatehouse=a; __Host-gatehouse-login=b", "a", "b"},
		{"no prefix is no cookie of https", "https://g.test", "gatehouse=a; gatehouse-login=b", "", ""},
		{"nor the other way round", "http://localhost:1", "__Host-gatehouse=a; __Host-gatehouse-login=b", "", ""},
		{"loopback", "http://localhost:1", "gatehouse=a; gatehouse-login=b", "a", "b"},
		{"two are none", "https://g.test", "__Host-gatehouse=a; __Host-gatehouse=a", "", ""},
		{"none in the open", "http://g.test", "gatehouse=a; gatehouse-login=b; __Host-gatehouse=a", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, r := cookies(t, tt.public), sent("GET", "Cookie", tt.header)
			token, ok := c.Read(r)
			if token.Reveal() != tt.session || ok != (tt.session != "") {
				t.Errorf("session: %q, %v", token.Reveal(), ok)
			}
			value, ok := c.ReadPreLogin(r)
			if value.Reveal() != tt.preLogin || ok != (tt.preLogin != "") {
				t.Errorf("pre-login: %q, %v", value.Reveal(), ok)
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	tests := []struct {
		public  string
		origins []string
		ours    []string
		foreign []string
	}{
		{
			"https://gate.example.test", nil,
			[]string{"https://gate.example.test"},
			[]string{
				"null", "", "http://gate.example.test", "https://gate.example.test:8443", "https://gate.example.test.evil.test", "https://evil-gate.example.test",
				"https://gate.example.test/", "https://GATE.example.test", "https://gate.example.tes", "https://example.test", "https://gate.example.test evil", "https://gate.example.test.",
			},
		},
		{"https://Gate.example.test:443", nil, []string{"https://gate.example.test"}, []string{"https://gate.example.test:443"}},
		{"http://localhost:80", nil, []string{"http://localhost", "http://127.0.0.1"}, nil},
		{"http://localhost:8080", nil, []string{"http://localhost:8080", "http://127.0.0.1:8080"}, []string{"http://localhost", "http://localhost:8081", "http://[::1]:8080", "https://localhost:8080", "http://evil.localhost:8080"}},
		{"http://127.0.0.1:8080", nil, []string{"http://localhost:8080", "http://127.0.0.1:8080"}, []string{"http://127.0.0.2:8080"}},
		{"http://[::1]:8080", nil, []string{"http://[::1]:8080"}, []string{"http://localhost:8080"}},
		{"https://gate.example.test", []string{"https://a.test", "https://b.test"}, []string{"https://a.test", "https://b.test"}, []string{"https://gate.example.test", "null"}},
	}
	for _, tt := range tests {
		c := cookies(t, tt.public, tt.origins...)
		for _, origin := range tt.ours {
			if r := sent("POST", "Origin", origin); c.Foreign(r) || !c.BeganHere(r) {
				t.Errorf("%s: %q is refused", tt.public, origin)
			}
		}
		for _, origin := range tt.foreign {
			if r := sent("POST", "Origin", origin, "Sec-Fetch-Site", "same-origin", "X-Gatehouse-CSRF", "1"); !c.Foreign(r) || c.BeganHere(r) {
				t.Errorf("%s: %q is let in", tt.public, origin)
			}
		}
		twice := sent("POST", "Origin", tt.ours[0], "Origin", tt.ours[0])
		if !c.Foreign(twice) || c.BeganHere(twice) {
			t.Errorf("%s: two origins are let in", tt.public)
		}
		if c.Foreign(sent("POST")) {
			t.Errorf("%s: no origin is a foreign one", tt.public)
		}
	}
}

func TestBeganHere_without_an_origin_needs_a_voucher(t *testing.T) {
	t.Parallel()
	c := cookies(t, "https://gate.example.test")
	more := []api.Voucher{api.HeaderVoucher("X-Vendor-Token", "no-check"), api.JSONVoucher}
	tests := []struct {
		header    []string
		own, with bool // without and with the dialect's own vouchers
	}{
		{nil, false, false},
		{[]string{"Sec-Fetch-Site", "same-origin"}, true, true},
		{[]string{"Sec-Fetch-Site", "same-site"}, false, false},
		{[]string{"Sec-Fetch-Site", "none"}, false, false},
		{[]string{"X-Gatehouse-CSRF", "1"}, true, true},
		{[]string{"X-Gatehouse-CSRF", "0"}, false, false},
		{[]string{"X-Vendor-Token", "no-check"}, false, true},
		{[]string{"X-Vendor-Token", "nocheck"}, false, false},
		{[]string{"X-Vendor-Token", "x", "X-Vendor-Token", "no-check"}, false, false},
		{[]string{"Content-Type", "application/json"}, false, true},
		{[]string{"Content-Type", "Application/JSON; charset=utf-8"}, false, true},
		{[]string{"Content-Type", "text/plain; application/json"}, false, false},
		{[]string{"Content-Type", "text/plain, application/json"}, false, false},
		{[]string{"Content-Type", "text/plain", "Content-Type", "application/json"}, false, false},
		{[]string{"Content-Type", "application/jsonx"}, false, false},
		{[]string{"Origin", "https://evil.test", "X-Vendor-Token", "no-check", "Content-Type", "application/json"}, false, false},
	}
	for _, tt := range tests {
		r := sent("POST", tt.header...)
		if own, with := c.BeganHere(r), c.BeganHere(r, more...); own != tt.own || with != tt.with {
			t.Errorf("%q: %v and %v, want %v and %v", tt.header, own, with, tt.own, tt.with)
		}
	}
}

func TestGuard_concerns_cookies_and_changes_alone(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	c := cookies(t, "https://gate.example.test")
	h := c.Guard(func(http.ResponseWriter, *http.Request, access.Caller) error { return nil }, refused, api.HeaderVoucher("X-Vendor-Token", "no-check"))
	tests := []struct {
		r      *http.Request
		cookie bool
		want   error
	}{
		{sent("POST"), true, refused},
		{sent("DELETE"), true, refused},
		{sent("NONSENSE"), true, refused},
		{sent("POST", "Origin", "https://evil.test"), true, refused},
		{sent("POST", "X-Vendor-Token", "no-check"), true, nil},
		{sent("POST", "Origin", "https://gate.example.test"), true, nil},
		{sent("GET", "Origin", "https://evil.test"), true, nil},
		{sent("HEAD"), true, nil},
		{sent("OPTIONS"), true, nil},
		{sent("POST", "Origin", "https://evil.test"), false, nil},
	}
	for _, tt := range tests {
		if err := h(httptest.NewRecorder(), tt.r, access.Caller{Cookie: tt.cookie}); !errors.Is(err, tt.want) {
			t.Errorf("%s %v by cookie %v: %v, want %v", tt.r.Method, tt.r.Header, tt.cookie, err, tt.want)
		}
	}
}

// A browser has several remote sessions open at a time, and one cookie for them: each token is good for its session alone (rules W2, W12).
func TestCookies_of_remote_sessions(t *testing.T) {
	t.Parallel()
	held := []api.RemoteCookie{{Session: "one", Token: secret.New("a")}, {Session: "two", Token: secret.New("b")}}
	for public, want := range map[string]string{
		"https://gate.example.test": "__Host-gh_ws=one.a~two.b; Path=/; Secure; HttpOnly; SameSite=Lax",
		"http://localhost:8080":     "gh_ws=one.a~two.b; Path=/; HttpOnly; SameSite=Lax",
		"http://gate.example.test":  "",
	} {
		w := httptest.NewRecorder()
		cookies(t, public).SetRemote(w, held)
		if got := w.Header().Get("Set-Cookie"); got != want {
			t.Errorf("%s: %q, want %q", public, got, want)
		}
	}
	c := cookies(t, "http://localhost:8080")
	for cookie, want := range map[string][]string{
		"gh_ws=one.a~two.b": {"one=a", "two=b"}, "gh_ws=one.a": {"one=a"}, "gh_ws=one": nil, "gh_ws=.a~one.~~two.b": {"two=b"}, "gh_ws=": nil,
		"gh_ws=one.a; gh_ws=two.b": nil, "__Host-gh_ws=one.a": nil, "gatehouse=one.a": nil,
	} {
		var got []string
		for _, one := range c.ReadRemote(sent("GET", "Cookie", cookie)) {
			got = append(got, one.Session+"="+one.Token.Reveal())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", cookie, got, want)
		}
	}
}
