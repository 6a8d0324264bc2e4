package native_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// gate is a house whose stream of events is open, behind a real server.
type gate struct {
	*house
	url   string
	audit *audit.Service
}

func newGate(t *testing.T) *gate {
	t.Helper()
	h := newHouse(t)
	h.api.Events = h.stream
	signer, err := audit.OpenSigner(t.Context(), store.Audit{DB: h.db}, newSealer(t), start)
	must(t, err)
	g := &gate{house: h, audit: &audit.Service{Store: store.Audit{DB: h.db}, Signer: signer, Now: h.clock.Now, SealBatch: 1000, Folder: audit.NewFolder(time.Minute)}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(h.stream.Stop) // before the server waits for its requests
	g.url = server.URL
	return g
}

// happens seals an event of that type, which concerns nobody's sign-ins or that user's.
func (g *gate) happens(t *testing.T, action, concerns string) {
	t.Helper()
	e := audit.NewEvent(g.clock.Now(), action, audit.Done)
	e.Concerns = concerns
	must(t, g.audit.Record(t.Context(), e))
	g.audit.Finish(t.Context())
	g.stream.Wake()
}

// followed is one open stream.
type followed struct {
	*http.Response
	lines *bufio.Scanner
}

// follow opens a stream. It is closed with the test.
func (g *gate) follow(t *testing.T, path string, header ...string) *followed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // a stream that hangs fails its test
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+path, nil)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	must(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return &followed{response, bufio.NewScanner(response.Body)}
}

// next returns the id and the data of the next event that has data, and its name. At the end of the stream all are empty.
func (f *followed) next() (id, name, data string) {
	for f.lines.Scan() {
		field, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if data != "" {
				return id, name, data
			}
			id, name = "", ""
		}
	}
	return "", "", ""
}

func (f *followed) wantType(t *testing.T, kind string) (id string) {
	t.Helper()
	id, _, data := f.next()
	if !strings.HasPrefix(data, `{"type":"`+kind+`","timestamp":"2026-11-22T09:`) {
		t.Fatalf("got %q, want %s", data, kind)
	}
	return id
}

func as(token string) []string { return []string{"Authorization", "Bearer " + token} }

func TestEvents(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.happens(t, "session.start", "")
	f := g.follow(t, "/api/v1/events", as(g.signIn(t, "adam"))...)
	if f.StatusCode != http.StatusOK || f.Header.Get("Content-Type") != "text/event-stream" || f.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", f.StatusCode, f.Header)
	}
	g.happens(t, "token.issue", "")
	f.wantType(t, "session.start") // adam's own, sealed after he came
	id := f.wantType(t, "token.issue")
	before, err := strconv.Atoi(id)
	must(t, err)
	g.happens(t, "remote.end", "")
	if id := f.wantType(t, "remote.end"); id != strconv.Itoa(before+1) {
		t.Errorf("id %s behind %d", id, before)
	}
}

