package git_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// wireSocket names the socket of an SSH door to the test binary that git runs in ssh's place.
const wireSocket = "GATEHOUSE_TEST_WIRE"

// No test leaves a goroutine behind. Git runs this binary too, in place of ssh.
func TestMain(m *testing.M) {
	if socket := os.Getenv(wireSocket); socket != "" {
		if err := actAsSSH(socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, ended := m.Run(), time.Now()
	left := goleak.Find()
	for left != nil && time.Since(ended) < patience { // one that is on its way out is waited for
		left = goleak.Find()
	}
	if left != nil && code == 0 {
		fmt.Fprintln(os.Stderr, left)
		code = 1
	}
	os.Exit(code)
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// growing are the limits for a test that must do something within one and then waits it out: it takes the next where a slow machine made
// it late for the first.
var growing = []time.Duration{300 * time.Millisecond, 3 * time.Second, patience}

// asked is what a client's ssh tells the door.
type asked struct{ Command, Protocol string }

func actAsSSH(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	question, _ := json.Marshal(asked{os.Args[len(os.Args)-1], os.Getenv("GIT_PROTOCOL")})
	if _, err := conn.Write(append(question, '\n')); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

// house is a folder of repositories with two doors to it. Every door lets everybody in.
type house struct {
	*git.Repositories
	root  string
	http  string // base address
	ssh   string // socket
	allow func(context.Context, []git.Move) error

	mu     sync.Mutex
	ran    []git.Ran
	moved  []git.Moved
	errors []error
}

// repoID is the one repository of a house, under whatever name clients call it.
const repoID = "0190a5b0-0000-7000-8000-000000000001"

// limits are the documented ones with waits for tests.
func limits() git.Limits {
	l := git.DefaultLimits()
	l.Grace = 500 * time.Millisecond
	return l
}

func newHouse(tb testing.TB, l git.Limits) *house {
	tb.Helper()
	peers.Require(tb, "git")
	root := filepath.Join(tb.TempDir(), "git")
	repositories, err := git.Open(tb.Context(), root, l)
	if err != nil {
		tb.Fatal(err)
	}
	h := &house{Repositories: repositories, root: root, allow: func(context.Context, []git.Move) error { return nil }}
	repositories.Observe = func(r git.Ran) { h.note(func() { h.ran = append(h.ran, r) }) }
	if err := h.Create(tb.Context(), repoID, ""); err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(h.serveHTTP))
	tb.Cleanup(server.Close)
	h.http = server.URL
	h.listen(tb)
	return h
}

func (h *house) note(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *house) dir() string { return filepath.Join(h.root, repoID+".git") }

// listen opens the SSH door: a socket, and on it what git's ssh would carry.
func (h *house) listen(tb testing.TB) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "wire") // a socket's path must be short
	if err != nil {
		tb.Fatal(err)
	}
	h.ssh = filepath.Join(dir, "s")
	l, err := net.Listen("unix", h.ssh)
	if err != nil {
		tb.Fatal(err)
	}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { h.serveSSH(conn) })
		}
	})
	tb.Cleanup(func() {
		l.Close()
		connections.Wait()
		os.RemoveAll(dir)
	})
}

func (h *house) serveSSH(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	var a asked
	if err != nil || json.Unmarshal(line, &a) != nil {
		return
	}
	c, err := git.ParseCommand(a.Command)
	if err != nil {
		return
	}
	with := git.Exchange{In: in, Out: conn, Protocol: a.Protocol, Hangup: func() { conn.Close() }}
	switch c.Service {
	case git.UploadPack:
		err = h.Upload(context.Background(), repoID, with)
	case git.UploadArchive:
		err = h.Archive(context.Background(), repoID, with)
	case git.ReceivePack:
		err = h.receive(context.Background(), with)
	}
	h.note(func() { h.errors = append(h.errors, err) })
}

