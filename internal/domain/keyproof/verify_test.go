package keyproof_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// places lists the keys of a result in order, by their places among people.
func places(keys []keyproof.BroughtKey) string {
	out := ""
	for _, k := range keys {
		for i, p := range everybody() {
			if p.key.Equal(k.Key) {
				out += string(rune('A' + i))
			}
		}
	}
	return out
}

// kept lists the keys of a session that are verified.
func kept(s keyproof.Session) string {
	var keys []keyproof.BroughtKey
	for _, k := range s.Keys {
		if !k.Verified.IsZero() {
			keys = append(keys, keyproof.BroughtKey{Key: k.Public})
		}
	}
	return places(keys)
}

// inConnections lists the keys that each connection's record shows.
func inConnections(d keyproof.Detail) string {
	var all []string
	for _, c := range d.Connections {
		var keys []keyproof.BroughtKey
		for _, k := range c.Keys {
			keys = append(keys, keyproof.BroughtKey{Key: k.Public})
		}
		all = append(all, places(keys))
	}
	return strings.Join(all, ",")
}

// Each row is one session that lists A and B, and the connections to it, each an agent's keys.
func TestOptions(t *testing.T) {
	t.Parallel()
	all, a, b, c := people(3), 0, 1, 2
	for name, row := range map[string]struct {
		options     keyproof.Options
		connections [][]int
		verdicts    string
		status      keyproof.Status
		kept, shown string
		fired       string
	}{
		"the_first_listed_key_is_enough": {
			keyproof.Options{}, [][]int{{c, b, a}}, "proven", keyproof.Verified, "B", "B", "new_connection verified status_changed",
		},
		"no_listed_key": {
			keyproof.Options{}, [][]int{{c}}, "no_match", keyproof.Failed, "", "", "new_connection failed_attempt status_changed",
		},
		"no_key_at_all": {
			keyproof.Options{MaxAttempts: 2}, [][]int{{}}, "no_key", keyproof.Pending, "", "", "new_connection failed_attempt",
		},
		"multi_key_goes_on_after_a_match": {
			keyproof.Options{MultiKey: true}, [][]int{{b, c, a}}, "proven", keyproof.Verified, "AB", "BA", "new_connection verified verified status_changed",
		},
		"multi_key_is_content_with_one": {
			keyproof.Options{MultiKey: true}, [][]int{{a, c}}, "proven", keyproof.Verified, "A", "A", "new_connection verified status_changed",
		},
		"match_all_implies_several_keys": {
			keyproof.Options{MatchAllKeys: true}, [][]int{{a, b}}, "proven", keyproof.Verified, "AB", "AB", "new_connection verified verified status_changed",
		},
		"match_all_incomplete_keeps_nothing": {
			keyproof.Options{MatchAllKeys: true, MaxAttempts: 2}, [][]int{{a, c}}, "incomplete", keyproof.Pending, "", "A", "new_connection failed_attempt",
		},
		"match_all_does_not_accumulate": {
			keyproof.Options{MatchAllKeys: true, MaxAttempts: 3},
			[][]int{{a}, {b}},
			"incomplete incomplete", keyproof.Pending, "", "A,B",
			"new_connection failed_attempt new_connection failed_attempt",
		},
		"multi_connection_stays_open": {
			keyproof.Options{MultiConnection: true},
			[][]int{{a}, {b}},
			"proven proven", keyproof.Pending, "AB", "A,B",
			"new_connection verified new_connection verified",
		},
		"multi_connection_counts_nothing_once_met": {
			keyproof.Options{MultiConnection: true},
			[][]int{{a}, {c}, {}, {a}},
			"proven no_match no_key proven", keyproof.Pending, "A", "A,,,A",
			"new_connection verified new_connection new_connection new_connection",
		},
		"multi_connection_fails_with_its_last_attempt": {
			keyproof.Options{MultiConnection: true, MaxAttempts: 2},
			[][]int{{c}, {c}},
			"no_match no_match", keyproof.Failed, "", ",",
			"new_connection failed_attempt new_connection failed_attempt status_changed",
		},
		"match_all_over_connections": { // A, A again (counted), B
			keyproof.Options{MatchAllKeys: true, MultiConnection: true, MaxAttempts: 2},
			[][]int{{a}, {a}, {b}},
			"proven incomplete proven", keyproof.Pending, "AB", "A,A,B",
			"new_connection verified new_connection failed_attempt new_connection verified",
		},
		"match_all_over_connections_with_one_attempt": {
			keyproof.Options{MatchAllKeys: true, MultiConnection: true, MaxAttempts: 1},
			[][]int{{a}, {a}},
			"proven incomplete", keyproof.Failed, "A", "A,A",
			"new_connection verified new_connection failed_attempt status_changed",
		},
		"attempts_up_to_the_last_may_fail": {
			keyproof.Options{MaxAttempts: 3},
			[][]int{{c}, {}, {c, a}},
			"no_match no_key proven", keyproof.Verified, "A", ",,A",
			"new_connection failed_attempt new_connection failed_attempt new_connection verified status_changed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := w.verify(row.options, all[a], all[b])
			var verdicts []string
			for _, agent := range row.connections {
				var keys []person
				for _, i := range agent {
					keys = append(keys, all[i])
				}
				w.clock.pass(time.Second)
				verdicts = append(verdicts, string(w.connect(d, keyproof.Finished, keys...).Verdict))
			}
			after := w.read(d)
			want(t, "verdicts", strings.Join(verdicts, " "), row.verdicts)
			want(t, "status", after.Status, row.status)
			want(t, "kept keys", kept(after.Session), row.kept)
			want(t, "keys of connections", inConnections(after), row.shown)
			want(t, "events", w.fired(d), row.fired)
		})
	}
}

