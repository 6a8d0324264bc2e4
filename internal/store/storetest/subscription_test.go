package storetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

func newSubscription(events ...string) webhook.Subscription {
	return webhook.Subscription{Webhook: webhook.Webhook{
		ID: newID(), URL: "https://siem.example.test/in", Method: "put", Headers: map[string][]string{"X-Key": {"open sesame"}}, Events: events, Retries: 3,
		InitialBackoff: 7, BackoffMultiplier: 1.5, Secret: secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Created: start,
	}}
}

func subscribe(t *testing.T, s store.Subscriptions, events ...string) webhook.Subscription {
	t.Helper()
	x, err := s.Insert(t.Context(), newSubscription(events...), 20, happened("subscription.create"))
	must(t, err)
	return x
}

// chain seals n events of an action.
func chain(t *testing.T, a *audit.Service, action string, n int) {
	t.Helper()
	for range n {
		must(t, a.Store.Append(t.Context(), happened(action)))
	}
	seal(t, a)
}

// oneEach makes a delivery of each entry, named after its position.
func oneEach(x webhook.Subscription, entries []audit.Entry) []webhook.Delivery {
	var out []webhook.Delivery
	for _, e := range entries {
		out = append(out, webhook.Delivery{
			ID: newID(), Webhook: x.ID, Entity: webhook.EventEntity, Event: fmt.Sprint(e.Position), Payload: json.RawMessage(`{"type":"x"}`),
			Triggered: start, State: webhook.Pending, Due: start,
		})
	}
	return out
}

// positions are the entries for which deliveries of a subscription were made, in order.
func positions(t *testing.T, db *store.DB, x webhook.Subscription) string {
	t.Helper()
	ds, err := store.Webhooks{DB: db}.Deliveries(t.Context(), webhook.Filter{Webhook: x.ID, Entity: webhook.EventEntity, Limit: 10_000})
	must(t, err)
	var all []string
	for _, d := range slices.Backward(ds) {
		all = append(all, d.Event)
	}
	return strings.Join(all, " ")
}

