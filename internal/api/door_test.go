package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// say is a handler that answers with a fixed text.
func say(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func route(method, pattern string, h http.Handler) api.Route {
	return api.Route{Method: method, Pattern: pattern, Action: access.Public, Handler: h}
}

// door is a Door over owners, and what it has logged and observed.
type door struct {
	api.Door
	log  bytes.Buffer
	seen []api.Observation
}

func newDoor(t *testing.T, owners ...api.Owner) *door {
	t.Helper()
	mux, err := api.Mount(owners...)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{}
	d.Door = api.Door{
		Handler: mux,
		Log:     slog.New(slog.NewTextHandler(&d.log, nil)),
		Now:     func() time.Time { return time.Unix(1, 0) },
		Observe: func(o api.Observation) { d.seen = append(d.seen, o) },
	}
	return d
}

func (d *door) send(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL = &url.URL{Path: path, RawQuery: query}
	if plain, err := url.PathUnescape(path); err == nil {
		r.URL.Path, r.URL.RawPath = plain, path
	}
	r.RemoteAddr = "192.0.2.1:1234"
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func sampleOwners() []api.Owner {
	return []api.Owner{
		{
			Name: "outer", Prefixes: []string{"/api/v1"},
			Routes: []api.Route{route("GET", "/api/v1/me", say("me"))},
		},
		{
			Name: "inner", Prefixes: []string{"/api/v1/ssh"},
			Routes: []api.Route{
				route("GET", "/api/v1/ssh/{id}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "id="+r.PathValue("id"))
				})),
				route("PUT", "/api/v1/ssh/{id}", say("put")),
				route("POST", "/api/v1/ssh/complete", say("complete")),
				route("GET", "/api/v1/ssh/deep/{rest...}", say("deep")),
				route("GET", "/api/v1/ssh/panic/now", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret detail") })),
			},
			NotFound: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(404)
				_, _ = io.WriteString(w, "inner 404")
			},
			MethodNotAllowed: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(405)
				_, _ = io.WriteString(w, "inner 405")
			},
			Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
				w.WriteHeader(500)
				_, _ = io.WriteString(w, fault.Text(err))
			},
		},
		{Name: "old", Prefixes: []string{"/api", "/iso"}, FoldCase: true, Routes: []api.Route{route("GET", "/iso/Thing", say("thing"))}},
	}
}

// Malformed and relative paths are refused, all others have one reader and one owner (rule F13).
func TestEveryPathHasOneOwner(t *testing.T) {
	t.Parallel()
	d := newDoor(t, sampleOwners()...)
	tests := []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/api/v1/me", 200, "me"},
		{"GET", "/api/v1/me/", 200, "me"},
		{"GET", "//api///v1/me//", 200, "me"},
		{"GET", "/api/v1/ssh/7", 200, "id=7"},
		{"GET", "/api/v1/ssh/a%20b/", 200, "id=a b"},
		{"GET", "/api/v1/ssh/complete", 200, "id=complete"},
		{"POST", "/api/v1/ssh/complete/", 200, "complete"},
		{"DELETE", "/api/v1/ssh/complete", 405, "inner 405"},
		{"GET", "/api/v1/ssh", 404, "inner 404"},
		{"GET", "/api/v1/ssh/deep", 200, "id=deep"},
		{"GET", "/api/v1/ssh/deep/x/y", 200, "deep"},
		{"GET", "/api/v1/sshx", 404, "Not Found\n"},
		{"GET", "/ISO/Thing", 200, "thing"},
		{"GET", "/iso/thing", 404, "Not Found\n"},
		{"GET", "/API/v1/me", 404, "Not Found\n"},
		{"GET", "/nobody", 404, "404 page not found\n"},
		{"GET", "/api/v1/../v1/me", 400, ""},
		{"GET", "/api/v1/%2e%2e/me", 400, ""},
		{"GET", "/api/v1/ssh/a%2fb", 400, ""},
		{"GET", "/api/v1/ssh/a%00b", 400, ""},
		{"GET", "/api/v1/me?x=%zz", 400, ""},
		{"OPTIONS", "*", 400, ""},
	}
	for _, tt := range tests {
		w := d.send(tt.method, tt.target)
		if w.Code != tt.status || tt.body != "" && w.Body.String() != tt.body {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.target, w.Code, w.Body, tt.status, tt.body)
		}
	}
	if allow := d.send("DELETE", "/api/v1/ssh/complete").Header().Get("Allow"); allow != "GET, HEAD, POST, PUT" {
		t.Errorf("Allow: %q", allow)
	}
}

