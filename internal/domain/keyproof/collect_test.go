package keyproof_test

import (
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

func TestCollect(t *testing.T) {
	t.Parallel()
	all := people(70)
	t.Run("records_the_first_offer_and_ends", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{})
		c := w.dial(d)
		for _, p := range all[:3] {
			want(t, "a signature is wanted", c.offers(p), false)
		}
		r := c.ends(keyproof.Finished)
		want(t, "result", string(r.Verdict)+places(r.Keys), "recordedA")
		after := w.read(d)
		want(t, "status", after.Status, keyproof.Completed)
		want(t, "keys", inConnections(after), "A")
		want(t, "events", w.fired(d), "new_connection key_collected status_changed")
		want(t, "audit", w.lastEvent().Detail["fingerprints"], all[0].key.SHA256())
	})
	t.Run("records_up_to_64_each_once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{MultiKey: true})
		c := w.dial(d)
		for _, p := range all {
			c.offers(p)
			c.offers(p)
		}
		want(t, "keys", len(c.ends(keyproof.Finished).Keys), 64)
		want(t, "events", count(w.fired(d), "key_collected"), 64)
	})
	t.Run("stays_open_over_connections_and_takes_repeats", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{MultiConnection: true})
		w.connect(d, keyproof.Finished, all[0])
		w.connect(d, keyproof.Finished, all[0])
		after := w.read(d)
		want(t, "status", after.Status, keyproof.Pending)
		want(t, "keys", inConnections(after), "A,A")
		want(t, "events", w.fired(d), "new_connection key_collected new_connection key_collected")
		if after.Connections[0].Keys[0].ID == after.Connections[1].Keys[0].ID {
			t.Error("two records of a key share an id")
		}
	})
	t.Run("records_nothing_that_was_not_confirmed", func(t *testing.T) {
		t.Parallel()
		for _, end := range []keyproof.End{keyproof.Declined, keyproof.NoAnswer, keyproof.Disconnected} {
			w := newWorld(t)
			d := w.collect(keyproof.Options{MustConfirm: true})
			r := w.connect(d, end, all[0])
			want(t, "result", string(r.Verdict)+places(r.Keys), string(end))
			after := w.read(d)
			want(t, "status", after.Status, keyproof.Pending)
			want(t, "connections", len(after.Connections), 1)
			want(t, "keys", inConnections(after), "")
			want(t, "verdict of a yes", w.connect(d, keyproof.Finished, all[0]).Verdict, keyproof.Recorded)
		}
	})
	t.Run("a_connection_that_offers_nothing_leaves_it_open", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{})
		want(t, "verdict", w.connect(d, keyproof.Finished).Verdict, keyproof.NoKey)
		c := w.dial(d)
		c.Saw() // a key that is not recorded, such as a short RSA one
		want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.NoMatch)
		after := w.read(d)
		want(t, "status", after.Status, keyproof.Pending)
		want(t, "connections", len(after.Connections), 2)
		want(t, "events", w.fired(d), "new_connection new_connection")
	})
	t.Run("takes_no_signature_for_a_proof", func(t *testing.T) { // rule S1: offers are all there is
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{})
		c := w.dial(d)
		c.signs(all[0])
		want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.NoKey)
	})
	t.Run("two_at_once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{})
		first, second := w.dial(d), w.dial(d)
		first.offers(all[0])
		second.offers(all[1])
		want(t, "first", first.ends(keyproof.Finished).Verdict, keyproof.Recorded)
		want(t, "second", second.ends(keyproof.Finished).Verdict, keyproof.LostRace)
		want(t, "the keys of both records", len(inConnections(w.read(d))), len("A,"))
	})
	t.Run("obeys_an_update_of_its_rules", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{MultiKey: true})
		c := w.dial(d)
		c.authenticates(all[:3]...)
		if _, err := w.update(d, keyproof.Edit{MultiKey: keyproof.SetTo(false)}); err != nil {
			t.Fatal(err)
		}
		want(t, "keys", places(c.ends(keyproof.Finished).Keys), "A")
	})
	t.Run("expires_as_such_under_strict_status_too", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.store.strict = true
		d := w.create(keyproof.Collect, keyproof.Draft{Timeout: time.Minute})
		w.clock.pass(time.Minute)
		after, err := w.get(d)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "status", after.Shown(w.clock.Now()), keyproof.Expired)
	})
}
