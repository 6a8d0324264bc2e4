package test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// killed is a session of the kill -9 test and what its client saw.
type killed struct {
	gate.Session
	signs bool // its client has the key; otherwise it only has the public half
	saw   bool // its client was told "Verified", with exit 0
}

// kill -9 in the middle of verifications: what a client was told is true after the restart, what nobody
// signed is not there, and nothing is there twice.
func TestFaults_kill_in_the_middle_of_verifications(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func() string{
		"SQLite":     func() string { return "" },
		"PostgreSQL": func() string { return peers.Postgres(t).Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // both wait for the lease
			rounds := 6
			if testing.Short() {
				rounds = 3
			}
			g := gate.Start(t, gate.Options{Database: database(), Settings: unlimited("sshverify.webhook_lease", "11s", "sshverify.webhook_timeout", "10s", "sshverify.leave_wait", "100ms")})
			receiver := gate.Receive(t, "", nil)
			var all []*killed
			for range rounds {
				all = append(all, killRound(t, g, receiver)...)
				g.Serve(t)
			}
			afterKills(t, g, all)
			delivered(t, g, receiver)
			if r := g.Command(t, "", "audit", "verify"); r.Exit != 0 {
				t.Errorf("audit verify: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
			}
			stillServes(t, g, gate.NewKeys(t, 1)[0])
		})
	}
}

// killRound lets clients prove keys and kills the server at some moment while they do. The real client is
// among them.
func killRound(t *testing.T, g *gate.Gate, receiver *gate.Receiver) []*killed {
	t.Helper()
	const n = 16
	keys, lines := memoryKeys(t, 2)
	real := gate.NewKeys(t, 1)[0]
	round := make([]*killed, n)
	for i := range round {
		listed := []string{lines[0]}
		if i == 0 {
			listed = []string{real.Public}
		}
		round[i] = &killed{signs: i%4 != 3, Session: g.Create(t, "verify", sessionOf(listed,
			"webhooks", []map[string]any{{"url": receiver.URL, "events": []string{"status_changed", "verified"}}}))}
	}
	command := g.SSH(t, round[0].ConnectionIdentifier, gate.With(real)...)
	var clients sync.WaitGroup
	ended := make(chan struct{}, n)
	for i, s := range round {
		clients.Go(func() {
			defer func() { ended <- struct{}{} }()
			switch {
			case i == 0:
				r := gate.Run(t, command, "")
				s.saw = r.Exit == 0 && strings.Contains(r.Stdout, "Verified")
			case s.signs:
				out, code := proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[0])
				s.saw = code == 0 && strings.Contains(out, "Verified")
			default:
				offerOnly(g, s.ConnectionIdentifier, keys[0].PublicKey(), keys[1])
			}
		})
	}
	first := rand.N(n)
	for range first {
		<-ended
	}
	time.Sleep(time.Duration(rand.N(int64(5 * time.Millisecond)))) // a random moment is the test
	g.Kill()
	clients.Wait()
	t.Logf("killed after %d of %d clients", first, n)
	return round
}

// offerOnly offers a key that it cannot sign with.
func offerOnly(g *gate.Gate, user string, public ssh.PublicKey, other ssh.Signer) {
	conn, err := dialQuietly(g)
	if err != nil {
		return // the server is dead already
	}
	defer conn.Close()
	_, _ = sshClient(conn, user, thief{public, other})
}

// thief has a public key of somebody else, and signs with its own.
type thief struct {
	public ssh.PublicKey
	ssh.Signer
}

func (t thief) PublicKey() ssh.PublicKey { return t.public }

// afterKills compares what clients saw with what is stored.
func afterKills(t *testing.T, g *gate.Gate, all []*killed) {
	t.Helper()
	saw, verified := 0, 0
	for _, s := range all {
		now := g.Session(t, "verify", s.ID)
		if s.saw {
			saw++
		}
		if now.Status == "verified" {
			verified++
		}
		if s.saw && now.Status != "verified" {
			t.Errorf("a client was told Verified, and its session is %s", now.Status)
		}
		if !s.signs && (now.Status == "verified" || len(provenPrints(now)) != 0) {
			t.Errorf("nobody signed, and the session is %s with %v proven", now.Status, provenPrints(now))
		}
		keyed := 0
		for _, c := range now.Connections {
			keyed += len(c.Keys)
		}
		if want := len(provenPrints(now)); keyed != want || want > 1 {
			t.Errorf("%d keys in connections, %d proven", keyed, want)
		}
		want := 0
		if now.Status != "pending" {
			want = 1
		}
		if n := g.Count(t, "SELECT count(*) FROM webhook_deliveries WHERE owner = $1 AND event = 'status_changed'", s.ID); n != want {
			t.Errorf("%d status_changed for a session that is %s", n, now.Status)
		}
		if n := g.Count(t, "SELECT count(*) FROM webhook_deliveries WHERE owner = $1 AND event = 'verified'", s.ID); n != len(provenPrints(now)) {
			t.Errorf("%d events verified for %d proven keys", n, len(provenPrints(now)))
		}
	}
	t.Logf("of %d clients %d saw their success, %d sessions are verified", len(all), saw, verified)
	if saw == 0 {
		t.Error("no client got through: the kills came too early to tell anything")
	}
}

