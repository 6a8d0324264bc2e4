package login_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

var es256 = []int64{authenticator.ES256}

// device enrols a security key in a session of its own, which ends.
func (c *club) device(t testing.TB, name string) *authenticator.Key {
	t.Helper()
	ctx, by := context.Background(), c.knock(t, name, login.Begin{}).Caller
	if _, err := c.UnlockSettings(ctx, by, secret.New(phrase(name))); err != nil {
		t.Fatal(err)
	}
	key := authenticator.New(authenticator.ES256)
	if _, err := c.addDevice(ctx, by, key, "Blue"); err != nil {
		t.Fatal(err)
	}
	if err := c.Sessions.Terminate(ctx, by); err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *club) addDevice(ctx context.Context, by access.Caller, key *authenticator.Key, name string) (login.Signed, error) {
	options, err := c.StartDevice(ctx, by, es256)
	if err != nil {
		return login.Signed{}, err
	}
	return c.AddDevice(ctx, by, name, key.Create(authenticator.Ceremony{Challenge: options.Challenge, Origin: origin, RPID: "localhost"}), es256)
}

func touch(key *authenticator.Key, challenge []byte) factor.Answer {
	a := key.Get(authenticator.Ceremony{Challenge: challenge, Origin: origin, RPID: "localhost"})
	return factor.Answer{Kind: factor.FIDO2, Assertion: &a}
}

// A pending session opens its second factor alone; a bearer keeps its token when that is proved, a cookie gets another (rule F11).
func TestComplete(t *testing.T) {
	t.Parallel()
	for _, transport := range []session.Transport{session.Bearer, session.Cookie} {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			c, ctx := newClub(), t.Context()
			app, _ := c.enrol(t, "dana")
			in := c.knock(t, "dana", login.Begin{Transport: transport, Target: "/next"})
			if p := in.Pending; p == nil || p.Enrol || !p.Conversation.Empty() || p.Challenge == nil || !slices.Equal(p.Allowed, []factor.Kind{factor.TOTP, factor.Recovery}) || in.Session.State != session.Pending {
				t.Fatalf("%+v", in)
			}
			want(t, c.opens(in.Token), login.ErrPending)
			asked, err := c.Challenge(ctx, in.Caller)
			want(t, err, nil)
			if string(asked.Challenge.Challenge) != string(in.Pending.Challenge.Challenge) {
				t.Error("asked for another challenge")
			}

			done, err := c.Complete(ctx, in.Caller, totp(c.codeOf(app, 0)))
			want(t, err, nil)
			if done.Pending != nil || done.Target != "/next" || done.Session.State != session.Active || done.Token.Empty() != (transport == session.Bearer) {
				t.Errorf("%+v", done)
			}
			if transport == session.Bearer {
				want(t, c.opens(in.Token), nil)
			} else {
				want(t, c.opens(in.Token), session.ErrInvalid)
				want(t, c.opens(done.Token), nil)
			}
			_, err = c.Complete(ctx, in.Caller, totp(c.codeOf(app, 1)))
			want(t, err, login.ErrNothingPending)
			_, err = c.Challenge(ctx, in.Caller)
			want(t, err, login.ErrNothingPending)
		})
	}
	t.Run("by_a_security_key_once", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		key := c.device(t, "dana")
		in := c.knock(t, "dana", login.Begin{})
		if !slices.Equal(in.Pending.Allowed, []factor.Kind{factor.FIDO2}) {
			t.Errorf("%v", in.Pending.Allowed)
		}
		answer := touch(key, in.Pending.Challenge.Challenge)
		_, err := c.Complete(ctx, in.Caller, answer)
		want(t, err, nil)
		want(t, c.opens(in.Token), nil)
		second := c.knock(t, "dana", login.Begin{})
		_, err = c.Complete(ctx, second.Caller, answer) // rule F8: its challenge was another session's
		want(t, err, login.ErrFailed)
		want(t, c.opens(second.Token), login.ErrPending)
	})
	t.Run("by_nothing_that_was_never_enrolled", func(t *testing.T) { // rule S18
		t.Parallel()
		c := newClub()
		c.device(t, "dana")
		in := c.knock(t, "dana", login.Begin{})
		for _, a := range []factor.Answer{totp(secret.New("000000")), totp(secret.String{}), recoveryCode(secret.String{}), recoveryCode(secret.New("AAAAA-AAAAA-AAAAA-AAAAA"))} {
			if _, err := c.Complete(t.Context(), in.Caller, a); err == nil {
				t.Errorf("%s %q", a.Kind, a.Code.Reveal())
			}
		}
		want(t, c.opens(in.Token), login.ErrPending)
	})
	t.Run("too_late", func(t *testing.T) { // rule W11
		t.Parallel()
		c := newClub()
		app, _ := c.enrol(t, "dana")
		in := c.knock(t, "dana", login.Begin{})
		c.pass(5 * time.Minute)
		_, err := c.Complete(t.Context(), in.Caller, totp(c.codeOf(app, 0)))
		want(t, err, session.ErrInvalid)
	})
	t.Run("not_for_somebody_disabled_meanwhile", func(t *testing.T) { // rule F12
		t.Parallel()
		c := newClub()
		app, _ := c.enrol(t, "dana")
		in := c.knock(t, "dana", login.Begin{})
		c.shut("dana", true)
		_, err := c.Complete(t.Context(), in.Caller, totp(c.codeOf(app, 0)))
		want(t, err, session.ErrInvalid)
	})
}

