package storetest_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func event() audit.Event { return audit.NewEvent(start, "test.happened", audit.Done) }

func evicted(session.Session) audit.Event { return event() }

func addUser(t *testing.T, db *store.DB, name string) identity.User {
	t.Helper()
	u := identity.User{
		ID: newID(), Account: identity.DefaultAccount, Name: name, Email: name + "@example.test", EmailVerified: true,
		PasswordHash: "hash of " + name, Created: start, Updated: start,
	}
	users := store.Users{DB: db}
	must(t, users.Insert(t.Context(), u, event()))
	kept, err := users.ByID(t.Context(), u.ID) // with its number
	must(t, err)
	if u.Number = kept.Number; kept != u || u.Number == 0 {
		t.Fatalf("%+v, want %+v", kept, u)
	}
	return u
}

func sealer(t *testing.T) *secret.Sealer {
	t.Helper()
	key, err := secret.CreateMasterKeyFile(t.TempDir() + "/key")
	must(t, err)
	wrapped, err := secret.NewKeyset(key)
	must(t, err)
	s, err := secret.OpenKeyset(key, wrapped)
	must(t, err)
	return s
}

func addApp(t *testing.T, s store.Applications, name string) identity.Application {
	t.Helper()
	a := identity.Application{
		ID: newID(), Account: identity.DefaultAccount, Name: name, AuthType: identity.BySecret, Digest: secret.Digest(name),
		Creator: identity.Creator{Kind: "local", ID: "root"}, Created: start, Updated: start,
	}
	must(t, s.Insert(t.Context(), a, secret.New("plain "+name), start.Add(15*time.Minute), event()))
	return a
}

func sessionOf(kind access.PrincipalKind, id string) session.Session {
	x := session.Session{
		ID: newID(), Principal: access.Principal{Kind: kind, ID: id}, State: session.Active, Method: "password", Transport: session.Bearer,
		Created: start, Authenticated: start, LastUsed: start, Idle: 10 * time.Minute, Deadline: start.Add(24 * time.Hour), Address: "192.0.2.1", UserAgent: "test",
	}
	x.Digest = secret.Digest(x.ID)
	return x
}

func begin(t *testing.T, db *store.DB, x session.Session, limit int) session.Session {
	t.Helper()
	must(t, store.Sessions{DB: db}.Insert(t.Context(), x, "", limit, event(), evicted))
	return x
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Users{DB: db}, t.Context()
		dana := addUser(t, db, "dana")

		for what, find := range map[string]func() (identity.User, error){
			"id":     func() (identity.User, error) { return s.ByID(ctx, dana.ID) },
			"name":   func() (identity.User, error) { return s.ByName(ctx, identity.DefaultAccount, "dana") },
			"e-mail": func() (identity.User, error) { return s.ByEmail(ctx, identity.DefaultAccount, "dana@example.test") },
		} {
			if got, err := find(); err != nil || got != dana {
				t.Errorf("by %s: %+v, %v", what, got, err)
			}
		}
		_, err := s.ByEmail(ctx, identity.DefaultAccount, "nobody@example.test")
		is(t, err, identity.ErrUnknown)
		twin := dana
		twin.ID, twin.Name = newID(), "dana2"
		is(t, s.Insert(ctx, twin, event()), identity.ErrEmailTaken)

		accounts := store.Accounts{DB: db}
		member, err := accounts.Member(ctx, identity.DefaultAccount, dana.ID)
		must(t, err)
		if member.Member.Role != identity.Ordinary || member.User != dana {
			t.Errorf("%+v", member)
		}
	})
}

