package guard

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Counter is the row that counts failures under a key.
type Counter struct {
	Count int
	Ends  time.Time // when the window ends and the count means nothing any more
}

// FailureStore keeps counters of failures.
type FailureStore interface {
	// Count loads the counter of key (found says whether there is one), hands it to decide and stores
	// and returns what that returns, in one transaction. decide may run more than once.
	Count(ctx context.Context, key string, decide func(c Counter, found bool) Counter) (Counter, error)
	// Sweep removes counters that ended before that time.
	Sweep(ctx context.Context, before time.Time) error
}

// maxBlocked bounds the blocked keys that a node remembers; a key that it forgot costs one write more.
const maxBlocked = 10_000

// Failures counts failed attempts by address.
type Failures struct {
	Store     FailureStore
	Now       func() time.Time
	Threshold int           // failures that an address has in a window; 20 by default
	Window    time.Duration // how long failures are counted together; a minute by default

	mu      sync.Mutex
	blocked map[string]time.Time // until when
}

// Verdict says what a failed attempt leads to.
type Verdict struct {
	Blocked    bool
	RetryAfter time.Duration // until the window ends, when blocked
}

// Fail counts one failed attempt of that kind from an address. More than Threshold of them in a Window
// block the address until the window ends. A node that knows an address as blocked writes nothing.
func (f *Failures) Fail(ctx context.Context, kind string, from netip.Addr) (Verdict, error) {
	key, now := kind+" "+source(from), f.Now()
	if until, ok := f.blockedUntil(key, now); ok {
		return Verdict{Blocked: true, RetryAfter: until.Sub(now)}, nil
	}
	c, err := f.Store.Count(ctx, key, func(c Counter, found bool) Counter {
		return c.failed(found, now, f.Window)
	})
	if err != nil {
		return Verdict{}, fmt.Errorf("count failure: %w", err)
	}
	if c.Count <= f.Threshold {
		return Verdict{}, nil
	}
	f.block(key, c.Ends, now)
	return Verdict{Blocked: true, RetryAfter: c.Ends.Sub(now)}, nil
}

// Held says whether an address is blocked already, as far as this node knows. It counts nothing.
func (f *Failures) Held(kind string, from netip.Addr) Verdict {
	now := f.Now()
	until, ok := f.blockedUntil(kind+" "+source(from), now)
	if !ok {
		return Verdict{}
	}
	return Verdict{Blocked: true, RetryAfter: until.Sub(now)}
}

// failed returns the counter with one more failure. A window that ends later than one that begins now
// was written by a clock that has been set back since, and begins anew.
func (c Counter) failed(found bool, now time.Time, window time.Duration) Counter {
	if !found || !now.Before(c.Ends) || c.Ends.After(now.Add(window+clockSkew)) {
		return Counter{Count: 1, Ends: now.Add(window)}
	}
	c.Count++
	return c
}

// clockSkew is how far apart the clocks of two nodes may be: one that is further off is not ready.
const clockSkew = 2 * time.Second

// Run removes old counters every so often until ctx ends. Nothing depends on it but space.
func (f *Failures) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = f.Store.Sweep(ctx, f.Now().Add(-clockSkew)) // the next tick tries again
		}
	}
}

func (f *Failures) blockedUntil(key string, now time.Time) (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, ok := f.blocked[key]
	if ok && (!now.Before(until) || until.After(now.Add(f.Window+clockSkew))) {
		delete(f.blocked, key)
		return time.Time{}, false
	}
	return until, ok
}

func (f *Failures) block(key string, until, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blocked == nil {
		f.blocked = make(map[string]time.Time)
	}
	if len(f.blocked) >= maxBlocked {
		f.makeRoom(now)
	}
	f.blocked[key] = until
}

// makeRoom forgets those whose time is over, and one more where there is none.
func (f *Failures) makeRoom(now time.Time) {
	for key, until := range f.blocked {
		if !now.Before(until) {
			delete(f.blocked, key)
		}
	}
	for key := range f.blocked {
		if len(f.blocked) < maxBlocked {
			return
		}
		delete(f.blocked, key)
	}
}

// source is what one party commonly has: an IPv4 address, or a /64 of IPv6, of which any address is
// free to take.
func source(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return "unknown"
	case a.Is4():
		return a.String()
	}
	prefix, err := a.Prefix(64)
	if err != nil { // 64 bits fit every IPv6 address
		return a.String()
	}
	return prefix.String()
}
