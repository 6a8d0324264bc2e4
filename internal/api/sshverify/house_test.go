package sshverify_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/api/sshverify"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// house is the dialect behind the front door, on real services and a SQLite file of its own. Its clock
// stands still unless the test turns it.
type house struct {
	http.Handler
	dialect *sshverify.Dialect
	webhook *webhook.Service
	mux     *api.Mux
	log     *logBuffer
	clock   *clock

	shop, other           project.Project
	key, otherKey, oldKey string // API keys; oldKey has expired
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{log: &logBuffer{}, clock: &clock{now: time.Date(2026, 11, 22, 8, 59, 58, 0, time.UTC)}}
	h.build(openStore(t), newSealer(t))
	mux, err := api.Mount(h.dialect.Owner())
	must(t, err)
	h.mux = mux
	h.Handler = &api.Door{Handler: mux, Log: slog.New(slog.NewTextHandler(h.log, nil)), Now: h.clock.Now}
	h.furnish(t)
	return h
}

func openStore(t *testing.T) *store.DB {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	engine, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(t.TempDir(), "gatehouse.db")})
	must(t, err)
	t.Cleanup(func() { must(t, engine.Close()) })
	must(t, engine.Migrate(ctx))
	return &store.DB{Engine: engine}
}

func newSealer(t *testing.T) *secret.Sealer {
	t.Helper()
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	must(t, err)
	sealer, err := secret.OpenKeyset(master, wrapped)
	must(t, err)
	return sealer
}

// build makes the services as the program does.
func (h *house) build(db *store.DB, sealer *secret.Sealer) {
	now, hooks := h.clock.Now, store.Webhooks{DB: db, Sealer: sealer}
	rights := &access.Service{Store: store.Bindings{DB: db}, Now: now, NewID: newID}
	projects := &project.Service{Store: store.Projects{DB: db}, Access: rights, Now: now, NewID: newID}
	tokens := &token.Service{Store: store.Tokens{DB: db}, Access: rights, Now: now, NewID: newID, UsedEvery: time.Minute}
	h.webhook = &webhook.Service{Store: hooks, Access: rights, Now: now, NewID: newID, Allowed: netip.Addr.IsGlobalUnicast, MaxPer: 10}
	h.webhook.Start()
	h.dialect = &sshverify.Dialect{
		Login: &login.Service{
			Tokens: tokens, Now: now,
			Failures: &guard.Failures{Store: store.Guards{DB: db}, Now: now, Threshold: 20, Window: time.Minute},
			Audit:    &audit.Service{Store: store.Audit{DB: db}, Now: now, Folder: audit.NewFolder(time.Minute)},
		},
		Budget: &guard.Budget{Store: store.Guards{DB: db}, Now: now}, Projects: projects, Tokens: tokens,
		Sessions: &keyproof.Service{
			Store: store.Keyproofs{DB: db, Webhooks: hooks}, Access: rights, Projects: projects, Webhooks: h.webhook, Now: now, NewID: newID,
			MaxKeys: 32, MaxHooks: 10, CommitWait: 10 * time.Second,
		},
		RatePerHour: 500, BodyWait: 10 * time.Second, Now: now,
	}
}

// furnish makes two projects, with a key each and one that has expired. It is nine o'clock then.
func (h *house) furnish(t *testing.T) {
	t.Helper()
	ctx, by := t.Context(), h.owner()
	var err error
	h.shop, err = h.dialect.Projects.Create(ctx, by, project.New{Key: "SHOP", Name: "Example Shop"})
	must(t, err)
	h.other, err = h.dialect.Projects.Create(ctx, by, project.New{Key: "OTHER", Name: "Another one"})
	must(t, err)
	h.key = h.issue(t, h.shop.ID, time.Time{})
	h.otherKey = h.issue(t, h.other.ID, time.Time{})
	h.oldKey = h.issue(t, h.shop.ID, h.clock.Now().Add(time.Second))
	h.clock.pass(2 * time.Second)
}

func (h *house) owner() access.Caller { return access.LocalCaller("root", h.clock.Now()) }

func (h *house) issue(t *testing.T, projectID string, expires time.Time) string {
	t.Helper()
	plain, _, err := h.dialect.Tokens.IssueAPIKey(t.Context(), h.owner(), projectID, "ci", expires)
	must(t, err)
	return plain.Reveal()
}

func (h *house) set(t *testing.T, s project.Settings) {
	t.Helper()
	_, err := h.dialect.Projects.Update(t.Context(), h.owner(), h.shop.ID, project.Change{Settings: &s})
	must(t, err)
}

// newest is the session of the shop that was made last.
func (h *house) newest(t *testing.T, kind keyproof.Kind) keyproof.Session {
	t.Helper()
	p, err := h.dialect.Sessions.List(t.Context(), h.owner(), h.shop.ID, kind, keyproof.Query{Window: page.Of(0, 1)})
	must(t, err)
	if len(p.Items) == 0 {
		t.Fatalf("there is no %s session", kind)
	}
	return p.Items[0]
}

// connect is an SSH connection to the newest session of a kind that offers keys, signs with those that
// are wanted, and ends.
func (h *house) connect(t *testing.T, kind keyproof.Kind, keys ...ssh.PublicKey) {
	t.Helper()
	peer := keyproof.Peer{Caller: access.NobodyAt(netip.MustParseAddr("198.51.100.7"), "ssh", h.clock.Now()), ClientVersion: "SSH-2.0-OpenSSH_9.6"}
	a, err := h.dialect.Sessions.Begin(t.Context(), h.newest(t, kind).Identifier, peer)
	must(t, err)
	defer a.End()
	a.Connected(t.Context())
	for _, public := range keys {
		offered, err := sshkey.Offered(public)
		must(t, err)
		if a.Wants(offered) {
			proven, err := sshkey.Proven(public, public.Type())
			must(t, err)
			a.Prove(proven)
		}
	}
	_, err = a.Commit(t.Context(), keyproof.Finished)
	must(t, err)
}

// testKey is one of two keys whose public halves stand in testdata.
func testKey(t *testing.T, name string) ssh.PublicKey {
	t.Helper()
	public, err := ssh.NewPublicKey(testPrivateKey(name).Public())
	must(t, err)
	return public
}

func testPrivateKey(name string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(name, ed25519.SeedSize)[:ed25519.SeedSize]))
}

// call sends one request with the shop's key.
func (h *house) call(method, target, body string) *httptest.ResponseRecorder {
	return h.callWith(method, target, body, http.Header{"X-Api-Key": {h.key}})
}

func (h *house) callWith(method, target, body string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header = header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// made sends a request that must answer 201 and returns the id of what it made.
func (h *house) made(t *testing.T, target, body string) string {
	t.Helper()
	w := h.call("POST", target, body)
	var answer struct{ ID string }
	if w.Code != http.StatusCreated || json.Unmarshal(w.Body.Bytes(), &answer) != nil {
		t.Fatalf("POST %s: %d %s", target, w.Code, w.Body)
	}
	return answer.ID
}

// clock stands still until somebody turns it.
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

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var _ io.Writer = (*logBuffer)(nil)

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