func (h *house) receive(ctx context.Context, with git.Exchange) error {
	moved, err := h.Receive(ctx, repoID, with, func(ctx context.Context, m []git.Move) error { return h.allow(ctx, m) })
	h.note(func() { h.moved = append(h.moved, moved...) })
	return err
}

func (h *house) serveHTTP(w http.ResponseWriter, r *http.Request) {
	asks, err := git.ParsePath(r.URL.Path, r.URL.Query())
	if err != nil || asks.Kind == git.Dumb || asks.Kind == git.LFS || r.Method != asks.Method() {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	body, err := git.Body(r.Header.Get("Content-Encoding"), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	control := http.NewResponseController(w)
	if asks.Kind == git.Call && asks.Service.Writes() {
		_ = control.EnableFullDuplex()
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Content-Type", asks.Answers())
	with := git.Exchange{In: body, Out: w, Protocol: r.Header.Get("Git-Protocol"), Over: git.HTTP, Hangup: func() {
		_ = control.SetReadDeadline(time.Now())
		_ = control.SetWriteDeadline(time.Now())
	}}
	switch {
	case asks.Kind == git.Announce:
		err = h.Announce(r.Context(), repoID, asks.Service, with)
	case asks.Service == git.UploadPack:
		err = h.Upload(r.Context(), repoID, with)
	default:
		err = h.receive(r.Context(), with)
	}
	h.note(func() { h.errors = append(h.errors, err) })
}

// both runs a promise over both wires.
func both(t *testing.T, l git.Limits, promise func(t *testing.T, h *house, address string)) {
	t.Helper()
	for _, wire := range []string{"ssh", "http"} {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, l)
			address := h.http + "/scm/PRJ/repo.git"
			if wire == "ssh" {
				address = "git@gate.test:PRJ/repo.git"
			}
			promise(t, h, address)
		})
	}
}

// said is what a client's git printed and how it ended.
type said struct {
	text string
	err  error
}

// git runs a client's git.
func (h *house) git(tb testing.TB, dir string, args ...string) said {
	tb.Helper()
	return h.gitCommand(tb, dir, args...).run()
}

type client struct{ *exec.Cmd }

func (h *house) gitCommand(tb testing.TB, dir string, args ...string) client {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), "git", args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = patience
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b.test", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b.test",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=init.defaultBranch", "GIT_CONFIG_VALUE_0=main",
		"GIT_SSH=" + self, "GIT_SSH_VARIANT=ssh", wireSocket + "=" + h.ssh,
	}
	return client{cmd}
}

func (c client) run() said {
	out, err := c.CombinedOutput()
	return said{string(out), err}
}

// must returns what a command printed and fails the test when it failed.
func (s said) must(tb testing.TB) string {
	tb.Helper()
	if s.err != nil {
		tb.Fatalf("git: %v\n%s", s.err, s.text)
	}
	return s.text
}

// work makes a work tree with two commits.
func (h *house) work(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	h.git(tb, dir, "init", "-q").must(tb)
	h.commit(tb, dir, "a.txt", []byte("one\n"))
	h.commit(tb, dir, "b.txt", []byte("two\n"))
	return dir
}

func (h *house) commit(tb testing.TB, dir, name string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		tb.Fatal(err)
	}
	h.git(tb, dir, "add", name).must(tb)
	h.git(tb, dir, "commit", "-q", "-m", "add "+name).must(tb)
}

func (h *house) head(tb testing.TB, dir, rev string) string {
	tb.Helper()
	return strings.TrimSpace(h.git(tb, dir, "rev-parse", rev).must(tb))
}

// await polls until a promise holds.
func await(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not in time: %s", what)
		}
	}
}

// lastError is how the last exchange ended.
func (h *house) lastError(tb testing.TB) error {
	tb.Helper()
	var err error
	await(tb, "an exchange has ended", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.errors) > 0 {
			err = h.errors[len(h.errors)-1]
		}
		return len(h.errors) > 0
	})
	return err
}

func isKind(err error, kind fault.Kind) bool { return err != nil && fault.Is(err, kind) }

var errNotThis = errors.New("not this")
