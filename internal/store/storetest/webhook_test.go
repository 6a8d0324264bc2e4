package storetest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

// hooked is a session with n webhooks.
func hooked(t *testing.T, s store.Keyproofs, n int) (keyproof.Session, []webhook.Webhook) {
	t.Helper()
	session := newSession(t)
	var hooks []webhook.Webhook
	for range n {
		hooks = append(hooks, newHook(session.ID))
	}
	return insertSession(t, s, session, hooks...), hooks
}

// fire adds n deliveries for a webhook, in the order of their ids.
func fire(t *testing.T, s store.Keyproofs, w webhook.Webhook, n int) []webhook.Delivery {
	t.Helper()
	var ds []webhook.Delivery
	for range n {
		ds = append(ds, newDelivery(w))
	}
	must(t, s.Connect(t.Context(), keyproof.Connection{ID: newID(), Session: w.Owner, Created: start}, ds))
	return ds
}

func claim(t *testing.T, s webhook.Store, holder string, now time.Time, limit int) []webhook.Job {
	t.Helper()
	jobs, err := s.Claim(t.Context(), holder, now, time.Minute, limit)
	must(t, err)
	return jobs
}

func jobIDs(jobs []webhook.Job) []string {
	ids := make([]string, len(jobs))
	for i, j := range jobs {
		ids[i] = j.Delivery.ID
	}
	return ids
}

func deliveryIDs(ds []webhook.Delivery) []string {
	ids := make([]string, len(ds))
	for i, d := range ds {
		ids[i] = d.ID
	}
	return ids
}

// ended is how an attempt at d came out: delivered, or to be tried again at due.
func ended(d webhook.Delivery, due time.Time) (webhook.Delivery, webhook.Attempt) {
	a := webhook.Attempt{Delivery: d.ID, Number: d.Attempts + 1, Started: start, Took: 5 * time.Millisecond, Status: 200, Answer: []byte("ok")}
	d.Attempts, d.Status = a.Number, a.Status
	if due.IsZero() {
		d.State, d.Ended = webhook.Delivered, start.Add(time.Second)
		return d, a
	}
	d.Due, d.Reason, a.Reason = due, "refused", "refused"
	return d, a
}

