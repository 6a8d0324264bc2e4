package identity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// memory keeps users.
type memory struct {
	mu     sync.Mutex
	users  []identity.User
	roles  []identity.FirstRole
	events []audit.Event
	ended  []identity.Ending
}

func (m *memory) Insert(_ context.Context, u identity.User, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.users {
		if other.Account == u.Account && identity.Fold(other.Name) == identity.Fold(u.Name) {
			return identity.ErrNameTaken
		}
		if other.Account == u.Account && identity.FoldEmail(other.Email) == identity.FoldEmail(u.Email) {
			return identity.ErrEmailTaken
		}
	}
	m.users, m.events = append(m.users, u), append(m.events, e)
	return nil
}

func (m *memory) InsertFirst(_ context.Context, u identity.User, roles []identity.FirstRole, e audit.Event) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.users) > 0 {
		return false, nil
	}
	m.users, m.roles, m.events = append(m.users, u), roles, append(m.events, e)
	return true, nil
}

func (m *memory) Any(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.users) > 0, nil
}

func (m *memory) Change(_ context.Context, id string, decide func(identity.User) (identity.User, error), end identity.Ending, e audit.Event) (identity.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, u := range m.users {
		if u.ID == id {
			changed, err := decide(u)
			if err == nil {
				m.users[i], m.events, m.ended = changed, append(m.events, e), append(m.ended, end)
			}
			return changed, err
		}
	}
	return identity.User{}, identity.ErrUnknown
}

func (m *memory) ByName(_ context.Context, account, folded string) (identity.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		if u.Account == account && identity.Fold(u.Name) == folded {
			return u, nil
		}
	}
	return identity.User{}, identity.ErrUnknown
}

func (m *memory) ByID(_ context.Context, id string) (identity.User, error) {
	return m.find(func(u identity.User) bool { return u.ID == id })
}

func (m *memory) ByEmail(_ context.Context, account, folded string) (identity.User, error) {
	return m.find(func(u identity.User) bool { return u.Account == account && identity.FoldEmail(u.Email) == folded })
}

func (m *memory) find(is func(identity.User) bool) (identity.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.IndexFunc(m.users, is); i >= 0 {
		return m.users[i], nil
	}
	return identity.User{}, identity.ErrUnknown
}

func (m *memory) List(_ context.Context, _ string, w page.Window) (page.Page[identity.User], error) {
	return page.Page[identity.User]{Items: m.users, Total: int64(len(m.users)), Window: w}, nil
}

// hasher is quick and refuses what the real one refuses.
type hasher struct{}

func (hasher) Hash(_ context.Context, p secret.String) (string, error) {
	if p.Empty() {
		return "", secret.ErrPasswordEmpty
	}
	return fmt.Sprintf("hashed %d bytes", len(p.Reveal())), nil
}

// may is an Authority for the actions that it lists.
type may []string

func (m may) Authorize(_ context.Context, action, user string) (audit.Event, error) {
	if !slices.Contains(m, action) {
		return audit.Event{}, fault.New(fault.Denied, "not allowed")
	}
	e := audit.NewEvent(start, action, audit.Done)
	e.Object = audit.Object{Kind: "user", ID: user}
	return e, nil
}

func (m may) AuthorizeOn(ctx context.Context, action string, on identity.Target) (audit.Event, error) {
	return m.Authorize(ctx, action, on.ID)
}

func (m may) Event(action string, on identity.Target) audit.Event {
	e := audit.NewEvent(start, action, audit.Done)
	e.Object = audit.Object{Kind: on.Kind, ID: on.ID}
	return e
}

func (m may) Self() identity.Self { return identity.Self{Kind: "user", ID: "self", Session: "s1"} }

var (
	start = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	all   = may{"user.create", "user.read", "user.update"}
)

func newService(m *memory) *identity.Service {
	var mu sync.Mutex
	n := 0
	return &identity.Service{
		Store: m, Hasher: hasher{}, TopRoles: []string{"sysadmin"}, Now: func() time.Time { return start },
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()
			n++
			return fmt.Sprint("id", n)
		},
	}
}