func (c *club) shut(name string, disabled bool) {
	_, _ = members{books: c.books}.Change(context.Background(), name, func(u identity.User) (identity.User, error) {
		u.Disabled = disabled
		return u, nil
	}, identity.Ending{Sessions: disabled}, event())
	c.Sessions.ForgetPrincipal(name)
}

// Wrong second factors are bounded for the sign-in and count for the name, answered late and alike; a code works once, and only a complete sign-in
// forgets failures (rules F6 and F7).
func TestComplete_wrong(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	app, _ := c.enrol(t, "dana")
	in := c.knock(t, "dana", login.Begin{})
	for i := range 5 {
		want(t, c.opens(in.Token), login.ErrPending)
		before := len(c.waited)
		_, err := c.Complete(ctx, in.Caller, totp(secret.New("12345")))
		var failed *login.Failed
		if !errors.As(err, &failed) || failed.CaptchaDue != (i == 4) || len(c.waited) != before+1 {
			t.Fatalf("%d: %v, waited %v", i, err, c.waited[before:])
		}
	}
	want(t, c.opens(in.Token), session.ErrInvalid)
	_, err := c.SignIn(ctx, password("dana", phrase("dana")), login.Begin{}) // now a CAPTCHA is due for the name
	want(t, err, login.ErrFailed)

	in, err = c.SignIn(ctx, solving(password("dana", phrase("dana"))), login.Begin{})
	want(t, err, nil)
	if c.failures("dana") != 5 {
		t.Errorf("the password alone forgot failures: %d", c.failures("dana"))
	}
	_, err = c.Complete(ctx, in.Caller, totp(c.codeOf(app, 0)))
	want(t, err, nil)
	if c.failures("dana") != 0 {
		t.Errorf("%d failures after a complete sign-in", c.failures("dana"))
	}
	in = c.knock(t, "dana", login.Begin{})
	_, err = c.Complete(ctx, in.Caller, totp(c.codeOf(app, 0))) // used a moment ago
	want(t, err, login.ErrFailed)
}

// failures is how many failed sign-ins stand against a name.
func (c *club) failures(name string) int {
	c.strikes.mu.Lock()
	defer c.strikes.mu.Unlock()
	n := 0
	for key, r := range c.strikes.rows {
		if strings.HasPrefix(key, "name ") {
			n += r.Count
		}
	}
	_ = name // one name fails in each test
	return n
}

// Of many who present the right answer at the same moment one is let in (rule F7).
func TestComplete_at_once(t *testing.T) {
	t.Parallel()
	t.Run("in_one_session", func(t *testing.T) {
		t.Parallel()
		c := newClub()
		app, _ := c.enrol(t, "dana")
		in := c.knock(t, "dana", login.Begin{Transport: session.Cookie})
		code := c.codeOf(app, 0)
		one(t, func() error { _, err := c.Complete(context.Background(), in.Caller, totp(code)); return err })
	})
	t.Run("in_many_sessions", func(t *testing.T) {
		t.Parallel()
		c := newClub()
		app, _ := c.enrol(t, "dana")
		code := c.codeOf(app, 0)
		one(t, func() error {
			in, err := c.SignIn(context.Background(), password("dana", phrase("dana")), login.Begin{})
			if err == nil {
				_, err = c.Complete(context.Background(), in.Caller, totp(code))
			}
			return err
		})
	})
	t.Run("in_one_conversation", func(t *testing.T) {
		t.Parallel()
		c := newClub()
		_, key := c.enrol(t, "dana")
		in := c.knock(t, "dana", login.Begin{Talk: true})
		one(t, func() error {
			_, err := c.Continue(context.Background(), in.Pending.Conversation, recoveryCode(key), password("", ""), login.Begin{})
			return err
		})
	})
}

