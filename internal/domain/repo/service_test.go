package repo_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// memory keeps repositories and what was pushed to them.
type memory struct {
	repos  []repo.Repo
	pushes []repo.Pushed
	events []audit.Event
	err    error // what every write reports
}

func (m *memory) Insert(_ context.Context, r repo.Repo, e audit.Event) (repo.Repo, error) {
	if m.err != nil {
		return repo.Repo{}, m.err
	}
	r.Number = int64(len(m.repos) + 1)
	m.repos, m.events = append(m.repos, r), append(m.events, e)
	return r, nil
}

func (m *memory) Change(_ context.Context, id string, decide func(repo.Repo) (repo.Repo, error), e audit.Event) (repo.Repo, error) {
	for i, r := range m.repos {
		if r.ID == id {
			changed, err := decide(r)
			if err == nil {
				m.repos[i], m.events = changed, append(m.events, e)
			}
			return changed, err
		}
	}
	return repo.Repo{}, repo.ErrUnknown
}

func (m *memory) Delete(_ context.Context, id string, e audit.Event) error {
	if m.err != nil {
		return m.err
	}
	m.repos, m.events = slices.DeleteFunc(m.repos, func(r repo.Repo) bool { return r.ID == id }), append(m.events, e)
	return nil
}

func (m *memory) find(match func(repo.Repo) bool) (repo.Repo, error) {
	if i := slices.IndexFunc(m.repos, match); i >= 0 {
		return m.repos[i], nil
	}
	return repo.Repo{}, repo.ErrUnknown
}

func (m *memory) ByID(_ context.Context, id string) (repo.Repo, error) {
	return m.find(func(r repo.Repo) bool { return r.ID == id })
}

func (m *memory) BySlug(_ context.Context, project, slug string) (repo.Repo, error) {
	return m.find(func(r repo.Repo) bool { return r.Project.ID == project && r.Slug == slug })
}

func (m *memory) OfProject(_ context.Context, project string, all bool, ids []string, w page.Window) (page.Page[repo.Repo], error) {
	p := page.Page[repo.Repo]{Window: w}
	for _, r := range m.repos {
		if r.Project.ID == project && (all || r.Public || slices.Contains(ids, r.ID)) {
			p.Items = append(p.Items, r)
		}
	}
	p.Total = int64(len(p.Items))
	return p, nil
}

func (m *memory) InsertPush(ctx context.Context, p repo.Pushed, e audit.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.pushes, m.events = append(m.pushes, p), append(m.events, e)
	return m.err
}

func (m *memory) Pushes(context.Context, string, page.Window) (page.Page[repo.Pushed], error) {
	return page.Page[repo.Pushed]{Items: m.pushes}, nil
}

// projects are the projects of the tests; nobody makes or changes one here.
type projects struct {
	project.Store
	all []project.Project
}

func (p *projects) ByKey(_ context.Context, key string) (project.Project, error) {
	if i := slices.IndexFunc(p.all, func(one project.Project) bool { return one.Key == key }); i >= 0 {
		return p.all[i], nil
	}
	return project.Project{}, project.ErrUnknown
}

// roles are who holds what.
type roles struct {
	access.Store
	held map[string][]access.Binding
}

func (r *roles) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return r.held[of.ID], nil
}

// disk is what lies on disk: a branch by id.
type disk struct {
	made map[string]string
	err  error
}

func (d *disk) Create(_ context.Context, id, branch string) error {
	if d.err == nil {
		d.made[id] = branch
	}
	return d.err
}

func (d *disk) Remove(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), d.err); err != nil {
		return err
	}
	delete(d.made, id)
	return nil
}

type world struct {
	*repo.Service
	store    *memory
	projects *projects
	roles    *roles
	disk     *disk
	now      time.Time
	heard    []string // what no caller saw

	admin     access.Caller // runs the server
	ops, shop project.Project
}

