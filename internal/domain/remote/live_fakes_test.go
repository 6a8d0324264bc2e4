package remote_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// liveStore is what several nodes share: sessions, grants, nodes and frames, in memory.
type liveStore struct {
	remote.Store
	mu       sync.Mutex
	sessions map[string]remote.Session
	doomed   map[string]remote.Reason
	seen     map[string]time.Time
	watches  map[string]remote.Watching
	rows     map[string][]remote.Frame
	bindings []access.Binding
	events   []audit.Event
	asked    int // how often somebody's bindings were asked for
	down     error
	numbers  int64
	signed   map[string]bool // recordings
}

func newLiveStore() *liveStore {
	return &liveStore{
		sessions: map[string]remote.Session{}, doomed: map[string]remote.Reason{}, seen: map[string]time.Time{},
		watches: map[string]remote.Watching{}, rows: map[string][]remote.Frame{}, signed: map[string]bool{},
	}
}

// with locks, and fails while the store is away.
func (m *liveStore) with(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return m.down
	}
	return do()
}

func (m *liveStore) away(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *liveStore) ByID(_ context.Context, id string) (x remote.Session, err error) {
	err = m.with(func() error {
		var known bool
		if x, known = m.sessions[id]; !known {
			return remote.ErrUnknown
		}
		return nil
	})
	return x, err
}

func (m *liveStore) Change(_ context.Context, id string, _ *[32]byte, decide func(remote.Session) (remote.Session, []audit.Event, error)) (x remote.Session, err error) {
	err = m.with(func() error {
		was, known := m.sessions[id]
		if !known {
			return remote.ErrUnknown
		}
		var events []audit.Event
		if x, events, err = decide(was); err != nil {
			return err
		}
		if x.State == remote.Active && was.State != remote.Active {
			m.numbers++
			x.Number = m.numbers
		}
		m.sessions[id] = x
		m.events = append(m.events, events...)
		return nil
	})
	return x, err
}

func (m *liveStore) Beat(_ context.Context, node string, now time.Time) error {
	return m.with(func() error { m.seen[node] = now; return nil })
}

func (m *liveStore) Lost(_ context.Context, before, now time.Time, event func(remote.Session) audit.Event) (lost []remote.Session, err error) {
	err = m.with(func() error {
		for id, x := range m.sessions {
			if x.Node == "" || x.State != remote.Active && x.State != remote.Waiting || !m.seen[x.Node].Before(before) {
				continue
			}
			if x.State == remote.Waiting {
				x.Node = ""
				m.sessions[id] = x
				continue
			}
			x.State, x.End, x.Ended = remote.Ended, remote.NodeLost, now
			m.sessions[id] = x
			m.events = append(m.events, event(x))
			lost = append(lost, x)
		}
		return nil
	})
	return lost, err
}

func (m *liveStore) Uncut(_ context.Context, before time.Time, after string, limit int) (uncut []remote.Session, err error) {
	err = m.with(func() error {
		for _, id := range slices.Sorted(maps.Keys(m.sessions)) {
			if x := m.sessions[id]; id > after && x.State == remote.Ended && m.seen[x.Node].Before(before) && !m.signed[id] && len(uncut) < limit {
				uncut = append(uncut, x)
			}
		}
		return nil
	})
	return uncut, err
}

func (m *liveStore) Doomed(_ context.Context, node string) (doomed []remote.Session, err error) {
	err = m.with(func() error {
		for _, x := range m.sessions {
			if why, ends := m.doomed[x.ID]; ends && x.State == remote.Active && x.Node == node {
				x.EndAsked = why
				doomed = append(doomed, x)
			}
		}
		return nil
	})
	return doomed, err
}

func (m *liveStore) Carried(_ context.Context, node string) (ids []string, err error) {
	err = m.with(func() error {
		for id, x := range m.sessions {
			if x.State == remote.Active && x.Node == node {
				ids = append(ids, id)
			}
		}
		return nil
	})
	return ids, err
}

// becomes changes what the store has of a session, as another node does; nil is that it is gone.
func (m *liveStore) becomes(id string, change func(*remote.Session)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if change == nil {
		delete(m.sessions, id)
		return
	}
	x := m.sessions[id]
	change(&x)
	m.sessions[id] = x
}

func (m *liveStore) doom(id string, why remote.Reason) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doomed[id] = why
}

func (m *liveStore) Watch(_ context.Context, w remote.Watching) error {
	return m.with(func() error { m.watches[w.ID] = w; return nil })
}

