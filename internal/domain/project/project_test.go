package project_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// memory keeps projects, and the role bindings of the tests.
type memory struct {
	access.Store // grants, which nobody asks for here

	mu       sync.Mutex
	projects []project.Project
	events   []audit.Event
	bindings map[string][]access.Binding
	full     string // id of a project that holds something
	reads    int
	onRead   func()
}

func (m *memory) Insert(_ context.Context, p project.Project, admin access.Binding, e audit.Event) (project.Project, error) {
	for _, other := range m.projects {
		if other.Key == p.Key {
			return project.Project{}, project.ErrKeyTaken
		}
	}
	p.Number = int64(len(m.projects) + 1)
	m.projects, m.events = append(m.projects, p), append(m.events, e)
	if admin.ID != "" {
		m.bindings[admin.Subject.ID] = append(m.bindings[admin.Subject.ID], admin)
	}
	return p, nil
}

func (m *memory) Delete(_ context.Context, id string, e audit.Event) error {
	if id == m.full {
		return project.ErrNotEmpty
	}
	m.projects, m.events = slices.DeleteFunc(m.projects, func(p project.Project) bool { return p.ID == id }), append(m.events, e)
	return nil
}

func (m *memory) Some(_ context.Context, name string, all bool, ids []string, w page.Window) (page.Page[project.Project], error) {
	p := page.Page[project.Project]{Window: w}
	for _, one := range m.projects {
		if strings.HasPrefix(one.Name, name) && (all || one.Public || slices.Contains(ids, one.ID)) {
			p.Items = append(p.Items, one)
		}
	}
	return p, nil
}

func (m *memory) Change(_ context.Context, id string, decide func(project.Project) (project.Project, error), e audit.Event) (project.Project, error) {
	for i, p := range m.projects {
		if p.ID == id {
			changed, err := decide(p)
			if err == nil {
				m.projects[i], m.events = changed, append(m.events, e)
			}
			return changed, err
		}
	}
	return project.Project{}, project.ErrUnknown
}

func (m *memory) find(match func(project.Project) bool) (project.Project, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	for _, p := range m.projects {
		if match(p) {
			if m.onRead != nil {
				m.onRead()
			}
			return p, nil
		}
	}
	return project.Project{}, project.ErrUnknown
}

func (m *memory) ByID(_ context.Context, id string) (project.Project, error) {
	return m.find(func(p project.Project) bool { return p.ID == id })
}

func (m *memory) ByKey(_ context.Context, key string) (project.Project, error) {
	return m.find(func(p project.Project) bool { return p.Key == key })
}

func (m *memory) List(_ context.Context, w page.Window) (page.Page[project.Project], error) {
	return page.Page[project.Project]{Items: m.projects, Total: int64(len(m.projects)), Window: w}, nil
}

func (m *memory) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return m.bindings[of.ID], nil
}

func (m *memory) BindingsOn(context.Context, access.Resource) ([]access.Binding, error) {
	return nil, nil
}

func (m *memory) SetRole(context.Context, access.Binding, func([]access.Role) error, audit.Event) error {
	return nil
}
func (m *memory) Grant(context.Context, access.Binding, audit.Event) error  { return nil }
func (m *memory) Revoke(context.Context, access.Binding, audit.Event) error { return nil }

type world struct {
	*project.Service
	store *memory
	now   time.Time
	admin access.Caller // runs the server
}

func newWorld() *world {
	w := &world{store: &memory{bindings: map[string][]access.Binding{}}, now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
	n := 0
	newID := func() string { n++; return fmt.Sprint("p", n) }
	clock := func() time.Time { return w.now }
	w.admin = access.LocalCaller("root", w.now)
	w.Service = &project.Service{
		Store: w.store, Access: &access.Service{Store: w.store, Now: clock, NewID: newID},
		Now: clock, NewID: newID, CacheFor: 2 * time.Second,
	}
	return w
}

func (w *world) user(id string, role access.Role, on access.Resource) access.Caller {
	w.store.bindings[id] = append(w.store.bindings[id], access.Binding{Role: role, Resource: on})
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: id, Name: id}, Scopes: []access.Action{"*"}}
}

func (w *world) create(t *testing.T, key string) project.Project {
	t.Helper()
	p, err := w.Create(context.Background(), w.admin, project.New{Key: key, Name: "Shop"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCreate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("stores_the_project_with_its_event", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		p := w.create(t, "shop_1")
		if p.Key != "SHOP_1" || p.RatePerHour != nil || p.StrictStatus || !p.Created.Equal(w.now) {
			t.Errorf("%+v", p)
		}
		if e := w.store.events[0]; e.Action != "project.create" || e.Project != p.ID || e.Object.Name != "SHOP_1" || e.Actor.Kind != "local" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("refuses_another_spelling_of_a_key", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.create(t, "SHOP")
		if _, err := w.Create(ctx, w.admin, project.New{Key: "shop", Name: "Shop"}); !errors.Is(err, project.ErrKeyTaken) {
			t.Error(err)
		}
	})
	t.Run("refuses_bad_keys_and_names", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		for _, key := range []string{"", "1A", "_A", "-A", "A B", "A/B", "ı", "Aß", "A\n", strings.Repeat("A", 129)} {
			if _, err := w.Create(ctx, w.admin, project.New{Key: key, Name: "Shop"}); !fault.Is(err, fault.Invalid) {
				t.Errorf("key %q: %v", key, err)
			}
		}
		for _, name := range []string{"a\x1bb", "a\nb", "\xff", strings.Repeat("a", 256)} {
			if _, err := w.Create(ctx, w.admin, project.New{Key: "SHOP", Name: name}); !fault.Is(err, fault.Invalid) {
				t.Errorf("name %q: %v", name, err)
			}
		}
	})
	t.Run("asks_for_the_right_to_create", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		if _, err := w.Create(ctx, w.user("ana", access.Licensed, access.Installation), project.New{Key: "SHOP", Name: "Shop"}); !fault.Is(err, fault.Denied) {
			t.Error(err)
		}
		if _, err := w.Create(ctx, w.user("bob", access.ProjectCreator, access.Installation), project.New{Key: "SHOP", Name: "Shop"}); err != nil {
			t.Error(err)
		}
	})
}