// Whoever changes a password or disables somebody ends their sessions in the same transaction (rule F12).
func TestUsers_end_their_sessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, sessions, ctx := store.Users{DB: db}, store.Sessions{DB: db}, t.Context()
		dana, other := addUser(t, db, "dana"), addUser(t, db, "other")
		kept, ended, theirs := begin(t, db, sessionOf(access.User, dana.ID), 9), begin(t, db, sessionOf(access.User, dana.ID), 9), begin(t, db, sessionOf(access.User, other.ID), 9)

		_, err := s.Change(ctx, dana.ID, func(u identity.User) (identity.User, error) { u.PasswordHash = "new"; return u, nil }, identity.Ending{Sessions: true, Except: kept.ID}, event())
		must(t, err)
		for id, alive := range map[string]bool{kept.ID: true, ended.ID: false, theirs.ID: true} {
			x, err := sessions.ByID(ctx, id)
			must(t, err)
			if (x.State == session.Active) != alive || x.Ended.IsZero() != alive || x.Shut {
				t.Errorf("%+v", x)
			}
		}
		_, err = s.Change(ctx, dana.ID, func(u identity.User) (identity.User, error) { u.Disabled = true; return u, nil }, identity.Ending{Sessions: true}, event())
		must(t, err)
		x, err := sessions.ByDigest(ctx, kept.Digest)
		must(t, err)
		if x.State != session.Terminated || !x.Shut {
			t.Errorf("%+v", x)
		}
		is(t, sessions.Insert(ctx, sessionOf(access.User, dana.ID), "", 9, event(), evicted), session.ErrChanged)
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Sessions{DB: db}, t.Context()
		dana := addUser(t, db, "dana")
		providers := store.Providers{DB: db, Sealer: sealer(t)}
		corp := addProvider(t, providers, "corp")
		must(t, providers.InsertLink(ctx, identity.Link{Provider: corp.ID, Subject: "dana", User: dana.ID, Created: start}, event()))
		x := sessionOf(access.User, dana.ID)
		x.Account, x.Elevated, x.Unlocked, x.Tries, x.Provider, x.Certificate, x.Login = identity.DefaultAccount, start.Add(time.Minute), start.Add(time.Hour), 3, corp.ID, []byte{1, 0, 255}, "dana"
		x.ProviderSession, x.Until = session.AtProvider("there"), start.Add(2*time.Hour)
		begin(t, db, x, 9)
		x.Principal.Name = "dana"

		got, err := s.ByDigest(ctx, x.Digest)
		must(t, err)
		if fmt.Sprint(got) != fmt.Sprint(x) {
			t.Errorf("kept %+v\nread %+v", x, got)
		}
		if u, err := (store.Users{DB: db}).ByID(ctx, dana.ID); err != nil || !u.LastLogin.Equal(start) {
			t.Errorf("last login %v, %v", u.LastLogin, err)
		}
		_, err = s.ByDigest(ctx, secret.Digest("other"))
		is(t, err, session.ErrUnknown)
		_, err = s.ByID(ctx, newID())
		is(t, err, session.ErrUnknown)

		is(t, s.Insert(ctx, sessionOf(access.User, dana.ID), "an old hash", 9, event(), evicted), session.ErrChanged)
		must(t, s.Insert(ctx, sessionOf(access.User, dana.ID), dana.PasswordHash, 9, event(), evicted))
		is(t, s.Insert(ctx, sessionOf(access.User, newID()), "", 9, event(), evicted), session.ErrChanged)
	})
}

func TestSessions_move_on_and_end(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Sessions{DB: db}, t.Context()
		dana := addUser(t, db, "dana")
		x := begin(t, db, sessionOf(access.User, dana.ID), 9)

		must(t, s.Touch(ctx, x.ID, start.Add(time.Minute), start.Add(12*time.Minute)))
		must(t, s.Touch(ctx, x.ID, start.Add(time.Second), start.Add(11*time.Minute))) // never back
		changed, err := s.Change(ctx, x.ID, func(x session.Session) (session.Session, error) {
			x.Account, x.Digest, x.Unlocked, x.Tries = identity.DefaultAccount, secret.Digest("another"), start.Add(time.Hour), 2
			return x, nil
		}, event())
		must(t, err)
		if !changed.LastUsed.Equal(start.Add(time.Minute)) {
			t.Errorf("%+v", changed)
		}
		if kept, err := s.ByID(ctx, x.ID); err != nil || !kept.Unlocked.Equal(start.Add(time.Hour)) || kept.Tries != 2 || kept.Certificate != nil {
			t.Errorf("%+v, %v", kept, err)
		}
		_, err = s.ByDigest(ctx, x.Digest) // rule F11: the old value is dead
		is(t, err, session.ErrUnknown)
		_, err = s.Change(ctx, x.ID, func(x session.Session) (session.Session, error) { return x, session.ErrNotActive }, event())
		is(t, err, session.ErrNotActive)
		_, err = s.Change(ctx, newID(), func(x session.Session) (session.Session, error) { return x, nil }, event())
		is(t, err, session.ErrUnknown)

		before := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`)
		must(t, s.End(ctx, x.ID, start, event()))
		must(t, s.End(ctx, x.ID, start, event()))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`) - before; n != 1 {
			t.Errorf("%d events of one end", n)
		}
		must(t, s.Touch(ctx, x.ID, start.Add(time.Hour), start.Add(time.Hour)))
		ended, err := s.ByID(ctx, x.ID)
		must(t, err)
		if ended.State != session.Terminated || !ended.LastUsed.Equal(start.Add(time.Minute)) {
			t.Errorf("%+v", ended)
		}
	})
}