func (m *liveStore) Unwatch(_ context.Context, id string) error {
	return m.with(func() error { delete(m.watches, id); return nil })
}

func (m *liveStore) Watched(_ context.Context, sessions []string, now time.Time) (map[string][]string, error) {
	names := map[string][]string{}
	err := m.with(func() error {
		for _, id := range slices.Sorted(maps.Keys(m.watches)) {
			if w := m.watches[id]; slices.Contains(sessions, w.Session) && now.Before(w.Until) {
				names[w.Session] = append(names[w.Session], w.Watcher)
			}
		}
		return nil
	})
	return names, err
}

func (m *liveStore) AddFrames(_ context.Context, session string, frames []remote.Frame) error {
	return m.with(func() error { m.rows[session] = append(m.rows[session], frames...); return nil })
}

func (m *liveStore) Frames(_ context.Context, session string, after int64, limit int) (out []remote.Frame, err error) {
	err = m.with(func() error {
		for _, f := range m.rows[session] {
			if f.Sequence > after && len(out) < limit {
				out = append(out, f)
			}
		}
		return nil
	})
	return out, err
}

func (m *liveStore) DropFrames(_ context.Context, before time.Time) error {
	return m.with(func() error {
		for id := range m.rows {
			m.rows[id] = slices.DeleteFunc(m.rows[id], func(f remote.Frame) bool { return f.At.Before(before) })
		}
		return nil
	})
}

// slowStore is a store that answers late: Beat and Doomed do not before a time, and Carried tells what it found a while ago.
type slowStore struct {
	*liveStore
	from, until time.Time
	stale       time.Duration
}

// waits returns when the store answers, or the caller waits no longer.
func (s slowStore) waits(ctx context.Context) error {
	if now := time.Now(); now.Before(s.from) || !now.Before(s.until) {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(s.until)):
		return nil
	}
}

func (s slowStore) Beat(ctx context.Context, node string, now time.Time) error {
	if err := s.waits(ctx); err != nil {
		return err
	}
	return s.liveStore.Beat(ctx, node, now)
}

func (s slowStore) Doomed(ctx context.Context, node string) ([]remote.Session, error) {
	if err := s.waits(ctx); err != nil {
		return nil, err
	}
	return s.liveStore.Doomed(ctx, node)
}

func (s slowStore) Carried(ctx context.Context, node string) ([]string, error) {
	ids, err := s.liveStore.Carried(ctx, node)
	time.Sleep(s.stale)
	return ids, err
}

// recorded are the actions of the audit log.
func (m *liveStore) recorded() (actions []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		actions = append(actions, e.Action)
	}
	return actions
}

// The same store as audit, access, device and vault see it.
type (
	liveAudit struct {
		audit.Store
		m *liveStore
	}
	liveAccess struct {
		access.Store
		m *liveStore
	}
	liveDevices struct {
		device.Store
		d       *device.Device
		strange *[]device.HostKey
	}
	liveVault struct {
		vault.Store
		d *device.Device
	}
	liveUsers struct{}
)

func (a liveAudit) Append(_ context.Context, events ...audit.Event) error {
	return a.m.with(func() error { a.m.events = append(a.m.events, events...); return nil })
}

func (a liveAccess) BindingsOf(_ context.Context, of access.Subject) (out []access.Binding, err error) {
	err = a.m.with(func() error {
		a.m.asked++
		for _, b := range a.m.bindings {
			if b.Subject == of {
				out = append(out, b)
			}
		}
		return nil
	})
	return out, err
}

func (d liveDevices) ByID(context.Context, string) (device.Device, error) { return *d.d, nil }
func (d liveDevices) HostKeys(context.Context, string) ([]device.HostKey, error) {
	return []device.HostKey{{Device: d.d.ID, Port: 22, Blob: []byte("pinned"), Accepted: true}}, nil
}

func (d liveDevices) Saw(_ context.Context, k device.HostKey, _ audit.Event) error {
	*d.strange = append(*d.strange, k)
	return nil
}

func (v liveVault) ByID(_ context.Context, id string) (vault.Credential, error) {
	return vault.Credential{ID: id, Device: *v.d, Username: "root", Kind: vault.Password, HasSecret: true}, nil
}

func (v liveVault) Secret(ctx context.Context, id string, _ time.Time, check func(vault.Credential) error, _ func(vault.Credential) audit.Event) (vault.Credential, secret.String, error) {
	c, _ := v.ByID(ctx, id)
	return c, secret.New("hunter2"), check(c)
}

