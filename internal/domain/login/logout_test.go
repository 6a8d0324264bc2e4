package login_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
)

// EndVouched ends sessions as the SQL does.
func (s *seats) EndVouched(_ context.Context, v session.Vouched, at time.Time, event func(session.Session) audit.Event) (int, error) {
	s.named = append(s.named, v)
	if s.err != nil {
		return 0, s.err
	}
	n := 0
	for digest, x := range s.rows {
		mine := x.Provider == v.Provider && x.Ended.IsZero() && (v.User == "" && v.Subject == "" || x.Principal.ID == v.User)
		if mine && (v.Session == "" || x.ProviderSession == v.Session || v.User != "" && x.ProviderSession == "") {
			event(x)
			x.State, x.Ended = session.Terminated, at
			s.rows[digest] = x
			n++
		}
	}
	return n, nil
}

// End ends a session.
func (s *seats) End(_ context.Context, id string, at time.Time, _ audit.Event) error {
	for digest, x := range s.rows {
		if x.ID == id {
			x.State, x.Ended = session.Terminated, at
			s.rows[digest] = x
		}
	}
	return nil
}

// comes signs dana in at corp with what the provider says of its own session.
func (p *port) comes(t *testing.T, sid string, until time.Time) (login.Signed, error) {
	t.Helper()
	p.oidc.sid, p.oidc.until = sid, until
	in := p.vouched(login.OIDC, 1, fmt.Sprint("dana code ", p.oidc.asked))
	in.State = p.begin(t, "corp").State.Reveal()
	return p.SignIn(t.Context(), in, login.Begin{})
}

func (p *port) living() (n int) {
	for _, x := range p.seats.rows {
		if x.Ended.IsZero() {
			n++
		}
	}
	return n
}

func TestLoggedOut(t *testing.T) {
	t.Parallel()
	t.Run("ends_what_the_token_names", func(t *testing.T) {
		t.Parallel()
		for token, want := range map[string]session.Vouched{
			"dana/":    {Provider: "corp", User: "u1", Subject: "dana"},
			"/s1":      {Provider: "corp", Session: session.AtProvider("s1")},
			"dana/s1":  {Provider: "corp", User: "u1", Subject: "dana", Session: session.AtProvider("s1")},
			"nobody/":  {Provider: "corp", Subject: "nobody"},
			"/unheard": {Provider: "corp", Session: session.AtProvider("unheard")},
		} {
			p := newPort()
			if signed, err := p.comes(t, "s1", time.Time{}); err != nil || signed.Session.ProviderSession != session.AtProvider("s1") {
				t.Fatalf("%+v, %v", signed, err)
			}
			want2 := 1
			if want.User != "" || want.Session == session.AtProvider("s1") {
				want2 = 0
			}
			if err := p.LoggedOut(t.Context(), 1, token, p.at()); err != nil || len(p.seats.named) != 1 || p.seats.named[0] != want || p.living() != want2 {
				t.Errorf("%s: %v, named %+v, %d live", token, err, p.seats.named, p.living())
			}
		}
	})
	t.Run("refuses_with_one_answer_and_records_the_true_reason", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			number int64
			token  string
			change func(*port)
			why    string
		}{
			{9, "dana/", func(*port) {}, "no such identity provider"},
			{1, "garbage", func(*port) {}, "no logout token"},
			{1, "dana/", func(p *port) { p.vouchers.all[0].Enabled = false }, "disabled"},
			{4, "dana/", func(*port) {}, "sends no logout tokens"},
			{1, "dana/", func(p *port) { p.oidc.away = true }, "no logout token"},
		} {
			p := newPort()
			_, err := p.comes(t, "s1", time.Time{})
			want(t, err, nil)
			c.change(p)
			err = p.LoggedOut(t.Context(), c.number, c.token, p.at())
			want(t, err, login.ErrNoLogout)
			if !strings.Contains(p.why(), c.why) || p.events.all[len(p.events.all)-1].Action != "login.logout_token" || p.living() != 1 {
				t.Errorf("%+v: %q is on record, %d live", c, p.why(), p.living())
			}
		}
	})
	t.Run("counts_wrong_tokens_by_address_and_takes_right_ones_all_the_same", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		_, err := p.comes(t, "s1", time.Time{})
		want(t, err, nil)
		var blocked *login.Blocked
		for n := 0; !errors.As(err, &blocked); n++ {
			if err = p.LoggedOut(t.Context(), 1, "garbage", p.at()); n > 100 {
				t.Fatal("nobody is ever blocked")
			}
			if !errors.Is(err, login.ErrNoLogout) && !errors.Is(err, login.ErrBlocked) {
				t.Fatal(err)
			}
		}
		want(t, p.LoggedOut(t.Context(), 1, "/s1", p.at()), nil)
		if p.living() != 0 {
			t.Error("a right token ended nothing")
		}
	})
	t.Run("takes_a_token_once", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		want(t, p.LoggedOut(t.Context(), 1, "dana/", p.at()), nil)
		_, err := p.comes(t, "s1", time.Time{})
		want(t, err, nil)
		want(t, p.LoggedOut(t.Context(), 1, "dana/", p.at()), login.ErrNoLogout)
		if !strings.Contains(p.why(), "used before") || p.living() != 1 {
			t.Errorf("%q, %d live", p.why(), p.living())
		}
	})
	t.Run("takes_it_again_where_nothing_could_be_ended", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		_, err := p.comes(t, "s1", time.Time{})
		want(t, err, nil)
		away := errors.New("the database is away")
		p.seats.err = away
		want(t, p.LoggedOut(t.Context(), 1, "dana/", p.at()), away)
		p.seats.err = nil
		want(t, p.LoggedOut(t.Context(), 1, "dana/", p.at()), nil)
		if p.living() != 0 {
			t.Error("it still lives")
		}
	})
	t.Run("stops_a_sign_in_that_is_not_written_down_yet", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.oidc.meanwhile = func() { want(t, p.LoggedOut(t.Context(), 1, "/s1", p.at()), nil) }
		_, err := p.comes(t, "s1", time.Time{})
		want(t, err, login.ErrFailed)
		if !strings.Contains(p.why(), "ended the session there") || p.living() != 0 {
			t.Errorf("%q, %d live", p.why(), p.living())
		}
		p.oidc.meanwhile = nil
		_, err = p.comes(t, "s2", time.Time{}) // another session is another matter
		want(t, err, nil)
		p.clock = p.clock.Add(time.Minute)
		_, err = p.comes(t, "s1", time.Time{}) // and a provider may go on with one
		want(t, err, nil)
	})
	t.Run("repeats_nothing_of_the_token", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		err := p.LoggedOut(t.Context(), 1, "the-token-itself", p.at())
		if strings.Contains(err.Error(), "itself") || slices.ContainsFunc(p.events.all, func(e audit.Event) bool { return strings.Contains(e.Reason+e.Object.Name, "itself") }) {
			t.Errorf("%v, %+v", err, p.events.all)
		}
	})
}

