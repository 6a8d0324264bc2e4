package storetest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func TestProjects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Projects{DB: db}
		dana := addUser(t, db, "dana")
		rate := 0
		p := project.Project{
			ID: newID(), Key: "OPS", Name: "Straße", Description: "größer", Public: true, Restricted: true, Created: start, Updated: start,
			Settings: project.Settings{StrictStatus: true, RatePerHour: &rate},
		}
		admin := access.Binding{ID: newID(), Subject: access.Subject{Kind: access.User, ID: dana.ID}, Role: access.ProjectAdmin, Resource: p.Resource(), Created: start}
		p, err := s.Insert(ctx, p, admin, event())
		must(t, err)
		got, err := s.ByKey(ctx, "OPS")
		must(t, err)
		same(t, "project", got, p)
		if got := held(t, db, dana.ID); got != "project.admin" {
			t.Errorf("who made it holds %q", got)
		}

		// One that is not kept leaves neither a role nor an event.
		events := countEvents(t, db)
		again := project.Project{ID: newID(), Key: "OPS", Name: "again", Created: start, Updated: start}
		admin.ID, admin.Resource = newID(), again.Resource()
		_, err = s.Insert(ctx, again, admin, event())
		is(t, err, project.ErrKeyTaken)
		if got := held(t, db, dana.ID); got != "project.admin" || countEvents(t, db) != events {
			t.Errorf("%q, %d events", got, countEvents(t, db)-events)
		}

		// Whoever has a personal project has no second one, whatever its key.
		own(t, db, dana)
		second := project.Project{ID: newID(), Key: "~OTHER", Name: "other", Owner: dana.ID, Created: start, Updated: start}
		_, err = s.Insert(ctx, second, access.Binding{}, event())
		is(t, err, project.ErrKeyTaken)
		if got, err := s.ByKey(ctx, "~DANA"); err != nil || got.Owner != dana.ID || !got.Personal() {
			t.Errorf("%+v, %v", got, err)
		}

		is(t, s.Delete(ctx, "gone", event()), project.ErrUnknown)
		insertRepo(t, db, p, "infra")
		is(t, s.Delete(ctx, p.ID, event()), project.ErrNotEmpty)
		if got := held(t, db, dana.ID); got != "project.admin, project.admin" {
			t.Errorf("after a deletion that was refused: %q", got)
		}
		storetest.Write(t, db, `DELETE FROM repos`)
		must(t, s.Delete(ctx, p.ID, event()))
		_, err = s.ByID(ctx, p.ID)
		is(t, err, project.ErrUnknown)
		if got := held(t, db, dana.ID); got != "project.admin" {
			t.Errorf("after the deletion: %q", got)
		}
		if again := insertProject(t, db, project.Project{Key: "OPS", Name: "ops"}); again.Number <= p.Number+1 { // the key is free, the number is not
			t.Errorf("number %d, and %d before", again.Number, p.Number)
		}
	})
}

func TestProjects_that_one_may_read(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Projects{DB: db}
		z := insertProject(t, db, project.Project{Key: "Z", Name: "Zoo"})
		insertProject(t, db, project.Project{Key: "A", Name: "Straße"})
		insertProject(t, db, project.Project{Key: "P", Name: "STRASSE 2", Public: true})
		for _, c := range []struct {
			name string
			all  bool
			ids  []string
			w    page.Window
			want string
		}{
			{"", true, nil, page.Of(0, 10), "3 Z A P"}, // by number
			{"", true, nil, page.Of(1, 1), "3 A"},
			{"", true, nil, page.Of(9, 1), "3 "},
			{"", false, nil, page.Of(0, 10), "1 P"},
			{"", false, []string{z.ID, "gone"}, page.Of(0, 10), "2 Z P"},
			{"strasse", true, nil, page.Of(0, 10), "2 A P"},
			{"strasse", false, []string{z.ID}, page.Of(0, 10), "1 P"},
			{"ZOO", false, []string{z.ID}, page.Of(0, 10), "1 Z"},
			{"oo", true, nil, page.Of(0, 10), "0 "},
			{"%", true, nil, page.Of(0, 10), "0 "},
		} {
			p, err := s.Some(ctx, c.name, c.all, c.ids, c.w)
			keys := strings.Join(names(p.Items, func(p project.Project) string { return p.Key }), " ")
			if err != nil || fmt.Sprint(p.Total, " ", keys) != c.want {
				t.Errorf("%+v: %d %s, %v", c, p.Total, keys, err)
			}
		}
	})
}

// A project never goes from under a repository that is made at that moment.
func TestProjects_deleted_while_something_is_made_in_them(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		for i := range 10 {
			p := insertProject(t, one, project.Project{Key: fmt.Sprint("P", i), Name: "p"})
			var made, deleted error
			var all sync.WaitGroup
			all.Go(func() { _, made = store.Repos{DB: one}.Insert(t.Context(), repoOf(p, "infra"), event()) })
			all.Go(func() { deleted = store.Projects{DB: two}.Delete(t.Context(), p.ID, event()) })
			all.Wait()
			switch {
			case made == nil && errors.Is(deleted, project.ErrNotEmpty), deleted == nil && errors.Is(made, project.ErrUnknown):
			default:
				t.Errorf("made: %v, deleted: %v", made, deleted)
			}
		}
	})
}

