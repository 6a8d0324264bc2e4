package identity_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

func (m *memory) Beginning(_ context.Context, _, folded string, w page.Window) (page.Page[identity.User], error) {
	p := page.Page[identity.User]{Window: w}
	for _, u := range m.users {
		if strings.HasPrefix(identity.Fold(u.Name), folded) {
			p.Items = append(p.Items, u)
		}
	}
	return p, nil
}

func (m *memory) ByIDs(_ context.Context, ids []string) (found []identity.User, _ error) {
	for _, u := range m.users {
		if slices.Contains(ids, u.ID) {
			found = append(found, u)
		}
	}
	return found, nil
}

func (m *memory) Delete(_ context.Context, id string, _ time.Time, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.users)
	if m.users = slices.DeleteFunc(m.users, func(u identity.User) bool { return u.ID == id }); len(m.users) == before {
		return identity.ErrUnknown
	}
	m.events = append(m.events, e)
	return nil
}

func TestRemove(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	made := func() (*identity.Service, *memory, *[]string) {
		m, heard := &memory{users: []identity.User{{ID: "u1", Account: identity.DefaultAccount, Name: "dana"}, {ID: "self", Account: identity.DefaultAccount, Name: "root"}}}, &[]string{}
		return &identity.Service{Store: m, Now: func() time.Time { return start }, OnChanged: func(id string) { *heard = append(*heard, id) }}, m, heard
	}
	t.Run("takes_somebody_away_and_keeps_the_name_on_record", func(t *testing.T) {
		t.Parallel()
		s, m, heard := made()
		u, err := s.Remove(ctx, may{"user.delete"}, "u1")
		if err != nil || u.Name != "dana" {
			t.Fatal(u, err)
		}
		if len(m.users) != 1 || len(m.events) != 1 || m.events[0].Action != "user.delete" || m.events[0].Object.Name != "dana" || m.events[0].Object.ID != "u1" {
			t.Errorf("%+v %+v", m.users, m.events)
		}
		if !slices.Equal(*heard, []string{"u1"}) {
			t.Errorf("heard %v", *heard)
		}
		if _, err := s.Remove(ctx, may{"user.delete"}, "u1"); !errors.Is(err, identity.ErrUnknown) {
			t.Error(err)
		}
	})
	t.Run("asks_for_the_right_first", func(t *testing.T) {
		t.Parallel()
		s, m, _ := made()
		for _, id := range []string{"u1", "self", "nobody"} {
			if _, err := s.Remove(ctx, may{"user.update", "user.read"}, id); !fault.Is(err, fault.Denied) {
				t.Errorf("%s: %v", id, err)
			}
		}
		if len(m.users) != 2 || len(m.events) != 0 {
			t.Errorf("%+v", m)
		}
	})
	t.Run("of_oneself_is_refused", func(t *testing.T) {
		t.Parallel()
		s, m, _ := made()
		if _, err := s.Remove(ctx, may{"user.delete"}, "self"); !errors.Is(err, identity.ErrSelf) || len(m.users) != 2 {
			t.Error(err)
		}
	})
}

// program is an Authority that is no person.
type program struct{ may }

func (program) Self() identity.Self { return identity.Self{Kind: "service", ID: "t1"} }

func TestDirectory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := &memory{users: []identity.User{{ID: "u1", Account: identity.DefaultAccount, Name: "dana"}, {ID: "u2", Account: identity.DefaultAccount, Name: "erin"}}}
	c := &circles{groups: []identity.Group{{ID: "g1", Account: identity.DefaultAccount, Name: "Ops"}}}
	users, groups := &identity.Service{Store: m}, &identity.Groups{Store: c}
	ask := func(by identity.Authority) []error {
		p, one := users.People(ctx, by, "DA", page.Window{Limit: 10})
		if one == nil && (len(p.Items) != 1 || p.Items[0].ID != "u1") {
			t.Errorf("%+v", p)
		}
		all, two := users.ByIDs(ctx, by, []string{"u2", "gone"})
		if two == nil && (len(all) != 1 || all["u2"].Name != "erin") {
			t.Errorf("%+v", all)
		}
		g, three := groups.Named(ctx, by, "ops")
		if three == nil && g.ID != "g1" {
			t.Errorf("%+v", g)
		}
		u, four := users.Named(ctx, by, "ERIN")
		if four == nil && u.ID != "u2" {
			t.Errorf("%+v", u)
		}
		return []error{one, two, three, four}
	}
	for _, err := range append(ask(may{}), ask(program{may{"user.read"}})...) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, err := range ask(program{}) { // what is confined to a place has no business with people
		if !fault.Is(err, fault.Denied) {
			t.Error(err)
		}
	}
}
