package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
)

// counters keeps failures.
type counters struct {
	mu     sync.Mutex
	rows   map[string]guard.Counter
	writes int
	swept  time.Time
	err    error
}

func (c *counters) Count(_ context.Context, key string, decide func(guard.Counter, bool) guard.Counter) (guard.Counter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return guard.Counter{}, c.err
	}
	row, found := c.rows[key]
	decide(row, found) // a store may run it twice
	if c.rows == nil {
		c.rows = make(map[string]guard.Counter)
	}
	c.rows[key] = decide(row, found)
	c.writes++
	return c.rows[key], nil
}

func (c *counters) Sweep(_ context.Context, before time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.swept = before
	return nil
}

// clock is a clock that a test turns.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newFailures(store *counters, c *clock) *guard.Failures {
	return &guard.Failures{Store: store, Now: c.Now, Threshold: 20, Window: time.Minute}
}

func fail(t *testing.T, f *guard.Failures, from string) guard.Verdict {
	t.Helper()
	v, err := f.Fail(context.Background(), "api_key", netip.MustParseAddr(from))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFail(t *testing.T) {
	t.Parallel()
	t.Run("blocks_an_address_after_twenty_failures_until_the_window_ends", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		f := newFailures(&counters{}, c)
		for i := range 20 {
			if v := fail(t, f, "192.0.2.1"); v.Blocked {
				t.Fatalf("blocked at failure %d", i+1)
			}
		}
		c.turn(20 * time.Second)
		if v := fail(t, f, "192.0.2.1"); !v.Blocked || v.RetryAfter != 40*time.Second {
			t.Errorf("failure 21: %+v", v)
		}
		c.turn(40*time.Second - time.Microsecond)
		if v := fail(t, f, "192.0.2.1"); !v.Blocked || v.RetryAfter != time.Microsecond {
			t.Errorf("just before the end: %+v", v)
		}
		c.turn(time.Microsecond)
		if v := fail(t, f, "192.0.2.1"); v.Blocked {
			t.Errorf("after the window: %+v", v)
		}
	})
	t.Run("leaves_the_neighbours_alone", func(t *testing.T) {
		t.Parallel()
		f := newFailures(&counters{}, newClock())
		for range 30 {
			fail(t, f, "192.0.2.1")
		}
		if v := fail(t, f, "192.0.2.2"); v.Blocked {
			t.Error("another address was blocked")
		}
		if v, err := f.Fail(context.Background(), "password", netip.MustParseAddr("192.0.2.1")); v.Blocked || err != nil {
			t.Errorf("another kind: %+v, %v", v, err)
		}
	})
	t.Run("counts_all_spellings_of_a_party_together", func(t *testing.T) {
		t.Parallel()
		for _, spellings := range [][]string{
			{"192.0.2.1", "::ffff:192.0.2.1"},
			{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1%eth0"},
		} {
			f := newFailures(&counters{}, newClock())
			for i := range 20 {
				fail(t, f, spellings[i%len(spellings)])
			}
			for _, one := range spellings {
				if v := fail(t, f, one); !v.Blocked {
					t.Errorf("%s is not blocked", one)
				}
			}
			if v := fail(t, f, "2001:db8:0:1::1"); v.Blocked {
				t.Error("another /64 was blocked")
			}
		}
	})
	t.Run("counts_who_has_no_address", func(t *testing.T) {
		t.Parallel()
		f := newFailures(&counters{}, newClock())
		var last guard.Verdict
		for range 21 {
			var err error
			if last, err = f.Fail(context.Background(), "api_key", netip.Addr{}); err != nil {
				t.Fatal(err)
			}
		}
		if !last.Blocked {
			t.Error("not blocked")
		}
	})
	t.Run("writes_nothing_more_in_a_flood", func(t *testing.T) {
		t.Parallel()
		store := &counters{}
		f := newFailures(store, newClock())
		for range 1000 {
			fail(t, f, "192.0.2.1")
		}
		if store.writes != 21 {
			t.Errorf("%d writes", store.writes)
		}
	})
	t.Run("counts_over_all_nodes", func(t *testing.T) {
		t.Parallel()
		store, c := &counters{}, newClock()
		nodes := []*guard.Failures{newFailures(store, c), newFailures(store, c)}
		passed := 0
		for i := range 100 {
			if v := fail(t, nodes[i%2], "192.0.2.1"); !v.Blocked {
				passed++
			}
		}
		if passed != 20 || store.writes != 22 {
			t.Errorf("%d passed, %d writes", passed, store.writes)
		}
	})
	t.Run("stays_right_when_more_addresses_are_blocked_than_it_remembers", func(t *testing.T) {
		t.Parallel()
		store := &counters{}
		f := newFailures(store, newClock())
		f.Threshold = 0
		for round := range 2 {
			for i := range 10_100 {
				if v := fail(t, f, fmt.Sprintf("10.0.%d.%d", i/256, i%256)); !v.Blocked {
					t.Fatalf("round %d, address %d is not blocked", round, i)
				}
			}
		}
		if store.writes < 10_200 || store.writes >= 20_200 {
			t.Errorf("%d writes: memory is not bounded, or not used", store.writes)
		}
	})
	t.Run("blocks_nobody_for_longer_when_the_clock_is_set_back", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		f := newFailures(&counters{}, c)
		for range 30 {
			fail(t, f, "192.0.2.1")
		}
		c.turn(-24 * time.Hour)
		if v := fail(t, f, "192.0.2.1"); v.Blocked {
			t.Errorf("%+v", v)
		}
	})
	t.Run("says_when_it_could_not_count", func(t *testing.T) {
		t.Parallel()
		away := errors.New("away")
		if _, err := newFailures(&counters{err: away}, newClock()).Fail(context.Background(), "api_key", netip.Addr{}); !errors.Is(err, away) {
			t.Error(err)
		}
	})
}

func TestFailures_Run_sweeps_what_is_over(t *testing.T) {
	store := &counters{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		f := &guard.Failures{Store: store, Now: time.Now}
		go func() { f.Run(ctx, time.Minute); close(done) }()
		start := time.Now()
		time.Sleep(90 * time.Second)
		cancel()
		<-done
		if !store.swept.After(start) || !store.swept.Before(start.Add(time.Minute)) {
			t.Errorf("swept %v", store.swept.Sub(start))
		}
	})
}