func (liveUsers) ForRemote(_ context.Context, nameOrID string) (remote.Person, error) {
	return remote.Person{User: identity.User{ID: nameOrID, Name: nameOrID}}, nil
}

// liveTarget is a target that lets everybody in, with whom everything can be opened.
type liveTarget struct {
	mu     sync.Mutex
	err    error
	asked  []remote.Target
	links  []*liveLink
	before func() // called when it is dialled
}

func (t *liveTarget) Dial(_ context.Context, to remote.Target) (remote.Link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before != nil {
		t.before()
	}
	t.asked = append(t.asked, to)
	if t.err != nil {
		return nil, t.err
	}
	l := &liveLink{gone: make(chan struct{})}
	t.links = append(t.links, l)
	return l, nil
}

type liveLink struct {
	mu       sync.Mutex
	gone     chan struct{}
	over     bool
	err      error
	channels []*liveChannel
	onward   []*liveOnward
}

func (l *liveLink) open() *liveChannel {
	c := &liveChannel{gone: make(chan struct{})}
	c.out, c.print = io.Pipe()
	c.errs, c.complain = io.Pipe()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.channels = append(l.channels, c)
	return c
}

func (l *liveLink) Terminal(context.Context, remote.Terminal) (remote.Channel, error) {
	return l.open(), nil
}
func (l *liveLink) Files(context.Context) (remote.Channel, error) { return l.open(), nil }
func (l *liveLink) Forward(_ context.Context, host string, _ int) (io.ReadWriteCloser, error) {
	if host == "closed.example" {
		return nil, errors.New("connection refused")
	}
	o := &liveOnward{}
	o.out, o.print = io.Pipe()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onward = append(l.onward, o)
	return o, nil
}
func (l *liveLink) Done() <-chan struct{} { return l.gone }
func (l *liveLink) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// goes is the target closing the connection; what it printed can be read yet.
func (l *liveLink) goes(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over, l.err = true, err
	close(l.gone)
}

func (l *liveLink) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.over = true
		close(l.gone)
		for _, c := range l.channels {
			_ = c.Close()
		}
		for _, o := range l.onward {
			_ = o.Close()
		}
	}
	return nil
}

type liveChannel struct {
	out, errs       *io.PipeReader
	print, complain *io.PipeWriter
	mu              sync.Mutex
	in              bytes.Buffer
	sizes           []remote.Size
	once            sync.Once
	gone            chan struct{}
	exit            remote.Exit
}

func (c *liveChannel) Read(p []byte) (int, error) { return c.out.Read(p) }
func (c *liveChannel) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.Write(p)
}

func (c *liveChannel) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.String()
}
func (c *liveChannel) Stderr() io.Reader { return c.errs }
func (c *liveChannel) CloseWrite() error { return nil }
func (c *liveChannel) Resize(s remote.Size) error {
	c.sizes = append(c.sizes, s)
	return nil
}
func (c *liveChannel) Signal(string) error { return nil }
func (c *liveChannel) Wait() remote.Exit   { <-c.gone; return c.exit }
func (c *liveChannel) Close() error {
	c.once.Do(func() {
		_ = c.print.Close()
		_ = c.complain.Close()
		close(c.gone)
	})
	return c.out.Close()
}

// ends is the target ending a command.
func (c *liveChannel) ends(status int) {
	c.exit = remote.Exit{Status: status}
	c.once.Do(func() {
		_ = c.print.Close()
		_ = c.complain.Close()
		close(c.gone)
	})
}

type liveOnward struct {
	out   *io.PipeReader
	print *io.PipeWriter
	mu    sync.Mutex
	in    bytes.Buffer
}

func (o *liveOnward) Read(p []byte) (int, error) { return o.out.Read(p) }
func (o *liveOnward) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.in.Write(p)
}
func (o *liveOnward) Close() error { return o.print.Close() }

// liveTape is a recorder in memory, which fails when it is told to.
type liveTape struct {
	mu     sync.Mutex
	tracks map[string]*liveTrack
	notes  []remote.Note
	room   atomic.Int64  // bytes that it has room for
	hang   chan struct{} // where set, bytes wait for it
	behind chan struct{} // where set, Room waits for it
	failed chan struct{}
	err    error
	ended  *remote.Session

	trouble error // what it fails of; nil is errDiskFull
}

type liveTrack struct {
	t       *liveTape
	out, in bytes.Buffer
	closed  *remote.Exit
}

func newLiveTape() *liveTape {
	t := &liveTape{tracks: map[string]*liveTrack{}, failed: make(chan struct{})}
	t.room.Store(1 << 40)
	return t
}

var errDiskFull = errors.New("no space left on device")

