package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// TestCommands runs the scripts of commands/ with the real binary first in their path. Each script has
// free addresses in $HTTP and $SSH, data in $WORK/data, and the commands
//
//	exits CODE PROGRAM ARG...   the program ends with that exit code
//	ready                       wait until the server at $HTTP is ready
//	page PATH TEXT              wait until the page there has the text; with ! until it has not
func TestCommands(t *testing.T) {
	t.Parallel()
	binary := gate.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir: "commands",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(binary)+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("HTTP", "127.0.0.1:"+strconv.Itoa(peers.Port(t)))
			e.Setenv("SSH", "127.0.0.1:"+strconv.Itoa(peers.Port(t)))
			e.Setenv("GATEHOUSE_DATA", filepath.Join(e.WorkDir, "data"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "ready": ready, "page": pageHas},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		code = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

func ready(ts *testscript.TestScript, _ bool, _ []string) {
	url := "http://" + ts.Getenv("HTTP") + "/readyz"
	for until := time.Now().Add(peers.Patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if r, err := http.Get(url); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
	}
	ts.Fatalf("%s did not answer 200", url)
}

func pageHas(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] page PATH TEXT")
	}
	var body []byte
	for until := time.Now().Add(peers.Patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		r, err := http.Get("http://" + ts.Getenv("HTTP") + args[0])
		if err != nil {
			continue
		}
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err == nil && strings.Contains(string(body), args[1]) != neg {
			return
		}
	}
	ts.Fatalf("%s: %q is there: %v\n%s", args[0], args[1], neg, body)
}

// demoRun is a demo whose output is read by a program.
type demoRun struct {
	cmd   *exec.Cmd
	facts *bufio.Scanner
	said  []string
	tmp   string
	home  string
}

// startDemo starts a demo that finds its keys with that environment alone.
func startDemo(t *testing.T, env []string, args ...string) *demoRun {
	t.Helper()
	d := &demoRun{tmp: t.TempDir(), home: t.TempDir()}
	d.cmd = exec.Command(gate.Binary(t), append([]string{"demo"}, args...)...)
	d.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.home, "TMPDIR=" + d.tmp}, env...)
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = &strings.Builder{}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*peers.Patience, func() { _ = d.cmd.Process.Kill() })
	t.Cleanup(func() {
		late.Stop()
		_ = d.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("demo said:\n%s\n%s", strings.Join(d.said, "\n"), d.cmd.Stderr)
		}
	})
	d.facts = bufio.NewScanner(out)
	return d
}

// await reads to the next fact of that name and returns its value.
func (d *demoRun) await(t *testing.T, name string) string {
	t.Helper()
	for d.facts.Scan() {
		d.said = append(d.said, d.facts.Text())
		if value, ok := strings.CutPrefix(d.facts.Text(), name+": "); ok {
			return value
		}
	}
	t.Fatalf("the demo ended without saying %q", name)
	return ""
}

// end reads the rest, waits, and returns the exit code.
func (d *demoRun) end(t *testing.T) int {
	t.Helper()
	for d.facts.Scan() {
		d.said = append(d.said, d.facts.Text())
	}
	if err := d.cmd.Wait(); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(d.tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind: %v", left, err)
	}
	return d.cmd.ProcessState.ExitCode()
}

// typed runs the line that the demo prints, as somebody would who types it.
func (d *demoRun) typed(t *testing.T, line, options string, env ...string) gate.Result {
	t.Helper()
	peers.Require(t, "ssh", "sh")
	cmd := exec.Command("sh", "-c", "exec "+strings.Replace(line, "ssh ", "ssh -F none -o BatchMode=yes "+options+" ", 1))
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.home}, env...)
	return gate.Run(t, cmd, "")
}

func (d *demoRun) says(t *testing.T, texts ...string) {
	t.Helper()
	all := strings.Join(d.said, "\n") + "\n"
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("the demo does not say %q", text)
		}
	}
	if strings.ContainsAny(all, "\x1b\r") {
		t.Error("escapes in plain output")
	}
}

func TestDemo_ends_verified_with_a_key_of_the_agent(t *testing.T) {
	t.Parallel()
	key := gate.NewKey(t, "ed25519")
	agent := "SSH_AUTH_SOCK=" + gate.Agent(t, key)
	d := startDemo(t, []string{agent}, "--once", "--timeout", "50s")
	r := d.typed(t, d.await(t, "ssh"), "", agent)
	if r.Exit != 0 || !strings.Contains(r.Stdout, "Verified with "+key.SHA256) {
		t.Errorf("ssh: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if code := d.end(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	d.says(t,
		"key: ssh-ed25519 "+key.SHA256+" e2e (agent)\n", "connection: 127.0.0.1 SSH-2.0-", "proof: "+key.SHA256+" e2e\n",
		"webhook: new_connection, signature ok, attempt 1, ", "webhook: verified, signature ok, attempt 1, ",
		"webhook: status_changed, signature ok, attempt 1, ", "\nstatus: verified\n")
}

func TestDemo_makes_a_key_for_who_has_none(t *testing.T) {
	t.Parallel()
	d := startDemo(t, nil)
	if r := d.typed(t, d.await(t, "ssh"), ""); r.Exit != 0 {
		t.Errorf("ssh: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if status := d.await(t, "status"); status != "verified" {
		t.Errorf("status %s", status)
	}
	visit := d.await(t, "device-ssh")
	d.await(t, "serving")
	if r := d.typed(t, visit+" whoami", ""); r.Exit != 0 || r.Stdout != "deploy\n" { // behind the gate, with the key that was made
		t.Errorf("ssh to the machine: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if at := d.await(t, "play"); !strings.HasSuffix(at, "/ws/play/1") {
		t.Errorf("played at %s", at)
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := d.end(t); code != 0 {
		t.Errorf("exit %d after SIGTERM", code)
	}
	d.says(t, "next: ", " audit verify --data ", " recording verify 1 --data ", "webhook: session.started, signature ok\n", "visit: session.ended ana deploy to web-01 by ssh closed\n")
}

func TestDemo_once_fails_when_nobody_proves_a_key(t *testing.T) {
	t.Parallel()
	d := startDemo(t, nil, "--once", "--timeout", "1s")
	if code := d.end(t); code != 1 || !strings.Contains(fmt.Sprint(d.cmd.Stderr), "nobody proved a key in time; ") {
		t.Errorf("exit %d: %s", code, d.cmd.Stderr)
	}
}

func TestDemo_once_fails_when_the_keys_are_others(t *testing.T) {
	t.Parallel()
	stranger := gate.NewKey(t, "ed25519")
	d := startDemo(t, nil, "--once", "--timeout", "50s")
	line := d.await(t, "ssh")
	before, rest, _ := strings.Cut(line, " -i ")
	_, target, _ := strings.Cut(rest, " ")
	for range 5 { // its tries
		if r := d.typed(t, before+" "+target, "-o IdentitiesOnly=yes -i "+stranger.Path); r.Exit == 0 {
			t.Errorf("a stranger's key: exit 0\n%s", r.Stdout)
		}
	}
	if code := d.end(t); code != 1 {
		t.Errorf("exit %d", code)
	}
	d.says(t, "failed-attempt: no_match\n", "webhook: failed_attempt, signature ok", "\nstatus: failed\n")
}