func TestSessions_are_limited_by_least_recent_use(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Sessions{DB: db}, t.Context()
		dana, other := addUser(t, db, "dana"), addUser(t, db, "other")
		theirs := begin(t, db, sessionOf(access.User, other.ID), 3)
		var mine []session.Session
		for i := range 3 {
			x := sessionOf(access.User, dana.ID)
			x.LastUsed = start.Add(time.Duration(i) * time.Second)
			mine = append(mine, begin(t, db, x, 3))
		}
		must(t, s.Touch(ctx, mine[0].ID, start.Add(time.Minute), start.Add(time.Hour)))
		mine = append(mine, begin(t, db, sessionOf(access.User, dana.ID), 3))
		for i, want := range []session.State{session.Active, session.Terminated, session.Active, session.Active} {
			if x, err := s.ByID(ctx, mine[i].ID); err != nil || x.State != want {
				t.Errorf("%d: %s, want %s; %v", i, x.State, want, err)
			}
		}
		if x, err := s.ByID(ctx, theirs.ID); err != nil || x.State != session.Active {
			t.Errorf("%+v, %v", x, err)
		}
	})
}

// A sign-in that waits for its second factor is none yet, and whoever knows the password alone pushes no session out.
func TestSessions_that_wait_for_a_second_factor(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Sessions{DB: db}, t.Context()
		dana := addUser(t, db, "dana")
		lastLogin := func() time.Time {
			u, err := store.Users{DB: db}.ByID(ctx, dana.ID)
			must(t, err)
			return u.LastLogin
		}
		waiting := func(after time.Duration) session.Session {
			x := sessionOf(access.User, dana.ID)
			x.State, x.Created, x.LastUsed = session.Pending, start.Add(after), start.Add(after)
			return begin(t, db, x, 3)
		}
		first := waiting(0)
		if at := lastLogin(); !at.IsZero() {
			t.Errorf("last login %v", at)
		}
		_, err := s.Change(ctx, first.ID, func(x session.Session) (session.Session, error) {
			x.State, x.LastUsed = session.Active, start.Add(time.Second)
			return x, nil
		}, event())
		must(t, err)
		if at := lastLogin(); !at.Equal(start.Add(time.Second)) {
			t.Errorf("last login %v", at)
		}
		second := begin(t, db, sessionOf(access.User, dana.ID), 3)
		third, fourth := waiting(time.Minute), waiting(2*time.Minute)
		for what, c := range map[string]struct {
			id   string
			want session.State
		}{
			"an active one": {first.ID, session.Active}, "another": {second.ID, session.Active},
			"one that waits": {third.ID, session.Terminated}, "the latest": {fourth.ID, session.Pending},
		} {
			if x, err := s.ByID(ctx, c.id); err != nil || x.State != c.want {
				t.Errorf("%s: %s, want %s; %v", what, x.State, c.want, err)
			}
		}
	})
}

func TestSessions_stay_within_the_limit_when_they_begin_at_once(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx, dana := store.Sessions{DB: db}, t.Context(), addUser(t, db, "dana")
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if err := s.Insert(ctx, sessionOf(access.User, dana.ID), "", 4, event(), evicted); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if all, err := s.Of(ctx, access.Subject{Kind: access.User, ID: dana.ID}, start); err != nil || len(all) != 4 {
			t.Errorf("%d live, %v", len(all), err)
		}
	})
}

