package access_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// club is a memory with groups: whom each has as members.
type club struct {
	*memory
	members map[string][]string // users by group
	revoked []access.Binding
}

func (c *club) BindingsOf(ctx context.Context, of access.Subject) ([]access.Binding, error) {
	all, err := c.memory.BindingsOf(ctx, of)
	for group, users := range c.members {
		for _, u := range users {
			if of != (access.Subject{Kind: access.User, ID: u}) {
				continue
			}
			theirs, _ := c.memory.BindingsOf(ctx, access.Subject{Kind: access.Group, ID: group})
			for _, b := range theirs {
				b.Name = "the " + group
				all = append(all, b)
			}
		}
	}
	return all, err
}

func (c *club) Revoke(_ context.Context, b access.Binding, e audit.Event) error {
	c.revoked, c.events = append(c.revoked, b), append(c.events, e)
	return nil
}

func group(id string, role access.Role, on access.Resource) access.Binding {
	return access.Binding{Subject: access.Subject{Kind: access.Group, ID: id}, Role: role, Resource: on}
}

// clubbed has group g-a, of account a1, and all others of the default account; nobody is what does not exist.
func clubbed(c *club) *access.Service {
	s := service(c.memory)
	s.Store = c
	s.Belongs = func(_ context.Context, on access.Resource) (access.Resource, error) {
		switch {
		case on.Kind != access.GroupKind || on.ID == "nobody":
		case on.ID == "g-a":
			on.Parents = []access.Resource{access.Account("a1")}
		default:
			on.Parents = []access.Resource{access.Account(identity.DefaultAccount)}
		}
		return on, nil
	}
	return s
}

