package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/gatehouse-project/gatehouse/internal/api"
	remoteapi "github.com/gatehouse-project/gatehouse/internal/api/remote"
	"github.com/gatehouse-project/gatehouse/internal/console"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	someID = "01890000-0000-7000-8000-000000000001"
	token  = "dG9rZW4tb2YtdGhlLXNlc3Npb24"
)

// house is the pages behind the front door, on rooms that are made up.
type house struct {
	*httptest.Server
	pages    *remoteapi.Pages
	sessions *sessions
	engine   *engine
	library  *library
	login    *people
	line     *line
}

func newHouse(t *testing.T, change ...func(*remoteapi.Options)) *house {
	t.Helper()
	h := &house{sessions: newSessions(), engine: newEngine(), library: &library{}, login: &people{}}
	h.engine.sessions = h.sessions
	h.Server = httptest.NewUnstartedServer(nil)
	h.line = &line{Listener: h.Listener}
	h.Listener = h.line
	at := &url.URL{Scheme: "http", Host: h.Listener.Addr().String()}
	o := remoteapi.Options{
		Sessions: h.sessions, Engine: h.engine, Library: h.library, Login: h.login, Cookies: api.Cookies{PublicURL: at},
		Ancestors: func(_ context.Context, id string) ([]string, error) {
			if id != "tool" {
				return nil, errors.New("unknown")
			}
			return []string{"https://tool.example.test", "https://evil.example.test; script-src *"}, nil
		},
		Reattach: time.Minute, Look: 10 * time.Millisecond, Ping: time.Minute, BodyWait: time.Minute, Now: time.Now,
		OnError: func(doing string, err error) { t.Errorf("%s: %v", doing, err) },
	}
	for _, c := range change {
		c(&o)
	}
	h.pages = remoteapi.New(o)
	mux, err := api.Mount(append(h.pages.Owners(), console.Owner())...)
	if err != nil {
		t.Fatal(err)
	}
	h.Config.Handler = &api.Door{Handler: mux, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	h.Start()
	t.Cleanup(func() {
		h.engine.endAll()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		h.pages.Drain(ctx)
		if ctx.Err() != nil {
			t.Error("terminals were left")
		}
		h.Close()
	})
	return h
}

// line lets a test cut all connections, as a network does that goes.
type line struct {
	net.Listener
	mu  sync.Mutex
	all []net.Conn
}

func (l *line) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, c)
	return c, nil
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.all {
		_ = c.Close()
	}
	l.all = nil
}

// waiting is a session to which nothing more is due.
func waiting() remote.Session {
	return remote.Session{
		ID: someID, State: remote.Waiting, Way: remote.Web, Username: "svc-web", Host: "web-01.example.test", Protocol: device.SSH,
		User: access.Principal{Kind: access.User, ID: "dana-id", Name: "dana"},
	}
}

// ask sends a request and follows no redirect.
func (h *house) ask(t *testing.T, method, path string, headers ...string) answer {
	t.Helper()
	return h.send(t, method, path, "", headers...)
}

func (h *house) send(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got, string(text)}
}

type answer struct {
	*http.Response
	text string
}

func mine() []string { return []string{"Cookie", "gh_ws=" + someID + "." + token} }

func own() []string { return append(mine(), "X-Gatehouse-Csrf", "1") }

// sessions are made-up sessions: one step after the other, as the test says.
type sessions struct {
	mu      sync.Mutex
	redeem  func(remote.Visit) (remote.Session, error)
	visits  []remote.Visit
	all     map[string]remote.Session
	due     []remote.Step
	dueErr  error
	stepUp  error
	explain error
	moved   bool
	tickets map[string]remote.Ticket
	given   int
	foreign map[string]int // how often what was on record
}

func newSessions() *sessions {
	return &sessions{all: map[string]remote.Session{}, tickets: map[string]remote.Ticket{}, foreign: map[string]int{}}
}

func (s *sessions) put(x remote.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[x.ID] = x
}

func (s *sessions) Redeem(_ context.Context, v remote.Visit) (remote.Session, secret.String, error) {
	s.mu.Lock()
	s.visits = append(s.visits, v)
	redeem := s.redeem
	s.mu.Unlock()
	x, err := redeem(v)
	if err != nil {
		return x, secret.String{}, err
	}
	s.put(x)
	return x, secret.New(token), nil
}

func (s *sessions) Resume(_ context.Context, id string, cookie secret.String, _ netip.Addr) (remote.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.all[id]
	if !ok || cookie.Reveal() != token {
		return remote.Session{}, remote.ErrUnknown
	}
	if s.moved {
		return x, remote.ErrLinkElsewhere
	}
	return x, nil
}