func one(t *testing.T, try func() error) {
	t.Helper()
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if try() == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d were let in", in.Load())
	}
}

// Where a door talks, there is no session before the last factor: a conversation waits for it.
func TestContinue(t *testing.T) {
	t.Parallel()
	talk := login.Begin{Transport: session.Cookie, Talk: true, Target: "/there"}
	t.Run("by_a_code_or_a_recovery_code", func(t *testing.T) {
		t.Parallel()
		c := newClub()
		app, key := c.enrol(t, "dana")
		for _, answer := range []factor.Answer{totp(c.codeOf(app, 0)), recoveryCode(key)} {
			sessions := len(c.rows)
			in := c.knock(t, "dana", talk)
			if in.Session.ID != "" || !in.Token.Empty() || len(c.rows) != sessions || in.Pending.Enrol || len(in.Pending.Conversation.Reveal()) != 43 {
				t.Fatalf("%+v", in)
			}
			done, err := c.Continue(t.Context(), in.Pending.Conversation, answer, password("", ""), talk)
			want(t, err, nil)
			want(t, c.opens(done.Token), nil)
			if done.Target != "/there" || done.Session.Method != "password" || done.Session.Transport != session.Cookie {
				t.Errorf("%+v", done)
			}
			_, err = c.Continue(t.Context(), in.Pending.Conversation, answer, password("", ""), talk)
			want(t, err, factor.ErrNoConversation)
		}
		in := c.knock(t, "dana", talk)
		_, err := c.Continue(t.Context(), in.Pending.Conversation, recoveryCode(key), password("", ""), talk) // used
		want(t, err, login.ErrFailed)
	})
	t.Run("not_after_five_wrong_ones_nor_ten_minutes", func(t *testing.T) {
		t.Parallel()
		c := newClub()
		app, _ := c.enrol(t, "dana")
		late := c.knock(t, "dana", talk)
		in := c.knock(t, "dana", talk)
		for range 5 {
			_, err := c.Continue(t.Context(), in.Pending.Conversation, totp(secret.New("12345")), password("", ""), talk)
			want(t, err, login.ErrFailed)
		}
		_, err := c.Continue(t.Context(), in.Pending.Conversation, totp(c.codeOf(app, 0)), password("", ""), talk)
		want(t, err, factor.ErrNoConversation)
		c.pass(10 * time.Minute)
		_, err = c.Continue(t.Context(), late.Pending.Conversation, totp(c.codeOf(app, 0)), password("", ""), talk)
		want(t, err, factor.ErrNoConversation)
	})
	t.Run("not_once_the_password_is_another_or_the_user_disabled", func(t *testing.T) { // rule F12
		t.Parallel()
		for _, disable := range []bool{true, false} {
			c := newClub()
			app, _ := c.enrol(t, "dana")
			in := c.knock(t, "dana", talk)
			if disable {
				c.shut("dana", true)
			} else {
				want(t, c.Users.SetPassword(t.Context(), c.Access.For(access.LocalCaller("root", c.clock)), "dana", secret.New("another phrase")), nil)
			}
			_, err := c.Continue(t.Context(), in.Pending.Conversation, totp(c.codeOf(app, 0)), password("", ""), talk)
			want(t, err, factor.ErrNoConversation)
		}
	})
	t.Run("not_with_what_belongs_to_something_else", func(t *testing.T) {
		t.Parallel()
		c := newClub()
		app, _ := c.enrol(t, "dana")
		erik, _ := c.enrol(t, "erik")
		in := c.knock(t, "dana", talk)
		_, err := c.Continue(t.Context(), in.Pending.Conversation, totp(c.codeOf(erik, 0)), password("", ""), talk)
		want(t, err, login.ErrFailed)
		_, err = c.StartEnforced(t.Context(), in.Pending.Conversation) // another kind
		want(t, err, factor.ErrNoConversation)
		_, err = c.CompleteEnforced(t.Context(), in.Pending.Conversation, c.codeOf(app, 0), password("", ""), talk)
		want(t, err, factor.ErrNoConversation)
		_, err = c.Continue(t.Context(), secret.New("x"), totp(c.codeOf(app, 0)), password("", ""), talk)
		want(t, err, factor.ErrNoConversation)
		pending := c.knock(t, "dana", login.Begin{}) // a session's own conversation has a token that nobody is given
		for _, talk := range c.talks {
			if talk.Session == pending.Session.ID && talk.Digest == ([32]byte{}) {
				t.Error("it is found by no digest")
			}
		}
	})
	t.Run("not_for_who_has_security_keys_alone", func(t *testing.T) {
		t.Parallel()
		for _, enforcement := range []string{login.DemandNone, login.DemandAll} {
			c := newClub()
			c.device(t, "dana")
			c.Enforcement = enforcement
			_, err := c.SignIn(t.Context(), password("dana", phrase("dana")), talk)
			want(t, err, login.ErrUseLoginPage)
			if len(c.talks) > 0 {
				t.Errorf("%s: a conversation began", enforcement)
			}
		}
	})
}