func TestGroups_give_their_members_what_they_hold(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := &club{memory: &memory{bindings: []access.Binding{
		group("ops", access.ProjectWriter, access.Project("p1")), group("heads", access.SysAdmin, access.Installation), holding("adam", access.Admin, access.Installation),
	}}, members: map[string][]string{"ops": {"bob"}, "heads": {"eve"}}}
	s := clubbed(c)
	s.Standing = func(_ context.Context, of access.Subject) (string, string, error) { return of.ID, "", nil }

	d, err := s.Explain(ctx, user("adam", "*"), person("bob"), access.KeyproofCreate, access.Project("p1"))
	if err != nil || !d.Allowed || !strings.Contains(d.String(), "role project.write on project p1, as a member of group the ops, allows keyproof.create") {
		t.Errorf("%v %q, %v", d.Allowed, d, err)
	}
	if above, err := s.Outranks(ctx, "eve", user("adam", "*")); err != nil || !above {
		t.Errorf("a system administrator by a group ranks below an administrator: %v, %v", above, err)
	}
	if err := s.Require(ctx, user("adam", "*"), access.UserUpdate, access.Resource{Kind: access.UserKind, ID: "eve"}); !fault.Is(err, fault.Denied) {
		t.Errorf("an administrator changes a system administrator: %v", err)
	}
	if holds, err := s.Holds(ctx, person("eve"), access.Admin, access.Installation); err != nil || !holds {
		t.Errorf("%v, %v", holds, err)
	}
	for id, heavy := range map[string]bool{"ops": false, "heads": true, "nobody": false} {
		if got, err := s.Heavy(ctx, id); err != nil || got != heavy {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
	c.members["ops"] = nil // and lose it at once
	if err := s.Require(ctx, user("bob", "*"), access.KeyproofCreate, access.Project("p1")); !fault.Is(err, fault.Denied) {
		t.Errorf("after leaving: %v", err)
	}
	if d, err := s.Decide(ctx, access.Caller{Principal: access.Principal{Kind: access.Group, ID: "heads"}, Scopes: []access.Action{"*"}}, access.UserRead, access.Installation); err != nil || d.Allowed {
		t.Errorf("a group acts: %v, %v", d, err)
	}
}

// Only groups of the default account hold roles on the installation, and none holds one in an account.
func TestGrant_to_groups(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		by    access.Caller
		group string
		role  access.Role
		on    access.Resource
		want  fault.Kind // Internal: it is given
	}{
		"a_role_on_a_project":                            {user("ana", "*"), "ops", access.ProjectWriter, access.Project("p1"), fault.Internal},
		"a_role_on_a_project_to_one_of_another_account":  {user("ana", "*"), "g-a", access.ProjectWriter, access.Project("p1"), fault.Internal},
		"a_role_on_the_installation":                     {user("ana", "*"), "ops", access.Admin, access.Installation, fault.Internal},
		"none_on_the_installation_to_one_of_another":     {user("ana", "*"), "g-a", access.Licensed, access.Installation, fault.Invalid},
		"none_in_an_account":                             {user("ana", "*"), "ops", access.AccountAdministrator, access.Account(identity.DefaultAccount), fault.Invalid},
		"none_in_its_own_account":                        {user("ana", "*"), "g-a", access.AccountMember, access.Account("a1"), fault.Invalid},
		"nothing_to_a_group_that_is_not_there":           {user("ana", "*"), "nobody", access.ProjectWriter, access.Project("p1"), fault.NotFound},
		"nothing_above_the_grantor":                      {user("adam", "*"), "ops", access.SysAdmin, access.Installation, fault.Denied},
		"nothing_without_the_right_whether_it_is_or_not": {user("bob", "*"), "nobody", access.ProjectWriter, access.Project("p1"), fault.Denied},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := &club{memory: &memory{bindings: []access.Binding{holding("ana", access.SysAdmin, access.Installation), holding("adam", access.Admin, access.Installation)}}}
			err := clubbed(m).Grant(context.Background(), c.by, access.Subject{Kind: access.Group, ID: c.group}, c.role, c.on)
			if c.want == fault.Internal {
				if err != nil || len(m.events) != 1 || m.events[0].Detail["to"] != "group "+c.group {
					t.Errorf("%v, %+v", err, m.events)
				}
				return
			}
			if !fault.Is(err, c.want) || len(m.events) != 0 {
				t.Errorf("%v, %+v", err, m.events)
			}
		})
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	ops := access.Subject{Kind: access.Group, ID: "ops"}
	c := &club{memory: &memory{bindings: []access.Binding{holding("ana", access.SysAdmin, access.Installation)}}}
	s := clubbed(c)
	if err := s.Revoke(context.Background(), user("bob", "*"), ops, access.Admin, access.Installation); !fault.Is(err, fault.Denied) || len(c.revoked) > 0 {
		t.Errorf("without the right: %v", err)
	}
	c.bindings = append(c.bindings, holding("carl", access.Admin, access.Installation))
	if err := s.Revoke(context.Background(), user("carl", "*"), ops, access.SysAdmin, access.Installation); !fault.Is(err, fault.Denied) || len(c.revoked) > 0 {
		t.Errorf("what he could not give: %v", err)
	}
	if err := s.Revoke(context.Background(), user("ana", "*"), ops, access.Admin, access.Installation); err != nil || len(c.revoked) != 1 || c.revoked[0].Subject != ops {
		t.Errorf("%v, %+v", err, c.revoked)
	}
	if e := c.events[0]; e.Action != "access.revoke" || e.Detail["from"] != "group ops" || e.Detail["role"] != "admin" {
		t.Errorf("%+v", e)
	}
}

// Rule W7: somebody may add to a group exactly when they could grant each of the roles that it holds.
func TestMayGiveAll_is_the_right_to_grant_each(t *testing.T) {
	t.Parallel()
	resources := []access.Resource{access.Installation, access.Project("p1"), access.Project("p2")}
	roles := []access.Role{access.Licensed, access.ProjectCreator, access.Admin, access.SysAdmin, access.ProjectReader, access.ProjectWriter, access.ProjectAdmin}
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		c := &club{memory: &memory{}}
		s := clubbed(c)
		draw := func(who access.Subject) {
			for range rapid.IntRange(0, 3).Draw(t, "bindings") {
				role, on := rapid.SampledFrom(roles).Draw(t, "role"), rapid.SampledFrom(resources).Draw(t, "on")
				if err := s.Grant(ctx, access.LocalCaller("root", now), who, role, on); err != nil && !fault.Is(err, fault.Invalid) {
					t.Fatal(err)
				}
			}
		}
		ops := access.Subject{Kind: access.Group, ID: "ops"}
		draw(person("ana"))
		draw(ops)
		by := user("ana", "*")
		if rapid.Bool().Draw(t, "limited") {
			by.Limit = access.Project("p1")
		}
		held, _ := c.memory.BindingsOf(ctx, ops)
		want := true
		for _, b := range held {
			want = want && s.Grant(ctx, by, person("eve"), b.Role, b.Resource) == nil
		}
		err := s.MayGiveAll(ctx, by, ops)
		if (err == nil) != want || err != nil && !fault.Is(err, fault.Denied) {
			t.Fatalf("%v, and each alone: %v; %+v", err, want, c.bindings)
		}
		if weighed := s.Weigh(ctx, s.For(by), "ops"); (weighed == nil) != want {
			t.Fatalf("weighed: %v", weighed)
		}
	})
}

