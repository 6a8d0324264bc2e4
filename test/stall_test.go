package test

import (
	"sync"
	"testing"
	"time"
)

// stalls is when a process stood still: nobody ran it, though it was due. A promise of the product that is timed by a test is one for a machine that
// runs, so such time does not count. Nothing else is given: who is late by itself is late.
type stalls struct {
	mu    sync.Mutex
	slept time.Time      // when the watch last went to sleep
	found [][2]time.Time // from and until, oldest first
}

// still are the stalls of the tests.
var still stalls

// stallTick is how long the watch sleeps, and the least delay that counts: on a free machine there is none.
const stallTick = 20 * time.Millisecond

// watch notes stalls as long as the tests run.
func (s *stalls) watch() {
	for now := time.Now(); ; now = time.Now() {
		s.mu.Lock()
		s.slept = s.noted(now)
		s.mu.Unlock()
		time.Sleep(stallTick) // how late it wakes is what is measured
	}
}

// noted notes what the time until now was, if that was a stall, and returns now.
func (s *stalls) noted(now time.Time) time.Time {
	if due := s.slept.Add(stallTick); !s.slept.IsZero() && now.Sub(due) >= stallTick {
		s.found = append(s.found, [2]time.Time{due, now})
	}
	return now
}

// between is how long it stood still in that time. Who asks may be awake before the watch is.
func (s *stalls) between(began, ended time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slept = s.noted(time.Now())
	for i := len(s.found) - 1; i >= 0 && s.found[i][1].After(began); i-- {
		from, until := s.found[i][0], s.found[i][1]
		if from.Before(began) {
			from = began
		}
		if until.After(ended) {
			until = ended
		}
		sum += max(0, until.Sub(from))
	}
	return sum
}

// took is how long it is since something began, without the time for which the test stood still.
func took(began time.Time) time.Duration { return tookUntil(began, time.Now()) }

// tookUntil is took where it has ended already.
func tookUntil(began, ended time.Time) time.Duration {
	return ended.Sub(began) - still.between(began, ended)
}

// A stall counts where it falls into the time that is asked for, and there alone; a short delay is none.
func TestStalls(t *testing.T) {
	t.Parallel()
	var s stalls
	began := time.Now()
	at := func(in time.Duration) time.Time { return began.Add(in) }
	for _, woke := range []time.Duration{0, 30 * time.Millisecond, time.Second, 3 * time.Second} {
		s.slept = s.noted(at(woke))
	}
	s.slept = at(time.Hour) // it sleeps
	for _, c := range []struct{ from, until, want time.Duration }{
		{0, 40 * time.Millisecond, 0},
		{0, time.Second, 950 * time.Millisecond},
		{2 * time.Second, 10 * time.Second, time.Second},
		{500 * time.Millisecond, 1500 * time.Millisecond, 980 * time.Millisecond},
		{3 * time.Second, 10 * time.Second, 0},
	} {
		if got := s.between(at(c.from), at(c.until)); got != c.want {
			t.Errorf("%v from %v until %v, want %v", got, c.from, c.until, c.want)
		}
	}
}
