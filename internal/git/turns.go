package git

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// maintenance is who takes the turns of Maintain.
const maintenance = "maintenance"

// stranger begins the names of callers that Stranger makes.
const stranger = "address "

// Stranger is the Caller of an Exchange with somebody who is not signed in: an IPv4 address, or the /64 network in which an IPv6 host takes as many
// addresses as it likes. Whoever has no IP address is one with all others who have none.
func Stranger(at netip.Addr) string {
	at = at.Unmap().WithZone("")
	bits := 64
	if at.Is4() {
		bits = 32
	}
	network, err := at.Prefix(bits)
	if err != nil || !network.IsValid() {
		return stranger + "unknown"
	}
	return stranger + network.String()
}

// shares are places that callers take and give back. One caller holds at most half of them and strangers together at most a quarter, but each of
// them one: so nobody keeps everybody else out, and strangers never keep out who is signed in.
type shares struct {
	each, strange int // the most that one caller, and that all strangers together may hold

	mu        sync.Mutex
	free      int
	held      map[string]int // by caller
	strangers int            // held by all of them
	waiting   []*waiter      // first come, first served, but for those whose share is used up
}

type waiter struct {
	caller string
	called chan struct{} // closed when the place is theirs
}

func newShares(all int) *shares {
	all = max(1, all)
	return &shares{each: max(1, all/2), strange: max(1, all/4), free: all, held: map[string]int{}}
}

// try takes a place when there is one now. Nobody is overtaken by it: while a place is free, all who wait have used up what is theirs.
func (s *shares) try(caller string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(caller)
}

// grant is try for who holds the lock.
func (s *shares) grant(caller string) bool {
	strange := strings.HasPrefix(caller, stranger)
	if s.free == 0 || s.held[caller] >= s.each || strange && s.strangers >= s.strange {
		return false
	}
	s.free--
	s.held[caller]++
	if strange {
		s.strangers++
	}
	return true
}

// giveBack gives places back and calls those who may have them now.
func (s *shares) giveBack(caller string, places int) {
	if places == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += places
	s.held[caller] -= places
	if strings.HasPrefix(caller, stranger) {
		s.strangers -= places
	}
	maps.DeleteFunc(s.held, func(_ string, n int) bool { return n == 0 })
	s.waiting = slices.DeleteFunc(s.waiting, func(w *waiter) bool {
		called := s.grant(w.caller)
		if called {
			close(w.called)
		}
		return called
	})
}

// wait takes a place, for which it waits no longer than it is told. It reports ErrBusy and ErrLeft.
func (s *shares) wait(ctx context.Context, caller string, longest time.Duration) error {
	w := &waiter{caller: caller, called: make(chan struct{})}
	s.mu.Lock()
	if s.grant(caller) {
		s.mu.Unlock()
		return nil
	}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	late := time.NewTimer(longest)
	defer late.Stop()
	why := ErrBusy
	select {
	case <-w.called:
		return nil
	case <-late.C:
	case <-ctx.Done():
		why = ErrLeft
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.waiting, w)
	if at < 0 {
		return nil // called at the last moment
	}
	s.waiting = slices.Delete(s.waiting, at, at+1)
	return why
}