func TestSessions_are_listed_expired_and_purged(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Sessions{DB: db}, t.Context()
		dana := addUser(t, db, "dana")
		of := access.Subject{Kind: access.User, ID: dana.ID}
		short := sessionOf(access.User, dana.ID)
		short.Idle = time.Minute
		begin(t, db, short, 9)
		long := begin(t, db, sessionOf(access.User, dana.ID), 9)
		later := short.Expires()

		all, err := s.Of(ctx, of, start)
		must(t, err)
		if len(all) != 2 || all[0].ID != long.ID {
			t.Errorf("%+v", all)
		}
		p, err := s.List(ctx, later, page.Of(0, 10))
		must(t, err)
		if p.Total != 1 || len(p.Items) != 1 || p.Items[0].ID != long.ID {
			t.Errorf("%+v", p)
		}
		var over []string
		n, err := s.Expire(ctx, later, 10, func(x session.Session) audit.Event { over = append(over, x.ID); return event() })
		must(t, err)
		if n != 1 || !slices.Equal(over, []string{short.ID}) {
			t.Errorf("%d %v", n, over)
		}
		if n, err := s.Expire(ctx, later, 10, evicted); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := s.Purge(ctx, later, 10); n != 0 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		if n, err := s.Purge(ctx, later.Add(time.Second), 10); n != 1 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		if n, err := s.EndAll(ctx, of, "", start, event()); n != 1 || err != nil {
			t.Errorf("ended %d, %v", n, err)
		}
		if n, err := s.EndAll(ctx, of, "", start, event()); n != 0 || err != nil {
			t.Errorf("ended %d, %v", n, err)
		}
	})
}

// What one node ends the other hears of: rule S14.
func TestSessions_tell_every_node_that_they_ended(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		if one.ForUpdate() == "" {
			t.Skip("SQLite has one node")
		}
		heard, listening := make(chan string, 16), make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_ = two.Listen(ctx, func(p string) { heard <- p }, func() { listening <- struct{}{} })
		}()
		<-listening
		dana := addUser(t, one, "dana")
		x := begin(t, one, sessionOf(access.User, dana.ID), 9)
		must(t, store.Sessions{DB: one}.End(ctx, x.ID, start, event()))
		_, err := store.Users{DB: one}.Change(ctx, dana.ID, func(u identity.User) (identity.User, error) { u.Disabled = true; return u, nil }, identity.Ending{Sessions: true}, event())
		must(t, err)
		for _, want := range []string{"session " + x.ID, "user " + dana.ID} {
			select {
			case got := <-heard:
				if got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("did not hear %q", want)
			}
		}
	})
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Accounts{DB: db}, t.Context()
		dana, other := addUser(t, db, "dana"), addUser(t, db, "other")
		home, err := s.ByName(ctx, "default")
		must(t, err)
		if home.ID != identity.DefaultAccount || home.Disabled {
			t.Errorf("%+v", home)
		}
		a := identity.Account{ID: newID(), Name: "Blue", Created: start, Updated: start}
		must(t, s.Insert(ctx, a, identity.Member{Account: a.ID, User: dana.ID, Role: identity.Administrator, Since: start}, newID(), event()))
		is(t, s.Insert(ctx, identity.Account{ID: newID(), Name: "BLUE", Created: start, Updated: start}, identity.Member{}, newID(), event()), identity.ErrAccountTaken)

		joined, err := s.OfUser(ctx, dana.ID)
		must(t, err)
		if len(joined) != 2 || joined[0].Account != a || joined[0].Member.Role != identity.Administrator || joined[1].Member.Role != identity.Ordinary {
			t.Errorf("%+v", joined)
		}
		_, err = s.Change(ctx, a.ID, func(a identity.Account) (identity.Account, error) {
			a.RequireFactor = identity.AdministratorsMust
			return a, nil
		}, event())
		must(t, err)
		demanding, err := s.ByID(ctx, a.ID)
		must(t, err)
		if demanding.RequireFactor != identity.AdministratorsMust {
			t.Errorf("%+v", demanding)
		}
		_, err = s.Member(ctx, a.ID, other.ID)
		is(t, err, identity.ErrNoMember)
		must(t, s.SetMember(ctx, identity.Member{Account: a.ID, User: other.ID, Role: identity.Auditor, Since: start}, newID(), event()))
		is(t, s.SetMember(ctx, identity.Member{Account: a.ID, User: newID(), Role: identity.Auditor, Since: start}, newID(), event()), identity.ErrUnknown)
		is(t, s.SetMember(ctx, identity.Member{Account: newID(), User: other.ID, Role: identity.Auditor, Since: start}, newID(), event()), identity.ErrNoAccount)
		is(t, s.SetMember(ctx, identity.Member{Account: a.ID, User: dana.ID, Role: identity.Auditor, Since: start}, newID(), event()), identity.ErrLastAdmin)
		is(t, s.RemoveMember(ctx, a.ID, dana.ID, event()), identity.ErrLastAdmin)
		must(t, s.SetMember(ctx, identity.Member{Account: a.ID, User: other.ID, Role: identity.Administrator, Since: start}, newID(), event()))
		p, err := s.Members(ctx, a.ID, page.Of(0, 10))
		must(t, err)
		if p.Total != 2 || len(p.Items) != 2 || p.Items[1].Member.Role != identity.Administrator || p.Items[1].User.Name != "other" {
			t.Errorf("%+v", p)
		}

		x := sessionOf(access.User, dana.ID)
		x.Account = a.ID
		begin(t, db, x, 9)
		must(t, s.RemoveMember(ctx, a.ID, dana.ID, event()))
		is(t, s.RemoveMember(ctx, a.ID, dana.ID, event()), identity.ErrNoMember)
		if left, err := (store.Sessions{DB: db}).ByID(ctx, x.ID); err != nil || left.Account != "" || left.State != session.Active {
			t.Errorf("%+v, %v", left, err)
		}
	})
}