// delivered waits until every delivery that the database knows has reached the receiver.
func delivered(t *testing.T, g *gate.Gate, receiver *gate.Receiver) {
	t.Helper()
	gate.Eventually(t, func() error {
		if rows := g.Rows(t, "SELECT state, attempts, reason FROM webhook_deliveries WHERE state <> 'delivered'"); len(rows) != 0 {
			return fmt.Errorf("%d deliveries wait or failed: %v", len(rows), rows)
		}
		return nil
	})
	got := map[string]int{}
	for _, d := range receiver.Got() {
		got[d.Invocation]++
	}
	rows, again := g.Rows(t, "SELECT id FROM webhook_deliveries"), 0
	for _, row := range rows {
		switch n := got[row[0]]; {
		case n == 0:
			t.Errorf("delivery %s never arrived", row[0])
		case n > 1:
			again++
		}
	}
	if len(got) != len(rows) {
		t.Errorf("%d invocations arrived, %d are known", len(got), len(rows))
	}
	t.Logf("%d deliveries, %d of them sent more than once", len(rows), again)
}

// kill -9 in the middle of deliveries: every invocation arrives at least once, and what is sent again is
// sent under the same id and number.
func TestFaults_kill_in_the_middle_of_deliveries(t *testing.T) {
	t.Parallel()
	settings := unlimited("sshverify.webhook_lease", "21s", "sshverify.webhook_timeout", "20s")
	g := gate.Start(t, gate.Options{Settings: settings})
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	receiver := gate.Receive(t, "", func(n int) int {
		if n == 20 { // twenty requests are on their way, and none has been answered
			once.Do(func() { close(held) })
		}
		<-release
		return 200
	})
	keys, lines := memoryKeys(t, 1)
	sessions := make([]gate.Session, 40)
	for i := range sessions { // before the first delivery, whose time begins with it
		sessions[i] = g.Create(t, "verify", sessionOf(lines, "webhooks", []map[string]any{{"url": receiver.URL, "events": []string{"status_changed"}}}))
	}
	var clients sync.WaitGroup
	for i, s := range sessions {
		clients.Go(func() {
			if out, code := proveFrom(t, g, fmt.Sprintf("127.0.3.%d", 1+i), s.ConnectionIdentifier, keys[0]); code != 0 {
				t.Errorf("exit %d, %s", code, out)
			}
		})
	}
	clients.Wait()
	select {
	case <-held:
	case <-time.After(peers.Patience):
		t.Fatal("the deliveries do not start")
	}
	g.Kill()
	close(release)
	settings["sshverify.webhook_lease"], settings["sshverify.webhook_timeout"] = "10s", "9s" // nothing is held up any more
	g.Serve(t)
	delivered(t, g, receiver)
	repeated := 0
	first := map[string]gate.Delivery{}
	for _, d := range receiver.Got() {
		if before, ok := first[d.Invocation]; ok {
			repeated++
			if before.Attempt != d.Attempt || string(before.Payload) != string(d.Payload) {
				t.Errorf("sent again as another: %s, %s", before.Body, d.Body)
			}
		}
		first[d.Invocation] = d
	}
	if repeated < 20 {
		t.Errorf("%d were sent again; 20 were under way", repeated)
	}
	for range 3 { // and once more, at random moments, with answers
		for range 10 {
			s := g.Create(t, "verify", sessionOf(lines, "webhooks", []map[string]any{{"url": receiver.URL, "events": []string{"status_changed"}}}))
			proveFrom(t, g, "127.0.0.1", s.ConnectionIdentifier, keys[0])
		}
		time.Sleep(time.Duration(rand.N(int64(20 * time.Millisecond)))) // a random moment is the test
		g.Kill()
		g.Serve(t)
	}
	delivered(t, g, receiver)
}