// A route without a declared action does not start (rule W1).
func TestMountRefuses(t *testing.T) {
	t.Parallel()
	h := say("")
	tests := map[string][]api.Owner{
		"a: /x belongs to b already":                    {{Name: "b", Prefixes: []string{"/x"}}, {Name: "a", Prefixes: []string{"/x"}}},
		"declares no action":                            {{Name: "a", Prefixes: []string{"/x"}, Routes: []api.Route{{Method: "GET", Pattern: "/x", Handler: h}}}},
		"has no handler":                                {{Name: "a", Prefixes: []string{"/x"}, Routes: []api.Route{route("GET", "/x", nil)}}},
		"lies outside the prefixes":                     {{Name: "a", Prefixes: []string{"/x"}, Routes: []api.Route{route("GET", "/y", h)}}},
		"conflicts with pattern":                        {{Name: "a", Prefixes: []string{"/x"}, Routes: []api.Route{route("GET", "/x/{a}", h), route("GET", "/x/{b}", h)}}},
		`the pattern must begin with "/" and not end`:   {{Name: "a", Prefixes: []string{"/x"}, Routes: []api.Route{route("GET", "/x/", h)}}},
		"outer: GET /x/in/y: lies outside the prefixes": {{Name: "outer", Prefixes: []string{"/x"}, Routes: []api.Route{route("GET", "/x/in/y", h)}}, {Name: "in", Prefixes: []string{"/x/in"}}},
	}
	for want, owners := range tests {
		if _, err := api.Mount(owners...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestPanicAnswersInTheOwnersForm(t *testing.T) {
	t.Parallel()
	d := newDoor(t, sampleOwners()...)
	w := d.send("GET", "/api/v1/ssh/panic/now")
	if w.Code != 500 || w.Body.String() != "internal error" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if !strings.Contains(d.log.String(), "secret detail") || !strings.Contains(d.log.String(), w.Header().Get("X-Request-Id")) {
		t.Errorf("log: %s", &d.log)
	}
}

func TestAccessLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	d := newDoor(t, sampleOwners()...)
	w := d.send("GET", "/api/v1/ssh/path-secret?token=query-secret", "Authorization", "Bearer header-secret", "X-Request-Id", "forged")
	line := d.log.String()
	if strings.Contains(line, "secret") || strings.Contains(line, "forged") || strings.Count(line, "\n") != 1 {
		t.Errorf("log: %s", line)
	}
	for _, want := range []string{"method=GET", "owner=inner", `pattern="GET /api/v1/ssh/{id}"`, "status=200", "remote=192.0.2.1"} {
		if !strings.Contains(line, want) {
			t.Errorf("log lacks %s: %s", want, line)
		}
	}
	if id, err := uuid.Parse(w.Header().Get("X-Request-Id")); err != nil || id.Version() != 7 {
		t.Errorf("request id: %v %v", id, err)
	}
	if len(d.seen) != 1 || d.seen[0].Pattern != "GET /api/v1/ssh/{id}" || d.seen[0].Status != 200 {
		t.Errorf("observed: %+v", d.seen)
	}
}

// Rule F13: identity headers count only from listed proxies and reach no handler.
func TestRemoteBelievesOnlyTrustedProxies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, want string
		trusted    []string
		forwarded  []string
	}{
		{"no proxy is trusted unless listed", "192.0.2.1", nil, []string{"203.0.113.9"}},
		{"another peer", "192.0.2.1", []string{"198.51.100.0/24"}, []string{"203.0.113.9"}},
		{"rightmost that is no proxy", "203.0.113.9", []string{"192.0.2.0/24"}, []string{"6.6.6.6, 203.0.113.9, 192.0.2.7"}},
		{"several headers", "203.0.113.9", []string{"192.0.2.0/24"}, []string{"6.6.6.6", "203.0.113.9"}},
		{"nothing but proxies", "192.0.2.8", []string{"192.0.2.0/24"}, []string{"192.0.2.8,192.0.2.7"}},
		{"an entry that is none", "192.0.2.7", []string{"192.0.2.0/24"}, []string{"203.0.113.9, unknown, 192.0.2.7"}},
		{"with port", "203.0.113.9", []string{"192.0.2.0/24"}, []string{"203.0.113.9:4711"}},
		{"IPv6 with brackets and port", "2001:db8::1", []string{"192.0.2.0/24"}, []string{"[2001:db8::1]:4711"}},
		{"IPv4 in IPv6", "203.0.113.9", []string{"192.0.2.0/24"}, []string{"::ffff:203.0.113.9"}},
		{"no header", "192.0.2.1", []string{"192.0.2.0/24"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got string
			d := newDoor(t, api.Owner{Name: "a", Prefixes: []string{"/"}, Routes: []api.Route{
				route("GET", "/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					got = api.Remote(r.Context()).String()
					for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "X_forwarded_proto", "Remote-User"} {
						if r.Header[name] != nil {
							t.Errorf("%s came through", name)
						}
					}
				})),
			}})
			for _, p := range tt.trusted {
				d.TrustedProxies = append(d.TrustedProxies, netip.MustParsePrefix(p))
			}
			header := []string{"X-Real-Ip", "6.6.6.6", "Forwarded", "for=6.6.6.6", "X_forwarded_proto", "https", "Remote-User", "root"}
			for _, f := range tt.forwarded {
				header = append(header, "X-Forwarded-For", f)
			}
			d.send("GET", "/", header...)
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestVerbatimPathsAreLeftAlone(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.Verbatim = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/scm/") }
	d.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.EscapedPath()) })
	if got := d.send("GET", "/scm//p/../r%2F/").Body.String(); got != "/scm//p/../r%2F/" {
		t.Error(got)
	}
}

