package session_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

var here = netip.MustParseAddr("192.0.2.1")

func (w *world) who(kind access.PrincipalKind, id string) access.Caller {
	c := access.Caller{Principal: access.Principal{Kind: kind, ID: id, Name: id}, Method: "password", At: w.clock, Scopes: []access.Action{"*"}, Address: here, Door: "test"}
	if kind == access.Application {
		c.Account = "blue"
	}
	return c
}

// start begins a session and returns its token and the caller that it makes.
func (w *world) start(t *testing.T, kind access.PrincipalKind, id string, in session.New) (secret.String, access.Caller) {
	t.Helper()
	if in.State == "" {
		in.State = session.Active
	}
	token, x, err := w.Start(t.Context(), w.who(kind, id), in)
	if err != nil {
		t.Fatal(err)
	}
	return token, x.Caller(here, "test", "r")
}

func (w *world) check(t *testing.T, token secret.String) (session.Session, error) {
	t.Helper()
	return w.Check(t.Context(), token, here)
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	t.Run("gives_a_token_of_512_bits_that_is_not_kept", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, by := w.start(t, access.User, "dana", session.New{UserAgent: strings.Repeat("x", 300) + "\x00"})
		x, err := w.check(t, token)
		is(t, err, nil)
		if len(token.Reveal()) != 86 || x.ID != by.Session || x.State != session.Active || x.Transport != session.Bearer || len(x.UserAgent) > 256 {
			t.Errorf("%d %+v", len(token.Reveal()), x)
		}
		if e := w.events[0]; e.Action != "session.start" || e.Actor.ID != "dana" || strings.Contains(string(e.Body()), token.Reveal()) {
			t.Errorf("%s", e.Body())
		}
	})
	t.Run("tells_for_how_long", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, user, err := w.Start(t.Context(), w.who(access.User, "dana"), session.New{State: session.Active})
		is(t, err, nil)
		_, pending, err := w.Start(t.Context(), w.who(access.User, "dana"), session.New{State: session.Pending})
		is(t, err, nil)
		_, app, err := w.Start(t.Context(), w.who(access.Application, "ci"), session.New{State: session.Active})
		is(t, err, nil)
		for _, x := range []struct{ got, want int }{
			{user.ExpiresIn(w.clock), 86400},
			{pending.ExpiresIn(w.clock), 86400},
			{app.ExpiresIn(w.clock), 600},
			{app.ExpiresIn(w.clock.Add(24*time.Hour - 5*time.Second)), 5},
			{app.ExpiresIn(w.clock.Add(48 * time.Hour)), 0},
		} {
			if x.got != x.want {
				t.Errorf("%d, want %d", x.got, x.want)
			}
		}
	})
	t.Run("is_for_people_and_programs_alone", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		for _, kind := range []access.PrincipalKind{access.Nobody, access.Local, access.System, access.APIKey} {
			if _, _, err := w.Start(t.Context(), w.who(kind, "x"), session.New{State: session.Active}); !fault.Is(err, fault.Denied) {
				t.Errorf("%s: %v", kind, err)
			}
		}
		_, _, err := w.Start(t.Context(), w.who(access.User, "dana"), session.New{State: session.Terminated})
		is(t, err, session.ErrNotActive)
	})
	t.Run("is_overtaken_by_a_change", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.stamps["dana"] = "new"
		_, _, err := w.Start(t.Context(), w.who(access.User, "dana"), session.New{State: session.Active, Stamp: "old"})
		is(t, err, session.ErrChanged)
	})
	t.Run("ends_the_least_recently_used_beyond_the_limit", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.Users.Limit = 2
		first, _ := w.start(t, access.User, "dana", session.New{})
		w.clock = w.clock.Add(time.Second)
		second, _ := w.start(t, access.User, "dana", session.New{})
		w.clock = w.clock.Add(time.Second)
		third, _ := w.start(t, access.User, "dana", session.New{})
		_, err := w.check(t, first)
		is(t, err, session.ErrInvalid)
		for _, token := range []secret.String{second, third} {
			_, err := w.check(t, token)
			is(t, err, nil)
		}
	})
}