// match_all and multi_connection stay pending until complete, which verifies.
func TestComplete(t *testing.T) {
	t.Parallel()
	a, b := people(2)[0], people(2)[1]
	over := keyproof.Options{MatchAllKeys: true, MultiConnection: true, MaxAttempts: 3}
	t.Run("verifies_when_the_rules_are_met", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(over, a, b)
		w.connect(d, keyproof.Finished, a)
		w.connect(d, keyproof.Finished, a)
		w.connect(d, keyproof.Finished, b)
		want(t, "attempts", w.read(d).Attempts, 1)
		after, err := w.complete(d)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "status", after.Status, keyproof.Verified)
		want(t, "one event", count(w.fired(d), "status_changed"), 1)
		_, fields := w.payload("status_changed")
		want(t, "payload", fields["verify_session_status"], any("verified"))
		e := w.lastEvent()
		want(t, "audit", e.Action+" "+e.Detail["status"], "keyproof.complete verified")
		_, err = w.complete(d)
		wantFault(t, err, fault.Conflict, "The session is already verified")
	})
	t.Run("fails_when_they_are_not", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(over, a, b)
		w.connect(d, keyproof.Finished, a)
		after, err := w.complete(d)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "status", after.Status, keyproof.Failed)
		_, err = w.complete(d)
		wantFault(t, err, fault.Conflict, "The session is already failed")
	})
	t.Run("refuses_sessions_that_their_connection_completes", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		const text = "The session is not a multi_connection session; it is completed by its connection"
		_, err := w.complete(w.verify(keyproof.Options{}, a))
		wantFault(t, err, fault.Conflict, text)
		_, err = w.complete(w.collect(keyproof.Options{}))
		wantFault(t, err, fault.Conflict, text)
	})
	t.Run("refuses_an_expired_session", func(t *testing.T) {
		t.Parallel()
		for strict, text := range map[bool]string{false: "The session is already expired", true: "The session is already failed"} {
			w := newWorld(t)
			w.store.strict = strict
			d := w.create(keyproof.Verify, keyproof.Draft{Options: over, Keys: drafts(a, b), Timeout: time.Minute})
			w.clock.pass(time.Minute)
			_, err := w.complete(d)
			wantFault(t, err, fault.Conflict, text)
			want(t, "it is expired by that", w.fired(d), "status_changed")
		}
	})
	t.Run("ends_a_collect_session_with_or_without_keys", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d, err := w.complete(w.collect(keyproof.Options{MultiConnection: true}))
		if err != nil {
			t.Fatal(err)
		}
		want(t, "status", d.Status, keyproof.Completed)
		_, err = w.complete(d)
		wantFault(t, err, fault.Conflict, "The session is already completed")
	})
}

