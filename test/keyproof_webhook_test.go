package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
)

// delivery is what `gatehouse webhook show --json` says.
type delivery struct {
	ID, State, Reason string
	Attempts, Status  int
	Log               []struct {
		Attempt, Status int
		Reason, Answer  string
	}
}

// onlyDelivery waits until the session's one delivery has ended and returns what the command shows of it.
func onlyDelivery(t testing.TB, g *gate.Gate, session string) delivery {
	t.Helper()
	var d delivery
	gate.Eventually(t, func() error {
		rows := g.Rows(t, `SELECT id, state FROM webhook_deliveries WHERE owner = $1`, session)
		if len(rows) != 1 || rows[0][1] == "pending" {
			return fmt.Errorf("deliveries %v", rows)
		}
		return json.Unmarshal([]byte(g.Must(t, "webhook", "show", rows[0][0], "--json")), &d)
	})
	return d
}

// oneEvent creates a session that fires exactly one event to the webhook: it is completed.
func oneEvent(t testing.TB, g *gate.Gate, webhook object) gate.Session {
	t.Helper()
	webhook["events"] = []string{"status_changed"}
	s := g.Create(t, "collect", object{"multi_connection": true, "webhooks": []object{webhook}})
	if status := complete(t, g, "collect", s); status != http.StatusOK {
		t.Fatalf("complete: %d", status)
	}
	return s
}

const hookSecret = "whsec_Z2F0ZWhvdXNlIGVuZC10by1lbmQgd2ViaG9vayBrZXk="

// Line 14: a redirect is a failure, and nobody follows it.
func TestKeyproof_line14_a_redirect(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	var followed atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(target.Close)
	door := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusFound))
	t.Cleanup(door.Close)
	s := oneEvent(t, g, object{"url": door.URL})
	if d := onlyDelivery(t, g, s.ID); d.State != "failed" || d.Status != 302 || d.Attempts != 1 || d.Reason == "" {
		t.Errorf("%+v", d)
	}
	if followed.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

// Line 14, rule W8: a name that resolves to loopback is a failed attempt with that reason; an address that
// is loopback is refused at once.
func TestKeyproof_line14_a_name_of_loopback(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.webhook_allow": ""}})
	receiver := gate.Receive(t, "", nil)
	for _, literal := range []string{receiver.URL, "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest", "http://0.0.0.0/"} {
		a := g.API(t, "POST", collectPath, object{"webhooks": []object{{"url": literal}}})
		if p := refused(t, a, 422); len(p.Errors) != 1 || p.Errors[0].Location != "body.webhooks[0].url" || p.Errors[0].Message != "target address is not allowed" {
			t.Errorf("%s: %q", literal, faults(p))
		}
	}
	s := oneEvent(t, g, object{"url": strings.Replace(receiver.URL, "127.0.0.1", "localhost", 1)})
	d := onlyDelivery(t, g, s.ID)
	if d.State != "failed" || d.Status != 0 || d.Reason != "target address is not allowed" || len(d.Log) != 1 || d.Log[0].Reason != d.Reason {
		t.Errorf("%+v", d)
	}
	if n := len(receiver.Got()); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

// Line 14: the server dies between claim and answer. After the lease the delivery is sent again with the
// same attempt number and the same id.
func TestKeyproof_line14_killed_before_the_answer(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.webhook_lease": "11s", "sshverify.webhook_timeout": "10s"}})
	killed := make(chan struct{})
	receiver := gate.Receive(t, hookSecret, func(n int) int {
		if n == 1 {
			<-killed
		}
		return http.StatusOK
	})
	s := oneEvent(t, g, object{"url": receiver.URL, "secret": hookSecret})
	gate.Eventually(t, func() error {
		if len(receiver.Got()) == 0 {
			return errors.New("no request came")
		}
		return nil
	})
	g.Kill()
	close(killed)
	g.Serve(t)
	d := onlyDelivery(t, g, s.ID)
	if d.State != "delivered" || d.Attempts != 1 || len(d.Log) != 1 {
		t.Errorf("%+v", d)
	}
	got := receiver.Got()
	if len(got) != 2 {
		t.Fatalf("%d requests came, want 2", len(got))
	}
	for i, r := range got {
		if r.Attempt != 1 || r.Invocation != d.ID || r.Signature != nil || r.Header.Get("Webhook-Id") != d.ID {
			t.Errorf("request %d: attempt %d of %s, signature %v", i+1, r.Attempt, r.Invocation, r.Signature)
		}
	}
	if string(got[0].Payload) != string(got[1].Payload) {
		t.Errorf("two payloads: %s and %s", got[0].Payload, got[1].Payload)
	}
}

// Line 14: retries 2 and a receiver that fails: three requests, at +0, +10 and +30 units. Sent again by
// hand, the attempt number goes on.
func TestKeyproof_line14_retries(t *testing.T) {
	t.Parallel()
	const unit = 50 * time.Millisecond
	g := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.webhook_retry_unit": unit.String()}})
	delays := make(chan time.Duration, 2)
	receiver := gate.Receive(t, hookSecret, func(n int) int {
		if n == 2 || n == 3 {
			delays <- delayed(t, g, n-1)
		}
		if n > 3 {
			return http.StatusNoContent
		}
		return http.StatusInternalServerError
	})
	s := oneEvent(t, g, object{"url": receiver.URL, "retries": 2, "secret": hookSecret})
	d := onlyDelivery(t, g, s.ID)
	if d.State != "failed" || d.Attempts != 3 || d.Status != 500 || len(d.Log) != 3 {
		t.Errorf("%+v", d)
	}
	for i, units := range []time.Duration{10, 20} {
		if delay := <-delays; delay.Round(time.Millisecond) != units*unit { // the database keeps microseconds
			t.Errorf("attempt %d is due %v after the one before, want %v", i+2, delay, units*unit)
		}
	}
	if r := g.Command(t, "", "webhook", "resend", d.ID); r.Exit != 0 {
		t.Fatalf("resend: %s", r.Stderr)
	}
	gate.Eventually(t, func() error {
		if d = onlyDelivery(t, g, s.ID); d.State != "delivered" {
			return fmt.Errorf("the delivery is %s", d.State)
		}
		return nil
	})
	got := receiver.Got()
	if len(got) != 4 {
		t.Fatalf("%d requests came, want 3 and 1", len(got))
	}
	for i, r := range got {
		if r.Attempt != i+1 || r.Invocation != d.ID || r.Signature != nil {
			t.Errorf("request %d: attempt %d of %s, signature %v", i+1, r.Attempt, r.Invocation, r.Signature)
		}
		if i == 1 || i == 2 {
			if waited := r.At.Sub(got[i-1].At); waited < time.Duration(i)*10*unit {
				t.Errorf("request %d came %v after the one before", i+1, waited)
			}
		}
	}
}

// delayed is how long after the end of attempt n the gate's one delivery, which is under way, was due.
func delayed(t testing.TB, g *gate.Gate, n int) time.Duration {
	t.Helper()
	row := g.Rows(t, `SELECT d.due, a.started, a.took FROM webhook_deliveries d JOIN webhook_attempts a ON a.delivery = d.id WHERE a.number = $1`, n)[0]
	var micros [3]int64
	for i, text := range row {
		micros[i], _ = strconv.ParseInt(text, 10, 64) // integers of the schema
	}
	return time.Duration(micros[0]-micros[1]-micros[2]) * time.Microsecond
}
