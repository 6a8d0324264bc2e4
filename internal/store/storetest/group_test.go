package storetest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func addGroup(t *testing.T, db *store.DB, account, name string) identity.Group {
	t.Helper()
	g := identity.Group{ID: newID(), Account: account, Name: name, Creator: identity.Creator{Kind: "user", ID: "u"}, Created: start}
	must(t, store.Groups{DB: db}.Insert(t.Context(), g, event()))
	return g
}

func addAccount(t *testing.T, db *store.DB, name string, member identity.User) identity.Account {
	t.Helper()
	a := identity.Account{ID: newID(), Name: name, Created: start, Updated: start}
	must(t, store.Accounts{DB: db}.Insert(t.Context(), a, identity.Member{Account: a.ID, User: member.ID, Role: identity.Ordinary, Since: start}, newID(), event()))
	return a
}

func give(t *testing.T, db *store.DB, to identity.Group, role access.Role, on access.Resource) {
	t.Helper()
	must(t, store.Bindings{DB: db}.Grant(t.Context(), access.Binding{ID: newID(), Subject: access.Subject{Kind: access.Group, ID: to.ID}, Role: role, Resource: on, Created: start}, event()))
}

// held lists what a user holds beyond being a member of accounts, and by which group.
func held(t *testing.T, db *store.DB, user string) string {
	t.Helper()
	all, err := store.Bindings{DB: db}.BindingsOf(t.Context(), access.Subject{Kind: access.User, ID: user})
	must(t, err)
	var got []string
	for _, b := range all {
		if b.Resource.Kind != access.AccountKind {
			got = append(got, strings.TrimRight(fmt.Sprintf("%s %s", b.Role, b.Name), " "))
		}
	}
	return strings.Join(got, ", ")
}

func TestGroups_have_members(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Groups{DB: db}, t.Context()
		dana, ana := addUser(t, db, "dana"), addUser(t, db, "ana")
		ops, dev := addGroup(t, db, identity.DefaultAccount, "Ops"), addGroup(t, db, identity.DefaultAccount, "dev")
		shop := addAccount(t, db, "shop", ana)
		sellers := addGroup(t, db, shop.ID, "Ops")

		got, err := s.ByName(ctx, shop.ID, "ops")
		if err != nil || got != sellers {
			t.Errorf("%+v, %v", got, err)
		}
		_, err = s.ByName(ctx, shop.ID, "dev")
		is(t, err, identity.ErrNoGroup)

		must(t, s.AddMember(ctx, ops.ID, dana.ID, start, event()))
		must(t, s.AddMember(ctx, ops.ID, ana.ID, start, event()))
		must(t, s.AddMember(ctx, dev.ID, dana.ID, start, event()))
		must(t, s.AddMember(ctx, sellers.ID, ana.ID, start, event()))
		events := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`)
		must(t, s.AddMember(ctx, ops.ID, dana.ID, start.Add(1), event())) // stays as it was
		is(t, s.AddMember(ctx, "nowhere", dana.ID, start, event()), identity.ErrNoGroup)
		is(t, s.AddMember(ctx, ops.ID, "nobody", start, event()), identity.ErrNoMember)
		is(t, s.AddMember(ctx, sellers.ID, dana.ID, start, event()), identity.ErrNoMember)
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`); n != events {
			t.Errorf("%d events of nothing", n-events)
		}
		members, err := s.Members(ctx, ops.ID)
		want := []identity.GroupMember{{User: ana.ID, Name: "ana", Email: ana.Email, Since: start}, {User: dana.ID, Name: "dana", Email: dana.Email, Since: start}}
		if err != nil || fmt.Sprint(members) != fmt.Sprint(want) {
			t.Errorf("%+v, %v", members, err)
		}
		if groups, err := s.OfUser(ctx, dana.ID); err != nil || len(groups) != 2 || groups[0] != dev || groups[1] != ops {
			t.Errorf("%+v, %v", groups, err)
		}
		must(t, s.RemoveMember(ctx, ops.ID, dana.ID, event()))
		is(t, s.RemoveMember(ctx, ops.ID, dana.ID, event()), identity.ErrNotInGroup)
		must(t, s.Delete(ctx, dev.ID, event()))
		if groups, err := s.OfUser(ctx, dana.ID); err != nil || len(groups) != 0 {
			t.Errorf("%+v, %v", groups, err)
		}
	})
}