// Rule W11: no sweeper runs here.
func TestCheck_reads_the_clock(t *testing.T) {
	t.Parallel()
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, _ := w.start(t, access.Application, "ci", session.New{})
		w.clock = w.clock.Add(10*time.Minute + 30*time.Second - time.Microsecond) // the grain of 10 min is 30 s
		_, err := w.check(t, token)
		is(t, err, nil)
		w.clock = w.clock.Add(10*time.Minute + 30*time.Second)
		_, err = w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
	t.Run("absolute", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, _ := w.start(t, access.Application, "ci", session.New{})
		begun := w.clock
		for w.clock.Sub(begun) < 24*time.Hour-5*time.Minute {
			w.clock = w.clock.Add(5 * time.Minute)
			_, err := w.check(t, token)
			is(t, err, nil)
		}
		w.clock = begun.Add(24 * time.Hour)
		_, err := w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
	t.Run("while_it_remembers", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.Apps.Max = time.Second
		token, _ := w.start(t, access.Application, "ci", session.New{})
		_, err := w.check(t, token)
		is(t, err, nil)
		w.clock = w.clock.Add(time.Second)
		_, err = w.check(t, token)
		is(t, err, session.ErrInvalid)
		if w.reads != 1 {
			t.Errorf("%d reads", w.reads)
		}
	})
	t.Run("pending", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, _ := w.start(t, access.User, "dana", session.New{State: session.Pending})
		w.clock = w.clock.Add(5*time.Minute - time.Microsecond)
		_, err := w.check(t, token)
		is(t, err, nil)
		w.clock = w.clock.Add(time.Microsecond)
		_, err = w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	t.Run("tells_nobody_why", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, by := w.start(t, access.User, "dana", session.New{})
		is(t, w.Terminate(t.Context(), by), nil)
		for _, bad := range []string{"", "x", token.Reveal()[1:], strings.Repeat("A", 86), token.Reveal()} {
			_, err := w.check(t, secret.New(bad))
			is(t, err, session.ErrInvalid)
			var why *session.Refusal
			if !errors.As(err, &why) || why.Reason == "" || fault.Text(err) != "Session is invalid or expired" {
				t.Errorf("%v", err)
			}
		}
	})
	// Rule F12: a disabled principal is out, also where nobody ended the session.
	t.Run("looks_at_the_principal", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, _ := w.start(t, access.User, "dana", session.New{})
		_, err := w.check(t, token)
		is(t, err, nil)
		w.shut["dana"] = true
		w.ForgetPrincipal("dana")
		_, err = w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
	// Rules S2 and W7: the application's networks hold wherever the session is used.
	t.Run("looks_at_where_an_application_comes_from", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, by := w.start(t, access.Application, "ci", session.New{})
		x := w.rows[by.Session]
		x.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		w.rows[by.Session] = x
		_, err := w.Check(t.Context(), token, netip.MustParseAddr("::ffff:192.0.2.77"))
		is(t, err, nil)
		for _, address := range []netip.Addr{netip.MustParseAddr("198.51.100.1"), {}} {
			_, err = w.Check(t.Context(), token, address)
			is(t, err, session.ErrInvalid)
		}
	})
	t.Run("remembers_for_a_moment_and_forgets_when_told", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, by := w.start(t, access.User, "dana", session.New{})
		for range 3 {
			_, err := w.check(t, token)
			is(t, err, nil)
		}
		if w.reads != 1 {
			t.Errorf("%d reads", w.reads)
		}
		x := w.rows[by.Session]
		x.State, x.Ended = session.Terminated, w.clock // on another node
		w.rows[by.Session] = x
		_, err := w.check(t, token)
		is(t, err, nil) // for as long as it may
		w.Forget(by.Session)
		_, err = w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
	t.Run("believes_memory_for_two_seconds_at_most", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, by := w.start(t, access.User, "dana", session.New{})
		_, err := w.check(t, token)
		is(t, err, nil)
		x := w.rows[by.Session]
		x.State, x.Ended = session.Terminated, w.clock
		w.rows[by.Session] = x
		w.clock = w.clock.Add(2 * time.Second)
		_, err = w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
	t.Run("writes_the_last_use_coarsely", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, by := w.start(t, access.User, "dana", session.New{})
		for range 180 {
			w.clock = w.clock.Add(time.Second)
			_, err := w.check(t, token)
			is(t, err, nil)
		}
		if w.touches != 3 || !w.rows[by.Session].LastUsed.Equal(w.clock) {
			t.Errorf("%d writes, last use %v at %v", w.touches, w.rows[by.Session].LastUsed, w.clock)
		}
	})
	t.Run("answers_also_when_the_last_use_cannot_be_written", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.CacheFor = time.Hour
		heard := 0
		w.OnError = func(string, error) { heard++ }
		token, _ := w.start(t, access.User, "dana", session.New{})
		_, err := w.check(t, token)
		is(t, err, nil)
		w.err = errors.New("away")
		w.clock = w.clock.Add(2 * time.Minute)
		_, err = w.check(t, token)
		is(t, err, nil)
		if heard != 1 {
			t.Errorf("heard %d", heard)
		}
	})
	t.Run("says_when_it_could_not_look", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, _ := w.start(t, access.User, "dana", session.New{})
		w.err = errors.New("away")
		if _, err := w.check(t, token); err == nil || errors.Is(err, session.ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
}

func TestCaller_has_rights_by_an_active_session_alone(t *testing.T) {
	t.Parallel()
	for _, state := range []session.State{session.Pending, session.Terminated, ""} {
		if c := (session.Session{State: state}).Caller(here, "", ""); len(c.Scopes) > 0 {
			t.Errorf("%q: %v", state, c.Scopes)
		}
	}
	if c := (session.Session{State: session.Active}).Caller(here, "", ""); len(c.Scopes) != 1 {
		t.Error("an active session gives no rights")
	}
}

// Who must enrol may see to that, for themselves alone, whatever roles they hold.
func TestCaller_of_an_enrol_only_session(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, id := range []string{"dana", "root"} {
		_, by := w.start(t, access.User, id, session.New{State: session.EnrolOnly})
		own, other := access.Resource{Kind: access.UserKind, ID: id}, access.Resource{Kind: access.UserKind, ID: "other"}
		for _, do := range []access.Action{access.UserRead, access.FactorRead, access.FactorEnrol, access.FactorCodes, access.SessionEnd} {
			is(t, w.Service.Access.Require(t.Context(), by, do, own), nil)
			if err := w.Service.Access.Require(t.Context(), by, do, other); !fault.Is(err, fault.Denied) {
				t.Errorf("%s: %s of somebody else: %v", id, do, err)
			}
		}
		for _, do := range []access.Action{access.UserCreate, access.UserUpdate, access.UserPassword, access.TokenIssue, access.AccountRead, access.AccessGrant} {
			for _, on := range []access.Resource{own, access.Installation} {
				if err := w.Service.Access.Require(t.Context(), by, do, on); !fault.Is(err, fault.Denied) {
					t.Errorf("%s: %s on %s: %v", id, do, on, err)
				}
			}
		}
	}
}

// Rule F11: new rights, new value of a cookie; a bearer keeps its own.
func TestComplete_and_Elevate(t *testing.T) {
	t.Parallel()
	for _, transport := range []session.Transport{session.Bearer, session.Cookie} {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			token, by := w.start(t, access.User, "dana", session.New{State: session.Pending, Transport: transport})
			_, _, err := w.Elevate(t.Context(), by, time.Minute)
			is(t, err, session.ErrNotActive)
			w.clock = w.clock.Add(time.Minute)
			token = w.raised(t, token, transport, func() (secret.String, session.Session, error) { return w.Complete(t.Context(), by) })
			_, _, err = w.Complete(t.Context(), by)
			is(t, err, session.ErrNotActive)

			w.clock = w.clock.Add(time.Hour)
			x, err := w.check(t, token)
			is(t, err, nil)
			is(t, access.Fresh(x.Caller(here, "", ""), w.clock, 10*time.Minute), access.ErrNotFresh)
			token = w.raised(t, token, transport, func() (secret.String, session.Session, error) { return w.Elevate(t.Context(), by, 10*time.Minute) })
			x, err = w.check(t, token)
			is(t, err, nil)
			is(t, access.Fresh(x.Caller(here, "", ""), w.clock, 10*time.Minute), nil)
			token = w.raised(t, token, transport, func() (secret.String, session.Session, error) { return w.Elevate(t.Context(), by, 0) })
			x, err = w.check(t, token)
			is(t, err, nil)
			is(t, access.Fresh(x.Caller(here, "", ""), w.clock, 10*time.Minute), access.ErrNotFresh)
		})
	}
}

