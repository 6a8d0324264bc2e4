package test

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// complete completes a session and returns the answer's status.
func complete(t testing.TB, g *gate.Gate, kind string, s gate.Session) int {
	t.Helper()
	return g.API(t, "POST", "/api/v1/ssh/"+kind+"/sessions/"+s.ID+"/complete/", nil).Status
}

// Line 5: proofs of all keys are gathered over several connections. A connection that brings nothing new
// counts; the session stays open until it is completed.
func TestKeyproof_line05_all_keys_over_several_connections(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 2)
	a, b := keys[0], keys[1]
	incomplete := "1 of 2 keys verified. All are needed."

	t.Run("A_then_A_then_B", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true, "multi_connection": true, "max_attempts": 3, "webhooks": hook}, a, b)
		expect(t, connect(t, g, s, gate.With(a)...), 0, verifiedLine(a, 1), againLine)
		expect(t, connect(t, g, s, gate.With(a)...), 1, incomplete)
		check(t, g, s.ID, "pending", []int{1}, prints(a), prints(a))
		expect(t, connect(t, g, s, gate.With(b)...), 0, verifiedLine(b, 2), againLine)
		// The rules are met: nothing is counted any more, however often somebody comes back.
		expect(t, connect(t, g, s, gate.With(a)...), 0, verifiedLine(a, 1), againLine)
		check(t, g, s.ID, "pending", []int{1, 2}, prints(a), prints(a), prints(b), prints(a))
		if status := complete(t, g, "verify", s); status != http.StatusOK {
			t.Fatalf("complete: %d", status)
		}
		check(t, g, s.ID, "verified", []int{1, 2}, prints(a), prints(a), prints(b), prints(a))
		checkFired(t, g, s.ID, "new_connection", "verified", "new_connection", "failed_attempt incomplete",
			"new_connection", "verified", "new_connection", "status_changed verified")
		if status := complete(t, g, "verify", s); status != http.StatusConflict {
			t.Errorf("completed twice: %d", status)
		}
		r := connect(t, g, s, gate.With(a)...)
		if expect(t, r, 255); !strings.Contains(r.Stderr, invalid) {
			t.Errorf("a completed session says %q", r.Stderr)
		}
	})
	t.Run("one_attempt_and_A_twice", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true, "multi_connection": true, "max_attempts": 1, "webhooks": hook}, a, b)
		expect(t, connect(t, g, s, gate.With(a)...), 0, verifiedLine(a, 1), againLine)
		expect(t, connect(t, g, s, gate.With(a)...), 1, incomplete, usedUpLine)
		check(t, g, s.ID, "failed", []int{1}, prints(a), prints(a))
		checkFired(t, g, s.ID, "new_connection", "verified", "new_connection", "failed_attempt incomplete", "status_changed failed")
	})
	t.Run("completed_too_early", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true, "multi_connection": true, "webhooks": hook}, a, b)
		expect(t, connect(t, g, s, gate.With(b)...), 0, verifiedLine(b, 2), againLine)
		complete(t, g, "verify", s)
		check(t, g, s.ID, "failed", []int{2}, prints(b))
		checkFired(t, g, s.ID, "new_connection", "verified", "status_changed failed")
	})
	t.Run("in_one_connection_it_completes_itself", func(t *testing.T) {
		s := verifySession(t, g, nil, a)
		if status := complete(t, g, "verify", s); status != http.StatusConflict {
			t.Errorf("complete of a single connection session: %d", status)
		}
	})
}

// Line 6: connections race for a session. Exactly one wins and fires; the others are told and not counted.
func TestKeyproof_line06_parallel_winners(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	race(t, 12, g, g)
}

// Line 6 once more, on two nodes over one PostgreSQL.
func TestKeyproof_line06_parallel_winners_on_two_nodes(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Database: peers.Postgres(t).Database(t)})
	race(t, 12, g, g.Second(t))
}

// race lets two authenticated clients commit at the same moment, round after round. Both connections
// have to be there before either commits, so both wait at the question and are answered together.
func race(t *testing.T, rounds int, one, two *gate.Gate) {
	t.Helper()
	key := gate.NewKeys(t, 1)[0]
	for range rounds {
		s := verifySession(t, one, object{"must_confirm": true, "webhooks": hook}, key)
		asked, answer := [2]*question{}, make(chan struct{})
		for i, g := range []*gate.Gate{one, two} {
			asked[i] = ask(t, g.SSH(t, s.ConnectionIdentifier, append(gate.With(key), "-T")...), answer)
		}
		for _, q := range asked {
			q.wait(t)
		}
		close(answer)
		won := verifiedLine(key, 1)
		results := []string{asked[0].result(t), asked[1].result(t)}
		slices.Sort(results)
		if !slices.Equal(results, []string{"0 " + won, "1 " + lostLine}) {
			t.Fatalf("results %q", results)
		}
		check(t, one, s.ID, "verified", []int{1}, connectionsOf(one, t, s, key)...)
		checkWon(t, one, s)
	}
}

