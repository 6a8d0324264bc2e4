package sshrelay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// link is a connection to a target that let us in. Whatever the target opens by itself is refused by the library, for want of somebody who takes it:
// agents (rule S8), X11, forwarded ports.
type link struct {
	client *ssh.Client
	done   chan struct{}

	mu  sync.Mutex
	err error // why it ended, unless that was in peace
}

var _ remote.Link = (*link)(nil)

func newLink(client *ssh.Client, alive time.Duration) *link {
	l := &link{client: client, done: make(chan struct{})}
	go func() {
		err := client.Wait()
		l.end(err)
		close(l.done)
	}()
	go l.ask(alive)
	return l
}

// end keeps the first reason for the end.
func (l *link) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && !peaceful(err) {
		l.err = err
	}
}

// peaceful reports whether a connection ended because somebody wanted it to: it was closed, or the target said so (RFC 4253 section 11.1: 11, by application).
func peaceful(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || strings.HasPrefix(err.Error(), "ssh: disconnect, reason 11:")
}

// ask looks every now and then whether the target is still there, and closes the connection to one that is not: a peer must answer global requests, if
// only to refuse them (RFC 4254 section 4).
func (l *link) ask(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	answers := make(chan struct{}, 1)
	for waiting := false; ; {
		select {
		case <-l.done:
			return
		case <-answers:
			waiting = false
		case <-ticker.C:
			if waiting {
				l.end(errors.New("the target does not answer any more"))
				l.client.Close()
				return
			}
			waiting = true
			go func() {
				_, _, _ = l.client.SendRequest("keepalive@openssh.com", true, nil) // where it fails done is closed
				answers <- struct{}{}
			}()
		}
	}
}

// Done implements remote.Link.
func (l *link) Done() <-chan struct{} { return l.done }

// Err implements remote.Link.
func (l *link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close implements remote.Link.
func (l *link) Close() error {
	err := l.client.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Terminal implements remote.Link.
func (l *link) Terminal(ctx context.Context, t remote.Terminal) (remote.Channel, error) {
	return l.open(ctx, t.PTY, func(ch *channel) error {
		for _, v := range t.Env { // a server that does not want a variable says nothing, and is not asked to
			if err := ch.tell("env", struct{ Name, Value string }{v.Name, v.Value}); err != nil {
				return err
			}
		}
		if t.PTY {
			if err := ch.want("pty-req", ptyRequest(t)); err != nil {
				return err
			}
		}
		if t.Command != "" {
			return ch.want("exec", struct{ Command string }{t.Command})
		}
		return ch.want("shell", nil)
	})
}

// Files implements remote.Link.
func (l *link) Files(ctx context.Context) (remote.Channel, error) {
	return l.open(ctx, true, func(ch *channel) error { return ch.want("subsystem", struct{ Name string }{"sftp"}) })
}

// open opens a session channel and has begin ask for what shall run in it. With alone nothing is read beside its output.
func (l *link) open(ctx context.Context, alone bool, begin func(*channel) error) (remote.Channel, error) {
	raw, requests, err := l.channel(ctx, "session", nil)
	if err != nil {
		return nil, err
	}
	ch := newChannel(raw, requests, alone)
	begun := make(chan error, 1)
	go func() { begun <- begin(ch) }()
	select {
	case err = <-begun:
	case <-ctx.Done(): // a target that never answers keeps begin until the link is closed
		err = fmt.Errorf("%w: %w", remote.ErrUnreachable, context.Cause(ctx))
	}
	if err != nil {
		_ = ch.Close() // the first error counts
		return nil, err
	}
	return ch, nil
}

// opened is the answer to the wish for a channel.
type opened struct {
	channel  ssh.Channel
	requests <-chan *ssh.Request
	err      error
}

// channel opens a channel, and gives up with the context.
func (l *link) channel(ctx context.Context, kind string, extra []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	answer := make(chan opened, 1)
	go func() {
		ch, requests, err := l.client.OpenChannel(kind, extra)
		answer <- opened{ch, requests, err}
	}()
	select {
	case o := <-answer:
		return o.channel, o.requests, refusal(o.err)
	case <-ctx.Done():
		go func() { // it may be opened yet
			if o := <-answer; o.err == nil {
				go ssh.DiscardRequests(o.requests)
				o.channel.Close()
			}
		}()
		return nil, nil, fmt.Errorf("%w: %w", remote.ErrUnreachable, context.Cause(ctx))
	}
}

// errNoConnection is what a person reads whose forward does not come about.
var errNoConnection = fault.New(fault.Conflict, "the target cannot connect to that address")

// refusal turns the target's answer into a fault. Its own text is for the log alone.
func refusal(err error) error {
	var refused *ssh.OpenChannelError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refused):
		return fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
	case refused.Reason == ssh.ConnectionFailed:
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	return fmt.Errorf("%w: %w", remote.ErrNotOffered, err)
}

// Forward implements remote.Link (RFC 4254 section 7.2). Where the connection comes from is nobody's business behind the gate.
func (l *link) Forward(ctx context.Context, host string, port int) (io.ReadWriteCloser, error) {
	raw, requests, err := l.channel(ctx, "direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, uint32(min(max(port, 0), 0xffff)), "127.0.0.1", 0}))
	if err != nil {
		return nil, err
	}
	return newChannel(raw, requests, true), nil
}
