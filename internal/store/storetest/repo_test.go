package storetest_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func insertProject(t *testing.T, db *store.DB, p project.Project) project.Project {
	t.Helper()
	p.ID, p.Created, p.Updated = newID(), start, start
	p, err := store.Projects{DB: db}.Insert(t.Context(), p, access.Binding{}, event())
	must(t, err)
	return p
}

func repoOf(in project.Project, slug string) repo.Repo {
	return repo.Repo{ID: newID(), Project: in, Slug: slug, Name: "Straße " + slug, DefaultBranch: "größe/main", Created: start, Updated: start}
}

func insertRepo(t *testing.T, db *store.DB, in project.Project, slug string) repo.Repo {
	t.Helper()
	r, err := store.Repos{DB: db}.Insert(t.Context(), repoOf(in, slug), event())
	must(t, err)
	return r
}

func slugs(p page.Page[repo.Repo]) string {
	return strings.Join(names(p.Items, func(r repo.Repo) string { return r.Slug }), " ")
}

func TestRepos(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Repos{DB: db}
		rate := 7
		ops := insertProject(t, db, project.Project{Key: "OPS", Name: "ops", Description: "d", Public: true, Restricted: true, Settings: project.Settings{RatePerHour: &rate}})
		shop := insertProject(t, db, project.Project{Key: "SHOP", Name: "shop"})
		infra := insertRepo(t, db, ops, "infra")
		for _, find := range []func() (repo.Repo, error){
			func() (repo.Repo, error) { return s.ByID(ctx, infra.ID) },
			func() (repo.Repo, error) { return s.BySlug(ctx, ops.ID, "infra") },
		} {
			got, err := find()
			must(t, err)
			same(t, "repository", got, infra)
		}
		_, err := s.BySlug(ctx, shop.ID, "infra")
		is(t, err, repo.ErrUnknown)
		_, err = s.ByID(ctx, "gone")
		is(t, err, repo.ErrUnknown)

		events := countEvents(t, db)
		_, err = s.Insert(ctx, repoOf(ops, "infra"), event())
		is(t, err, repo.ErrTaken)
		_, err = s.Insert(ctx, repoOf(project.Project{ID: "gone"}, "infra"), event())
		is(t, err, project.ErrUnknown)
		stop := errors.New("stop")
		_, err = s.Change(ctx, infra.ID, func(repo.Repo) (repo.Repo, error) { return repo.Repo{}, stop }, event())
		is(t, err, stop)
		_, err = s.Change(ctx, "gone", func(r repo.Repo) (repo.Repo, error) { return r, nil }, event())
		is(t, err, repo.ErrUnknown)
		is(t, s.Delete(ctx, "gone", event()), repo.ErrUnknown)
		if n := countEvents(t, db); n != events {
			t.Errorf("%d events of nothing", n-events)
		}
		same := insertRepo(t, db, shop, "infra")
		if same.Number <= infra.Number {
			t.Errorf("number %d after %d", same.Number, infra.Number)
		}

		changed, err := s.Change(ctx, infra.ID, func(r repo.Repo) (repo.Repo, error) {
			r.Name, r.DefaultBranch, r.Public, r.Updated = "Tools", "next", true, start.Add(time.Hour)
			return r, nil
		}, event())
		must(t, err)
		if got, err := s.ByID(ctx, infra.ID); err != nil || !reflect.DeepEqual(got, changed) || got.Name != "Tools" || got.Slug != "infra" || got.Number != infra.Number || !got.Public {
			t.Errorf("%+v, %v", got, err)
		}

		// A number that was given is never given again, whatever becomes of what had it.
		must(t, s.Delete(ctx, same.ID, event()))
		if again := insertRepo(t, db, shop, "infra"); again.Number <= same.Number {
			t.Errorf("number %d after %d", again.Number, same.Number)
		}
	})
}