// checkWon waits until a race's events are those of one winner, in their order. When the losers' connections
// are written does not matter.
func checkWon(t testing.TB, g *gate.Gate, s gate.Session) {
	t.Helper()
	gate.Eventually(t, func() error {
		events := fired(t, g, s.ID)
		won := slices.DeleteFunc(slices.Clone(events), func(e string) bool { return e == "new_connection" })
		if !slices.Equal(won, []string{"verified", "status_changed verified"}) || events[0] != "new_connection" ||
			len(events)-len(won) != len(g.Session(t, "verify", s.ID).Connections) {
			return fmt.Errorf("events %q", events)
		}
		return nil
	})
}

// Line 6 without a question: many clients at once, as fast as they can. Who comes too late is either told
// so or finds the code closed; one wins.
func TestKeyproof_line06_many_at_once(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Database: peers.Postgres(t).Database(t)})
	nodes := []*gate.Gate{g, g.Second(t)}
	nodes[0].HostKey(t)
	nodes[1].HostKey(t)
	key := gate.NewKeys(t, 1)[0]
	for range 10 {
		s := verifySession(t, g, object{"webhooks": hook}, key)
		var winners atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				c, err := client(t, nodes[i%2], s.ConnectionIdentifier, ssh.PublicKeys(key.Signer(t)), interactive())
				if err != nil {
					return // the code was closed already
				}
				switch r := shell(t, c); {
				case r.Exit == 0 && strings.TrimSpace(r.Stdout) == verifiedLine(key, 1):
					winners.Add(1)
				case r.Exit != 1 || strings.TrimSpace(r.Stdout) != lostLine:
					t.Errorf("exit %d: %s", r.Exit, r.Stdout)
				}
			})
		}
		all.Wait()
		if n := winners.Load(); n != 1 {
			t.Errorf("%d winners", n)
		}
		checkWon(t, g, s)
	}
}

// connectionsOf is what two connections must show, whichever came first: the key in one, nothing in the other.
func connectionsOf(g *gate.Gate, t *testing.T, s gate.Session, key gate.KeyFile) [][]string {
	t.Helper()
	is := g.Session(t, "verify", s.ID)
	if len(is.Connections) == 2 && len(is.Connections[0].Keys) == 0 {
		return [][]string{prints(), prints(key)}
	}
	return [][]string{prints(key), prints()}
}

const prompt = "Press y to confirm, any other key to cancel: "

// question is a client that waits at the prompt.
type question struct {
	asked, ended chan struct{}
	exit         int
	mu           sync.Mutex
	shown        strings.Builder
}

// ask starts a client and answers y once the prompt is there and answer is closed.
func ask(t *testing.T, cmd *exec.Cmd, answer <-chan struct{}) *question {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	q := &question{asked: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout = q
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		select {
		case <-answer:
			_, _ = in.Write([]byte("y")) // a client that has gone shows in its result
		case <-q.ended:
		}
	}()
	go func() {
		defer close(q.ended)
		_ = cmd.Wait() // the exit status says it
		q.exit = cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-q.ended })
	return q
}

// Write takes what the client shows.
func (q *question) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := strings.Contains(q.shown.String(), prompt)
	q.shown.Write(p)
	if !before && strings.Contains(q.shown.String(), prompt) {
		close(q.asked)
	}
	return len(p), nil
}

func (q *question) wait(t *testing.T) {
	t.Helper()
	select {
	case <-q.asked:
	case <-q.ended:
		t.Fatalf("the client ended before it was asked: %s", q.result(t))
	case <-time.After(peers.Patience):
		t.Fatal("nobody was asked")
	}
}

