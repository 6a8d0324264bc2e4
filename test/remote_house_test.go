package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// line is the network between a gate and a target: it leads where it is told, and knows who came.
type line struct {
	port int

	mu     sync.Mutex
	to     string
	came   int
	living int
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	var listening net.ListenConfig
	l, err := listening.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{port: l.Addr().(*net.TCPAddr).Port, to: to}
	var open sync.WaitGroup
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { n.carry(ctx, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		stop()
		open.Wait()
	})
	return n
}

func (n *line) carry(ctx context.Context, c net.Conn) {
	defer c.Close()
	n.mu.Lock()
	n.came++
	n.living++
	to := n.to
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.living--
		n.mu.Unlock()
	}()
	var dialer net.Dialer
	d, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // whichever side ends it ends the other
			ended <- struct{}{}
		}()
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// lead makes those who come from now on come there.
func (n *line) lead(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to = to
}

// seen is how many connections came, and how many of them live.
func (n *line) seen() (came, living int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.came, n.living
}

// estate is a gate with dana, a target behind a line, and a tool that makes links.
type estate struct {
	*gate.Gate

	target *peers.SSHServer
	line   *line
	tool   *caller
}

// build starts a target and a gate before it, where dana may open sessions by a grant with those flags.
func build(t *testing.T, o gate.Options, grant ...string) *estate {
	t.Helper()
	target := peers.Sshd(t, peers.SSHOptions{})
	g := gate.Start(t, o)
	person(t, g, "dana")
	return furnish(t, g, target, grant...)
}

// furnish gives a gate with dana a target, a grant and a tool.
func furnish(t *testing.T, g *gate.Gate, target *peers.SSHServer, grant ...string) *estate {
	t.Helper()
	e := &estate{Gate: g, target: target, line: newLine(t, target.At.String())}
	e.device(t, "web-01", e.line.port)
	e.Must(t, append([]string{"grant", "add", "--user", "dana", "--device", "web-01"}, grant...)...)
	e.tool = authorize(t, g, "--all-users")
	return e
}

// device adds a device with the target's host keys and password.
func (e *estate) device(t *testing.T, host string, port int, more ...string) {
	t.Helper()
	e.Must(t, append([]string{"device", "add", host, "--ip", "127.0.0.1", "--connect", fmt.Sprintf("ssh:%d", port)}, more...)...)
	for _, key := range e.target.HostKeys {
		e.Must(t, "device", "host-key", "accept", host, authorized(t, key))
	}
	if r := e.Command(t, e.target.Account.Password, "credential", "add", "--device", host, "--username", e.target.Account.Name, "--password-stdin"); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
}

// authorize adds an application that reaches all devices and credentials, and returns it with a token.
func authorize(t *testing.T, g *gate.Gate, whom ...string) *caller {
	t.Helper()
	g.Must(t, "app", "add", "tool")
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	add := append([]string{"authorization", "add", "--app", "tool", "--resources", "pam-core,web-proxy-session", "--write", "--allow-ip", "*", "--all-devices", "--all-credentials"}, whom...)
	read(t, g.Must(t, add...), &client)
	c := visit(g)
	c.bearer = c.must(t, http.StatusOK, "POST", "/api/oauth2/token",
		url.Values{"grant_type": {"client_credentials"}, "client_id": {client.ID}, "client_secret": {client.Secret}}).text(t, "access_token")
	return c
}

// launched is a link that a tool was given.
type launched struct {
	Path  string // of the link, with its secret
	Token string // by which the tool ends the session
}

// ask asks for a link for dana to web-01, or with other members.
func (e *estate) ask(t *testing.T, more members) reply {
	t.Helper()
	in := members{"user": "dana", "credential": e.target.Account.Name, "device": "web-01", "protocol": "ssh"}
	for name, value := range more {
		in[name] = value
	}
	return e.tool.call(t, "POST", "/api/pam/remote/session", in)
}

// launch is ask for a link that has to be given.
func (e *estate) launch(t *testing.T, more members) launched {
	t.Helper()
	return linkIn(t, e.ask(t, more))
}

func linkIn(t *testing.T, r reply) launched {
	t.Helper()
	var made struct {
		Session struct {
			URL   string `json:"session_url"`
			Token string `json:"token"`
		}
	}
	r.JSON(t, &made)
	at, err := url.Parse(made.Session.URL)
	if err != nil || r.Status != http.StatusOK || at.Query().Get("_sr") == "" {
		t.Fatalf("no link: %v", r)
	}
	return launched{at.RequestURI(), made.Session.Token}
}

// tab is a browser's page of one remote session.
type tab struct {
	*caller

	id string
}

