package session_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// memory keeps sessions, as the SQL does.
type memory struct{ *data }

type data struct {
	mu      sync.Mutex
	rows    map[string]session.Session
	stamps  map[string]string // by principal
	shut    map[string]bool   // by principal
	events  []audit.Event
	reads   int
	touches int
	err     error
}

func (m memory) Insert(_ context.Context, x session.Session, stamp string, limit int, e audit.Event, evict func(session.Session) audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut[x.Principal.ID] || stamp != "" && stamp != m.stamps[x.Principal.ID] {
		return session.ErrChanged
	}
	var live []session.Session
	for _, o := range m.rows {
		if o.Subject() == x.Subject() && o.Ended.IsZero() {
			live = append(live, o)
		}
	}
	slices.SortFunc(live, func(a, b session.Session) int {
		if pending := (a.State == session.Pending); pending != (b.State == session.Pending) {
			return map[bool]int{true: 1, false: -1}[pending]
		}
		return b.LastUsed.Compare(a.LastUsed)
	})
	for _, o := range live[min(len(live), limit-1):] {
		m.end(o, x.Created, evict(o))
	}
	m.rows[x.ID], m.events = x, append(m.events, e)
	return m.err
}

func (m memory) end(x session.Session, at time.Time, e audit.Event) {
	x.State, x.Ended = session.Terminated, at
	m.rows[x.ID], m.events = x, append(m.events, e)
}

func (m memory) now(x session.Session) session.Session {
	x.Shut = m.shut[x.Principal.ID]
	return x
}

func (m memory) ByDigest(_ context.Context, digest [32]byte) (session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	for _, x := range m.rows {
		if x.Digest == digest {
			return m.now(x), m.err
		}
	}
	return session.Session{}, session.ErrUnknown
}

func (m memory) ByID(_ context.Context, id string) (session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x, ok := m.rows[id]; ok {
		return m.now(x), m.err
	}
	return session.Session{}, session.ErrUnknown
}

func (m memory) Change(_ context.Context, id string, decide func(session.Session) (session.Session, error), e audit.Event) (session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, ok := m.rows[id]
	if !ok {
		return x, session.ErrUnknown
	}
	x, err := decide(m.now(x))
	if err == nil {
		m.rows[id], m.events = x, append(m.events, e)
	}
	return x, err
}

func (m memory) Touch(_ context.Context, id string, used, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.touches++
	if x, ok := m.rows[id]; ok && x.Ended.IsZero() && x.LastUsed.Before(used) && m.err == nil {
		x.LastUsed = used
		m.rows[id] = x
	}
	return m.err
}

func (m memory) End(_ context.Context, id string, at time.Time, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x, ok := m.rows[id]; ok && x.Ended.IsZero() {
		m.end(x, at, e)
	}
	return m.err
}

func (m memory) EndAll(_ context.Context, of access.Subject, except string, at time.Time, e audit.Event) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, x := range m.rows {
		if x.Subject() == of && x.ID != except && x.Ended.IsZero() {
			m.end(x, at, e)
			n++
		}
	}
	return n, m.err
}

func (m memory) EndVouched(_ context.Context, v session.Vouched, at time.Time, event func(session.Session) audit.Event) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, x := range m.rows {
		mine := x.Provider == v.Provider && x.Ended.IsZero() && (v.User == "" && v.Subject == "" || x.Principal.ID == v.User)
		if mine && (v.Session == "" || x.ProviderSession == v.Session || v.User != "" && x.ProviderSession == "") {
			m.end(x, at, event(x))
			n++
		}
	}
	return n, m.err
}

func (m memory) Of(_ context.Context, of access.Subject, now time.Time) ([]session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []session.Session
	for _, x := range m.rows {
		if x.Subject() == of && x.Ended.IsZero() && now.Before(x.Expires()) {
			all = append(all, x)
		}
	}
	return all, m.err
}

func (m memory) List(_ context.Context, _ time.Time, w page.Window) (page.Page[session.Session], error) {
	return page.Page[session.Session]{Window: w}, m.err
}

func (m memory) Expire(_ context.Context, now time.Time, limit int, event func(session.Session) audit.Event) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, x := range m.rows {
		if n < limit && x.Ended.IsZero() && !now.Before(x.Expires()) {
			m.end(x, now, event(x))
			n++
		}
	}
	return n, m.err
}

func (m memory) Purge(_ context.Context, before time.Time, _ int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.rows)
	for id, x := range m.rows {
		if !x.Ended.IsZero() && x.Ended.Before(before) {
			delete(m.rows, id)
		}
	}
	return n - len(m.rows), m.err
}

// bindings gives nobody a role but root.
type bindings struct{ access.Store }

func (bindings) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	if of.ID == "root" {
		return []access.Binding{{Subject: of, Role: access.SysAdmin, Resource: access.Installation}}, nil
	}
	return nil, nil
}

// members makes everybody a member of blue.
type members struct{}

func (members) Membership(_ context.Context, account, user string) (identity.Member, error) {
	if account != "blue" {
		return identity.Member{}, identity.ErrNoMember
	}
	return identity.Member{Account: account, User: user, Role: identity.Ordinary}, nil
}

// world is a service with a clock that tests turn.
type world struct {
	*session.Service
	*data
	clock time.Time
	ids   int
}

func newWorld() *world {
	w := &world{
		clock: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC),
		data:  &data{rows: map[string]session.Session{}, stamps: map[string]string{}, shut: map[string]bool{}},
	}
	now := func() time.Time { return w.clock }
	w.Service = &session.Service{
		Store: memory{w.data}, Access: &access.Service{Store: bindings{}, Now: now}, Accounts: members{}, Now: now,
		NewID: func() string { w.ids++; return fmt.Sprint("s", w.ids) },
		Users: session.Life{Idle: 24 * time.Hour, Max: 7 * 24 * time.Hour, Limit: 100},
		Apps:  session.Life{Idle: 10 * time.Minute, Max: 24 * time.Hour, Limit: 1000},
		Wait:  5 * time.Minute, CacheFor: 2 * time.Second, KeepFor: 24 * time.Hour, Every: time.Second,
	}
	return w
}
