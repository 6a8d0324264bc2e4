package storetest_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Once{DB: db}, t.Context()
		use := func(key string, until, now time.Time, want bool) {
			t.Helper()
			first, err := s.Use(ctx, key, until, now)
			must(t, err)
			if first != want {
				t.Errorf("%q is first: %v, want %v", key, first, want)
			}
		}
		until := start.Add(time.Minute)
		used := func(key string, now time.Time, want bool) {
			t.Helper()
			if got, err := s.Used(ctx, key, now); err != nil || got != want {
				t.Errorf("%q is used: %v, %v, want %v", key, got, err, want)
			}
		}
		used("code a", start, false)
		use("code a", until, start, true)
		used("code a", start, true)
		used("code a", until.Add(-time.Microsecond), true)
		used("code a", until, false)
		used("code A", start, false)
		use("code a", until, start, false)
		use("code A", until, start, true)
		use("code a", until.Add(time.Hour), until.Add(-time.Microsecond), false) // a refused use prolongs nothing
		use("code a", until.Add(time.Hour), until, true)                         // what is over counts as unused
		use("code a", until.Add(time.Hour), until, false)
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM used_once WHERE length(key) = 32`); n != 2 {
			t.Errorf("%d digests", n)
		}

		must(t, s.SweepUsed(ctx, until))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM used_once`); n != 2 {
			t.Errorf("%d rows, though none was over before that time", n)
		}
		must(t, s.SweepUsed(ctx, until.Add(time.Microsecond)))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM used_once`); n != 1 {
			t.Errorf("%d rows after sweeping", n)
		}
	})
}

// rules F5, F7: two nodes that see the same code at the same moment never both take it, whether it is new or its last use is over.
func TestOnce_of_many_at_once_one_is_first(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		for round := range 5 {
			now := start.Add(time.Duration(round) * time.Hour)
			var first atomic.Int32
			var all sync.WaitGroup
			for i := range 12 {
				s := store.Once{DB: []*store.DB{one, two}[i%2]}
				all.Go(func() {
					ok, err := s.Use(t.Context(), "the code", now.Add(time.Minute), now)
					if err != nil {
						t.Error(err)
					}
					if ok {
						first.Add(1)
					}
				})
			}
			all.Wait()
			if first.Load() != 1 {
				t.Errorf("round %d: %d were first", round, first.Load())
			}
		}
	})
}
