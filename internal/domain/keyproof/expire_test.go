package keyproof_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// rule W11: whatever meets a session whose time is up finds it expired, with no sweeper; exactly one
// event is fired, triggered at the moment of expiry.
func TestExpiry(t *testing.T) {
	t.Parallel()
	a := people(1)[0]
	for _, kind := range []keyproof.Kind{keyproof.Verify, keyproof.Collect} {
		for name, meet := range map[string]func(*testing.T, *world, keyproof.Detail, *connection){
			"read": func(t *testing.T, w *world, d keyproof.Detail, _ *connection) {
				after, err := w.get(d)
				if err != nil {
					t.Fatal(err)
				}
				want(t, "status", after.Status, keyproof.Expired)
			},
			"list": func(t *testing.T, w *world, d keyproof.Detail, _ *connection) {
				for status, n := range map[keyproof.Status]int{keyproof.Pending: 0, keyproof.Expired: 1, "": 1} {
					p, err := w.service.List(context.Background(), w.by, mine, d.Kind, keyproof.Query{Status: status, Window: page.Of(0, 100)})
					if err != nil {
						t.Fatal(err)
					}
					want(t, "found", len(p.Items), n)
				}
			},
			"begin": func(t *testing.T, w *world, d keyproof.Detail, _ *connection) {
				if _, err := w.service.Begin(context.Background(), d.Identifier, peer()); !errors.Is(err, keyproof.ErrNotValid) {
					t.Errorf("got %v", err)
				}
			},
			"commit": func(t *testing.T, _ *world, _ keyproof.Detail, c *connection) {
				c.authenticates(a)
				r := c.ends(keyproof.Finished)
				want(t, "result", string(r.Verdict)+places(r.Keys), "expired")
			},
			"update": func(t *testing.T, w *world, d keyproof.Detail, _ *connection) {
				_, err := w.update(d, keyproof.Edit{Timeout: keyproof.SetTo(time.Hour)})
				wantFault(t, err, fault.Conflict, "The session is already expired")
			},
			"complete": func(t *testing.T, w *world, d keyproof.Detail, _ *connection) {
				_, err := w.complete(d)
				wantFault(t, err, fault.Conflict, "The session is already expired")
			},
		} {
			t.Run(string(kind)+"_"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				draft := keyproof.Draft{Options: keyproof.Options{MaxAttempts: 1, MultiConnection: true}, Timeout: time.Minute}
				if kind == keyproof.Verify {
					draft.Keys = drafts(a)
				}
				d := w.create(kind, draft)
				c := w.dial(d)
				w.clock.pass(time.Minute - time.Microsecond)
				if early, err := w.get(d); err != nil || early.Status != keyproof.Pending {
					t.Fatalf("too early: %v, %v", early.Status, err)
				}
				w.clock.pass(2 * time.Minute)
				meet(t, w, d, c)
				meet2, err := w.get(d)
				if err != nil {
					t.Fatal(err)
				}
				want(t, "stored status", meet2.Status, keyproof.Expired)
				late := c.ends(keyproof.Disconnected)
				want(t, "the connection under way is too late", late.Verdict, keyproof.TooLate)
				after := w.read(d)
				want(t, "attempts", after.Attempts, 0)
				want(t, "kept and shown", kept(after.Session)+inConnections(after), "")
				want(t, "events", sorted(w.fired(d)), "new_connection status_changed")
				delivery, fields := w.payload("status_changed")
				want(t, "trigger time", delivery.Triggered, start.Add(time.Minute))
				want(t, "payload", fields[kind.Entity()+"_status"], any("expired"))
				expired := 0
				for _, e := range w.store.events {
					if e.Action == "keyproof.expire" {
						expired++
						want(t, "actor", e.Actor.Kind, "system")
					}
				}
				want(t, "audit events", expired, 1)
			})
		}
	}
}

// The clock passes the expiry while somebody is asked to confirm.
func TestExpiry_during_the_confirmation(t *testing.T) {
	t.Parallel()
	w, a := newWorld(t), people(1)[0]
	w.store.strict = true
	d := w.create(keyproof.Verify, keyproof.Draft{Options: keyproof.Options{MaxAttempts: 1, MustConfirm: true}, Keys: drafts(a), Timeout: time.Minute})
	c := w.dial(d)
	c.authenticates(a)
	w.clock.pass(time.Minute)
	want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.TooLate)
	want(t, "events", w.fired(d), "new_connection status_changed")
	_, fields := w.payload("status_changed")
	want(t, "strict payload", fields["verify_session_status"], any("failed"))
	_, err := w.update(d, keyproof.Edit{})
	wantFault(t, err, fault.Conflict, "The session is already failed")
	shown, err := w.get(d)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "shown", shown.Shown(w.clock.Now()), keyproof.Failed)
}

func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, a := newWorld(t), people(1)[0]
		due := w.create(keyproof.Verify, keyproof.Draft{Options: keyproof.Options{MaxAttempts: 1}, Keys: drafts(a), Timeout: time.Minute})
		open := w.collect(keyproof.Options{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.service.Sweep(ctx)
		}()
		w.clock.pass(2 * time.Minute)
		time.Sleep(w.service.SweepEvery)
		synctest.Wait()
		want(t, "due", w.read(due).Status, keyproof.Expired)
		want(t, "open", w.read(open).Status, keyproof.Pending)
		delivery, _ := w.payload("status_changed")
		want(t, "trigger time", delivery.Triggered, start.Add(time.Minute))

		time.Sleep(3 * w.service.SweepEvery)
		synctest.Wait()
		want(t, "events", w.fired(due), "status_changed")

		w.clock.pass(w.service.KeepFor + time.Hour)
		time.Sleep(w.service.SweepEvery)
		synctest.Wait()
		want(t, "sessions left", len(w.store.sessions), 1)
		want(t, "audit", w.lastEvent().Action, "keyproof.purge")

		failing := w.create(keyproof.Collect, keyproof.Draft{Timeout: time.Minute})
		w.clock.pass(time.Hour)
		w.store.failChange(errors.New("locked"))
		time.Sleep(w.service.SweepEvery)
		synctest.Wait()
		want(t, "errors told", len(w.errors), 1)
		w.store.failChange(nil)
		time.Sleep(w.service.SweepEvery)
		synctest.Wait()
		want(t, "expired at last", w.read(failing).Status, keyproof.Expired)
		stop()
		<-done
	})
}
