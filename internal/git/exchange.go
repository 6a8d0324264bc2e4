package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Exchange is a client's end of a conversation with git.
//
// In is read while git runs; over HTTP a fetch is read as a whole, and the head of a push, before git gets its turn. Over HTTP nothing reads it after the call; reading and writing go on at
// the same time, so for a push a server of HTTP/1.1 must be told (http.ResponseController.EnableFullDuplex), and because
// it then trips over what is left of a body, the answer must close the connection (Connection: close). Over SSH git ends
// while the client still listens: a Read may be under way when the call returns, ends when the door closes the
// channel, and what it reads is dropped. Out is written by one goroutine and not after the call; when it has
// a Flush method, that is called whenever little was written.
type Exchange struct {
	In       io.Reader
	Out      io.Writer
	Protocol string // what the client says of versions; anything but "version=0" to "version=2" is dropped
	Over     Wire
	Caller   string // whose share of the turns this takes: one text for each principal, or Stranger; all who are not named are one

	// Hangup makes reads of In and writes to Out return, with whatever error. It is called when an exchange is
	// ended because the client stalls, the time is over or the context has ended, and when a request's body has no end. It
	// may be called more than once, and be nil where reads and writes return by themselves.
	Hangup func()
}

// Wire says how git and the client take turns.
type Wire uint8

// The wires.
const (
	SSH  Wire = iota // one conversation for the whole exchange
	HTTP             // one request and one answer; git first announced itself in another
)

// Announce tells an HTTP client what a repository has and what git can do: the answer to
// GET info/refs?service=.... It reports the errors of Upload.
func (r *Repositories) Announce(ctx context.Context, id string, service Service, with Exchange) error {
	flag := "--http-backend-info-refs"
	var greeting []byte
	if service == ReceivePack || Protocol(with.Protocol) != "version=2" {
		greeting = AppendFlush(AppendLine(nil, "# service="+string(service)+"\n"))
	}
	if service == ReceivePack {
		with.Protocol = "" // pushes know no version 2, and clients do not ask for it
	}
	if service != ReceivePack && service != UploadPack {
		return fault.New(fault.Invalid, "no such service over HTTP")
	}
	with.In = bytes.NewReader(nil)
	job := job{service: service, id: id, with: with, most: 0, greeting: greeting}
	job.args = []string{strings.TrimPrefix(string(service), "git-"), "--stateless-rpc", flag}
	return r.serve(ctx, job)
}

// Upload serves a clone or a fetch.
//
// It reports ErrNoRepository, ErrBusy, ErrStalled, ErrTooLong, ErrTooLarge, ErrLeft, or ErrGit when git
// ended badly, often because the client did; errors.Is finds each. Nothing but git's own words was then written to Out.
func (r *Repositories) Upload(ctx context.Context, id string, with Exchange) error {
	args := []string{"upload-pack", "--strict"}
	if with.Over == HTTP {
		args = append(args, "--stateless-rpc")
	}
	return r.serve(ctx, job{service: UploadPack, id: id, with: with, most: r.limits.Request, args: args})
}

// Archive serves git archive --remote, which exists over SSH only. It reports the errors of Upload.
func (r *Repositories) Archive(ctx context.Context, id string, with Exchange) error {
	with.Protocol = ""
	return r.serve(ctx, job{service: UploadArchive, id: id, with: with, most: r.limits.Request, args: []string{"upload-archive"}})
}

// Receive serves a push.
//
// Allow is asked with the refs that would move before git gets a byte of the push, and again every
// Limits.Recheck while the push goes on; its refusal ends the push, the client is told fault.Text of it, and Receive
// returns it. A client that only looks what there is asks for no move: then allow is not called.
//
// What did become of each ref is returned even beside an error: a client may leave after git has moved
// refs. Errors are those of Upload, ErrPush and ErrManyRefs; a push that git refused in an orderly way is none.
func (r *Repositories) Receive(ctx context.Context, id string, with Exchange, allow func(context.Context, []Move) error) ([]Moved, error) {
	args := []string{"receive-pack"}
	if with.Over == HTTP {
		args = append(args, "--stateless-rpc")
	}
	p := &push{allow: allow, most: r.limits.Refs, report: report{announce: with.Over == SSH, said: map[string]string{}}}
	err := r.serve(ctx, job{service: ReceivePack, id: id, with: with, most: r.limits.Push, args: args, push: p})
	return r.results(ctx, id, p), err
}

