// Package sshd is the SSH door: it accepts connections, lets the user name decide what each is for, and
// speaks SSH for the domain.
//
// One connection is one goroutine under deadlines and one struct that holds all it knows. The user name
// of its first request says what it is for (route.go, purpose.go). Every method of authentication asks authorise first
// (auth.go); a key is proven by VerifiedPublicKeyCallback alone (rule S1). After authentication there is
// one session channel at most, but for remote sessions.
//
// Behind an identifier stands a key proof (proof.go), and in the channel the person reads how it went (desk.go, lines.go). Behind
// the name git stand repositories (git.go): a key on file signs, and the channel takes one git command (gitcounter.go). Behind the name of a person, with a
// device or without, stand remote sessions: the person is asked for what is due before they are in (visit.go), and then each channel and
// request is decided by itself (passage.go, counterpart.go). Names that mean nothing are refused.
package sshd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// Server is the SSH door. Its fields are set before Serve and not changed after.
type Server struct {
	Keyproof *keyproof.Service
	Git      *Git    // nil: nothing stands behind the name git
	Remote   *Remote // nil: nothing stands behind the names of people
	Audit    *audit.Service
	HostKeys []ssh.Signer // the same on every node
	Now      func() time.Time
	Log      *slog.Logger
	Limits   Limits

	PublicHost string // the host that people are told to connect to
	PublicPort int    // and its port

	Hooks Hooks

	setup   sync.Once
	config  ssh.ServerConfig
	waiting gate // who has not authenticated yet

	mu   sync.Mutex
	open map[*connection]struct{}
}

// Limits are what a stranger may occupy and how long people may take; all of them are settings
// (rules S7 and S20).
type Limits struct {
	Handshake  time.Duration // version and key exchange, and the PROXY header before them
	Auth       time.Duration // the whole authentication: touches and PINs take time
	Connection time.Duration // a key proof from connect to close
	Confirm    time.Duration // for typing y, from authentication on
	Channel    time.Duration // for opening a shell to read the result in, or sending a git command
	Leave      time.Duration // for the client to close after the result
	Drain      time.Duration // for a client of git to take in what is on its way and close
	Grace      time.Duration // for running attempts and git commands when the server stops
	Alive      time.Duration // how often a client of a session is asked whether it is there; who does not answer for as long is gone

	PerAddress int // connections of one address that have not authenticated
	Total      int // the same, of all addresses

	ChannelsPerConnection int // channels that one connection may ask for
	RequestsPerSecond     int // global and channel requests of one connection
}

// DefaultLimits are the documented defaults.
func DefaultLimits() Limits {
	return Limits{
		Handshake: 20 * time.Second, Auth: 120 * time.Second, Connection: 300 * time.Second,
		Confirm: 60 * time.Second, Channel: 10 * time.Second, Leave: 2 * time.Second, Drain: 2 * time.Minute, Grace: 10 * time.Second, Alive: 30 * time.Second,
		PerAddress: 20, Total: 1024,
		ChannelsPerConnection: 32, RequestsPerSecond: 100,
	}
}

// Hooks hear what happens, for metrics. Each may be nil.
type Hooks struct {
	Opened          func()                                   // a connection was accepted
	Closed          func(outcome string, took time.Duration) // it ended: one of the Outcome constants or a keyproof.Verdict
	HandshakeFailed func(reason string)                      // "no common algorithm", "timeout" or "protocol"
}

// How connections end that come to no verdict of a key proof.
const (
	OutcomeTooMany   = "too_many"  // a cap on unauthenticated connections
	OutcomeHandshake = "handshake" // version, key exchange or the protocol before authentication failed
	OutcomeLeft      = "left"      // it went without asking for anything
	OutcomeRefused   = "refused"   // no door behind its user name, or a code that is not valid
	OutcomeFailed    = "failed"    // the store, or a fault of ours
	OutcomeGit       = "git"       // a client of git signed in
	OutcomeRemote    = "remote"    // somebody signed in who wants to go to a device
	OutcomePerson    = "person"    // somebody signed in who wants to know where they may go
)

// Unauthenticated is how many connections have not authenticated yet.
func (s *Server) Unauthenticated() int { return s.waiting.count() }

// Serve accepts connections from l until ctx ends. Then it stops accepting, closes connections that
// do nothing, gives attempts and git commands Limits.Grace to end, closes what is left, and returns nil when the last
// connection has committed. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.setup.Do(s.prepare)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var connections sync.WaitGroup
	err := s.accept(ctx, l, &connections)
	l.Close()
	s.drain(&connections)
	return err
}

func (s *Server) prepare() {
	s.config = baseConfig(s.HostKeys)
	s.open = make(map[*connection]struct{})
	s.waiting = gate{perAddress: s.Limits.PerAddress, all: s.Limits.Total}
}

// accept only accepts: nothing is read here, or one slow client would keep all others waiting (rule S19).
func (s *Server) accept(ctx context.Context, l net.Listener, connections *sync.WaitGroup) error {
	base := context.WithoutCancel(ctx) // an attempt under way outlives the order to stop
	for pause := time.Duration(0); ; {
		socket, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			connections.Go(func() { s.serve(base, socket) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of file descriptors, or the client was gone already
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.Log.Warn("accept", "door", "sshd", "error", err, "retry_in", pause)
			wait(ctx, pause)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// drain ends the connections in peace.
func (s *Server) drain(connections *sync.WaitGroup) {
	s.closeAll(func(c *connection) bool { return !c.busy.Load() })
	late := time.AfterFunc(s.Limits.Grace, func() {
		s.closeAll(func(*connection) bool { return true })
	})
	defer late.Stop()
	connections.Wait()
}

func (s *Server) closeAll(which func(*connection) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if which(c) {
			c.socket.Close()
		}
	}
}

func (s *Server) keep(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
}

func (s *Server) forget(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}
