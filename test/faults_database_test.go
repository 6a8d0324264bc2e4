package test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

const broken = "Something went wrong on our side. Try again."

// readiness is the status that /readyz answers with.
func readiness(g *gate.Gate) int {
	c := http.Client{Timeout: peers.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(g.URL + "/readyz")
	if err != nil {
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

func awaitReadiness(t *testing.T, g *gate.Gate, want int) {
	t.Helper()
	gate.Eventually(t, func() error {
		if got := readiness(g); got != want {
			return fmt.Errorf("/readyz answers %d, not %d", got, want)
		}
		return nil
	})
}

// isProblem checks that a call failed as our fault, and said so in the dialect's words.
func isProblem(t *testing.T, a gate.Answer) {
	t.Helper()
	if (a.Status != 500 && a.Status != 503) || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("the API answered %d %s", a.Status, a.Body)
	}
	for _, secret := range []string{"SQL", "sql", "pgx", "connect", "disk", "127.0.0.1"} {
		if strings.Contains(string(a.Body), secret) {
			t.Errorf("the answer tells of the inside: %s", a.Body)
		}
	}
}

// waiting starts the real client and lets it prove its key, up to the question whether to confirm.
func waiting(t *testing.T, g *gate.Gate, s gate.Session, key gate.KeyFile) (answer func(string) (output string, exit int)) {
	t.Helper()
	cmd := g.SSH(t, s.ConnectionIdentifier, append(gate.With(key), "-T")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := peers.Start(t, cmd)
	output := func() string {
		text, _ := os.ReadFile(p.Output)
		return string(text)
	}
	peers.Await(t, p, func() error {
		if !strings.Contains(output(), "Press y to confirm") {
			return errors.New("no question yet")
		}
		return nil
	})
	return func(text string) (string, int) {
		_, _ = in.Write([]byte(text)) // a client that has gone shows in its exit code
		code := p.ExitCode()
		return output(), code
	}
}

// PostgreSQL goes away in the middle of work and comes back: this is told and not counted, nothing is
// invented, and everything goes on by itself.
func TestFaults_PostgreSQL_goes_away(t *testing.T) {
	t.Parallel()
	postgres := peers.OwnPostgres(t, "fsync=off")
	g := gate.Start(t, gate.Options{Database: postgres.Database(t), Settings: unlimited("sshverify.webhook_lease", "3s", "sshverify.webhook_timeout", "1s")})
	key := gate.NewKeys(t, 1)[0]
	receiver := gate.Receive(t, "", func(n int) int {
		if n == 1 {
			return 500 // the retry falls into the time without a database
		}
		return 200
	})
	hook := []map[string]any{{"url": receiver.URL, "events": []string{"status_changed"}, "retries": 10, "initial_backoff": 50}}
	for name, leave := range map[string]func(testing.TB){"in good order": postgres.Stop, "in a crash": postgres.Crash} {
		begun := g.Create(t, "verify", sessionOf([]string{key.Public}, "webhooks", hook))
		if out, code := proveFrom(t, g, "127.0.0.1", begun.ConnectionIdentifier, key.Signer(t)); code != 0 {
			t.Fatalf("%s: exit %d, %s", name, code, out)
		}
		fresh := g.Create(t, "verify", sessionOf([]string{key.Public}))
		asked := g.Create(t, "verify", sessionOf([]string{key.Public}, "must_confirm", true))
		answer := waiting(t, g, asked, key)

		leave(t)
		awaitReadiness(t, g, 503)
		isProblem(t, g.API(t, "POST", "/api/v1/ssh/verify/sessions/", sessionOf([]string{key.Public})))
		isProblem(t, g.API(t, "GET", "/api/v1/ssh/verify/sessions/"+fresh.ID, nil))
		if out, code := answer("y\n"); code != 1 || !strings.Contains(out, broken) {
			t.Errorf("%s: a confirmation without a database: exit %d\n%s", name, code, out)
		}
		if r := gate.Run(t, g.SSH(t, fresh.ConnectionIdentifier, gate.With(key)...), ""); r.Exit == 0 || !strings.Contains(r.Stdout+r.Stderr, broken) {
			t.Errorf("%s: a proof without a database: exit %d\n%s%s", name, r.Exit, r.Stdout, r.Stderr)
		}

		postgres.Start(t)
		awaitReadiness(t, g, 200)
		for _, s := range []gate.Session{fresh, asked} {
			if s = g.Session(t, "verify", s.ID); s.Status != "pending" || len(provenPrints(s)) != 0 {
				t.Errorf("%s: the session is %s, proven %v", name, s.Status, provenPrints(s))
			}
		}
		if out, code := waiting(t, g, asked, key)("y\n"); code != 0 {
			t.Errorf("%s: a confirmation afterwards: exit %d\n%s", name, code, out)
		}
		stillServes(t, g, key)
		if out, code := proveFrom(t, g, "127.0.0.1", fresh.ConnectionIdentifier, key.Signer(t)); code != 0 {
			t.Errorf("%s: the second try: exit %d, %s", name, code, out)
		}
		gate.Eventually(t, func() error {
			if rows := g.Rows(t, "SELECT state FROM webhook_deliveries WHERE owner = $1", begun.ID); len(rows) != 1 || rows[0][0] != "delivered" {
				return fmt.Errorf("%s: deliveries %v", name, rows)
			}
			return nil
		})
	}
	if r := g.Command(t, "", "audit", "verify"); r.Exit != 0 {
		t.Errorf("audit verify: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}

// A full disk under SQLite: nothing is half-written, what fails is told, and when there is room again the
// server goes on without being touched.
func TestFaults_full_disk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=12m", "gatehouse-test", disk).CombinedOutput(); err != nil {
		t.Skipf("a small disk needs root: %v %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	g := gate.Start(t, gate.Options{Data: filepath.Join(disk, "data"), Settings: unlimited()})
	key := gate.NewKeys(t, 1)[0]
	fresh := g.Create(t, "verify", sessionOf([]string{key.Public}))
	asked := g.Create(t, "verify", sessionOf([]string{key.Public}, "must_confirm", true))
	answer := waiting(t, g, asked, key)

	filler := fill(t, filepath.Join(disk, "filler"))
	var failed int
	long := strings.Repeat("a", 4000)
	sessions := g.Count(t, "SELECT count(*) FROM proof_sessions")
	gate.Eventually(t, func() error { // what SQLite has already taken from the disk is used up first
		a := g.API(t, "POST", "/api/v1/ssh/verify/sessions/", sessionOf([]string{key.Public}, "ssh_message", long))
		if a.Status == 201 {
			sessions++
			return errors.New("there is room still")
		}
		isProblem(t, a)
		if failed++; failed < 5 {
			return errors.New("once more")
		}
		return nil
	})
	if n := g.Count(t, "SELECT count(*) FROM proof_sessions"); n != sessions {
		t.Errorf("%d sessions are there, %d were answered", n, sessions)
	}
	if a := g.API(t, "GET", "/api/v1/ssh/verify/sessions/"+fresh.ID, nil); a.Status != 200 {
		t.Errorf("reading on a full disk: %d %s", a.Status, a.Body)
	}
	if out, code := answer("y\n"); code != 1 || !strings.Contains(out, broken) {
		t.Errorf("a confirmation on a full disk: exit %d\n%s", code, out)
	}
	if r := gate.Run(t, g.SSH(t, fresh.ConnectionIdentifier, gate.With(key)...), ""); r.Exit != 1 || !strings.Contains(r.Stdout, broken) {
		t.Errorf("a proof on a full disk: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	awaitReadiness(t, g, 200)
	for _, s := range []gate.Session{fresh, asked} {
		if s = g.Session(t, "verify", s.ID); s.Status != "pending" || len(provenPrints(s)) != 0 {
			t.Errorf("the session is %s, proven %v", s.Status, provenPrints(s))
		}
	}
	if out, code := proveFrom(t, g, "127.0.0.1", fresh.ConnectionIdentifier, key.Signer(t)); code != 0 {
		t.Errorf("the second try: exit %d, %s", code, out)
	}
	if out, code := waiting(t, g, asked, key)("y\n"); code != 0 {
		t.Errorf("a confirmation afterwards: exit %d\n%s", code, out)
	}
	stillServes(t, g, key)
	g.Stop(t)
	if r := g.Command(t, "", "audit", "verify"); r.Exit != 0 {
		t.Errorf("audit verify: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if rows := g.Rows(t, "PRAGMA integrity_check"); rows[0][0] != "ok" {
		t.Errorf("the database: %v", rows)
	}
}

// fill takes all the room that a disk has.
func fill(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return path
}