// open opens a link in a browser that nobody used yet.
func (e *estate) open(t *testing.T, more members) *tab {
	t.Helper()
	return redeem(t, visit(e.Gate), e.launch(t, more))
}

// redeem opens a link.
func redeem(t *testing.T, c *caller, link launched) *tab {
	t.Helper()
	r := c.call(t, "GET", link.Path, nil)
	id, ok := strings.CutPrefix(r.Header.Get("Location"), "/ws/")
	if r.Status != http.StatusSeeOther || !ok {
		t.Fatalf("the link was not taken: %v", r)
	}
	return &tab{c, id}
}

// path is an address of the page.
func (p *tab) path(more string) string { return "/ws/" + p.id + more }

// ticket is what opens a socket, once.
func (p *tab) ticket(t *testing.T) string {
	t.Helper()
	return p.must(t, http.StatusOK, "POST", p.path("/ticket"), nil).text(t, "ticket")
}

// ours is the origin of the gate's pages.
func (c *caller) ours() string { return strings.TrimSuffix(c.g.Public("/"), "/") }

// dial opens a socket as a page of that origin does.
func (c *caller) dial(t *testing.T, path, origin string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	for name, value := range c.header {
		header.Set(name, value)
	}
	for name, value := range c.cookies {
		header.Add("Cookie", name+"="+value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), peers.Patience)
	defer cancel()
	transport := c.client.Transport.(*http.Transport).Clone()
	conn, r, err := websocket.Dial(ctx, c.g.URL+path, &websocket.DialOptions{HTTPHeader: header, HTTPClient: &http.Client{Transport: transport}})
	if conn != nil {
		conn.SetReadLimit(16 << 20)
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, r, err
}

// socket is an open socket of a page, as its script has it.
type socket struct {
	conn *websocket.Conn
	done chan struct{} // closed when nothing comes any more

	mu      sync.Mutex
	output  []byte           // of the target
	frames  [][]byte         // everything that came
	said    []map[string]any // texts
	reason  string           // of the end
	code    websocket.StatusCode
	changed chan struct{}
	mute    bool // it acknowledges nothing
}

// terminal opens the terminal, which starts the session where it is the first to.
func (p *tab) terminal(t *testing.T) *socket {
	t.Helper()
	return p.terminalFrom(t, p.ticket(t), 0, false)
}

func (p *tab) terminalFrom(t *testing.T, ticket string, from int, mute bool) *socket {
	t.Helper()
	conn, r, err := p.dial(t, p.path("/terminal"), p.ours())
	if err != nil {
		t.Fatalf("no socket: %v %v", r, err)
	}
	return follow(t, conn, members{"ticket": ticket, "cols": 80, "rows": 24, "from": from}, mute)
}

// follow greets and reads whatever comes.
func follow(t *testing.T, conn *websocket.Conn, hello members, mute bool) *socket {
	t.Helper()
	w := &socket{conn: conn, done: make(chan struct{}), changed: make(chan struct{}, 1), mute: mute}
	w.say(t, hello)
	ctx := context.WithoutCancel(t.Context())
	go w.read(ctx)
	t.Cleanup(func() {
		_ = conn.CloseNow()
		<-w.done
	})
	return w
}

func (w *socket) read(ctx context.Context) {
	defer close(w.done)
	for {
		kind, body, err := w.conn.Read(ctx)
		w.mu.Lock()
		if err != nil {
			w.code = websocket.CloseStatus(err)
			w.mu.Unlock()
			return
		}
		w.frames = append(w.frames, body)
		if kind == websocket.MessageBinary {
			w.output = append(w.output, body...)
		} else {
			var m map[string]any
			_ = json.Unmarshal(body, &m) // a text that is no JSON shows in what is not said
			w.said = append(w.said, m)
			if m["type"] == "end" {
				w.reason, _ = m["reason"].(string)
			}
		}
		offset := len(w.output)
		w.mu.Unlock()
		select {
		case w.changed <- struct{}{}:
		default:
		}
		if kind == websocket.MessageBinary && !w.mute {
			_ = w.conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ack","offset":%d}`, offset)) // the next read shows that it is gone
		}
	}
}

func (w *socket) say(t *testing.T, m any) {
	t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.conn.Write(t.Context(), websocket.MessageText, body); err != nil {
		t.Fatal(err)
	}
}

// enter types a line.
func (w *socket) enter(t *testing.T, text string) {
	t.Helper()
	if err := w.conn.Write(t.Context(), websocket.MessageBinary, []byte(text+"\r")); err != nil {
		t.Fatal(err)
	}
}

// interrupt stops what runs in the shell. A key that comes while one of its commands ends by itself stops nothing.
func (w *socket) interrupt(t *testing.T) {
	t.Helper()
	gate.Eventually(t, func() error {
		w.enter(t, "\x03") // a terminal forgets what was typed before
		w.enter(t, "echo $((40 + 2))-stopped")
		for deadline := time.After(3 * time.Second); !strings.Contains(w.screen(), "42-stopped"); {
			select {
			case <-w.changed:
			case <-deadline:
				return errors.New("it runs on")
			}
		}
		return nil
	})
}

// screen is what the target printed.
func (w *socket) screen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.output)
}