func TestRepos_of_a_project(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Repos{DB: db}
		ops, shop := insertProject(t, db, project.Project{Key: "OPS", Name: "ops"}), insertProject(t, db, project.Project{Key: "SHOP", Name: "shop"})
		z, a, open := insertRepo(t, db, ops, "z"), insertRepo(t, db, ops, "a"), repoOf(ops, "open")
		open.Public = true
		_, err := s.Insert(ctx, open, event())
		must(t, err)
		other := insertRepo(t, db, shop, "other")
		for _, c := range []struct {
			all  bool
			ids  []string
			w    page.Window
			want string
		}{
			{true, nil, page.Of(0, 10), "3 z a open"}, // by number
			{true, nil, page.Of(1, 1), "3 a"},
			{true, nil, page.Of(3, 1), "3 "},
			{false, nil, page.Of(0, 10), "1 open"},
			{false, []string{a.ID, other.ID, "gone"}, page.Of(0, 10), "2 a open"},
			{false, []string{z.ID, a.ID, open.ID}, page.Of(2, 10), "3 open"},
			{false, []string{"' OR TRUE --"}, page.Of(0, 10), "1 open"},
		} {
			if p, err := s.OfProject(ctx, ops.ID, c.all, c.ids, c.w); err != nil || fmt.Sprint(p.Total, " ", slugs(p)) != c.want {
				t.Errorf("%+v: %d %s, %v", c, p.Total, slugs(p), err)
			}
		}
	})
}

func TestRepos_of_one_slug_made_together(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ops := insertProject(t, one, project.Project{Key: "OPS", Name: "ops"})
		var results [8]error
		var all sync.WaitGroup
		for i := range results {
			s := store.Repos{DB: []*store.DB{one, two}[i%2]}
			all.Go(func() { _, results[i] = s.Insert(t.Context(), repoOf(ops, "infra"), event()) })
		}
		all.Wait()
		won := 0
		for _, err := range results {
			if err == nil {
				won++
			} else if !errors.Is(err, repo.ErrTaken) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d were made", won)
		}
	})
}

func TestPushes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), store.Repos{DB: db}
		ops := insertProject(t, db, project.Project{Key: "OPS", Name: "ops"})
		infra, other := insertRepo(t, db, ops, "infra"), insertRepo(t, db, ops, "other")
		var want []string
		for i := range 5 {
			p := repo.Pushed{
				ID: newID(), Repo: infra.ID, Actor: access.Principal{Kind: access.User, ID: "u", Name: "dana"}, Address: "192.0.2.1", Door: "ssh", At: start.Add(time.Duration(i)),
				Refs: []repo.Ref{{Name: "refs/heads/größe", Old: "0", New: fmt.Sprint(i)}}, Credential: "k1",
			}
			p.At = p.At.Truncate(time.Microsecond)
			must(t, s.InsertPush(ctx, p, event()))
			want = append([]string{p.ID}, want...)
			if got, err := s.Pushes(ctx, infra.ID, page.Behind("", 1)); err != nil || len(got.Items) != 1 || !reflect.DeepEqual(got.Items[0], p) {
				t.Errorf("%+v, %v, want %+v", got.Items, err, p)
			}
		}
		for _, limit := range []int64{1, 2, 5, 100} {
			var got []string
			after := ""
			for range 6 {
				p, err := s.Pushes(ctx, infra.ID, page.Behind(after, limit))
				must(t, err)
				got = append(got, names(p.Items, func(p repo.Pushed) string { return p.ID })...)
				if after = p.Next; after == "" {
					break
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%d at a time: %v, want %v", limit, got, want)
			}
		}
		if p, err := s.Pushes(ctx, other.ID, page.Behind("", 10)); err != nil || len(p.Items) != 0 {
			t.Errorf("%+v, %v", p, err)
		}
		events := countEvents(t, db)
		is(t, s.InsertPush(ctx, repo.Pushed{ID: newID(), Repo: "gone", At: start}, event()), repo.ErrUnknown)
		if n := countEvents(t, db); n != events {
			t.Errorf("%d events of nothing", n-events)
		}
	})
}

