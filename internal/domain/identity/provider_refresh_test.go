package identity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// synced is a provider that adds people and says which groups they are in.
func synced(id string) identity.Provider {
	p := oidcProvider(id, "", true)
	p.Settings.JIT.Groups = "groups"
	return p
}

// arriving is dana, linked to corp, as she comes from it.
func arriving(change func(*outside), groups ...string) (*identity.Providers, *outside, identity.Visitor) {
	dana := person("dana")
	dana.Names.Display = "The dana"
	s, o := newProviders(dana, person("eve"))
	o.all = []identity.Provider{synced("corp"), {ID: "directory", Kind: identity.LDAP}}
	o.links = []identity.Link{{Provider: "corp", Subject: "subject of dana", User: "dana"}}
	if change != nil {
		change(o)
	}
	v := visitor("dana")
	v.Groups, v.GroupsSaid = groups, true
	return s, o, v
}

func (o *outside) group(id, name string, users ...string) {
	o.groups = append(o.groups, identity.Group{ID: id, Account: identity.DefaultAccount, Name: name})
	for _, u := range users {
		o.in = append(o.in, inGroup{id, u, ""})
	}
}

// groupsOf lists the groups that a user is in, by name.
func (o *outside) groupsOf(user string) string {
	var names []string
	for _, m := range o.in {
		for _, g := range o.groups {
			if m.user == user && g.ID == m.group {
				names = append(names, g.Name)
			}
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (o *outside) user(id string) identity.User {
	u, _ := o.memory.ByID(context.Background(), id)
	return u
}

// With JIT every sign-in makes a user what the provider says, in one change with one event that repeats nothing of what it said.
func TestArrive_refreshes(t *testing.T) {
	t.Parallel()
	none := func(*outside) {}
	for what, c := range map[string]struct {
		before  func(*outside)
		p       func(*identity.Provider)
		v       func(*identity.Visitor)
		changed string // what the event says; empty: there is none
		display string
		email   string
		vouched bool
		groups  string
	}{
		"nothing_where_nothing_is_new":          {none, nil, nil, "", "The dana", "dana@example.test", true, ""},
		"the_display_name":                      {none, nil, func(v *identity.Visitor) { v.Display = "Dana R." }, "display_name", "Dana R.", "dana@example.test", true, ""},
		"no_display_name_that_cannot_be_kept":   {none, nil, func(v *identity.Visitor) { v.Display = "Dana\x00R." }, "", "The dana", "dana@example.test", true, ""},
		"nothing_that_nothing_maps":             {none, nil, func(v *identity.Visitor) { v.Display, v.Email = "", "" }, "", "The dana", "dana@example.test", true, ""},
		"the_address":                           {none, nil, func(v *identity.Visitor) { v.Email = "d@example.test" }, "email", "The dana", "d@example.test", true, ""},
		"the_address_unverified":                {none, nil, func(v *identity.Visitor) { v.Email, v.EmailVerified = "d@example.test", false }, "email", "The dana", "d@example.test", false, ""},
		"the_spelling_of_the_address":           {none, nil, func(v *identity.Visitor) { v.Email, v.EmailVerified = "Dana@Example.test", false }, "email", "The dana", "Dana@Example.test", true, ""},
		"an_address_that_is_vouched_for_now":    {func(o *outside) { o.users[0].EmailVerified = false }, nil, nil, "email_verified", "The dana", "dana@example.test", true, ""},
		"no_name_under_which_somebody_signs_in": {none, nil, func(v *identity.Visitor) { v.Name = "root" }, "", "The dana", "dana@example.test", true, ""},
		"nothing_without_JIT": {
			none, func(p *identity.Provider) { p.Settings.JIT.Provision = false },
			func(v *identity.Visitor) {
				v.Display, v.Email, v.Groups, v.Unmapped = "x", "x@example.test", []string{"x"}, "x"
			}, "", "The dana", "dana@example.test", true, "",
		},
		"groups_by_making_them":  {none, nil, func(v *identity.Visitor) { v.Groups = []string{"ops", "dev"} }, "groups", "The dana", "dana@example.test", true, "dev ops"},
		"groups_by_joining_them": {func(o *outside) { o.group("g1", "ops", "eve") }, nil, func(v *identity.Visitor) { v.Groups = []string{"ops"} }, "groups", "The dana", "dana@example.test", true, "ops"},
		"groups_by_leaving_them": {func(o *outside) { o.group("g1", "ops", "dana", "eve") }, nil, nil, "groups", "The dana", "dana@example.test", true, ""},
		"groups_by_leaving_those_of_a_provider_alone_where_nothing_is_said": {
			func(o *outside) {
				o.group("g1", "ops", "dana")
				o.group("g2", "dev", "dana")
				o.in[1].provider = "another"
			}, nil, func(v *identity.Visitor) { v.GroupsSaid = false }, "groups", "The dana", "dana@example.test", true, "ops",
		},
		"no_groups_by_hand_where_nothing_is_said": {
			func(o *outside) { o.group("g1", "ops", "dana") }, nil, func(v *identity.Visitor) { v.GroupsSaid = false }, "", "The dana", "dana@example.test", true, "ops",
		},
		"no_groups_they_are_in":    {func(o *outside) { o.group("g1", "ops", "dana") }, nil, func(v *identity.Visitor) { v.Groups = []string{"ops"} }, "", "The dana", "dana@example.test", true, "ops"},
		"groups_in_another_case":   {func(o *outside) { o.group("g1", "Ops", "dana"); o.group("g2", "Straße") }, nil, func(v *identity.Visitor) { v.Groups = []string{"OPS", "ops ", "STRASSE"} }, "groups", "The dana", "dana@example.test", true, "Ops Straße"},
		"no_groups_without_a_name": {func(o *outside) { o.group("g1", "ops", "dana") }, func(p *identity.Provider) { p.Settings.JIT.Groups = "" }, func(v *identity.Visitor) { v.Groups = []string{"dev"} }, "", "The dana", "dana@example.test", true, "ops"},
		"no_groups_of_other_accounts": {
			func(o *outside) {
				o.group("g1", "ops", "dana")
				o.groups[0].Account = "elsewhere"
			}, nil, nil, "", "The dana", "dana@example.test", true, "ops",
		},
		"no_groups_of_guests": {
			func(o *outside) { o.users[0].Account = "elsewhere" }, nil, func(v *identity.Visitor) { v.Groups = []string{"ops"} }, "", "The dana", "dana@example.test", true, "",
		},
		"no_groups_that_cannot_be_one": {
			none, nil, func(v *identity.Visitor) {
				v.Groups = []string{"", " \t ", "a\x00b", "a\nb", "o\u200bps", "o\u00adps", "\u202eops", "\xff", strings.Repeat("x", 256), strings.Repeat("\ufdfa", 200)}
			}, "", "The dana", "dana@example.test", true, "",
		},
		"no_administrators_groups": {
			func(o *outside) { o.group("g1", "Admins", "eve"); o.heavy = map[string]bool{"g1": true} }, nil, func(v *identity.Visitor) { v.Groups = []string{"admins"} }, "", "The dana", "dana@example.test", true, "",
		},
		"administrators_groups_by_leaving_them": {
			func(o *outside) { o.group("g1", "Admins", "dana"); o.heavy = map[string]bool{"g1": true} }, nil, nil, "groups", "The dana", "dana@example.test", true, "",
		},
		"no_administrators_groups_that_are_listed_still": {
			func(o *outside) { o.group("g1", "Admins", "dana"); o.heavy = map[string]bool{"g1": true} }, nil, func(v *identity.Visitor) { v.Groups = []string{"admins"} }, "", "The dana", "dana@example.test", true, "Admins",
		},
		"nobody_whom_a_directory_knows": {
			func(o *outside) {
				o.links = append(o.links, identity.Link{Provider: "directory", Subject: "uid=dana", User: "dana"})
				o.group("g1", "ops", "dana")
			}, nil, func(v *identity.Visitor) {
				v.Display, v.Email, v.Groups, v.Unmapped = "x", "x@example.test", []string{"x"}, "no claim"
			}, "", "The dana", "dana@example.test", true, "ops",
		},
		"of_administrators_the_groups_alone": {
			func(o *outside) { o.guarded = "dana"; o.group("g1", "ops", "dana") }, nil,
			func(v *identity.Visitor) { v.Display, v.Email, v.Groups = "x", "eve@example.test", []string{"dev"} }, "groups", "The dana", "dana@example.test", true, "dev",
		},
		"everything_at_once": {
			func(o *outside) { o.group("g1", "ops", "dana") }, nil,
			func(v *identity.Visitor) { v.Display, v.Email, v.Groups = "D", "d@example.test", []string{"dev"} }, "display_name, email, groups", "D", "d@example.test", true, "dev",
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, o, v := arriving(c.before)
			p := o.all[0]
			if c.p != nil {
				c.p(&p)
			}
			if c.v != nil {
				c.v(&v)
			}
			was := o.user("dana")
			u, err := s.Arrive(t.Context(), p, v)
			if err != nil || u.ID != "dana" || u.Names.Display != c.display || u.Email != c.email || u.EmailVerified != c.vouched || u.Name != "dana" || u != o.user("dana") {
				t.Errorf("%+v, %v; stored %+v", u, err, o.user("dana"))
			}
			if got := o.groupsOf("dana"); got != c.groups {
				t.Errorf("in groups %q", got)
			}
			if c.changed == "" {
				if len(o.events) > 0 || u != was {
					t.Errorf("it was written: %+v", o.events)
				}
				return
			}
			if len(o.events) != 1 || o.events[0].Action != "user.update" || o.events[0].Object.ID != "dana" || o.events[0].Detail["changed"] != c.changed || o.events[0].Detail["provider"] != "corp" {
				t.Fatalf("%+v", o.events)
			}
			if said := string(o.events[0].Body()); strings.Contains(said, "@example") || strings.Contains(said, "Dana R.") || strings.Contains(said, "ops") {
				t.Errorf("the event repeats what the provider said: %s", said)
			}
			looks := o.looks
			if again, err := s.Arrive(t.Context(), p, v); err != nil || again != u || len(o.events) != 1 || o.looks == looks {
				t.Errorf("again: %+v, %v, %d events", again, err, len(o.events))
			}
		})
	}
}

// Who is too little known, or is said to be somebody else, does not come in, and nothing changes.
func TestArrive_refuses_to_refresh(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		before func(*outside)
		v      func(*identity.Visitor)
		reason string
	}{
		"without_a_mapped_claim":            {nil, func(v *identity.Visitor) { v.Unmapped = "the claim mail is missing" }, "the claim mail is missing"},
		"with_the_address_of_somebody_else": {nil, func(v *identity.Visitor) { v.Email = "EVE@example.test" }, "another user has the e-mail address"},
		"with_an_address_that_is_none":      {nil, func(v *identity.Visitor) { v.Email = "dana at example" }, "no e-mail address that can be kept"},
		"a_user_who_is_disabled":            {func(o *outside) { o.users[0].Disabled = true }, nil, "disabled"},
		"a_user_of_a_disabled_account":      {func(o *outside) { o.users[0].AccountShut = true }, nil, "disabled"},
		"somebody_new_without_a_mapped_claim": {
			func(o *outside) { o.links = nil; o.users = nil }, func(v *identity.Visitor) { v.Unmapped = "the claim mail is missing" }, "the claim mail is missing",
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, o, v := arriving(func(o *outside) { o.group("g1", "ops", "dana") }, "dev")
			if c.before != nil {
				c.before(o)
			}
			v.Display = "another"
			if c.v != nil {
				c.v(&v)
			}
			before := fmt.Sprint(o.users, o.groups, o.in, o.links)
			u, err := s.Arrive(t.Context(), o.all[0], v)
			var why *identity.Stranger
			if !errors.Is(err, identity.ErrStranger) || !errors.As(err, &why) || !strings.Contains(why.Reason, c.reason) {
				t.Errorf("%+v, %v", u, err)
			}
			if after := fmt.Sprint(o.users, o.groups, o.in, o.links); after != before || len(o.events) > 0 {
				t.Errorf("was %s\n is %s\n%+v", before, after, o.events)
			}
		})
	}
}