func TestSignIn_until_the_session_at_the_provider_ends(t *testing.T) {
	t.Parallel()
	ends := func(t *testing.T, p *port, until time.Time, want time.Duration) {
		t.Helper()
		signed, err := p.comes(t, "s1", until)
		if err != nil || signed.Session.Deadline.Sub(p.clock) != want {
			t.Errorf("ends in %v, %v, want %v", signed.Session.Deadline.Sub(p.clock), err, want)
		}
	}
	t.Run("it_ends_with_it", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.Sessions.Users.Max = 24 * time.Hour
		ends(t, p, p.clock.Add(time.Hour), time.Hour)
	})
	t.Run("it_lasts_no_longer_than_any_other", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		ends(t, p, p.clock.Add(10_000*time.Hour), p.Sessions.Users.Max)
		ends(t, p, time.Time{}, p.Sessions.Users.Max)
	})
	t.Run("it_lasts_no_longer_than_is_set", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.Sessions.Users.Max, p.SessionMax = 24*time.Hour, 2*time.Hour
		ends(t, p, time.Time{}, 2*time.Hour)
		ends(t, p, p.clock.Add(time.Hour), time.Hour)
		ends(t, p, p.clock.Add(3*time.Hour), 2*time.Hour)
	})
	t.Run("what_is_set_bounds_no_password_of_a_directory", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.SessionMax = time.Hour
		signed, err := p.SignIn(t.Context(), p.vouched(login.LDAP, 4, right), login.Begin{})
		if err != nil || !signed.Session.Until.IsZero() {
			t.Errorf("%+v, %v", signed.Session, err)
		}
	})
	t.Run("one_that_is_over_opens_nothing", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		_, err := p.comes(t, "s1", p.clock)
		want(t, err, login.ErrFailed)
		if !strings.Contains(p.why(), "session at the identity provider is over") || len(p.seats.rows) != 0 {
			t.Errorf("%q", p.why())
		}
	})
	t.Run("a_browser_that_finishes_later_gets_no_more", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.oidc.sid, p.oidc.until = "s1", p.clock.Add(time.Minute)
		d, err := p.Depart(t.Context(), 1, "/", p.at())
		want(t, err, nil)
		landing, err := p.Land(t.Context(), identity.OIDC, login.Return{Code: "dana code", State: d.Flow.State.Reveal()}, p.at())
		want(t, err, nil)
		p.clock = p.clock.Add(time.Minute)
		_, err = p.Finish(t.Context(), landing.Finish, d.Flow.Browser, p.at(), login.Begin{})
		want(t, err, login.ErrFailed)
	})
}

// Whoever proves a second factor after the provider's word is bound to that word as anybody else is.
func TestSecond_factor_keeps_the_end_of_the_session_at_the_provider(t *testing.T) {
	t.Parallel()
	for _, talk := range []bool{false, true} {
		c := newClub()
		app, _ := c.enrol(t, "dana")
		there := newPort()
		for i := range there.vouchers.links {
			there.vouchers.links[i].User = "dana"
		}
		until := c.clock.Add(time.Hour)
		there.oidc.sid, there.oidc.until = "there", until
		c.MFAAfterSSO, c.Flows, c.Once, c.Federations, c.Discoveries, c.NewID = true, there.flows, there.Once, there.Federations, there.Discoveries, there.NewID
		c.Providers = &identity.Providers{Store: there.vouchers, Users: members{books: c.books}, Now: c.Now, NewID: c.NewID}
		d, err := c.Depart(t.Context(), 1, "/", there.at())
		want(t, err, nil)
		landing, err := c.Land(t.Context(), identity.OIDC, login.Return{Code: "dana code", State: d.Flow.State.Reveal()}, there.at())
		want(t, err, nil)
		in, err := c.Finish(t.Context(), landing.Finish, d.Flow.Browser, there.at(), login.Begin{Talk: talk})
		want(t, err, nil)
		c.pass(time.Minute)
		var done login.Signed
		if talk {
			done, err = c.Continue(t.Context(), in.Pending.Conversation, totp(c.codeOf(app, 0)), there.at(), login.Begin{})
		} else {
			done, err = c.Complete(t.Context(), in.Caller, totp(c.codeOf(app, 0)))
		}
		want(t, err, nil)
		if x := done.Session; x.State != session.Active || x.ProviderSession != session.AtProvider("there") || !x.Deadline.Equal(until) || !x.Until.Equal(until) {
			t.Errorf("talk %v: %+v", talk, x)
		}
	}
}