// What is held on a repository or project goes with it, and nothing else does.
func TestPlaces_take_what_is_held_on_them_along(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, keys := t.Context(), store.SSHKeys{DB: db}
		dana := addUser(t, db, "dana")
		ops := insertProject(t, db, project.Project{Key: "OPS", Name: "ops"})
		infra, other := insertRepo(t, db, ops, "infra"), insertRepo(t, db, ops, "other")
		for i, place := range []access.Resource{infra.Resource(), other.Resource(), ops.Resource()} {
			grant(t, db, dana.ID, map[string]access.Role{access.RepoKind: access.RepoWriter, access.ProjectKind: access.ProjectReader}[place.Kind], place)
			insertHTTPToken(t, db, fmt.Sprint(i), place.Kind, place.ID, dana.ID)
		}
		must(t, store.Repos{DB: db}.InsertPush(ctx, repo.Pushed{ID: newID(), Repo: infra.ID, At: start}, event()))
		alone, both, theirs := insertKey(t, keys, accessKey(t, infra.Resource())), insertKey(t, keys, accessKey(t, infra.Resource(), other.Resource())), insertKey(t, keys, userKey(t, dana.ID))
		whole := insertKey(t, keys, accessKey(t, ops.Resource()))
		heard := watch(t, db)

		is(t, store.Projects{DB: db}.Delete(ctx, ops.ID, event()), project.ErrNotEmpty)
		left := func() string {
			t.Helper()
			all := ""
			for _, query := range []string{
				`SELECT COUNT(*) FROM role_bindings WHERE resource_kind IN ('repo', 'project')`, `SELECT COUNT(*) FROM http_tokens`, `SELECT COUNT(*) FROM ssh_keys`,
				`SELECT COUNT(*) FROM ssh_key_grants`, `SELECT COUNT(*) FROM pushes`,
			} {
				all += fmt.Sprint(storetest.Count(t, db, query), " ")
			}
			return all
		}
		if got := left(); got != "3 3 4 4 1 " {
			t.Fatalf("what was not deleted lost something: %s", got)
		}
		must(t, store.Repos{DB: db}.Delete(ctx, infra.ID, event()))
		if got := left(); got != "2 2 3 2 0 " {
			t.Errorf("the repository is gone: %s", got)
		}
		_, err := keys.ByID(ctx, alone.ID, start)
		is(t, err, sshkey.ErrUnknown)
		for _, kept := range []sshkey.Registered{both, theirs, whole} {
			if got, err := keys.ByID(ctx, kept.ID, start); err != nil || len(got.Grants) != min(1, len(kept.Grants)) {
				t.Errorf("%+v, %v", got, err)
			}
		}
		told := map[string]bool{}
		for len(heard) > 0 {
			told[<-heard] = true
		}
		if !told["tokens"] || !told["sshkeys"] {
			t.Errorf("%v", told)
		}
		must(t, store.Repos{DB: db}.Delete(ctx, other.ID, event()))
		must(t, store.Projects{DB: db}.Delete(ctx, ops.ID, event()))
		if got := left(); got != "0 0 1 0 0 " { // the key of a person is theirs
			t.Errorf("the project is gone: %s", got)
		}
	})
}

// A key that is given another place while its only one goes away is either gone, and who gave it hears so, or there with the other place.
func TestPlaces_that_go_leave_a_key_what_it_is_given(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		ops := insertProject(t, one, project.Project{Key: "OPS", Name: "ops"})
		other := insertRepo(t, one, ops, "other")
		for i := range 10 {
			infra := insertRepo(t, one, ops, fmt.Sprint("infra-", i))
			key := insertKey(t, store.SSHKeys{DB: one}, accessKey(t, infra.Resource()))
			var added error
			var all sync.WaitGroup
			all.Go(func() {
				added = store.SSHKeys{DB: two}.AddGrant(t.Context(), key.ID, sshkey.Grant{Place: other.Resource(), Permission: sshkey.Read, Created: start}, event())
			})
			all.Go(func() {
				if err := (store.Repos{DB: one}).Delete(t.Context(), infra.ID, event()); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			got, err := store.SSHKeys{DB: one}.ByID(t.Context(), key.ID, start)
			switch {
			case added == nil && err == nil && len(got.Grants) == 1:
			case errors.Is(added, sshkey.ErrUnknown) && errors.Is(err, sshkey.ErrUnknown):
			default:
				t.Errorf("added: %v; found %+v, %v", added, got, err)
			}
		}
	})
}