// breaks has it failed, as a syncing loop would find out.
func (t *liveTape) breaks() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.breakLocked()
}

func (t *liveTape) breakLocked() {
	if t.err == nil {
		t.err = cmp.Or(t.trouble, errDiskFull)
		close(t.failed)
	}
}

func (t *liveTape) Track(x remote.Track) (remote.Tracker, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tracks[x.Name] = &liveTrack{t: t}
	return t.tracks[x.Name], t.err
}

func (t *liveTape) Note(n remote.Note) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, n)
	return t.err
}

func (t *liveTape) Room(input bool, until <-chan struct{}) {
	t.mu.Lock()
	behind := t.behind
	t.mu.Unlock()
	if behind == nil || input {
		return
	}
	select {
	case <-behind:
	case <-t.failed:
	case <-until:
	}
}

func (t *liveTape) Failed() <-chan struct{} { return t.failed }
func (t *liveTape) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *liveTape) End(_ context.Context, x remote.Session) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = &x
	return nil
}

// kinds are the kinds of the notes, with their channels.
func (t *liveTape) kinds() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.notes {
		out = append(out, n.Kind+" "+n.Channel)
	}
	return out
}

func (t *liveTape) said(kind string) (out []remote.Note) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.notes {
		if n.Kind == kind {
			out = append(out, n)
		}
	}
	return out
}

func (t *liveTrack) keep(b *bytes.Buffer, p []byte) error {
	if t.t.hang != nil {
		<-t.t.hang
	}
	t.t.mu.Lock()
	defer t.t.mu.Unlock()
	if t.t.err == nil && t.t.room.Add(-int64(len(p))) < 0 {
		t.t.breakLocked()
	}
	if t.t.err != nil {
		return t.t.err
	}
	b.Write(p)
	return nil
}
func (t *liveTrack) Output(p []byte) error    { return t.keep(&t.out, p) }
func (t *liveTrack) Input(p []byte) error     { return t.keep(&t.in, p) }
func (t *liveTrack) Resize(remote.Size) error { return nil }
func (t *liveTrack) Mark(string) error        { return nil }
func (t *liveTrack) Close(e remote.Exit) error {
	t.t.mu.Lock()
	defer t.t.mu.Unlock()
	t.closed = &e
	return nil
}

func (t *liveTrack) output() string {
	t.t.mu.Lock()
	defer t.t.mu.Unlock()
	return t.out.String()
}

// liveTap follows files by counting.
type liveTap struct {
	note     func(remote.Note) error
	up, down int
	lost     error
}

func (t *liveTap) ToTarget(p []byte) error   { t.up += len(p); return t.lost }
func (t *liveTap) FromTarget(p []byte) error { t.down += len(p); return t.lost }
func (t *liveTap) Close() error {
	return t.note(remote.Note{Kind: "file", Way: "download", Bytes: int64(t.down), Done: true})
}

// liveHouse is one node with everything that it needs, and a store that others may share.
type liveHouse struct {
	*remote.Service
	t       testing.TB
	m       *liveStore
	device  *device.Device
	target  *liveTarget
	tap     *liveTap
	strange []device.HostKey
	slow    time.Duration // how long a recording takes to begin

	mu         sync.Mutex
	tapes      map[string]*liveTape
	begin      error
	failures   []string
	ended      []remote.Reason
	carried    map[string]int
	loud       int
	cut        []string
	uncuttable int // how often Cut fails
}

func (h *liveHouse) Begin(_ context.Context, x remote.Session) (remote.Recorder, error) {
	time.Sleep(h.slow)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begin != nil {
		return nil, h.begin
	}
	h.tapes[x.ID] = newLiveTape()
	return h.tapes[x.ID], nil
}

func (h *liveHouse) Cut(_ context.Context, x remote.Session) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.uncuttable > 0 {
		h.uncuttable--
		return errDiskFull
	}
	h.cut = append(h.cut, x.ID)
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.m.signed[x.ID] = true
	return nil
}

func (h *liveHouse) tape(id string) *liveTape {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tapes[id]
}