func TestAdapter(t *testing.T) {
	t.Parallel()
	adapter := api.Adapter{
		Authenticate: func(r *http.Request) (access.Caller, error) {
			if r.Header.Get("x-api-key") == "" {
				return access.Caller{}, fault.New(fault.Unauthenticated, "Missing key")
			}
			return access.Caller{Door: "test"}, nil
		},
		Fail: api.Problems(api.Status),
	}
	owner := api.Owner{Name: "a", Prefixes: []string{"/"}, Routes: []api.Route{
		route("GET", "/ok", adapter.Handle(func(w http.ResponseWriter, _ *http.Request, by access.Caller) error {
			return api.WriteJSON(w, 201, map[string]string{"door": by.Door, "html": "<&>"})
		})),
		route("GET", "/broken", adapter.Handle(func(http.ResponseWriter, *http.Request, access.Caller) error {
			return errors.New("disk is full")
		})),
		route("GET", "/list", adapter.Handle(func(_ http.ResponseWriter, r *http.Request, _ access.Caller) error {
			q := api.Query(r)
			q.Window()
			q.String("status", api.OneOf("pending", "failed"))
			return q.Done()
		})),
		route("GET", "/rule", adapter.Handle(func(http.ResponseWriter, *http.Request, access.Caller) error {
			return api.InBody(fault.Fields("Cannot use both", fault.Field{Path: "expired_at", Message: "Cannot be used with timeout", Value: "x"}))
		})),
	}}
	d := newDoor(t, owner)
	tests := []struct{ target, key, want string }{
		{"/ok", "k", `201 {"door":"test","html":"<&>"}`},
		{"/ok", "", `401 {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Missing key","errors":null}`},
		{"/list?limit=500", "k", `200 `},
		{"/list?limit=0&offset=-1&status=open", "k", `422 {"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"validation failed","errors":[` +
			`{"message":"expected number >= 0","location":"query.offset","value":"-1"},{"message":"expected number >= 1","location":"query.limit","value":"0"},` +
			`{"message":"expected value to be one of \"pending, failed\"","location":"query.status","value":"open"}]}`},
		{"/list?limit=x", "k", `422 {"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"validation failed","errors":[{"message":"expected integer","location":"query.limit","value":"x"}]}`},
		{"/list?limit=", "k", `422 {"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"validation failed","errors":[{"message":"expected integer","location":"query.limit","value":""}]}`},
		{"/rule", "k", `400 {"type":"about:blank","title":"Bad Request","status":400,"detail":"Cannot use both","errors":[{"message":"Cannot be used with timeout","location":"body.expired_at","value":"x"}]}`},
	}
	for _, tt := range tests {
		w := d.send("GET", tt.target, "x-api-key", tt.key)
		if got := strconv.Itoa(w.Code) + " " + strings.TrimSpace(w.Body.String()); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.target, got, tt.want)
		}
	}

	w := d.send("GET", "/broken", "x-api-key", "k")
	id := w.Header().Get("X-Request-Id")
	want := `{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"Internal error","instance":"` + id + `","errors":null}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := strings.Count(d.log.String(), "disk is full"); n != 1 {
		t.Errorf("logged %d times: %s", n, &d.log)
	}
	if strings.Contains(d.log.String(), "Missing key") {
		t.Errorf("a caller's mistake was logged: %s", &d.log)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var reasons []string
	d := newDoor(t, api.Health(func(context.Context) []string { return reasons }))
	check := func(path string, status int, body string) {
		t.Helper()
		if w := d.send("GET", path); w.Code != status || w.Body.String() != body {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	check("/healthz", 200, "ok\n")
	check("/readyz", 200, "ok\n")
	reasons = []string{"the SSH listener is not open", "the clock is 3s off"}
	check("/healthz", 200, "ok\n")
	check("/readyz", 503, "the SSH listener is not open\nthe clock is 3s off\n")
}
