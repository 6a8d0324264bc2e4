package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

// start is the moment at which tests begin.
var start = time.Date(2031, 5, 6, 7, 8, 9, 123000, time.UTC)

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func addProject(t testing.TB, db *store.DB, id string) {
	t.Helper()
	err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO projects (id, number, key, name, strict_status, created, updated) SELECT $1, COUNT(*) + 1, $1, $1, FALSE, 0, 0 FROM projects`, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// proofs is the noun under test with a project "p" and a sealer of its own.
func proofs(t testing.TB, db *store.DB) store.Keyproofs {
	t.Helper()
	addProject(t, db, "p")
	return store.Keyproofs{DB: db, Webhooks: store.Webhooks{DB: db, Sealer: newSealer(t)}}
}

// on is the same noun on another handle.
func on(s store.Keyproofs, db *store.DB) store.Keyproofs {
	s.DB, s.Webhooks.DB = db, db
	return s
}

func someKey(t testing.TB) sshkey.Key {
	t.Helper()
	key, err := sshkey.Parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKMD9EbW6ohUc9AFmLbCwpnhBKFXYi9YnwCFpUJNRJrf")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSession(t testing.TB) keyproof.Session {
	t.Helper()
	name := "laptop"
	return keyproof.Session{
		ID: newID(), Project: "p", Kind: keyproof.Verify, Identifier: keyproof.NewIdentifier(), Status: keyproof.Pending,
		Options: keyproof.Options{MaxAttempts: 3}, Created: start, Updated: start, Keys: []keyproof.Key{{ID: newID(), Name: &name, Public: someKey(t)}},
	}
}

func newHook(owner string) webhook.Webhook {
	return webhook.Webhook{
		ID: newID(), Owner: owner, Project: "p", URL: "https://example.test/in", Method: "post", Headers: map[string][]string{"X-Key": {"open sesame", "b"}},
		Events: []string{"verified", "status_changed"}, Retries: 2, InitialBackoff: 10, BackoffMultiplier: 1.1,
		Secret: secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Created: start,
	}
}

func newDelivery(w webhook.Webhook) webhook.Delivery {
	return webhook.Delivery{
		ID: newID(), Webhook: w.ID, Owner: w.Owner, Project: w.Project, Entity: "verify_session", Event: "verified",
		Payload: json.RawMessage(`{"a": "b"}`), Triggered: start, State: webhook.Pending, Due: start,
	}
}

func insertSession(t testing.TB, s store.Keyproofs, session keyproof.Session, hooks ...webhook.Webhook) keyproof.Session {
	t.Helper()
	if err := s.Insert(t.Context(), session, hooks, happened("keyproof.create")); err != nil {
		t.Fatal(err)
	}
	return session
}

// same compares by JSON, in which all fields of the nouns appear; that a list is absent or empty is one.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if printed(t, got) != printed(t, want) {
		t.Errorf("%s is\n%s\nwant\n%s", what, printed(t, got), printed(t, want))
	}
}

func printed(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return strings.ReplaceAll(string(text), "null", "[]")
}

func TestKeyproof_comes_back_as_it_went_in(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		external, banner, message := "user 7", "Welcome", "Thanks\n"
		full := newSession(t)
		full.Options = keyproof.Options{
			ExternalID: &external, MatchAllKeys: true, MultiKey: true, MultiConnection: true, MustConfirm: true, MaxAttempts: 9, Banner: &banner, Message: &message,
		}
		full.Expires = start.Add(time.Hour)
		full.Keys = append(full.Keys, keyproof.Key{ID: newID(), ExternalID: &external, Public: someKey(t), Verified: start})
		hooks := []webhook.Webhook{newHook(full.ID), newHook(full.ID)}
		hooks[1].Headers, hooks[1].Secret, hooks[1].Events = nil, secret.String{}, nil
		insertSession(t, s, full, hooks...)
		plain := newSession(t)
		plain.Kind, plain.Keys = keyproof.Collect, nil
		insertSession(t, s, plain)

		for _, want := range []keyproof.Session{full, plain} {
			got, err := s.ByID(t.Context(), "p", want.Kind, want.ID)
			must(t, err)
			same(t, "session", got, want)
			state, err := s.ByIdentifier(t.Context(), want.Identifier)
			must(t, err)
			same(t, "session by identifier", state.Session, want)
		}
		connection := keyproof.Connection{ID: newID(), Session: full.ID, Address: "192.0.2.1", ClientVersion: "SSH-2.0-x", Created: start}
		must(t, s.Connect(t.Context(), connection, nil))
		later := keyproof.Connection{ID: newID(), Session: full.ID, Created: start.Add(1 * time.Second)}
		must(t, s.Connect(t.Context(), later, nil))
		d, err := s.DetailByID(t.Context(), "p", keyproof.Verify, full.ID)
		must(t, err)
		same(t, "connections", d.Connections, []keyproof.Connection{connection, later})
		same(t, "webhooks", d.Webhooks, hooks)
		if !d.Webhooks[0].Secret.Equal(hooks[0].Secret) || !d.Webhooks[1].Secret.Empty() {
			t.Error("secrets did not come back")
		}
	})
}

func TestKeyproof_strict_is_as_the_project_has_it_now(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		session := insertSession(t, s, newSession(t))
		storetest.Write(t, db, `UPDATE projects SET strict_status = TRUE`)
		got, err := s.ByID(t.Context(), "p", keyproof.Verify, session.ID)
		must(t, err)
		p, err := s.List(t.Context(), keyproof.Filter{Project: "p", Kind: keyproof.Verify, Window: page.Of(0, 10)})
		must(t, err)
		if !got.Strict || !p.Items[0].Strict {
			t.Error("strict is not set")
		}
	})
}

func TestKeyproof_not_found(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		session := insertSession(t, s, newSession(t))
		orphan := newSession(t)
		orphan.Project = "nowhere"
		ctx := t.Context()
		for name, err := range map[string]error{
			"identifier":         second(s.ByIdentifier(ctx, "nobody")),
			"other project":      second(s.ByID(ctx, "q", keyproof.Verify, session.ID)),
			"other kind":         second(s.DetailByID(ctx, "p", keyproof.Collect, session.ID)),
			"change":             second(s.Change(ctx, "nothing", func(keyproof.State) (keyproof.Change, error) { panic("not reached") })),
			"connect":            s.Connect(ctx, keyproof.Connection{ID: newID(), Session: "nothing", Created: start}, nil),
			"delete other kind":  s.Delete(ctx, "p", keyproof.Collect, session.ID, happened("x.y")),
			"insert, no project": s.Insert(ctx, orphan, nil, happened("x.y")),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s gives %v", name, err)
			}
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`); n != 1 {
			t.Errorf("%d events, want the one of the insert", n)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// verified is what a successful attempt decides.
func verified(connection *keyproof.Connection) func(keyproof.State) (keyproof.Change, error) {
	return func(was keyproof.State) (keyproof.Change, error) {
		c := keyproof.Change{Events: []audit.Event{happened("keyproof.attempt")}}
		if was.Session.Final() {
			return c, nil
		}
		is := was.Session
		is.Status, is.Updated = keyproof.Verified, start.Add(time.Minute)
		is.Keys = slices.Clone(is.Keys)
		is.Keys[0].Verified = is.Updated
		c.Session, c.Connection = &is, connection
		for _, w := range was.Webhooks {
			c.Deliveries = append(c.Deliveries, newDelivery(w))
		}
		return c, nil
	}
}

func TestKeyproofChange_writes_all(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		session := newSession(t)
		insertSession(t, s, session, newHook(session.ID))
		c := keyproof.Connection{ID: newID(), Session: session.ID, Created: start}
		must(t, s.Connect(t.Context(), c, nil))
		c.Keys = []keyproof.ConnectionKey{{ID: newID(), Key: session.Keys[0].ID, Public: someKey(t), At: start}}
		is, err := s.Change(t.Context(), session.ID, verified(&c))
		must(t, err)
		if is.Status != keyproof.Verified {
			t.Errorf("Change returns %+v", is)
		}
		d, err := s.DetailByID(t.Context(), "p", keyproof.Verify, session.ID)
		must(t, err)
		same(t, "session", d.Session, is)
		same(t, "connection", d.Connections, []keyproof.Connection{c})
		for query, want := range map[string]int64{
			`SELECT COUNT(*) FROM audit_events`:         2,
			`SELECT COUNT(*) FROM webhook_deliveries`:   1,
			`SELECT SUM(verified) FROM proof_counts`:    1,
			`SELECT SUM(pending) FROM proof_counts`:     0,
			`SELECT hooks FROM proof_sessions`:          1,
			`SELECT COUNT(*) FROM proof_counts`:         1,
			`SELECT COUNT(*) FROM proof_sessions`:       1,
			`SELECT COUNT(*) FROM webhooks WHERE FALSE`: 0,
		} {
			if n := storetest.Count(t, db, `SELECT CAST((`+query+`) AS BIGINT)`); n != want {
				t.Errorf("%s gives %d, want %d", query, n, want)
			}
		}
	})
}

