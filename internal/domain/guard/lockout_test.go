package guard_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
)

// records keeps failed sign-ins.
type records struct {
	mu   sync.Mutex
	rows map[string]guard.Record
	err  error
}

func (s *records) Record(_ context.Context, key string) (guard.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[key], s.err
}

func (s *records) Strike(_ context.Context, key string, decide func(guard.Record) guard.Record) (guard.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.rows[key] = decide(s.rows[key])
	}
	return s.rows[key], s.err
}

func (s *records) Clear(_ context.Context, keys []string, _ ...audit.Event) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.rows)
	for _, key := range keys {
		delete(s.rows, key)
	}
	return n - len(s.rows), s.err
}

func (s *records) SweepRecords(context.Context, time.Time) error { return s.err }

type lock struct {
	*guard.Lockout
	store *records
	clock time.Time
}

func newLock() *lock {
	l := &lock{clock: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), store: &records{rows: map[string]guard.Record{}}}
	l.Lockout = guard.NewLockout(l.store, func() time.Time { return l.clock })
	return l
}

func (l *lock) stands(t *testing.T, w guard.Who) guard.Standing {
	t.Helper()
	s, err := l.Stands(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (l *lock) fail(t *testing.T, w guard.Who) guard.Standing {
	t.Helper()
	s, err := l.Fail(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func from(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, i}) }

func TestLockout_of_a_name(t *testing.T) {
	t.Parallel()
	t.Run("asks_for_a_CAPTCHA_from_the_fifth_failure_on", func(t *testing.T) {
		t.Parallel()
		l := newLock()
		for i := range byte(5) {
			if s := l.stands(t, guard.Who{Name: "dana", Address: from(i)}); s.Refused(guard.Who{}) {
				t.Fatalf("refused after %d", i)
			}
			s := l.fail(t, guard.Who{Name: "dana", Address: from(i)})
			if s.CaptchaDue != (i == 4) || s.Locked != (i == 4) || s.BackOff {
				t.Fatalf("%d: %+v", i, s)
			}
		}
		here := guard.Who{Name: "dana", Address: from(99)}
		if s := l.stands(t, here); !s.Refused(here) || !s.CaptchaDue {
			t.Errorf("%+v", s)
		}
		here.Solved = true
		if s := l.stands(t, here); s.Refused(here) || !s.CaptchaDue {
			t.Errorf("%+v", s)
		}
		if other := (guard.Who{Name: "other", Address: from(1)}); l.stands(t, other).Refused(other) {
			t.Error("another name is refused")
		}
	})
	t.Run("backs_off_twice_as_long_each_time", func(t *testing.T) {
		t.Parallel()
		l := newLock()
		l.CaptchaAfter = 0
		for n := 1; n <= 20; n++ {
			s := l.fail(t, guard.Who{Name: "dana", Address: from(byte(n))})
			want := time.Duration(0)
			if n >= 6 {
				want = min(time.Second<<(n-5), 15*time.Minute)
			}
			if s.RetryAfter != want || s.BackOff != (want > 0) || s.Locked != (n == 6) {
				t.Fatalf("failure %d: %+v, want %v", n, s, want)
			}
			l.clock = l.clock.Add(want)
			if again := l.stands(t, guard.Who{Name: "dana", Address: from(99)}); again.BackOff {
				t.Fatalf("failure %d: still backing off after %v", n, want)
			}
		}
	})
	t.Run("backs_off_30_seconds_at_most_with_a_right_CAPTCHA", func(t *testing.T) {
		t.Parallel()
		l := newLock()
		for n := range byte(15) {
			l.fail(t, guard.Who{Name: "dana", Address: from(n), Solved: true})
		}
		if s := l.stands(t, guard.Who{Name: "dana", Address: from(99), Solved: true}); s.RetryAfter != 30*time.Second {
			t.Errorf("%+v", s)
		}
	})
	t.Run("ends_with_quiet_a_sign_in_or_an_administrator", func(t *testing.T) {
		t.Parallel()
		l := newLock()
		who := guard.Who{Name: "dana", Address: from(1)}
		lock := func() {
			for range 6 {
				l.fail(t, who)
			}
		}
		lock()
		l.clock = l.clock.Add(24*time.Hour - time.Second)
		if !l.stands(t, who).Refused(who) {
			t.Error("forgotten too early")
		}
		l.clock = l.clock.Add(time.Second)
		if l.stands(t, who).Refused(who) {
			t.Error("not forgotten")
		}
		if s := l.fail(t, who); s.CaptchaDue {
			t.Error("counts on after a quiet day")
		}
		lock()
		if locked, err := l.Clear(t.Context(), audit.Event{}, "dana", "dana@example.test"); !locked || err != nil {
			t.Errorf("%v, %v", locked, err)
		}
		l.fail(t, who)
		if err := l.Succeed(t.Context(), who, l.stands(t, who)); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if s := l.fail(t, who); s.CaptchaDue {
				t.Error("failures before the sign-in count")
			}
		}
	})
	t.Run("keeps_nothing_that_a_stranger_typed", func(t *testing.T) {
		t.Parallel()
		l := newLock()
		l.fail(t, guard.Who{Name: "hunter2\x00", Address: from(1)})
		for key := range l.store.rows {
			if strings.Contains(key, "hunter2") {
				t.Errorf("%q", key)
			}
		}
	})
}

func TestLockout_of_an_address(t *testing.T) {
	t.Parallel()
	l := newLock()
	for n := 1; n <= 30; n++ {
		s := l.fail(t, guard.Who{Name: strings.Repeat("x", n), Address: from(1)})
		want := time.Duration(0)
		if n >= 20 {
			want = min(time.Second<<(n-20), time.Minute)
		}
		if s.RetryAfter != want {
			t.Fatalf("failure %d: %+v, want %v", n, s, want)
		}
	}
	here, there := guard.Who{Name: "new", Address: from(1)}, guard.Who{Name: "new", Address: from(2)}
	if !l.stands(t, here).BackOff || l.stands(t, there).BackOff {
		t.Error("the wrong address backs off")
	}
	l.clock = l.clock.Add(10*time.Minute + time.Second)
	if s := l.fail(t, guard.Who{Name: "again", Address: from(1)}); s.BackOff {
		t.Errorf("the window never ends: %+v", s)
	}
	six := guard.Who{Name: "a", Address: netip.MustParseAddr("2001:db8::1")}
	for n := range 20 {
		l.fail(t, guard.Who{Name: strings.Repeat("y", n), Address: six.Address})
	}
	six.Address = netip.MustParseAddr("2001:db8::ffff:2")
	if !l.stands(t, six).BackOff {
		t.Error("a neighbour in the same /64 is somebody else")
	}
}

// Nobody locks a program out from elsewhere.
func TestLockout_of_a_program(t *testing.T) {
	t.Parallel()
	l := newLock()
	app := guard.Who{Program: "a1", Address: from(1)}
	for range 7 {
		l.fail(t, app)
	}
	if s := l.stands(t, app); !s.BackOff || s.CaptchaDue || s.RetryAfter != 4*time.Second {
		t.Errorf("%+v", s)
	}
	for _, other := range []guard.Who{{Program: "a1", Address: from(2)}, {Program: "a2", Address: from(1)}, {Name: "a1", Address: from(1)}} {
		if s := l.stands(t, other); s.Refused(other) {
			t.Errorf("%+v: %+v", other, s)
		}
	}
}

func TestLockout_says_when_it_cannot_look(t *testing.T) {
	t.Parallel()
	l := newLock()
	l.store.err = errors.New("away")
	if _, err := l.Stands(t.Context(), guard.Who{Name: "x"}); err == nil {
		t.Error("stands")
	}
	if _, err := l.Fail(t.Context(), guard.Who{Name: "x"}); err == nil {
		t.Error("fails")
	}
}

// However a guesser spaces and spreads tries, without a CAPTCHA five are looked at in a day.
func TestLockout_lets_five_guesses_a_day_pass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		l := newLock()
		begun, looked := l.clock, 0
		for range rapid.IntRange(1, 100).Draw(r, "tries") {
			l.clock = l.clock.Add(time.Duration(rapid.IntRange(0, 600).Draw(r, "seconds")) * time.Second)
			who := guard.Who{Name: "dana", Address: from(byte(rapid.IntRange(0, 255).Draw(r, "from")))}
			s, err := l.Stands(t.Context(), who)
			if err != nil {
				r.Fatal(err)
			}
			if s.Refused(who) {
				continue
			}
			looked++
			if _, err := l.Fail(t.Context(), who); err != nil {
				r.Fatal(err)
			}
		}
		if looked > 5 && l.clock.Sub(begun) < 24*time.Hour {
			r.Fatalf("%d were looked at", looked)
		}
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := guard.Gate{Width: 2}
		var mu sync.Mutex
		inside, most := 0, 0
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				leave, err := g.Enter(t.Context(), "dana")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				inside--
				mu.Unlock()
				leave()
			})
		}
		time.Sleep(time.Millisecond)
		leave, err := g.Enter(t.Context(), "other") // has a lane of its own
		if err != nil {
			t.Fatal(err)
		}
		leave()
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := g.Enter(short, "dana"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		wg.Wait()
		if most != 2 {
			t.Errorf("%d at a time", most)
		}
	})
}

// What names nobody counts for the address it comes from, and for no name: an empty one would be everybody's.
func TestLockout_counts_what_has_no_name_by_its_address_alone(t *testing.T) {
	t.Parallel()
	l := newLock()
	for range 19 {
		if s := l.fail(t, guard.Who{Address: from(1)}); s.BackOff || s.CaptchaDue || s.Locked {
			t.Fatalf("%+v", s)
		}
	}
	for address, blocked := range map[byte]bool{1: true, 2: false} {
		if s := l.fail(t, guard.Who{Address: from(address)}); s.BackOff != blocked || s.CaptchaDue {
			t.Errorf("%d: %+v", address, s)
		}
	}
}