func TestByKey_hides_a_project_from_who_may_not_read_it(t *testing.T) {
	t.Parallel()
	ctx, w := context.Background(), newWorld()
	p, other := w.create(t, "SHOP"), w.create(t, "OTHER")
	reader := w.user("ana", access.ProjectReader, access.Project(p.ID))
	if got, err := w.ByKey(ctx, reader, "shop"); err != nil || got.ID != p.ID {
		t.Errorf("own: %+v, %v", got, err)
	}
	_, hidden := w.ByKey(ctx, reader, other.Key)
	_, absent := w.ByKey(ctx, reader, "ABSENT")
	if !errors.Is(hidden, project.ErrUnknown) || fmt.Sprint(hidden) != fmt.Sprint(absent) {
		t.Errorf("hidden %v, absent %v", hidden, absent)
	}
	if _, err := w.ByID(ctx, reader, other.ID); !errors.Is(err, project.ErrUnknown) {
		t.Errorf("by id: %v", err)
	}
	if _, err := w.List(ctx, reader, page.Of(0, 100)); !fault.Is(err, fault.Denied) {
		t.Errorf("list: %v", err)
	}
	if got, err := w.List(ctx, w.admin, page.Of(0, 100)); err != nil || got.Total != 2 {
		t.Errorf("list: %+v, %v", got, err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rate := func(n int) *project.Settings { return &project.Settings{RatePerHour: &n} }
	t.Run("changes_what_is_given_and_keeps_the_rest", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		p := w.create(t, "SHOP")
		w.now = w.now.Add(time.Hour)
		got, err := w.Update(ctx, w.user("ana", access.ProjectAdmin, access.Project(p.ID)), p.ID, project.Change{Settings: rate(7)})
		if err != nil || *got.RatePerHour != 7 || got.Name != "Shop" || got.Key != "SHOP" || !got.Updated.Equal(w.now) {
			t.Errorf("%+v, %v", got, err)
		}
		if e := w.store.events[1]; e.Action != "project.update" || e.Project != p.ID {
			t.Errorf("%+v", e)
		}
	})
	t.Run("refuses_bad_values_and_who_may_not", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		p := w.create(t, "SHOP")
		for _, n := range []int{-1, 1_000_001} {
			if _, err := w.Update(ctx, w.admin, p.ID, project.Change{Settings: rate(n)}); !fault.Is(err, fault.Invalid) {
				t.Errorf("rate %d: %v", n, err)
			}
		}
		empty := ""
		if _, err := w.Update(ctx, w.admin, p.ID, project.Change{Name: &empty}); !fault.Is(err, fault.Invalid) {
			t.Errorf("name: %v", err)
		}
		if _, err := w.Update(ctx, w.user("ana", access.ProjectWriter, access.Project(p.ID)), p.ID, project.Change{}); !fault.Is(err, fault.Denied) {
			t.Errorf("a writer: %v", err)
		}
		if _, err := w.Update(ctx, w.user("bob", access.Licensed, access.Installation), p.ID, project.Change{}); !errors.Is(err, project.ErrUnknown) {
			t.Errorf("a stranger: %v", err)
		}
	})
}

func TestSettingsOf(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("answers_from_memory_until_time_or_a_change_ends_it", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		p := w.create(t, "SHOP")
		ask := func(wantReads int) project.Settings {
			t.Helper()
			got, err := w.SettingsOf(ctx, p.ID)
			if err != nil || w.store.reads != wantReads {
				t.Fatalf("%v, %d reads, want %d", err, w.store.reads, wantReads)
			}
			return got
		}
		ask(1)
		ask(1)
		w.now = w.now.Add(2 * time.Second)
		ask(2)
		if _, err := w.Update(ctx, w.admin, p.ID, project.Change{Settings: &project.Settings{StrictStatus: true}}); err != nil {
			t.Fatal(err)
		}
		if got := ask(4); !got.StrictStatus { // the update read once
			t.Error("an old setting after a change on this node")
		}
		w.Forget(p.ID)
		ask(5)
		w.ForgetAll()
		ask(6)
	})
	t.Run("keeps_nothing_that_was_read_before_a_change", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		p := w.create(t, "SHOP")
		w.store.onRead = func() { w.Forget(p.ID) } // a notice overtakes the read
		for range 2 {
			if _, err := w.SettingsOf(ctx, p.ID); err != nil {
				t.Fatal(err)
			}
		}
		if w.store.reads != 2 {
			t.Errorf("%d reads", w.store.reads)
		}
	})
	t.Run("names_an_unknown_project", func(t *testing.T) {
		t.Parallel()
		if _, err := newWorld().SettingsOf(ctx, "nothing"); !errors.Is(err, project.ErrUnknown) {
			t.Error(err)
		}
	})
}

func TestRate_falls_back_to_the_installation(t *testing.T) {
	t.Parallel()
	off := 0
	if got := (project.Settings{}).Rate(500); got != 500 {
		t.Errorf("unset: %d", got)
	}
	if got := (project.Settings{RatePerHour: &off}).Rate(500); got != 0 {
		t.Errorf("off: %d", got)
	}
}
