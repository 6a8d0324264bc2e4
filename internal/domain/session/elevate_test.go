package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const lasting = 10 * time.Minute

// own reads the session as the store has it.
func (w *world) own(t *testing.T, by access.Caller) session.Session {
	t.Helper()
	x, err := w.Own(t.Context(), by)
	is(t, err, nil)
	return x
}

// Rule F11: unlocking, elevation and enrolment give a cookie another value; a bearer keeps its own.
func TestUnlock_Elevate_and_Enrolled_change_a_cookie(t *testing.T) {
	t.Parallel()
	for _, transport := range []session.Transport{session.Bearer, session.Cookie} {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			token, by := w.start(t, access.User, "dana", session.New{Transport: transport})
			token = w.raised(t, token, transport, func() (secret.String, session.Session, error) { return w.Unlock(t.Context(), by, lasting) })
			token = w.raised(t, token, transport, func() (secret.String, session.Session, error) { return w.Elevate(t.Context(), by, lasting) })
			w.raised(t, token, transport, func() (secret.String, session.Session, error) { return w.Enrolled(t.Context(), by, true) })
		})
	}
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, by := w.start(t, access.User, "dana", session.New{})
	w.clock = w.clock.Add(time.Hour)
	_, _, err := w.Unlock(t.Context(), by, lasting)
	is(t, err, nil)
	x := w.own(t, by)
	if !x.Unlocked.Equal(w.clock.Add(lasting)) || !x.Elevated.IsZero() {
		t.Errorf("%+v", x)
	}
	is(t, access.Fresh(x.Caller(here, "", ""), w.clock, lasting), nil)
	is(t, access.Fresh(x.Caller(here, "", ""), w.clock.Add(lasting), lasting), access.ErrNotFresh)

	is(t, w.Extend(t.Context(), by, time.Hour), nil) // it does not roll
	if again := w.own(t, by); !again.Unlocked.Equal(x.Unlocked) || !again.Elevated.IsZero() {
		t.Errorf("%+v", again)
	}
	is(t, w.Lock(t.Context(), by), nil)
	is(t, w.Lock(t.Context(), by), nil)
	is(t, access.Fresh(w.own(t, by).Caller(here, "", ""), w.clock, lasting), access.ErrNotFresh)
}

func TestExtend_rolls_while_it_lasts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, by := w.start(t, access.User, "dana", session.New{})
	_, _, err := w.Elevate(t.Context(), by, lasting)
	is(t, err, nil)
	w.clock = w.clock.Add(lasting - time.Second)
	is(t, w.Extend(t.Context(), by, lasting), nil)
	if x := w.own(t, by); !x.Elevated.Equal(w.clock.Add(lasting)) {
		t.Errorf("until %v at %v", x.Elevated, w.clock)
	}
	w.clock = w.clock.Add(lasting)
	is(t, w.Extend(t.Context(), by, lasting), nil)
	if x := w.own(t, by); x.Elevated.After(w.clock) {
		t.Errorf("it came back: until %v at %v", x.Elevated, w.clock)
	}
}

// Rule F7: wrong proofs in a row are bounded, and a right one ends the row.
func TestMiss(t *testing.T) {
	t.Parallel()
	w := newWorld()
	token, by := w.start(t, access.User, "dana", session.New{})
	for round := range 2 {
		for range 4 {
			if ended, err := w.Miss(t.Context(), by, 5); ended || err != nil {
				t.Fatalf("round %d: %v, %v", round, ended, err)
			}
		}
		if round == 0 {
			_, _, err := w.Elevate(t.Context(), by, lasting)
			is(t, err, nil)
		}
	}
	if ended, err := w.Miss(t.Context(), by, 5); !ended || err != nil {
		t.Fatalf("the fifth: %v, %v", ended, err)
	}
	_, err := w.check(t, token)
	is(t, err, session.ErrInvalid)
	_, err = w.Miss(t.Context(), by, 5)
	is(t, err, session.ErrInvalid)
}

func TestEnrolled(t *testing.T) {
	t.Parallel()
	t.Run("makes_an_enrol_only_session_active", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, by := w.start(t, access.User, "dana", session.New{State: session.EnrolOnly})
		_, x, err := w.Enrolled(t.Context(), by, true)
		is(t, err, nil)
		if x.State != session.Active {
			t.Errorf("%+v", x)
		}
	})
	t.Run("ends_an_elevation_by_the_password_alone_and_no_other", func(t *testing.T) {
		t.Parallel()
		for _, first := range []bool{true, false} {
			w := newWorld()
			_, by := w.start(t, access.User, "dana", session.New{})
			_, _, err := w.Elevate(t.Context(), by, lasting)
			is(t, err, nil)
			_, x, err := w.Enrolled(t.Context(), by, first)
			is(t, err, nil)
			if x.Elevated.IsZero() != first || x.Unlocked.IsZero() == first { // it counts for an unlocking still
				t.Errorf("first %v: %+v", first, x)
			}
		}
	})
}

func TestStart_elevated(t *testing.T) {
	t.Parallel()
	for state, elevated := range map[session.State]bool{session.EnrolOnly: true, session.Active: true, session.Pending: false} {
		w := newWorld()
		_, by := w.start(t, access.User, "dana", session.New{State: state, Elevated: lasting})
		x, err := w.Own(t.Context(), by)
		is(t, err, nil)
		if x.Elevated.IsZero() == elevated || elevated && x.Elevated.Sub(x.Created) != lasting {
			t.Errorf("%s: %+v", state, x)
		}
	}
}

// What waits for its second factor, a program, and what is over settle nothing.
func TestSettling_needs_a_living_session_of_a_person(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T, *world) access.Caller{
		"pending": func(t *testing.T, w *world) access.Caller {
			_, by := w.start(t, access.User, "dana", session.New{State: session.Pending})
			return by
		},
		"program": func(t *testing.T, w *world) access.Caller {
			_, by := w.start(t, access.Application, "ci", session.New{})
			return by
		},
		"ended": func(t *testing.T, w *world) access.Caller {
			_, by := w.start(t, access.User, "dana", session.New{})
			is(t, w.Terminate(t.Context(), by), nil)
			return by
		},
		"disabled": func(t *testing.T, w *world) access.Caller {
			_, by := w.start(t, access.User, "dana", session.New{})
			w.shut["dana"] = true
			return by
		},
		"none": func(_ *testing.T, w *world) access.Caller { return w.who(access.User, "dana") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			by := begin(t, w)
			for what, do := range map[string]func() error{
				"Unlock":   func() error { _, _, err := w.Unlock(t.Context(), by, lasting); return err },
				"Lock":     func() error { return w.Lock(t.Context(), by) },
				"Enrolled": func() error { _, _, err := w.Enrolled(t.Context(), by, true); return err },
				"Elevate":  func() error { _, _, err := w.Elevate(t.Context(), by, lasting); return err },
			} {
				if err := do(); !errors.Is(err, session.ErrNotActive) && !errors.Is(err, session.ErrInvalid) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// A session is its holder's: another caller who names it has none.
func TestOwn(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, by := w.start(t, access.User, "dana", session.New{})
	w.own(t, by)
	other := by
	other.ID = "other"
	_, err := w.Own(t.Context(), other)
	is(t, err, session.ErrInvalid)
	_, err = w.Own(t.Context(), w.who(access.User, "dana"))
	is(t, err, session.ErrInvalid)
}
