package storetest_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

// walk reads a listing to its end in parts of two, and fails where a part is longer or empty before the end.
func walk[T any](t *testing.T, read func(page.Window) (page.Page[T], error), name func(T) string) []string {
	t.Helper()
	var all []string
	for after := ""; ; {
		p, err := read(page.Behind(after, 2))
		must(t, err)
		for _, item := range p.Items {
			all = append(all, name(item))
		}
		if len(p.Items) > 2 || p.HasMore() != (p.Next != "") || p.HasMore() && len(p.Items) < 2 || len(all) > 100 {
			t.Fatalf("%d items, next %q, after %v", len(p.Items), p.Next, all)
		}
		if after = p.Next; after == "" {
			return all
		}
	}
}

// A listing by key holds everything once, in the order of the listing by offset.
func TestKeyed_listings(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, users, accounts := t.Context(), store.Users{DB: db}, store.Accounts{DB: db}
		for i, name := range []string{"Eve", "ana", "ben", "zoë", "Dan"} {
			u := identity.User{ID: newID(), Account: identity.DefaultAccount, Name: name, Email: strconv.Itoa(i) + "@example.test", Created: start, Updated: start}
			must(t, users.Insert(ctx, u, event()))
		}
		nameOf := func(u identity.User) string { return u.Name }
		listed, err := users.List(ctx, identity.DefaultAccount, page.Of(0, 100))
		must(t, err)
		if got := walk(t, func(w page.Window) (page.Page[identity.User], error) {
			return users.List(ctx, identity.DefaultAccount, w)
		}, nameOf); !slices.Equal(got, names(listed.Items, nameOf)) || len(got) != 5 {
			t.Errorf("users: %v", got)
		}
		personOf := func(p identity.Person) string { return p.User.Name }
		members, err := accounts.Members(ctx, identity.DefaultAccount, page.Of(0, 100))
		must(t, err)
		if got := walk(t, func(w page.Window) (page.Page[identity.Person], error) {
			return accounts.Members(ctx, identity.DefaultAccount, w)
		}, personOf); !slices.Equal(got, names(members.Items, personOf)) || len(got) != 5 {
			t.Errorf("members: %v", got)
		}

		sessions := store.Sessions{DB: db}
		var begun []string
		for range 5 {
			x := session.Session{
				ID: newID(), Digest: [32]byte([]byte(newID())[:32]), Principal: access.Principal{Kind: access.User, ID: listed.Items[0].ID}, State: session.Active, Created: start, Authenticated: start,
				LastUsed: start, Idle: time.Hour, Deadline: start.Add(time.Hour),
			}
			copy(x.Digest[:], x.ID[4:])
			must(t, sessions.Insert(ctx, x, "", 100, event(), func(session.Session) audit.Event { return event() }))
			begun = append([]string{x.ID}, begun...)
		}
		if got := walk(t, func(w page.Window) (page.Page[session.Session], error) { return sessions.List(ctx, start, w) }, func(x session.Session) string { return x.ID }); !slices.Equal(got, begun) {
			t.Errorf("sessions: %v, want %v", got, begun)
		}

		projects := store.Projects{DB: db}
		for _, key := range []string{"BB", "A_1", "CC"} {
			_, err := projects.Insert(ctx, project.Project{ID: newID(), Key: key, Name: key, Created: start, Updated: start}, access.Binding{}, event())
			must(t, err)
		}
		keyOf := func(p project.Project) string { return p.Key }
		byOffset, err := projects.List(ctx, page.Of(0, 100))
		must(t, err)
		if got := walk(t, func(w page.Window) (page.Page[project.Project], error) { return projects.List(ctx, w) }, keyOf); !slices.Equal(got, names(byOffset.Items, keyOf)) || len(got) != 3 {
			t.Errorf("projects: %v", got)
		}
	})
}

func names[T any](items []T, name func(T) string) []string {
	var all []string
	for _, item := range items {
		all = append(all, name(item))
	}
	return all
}

// Whatever the filter, what lies behind each session is what the listing by offset has there: overdue ones count as expired in both.
func TestKeyed_listing_of_proofs(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		randomSessions(t, s)
		for _, statuses := range [][]keyproof.Status{nil, {keyproof.Pending}, {keyproof.Verified}, {keyproof.Expired}, {keyproof.Failed, keyproof.Expired}} {
			f := keyproof.Filter{Project: "p", Kind: keyproof.Verify, Statuses: statuses, Now: start.Add(20 * time.Minute), Window: page.Of(0, 100)}
			id := func(x keyproof.Session) string { return x.ID }
			whole, err := s.List(t.Context(), f)
			must(t, err)
			got := walk(t, func(w page.Window) (page.Page[keyproof.Session], error) {
				f.Window = w
				return s.List(t.Context(), f)
			}, id)
			if !slices.Equal(got, names(whole.Items, id)) || len(got) == 0 {
				t.Errorf("%v: %v, want %v", statuses, got, names(whole.Items, id))
			}
		}
	})
}

func TestAudit_lists_what_concerns_a_user(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Audit{DB: db}
		var mine []string
		for i := range 5 {
			e := happened("login.password")
			e.Concerns = "dana"
			if i == 2 {
				e.Concerns = "eve"
			} else {
				mine = append([]string{e.ID}, mine...)
			}
			must(t, s.Append(t.Context(), e, happened("keyproof.create")))
		}
		auditor(t, db, newSigner(t, db)).Finish(t.Context()) // sealed or not
		e := happened("session.end")
		e.Concerns, e.Reason = "dana", "by hand"
		must(t, s.Append(t.Context(), e))
		mine = append([]string{e.ID}, mine...)
		read := func(w page.Window) (page.Page[audit.Event], error) { return s.Concerning(t.Context(), "dana", w) }
		if got := walk(t, read, func(e audit.Event) string { return e.ID }); !slices.Equal(got, mine) {
			t.Errorf("%v, want %v", got, mine)
		}
		if first, err := read(page.Behind("", 1)); err != nil || first.Items[0].Reason != "by hand" || first.Items[0].Action != "session.end" {
			t.Errorf("%+v, %v", first, err)
		}
	})
}
