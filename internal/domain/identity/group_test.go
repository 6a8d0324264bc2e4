package identity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// circles keeps groups and who is in them.
type circles struct {
	groups []identity.Group
	in     []inGroup
	events []audit.Event
}

func (c *circles) one(meant func(identity.Group) bool) (identity.Group, error) {
	if i := slices.IndexFunc(c.groups, meant); i >= 0 {
		return c.groups[i], nil
	}
	return identity.Group{}, identity.ErrNoGroup
}

func (c *circles) Insert(_ context.Context, g identity.Group, e audit.Event) error {
	c.groups, c.events = append(c.groups, g), append(c.events, e)
	return nil
}

func (c *circles) ByID(_ context.Context, id string) (identity.Group, error) {
	return c.one(func(g identity.Group) bool { return g.ID == id })
}

func (c *circles) ByName(_ context.Context, account, folded string) (identity.Group, error) {
	return c.one(func(g identity.Group) bool { return g.Account == account && identity.Fold(g.Name) == folded })
}

func (c *circles) OfAccount(context.Context, string) ([]identity.Group, error) { return c.groups, nil }

func (c *circles) Delete(_ context.Context, id string, e audit.Event) error {
	c.groups, c.events = slices.DeleteFunc(c.groups, func(g identity.Group) bool { return g.ID == id }), append(c.events, e)
	return nil
}

func (c *circles) Members(_ context.Context, group string) (found []identity.GroupMember, _ error) {
	for _, m := range c.in {
		if m.group == group {
			found = append(found, identity.GroupMember{User: m.user})
		}
	}
	return found, nil
}

func (c *circles) AddMember(_ context.Context, group, user string, _ time.Time, e audit.Event) error {
	c.in, c.events = append(c.in, inGroup{group, user, ""}), append(c.events, e)
	return nil
}

func (c *circles) RemoveMember(_ context.Context, group, user string, e audit.Event) error {
	before := len(c.in)
	if c.in = slices.DeleteFunc(c.in, func(m inGroup) bool { return m.group == group && m.user == user }); len(c.in) == before {
		return identity.ErrNotInGroup
	}
	c.events = append(c.events, e)
	return nil
}

func (c *circles) OfUser(_ context.Context, user string) (found []identity.Group, _ error) {
	for _, m := range c.in {
		if g, err := c.ByID(context.Background(), m.group); err == nil && m.user == user {
			found = append(found, g)
		}
	}
	return found, nil
}

var _ identity.GroupStore = (*circles)(nil)

