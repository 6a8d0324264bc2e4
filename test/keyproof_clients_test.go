package test

import (
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
)

// Spec 7: dbclient proves one key, several, and answers the question. It tries each key once, and then
// needs another method to end with.
func TestKeyproof_dbclient(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 3)
	t.Run("one_key", func(t *testing.T) {
		s := verifySession(t, g, object{"webhooks": hook}, keys[0])
		expect(t, gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys[0]), ""), 0, verifiedLine(keys[0], 1))
		is := check(t, g, s.ID, "verified", []int{1}, prints(keys[0]))
		if v := is.Connections[0].ClientVersion; !strings.HasPrefix(v, "SSH-2.0-dropbear") || is.Connections[0].IPAddress != "127.0.0.1" {
			t.Errorf("connection %+v", is.Connections[0])
		}
		checkFired(t, g, s.ID, "new_connection", "verified", "status_changed verified")
	})
	t.Run("the_listed_one_is_last", func(t *testing.T) {
		s := verifySession(t, g, nil, keys[2])
		expect(t, gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys...), ""), 0, verifiedLine(keys[2], 1))
	})
	t.Run("all_of_three", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true}, keys...)
		r := gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys...), "")
		if got := sorted(r.Stdout); r.Exit != 0 || !slices.Equal(got, sorted(threeLines(keys))) {
			t.Errorf("exit %d, %q\n%s", r.Exit, got, r.Stderr)
		}
		if is := g.Session(t, "verify", s.ID); is.Status != "verified" || len(verifiedKeys(is)) != 3 {
			t.Errorf("%s with keys %v", is.Status, verifiedKeys(is))
		}
	})
	t.Run("two_of_three", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true}, keys...)
		expect(t, gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys[:2]...), ""), 1, "2 of 3 keys verified. All are needed.", usedUpLine)
		if is := g.Session(t, "verify", s.ID); is.Status != "failed" || len(verifiedKeys(is)) != 0 {
			t.Errorf("%s with keys %v", is.Status, verifiedKeys(is))
		}
	})
	t.Run("several_without_needing_all", func(t *testing.T) {
		s := verifySession(t, g, object{"multi_key": true}, keys...)
		r := gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys[:2]...), "")
		if r.Exit != 0 || strings.Count(r.Stdout, "Verified with") != 2 {
			t.Errorf("exit %d, %q\n%s", r.Exit, r.Stdout, r.Stderr)
		}
	})
	t.Run("no_match", func(t *testing.T) {
		s := verifySession(t, g, nil, keys[0])
		expect(t, gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys[1]), ""), 1, noMatchLine(g, s), usedUpLine)
	})
	for answer, status := range map[string]string{"y": "verified", "n": "failed"} {
		t.Run("on_a_terminal_"+answer, func(t *testing.T) {
			s := verifySession(t, g, object{"must_confirm": true}, keys[0])
			r := gate.OnTerminal(t, g.Dbclient(t, s.ConnectionIdentifier, []string{"-t"}, keys[0]), [2]string{prompt, answer})
			if g.Session(t, "verify", s.ID).Status != status {
				t.Errorf("exit %d, not %s:\n%s%s", r.Exit, status, r.Stdout, r.Stderr)
			}
		})
	}
	t.Run("echo_y", func(t *testing.T) {
		s := verifySession(t, g, object{"must_confirm": true}, keys[0])
		expect(t, gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys[0]), "y\n"), 0,
			"key 1  "+keys[0].SHA256, prompt, verifiedLine(keys[0], 1))
	})
}

