package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
)

// The tests of key proofs. A comment "line N" names the edge case of the SSHVerify specification
// (section 8) that a test proves.

// object is a JSON object of a request.
type object = map[string]any

// listed is the "keys" member of a request, each key named after its place: "key 1", "key 2".
func listed(keys ...gate.KeyFile) []object {
	list := make([]object, len(keys))
	for i, k := range keys {
		list[i] = object{"public_key": k.Public, "name": fmt.Sprintf("key %d", i+1)}
	}
	return list
}

// verifySession creates a verify session of keys; more are further members of the request.
func verifySession(t testing.TB, g *gate.Gate, more object, keys ...gate.KeyFile) gate.Session {
	t.Helper()
	body := object{"keys": listed(keys...)}
	maps.Copy(body, more)
	return g.Create(t, "verify", body)
}

// connect runs ssh to the session, with no input.
func connect(t testing.TB, g *gate.Gate, s gate.Session, args ...string) gate.Result {
	t.Helper()
	return gate.Run(t, g.SSH(t, s.ConnectionIdentifier, args...), "")
}

// expect compares how a client ended with the lines it must have shown and its exit status.
func expect(t testing.TB, r gate.Result, exit int, lines ...string) {
	t.Helper()
	want := strings.Join(lines, "\n")
	if got := strings.TrimSpace(strings.ReplaceAll(r.Stdout, "\r", "")); got != want || r.Exit != exit {
		t.Fatalf("exit %d, want %d; shown:\n%s\nwant:\n%s\nstandard error:\n%s", r.Exit, exit, got, want, r.Stderr)
	}
}

// verifiedLine is what is told of a proven key; n is its number among the listed ones.
func verifiedLine(k gate.KeyFile, n int) string {
	return fmt.Sprintf("Verified with %s (key %d).", k.SHA256, n)
}

// noMatchLine is what is told where no key fits.
func noMatchLine(g *gate.Gate, s gate.Session) string {
	return fmt.Sprintf("None of your keys matches. Try: ssh -o IdentitiesOnly=yes -i <key file> %s@127.0.0.1 -p %d", s.ConnectionIdentifier, g.SSHPort)
}

const (
	noKeyLine  = "Your SSH client offered no key. Add one to your agent or use -i <key file>."
	usedUpLine = "This code can no longer be used."
	againLine  = "You can connect again with another key, or go back to the web page."
	lostLine   = "This code was already used by another connection."
	invalid    = "This code is not valid (any more). Ask for a new one."
)

// verifiedKeys lists the numbers, from 1, of the session's keys that are verified.
func verifiedKeys(s gate.Session) []int {
	numbers := []int{}
	for i, k := range s.Keys {
		if k.Verified != nil {
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// check compares a session with the status, the proven keys and, connection by connection, the keys
// that the record must show.
func check(t testing.TB, g *gate.Gate, id, status string, keys []int, connections ...[]string) gate.Session {
	t.Helper()
	var s gate.Session
	gate.Eventually(t, func() error {
		s = g.Session(t, "verify", id)
		return differs(s, status, keys, connections)
	})
	return s
}

func differs(s gate.Session, status string, keys []int, connections [][]string) error {
	if s.Status != status {
		return fmt.Errorf("status %s, want %s", s.Status, status)
	}
	if got := verifiedKeys(s); !slices.Equal(got, keys) {
		return fmt.Errorf("keys %v are verified, want %v", got, keys)
	}
	if len(s.Connections) != len(connections) {
		return fmt.Errorf("%d connections are recorded, want %d", len(s.Connections), len(connections))
	}
	for i, c := range s.Connections {
		got := []string{}
		for _, k := range c.Keys {
			got = append(got, k.SHA256)
		}
		if !slices.Equal(got, connections[i]) {
			return fmt.Errorf("connection %d shows keys %v, want %v", i+1, got, connections[i])
		}
	}
	return nil
}

// prints are fingerprints, for check.
func prints(keys ...gate.KeyFile) []string {
	list := []string{}
	for _, k := range keys {
		list = append(list, k.SHA256)
	}
	return list
}

// hook is a webhook of a request: it asks for everything, and nobody has to listen. What was written
// for it says what happened, in order and at once.
var hook = []object{{"url": "http://127.0.0.1:9/hook", "retries": 0}}

// fired lists the events that a session has written for its webhooks, each with its reason or status.
func fired(t testing.TB, g *gate.Gate, session string) []string {
	t.Helper()
	events := []string{}
	for _, row := range g.Rows(t, `SELECT event, payload FROM webhook_deliveries WHERE owner = $1 ORDER BY id`, session) {
		var p struct {
			Reason  string
			Verify  string `json:"verify_session_status"`
			Collect string `json:"collect_session_status"`
		}
		if err := json.Unmarshal([]byte(row[1]), &p); err != nil {
			t.Fatal(err)
		}
		events = append(events, strings.TrimSpace(row[0]+" "+p.Reason+p.Verify+p.Collect))
	}
	return events
}

// checkFired waits until exactly these events were written for the session's webhooks, in this order.
func checkFired(t testing.TB, g *gate.Gate, session string, want ...string) {
	t.Helper()
	gate.Eventually(t, func() error {
		if got := fired(t, g, session); !slices.Equal(got, want) {
			return fmt.Errorf("events %q, want %q", got, want)
		}
		return nil
	})
}

// client is an SSH client of our own, for what no decent client does.
func client(t testing.TB, g *gate.Gate, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	t.Helper()
	pinned := g.HostKey(t)
	c, err := ssh.Dial("tcp", g.SSHAddr(), &ssh.ClientConfig{
		User: user, Auth: auth, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if ssh.FingerprintSHA256(key) != pinned {
				return errors.New("another host key than ssh-keyscan saw")
			}
			return nil
		},
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// interactive is keyboard-interactive without anything to type.
func interactive() ssh.AuthMethod {
	return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return make([]string, len(questions)), nil
	})
}

// shell runs a shell on the client and returns what it showed and its exit status.
func shell(t testing.TB, c *ssh.Client) gate.Result {
	t.Helper()
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	out, err := session.Output("")
	exit := 0
	var ended *ssh.ExitError
	if errors.As(err, &ended) {
		exit = ended.ExitStatus()
	} else if err != nil {
		t.Fatal(err)
	}
	return gate.Result{Stdout: string(out), Exit: exit}
}

// run runs a command of the system.
func run(t testing.TB, name string, args ...string) gate.Result {
	t.Helper()
	return gate.Run(t, exec.Command(name, args...), "")
}
