package secret

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// patient is a wait that no test reaches.
const patient = time.Hour

func TestHasher_checks_what_it_hashed(t *testing.T) {
	t.Parallel()
	h := NewHasher(2, patient)
	stored, err := h.Hash(t.Context(), New("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("stored as %q", stored)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horse ": false, "correct horse\x00": false} {
		ok, rehash, err := h.Check(t.Context(), stored, New(password))
		if ok != want || rehash || err != nil {
			t.Errorf("%q: %v, %v, %v", password, ok, rehash, err)
		}
	}
	if again, err := h.Hash(t.Context(), New("correct horse")); err != nil || again == stored {
		t.Errorf("the same salt twice, or %v", err)
	}
}

// TestHasher_password_bounds is rule S20: the cap, one below, one above, and NUL bytes.
func TestHasher_password_bounds(t *testing.T) {
	t.Parallel()
	h := NewHasher(1, patient)
	var derived atomic.Int32
	h.derive = func(password []byte, p phc) []byte {
		derived.Add(1)
		return derive(password, cheap(p))
	}
	for _, c := range []struct {
		name, password string
		want           error
	}{
		{"one below the cap", strings.Repeat("x", MaxPassword-1), nil},
		{"the cap", strings.Repeat("x", MaxPassword), nil},
		{"NUL bytes", "a\x00b\x00", nil},
		{"one above the cap", strings.Repeat("x", MaxPassword+1), ErrPasswordLong},
		{"empty", "", ErrPasswordEmpty},
	} {
		derived.Store(0)
		stored, err := h.Hash(t.Context(), New(c.password))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.want == nil {
			checkPrefixesFail(t, h, stored, c.password)
			continue
		}
		_, _, err = h.Check(t.Context(), decoy.String(), New(c.password))
		if !errors.Is(err, c.want) || fault.KindOf(err) != fault.Invalid || derived.Load() != 0 {
			t.Errorf("%s: %v after %d hashes", c.name, err, derived.Load())
		}
	}
}

// checkPrefixesFail shows that every byte counts: nothing stops at a NUL or at a length.
func checkPrefixesFail(t *testing.T, h *Hasher, stored, password string) {
	t.Helper()
	if ok, _, err := h.Check(t.Context(), stored, New(password)); !ok || err != nil {
		t.Errorf("the right password of %d bytes: %v, %v", len(password), ok, err)
	}
	for _, n := range []int{1, len(password) / 2, len(password) - 1} {
		if ok, _, err := h.Check(t.Context(), stored, New(password[:n])); ok || err != nil {
			t.Errorf("the first %d of %d bytes: %v, %v", n, len(password), ok, err)
		}
	}
}

// cheap keeps the tests of the queue from costing 19 MiB each.
func cheap(p phc) phc {
	p.cost = cost{memory: 8, time: 1, threads: 1}
	return p
}

// TestHasher_bounded is rule W13: however many ask, the pool's size runs at a time.
func TestHasher_bounded(t *testing.T) {
	t.Parallel()
	const slots, callers = 3, 50
	h := NewHasher(slots, patient)
	var waited, running, most atomic.Int32
	h.Waited = func(time.Duration) { waited.Add(1) }
	full := make(chan struct{}) // closed when all slots run at once, so the bound is reached and not only kept
	h.derive = func(password []byte, p phc) []byte {
		n := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		if n == slots {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-full
		return derive(password, cheap(p))
	}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if _, err := h.Hash(t.Context(), New("x")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() != slots || waited.Load() != callers {
		t.Errorf("%d hashes at a time and %d waits, want %d and %d", most.Load(), waited.Load(), slots, callers)
	}
}

func TestHasher_full_queue(t *testing.T) {
	t.Parallel()
	h := NewHasher(1, time.Millisecond)
	inside, leave := make(chan struct{}), make(chan struct{})
	h.derive = func(password []byte, p phc) []byte {
		close(inside)
		<-leave
		return derive(password, cheap(p))
	}
	done := make(chan error)
	go func() { _, err := h.Hash(t.Context(), New("first")); done <- err }()
	<-inside

	_, err := h.Hash(t.Context(), New("second"))
	if !errors.Is(err, ErrBusy) || fault.KindOf(err) != fault.Limited || fault.Text(err) != "too many sign-ins at once; try again in a moment" {
		t.Errorf("a full queue: %v", err)
	}
	h.wait = patient
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.CheckNobody(ctx, New("third")); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Limited {
		t.Errorf("a caller who left: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("who had the slot: %v", err)
	}
}

func TestHasher_gives_its_slot_back_after_a_panic(t *testing.T) {
	t.Parallel()
	h := NewHasher(1, time.Millisecond)
	h.derive = func([]byte, phc) []byte { panic("hostile") }
	func() {
		defer func() { _ = recover() }()
		_ = h.CheckNobody(t.Context(), New("x"))
	}()
	h.derive = func(password []byte, p phc) []byte { return derive(password, cheap(p)) }
	if err := h.CheckNobody(t.Context(), New("x")); err != nil {
		t.Error(err)
	}
}

func TestHasher_CheckNobody_costs_what_Check_costs(t *testing.T) {
	t.Parallel()
	h := NewHasher(1, patient)
	var asked []cost
	h.derive = func(_ []byte, p phc) []byte {
		asked = append(asked, p.cost)
		return p.hash
	}
	stored, err := h.Hash(t.Context(), New("x"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = h.Check(t.Context(), stored, New("x"))
	if err := errors.Join(err, h.CheckNobody(t.Context(), New("x"))); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 3 || asked[1] != asked[2] || asked[0] != today {
		t.Errorf("costs %v", asked)
	}
}

func TestHasher_asks_for_a_rehash_of_old_costs(t *testing.T) {
	t.Parallel()
	h := NewHasher(1, patient)
	old := phc{cost: cost{memory: 64, time: 1, threads: 1}, salt: Bytes(saltSize), hash: make([]byte, hashSize)}
	old.hash = derive([]byte("x"), old)
	ok, rehash, err := h.Check(t.Context(), old.String(), New("x"))
	if !ok || !rehash || err != nil {
		t.Errorf("right password: %v, %v, %v", ok, rehash, err)
	}
	ok, rehash, err = h.Check(t.Context(), old.String(), New("y"))
	if ok || rehash || err != nil {
		t.Errorf("wrong password: %v, %v, %v", ok, rehash, err)
	}
}
