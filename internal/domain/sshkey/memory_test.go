package sshkey_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// memory keeps keys, roles and events.
type memory struct {
	mu       sync.Mutex
	keys     map[string]sshkey.Registered
	numbers  int64
	roles    map[string][]access.Binding // by user
	shut     map[string]bool             // users
	events   []audit.Event
	uses     []recent.Use
	reads    int         // of ByDigest
	err      error       // what every read and write reports, when set
	imposter *sshkey.Key // what ByDigest has instead of the key, when set
	before   func()      // runs once before the next write
}

func (m *memory) sorted(keep func(sshkey.Registered) bool) []sshkey.Registered {
	all := slices.Collect(maps.Values(m.keys))
	all = slices.DeleteFunc(all, func(r sshkey.Registered) bool { return !keep(r) })
	slices.SortFunc(all, func(a, b sshkey.Registered) int { return int(a.Number - b.Number) })
	for i := range all {
		all[i].Grants = slices.Clone(all[i].Grants)
		all[i].UserName, all[i].UserShut = all[i].User, m.shut[all[i].User]
	}
	return all
}

func there(r sshkey.Registered, now time.Time) bool {
	return r.Expires.IsZero() || now.Before(r.Expires)
}

func (m *memory) one(keep func(sshkey.Registered) bool) (sshkey.Registered, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return sshkey.Registered{}, m.err
	}
	if found := m.sorted(keep); len(found) > 0 {
		return found[0], nil
	}
	return sshkey.Registered{}, sshkey.ErrUnknown
}

func (m *memory) write(e []audit.Event, change func() error) error {
	if before := m.before; before != nil {
		m.before = nil
		before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if err := change(); err != nil {
		return err
	}
	m.events = append(m.events, e...)
	return nil
}

func (m *memory) Insert(_ context.Context, r sshkey.Registered, e audit.Event) (sshkey.Registered, error) {
	err := m.write([]audit.Event{e}, func() error {
		for id, other := range m.keys {
			if other.Key.Equal(r.Key) && there(other, r.Created) {
				return sshkey.ErrOnFile
			} else if other.Key.Equal(r.Key) {
				delete(m.keys, id)
			}
		}
		m.numbers++
		r.Number = m.numbers
		m.keys[r.ID] = r
		return nil
	})
	return r, err
}

func (m *memory) ByDigest(_ context.Context, digest sshkey.Fingerprint, now time.Time) (sshkey.Registered, error) {
	m.reads++
	r, err := m.one(func(r sshkey.Registered) bool { return r.Key.Fingerprint() == digest && there(r, now) })
	if m.imposter != nil {
		r.Key = *m.imposter
	}
	return r, err
}

func (m *memory) ByID(_ context.Context, id string, now time.Time) (sshkey.Registered, error) {
	return m.one(func(r sshkey.Registered) bool { return r.ID == id && there(r, now) })
}

func (m *memory) ByNumber(_ context.Context, number int64, now time.Time) (sshkey.Registered, error) {
	return m.one(func(r sshkey.Registered) bool { return r.Number == number && there(r, now) })
}

func (m *memory) OfUser(_ context.Context, user string, now time.Time, w page.Window) (page.Page[sshkey.Registered], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.sorted(func(r sshkey.Registered) bool { return r.User == user && there(r, now) })
	return page.Page[sshkey.Registered]{Items: all, Total: int64(len(all)), Window: w}, m.err
}

func (m *memory) Unproven(_ context.Context, created, now time.Time, w page.Window) (page.Page[sshkey.Registered], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.sorted(func(r sshkey.Registered) bool {
		return r.Unproven() && !r.Created.After(created) && there(r, now)
	})
	return page.Page[sshkey.Registered]{Items: all, Total: int64(len(all)), Window: w}, m.err
}

func (m *memory) Remove(_ context.Context, id string, e audit.Event) error {
	return m.write([]audit.Event{e}, func() error { delete(m.keys, id); return nil })
}

func (m *memory) each(keep func(sshkey.Registered) bool, event func(sshkey.Registered) audit.Event, change func(sshkey.Registered)) (n int, err error) {
	err = m.write(nil, func() error {
		for _, r := range m.sorted(keep) {
			n++
			m.events = append(m.events, event(r))
			change(r)
		}
		return nil
	})
	return n, err
}

func (m *memory) RemoveOfUser(_ context.Context, user string, event func(sshkey.Registered) audit.Event) error {
	_, err := m.each(func(r sshkey.Registered) bool { return r.User == user }, event, func(r sshkey.Registered) { delete(m.keys, r.ID) })
	return err
}

func (m *memory) Disable(_ context.Context, id string, e audit.Event) error {
	r, err := m.one(func(r sshkey.Registered) bool { return r.ID == id })
	if err != nil || r.State == sshkey.Disabled {
		return err
	}
	return m.write([]audit.Event{e}, func() error {
		r.State, r.Proven = sshkey.Disabled, time.Time{}
		m.keys[id] = r
		return nil
	})
}

func (m *memory) DisableUnproven(_ context.Context, created time.Time, _ int, event func(sshkey.Registered) audit.Event) (int, error) {
	return m.each(func(r sshkey.Registered) bool {
		return r.State == sshkey.Active && r.Unproven() && !r.Created.After(created)
	}, event, func(r sshkey.Registered) { r.State = sshkey.Disabled; m.keys[r.ID] = r })
}

func (m *memory) Purge(_ context.Context, now time.Time, _ int, event func(sshkey.Registered) audit.Event) (int, error) {
	return m.each(func(r sshkey.Registered) bool { return !there(r, now) }, event, func(r sshkey.Registered) { delete(m.keys, r.ID) })
}

func place(r access.Resource) string { return r.Kind + " " + r.ID }

func (m *memory) At(_ context.Context, of sshkey.Selection) (page.Page[sshkey.Held], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := page.Page[sshkey.Held]{Window: of.Window}
	for _, r := range m.sorted(func(r sshkey.Registered) bool {
		return there(r, of.Now) && strings.HasPrefix(identity.Fold(r.Label), of.Prefix)
	}) {
		for _, at := range of.Places {
			for _, g := range r.Grants {
				if place(g.Place) == place(at) && g.Permission.Covers(of.Least) {
					p.Items = append(p.Items, sshkey.Held{Key: r, Grant: g})
				}
			}
		}
	}
	p.Total = int64(len(p.Items))
	return p, m.err
}

func (m *memory) changeGrants(id string, e audit.Event, change func(r *sshkey.Registered) error) error {
	return m.write([]audit.Event{e}, func() error {
		r, ok := m.keys[id]
		if !ok {
			return sshkey.ErrUnknown
		}
		r.Grants = slices.Clone(r.Grants)
		if err := change(&r); err != nil {
			return err
		}
		if m.keys[id] = r; len(r.Grants) == 0 {
			delete(m.keys, id)
		}
		return nil
	})
}

func at(r *sshkey.Registered, where access.Resource) int {
	return slices.IndexFunc(r.Grants, func(g sshkey.Grant) bool { return place(g.Place) == place(where) })
}

func (m *memory) AddGrant(_ context.Context, id string, g sshkey.Grant, e audit.Event) error {
	return m.changeGrants(id, e, func(r *sshkey.Registered) error {
		if at(r, g.Place) >= 0 {
			return sshkey.ErrGranted
		}
		r.Grants = append(r.Grants, g)
		return nil
	})
}

func (m *memory) SetPermission(_ context.Context, id string, where access.Resource, to sshkey.Permission, e audit.Event) error {
	return m.changeGrants(id, e, func(r *sshkey.Registered) error {
		i := at(r, where)
		if i < 0 {
			return sshkey.ErrUnknown
		}
		r.Grants[i].Permission = to
		return nil
	})
}

func (m *memory) RemoveGrants(_ context.Context, id string, where []access.Resource, event func(access.Resource) audit.Event) error {
	err := m.changeGrants(id, event(where[0]), func(r *sshkey.Registered) error {
		for _, w := range where {
			if i := at(r, w); i >= 0 {
				r.Grants = slices.Delete(r.Grants, i, i+1)
			}
		}
		return nil
	})
	if errors.Is(err, sshkey.ErrUnknown) {
		return nil
	}
	return err
}

func (m *memory) MarkUsed(_ context.Context, uses []recent.Use) error {
	return m.write(nil, func() error { m.uses = append(m.uses, uses...); return nil })
}

// roles is what the people of a memory may do.
type roles struct {
	access.Store
	m *memory
}

func (r roles) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	return r.m.roles[of.ID], nil
}