// Whom a demand covers enrols first: in a conversation, or in a session that opens nothing else.
func TestSignIn_demands_a_second_factor(t *testing.T) {
	t.Parallel()
	demand := func(of identity.RequireFactor, role identity.AccountRole) func(*club, string) {
		return func(c *club, name string) {
			c.joined[name] = []identity.Joined{{Account: identity.Account{ID: accID, RequireFactor: of}, Member: identity.Member{Account: accID, User: name, Role: role}}}
		}
	}
	for name, test := range map[string]struct {
		enforcement string
		join        func(*club, string)
		who         string
		want        bool
	}{
		"nobody":                               {login.DemandNone, nil, "ruth", false},
		"all":                                  {login.DemandAll, nil, "dana", true},
		"system administrators, one":           {login.DemandAdmins, nil, "ruth", true},
		"system administrators, a lesser one":  {login.DemandAdmins, nil, "adam", false},
		"system administrators, none":          {login.DemandAdmins, nil, "dana", false},
		"an account of all":                    {login.DemandNone, demand(identity.EverybodyMust, identity.Ordinary), "dana", true},
		"an account of administrators, one":    {login.DemandNone, demand(identity.AdministratorsMust, identity.Administrator), "dana", true},
		"an account of administrators, none":   {login.DemandNone, demand(identity.AdministratorsMust, identity.Ordinary), "dana", false},
		"an account of nobody":                 {login.DemandNone, demand(identity.NobodyMust, identity.Administrator), "dana", false},
		"a demand that this release knows not": {login.DemandNone, demand("some", identity.Ordinary), "dana", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClub()
			c.Enforcement = test.enforcement
			if test.join != nil {
				test.join(c, test.who)
			}
			in := c.knock(t, test.who, login.Begin{})
			if (in.Session.State == session.EnrolOnly) != test.want || (in.Pending != nil && in.Pending.Enrol) != test.want {
				t.Errorf("%+v", in)
			}
			in = c.knock(t, test.who, login.Begin{Talk: true})
			if (in.Session.ID == "") != test.want || (in.Pending != nil && in.Pending.Enrol) != test.want {
				t.Errorf("%+v", in)
			}
		})
	}
}

func TestCompleteEnforced(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	earlier := c.knock(t, "dana", login.Begin{})
	c.Enforcement = login.DemandAll
	in := c.knock(t, "dana", login.Begin{Talk: true, Target: "/there"})
	talk := in.Pending.Conversation
	_, err := c.CompleteEnforced(ctx, talk, secret.New("123456"), password("", ""), login.Begin{})
	if err == nil {
		t.Fatal("before it began")
	}
	e, err := c.StartEnforced(ctx, talk)
	want(t, err, nil)
	again, err := c.StartEnforced(ctx, talk)
	want(t, err, nil)
	if e.Secret.Reveal() != again.Secret.Reveal() || e.User != "dana" {
		t.Errorf("%v %v", e, again)
	}
	_, err = c.Continue(ctx, talk, totp(c.codeOf(e.Secret, 0)), password("", ""), login.Begin{}) // not enrolled yet
	want(t, err, factor.ErrNoConversation)
	_, err = c.CompleteEnforced(ctx, talk, secret.New("12345"), password("", ""), login.Begin{})
	want(t, err, login.ErrFailed)
	done, err := c.CompleteEnforced(ctx, talk, c.codeOf(e.Secret, 0), password("", ""), login.Begin{Transport: session.Cookie})
	want(t, err, nil)
	want(t, c.opens(done.Token), nil)
	want(t, c.opens(earlier.Token), session.ErrInvalid)
	if done.Recovery.Empty() || done.Target != "/there" || c.sets["dana"].TOTP == nil {
		t.Errorf("%+v", done)
	}
	c.pass(time.Minute)
	if next := c.knock(t, "dana", login.Begin{}); next.Session.State != session.Pending {
		t.Errorf("%+v", next.Session)
	}
}