// A connection that was not recorded by itself comes with its end, whatever that was.
func TestKeyproofChange_records_a_new_connection(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		session := newSession(t)
		insertSession(t, s, session)
		for _, c := range []keyproof.Connection{
			{ID: newID(), Session: session.ID, Created: start},
			{ID: newID(), Session: session.ID, Created: start, Keys: []keyproof.ConnectionKey{{ID: newID(), Public: someKey(t), At: start}}},
		} {
			_, err := s.Change(t.Context(), session.ID, func(keyproof.State) (keyproof.Change, error) {
				return keyproof.Change{Connection: &c, NewConnection: true}, nil
			})
			must(t, err)
			d, err := s.DetailByID(t.Context(), "p", keyproof.Verify, session.ID)
			must(t, err)
			if last := d.Connections[len(d.Connections)-1]; last.ID != c.ID || len(last.Keys) != len(c.Keys) {
				t.Errorf("recorded %+v, want %+v", last, c)
			}
		}
	})
}

func TestKeyproofChange_edits_options_and_counts_attempts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		session := insertSession(t, s, newSession(t))
		message := "hello"
		for name, edit := range map[string]func(*keyproof.Session){
			"options":  func(is *keyproof.Session) { is.Message, is.MultiKey, is.Expires = &message, true, start.Add(time.Hour) },
			"attempts": func(is *keyproof.Session) { is.Attempts++ },
			"expiry":   func(is *keyproof.Session) { is.Expires = start.Add(2 * time.Hour) },
		} {
			is, err := s.Change(t.Context(), session.ID, func(was keyproof.State) (keyproof.Change, error) {
				is := was.Session
				edit(&is)
				is.Updated = is.Updated.Add(time.Second)
				return keyproof.Change{Session: &is}, nil
			})
			must(t, err)
			got, err := s.ByID(t.Context(), "p", keyproof.Verify, session.ID)
			must(t, err)
			same(t, "session after change of "+name, got, is)
		}
		due, err := s.Due(t.Context(), start.Add(3*time.Hour), 10)
		must(t, err)
		if !slices.Equal(due, []string{session.ID}) {
			t.Errorf("due %v", due)
		}
	})
}

