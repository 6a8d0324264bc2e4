package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/proc"
)

// run is one run of the program. It stands in for a test where test/peers asks for one, so that the
// benchmarks start PostgreSQL and end processes just as the tests do; Fatal ends the benchmark at hand.
type run struct {
	testing.TB // none: only what is overridden below may be called

	rounds      int
	lasting     time.Duration
	quick       bool
	profile     string
	interrupted atomic.Bool

	dir      string
	name     string // of the benchmark at hand
	failed   bool
	cleanups []func()
	binary   string // of gatehouse, built once
}

// stopped is what Fatal panics with.
type stopped struct{ why string }

// all runs benchmarks one after the other and writes what they found.
func (r *run) all(chosen []benchmark) int {
	began := time.Now()
	here := machineNow()
	found := make(map[string]section)
	code := 0
	for _, b := range chosen {
		if r.interrupted.Load() {
			return 1
		}
		r.say("")
		r.say("%s: %s", b.name, b.about)
		start := time.Now()
		s, err := r.one(b)
		if err != nil {
			r.say("%s: %v", b.name, err)
			code = 1
			continue
		}
		s.Name, s.Title, s.Took = b.name, b.about, time.Since(start).Round(time.Second)
		found[b.name] = s
		if err := s.print(os.Stdout); err != nil {
			code = 1
		}
	}
	if err := r.publish(here, found, time.Since(began)); err != nil {
		r.say("%v", err)
		code = 1
	}
	return code
}

// one runs a benchmark and takes away what it started, whatever happens.
func (r *run) one(b benchmark) (s section, err error) {
	r.name, r.failed = b.name, false
	if err := r.makeDir(); err != nil {
		return s, err
	}
	defer func() {
		if v := recover(); v != nil {
			why, ok := v.(stopped)
			if !ok {
				r.cleanUp()
				panic(v)
			}
			err = errors.New(why.why)
		}
		r.cleanUp()
	}()
	return b.measure(r), nil
}

// makeDir makes the benchmark's directory, on a disk: where fsync costs nothing, figures mean nothing.
func (r *run) makeDir() (err error) {
	if !proc.InMemory(os.TempDir()) {
		r.dir, err = os.MkdirTemp("", "gatehouse-bench-")
		return err
	}
	if err := os.MkdirAll(".cache", 0o755); err != nil {
		return err
	}
	base, err := filepath.Abs(".cache")
	if err != nil {
		return err
	}
	r.dir, err = os.MkdirTemp(base, "bench-")
	return err
}

func (r *run) cleanUp() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	r.cleanups = nil
	_ = os.RemoveAll(r.dir)
}

// say prints a line of progress.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// must ends the benchmark when something failed that it needs.
func (r *run) must(err error, doing string) {
	if err != nil {
		r.Fatal(doing + ": " + err.Error())
	}
	if r.interrupted.Load() {
		r.Fatal("interrupted")
	}
}

// The methods of testing.TB that test/peers calls.

// Helper does nothing: there are no lines of a test to name.
func (r *run) Helper() {}

// Cleanup runs f when the benchmark ends.
func (r *run) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// TempDir makes a directory that goes with the benchmark.
func (r *run) TempDir() string {
	dir, err := os.MkdirTemp(r.dir, "")
	r.must(err, "make directory")
	return dir
}

// Failed tells whether the benchmark has ended early.
func (r *run) Failed() bool { return r.failed }

// Logf prints a line.
func (r *run) Logf(format string, args ...any) { r.say(format, args...) }

// Fatal ends the benchmark.
func (r *run) Fatal(args ...any) {
	r.failed = true
	panic(stopped{fmt.Sprint(args...)})
}

// Fatalf ends the benchmark.
func (r *run) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

// Skipf ends the benchmark: a comparison without its peer is none.
func (r *run) Skipf(format string, args ...any) { r.Fatalf(format, args...) }

// self is this program as another process of the benchmark.
func (r *run) self(mode string) *exec.Cmd {
	path, err := os.Executable()
	r.must(err, "find own program")
	return exec.Command(path, mode)
}

// order runs a load in a process of its own and reads the answer.
func order[Answer any](r *run, mode string, what any) (answer Answer) {
	text, err := json.Marshal(what)
	r.must(err, "write order")
	cmd := r.self(mode)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &errs
	if err := cmd.Run(); err != nil {
		r.Fatalf("%s: %v: %s", mode, err, errs.String())
	}
	r.must(json.Unmarshal(out.Bytes(), &answer), "read answer of "+mode)
	return answer
}

// speaker is a process that says something first and then stays.
type speaker struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// speak starts a process and returns its first line. It is ended with the benchmark.
func (r *run) speak(cmd *exec.Cmd, input []byte) (*speaker, string) {
	s := &speaker{cmd: cmd}
	var err error
	s.stdin, err = cmd.StdinPipe()
	r.must(err, "pipe")
	out, err := cmd.StdoutPipe()
	r.must(err, "pipe")
	s.stdout = bufio.NewReader(out)
	cmd.Stderr = os.Stderr
	r.launch(cmd)
	_, err = s.stdin.Write(input)
	r.must(err, "write order")
	line, err := s.stdout.ReadString('\n')
	r.must(err, "read first line of "+filepath.Base(cmd.Path))
	return s, line[:len(line)-1]
}

// launch starts a process in a group of its own and ends the group with the benchmark. The kernel ends
// it when this program dies without clean-up; it does so when the thread that started it ends, so that
// thread is kept.
func (r *run) launch(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_, _ = cmd.Process.Wait()
		}
		close(ended)
	}()
	r.must(<-started, "start "+cmd.Path)
	r.Cleanup(func() {
		select {
		case <-ended: // the id may belong to somebody else by now
		default:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
}

// await polls until ready returns nil.
func (r *run) await(what string, patience time.Duration, ready func() error) {
	deadline := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || r.interrupted.Load() {
			r.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// gatehouse builds the program as `make build` does.
func (r *run) gatehouse() string {
	if r.binary != "" {
		return r.binary
	}
	r.must(os.MkdirAll(".cache", 0o755), "make .cache")
	path, err := filepath.Abs(filepath.Join(".cache", "gatehouse-bench"))
	r.must(err, "find .cache")
	flags := "-s -w -X main.version=bench"
	if r.profile != "" {
		flags = "-X main.version=bench" // perf wants the symbols
	}
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags", flags, "-o", path, "./cmd/gatehouse")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.Fatalf("build gatehouse: %v\n%s", err, out)
	}
	r.binary = path
	return path
}