func TestGroups(t *testing.T) {
	t.Parallel()
	everything := may{"group.create", "group.read", "group.delete", "group.member", "user.read"}
	ctx, tooMuch := context.Background(), fault.New(fault.Denied, "it holds more than the caller")
	made := func(t *testing.T) (*identity.Groups, *circles, identity.Group) {
		t.Helper()
		c, n := &circles{}, 0
		s := &identity.Groups{
			Store: c, Now: func() time.Time { return start }, NewID: func() string { n++; return fmt.Sprint("g", n) },
			Weigh: func(_ context.Context, _ identity.Authority, group string) error {
				if group == "heavy" {
					return tooMuch
				}
				return nil
			},
		}
		g, err := s.Create(ctx, everything, "a1", "Ops")
		if err != nil {
			t.Fatal(err)
		}
		c.groups = append(c.groups, identity.Group{ID: "heavy", Account: "a1", Name: "Admins"})
		return s, c, g
	}
	t.Run("take_members_in_and_let_them_go", func(t *testing.T) {
		t.Parallel()
		s, c, g := made(t)
		if err := s.AddMember(ctx, everything, g.ID, "dana"); err != nil {
			t.Fatal(err)
		}
		members, err := s.Members(ctx, everything, g.ID)
		if err != nil || len(members) != 1 || members[0].User != "dana" {
			t.Errorf("%+v, %v", members, err)
		}
		if theirs, err := s.OfUser(ctx, everything, "dana"); err != nil || len(theirs) != 1 || theirs[0].ID != g.ID {
			t.Errorf("%+v, %v", theirs, err)
		}
		if err := s.RemoveMember(ctx, everything, g.ID, "dana"); err != nil || len(c.in) != 0 {
			t.Errorf("%v, %+v", err, c.in)
		}
		if err := s.RemoveMember(ctx, everything, g.ID, "dana"); !errors.Is(err, identity.ErrNotInGroup) {
			t.Error(err)
		}
		for i, want := range []string{"group.create map[]", "group.member map[added:dana]", "group.member map[removed:dana]"} {
			if e := c.events[i]; fmt.Sprint(e.Action, " ", e.Detail) != want || e.Object.Name != "Ops" {
				t.Errorf("%+v", e)
			}
		}
	})
	// Rule W7: who joins is given what the group holds, so whoever adds them must be able to give it.
	t.Run("take_nobody_in_by_who_could_not_give_what_they_hold", func(t *testing.T) {
		t.Parallel()
		s, c, _ := made(t)
		if err := s.AddMember(ctx, everything, "heavy", "dana"); !errors.Is(err, tooMuch) || len(c.in) != 0 || len(c.events) != 1 {
			t.Errorf("%v, %+v", err, c.in)
		}
		c.in = []inGroup{{"heavy", "dana", ""}}
		if err := s.RemoveMember(ctx, everything, "heavy", "dana"); !errors.Is(err, tooMuch) || len(c.in) != 1 {
			t.Errorf("who could not give it takes it: %v", err)
		}
		if err := s.Delete(ctx, everything, "heavy"); !errors.Is(err, tooMuch) {
			t.Errorf("who could not give it takes it from all: %v", err)
		}
	})
	t.Run("hold_back_who_leaves_the_account_as_who_leaves_them", func(t *testing.T) {
		t.Parallel()
		s, c, g := made(t)
		c.in = []inGroup{{g.ID, "dana", ""}, {"heavy", "eve", ""}}
		for user, want := range map[string]error{"dana": nil, "eve": tooMuch, "fred": nil} {
			if err := s.WeighLeaving(ctx, everything, "a1", user); !errors.Is(err, want) {
				t.Errorf("%s: %v", user, err)
			}
		}
		if err := s.WeighLeaving(ctx, everything, "a2", "eve"); err != nil {
			t.Errorf("groups of another account stay: %v", err)
		}
	})
	t.Run("are_not_there_for_who_may_not_see_them", func(t *testing.T) {
		t.Parallel()
		s, c, g := made(t)
		for what, try := range map[string]func(by may) error{
			"members": func(by may) error { _, err := s.Members(ctx, by, g.ID); return err },
			"add":     func(by may) error { return s.AddMember(ctx, by, g.ID, "dana") },
			"remove":  func(by may) error { return s.RemoveMember(ctx, by, g.ID, "dana") },
			"delete":  func(by may) error { return s.Delete(ctx, by, g.ID) },
			"id":      func(by may) error { _, err := s.ByID(ctx, by, g.ID); return err },
			"name":    func(by may) error { _, err := s.ByName(ctx, by, "a1", "ops"); return err },
			"nowhere": func(may) error { return s.AddMember(ctx, everything, "nowhere", "dana") },
		} {
			if err := try(may{}); !errors.Is(err, identity.ErrNoGroup) || len(c.in) != 0 || len(c.events) != 1 {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := s.OfUser(ctx, may{}, "dana"); !errors.Is(err, identity.ErrUnknown) {
			t.Error(err)
		}
	})
	t.Run("have_no_name_with_characters_that_nobody_sees", func(t *testing.T) {
		t.Parallel()
		s, _, _ := made(t)
		for _, name := range []string{"O\u200bps", "O\u00adps", "\u202eOps", "Ops\ufeff"} {
			if g, err := s.Create(ctx, everything, "a1", name); !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %+v, %v", name, g, err)
			}
			if err := identity.CheckName(name); !fault.Is(err, fault.Invalid) {
				t.Errorf("a user: %q: %v", name, err)
			}
		}
	})
	t.Run("are_found_under_every_spelling_of_the_name", func(t *testing.T) {
		t.Parallel()
		s, _, g := made(t)
		if got, err := s.ByName(ctx, everything, "a1", " OPS "); err != nil || got.ID != g.ID {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := s.ByName(ctx, everything, "a2", "ops"); !errors.Is(err, identity.ErrNoGroup) {
			t.Error(err)
		}
		if got, err := s.ByID(ctx, everything, g.ID); err != nil || got.Name != "Ops" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