func (w *world) raised(t *testing.T, token secret.String, transport session.Transport, raise func() (secret.String, session.Session, error)) secret.String {
	t.Helper()
	fresh, x, err := raise()
	is(t, err, nil)
	if x.State != session.Active {
		t.Errorf("%+v", x)
	}
	_, old := w.check(t, token)
	if transport == session.Bearer {
		is(t, old, nil)
		if !fresh.Empty() {
			t.Error("a bearer got another token")
		}
		return token
	}
	is(t, old, session.ErrInvalid)
	_, err = w.check(t, fresh)
	is(t, err, nil)
	return fresh
}

// A session that began with a certificate begets none that works without it.
func TestReauth_keeps_what_the_session_is_bound_to(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, by := w.start(t, access.Application, "ci", session.New{Certificate: []byte("digest")})
	_, x, err := w.Reauth(t.Context(), by, "")
	is(t, err, nil)
	if string(x.Certificate) != "digest" {
		t.Errorf("%+v", x)
	}
}

func TestReauth(t *testing.T) {
	t.Parallel()
	w := newWorld()
	old, by := w.start(t, access.Application, "ci", session.New{})
	w.clock = w.clock.Add(9 * time.Minute)
	token, x, err := w.Reauth(t.Context(), by, "agent")
	is(t, err, nil)
	if x.ID == by.Session || !x.Deadline.Equal(w.rows[by.Session].Deadline) || x.Account != "blue" || !x.Authenticated.Equal(by.At) {
		t.Errorf("%+v", x)
	}
	for _, each := range []secret.String{old, token} {
		_, err := w.check(t, each)
		is(t, err, nil)
	}
	is(t, w.Terminate(t.Context(), by), nil)
	_, err = w.check(t, old)
	is(t, err, session.ErrInvalid)
	_, err = w.check(t, token)
	is(t, err, nil)
	_, _, err = w.Reauth(t.Context(), by, "")
	is(t, err, session.ErrInvalid)

	_, dana := w.start(t, access.User, "dana", session.New{})
	_, _, err = w.Reauth(t.Context(), dana, "")
	is(t, err, session.ErrUsersAlone)
}

