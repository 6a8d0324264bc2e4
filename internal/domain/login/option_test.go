package login_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const crowd = "Crowd identity providers are not supported."

// only leaves those providers enabled, by their numbers.
func (p *port) only(numbers ...int64) {
	for i := range p.vouchers.all {
		p.vouchers.all[i].Enabled = false
		for _, n := range numbers {
			p.vouchers.all[i].Enabled = p.vouchers.all[i].Enabled || p.vouchers.all[i].Number == n
		}
	}
}

func TestLoginOptions(t *testing.T) {
	t.Parallel()
	hidden, fallback := policy.SSO{HideForm: true}, policy.SSO{HideForm: true, Fallback: true}
	for name, c := range map[string]struct {
		is        policy.SSO
		enabled   []int64
		crowd     bool // provider 3 is one that nobody can sign in by
		form, hid bool
		offered   string
	}{
		"form_and_all_providers_by_default":        {policy.SSO{}, []int64{1, 2, 3, 4}, false, true, false, "1 2 3 4"},
		"no_providers_that_are_disabled":           {policy.SSO{}, []int64{2}, false, true, false, "2"},
		"no_form_where_it_is_hidden":               {hidden, []int64{1, 4}, false, false, false, "1 4"},
		"a_form_on_demand":                         {fallback, []int64{3}, false, false, true, "3"},
		"a_fallback_that_nothing_hides_is_none":    {policy.SSO{Fallback: true}, []int64{3}, false, true, false, "3"},
		"the_form_where_no_provider_is_enabled":    {hidden, nil, false, true, false, ""},
		"and_then_it_is_not_hidden":                {fallback, nil, false, true, false, ""},
		"the_form_where_directories_need_it":       {hidden, []int64{4}, false, true, false, "4"},
		"the_form_where_nobody_can_sign_in_by_one": {hidden, []int64{3, 4}, true, true, false, "3 4"},
		"no_form_where_one_of_them_works":          {hidden, []int64{2, 3}, true, false, false, "2 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPort()
			p.only(c.enabled...)
			if c.crowd {
				p.vouchers.all[2].Settings.Unsupported = crowd
			}
			p.ruled(policy.Basic{}).sso = c.is
			o, err := p.LoginOptions(t.Context())
			var offered []string
			for _, one := range o.Providers {
				offered = append(offered, fmt.Sprint(one.Number))
				if !one.Secret.Empty() {
					t.Error("tells a secret")
				}
			}
			if err != nil || o.Form != c.form || o.Hidden != c.hid || strings.Join(offered, " ") != c.offered {
				t.Errorf("%+v, %v, %v", o, offered, err)
			}
			if reachable, err := p.FormReachable(t.Context()); err != nil || reachable != (c.form || c.hid) {
				t.Errorf("reachable: %v, %v", reachable, err)
			}
		})
	}
	t.Run("nothing_while_the_policy_cannot_be_read", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		away := errors.New("away")
		p.ruled(policy.Basic{}).err = away
		_, err := p.LoginOptions(t.Context())
		want(t, err, away)
		reachable, err := p.FormReachable(t.Context())
		want(t, err, away)
		if reachable {
			t.Error("reachable")
		}
	})
}

// Nobody signs in by a provider that is not supported, whichever way it is tried: a browser is told why, and it is on record.
func TestUnsupported_providers(t *testing.T) {
	t.Parallel()
	t.Run("are_no_way_for_browsers", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.all[2].Settings.Unsupported = crowd
		_, err := p.Depart(t.Context(), 3, "/", p.at())
		if !fault.Is(err, fault.Denied) || fault.Text(err) != crowd || p.saml.begun != 0 || len(p.flows.rows) != 0 {
			t.Errorf("%v, %d begun", err, p.saml.begun)
		}
		if e := p.events.all[0]; e.Action != "login.saml" || !strings.Contains(e.Reason, crowd) || e.Address != inside.String() {
			t.Errorf("%+v", e)
		}
		if _, err := p.Depart(t.Context(), 1, "/", p.at()); err != nil {
			t.Error(err)
		}
	})
	t.Run("are_left_out_of_discovery", func(t *testing.T) {
		t.Parallel()
		p := newPort()
		p.vouchers.all[0].Settings.Unsupported, p.vouchers.all[2].Settings.Unsupported = crowd, crowd
		for _, account := range []string{"", accID} {
			at := p.at()
			at.Account = account
			all, err := p.Ways(t.Context(), at)
			if err != nil || len(all) != 3 || all[1].Provider.ID != "other" || all[2].Provider.ID != "ldap" {
				t.Errorf("%+v, %v", all, err)
			}
		}
	})
	for name, c := range map[string]struct {
		id, text string
		kind     login.Kind
		number   byte
		asked    bool // the flow's answer says what it belongs to
	}{
		"end_codes_that_are_on_their_way":      {"corp", "dana code", login.OIDC, 1, true},
		"end_assertions_that_are_on_their_way": {"saml", "dana to ", login.SAML, 0, true},
		"may_not_begin_by_themselves":          {"saml", "dana", login.SAML, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPort()
			p.vouchers.all[2].Settings.SAML.IDPInitiated = true
			in := p.vouched(c.kind, c.number, c.text)
			state := p.begin(t, c.id).State.Reveal()
			if c.asked {
				in.State = state
			}
			if c.asked && c.kind == login.SAML {
				in.Secret = secret.New(c.text + state)
			}
			for i := range p.vouchers.all {
				p.vouchers.all[i].Settings.Unsupported = crowd
			}
			want(t, p.try(t, in), login.ErrFailed)
			if c.asked && !strings.Contains(p.why(), crowd) || p.oidc.asked+p.saml.asked != 0 || len(p.seats.rows) != 0 {
				t.Errorf("%q", p.why())
			}
		})
	}
}
