package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// What the benchmarks write straight into the database follows the schema: the product reads it.
func TestFill(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := emptyStore(t)
	key, err := sshkey.Parse(publicKey())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := keyproof.Session{
		ID: newID(), Project: projectID, Kind: keyproof.Verify, Identifier: keyproof.NewIdentifier(), Status: keyproof.Pending,
		Options: keyproof.Options{MaxAttempts: 1}, Created: now, Updated: now, Keys: []keyproof.Key{{ID: newID(), Public: key}},
	}
	w := webhook.Webhook{ID: newID(), Owner: s.ID, Project: projectID, URL: "http://127.0.0.1:1/hook", Method: "post", InitialBackoff: 1, BackoffMultiplier: 1, Created: now}
	proofs := store.Keyproofs{DB: db}
	if err := proofs.Insert(ctx, s, []webhook.Webhook{w}, eventOf(s, "test", eventActor)); err != nil {
		t.Fatal(err)
	}
	const n = 1000
	if err := fillSessions(db, "BENCH", s.ID, n); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[keyproof.Status]int64{"": n + 1, keyproof.Pending: n/10 + 1, keyproof.Verified: 6 * n / 10, keyproof.Failed: 2 * n / 10} {
		f := keyproof.Filter{Project: projectID, Kind: keyproof.Verify, Window: page.Window{Limit: 100}, Now: now}
		if status != "" {
			f.Statuses = []keyproof.Status{status}
		}
		p, err := proofs.List(ctx, f)
		if err != nil || p.Total != want || len(p.Items) != 100 && status != keyproof.Pending {
			t.Errorf("status %q: %d items of %d, want %d, %v", status, len(p.Items), p.Total, want, err)
		}
	}
	if err := fillDeliveries(db, []session{{ID: s.ID}}, payload, n); err != nil {
		t.Fatal(err)
	}
	if due, _, err := (store.Webhooks{DB: db}).Backlog(ctx, time.Now()); err != nil || due != n {
		t.Errorf("%d deliveries are due, want %d, %v", due, n, err)
	}
}

// The silent engine drops audit events and nothing else.
func TestSilent(t *testing.T) {
	t.Parallel()
	db := emptyStore(t)
	for want, engine := range []store.Engine{silent{db.Engine}, db.Engine} {
		if err := writeOne(t.Context(), store.Keyproofs{DB: &store.DB{Engine: engine}}, true); err != nil {
			t.Fatal(err)
		}
		waiting, err := store.Audit{DB: db}.Waiting(t.Context())
		if err != nil || waiting != int64(2*want) {
			t.Errorf("%d audit events, want %d, %v", waiting, 2*want, err)
		}
	}
}

func emptyStore(t *testing.T) *store.DB {
	t.Helper()
	engine, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "gatehouse.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	if err := engine.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := addProject(context.Background(), engine); err != nil {
		t.Fatal(err)
	}
	return &store.DB{Engine: engine}
}

// Copied people sign in with the password of the one they are copies of, and belong to the same account.
func TestFillUsers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := emptyStore(t)
	now := time.Now()
	model := identity.User{ID: newID(), Account: identity.DefaultAccount, Name: "model", Email: "model@bench.test", PasswordHash: "a hash", Created: now, Updated: now}
	users, accounts := store.Users{DB: db}, store.Accounts{DB: db}
	if err := users.Insert(ctx, model, audit.NewEvent(now, "test", audit.Done)); err != nil {
		t.Fatal(err)
	}
	all, err := fillUsers(db, model.ID, 300)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		u, err := users.ByEmail(ctx, identity.DefaultAccount, p.email)
		if err != nil || u.ID != p.id || u.PasswordHash != model.PasswordHash {
			t.Fatalf("%+v, %v; want %+v", u, err, p)
		}
		if _, err := accounts.Member(ctx, identity.DefaultAccount, p.id); err != nil {
			t.Fatalf("%+v is no member: %v", p, err)
		}
	}
}

// Copied keys are found as those that the product took, and open the door as their owner.
func TestFillKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := emptyStore(t)
	now := time.Now()
	owner := identity.User{ID: newID(), Account: identity.DefaultAccount, Name: "model", Email: "model@bench.test", PasswordHash: "a hash", Created: now, Updated: now}
	if err := (store.Users{DB: db}).Insert(ctx, owner, audit.NewEvent(now, "test", audit.Done)); err != nil {
		t.Fatal(err)
	}
	key, err := sshkey.Parse(publicKey())
	if err != nil {
		t.Fatal(err)
	}
	model := sshkey.Registered{ID: newID(), Key: key, Role: sshkey.UserKey, User: owner.ID, Label: "bench", State: sshkey.Active, Created: now}
	keys := store.SSHKeys{DB: db}
	if _, err := keys.Insert(ctx, model, audit.NewEvent(now, "test", audit.Done)); err != nil {
		t.Fatal(err)
	}
	const n = keyProvers + 100
	if err := fillKeys(db, model.ID, []person{{id: owner.ID}}, n); err != nil {
		t.Fatal(err)
	}
	service := &sshkey.Service{Store: keys, Now: time.Now}
	for _, i := range []int{0, keyProvers - 1, keyProvers, n - 1, n} {
		key, err := keyOf(i)
		if err != nil {
			t.Fatal(err)
		}
		found, err := service.Find(ctx, key)
		if on := i < n; on && (err != nil || found.User != owner.ID) || !on && !errors.Is(err, sshkey.ErrUnknown) {
			t.Errorf("key %d: %+v, %v", i, found, err)
		}
	}
}
