package login_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// rulebook answers with the policies of a test.
type rulebook struct {
	policy.Store
	sso   policy.SSO
	basic policy.Basic
	err   error
}

func (b *rulebook) SSO(context.Context) (policy.SSO, error) { return b.sso, b.err }

func (b *rulebook) Basic(context.Context) (policy.Basic, error) {
	is := b.basic
	is.Version = 1
	return is, b.err
}

// ruled gives a hall policies that a test may change at any time.
func (h *hall) ruled(basic policy.Basic) *rulebook {
	b := &rulebook{basic: basic}
	h.Policy = &policy.Service{Store: b, Now: func() time.Time { return h.clock }}
	return b
}

const (
	restPath = "/rest/tsv/latest/status"
	notToken = "an HTTP token is no password"
	shut     = "passwords by Basic are blocked"
)

var httpToken = "BBDC-" + strings.Repeat("A", 44)

func byBasic(from login.Basic, name, text string) login.Presented {
	p := password(name, text)
	p.Basic, p.Path = from, restPath
	return p
}

func TestBasic_is_blocked_before_the_password_is_looked_at(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]login.Presented{
		"right":            byBasic(login.BasicREST, "dana", right),
		"wrong":            byBasic(login.BasicREST, "dana", "wrong"),
		"of_nobody":        byBasic(login.BasicREST, "nobody", right),
		"empty":            byBasic(login.BasicREST, "", ""),
		"nearly_a_token":   byBasic(login.BasicREST, "dana", httpToken+"A"),
		"token_lower_case": byBasic(login.BasicREST, "dana", strings.ToLower(httpToken)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHall()
			h.ruled(policy.Basic{Block: true})
			_, err := h.Authenticate(t.Context(), p)
			want(t, err, login.ErrBasicBlocked)
			want(t, h.try(t, p), login.ErrBasicBlocked)
			if !fault.Is(err, fault.Denied) || h.hasher.hashes != 0 || len(h.strikes.rows) != 0 || len(h.seats.rows) != 0 {
				t.Errorf("%v: %d hashes, %v", err, h.hasher.hashes, h.strikes.rows)
			}
			if e := h.events.all[0]; e.Reason != shut || e.Action != "login.password" || e.Actor.Name != "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestBasic_is_covered(t *testing.T) {
	t.Parallel()
	all := policy.Basic{Block: true, Warn: true}
	exempt := policy.Basic{Block: true, Warn: true, Paths: []string{"/rest/tsv/*"}}
	friend := policy.Basic{Block: true, Warn: true, Users: []string{"DANA@*"}}
	inBody, app := password("dana", right), program(appID, rightApp)
	app.Basic, app.Path = login.BasicElsewhere, restPath
	for name, c := range map[string]struct {
		is      policy.Basic
		scope   login.BasicScope
		p       login.Presented
		blocked bool
		warned  bool
	}{
		"below_rest":                        {all, login.ScopeREST, byBasic(login.BasicREST, "dana", right), true, true},
		"below_rest_where_nothing_is_said":  {all, "", byBasic(login.BasicREST, "dana", right), true, true},
		"elsewhere_not":                     {all, login.ScopeREST, byBasic(login.BasicElsewhere, "dana", right), false, false},
		"elsewhere_where_all_doors_are":     {all, login.ScopeAll, byBasic(login.BasicElsewhere, "dana", right), true, true},
		"below_rest_where_all_doors_are":    {all, login.ScopeAll, byBasic(login.BasicREST, "dana", right), true, true},
		"in_a_body_never":                   {all, login.ScopeAll, inBody, false, false},
		"by_programs_never":                 {all, login.ScopeAll, app, false, false},
		"on_a_path_that_is_let_through":     {exempt, login.ScopeAll, byBasic(login.BasicREST, "dana", right), false, true},
		"from_a_user_who_is_let_through":    {friend, login.ScopeAll, byBasic(login.BasicREST, "dana@example.test", right), false, true},
		"from_the_same_by_another_name":     {friend, login.ScopeAll, byBasic(login.BasicREST, "dana", right), true, true},
		"and_warned_of_without_blocking":    {policy.Basic{Warn: true}, login.ScopeREST, byBasic(login.BasicREST, "dana", right), false, true},
		"and_nothing_is_said_by_default":    {policy.Basic{}, login.ScopeAll, byBasic(login.BasicREST, "dana", right), false, false},
		"and_blocked_without_a_warning":     {policy.Basic{Block: true}, login.ScopeREST, byBasic(login.BasicREST, "dana", right), true, false},
		"and_a_wrong_password_is_warned_of": {policy.Basic{Warn: true}, login.ScopeREST, byBasic(login.BasicREST, "nobody", "wrong"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHall()
			h.BasicScope = c.scope
			h.ruled(c.is)
			err := h.try(t, c.p)
			if errors.Is(err, login.ErrBasicBlocked) != c.blocked {
				t.Error(err)
			}
			said := ""
			if c.warned {
				said = "Basic authentication may be disabled on this instance."
			}
			if text, err := h.BasicWarning(t.Context(), c.p); err != nil || text != said {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

// An HTTP token is never looked at as a password, not even where it is somebody's, and opens nothing; blocking does not cover it.
func TestBasic_with_an_HTTP_token(t *testing.T) {
	t.Parallel()
	for _, is := range []policy.Basic{{}, {Block: true, Warn: true}} {
		h := newHall()
		h.BasicScope, h.people.one.PasswordHash = login.ScopeAll, "hash of "+httpToken
		h.ruled(is)
		for _, door := range []login.Basic{login.BasicREST, login.BasicElsewhere} {
			p := byBasic(door, "dana", httpToken)
			err := h.try(t, p)
			want(t, err, login.ErrFailed)
			if text, err := h.BasicWarning(t.Context(), p); text != "" || err != nil {
				t.Errorf("%q, %v", text, err)
			}
			if errors.Is(err, login.ErrBasicBlocked) || h.hasher.hashes != 0 || len(h.strikes.rows) != 0 || h.events.all[0].Reason != notToken || h.waited[0] != h.MinFailure {
				t.Errorf("%v: %d hashes, %v, %v", err, h.hasher.hashes, h.strikes.rows, h.waited)
			}
		}
		want(t, h.try(t, password("dana", httpToken)), nil)
	}
}

func TestBasic_follows_a_change_at_once(t *testing.T) {
	t.Parallel()
	h := newHall()
	rules, p := h.ruled(policy.Basic{}), byBasic(login.BasicREST, "dana", right)
	want(t, h.try(t, p), nil)
	rules.basic.Block = true
	want(t, h.try(t, p), login.ErrBasicBlocked)
	rules.basic.Users = []string{"dana"}
	want(t, h.try(t, p), nil)
}

func TestBasic_opens_nobody_while_the_policy_cannot_be_read(t *testing.T) {
	t.Parallel()
	h := newHall()
	away := errors.New("away")
	h.ruled(policy.Basic{}).err = away
	p := byBasic(login.BasicREST, "dana", right)
	want(t, h.try(t, p), away)
	_, err := h.Authenticate(t.Context(), p)
	want(t, err, away)
	_, err = h.BasicWarning(t.Context(), p)
	want(t, err, away)
	if h.hasher.hashes != 0 {
		t.Error("hashed")
	}
	want(t, h.try(t, password("dana", right)), nil)
}

// Who is warned of is named where the password was right alone: anything else may be a password in the place of a name.
func TestOnBasic_hears_of_right_passwords_that_are_warned_of(t *testing.T) {
	t.Parallel()
	h := newHall()
	rules := h.ruled(policy.Basic{Warn: true})
	var heard []access.Caller
	h.OnBasic = func(who access.Caller) { heard = append(heard, who) }
	want(t, h.try(t, byBasic(login.BasicREST, "Dana@example.test", right)), nil)
	if _, err := h.Authenticate(t.Context(), byBasic(login.BasicREST, "dana", right)); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 2 || heard[0].ID != "u1" || heard[0].Name != "dana" || heard[0].Address != inside || heard[0].Door != "test" {
		t.Fatalf("%+v", heard)
	}
	_ = h.try(t, byBasic(login.BasicREST, "dana", "wrong"))
	_ = h.try(t, byBasic(login.BasicREST, right, "dana"))
	_ = h.try(t, byBasic(login.BasicElsewhere, "dana", right))
	_ = h.try(t, password("dana", right))
	_ = h.try(t, program(appID, rightApp))
	rules.basic.Block = true
	_ = h.try(t, byBasic(login.BasicREST, "dana", right))
	rules.basic = policy.Basic{}
	_ = h.try(t, byBasic(login.BasicREST, "dana", right))
	if len(heard) != 2 {
		t.Errorf("%+v", heard[2:])
	}
}

func TestBasic_leaves_no_secret_in_events(t *testing.T) {
	t.Parallel()
	h := newHall()
	h.ruled(policy.Basic{Block: true, Warn: true})
	for _, text := range []string{right, httpToken} {
		p := byBasic(login.BasicREST, text, text)
		p.Secret = secret.New(text)
		_ = h.try(t, p)
		for _, e := range h.events.all {
			if strings.Contains(e.Reason+e.Actor.Name+e.Object.Name, text) {
				t.Errorf("%+v", e)
			}
		}
	}
}
