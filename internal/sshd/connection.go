package sshd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// connection is all that the door knows about one connection. It belongs to the connection's goroutine;
// talk has it while that one waits.
type connection struct {
	server *Server
	ctx    context.Context
	socket net.Conn
	began  time.Time

	entered bool         // counted among those that have not authenticated
	place   netip.Prefix // and where, once that is known
	from    netip.Addr

	keyed   bool                  // the key exchange is over
	before  ssh.ServerPreAuthConn // says something to the client before it is in; nil before the key exchange
	user    string                // the first user name, which binds the connection
	code    bool                  // it has the form of an identifier
	purpose purpose               // what the connection is for, by that name
	busy    atomic.Bool           // it does what outlives the order to stop

	refused  bool // a refusal was recorded
	nones    int
	failures int
	outcome  string
}

// serve is the life of one connection. A panic ends this connection and no other (rule S5).
func (s *Server) serve(ctx context.Context, socket net.Conn) {
	c := &connection{server: s, ctx: ctx, socket: socket, began: time.Now(), outcome: OutcomeLeft}
	c.purpose = &stranger{connection: c}
	defer c.end()
	s.keep(c)
	if s.Hooks.Opened != nil {
		s.Hooks.Opened()
	}
	c.run()
}

func (c *connection) run() {
	s := c.server
	if c.entered = s.waiting.enter(); !c.entered {
		c.tooMany("too many connections in all")
		return
	}
	c.deadline(c.began.Add(s.Limits.Handshake))
	c.from = addressOf(c.socket) // may wait for the PROXY header
	place := host(c.from)
	if !s.waiting.claim(place) {
		c.tooMany("too many connections from this address")
		return
	}
	c.place = place

	config := s.config
	config.PreAuthConnCallback = c.exchanged
	config.BannerCallback = c.bind
	config.PublicKeyCallback = c.offered
	config.VerifiedPublicKeyCallback = c.verified
	config.KeyboardInteractiveCallback = c.interactive
	config.AuthLogCallback = c.answered
	conn, channels, requests, err := ssh.NewServerConn(c.socket, &config)
	c.leave()
	if err != nil {
		c.lost(err)
		return
	}
	c.deadline(c.began.Add(s.Limits.Connection))
	c.purpose.serve(conn, channels, requests)
}

// tooMany closes a connection over one of the caps (rule S7). It is closed before it is recorded: a slow
// database must not keep it open.
func (c *connection) tooMany(reason string) {
	c.outcome = OutcomeTooMany
	c.socket.Close()
	e := c.nobody().Event(c.server.Now(), Connect, access.Installation, audit.Refused)
	e.Reason = reason
	c.record(e)
}

// deadline ends reads and writes of the socket at that moment, and the connection with them: the login
// grace is no signal and no timer that could be late (rule S20).
func (c *connection) deadline(at time.Time) {
	if err := c.socket.SetDeadline(at); err != nil {
		c.socket.Close()
	}
}

// exchanged hears that the key exchange is over: from now on the client has time for touches and PINs.
func (c *connection) exchanged(before ssh.ServerPreAuthConn) {
	c.keyed, c.before = true, before
	until, last := time.Now().Add(c.server.Limits.Auth), c.began.Add(c.server.Limits.Connection)
	if last.Before(until) {
		until = last
	}
	c.deadline(until)
}

// leave gives the place among those who have not authenticated to somebody else.
func (c *connection) leave() {
	if c.entered {
		c.entered = false
		c.server.waiting.leave(c.place)
	}
}

// lost settles a connection that ended before authentication did.
func (c *connection) lost(err error) {
	if c.keyed {
		c.purpose.lost()
		return
	}
	c.outcome = OutcomeHandshake
	c.handshakeFailed(err)
}

func (c *connection) handshakeFailed(err error) {
	reason := "protocol"
	var none *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &none):
		reason = "no common algorithm"
		e := c.nobody().Event(c.server.Now(), Negotiate, access.Installation, audit.Refused)
		e.Reason = "no common " + none.What
		c.record(e)
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = "timeout"
	}
	if c.server.Hooks.HandshakeFailed != nil {
		c.server.Hooks.HandshakeFailed(reason)
	}
}

func (c *connection) nobody() access.Caller {
	return access.NobodyAt(c.from, "sshd", c.server.Now())
}

// record stores a refusal, folded with others like it.
func (c *connection) record(e audit.Event) {
	if err := c.server.Audit.Refuse(c.ctx, e); err != nil {
		c.server.Log.Error("record refusal", "door", "sshd", "error", err)
	}
}

// guard ends the connection when one of its goroutines panics. It must be deferred itself.
func (c *connection) guard() {
	if p := recover(); p != nil {
		c.panicked(p)
	}
}

func (c *connection) panicked(p any) {
	c.socket.Close()
	c.server.Log.Error("panic", "door", "sshd", "address", c.from.String(), "panic", p, "stack", string(debug.Stack()))
}

// end gives back all that the connection took. It must be deferred itself.
func (c *connection) end() {
	if p := recover(); p != nil {
		c.outcome = OutcomeFailed
		c.panicked(p)
	}
	c.socket.Close()
	c.leave()
	c.purpose.end()
	c.server.forget(c)
	took := time.Since(c.began)
	if c.server.Hooks.Closed != nil {
		c.server.Hooks.Closed(c.outcome, took)
	}
	c.log(took)
}

// log writes the one line about the connection: what came to nothing is worth a debug line alone.
func (c *connection) log(took time.Duration) {
	level, what, about := c.purpose.line()
	c.server.Log.LogAttrs(c.ctx, level, what, append([]slog.Attr{
		slog.String("door", "sshd"), slog.String("address", c.from.String()),
		slog.String("outcome", c.outcome), slog.Duration("took", took),
	}, about...)...)
}