// Spec 7: plink proves one key and several, by file and by agent. It too tries each key once.
func TestKeyproof_plink(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 3)
	agent := gate.Agent(t, keys...)
	withAgent := func(t *testing.T, s gate.Session, args ...string) *exec.Cmd {
		return gate.UseAgent(g.Plink(t, s.ConnectionIdentifier, append(args, "-agent")...), agent)
	}
	t.Run("one_key", func(t *testing.T) {
		s := verifySession(t, g, object{"webhooks": hook}, keys[0])
		expect(t, gate.Run(t, g.Plink(t, s.ConnectionIdentifier, "-batch", "-noagent", "-i", gate.PuttyKey(t, keys[0])), ""), 0, verifiedLine(keys[0], 1))
		is := check(t, g, s.ID, "verified", []int{1}, prints(keys[0]))
		if v := is.Connections[0].ClientVersion; !strings.HasPrefix(v, "SSH-2.0-PuTTY") {
			t.Errorf("client version %q", v)
		}
		checkFired(t, g, s.ID, "new_connection", "verified", "status_changed verified")
	})
	t.Run("the_listed_one_is_last", func(t *testing.T) {
		s := verifySession(t, g, nil, keys[2])
		expect(t, gate.Run(t, withAgent(t, s, "-batch"), ""), 0, verifiedLine(keys[2], 1))
	})
	t.Run("all_of_three", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true}, keys...)
		expect(t, gate.Run(t, withAgent(t, s, "-batch"), ""), 0, threeLines(keys))
		check(t, g, s.ID, "verified", []int{1, 2, 3}, prints(keys...))
	})
	t.Run("two_of_three", func(t *testing.T) {
		other := gate.NewKeys(t, 1)[0]
		s := verifySession(t, g, object{"match_all_keys": true}, keys[0], other, keys[1])
		expect(t, gate.Run(t, withAgent(t, s), ""), 1, "2 of 3 keys verified. All are needed.", usedUpLine)
	})
	t.Run("no_match", func(t *testing.T) {
		s := verifySession(t, g, nil, gate.NewKeys(t, 1)[0])
		expect(t, gate.Run(t, withAgent(t, s), ""), 1, noMatchLine(g, s), usedUpLine)
	})
	t.Run("batch_without_a_match", func(t *testing.T) {
		s := verifySession(t, g, object{"webhooks": hook}, gate.NewKeys(t, 1)[0])
		if r := gate.Run(t, withAgent(t, s, "-batch"), ""); r.Exit == 0 {
			t.Errorf("exit 0: %s", r.Stdout)
		}
		checkFired(t, g, s.ID, "new_connection", "failed_attempt no_match", "status_changed failed")
	})
	t.Run("echo_y", func(t *testing.T) {
		s := verifySession(t, g, object{"must_confirm": true}, keys[0])
		r := gate.Run(t, g.Plink(t, s.ConnectionIdentifier, "-batch", "-T", "-noagent", "-i", gate.PuttyKey(t, keys[0])), "y\n")
		expect(t, r, 0, "key 1  "+keys[0].SHA256, prompt, verifiedLine(keys[0], 1))
	})
	t.Run("on_a_terminal", func(t *testing.T) {
		s := verifySession(t, g, object{"must_confirm": true}, keys[0])
		r := gate.OnTerminal(t, g.Plink(t, s.ConnectionIdentifier, "-t", "-noagent", "-i", gate.PuttyKey(t, keys[0])), [2]string{prompt, "y"})
		if g.Session(t, "verify", s.ID).Status != "verified" || r.Exit != 0 {
			t.Errorf("exit %d:\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
	})
}

// threeLines is what is told of three proven keys.
func threeLines(keys []gate.KeyFile) string {
	return verifiedLine(keys[0], 1) + "\n" + verifiedLine(keys[1], 2) + "\n" + verifiedLine(keys[2], 3)
}

func sorted(text string) []string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), "\n")
	slices.Sort(lines)
	return lines
}

