package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	pipeSize     = 1 << 20   // what a pipe to or from git holds
	copySize     = 256 << 10 // what is moved at a time
	maxRest      = 256 << 10 // of a request's body that nobody wants any more
	maxComplaint = 4 << 10   // what is kept of git's standard error
)

var buffers = sync.Pool{New: func() any { b := make([]byte, copySize); return &b }}

// process is one git with the ends of its pipes. Its children are in its group.
type process struct {
	cmd           *exec.Cmd
	directory     string
	in, out       *os.File // ours
	grace         time.Duration
	complaint     complaint
	complaintRead sync.WaitGroup

	mu         sync.Mutex
	dead       bool        // the group has ended: its number may be anybody's
	next       *time.Timer // the next step of making it end
	quarantine string      // where git keeps the objects of a push that has not ended well
}

// start starts git with fixed arguments. No text of a client is among them but through a checked id.
func (r *Repositories) start(directory, protocol string, args ...string) (*process, error) {
	p := &process{directory: directory, grace: r.limits.Grace}
	var theirs [3]*os.File
	var complaints *os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	var err error
	if theirs[0], p.in, err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.out, theirs[1], err = os.Pipe(); err != nil {
		p.in.Close()
		return nil, err
	}
	if complaints, theirs[2], err = os.Pipe(); err != nil {
		p.close()
		return nil, err
	}
	widen(p.in)
	widen(p.out)
	p.cmd = exec.Command(r.program, args...) //nolint:gosec,noctx // arguments are fixed; run ends the whole group with the context
	p.cmd.Dir = "/"
	p.cmd.Env = r.environment(directory, protocol)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		p.close()
		complaints.Close()
		return nil, fmt.Errorf("start git: %w", err)
	}
	p.complaintRead.Go(func() {
		_, _ = io.Copy(&p.complaint, complaints)
		complaints.Close()
	})
	if err := bound(p.cmd.Process.Pid, r.limits.Memory); err != nil {
		p.signal(syscall.SIGKILL)
		return nil, errors.Join(fmt.Errorf("bound git: %w", err), p.wait())
	}
	return p, nil
}

func (p *process) close() {
	p.in.Close()
	p.out.Close()
}

// signal reaches the whole group, while there is one.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// end makes the group end. Git gets a signal first, so that it can take its locks away, which a killed
// one leaves behind. It does not take away its quarantine then: that is noted, for wait to delete.
func (p *process) end() {
	if found := quarantine(p.cmd.Process.Pid); found != "" {
		p.mu.Lock()
		p.quarantine = found // before the signal: wait may be done with git at once after it
		p.mu.Unlock()
	}
	p.signal(syscall.SIGTERM)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.later(func() { p.signal(syscall.SIGKILL) })
}

// finish lets git see the end of what it is given. In the middle of a push it then gives up and tidies
// up by itself; when it does not, it is made to.
func (p *process) finish() {
	p.in.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.later(p.end)
}

// later does something after the time that git has to tidy up, unless its group has ended. The caller holds the lock.
func (p *process) later(do func()) {
	if p.dead {
		return
	}
	if p.next != nil {
		p.next.Stop()
	}
	p.next = time.AfterFunc(p.grace, do)
}

// wait waits until git has ended by itself or by end, kills what it may have left in its group, and
// reports how it went.
func (p *process) wait() error {
	ended(p.cmd.Process.Pid)
	p.signal(syscall.SIGKILL)
	p.mu.Lock()
	p.dead = true
	if p.next != nil {
		p.next.Stop()
	}
	left := p.quarantine
	p.mu.Unlock()
	err := p.cmd.Wait()
	p.close()
	p.complaintRead.Wait()
	if within(left, p.directory) {
		err = errors.Join(err, os.RemoveAll(left))
	}
	return err
}

// complaint keeps the end of what git wrote to standard error, for the log.
type complaint struct{ text []byte }

func (c *complaint) Write(p []byte) (int, error) {
	c.text = append(c.text, p[max(0, len(p)-maxComplaint):]...)
	c.text = c.text[max(0, len(c.text)-maxComplaint):]
	return len(p), nil
}

// exchange is a git process and the client whom it serves.
type exchange struct {
	*process
	with   Exchange
	limits Limits
	cancel context.CancelCauseFunc
	most   int64 // bytes that the client may send

	moved   atomic.Int64 // when the last byte did, in nanoseconds since began
	began   time.Time
	read    atomic.Int64 // bytes from the client
	written int64        // bytes to the client
	over    atomic.Bool  // git has ended
	push    *push        // nil when it is none
}

func (e *exchange) touch() { e.moved.Store(int64(time.Since(e.began))) }

// feed gives git what the client sends, until the client has no more or git takes no more.
func (e *exchange) feed(ctx context.Context) {
	e.pass(ctx)
	e.in.Close()
	if e.with.Over == HTTP { // a short rest is read, so that the client reads the answer
		_, _ = io.CopyN(io.Discard, e.with.In, maxRest)
	}
}