func finish(t *testing.T, s webhook.Store, holder string, d webhook.Delivery, due time.Time) {
	t.Helper()
	d, a := ended(d, due)
	must(t, s.Finish(t.Context(), holder, d, a))
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		all := proofs(t, db)
		s := all.Webhooks
		session, hooks := hooked(t, all, 1)
		added := newHook(session.ID)
		must(t, s.Insert(t.Context(), added, happened("webhook.add")))
		is, err := s.Change(t.Context(), session.ID, added.ID, func(w webhook.Webhook) (webhook.Webhook, error) {
			w.ID, w.Owner, w.URL, w.Headers, w.Secret, w.BackoffMultiplier = "x", "x", "https://other.test/", nil, secret.String{}, 2.5
			return w, nil
		}, happened("webhook.change"))
		must(t, err)
		want := added
		want.URL, want.Headers, want.Secret, want.BackoffMultiplier = "https://other.test/", nil, secret.String{}, 2.5
		same(t, "changed webhook", is, want)
		got, err := s.ByID(t.Context(), session.ID, added.ID)
		must(t, err)
		same(t, "webhook", got, want)
		if !got.Secret.Empty() {
			t.Error("the secret is still there")
		}
		listed, err := s.OfOwner(t.Context(), session.ID, 1, 5)
		must(t, err)
		same(t, "webhooks from the second on", listed, []webhook.Webhook{want})
		must(t, s.Delete(t.Context(), session.ID, hooks[0].ID, happened("webhook.delete")))
		state, err := all.ByIdentifier(t.Context(), session.Identifier)
		must(t, err)
		same(t, "what is left", state.Webhooks, []webhook.Webhook{want})
		if n, err := s.Count(t.Context(), session.ID); n != 1 || err != nil {
			t.Errorf("count %d, %v", n, err)
		}
		for name, err := range map[string]error{
			"insert without owner": s.Insert(t.Context(), newHook("nobody"), happened("x.y")),
			"delete twice":         s.Delete(t.Context(), session.ID, hooks[0].ID, happened("x.y")),
			"another owner's":      second(s.ByID(t.Context(), "nobody", added.ID)),
			"change of none":       second(s.Change(t.Context(), session.ID, "nothing", nil, happened("x.y"))),
			"delivery":             thirdOf(s.Delivery(t.Context(), "nothing")),
			"again":                s.Again(t.Context(), "nothing", start, happened("x.y")),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s gives %v", name, err)
			}
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) * 10 + (SELECT hooks FROM proof_sessions) FROM audit_events`); n != 41 {
			t.Errorf("events and counted hooks are %d, want 4 and 1", n)
		}
	})
}

func thirdOf[A, B any](_ A, _ B, err error) error { return err }

func TestWebhooks_seal_what_opens_the_receivers_door(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		all := proofs(t, db)
		session, hooks := hooked(t, all, 2)
		raw := func() (row string) {
			must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
				var headers, signing []byte
				err := tx.QueryRowContext(ctx, `SELECT headers, secret FROM webhooks WHERE id = $1`, hooks[0].ID).Scan(&headers, &signing)
				row = string(headers) + string(signing)
				return err
			}))
			return row
		}()
		for _, plain := range []string{"open sesame", "X-Key", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
			if strings.Contains(raw, plain) || strings.Contains(raw, hex.EncodeToString([]byte(plain))) {
				t.Errorf("the row shows %q", plain)
			}
		}
		// Moved to another row, or to the other column, a sealed value does not open.
		storetest.Write(t, db, `UPDATE webhooks SET secret = (SELECT secret FROM webhooks WHERE id = '`+hooks[0].ID+`') WHERE id = '`+hooks[1].ID+`'`,
			`UPDATE webhooks SET secret = headers WHERE id = '`+hooks[0].ID+`'`)
		for _, w := range hooks {
			if _, err := all.Webhooks.ByID(t.Context(), session.ID, w.ID); err == nil {
				t.Error("a moved secret opened")
			}
		}
	})
}

func TestClaim_goes_round_a_webhook_that_cannot_be_read(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		all := proofs(t, db)
		_, hooks := hooked(t, all, 2)
		spoiled, good := fire(t, all, hooks[0], 1), fire(t, all, hooks[1], 1)
		storetest.Write(t, db, `UPDATE webhooks SET secret = headers WHERE id = '`+hooks[0].ID+`'`)
		if got := jobIDs(claim(t, all.Webhooks, "a", start, 10)); !slices.Equal(got, deliveryIDs(good)) {
			t.Errorf("claimed %v, want %v", got, deliveryIDs(good))
		}
		d, _, err := all.Webhooks.Delivery(t.Context(), spoiled[0].ID)
		must(t, err)
		if d.State != webhook.Failed || d.Reason == "" {
			t.Errorf("the other is %+v", d)
		}
	})
}

func TestClaim_order_and_exclusion(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		all := proofs(t, one)
		a, b := all.Webhooks, on(all, two).Webhooks
		_, hooks := hooked(t, all, 2)
		first, other := fire(t, all, hooks[0], 3), fire(t, all, hooks[1], 1)
		if jobs := claim(t, a, "a", start.Add(-time.Second), 10); len(jobs) != 0 {
			t.Errorf("claimed before it is due: %v", jobIDs(jobs))
		}
		mine := claim(t, a, "a", start, 1)
		if got := jobIDs(mine); !slices.Equal(got, deliveryIDs(first[:1])) {
			t.Fatalf("claimed %v first, want %v", got, first[0].ID)
		}
		same(t, "webhook of the job", mine[0].Webhook, hooks[0])
		same(t, "delivery of the job", mine[0].Delivery, first[0])
		// The other events of that webhook wait for the first.
		if got := jobIDs(claim(t, b, "b", start, 10)); !slices.Equal(got, deliveryIDs(other)) {
			t.Errorf("the other node claimed %v, want %v", got, deliveryIDs(other))
		}
		// It failed: it may be overtaken, and comes again when it is due.
		finish(t, a, "a", mine[0].Delivery, start.Add(10*time.Second))
		rest := claim(t, b, "b", start.Add(time.Second), 10)
		if got := jobIDs(rest); !slices.Equal(got, deliveryIDs(first[1:])) {
			t.Errorf("claimed %v, want %v", got, deliveryIDs(first[1:]))
		}
		again := claim(t, b, "b", start.Add(10*time.Second), 10)
		if got := jobIDs(again); !slices.Equal(got, deliveryIDs(first[:1])) || again[0].Delivery.Attempts != 1 {
			t.Errorf("retried %v, want %v at attempt 2", got, first[0].ID)
		}
		must(t, b.Release(t.Context(), "b", jobIDs(rest)))
		if got := jobIDs(claim(t, a, "a", start.Add(11*time.Second), 10)); !slices.Equal(got, deliveryIDs(first[1:])) {
			t.Errorf("after the release claimed %v, want %v", got, deliveryIDs(first[1:]))
		}
	})
}

func TestClaim_again_when_the_lease_has_ended(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		all := proofs(t, one)
		a, b := all.Webhooks, on(all, two).Webhooks
		_, hooks := hooked(t, all, 1)
		ds := fire(t, all, hooks[0], 2)
		lost := claim(t, a, "a", start, 10)
		if jobs := claim(t, b, "b", start.Add(time.Minute-time.Microsecond), 10); len(jobs) != 0 {
			t.Errorf("claimed while leased: %v", jobIDs(jobs))
		}
		taken := claim(t, b, "b", start.Add(time.Minute), 10)
		if got := jobIDs(taken); !slices.Equal(got, deliveryIDs(ds)) || taken[0].Delivery.Attempts != 0 {
			t.Fatalf("claimed %v, want both at attempt 1", got)
		}
		d, attempt := ended(lost[0].Delivery, time.Time{})
		if err := a.Finish(t.Context(), "a", d, attempt); !fault.Is(err, fault.Conflict) {
			t.Errorf("who lost the lease finishes with %v", err)
		}
		must(t, a.Release(t.Context(), "a", jobIDs(lost))) // not a's any more: nothing is given back
		finish(t, b, "b", taken[0].Delivery, time.Time{})
		if err := b.Finish(t.Context(), "b", d, attempt); !fault.Is(err, fault.Conflict) {
			t.Errorf("finishing twice gives %v", err)
		}
		if jobs := claim(t, a, "a", start.Add(61*time.Second), 10); len(jobs) != 0 {
			t.Errorf("claimed what is leased or done: %v", jobIDs(jobs))
		}
		_, attempts, err := a.Delivery(t.Context(), d.ID)
		must(t, err)
		if len(attempts) != 1 || attempts[0].Number != 1 || attempts[0].Took != 5*time.Millisecond || string(attempts[0].Answer) != "ok" {
			t.Errorf("attempts %+v", attempts)
		}
	})
}

// TestClaim_many_claimers_send_each_once_and_in_order has four claimers on two handles, and receivers
// that look at what arrives.
func TestClaim_many_claimers_send_each_once_and_in_order(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		all := proofs(t, one)
		const webhooks, events = 5, 12
		_, hooks := hooked(t, all, webhooks)
		for _, w := range hooks {
			fire(t, all, w, events)
		}
		var mu sync.Mutex
		arrived := map[string][]string{} // by webhook
		busy := map[string]bool{}
		var sent atomic.Int64
		var claimers sync.WaitGroup
		for n := range 4 {
			s, holder := on(all, []*store.DB{one, two}[n%2]).Webhooks, fmt.Sprint("node ", n)
			claimers.Go(func() {
				for sent.Load() < webhooks*events {
					jobs, err := s.Claim(t.Context(), holder, start, time.Hour, 3)
					if err != nil {
						t.Error(err)
						return
					}
					for _, j := range jobs {
						mu.Lock()
						if busy[j.Delivery.ID] {
							t.Errorf("%s is sent by two", j.Delivery.ID)
						}
						busy[j.Delivery.ID] = true
						arrived[j.Webhook.ID] = append(arrived[j.Webhook.ID], j.Delivery.ID)
						mu.Unlock()
						d, a := ended(j.Delivery, time.Time{})
						if err := s.Finish(t.Context(), holder, d, a); err != nil {
							t.Error(err)
							return
						}
						sent.Add(1)
					}
				}
			})
		}
		claimers.Wait()
		for id, got := range arrived {
			if len(got) != events || !slices.IsSorted(got) {
				t.Errorf("webhook %s received %v", id, got)
			}
		}
		if len(arrived) != webhooks {
			t.Errorf("%d webhooks received something", len(arrived))
		}
	})
}

func TestDeliveries_by_filter_again_backlog_and_purge(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		all := proofs(t, db)
		s := all.Webhooks
		session, hooks := hooked(t, all, 2)
		ds := append(fire(t, all, hooks[0], 2), fire(t, all, hooks[1], 1)...)
		if n, since, err := s.Backlog(t.Context(), start.Add(-time.Second)); n != 0 || !since.IsZero() || err != nil {
			t.Errorf("backlog before the time %d, %v, %v", n, since, err)
		}
		jobs := claim(t, s, "a", start, 10)
		failed, attempt := ended(jobs[0].Delivery, start)
		failed.State, failed.Ended = webhook.Failed, start.Add(time.Second)
		attempt.Answer = bytes.Repeat([]byte("x"), 5000)
		must(t, s.Finish(t.Context(), "a", failed, attempt))
		finish(t, s, "a", jobs[1].Delivery, start.Add(time.Minute))

		for name, c := range map[string]struct {
			filter webhook.Filter
			want   []int
		}{
			"all":        {webhook.Filter{Limit: 10}, []int{2, 1, 0}},
			"limit":      {webhook.Filter{Limit: 2}, []int{2, 1}},
			"project":    {webhook.Filter{Project: "p", Limit: 10}, []int{2, 1, 0}},
			"no project": {webhook.Filter{Project: "q", Limit: 10}, nil},
			"owner":      {webhook.Filter{Owner: session.ID, Limit: 10}, []int{2, 1, 0}},
			"webhook":    {webhook.Filter{Webhook: hooks[1].ID, Limit: 10}, []int{2}},
			"failed":     {webhook.Filter{Project: "p", State: webhook.Failed, Limit: 10}, []int{0}},
			"pending":    {webhook.Filter{Owner: session.ID, State: webhook.Pending, Limit: 10}, []int{2, 1}},
		} {
			got, err := s.Deliveries(t.Context(), c.filter)
			must(t, err)
			var want []string
			for _, i := range c.want {
				want = append(want, ds[i].ID)
			}
			if ids := deliveryIDs(got); !slices.Equal(ids, want) {
				t.Errorf("%s gives %v, want %v", name, ids, want)
			}
		}
		if n, since, err := s.Backlog(t.Context(), start.Add(time.Hour)); n != 2 || !since.Equal(start) || err != nil {
			t.Errorf("backlog %d since %v, %v", n, since, err)
		}
		got, attempts, err := s.Delivery(t.Context(), ds[0].ID)
		must(t, err)
		same(t, "failed delivery", got, failed)
		if len(attempts) != 1 || len(attempts[0].Answer) != 4096 {
			t.Errorf("attempts %+v", attempts)
		}

		if err := s.Again(t.Context(), ds[1].ID, start, happened("x.y")); !fault.Is(err, fault.Conflict) {
			t.Errorf("again of a pending one gives %v", err)
		}
		must(t, s.Again(t.Context(), ds[0].ID, start.Add(2*time.Second), happened("delivery.resend")))
		resent := claim(t, s, "b", start.Add(2*time.Second), 10)
		if len(resent) != 1 || resent[0].Delivery.ID != ds[0].ID || resent[0].Delivery.Attempts != 1 {
			t.Errorf("claimed %+v", resent)
		}
		finish(t, s, "b", resent[0].Delivery, time.Time{})
		for _, want := range []int64{1, 0} {
			if n, err := s.Purge(t.Context(), start.Add(time.Hour), 5); n != want || err != nil {
				t.Errorf("purged %d, %v, want %d", n, err, want)
			}
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) * 10 + (SELECT COUNT(*) FROM webhook_deliveries) FROM webhook_attempts`); n != 12 {
			t.Errorf("attempts and deliveries left are %d, want 1 and 2", n)
		}
	})
}