// Every line of the table of results (spec 7.3) with the real ssh, that no other test shows.
func TestKeyproof_results(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 2)
	listedKey, other := keys[0], keys[1]
	t.Run("verified", func(t *testing.T) {
		unnamed := g.Create(t, "verify", object{"keys": []object{{"public_key": listedKey.Public}}})
		expect(t, connect(t, g, unnamed, gate.With(listedKey)...), 0, "Verified with "+listedKey.SHA256+".")
	})
	t.Run("verified_and_open", func(t *testing.T) {
		s := verifySession(t, g, object{"multi_connection": true}, listedKey, other)
		expect(t, connect(t, g, s, gate.With(listedKey)...), 0, verifiedLine(listedKey, 1), againLine)
	})
	t.Run("incomplete", func(t *testing.T) {
		s := verifySession(t, g, object{"match_all_keys": true, "max_attempts": 2}, keys...)
		expect(t, connect(t, g, s, gate.With(listedKey)...), 1, "1 of 2 keys verified. All are needed.")
		expect(t, connect(t, g, s, gate.With(listedKey)...), 1, "1 of 2 keys verified. All are needed.", usedUpLine)
	})
	t.Run("no_match", func(t *testing.T) {
		s := verifySession(t, g, object{"max_attempts": 2}, listedKey)
		expect(t, connect(t, g, s, gate.With(other)...), 1, noMatchLine(g, s))
		expect(t, connect(t, g, s, gate.With(other)...), 1, noMatchLine(g, s), usedUpLine)
	})
	t.Run("no_key", func(t *testing.T) {
		s := verifySession(t, g, object{"max_attempts": 2, "webhooks": hook}, listedKey)
		expect(t, connect(t, g, s), 1, noKeyLine)
		expect(t, connect(t, g, s, "-o", "PubkeyAuthentication=no"), 1, noKeyLine, usedUpLine)
		checkFired(t, g, s.ID, "new_connection", "failed_attempt no_match", "new_connection", "failed_attempt no_match", "status_changed failed")
	})
	t.Run("a_command_is_a_shell", func(t *testing.T) {
		s := verifySession(t, g, nil, listedKey)
		cmd := g.SSH(t, s.ConnectionIdentifier, gate.With(listedKey)...)
		cmd.Args = append(cmd.Args, "cat /etc/passwd; exit 7")
		expect(t, gate.Run(t, cmd, ""), 0, verifiedLine(listedKey, 1))
	})
	t.Run("banner_and_message", func(t *testing.T) {
		s := verifySession(t, g, object{"ssh_banner": "Example Shop\nasks who you are", "ssh_message": "Sign in to\nExample Shop"}, listedKey)
		r := connect(t, g, s, gate.With(listedKey)...)
		expect(t, r, 0, "Sign in to", "Example Shop", verifiedLine(listedKey, 1))
		if !strings.Contains(strings.ReplaceAll(r.Stderr, "\r", ""), "Example Shop\nasks who you are\n") {
			t.Errorf("no banner: %q", r.Stderr)
		}
	})
	t.Run("forwarded_agent", func(t *testing.T) {
		agent := gate.Agent(t, listedKey)
		s := verifySession(t, g, nil, listedKey)
		r := gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier, "-A"), agent), "")
		expect(t, r, 0, verifiedLine(listedKey, 1), "You forwarded your agent; this is not needed here.")
	})
	t.Run("on_a_terminal", func(t *testing.T) {
		s := verifySession(t, g, object{"ssh_message": "hello"}, listedKey)
		r := gate.OnTerminal(t, g.SSH(t, s.ConnectionIdentifier, append(gate.With(listedKey), "-q")...))
		if want := "hello\r\n" + verifiedLine(listedKey, 1) + "\r\n"; r.Exit != 0 || r.Stdout != want {
			t.Errorf("exit %d, %q, want %q", r.Exit, r.Stdout, want)
		}
	})
	t.Run("what_is_not_offered", func(t *testing.T) {
		s := verifySession(t, g, nil, listedKey)
		r := connect(t, g, s, append(gate.With(listedKey), "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:9")...)
		if r.Exit != 255 || !strings.Contains(r.Stderr, "remote port forwarding failed") {
			t.Errorf("exit %d: %s", r.Exit, r.Stderr)
		}
		check(t, g, s.ID, "verified", []int{1}, prints(listedKey))
		s = verifySession(t, g, nil, listedKey)
		if r := connect(t, g, s, append(gate.With(listedKey), "-W", "127.0.0.1:9")...); r.Exit != 255 || !strings.Contains(r.Stderr, "administratively prohibited") {
			t.Errorf("exit %d: %s", r.Exit, r.Stderr)
		}
		s = verifySession(t, g, nil, listedKey)
		if r := connect(t, g, s, append(gate.With(listedKey), "-s")...); r.Exit == 0 {
			t.Errorf("a subsystem: exit 0, %s", r.Stdout)
		}
	})
}

// Rules of keys: every type that can be listed is proven. Keys of the sk types need hardware, which no
// test machine has; their rules are tested in package sshd with signatures made there.
func TestKeyproof_key_types(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	for _, c := range []struct{ kind, bits, algorithm string }{
		{"ed25519", "256", "ssh-ed25519"},
		{"ecdsa", "256", "ecdsa-sha2-nistp256"},
		{"ecdsa", "384", "ecdsa-sha2-nistp384"},
		{"ecdsa", "521", "ecdsa-sha2-nistp521"},
		{"rsa", "2048", "ssh-rsa"},
		{"rsa", "4096", "ssh-rsa"},
	} {
		t.Run(c.kind+c.bits, func(t *testing.T) {
			key := gate.NewKey(t, c.kind, "-b", c.bits)
			s := verifySession(t, g, nil, key)
			expect(t, connect(t, g, s, gate.With(key)...), 0, verifiedLine(key, 1))
			if is := check(t, g, s.ID, "verified", []int{1}, prints(key)); is.Keys[0].Algorithm != c.algorithm {
				t.Errorf("algorithm %q", is.Keys[0].Algorithm)
			}
		})
	}
}

// collected compares a collect session's status and, connection by connection, the keys it recorded.
func collected(t testing.TB, g *gate.Gate, id, status string, connections ...[]string) {
	t.Helper()
	gate.Eventually(t, func() error {
		return differs(g.Session(t, "collect", id), status, []int{}, connections)
	})
}

