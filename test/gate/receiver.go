package gate

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Delivery is one request that a receiver got.
type Delivery struct {
	At        time.Time
	Method    string
	Header    http.Header
	Body      []byte
	Signature error // of the Standard Webhooks check; nil when it passed, or when no secret was given

	Entity     string
	ID         string
	Event      string
	Invocation string          `json:"webhook_invocation_id"`
	Webhook    string          `json:"webhook_id"`
	Attempt    int             `json:"attempt"`
	Payload    json.RawMessage `json:"payload"`
}

// Receiver is a webhook receiver on loopback.
type Receiver struct {
	URL string

	secret string
	answer func(n int) int

	mu  sync.Mutex
	got []Delivery
}

// Receive starts a receiver that checks signatures with secret, unless it is empty. answer gives the
// status for request n (1, 2, ...); nil answers 200.
func Receive(tb testing.TB, secret string, answer func(n int) int) *Receiver {
	tb.Helper()
	r := &Receiver{secret: secret, answer: answer}
	server := httptest.NewServer(r)
	tb.Cleanup(server.Close)
	r.URL = server.URL + "/hook"
	return r
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	d := Delivery{At: time.Now(), Method: request.Method, Header: request.Header, Body: body}
	_ = json.Unmarshal(body, &d) // a body that is no JSON shows in the test's own checks
	if r.secret != "" {
		var check *standardwebhooks.Webhook
		if check, d.Signature = standardwebhooks.NewWebhook(r.secret); d.Signature == nil {
			d.Signature = check.Verify(body, request.Header)
		}
	}
	r.mu.Lock()
	r.got = append(r.got, d)
	n := len(r.got)
	r.mu.Unlock()
	if r.answer != nil {
		w.WriteHeader(r.answer(n))
	}
}

// Got returns what came so far.
func (r *Receiver) Got() []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Delivery(nil), r.got...)
}

// Events returns the names of the events that came so far, in order.
func (r *Receiver) Events() []string {
	var names []string
	for _, d := range r.Got() {
		names = append(names, d.Event)
	}
	return names
}
