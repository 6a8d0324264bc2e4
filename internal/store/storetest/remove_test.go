package storetest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func grant(t *testing.T, db *store.DB, user string, role access.Role, on access.Resource) {
	t.Helper()
	must(t, store.Bindings{DB: db}.Grant(t.Context(), access.Binding{ID: newID(), Subject: access.Subject{Kind: access.User, ID: user}, Role: role, Resource: on, Created: start}, event()))
}

func own(t *testing.T, db *store.DB, u identity.User) project.Project {
	t.Helper()
	p := project.Project{ID: newID(), Key: "~" + strings.ToUpper(u.Name), Name: u.Name, Owner: u.ID, Created: start, Updated: start}
	p, err := store.Projects{DB: db}.Insert(t.Context(), p, access.Binding{ID: newID(), Subject: access.Subject{Kind: access.User, ID: u.ID}, Role: access.ProjectAdmin, Resource: p.Resource(), Created: start}, event())
	must(t, err)
	return p
}

func insertHTTPToken(t *testing.T, db *store.DB, handle, kind, scope, creator string) {
	t.Helper()
	storetest.Write(t, db, fmt.Sprintf(`INSERT INTO http_tokens (id, handle, scope_kind, scope_id, name, permissions, digest, creator, created, last_address, last_door)
		VALUES ('%s', '%s', '%s', '%s', 'ci', '[]', '', '%s', 0, '', '')`, newID(), handle, kind, scope, creator))
}

