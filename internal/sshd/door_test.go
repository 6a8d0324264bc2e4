package sshd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// door is a running SSH door on memory.
type door struct {
	t        testing.TB
	server   *sshd.Server
	service  *keyproof.Service
	store    *memory
	refusals *refusals
	addr     string
	log      *lockedBuffer
	clock    atomic.Int64 // added to the time of day
	outcomes chan string  // one for each connection that ended
	reasons  chan string  // one for each failed handshake
	stop     func() error // stops the server and returns what Serve returned
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var (
	hostED  = sync.OnceValue(func() ssh.Signer { return newED() })
	hostRSA = sync.OnceValue(func() ssh.Signer {
		s, _ := ssh.NewSignerWithAlgorithms(newRSA(2048).(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
		return s
	})
)

// open starts a door with limits as a test wants them.
func open(t testing.TB, change ...func(*sshd.Limits)) *door {
	t.Helper()
	d := &door{
		t: t, store: &memory{sessions: map[string]keyproof.Session{}}, refusals: &refusals{}, log: &lockedBuffer{},
		outcomes: make(chan string, 10_000), reasons: make(chan string, 10_000),
	}
	now := func() time.Time { return time.Now().UTC().Add(time.Duration(d.clock.Load())) }
	d.service = &keyproof.Service{
		Store: d.store, Access: &access.Service{Now: now}, Webhooks: &webhook.Service{}, Now: now,
		NewID: func() string { return uuid.Must(uuid.NewV7()).String() }, MaxKeys: 64, CommitWait: patience,
	}
	limits := sshd.DefaultLimits()
	for _, c := range change {
		c(&limits)
	}
	d.server = &sshd.Server{
		Keyproof: d.service, Audit: &audit.Service{Store: d.refusals, Now: now, Folder: audit.NewFolder(time.Minute)},
		HostKeys: []ssh.Signer{hostED(), hostRSA()}, Now: now, Limits: limits,
		Log:        slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		PublicHost: "gate.example.test", PublicPort: 2222,
		Hooks: sshd.Hooks{
			Closed:          func(outcome string, _ time.Duration) { d.outcomes <- outcome },
			HandshakeFailed: func(reason string) { d.reasons <- reason },
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.server.Serve(ctx, l) }()
	d.stop = sync.OnceValue(func() error { cancel(); return <-served })
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
		if t.Failed() {
			t.Logf("the door's log:\n%s", d.log)
		}
	})
	return d
}

// short is for tests that wait until the door closes on a client that does nothing more; one that shall still do something may be kept
// from it for longer by a slow machine.
func short(l *sshd.Limits) { l.Channel, l.Leave = 200*time.Millisecond, 200*time.Millisecond }

// growing are the limits for a test that must do something within one and then waits it out: it takes the next where a slow machine made
// it late for the first.
var growing = []time.Duration{300 * time.Millisecond, 3 * time.Second, patience}

func me() access.Caller { return access.LocalCaller("test", time.Now()) }

// verify makes a verify session that lists keys.
func (d *door) verify(t testing.TB, o keyproof.Options, keys ...ssh.PublicKey) keyproof.Session {
	t.Helper()
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 1
	}
	draft := keyproof.Draft{Options: o, Timeout: time.Hour}
	for i, k := range keys {
		key, err := sshkey.FromWire(k)
		if err != nil {
			t.Fatal(err)
		}
		name := "key-" + string(rune('a'+i))
		draft.Keys = append(draft.Keys, keyproof.KeyDraft{Public: key, Name: &name})
	}
	return d.create(t, keyproof.Verify, draft)
}

// collect makes a collect session.
func (d *door) collect(t testing.TB, o keyproof.Options) keyproof.Session {
	t.Helper()
	return d.create(t, keyproof.Collect, keyproof.Draft{Options: o, Timeout: time.Hour})
}

func (d *door) create(t testing.TB, kind keyproof.Kind, draft keyproof.Draft) keyproof.Session {
	t.Helper()
	detail, err := d.service.Create(t.Context(), me(), "project", kind, draft)
	if err != nil {
		t.Fatal(err)
	}
	return detail.Session
}

// now is the session as it is now.
func (d *door) now(t testing.TB, s keyproof.Session) keyproof.Detail {
	t.Helper()
	detail, err := d.store.DetailByID(t.Context(), s.Project, s.Kind, s.ID)
	if err != nil {
		t.Fatal(err)
	}
	return detail
}

// closed waits for the next connection to end and returns how.
func (d *door) closed(t testing.TB) string {
	t.Helper()
	select {
	case o := <-d.outcomes:
		return o
	case <-time.After(patience):
		t.Fatalf("no connection ended; log:\n%s", d.log)
		return ""
	}
}

// want checks a session's status, counted attempts and the keys of its last connection.
func (d *door) want(t testing.TB, s keyproof.Session, status keyproof.Status, attempts int, last ...ssh.PublicKey) {
	t.Helper()
	is := d.now(t, s)
	if is.Status != status || is.Attempts != attempts {
		t.Errorf("status %s with %d counted attempts, want %s with %d", is.Status, is.Attempts, status, attempts)
	}
	if len(is.Connections) == 0 {
		t.Error("no connection was recorded")
		return
	}
	got := is.Connections[len(is.Connections)-1].Keys
	if len(got) != len(last) {
		t.Errorf("the connection shows %d keys, want %d: %v", len(got), len(last), got)
		return
	}
	for i, k := range last {
		if got[i].Public.SHA256() != ssh.FingerprintSHA256(k) {
			t.Errorf("key %d of the connection is %s, want %s", i, got[i].Public.SHA256(), ssh.FingerprintSHA256(k))
		}
	}
}

// untouched checks that a session knows of no connection and no attempt.
func (d *door) untouched(t testing.TB, s keyproof.Session) {
	t.Helper()
	if is := d.now(t, s); len(is.Connections) != 0 || is.Attempts != 0 || is.Status != keyproof.Pending {
		t.Errorf("the session was touched: %+v", is)
	}
}

func newED() ssh.Signer {
	s, _ := ssh.NewSignerFromKey(newPrivate())
	return s
}

func newPrivate() ed25519.PrivateKey {
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	return private
}

func newRSA(bits int) ssh.Signer {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	s, _ := ssh.NewSignerFromKey(private)
	return s
}

func eds(n int) []ssh.Signer {
	out := make([]ssh.Signer, n)
	for i := range out {
		out[i] = newED()
	}
	return out
}

func publics(signers []ssh.Signer) []ssh.PublicKey {
	out := make([]ssh.PublicKey, len(signers))
	for i, s := range signers {
		out[i] = s.PublicKey()
	}
	return out
}

// visit is what a well-behaved client of the library saw.
type visit struct {
	banner string
	output string
	exit   int
	err    error
}

// client is a configuration of the library's client with keys, and keyboard-interactive behind them.
func client(user string, banner *strings.Builder, signers ...ssh.Signer) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User: user, HostKeyCallback: ssh.FixedHostKey(hostED().PublicKey()), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		Auth: []ssh.AuthMethod{
			ssh.PublicKeys(signers...),
			ssh.KeyboardInteractive(func(_, _ string, q []string, _ []bool) ([]string, error) { return make([]string, len(q)), nil }),
		},
		BannerCallback: func(m string) error { banner.WriteString(m); return nil },
		Timeout:        patience,
	}
}

// login connects with the library's client, opens a shell and types input.
func (d *door) login(t testing.TB, user, input string, signers ...ssh.Signer) visit {
	t.Helper()
	var v visit
	var banner strings.Builder
	conn, err := ssh.Dial("tcp", d.addr, client(user, &banner, signers...))
	v.banner, v.err = banner.String(), err
	if err != nil {
		return v
	}
	defer conn.Close()
	session, err := conn.NewSession()
	if err != nil {
		v.err = err
		return v
	}
	session.Stdin = strings.NewReader(input)
	out, err := session.Output("")
	v.output, v.err = string(out), err
	if exit, ok := err.(*ssh.ExitError); ok { //nolint:errorlint // the library returns it bare
		v.exit, v.err = exit.ExitStatus(), nil
	}
	return v
}