func TestAccounts_disabled_shut_everybody_out(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Accounts{DB: db}, t.Context()
		dana, apps := addUser(t, db, "dana"), store.Applications{DB: db, Sealer: sealer(t)}
		app := addApp(t, apps, "build")
		x, y := begin(t, db, sessionOf(access.User, dana.ID), 9), begin(t, db, sessionOf(access.Application, app.ID), 9)
		_, err := s.Change(ctx, identity.DefaultAccount, func(a identity.Account) (identity.Account, error) { a.Disabled = true; return a, nil }, event())
		must(t, err)
		for _, id := range []string{x.ID, y.ID} {
			if got, err := (store.Sessions{DB: db}).ByID(ctx, id); err != nil || got.State != session.Terminated || !got.Shut {
				t.Errorf("%+v, %v", got, err)
			}
		}
		is(t, store.Sessions{DB: db}.Insert(ctx, sessionOf(access.User, dana.ID), "", 9, event(), evicted), session.ErrChanged)
		is(t, store.Sessions{DB: db}.Insert(ctx, sessionOf(access.Application, app.ID), "", 9, event(), evicted), session.ErrChanged)
		if u, err := (store.Users{DB: db}).ByID(ctx, dana.ID); err != nil || !u.AccountShut {
			t.Errorf("%+v, %v", u, err)
		}
		if a, err := apps.ByID(ctx, app.ID); err != nil || !a.AccountShut {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestApplications(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Applications{DB: db, Sealer: sealer(t)}, t.Context()
		groups := store.Groups{DB: db}
		g := identity.Group{ID: newID(), Account: identity.DefaultAccount, Name: "Blue", Creator: identity.Creator{Kind: "user", ID: "u"}, Created: start}
		must(t, groups.Insert(ctx, g, event()))
		dup := g
		dup.ID, dup.Name = newID(), "BLUE"
		is(t, groups.Insert(ctx, dup, event()), identity.ErrGroupTaken)
		dup.Account = newID()
		is(t, groups.Insert(ctx, dup, event()), identity.ErrNoAccount)

		a := identity.Application{
			ID: newID(), Account: identity.DefaultAccount, Name: "build", Description: "d", AuthType: identity.BySecret, Digest: secret.Digest("s"),
			OldDigest: secret.Digest("o"), OldUntil: start.Add(time.Hour), Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Groups: []string{g.ID}, Default: g.ID, Role: "crypto", Creator: identity.Creator{Kind: "user", ID: "u"}, Created: start, Updated: start,
		}
		must(t, s.Insert(ctx, a, secret.New("the secret"), start.Add(15*time.Minute), event()))
		again := a
		again.ID = newID()
		is(t, s.Insert(ctx, again, secret.New("x"), start, event()), identity.ErrApplicationTaken)
		again.Name, again.Groups = "other", []string{newID()}
		is(t, s.Insert(ctx, again, secret.New("x"), start, event()), identity.ErrNoGroup)

		for what, find := range map[string]func() (identity.Application, error){
			"id":   func() (identity.Application, error) { return s.ByID(ctx, a.ID) },
			"name": func() (identity.Application, error) { return s.ByName(ctx, a.Account, "build") },
		} {
			if got, err := find(); err != nil || fmt.Sprint(got) != fmt.Sprint(a) {
				t.Errorf("by %s: %+v, %v", what, got, err)
			}
		}
		_, err := s.ByName(ctx, a.Account, "Build") // exact
		is(t, err, identity.ErrNoApplication)
		if all, err := s.OfAccount(ctx, a.Account); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
		must(t, groups.Delete(ctx, g.ID, event()))
		is(t, groups.Delete(ctx, g.ID, event()), identity.ErrNoGroup)
		if got, err := s.ByID(ctx, a.ID); err != nil || len(got.Groups) != 0 || got.Default != "" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A fresh secret can be picked up for a while, lies sealed until then and is gone after.
func TestApplications_give_their_secret_for_a_while(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Applications{DB: db, Sealer: sealer(t)}, t.Context()
		a := addApp(t, s, "build")
		plain, err := s.Plain(ctx, a.ID, start, event())
		must(t, err)
		if plain.Reveal() != "plain build" {
			t.Error("another secret came out")
		}
		_, err = s.Plain(ctx, a.ID, start.Add(15*time.Minute), event())
		is(t, err, identity.ErrNoCredential)
		must(t, s.Erase(ctx, start))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM applications WHERE sealed IS NOT NULL`); n != 1 {
			t.Error("erased too early")
		}
		must(t, s.Erase(ctx, start.Add(15*time.Minute)))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM applications WHERE sealed IS NOT NULL`); n != 0 {
			t.Error("not erased")
		}
		_, err = s.Plain(ctx, a.ID, start, event())
		is(t, err, identity.ErrNoCredential)
	})
}

