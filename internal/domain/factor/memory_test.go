package factor_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

// memory keeps sets and conversations, as the SQL does.
type memory struct {
	mu     sync.Mutex
	sets   map[string]factor.Set
	talks  map[string]factor.Conversation
	events []audit.Event
}

func copied(set factor.Set) factor.Set {
	if set.TOTP != nil {
		app := *set.TOTP
		set.TOTP = &app
	}
	set.Devices, set.Codes = slices.Clone(set.Devices), slices.Clone(set.Codes)
	return set
}

func (m *memory) Of(_ context.Context, user string) (factor.Set, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(user), nil
}

func (m *memory) of(user string) factor.Set {
	set := copied(m.sets[user])
	set.User = user
	return set
}

func (m *memory) Change(_ context.Context, user string, decide func(*factor.Set) (factor.Change, error)) (factor.Set, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = decide(ptr(m.of(user))) // it may run more than once
	set := m.of(user)
	c, err := decide(&set)
	if err == nil {
		err = m.store(set, c)
	}
	return set, err
}

func ptr[T any](v T) *T { return &v }

func (m *memory) store(set factor.Set, c factor.Change) error {
	for user, other := range m.sets {
		for _, d := range other.Devices {
			if user != set.User && slices.ContainsFunc(set.Devices, func(x factor.Device) bool { return bytes.Equal(x.Credential, d.Credential) }) {
				return factor.ErrKnownKey
			}
		}
	}
	m.sets[set.User], m.events = set, append(m.events, c.Events...)
	return nil
}

func (m *memory) Open(_ context.Context, c factor.Conversation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, o := range m.talks {
		if c.Session != "" && o.User == c.User && o.Purpose == c.Purpose && o.Session == c.Session {
			delete(m.talks, id)
		}
	}
	m.talks[c.ID] = c
	return nil
}

func (m *memory) Find(_ context.Context, k factor.Key) (factor.Conversation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(k)
}

func (m *memory) find(k factor.Key) (factor.Conversation, error) {
	for _, c := range m.talks {
		if c.Purpose == k.Purpose && (k.Session != "" && c.Session == k.Session || k.Session == "" && c.Digest == k.Digest) {
			return c, nil
		}
	}
	return factor.Conversation{}, factor.ErrNoConversation
}

func (m *memory) Answer(_ context.Context, k factor.Key, decide func(*factor.Conversation, *factor.Set) (bool, factor.Change, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.find(k)
	if err != nil {
		return err
	}
	_, _, _ = decide(ptr(c), ptr(m.of(c.User))) // it may run more than once
	set := m.of(c.User)
	keep, change, err := decide(&c, &set)
	if err == nil {
		err = m.store(set, change)
	}
	if err != nil {
		return err
	}
	if m.talks[c.ID] = c; !keep {
		delete(m.talks, c.ID)
	}
	maps.DeleteFunc(m.talks, func(id string, o factor.Conversation) bool {
		return change.Alone && o.User == c.User && o.Purpose == factor.SignIn && id != c.ID
	})
	return nil
}

func (m *memory) Drop(_ context.Context, user string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, c := range m.talks {
		if c.User == user {
			delete(m.talks, id)
		}
	}
	return nil
}

func (m *memory) Sweep(_ context.Context, before time.Time, _ int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.talks)
	for id, c := range m.talks {
		if c.Expires.Before(before) {
			delete(m.talks, id)
		}
	}
	return n - len(m.talks), nil
}

func (m *memory) ByCredential(context.Context, []byte) (string, factor.Device, error) {
	return "", factor.Device{}, factor.ErrNoDevice
}

const (
	dana   = "0198f0a0-0000-7000-8000-00000000da7a"
	kim    = "0198f0a0-0000-7000-8000-000000000c1a"
	rpID   = "gate.test"
	origin = "https://gate.test"
)

var (
	offered = []int64{authenticator.ES256}
	every   = []int64{authenticator.ES256, authenticator.EdDSA, authenticator.RS256}
)

// world is a service with a clock that tests turn.
type world struct {
	*factor.Service
	*memory
	clock time.Time
	mu    sync.Mutex
	ids   int
}

func newWorld() *world {
	w := &world{
		clock:  time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC),
		memory: &memory{sets: map[string]factor.Set{}, talks: map[string]factor.Conversation{}},
	}
	w.Service = &factor.Service{
		Store: w.memory, Now: func() time.Time { return w.clock }, NewID: w.id, RPID: rpID, RPName: "Gatehouse", Origins: []string{origin},
		Wait: 5 * time.Minute, Talk: 10 * time.Minute, Tries: 5,
	}
	return w
}

func (w *world) Of(ctx context.Context, user string) (factor.Set, error) {
	return w.Service.Of(ctx, user)
}

func (w *world) Find(ctx context.Context, k factor.Key) (factor.Conversation, error) {
	return w.Service.Find(ctx, k)
}

func (w *world) id() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return fmt.Sprint("id", w.ids)
}

func event() audit.Event {
	return audit.NewEvent(time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), "test.happened", audit.Done)
}

func change() factor.Change { return factor.Change{Events: []audit.Event{event()}} }

func recorded(factor.Conversation) audit.Event { return event() }

func changed(factor.Conversation) factor.Change { return change() }

func totp(code string) factor.Answer {
	return factor.Answer{Kind: factor.TOTP, Code: secret.New(code)}
}

func recovery(code secret.String) factor.Answer {
	return factor.Answer{Kind: factor.Recovery, Code: code}
}
