package keyproof_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

func TestPayloads(t *testing.T) {
	t.Parallel()
	a, b := people(2)[0], people(2)[1]
	w := newWorld(t)
	verified := w.verify(keyproof.Options{MaxAttempts: 2}, a)
	w.connect(verified, keyproof.Finished, b)
	w.connect(verified, keyproof.Finished, a)
	collected := w.create(keyproof.Collect, keyproof.Draft{Options: keyproof.Options{ExternalID: ptr("x-1")}})

	const common = " verify_session_connection_identifier verify_session_external_id verify_session_id"
	const key = "public_key_algorithm public_key_md5 public_key_pem public_key_sha256 public_key_ssh "
	for event, members := range map[string]string{
		"new_connection": "client_version ip_address verify_session_connection_id" + common,
		"verified":       key + "verify_session_connection_id verify_session_connection_key_id verify_session_key_id" + common,
		"failed_attempt": "client_version ip_address reason verify_session_connection_id" + common,
		"status_changed": "verify_session_status" + common,
	} {
		delivery, fields := w.payload(event)
		want(t, event, strings.Join(slices.Sorted(maps.Keys(fields)), " "), sorted(members))
		want(t, "entity", delivery.Entity, "verify_session")
		want(t, "external id", fields["verify_session_external_id"], nil)
		want(t, "identifier", fields["verify_session_connection_identifier"], any(verified.Identifier))
	}
	_, fields := w.payload("verified")
	last := w.read(verified).Connections[1]
	want(t, "key", fields["verify_session_key_id"], any(verified.Keys[0].ID))
	want(t, "connection", fields["verify_session_connection_id"], any(last.ID))
	want(t, "key in connection", fields["verify_session_connection_key_id"], any(last.Keys[0].ID))
	want(t, "md5", fields["public_key_md5"], any(a.key.MD5()))
	want(t, "pem", fields["public_key_pem"], any(a.key.PEM()))
	_, fields = w.payload("new_connection")
	want(t, "address", fields["ip_address"], any("192.0.2.7"))
	want(t, "version", fields["client_version"], any("SSH-2.0-OpenSSH_9.6"))

	w.connect(collected, keyproof.Finished, b)
	for event, members := range map[string]string{
		"new_connection": "client_version ip_address verify_session_connection_id" + common,
		"key_collected":  key + "verify_session_connection_id verify_session_connection_key_id" + common,
		"status_changed": "verify_session_status" + common,
	} {
		delivery, fields := w.payload(event)
		want(t, event, strings.Join(slices.Sorted(maps.Keys(fields)), " "), sorted(strings.ReplaceAll(members, "verify_", "collect_")))
		want(t, "entity", delivery.Entity, "collect_session")
		want(t, "external id", fields["collect_session_external_id"], any("x-1"))
	}
}

func sorted(words string) string {
	return strings.Join(slices.Sorted(slices.Values(strings.Fields(words))), " ")
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	ctx, a := context.Background(), people(1)[0]
	t.Run("hear_what_they_subscribed_to", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.create(keyproof.Verify, keyproof.Draft{
			Options: keyproof.Options{MaxAttempts: 1}, Keys: drafts(a),
			Webhooks: []webhook.Webhook{{URL: "https://shop.example/", Events: []string{"verified"}}},
		})
		w.connect(d, keyproof.Finished, a)
		want(t, "deliveries", w.fired(d), "new_connection verified verified status_changed")
		want(t, "known events of a verify session", strings.Join(keyproof.Events(keyproof.Verify), " "), "new_connection verified failed_attempt status_changed")
		want(t, "of a collect session", strings.Join(keyproof.Events(keyproof.Collect), " "), "new_connection key_collected status_changed")
	})
	t.Run("are_added_changed_and_removed_in_any_status", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{}, a)
		w.connect(d, keyproof.Finished, a)
		of := keyproof.Of{Project: mine, Kind: d.Kind, ID: d.ID}
		added, err := w.service.AddWebhook(ctx, w.by, of, webhook.Webhook{URL: "https://a.example/"})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "defaults", [3]any{added.Method, added.InitialBackoff, added.BackoffMultiplier}, [3]any{"post", int64(10), 2.0})
		want(t, "audit", w.lastEvent().Action+" "+w.lastEvent().Detail["change"]+" "+w.lastEvent().Detail["webhook"], "keyproof.webhook add "+added.ID)
		changed, err := w.service.UpdateWebhook(ctx, w.by, of, added.ID, func(h *webhook.Webhook) { h.Retries = 3 })
		if err != nil || changed.Retries != 3 {
			t.Fatal(changed, err)
		}
		want(t, "audit", w.lastEvent().Detail["change"], "update")
		_, err = w.service.UpdateWebhook(ctx, w.by, of, added.ID, func(h *webhook.Webhook) { h.Retries = 21 })
		wantFault(t, err, fault.Invalid, "a webhook has 0 to 20 retries")
		p, err := w.service.ListWebhooks(ctx, w.by, of, page.Of(1, 1))
		if err != nil || p.Total != 2 || len(p.Items) != 1 || p.Items[0].ID != added.ID {
			t.Errorf("got %v, %v", p, err)
		}
		if err := w.service.DeleteWebhook(ctx, w.by, of, added.ID); err != nil {
			t.Fatal(err)
		}
		want(t, "audit", w.lastEvent().Detail["change"], "delete")
		_, err = w.service.Webhook(ctx, w.by, of, added.ID)
		wantFault(t, err, fault.NotFound, "Webhook not found")
	})
	t.Run("are_at_most_ten", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.collect(keyproof.Options{})
		of := keyproof.Of{Project: mine, Kind: d.Kind, ID: d.ID}
		var err error
		for range 10 {
			_, err = w.service.AddWebhook(ctx, w.by, of, webhook.Webhook{URL: "https://a.example/"})
		}
		wantFault(t, err, fault.Conflict, "The session has 10 webhooks already")
	})
}