func TestApplications_end_their_sessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, sessions, ctx := store.Applications{DB: db, Sealer: sealer(t)}, store.Sessions{DB: db}, t.Context()
		a := addApp(t, s, "build")
		stamp := hex.EncodeToString(a.Digest[:])
		x := sessionOf(access.Application, a.ID)
		must(t, sessions.Insert(ctx, x, stamp, 9, event(), evicted))

		_, err := s.Change(ctx, a.ID, func(a identity.Application) (identity.Application, error) {
			a.Digest, a.Addresses = secret.Digest("new"), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			return a, nil
		}, identity.Fresh{Plain: secret.New("new"), Until: start.Add(time.Minute)}, identity.Ending{Sessions: true}, event())
		must(t, err)
		got, err := sessions.ByID(ctx, x.ID)
		must(t, err)
		if got.State != session.Terminated || len(got.Networks) != 1 { // rule W7: what limits the application comes with its session
			t.Errorf("%+v", got)
		}
		is(t, sessions.Insert(ctx, sessionOf(access.Application, a.ID), stamp, 9, event(), evicted), session.ErrChanged)
		if plain, err := s.Plain(ctx, a.ID, start, event()); err != nil || plain.Reveal() != "new" {
			t.Errorf("%v", err)
		}
		y := begin(t, db, sessionOf(access.Application, a.ID), 9)
		must(t, s.Delete(ctx, a.ID, event()))
		is(t, s.Delete(ctx, a.ID, event()), identity.ErrNoApplication)
		if got, err := sessions.ByID(ctx, y.ID); err != nil || got.State != session.Terminated || !got.Shut {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestLockouts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Guards{DB: db}, t.Context()
		if r, err := s.Record(ctx, "k"); r != (guard.Record{}) || err != nil {
			t.Errorf("%+v, %v", r, err)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := s.Strike(ctx, "k", func(r guard.Record) guard.Record {
					return guard.Record{Count: r.Count + 1, Since: start, Last: start.Add(time.Second)}
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		want := guard.Record{Count: 20, Since: start, Last: start.Add(time.Second)}
		if r, err := s.Record(ctx, "k"); r != want || err != nil {
			t.Errorf("%+v, %v", r, err)
		}
		must(t, s.SweepRecords(ctx, start.Add(time.Second)))
		if n, err := s.Clear(ctx, []string{"k", "other"}, event()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}