func TestSelect(t *testing.T) {
	t.Parallel()
	w := newWorld()
	token, by := w.start(t, access.User, "dana", session.New{})
	_, err := w.check(t, token)
	is(t, err, nil)
	is(t, w.Select(t.Context(), by, "blue"), nil)
	x, err := w.check(t, token) // at once
	is(t, err, nil)
	if x.Account != "blue" {
		t.Errorf("%+v", x)
	}
	is(t, w.Select(t.Context(), by, "red"), session.ErrNotMember)
	_, app := w.start(t, access.Application, "ci", session.New{})
	is(t, w.Select(t.Context(), app, "blue"), nil)
	is(t, w.Select(t.Context(), app, "red"), session.ErrNotMember)
	_, pending := w.start(t, access.User, "dana", session.New{State: session.Pending})
	is(t, w.Select(t.Context(), pending, "blue"), session.ErrNotActive)
	is(t, w.Select(t.Context(), w.who(access.User, "dana"), "blue"), session.ErrInvalid)
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld()
	token, by := w.start(t, access.Application, "ci", session.New{})
	w.clock = w.clock.Add(time.Second)
	is(t, w.Refresh(t.Context(), by), nil)
	if !w.rows[by.Session].LastUsed.Equal(w.clock) {
		t.Error("not written at once")
	}
	w.clock = w.clock.Add(time.Hour)
	is(t, w.Refresh(t.Context(), by), session.ErrInvalid)
	_, err := w.check(t, token)
	is(t, err, session.ErrInvalid)
	_, pending := w.start(t, access.User, "dana", session.New{State: session.Pending})
	is(t, w.Refresh(t.Context(), pending), session.ErrNotActive)
	is(t, w.Refresh(t.Context(), w.who(access.User, "dana")), session.ErrInvalid)
}

