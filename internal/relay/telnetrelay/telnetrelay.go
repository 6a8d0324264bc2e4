// Package telnetrelay carries sessions to Telnet servers (RFC 854, RFC 855).
//
// Telnet has no sign-in of its own: a script waits for what a target asks, and types what is stored. What passes meanwhile is neither shown nor recorded.
// Options that would carry more than the size and kind of a terminal are refused, variables (RFC 1572) above all.
package telnetrelay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/relay"
)

// Dialer signs in to Telnet servers.
type Dialer struct {
	Outward relay.Outward
	// Quiet is how long a target says nothing when it has said all it says at a sign-in; 700 ms when zero.
	Quiet time.Duration
	// Silence is how long a target may take for its first words after the password; 5 s when zero. One that says nothing then is taken to have let us in.
	Silence time.Duration
}

var _ remote.Dialer = (*Dialer)(nil)

// Dial implements remote.Dialer.
func (d *Dialer) Dial(ctx context.Context, to remote.Target) (remote.Link, error) {
	steps, err := parseScript(to)
	if err != nil {
		return nil, err
	}
	l := &link{output: make(chan []byte), done: make(chan struct{}), shut: make(chan struct{})}
	l.protocol.size = remote.Size{Cols: 80, Rows: 24}
	err = d.Outward.To(ctx, to.At, func(ctx context.Context, c net.Conn) error {
		l.conn = c
		last, _ := ctx.Deadline()
		s := signIn{link: l, steps: steps, quiet: orElse(d.Quiet, 700*time.Millisecond), silence: orElse(d.Silence, 5*time.Second), last: last}
		first, err := s.run()
		l.rest = first
		return err
	})
	if err != nil {
		return nil, err
	}
	go l.pump()
	return l, nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// patience is how long a target may leave what we send unread.
const patience = 30 * time.Second

// link is a connection to a target, which is its one terminal too.
type link struct {
	conn net.Conn

	sending  sync.Mutex // over whatever is written, and over protocol
	protocol protocol

	output chan []byte // what the target prints, in order
	rest   []byte      // what Read has not handed out yet; of who reads
	done   chan struct{}
	shut   chan struct{} // closed by Close
	once   sync.Once

	mu     sync.Mutex
	err    error
	opened bool
}

var (
	_ remote.Link    = (*link)(nil)
	_ remote.Channel = (*terminal)(nil)
)

// pump reads what the target sends, until it ends.
func (l *link) pump() {
	defer close(l.done)
	defer l.conn.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.conn.Read(buffer)
		text, bad := l.take(buffer[:n])
		if len(text) > 0 {
			select {
			case l.output <- text:
			case <-l.shut:
				return
			}
		}
		switch {
		case bad != nil:
			l.fail(bad)
			return
		case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.fail(err)
			return
		}
	}
}

// take understands bytes from the target, and answers what must be answered.
func (l *link) take(p []byte) ([]byte, error) {
	l.sending.Lock()
	defer l.sending.Unlock()
	text, answers, err := l.protocol.decode(p)
	if err == nil && len(answers) > 0 {
		err = l.send(answers)
	}
	return text, err
}

// send writes under sending. A target that reads nothing does not keep us.
func (l *link) send(p []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := l.conn.Write(p)
	return err
}

// typed sends what a person types, and returns what must be shown to them because the target does not echo.
func (l *link) typed(p []byte) (echo []byte, err error) {
	l.sending.Lock()
	defer l.sending.Unlock()
	return l.protocol.echo(p), l.send(l.protocol.encode(p))
}

func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.shut: // by our own hand
	default:
		l.err = err
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
	l.once.Do(func() {
		close(l.shut)
		l.conn.Close()
	})
	return nil
}

// Terminal implements remote.Link: there is one, and no command runs by itself.
func (l *link) Terminal(_ context.Context, t remote.Terminal) (remote.Channel, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Command != "" || l.opened {
		return nil, fmt.Errorf("%w: Telnet has one terminal, and no commands", remote.ErrNotOffered)
	}
	l.opened = true
	c := &terminal{link: l, over: make(chan struct{})}
	if t.Size.Cols > 0 {
		if err := c.Resize(t.Size); err != nil {
			return nil, fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
		}
	}
	return c, nil
}

// Files implements remote.Link.
func (l *link) Files(context.Context) (remote.Channel, error) { return nil, remote.ErrNotOffered }

// Forward implements remote.Link.
func (l *link) Forward(context.Context, string, int) (io.ReadWriteCloser, error) {
	return nil, remote.ErrNotOffered
}