// Whom a policy would link is not linked when the provider gives them somebody else's address: never by e-mail alone (rule F12).
func TestArrive_links_nobody_with_the_address_of_another(t *testing.T) {
	t.Parallel()
	for _, email := range []string{"eve@example.test", "none"} {
		s, o, v := arriving(func(o *outside) { o.links = nil })
		p := o.all[0]
		p.Settings.Link, v.Email = identity.LinkByName, email
		if u, err := s.Arrive(t.Context(), p, v); !errors.Is(err, identity.ErrStranger) || len(o.links) > 0 || len(o.events) > 0 {
			t.Errorf("%s: %+v, %v, links %+v", email, u, err, o.links)
		}
		v.Name, v.Email = "stranger", "eve@example.test" // no silent linking either
		if u, err := s.Arrive(t.Context(), p, v); !errors.Is(err, identity.ErrStranger) || len(o.links) > 0 {
			t.Errorf("%+v, %v, links %+v", u, err, o.links)
		}
	}
}

func TestArrive_puts_whom_it_makes_into_groups(t *testing.T) {
	t.Parallel()
	s, o, v := arriving(func(o *outside) { o.users, o.links = nil, nil }, "ops")
	u, err := s.Arrive(t.Context(), o.all[0], v)
	if err != nil || o.groupsOf(u.ID) != "ops" || o.groups[0].Creator != (identity.Creator{Kind: "provider", ID: "corp"}) || o.in[0].provider != "corp" || o.groups[0].Account != identity.DefaultAccount {
		t.Errorf("%+v, %v, %+v %+v", u, err, o.groups, o.in)
	}
	if last := o.events[len(o.events)-1]; o.events[0].Action != "user.create" || last.Action != "user.update" || last.Detail["changed"] != "groups" {
		t.Errorf("%+v", o.events)
	}
}

