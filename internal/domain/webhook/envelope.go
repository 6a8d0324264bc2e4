package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// envelope is the body of a request to a webhook of a session (SSHVerify spec section 5.3).
type envelope struct {
	Entity      string          `json:"entity"`
	ID          string          `json:"id"`
	Event       string          `json:"event"`
	Webhook     string          `json:"webhook_id"`
	Invocation  string          `json:"webhook_invocation_id"`
	TriggerTime time.Time       `json:"trigger_time"`
	RequestTime time.Time       `json:"request_time"`
	Attempt     int             `json:"attempt"`
	Payload     json.RawMessage `json:"payload"`
}

// Request is what a Sender sends.
type Request struct {
	Method string // upper case
	URL    string
	Header map[string][]string
	Body   []byte
}

// request builds attempt n of the job at that moment. userAgent names the program and its version.
func (j Job) request(n int, now time.Time, userAgent string) (Request, error) {
	d, w := j.Delivery, j.Webhook
	body, err := d.body(n, now)
	if err != nil {
		return Request{}, err
	}
	header := map[string][]string{"Content-Type": {"application/json"}, "User-Agent": {userAgent}}
	for name, values := range w.ownHeaders() {
		header[name] = values
	}
	if w.Secret.Reveal() != "" {
		if err := sign(header, w, d.ID, now, body); err != nil {
			return Request{}, err
		}
	}
	return Request{Method: strings.ToUpper(w.Method), URL: w.URL, Header: header, Body: body}, nil
}

// body is what attempt n sends. An event of the installation is its payload, the same at each attempt, as Standard Webhooks has it.
func (d Delivery) body(n int, now time.Time) ([]byte, error) {
	if d.Entity == EventEntity {
		return d.Payload, nil
	}
	return json.Marshal(envelope{
		Entity: d.Entity, ID: d.Owner, Event: d.Event, Webhook: d.Webhook, Invocation: d.ID,
		TriggerTime: d.Triggered.UTC().Truncate(time.Microsecond), RequestTime: now.UTC().Truncate(time.Microsecond), Attempt: n, Payload: d.Payload,
	})
}

// sign adds the three headers of Standard Webhooks 1.0.
func sign(header map[string][]string, w Webhook, id string, now time.Time, body []byte) error {
	key, err := secretKey(w.Secret)
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	header["Webhook-Id"] = []string{id}
	header["Webhook-Timestamp"] = []string{stamp}
	header["Webhook-Signature"] = []string{"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	return nil
}

// ownHeaders are the webhook's headers by their canonical names. Names that differ in case are one
// field, its values in the order of the names as written; a name without values asks for nothing.
func (w Webhook) ownHeaders() map[string][]string {
	own := make(map[string][]string, len(w.Headers))
	for _, name := range slices.Sorted(maps.Keys(w.Headers)) {
		if values := w.Headers[name]; len(values) > 0 {
			own[canonical(name)] = append(own[canonical(name)], values...)
		}
	}
	return own
}

// canonical writes a header name the way HTTP/1.1 libraries do, so that a webhook's own Content-Type
// replaces ours whatever its case.
func canonical(name string) string {
	parts := strings.Split(strings.ToLower(name), "-")
	for i, p := range parts {
		if p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "-")
}