func TestKeyproofChange_is_all_or_nothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		session := newSession(t)
		hook := newHook(session.ID)
		insertSession(t, s, session, hook)
		taken := newDelivery(hook)
		connect := keyproof.Connection{ID: newID(), Session: session.ID, Created: start}
		must(t, s.Connect(t.Context(), connect, []webhook.Delivery{taken}))
		refused := errors.New("refused by a rule")
		for name, decide := range map[string]func(keyproof.State) (keyproof.Change, error){
			"the rule refuses": func(was keyproof.State) (keyproof.Change, error) {
				c, _ := verified(nil)(was)
				return c, refused
			},
			"a delivery fails": func(was keyproof.State) (keyproof.Change, error) {
				c, err := verified(nil)(was)
				c.Deliveries = append(c.Deliveries, taken)
				return c, err
			},
			"there is no such connection": verified(&keyproof.Connection{ID: "nothing", Session: session.ID}),
		} {
			_, err := s.Change(t.Context(), session.ID, decide)
			if err == nil || (name == "the rule refuses") != errors.Is(err, refused) {
				t.Errorf("%s: %v", name, err)
			}
		}
		must(t, second(s.Change(t.Context(), session.ID, func(keyproof.State) (keyproof.Change, error) { return keyproof.Change{}, nil })))
		err := s.Connect(t.Context(), keyproof.Connection{ID: newID(), Session: session.ID, Created: start}, []webhook.Delivery{newDelivery(hook), taken})
		if !store.Violates(err, "webhook_deliveries_pkey") {
			t.Errorf("connect with a delivery that exists gives %v", err)
		}
		if n := storetest.Count(t, db, `SELECT (SELECT COUNT(*) FROM audit_events) * 100 + (SELECT COUNT(*) FROM webhook_deliveries) * 10 + (SELECT COUNT(*) FROM proof_connections)`); n != 111 {
			t.Errorf("events, deliveries, connections are %d, want one each", n)
		}
		got, err := s.ByID(t.Context(), "p", keyproof.Verify, session.ID)
		must(t, err)
		same(t, "session", got, session)
	})
}

func TestKeyproofChange_race_has_one_winner(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		s := proofs(t, one)
		for range 10 {
			session := insertSession(t, s, newSession(t))
			won := make(chan bool, 6)
			var all sync.WaitGroup
			for n := range 6 {
				all.Go(func() {
					var mine bool
					_, err := on(s, []*store.DB{one, two}[n%2]).Change(t.Context(), session.ID, func(was keyproof.State) (keyproof.Change, error) {
						mine = !was.Session.Final()
						return verified(nil)(was)
					})
					if err != nil {
						t.Error(err)
					}
					if mine {
						won <- true
					}
				})
			}
			all.Wait()
			if len(won) != 1 {
				t.Errorf("%d winners", len(won))
			}
		}
		if n := storetest.Count(t, one, `SELECT CAST(SUM(verified) * 100 + SUM(pending) AS BIGINT) FROM proof_counts`); n != 1000 {
			t.Errorf("counts are %d", n)
		}
	})
}

