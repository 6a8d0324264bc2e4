package recording

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// memory is a Store in memory.
type memory struct {
	mu     sync.Mutex
	known  map[string]*remote.Recording
	pieces map[string][]remote.Piece
	down   error             // what every call reports
	slow   time.Duration     // how long a piece takes
	during map[string]func() // what happens, once, when a method is called
}

func (m *memory) happens(method string) {
	m.mu.Lock()
	what := m.during[method]
	delete(m.during, method)
	m.mu.Unlock()
	if what != nil {
		what()
	}
}

func newMemory() *memory {
	return &memory{known: map[string]*remote.Recording{}, pieces: map[string][]remote.Piece{}}
}

func (m *memory) fails(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *memory) BeginRecording(_ context.Context, session string, started time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[session] != nil {
		return remote.ErrRecorded
	}
	m.known[session] = &remote.Recording{Session: session, Started: started}
	return m.down
}

func (m *memory) AddPiece(_ context.Context, p remote.Piece) error {
	time.Sleep(m.slow) // a slow database, not a guess at one
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, is := range m.pieces[p.Session] {
		if is.Track == p.Track && is.Number == p.Number {
			if is.Digest != p.Digest {
				return fault.New(fault.Conflict, "another one")
			}
			return m.down
		}
	}
	if m.down == nil {
		m.pieces[p.Session] = append(m.pieces[p.Session], p)
	}
	return m.down
}

func (m *memory) Pieces(_ context.Context, session string) ([]remote.Piece, error) {
	m.happens("Pieces")
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.pieces[session])
	slices.SortFunc(all, func(a, b remote.Piece) int { return strings.Compare(a.Name, b.Name) })
	return all, m.down
}

func (m *memory) FinishRecording(_ context.Context, session string, before []byte, ended time.Time, manifest []byte, cut string) error {
	m.happens("FinishRecording")
	defer m.happens("finished")
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.known[session]
	if m.down != nil {
		return m.down
	}
	if !bytes.Equal(r.Manifest, before) {
		return remote.ErrSigned
	}
	r.Ended, r.Manifest, r.Cut, r.Settled = ended, manifest, cut, false
	return nil
}

func (m *memory) SettleRecording(_ context.Context, session string, manifest []byte) error {
	m.happens("SettleRecording")
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.Equal(m.known[session].Manifest, manifest) {
		return remote.ErrSigned
	}
	m.known[session].Settled = m.down == nil
	return m.down
}

func (m *memory) Recording(_ context.Context, ref string) (remote.Recording, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.known[ref]; r != nil {
		return *r, m.down
	}
	return remote.Recording{}, remote.ErrNoRecording
}

// keys is an audit.KeyStore in memory.
type keys struct{ key audit.SigningKey }

func (k *keys) CurrentKey(context.Context) (audit.SigningKey, error) {
	return k.key, fault.New(fault.NotFound, "none")
}
func (k *keys) Keys(context.Context) ([]audit.SigningKey, error) { return nil, nil }
func (k *keys) InsertFirstKey(_ context.Context, key audit.SigningKey, _ audit.Event) (audit.SigningKey, error) {
	return key, nil
}

func newSigner(t testing.TB) audit.Signer {
	t.Helper()
	master, err := secret.CreateMasterKeyFile(filepath.Join(t.TempDir(), "master.key"))
	must(t, err)
	wrapped, err := secret.NewKeyset(master)
	must(t, err)
	sealer, err := secret.OpenKeyset(master, wrapped)
	must(t, err)
	signer, err := audit.OpenSigner(t.Context(), &keys{}, sealer, time.Now())
	must(t, err)
	return signer
}

// house is an archive on directories of a test.
type house struct {
	*Archive
	dir   string // of the bucket
	store *memory
	mu    sync.Mutex
	said  []string // to OnError
}

func (h *house) errors() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.said)
}

