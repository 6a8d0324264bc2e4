package keyproof_test

import (
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func TestUpdate(t *testing.T) {
	t.Parallel()
	a, b, c := people(3)[0], people(3)[1], people(3)[2]
	must := func(t *testing.T) func(keyproof.Detail, error) keyproof.Detail {
		return func(d keyproof.Detail, err error) keyproof.Detail {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Run("keeps_what_is_not_named_and_clears_what_is_null", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{Message: ptr("hello"), Banner: ptr("welcome"), ExternalID: ptr("x"), MultiKey: true}, a)
		w.clock.pass(time.Second)
		after := must(t)(w.update(d, keyproof.Edit{Message: keyproof.SetTo[*string](nil), ExternalID: keyproof.SetTo(ptr("y"))}))
		want(t, "cleared", after.Message, nil)
		want(t, "changed", *after.ExternalID, "y")
		want(t, "kept", *after.Banner, "welcome")
		want(t, "kept option", after.MultiKey, true)
		want(t, "kept key", after.Keys[0].ID, d.Keys[0].ID)
		want(t, "updated", after.Updated, start.Add(time.Second))
		want(t, "created", after.Created, start)
		e := w.lastEvent()
		want(t, "audit", e.Action+" "+e.Object.ID+" "+e.Address+" "+e.Detail["key_00"], "keyproof.update "+d.ID+" 198.51.100.4 "+a.key.SHA256())
		want(t, "no event for webhooks", w.fired(d), "")
	})
	t.Run("moves_the_expiry", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.create(keyproof.Verify, keyproof.Draft{Options: keyproof.Options{MaxAttempts: 1}, Keys: drafts(a), Timeout: time.Minute})
		w.clock.pass(30 * time.Second)
		after := must(t)(w.update(d, keyproof.Edit{Timeout: keyproof.SetTo(time.Minute)}))
		want(t, "a time-out counts from the update", after.Expires, start.Add(90*time.Second))
		after = must(t)(w.update(d, keyproof.Edit{Expires: keyproof.SetTo(start.Add(time.Hour))}))
		want(t, "a moment", after.Expires, start.Add(time.Hour))
		after = must(t)(w.update(d, keyproof.Edit{Timeout: keyproof.SetTo(time.Duration(0)), Expires: keyproof.SetTo(start.Add(2 * time.Hour))}))
		want(t, "null and a moment", after.Expires, start.Add(2*time.Hour))
		_, err := w.update(d, keyproof.Edit{Timeout: keyproof.SetTo(time.Minute), Expires: keyproof.SetTo(start.Add(time.Hour))})
		wantFault(t, err, fault.Invalid, "Cannot use both timeout and expired_at")
		_, err = w.update(d, keyproof.Edit{Expires: keyproof.SetTo(start)})
		wantFault(t, err, fault.Invalid, "expired_at must be in the future")
		after = must(t)(w.update(d, keyproof.Edit{Timeout: keyproof.SetTo(time.Duration(0))}))
		want(t, "null clears", after.Expires.IsZero(), true)
	})
	t.Run("replaces_keys_and_knows_them_by_fingerprint", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{MultiConnection: true, MatchAllKeys: true}, a, b)
		w.connect(d, keyproof.Finished, a)
		proven := w.read(d).Keys[0].Verified
		w.clock.pass(time.Minute)
		after := must(t)(w.update(d, keyproof.Edit{Keys: keyproof.SetTo([]keyproof.KeyDraft{{Public: c.key}, {Public: a.key, Name: ptr("new name")}})}))
		want(t, "id kept", after.Keys[1].ID, d.Keys[0].ID)
		want(t, "proof kept", after.Keys[1].Verified, proven)
		want(t, "name taken", *after.Keys[1].Name, "new name")
		want(t, "new key unproven", after.Keys[0].Verified.IsZero(), true)
		want(t, "the removed key's connection stays", inConnections(after), "A")
		_, err := w.update(d, keyproof.Edit{Keys: keyproof.SetTo(drafts(b, b))})
		wantFault(t, err, fault.Invalid, "The same public key is listed more than once")
		_, err = w.update(d, keyproof.Edit{Keys: keyproof.SetTo(drafts())})
		wantFault(t, err, fault.Invalid, "a verify session lists 1 to 32 keys")
	})
	for name, row := range map[string]struct {
		options keyproof.Options
		edit    keyproof.Edit
		status  keyproof.Status
	}{
		"multi_connection_off_and_met":          {keyproof.Options{}, keyproof.Edit{MultiConnection: keyproof.SetTo(false)}, keyproof.Verified},
		"multi_connection_off_and_not_met":      {keyproof.Options{MatchAllKeys: true}, keyproof.Edit{MultiConnection: keyproof.SetTo(false)}, keyproof.Pending},
		"fewer_keys_with_multi_connection":      {keyproof.Options{MatchAllKeys: true}, keyproof.Edit{Keys: keyproof.SetTo(drafts(a))}, keyproof.Pending},
		"fewer_keys_and_multi_connection_off":   {keyproof.Options{MatchAllKeys: true}, keyproof.Edit{Keys: keyproof.SetTo(drafts(a)), MultiConnection: keyproof.SetTo(false)}, keyproof.Verified},
		"other_keys_and_multi_connection_off":   {keyproof.Options{}, keyproof.Edit{Keys: keyproof.SetTo(drafts(c)), MultiConnection: keyproof.SetTo(false)}, keyproof.Pending},
		"fewer_attempts_than_were_made":         {keyproof.Options{MatchAllKeys: true}, keyproof.Edit{MaxAttempts: keyproof.SetTo(2)}, keyproof.Failed},
		"as_many_attempts_as_left":              {keyproof.Options{MatchAllKeys: true}, keyproof.Edit{MaxAttempts: keyproof.SetTo(3)}, keyproof.Pending},
		"fewer_attempts_where_enough_is_proven": {keyproof.Options{}, keyproof.Edit{MaxAttempts: keyproof.SetTo(1)}, keyproof.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			row.options.MultiConnection, row.options.MaxAttempts = true, 4
			d := w.verify(row.options, a, b)
			w.connect(d, keyproof.Finished) // two attempts that fail, one that brings A
			w.connect(d, keyproof.Finished)
			w.connect(d, keyproof.Finished, a)
			after := must(t)(w.update(d, row.edit))
			want(t, "status", after.Status, row.status)
			changes := 1
			if row.status == keyproof.Pending {
				changes = 0
			}
			want(t, "status_changed", count(w.fired(d), "status_changed"), changes)
			told := 0
			for _, e := range w.observed {
				if e.What == "status" {
					told++
				}
			}
			want(t, "observed changes of status", told, changes)
			if changes == 1 {
				want(t, "audit", w.lastEvent().Detail["status"], string(row.status))
			}
		})
	}
	t.Run("a_running_connection_is_judged_by_the_new_rules", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a, b)
		conn := w.dial(d)
		conn.authenticates(a)
		must(t)(w.update(d, keyproof.Edit{MatchAllKeys: keyproof.SetTo(true), Banner: keyproof.SetTo(ptr("later"))}))
		want(t, "banner", conn.Session().Banner, nil)
		want(t, "verdict", conn.ends(keyproof.Finished).Verdict, keyproof.Incomplete)
	})
	t.Run("refuses_an_ended_session_after_what_the_caller_can_mend", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		w.connect(d, keyproof.Finished, a)
		_, err := w.update(d, keyproof.Edit{Banner: keyproof.SetTo(ptr("x"))})
		wantFault(t, err, fault.Conflict, "The session is already verified")
		_, err = w.update(d, keyproof.Edit{Expires: keyproof.SetTo(start)})
		wantFault(t, err, fault.Invalid, "expired_at must be in the future")
		want(t, "audit", w.lastEvent().Action, "keyproof.attempt")
	})
}
