package test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// happening is an event as a webhook of the installation gets it.
type happening struct {
	Type      string
	Timestamp time.Time
	Data      struct {
		Position                     int64
		ID, Action, Outcome, Address string
		Actor                        struct{ Kind, Name, Method string }
	}
}

// subscribe adds a webhook of the installation and returns its secret.
func subscribe(t *testing.T, g *gate.Gate, url string, patterns ...string) string {
	t.Helper()
	args := []string{"webhook", "add", url}
	for _, p := range patterns {
		args = append(args, "--event", p)
	}
	secret := strings.TrimSpace(g.Must(t, args...))
	if !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("the secret is %q", secret)
	}
	return secret
}

// verified reads what a receiver got, as a receiver should: with the signature first.
func verified(t *testing.T, secret string, got gate.Delivery) happening {
	t.Helper()
	check, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := check.Verify(got.Body, got.Header); err != nil {
		t.Errorf("%v: %s", err, got.Body)
	}
	var e happening
	if err := json.Unmarshal(got.Body, &e); err != nil {
		t.Fatalf("%v: %s", err, got.Body)
	}
	return e
}

// Signing in fires a signed webhook of the installation, with who and from where; what was not asked for stays away, and so do secrets.
func TestSubscription_a_sign_in_fires_a_webhook(t *testing.T) {
	t.Parallel()
	g := withDana(t, nil)
	receiver := gate.Receive(t, "", nil)
	secret := subscribe(t, g, receiver.URL, "session.*", "login.*")
	v := bearer(t, g.Visitor(t), byPassword("dana"))
	if a := g.Visitor(t).JSON(sys+"/session/auth", map[string]any{"method": "password", "email": "dana@example.test", "password": "wrong horse"}); a.Status != http.StatusUnauthorized {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	var began, refused happening
	gate.Eventually(t, func() error {
		began, refused = happening{}, happening{}
		for _, d := range receiver.Got() {
			switch e := verified(t, secret, d); {
			case e.Type == "session.start" && e.Data.Actor.Name == "dana":
				began = e
			case e.Data.Outcome == "refused":
				refused = e
			}
		}
		if began.Type == "" || refused.Type == "" {
			return fmt.Errorf("got %d events", len(receiver.Got()))
		}
		return nil
	})
	if began.Data.Outcome != "done" || began.Data.Address != v.Address || began.Data.ID == "" || began.Data.Position < 1 || time.Since(began.Timestamp) > time.Minute {
		t.Errorf("%+v", began)
	}
	for _, d := range receiver.Got() {
		e := verified(t, secret, d)
		if noun, _, _ := strings.Cut(e.Type, "."); noun != "session" && noun != "login" {
			t.Errorf("nobody asked for %s", e.Type)
		}
		for _, hidden := range []string{danaPassword, v.Bearer, "wrong horse", secret} {
			if strings.Contains(string(d.Body), hidden) {
				t.Errorf("%s tells a secret", d.Body)
			}
		}
	}
	if log := g.Log(t); strings.Contains(log, secret) {
		t.Error("the log tells the secret")
	}
}

// The test event arrives, commands show what became of it, and one that is removed gets nothing.
func TestSubscription_commands(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	receiver := gate.Receive(t, "", nil)
	secret := subscribe(t, g, receiver.URL, "remote.*")
	id := strings.TrimSpace(g.Must(t, "webhook", "test", "1"))
	gate.Eventually(t, func() error {
		var shown delivery
		if err := json.Unmarshal([]byte(g.Must(t, "webhook", "show", id, "--json")), &shown); err != nil {
			return err
		}
		if shown.State != "delivered" || shown.Attempts != 1 {
			return fmt.Errorf("%+v", shown)
		}
		return nil
	})
	if got := receiver.Got(); len(got) != 1 || verified(t, secret, got[0]).Type != "subscription.test" || got[0].Header.Get("Webhook-Id") != id {
		t.Errorf("%+v", got)
	}
	g.Must(t, "webhook", "resend", id)
	gate.Eventually(t, func() error {
		if n := len(receiver.Got()); n != 2 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	if out := g.Must(t, "webhook", "deliveries", "--webhook", "1"); !strings.Contains(out, id) {
		t.Errorf("not listed: %s", out)
	}
	if out := g.Must(t, "webhook", "list"); !strings.Contains(out, receiver.URL) || strings.Contains(out, "whsec_") {
		t.Errorf("listed: %s", out)
	}
	g.AwaitMetric(t, "gatehouse_webhook_subscription_lag", func(v float64) bool { return v == 0 })
	g.Must(t, "webhook", "remove", "1")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"webhook", "test", "1"}, "see `gatehouse webhook list`"},
		{[]string{"webhook", "remove", "1"}, "see `gatehouse webhook list`"},
		{[]string{"webhook", "add", "http://10.1.2.3/", "--event", "*"}, "target address is not allowed"},
		{[]string{"webhook", "add", receiver.URL, "--event", "remote*"}, "event pattern"},
	} {
		if r := g.Command(t, "", c.args...); r.Exit != 1 || !strings.Contains(r.Stderr, c.says) {
			t.Errorf("%v: exit %d, %s", c.args, r.Exit, r.Stderr)
		}
	}
}

