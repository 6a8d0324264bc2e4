package access_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Rule F14: proof within the time, or an elevation that has not ended.
func TestFresh(t *testing.T) {
	t.Parallel()
	const within = 10 * time.Minute
	for name, c := range map[string]struct {
		by    access.Caller
		fresh bool
	}{
		"just now":              {access.Caller{Principal: access.Principal{Kind: access.User}, At: now}, true},
		"in time":               {access.Caller{Principal: access.Principal{Kind: access.User}, At: now.Add(-within + 1)}, true},
		"too long ago":          {access.Caller{Principal: access.Principal{Kind: access.User}, At: now.Add(-within)}, false},
		"elevated":              {access.Caller{Principal: access.Principal{Kind: access.User}, At: now.Add(-time.Hour), Elevated: now.Add(1)}, true},
		"elevation over":        {access.Caller{Principal: access.Principal{Kind: access.User}, At: now.Add(-time.Hour), Elevated: now}, false},
		"never":                 {access.Caller{Principal: access.Principal{Kind: access.User}}, false},
		"far in the future":     {access.Caller{Principal: access.Principal{Kind: access.User}, At: now.Add(within)}, false},
		"nobody":                {access.Caller{Principal: access.Principal{Kind: access.Nobody}, At: now}, false},
		"the zero caller":       {access.Caller{At: now, Elevated: now.Add(1)}, false},
		"at the server's shell": {access.Caller{Principal: access.Principal{Kind: access.Local}}, true},
	} {
		if err := access.Fresh(c.by, now, within); (err == nil) != c.fresh || err != nil && !errors.Is(err, access.ErrNotFresh) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecide_lets_everybody_look_after_themselves(t *testing.T) {
	t.Parallel()
	s := service(&memory{})
	dana, ci := user("dana", "*"), user("ci", "*")
	ci.Kind, ci.Account = access.Application, "blue"
	self, other := access.Subject{Kind: access.User, ID: "dana"}, access.Subject{Kind: access.User, ID: "eve"}
	for name, c := range map[string]struct {
		by      access.Caller
		do      access.Action
		on      access.Resource
		allowed bool
	}{
		"see oneself":              {dana, access.UserRead, access.Resource{Kind: access.UserKind, ID: "dana"}, true},
		"change one's password":    {dana, access.UserPassword, access.Resource{Kind: access.UserKind, ID: "dana"}, true},
		"not enable oneself":       {dana, access.UserUpdate, access.Resource{Kind: access.UserKind, ID: "dana"}, false},
		"end one's session":        {dana, access.SessionEnd, access.SessionOf(self, "s"), true},
		"not another's":            {dana, access.SessionEnd, access.SessionOf(other, "s"), false},
		"not a program's":          {dana, access.SessionEnd, access.SessionOf(access.Subject{Kind: access.Application, ID: "dana"}, "s"), false},
		"without scope nothing":    {user("dana"), access.SessionEnd, access.SessionOf(self, "s"), false},
		"a program sees itself":    {ci, access.ApplicationRead, access.InAccount("blue", access.ApplicationKind, "ci"), true},
		"no other":                 {ci, access.ApplicationRead, access.InAccount("blue", access.ApplicationKind, "cd"), false},
		"its account":              {ci, access.AccountRead, access.Account("blue"), true},
		"no other account":         {ci, access.AccountRead, access.Account("red"), false},
		"not its account's people": {ci, access.UserRead, access.Account("blue"), false},
		"not its own secret":       {ci, access.ApplicationReset, access.InAccount("blue", access.ApplicationKind, "ci"), false},
	} {
		d, err := s.Decide(t.Context(), c.by, c.do, c.on)
		if err != nil || d.Allowed != c.allowed {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}

func TestRoles_in_an_account(t *testing.T) {
	t.Parallel()
	app := access.InAccount("blue", access.ApplicationKind, "ci")
	for role, may := range map[access.Role][]bool{ // read people, read applications, make one, see its secret, members, disable the account
		access.AccountAuditor:       {true, true, false, false, false, false},
		access.AccountMember:        {true, true, false, false, false, false},
		access.AccountAdministrator: {true, true, true, true, true, true},
	} {
		m := &memory{bindings: []access.Binding{{Subject: access.Subject{Kind: access.User, ID: "dana"}, Role: role, Resource: access.Account("blue")}}}
		s := service(m)
		for i, do := range []struct {
			do access.Action
			on access.Resource
		}{
			{access.UserRead, access.Account("blue")},
			{access.ApplicationRead, app},
			{access.ApplicationCreate, app},
			{access.ApplicationCredential, app},
			{access.AccountMembers, access.Account("blue")},
			{access.AccountUpdate, access.Account("blue")},
		} {
			d, err := s.Decide(t.Context(), user("dana", "*"), do.do, do.on)
			if err != nil || d.Allowed != may[i] {
				t.Errorf("%s %s: %v, %v", role, do.do, d, err)
			}
			if d, _ := s.Decide(t.Context(), user("dana", "*"), do.do, access.Account("red")); d.Allowed {
				t.Errorf("%s %s in another account", role, do.do)
			}
		}
	}
}

func TestFor_asks_about_accounts_too(t *testing.T) {
	t.Parallel()
	m := &memory{bindings: []access.Binding{{Subject: access.Subject{Kind: access.User, ID: "dana"}, Role: access.AccountAdministrator, Resource: access.Account("blue")}}}
	as := service(m).For(user("dana", "*"))
	e, err := as.AuthorizeOn(t.Context(), "application.create", identity.Target{Kind: "application", ID: "a1", Account: "blue"})
	if err != nil || e.Action != "application.create" || e.Object.ID != "a1" || e.Actor.ID != "dana" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, on := range []identity.Target{{Kind: "application", ID: "a1", Account: "red"}, {Kind: "account", ID: "red"}, {}} {
		if _, err := as.AuthorizeOn(t.Context(), "application.create", on); !fault.Is(err, fault.Denied) {
			t.Errorf("%+v: %v", on, err)
		}
	}
	if e := as.Event("user.create", identity.Target{}); e.Object.Kind != access.InstallationKind {
		t.Errorf("%+v", e)
	}
	if self := as.Self(); self.Kind != "user" || self.ID != "dana" {
		t.Errorf("%+v", self)
	}
}

// Whoever sets up a provider can have it vouch for anybody, so it takes the highest role (rule W7).
func TestRoles_providers_are_set_up_by_the_highest_role_alone(t *testing.T) {
	t.Parallel()
	for do, admin := range map[access.Action]bool{
		access.ProviderRead: true, access.ProviderTest: true, access.ProviderLink: true, access.ProviderUnlink: true,
		access.ProviderCreate: false, access.ProviderUpdate: false, access.ProviderDelete: false,
	} {
		if access.Admin.Allows(do) != admin || !access.SysAdmin.Allows(do) {
			t.Errorf("%s: admin %v", do, access.Admin.Allows(do))
		}
	}
}