func newWorld() *world {
	w := &world{
		store: &memory{}, roles: &roles{held: map[string][]access.Binding{}}, disk: &disk{made: map[string]string{}},
		now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), ops: project.Project{ID: "p-ops", Key: "OPS", Name: "ops"}, shop: project.Project{ID: "p-shop", Key: "SHOP", Name: "shop"},
	}
	w.projects = &projects{all: []project.Project{w.ops, w.shop}}
	clock := func() time.Time { return w.now }
	n := 0
	newID := func() string { n++; return fmt.Sprint("r", n) }
	rights := &access.Service{Store: w.roles, Now: clock, NewID: newID}
	w.admin = access.LocalCaller("root", w.now)
	w.Service = &repo.Service{
		Store: w.store, Access: rights, Projects: &project.Service{Store: w.projects, Access: rights, Now: clock, NewID: newID}, Disk: w.disk, Now: clock, NewID: newID,
		OnError: func(doing string, err error) { w.heard = append(w.heard, doing+": "+err.Error()) },
	}
	return w
}

// user is somebody who holds a role, if any.
func (w *world) user(id string, role access.Role, on access.Resource) access.Caller {
	if role != "" {
		w.roles.held[id] = append(w.roles.held[id], access.Binding{Role: role, Resource: on})
	}
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: id, Name: id}, Scopes: []access.Action{"*"}, Door: "native", Address: netip.MustParseAddr("192.0.2.1")}
}

// tokenOf is a token of one place, which may do all there.
func tokenOf(place access.Resource) access.Caller {
	return access.Caller{Principal: access.Principal{Kind: access.ServiceIdentity, ID: "t1", Name: "ci"}, Credential: "t1", Scopes: []access.Action{"*"}, Limit: place}
}