func (e *exchange) pass(ctx context.Context) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	from := e.with.In
	if e.push != nil {
		var err error
		if from, err = e.push.open(ctx, touching{e}); err != nil {
			e.cancelUnlessOver(err)
			return
		}
	}
	for {
		n, err := from.Read(*buffer)
		e.touch()
		if e.read.Add(int64(n)) > e.most {
			e.cancel(ErrTooLarge)
			return
		}
		if n > 0 {
			if _, err := e.in.Write((*buffer)[:n]); err != nil {
				return // git has enough, and its exit tells why
			}
			e.touch()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			e.cancelUnlessOver(left(err))
			return
		}
	}
}

func (e *exchange) cancelUnlessOver(cause error) {
	if !e.over.Load() && !errors.Is(cause, io.EOF) {
		e.cancel(cause)
	}
}

// touching reads what the client sends and keeps the exchange from looking idle.
type touching struct{ *exchange }

func (t touching) Read(p []byte) (int, error) {
	defer t.touch()
	return t.with.In.Read(p)
}

// left says that the client is gone, and how that showed.
func left(err error) error {
	return fault.Wrap(ErrLeft.Kind, ErrLeft.Text, errors.Join(ErrLeft, err))
}

// answer gives the client what git says. When the client is gone it listens on, for the report of a push.
func (e *exchange) answer() {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	flusher, _ := e.with.Out.(interface{ Flush() })
	gone := false
	for {
		n, err := e.out.Read(*buffer)
		if err != nil {
			return
		}
		e.touch()
		muted := e.push != nil && e.push.hear((*buffer)[:n])
		if gone || muted {
			continue
		}
		if _, err := e.with.Out.Write((*buffer)[:n]); err != nil {
			gone = true
			e.cancel(left(err))
			continue
		}
		e.written += int64(n)
		if flusher != nil && n < copySize/64 { // progress and signs of life must not lie in a buffer
			flusher.Flush()
		}
		e.touch()
	}
}

// watch ends the exchange when nothing moves, and asks again and again whether it may go on.
func (e *exchange) watch(ctx context.Context) {
	idle := time.NewTimer(e.limits.Idle)
	defer idle.Stop()
	again := make(<-chan time.Time)
	if e.push != nil && e.limits.Recheck > 0 {
		ticker := time.NewTicker(e.limits.Recheck)
		defer ticker.Stop()
		again = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			if !e.push.passed.Load() {
				continue // it is being asked for the first time
			}
			if err := e.push.again(ctx); err != nil && ctx.Err() == nil {
				e.cancel(&refused{err})
			}
		case <-idle.C:
			still := time.Since(e.began) - time.Duration(e.moved.Load())
			if still >= e.limits.Idle {
				e.cancel(ErrStalled)
				return
			}
			idle.Reset(e.limits.Idle - still)
		}
	}
}

// refused marks that it was the door that ended a push.
type refused struct{ why error }

func (r *refused) Error() string { return r.why.Error() }
func (r *refused) Unwrap() error { return r.why }

// run serves the client until git has ended. It returns the cause when it was made to end.
func (e *exchange) run(ctx context.Context) error {
	ctx, cancelTotal := context.WithTimeoutCause(ctx, e.limits.Total, ErrTooLong)
	defer cancelTotal()
	ctx, e.cancel = context.WithCancelCause(ctx)
	defer e.cancel(nil)
	e.began = time.Now()
	hungUp := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(hungUp)
		cause := context.Cause(ctx)
		if e.push != nil && answerable(cause) {
			e.push.muted.Store(true)
		}
		if e.push != nil && !isRefused(cause) {
			e.finish()
		} else {
			e.end()
		}
		if e.with.Hangup != nil && !answerable(cause) {
			e.with.Hangup()
		}
	})
	var watching sync.WaitGroup
	watching.Go(func() { e.watch(ctx) })
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		e.feed(ctx)
	}()
	e.answer()
	e.over.Store(true)
	err := e.wait()
	e.settle(fed)
	cause := context.Cause(ctx)
	if !stop() {
		<-hungUp
	}
	e.cancel(nil)
	watching.Wait()
	switch {
	case cause == nil && err == nil:
		return nil
	case cause == nil:
		return fault.Wrap(ErrGit.Kind, ErrGit.Text, errors.Join(ErrGit, err, errors.New(strings.TrimSpace(string(e.complaint.text)))))
	case errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		return ErrLeft
	}
	return cause
}

// settle waits until nothing reads a request's body any more: an HTTP server reads on where its handler
// stopped. Over SSH a client listens for as long as it likes; that Read ends with the channel.
func (e *exchange) settle(fed <-chan struct{}) {
	if e.with.Over == SSH {
		return
	}
	if e.with.Hangup != nil {
		defer time.AfterFunc(e.limits.Grace, e.with.Hangup).Stop()
	}
	<-fed
}

// within says whether a quarantine lies where those of a repository do.
func within(path, directory string) bool {
	return strings.HasPrefix(filepath.Base(path), "tmp_objdir-") && filepath.Dir(filepath.Clean(path)) == filepath.Join(directory, "objects")
}

// answerable says whether the client shall still read why its push was ended.
func answerable(cause error) bool {
	return isRefused(cause) || errors.Is(cause, ErrTooLarge) || errors.Is(cause, ErrPush) || errors.Is(cause, ErrManyRefs)
}

func isRefused(err error) bool {
	var r *refused
	return errors.As(err, &r)
}