// Who comes back gets what happened meanwhile, and of it what was asked for.
func TestEvents_resume(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	adam := g.signIn(t, "adam")
	g.happens(t, "token.issue", "")
	head, err := store.Audit{DB: g.db}.Head(t.Context())
	must(t, err)
	for _, action := range []string{"session.end", "token.revoke", "session.start", "session_url.expired"} {
		g.happens(t, action, "")
	}
	last := strconv.FormatInt(head, 10)
	f := g.follow(t, "/api/v1/events?types=session.*,remote.end", append(as(adam), "Last-Event-ID", last)...)
	f.wantType(t, "session.end")
	id := f.wantType(t, "session.start")
	f = g.follow(t, "/api/v1/events", append(as(adam), "Last-Event-ID", id)...)
	f.wantType(t, "session_url.expired")
	for _, wrong := range []string{"x", "-1", "99999999999999999999"} {
		if w := g.call("GET", "/api/v1/events", "", append(as(adam), "Last-Event-ID", wrong)...); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"location":"header.Last-Event-ID"`) {
			t.Errorf("%q: %d %s", wrong, w.Code, w.Body)
		}
	}
	for _, wrong := range []string{"types=session*", "types=", "types=,", "type=session.*"} {
		if w := g.call("GET", "/api/v1/events?"+wrong, "", append(as(adam), "Last-Event-ID", "x")...); w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d %s", wrong, w.Code, w.Body)
		}
	}
}

// Without the right there are one's own sign-ins, of which no other follower hears without it (rule W1).
func TestEvents_of_others(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	dana, beth := g.signIn(t, "dana"), g.signIn(t, "beth")
	g.audit.Finish(t.Context())
	hers, others := g.follow(t, "/api/v1/events", as(dana)...), g.follow(t, "/api/v1/events", as(beth)...)
	g.happens(t, "token.issue", "")
	g.happens(t, "login.failed", g.ids["dana"])
	g.happens(t, "session.end", g.ids["beth"])
	hers.wantType(t, "login.failed")
	others.wantType(t, "session.end")
}

// Rule W1: a page of another site follows nothing, with a cookie or without one.
func TestEvents_foreign_origins(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	cookie, token := "gatehouse="+g.cookie(t, "adam"), g.signIn(t, "adam")
	for what, header := range map[string][]string{
		"a cookie of an unknown page":  {"Cookie", cookie},
		"a cookie and another origin":  {"Cookie", cookie, "Origin", "https://evil.example"},
		"a cookie and another site":    {"Cookie", cookie, "Sec-Fetch-Site", "cross-site"},
		"a cookie and a sibling":       {"Cookie", cookie, "Sec-Fetch-Site", "same-site"},
		"another origin that vouches":  {"Cookie", cookie, "Origin", "null", "Sec-Fetch-Site", "same-origin"},
		"a bearer at another's origin": append(as(token), "Origin", "https://evil.example"),
	} {
		if w := g.call("GET", "/api/v1/events", "", header...); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"code":"origin_required"`) {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	f := g.follow(t, "/api/v1/events", "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
	g.happens(t, "token.issue", "")
	for id, _, data := f.next(); ; id, _, data = f.next() {
		if id == "" {
			t.Fatal("our own page gets nothing")
		}
		if strings.HasPrefix(data, `{"type":"token.issue"`) {
			break
		}
	}
}

// A stream ends with what opened it.
func TestEvents_end(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		end    func(t *testing.T, g *gate)
		reason string
	}{
		"the right is taken away": {func(t *testing.T, g *gate) {
			must(t, g.api.Access.Revoke(t.Context(), access.LocalCaller("root", start), access.Subject{Kind: access.User, ID: g.ids["adam"]}, access.Admin, access.Installation))
		}, "The right to follow all events was taken away"},
		"the session is ended": {func(t *testing.T, g *gate) {
			must(t, g.api.Sessions.End(t.Context(), access.LocalCaller("root", start), g.ids["adamsession"]))
		}, ""},
		"the user is disabled": {func(t *testing.T, g *gate) {
			root := access.LocalCaller("root", start)
			must(t, g.api.Users.SetDisabled(t.Context(), g.api.Access.For(root), g.ids["adam"], true))
		}, ""},
		"the server stops": {func(_ *testing.T, g *gate) { g.stream.Stop() }, "The server stops"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			f := g.follow(t, "/api/v1/events?types=none.such", as(g.signIn(t, "adam"))...)
			c.end(t, g)
			_, name, data := f.next()
			if name != "end" || !strings.HasPrefix(data, `{"reason":"`+c.reason) || data == `{"reason":""}` {
				t.Errorf("got %q %q", name, data)
			}
			if _, name, data := f.next(); name != "" || data != "" {
				t.Errorf("it goes on with %q %q", name, data)
			}
		})
	}
}

// One user does not take all there is.
func TestEvents_are_limited_for_each_user(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	adam := g.signIn(t, "adam")
	first := g.follow(t, "/api/v1/events", as(adam)...)
	g.follow(t, "/api/v1/events", as(adam)...)
	if w := g.call("GET", "/api/v1/events", "", as(adam)...); w.Code != http.StatusTooManyRequests {
		t.Errorf("a third: %d %s", w.Code, w.Body)
	}
	if f := g.follow(t, "/api/v1/events", as(g.signIn(t, "dana"))...); f.StatusCode != http.StatusOK {
		t.Errorf("another user: %d", f.StatusCode)
	}
	must(t, first.Body.Close())
	g.awaitOpen(t, 2) // a client that has gone gives its place back
}

// A client that does not read is let go, and its place is free.
func TestEvents_not_read(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	adam := g.signIn(t, "adam")
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://")) //nolint:noctx // closed with the test
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = io.WriteString(conn, "GET /api/v1/events HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer "+adam+"\r\n\r\n")
	must(t, err)
	g.awaitOpen(t, 1)
	for range 80 {
		must(t, g.audit.Record(t.Context(), audit.NewEvent(start, "test.happened", audit.Done).With("much", strings.Repeat("x", 128<<10))))
	}
	g.happens(t, "token.issue", "")
	g.awaitOpen(t, 0)
}

// awaitOpen waits until so many streams are open.
func (g *gate) awaitOpen(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); g.stream.Open() != n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d streams are open, not %d", g.stream.Open(), n)
		}
		<-time.After(time.Millisecond)
	}
}

// HEAD asks what there would be.
func TestEvents_head(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	if w := g.call("HEAD", "/api/v1/events", "", as(g.signIn(t, "adam"))...); w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if n := g.stream.Open(); n != 0 {
		t.Errorf("%d are open", n)
	}
}

// A stream with nothing to tell shows that it lives.
func TestEvents_beat(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	f := g.follow(t, "/api/v1/events", as(g.signIn(t, "adam"))...)
	for f.lines.Scan() {
		if strings.HasPrefix(f.lines.Text(), ": ") {
			return
		}
	}
	t.Error("no sign of life")
}