func TestBindings_SetRole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Bindings{DB: db}
		dana, ops := addUser(t, db, "dana"), access.Project("ops")
		seen := ""
		set := func(role access.Role, refuse error) error {
			b := access.Binding{ID: newID(), Subject: access.Subject{Kind: access.User, ID: dana.ID}, Role: role, Resource: ops, Created: start}
			return s.SetRole(ctx, b, func(was []access.Role) error { seen = fmt.Sprint(was); return refuse }, event())
		}
		stop, before := errors.New("stop"), countEvents(t, db)
		for _, c := range []struct {
			role   access.Role
			refuse error
			saw    string
			holds  string
			events int64
		}{
			{"", nil, "[]", "", 0},
			{access.ProjectReader, stop, "[]", "", 0},
			{access.ProjectReader, nil, "[]", "project.read", 1},
			{access.ProjectReader, nil, "[project.read]", "project.read", 1},
			{access.ProjectAdmin, stop, "[project.read]", "project.read", 1},
			{access.ProjectAdmin, nil, "[project.read]", "project.admin", 2},
			{"", nil, "[project.admin]", "", 3},
			{"", nil, "[]", "", 3},
		} {
			is(t, set(c.role, c.refuse), c.refuse)
			if got := held(t, db, dana.ID); seen != c.saw || got != c.holds || countEvents(t, db)-before != c.events {
				t.Errorf("%+v: saw %s, holds %s, %d events", c, seen, got, countEvents(t, db)-before)
			}
		}
		// Several that were given one by one become one.
		grant(t, db, dana.ID, access.ProjectReader, ops)
		grant(t, db, dana.ID, access.ProjectAdmin, ops)
		grant(t, db, dana.ID, access.ProjectReader, access.Project("shop"))
		must(t, set(access.ProjectWriter, nil))
		on, err := s.BindingsOn(ctx, ops)
		if err != nil || len(on) != 1 || on[0].Role != access.ProjectWriter || on[0].Subject.ID != dana.ID {
			t.Errorf("%+v, %v", on, err)
		}
		if other, err := s.BindingsOn(ctx, access.Project("shop")); err != nil || len(other) != 1 {
			t.Errorf("of another project: %+v, %v", other, err)
		}
	})
}

func TestBindings_BindingsOn_names_who_holds(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ops := store.Bindings{DB: db}, access.Project("ops")
		dana, circle := addUser(t, db, "Dana"), addGroup(t, db, identity.DefaultAccount, "Größe")
		grant(t, db, dana.ID, access.ProjectAdmin, ops)
		grant(t, db, "gone", access.ProjectReader, ops)
		give(t, db, circle, access.ProjectWriter, ops)
		give(t, db, identity.Group{ID: dana.ID}, access.ProjectReader, ops) // the kind is part of who it is
		must(t, s.Grant(t.Context(), access.Binding{ID: newID(), Subject: access.Subject{Kind: access.ServiceIdentity, ID: dana.ID}, Role: access.ProjectReader, Resource: ops, Created: start}, event()))
		all, err := s.BindingsOn(t.Context(), ops)
		must(t, err)
		var got []string
		for _, b := range all {
			got = append(got, fmt.Sprintf("%s %s %q", b.Subject.Kind, b.Role, b.Name))
		}
		slices.Sort(got)
		want := `group project.read "", group project.write "Größe", service project.read "", user project.admin "Dana", user project.read ""`
		if strings.Join(got, ", ") != want {
			t.Errorf("%s, want %s", strings.Join(got, ", "), want)
		}
	})
}

// Of roles that are set at the same moment exactly one is left, and each was decided on what was there before it (rule W7).
func TestBindings_SetRole_at_once(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		dana, ops := addUser(t, one, "dana"), access.Project("ops")
		roles := []access.Role{access.ProjectReader, access.ProjectWriter, access.ProjectAdmin, access.ProjectReader, access.ProjectWriter, access.ProjectAdmin}
		for range 5 {
			var all sync.WaitGroup
			empty := make([]bool, len(roles))
			for i, role := range roles {
				s := store.Bindings{DB: []*store.DB{one, two}[i%2]}
				all.Go(func() {
					b := access.Binding{ID: newID(), Subject: access.Subject{Kind: access.User, ID: dana.ID}, Role: role, Resource: ops, Created: start}
					err := s.SetRole(t.Context(), b, func(was []access.Role) error {
						empty[i] = len(was) == 0
						if len(was) > 1 {
							return fmt.Errorf("%v at once", was)
						}
						return nil
					}, event())
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			first := 0
			for _, e := range empty {
				if e {
					first++
				}
			}
			if n := storetest.Count(t, one, `SELECT COUNT(*) FROM role_bindings WHERE resource_id = 'ops'`); n != 1 || first != 1 {
				t.Fatalf("%d roles are left, %d were the first", n, first)
			}
			storetest.Write(t, one, `DELETE FROM role_bindings WHERE resource_id = 'ops'`)
		}
	})
}
