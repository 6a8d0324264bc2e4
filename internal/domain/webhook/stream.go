package webhook

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Chain is the sealed audit log as followers read it.
type Chain interface {
	// Head returns the position of the last sealed entry, 0 before the first.
	Head(ctx context.Context) (int64, error)
	// Entries returns up to limit entries with a position above after, in order.
	Entries(ctx context.Context, after int64, limit int) ([]audit.Entry, error)
	// EntriesConcerning returns those that concern the sign-ins of a user, likewise.
	EntriesConcerning(ctx context.Context, user string, after int64, limit int) ([]audit.Entry, error)
}

// Stream lets callers follow the sealed audit log as it grows: everything by right, and their own sign-ins everybody.
type Stream struct {
	Chain  Chain
	Access *access.Service
	Living func(ctx context.Context, by access.Caller) error // reports what is wrong with the caller's session by now, nil while it lives; it does not count as a use

	Look    time.Duration // how often session and right are looked at again, and the chain without a wake
	Beat    time.Duration // how long Next waits for an event
	PerUser int           // streams that one principal may have open on this node

	mu      sync.Mutex
	open    map[access.Subject]int
	changed chan struct{} // closed by Wake
	stopped chan struct{} // closed by Stop
}

// Start prepares the stream; call it before everything else.
func (s *Stream) Start() {
	s.open, s.changed, s.stopped = map[access.Subject]int{}, make(chan struct{}), make(chan struct{})
}

// Wake tells all followers that the chain may have grown.
func (s *Stream) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Stop ends all that follow, and those who come later: a server that stops waits for its requests.
func (s *Stream) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stopped:
	default:
		close(s.stopped)
	}
}

// Open returns how many follow on this node.
func (s *Stream) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, of := range s.open {
		n += of
	}
	return n
}

// What ends a Tail.
var (
	ErrStopped  = fault.New(fault.Expired, "the server stops")
	ErrNoRight  = fault.New(fault.Denied, "the right to follow all events was taken away")
	errFollowed = fault.New(fault.Limited, "you follow the events too often at once; end one of the others first")
)

// FromEnd is the position from which Follow gives nothing that happened before.
const FromEnd = -1

// maxTail is how many entries are read at once.
const maxTail = 256

// Tail is one follower. It is not for use by several goroutines at once.
type Tail struct {
	stream   *Stream
	by       access.Caller
	all      bool // everything, not one's own sign-ins alone
	types    Patterns
	position int64
	look     *time.Ticker
	closed   bool
}

// Live is one event as a follower gets it.
type Live struct {
	Position int64
	Body     json.RawMessage // as webhooks of subscriptions get it
}

// Follow begins behind the position after, or at the end of the chain for FromEnd and for what lies beyond it: a position of another installation
// must not wait for ever. No patterns are all events. Whoever may read events gets all, users without that right what concerns their own sign-ins.
// Close the tail.
func (s *Stream) Follow(ctx context.Context, by access.Caller, types Patterns, after int64) (*Tail, error) {
	if err := types.Check("types"); err != nil {
		return nil, err
	}
	if len(types) == 0 {
		types = Patterns{"*"}
	}
	d, err := s.Access.Decide(ctx, by, access.EventRead, access.Installation)
	if err != nil {
		return nil, err
	}
	t := &Tail{stream: s, by: by, all: d.Allowed, types: types, position: after}
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	head, err := s.Chain.Head(ctx)
	if err != nil {
		return nil, err
	}
	if after < 0 || after > head {
		t.position = head
	}
	if !s.enter(by) {
		return nil, errFollowed
	}
	t.look = time.NewTicker(s.Look)
	return t, nil
}

func (s *Stream) enter(by access.Caller) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := access.Subject{Kind: by.Kind, ID: by.ID}
	if s.open[who] >= s.PerUser {
		return false
	}
	s.open[who]++
	return true
}

// Close ends the follower. A second call does nothing.
func (t *Tail) Close() {
	if t.closed {
		return
	}
	t.closed = true
	t.look.Stop()
	s, who := t.stream, access.Subject{Kind: t.by.Kind, ID: t.by.ID}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[who]--; s.open[who] <= 0 {
		delete(s.open, who)
	}
}

// Position is up to where the follower has been told everything.
func (t *Tail) Position() int64 { return t.position }

// Next waits for events and returns them in order; none after Beat without any. It reports ErrStopped, what Living says, ErrNoRight, or the end of ctx.
func (t *Tail) Next(ctx context.Context) ([]Live, error) {
	beat := time.NewTimer(t.stream.Beat)
	defer beat.Stop()
	for {
		changed, ended := t.stream.signals()
		select {
		case <-ended:
			return nil, ErrStopped
		case <-t.look.C: // also when there is always something to tell
			if err := t.check(ctx); err != nil {
				return nil, err
			}
		default:
		}
		found, more, err := t.read(ctx)
		if err != nil || len(found) > 0 {
			return found, err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ended:
			return nil, ErrStopped
		case <-beat.C:
			return nil, nil
		case <-changed:
		case <-t.look.C:
			if err := t.check(ctx); err != nil {
				return nil, err
			}
		}
	}
}

func (s *Stream) signals() (changed, stopped <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed, s.stopped
}

// check looks whether the caller may still follow: the session lives, and the right is there.
func (t *Tail) check(ctx context.Context) error {
	s := t.stream
	if err := s.Living(ctx, t.by); err != nil {
		return err
	}
	if !t.all {
		return s.Access.Require(ctx, t.by, access.SessionRead, access.SessionOf(access.Subject{Kind: t.by.Kind, ID: t.by.ID}, ""))
	}
	d, err := s.Access.Decide(ctx, t.by, access.EventRead, access.Installation)
	if err == nil && !d.Allowed {
		err = ErrNoRight
	}
	return err
}

// read takes the next entries and keeps those that the follower asked for. It reports whether there may be more.
func (t *Tail) read(ctx context.Context) (found []Live, more bool, err error) {
	var entries []audit.Entry
	if t.all {
		entries, err = t.stream.Chain.Entries(ctx, t.position, maxTail)
	} else {
		entries, err = t.stream.Chain.EntriesConcerning(ctx, t.by.ID, t.position, maxTail)
	}
	if err != nil {
		return nil, false, err
	}
	for _, entry := range entries {
		t.position = entry.Position
		if m, err := messageOf(entry); err == nil && t.types.Match(m.Type) { // one that was spoiled in the database is what `gatehouse audit verify` tells of
			found = append(found, Live{entry.Position, m.body()})
		}
	}
	return found, len(entries) == maxTail, nil
}