// newLiveHouse is a node with the usual limits.
func newLiveHouse(t testing.TB, name string, m *liveStore) *liveHouse {
	h := &liveHouse{t: t, m: m, target: &liveTarget{}, tapes: map[string]*liveTape{}, carried: map[string]int{}}
	h.device = &device.Device{ID: "device", Host: "web-01", IP: netip.MustParseAddr("10.2.0.11"), Connect: []device.Connectivity{{Name: "SSH", Port: 22}}}
	ids := 0
	newID := func() string {
		m.mu.Lock()
		defer m.mu.Unlock()
		ids++
		return name + strconv.Itoa(ids)
	}
	rights := &access.Service{Store: liveAccess{m: m}, Now: time.Now, NewID: newID}
	devices := &device.Service{Store: liveDevices{d: h.device, strange: &h.strange}, Access: rights, Now: time.Now, NewID: newID}
	h.Service = &remote.Service{
		Store: m, Access: rights, Audit: &audit.Service{Store: liveAudit{m: m}, Now: time.Now}, Users: liveUsers{}, Devices: devices,
		HasFactor: func(context.Context, string) (bool, error) { return true, nil },
		Vault:     &vault.Service{Store: liveVault{d: h.device}, Access: rights, Devices: devices, Now: time.Now, NewID: newID},
		Dialers:   map[device.Protocol]remote.Dialer{device.SSH: h.target}, Recordings: h,
		NewFileTap: func(note func(remote.Note) error) remote.FileTap {
			h.tap = &liveTap{note: note}
			return h.tap
		},
		Settings: remote.Settings{
			Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Notices: []time.Duration{15 * time.Minute, 10 * time.Minute, 5 * time.Minute},
			Beat: 5 * time.Second, LostAfter: 20 * time.Second, Look: time.Second, DialTimeout: 15 * time.Second, Wait: 10 * time.Minute,
		},
		Node: name, Now: time.Now, NewID: newID,
		OnError: func(doing string, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.failures = append(h.failures, doing+": "+err.Error())
		},
	}
	h.Observe = remote.Hooks{
		Ended: func(_ remote.Way, _ device.Protocol, why remote.Reason, _ time.Duration) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.ended = append(h.ended, why)
		},
		Carried: func(direction string, n int) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.carried[direction] += n
		},
		Unrecorded: func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.loud++
		},
	}
	return h
}

// grant gives a user a grant for the device, and returns its number.
func (h *liveHouse) grant(user string, terms access.Terms) int64 {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	n := int64(len(h.m.bindings) + 1)
	h.m.bindings = append(h.m.bindings, access.Binding{
		ID: "b", Number: n, Subject: access.Subject{Kind: access.User, ID: user}, Role: access.DeviceConnect, Resource: access.Device(h.device.ID), Terms: terms,
	})
	return n
}

// waiting is a session of a user with nothing due.
func (h *liveHouse) waiting(id, user string, terms access.Terms) remote.Session {
	now := time.Now()
	x := remote.Session{
		ID: id, State: remote.Waiting, Way: remote.Web, User: access.Principal{Kind: access.User, ID: user, Name: user},
		Device: h.device.ID, Credential: "credential", Username: "root", Target: h.device.ID, Host: h.device.Host, IP: h.device.IP, Protocol: device.SSH, Port: 22,
		Address: netip.MustParseAddr("192.0.2.7"), Grant: h.grant(user, terms), Terms: terms, Created: now, Redeemed: now, Expires: now.Add(10 * time.Minute),
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.m.sessions[id] = x
	return x
}

// start takes a user to the device.
func (h *liveHouse) start(id, user string, terms access.Terms) *remote.Live {
	h.t.Helper()
	l, err := h.Start(context.Background(), h.waiting(id, user, terms), remote.Size{Cols: 80, Rows: 24})
	if err != nil {
		h.t.Fatalf("start: %v", err)
	}
	return l
}

// terminal opens a shell, and returns both of its ends.
func (h *liveHouse) terminal(l *remote.Live) (remote.Channel, *liveChannel) {
	h.t.Helper()
	c, err := l.Terminal(context.Background(), remote.Terminal{PTY: true, Term: "xterm", Size: remote.Size{Cols: 100, Rows: 30}})
	if err != nil {
		h.t.Fatalf("terminal: %v", err)
	}
	return c, h.last()
}

// last is the other end of the channel that was opened last.
func (h *liveHouse) last() *liveChannel {
	h.target.mu.Lock()
	defer h.target.mu.Unlock()
	link := h.target.links[len(h.target.links)-1]
	link.mu.Lock()
	defer link.mu.Unlock()
	return link.channels[len(link.channels)-1]
}

// ended is the session as the store has it.
func (h *liveHouse) stored(id string) remote.Session {
	h.t.Helper()
	x, err := h.m.ByID(context.Background(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return x
}

// runs the loops of the node until the returned function is called.
func (h *liveHouse) runs() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { h.Run(ctx); close(done) }()
	return func() { cancel(); <-done }
}