func newHouse(t testing.TB, change ...func(*Archive)) *house {
	t.Helper()
	h := &house{dir: filepath.Join(t.TempDir(), "recordings"), store: newMemory()}
	h.Archive = &Archive{
		Spool: filepath.Join(t.TempDir(), "spool"), Store: h.store, Now: time.Now,
		Settings: Settings{SegmentBytes: 1 << 20, SegmentTime: time.Minute, Sync: 10 * time.Millisecond, Patience: 5 * time.Second},
		OnError: func(doing string, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.said = append(h.said, fmt.Sprintf("%s: %v", doing, err))
		},
		Signer: newSigner(t),
	}
	for _, c := range change {
		c(h.Archive)
	}
	must(t, h.Open(t.Context(), "", h.dir))
	t.Cleanup(func() { _ = h.Archive.Close() })
	return h
}

// after is another process on the same directories and the same database.
func (h *house) after(t testing.TB, spool string) *house {
	t.Helper()
	next := newHouse(t, func(a *Archive) { a.Store, a.Spool, a.Signer = h.store, spool, h.Signer })
	next.dir, next.store, next.Bucket, next.local = h.dir, h.store, h.Bucket, h.local
	return next
}

// uploads brings what is pending to the bucket, without the loops.
func (h *house) uploads(t testing.TB) {
	t.Helper()
	for r := h.queue.take(); r != nil; r = h.queue.take() {
		r.serve(t.Context())
	}
}

// run starts the loops of the archive for as long as the test.
func (h *house) run(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

var sessions int

var sessionsMu sync.Mutex

func newSession() remote.Session {
	sessionsMu.Lock()
	defer sessionsMu.Unlock()
	sessions++
	return remote.Session{
		ID: fmt.Sprintf("01930000-0000-7000-8000-%012x", sessions), Number: int64(sessions), Code: strings.Repeat("c", 40),
		User: access.Principal{Kind: access.User, ID: "u1", Name: "maria"}, Username: "root", Host: "db.test", IP: netip.MustParseAddr("192.0.2.7"), Target: "d1", Protocol: "ssh",
	}
}

func terminalTrack(name string) remote.Track {
	return remote.Track{Name: name, Kind: "terminal", Terminal: remote.Terminal{PTY: true, Term: "xterm-256color", Size: remote.Size{Cols: 100, Rows: 30}}}
}

func begin(t testing.TB, h *house, s remote.Session) (remote.Recorder, remote.Tracker) {
	t.Helper()
	r, err := h.Begin(t.Context(), s)
	must(t, err)
	tr, err := r.Track(terminalTrack("terminal"))
	must(t, err)
	return r, tr
}

// verify checks a recording with the installation's key and the database.
func (h *house) verify(t testing.TB, s remote.Session) Report {
	t.Helper()
	pieces, err := h.store.Pieces(t.Context(), s.ID)
	must(t, err)
	report, err := Verify(t.Context(), h.Bucket, s.ID+"/", Verification{Keys: []ed25519.PublicKey{h.Signer.Public()}, Pieces: pieces})
	must(t, err)
	return report
}

func (h *house) whole(t testing.TB, s remote.Session) Report {
	t.Helper()
	report := h.verify(t, s)
	if len(report.Problems) > 0 || report.Trust != Signed {
		t.Fatalf("not whole: %+v", report)
	}
	return report
}

// output reads back what a track printed.
func (h *house) output(t testing.TB, s remote.Session, track string) string {
	t.Helper()
	var all strings.Builder
	pieces, err := h.store.Pieces(t.Context(), s.ID)
	must(t, err)
	for _, p := range pieces {
		if p.Track != track {
			continue
		}
		body, err := os.ReadFile(filepath.Join(h.dir, s.ID, p.Name))
		must(t, err)
		must(t, scanLines(strings.NewReader(string(body)), func(l line) error {
			c, err := parseCast(l.text)
			if c.event != nil && c.event.code == 'o' {
				all.WriteString(c.event.data)
			}
			return err
		}))
	}
	return all.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}
