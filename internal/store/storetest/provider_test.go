package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func addProvider(t *testing.T, s store.Providers, name string) identity.Provider {
	t.Helper()
	p, err := s.Insert(t.Context(), identity.Provider{
		ID: newID(), Handle: [16]byte(secret.Bytes(16)), Kind: identity.OIDC, Name: name, Enabled: true, Secret: secret.New("secret of " + name), Created: start, Updated: start,
		Settings: identity.ProviderSettings{Domains: []string{"example.test"}, OIDC: &identity.OIDCSettings{Issuer: "https://" + name + ".example.test", ClientID: "gatehouse"}},
	}, event())
	must(t, err)
	return p
}

func sameProvider(t *testing.T, got, want identity.Provider) {
	t.Helper()
	if fmt.Sprintf("%+v %s", got, store.JSON(got.Settings)) != fmt.Sprintf("%+v %s", want, store.JSON(want.Settings)) || !got.Secret.Equal(want.Secret) {
		got.Settings, want.Settings = identity.ProviderSettings{}, identity.ProviderSettings{}
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func comparable(p identity.Provider) identity.Provider {
	p.Settings.OIDC = nil
	return p
}

func TestProviders(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Providers{DB: db, Sealer: sealer(t)}, t.Context()
		corp, other := addProvider(t, s, "Corp"), addProvider(t, s, "other")
		if corp.Number != 1 || other.Number != 2 {
			t.Errorf("numbers %d and %d", corp.Number, other.Number)
		}
		for what, find := range map[string]func() (identity.Provider, error){
			"id":     func() (identity.Provider, error) { return s.ByID(ctx, corp.ID) },
			"number": func() (identity.Provider, error) { return s.ByNumber(ctx, corp.Number) },
			"handle": func() (identity.Provider, error) { return s.ByHandle(ctx, corp.Handle) },
		} {
			got, err := find()
			if err != nil || got.Settings.OIDC == nil || got.Settings.OIDC.Issuer != corp.Settings.OIDC.Issuer {
				t.Fatalf("by %s: %+v, %v", what, got, err)
			}
			sameProvider(t, comparable(got), comparable(corp))
		}
		if all, err := s.All(ctx); err != nil || len(all) != 2 || all[0].ID != corp.ID || all[1].ID != other.ID {
			t.Errorf("%+v, %v", all, err)
		}
		twin := corp
		twin.ID, twin.Handle, twin.Name = newID(), [16]byte{1}, "CORP"
		_, err := s.Insert(ctx, twin, event())
		is(t, err, identity.ErrProviderTaken)
		_, err = s.ByID(ctx, "nobody")
		is(t, err, identity.ErrNoProvider)
		_, err = s.Change(ctx, corp.ID, func(p identity.Provider) (identity.Provider, error) { p.Name = "Other"; return p, nil }, asChanged)
		is(t, err, identity.ErrProviderTaken)
		refused := errors.New("no")
		_, err = s.Change(ctx, corp.ID, func(identity.Provider) (identity.Provider, error) { return identity.Provider{}, refused }, asChanged)
		is(t, err, refused)
		changed, err := s.Change(ctx, corp.ID, func(p identity.Provider) (identity.Provider, error) {
			p.Name, p.Secret = "Corporation", secret.New("another")
			return p, nil
		}, asChanged)
		must(t, err)
		got, err := s.ByID(ctx, corp.ID)
		must(t, err)
		sameProvider(t, comparable(got), comparable(changed))

		must(t, s.Delete(ctx, other.ID, event()))
		is(t, s.Delete(ctx, other.ID, event()), identity.ErrNoProvider)
		if again := addProvider(t, s, "other"); again.Number != 3 {
			t.Errorf("the number %d was given twice", again.Number)
		}
	})
}

