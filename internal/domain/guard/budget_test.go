package guard_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
)

// buckets keeps budgets.
type buckets struct {
	mu     sync.Mutex
	rows   map[string]guard.BucketRow
	leases int
	err    error
}

func (b *buckets) Lease(_ context.Context, key string, decide func(guard.BucketRow, bool) guard.BucketRow) (guard.BucketRow, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return guard.BucketRow{}, b.err
	}
	row, found := b.rows[key]
	decide(row, found) // a store may run it twice
	if b.rows == nil {
		b.rows = make(map[string]guard.BucketRow)
	}
	b.rows[key] = decide(row, found)
	b.leases++
	return b.rows[key], nil
}

type taker interface {
	Helper()
	Fatal(...any)
}

func take(t taker, b *guard.Budget, size int) guard.State {
	t.Helper()
	s, err := b.Take(context.Background(), "p1", size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTake(t *testing.T) {
	t.Parallel()
	const size = 500
	t.Run("lets_500_through_and_refuses_the_next", func(t *testing.T) {
		t.Parallel()
		store := &buckets{}
		b := &guard.Budget{Store: store, Now: newClock().Now}
		for i := range size {
			s := take(t, b, size)
			if !s.Allowed || s.Limit != size || s.Remaining != size-1-i {
				t.Fatalf("request %d: %+v", i+1, s)
			}
		}
		s := take(t, b, size)
		if want := (guard.State{Limit: size, Reset: time.Hour, RetryAfter: 8 * time.Second}); s != want {
			t.Errorf("request 501: %+v", s)
		}
		if store.leases > size/10+1 {
			t.Errorf("%d visits to the store for %d requests", store.leases, size)
		}
	})
	t.Run("lets_one_through_when_it_has_grown_however_many_were_refused", func(t *testing.T) {
		t.Parallel()
		c, store := newClock(), &buckets{}
		b := &guard.Budget{Store: store, Now: c.Now}
		for range size {
			take(t, b, size)
		}
		take(t, b, size)
		before := store.leases
		for range 7199 {
			c.turn(time.Millisecond)
			if s := take(t, b, size); s.Allowed || s.RetryAfter < time.Second || s.RetryAfter > 8*time.Second {
				t.Fatalf("%+v", s)
			}
		}
		if store.leases != before {
			t.Errorf("%d visits to the store for requests that it had to refuse", store.leases-before)
		}
		c.turn(time.Millisecond)
		if s := take(t, b, size); !s.Allowed || s.Remaining != 0 {
			t.Errorf("after 7.2 s: %+v", s)
		}
		if s := take(t, b, size); s.Allowed {
			t.Errorf("and another: %+v", s)
		}
	})
	t.Run("says_how_long_until_it_is_full", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		b := &guard.Budget{Store: &buckets{}, Now: c.Now}
		if s := take(t, b, size); s.Reset != 8*time.Second { // 7.2 s for the one that is gone
			t.Errorf("%+v", s)
		}
		c.turn(time.Hour)
		if s := take(t, b, size); s.Remaining != 499 || s.Reset != 8*time.Second {
			t.Errorf("an hour later: %+v", s)
		}
	})
	t.Run("has_no_limit_at_zero", func(t *testing.T) {
		t.Parallel()
		store := &buckets{}
		b := &guard.Budget{Store: store, Now: newClock().Now}
		for range 1000 {
			if s := take(t, b, 0); s != (guard.State{Allowed: true}) {
				t.Fatalf("%+v", s)
			}
		}
		if store.leases != 0 {
			t.Errorf("%d visits", store.leases)
		}
	})
	t.Run("keeps_projects_apart", func(t *testing.T) {
		t.Parallel()
		b := &guard.Budget{Store: &buckets{}, Now: newClock().Now}
		take(t, b, 1)
		if s := take(t, b, 1); s.Allowed {
			t.Error("the second passed")
		}
		if s, err := b.Take(context.Background(), "p2", 1); !s.Allowed || err != nil {
			t.Errorf("another project: %+v, %v", s, err)
		}
	})
	t.Run("applies_another_size_at_once", func(t *testing.T) {
		t.Parallel()
		b := &guard.Budget{Store: &buckets{}, Now: newClock().Now}
		take(t, b, 500)
		if s := take(t, b, 3); !s.Allowed || s.Limit != 3 || s.Remaining != 2 {
			t.Errorf("made smaller: %+v", s)
		}
		for range 2 {
			take(t, b, 3)
		}
		if s := take(t, b, 3); s.Allowed {
			t.Errorf("made smaller and used up: %+v", s)
		}
		if s := take(t, b, 1000); s.Allowed || s.Limit != 1000 || s.RetryAfter != 4*time.Second {
			t.Errorf("made larger: it grows faster, and is not given what was used: %+v", s)
		}
	})
	t.Run("stays_full_when_a_full_bucket_is_made_larger", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		b := &guard.Budget{Store: &buckets{}, Now: c.Now}
		take(t, b, 10)
		c.turn(time.Hour)
		if s := take(t, b, 100); s.Remaining != 99 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("gives_what_is_held_back_when_it_stops", func(t *testing.T) {
		t.Parallel()
		store, c := &buckets{}, newClock()
		first := &guard.Budget{Store: store, Now: c.Now}
		take(t, first, size)
		if err := first.Return(context.Background()); err != nil {
			t.Fatal(err)
		}
		if s := take(t, &guard.Budget{Store: store, Now: c.Now}, size); s.Remaining != 498 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("saves_nothing_up_beyond_the_size", func(t *testing.T) {
		t.Parallel()
		c := newClock()
		b := &guard.Budget{Store: &buckets{}, Now: c.Now}
		take(t, b, size) // nine are held
		c.turn(24 * time.Hour)
		passed := 0
		for take(t, b, size).Allowed {
			passed++
		}
		if passed != size {
			t.Errorf("%d at once after a quiet day", passed)
		}
	})
	t.Run("recovers_from_a_time_far_ahead", func(t *testing.T) {
		t.Parallel()
		c, store := newClock(), &buckets{}
		b := &guard.Budget{Store: store, Now: c.Now}
		c.turn(365 * 24 * time.Hour)
		for range 11 {
			take(t, b, 10)
		}
		c.turn(-365 * 24 * time.Hour)
		take(t, &guard.Budget{Store: store, Now: c.Now}, 10)
		c.turn(6 * time.Minute)
		if s := take(t, &guard.Budget{Store: store, Now: c.Now}, 10); !s.Allowed {
			t.Errorf("%+v", s)
		}
	})
	t.Run("says_when_it_could_not_look", func(t *testing.T) {
		t.Parallel()
		away := errors.New("away")
		b := &guard.Budget{Store: &buckets{err: away}, Now: newClock().Now}
		if s, err := b.Take(context.Background(), "p1", size); !errors.Is(err, away) || s.Allowed {
			t.Errorf("%+v, %v", s, err)
		}
	})
	t.Run("holds_under_many_requests_at_once", func(t *testing.T) {
		t.Parallel()
		store, c := &buckets{}, newClock()
		nodes := []*guard.Budget{{Store: store, Now: c.Now}, {Store: store, Now: c.Now}}
		var passed atomic.Int64
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				for range 100 {
					s, err := nodes[i%2].Take(context.Background(), "p1", size)
					if err != nil {
						t.Error(err)
					}
					if s.Allowed {
						passed.Add(1)
					}
				}
			})
		}
		all.Wait()
		if passed.Load() != size {
			t.Errorf("%d passed", passed.Load())
		}
	})
}

// TestTake_never_allows_more_than_the_bucket: whatever the nodes, their clocks up to a second off, their
// ends and returns, all that is allowed is the bucket's size and what grew meanwhile; and the caller who
// waits as long as it was told is let through.
func TestTake_never_allows_more_than_the_bucket(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 2, 9, 10, 11, 60, 500, 7200}).Draw(t, "size")
		store, wall := &buckets{}, newClock()
		start := wall.Now()
		type node struct {
			*guard.Budget
			skew time.Duration
		}
		var nodes []*node
		fresh := func() *node {
			n := &node{skew: time.Duration(rapid.IntRange(-1000, 1000).Draw(t, "skew")) * time.Millisecond}
			n.Budget = &guard.Budget{Store: store, Now: func() time.Time { return wall.Now().Add(n.skew) }}
			return n
		}
		for range rapid.IntRange(1, 4).Draw(t, "nodes") {
			nodes = append(nodes, fresh())
		}
		passed := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(nodes)-1).Draw(t, "node")
			switch rapid.SampledFrom([]string{"take", "take", "take", "wait", "stop", "die", "set the clock"}).Draw(t, "step") {
			case "wait":
				wall.turn(time.Duration(rapid.IntRange(1, 600_000).Draw(t, "milliseconds")) * time.Millisecond)
			case "stop":
				if err := nodes[i].Return(context.Background()); err != nil {
					t.Fatal(err)
				}
				nodes[i] = fresh()
			case "die":
				nodes[i] = fresh()
			case "set the clock":
				nodes[i].skew = time.Duration(rapid.IntRange(-1000, 1000).Draw(t, "skew")) * time.Millisecond
			default:
				for range rapid.IntRange(1, 40).Draw(t, "requests") {
					s := take(t, nodes[i].Budget, size)
					if s.Allowed {
						passed++
					} else if s.RetryAfter < time.Second {
						t.Fatalf("refused without a time to wait: %+v", s)
					}
					if s.Remaining < 0 || s.Remaining > size || s.Reset < 0 || s.Limit != size {
						t.Fatalf("%+v", s)
					}
				}
			}
			grown := float64(size) * (wall.Now().Sub(start) + 2*time.Second).Hours()
			if float64(passed) > float64(size)+grown {
				t.Fatalf("%d passed, bucket %d, grown %.2f", passed, size, grown)
			}
		}
		one := nodes[0].Budget
		last := take(t, one, size)
		for last.Allowed {
			last = take(t, one, size)
		}
		for range 2 { // others may have taken what the first advice was about
			wall.turn(last.RetryAfter)
			last = take(t, one, size)
			if last.Allowed {
				return
			}
		}
		t.Fatalf("told twice how long to wait, and refused again: %+v", last)
	})
}