// Rule W7 with groups between: whatever people give to groups and whomever they add, nobody ends with a right that ana did not have.
func TestGroups_never_lift_anybody_above_the_grantor(t *testing.T) {
	t.Parallel()
	resources := []access.Resource{access.Installation, access.Project("p1"), access.Project("p2"), access.Within("p1", "verify_session", "s")}
	roles := []access.Role{access.Licensed, access.ProjectCreator, access.Admin, access.SysAdmin, access.ProjectReader, access.ProjectWriter, access.ProjectAdmin}
	people, groups := []string{"ana", "bob", "eve"}, []string{"ops", "dev", "g-a"}
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		c := &club{memory: &memory{}, members: make(map[string][]string)}
		c.bindings = []access.Binding{holding("ana", rapid.SampledFrom(roles).Draw(t, "role"), rapid.SampledFrom(resources[:3]).Draw(t, "on"))}
		s := clubbed(c)
		may := func(who string, on access.Resource, do access.Action) bool {
			d, err := s.Decide(ctx, user(who, "*"), do, on)
			if err != nil {
				t.Fatal(err)
			}
			return d.Allowed
		}
		before := make(map[string]bool)
		for _, on := range resources {
			for _, do := range actions {
				before[on.String()+" "+string(do)] = may("ana", on, do)
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			by, g := user(rapid.SampledFrom(people).Draw(t, "by"), "*"), rapid.SampledFrom(groups).Draw(t, "group")
			if rapid.Bool().Draw(t, "adds") {
				if s.Weigh(ctx, s.For(by), g) == nil {
					c.members[g] = append(c.members[g], rapid.SampledFrom(people).Draw(t, "whom"))
				}
				continue
			}
			_ = s.Grant(ctx, by, access.Subject{Kind: access.Group, ID: g}, rapid.SampledFrom(roles).Draw(t, "role"), rapid.SampledFrom(resources[:3]).Draw(t, "on"))
		}
		for _, who := range people {
			for _, on := range resources {
				for _, do := range actions {
					if may(who, on, do) && !before[on.String()+" "+string(do)] {
						t.Fatalf("%s may do %s on %s: %+v, %v", who, do, on, c.bindings, c.members)
					}
				}
			}
		}
	})
}

func TestWeigh_refuses_who_is_nobody_known_and_what_cannot_be_read(t *testing.T) {
	t.Parallel()
	s := clubbed(&club{memory: &memory{}})
	if err := s.Weigh(context.Background(), nil, "ops"); !fault.Is(err, fault.Denied) {
		t.Error(err)
	}
	away := errors.New("away")
	s = clubbed(&club{memory: &memory{err: away}})
	if err := s.Weigh(context.Background(), s.For(user("ana", "*")), "ops"); !errors.Is(err, away) {
		t.Error(err)
	}
}

// Rule F12: whoever can choose an address at a provider becomes nobody here who has rights over others, wherever they have them.
func TestGuarded(t *testing.T) {
	t.Parallel()
	shop, web := access.Account("shop"), access.Resource{Kind: access.ProjectKind, ID: "web"}
	over := map[access.Role]bool{
		access.Licensed: false, access.ProjectCreator: false, access.Admin: true, access.SysAdmin: true,
		access.AccountAuditor: false, access.AccountMember: false, access.AccountAdministrator: true,
		access.ProjectReader: false, access.ProjectWriter: false, access.ProjectAdmin: true,
	}
	for role, want := range over {
		on := access.Installation
		switch {
		case strings.HasPrefix(string(role), "account."):
			on = shop
		case strings.HasPrefix(string(role), "project."):
			on = web
		}
		c := &club{memory: &memory{}, members: map[string][]string{"g": {"eve"}}}
		c.bindings = []access.Binding{{Subject: access.Subject{Kind: access.User, ID: "dana"}, Role: role, Resource: on}, group("g", role, on)}
		for _, user := range []string{"dana", "eve"} {
			if got, err := clubbed(c).Guarded(t.Context(), user); err != nil || got != want {
				t.Errorf("%s as %s: %v, %v", user, role, got, err)
			}
		}
	}
}