// recordedLines is what is told of recorded keys.
func recordedLines(keys ...gate.KeyFile) (lines []string) {
	for _, k := range keys {
		lines = append(lines, "Recorded "+k.SHA256)
	}
	return lines
}

// Spec 6: collect sessions with an agent of eight keys.
func TestKeyproof_collect(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{})
	keys := gate.NewKeys(t, 8)
	agent := gate.Agent(t, keys...)
	offer := func(t *testing.T, s gate.Session, args ...string) gate.Result {
		return gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier, args...), agent), "")
	}
	t.Run("the_first_key", func(t *testing.T) {
		s := g.Create(t, "collect", object{"webhooks": hook})
		expect(t, offer(t, s), 0, recordedLines(keys[0])...)
		collected(t, g, s.ID, "completed", prints(keys[0]))
		checkFired(t, g, s.ID, "new_connection", "key_collected", "status_changed completed")
		if status := complete(t, g, "collect", s); status != http.StatusConflict {
			t.Errorf("complete: %d", status)
		}
	})
	t.Run("all_eight", func(t *testing.T) {
		s := g.Create(t, "collect", object{"multi_key": true, "webhooks": hook})
		expect(t, offer(t, s), 0, recordedLines(keys...)...)
		collected(t, g, s.ID, "completed", prints(keys...))
		checkFired(t, g, s.ID, slices.Concat([]string{"new_connection"}, slices.Repeat([]string{"key_collected"}, 8), []string{"status_changed completed"})...)
	})
	t.Run("over_several_connections", func(t *testing.T) {
		s := g.Create(t, "collect", object{"multi_connection": true})
		for range 2 {
			r := offer(t, s)
			if r.Exit != 0 || !strings.HasPrefix(r.Stdout, "Recorded "+keys[0].SHA256) {
				t.Errorf("exit %d: %s%s", r.Exit, r.Stdout, r.Stderr)
			}
		}
		r := connect(t, g, s, gate.With(keys[5])...)
		if r.Exit != 0 || !strings.HasPrefix(r.Stdout, "Recorded "+keys[5].SHA256) {
			t.Errorf("exit %d: %s%s", r.Exit, r.Stdout, r.Stderr)
		}
		collected(t, g, s.ID, "pending", prints(keys[0]), prints(keys[0]), prints(keys[5]))
		if status := complete(t, g, "collect", s); status != http.StatusOK {
			t.Errorf("complete: %d", status)
		}
		collected(t, g, s.ID, "completed", prints(keys[0]), prints(keys[0]), prints(keys[5]))
	})
	t.Run("without_a_key", func(t *testing.T) {
		s := g.Create(t, "collect", object{})
		expect(t, connect(t, g, s), 1, noKeyLine)
		collected(t, g, s.ID, "pending", prints())
	})
	t.Run("by_BatchMode", func(t *testing.T) {
		s := g.Create(t, "collect", object{"multi_key": true})
		expect(t, offer(t, s, "-o", "BatchMode=yes"), 255)
		collected(t, g, s.ID, "completed", prints(keys...))
	})
	t.Run("declined_then_confirmed", func(t *testing.T) {
		s := g.Create(t, "collect", object{"must_confirm": true, "webhooks": hook})
		said := keys[0].SHA256 + "\n" + prompt
		r := gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier, "-T"), agent), "n\n")
		expect(t, r, 1, said, "Cancelled. Nothing was recorded.")
		collected(t, g, s.ID, "pending", prints())
		r = gate.Run(t, gate.UseAgent(g.SSH(t, s.ConnectionIdentifier, "-T"), agent), "y\n")
		expect(t, r, 0, said, "Recorded "+keys[0].SHA256)
		collected(t, g, s.ID, "completed", prints(), prints(keys[0]))
		checkFired(t, g, s.ID, "new_connection", "new_connection", "key_collected", "status_changed completed")
	})
	t.Run("dbclient", func(t *testing.T) {
		s := g.Create(t, "collect", object{"multi_key": true})
		r := gate.Run(t, g.Dbclient(t, s.ConnectionIdentifier, nil, keys[:2]...), "")
		if r.Exit != 0 || !slices.Equal(sorted(r.Stdout), sorted(strings.Join(recordedLines(keys[:2]...), "\n"))) {
			t.Errorf("exit %d: %s%s", r.Exit, r.Stdout, r.Stderr)
		}
	})
	t.Run("plink", func(t *testing.T) {
		s := g.Create(t, "collect", object{"multi_key": true})
		r := gate.Run(t, gate.UseAgent(g.Plink(t, s.ConnectionIdentifier, "-agent"), agent), "")
		expect(t, r, 0, recordedLines(keys...)...)
	})
}