// rule S1: what was offered counts for nothing; what was signed counts, whatever was asked before.
func TestProof(t *testing.T) {
	t.Parallel()
	a, b, stranger := people(3)[0], people(3)[1], people(3)[2]
	t.Run("an_offer_without_a_signature", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		c := w.dial(d)
		want(t, "a signature is wanted", c.offers(a), true)
		want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.NoMatch)
		want(t, "kept", kept(w.read(d).Session), "")
		_, fields := w.payload("failed_attempt")
		want(t, "reason", fields["reason"], any("no_match"))
		e := w.lastEvent()
		want(t, "audit", string(e.Outcome)+" "+e.Reason+" "+e.Detail["fingerprints"], "refused no_match ")
	})
	t.Run("query_one_key_and_sign_with_another", func(t *testing.T) { // CVE-2024-45337
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{MultiKey: true}, a, b)
		c := w.dial(d)
		c.offers(a)
		c.signs(b)
		c.offers(a)
		r := c.ends(keyproof.Finished)
		want(t, "result", string(r.Verdict)+" "+places(r.Keys), "proven B")
		want(t, "kept", kept(w.read(d).Session), "B")
		want(t, "audit", w.lastEvent().Detail["fingerprints"], b.key.SHA256())
	})
	t.Run("a_signature_of_an_unlisted_key", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		c := w.dial(d)
		want(t, "not wanted", c.offers(stranger), false)
		want(t, "more are wanted", c.signs(stranger), true)
		want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.NoMatch)
		want(t, "kept", kept(w.read(d).Session), "")
	})
	t.Run("a_proven_key_is_not_asked_for_again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		c := w.dial(w.verify(keyproof.Options{MatchAllKeys: true}, a, b))
		c.authenticates(a)
		want(t, "again", c.offers(a), false)
		c.signs(a)
		want(t, "the same signature twice is one proof", places(c.Brought()), "A")
		want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.Incomplete)
	})
	t.Run("a_key_that_an_update_removed_meanwhile", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{MultiKey: true}, a, b)
		c := w.dial(d)
		c.authenticates(a)
		if _, err := w.update(d, keyproof.Edit{Keys: keyproof.SetTo(drafts(b))}); err != nil {
			t.Fatal(err)
		}
		r := c.ends(keyproof.Finished)
		want(t, "result", string(r.Verdict)+places(r.Keys), "no_match")
	})
}

func TestResult(t *testing.T) {
	t.Parallel()
	a, b := people(2)[0], people(2)[1]
	w := newWorld(t)
	d := w.verify(keyproof.Options{MultiConnection: true, MatchAllKeys: true, MaxAttempts: 2}, a, b)
	r := w.connect(d, keyproof.Finished, b)
	want(t, "name", r.Keys[0].Name, "key 1")
	want(t, "of", r.Of, 2)
	want(t, "open", r.Open, true)
	r = w.connect(d, keyproof.Finished)
	want(t, "attempts are left", r.Last, false)
	r = w.connect(d, keyproof.Finished)
	want(t, "that was the last", r.Last, true)
	want(t, "closed", r.Open, false)
}