// An enrol-only session leads to a second factor and nowhere else.
func TestEnrolOnly(t *testing.T) {
	t.Parallel()
	t.Run("by_an_app", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		c.Enforcement = login.DemandAll
		in := c.knock(t, "dana", login.Begin{Transport: session.Cookie})
		want(t, c.opens(in.Token), login.ErrEnrolFirst)
		if is, err := c.Challenge(ctx, in.Caller); err != nil || !is.Enrol {
			t.Errorf("%+v, %v", is, err)
		}
		_, err := c.Complete(ctx, in.Caller, totp(secret.New("123456")))
		want(t, err, login.ErrNothingPending)
		_, err = c.ElevateByPassword(ctx, in.Caller, secret.New(phrase("dana")))
		want(t, err, nil)
		e, err := c.StartVoluntary(ctx, in.Caller)
		want(t, err, nil)
		done, err := c.CompleteVoluntary(ctx, in.Caller, e.Token, c.codeOf(e.Secret, 0))
		want(t, err, nil)
		want(t, c.opens(done.Token), nil)
		want(t, c.opens(in.Token), session.ErrInvalid)
	})
	t.Run("by_a_security_key", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		c.Enforcement = login.DemandAll
		in := c.knock(t, "dana", login.Begin{})
		_, err := c.StartDevice(ctx, in.Caller, es256)
		want(t, err, login.ErrLocked)
		_, err = c.UnlockSettings(ctx, in.Caller, secret.New(phrase("dana")))
		want(t, err, nil)
		_, err = c.addDevice(ctx, in.Caller, authenticator.New(authenticator.ES256), "Blue")
		want(t, err, nil)
		want(t, c.opens(in.Token), nil)
		want(t, c.RemoveDevice(ctx, in.Caller, "dana", "Blue"), factor.ErrLastFactor)
	})
	t.Run("without_the_password_once_more_where_the_door_says_so", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		in := c.knock(t, "erik", login.Begin{Elevated: true})
		_, err := c.StartVoluntary(ctx, in.Caller) // not demanded: nothing but the password was proved, and nothing is to be done
		want(t, err, login.ErrNotElevated)
		c.Enforcement = login.DemandAll
		in = c.knock(t, "dana", login.Begin{Elevated: true})
		_, err = c.StartVoluntary(ctx, in.Caller)
		want(t, err, nil)
		c.pass(c.ElevationFor)
		_, err = c.StartVoluntary(ctx, in.Caller) // rule F14
		want(t, err, login.ErrNotElevated)
		_, err = c.StartDevice(ctx, in.Caller, es256)
		want(t, err, login.ErrLocked)
	})
	t.Run("leaves_time_for_recovery_codes", func(t *testing.T) {
		t.Parallel()
		c, ctx := newClub(), t.Context()
		in := c.knock(t, "dana", login.Begin{})
		c.pass(time.Hour) // the sign-in is long ago, the elevation is not
		_, err := c.ElevateByPassword(ctx, in.Caller, secret.New(phrase("dana")))
		want(t, err, nil)
		got, err := c.addDevice(ctx, in.Caller, authenticator.New(authenticator.ES256), "Blue")
		want(t, err, nil)
		_, err = c.RecoveryList(ctx, got.Caller)
		want(t, err, nil)
	})
}

// A password that comes with each request opens nobody who has a second factor or must have one, and whether it is right stays unknown.
func TestAuthenticate_by_password_alone(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	_, err := c.Authenticate(ctx, password("dana", phrase("dana")))
	want(t, err, nil)
	c.enrol(t, "dana")
	for i := range 5 {
		_, err := c.Authenticate(ctx, password("dana", phrase("dana")))
		var failed *login.Failed
		if !errors.As(err, &failed) || failed.CaptchaDue != (i == 4) { // as for a wrong one
			t.Fatalf("%d: %v", i, err)
		}
	}
	c.Enforcement = login.DemandAll
	_, err = c.Authenticate(ctx, password("erik", phrase("erik")))
	want(t, err, login.ErrFailed)
	c.RefuseEnrolledBasic = false
	_, err = c.Authenticate(ctx, password("erik", phrase("erik")))
	want(t, err, nil)
}