func count(from, to int) string {
	var all []string
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, " ")
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Subscriptions{DB: db, Sealer: newSealer(t)}
		a := auditor(t, db, newSigner(t, db))
		chain(t, a, "x.y", 3) // and the signing key's own event
		first, second := subscribe(t, s, "a.*", "b.c"), subscribe(t, s, "*")
		if first.Number != 1 || second.Number != 2 || first.Position != 4 {
			t.Errorf("numbers %d and %d, position %d", first.Number, second.Number, first.Position)
		}
		shown := first
		shown.Headers, shown.Secret = nil, secret.String{}
		all, err := s.All(t.Context())
		must(t, err)
		same(t, "the first of all", all[0], shown)
		if len(all) != 2 || !all[0].Secret.Empty() {
			t.Errorf("%+v", all)
		}
		if _, err := s.Insert(t.Context(), newSubscription("*"), 2, happened("subscription.create")); !fault.Is(err, fault.Conflict) {
			t.Errorf("a third of two: %v", err)
		}
		chain(t, a, "x.y", 1)
		must(t, s.Fire(t.Context(), oneEach(first, []audit.Entry{{Position: 9}})[0], happened("subscription.test")))
		must(t, s.Delete(t.Context(), first.ID, happened("subscription.delete")))
		if left := positions(t, db, first); left != "" {
			t.Errorf("what waited is still there: %s", left)
		}
		for what, err := range map[string]error{
			"delete": s.Delete(t.Context(), first.ID, happened("subscription.delete")),
			"fire":   s.Fire(t.Context(), oneEach(first, []audit.Entry{{Position: 9}})[0], happened("subscription.test")),
		} {
			if !errors.Is(err, webhook.ErrNoSubscription) {
				t.Errorf("%s of one that is gone: %v", what, err)
			}
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events WHERE body LIKE '%subscription.%'`); n != 4 {
			t.Errorf("%d events, want 4", n)
		}
	})
}

// What opens the receiver's door lies sealed, and is there for the sender.
func TestSubscriptions_are_sent_like_webhooks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Subscriptions{DB: db, Sealer: newSealer(t)}
		hooks := store.Webhooks(s)
		a := auditor(t, db, newSigner(t, db))
		x := subscribe(t, s, "*")
		chain(t, a, "x.y", 1)
		for {
			n, err := s.Advance(t.Context(), 10, oneEach)
			must(t, err)
			if n == 0 {
				break
			}
		}
		jobs := claim(t, hooks, "one", start, 10)
		if len(jobs) != 3 || !jobs[0].Webhook.Secret.Equal(x.Secret) {
			t.Fatalf("%d jobs", len(jobs))
		}
		same(t, "the webhook", jobs[0].Webhook, x.Webhook)
		for _, secretPart := range []string{"open sesame", "whsec_"} {
			rows := storetest.Count(t, db, `SELECT COUNT(*) FROM subscriptions WHERE CAST(headers AS TEXT) LIKE '%`+secretPart+`%' OR CAST(secret AS TEXT) LIKE '%`+secretPart+`%'`)
			if rows != 0 {
				t.Errorf("%q can be read in the database", secretPart)
			}
		}
		finish(t, hooks, "one", jobs[0].Delivery, time.Time{})
		must(t, hooks.Again(t.Context(), jobs[0].Delivery.ID, start, happened("webhook.resend")))
		must(t, hooks.Release(t.Context(), "one", jobIDs(jobs[1:])))
		must(t, s.Delete(t.Context(), x.ID, happened("subscription.delete")))
		if jobs := claim(t, hooks, "one", start, 10); len(jobs) != 0 {
			t.Errorf("%d jobs of one that is gone", len(jobs))
		}
		d, _, err := hooks.Delivery(t.Context(), jobs[0].Delivery.ID)
		must(t, err)
		if d.State != webhook.Failed || d.Reason != "the webhook was removed" || d.Project != "" || d.Owner != "" {
			t.Errorf("%+v", d)
		}
		if err := hooks.Again(t.Context(), d.ID, start, happened("webhook.resend")); !fault.Is(err, fault.NotFound) {
			t.Errorf("once more: %v", err)
		}
		if n, err := hooks.Purge(t.Context(), start.Add(time.Hour), 10); n != 1 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
	})
}

// Each subscription is told of every entry once, in order, whoever takes part and however they race.
func TestSubscriptions_two_nodes_race(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		sealer := newSealer(t)
		s := store.Subscriptions{DB: one, Sealer: sealer}
		a := auditor(t, one, newSigner(t, one))
		chain(t, a, "x.y", 40)
		early := subscribe(t, s, "*") // begins at 41
		chain(t, a, "x.y", 120)
		late := subscribe(t, s, "*")
		chain(t, a, "x.y", 99)
		var nodes sync.WaitGroup
		for _, db := range []*store.DB{one, two, one, two} {
			nodes.Go(func() {
				for {
					n, err := store.Subscriptions{DB: db, Sealer: sealer}.Advance(t.Context(), 7, oneEach)
					if err != nil {
						t.Error(err)
					}
					if n == 0 || err != nil {
						return
					}
				}
			})
		}
		nodes.Wait()
		head, err := store.Audit{DB: one}.Head(t.Context())
		must(t, err)
		if got := positions(t, one, early); got != count(int(early.Position)+1, int(head)) || early.Position != 41 {
			t.Errorf("the early one, at %d of %d, was told of %s", early.Position, head, got)
		}
		if got := positions(t, one, late); got != count(int(late.Position)+1, int(head)) {
			t.Errorf("the late one, at %d of %d, was told of %s", late.Position, head, got)
		}
		if behind, err := s.Behind(t.Context()); behind != 0 || err != nil {
			t.Errorf("%d behind, %v", behind, err)
		}
	})
}

// A node that dies in the middle of it loses nothing, and nothing was sent for.
func TestSubscriptions_a_node_dies(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Subscriptions{DB: db, Sealer: newSealer(t)}
		a := auditor(t, db, newSigner(t, db))
		x, y := subscribe(t, s, "*"), subscribe(t, s, "*")
		chain(t, a, "x.y", 9)
		ctx, die := context.WithCancel(t.Context())
		_, err := s.Advance(ctx, 100, func(of webhook.Subscription, entries []audit.Entry) []webhook.Delivery {
			if of.ID == y.ID { // deliveries of the first are written
				die()
			}
			return oneEach(of, entries)
		})
		if err == nil {
			t.Fatal("it went on")
		}
		if got := positions(t, db, x) + positions(t, db, y); got != "" {
			t.Errorf("it left %s", got)
		}
		if behind, err := s.Behind(t.Context()); behind != 12 || err != nil {
			t.Errorf("%d behind, %v", behind, err)
		}
		n, err := s.Advance(t.Context(), 100, oneEach)
		must(t, err)
		if n != 12 || positions(t, db, x) != count(1, 12) || positions(t, db, y) != count(1, 12) {
			t.Errorf("%d taken: %s; %s", n, positions(t, db, x), positions(t, db, y))
		}
	})
}

// Removing a subscription and telling it of something take turns: nothing is left for one that is gone.
func TestSubscriptions_removed_while_told(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		sealer := newSealer(t)
		s := store.Subscriptions{DB: one, Sealer: sealer}
		a := auditor(t, one, newSigner(t, one))
		x := subscribe(t, s, "*")
		chain(t, a, "x.y", 50)
		var nodes sync.WaitGroup
		nodes.Go(func() {
			for n := 1; n > 0; {
				var err error
				if n, err = (store.Subscriptions{DB: two, Sealer: sealer}).Advance(t.Context(), 3, oneEach); err != nil {
					t.Error(err)
				}
			}
		})
		nodes.Go(func() {
			if err := s.Delete(t.Context(), x.ID, happened("subscription.delete")); err != nil {
				t.Error(err)
			}
		})
		nodes.Wait()
		if left := positions(t, one, x); left != "" {
			t.Errorf("left are %s", left)
		}
	})
}

// Entries of the chain are found by position, and by whom they concern, by an index.
func TestAudit_follows_the_chain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := store.Audit{DB: db}
		if head, err := s.Head(t.Context()); head != 0 || err != nil {
			t.Errorf("head %d, %v", head, err)
		}
		a := auditor(t, db, newSigner(t, db))
		mine, other := happened("session.start"), happened("session.end")
		mine.Concerns, other.Concerns = "ann", "bob"
		must(t, s.Append(t.Context(), mine, other))
		seal(t, a)
		waiting := happened("session.end")
		waiting.Concerns = "ann"
		must(t, s.Append(t.Context(), waiting))
		head, err := s.Head(t.Context())
		must(t, err)
		entries, err := s.EntriesConcerning(t.Context(), "ann", 0, 10)
		must(t, err)
		if head != 3 || len(entries) != 1 || entries[0].ID != mine.ID || !bytes.Equal(entries[0].Body, mine.Body()) {
			t.Errorf("head %d, entries %+v", head, entries)
		}
		if entries, err = s.EntriesConcerning(t.Context(), "ann", entries[0].Position, 10); len(entries) != 0 || err != nil {
			t.Errorf("behind the last: %+v, %v", entries, err)
		}
		plan := planOf(t, db, `SELECT position FROM audit_events WHERE concerns = $1 AND position > $2 ORDER BY position LIMIT $3`, "ann", 0, 10)
		if !strings.Contains(plan, "audit_events_concerns_position") {
			t.Errorf("plan: %s", plan)
		}
	})
}

// Those who follow the chain hear of each seal, on every node of PostgreSQL.
func TestAudit_a_seal_is_heard(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		a := auditor(t, db, newSigner(t, db))
		heard, ready := make(chan string, 10), make(chan struct{}, 1)
		ctx, stop := context.WithCancel(t.Context())
		var listener sync.WaitGroup
		listener.Go(func() {
			_ = db.Listen(ctx, func(payload string) { heard <- payload }, func() { ready <- struct{}{} }) // it ends with ctx
		})
		defer listener.Wait()
		defer stop()
		<-ready
		chain(t, a, "x.y", 1)
		select {
		case payload := <-heard:
			if payload != "audit" {
				t.Errorf("heard %q", payload)
			}
		case <-time.After(10 * time.Second):
			t.Error("nothing was heard")
		}
	})
}
