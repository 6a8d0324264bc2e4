package storetest_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func newSealer(t testing.TB) *secret.Sealer {
	t.Helper()
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := secret.OpenKeyset(master, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

func happened(action string) audit.Event { return audit.NewEvent(time.Now(), action, audit.Done) }

// auditor is an audit service over a store, with its own signer.
func auditor(t *testing.T, db *store.DB, signer audit.Signer) *audit.Service {
	t.Helper()
	return &audit.Service{
		Store: store.Audit{DB: db}, Signer: signer, Now: time.Now, SealEvery: time.Millisecond, SealBatch: 70, Folder: audit.NewFolder(time.Minute),
	}
}

func newSigner(t *testing.T, db *store.DB) audit.Signer {
	t.Helper()
	signer, err := audit.OpenSigner(t.Context(), store.Audit{DB: db}, newSealer(t), time.Now())
	must(t, err)
	return signer
}

func verify(t *testing.T, db *store.DB, signer audit.Signer, head *audit.Head) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), store.Audit{DB: db}, audit.Verification{Keys: []ed25519.PublicKey{signer.Public()}, Head: head})
	must(t, err)
	return r
}

// seal seals what waits, once.
func seal(t *testing.T, s *audit.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Run(ctx) // a service that is stopped seals what is left
}

func TestAudit_appends_all_events_or_none(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Audit{DB: db}
		first := happened("a.b")
		must(t, s.Append(t.Context(), first))
		if err := s.Append(t.Context(), happened("a.c"), first); !store.Violates(err, "audit_events_waiting_key") {
			t.Errorf("an event appended twice gives %v", err)
		}
		n, err := s.Waiting(t.Context())
		must(t, err)
		if n != 1 {
			t.Errorf("%d events wait, want 1", n)
		}
	})
}

func TestAudit_one_chain_from_many_writers_and_sealers(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		signer := newSigner(t, one)
		ctx, stop := context.WithCancel(t.Context())
		var sealers, writers sync.WaitGroup
		for _, db := range []*store.DB{one, two} {
			service := auditor(t, db, signer)
			service.OnSeal = func(_ int, _ time.Duration, err error) {
				if err != nil && ctx.Err() == nil { // to be stopped is no failure
					t.Error(err)
				}
			}
			sealers.Go(func() { service.Run(ctx) })
			for range 2 {
				writers.Go(func() {
					for n := range 50 {
						if err := service.Record(ctx, happened("thing.change").With("n", fmt.Sprint(n))); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		writers.Wait()
		stop()
		sealers.Wait()
		r := verify(t, two, signer, nil)
		// 200 and the making of the key.
		if len(r.Problems) > 0 || r.Events != 201 || r.Waiting != 0 || r.Head == nil || r.Head.Position != 201 {
			t.Errorf("report %+v", r)
		}
	})
}

func TestAudit_seals_a_batch_in_order_and_calls_nobody_for_none(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Audit{DB: db}
		var events []audit.Event
		for range 120 { // one statement links fifty: this takes both ways
			events = append(events, happened("a.b"))
		}
		must(t, s.Append(t.Context(), events...))
		calls := 0
		sealing := func(previous audit.Seal, waiting []audit.Hash) (audit.Seal, []audit.Hash) {
			calls++
			return audit.Seal{Number: previous.Number + 1, First: previous.Last + 1, Last: previous.Last + int64(len(waiting)), At: time.Now(), Signature: []byte{1}}, waiting
		}
		for _, want := range []int{107, 13, 0} {
			n, err := s.SealNext(t.Context(), 107, sealing)
			must(t, err)
			if n != want {
				t.Errorf("sealed %d, want %d", n, want)
			}
		}
		if calls != 2 {
			t.Errorf("seal was called %d times, want 2", calls)
		}
		entries, err := s.Entries(t.Context(), 0, 1000)
		must(t, err)
		for i, e := range entries {
			if e.Position != int64(i)+1 || e.ID != events[i].ID || string(e.Body) != string(events[i].Body()) || e.Link != e.Digest || e.Digest != audit.DigestOf(e.Body) {
				t.Fatalf("entry %d is %+v", i, e)
			}
		}
		if rest, err := s.Entries(t.Context(), 118, 1); err != nil || len(rest) != 1 || rest[0].Position != 119 {
			t.Errorf("entries above 118: %v, %v", rest, err)
		}
		if len(entries) != 120 {
			t.Errorf("%d entries, want 120", len(entries))
		}
	})
}

func TestAudit_finds_what_was_tampered_with(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, statement, finds string }{
		{"a body", `UPDATE audit_events SET body = '{}' WHERE position = 3`, "event 3 was changed"},
		{"a body with its digest", `UPDATE audit_events SET digest = 'zz' WHERE position = 3`, "event 3 was changed"},
		{"a link", `UPDATE audit_events SET link = '' WHERE position = 3`, "event 3 does not follow"},
		{"a removed event", `DELETE FROM audit_events WHERE position = 3`, "events 3 to 3 are missing"},
		{"a seal", `UPDATE audit_seals SET at = at + 1 WHERE number = 1`, "seal 1 is not signed"},
		{"a removed seal", `DELETE FROM audit_seals WHERE number = 1`, "seals 1 to 1 are missing"},
		{"all seals", `DELETE FROM audit_seals`, "have no seal"},
		{"a cut tail", `DELETE FROM audit_seals WHERE number = 2; DELETE FROM audit_events WHERE position > 6`, "the tail was cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				signer := newSigner(t, db)
				service := auditor(t, db, signer)
				for range 2 {
					for range 5 {
						must(t, service.Record(t.Context(), happened("a.b")))
					}
					seal(t, service)
				}
				whole := verify(t, db, signer, nil)
				if len(whole.Problems) > 0 {
					t.Fatalf("untouched: %+v", whole)
				}
				storetest.Write(t, db, strings.Split(c.statement, "; ")...)
				r := verify(t, db, signer, whole.Head)
				for _, p := range r.Problems {
					if strings.Contains(p.What, c.finds) {
						return
					}
				}
				t.Errorf("found %+v, want %q", r.Problems, c.finds)
			})
		})
	}
}

func TestSigningKey_is_one_for_nodes_that_start_together(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		if _, err := (store.Audit{DB: one}).CurrentKey(t.Context()); !fault.Is(err, fault.NotFound) {
			t.Errorf("no key gives %v", err)
		}
		sealer := newSealer(t)
		ids := make([]string, 6)
		var all sync.WaitGroup
		for n := range ids {
			db := []*store.DB{one, two}[n%2]
			all.Go(func() {
				signer, err := audit.OpenSigner(t.Context(), store.Audit{DB: db}, sealer, time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				ids[n] = signer.KeyID()
			})
		}
		all.Wait()
		keys, err := store.Audit{DB: two}.Keys(t.Context())
		must(t, err)
		if len(keys) != 1 {
			t.Fatalf("%d keys, want 1", len(keys))
		}
		for _, id := range ids {
			if id != keys[0].ID {
				t.Errorf("a node has key %s, the database %s", id, keys[0].ID)
			}
		}
		if n := storetest.Count(t, one, `SELECT COUNT(*) FROM audit_events`); n != 1 {
			t.Errorf("%d events record the one key", n)
		}
	})
}
