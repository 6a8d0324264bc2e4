package sshd_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// memory keeps sessions and connections; what this door does not need stays empty.
type memory struct {
	mu          sync.Mutex
	sessions    map[string]keyproof.Session
	connections []keyproof.Connection
	events      []audit.Event
	broken      error       // what every method reports, when set
	panics      atomic.Bool // ByIdentifier panics
}

var _ keyproof.Store = (*memory)(nil)

var errUnknown = fault.New(fault.NotFound, "no such session")

var errUnavailable = errors.New("store is away")

func (m *memory) Insert(_ context.Context, s keyproof.Session, _ []webhook.Webhook, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[s.ID], m.events = s, append(m.events, e)
	return m.broken
}

func (m *memory) ByIdentifier(_ context.Context, identifier string) (keyproof.State, error) {
	if m.panics.Load() {
		panic("planted panic")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return keyproof.State{}, m.broken
	}
	for _, s := range m.sessions {
		if s.Identifier == identifier {
			return keyproof.State{Session: s}, nil
		}
	}
	return keyproof.State{}, errUnknown
}

func (m *memory) ByID(_ context.Context, _ string, _ keyproof.Kind, id string) (keyproof.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[id]
	if !ok {
		return s, errUnknown
	}
	return s, m.broken
}

func (m *memory) DetailByID(ctx context.Context, project string, kind keyproof.Kind, id string) (keyproof.Detail, error) {
	s, err := m.ByID(ctx, project, kind, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	d := keyproof.Detail{Session: s}
	for _, c := range m.connections {
		if c.Session == id {
			d.Connections = append(d.Connections, c)
		}
	}
	return d, err
}

func (m *memory) List(context.Context, keyproof.Filter) (page.Page[keyproof.Session], error) {
	return page.Page[keyproof.Session]{}, nil
}

func (m *memory) Connect(_ context.Context, c keyproof.Connection, _ []webhook.Delivery) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.sessions[c.Session]; !ok {
		return errUnknown
	}
	m.connections = append(m.connections, c)
	return m.broken
}

func (m *memory) Change(_ context.Context, id string, decide func(keyproof.State) (keyproof.Change, error)) (keyproof.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[id]
	if !ok {
		return s, errUnknown
	}
	if m.broken != nil {
		return s, m.broken
	}
	c, err := decide(keyproof.State{Session: s})
	if err != nil {
		return s, err
	}
	if c.Session != nil {
		s = *c.Session
		m.sessions[id] = s
	}
	if c.Connection != nil && c.NewConnection {
		m.connections = append(m.connections, *c.Connection)
	} else if c.Connection != nil {
		i := slices.IndexFunc(m.connections, func(old keyproof.Connection) bool { return old.ID == c.Connection.ID })
		m.connections[i] = *c.Connection
	}
	m.events = append(m.events, c.Events...)
	return s, nil
}

func (m *memory) Delete(_ context.Context, _ string, _ keyproof.Kind, id string, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, id)
	m.events = append(m.events, e)
	return m.broken
}

func (m *memory) Due(context.Context, time.Time, int) ([]string, error) { return nil, nil }

func (m *memory) Purge(context.Context, time.Time, int, audit.Event) (int64, error) { return 0, nil }

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// refusals keeps what the door records by itself.
type refusals struct {
	audit.Source
	mu     sync.Mutex
	events []audit.Event
}

func (r *refusals) Append(_ context.Context, events ...audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	return nil
}

func (r *refusals) SealNext(context.Context, int, func(audit.Seal, []audit.Hash) (audit.Seal, []audit.Hash)) (int, error) {
	return 0, nil
}

func (r *refusals) Concerning(context.Context, string, page.Window) (page.Page[audit.Event], error) {
	return page.Page[audit.Event]{}, nil
}

func (r *refusals) all() []audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// text is everything recorded, to look for what must not be there.
func (r *refusals) text() string {
	b, _ := json.Marshal(r.all())
	return string(b)
}

// forget drops the connections: a benchmark makes many.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connections = nil
}