func TestWebhookDelete_drops_what_has_not_started(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		all := proofs(t, db)
		s := all.Webhooks
		session, hooks := hooked(t, all, 2)
		ds, kept := fire(t, all, hooks[0], 3), fire(t, all, hooks[1], 1)
		jobs := claim(t, s, "a", start, 2)
		finish(t, s, "a", jobs[0].Delivery, start.Add(time.Minute)) // to be tried again
		e := happened("webhook.delete")
		e.At = start
		must(t, s.Delete(t.Context(), session.ID, hooks[0].ID, e))
		finish(t, s, "a", jobs[1].Delivery, time.Time{})
		if got := jobIDs(claim(t, s, "b", start.Add(time.Hour), 10)); !slices.Equal(got, deliveryIDs(kept)) {
			t.Errorf("claimed %v, want %v", got, deliveryIDs(kept))
		}
		if _, _, err := s.Delivery(t.Context(), ds[2].ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("the one that had not started: %v", err)
		}
		d, _, err := s.Delivery(t.Context(), ds[0].ID)
		must(t, err)
		if d.State != webhook.Failed {
			t.Errorf("the one to be tried again is %+v", d)
		}
		if err := s.Again(t.Context(), d.ID, start, happened("x.y")); !fault.Is(err, fault.NotFound) {
			t.Errorf("sending it once more gives %v", err)
		}
		// A change that was decided before the webhook went fires nothing at it.
		must(t, all.Connect(t.Context(), keyproof.Connection{ID: newID(), Session: session.ID, Created: start}, []webhook.Delivery{newDelivery(hooks[0])}))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM webhook_deliveries WHERE webhook = $1`, hooks[0].ID); n != 2 {
			t.Errorf("%d deliveries of the removed webhook, want the two that were sent", n)
		}
	})
}