func TestUsers_are_removed_with_all_that_is_theirs(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Users{DB: db}
		dana, ana := addUser(t, db, "dana"), addUser(t, db, "ana")
		_, err := store.Projects{DB: db}.Insert(ctx, project.Project{ID: "p", Key: "P", Name: "p", Created: start, Updated: start}, access.Binding{}, event())
		must(t, err)
		for _, u := range []identity.User{dana, ana} {
			grant(t, db, u.ID, access.ProjectReader, access.Project("p"))
			insertKey(t, store.SSHKeys{DB: db}, userKey(t, u.ID))
			begin(t, db, sessionOf(access.User, u.ID), 10)
			insertHTTPToken(t, db, "1"+u.Name, access.UserKind, u.ID, u.ID)
			insertHTTPToken(t, db, "2"+u.Name, access.ProjectKind, "p", u.ID)
			own(t, db, u)
			storetest.Write(t, db, fmt.Sprintf(`INSERT INTO factor_codes (id, user_id, kind, salt, hash, created) VALUES ('%s', '%s', 'backup', '', '', 0)`, newID(), u.ID))
			storetest.Write(t, db, fmt.Sprintf(`INSERT INTO provider_links (provider, subject, user_id, made, created) VALUES ('%s', '%s', '%s', TRUE, 0)`,
				addProvider(t, store.Providers{DB: db, Sealer: newSealer(t)}, "of "+u.Name).ID, u.Name, u.ID))
		}
		group := addGroup(t, db, identity.DefaultAccount, "Ops")
		must(t, store.Groups{DB: db}.AddMember(ctx, group.ID, dana.ID, start, event()))
		heard := watch(t, db)

		is(t, s.Delete(ctx, "nobody", start, event()), identity.ErrUnknown)
		must(t, s.Delete(ctx, dana.ID, start.Add(time.Hour), event().With("k", "v")))

		_, err = s.ByID(ctx, dana.ID)
		is(t, err, identity.ErrUnknown)
		is(t, s.Delete(ctx, dana.ID, start, event()), identity.ErrUnknown)
		for _, table := range []struct{ where, what string }{
			{"role_bindings WHERE subject_id = $1", "roles"},
			{"ssh_keys WHERE user_id = $1", "keys"},
			{"http_tokens WHERE scope_id = $1", "personal tokens"},
			{"sessions WHERE principal = $1 AND ended IS NULL", "sessions"},
			{"factor_codes WHERE user_id = $1", "second factors"},
			{"provider_links WHERE user_id = $1", "links"},
			{"projects WHERE owner = $1", "personal projects"},
		} {
			if n := storetest.Count(t, db, `SELECT COUNT(*) FROM `+table.where, dana.ID); n != 0 {
				t.Errorf("%d %s of somebody who is gone", n, table.what)
			}
			if n := storetest.Count(t, db, `SELECT COUNT(*) FROM `+table.where, ana.ID); n == 0 {
				t.Errorf("%s of somebody else are gone", table.what)
			}
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM group_members WHERE user_id = $1`, dana.ID); n != 0 {
			t.Error("who is gone is in a group")
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM http_tokens WHERE scope_kind = 'project'`); n != 2 {
			t.Errorf("%d tokens of the project: they outlive who made them", n)
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events WHERE body LIKE '%"personal_project":"removed"%' AND body LIKE '%"sessions_ended":"1"%'`); n != 1 {
			t.Errorf("%d events", n)
		}
		told := map[string]bool{}
		for len(heard) > 0 {
			told[<-heard] = true
		}
		for _, topic := range []string{"user " + dana.ID, "tokens", "sshkeys"} {
			if !told[topic] {
				t.Errorf("nobody was told %q: %v", topic, told)
			}
		}
		if again := addUser(t, db, "dana"); again.Number <= ana.Number { // the name is free, the number is not
			t.Errorf("%+v", again)
		}
	})
}

func TestUsers_leave_a_personal_project_that_holds_something(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, projects := t.Context(), store.Projects{DB: db}
		dana := addUser(t, db, "dana")
		p := own(t, db, dana)
		addRepo(t, db, p.ID, "tools")
		must(t, store.Users{DB: db}.Delete(ctx, dana.ID, start, event()))
		kept, err := projects.ByKey(ctx, "~DANA")
		if err != nil || kept.ID != p.ID || kept.Owner != "" {
			t.Errorf("%+v, %v", kept, err)
		}
		if got := held(t, db, addUser(t, db, "dana").ID); got != "" {
			t.Errorf("who comes under the same name holds %s", got)
		}
	})
}

func TestUsers_keep_one_system_administrator(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Users{DB: db}
		dana, ana, off := addUser(t, db, "dana"), addUser(t, db, "ana"), addUser(t, db, "off")
		grant(t, db, dana.ID, access.SysAdmin, access.Installation)
		grant(t, db, off.ID, access.SysAdmin, access.Installation)
		_, err := s.Change(ctx, off.ID, func(u identity.User) (identity.User, error) { u.Disabled = true; return u, nil }, identity.Ending{}, event())
		must(t, err)
		is(t, s.Delete(ctx, dana.ID, start, event()), identity.ErrLastSysAdmin)
		must(t, s.Delete(ctx, off.ID, start, event()))

		ops := addGroup(t, db, identity.DefaultAccount, "Ops")
		give(t, db, ops, access.SysAdmin, access.Installation)
		must(t, store.Groups{DB: db}.AddMember(ctx, ops.ID, ana.ID, start, event()))
		// Two who remove one another at the same moment.
		var both sync.WaitGroup
		errs := make([]error, 2)
		for i, u := range []identity.User{dana, ana} {
			both.Go(func() { errs[i] = s.Delete(ctx, u.ID, start, event()) })
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatal(errs)
		}
		for _, err := range errs {
			if err != nil {
				is(t, err, identity.ErrLastSysAdmin)
			}
		}
	})
}

func TestUsers_are_found_by_what_their_names_begin_with(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Users{DB: db}
		var ids []string
		for _, name := range []string{"zoe", "dana", "ana", "dora"} {
			ids = append(ids, addUser(t, db, name).ID)
		}
		_, err := s.Change(ctx, ids[2], func(u identity.User) (identity.User, error) { u.Names.Display = "DÖRTE"; return u, nil }, identity.Ending{}, event())
		must(t, err)
		for _, c := range []struct {
			beginning     string
			offset, limit int64
			want          string
			total         int64
		}{
			{"", 0, 10, "zoe dana ana dora", 4},
			{"", 1, 2, "dana ana", 4},
			{"", 9, 2, "", 4},
			{"d", 0, 10, "dana ana dora", 3},
			{"d", 1, 1, "ana", 3},
			{"d", 5, 1, "", 3},
			{"dör", 0, 10, "ana", 1},
			{"zoe@ex", 0, 10, "zoe", 1},
			{"%", 0, 10, "", 0},
		} {
			p, err := s.Beginning(ctx, identity.DefaultAccount, c.beginning, page.Window{Offset: c.offset, Limit: c.limit})
			got := strings.Join(names(p.Items, func(u identity.User) string { return u.Name }), " ")
			if err != nil || got != c.want || p.Total != c.total {
				t.Errorf("%+v: %s of %d, %v", c, got, p.Total, err)
			}
		}
		many := append(make([]string, 450), ids...)
		found, err := s.ByIDs(ctx, many)
		if err != nil || len(found) != 4 {
			t.Errorf("%d, %v", len(found), err)
		}
	})
}