func (w *world) create(t *testing.T, in project.Project, n repo.New) repo.Repo {
	t.Helper()
	r, err := w.Create(t.Context(), w.admin, in, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func denied(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	t.Run("makes_it_on_disk_by_its_id_and_keeps_it_with_its_event", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		dana := w.user("dana", access.ProjectAdmin, w.ops.Resource())
		r, err := w.Create(t.Context(), dana, w.ops, repo.New{Name: "Infra Tools", Public: true})
		if err != nil || r.Slug != "infra-tools" || r.Name != "Infra Tools" || r.DefaultBranch != "main" || !r.Public || r.Number != 1 || r.Path() != "OPS/infra-tools" || !r.Created.Equal(w.now) {
			t.Errorf("%+v, %v", r, err)
		}
		if w.disk.made[r.ID] != "main" || len(w.disk.made) != 1 {
			t.Errorf("%v", w.disk.made)
		}
		if e := w.store.events[0]; e.Action != "repo.create" || e.Project != w.ops.ID || e.Object.ID != r.ID || e.Object.Name != "OPS/infra-tools" || e.Actor.ID != "dana" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("refuses_a_name_that_is_taken_in_the_project_and_leaves_the_other_alone", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		first := w.create(t, w.ops, repo.New{Name: "Infra"})
		_, err := w.Create(t.Context(), w.admin, w.ops, repo.New{Name: "infra.git"})
		is(t, err, repo.ErrTaken)
		if _, there := w.disk.made[first.ID]; !there || len(w.disk.made) != 1 {
			t.Errorf("%v", w.disk.made)
		}
		w.create(t, w.shop, repo.New{Name: "infra"})
	})
	t.Run("clears_the_disk_when_the_row_fails", func(t *testing.T) {
		t.Parallel()
		for _, want := range []error{repo.ErrTaken, project.ErrUnknown, errors.New("away")} {
			w := newWorld()
			w.store.err = want
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // who asked has gone: that does not keep what nobody can see
			_, err := w.Create(ctx, w.admin, w.ops, repo.New{Name: "infra"})
			is(t, err, want)
			if len(w.disk.made) != 0 || len(w.store.events) != 0 || len(w.heard) != 0 {
				t.Errorf("%v %v %v", w.disk.made, w.store.events, w.heard)
			}
		}
	})
	t.Run("keeps_no_row_when_the_disk_fails", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.disk.err = errors.New("full")
		_, err := w.Create(t.Context(), w.admin, w.ops, repo.New{Name: "infra"})
		is(t, err, w.disk.err)
		if len(w.store.repos) != 0 || len(w.store.events) != 0 {
			t.Errorf("%+v", w.store.repos)
		}
	})
	t.Run("is_for_administrators_of_the_project", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		for name, by := range map[string]access.Caller{
			"a writer": w.user("bob", access.ProjectWriter, w.ops.Resource()), "an administrator of another": w.user("eve", access.ProjectAdmin, w.shop.Resource()),
			"a token of another": tokenOf(w.shop.Resource()), "nobody": access.NobodyAt(netip.Addr{}, "native", w.now), // rule G1
		} {
			if _, err := w.Create(t.Context(), by, w.ops, repo.New{Name: "infra"}); !fault.Is(err, fault.Denied) || len(w.disk.made) != 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Who may not read a repository hears the same as of one that is not there; who may read and not write is told so.
func TestRepositories_are_hidden(t *testing.T) {
	t.Parallel()
	w := newWorld()
	infra := w.create(t, w.ops, repo.New{Name: "infra"})
	open := w.create(t, w.ops, repo.New{Name: "open", Public: true})
	const hidden, reads, writes = 0, 1, 2
	for name, c := range map[string]struct {
		by          access.Caller
		infra, open int
	}{
		"the_server":                         {w.admin, writes, writes},
		"a_writer_of_the_project":            {w.user("ann", access.ProjectWriter, w.ops.Resource()), writes, writes},
		"a_reader_of_the_project":            {w.user("bob", access.ProjectReader, w.ops.Resource()), reads, reads},
		"a_reader_of_the_repository":         {w.user("cid", access.RepoReader, infra.Resource()), reads, reads},
		"a_writer_of_the_repository":         {w.user("dan", access.RepoWriter, infra.Resource()), writes, reads},
		"a_stranger":                         {w.user("eve", "", access.Resource{}), hidden, reads},
		"an_administrator_of_another":        {w.user("fay", access.ProjectAdmin, w.shop.Resource()), hidden, reads},
		"nobody":                             {access.NobodyAt(netip.Addr{}, "native", w.now), hidden, reads},
		"a_token_of_the_repository":          {tokenOf(infra.Resource()), writes, hidden}, // rule G1
		"a_token_of_another_project":         {tokenOf(w.shop.Resource()), hidden, hidden},
		"a_key_that_reads_in_the_repository": {access.Caller{Principal: access.Principal{Kind: access.ServiceIdentity, ID: "k"}, Scopes: []access.Action{access.RepoRead}, Limit: infra.Resource()}, reads, hidden},
		"a_caller_without_scopes":            {access.Caller{Principal: access.Principal{Kind: access.User, ID: "ann"}}, hidden, hidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for r, may := range map[*repo.Repo]int{&infra: c.infra, &open: c.open} {
				_, byID := w.ByID(t.Context(), c.by, r.ID)
				_, byPath := w.ByPath(t.Context(), c.by, "ops", strings.ToUpper(r.Slug))
				_, opened := w.Open(t.Context(), c.by, "ops", r.Slug, false)
				for _, err := range []error{byID, byPath, opened} {
					if (err == nil) != (may >= reads) || err != nil && !errors.Is(err, repo.ErrUnknown) {
						t.Errorf("read %s: %v", r.Slug, err)
					}
				}
				_, err := w.Open(t.Context(), c.by, "ops", r.Slug, true)
				switch {
				case may == writes && err == nil, may == reads && fault.Is(err, fault.Denied), may == hidden && errors.Is(err, repo.ErrUnknown):
				default:
					t.Errorf("write %s: %v", r.Slug, err)
				}
			}
		})
	}
	for _, path := range [][2]string{{"ops", "absent"}, {"absent", "infra"}, {"shop", "infra"}} {
		_, err := w.Open(t.Context(), w.admin, path[0], path[1], false)
		is(t, err, repo.ErrUnknown)
	}
	_, err := w.ByPath(t.Context(), w.admin, "absent", "infra")
	is(t, err, project.ErrUnknown)
}

// A right that is taken away between the opening of a connection and the push moves nothing.
func TestAllow_asks_again(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := w.create(t, w.ops, repo.New{Name: "infra"})
	dana := w.user("dana", access.RepoWriter, r.Resource())
	r, err := w.Open(t.Context(), dana, "OPS", "infra", true)
	is(t, err, nil)
	is(t, w.Allow(t.Context(), dana, r, true), nil)
	w.roles.held["dana"][0].Role = access.RepoReader
	denied(t, w.Allow(t.Context(), dana, r, true))
	is(t, w.Allow(t.Context(), dana, r, false), nil)
	delete(w.roles.held, "dana")
	denied(t, w.Allow(t.Context(), dana, r, false))
	_, err = w.Open(t.Context(), dana, "OPS", "infra", true)
	is(t, err, repo.ErrUnknown)
}

func TestOfProject_lists_what_one_may_read(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, b := w.create(t, w.ops, repo.New{Name: "a"}), w.create(t, w.ops, repo.New{Name: "b"})
	w.create(t, w.ops, repo.New{Name: "open", Public: true})
	elsewhere := w.create(t, w.shop, repo.New{Name: "elsewhere"})
	two := w.user("two", access.RepoWriter, b.Resource())
	w.user("two", access.RepoReader, elsewhere.Resource())
	public := w.ops
	public.Public = true
	for name, c := range map[string]struct {
		by   access.Caller
		in   project.Project
		want string
	}{
		"a reader of the project":                {w.user("ann", access.ProjectReader, w.ops.Resource()), w.ops, "a b open"},
		"an administrator of all":                {w.user("adam", access.Admin, access.Installation), w.ops, "a b open"},
		"a reader of one":                        {w.user("bob", access.RepoReader, a.Resource()), w.ops, "a open"},
		"a writer of one and a reader elsewhere": {two, w.ops, "b open"},
		"a stranger":                             {w.user("eve", "", access.Resource{}), w.ops, "open"},
		"nobody":                                 {access.NobodyAt(netip.Addr{}, "native", w.now), w.ops, "open"},
		"a stranger in a public project":         {w.user("eve", "", access.Resource{}), public, "a b open"},
		"a token of the project":                 {tokenOf(w.ops.Resource()), w.ops, "a b open"},
		"a token of one":                         {tokenOf(a.Resource()), w.ops, "a"}, // rule G1
		"a token of one, of a public project":    {tokenOf(a.Resource()), public, "a"},
		"a token of one of another":              {tokenOf(elsewhere.Resource()), w.ops, ""},
		"a token of another project":             {tokenOf(w.shop.Resource()), w.ops, ""},
		"a token of one that is gone":            {tokenOf(access.Repo("p-ops", "gone")), w.ops, ""},
		"a caller without scopes":                {access.Caller{Principal: access.Principal{Kind: access.User, ID: "ann"}}, public, ""},
	} {
		got, err := w.OfProject(t.Context(), c.by, c.in, page.Of(0, 10))
		var slugs []string
		for _, r := range got.Items {
			slugs = append(slugs, r.Slug)
			if _, err := w.ByID(t.Context(), c.by, r.ID); err != nil && !c.in.Public {
				t.Errorf("%s is shown %s and may not read it: %v", name, r.Slug, err)
			}
		}
		if err != nil || strings.Join(slugs, " ") != c.want || got.Total != int64(len(slugs)) {
			t.Errorf("%s: %q of %d, %v; want %q", name, slugs, got.Total, err, c.want)
		}
	}
	if got, err := w.OfProject(t.Context(), tokenOf(a.Resource()), w.ops, page.Of(1, 10)); err != nil || len(got.Items) != 0 || got.Total != 1 {
		t.Errorf("behind the only one: %+v, %v", got, err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	yes := true
	t.Run("changes_what_is_given_and_keeps_the_address", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		r := w.create(t, w.ops, repo.New{Name: "infra"})
		w.now = w.now.Add(time.Hour)
		got, err := w.Update(t.Context(), w.user("dana", access.RepoAdmin, r.Resource()), r, repo.Change{Name: text("Tools"), Public: &yes})
		if err != nil || got.Name != "Tools" || got.Slug != "infra" || got.DefaultBranch != "main" || !got.Public || !got.Updated.Equal(w.now) || !got.Created.Equal(r.Created) {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err = w.Update(t.Context(), w.admin, r, repo.Change{DefaultBranch: text("next")}); err != nil || got.Name != "Tools" || got.DefaultBranch != "next" {
			t.Errorf("%+v, %v", got, err)
		}
		if e := w.store.events[1]; e.Action != "repo.update" || e.Object.Name != "OPS/infra" || e.Project != w.ops.ID || e.Actor.ID != "dana" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("refuses_bad_values_and_who_may_not", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		r := w.create(t, w.ops, repo.New{Name: "infra"})
		for _, c := range []repo.Change{{Name: text("")}, {Name: text("..")}, {DefaultBranch: text("")}, {DefaultBranch: text("-x")}} {
			if _, err := w.Update(t.Context(), w.admin, r, c); !fault.Is(err, fault.Invalid) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		_, err := w.Update(t.Context(), w.user("bob", access.RepoWriter, r.Resource()), r, repo.Change{Public: &yes})
		denied(t, err)
		restricted := r
		restricted.Project.Restricted = true
		_, err = w.Update(t.Context(), w.user("dana", access.RepoAdmin, r.Resource()), restricted, repo.Change{Public: &yes})
		denied(t, err)
		if len(w.store.events) != 1 {
			t.Errorf("%d events", len(w.store.events))
		}
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	t.Run("takes_the_row_and_then_what_git_kept", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		r := w.create(t, w.ops, repo.New{Name: "infra"})
		denied(t, w.Delete(t.Context(), w.user("bob", access.RepoWriter, r.Resource()), r))
		w.store.err = errors.New("away")
		is(t, w.Delete(t.Context(), w.admin, r), w.store.err)
		if len(w.disk.made) != 1 {
			t.Error("what git kept is gone before the row")
		}
		w.store.err = nil
		is(t, w.Delete(t.Context(), w.user("dana", access.RepoAdmin, r.Resource()), r), nil)
		if len(w.disk.made) != 0 || len(w.store.repos) != 0 {
			t.Errorf("%v %v", w.disk.made, w.store.repos)
		}
		if e := w.store.events[len(w.store.events)-1]; e.Action != "repo.delete" || e.Object.Name != "OPS/infra" || len(w.store.events) != 2 {
			t.Errorf("%+v", w.store.events)
		}
	})
	t.Run("is_done_even_where_the_disk_fails_and_somebody_hears", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		r := w.create(t, w.ops, repo.New{Name: "infra"})
		w.disk.err = errors.New("stuck")
		is(t, w.Delete(t.Context(), w.admin, r), nil)
		if len(w.heard) != 1 || !strings.HasSuffix(w.heard[0], "stuck") {
			t.Errorf("%q", w.heard)
		}
	})
}

func TestPushes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := w.create(t, w.ops, repo.New{Name: "infra"})
	bob := w.user("bob", access.RepoWriter, r.Resource())
	hash := strings.Repeat("a", 40)
	refs := make([]repo.Ref, 25)
	for i := range refs {
		refs[i] = repo.Ref{Name: fmt.Sprint("refs/heads/", i), New: hash}
	}
	refs[1] = repo.Ref{Name: "refs/heads/gone", Old: strings.Repeat("b", 64)}
	bob.Credential = "k1"
	gone, leave := context.WithCancel(t.Context())
	leave() // who has pushed need not wait for the record
	is(t, w.RecordPush(gone, bob, r, refs), nil)

	p, e := w.store.pushes[0], w.store.events[1]
	if p.Repo != r.ID || p.Actor != bob.Principal || p.Address != "192.0.2.1" || p.Door != "native" || !p.At.Equal(w.now) || p.Credential != "k1" || len(p.Refs) != 25 {
		t.Errorf("%+v", p)
	}
	if p.Refs[0].Old != strings.Repeat("0", 40) || p.Refs[1].New != strings.Repeat("0", 64) || refs[0].Old != "" {
		t.Errorf("%+v, given %+v", p.Refs[:2], refs[0])
	}
	if e.Action != "repo.write" || e.Object.Name != "OPS/infra" || e.Detail["refs"] != "25" || e.Detail["credential"] != "k1" ||
		e.Detail["ref_1"] != "refs/heads/0 "+strings.Repeat("0", 40)+" "+hash || e.Detail["ref_20"] == "" || e.Detail["ref_21"] != "" {
		t.Errorf("%+v", e)
	}
	by := w.admin // no address, no credential
	is(t, w.RecordPush(t.Context(), by, r, refs[:1]), nil)
	if p, e := w.store.pushes[1], w.store.events[2]; p.Address != "" || p.Credential != "" || e.Detail["credential"] != "" || e.Detail["refs"] != "1" {
		t.Errorf("%+v, %+v", p, e)
	}
	is(t, w.RecordPush(t.Context(), by, r, nil), nil)
	if len(w.store.pushes) != 2 || len(w.store.events) != 3 {
		t.Errorf("a push that moved nothing is kept: %+v", w.store.pushes)
	}

	_, err := w.Pushes(t.Context(), bob, r, page.Behind("", 10))
	denied(t, err)
	if got, err := w.Pushes(t.Context(), w.user("dana", access.RepoAdmin, r.Resource()), r, page.Behind("", 10)); err != nil || len(got.Items) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}