// world is a service on an empty store.
type world struct {
	*sshkey.Service
	t     *testing.T
	store *memory
	now   time.Time
	admin access.Caller
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: &memory{keys: map[string]sshkey.Registered{}, roles: map[string][]access.Binding{}, shut: map[string]bool{}}, now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
	w.Service = w.node()
	w.admin = w.person("root", access.Admin, access.Installation)
	return w
}

func (w *world) node() *sshkey.Service {
	clock, n := func() time.Time { return w.now }, 0
	return &sshkey.Service{
		Store: w.store, Access: &access.Service{Store: roles{m: w.store}, Now: clock}, Now: clock, NewID: func() string { n++; return fmt.Sprint("k", n) },
		CacheFor: 2 * time.Second, UsedEvery: time.Minute, FreshFor: 10 * time.Minute, RequireProof: sshkey.ProofConsole, AccessKeys: true, SweepEvery: time.Minute,
		OnError: func(doing string, err error) { w.t.Error(doing, err) },
	}
}

// person is somebody who has just signed in and holds a role.
func (w *world) person(id string, role access.Role, on access.Resource) access.Caller {
	if role != "" {
		w.store.roles[id] = append(w.store.roles[id], access.Binding{Role: role, Resource: on})
	}
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: id, Name: id}, At: w.now, Scopes: []access.Action{"*"}, Session: "s"}
}

// line is a fresh key as an OpenSSH line.
func line(t *testing.T, comment string) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(wire))) + " " + comment)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func keyOf(t *testing.T, text string) sshkey.Key {
	t.Helper()
	key, err := sshkey.ParseLine(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