func TestArrive_joins_administrators_groups_where_that_was_chosen(t *testing.T) {
	t.Parallel()
	s, o, v := arriving(func(o *outside) { o.group("g1", "Admins"); o.heavy = map[string]bool{"g1": true} }, "admins")
	s.JITAdminGroups = true
	if _, err := s.Arrive(t.Context(), o.all[0], v); err != nil || o.groupsOf("dana") != "Admins" {
		t.Errorf("%q, %v", o.groupsOf("dana"), err)
	}
}

// However many groups a provider lists, and in whatever order, the same 200 come out, and who is in one that is listed stays.
func TestArrive_bounds_groups(t *testing.T) {
	t.Parallel()
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("group-%05d", i)
	}
	s, o, v := arriving(func(o *outside) { o.group("last", "group-09999", "dana") }, append(many, "", "\x00")...)
	if _, err := s.Arrive(t.Context(), o.all[0], v); err != nil {
		t.Fatal(err)
	}
	first := o.groupsOf("dana")
	if len(o.in) != 200 || !strings.HasPrefix(first, "group-00000 group-00001 ") || !strings.HasSuffix(first, "group-00198 group-09999") {
		t.Errorf("%d: %s", len(o.in), first)
	}
	if d := o.events[0].Detail; d["groups_too_many"] != "9800" || d["groups_unusable"] != "2" || d["groups_joined"] != "199" || d["groups_made"] != "199" {
		t.Errorf("%v", d)
	}
	slices.Reverse(v.Groups)
	if _, err := s.Arrive(t.Context(), o.all[0], v); err != nil || len(o.events) != 1 || o.groupsOf("dana") != first {
		t.Errorf("in another order: %v, %d events", err, len(o.events))
	}
}

