package keyproof

import (
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
)

// The events that webhooks subscribe to (SSHVerify spec section 5.2).
const (
	EventConnection = "new_connection"
	EventVerified   = "verified"
	EventAttempt    = "failed_attempt"
	EventCollected  = "key_collected"
	EventStatus     = "status_changed"
)

// Events returns the events of a kind of session.
func Events(k Kind) []string {
	if k == Collect {
		return []string{EventConnection, EventCollected, EventStatus}
	}
	return []string{EventConnection, EventVerified, EventAttempt, EventStatus}
}

// fire is one event on its way to the webhooks of a session.
type fire struct {
	event   string
	payload map[string]any
	at      time.Time
}

// firing collects the events of one change that some webhook of the session wants, in order.
type firing struct {
	session Session
	to      []webhook.Webhook
	events  []fire
}

// add notes an event. Its payload starts with what all payloads share (spec section 5.4); what nobody
// wants is not put together.
func (f *firing) add(event string, at time.Time, fields func() map[string]any) {
	if !slices.ContainsFunc(f.to, func(w webhook.Webhook) bool { return w.Wants(event) }) {
		return
	}
	prefix := f.session.Kind.Entity()
	payload := fields()
	payload[prefix+"_id"] = f.session.ID
	payload[prefix+"_external_id"] = f.session.ExternalID
	payload[prefix+"_connection_identifier"] = f.session.Identifier
	f.events = append(f.events, fire{event, payload, at})
}

func (f *firing) connected(c Connection) {
	f.add(EventConnection, c.Created, func() map[string]any {
		return map[string]any{f.session.Kind.Entity() + "_connection_id": c.ID, "ip_address": c.Address, "client_version": c.ClientVersion}
	})
}

func (f *firing) verified(c Connection, k ConnectionKey, at time.Time) {
	f.add(EventVerified, at, func() map[string]any {
		fields := keyFields(k.Public)
		fields["verify_session_connection_id"] = c.ID
		fields["verify_session_key_id"] = k.Key
		fields["verify_session_connection_key_id"] = k.ID
		return fields
	})
}

func (f *firing) collected(c Connection, k ConnectionKey, at time.Time) {
	f.add(EventCollected, at, func() map[string]any {
		fields := keyFields(k.Public)
		fields["collect_session_connection_id"] = c.ID
		fields["collect_session_connection_key_id"] = k.ID
		return fields
	})
}

func (f *firing) failedAttempt(c Connection, reason string, at time.Time) {
	f.add(EventAttempt, at, func() map[string]any {
		return map[string]any{"verify_session_connection_id": c.ID, "ip_address": c.Address, "client_version": c.ClientVersion, "reason": reason}
	})
}

// statusChanged tells the session's status as it is in f.session.
func (f *firing) statusChanged(at time.Time) {
	f.add(EventStatus, at, func() map[string]any {
		return map[string]any{f.session.Kind.Entity() + "_status": string(f.session.show(f.session.Status))}
	})
}

func keyFields(k sshkey.Key) map[string]any {
	return map[string]any{
		"public_key_ssh": k.SSH(), "public_key_pem": k.PEM(), "public_key_md5": k.MD5(),
		"public_key_sha256": k.SHA256(), "public_key_algorithm": k.Type(),
	}
}

// deliveries turns the collected events into one delivery for each webhook that wants it.
func (f *firing) deliveries(hooks *webhook.Service) ([]webhook.Delivery, error) {
	var out []webhook.Delivery
	for _, e := range f.events {
		ds, err := hooks.Fire(f.to, f.session.Kind.Entity(), e.event, e.payload, e.at)
		if err != nil {
			return nil, err
		}
		out = append(out, ds...)
	}
	return out, nil
}
