package keyproof_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// memory keeps sessions, connections, webhooks, deliveries and audit events. Every call of decide
// happens twice, on copies, because a real store may have to repeat it.
type memory struct {
	mu          sync.Mutex
	sessions    []keyproof.Session
	connections []keyproof.Connection
	hooks       []webhook.Webhook
	deliveries  []webhook.Delivery
	events      []audit.Event
	strict      bool  // the project's setting
	err         error // what every write reports, when set
	changeErr   error // what Change reports, when set
}

func (m *memory) find(match func(keyproof.Session) bool) (keyproof.State, error) {
	for _, s := range m.sessions {
		if match(s) {
			s.Keys = slices.Clone(s.Keys)
			s.Strict = m.strict
			return keyproof.State{Session: s, Webhooks: m.hooksOf(s.ID)}, nil
		}
	}
	return keyproof.State{}, fault.New(fault.NotFound, "no row")
}

func (m *memory) hooksOf(owner string) []webhook.Webhook {
	out := []webhook.Webhook{}
	for _, h := range m.hooks {
		if h.Owner == owner {
			out = append(out, h)
		}
	}
	return out
}

func byID(project string, kind keyproof.Kind, id string) func(keyproof.Session) bool {
	return func(s keyproof.Session) bool { return s.ID == id && s.Project == project && s.Kind == kind }
}

func (m *memory) Insert(_ context.Context, s keyproof.Session, hooks []webhook.Webhook, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.sessions, m.hooks, m.events = append(m.sessions, s), append(m.hooks, hooks...), append(m.events, e)
	return nil
}

func (m *memory) ByIdentifier(_ context.Context, identifier string) (keyproof.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(func(s keyproof.Session) bool { return s.Identifier == identifier })
}

func (m *memory) ByID(_ context.Context, project string, kind keyproof.Kind, id string) (keyproof.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state, err := m.find(byID(project, kind, id))
	return state.Session, err
}

func (m *memory) DetailByID(_ context.Context, project string, kind keyproof.Kind, id string) (keyproof.Detail, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state, err := m.find(byID(project, kind, id))
	d := keyproof.Detail{Session: state.Session, Webhooks: state.Webhooks}
	for _, c := range m.connections {
		if c.Session == id {
			d.Connections = append(d.Connections, c)
		}
	}
	return d, err
}

func (m *memory) List(_ context.Context, f keyproof.Filter) (page.Page[keyproof.Session], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := page.Page[keyproof.Session]{Window: f.Window}
	for _, s := range m.sessions {
		s.Strict = m.strict
		if s.Project == f.Project && s.Kind == f.Kind && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, s.At(f.Now))) &&
			(f.ExternalID == nil || (s.ExternalID != nil && *s.ExternalID == *f.ExternalID)) {
			p.Items = append(p.Items, s)
		}
	}
	slices.SortFunc(p.Items, func(a, b keyproof.Session) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(b.ID, a.ID))
	})
	p.Total = int64(len(p.Items))
	return p, nil
}

func (m *memory) Connect(_ context.Context, c keyproof.Connection, deliveries []webhook.Delivery) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if _, err := m.find(func(s keyproof.Session) bool { return s.ID == c.Session }); err != nil {
		return err
	}
	m.connections, m.deliveries = append(m.connections, c), append(m.deliveries, deliveries...)
	return nil
}

func (m *memory) Change(_ context.Context, id string, decide func(keyproof.State) (keyproof.Change, error)) (keyproof.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var change keyproof.Change
	for range 2 {
		state, err := m.find(func(s keyproof.Session) bool { return s.ID == id })
		if err != nil {
			return keyproof.Session{}, err
		}
		if change, err = decide(state); err != nil {
			return keyproof.Session{}, err
		}
	}
	if err := cmp.Or(m.err, m.changeErr); err != nil {
		return keyproof.Session{}, err
	}
	i := slices.IndexFunc(m.sessions, func(s keyproof.Session) bool { return s.ID == id })
	if change.Session != nil {
		m.sessions[i] = *change.Session
	}
	if change.Connection != nil && change.NewConnection {
		m.connections = append(m.connections, *change.Connection)
	} else if change.Connection != nil {
		at := slices.IndexFunc(m.connections, func(c keyproof.Connection) bool { return c.ID == change.Connection.ID })
		m.connections[at] = *change.Connection
	}
	m.deliveries, m.events = append(m.deliveries, change.Deliveries...), append(m.events, change.Events...)
	state, err := m.find(func(s keyproof.Session) bool { return s.ID == id })
	return state.Session, err
}