// result is the exit status and what stood behind the question.
func (q *question) result(t *testing.T) string {
	t.Helper()
	select {
	case <-q.ended:
	case <-time.After(peers.Patience):
		t.Fatal("the client does not end")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_, after, _ := strings.Cut(q.shown.String(), prompt)
	return fmt.Sprintf("%d %s", q.exit, strings.TrimSpace(after))
}

// Line 9: every way to answer the question, and not to.
func TestKeyproof_line09_confirmation(t *testing.T) {
	t.Parallel()
	patient := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.confirm_timeout": "60s"}})
	hasty := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.confirm_timeout": "3s"}})
	key := gate.NewKeys(t, 1)[0]
	with := slices.Clip(gate.With(key)) // so that every append copies it
	question := "key 1  " + key.SHA256 + "\n" + prompt
	yes, cancelled, silent := verifiedLine(key, 1), "Cancelled. Nothing was recorded.", "No answer. Nothing was recorded."
	typed := func(t *testing.T, g *gate.Gate, s gate.Session, key string) gate.Result {
		return gate.OnTerminal(t, g.SSH(t, s.ConnectionIdentifier, append(with, "-q")...), [2]string{prompt, key})
	}
	piped := func(t *testing.T, g *gate.Gate, s gate.Session, input string) gate.Result {
		return gate.Run(t, g.SSH(t, s.ConnectionIdentifier, append(with, "-T")...), input)
	}
	for _, c := range []struct {
		name   string
		how    func(*testing.T, *gate.Gate, gate.Session) gate.Result
		exit   int
		said   string
		reason string // of the failed attempt; "" where it is verified
	}{
		{"y_on_a_terminal", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return typed(t, g, s, "y") }, 0, yes, ""},
		{"Y_on_a_terminal", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return typed(t, g, s, "Y") }, 0, yes, ""},
		{"return_then_y", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return typed(t, g, s, `\r\ry`) }, 0, yes, ""},
		{"n_on_a_terminal", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return typed(t, g, s, "n") }, 1, cancelled, "declined"},
		{"ctrl_c_on_a_terminal", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return typed(t, g, s, `\003`) }, 1, cancelled, "declined"},
		{"ctrl_d_on_a_terminal", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return typed(t, g, s, `\004`) }, 1, cancelled, "declined"},
		{"echo_y", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return piped(t, g, s, "y\n") }, 0, yes, ""},
		{"echo_yes", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return piped(t, g, s, "\nyes\n") }, 0, yes, ""},
		{"echo_n", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return piped(t, g, s, "n\n") }, 1, cancelled, "declined"},
		{"space_y", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return piped(t, g, s, " y\n") }, 1, cancelled, "declined"},
		{"end_of_input", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return piped(t, g, s, "") }, 1, cancelled, "declined"},
		{"silence", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result {
			cmd := g.SSH(t, s.ConnectionIdentifier, append(with, "-T")...)
			cmd.Stdin = gate.Silence(t)
			return gate.Run(t, cmd, "")
		}, 1, silent, "confirm_timeout"},
		{"silence_on_a_terminal", func(t *testing.T, g *gate.Gate, s gate.Session) gate.Result { return typed(t, g, s, "") }, 1, silent, "confirm_timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := patient
			if c.said == silent {
				g = hasty
			}
			s := verifySession(t, g, object{"must_confirm": true, "ssh_message": "Sign in to Example Shop", "webhooks": hook}, key)
			r := c.how(t, g, s)
			lines := []string{"Sign in to Example Shop", question}
			if c.reason == "" {
				expect(t, r, c.exit, append(lines, c.said)...)
				check(t, g, s.ID, "verified", []int{1}, prints(key))
				checkFired(t, g, s.ID, "new_connection", "verified", "status_changed verified")
				return
			}
			expect(t, r, c.exit, append(lines, c.said, usedUpLine)...)
			check(t, g, s.ID, "failed", []int{}, prints())
			checkFired(t, g, s.ID, "new_connection", "failed_attempt "+c.reason, "status_changed failed")
		})
	}
}

// Line 9: ssh -N opens no channel. Without a question the proof is kept and the connection ends after
// channel_wait; with one, nobody can confirm.
func TestKeyproof_line09_no_channel(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.channel_wait": "300ms", "sshverify.confirm_timeout": "500ms"}})
	key := gate.NewKeys(t, 1)[0]
	with := append(gate.With(key), "-N")
	s := verifySession(t, g, object{"webhooks": hook}, key)
	expect(t, connect(t, g, s, with...), 255)
	check(t, g, s.ID, "verified", []int{1}, prints(key))
	checkFired(t, g, s.ID, "new_connection", "verified", "status_changed verified")

	s = verifySession(t, g, object{"must_confirm": true, "webhooks": hook}, key)
	expect(t, connect(t, g, s, with...), 255)
	check(t, g, s.ID, "failed", []int{}, prints())
	checkFired(t, g, s.ID, "new_connection", "failed_attempt confirm_timeout", "status_changed failed")
}

// A client that leaves while it is asked has confirmed nothing.
func TestKeyproof_left_at_the_question(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	s := verifySession(t, g, object{"must_confirm": true, "webhooks": hook}, key)
	cmd := g.SSH(t, s.ConnectionIdentifier, append(gate.With(key), "-T")...)
	q := ask(t, cmd, nil)
	q.wait(t)
	_ = cmd.Process.Kill() // it is there: it was just asked
	check(t, g, s.ID, "failed", []int{}, prints())
	checkFired(t, g, s.ID, "new_connection", "failed_attempt disconnected", "status_changed failed")
}