func TestSafeTarget(t *testing.T) {
	t.Parallel()
	s := &login.Service{}
	for _, good := range []string{"/", "/a", "/a/b?c=d&e=%2F%2Fevil.test#f", "/a:b", "/a//b", "/%2f%2fevil.test", "/ä"} {
		if got := s.SafeTarget(good); got != good {
			t.Errorf("%q became %q", good, got)
		}
	}
	for _, bad := range []string{
		"", "a", "//evil.test", "///evil.test", `/\evil.test`, `\/evil.test`, `/a\b`, "https://evil.test/", "javascript:alert(1)", "/\t/evil.test", "/\n", "/a\x00", "/a\x7f",
		" /a", "/%", "/a\u0085b", "/\xff", "?a", "#a", "/" + strings.Repeat("a", 2048),
	} {
		if got := s.SafeTarget(bad); got != "/" {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// Whoever knows the password may begin as many sign-ins as they like: a wrong second factor leaves them the one that they answered (rule F7).
func TestComplete_wrong_ends_the_other_sign_ins_that_wait(t *testing.T) {
	t.Parallel()
	c, ctx, talk := newClub(), t.Context(), login.Begin{Talk: true}
	app, _ := c.enrol(t, "dana")
	other, _ := c.enrol(t, "erik")
	pending, talks := c.knock(t, "dana", login.Begin{}), make([]secret.String, 20)
	for i := range talks {
		talks[i] = c.knock(t, "dana", talk).Pending.Conversation
	}
	elsewhere := c.knock(t, "erik", talk).Pending.Conversation
	tried := 0
	for _, k := range talks {
		if _, err := c.Continue(ctx, k, totp(secret.New("12345")), password("", ""), talk); errors.Is(err, login.ErrFailed) {
			tried++
		}
	}
	if tried != 1 {
		t.Errorf("%d guesses were looked at", tried)
	}
	_, err := c.Complete(ctx, pending.Caller, totp(c.codeOf(app, 0)))
	want(t, err, login.ErrNothingPending)
	_, err = c.Continue(ctx, talks[0], totp(c.codeOf(app, 0)), password("", ""), talk) // a slip of the finger ends nothing of one's own
	want(t, err, nil)
	_, err = c.Continue(ctx, elsewhere, totp(c.codeOf(other, 0)), password("", ""), talk)
	want(t, err, nil)

	one, two := c.knock(t, "erik", login.Begin{}), c.knock(t, "erik", login.Begin{})
	_, err = c.Complete(ctx, one.Caller, totp(secret.New("12345")))
	want(t, err, login.ErrFailed)
	_, err = c.Complete(ctx, two.Caller, totp(c.codeOf(other, 1)))
	want(t, err, login.ErrNothingPending)
}

// Who knows the password before there is a second factor must not have a way around it afterwards.
func TestRecoveryList_from_before_the_first_second_factor(t *testing.T) {
	t.Parallel()
	for name, enrol := range map[string]func(c *club){
		"app":          func(c *club) { c.enrol(t, "dana") },
		"security_key": func(c *club) { c.device(t, "dana") },
	} {
		c, ctx := newClub(), t.Context()
		codes, err := c.RecoveryList(ctx, c.knock(t, "dana", login.Begin{}).Caller)
		want(t, err, nil)
		enrol(c)
		_, err = c.Complete(ctx, c.knock(t, "dana", login.Begin{}).Caller, recoveryCode(codes[0]))
		if !errors.Is(err, login.ErrFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A sign-in that found no second factor may be slower than the enrolment of one in another session: it adds none then.
func TestEnrol_only_is_over_once_there_is_a_second_factor(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	c.Enforcement = login.DemandAll
	in, talk := c.knock(t, "dana", login.Begin{Elevated: true}), c.knock(t, "dana", login.Begin{Talk: true})
	e, err := c.StartEnforced(ctx, talk.Pending.Conversation)
	want(t, err, nil)
	c.sets["dana"] = factor.Set{User: "dana", Devices: []factor.Device{{ID: "d1", Name: "Blue"}}}
	_, err = c.StartDevice(ctx, in.Caller, es256)
	want(t, err, session.ErrInvalid)
	_, err = c.StartVoluntary(ctx, in.Caller)
	want(t, err, session.ErrInvalid)
	_, err = c.RecoveryList(ctx, in.Caller)
	want(t, err, session.ErrInvalid)
	_, err = c.CompleteEnforced(ctx, talk.Pending.Conversation, c.codeOf(e.Secret, 0), password("", ""), login.Begin{Talk: true})
	want(t, err, factor.ErrEnrolled)
}
