package session_test

import (
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
)

func TestStart_until(t *testing.T) {
	t.Parallel()
	t.Run("a_session_ends_when_the_one_at_the_provider_does_however_busy_it_is", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		until := w.clock.Add(time.Hour)
		token, by := w.start(t, access.User, "dana", session.New{Provider: "corp", ProviderSession: session.AtProvider("there"), Until: until})
		for w.clock.Before(until.Add(-time.Second)) {
			x, err := w.check(t, token)
			is(t, err, nil)
			is(t, w.Refresh(t.Context(), by), nil)
			if !x.Deadline.Equal(until) || x.ExpiresIn(w.clock) > int(until.Sub(w.clock)/time.Second) || x.ProviderSession != session.AtProvider("there") {
				t.Fatalf("%+v", x)
			}
			w.clock = w.clock.Add(10*time.Minute - time.Second)
		}
		w.clock = until
		_, err := w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
	t.Run("one_that_may_last_longer_than_others_does_not", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, _ := w.start(t, access.User, "dana", session.New{Until: w.clock.Add(30 * 24 * time.Hour)})
		x, err := w.check(t, token)
		is(t, err, nil)
		if !x.Deadline.Equal(w.clock.Add(7 * 24 * time.Hour)) {
			t.Errorf("ends at %v", x.Deadline)
		}
	})
	t.Run("what_waits_for_a_second_factor_keeps_the_end", func(t *testing.T) {
		t.Parallel()
		for _, state := range []session.State{session.Pending, session.EnrolOnly} {
			w := newWorld()
			until := w.clock.Add(time.Hour)
			_, by := w.start(t, access.User, "dana", session.New{State: state, Until: until})
			w.clock = w.clock.Add(time.Minute)
			_, x, err := w.Complete(t.Context(), by)
			is(t, err, nil)
			if !x.Deadline.Equal(until) || !x.Until.Equal(until) {
				t.Errorf("%s: ends at %v", state, x.Deadline)
			}
		}
		w := newWorld()
		token, _ := w.start(t, access.User, "dana", session.New{State: session.Pending, Until: w.clock.Add(time.Minute)})
		x, err := w.check(t, token)
		is(t, err, nil)
		if !x.Deadline.Equal(w.clock.Add(time.Minute)) {
			t.Errorf("waits until %v", x.Deadline)
		}
	})
	t.Run("what_is_over_begins_nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, _, err := w.Start(t.Context(), w.who(access.User, "dana"), session.New{State: session.Active, Until: w.clock})
		is(t, err, session.ErrChanged)
		if len(w.rows) != 0 {
			t.Error("a session began")
		}
	})
	t.Run("a_further_session_keeps_both", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		until := w.clock.Add(time.Hour)
		_, by := w.start(t, access.Application, "ci", session.New{ProviderSession: "x", Until: until})
		_, x, err := w.Reauth(t.Context(), by, "")
		is(t, err, nil)
		if x.ProviderSession != "x" || !x.Until.Equal(until) || !x.Deadline.Equal(until) {
			t.Errorf("%+v", x)
		}
	})
}

func TestEndVouched(t *testing.T) {
	t.Parallel()
	there, elsewhere := session.AtProvider("there"), session.AtProvider("elsewhere")
	for _, c := range []struct {
		v    session.Vouched
		ends string
	}{
		{session.Vouched{Provider: "corp", Session: there}, "0"},
		{session.Vouched{Provider: "corp", Session: elsewhere}, "1"},
		{session.Vouched{Provider: "corp", User: "dana"}, "01"},
		{session.Vouched{Provider: "corp", User: "dana", Session: there}, "0"},
		{session.Vouched{Provider: "corp", User: "erik", Session: there}, ""},
		{session.Vouched{Provider: "corp", Subject: "nobody here", Session: there}, ""},
		{session.Vouched{Provider: "other", Session: there}, ""},
	} {
		w := newWorld()
		tokens := []session.New{{Provider: "corp", ProviderSession: there}, {Provider: "corp", ProviderSession: elsewhere}, {}}
		ended, want := "", c.ends
		var check []func() error
		for _, in := range tokens {
			token, _ := w.start(t, access.User, "dana", in)
			check = append(check, func() error { _, err := w.check(t, token); return err })
			is(t, check[len(check)-1](), nil) // remembered now
		}
		before := len(w.events)
		n, err := w.EndVouched(t.Context(), c.v, "the provider says so")
		is(t, err, nil)
		for i, still := range check {
			if still() != nil {
				ended += string(rune('0' + i))
			}
		}
		if ended != want || n != len(want) || len(w.events)-before != n {
			t.Errorf("%+v ended %q (%d, %d events), want %q", c.v, ended, n, len(w.events)-before, want)
		}
		for _, e := range w.events[before:] {
			if e.Action != string(access.SessionEnd) || e.Reason != "the provider says so" || e.Actor.Kind != "system" || e.Object.Kind == "" {
				t.Errorf("%+v", e)
			}
		}
	}
}

func TestAtProvider(t *testing.T) {
	t.Parallel()
	if session.AtProvider("") != "" || len(session.AtProvider("x")) != 64 || session.AtProvider("x") == session.AtProvider("X") {
		t.Error(session.AtProvider(""), session.AtProvider("x"))
	}
}