// What changes while somebody comes in is looked at once more: a group that was made meanwhile is weighed like any other.
func TestArrive_refreshes_what_changed_meanwhile(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		before  func(*outside)
		between func(*outside)
		want    string
	}{
		"a_group_of_that_name_came":             {nil, func(o *outside) { o.group("new", "OPS") }, "OPS"},
		"one_of_administrators_came":            {nil, func(o *outside) { o.group("new", "OPS"); o.heavy = map[string]bool{"new": true} }, ""},
		"the_group_went":                        {func(o *outside) { o.group("old", "ops") }, func(o *outside) { o.groups = nil }, "ops"},
		"another_sign_in_did_all_of_it":         {nil, func(o *outside) { o.group("new", "ops", "dana") }, "ops"},
		"somebody_put_them_into_one_not_listed": {nil, func(o *outside) { o.group("new", "dev", "dana") }, "ops"},
		"they_were_disabled":                    {nil, func(o *outside) { o.users[0].Disabled = true }, ""},
		"a_directory_took_them": {nil, func(o *outside) {
			o.links = append(o.links, identity.Link{Provider: "directory", Subject: "x", User: "dana"})
		}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, o, v := arriving(c.before, "ops")
			o.between = func() { c.between(o) }
			u, err := s.Arrive(t.Context(), o.all[0], v)
			if errors.Is(err, identity.ErrStranger) != o.user("dana").Disabled || err != nil && !errors.Is(err, identity.ErrStranger) || o.groupsOf("dana") != c.want {
				t.Errorf("%+v, %v, in %q", u, err, o.groupsOf("dana"))
			}
		})
	}
}