// traffic is everything that came.
func (w *socket) traffic() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Join(w.frames, []byte("\n"))
}

// told reports whether a text of that type came.
func (w *socket) told(kind string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.said {
		if m["type"] == kind {
			return true
		}
	}
	return false
}

// await waits until what came passes the check, and returns how long that took.
func (w *socket) await(t *testing.T, what string, check func() bool) time.Duration {
	t.Helper()
	began, late := time.Now(), time.After(2*peers.Patience)
	for !check() {
		select {
		case <-w.changed:
		case <-w.done:
			if !check() {
				t.Fatalf("the socket ended before %s: %s", what, w.tail())
			}
		case <-late:
			t.Fatalf("no %s: %s", what, w.tail())
		}
	}
	return time.Since(began)
}

func (w *socket) tail() string {
	all := w.traffic()
	return fmt.Sprintf("%q", all[max(0, len(all)-600):])
}

// shows waits for a text on the screen.
func (w *socket) shows(t *testing.T, text string) time.Duration {
	t.Helper()
	return w.await(t, text, func() bool { return strings.Contains(w.screen(), text) })
}

// answers types a command and waits for what it prints, which is not what was typed.
func (w *socket) answers(t *testing.T, n int) time.Duration {
	t.Helper()
	w.enter(t, fmt.Sprintf("echo $((%d + 1))-here", n))
	return w.shows(t, fmt.Sprintf("%d-here", n+1))
}

// ends waits until the session is over, and returns the reason that the page was told.
func (w *socket) ends(t *testing.T) string {
	t.Helper()
	select {
	case <-w.done:
	case <-time.After(2 * peers.Patience):
		t.Fatalf("the session does not end: %s", w.tail())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

// session opens a link and its terminal, and waits for the first answer.
func (e *estate) session(t *testing.T, more members) (*tab, *socket) {
	t.Helper()
	p := e.open(t, more)
	w := p.terminal(t)
	w.answers(t, 41)
	return p, w
}

// stood is a session as the database has it.
type stood struct{ State, End, Address, Node, Number string }

func standing(t *testing.T, g *gate.Gate, id string) stood {
	t.Helper()
	rows := g.Rows(t, "SELECT state, end_reason, address, node, COALESCE(number, 0) FROM remote_sessions WHERE id = $1", id)
	if len(rows) != 1 {
		t.Fatalf("session %s: %v", id, rows)
	}
	return stood{rows[0][0], rows[0][1], rows[0][2], rows[0][3], rows[0][4]}
}

// wantEnd waits until a session is over for that reason, in the database and in the audit log.
func wantEnd(t *testing.T, g *gate.Gate, id, why string) {
	t.Helper()
	gate.Eventually(t, func() error {
		if now := standing(t, g, id); now.State != "ended" || now.End != why {
			return fmt.Errorf("%+v, want ended %s", now, why)
		}
		return nil
	})
	for _, e := range g.Audited(t, "session.ended") {
		if e.Object.ID == id {
			if e.Detail["why"] != why {
				t.Errorf("the audit log says why: %+v", e)
			}
			return
		}
	}
	t.Errorf("no event says that %s ended", id)
}

// wantEvent waits for an event of that action and outcome that passes.
func wantEvent(t *testing.T, g *gate.Gate, action, outcome string, pass func(gate.Audited) bool) gate.Audited {
	t.Helper()
	var found gate.Audited
	gate.Eventually(t, func() error {
		all := g.Audited(t, action)
		for _, e := range all {
			if e.Outcome == outcome && (pass == nil || pass(e)) {
				found = e
				return nil
			}
		}
		return fmt.Errorf("no event %s %s of that kind among %+v", action, outcome, all)
	})
	return found
}

// keep waits until the recording of a session is signed, verifies it, and returns what verify says.
func keep(t *testing.T, g *gate.Gate, id string) string {
	t.Helper()
	gate.Eventually(t, func() error {
		if n := g.Count(t, "SELECT count(*) FROM recordings WHERE session = $1 AND settled", id); n != 1 {
			return fmt.Errorf("the recording of %s is not signed", id)
		}
		return nil
	})
	r := g.Command(t, "", "recording", "verify", id)
	if r.Exit != 0 {
		t.Errorf("the recording of %s is not whole: %+v", id, r)
	}
	return r.Stdout
}