// kill -9 at any moment: each event of the chain is sent for once, none is lost, and each arrives.
func TestSubscription_kill_loses_no_event(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func() string{
		"SQLite":     func() string { return "" },
		"PostgreSQL": func() string { return peers.Postgres(t).Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			g := gate.Start(t, gate.Options{Database: database(), Settings: unlimited("sshverify.webhook_lease", "2s", "sshverify.webhook_timeout", "1s")})
			receiver := gate.Receive(t, "", nil)
			secret := subscribe(t, g, receiver.URL, "keyproof.*")
			g.Must(t, "webhook", "add", receiver.URL+"/other", "--event", "none.such") // moves along without a delivery
			rounds := 6
			if testing.Short() {
				rounds = 3
			}
			for range rounds {
				createAndKill(t, g)
				g.Serve(t)
			}
			want := map[string]bool{}
			for _, row := range g.Rows(t, `SELECT id FROM audit_events WHERE body LIKE '%"action":"keyproof.create"%'`) {
				want[row[0]] = true
			}
			gate.Eventually(t, func() error {
				if n := g.Count(t, `SELECT COUNT(*) FROM webhook_deliveries WHERE state <> 'delivered'`); n != 0 {
					return fmt.Errorf("%d deliveries have not arrived", n)
				}
				if n := g.Count(t, `SELECT COUNT(*) FROM webhook_deliveries WHERE event = 'keyproof.create'`); n != len(want) {
					return fmt.Errorf("%d deliveries for %d events", n, len(want))
				}
				return nil
			})
			invocation := map[string]string{} // by event
			for _, d := range receiver.Got() {
				e := verified(t, secret, d)
				if was, twice := invocation[e.Data.ID]; twice && was != d.Header.Get("Webhook-Id") {
					t.Errorf("event %s was sent for twice", e.Data.ID)
				}
				invocation[e.Data.ID] = d.Header.Get("Webhook-Id")
				if e.Type == "keyproof.create" {
					delete(want, e.Data.ID)
				}
			}
			for id := range want {
				t.Errorf("event %s was lost", id)
			}
			t.Logf("%d events, %d requests", len(invocation), len(receiver.Got()))
		})
	}
}

// createAndKill creates proofs as fast as it can and kills the server at some moment while it does.
func createAndKill(t *testing.T, g *gate.Gate) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	created := make(chan struct{}, 1000)
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+collectPath, strings.NewReader("{}"))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("X-Api-Key", g.APIKey)
				a, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					return // the server is dead
				}
				_ = a.Body.Close()
				if a.StatusCode != http.StatusCreated {
					t.Errorf("create: %d", a.StatusCode)
					return
				}
				select {
				case created <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 20 + rand.N(40) {
		select {
		case <-created:
		case <-time.After(peers.Patience):
			t.Fatal("nothing is created")
		}
	}
	time.Sleep(time.Duration(rand.N(int64(60 * time.Millisecond)))) // a random moment is the test
	g.Kill()
	clients.Wait()
	stop()
}

// The stream of events tells of a sign-in as it happens, goes on where it was after the server was stopped in peace, and does not hold it up.
func TestEvents_over_a_restart(t *testing.T) {
	t.Parallel()
	g := withDana(t, nil)
	person(t, g, "erin")
	g.Must(t, "user", "grant-admin", "dana")
	v := bearer(t, g.Visitor(t), byPassword("dana"))
	f := followEvents(t, g, v.Bearer, "", "session.*")
	bearer(t, g.Visitor(t), byPassword("erin"))
	id := f.await(t, "session.start", "erin")
	began := time.Now()
	g.Stop(t)
	if after := took(began); after > 5*time.Second {
		t.Errorf("stopping took %s", after)
	}
	if text, err := f.rest(); err != nil || !strings.Contains(text, "event: end") {
		t.Errorf("it ended with %v: %q", err, text)
	}
	g.Must(t, "user", "disable", "erin") // while nobody listens: ends the session
	g.Serve(t)
	f = followEvents(t, g, v.Bearer, id, "session.*,user.*")
	f.await(t, "user.update", "")
	g.Must(t, "session", "end", "--user", "dana")
	if text, err := f.rest(); err != nil || !strings.Contains(text, "event: end") {
		t.Errorf("after the session it went on, or ended with %v: %q", err, text)
	}
}

// stream is one open stream of events.
type stream struct {
	lines *bufio.Scanner
}

func followEvents(t *testing.T, g *gate.Gate, token, after, types string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*peers.Patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/api/v1/events?types="+types, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Body.Close() })
	if a.StatusCode != http.StatusOK {
		t.Fatalf("status %d", a.StatusCode)
	}
	return &stream{bufio.NewScanner(a.Body)}
}

// await reads until an event of that type, by that actor where one is named, and returns its id.
func (s *stream) await(t *testing.T, kind, actor string) (id string) {
	t.Helper()
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "data":
			var e happening
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				t.Fatalf("%v: %s", err, value)
			}
			if e.Type == kind && (actor == "" || e.Data.Actor.Name == actor) {
				return id
			}
		}
	}
	t.Fatalf("no %s of %s: %v", kind, actor, errors.Join(s.lines.Err(), errors.New("the stream ended")))
	return ""
}

// rest reads until the stream ends.
func (s *stream) rest() (string, error) {
	var text strings.Builder
	for s.lines.Scan() {
		text.WriteString(s.lines.Text() + "\n")
	}
	return text.String(), s.lines.Err()
}