// Nothing of a provider's secret, of a flow or of who came can be read in the database.
func TestProviders_and_flows_are_sealed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		seal := sealer(t)
		s, flows := store.Providers{DB: db, Sealer: seal}, store.Flows{DB: db, Sealer: seal}
		p := addProvider(t, s, "corp")
		f := flowOf(p, "one")
		f.Visitor.Email = "visitor@example.test"
		must(t, flows.Insert(t.Context(), f))
		for _, column := range []struct{ table, names string }{
			{"providers", "sealed"}, {"login_flows", "sealed"}, {"login_flows", "state"}, {"login_flows", "browser"},
		} {
			var all [][]byte
			must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
				all, err = store.All(ctx, tx, store.Value[[]byte], `SELECT `+column.names+` FROM `+column.table)
				return err
			}))
			for _, bytes := range all {
				for _, plain := range []string{"secret of", "state one", "browser one", "nonce one", "verifier one", "visitor"} {
					if strings.Contains(string(bytes), plain) {
						t.Errorf("%s.%s holds %q", column.table, column.names, plain)
					}
				}
			}
		}
	})
}

func vouchedSession(t *testing.T, db *store.DB, user, provider string) session.Session {
	t.Helper()
	x := sessionOf(access.User, user)
	x.Provider = provider
	return begin(t, db, x, 9)
}

func isOver(t *testing.T, db *store.DB, x session.Session) bool {
	t.Helper()
	got, err := store.Sessions{DB: db}.ByID(t.Context(), x.ID)
	must(t, err)
	return !got.Ended.IsZero()
}

// Whoever disables or removes a provider, or unlinks somebody, ends what began by it (rule F12).
func TestProviders_end_what_they_vouched_for(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		seal := sealer(t)
		s, flows, ctx := store.Providers{DB: db, Sealer: seal}, store.Flows{DB: db, Sealer: seal}, t.Context()
		corp, other := addProvider(t, s, "corp"), addProvider(t, s, "other")
		dana, ana := addUser(t, db, "dana"), addUser(t, db, "ana")
		for _, u := range []identity.User{dana, ana} {
			for _, p := range []identity.Provider{corp, other} {
				must(t, s.InsertLink(ctx, identity.Link{Provider: p.ID, Subject: u.Name, User: u.ID, Created: start}, event()))
			}
		}
		byCorp, anaByCorp, byOther, byPassword := vouchedSession(t, db, dana.ID, corp.ID), vouchedSession(t, db, ana.ID, corp.ID), vouchedSession(t, db, dana.ID, other.ID), vouchedSession(t, db, dana.ID, "")
		state := func() string {
			return fmt.Sprint(isOver(t, db, byCorp), isOver(t, db, anaByCorp), isOver(t, db, byOther), isOver(t, db, byPassword))
		}

		must(t, s.DeleteLink(ctx, corp.ID, dana.ID, event()))
		if got := state(); got != "true false false false" {
			t.Errorf("unlinked: %s", got)
		}
		is(t, s.DeleteLink(ctx, corp.ID, dana.ID, event()), identity.ErrNoLink)

		must(t, flows.Insert(ctx, flowOf(corp, "one")))
		set := func(enabled bool) {
			_, err := s.Change(ctx, corp.ID, func(p identity.Provider) (identity.Provider, error) { p.Enabled = enabled; return p, nil }, asChanged)
			must(t, err)
		}
		set(true)
		if got := state(); got != "true false false false" {
			t.Errorf("enabled: %s", got)
		}
		set(false)
		if got := state(); got != "true true false false" {
			t.Errorf("disabled: %s", got)
		}
		_, err := flows.ByState(ctx, "state one", start)
		is(t, err, login.ErrNoFlow)

		late := sessionOf(access.User, ana.ID)
		late.Provider = corp.ID // disabled between the check and the session
		is(t, store.Sessions{DB: db}.Insert(ctx, late, "", 9, event(), evicted), session.ErrChanged)
		late.ID, late.Provider, late.Principal.ID = newID(), other.ID, addUser(t, db, "eve").ID // linked no more
		is(t, store.Sessions{DB: db}.Insert(ctx, late, "", 9, event(), evicted), session.ErrChanged)

		must(t, s.Delete(ctx, other.ID, event()))
		if got := state(); got != "true true true false" {
			t.Errorf("removed: %s", got)
		}
		if links, err := s.LinksOf(ctx, ana.ID); err != nil || len(links) != 1 || links[0].Provider != corp.ID {
			t.Errorf("%+v, %v", links, err)
		}
	})
}