func TestMade(t *testing.T) {
	t.Parallel()
	s, o, v := arriving(func(o *outside) { o.users, o.links = nil, nil })
	o.users = append(o.users, person("ana"))
	u, err := s.Arrive(t.Context(), o.all[0], v)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := s.Made(t.Context(), providing); err != nil || len(made) != 1 || made[0].ID != u.ID {
		t.Errorf("%+v, %v", made, err)
	}
	if made, err := s.Made(t.Context(), may{}); err == nil || made != nil {
		t.Errorf("nobody may see it: %+v", made)
	}
}

type inGroup struct{ group, user, provider string }

func (o *outside) Standing(ctx context.Context, user string, names []string) (identity.Standing, error) {
	o.looks++
	var is identity.Standing
	var err error
	if is.User, err = o.memory.ByID(ctx, user); err != nil {
		return is, err
	}
	is.Guest = is.User.Account != identity.DefaultAccount
	for _, l := range o.links {
		p, err := o.find(func(p identity.Provider) bool { return p.ID == l.Provider })
		is.Remote = is.Remote || l.User == user && err == nil && p.Kind == identity.LDAP
	}
	for _, g := range o.groups {
		if g.Account != identity.DefaultAccount {
			continue
		}
		if slices.ContainsFunc(o.in, func(m inGroup) bool { return m.group == g.ID && m.user == user }) {
			is.In = append(is.In, g)
			if slices.ContainsFunc(o.in, func(m inGroup) bool { return m.group == g.ID && m.user == user && m.provider != "" }) {
				is.Vouched = append(is.Vouched, g.ID)
			}
		}
		if slices.Contains(names, identity.Fold(g.Name)) {
			is.Named = append(is.Named, g)
		}
	}
	return is, nil
}

// Refresh is all or nothing: what cannot be stored leaves no trace.
func (o *outside) Refresh(ctx context.Context, user string, names []string, decide func(identity.Standing) (identity.Update, error)) (identity.User, error) {
	if between := o.between; between != nil {
		o.between = nil
		between()
	}
	now, err := o.Standing(ctx, user, names)
	if err != nil {
		return identity.User{}, err
	}
	to, err := decide(now)
	if err != nil || to.Event.Action == "" {
		return to.User, err
	}
	for _, g := range to.Make {
		if slices.ContainsFunc(o.groups, func(x identity.Group) bool {
			return x.Account == g.Account && identity.Fold(x.Name) == identity.Fold(g.Name)
		}) {
			return identity.User{}, identity.ErrOvertaken
		}
	}
	other, err := o.ByEmail(ctx, to.User.Account, identity.FoldEmail(to.User.Email))
	if err == nil && other.ID != user {
		return identity.User{}, identity.ErrEmailTaken
	}
	if err != nil && !errors.Is(err, identity.ErrUnknown) {
		return identity.User{}, err
	}
	for i := range o.users {
		if o.users[i].ID == user {
			o.users[i] = to.User
		}
	}
	o.groups = append(o.groups, to.Make...)
	for _, g := range to.Make {
		to.Join = append(to.Join, g.ID)
	}
	for _, g := range to.Join {
		o.in = append(o.in, inGroup{g, user, to.Provider})
	}
	o.in = slices.DeleteFunc(o.in, func(m inGroup) bool { return m.user == user && slices.Contains(to.Leave, m.group) })
	o.events = append(o.events, to.Event)
	return to.User, nil
}

func (o *outside) Made(context.Context) (found []identity.User, _ error) {
	for _, u := range o.users {
		if slices.Contains(o.made, u.ID) {
			found = append(found, u)
		}
	}
	return found, nil
}