func (s *sessions) Due(context.Context, remote.Session) (remote.Step, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.due) == 0 {
		return remote.Step{}, s.dueErr
	}
	return s.due[0], s.dueErr
}

func (s *sessions) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = s.due[1:]
}

func (s *sessions) StepUp(_ context.Context, x remote.Session, a remote.Answer) (remote.Session, error) {
	if s.stepUp == nil && a.Code != "123456" {
		return x, fault.New(fault.Unauthenticated, "wrong")
	}
	if s.stepUp == nil {
		s.done()
	}
	return x, s.stepUp
}

func (s *sessions) Note(_ context.Context, x remote.Session) (string, error) {
	if x.End == remote.Refused {
		return "not <today>", nil
	}
	return "", nil
}

func (s *sessions) Explain(_ context.Context, x remote.Session, reason, _ string) (remote.Session, error) {
	if s.explain == nil && reason == "" {
		return x, fault.New(fault.Invalid, "say why")
	}
	if s.explain == nil {
		s.done()
	}
	return x, s.explain
}

func (s *sessions) MakeTicket(_ context.Context, x remote.Session, purpose, subject, name string) (secret.String, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	plain := fmt.Sprint("ticket-", s.given)
	s.tickets[plain] = remote.Ticket{Session: x.ID, Purpose: purpose, Subject: subject, Name: name}
	return secret.New(plain), nil
}

func (s *sessions) UseTicket(_ context.Context, plain secret.String, purpose string) (remote.Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tickets[plain.Reveal()]
	if !ok || t.Purpose != purpose {
		return remote.Ticket{}, remote.ErrUnknown
	}
	delete(s.tickets, plain.Reveal())
	return t, nil
}

func (s *sessions) Foreign(_ context.Context, x remote.Session, from netip.Addr, _, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.ID != "" && from.IsLoopback() {
		s.foreign[why]++
	}
}

// onRecord is how often a reason is on record for which requests were refused.
func (s *sessions) onRecord(why string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.foreign[why]
}

func (s *sessions) Find(_ context.Context, by access.Caller, ref string) (remote.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.all[ref]
	if !ok || by.Name == "mallory" {
		return remote.Session{}, remote.ErrUnknown
	}
	return x, nil
}

// people are signed in whose cookie is their name.
type people struct{}

func (*people) Authenticate(_ context.Context, p login.Presented) (access.Caller, error) {
	name := p.Secret.Reveal()
	if name == "" || strings.HasPrefix(name, "gone") {
		return access.Caller{}, session.ErrInvalid
	}
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: name + "-id", Name: name}, Session: "session of " + name, Cookie: p.Cookie}, nil
}

// engine carries sessions to a made-up target.
type engine struct {
	sessions *sessions
	mu       sync.Mutex
	lives    map[string]*live
	started  int
	startErr error
	shell    func() *channel
	feed     []remote.Frame
	watchErr error
	hold     chan struct{} // a feed that is read goes on until it is closed; nil: it ends
	root     string        // folder of the target's files
}

func newEngine() *engine { return &engine{lives: map[string]*live{}, shell: echo} }

func (e *engine) Start(_ context.Context, x remote.Session, size remote.Size) (remoteapi.Live, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started++
	if e.startErr != nil {
		return nil, e.startErr
	}
	x.State = remote.Active
	e.sessions.put(x)
	l := &live{e: e, x: x, first: size, done: make(chan struct{}), notices: make(chan remote.Notice, 8)}
	e.lives[x.ID] = l
	return l, nil
}

func (e *engine) Lived(id string) (remoteapi.Live, bool) {
	l, ok := e.live(id)
	if !ok {
		return nil, false
	}
	return l, true
}

func (e *engine) live(id string) (*live, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, ok := e.lives[id]
	return l, ok
}

func (e *engine) endAll() {
	e.mu.Lock()
	var all []*live
	for _, l := range e.lives {
		all = append(all, l)
	}
	e.mu.Unlock()
	for _, l := range all {
		l.Close(remote.Drained, "")
	}
}

func (e *engine) Watch(context.Context, access.Caller, string) (remoteapi.Feed, error) {
	if e.watchErr != nil {
		return nil, e.watchErr
	}
	return &feed{left: e.feed, hold: e.hold}, nil
}

type feed struct {
	left []remote.Frame
	hold chan struct{}
}

func (f *feed) Next(ctx context.Context) ([]remote.Frame, error) {
	if len(f.left) == 0 && f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
		}
	}
	if len(f.left) == 0 {
		return nil, io.EOF
	}
	next := f.left[:1]
	f.left = f.left[1:]
	return next, nil
}