// Two connections that prove a key at the same moment: one wins.
func TestRace(t *testing.T) {
	t.Parallel()
	for range 20 {
		w, a := newWorld(t), people(1)[0]
		d := w.verify(keyproof.Options{}, a)
		first, second := w.dial(d), w.dial(d)
		first.authenticates(a)
		second.authenticates(a)
		var done sync.WaitGroup
		results := make([]keyproof.Result, 2)
		for i, c := range []*connection{first, second} {
			done.Go(func() { results[i] = c.ends(keyproof.Finished) })
		}
		done.Wait()
		winner, loser := results[0], results[1]
		if winner.Verdict != keyproof.Proven {
			winner, loser = loser, winner
		}
		want(t, "winner", string(winner.Verdict)+places(winner.Keys), "provenA")
		want(t, "loser", string(loser.Verdict)+places(loser.Keys), "lost")
		after, fired := w.read(d), w.fired(d)
		want(t, "the loser's record holds no keys", len(inConnections(after)), len("A,"))
		want(t, "status_changed", count(fired, "status_changed"), 1)
		want(t, "failed_attempt", count(fired, "failed_attempt"), 0)
		want(t, "verified", count(fired, "verified"), 1)
		want(t, "attempts", after.Attempts, 0)
		want(t, "audit", w.eventCount(), 3) // create and two attempts
		changes := 0
		for _, e := range w.observed {
			if e.What == "status" {
				changes++
			}
		}
		want(t, "observed changes of status", changes, 1)
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	a, b, stranger := people(3)[0], people(3)[1], people(3)[2]
	for name, row := range map[string]struct {
		end     keyproof.End
		agent   []person
		verdict keyproof.Verdict
		reason  any
		status  keyproof.Status
	}{
		"yes":               {keyproof.Finished, []person{a}, keyproof.Proven, nil, keyproof.Verified},
		"no":                {keyproof.Declined, []person{a}, keyproof.Cancelled, "declined", keyproof.Pending},
		"silence":           {keyproof.NoAnswer, []person{a}, keyproof.TimedOut, "confirm_timeout", keyproof.Pending},
		"gone":              {keyproof.Disconnected, []person{a}, keyproof.Dropped, "disconnected", keyproof.Pending},
		"gone_with_nothing": {keyproof.Disconnected, []person{stranger}, keyproof.NoMatch, "no_match", keyproof.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := w.verify(keyproof.Options{MustConfirm: true, MaxAttempts: 2}, a, b)
			r := w.connect(d, row.end, row.agent...)
			want(t, "verdict", r.Verdict, row.verdict)
			after := w.read(d)
			want(t, "status", after.Status, row.status)
			if row.reason == nil {
				return
			}
			want(t, "nothing is said to be proven", len(r.Keys), 0)
			want(t, "attempts", after.Attempts, 1)
			want(t, "kept and shown", kept(after.Session)+inConnections(after), "")
			_, fields := w.payload("failed_attempt")
			want(t, "reason", fields["reason"], row.reason)
			want(t, "audit", w.lastEvent().Reason, string(row.verdict))
		})
	}
	t.Run("without_must_confirm_a_drop_takes_nothing_away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		want(t, "verdict", w.connect(d, keyproof.Disconnected, a).Verdict, keyproof.Proven)
	})
	t.Run("a_no_stays_a_no_when_the_question_was_dropped_meanwhile", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{MustConfirm: true, MaxAttempts: 2}, a)
		c := w.dial(d)
		c.authenticates(a)
		if _, err := w.update(d, keyproof.Edit{MustConfirm: keyproof.SetTo(false)}); err != nil {
			t.Fatal(err)
		}
		want(t, "verdict", c.ends(keyproof.Declined).Verdict, keyproof.Cancelled)
		want(t, "status", w.read(d).Status, keyproof.Pending)
	})
	t.Run("who_was_not_asked_need_not_answer", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		c := w.dial(d)
		c.authenticates(a)
		if _, err := w.update(d, keyproof.Edit{MustConfirm: keyproof.SetTo(true)}); err != nil {
			t.Fatal(err)
		}
		want(t, "verdict", c.ends(keyproof.Disconnected).Verdict, keyproof.Proven)
	})
	t.Run("nothing_is_counted_where_enough_is_proven", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{MustConfirm: true, MultiConnection: true}, a, b)
		w.connect(d, keyproof.Finished, a)
		want(t, "verdict", w.connect(d, keyproof.Declined, b).Verdict, keyproof.Cancelled)
		after := w.read(d)
		want(t, "status", after.Status, keyproof.Pending)
		want(t, "attempts", after.Attempts, 0)
		want(t, "kept", kept(after.Session), "A")
	})
}

