// Package peers starts the real programs that tests talk to, and ends each by its process id.
//
// A peer is somebody else's program: a test against our own fake proves only that we agree with
// ourselves. Everything listens on 127.0.0.1 and a free port. A package whose tests use a shared
// peer ends it in TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(peers.Main(m)) }
package peers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a peer may take to start or to end. Only what is broken takes it all, on a machine where much else runs, too.
const Patience = 2 * time.Minute

// Require skips the test, by name, when one of the programs is missing; with GATEHOUSE_PEERS=all it
// fails instead. A name with a slash is a path, any other is looked up.
func Require(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(tb, name)
		}
	}
}

func missing(tb testing.TB, name string) {
	tb.Helper()
	if os.Getenv("GATEHOUSE_PEERS") == "all" {
		tb.Fatalf("missing peer %s, and GATEHOUSE_PEERS=all", name)
	}
	tb.Skipf("missing peer %s", name)
}

// Port returns a port of 127.0.0.1 that is free and stays so: nobody in this process gets it twice, and
// the system does not give it to outgoing connections.
func Port(tb testing.TB) int {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// The ports that are handed out lie below those that systems take for outgoing connections. Other
// processes do the same, so each begins at a place of its own.
const firstPort, portCount = 12_000, 20_000

var nextPort = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(rand.Int64N(portCount))
	return &n
}()

func freePort() (port int, err error) {
	for range 1000 {
		port = firstPort + int(nextPort.Add(1)%portCount)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil { //nolint:noctx // closed at once
			return port, l.Close()
		}
	}
	return 0, err
}

// Process is a running peer.
type Process struct {
	Output string // the file that holds what it printed

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, after done
}

// Start starts cmd in a process group of its own and ends the group with the test. What the peer
// printed is logged when the test fails.
func Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	output := filepath.Join(tb.TempDir(), filepath.Base(cmd.Path)+".log")
	p, err := start(cmd, output)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			p.logTo(tb)
		}
	})
	return p
}

// start runs cmd with its output in a file. The kernel ends the peer when this process dies without
// a chance to clean up; it does so when the *thread* that started it ends, so that thread is kept.
func start(cmd *exec.Cmd, output string) (*Process, error) {
	file, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p := &Process{Output: output, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	err = errors.Join(<-started, file.Close())
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Pid is the peer's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the peer has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends the peer, not its children, a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// End sends a signal and waits until the peer has ended.
func (p *Process) End(s os.Signal) error {
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(Patience):
		p.Kill()
		return fmt.Errorf("%s did not end after %v", p.cmd.Path, s)
	}
}

// Kill ends the peer's whole process group at once.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return // the id may belong to somebody else by now
	default:
	}
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
	<-p.done
}

func (p *Process) logTo(tb testing.TB) {
	text, err := os.ReadFile(p.Output)
	if err == nil {
		tb.Logf("%s:\n%s", filepath.Base(p.Output), text)
	}
}

// Await calls ready until it returns nil, and fails the test when that takes too long or the peer,
// which may be nil, has ended.
func Await(tb testing.TB, p *Process, ready func() error) {
	tb.Helper()
	if err := await(p, ready); err != nil {
		if p != nil {
			p.logTo(tb)
		}
		tb.Fatal(err)
	}
}

func await(p *Process, ready func() error) error {
	var ended <-chan struct{}
	if p != nil {
		ended = p.done
	}
	deadline := time.After(Patience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended before it was ready: %w", p.cmd.Path, errors.Join(p.err, err))
		case <-deadline:
			return fmt.Errorf("not ready after %v: %w", Patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shared are the peers that live until Main ends them.
var shared struct {
	sync.Mutex
	stop []func()
}

func untilMainEnds(stop func()) {
	shared.Lock()
	defer shared.Unlock()
	shared.stop = append(shared.stop, stop)
}

// Main runs the tests of a package and ends the shared peers. It returns the exit code.
func Main(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		for _, stop := range shared.stop {
			stop()
		}
	}()
	return m.Run()
}
