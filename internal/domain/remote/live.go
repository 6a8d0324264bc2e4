package remote

import (
	"context"
	"io"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// The faults of a session that lives.
var (
	ErrFeature    = fault.New(fault.Denied, "the grant of this session does not give that")
	ErrNotOffered = fault.New(fault.Conflict, "the target's protocol has no such thing")
	ErrUnrecorded = fault.New(fault.Conflict, "the session cannot be recorded, so it is not carried")
	ErrChannels   = fault.New(fault.Limited, "the session has as many channels open as are allowed")
	ErrDraining   = fault.New(fault.Conflict, "this node is being stopped; start the session again")
)

// Live is a session that this node carries, from its start to its end. All methods may be called at a time.
type Live struct{}

// Notice is something that the person in a session is to be told.
type Notice struct {
	Text   string
	At     time.Time
	EndsAt time.Time // when the session will end because of it; zero: it will not
}

// Start takes a waiting session to its target: the recorder begins, the session becomes active, the credential is lent, and the target is dialled, in this
// order. first is the size of the person's terminal, for who looks on before one is open. An error has ended the session, but for ErrNotWaiting, ErrOver,
// ErrElsewhere and ErrDraining; it is one of these, ErrUnrecorded, ErrUnreachable, ErrTargetLogin, ErrHostKey or ErrNoAccess, or Internal. ctx
// bounds the start alone.
func (s *Service) Start(ctx context.Context, x Session, first Size) (*Live, error) {
	return nil, ErrNotWaiting
}

// Lived returns a session that this node carries.
func (s *Service) Lived(id string) (*Live, bool) { return nil, false }

// Session is the session as it became active.
func (l *Live) Session() Session { return Session{} }

// Terminal opens a shell, or runs one command; an scp is asked for as Files. It reports ErrFeature, ErrNotOffered, ErrChannels and ErrOver. What
// is read and written is recorded before it is handed on. The channel has WriteTo, so that io.Copy needs no buffer.
func (l *Live) Terminal(ctx context.Context, t Terminal) (Channel, error) { return nil, ErrOver }

// Files opens the target's SFTP subsystem. It reports what Terminal does.
func (l *Live) Files(ctx context.Context) (Channel, error) { return nil, ErrOver }

// Forward connects from the target to another place. It reports what Terminal does. What it returns has CloseWrite where the target's protocol does.
func (l *Live) Forward(ctx context.Context, host string, port int) (io.ReadWriteCloser, error) {
	return nil, ErrOver
}

// Refuse keeps, in the recording and the audit log, that something was asked for which a door does not do at all: a kind such as agent, x11, subsystem,
// tcpip-forward or env, and what of it.
func (l *Live) Refuse(kind, text string) {}

// Notices is what the person is to be told. One reader at a time; what nobody reads in time is lost, oldest first. It is never closed.
func (l *Live) Notices() <-chan Notice { return nil }

// Watchers are the names of those who look on.
func (l *Live) Watchers() []string { return nil }

// Done is closed when the session is over: nothing is carried any more. Ended says why then; it is "" before.
func (l *Live) Done() <-chan struct{} { return nil }

// Ended is why the session is over, or "".
func (l *Live) Ended() Reason { return "" }

// Close ends the session, once: the first reason counts. by names who wanted it; empty is the person, or nobody. It does not wait.
func (l *Live) Close(why Reason, by string) {}