func TestAttempt(t *testing.T) {
	t.Parallel()
	a := people(1)[0]
	t.Run("a_connection_that_asks_for_nothing_leaves_no_trace", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		at, err := w.service.Begin(context.Background(), d.Identifier, peer())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := at.Commit(context.Background(), keyproof.Disconnected); err != nil {
			t.Fatal(err)
		}
		at.End()
		at.End()
		after := w.read(d)
		want(t, "traces", len(after.Connections)+after.Attempts+w.eventCount(), 1)
	})
	t.Run("unknown_ended_expired_and_deleted_read_alike", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		ended, deleted := w.verify(keyproof.Options{}, a), w.verify(keyproof.Options{}, a)
		expired := w.create(keyproof.Collect, keyproof.Draft{Timeout: time.Minute})
		w.connect(ended, keyproof.Finished, a)
		if err := w.remove(deleted); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(time.Minute)
		for _, identifier := range []string{"0000000000000000", ended.Identifier, deleted.Identifier, expired.Identifier} {
			_, err := w.service.Begin(context.Background(), identifier, peer())
			if !errors.Is(err, keyproof.ErrNotValid) {
				t.Errorf("%s: %v", identifier, err)
			}
		}
		want(t, "the expired one was expired by that", w.fired(expired), "status_changed")
	})
	t.Run("is_written_once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		c := w.dial(w.verify(keyproof.Options{MaxAttempts: 5}, a))
		c.Connected(context.Background())
		first := c.ends(keyproof.Finished)
		second := c.ends(keyproof.Disconnected)
		want(t, "verdict", second.Verdict, first.Verdict)
		want(t, "attempts", w.store.sessions[0].Attempts, 1)
		want(t, "connections", len(w.store.connections), 1)
	})
	t.Run("a_failing_store_counts_nothing_and_may_be_asked_again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.service.RecordWait = time.Hour
		d := w.verify(keyproof.Options{}, a)
		c := w.dial(d)
		c.authenticates(a)
		away := errors.New("disk full")
		w.store.failChange(away)
		if r, err := c.Commit(context.Background(), keyproof.Finished); !errors.Is(err, away) || r.Verdict != "" {
			t.Errorf("got %v, %v", r, err)
		}
		w.store.failChange(nil)
		want(t, "half-written", kept(w.read(d).Session)+w.fired(d), "")
		want(t, "attempts", w.read(d).Attempts, 0)
		want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.Proven)
		want(t, "in one write", w.fired(d), "new_connection verified status_changed")
	})
	t.Run("comes_after_a_connection_that_takes_its_time_was_recorded", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.service.RecordWait = 50 * time.Millisecond
			d := w.verify(keyproof.Options{}, a)
			c := w.dial(d)
			c.authenticates(a)
			want(t, "at once", w.fired(d), "")
			time.Sleep(51 * time.Millisecond) // the bubble's time
			synctest.Wait()
			want(t, "by itself", w.fired(d), "new_connection")
			want(t, "verdict", c.ends(keyproof.Finished).Verdict, keyproof.Proven)
			want(t, "fired", w.fired(d), "new_connection verified status_changed")
			want(t, "connections", len(w.store.connections), 1)
		})
	})
	t.Run("a_connection_that_could_not_be_recorded_proves_nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		away := errors.New("disk full")
		w.store.fail(away)
		c := w.dial(d)
		c.authenticates(a)
		for range 2 {
			if _, err := c.Commit(context.Background(), keyproof.Finished); !errors.Is(err, away) {
				t.Errorf("got %v", err)
			}
		}
		w.store.fail(nil)
		want(t, "status", w.read(d).Status, keyproof.Pending)
	})
	t.Run("ends_with_its_own_context_gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		c := w.dial(d)
		c.authenticates(a)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if r, err := c.Commit(ctx, keyproof.Disconnected); err != nil || r.Verdict != keyproof.Proven {
			t.Errorf("got %v, %v", r, err)
		}
	})
	t.Run("is_recorded_with_address_and_fingerprints", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		w.connect(d, keyproof.Finished, a)
		e := w.lastEvent()
		want(t, "action", e.Action, "keyproof.attempt")
		want(t, "outcome", e.Outcome, audit.Done)
		want(t, "actor", e.Actor.Kind, "nobody")
		want(t, "address and door", e.Address+" "+e.Door, "192.0.2.7 sshd")
		want(t, "object", e.Object.Kind+" "+e.Object.ID+" "+e.Project, "verify_session "+d.ID+" "+mine)
		want(t, "fingerprints", e.Detail["fingerprints"], a.key.SHA256())
		want(t, "status", e.Detail["status"], "verified")
		want(t, "connection", e.Detail["connection"], w.read(d).Connections[0].ID)
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	a := people(1)[0]
	t.Run("ends_the_connections_under_way", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		c, other := w.dial(d), w.dial(w.verify(keyproof.Options{}, a))
		defer other.End()
		c.authenticates(a)
		select {
		case <-c.Gone():
			t.Fatal("gone before its time")
		default:
		}
		if err := w.remove(d); err != nil {
			t.Fatal(err)
		}
		<-c.Gone()
		select {
		case <-other.Gone():
			t.Error("another session's connection ended too")
		default:
		}
		r := c.ends(keyproof.Disconnected)
		want(t, "result", string(r.Verdict)+places(r.Keys), "lost")
		want(t, "events", w.fired(d), "")
		want(t, "audit", w.lastEvent().Action, "keyproof.delete")
		wantFault(t, w.remove(d), fault.NotFound, "Session not found")
	})
	t.Run("is_noticed_by_a_connection_that_began_just_then", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		at, err := w.service.Begin(context.Background(), d.Identifier, peer())
		if err != nil {
			t.Fatal(err)
		}
		defer at.End()
		if err := w.store.Delete(context.Background(), mine, d.Kind, d.ID, audit.Event{}); err != nil { // no notice came
			t.Fatal(err)
		}
		at.Connected(context.Background())
		<-at.Gone()
		r, err := at.Commit(context.Background(), keyproof.Finished)
		if err != nil || r.Verdict != keyproof.LostRace {
			t.Errorf("got %v, %v", r, err)
		}
	})
}