// What a group holds its members hold, from the moment they join to the moment they leave, however they leave (rule W7).
func TestGroups_give_their_members_what_they_hold(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, accounts, ctx := store.Groups{DB: db}, store.Accounts{DB: db}, t.Context()
		dana, root := addUser(t, db, "dana"), addUser(t, db, "root")
		ops := addGroup(t, db, identity.DefaultAccount, "Ops")
		shop := addAccount(t, db, "shop", dana)
		sellers := addGroup(t, db, shop.ID, "Sellers")
		give(t, db, ops, access.SysAdmin, access.Installation)
		give(t, db, ops, access.ProjectReader, access.Project("p1"))
		give(t, db, sellers, access.ProjectWriter, access.Project("p2"))
		must(t, store.Bindings{DB: db}.Grant(ctx, access.Binding{ID: newID(), Subject: access.Subject{Kind: access.User, ID: dana.ID}, Role: access.Licensed, Resource: access.Installation, Created: start}, event()))
		expect := func(when, want string) {
			t.Helper()
			if got := held(t, db, dana.ID); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		role := func() identity.AccountRole {
			t.Helper()
			p, err := accounts.Member(ctx, shop.ID, dana.ID)
			must(t, err)
			return p.Member.Role
		}
		expect("before", "licensed")
		if r := role(); r != identity.Ordinary {
			t.Errorf("before: %s", r)
		}
		must(t, s.AddMember(ctx, ops.ID, dana.ID, start, event()))
		must(t, s.AddMember(ctx, sellers.ID, dana.ID, start, event()))
		rights := &access.Service{Store: store.Bindings{DB: db}}
		if holds, err := rights.Holds(ctx, access.Subject{Kind: access.User, ID: dana.ID}, access.Admin, access.Installation); err != nil || !holds {
			t.Errorf("%v, %v", holds, err)
		}
		all := strings.Split(held(t, db, dana.ID), ", ")
		if len(all) != 4 || all[0] != "licensed" || !strings.Contains(fmt.Sprint(all), "sysadmin Ops") || !strings.Contains(fmt.Sprint(all), "project.read Ops") || !strings.Contains(fmt.Sprint(all), "project.write Sellers") {
			t.Errorf("as a member: %q", all)
		}
		if r := role(); r != identity.Administrator { // so what is demanded of administrators is demanded of them
			t.Errorf("a system administrator by a group is %s", r)
		}
		if got := held(t, db, root.ID); got != "" {
			t.Errorf("who is in no group: %s", got)
		}
		if apps, err := (store.Bindings{DB: db}).BindingsOf(ctx, access.Subject{Kind: access.Application, ID: dana.ID}); err != nil || len(apps) != 0 {
			t.Errorf("a program of the same id: %+v, %v", apps, err)
		}

		// A group of another account gives nothing on the installation and in accounts, however it came by it.
		give(t, db, sellers, access.Admin, access.Installation)
		give(t, db, sellers, access.AccountAdministrator, access.Account(shop.ID))
		must(t, s.RemoveMember(ctx, ops.ID, dana.ID, event()))
		expect("left", "licensed, project.write Sellers")
		if r := role(); r != identity.Ordinary {
			t.Errorf("left: %s", r)
		}

		disable := func(disabled bool) {
			_, err := accounts.Change(ctx, shop.ID, func(a identity.Account) (identity.Account, error) { a.Disabled = disabled; return a, nil }, event())
			must(t, err)
		}
		disable(true)
		expect("the account is disabled", "licensed")
		disable(false)
		expect("and enabled", "licensed, project.write Sellers")

		must(t, accounts.RemoveMember(ctx, shop.ID, dana.ID, event()))
		expect("left the account", "licensed")
		must(t, accounts.SetMember(ctx, identity.Member{Account: shop.ID, User: dana.ID, Role: identity.Ordinary, Since: start}, newID(), event()))
		expect("and came back", "licensed")
		storetest.Write(t, db, `INSERT INTO group_members (group_id, user_id, provider, created) VALUES ('`+sellers.ID+`', '`+root.ID+`', '', 1)`)
		if got := held(t, db, root.ID); got != "" {
			t.Errorf("who does not belong to the account: %s", got)
		}

		must(t, s.AddMember(ctx, sellers.ID, dana.ID, start, event()))
		expect("joined again", "licensed, project.write Sellers")
		must(t, s.Delete(ctx, sellers.ID, event()))
		expect("the group is gone", "licensed")
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM role_bindings WHERE subject_kind = 'group' AND subject_id = $1`, sellers.ID); n != 0 {
			t.Errorf("%d bindings of nobody", n)
		}
	})
}