// job is what serve has to do.
type job struct {
	service  Service
	id       string
	with     Exchange
	most     int64
	args     []string
	greeting []byte
	push     *push
}

// serve runs git when the client has sent enough for it and it is the caller's turn, and tells Observe.
func (r *Repositories) serve(ctx context.Context, j job) error {
	ran := Ran{Service: j.service}
	err := r.takeTurn(ctx, j, &ran)
	ran.Outcome = outcome(err)
	if r.Observe != nil {
		r.Observe(ran)
	}
	return unmarked(err)
}

func (r *Repositories) takeTurn(ctx context.Context, j job, ran *Ran) error {
	free, err := r.early(ctx, &j)
	defer free()
	if j.push != nil && answerable(err) {
		r.rest(j.with)
		j.push.refuse(j.with, r.limits.Idle, err)
	}
	if err != nil {
		return err
	}
	began := time.Now()
	err = r.turns.wait(ctx, j.with.Caller, r.limits.Queue)
	ran.Waited = time.Since(began)
	if err != nil {
		return err
	}
	err = r.exchangeIn(ctx, j, ran)
	ran.Took = time.Since(began) - ran.Waited
	return err
}

// exchangeIn serves the client and then gives its turn back, even when the door's end panics.
func (r *Repositories) exchangeIn(ctx context.Context, j job, ran *Ran) error {
	defer r.turns.giveBack(j.with.Caller, 1)
	directory, err := r.served(j.id)
	if err != nil {
		return err
	}
	p, err := r.start(directory, j.with.Protocol, append(j.args, directory)...)
	if err != nil {
		return err
	}
	e := &exchange{process: p, with: j.with, limits: r.limits, most: j.most, push: j.push}
	if len(j.greeting) > 0 {
		if _, err := j.with.Out.Write(j.greeting); err != nil {
			p.end()
			return left(errors.Join(err, p.wait()))
		}
	}
	err = e.run(ctx)
	ran.In, ran.Out = e.read.Load(), e.written
	if j.push != nil && answerable(err) {
		j.push.refuse(e.with, e.limits.Idle, err)
	}
	return err
}

// outcome names how an exchange ended.
func outcome(err error) Outcome {
	if isRefused(err) {
		return Refused
	}
	for _, o := range []struct {
		err error
		is  Outcome
	}{{nil, Done}, {ErrBusy, Busy}, {ErrStalled, Stalled}, {ErrTooLong, TooLong}, {ErrTooLarge, TooLarge}, {ErrLeft, Left}} {
		if errors.Is(err, o.err) {
			return o.is
		}
	}
	return Failed
}

// unmarked takes the mark off a refusal: the caller gets its own error back.
func unmarked(err error) error {
	var r *refused
	if errors.As(err, &r) {
		return r.why
	}
	return err
}

// Maintain packs what pushes left loose, when there is enough of it, and drops what nobody can reach for
// two weeks. It takes a turn like any exchange, so loops call it for one repository after the other.
func (r *Repositories) Maintain(ctx context.Context, id string) error {
	directory, err := r.served(id)
	if err != nil {
		return err
	}
	if err := r.turns.wait(ctx, maintenance, r.limits.Queue); err != nil {
		return err
	}
	defer r.turns.giveBack(maintenance, 1)
	ctx, cancel := context.WithTimeout(ctx, r.limits.Maintain)
	defer cancel()
	_, err = r.ask(ctx, "", "--git-dir="+directory, "gc", "--auto", "--quiet")
	return err
}

// ask runs a git that talks to nobody but us.
func (r *Repositories) ask(ctx context.Context, input string, args ...string) (string, error) {
	directory := strings.TrimPrefix(args[0], "--git-dir=")
	p, err := r.start(directory, "", args...)
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, p.end)
	go func() {
		_, _ = io.WriteString(p.in, input)
		p.in.Close()
	}()
	out, readErr := io.ReadAll(io.LimitReader(p.out, maxAnswer))
	p.out.Close()
	err = errors.Join(readErr, p.wait())
	stop()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[1], err, strings.TrimSpace(string(p.complaint.text)))
	}
	return string(out), nil
}

// maxAnswer bounds what ask takes: an object name for each ref that a push may move.
const maxAnswer = 16 << 20