func (m *memory) Delete(_ context.Context, project string, kind keyproof.Kind, id string, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find(byID(project, kind, id)); err != nil {
		return err
	}
	m.sessions = slices.DeleteFunc(m.sessions, func(s keyproof.Session) bool { return s.ID == id })
	m.connections = slices.DeleteFunc(m.connections, func(c keyproof.Connection) bool { return c.Session == id })
	m.hooks = slices.DeleteFunc(m.hooks, func(h webhook.Webhook) bool { return h.Owner == id })
	m.deliveries = slices.DeleteFunc(m.deliveries, func(d webhook.Delivery) bool { return d.Owner == id })
	m.events = append(m.events, e)
	return nil
}

func (m *memory) Due(_ context.Context, now time.Time, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, s := range m.sessions {
		if s.Due(now) && len(ids) < limit {
			ids = append(ids, s.ID)
		}
	}
	return ids, m.err
}

func (m *memory) Purge(_ context.Context, before time.Time, _ int, e audit.Event) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := len(m.sessions)
	m.sessions = slices.DeleteFunc(m.sessions, func(s keyproof.Session) bool { return s.Final() && s.Updated.Before(before) })
	n := int64(was - len(m.sessions))
	if n > 0 {
		m.events = append(m.events, e)
	}
	return n, nil
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) failChange(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changeErr = err
}

// hookStore is the part of memory that keeps webhooks.
type hookStore struct {
	webhook.Store // what these tests do not call
	m             *memory
}

func (h hookStore) Insert(_ context.Context, w webhook.Webhook, e audit.Event) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.m.hooks, h.m.events = append(h.m.hooks, w), append(h.m.events, e)
	return nil
}

func (h hookStore) index(owner, id string) int {
	return slices.IndexFunc(h.m.hooks, func(w webhook.Webhook) bool { return w.Owner == owner && w.ID == id })
}

func (h hookStore) Change(_ context.Context, owner, id string, decide func(webhook.Webhook) (webhook.Webhook, error), e audit.Event) (webhook.Webhook, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	i := h.index(owner, id)
	if i < 0 {
		return webhook.Webhook{}, fault.New(fault.NotFound, "no row")
	}
	w, err := decide(h.m.hooks[i])
	if err == nil {
		h.m.hooks[i], h.m.events = w, append(h.m.events, e)
	}
	return w, err
}

func (h hookStore) Delete(_ context.Context, owner, id string, e audit.Event) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	i := h.index(owner, id)
	if i < 0 {
		return fault.New(fault.NotFound, "no row")
	}
	h.m.hooks, h.m.events = slices.Delete(h.m.hooks, i, i+1), append(h.m.events, e)
	return nil
}

func (h hookStore) ByID(_ context.Context, owner, id string) (webhook.Webhook, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if i := h.index(owner, id); i >= 0 {
		return h.m.hooks[i], nil
	}
	return webhook.Webhook{}, fault.New(fault.NotFound, "no row")
}

func (h hookStore) Count(_ context.Context, owner string) (int64, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return int64(len(h.m.hooksOf(owner))), nil
}

func (h hookStore) OfOwner(_ context.Context, owner string, offset, limit int64) ([]webhook.Webhook, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	all := h.m.hooksOf(owner)
	return all[min(offset, int64(len(all))):min(offset+limit, int64(len(all)))], nil
}

// projects is the one project there is.
type projects struct {
	project.Store
	m *memory
}

func (p projects) ByID(_ context.Context, id string) (project.Project, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return project.Project{ID: id, Settings: project.Settings{StrictStatus: p.m.strict}}, nil
}

// clock is set by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// world is a service on an empty store, and the caller of its project.
type world struct {
	t       tester
	store   *memory
	clock   *clock
	service *keyproof.Service
	by      access.Caller

	mu       sync.Mutex
	observed []keyproof.Event
	errors   []error
	ids      int
}