func add(t *testing.T, s *identity.Service, name string) identity.User {
	t.Helper()
	u, err := s.Add(context.Background(), all, identity.New{Name: name, Email: name + "@example.com", Password: secret.New("correct horse")})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAdd(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("stores_the_user_with_a_hash_and_an_event", func(t *testing.T) {
		t.Parallel()
		m := &memory{}
		u := add(t, newService(m), "Ana")
		if u.Account != identity.DefaultAccount || u.Name != "Ana" || u.PasswordHash != "hashed 13 bytes" || !u.Created.Equal(start) {
			t.Errorf("%+v", u)
		}
		if len(m.events) != 1 || m.events[0].Action != "user.create" || m.events[0].Object.ID != u.ID || m.events[0].Object.Name != "Ana" {
			t.Errorf("%+v", m.events)
		}
	})
	t.Run("leaves_no_way_in_without_a_password", func(t *testing.T) {
		t.Parallel()
		u, err := newService(&memory{}).Add(ctx, all, identity.New{Name: "bot", Email: "bot@example.com"})
		if err != nil || u.PasswordHash != "" {
			t.Errorf("%+v, %v", u, err)
		}
	})
	t.Run("refuses_another_spelling_of_a_name_or_address", func(t *testing.T) {
		t.Parallel()
		s := newService(&memory{})
		add(t, s, "ana")
		if _, err := s.Add(ctx, all, identity.New{Name: "ANA", Email: "other@example.com"}); !errors.Is(err, identity.ErrNameTaken) {
			t.Errorf("name: %v", err)
		}
		if _, err := s.Add(ctx, all, identity.New{Name: "other", Email: "ANA@example.com"}); !errors.Is(err, identity.ErrEmailTaken) {
			t.Errorf("address: %v", err)
		}
	})
	t.Run("refuses_bad_input_and_who_may_not", func(t *testing.T) {
		t.Parallel()
		m := &memory{}
		s := newService(m)
		if _, err := s.Add(ctx, all, identity.New{Name: "a:b", Email: "a@example.com"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("name: %v", err)
		}
		if _, err := s.Add(ctx, all, identity.New{Name: "ab", Email: "nowhere"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("address: %v", err)
		}
		if _, err := s.Add(ctx, may{"user.read"}, identity.New{Name: "ab", Email: "a@example.com"}); !fault.Is(err, fault.Denied) {
			t.Errorf("right: %v", err)
		}
		if len(m.users)+len(m.events) != 0 {
			t.Errorf("stored %+v %+v", m.users, m.events)
		}
	})
}

func TestSetPassword(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), &memory{}
	s := newService(m)
	u := add(t, s, "ana")
	var heard []string
	s.OnChanged = func(id string) { heard = append(heard, id) }
	if err := s.SetPassword(ctx, all, u.ID, secret.New("another")); err != nil {
		t.Fatal(err)
	}
	if m.users[0].PasswordHash != "hashed 7 bytes" || m.events[1].Detail["changed"] != "password" || !slices.Equal(heard, []string{u.ID}) {
		t.Errorf("%+v %+v %v", m.users[0], m.events, heard)
	}
	if err := s.SetPassword(ctx, all, u.ID, secret.String{}); !errors.Is(err, secret.ErrPasswordEmpty) {
		t.Errorf("empty: %v", err)
	}
	if err := s.SetPassword(ctx, all, "nobody", secret.New("x")); !errors.Is(err, identity.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
	if err := s.SetPassword(ctx, may{"user.read"}, u.ID, secret.New("x")); !fault.Is(err, fault.Denied) {
		t.Errorf("right: %v", err)
	}
	if m.users[0].PasswordHash != "hashed 7 bytes" || len(heard) != 1 {
		t.Errorf("a refused change changed %+v, told %v", m.users[0], heard)
	}
}

func TestSetDisabled(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), &memory{}
	s := newService(m)
	u := add(t, s, "ana")
	for i, disabled := range []bool{true, false} {
		if err := s.SetDisabled(ctx, all, u.ID, disabled); err != nil || m.users[0].Disabled != disabled {
			t.Errorf("%v: %+v, %v", disabled, m.users[0], err)
		}
		if got := m.events[1+i].Detail["changed"]; got != []string{"disabled", "enabled"}[i] {
			t.Errorf("recorded as %q", got)
		}
	}
	if err := s.SetDisabled(ctx, may{}, u.ID, true); !fault.Is(err, fault.Denied) || m.users[0].Disabled {
		t.Errorf("right: %v", err)
	}
}

func TestByName_finds_every_spelling(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newService(&memory{})
	u := add(t, s, "ana")
	for _, spelling := range []string{"ana", "ANA", " Ana ", "ａｎａ"} {
		if got, err := s.ByName(ctx, all, spelling); err != nil || got.ID != u.ID {
			t.Errorf("%q: %+v, %v", spelling, got, err)
		}
	}
	if _, err := s.ByName(ctx, all, "bob"); !errors.Is(err, identity.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := s.ByName(ctx, may{}, "ana"); !fault.Is(err, fault.Denied) {
		t.Errorf("right: %v", err)
	}
	if _, err := s.List(ctx, may{}, page.Of(0, 100)); !fault.Is(err, fault.Denied) {
		t.Errorf("list: %v", err)
	}
	if got, err := s.List(ctx, all, page.Of(0, 100)); err != nil || got.Total != 1 {
		t.Errorf("list: %+v, %v", got, err)
	}
}

func TestEnsureFirst(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("makes_one_administrator_over_all_nodes", func(t *testing.T) {
		t.Parallel()
		m := &memory{}
		made := make(chan bool, 8)
		s := newService(m)
		for range cap(made) {
			go func() {
				did, err := s.EnsureFirst(ctx, secret.New("first"))
				if err != nil {
					t.Error(err)
				}
				made <- did
			}()
		}
		times := 0
		for range cap(made) {
			if <-made {
				times++
			}
		}
		if times != 1 || len(m.users) != 1 || len(m.events) != 1 {
			t.Fatalf("made %d times: %+v", times, m.users)
		}
		u := m.users[0]
		if u.Name != "admin" || u.Email != "admin@gatehouse.local" || u.Account != identity.DefaultAccount || u.PasswordHash == "" {
			t.Errorf("%+v", u)
		}
		if len(m.roles) != 1 || m.roles[0].Role != "sysadmin" || m.roles[0].Binding == "" {
			t.Errorf("roles %+v", m.roles)
		}
		if e := m.events[0]; e.Actor.Kind != "system" || e.Object.ID != u.ID || e.Action != "user.create" {
			t.Errorf("event %+v", e)
		}
	})
	t.Run("does_nothing_when_there_is_a_user", func(t *testing.T) {
		t.Parallel()
		m := &memory{}
		s := newService(m)
		add(t, s, "ana")
		if did, err := s.EnsureFirst(ctx, secret.String{}); did || err != nil || len(m.users) != 1 {
			t.Errorf("%v, %v", did, err)
		}
	})
	t.Run("refuses_an_empty_password", func(t *testing.T) {
		t.Parallel()
		m := &memory{}
		if did, err := newService(m).EnsureFirst(ctx, secret.String{}); did || !errors.Is(err, secret.ErrPasswordEmpty) || len(m.users) != 0 {
			t.Errorf("%v, %v", did, err)
		}
	})
}

func TestCheckEmail(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"ana@example.com", "admin@gatehouse.local", "a+b@x.y", "josé@example.com"} {
		if err := identity.CheckEmail(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "ana", "@", "ana@", "@example.com", "Ana <ana@example.com>", "ana@example.com ", "a b@example.com", "ana@example.com\r\nBcc: x", strings.Repeat("a", 250) + "@example.com"} {
		if err := identity.CheckEmail(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q was accepted: %v", bad, err)
		}
	}
}
