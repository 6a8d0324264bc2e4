package guard_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// used remembers what was used.
type used struct {
	mu    sync.Mutex
	until map[string]time.Time
	swept time.Time
	err   error
}

func (u *used) Use(_ context.Context, key string, until, now time.Time) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil || u.until[key].After(now) {
		return false, u.err
	}
	u.until[key] = until
	return true, nil
}

func (u *used) Used(_ context.Context, key string, now time.Time) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.until[key].After(now), u.err
}

func (u *used) SweepUsed(_ context.Context, before time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.swept = before
	return u.err
}

type captcha struct {
	*guard.Captcha
	store *used
	clock time.Time
}

func newSealer(t *testing.T) *secret.Sealer {
	t.Helper()
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := secret.OpenKeyset(master, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

func newCaptcha(t *testing.T) *captcha {
	t.Helper()
	c := &captcha{store: &used{until: map[string]time.Time{}}, clock: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
	c.Captcha = &guard.Captcha{Sealer: newSealer(t), Once: c.store, Now: func() time.Time { return c.clock }, Life: 5 * time.Minute}
	return c
}

func (c *captcha) challenge(t *testing.T) (id, text string) {
	t.Helper()
	id, err := c.New()
	if err != nil {
		t.Fatal(err)
	}
	text, ok := c.Text(id)
	if !ok {
		t.Fatal("a new challenge has no text")
	}
	return id, text
}

func (c *captcha) want(t *testing.T, id, answer string, right bool) {
	t.Helper()
	if got, err := c.Check(t.Context(), id, answer); got != right || err != nil {
		t.Errorf("%q: %v, %v, want %v", answer, got, err, right)
	}
}

func TestCaptcha(t *testing.T) {
	t.Parallel()
	t.Run("takes the right answer once, in either case", func(t *testing.T) {
		t.Parallel()
		c := newCaptcha(t)
		id, text := c.challenge(t)
		c.want(t, id, strings.ToLower(text), true)
		c.want(t, id, text, false)
	})
	t.Run("gives no second try after a wrong answer", func(t *testing.T) {
		t.Parallel()
		c := newCaptcha(t)
		for _, wrong := range []string{"", "x", "\u212a", strings.Repeat("A", 1000)} {
			id, text := c.challenge(t)
			c.want(t, id, wrong, false)
			c.want(t, id, text, false)
		}
	})
	t.Run("is over in time, to the moment", func(t *testing.T) {
		t.Parallel()
		c := newCaptcha(t)
		early, text := c.challenge(t)
		late, _ := c.challenge(t)
		c.clock = c.clock.Add(5*time.Minute - time.Microsecond)
		c.want(t, early, text, true)
		c.clock = c.clock.Add(time.Microsecond)
		if _, ok := c.Text(late); ok {
			t.Error("its picture is still drawn")
		}
		c.want(t, late, "", false)
		if len(c.store.until) != 1 {
			t.Errorf("%d rows", len(c.store.until))
		}
	})
	t.Run("folds no foreign letter into one of ours", func(t *testing.T) {
		t.Parallel()
		c := newCaptcha(t)
		c.Choose = func() string { return "KKKKKK" }
		id, _ := c.challenge(t)
		c.want(t, id, strings.Repeat("\u212a", 6), false) // the Kelvin sign
		id, _ = c.challenge(t)
		c.want(t, id, "kKkKkK", true)
	})
	t.Run("knows no id but its own, in one spelling", func(t *testing.T) {
		t.Parallel()
		c, other := newCaptcha(t), newCaptcha(t)
		id, text := c.challenge(t)
		foreign, _ := other.challenge(t)
		sealed, err := c.Sealer.Seal([]byte("short"), "captcha")
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []string{"", "x", foreign, id[1:], id + "A", id + "=", " " + id, id[:len(id)-1] + "_", string(sealed), strings.Repeat("A", 1<<20)} {
			if _, ok := c.Text(wrong); ok && wrong != id {
				t.Errorf("%.40q has a text", wrong)
			}
			if wrong != id {
				c.want(t, wrong, text, false)
			}
		}
		if len(c.store.until) != 0 {
			t.Errorf("unknown ids left %d rows", len(c.store.until))
		}
		c.want(t, id, text, true)
	})
	t.Run("says when nobody knows whether it was used", func(t *testing.T) {
		t.Parallel()
		c := newCaptcha(t)
		id, text := c.challenge(t)
		c.store.err = errors.New("no database")
		if right, err := c.Check(t.Context(), id, text); right || !errors.Is(err, c.store.err) {
			t.Errorf("%v, %v", right, err)
		}
	})
	t.Run("is right for one of many at once", func(t *testing.T) {
		t.Parallel()
		c := newCaptcha(t)
		id, text := c.challenge(t)
		var right atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if ok, err := c.Check(t.Context(), id, text); ok && err == nil {
					right.Add(1)
				}
			})
		}
		all.Wait()
		if right.Load() != 1 {
			t.Errorf("right for %d", right.Load())
		}
	})
}

// rule F10: texts come from the system's randomness, of letters that cannot be taken for one another.
func TestCaptcha_texts(t *testing.T) {
	t.Parallel()
	c := newCaptcha(t)
	texts, letters := map[string]bool{}, map[rune]int{}
	for range 2000 {
		id, text := c.challenge(t)
		if len(text) != 6 || strings.ContainsAny(text, "0OQ1IL2Z5S6G8BU") || strings.Contains(id, text) || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("%q of %q", text, id)
		}
		texts[text] = true
		for _, r := range text {
			letters[r]++
		}
	}
	if len(texts) < 1990 || len(letters) != 21 {
		t.Errorf("%d texts of %d letters", len(texts), len(letters))
	}
	for r, n := range letters {
		if n < 420 || n > 720 { // 571 are expected; this is six times the usual deviation
			t.Errorf("%c came %d times of 12000", r, n)
		}
	}
}

func TestSweepOnce_leaves_a_margin_for_clocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		u, begun := &used{until: map[string]time.Time{}}, time.Now()
		go guard.SweepOnce(ctx, u, time.Now, time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		u.mu.Lock()
		defer u.mu.Unlock()
		if want := begun.Add(time.Minute - time.Hour); !u.swept.Equal(want) {
			t.Errorf("swept before %v, want %v", u.swept, want)
		}
	})
}

// Whatever strangers write as an id opens nothing and breaks nothing.
func FuzzCaptcha(f *testing.F) {
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	if err != nil {
		f.Fatal(err)
	}
	sealer, err := secret.OpenKeyset(master, wrapped)
	if err != nil {
		f.Fatal(err)
	}
	c := guard.Captcha{Sealer: sealer, Once: &used{until: map[string]time.Time{}}, Now: time.Now, Life: time.Minute}
	id, err := c.New()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", id[:20], "AAAA", "====", "\x00"} {
		f.Add(seed, "answer")
	}
	f.Fuzz(func(t *testing.T, id, answer string) {
		if _, ok := c.Text(id); ok {
			t.Errorf("%q has a text", id)
		}
		if right, err := c.Check(t.Context(), id, answer); right || err != nil {
			t.Errorf("%q: %v, %v", id, right, err)
		}
	})
}