// Line 10: expired_at passes while somebody thinks about the question: expired, and one event.
func TestKeyproof_line10_expiry_during_the_question(t *testing.T) {
	t.Parallel()
	for name, sweep := range map[string]string{"the_sweeper_finds_it": "50ms", "the_commit_finds_it": "1h"} {
		t.Run(name, func(t *testing.T) {
			g := gate.Start(t, gate.Options{Settings: map[string]string{"sshverify.sweep_every": sweep}})
			key := gate.NewKeys(t, 1)[0]
			s := verifySession(t, g, object{"must_confirm": true, "webhooks": hook}, key)
			answer := make(chan struct{})
			q := ask(t, g.SSH(t, s.ConnectionIdentifier, append(gate.With(key), "-T")...), answer)
			q.wait(t)
			if a := g.API(t, "PATCH", "/api/v1/ssh/verify/sessions/"+s.ID+"/", object{"timeout": 2}); a.Status != http.StatusOK { // however long the client took to come here
				t.Fatalf("update: %d %s", a.Status, a.Body)
			}
			<-time.After(2 * time.Second) // what is waited for is time itself
			close(answer)
			if got := q.result(t); got != "1 This code has expired. Ask for a new one." {
				t.Errorf("the client got %q", got)
			}
			check(t, g, s.ID, "expired", []int{}, prints())
			checkFired(t, g, s.ID, "new_connection", "status_changed expired")
			r := connect(t, g, s, gate.With(key)...)
			if expect(t, r, 255); !strings.Contains(r.Stderr, invalid) {
				t.Errorf("an expired session says %q", r.Stderr)
			}
			rows := g.Rows(t, `SELECT d.triggered, s.expires FROM webhook_deliveries d JOIN proof_sessions s ON s.id = d.owner WHERE d.owner = $1 AND d.event = 'status_changed'`, s.ID)
			if rows[0][0] != rows[0][1] {
				t.Errorf("the event's time is %s, the session's expiry %s", rows[0][0], rows[0][1])
			}
		})
	}
}

// Unknown, expired, finished and deleted sessions answer alike, and leave no connection.
func TestKeyproof_codes_that_open_nothing(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	finished, deleted := verifySession(t, g, nil, key), verifySession(t, g, nil, key)
	expect(t, connect(t, g, finished, gate.With(key)...), 0, verifiedLine(key, 1))
	if a := g.API(t, "DELETE", "/api/v1/ssh/verify/sessions/"+deleted.ID+"/", nil); a.Status != http.StatusNoContent {
		t.Fatalf("delete: %d", a.Status)
	}
	for name, code := range map[string]string{"unknown": "0123456789abcdef", "finished": finished.ConnectionIdentifier, "deleted": deleted.ConnectionIdentifier} {
		r := gate.Run(t, g.SSH(t, code, gate.With(key)...), "")
		got := strings.Split(strings.ReplaceAll(strings.TrimSpace(r.Stderr), "\r", ""), "\n")
		want := []string{invalid, code + "@127.0.0.1: Permission denied (publickey,keyboard-interactive)."}
		if len(got) < 2 || r.Exit != 255 || r.Stdout != "" || !slices.Equal(got[len(got)-2:], want) {
			t.Errorf("%s: exit %d, %q", name, r.Exit, got)
		}
	}
	check(t, g, finished.ID, "verified", []int{1}, prints(key))
	upper := verifySession(t, g, nil, key)
	expect(t, gate.Run(t, g.SSH(t, strings.ToUpper(upper.ConnectionIdentifier), gate.With(key)...), ""), 0, verifiedLine(key, 1))
}

// Deleting a session closes its connections, and what they were about to prove is gone.
func TestKeyproof_deleted_at_the_question(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	key := gate.NewKeys(t, 1)[0]
	s := verifySession(t, g, object{"must_confirm": true, "webhooks": hook}, key)
	q := ask(t, g.SSH(t, s.ConnectionIdentifier, append(gate.With(key), "-T")...), nil)
	q.wait(t)
	if a := g.API(t, "DELETE", "/api/v1/ssh/verify/sessions/"+s.ID+"/", nil); a.Status != http.StatusNoContent {
		t.Fatalf("delete: %d", a.Status)
	}
	if got := q.result(t); got != "255" && !strings.HasPrefix(got, "255 ") {
		t.Errorf("the client got %q", got)
	}
	if rows := g.Rows(t, `SELECT event FROM webhook_deliveries WHERE owner = $1 AND event <> 'new_connection'`, s.ID); len(rows) > 0 {
		t.Errorf("events of a deleted session: %v", rows)
	}
}
