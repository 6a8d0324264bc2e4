package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func namesOf(groups []identity.Group) string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// adding is a provider that adds people and lists their groups, with what asks it.
func adding(t *testing.T, db *store.DB) (*identity.Providers, identity.Provider) {
	t.Helper()
	s := store.Providers{DB: db, Sealer: sealer(t)}
	p := addProvider(t, s, "corp")
	p.Settings.JIT = identity.JIT{Provision: true, Groups: "groups"}
	return &identity.Providers{
		Store: s, Users: store.Users{DB: db}, Now: func() time.Time { return start }, NewID: newID,
		Guarded: func(context.Context, string) (bool, error) { return false, nil },
		Heavy:   func(context.Context, string) (bool, error) { return false, nil },
	}, p
}

func TestProviders_refresh(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Providers{DB: db, Sealer: sealer(t)}, t.Context()
		corp := addProvider(t, s, "corp")
		dana, ana := addUser(t, db, "dana"), addUser(t, db, "ana")
		ops, dev := addGroup(t, db, identity.DefaultAccount, "Ops"), addGroup(t, db, identity.DefaultAccount, "dev")
		shop := addAccount(t, db, "shop", dana)
		sellers := addGroup(t, db, shop.ID, "sellers")
		groups := store.Groups{DB: db}
		must(t, groups.AddMember(ctx, ops.ID, dana.ID, start, event()))
		must(t, groups.AddMember(ctx, sellers.ID, dana.ID, start, event()))

		now, err := s.Standing(ctx, dana.ID, []string{"ops", "dev", "sellers", "nowhere"})
		if err != nil || now.User != dana || now.Remote || now.Guest || len(now.In) != 1 || now.In[0] != ops || len(now.Vouched) != 0 || namesOf(now.Named) != "Ops dev" {
			t.Errorf("%+v, %v", now, err)
		}
		_, err = s.Standing(ctx, "nobody", nil)
		is(t, err, identity.ErrUnknown)

		notices, events := watch(t, db), storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`)
		refresh := func(decide func(identity.Standing) (identity.Update, error)) (identity.User, error) {
			return s.Refresh(ctx, dana.ID, []string{"dev"}, decide)
		}
		unchanged := func(what string) {
			t.Helper()
			u, err := store.Users{DB: db}.ByID(ctx, dana.ID)
			must(t, err)
			theirs, err := groups.OfUser(ctx, dana.ID)
			must(t, err)
			if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`); u != dana || namesOf(theirs) != "Ops sellers" || n != events || storetest.Count(t, db, `SELECT COUNT(*) FROM account_groups`) != 3 {
				t.Errorf("%s: %+v in %s, %d events", what, u, namesOf(theirs), n-events)
			}
		}
		changing := func(now identity.Standing) identity.Update {
			to := identity.Update{User: now.User, Provider: corp.ID, Event: event(), Leave: []string{ops.ID}, Join: []string{dev.ID}}
			to.User.Email, to.User.EmailVerified, to.User.Names.Display = "d@example.test", false, "Dana R."
			to.Make = []identity.Group{{ID: newID(), Account: identity.DefaultAccount, Name: "New", Creator: identity.Creator{Kind: "provider", ID: corp.ID}, Created: start}}
			return to
		}
		u, err := refresh(func(now identity.Standing) (identity.Update, error) {
			to := changing(now)
			to.Event.Action = ""
			return to, nil
		})
		must(t, err)
		if u.Email != "d@example.test" {
			t.Errorf("%+v", u)
		}
		unchanged("without an event")
		refused := errors.New("no")
		_, err = refresh(func(now identity.Standing) (identity.Update, error) { return changing(now), refused })
		is(t, err, refused)
		unchanged("refused")
		_, err = refresh(func(now identity.Standing) (identity.Update, error) {
			to := changing(now)
			to.User.Email = "ANA@example.test"
			return to, nil
		})
		is(t, err, identity.ErrEmailTaken)
		unchanged("the address of somebody else")
		_, err = refresh(func(now identity.Standing) (identity.Update, error) {
			to := changing(now)
			to.Make[0].Name = "DEV"
			return to, nil
		})
		is(t, err, identity.ErrOvertaken)
		unchanged("a group that is there")
		_, err = refresh(func(now identity.Standing) (identity.Update, error) {
			to := changing(now)
			to.Join = []string{"gone"}
			return to, nil
		})
		is(t, err, identity.ErrOvertaken)
		unchanged("a group that is gone")
		_, err = s.Refresh(ctx, "nobody", nil, func(now identity.Standing) (identity.Update, error) { return changing(now), nil })
		is(t, err, identity.ErrUnknown)

		u, err = refresh(func(now identity.Standing) (identity.Update, error) { return changing(now), nil })
		must(t, err)
		got, err := store.Users{DB: db}.ByID(ctx, dana.ID)
		must(t, err)
		if got != u || got.Email != "d@example.test" || got.EmailVerified || got.Names.Display != "Dana R." || got.PasswordHash != dana.PasswordHash {
			t.Errorf("%+v, %+v", got, u)
		}
		theirs, err := groups.OfUser(ctx, dana.ID)
		must(t, err)
		if namesOf(theirs) != "New dev sellers" || storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`) != events+1 {
			t.Errorf("in %s", namesOf(theirs))
		}
		if members, err := groups.Members(ctx, dev.ID); err != nil || len(members) != 1 || members[0].Provider != corp.ID {
			t.Errorf("%+v, %v", members, err)
		}
		if now, err := s.Standing(ctx, dana.ID, nil); err != nil || len(now.In) != 2 || len(now.Vouched) != 2 {
			t.Errorf("by a provider's word: %+v, %v", now, err)
		}
		if told := <-notices; told != "user "+dana.ID {
			t.Errorf("told %q", told)
		}

		// Who is at a directory too is remote; who does not belong to the default account is a guest.
		directory, err := s.Insert(ctx, identity.Provider{ID: newID(), Handle: [16]byte{7}, Kind: identity.LDAP, Name: "directory", Settings: identity.ProviderSettings{LDAP: &identity.LDAPSettings{}}}, event())
		must(t, err)
		must(t, s.InsertLink(ctx, identity.Link{Provider: directory.ID, Subject: "x", User: ana.ID, Created: start}, event()))
		must(t, store.Accounts{DB: db}.RemoveMember(ctx, identity.DefaultAccount, ana.ID, event()))
		if now, err := s.Standing(ctx, ana.ID, nil); err != nil || !now.Remote || !now.Guest {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

// watch returns what all nodes are told from now on.
func watch(t *testing.T, db *store.DB) <-chan string {
	t.Helper()
	told, ready := make(chan string, 100), make(chan struct{})
	var once sync.Once
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		_ = db.Listen(ctx, func(payload string) { told <- payload }, func() { once.Do(func() { close(ready) }) })
	}()
	<-ready
	t.Cleanup(func() { cancel(); <-done })
	return told
}

// Two people who come at once with the same new groups, and one person twice, all come in, and all are where the provider says.
func TestArrivals_at_once(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, p := adding(t, db)
		var sent []string
		for i := range 20 {
			sent = append(sent, fmt.Sprintf("team-%02d", i))
		}
		var wg sync.WaitGroup
		for i := range 12 {
			name, groups := fmt.Sprint("person-", i%4), slices.Clone(sent)
			if i%2 == 0 {
				slices.Reverse(groups)
			}
			wg.Go(func() {
				v := identity.Visitor{Subject: name, Name: name, Email: name + "@example.test", EmailVerified: true, Groups: groups, GroupsSaid: true}
				if _, err := s.Arrive(t.Context(), p, v); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		if n, of := storetest.Count(t, db, `SELECT COUNT(*) FROM account_groups`), storetest.Count(t, db, `SELECT COUNT(*) FROM group_members`); n != 20 || of != 80 {
			t.Errorf("%d groups with %d members", n, of)
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events WHERE body LIKE '%"user.update"%'`); n != 4 {
			t.Errorf("%d events of 4 changes", n)
		}
	})
}

// Whom a provider made stays on the list when it is gone, and leaves it when they are.
func TestProviders_made(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, p := adding(t, db)
		addUser(t, db, "ana")
		for _, name := range []string{"eve", "bob"} {
			_, err := s.Arrive(t.Context(), p, identity.Visitor{Subject: name, Name: name, Email: name + "@corp.test", EmailVerified: true})
			must(t, err)
		}
		list := func() (names []string) {
			all, err := s.Store.Made(t.Context())
			must(t, err)
			for _, u := range all {
				names = append(names, u.Name)
			}
			return names
		}
		if got := fmt.Sprint(list()); got != "[bob eve]" {
			t.Error(got)
		}
		must(t, s.Store.Delete(t.Context(), p.ID, event()))
		if got := fmt.Sprint(list()); got != "[bob eve]" {
			t.Errorf("without the provider: %s", got)
		}
		storetest.Write(t, db, `DELETE FROM users WHERE name = 'bob'`)
		if got := fmt.Sprint(list()); got != "[eve]" {
			t.Errorf("without bob: %s", got)
		}
	})
}