const mine = "p1"

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func newWorld(t tester) *world {
	w := &world{t: t, store: &memory{}, clock: &clock{now: start}, by: keyOf(mine, "keyproof.*")}
	rights := &access.Service{Now: w.clock.Now}
	hooks := &webhook.Service{
		Store: hookStore{m: w.store}, Access: rights, Now: w.clock.Now, NewID: w.newID,
		Allowed: func(netip.Addr) bool { return true }, MaxPer: 10,
	}
	hooks.Start()
	w.service = &keyproof.Service{
		Store: w.store, Access: rights, Projects: &project.Service{Store: projects{m: w.store}, Now: w.clock.Now}, Webhooks: hooks,
		Now: w.clock.Now, NewID: w.newID, MaxKeys: 32, MaxHooks: 10, CommitWait: time.Minute, SweepEvery: time.Second, KeepFor: 90 * 24 * time.Hour,
		Observe: func(e keyproof.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.observed = append(w.observed, e)
		},
		OnError: func(_ string, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.errors = append(w.errors, err)
		},
	}
	return w
}

func (w *world) newID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return fmt.Sprintf("id-%05d", w.ids)
}

func keyOf(project string, scopes ...access.Action) access.Caller {
	return access.Caller{
		Principal: access.Principal{Kind: access.APIKey, ID: "k-" + project, Name: "ci"}, Method: "api_key", Scopes: scopes,
		Limit: access.Project(project), Address: netip.MustParseAddr("198.51.100.4"), Door: "sshverify",
	}
}

// person has one key pair.
type person struct {
	public ssh.PublicKey
	key    sshkey.Key
}

// people returns n persons, the same in all tests.
func people(n int) []person { return everybody()[:n] }

var everybody = sync.OnceValue(func() []person {
	all := make([]person, 70)
	for i := range all {
		raw, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		if all[i].public, err = ssh.NewPublicKey(raw); err != nil {
			panic(err)
		}
		if all[i].key, err = sshkey.FromWire(all[i].public); err != nil {
			panic(err)
		}
	}
	return all
})