func (f *feed) Close() error { return nil }

// live is a session that lives, with one shell.
type live struct {
	e          *engine
	x          remote.Session
	first      remote.Size
	notices    chan remote.Notice
	mu         sync.Mutex
	ch         *channel
	why        remote.Reason
	unrecorded bool
	once       sync.Once
	done       chan struct{}
}

func (l *live) Terminal(_ context.Context, t remote.Terminal) (remote.Channel, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ch = l.e.shell()
	l.ch.size = t.Size
	return l.ch, nil
}

func (l *live) shell() *channel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ch
}

func (l *live) Files(context.Context) (remote.Channel, error) {
	ours, theirs := pipe(), pipe()
	server, err := sftp.NewServer(struct {
		io.Reader
		io.WriteCloser
	}{theirs, ours}, sftp.WithServerWorkingDirectory(l.e.root))
	if err != nil {
		return nil, err
	}
	go func() {
		_ = server.Serve() // until the browser's task closes it
		ours.CloseRead()
	}()
	return &channel{out: ours, in: theirs}, nil
}

func (l *live) Notices() <-chan remote.Notice { return l.notices }
func (l *live) Watchers() []string            { return []string{"erik"} }
func (l *live) Done() <-chan struct{}         { return l.done }

func (l *live) Recorded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.unrecorded
}

func (l *live) Ended() remote.Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

func (l *live) Close(why remote.Reason, _ string) {
	l.once.Do(func() {
		l.mu.Lock()
		l.why = why
		ch := l.ch
		l.mu.Unlock()
		if ch != nil {
			ch.Close()
		}
		l.x.State, l.x.End = remote.Ended, why
		l.e.sessions.put(l.x)
		l.e.mu.Lock()
		delete(l.e.lives, l.x.ID)
		l.e.mu.Unlock()
		close(l.done)
	})
}

// channel is a shell at the target.
type channel struct {
	out, in *stream
	mu      sync.Mutex
	size    remote.Size
	closed  sync.Once
	onInput func(p []byte)
}

// echo is a shell that prints what is typed.
func echo() *channel {
	c := &channel{out: pipe(), in: pipe()}
	c.onInput = func(p []byte) { _, _ = c.out.Write(p) }
	return c
}

func (c *channel) Read(p []byte) (int, error) { return c.out.Read(p) }

func (c *channel) Write(p []byte) (int, error) {
	if c.onInput != nil {
		c.onInput(p)
		return len(p), nil
	}
	return c.in.Write(p)
}

func (c *channel) Close() error {
	c.closed.Do(func() {
		c.out.CloseRead()
		c.in.CloseRead()
	})
	return nil
}

func (c *channel) Stderr() io.Reader   { return strings.NewReader("") }
func (c *channel) CloseWrite() error   { return c.in.Close() }
func (c *channel) Signal(string) error { return nil }
func (c *channel) Wait() remote.Exit   { return remote.Exit{} }
func (c *channel) Resize(s remote.Size) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = s
	return nil
}

func (c *channel) sized() remote.Size {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// stream is a pipe that holds what was written until it is read.
type stream struct {
	mu     sync.Mutex
	cond   *sync.Cond
	kept   []byte
	closed bool
}

func pipe() *stream {
	s := &stream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.kept) == 0 && !s.closed {
		s.cond.Wait()
	}
	if len(s.kept) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.kept)
	s.kept = s.kept[n:]
	return n, nil
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	s.kept = append(s.kept, p...)
	s.cond.Broadcast()
	return len(p), nil
}

func (s *stream) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept)
}

func (s *stream) Close() error {
	s.CloseRead()
	return nil
}

func (s *stream) CloseRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.cond.Broadcast()
}

// library holds one recording.
type library struct {
	none bool
	cast string
	cut  string
}

func (l *library) Find(_ context.Context, by access.Caller, ref string) (remote.Recording, error) {
	if l.none || by.Name == "mallory" {
		return remote.Recording{}, remote.ErrNoRecording
	}
	return remote.Recording{Session: ref, Username: "svc-web", Host: "web-01.example.test", User: access.Principal{Name: "dana"}, Started: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Cut: l.cut}, nil
}

func (l *library) Tracks(context.Context, access.Caller, string) ([]remote.TrackInfo, error) {
	return []remote.TrackInfo{{Name: "terminal", Kind: "terminal"}}, nil
}

func (l *library) Play(_ context.Context, _ access.Caller, _ string, x remote.Export, to io.Writer) error {
	if x.Raw {
		return errors.New("raw")
	}
	_, err := io.WriteString(to, l.cast)
	return err
}