func TestProvider_links(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := store.Providers{DB: db, Sealer: sealer(t)}, t.Context()
		corp := addProvider(t, s, "corp")
		dana, ana := addUser(t, db, "dana"), addUser(t, db, "ana")
		l := identity.Link{Provider: corp.ID, Subject: "Subject", User: dana.ID, Created: start}
		must(t, s.InsertLink(ctx, l, event()))
		if got, err := s.LinkOf(ctx, corp.ID, "Subject"); err != nil || got != l {
			t.Errorf("%+v, %v", got, err)
		}
		for _, absent := range [][2]string{{corp.ID, "subject"}, {corp.ID, "Subject "}, {corp.ID, "S%"}, {"other", "Subject"}} {
			_, err := s.LinkOf(ctx, absent[0], absent[1])
			is(t, err, identity.ErrNoLink)
		}
		is(t, s.InsertLink(ctx, identity.Link{Provider: corp.ID, Subject: "Subject", User: ana.ID, Created: start}, event()), identity.ErrLinked)
		is(t, s.InsertLink(ctx, identity.Link{Provider: corp.ID, Subject: "second", User: dana.ID, Created: start}, event()), identity.ErrLinked)
		is(t, s.InsertLink(ctx, identity.Link{Provider: "other", Subject: "x", User: dana.ID, Created: start}, event()), identity.ErrNoProvider)

		made := dana
		made.ID, made.Name, made.Email, made.PasswordHash = newID(), "eve", "eve@example.test", ""
		ml := identity.Link{Provider: corp.ID, Subject: "eve", User: made.ID, Made: true, Created: start}
		must(t, s.InsertMade(ctx, made, ml, event()))
		if got, err := s.LinkOf(ctx, corp.ID, "eve"); err != nil || got != ml {
			t.Errorf("%+v, %v", got, err)
		}
		if m, err := (store.Accounts{DB: db}).Member(ctx, identity.DefaultAccount, made.ID); err != nil || m.Member.Role != identity.Ordinary {
			t.Errorf("%+v, %v", m, err)
		}
		twin, tl := made, ml
		twin.ID, tl.User, twin.Name = newID(), "", "eve2"
		tl.User = twin.ID
		is(t, s.InsertMade(ctx, twin, tl, event()), identity.ErrEmailTaken)
		twin.Email, twin.Name = "eve2@example.test", "EVE"
		is(t, s.InsertMade(ctx, twin, tl, event()), identity.ErrNameTaken)
		twin.Name = "eve2"
		is(t, s.InsertMade(ctx, twin, tl, event()), identity.ErrLinked)
		_, err := store.Users{DB: db}.ByID(ctx, twin.ID)
		is(t, err, identity.ErrUnknown) // nothing of a refused one stays
	})
}

// Who came first is made once, however many of them arrive at the same moment on whatever nodes.
func TestProvider_links_are_made_once(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		seal := sealer(t)
		corp := addProvider(t, store.Providers{DB: one, Sealer: seal}, "corp")
		var made atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s := store.Providers{DB: []*store.DB{one, two}[i%2], Sealer: seal}
				u := identity.User{ID: newID(), Account: identity.DefaultAccount, Name: fmt.Sprintf("eve-%d", i), Email: fmt.Sprintf("eve%d@example.test", i), Created: start, Updated: start}
				switch err := s.InsertMade(context.Background(), u, identity.Link{Provider: corp.ID, Subject: "eve", User: u.ID, Made: true, Created: start}, event()); {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, identity.ErrLinked):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Errorf("%d were made", made.Load())
		}
	})
}

