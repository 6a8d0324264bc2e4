package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// Two nodes on one PostgreSQL race for one session: exactly one connection wins, once.
func TestFaults_two_nodes_race(t *testing.T) {
	t.Parallel()
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	a := gate.Start(t, gate.Options{Database: peers.Postgres(t).Database(t), Settings: unlimited("sshverify.leave_wait", "100ms")})
	b := a.Second(t)
	receiver := gate.Receive(t, "", nil)
	real := gate.NewKeys(t, 1)[0]
	key := real.Signer(t)
	for round := range rounds {
		s := a.Create(t, "verify", sessionOf([]string{real.Public}, "webhooks", []map[string]any{{"url": receiver.URL, "events": []string{"status_changed", "verified"}}}))
		var clients sync.WaitGroup
		outs, codes := make([]string, 4), make([]int, 4)
		begin := make(chan struct{})
		for i, g := range []*gate.Gate{a, b, a, b} {
			command := g.SSH(t, s.ConnectionIdentifier, gate.With(real)...)
			clients.Go(func() {
				<-begin
				if round%4 == 0 && i < 2 { // the real client, some of the time: it takes longer to start
					r := gate.Run(t, command, "")
					outs[i], codes[i] = r.Stdout+r.Stderr, r.Exit
					return
				}
				outs[i], codes[i] = proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, key)
			})
		}
		close(begin)
		clients.Wait()
		winners := 0
		for i, code := range codes {
			switch {
			case code == 0 && strings.Contains(outs[i], "Verified with"):
				winners++
			case code == 1 && strings.Contains(outs[i], "This code was already used by another connection."):
			case code == 255, code == -1: // it came when the code was used up
			default:
				t.Errorf("round %d: exit %d, %q", round, code, outs[i])
			}
		}
		if winners != 1 {
			t.Errorf("round %d: %d winners: %v %q", round, winners, codes, outs)
		}
		if n := a.Count(t, "SELECT count(*) FROM webhook_deliveries WHERE owner = $1 AND event = 'status_changed'", s.ID); n != 1 {
			t.Errorf("round %d: %d status_changed", round, n)
		}
		keyed := 0
		for _, c := range b.Session(t, "verify", s.ID).Connections {
			keyed += len(c.Keys)
		}
		if keyed != 1 {
			t.Errorf("round %d: %d keys in connections", round, keyed)
		}
	}
	delivered(t, a, receiver)
	// Nobody was killed, so nothing may have been sent twice.
	if got, want := len(receiver.Got()), 2*rounds; got != want {
		t.Errorf("%d requests came for %d events", got, want)
	}
	if ha, hb := a.HostKey(t), b.HostKey(t); ha != hb {
		t.Errorf("host keys %s and %s", ha, hb)
	}
}

// What is withdrawn on one node is withdrawn on the other within two seconds: a deleted session closes the
// connection that waits there (rule S14), a revoked key opens nothing (rule W7).
func TestFaults_two_nodes_withdraw(t *testing.T) {
	t.Parallel()
	a := gate.Start(t, gate.Options{Database: peers.Postgres(t).Database(t), Settings: unlimited()})
	b := a.Second(t)
	key := gate.NewKeys(t, 1)[0]
	t.Run("a deleted session", func(t *testing.T) {
		s := a.Create(t, "verify", sessionOf([]string{key.Public}, "must_confirm", true))
		answer := waiting(t, a, s, key)
		gate.Eventually(t, func() error { // before that, the connection would learn of it when it is written
			if now := b.Session(t, "verify", s.ID); len(now.Connections) != 1 {
				return fmt.Errorf("%d connections on record", len(now.Connections))
			}
			return nil
		})
		began := time.Now()
		if r := b.API(t, "DELETE", "/api/v1/ssh/verify/sessions/"+s.ID, nil); r.Status != 204 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		if out, code := answer(""); code == 0 || strings.Contains(out, "Verified") {
			t.Errorf("exit %d\n%s", code, out)
		}
		if after := took(began); after > 2*time.Second {
			t.Errorf("the connection was closed after %v", after)
		}
		if r := gate.Run(t, a.SSH(t, s.ConnectionIdentifier, gate.With(key)...), ""); r.Exit != 255 || !strings.Contains(r.Stderr, "This code is not valid (any more).") {
			t.Errorf("the deleted code: exit %d, %s", r.Exit, r.Stderr)
		}
		if e := a.AwaitAudited(t, "keyproof.delete", "done", ""); e.Object.ID != s.ID {
			t.Errorf("audit log: %+v", e)
		}
	})
	t.Run("a revoked key", func(t *testing.T) {
		second := a.AddKey(t, "E2E", "short-lived")
		var keys []struct{ ID, Name string }
		if err := json.Unmarshal([]byte(a.Must(t, "apikey", "list", "--project", "E2E", "--json")), &keys); err != nil {
			t.Fatal(err)
		}
		for _, g := range []*gate.Gate{a, b} {
			if r := g.APIAs(t, second, "GET", "/api/v1/auth/info", nil); r.Status != 200 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
		}
		for _, k := range keys {
			if k.Name == "short-lived" {
				a.Must(t, "apikey", "revoke", k.ID)
			}
		}
		began := time.Now()
		for _, g := range []*gate.Gate{b, a} {
			gate.Eventually(t, func() error {
				if r := g.APIAs(t, second, "GET", "/api/v1/auth/info", nil); r.Status != 401 {
					return fmt.Errorf("%d %s", r.Status, r.Body)
				}
				return nil
			})
		}
		if after := took(began); after > 2*time.Second {
			t.Errorf("the key was refused after %v", after)
		}
		if r := b.API(t, "GET", "/api/v1/auth/info", nil); r.Status != 200 {
			t.Errorf("the other key: %d %s", r.Status, r.Body)
		}
		a.AwaitAudited(t, "token.revoke", "done", "")
		a.AwaitAudited(t, "login.api_key", "refused", "revoked")
	})
}
