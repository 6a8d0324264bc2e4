package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	remoteapi "github.com/gatehouse-project/gatehouse/internal/api/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// socket is a page's end of a WebSocket.
type socket struct {
	*websocket.Conn
	t     *testing.T
	ctx   context.Context
	heard []said // while output was read
}

// said is a message of the server in text.
type said struct {
	Type, Text, Reason   string
	Offset, Until, Input int64
	Idle                 bool
	EndsAt               time.Time `json:"ends_at"`
	Names                []string
	Events               [][]json.RawMessage
}

func (h *house) dial(t *testing.T, path string, headers http.Header) (*socket, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	c, got, err := websocket.Dial(ctx, h.URL+path, &websocket.DialOptions{HTTPHeader: headers})
	if err != nil {
		return nil, got, err
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(1 << 20)
	return &socket{Conn: c, t: t, ctx: ctx}, got, nil
}

func (h *house) headers() http.Header {
	return http.Header{"Cookie": {"gh_ws=" + someID + "." + token}, "Origin": {h.URL}}
}

func (h *house) ticket(t *testing.T, path string, headers ...string) string {
	t.Helper()
	a := h.ask(t, "POST", path+"/ticket", headers...)
	var given struct{ Ticket string }
	if err := json.Unmarshal([]byte(a.text), &given); err != nil || given.Ticket == "" {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	return given.Ticket
}

// attach opens the terminal's socket as the page does.
func (h *house) attach(t *testing.T, from int64) (*socket, said) {
	t.Helper()
	s, _, err := h.dial(t, "/ws/"+someID+"/terminal", h.headers())
	if err != nil {
		t.Fatal(err)
	}
	s.say(map[string]any{"ticket": h.ticket(t, "/ws/"+someID, own()...), "cols": 100, "rows": 30, "from": from})
	return s, s.hear("ready")
}

func (s *socket) say(v any) {
	s.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.Write(s.ctx, websocket.MessageText, body); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) enter(text string) {
	s.t.Helper()
	if err := s.Write(s.ctx, websocket.MessageBinary, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// hear waits for a message of the type; others are passed over.
func (s *socket) hear(kind string) said {
	s.t.Helper()
	for i, m := range s.heard {
		if m.Type == kind {
			s.heard = s.heard[i+1:]
			return m
		}
	}
	for {
		k, body, err := s.Read(s.ctx)
		if err != nil {
			s.t.Fatalf("waiting for %s: %v", kind, err)
		}
		var m said
		if k == websocket.MessageText && json.Unmarshal(body, &m) == nil && m.Type == kind {
			return m
		}
	}
}

// output reads so many bytes of output.
func (s *socket) output(n int) string {
	s.t.Helper()
	var all []byte
	for len(all) < n {
		k, body, err := s.Read(s.ctx)
		if err != nil {
			s.t.Fatalf("after %q: %v", all[max(0, len(all)-40):], err)
		}
		var m said
		if k == websocket.MessageBinary {
			all = append(all, body...)
		} else if json.Unmarshal(body, &m) == nil {
			s.heard = append(s.heard, m)
		}
	}
	return string(all)
}

// closed waits for the socket's end and returns how it was closed.
func (s *socket) closed() websocket.StatusCode {
	s.t.Helper()
	for {
		if _, _, err := s.Read(s.ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// Every upgrade needs exactly one Origin, and that one of ours (rule W3).
func TestUpgrade_checks_where_it_began(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	sockets := map[string]string{
		"/ws/" + someID + "/terminal":     "gh_ws=" + someID + "." + token,
		"/ws/watch/" + someID + "/stream": "gatehouse=dana",
	}
	host := strings.TrimPrefix(h.URL, "http://")
	for path, cookie := range sockets {
		for name, origins := range map[string][]string{
			"missing": nil, "null": {"null"}, "empty": {""}, "foreign": {"https://evil.example"}, "the same twice": {h.URL, h.URL},
			"one of two": {h.URL, "https://evil.example"}, "look-alike": {h.URL + ".evil.example"}, "other scheme": {"https://" + host},
			"other port": {h.URL + "0"}, "with a path": {h.URL + "/"}, "with a user": {"http://a@" + host}, "upper case": {"HTTP://" + strings.ToUpper(host)},
		} {
			_, got, err := h.dial(t, path, http.Header{"Cookie": {cookie}, "Origin": origins})
			if err == nil || got == nil || got.StatusCode != 403 {
				t.Errorf("%s, %s: %v", path, name, err)
			}
		}
		if _, got, err := h.dial(t, path, http.Header{"Origin": {h.URL}}); err == nil || got.StatusCode != 404 && got.StatusCode != 401 {
			t.Errorf("%s without a cookie: %v", path, err)
		}
		if _, _, err := h.dial(t, path, http.Header{"Cookie": {cookie}, "Origin": {h.URL}}); err != nil {
			t.Errorf("%s from ourselves: %v", path, err)
		}
	}
	if h.engine.started != 0 {
		t.Error("a session was started without a ticket")
	}
	if n := h.sessions.onRecord("this request did not begin at a page of this server"); n != 2*12 {
		t.Errorf("%d refusals are on record", n)
	}
}

// The first message brings a ticket that opens this socket, for this person, once (rules W1 and W2).
func TestUpgrade_takes_a_ticket_once(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	path := "/ws/" + someID
	used := h.ticket(t, path, own()...)
	first, _, err := h.dial(t, path+"/terminal", h.headers())
	if err != nil {
		t.Fatal(err)
	}
	first.say(map[string]any{"ticket": used})
	first.hear("ready")

	other := waiting()
	other.ID = "01890000-0000-7000-8000-000000000002"
	ofOther, _ := h.sessions.MakeTicket(t.Context(), other, "terminal", other.User.ID, "")
	ofErik, _ := h.sessions.MakeTicket(t.Context(), waiting(), "terminal", "erik-id", "")
	toWatch, _ := h.sessions.MakeTicket(t.Context(), waiting(), "watch", "dana-id", "")
	for name, message := range map[string]string{
		"used": `{"ticket":"` + used + `"}`, "none": `{}`, "made up": `{"ticket":"x"}`, "no JSON": `ticket`, "a list": `[]`,
		"of another session": `{"ticket":"` + ofOther.Reveal() + `"}`, "of another person": `{"ticket":"` + ofErik.Reveal() + `"}`, "for another socket": `{"ticket":"` + toWatch.Reveal() + `"}`,
	} {
		s, _, err := h.dial(t, path+"/terminal", h.headers())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(s.ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if status := s.closed(); status != 4003 {
			t.Errorf("%s: closed with %d", name, status)
		}
	}
	if n := h.sessions.onRecord("the ticket opens nothing"); n != 8 {
		t.Errorf("%d refusals are on record", n)
	}
	// The one that is open goes on: whoever has no ticket takes nobody's place.
	first.enter("still here")
	if got := first.output(10); got != "still here" {
		t.Errorf("%q", got)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	s, ready := h.attach(t, 0)
	if ready.Offset != 0 || ready.Until != 0 || ready.Input != 0 {
		t.Errorf("%+v", ready)
	}
	l, _ := h.engine.live(someID)
	if l.first.Cols != 100 || l.first.Rows != 30 {
		t.Errorf("%+v", l.first)
	}
	s.enter("ls\r")
	if got := s.output(3); got != "ls\r" {
		t.Errorf("%q", got)
	}
	if m := s.hear("taken"); m.Offset != 3 {
		t.Errorf("%+v", m)
	}
	s.say(map[string]any{"type": "resize", "cols": 90000, "rows": 20})
	s.say(map[string]any{"type": "of a newer page"})
	s.enter("x")
	s.output(1) // what came before was obeyed
	if got := l.shell().sized(); got.Cols != 1000 || got.Rows != 20 {
		t.Errorf("%+v", got)
	}
	at := time.Now().Add(5 * time.Minute).UTC().Truncate(time.Second)
	l.notices <- remote.Notice{Text: "soon", EndsAt: at, Idle: true}
	if m := s.hear("notice"); m.Text != "soon" || !m.EndsAt.Equal(at) || !m.Idle {
		t.Errorf("%+v", m)
	}
	l.mu.Lock()
	l.unrecorded = true
	l.mu.Unlock()
	s.enter("y")
	s.hear("unrecorded") // loudly (rule W14)
	_, _ = l.shell().out.Write([]byte("last words"))
	l.Close(remote.Dropped, "erik")
	if got := s.output(10); !strings.HasSuffix(got, "last words") {
		t.Errorf("%q", got)
	}
	if m := s.hear("end"); m.Reason != "dropped" || m.Text != "Somebody with the right to do so ended it." {
		t.Errorf("%+v", m)
	}
	if status := s.closed(); status != websocket.StatusNormalClosure {
		t.Errorf("%d", status)
	}
	if h.engine.started != 1 {
		t.Errorf("started %d times", h.engine.started)
	}
}

// A connection that is lost loses neither output nor input.
func TestTerminal_is_taken_up_again(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	s, _ := h.attach(t, 0)
	l, _ := h.engine.live(someID)
	s.enter("first")
	s.output(5)
	_ = s.CloseNow()
	_, _ = l.shell().out.Write([]byte(" second"))

	t.Run("where it was left", func(t *testing.T) {
		s, ready := h.attach(t, 5)
		if ready.Offset != 5 || ready.Until != 5 || ready.Input != 5 {
			t.Errorf("%+v", ready)
		}
		if got := s.output(7); got != " second" {
			t.Errorf("%q", got)
		}
		_ = s.CloseNow()
	})
	t.Run("from the beginning, by a page that was loaded again", func(t *testing.T) {
		s, ready := h.attach(t, 0)
		if ready.Offset != 0 || ready.Until != 12 || ready.Input != 5 {
			t.Errorf("%+v", ready)
		}
		if got := s.output(12); got != "first second" {
			t.Errorf("%q", got)
		}
	})
	t.Run("by another window, which takes its place", func(t *testing.T) {
		before, _ := h.attach(t, 12)
		after, _ := h.attach(t, 12)
		if status := before.closed(); status != 4001 {
			t.Errorf("closed with %d", status)
		}
		after.enter("!")
		if got := after.output(1); got != "!" {
			t.Errorf("%q", got)
		}
	})
}

// A browser that stays away closes its session.
func TestTerminal_is_closed_when_nobody_comes_back(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *remoteapi.Options) { o.Reattach = 20 * time.Millisecond })
	h.sessions.put(waiting())
	s, _ := h.attach(t, 0)
	l, _ := h.engine.live(someID)
	_ = s.CloseNow()
	select {
	case <-l.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the session goes on without anybody")
	}
	if l.Ended() != remote.Closed {
		t.Errorf("ended: %s", l.Ended())
	}
	if a := h.ask(t, "GET", "/ws/"+someID, mine()...); a.StatusCode != 200 || !strings.Contains(a.text, "The session has ended") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

// A browser that draws nothing stops the target, not the gate (rule W5).
func TestTerminal_reads_no_more_than_the_browser_draws(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sessions.put(waiting())
	s, _ := h.attach(t, 0)
	l, _ := h.engine.live(someID)
	const flood = 3 << 20
	_, _ = l.shell().out.Write(bytes.Repeat([]byte("x"), flood))
	got := len(s.output(1 << 20))
	if left := l.shell().out.left(); got != 1<<20 || left != flood-got {
		t.Errorf("%d bytes came without one being drawn, %d are left", got, left)
	}
	for got < flood {
		s.say(map[string]any{"type": "ack", "offset": got})
		got += len(s.output(1))
	}
	// What was never sent cannot have been drawn.
	s.say(map[string]any{"type": "ack", "offset": flood + 1})
	if status := s.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", status)
	}
}

// Input that the target does not take is bounded as well, and acknowledgements pass it by.
func TestTerminal_takes_input_ahead_within_bounds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stuck := make(chan struct{})
	h.engine.shell = func() *channel {
		c := echo()
		c.onInput = func([]byte) { <-stuck }
		return c
	}
	t.Cleanup(func() { close(stuck) })
	h.sessions.put(waiting())
	s, _ := h.attach(t, 0)
	l, _ := h.engine.live(someID)
	s.enter(strings.Repeat("x", 32<<10))
	_, _ = l.shell().out.Write([]byte("prompt"))
	s.output(6)
	s.say(map[string]any{"type": "ack", "offset": 6})
	for range 40 {
		if s.Write(s.ctx, websocket.MessageBinary, bytes.Repeat([]byte("x"), 32<<10)) != nil {
			break
		}
	}
	if status := s.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", status)
	}
}

// Nothing begins before all that is due was done, and why it failed is told in words (rule S15).
func TestTerminal_does_not_begin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		due         []remote.Step
		err         error
		state       remote.State
		reason, say string
	}{
		"before approval":        {due: []remote.Step{{Kind: remote.ApprovalWanted}}, reason: "error", say: "could not be reached"},
		"with a silent target":   {err: remote.ErrUnreachable, reason: "error", say: "cannot be reached"},
		"with a wrong password":  {err: remote.ErrTargetLogin, reason: "error", say: "refused the stored credential"},
		"with another host key":  {err: &remote.StrangeKey{Changed: true}, reason: "error", say: "host key"},
		"without a recorder":     {err: remote.ErrUnrecorded, reason: "unrecorded", say: "could not be recorded"},
		"while a node is ending": {err: remote.ErrDraining, reason: "drained", say: "being stopped"},
		"on another node":        {state: remote.Active, reason: "elsewhere", say: "Another server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			x := waiting()
			if c.state != "" {
				x.State = c.state
			}
			h.sessions.put(x)
			h.sessions.due, h.engine.startErr = c.due, c.err
			s, _, err := h.dial(t, "/ws/"+someID+"/terminal", h.headers())
			if err != nil {
				t.Fatal(err)
			}
			s.say(map[string]any{"ticket": h.ticket(t, "/ws/"+someID, own()...)})
			if m := s.hear("end"); m.Reason != c.reason || !strings.Contains(m.Text, c.say) {
				t.Errorf("%+v", m)
			}
			if c.err == nil && h.engine.started != 0 {
				t.Error("it was started")
			}
		})
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	x := waiting()
	x.State = remote.Active
	h.sessions.put(x)
	path := "/ws/watch/" + someID
	h.engine.feed = []remote.Frame{{Body: []byte(`[[0,"r","90x20"],[0,"o","hello"]]`)}, {Body: []byte(`[[0.5,"o"," there"]]`)}}
	if a := h.ask(t, "GET", path); a.StatusCode != 303 || a.Header.Get("Location") != "/login?target=%2Fws%2Fwatch%2F"+someID {
		t.Errorf("%d %s", a.StatusCode, a.Header.Get("Location"))
	}
	if a := h.ask(t, "GET", path, "Cookie", "gatehouse=mallory"); a.StatusCode != 404 {
		t.Errorf("%d", a.StatusCode)
	}
	for name, headers := range map[string][]string{"nobody": nil, "mallory": {"Cookie", "gatehouse=mallory", "X-Gatehouse-Csrf", "1"}, "a foreign page": {"Cookie", "gatehouse=dana", "Origin", "https://evil.example"}, "a form": {"Cookie", "gatehouse=dana"}} {
		if a := h.ask(t, "POST", path+"/ticket", headers...); a.StatusCode < 400 {
			t.Errorf("%s got a ticket", name)
		}
	}
	s, _, err := h.dial(t, path+"/stream", http.Header{"Cookie": {"gatehouse=dana"}, "Origin": {h.URL}})
	if err != nil {
		t.Fatal(err)
	}
	s.say(map[string]any{"ticket": h.ticket(t, path, "Cookie", "gatehouse=dana", "X-Gatehouse-Csrf", "1")})
	var events []string
	var names []string
	for len(events) < 3 || names == nil {
		_, body, err := s.Read(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var m said
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		if m.Names != nil {
			names = m.Names
		}
		for _, frame := range m.Events {
			for _, e := range frame {
				events = append(events, string(e))
			}
		}
		if m.Type == "end" {
			break
		}
	}
	if strings.Join(events, " ") != `[0,"r","90x20"] [0,"o","hello"] [0.5,"o"," there"]` {
		t.Errorf("%q", events)
	}

	// Somebody else's ticket opens nothing, also with a right of one's own.
	s, _, err = h.dial(t, path+"/stream", http.Header{"Cookie": {"gatehouse=erik"}, "Origin": {h.URL}})
	if err != nil {
		t.Fatal(err)
	}
	s.say(map[string]any{"ticket": h.ticket(t, path, "Cookie", "gatehouse=dana", "X-Gatehouse-Csrf", "1")})
	if status := s.closed(); status != 4003 {
		t.Errorf("closed with %d", status)
	}
	h.engine.watchErr = fault.New(fault.Denied, "no")
	s, _, err = h.dial(t, path+"/stream", http.Header{"Cookie": {"gatehouse=dana"}, "Origin": {h.URL}})
	if err != nil {
		t.Fatal(err)
	}
	s.say(map[string]any{"ticket": h.ticket(t, path, "Cookie", "gatehouse=dana", "X-Gatehouse-Csrf", "1")})
	if m := s.hear("end"); m.Reason != "denied" {
		t.Errorf("%+v", m)
	}
}