func TestKeyproofDelete_takes_all_with_it_and_tells(t *testing.T) {
	t.Parallel()
	storetest.Nodes(t, func(t *testing.T, one, two *store.DB) {
		s := proofs(t, one)
		session, other := newSession(t), newSession(t)
		hook, kept := newHook(session.ID), newHook(other.ID)
		insertSession(t, s, session, hook)
		insertSession(t, s, other, kept)
		unsent, leased := newDelivery(hook), newDelivery(hook)
		unsent.Due = start.Add(time.Hour)
		must(t, s.Connect(t.Context(), keyproof.Connection{ID: newID(), Session: session.ID, Created: start}, []webhook.Delivery{unsent, leased}))
		must(t, s.Connect(t.Context(), keyproof.Connection{ID: newID(), Session: other.ID, Created: start}, []webhook.Delivery{newDelivery(kept)}))
		jobs, err := s.Webhooks.Claim(t.Context(), "node", start, time.Hour, 1)
		must(t, err)
		if len(jobs) != 1 || jobs[0].Delivery.ID != leased.ID {
			t.Fatalf("claimed %+v", jobs)
		}
		heard := make(chan string, 10)
		ctx, stop := context.WithCancel(t.Context())
		ready := make(chan struct{}, 10)
		var listening sync.WaitGroup
		listening.Go(func() { _ = one.Listen(ctx, func(p string) { heard <- p }, func() { ready <- struct{}{} }) })
		defer listening.Wait()
		defer stop()
		<-ready
		e := happened("keyproof.delete")
		e.At = start
		must(t, s.Delete(t.Context(), "p", keyproof.Verify, session.ID, e))
		if p := <-heard; p != "keyproof.gone "+session.ID {
			t.Errorf("heard %q", p)
		}
		if err := s.Delete(t.Context(), "p", keyproof.Verify, session.ID, e); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleting twice gives %v", err)
		}
		for query, want := range map[string]int64{
			`SELECT COUNT(*) FROM proof_connections`:                                 1,
			`SELECT COUNT(*) FROM webhooks`:                                          1,
			`SELECT COUNT(*) FROM webhook_deliveries`:                                2,
			`SELECT CAST(SUM(pending) AS BIGINT) FROM proof_counts`:                  1,
			`SELECT COUNT(*) FROM audit_events`:                                      3,
			`SELECT COUNT(*) FROM webhook_deliveries WHERE id = '` + unsent.ID + `'`: 0,
		} {
			if n := storetest.Count(t, two, query); n != want {
				t.Errorf("%s gives %d, want %d", query, n, want)
			}
		}
		// What was under way is recorded, and not tried again.
		d := jobs[0].Delivery
		d.Attempts, d.Due = 1, start
		must(t, s.Webhooks.Finish(t.Context(), "node", d, webhook.Attempt{Delivery: d.ID, Number: 1, Started: start, Reason: "refused"}))
		jobs, err = s.Webhooks.Claim(t.Context(), "node", start.Add(time.Minute), time.Hour, 10)
		must(t, err)
		if len(jobs) != 1 || jobs[0].Webhook.ID != kept.ID {
			t.Errorf("claimed %+v, want the one of the other session", jobs)
		}
		d, _, err = s.Webhooks.Delivery(t.Context(), d.ID)
		must(t, err)
		if d.State != webhook.Failed || d.Reason == "" || d.Ended.IsZero() {
			t.Errorf("delivery without webhook is %+v", d)
		}
	})
}

func TestKeyproofPurge_removes_what_ended_long_ago(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		for n := range 10 {
			session := newSession(t)
			session.Updated = start.Add(time.Duration(n) * time.Hour)
			switch {
			case n < 4:
				session.Status = keyproof.Verified
			case n < 6:
				session.Expires = start.Add(time.Hour)
			}
			insertSession(t, s, session)
		}
		must(t, second(s.Purge(t.Context(), start.Add(-time.Hour), 10, happened("keyproof.purge"))))
		var total int64
		for _, want := range []int64{3, 2, 0} {
			// Three ended before, two were never expired though their time was up.
			n, err := s.Purge(t.Context(), start.Add(3*time.Hour), 3, happened("keyproof.purge"))
			must(t, err)
			if n != want {
				t.Errorf("purged %d, want %d", n, want)
			}
			total += n
		}
		p, err := s.List(t.Context(), keyproof.Filter{Project: "p", Kind: keyproof.Verify, Window: page.Of(0, 100)})
		must(t, err)
		if p.Total != 10-total || len(p.Items) != int(p.Total) {
			t.Errorf("%d listed, total %d after purging %d", len(p.Items), p.Total, total)
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM audit_events`); n != 12 {
			t.Errorf("%d events, want ten inserts and two purges", n)
		}
	})
}