// verbs are all that a caller can do to a session.
func verbs(w *world, d keyproof.Detail) map[string]func(access.Caller) error {
	ctx, of := context.Background(), keyproof.Of{Project: mine, Kind: d.Kind, ID: d.ID}
	hook := d.Webhooks[0].ID
	return map[string]func(access.Caller) error{
		"read": func(by access.Caller) error {
			_, err := w.service.Session(ctx, by, mine, d.Kind, d.ID)
			return err
		},
		"update": func(by access.Caller) error {
			_, err := w.service.Update(ctx, by, mine, d.Kind, d.ID, keyproof.Edit{})
			return err
		},
		"complete": func(by access.Caller) error {
			_, err := w.service.Complete(ctx, by, mine, d.Kind, d.ID)
			return err
		},
		"delete": func(by access.Caller) error { return w.service.Delete(ctx, by, mine, d.Kind, d.ID) },
		"add webhook": func(by access.Caller) error {
			_, err := w.service.AddWebhook(ctx, by, of, webhook.Webhook{URL: "https://a.example/"})
			return err
		},
		"list webhooks": func(by access.Caller) error {
			_, err := w.service.ListWebhooks(ctx, by, of, page.Of(0, 10))
			return err
		},
		"read webhook": func(by access.Caller) error {
			_, err := w.service.Webhook(ctx, by, of, hook)
			return err
		},
		"update webhook": func(by access.Caller) error {
			_, err := w.service.UpdateWebhook(ctx, by, of, hook, func(*webhook.Webhook) {})
			return err
		},
		"delete webhook": func(by access.Caller) error { return w.service.DeleteWebhook(ctx, by, of, hook) },
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	a := people(1)[0]
	for name, by := range map[string]access.Caller{
		"a_key_of_another_project":   keyOf("p2", "*"),
		"a_key_without_the_scope":    keyOf(mine, "project.*"),
		"nobody":                     access.NobodyAt(peer().Caller.Address, "sshd", start),
		"the_zero_caller":            {},
		"a_key_without_any_scope":    keyOf(mine),
		"a_person_without_any_scope": {Principal: access.Principal{Kind: access.User, ID: "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := w.verify(keyproof.Options{MultiConnection: true}, a)
			before := w.eventCount()
			for verb, call := range verbs(w, d) {
				t.Log(verb)
				wantFault(t, call(by), fault.NotFound, "Session not found")
			}
			if _, err := w.service.Create(context.Background(), by, mine, keyproof.Collect, keyproof.Draft{}); !fault.Is(err, fault.Denied) {
				t.Errorf("create: %v", err)
			}
			if _, err := w.service.List(context.Background(), by, mine, keyproof.Collect, keyproof.Query{}); !fault.Is(err, fault.Denied) {
				t.Errorf("list: %v", err)
			}
			want(t, "changes", w.eventCount(), before)
		})
	}
	t.Run("a_session_is_found_in_its_project_and_kind_alone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.verify(keyproof.Options{MultiConnection: true}, a)
		d.Kind = keyproof.Collect
		for verb, call := range verbs(w, d) {
			t.Log(verb)
			wantFault(t, call(w.by), fault.NotFound, "Session not found")
		}
		other := keyOf("p2", "*")
		_, err := w.service.Session(context.Background(), other, "p2", keyproof.Verify, d.ID)
		wantFault(t, err, fault.NotFound, "Session not found")
		_, err = w.service.Complete(context.Background(), other, "p2", keyproof.Verify, d.ID)
		wantFault(t, err, fault.NotFound, "Session not found")
	})
}