func TestEnd(t *testing.T) {
	t.Parallel()
	t.Run("one's_own_also_while_pending", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		token, by := w.start(t, access.User, "dana", session.New{State: session.Pending})
		is(t, w.Terminate(t.Context(), by), nil)
		_, err := w.check(t, token)
		is(t, err, session.ErrInvalid)
	})
	t.Run("another_of_one's_own_and_anybody's_by_right", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		_, one := w.start(t, access.User, "dana", session.New{})
		_, two := w.start(t, access.User, "dana", session.New{})
		_, eve := w.start(t, access.User, "eve", session.New{})
		_, root := w.start(t, access.User, "root", session.New{})
		is(t, w.End(t.Context(), eve, one.Session), session.ErrUnknown)
		is(t, w.End(t.Context(), two, one.Session), nil)
		is(t, w.End(t.Context(), root, two.Session), nil)
		is(t, w.End(t.Context(), root, "none"), session.ErrUnknown)
		if _, err := w.Of(t.Context(), eve, access.Subject{Kind: access.User, ID: "dana"}); !fault.Is(err, fault.Denied) {
			t.Errorf("%v", err)
		}
		if _, err := w.EndAll(t.Context(), eve, access.Subject{Kind: access.User, ID: "dana"}, false); !fault.Is(err, fault.Denied) {
			t.Errorf("%v", err)
		}
	})
	t.Run("everywhere_but_here", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		keep, by := w.start(t, access.User, "dana", session.New{})
		gone, _ := w.start(t, access.User, "dana", session.New{})
		_, err := w.check(t, gone)
		is(t, err, nil)
		n, err := w.EndAll(t.Context(), by, access.Subject{Kind: access.User, ID: "dana"}, true)
		is(t, err, nil)
		_, err = w.check(t, gone)
		is(t, err, session.ErrInvalid)
		_, err = w.check(t, keep)
		is(t, err, nil)
		if mine, err := w.Of(t.Context(), by, access.Subject{Kind: access.User, ID: "dana"}); n != 1 || len(mine) != 1 || err != nil {
			t.Errorf("ended %d, left %d, %v", n, len(mine), err)
		}
	})
}

func TestSweep_records_what_expired_and_removes_what_is_old(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.clock = time.Now()
		w.Now = time.Now
		w.start(t, access.Application, "ci", session.New{})
		ctx, cancel := context.WithCancel(t.Context())
		go w.Sweep(ctx)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		w.mu.Lock()
		last := w.events[len(w.events)-1]
		w.mu.Unlock()
		if last.Action != "session.expire" {
			t.Errorf("%+v", last)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(w.rows) != 0 {
			t.Errorf("%d rows", len(w.rows))
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	w := newWorld()
	token, _, err := w.Start(b.Context(), w.who(access.User, "dana"), session.New{State: session.Active})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := w.Check(b.Context(), token, here); err != nil {
			b.Fatal(err)
		}
	}
}