func TestProvider_recheck(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, users, ctx := store.Providers{DB: db, Sealer: sealer(t)}, store.Users{DB: db}, t.Context()
		corp, other := addProvider(t, s, "corp"), addProvider(t, s, "other")
		dana := addUser(t, db, "dana")
		l := identity.Link{Provider: corp.ID, Subject: "dana", User: dana.ID, Created: start}
		must(t, s.InsertLink(ctx, l, event()))
		var events []string
		checked := func(l identity.Link, present bool) (disabled bool, by, said string) {
			t.Helper()
			events = nil
			must(t, s.Checked(ctx, l, present, start.Add(time.Hour), func(change string) audit.Event {
				events = append(events, change)
				return event()
			}))
			u, err := users.ByID(ctx, dana.ID)
			must(t, err)
			return u.Disabled, u.DisabledBy, strings.Join(slices.Compact(events), " ")
		}
		expect := func(what string, l identity.Link, present, disabled bool, by, said string) {
			t.Helper()
			if d, b, e := checked(l, present); d != disabled || b != by || e != said {
				t.Errorf("%s: disabled %v by %q, events %q", what, d, b, e)
			}
		}
		set := func(disabled bool) {
			_, err := users.Change(ctx, dana.ID, func(u identity.User) (identity.User, error) {
				u.Disabled, u.DisabledBy = disabled, ""
				return u, nil
			}, identity.Ending{}, event())
			must(t, err)
		}
		x := vouchedSession(t, db, dana.ID, "")
		expect("present", l, true, false, "", "")
		if got, err := s.LinkOf(ctx, corp.ID, "dana"); err != nil || !got.Checked.Equal(start.Add(time.Hour)) {
			t.Errorf("%+v, %v", got, err)
		}
		if isOver(t, db, x) {
			t.Error("the session of somebody who is there ended")
		}
		expect("gone", l, false, true, corp.ID, "disabled")
		if !isOver(t, db, x) {
			t.Error("the session of somebody who is gone goes on")
		}
		expect("still gone", l, false, true, corp.ID, "")
		ol := identity.Link{Provider: other.ID, Subject: "dana", User: dana.ID, Created: start}
		must(t, s.InsertLink(ctx, ol, event()))
		expect("there, says another", ol, true, true, corp.ID, "")
		expect("back", l, true, false, "", "enabled")
		set(true)
		expect("back, but a person disabled them", l, true, true, "", "")
		expect("gone, after a person disabled them", l, false, true, "", "")
		set(false)
		gone := l
		gone.Subject = "nobody"
		expect("a link that is not there", gone, false, false, "", "")
	})
}

// People are claimed for a look-up by one node alone, longest ago first.
func TestProvider_recheck_is_claimed_once(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		seal, ctx := sealer(t), context.Background()
		s := store.Providers{DB: one, Sealer: seal}
		corp := addProvider(t, s, "corp")
		for i := range 20 {
			u := addUser(t, one, fmt.Sprintf("user%02d", i))
			must(t, s.InsertLink(ctx, identity.Link{Provider: corp.ID, Subject: u.Name, User: u.ID, Created: start, Checked: start.Add(time.Duration(20-i) * time.Second)}, event()))
		}
		if due, err := s.DueLinks(ctx, corp.ID, start.Add(3*time.Second), 9, start.Add(4*time.Second)); err != nil || len(due) != 2 || due[0].Subject != "user19" || due[1].Subject != "user18" {
			t.Fatalf("%+v, %v", due, err)
		}
		var mu sync.Mutex
		seen := map[string]int{}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				due, err := store.Providers{DB: []*store.DB{one, two}[i%2], Sealer: seal}.DueLinks(ctx, corp.ID, start.Add(time.Hour), 4, start.Add(2*time.Hour))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, l := range due {
					seen[l.Subject]++
				}
			})
		}
		wg.Wait()
		for subject, n := range seen {
			if n > 1 {
				t.Errorf("%s was claimed %d times", subject, n)
			}
		}
		if len(seen) != 20 {
			t.Errorf("%d were claimed", len(seen))
		}
	})
}

// asChanged is the event of a change of a provider.
func asChanged(_, _ identity.Provider) audit.Event { return event() }