func drafts(of ...person) []keyproof.KeyDraft {
	var out []keyproof.KeyDraft
	for i, p := range of {
		out = append(out, keyproof.KeyDraft{Public: p.key, Name: ptr(fmt.Sprintf("key %d", i))})
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// verify creates a verify session that one webhook hears all of.
func (w *world) verify(o keyproof.Options, keys ...person) keyproof.Detail {
	w.t.Helper()
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 1
	}
	return w.create(keyproof.Verify, keyproof.Draft{Options: o, Keys: drafts(keys...)})
}

func (w *world) collect(o keyproof.Options) keyproof.Detail {
	w.t.Helper()
	return w.create(keyproof.Collect, keyproof.Draft{Options: o})
}

func (w *world) create(kind keyproof.Kind, d keyproof.Draft) keyproof.Detail {
	w.t.Helper()
	d.Webhooks = append(d.Webhooks, webhook.Webhook{URL: "https://shop.example/hook"})
	detail, err := w.service.Create(context.Background(), w.by, mine, kind, d)
	if err != nil {
		w.t.Fatal(err)
	}
	return detail
}

// read returns a session as it is stored, without asking the service, which would expire it.
func (w *world) read(d keyproof.Detail) keyproof.Detail {
	w.t.Helper()
	d, err := w.store.DetailByID(context.Background(), mine, d.Kind, d.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// connection is a client that named a session.
type connection struct {
	*keyproof.Attempt
	t tester
}

func peer() keyproof.Peer {
	return keyproof.Peer{Caller: access.NobodyAt(netip.MustParseAddr("192.0.2.7"), "sshd", start), ClientVersion: "SSH-2.0-OpenSSH_9.6"}
}

func (w *world) dial(d keyproof.Detail) *connection {
	w.t.Helper()
	a, err := w.service.Begin(context.Background(), d.Identifier, peer())
	if err != nil {
		w.t.Fatal(err)
	}
	a.Connected(context.Background())
	return &connection{a, w.t}
}

// offers names a key and reports whether a signature is wanted.
func (c *connection) offers(p person) bool {
	c.t.Helper()
	offered, err := sshkey.Offered(p.public)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.Wants(offered)
}

// signs proves a key and reports whether more are wanted.
func (c *connection) signs(p person) bool {
	c.t.Helper()
	proven, err := sshkey.Proven(p.public, "ssh-ed25519")
	if err != nil {
		c.t.Fatal(err)
	}
	return c.Prove(proven)
}

// authenticates goes through an agent's keys as OpenSSH does, until no more are wanted.
func (c *connection) authenticates(agent ...person) {
	c.t.Helper()
	for _, p := range agent {
		if c.offers(p) && !c.signs(p) {
			return
		}
	}
}

func (c *connection) ends(end keyproof.End) keyproof.Result {
	c.t.Helper()
	defer c.End()
	result, err := c.Commit(context.Background(), end)
	if err != nil {
		c.t.Fatal(err)
	}
	return result
}

// connect is a whole connection.
func (w *world) connect(d keyproof.Detail, end keyproof.End, agent ...person) keyproof.Result {
	w.t.Helper()
	c := w.dial(d)
	c.authenticates(agent...)
	return c.ends(end)
}

// fired lists the events of a session in the order of their deliveries.
func (w *world) fired(d keyproof.Detail) string {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	var names []string
	for _, delivery := range w.store.deliveries {
		if delivery.Owner == d.ID {
			names = append(names, delivery.Event)
		}
	}
	return strings.Join(names, " ")
}

func count(events, name string) int {
	return len(slices.DeleteFunc(strings.Fields(events), func(s string) bool { return s != name }))
}

// payload returns the last delivery of an event and its payload.
func (w *world) payload(event string) (webhook.Delivery, map[string]any) {
	w.t.Helper()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, d := range slices.Backward(w.store.deliveries) {
		if d.Event == event {
			var fields map[string]any
			if err := json.Unmarshal(d.Payload, &fields); err != nil {
				w.t.Fatal(err)
			}
			return d, fields
		}
	}
	w.t.Fatalf("no %s was fired", event)
	return webhook.Delivery{}, nil
}

// lastEvent returns the newest audit event.
func (w *world) lastEvent() audit.Event {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.events[len(w.store.events)-1]
}

func (w *world) eventCount() int {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return len(w.store.events)
}

func (w *world) update(d keyproof.Detail, e keyproof.Edit) (keyproof.Detail, error) {
	return w.service.Update(context.Background(), w.by, mine, d.Kind, d.ID, e)
}

func (w *world) complete(d keyproof.Detail) (keyproof.Detail, error) {
	return w.service.Complete(context.Background(), w.by, mine, d.Kind, d.ID)
}

func (w *world) get(d keyproof.Detail) (keyproof.Detail, error) {
	return w.service.Session(context.Background(), w.by, mine, d.Kind, d.ID)
}

func (w *world) remove(d keyproof.Detail) error {
	return w.service.Delete(context.Background(), w.by, mine, d.Kind, d.ID)
}

// wantFault checks kind and text of an error.
func wantFault(t tester, err error, kind fault.Kind, text string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.Text(err) != text {
		t.Errorf("got %v, want %v: %s", err, kind, text)
	}
}

func want[T comparable](t tester, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	t.Run("returns_what_was_asked_for_and_records_it", func(t *testing.T) {
		t.Parallel()
		w, keys := newWorld(t), people(2)
		d := w.create(keyproof.Verify, keyproof.Draft{
			Options: keyproof.Options{MatchAllKeys: true, MaxAttempts: 3, ExternalID: ptr("login-1")}, Keys: drafts(keys...), Timeout: 5 * time.Minute,
		})
		want(t, "status", d.Status, keyproof.Pending)
		want(t, "expiry", d.Expires, start.Add(5*time.Minute))
		want(t, "first key", d.Keys[0].Public.SHA256(), keys[0].key.SHA256())
		e := w.lastEvent()
		want(t, "action", e.Action, "keyproof.create")
		want(t, "actor", e.Actor.ID, "k-p1")
		want(t, "address", e.Address, "198.51.100.4")
		want(t, "project", e.Project, mine)
		want(t, "object", e.Object.ID, d.ID)
		want(t, "fingerprint", e.Detail["key_01"], keys[1].key.SHA256())
		if strings.Contains(string(e.Body()), d.Identifier) {
			t.Error("the audit log holds a whole identifier, which is the right to try")
		}
	})
	t.Run("refuses_what_breaks_a_rule", func(t *testing.T) {
		t.Parallel()
		w, keys := newWorld(t), people(33)
		one := keyproof.Options{MaxAttempts: 1}
		for name, c := range map[string]struct {
			kind  keyproof.Kind
			draft keyproof.Draft
			text  string
			field string
		}{
			"two_expiries": {keyproof.Verify, keyproof.Draft{Options: one, Keys: drafts(keys[0]), Timeout: time.Second, Expires: start.Add(time.Hour)}, "Cannot use both timeout and expired_at", "expired_at: Cannot be used with timeout"},
			"past":         {keyproof.Verify, keyproof.Draft{Options: one, Keys: drafts(keys[0]), Expires: start}, "expired_at must be in the future", "expired_at: Must be in the future"},
			"duplicate":    {keyproof.Verify, keyproof.Draft{Options: one, Keys: drafts(keys[0], keys[1], keys[0])}, "The same public key is listed more than once", "keys[2].public_key: Duplicate of body.keys[0]"},
			"no_keys":      {keyproof.Verify, keyproof.Draft{Options: one}, "a verify session lists 1 to 32 keys", ""},
			"33_keys":      {keyproof.Verify, keyproof.Draft{Options: one, Keys: drafts(keys...)}, "a verify session lists 1 to 32 keys", ""},
			"no_attempts":  {keyproof.Verify, keyproof.Draft{Keys: drafts(keys[0])}, "max_attempts is 1 to 1000", ""},
			"attempts":     {keyproof.Verify, keyproof.Draft{Options: keyproof.Options{MaxAttempts: 1001}, Keys: drafts(keys[0])}, "max_attempts is 1 to 1000", ""},
			"collect_keys": {keyproof.Collect, keyproof.Draft{Keys: drafts(keys[0])}, "a collect session lists no keys", ""},
			"11_webhooks":  {keyproof.Collect, keyproof.Draft{Webhooks: make([]webhook.Webhook, 11)}, "a session has at most 10 webhooks", ""},
			"bad_webhook":  {keyproof.Collect, keyproof.Draft{Webhooks: []webhook.Webhook{{URL: "ftp://x.example/"}}}, "expected an http or https address", ""},
		} {
			_, err := w.service.Create(context.Background(), w.by, mine, c.kind, c.draft)
			wantFault(t, err, fault.Invalid, c.text)
			got := ""
			for _, f := range fault.FieldsOf(err) {
				got += f.Path + ": " + f.Message
			}
			want(t, name, got, c.field)
		}
		if len(w.store.sessions)+len(w.store.events) != 0 {
			t.Error("a refused session left something behind")
		}
	})
	t.Run("leaves_nothing_when_the_store_fails", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.store.fail(context.DeadlineExceeded)
		if d, err := w.service.Create(context.Background(), w.by, mine, keyproof.Collect, keyproof.Draft{}); err == nil || d.ID != "" {
			t.Errorf("got %v, %v", d, err)
		}
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	w, keys := newWorld(t), people(1)
	old := w.create(keyproof.Verify, keyproof.Draft{Options: keyproof.Options{MaxAttempts: 1, ExternalID: ptr("a")}, Keys: drafts(keys...), Timeout: time.Minute})
	w.clock.pass(time.Second)
	lost := w.verify(keyproof.Options{}, keys...)
	w.clock.pass(time.Second)
	open := w.verify(keyproof.Options{}, keys...)
	w.collect(keyproof.Options{})
	w.connect(lost, keyproof.Finished)
	w.clock.pass(time.Minute)

	list := func(status keyproof.Status, external *string) string {
		p, err := w.service.List(context.Background(), w.by, mine, keyproof.Verify, keyproof.Query{Status: status, ExternalID: external, Window: page.Of(0, 100)})
		if err != nil {
			return fault.Text(err) + " " + fault.FieldsOf(err)[0].Path
		}
		var all []string
		for _, s := range p.Items {
			all = append(all, s.ID+" "+string(s.Shown(w.clock.Now())))
		}
		return strings.Join(all, ", ")
	}
	everything := fmt.Sprintf("%s pending, %s failed, %s expired", open.ID, lost.ID, old.ID)
	want(t, "all, newest first", list("", nil), everything)
	want(t, "the due one was expired by the listing", w.fired(old), "status_changed")
	want(t, "again", list("", nil), everything)
	want(t, "one event", w.fired(old), "status_changed")
	want(t, "failed", list(keyproof.Failed, nil), lost.ID+" failed")
	want(t, "expired", list(keyproof.Expired, nil), old.ID+" expired")
	want(t, "external id", list("", ptr("a")), old.ID+" expired")
	want(t, "status of the other kind", list(keyproof.Completed, nil), "validation failed status")

	w.store.strict = true
	want(t, "strict: all", list("", nil), strings.ReplaceAll(everything, "expired", "failed"))
	want(t, "strict: failed finds both", list(keyproof.Failed, nil), fmt.Sprintf("%s failed, %s failed", lost.ID, old.ID))
	want(t, "strict: expired is no status", list(keyproof.Expired, nil), "validation failed status")
}
