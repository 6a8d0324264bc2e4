package test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// desktop is an estate, and dana's own machine with the SSH clients that people have. Her key is on file.
type desktop struct {
	*estate

	key gate.KeyFile
}

// there is the user name by which dana comes to web-01 as target.
const there = "dana:target@web-01"

// newDesktop builds an estate whose grant has those flags.
func newDesktop(t *testing.T, o gate.Options, grant ...string) *desktop {
	t.Helper()
	peers.Require(t, "ssh", "scp", "sftp")
	d := &desktop{build(t, o, grant...), gate.NewKeys(t, 1)[0]}
	d.enrol(t, "dana", d.key)
	return d
}

// enrol puts a key of somebody's on file.
func (d *desktop) enrol(t *testing.T, name string, key gate.KeyFile) {
	t.Helper()
	if r := d.Command(t, key.Public+"\n", "key", "add", "--user", name); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
}

// options are those that ssh, scp and sftp share.
func (d *desktop) options(t *testing.T, more ...string) []string {
	t.Helper()
	return append(more, append(gate.With(d.key), "-F", "none", "-o", "Port="+strconv.Itoa(d.SSHPort), "-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes")...)
}

// ssh runs OpenSSH's client as dana, with these options, and a command or none.
func (d *desktop) ssh(t *testing.T, user, input, command string, options ...string) gate.Result {
	t.Helper()
	return gate.Run(t, d.sshCommand(t, user, command, append(options, "-o", "BatchMode=yes")...), input)
}

func (d *desktop) sshCommand(t *testing.T, user, command string, options ...string) *exec.Cmd {
	t.Helper()
	cmd := d.SSH(t, user, append(options, gate.With(d.key)...)...)
	if command != "" {
		cmd.Args = append(cmd.Args, command)
	}
	return cmd
}

// copies runs scp or sftp.
func (d *desktop) copies(t *testing.T, args ...string) gate.Result {
	t.Helper()
	cmd := exec.Command(args[0], append(d.options(t), args[1:]...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	return gate.Run(t, cmd, "")
}

// latest is the session that started last, once it is over.
func (d *desktop) latest(t *testing.T) string {
	t.Helper()
	var id string
	gate.Eventually(t, func() error {
		rows := d.Rows(t, "SELECT id, state FROM remote_sessions WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1")
		if len(rows) != 1 || rows[0][1] != "ended" {
			return fmt.Errorf("sessions: %v", rows)
		}
		id = rows[0][0]
		return nil
	})
	return id
}

// wantRan checks how a client ended.
func wantRan(t *testing.T, r gate.Result, exit int, out, errs string) {
	t.Helper()
	if r.Exit != exit || r.Stdout != out || !strings.Contains(r.Stderr, errs) {
		t.Errorf("exit %d, want %d\nout %q, want %q\nerr %q, want %q", r.Exit, exit, r.Stdout, out, r.Stderr, errs)
	}
}

// People come with the clients that they have, and everything of them that a grant gives works as if the target were theirs.
func TestNative_clients(t *testing.T) {
	t.Parallel()
	d := newDesktop(t, gate.Options{})
	t.Run("exec", func(t *testing.T) {
		wantRan(t, d.ssh(t, there, "in", "cat; echo beside >&2; exit 7"), 7, "in", "beside\n")
		id := d.latest(t)
		if now := standing(t, d.Gate, id); now.End != "closed" || now.Address != "127.0.0.1" {
			t.Errorf("%+v", now)
		}
		if said := keep(t, d.Gate, id); !strings.Contains(said, "recorded: exec exec, 9 bytes, 2 sent") {
			t.Errorf("what is recorded: %s", said)
		}
	})
	t.Run("without_a_credential_in_the_name", func(t *testing.T) {
		wantRan(t, d.ssh(t, "dana:WEB-01", "", "id -un >/dev/null; echo $USER"), 0, "target\n", "")
	})
	t.Run("nobody_else_by_that_key", func(t *testing.T) {
		wantRan(t, d.ssh(t, "erik:target@web-01", "", "echo in"), 255, "", "Permission denied")
	})
	t.Run("shell_on_a_terminal", func(t *testing.T) {
		r := gate.OnTerminal(t, d.sshCommand(t, there, "", "-t", "-o", "BatchMode=yes"), [2]string{"This session is recorded.", "stty size; echo 4''2-here\r"},
			[2]string{"42-here", "exit 3\r"})
		if r.Exit != 3 || !strings.Contains(r.Stdout, "This session is recorded.") {
			t.Errorf("%+v", r)
		}
		if text := d.Must(t, "recording", "export", d.latest(t), "--format", "txt"); !strings.Contains(text, "42-here") {
			t.Errorf("the recording holds %q", text)
		}
	})
	t.Run("scp_and_sftp", d.copy)
	t.Run("dbclient", func(t *testing.T) {
		cmd := d.Dbclient(t, there, nil, d.key)
		cmd.Args = append(cmd.Args[:len(cmd.Args)-1], "-l", there, "127.0.0.1", "echo beside >&2; echo drop; exit 4")
		wantRan(t, gate.Run(t, cmd, ""), 4, "drop\n", "beside")
	})
	t.Run("plink", func(t *testing.T) {
		cmd := d.Plink(t, there, "-batch", "-i", gate.PuttyKey(t, d.key))
		cmd.Args = append(cmd.Args, "echo beside >&2; echo putty; exit 5")
		wantRan(t, gate.Run(t, cmd, ""), 5, "putty\n", "beside")
	})
	t.Run("to_see_where_one_may_go", func(t *testing.T) {
		r := d.ssh(t, "dana", "", "")
		if r.Exit != 0 || !strings.Contains(r.Stdout, fmt.Sprintf("ssh dana:target@web-01@127.0.0.1 -p %d\n", d.SSHPort)) {
			t.Errorf("%+v", r)
		}
	})
	hushed(t, d.Gate, d.target.Account.Password)
}

// copy sends and fetches a file by each protocol that OpenSSH has.
func (d *desktop) copy(t *testing.T) {
	dir, home := t.TempDir(), d.target.Account.Home
	content := []byte(strings.Repeat("0123456789abcdef", 20_000))
	must(t, os.WriteFile(dir+"/file", content, 0o600))
	same := func(path string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	for _, mode := range []string{"-s", "-O"} { // over SFTP, and the old way: a command
		t.Run("scp"+mode, func(t *testing.T) {
			name := "by" + mode
			if r := d.copies(t, "scp", mode, "-o", "User="+there, dir+"/file", "127.0.0.1:"+name); r.Exit != 0 {
				t.Fatalf("%+v", r)
			}
			same(filepath.Join(home, name))
			kind := map[string]string{"-s": "not recorded: file files, 2 times, 320000 bytes", "-O": "recorded: exec exec"}[mode]
			if said := keep(t, d.Gate, d.latest(t)); !strings.Contains(said, kind) {
				t.Errorf("what is recorded: %s", said)
			}
			if r := d.copies(t, "scp", mode, "-o", "User="+there, "127.0.0.1:"+name, dir+"/back"+mode); r.Exit != 0 {
				t.Fatalf("%+v", r)
			}
			same(dir + "/back" + mode)
		})
	}
	t.Run("sftp", func(t *testing.T) {
		must(t, os.WriteFile(dir+"/batch", []byte("put "+dir+"/file up\nrename up renamed\nget renamed "+dir+"/down\nrm renamed\nls -l\n"), 0o600))
		if r := d.copies(t, "sftp", "-o", "User="+there, "-b", dir+"/batch", "127.0.0.1"); r.Exit != 0 {
			t.Fatalf("%+v", r)
		}
		same(dir + "/down")
		if _, err := os.Stat(filepath.Join(home, "renamed")); err == nil {
			t.Error("the file is still there")
		}
		if said := keep(t, d.Gate, d.latest(t)); !strings.Contains(said, "file files") {
			t.Errorf("what is recorded: %s", said)
		}
	})
}

// A grant gives forwards only where it says so; then OpenSSH's -W, -J, -L and -D lead into the target's network.
func TestNative_forwards(t *testing.T) {
	t.Parallel()
	d := newDesktop(t, gate.Options{})
	d.device(t, "hop", d.line.port)
	d.Must(t, "grant", "add", "--user", "dana", "--device", "hop", "--feature", "shell", "--feature", "exec", "--feature", "files", "--feature", "forward")
	const hop = "dana:target@hop"
	inside := echoes(t)
	t.Run("not_given", func(t *testing.T) {
		wantRan(t, d.ssh(t, there, "", "", "-W", inside), 255, "", "prohibited")
		if said := keep(t, d.Gate, d.latest(t)); !strings.Contains(said, "refused: forward") {
			t.Errorf("what is recorded: %s", said)
		}
		r := d.ssh(t, there, "", "echo in", "-o", "ExitOnForwardFailure=yes", "-R", "0:"+inside)
		wantRan(t, r, 255, "", "remote port forwarding failed")
	})
	t.Run("-W", func(t *testing.T) {
		wantRan(t, d.ssh(t, hop, "through", "", "-W", inside), 0, "through", "")
		if said := keep(t, d.Gate, d.latest(t)); !strings.Contains(said, "recorded: forward") || !strings.Contains(said, " to "+inside) {
			t.Errorf("what is recorded: %s", said)
		}
	})
	t.Run("-J", func(t *testing.T) { // the way to a machine behind the target; its sign-in is between it and dana
		cmd := exec.Command("ssh", "-F", file(t, fmt.Sprintf(`
Host *
	IdentitiesOnly yes
	BatchMode yes
	StrictHostKeyChecking no
	UserKnownHostsFile /dev/null
Host gate
	HostName 127.0.0.1
	Port %d
	User %s
	IdentityFile %s
Host behind
	HostName 127.0.0.1
	Port %d
	User target
	IdentityFile %s
	ProxyJump gate
`, d.SSHPort, hop, d.key.Path, d.target.At.Port(), d.target.KeyFile)), "behind", "echo jumped; exit 6")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		wantRan(t, gate.Run(t, cmd, ""), 6, "jumped\n", "")
	})
	t.Run("-L", func(t *testing.T) {
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(peers.Port(t)))
		p := peers.Start(t, d.sshCommand(t, hop, "", "-N", "-o", "BatchMode=yes", "-L", at+":"+inside))
		for i := range 3 {
			peers.Await(t, p, func() error {
				c, err := net.Dial("tcp", at) //nolint:noctx // on this machine
				if err != nil {
					return err
				}
				defer c.Close()
				return answered(c, fmt.Sprint("call ", i))
			})
		}
		d.Must(t, "remote", "end", living(t, d.Gate))
		if code := p.ExitCode(); code != 255 {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("an_editor", func(t *testing.T) { d.editor(t, hop) })
}

// editor does what VS Code's Remote-SSH does: one connection that runs a script from its input, a server that the script starts, SOCKS into the
// target's network, and commands beside it over the same connection.
func (d *desktop) editor(t *testing.T, user string) {
	socks, control := net.JoinHostPort("127.0.0.1", strconv.Itoa(peers.Port(t))), filepath.Join(t.TempDir(), "c")
	cmd := d.sshCommand(t, user, "sh", "-T", "-D", socks, "-M", "-S", control, "-o", "BatchMode=yes")
	in, err := cmd.StdinPipe()
	must(t, err)
	p := peers.Start(t, cmd)
	printed := func(text string) func() error {
		return func() error {
			out, err := os.ReadFile(p.Output)
			if err == nil && !bytes.Contains(out, []byte(text)) {
				err = fmt.Errorf("no %q in %q", text, out)
			}
			return err
		}
	}
	_, err = io.WriteString(in, "uname >/dev/null && echo running\nmkdir -p .server && cat >.server/log <<EOF\nstarted\nEOF\necho listeningOn=ready\n")
	must(t, err)
	peers.Await(t, p, printed("listeningOn=ready"))
	inside := echoes(t)
	through, err := proxy.SOCKS5("tcp", socks, nil, proxy.Direct)
	must(t, err)
	done := make(chan error, 12)
	for i := range 6 {
		go func() {
			c, err := through.Dial("tcp", inside)
			if err == nil {
				err = answered(c, fmt.Sprint("channel ", i))
				c.Close()
			}
			done <- err
		}()
		go func() {
			beside := exec.Command("ssh", "-F", "none", "-S", control, "-o", "BatchMode=yes", user+"@127.0.0.1", fmt.Sprint("cat .server/log; echo ", i))
			out, err := beside.Output()
			if err == nil && string(out) != fmt.Sprintf("started\n%d\n", i) {
				err = fmt.Errorf("%q", out)
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := d.Count(t, "SELECT count(*) FROM remote_sessions WHERE state = 'active'"); n != 1 {
		t.Errorf("%d sessions for one connection", n)
	}
	_, err = io.WriteString(in, "exit 0\n")
	must(t, err)
	must(t, in.Close())
	if code := p.ExitCode(); code != 0 {
		t.Errorf("exit %d", code)
	}
	said := keep(t, d.Gate, d.latest(t))
	if strings.Count(said, "recorded: exec") != 7 || strings.Count(said, "recorded: forward") != 6 {
		t.Errorf("what is recorded: %s", said)
	}
}

// echoes is a server in the target's network that answers what it is told.
func echoes(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // on this machine
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c) // until the other side ends it
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// answered checks that a connection leads to echoes.
func answered(c net.Conn, text string) error {
	_ = c.SetDeadline(time.Now().Add(peers.Patience)) // what fails shows in what is read
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("%q comes back", got)
	}
	return nil
}

// living is the number of the one session that lives.
func living(t *testing.T, g *gate.Gate) string {
	t.Helper()
	var number string
	gate.Eventually(t, func() error {
		rows := g.Rows(t, "SELECT number FROM remote_sessions WHERE state = 'active'")
		if len(rows) != 1 {
			return fmt.Errorf("%d sessions live", len(rows))
		}
		number = rows[0][0]
		return nil
	})
	return number
}

// dialogue is OpenSSH on a terminal, where it can be asked. What is not a key is asked by keyboard-interactive.
func (d *desktop) dialogue(t *testing.T, command string, key bool, lines ...[2]string) gate.Result {
	t.Helper()
	options := []string{"-o", "PreferredAuthentications=publickey,keyboard-interactive"}
	if !key {
		options = []string{"-o", "PreferredAuthentications=keyboard-interactive"}
	}
	return gate.OnTerminal(t, d.sshCommand(t, there, command, options...), lines...)
}

// Who has no key at hand comes with a password, and the code of an authenticator app where there is one (rule S18).
func TestNative_password_and_code(t *testing.T) {
	t.Parallel()
	d := newDesktop(t, gate.Options{})
	const ask = "Code of your authenticator app"
	password := [2]string{"Password for dana:", danaPassword + "\r"}
	if r := d.dialogue(t, "echo in''side; exit 2", false, password); r.Exit != 2 || !strings.Contains(r.Stdout, "inside") || strings.Contains(r.Stdout, ask) {
		t.Errorf("without a second factor: %+v", r)
	}
	app := withApp(t, signedIn(t, d.Gate, "dana"))
	now := code(t, app.secret, 0)
	if r := d.dialogue(t, "echo in''side; exit 3", false, password, [2]string{ask, now + "\r"}); r.Exit != 3 || !strings.Contains(r.Stdout, "inside") {
		t.Errorf("with a code: %+v", r)
	}
	wantEvent(t, d.Gate, "ssh.login", "done", func(a gate.Audited) bool { return a.Actor.Name == "dana" && a.Detail["second_factor"] == "proved" })
	// A code is good once; a recovery code does where the app is lost.
	r := d.dialogue(t, "echo in''side", false, password, [2]string{ask, now + "\r"}, [2]string{ask, app.recovery + "\r"})
	if r.Exit != 0 || !strings.Contains(r.Stdout, "inside") || strings.Count(r.Stdout, ask) != 2 {
		t.Errorf("with a code that was used: %+v", r)
	}
	// A key is no second factor, and a password alone none either.
	if r := d.ssh(t, there, "", "echo in"); r.Exit != 255 || r.Stdout != "" || !strings.Contains(r.Stderr, "BatchMode") {
		t.Errorf("with a key alone: %+v", r)
	}
	hushed(t, d.Gate, d.target.Account.Password, danaPassword, app.secret, app.recovery)
}

// What a grant asks for is asked on the way in; somebody else agrees by the API; nothing reaches the target before (rules S13, S15, S18).
func TestNative_steps(t *testing.T) {
	t.Parallel()
	d := newDesktop(t, gate.Options{})
	person(t, d.Gate, "erik")
	d.Must(t, "grant", "add", "--user", "dana", "--device", "web-01", "--step-up", "--reason", "--approver", "erik", "--within", "5m")
	erik, dana := signedIn(t, d.Gate, "erik"), signedIn(t, d.Gate, "dana")
	app := withApp(t, dana)
	attempt := func(ahead int64) chan gate.Result {
		result := make(chan gate.Result, 1)
		go func() {
			result <- d.dialogue(t, "echo in''side; exit 9", true, [2]string{"Code of your authenticator app", code(t, app.secret, ahead) + "\r"}, [2]string{"Why do you need", "disk is full\r"},
				[2]string{"Ticket, if there is one", "OPS-7\r"}, [2]string{"waits for approval until", ""})
		}()
		return result
	}
	pending := func() string {
		var path string
		gate.Eventually(t, func() error {
			var all struct {
				Items []struct {
					Number                         int64
					User, Reason, Reference, State string
				} `json:"items"`
			}
			erik.must(t, http.StatusOK, "GET", native+"/remote-requests?state=pending", nil).JSON(t, &all)
			if len(all.Items) != 1 {
				return fmt.Errorf("%d requests wait", len(all.Items))
			}
			if r := all.Items[0]; r.User != "dana" || r.Reason != "disk is full" || r.Reference != "OPS-7" {
				t.Errorf("%+v", r)
			}
			path = fmt.Sprintf("%s/remote-requests/%d/", native, all.Items[0].Number)
			return nil
		})
		if came, _ := d.line.seen(); came != 0 {
			t.Error("somebody came to the target before the approval")
		}
		return path
	}
	first := attempt(0)
	path := pending()
	if r := dana.call(t, "POST", path+"approve", members{}); r.Status == http.StatusOK {
		t.Errorf("dana agrees with herself: %v", r)
	}
	erik.must(t, http.StatusOK, "POST", path+"deny", members{"note": "not today"})
	if r := <-first; r.Exit != 255 || strings.Contains(r.Stdout, "inside") || !strings.Contains(r.Stdout, "Your request was denied. not today") {
		t.Errorf("denied: %+v", r)
	}
	second := attempt(1)
	erik.must(t, http.StatusOK, "POST", pending()+"approve", members{})
	if r := <-second; r.Exit != 9 || !strings.Contains(r.Stdout, "inside") {
		t.Errorf("approved: %+v", r)
	}
	wantEvent(t, d.Gate, "session.approved", "done", func(a gate.Audited) bool { return a.Actor.Name == "erik" })
	var kept struct {
		Manifest struct{ Session map[string]any }
	}
	id := d.latest(t)
	keep(t, d.Gate, id)
	read(t, string(bytesOf(t, filepath.Join(d.Data, "recordings", id, "manifest.json"))), &kept)
	if text := fmt.Sprint(kept.Manifest.Session); !strings.Contains(text, "disk is full") || !strings.Contains(text, "OPS-7") {
		t.Errorf("the manifest says %s", text)
	}
	hushed(t, d.Gate, d.target.Account.Password, app.secret)
}

func bytesOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}

// An administrator looks on at a session of an SSH client and ends it; the person reads why.
func TestNative_watched_and_ended(t *testing.T) {
	t.Parallel()
	d := newDesktop(t, gate.Options{})
	person(t, d.Gate, "erik", "--admin")
	erik := signedIn(t, d.Gate, "erik")
	for name, end := range map[string]func(t *testing.T, number, id string){
		"by_the_dialect": func(t *testing.T, _, id string) {
			rows := d.Rows(t, "SELECT code FROM remote_sessions WHERE id = $1", id)
			d.tool.must(t, http.StatusOK, "DELETE", "/api/session/drop/"+rows[0][0], nil)
		},
		"by_the_command": func(t *testing.T, number, _ string) { d.Must(t, "remote", "end", number) },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := d.sshCommand(t, there, "", "-t", "-o", "BatchMode=yes")
			result := make(chan gate.Result, 1)
			begun := filepath.Join(t.TempDir(), "begun")
			go func() {
				result <- gate.OnTerminal(t, cmd, [2]string{"This session is recorded.", "echo 4''2-here; touch " + begun + "; cat\r"}, [2]string{"The session was ended by an administrator.", ""})
			}()
			gate.Eventually(t, func() error { _, err := os.Stat(begun); return err })
			number := living(t, d.Gate)
			watching := lookOn(t, erik, number)
			watching.await(t, "the screen", func() bool { return strings.Contains(string(watching.traffic()), "42-here") })
			id := d.Rows(t, "SELECT id FROM remote_sessions WHERE number = $1", number)[0][0]
			began := time.Now()
			end(t, number, id)
			r := <-result
			if r.Exit != 255 || !strings.Contains(r.Stdout, "The session was ended by an administrator.") {
				t.Errorf("%+v", r)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			watching.ends(t)
			wantEnd(t, d.Gate, id, "dropped")
			keep(t, d.Gate, id)
		})
	}
	wantEvent(t, d.Gate, "session.watched", "done", func(a gate.Audited) bool { return a.Actor.Name == "erik" })
}

// What was recorded is played, and verified where nothing but the files and the key is: each way of changing it is told, with its place.
func TestNative_recording_offline(t *testing.T) {
	t.Parallel()
	d := newDesktop(t, gate.Options{Settings: map[string]string{"recording.segment_bytes": "4KiB"}})
	wantRan(t, d.ssh(t, there, "", "i=0; while [ $i -lt 600 ]; do echo line $i of the first session; i=$((i+1)); done >/dev/stderr"), 0, "", "line 599 of")
	first := d.latest(t)
	wantRan(t, d.ssh(t, there, "", "seq 1 40000 | tail -n 30000"), 0, numbers(10001, 40000), "")
	second := d.latest(t)
	for _, id := range []string{first, second} {
		keep(t, d.Gate, id)
	}
	if text := d.Must(t, "recording", "export", second, "--format", "txt"); !strings.Contains(text, "\n25000\n") {
		t.Errorf("what is played: %.200q", text)
	}
	wantEvent(t, d.Gate, "recording.play", "done", nil)
	key := filepath.Join(t.TempDir(), "gate.pub")
	must(t, os.WriteFile(key, []byte(d.Must(t, "recording", "key")+"\n"), 0o600))
	source := func(id string) string { return filepath.Join(d.Data, "recordings", id) }

	verify := func(t *testing.T, dir string, exit int, says ...string) {
		t.Helper()
		cmd := exec.Command(gate.Binary(t), "recording", "verify", dir, "--key", key)
		cmd.Env, cmd.Dir = []string{"HOME=" + t.TempDir()}, t.TempDir()
		r := gate.Run(t, cmd, "")
		if r.Exit != exit {
			t.Errorf("%+v", r)
		}
		for _, text := range says {
			if !strings.Contains(r.Stdout, text) {
				t.Errorf("no %q: %s", text, r.Stdout)
			}
		}
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		says []string
	}{
		"one_byte": {func(t *testing.T, dir string) {
			path := dir + "/exec.000002.cast"
			text := bytesOf(t, path)
			text[len(text)/2] ^= 1
			must(t, os.WriteFile(path, text, 0o600))
		}, []string{"problem: exec.000002.cast: it was changed: bytes "}},
		"the_tail": {func(t *testing.T, dir string) {
			all, err := filepath.Glob(dir + "/exec.*.cast")
			must(t, err)
			path := all[len(all)-1]
			text := bytesOf(t, path)
			must(t, os.WriteFile(path, text[:bytes.LastIndexByte(text[:len(text)-1], '\n')+1], 0o600))
		}, []string{".cast: it was truncated: "}},
		"a_segment": {func(t *testing.T, dir string) { must(t, os.Remove(dir+"/exec.000002.cast")) }, []string{"problem: exec.000002.cast: the segment is missing"}},
		"another_manifest": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(dir+"/manifest.json", bytesOf(t, source(first)+"/manifest.json"), 0o600))
		}, []string{"problem: exec.000001.cast: it was changed"}},
		"another_signer": {func(t *testing.T, dir string) { resign(t, dir+"/manifest.json") }, []string{"problem: manifest.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), second)
			must(t, os.CopyFS(dir, os.DirFS(source(second))))
			verify(t, dir, 0, "recording "+second+" is whole")
			c.harm(t, dir)
			verify(t, dir, 1, append(c.says, " is BROKEN")...)
		})
	}
	// The same in place: by number the database knows the hashes too.
	must(t, os.Remove(source(second)+"/exec.000001.cast"))
	if r := d.Command(t, "", "recording", "verify", second); r.Exit != 1 || !strings.Contains(r.Stdout, "problem: exec.000001.cast: the segment is missing") {
		t.Errorf("%+v", r)
	}
}

// resign signs a manifest with another key, and puts that into it.
func resign(t *testing.T, path string) {
	t.Helper()
	var m struct {
		Manifest  json.RawMessage `json:"manifest"`
		KeyID     string          `json:"key_id"`
		Public    string          `json:"public_key"`
		Signature []byte          `json:"signature"`
	}
	read(t, string(bytesOf(t, path)), &m)
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	m.Public = hex.EncodeToString(public)
	m.Signature = ed25519.Sign(private, fmt.Appendf(nil, "gatehouse recording manifest v1\n%s\n%s", m.KeyID, m.Manifest))
	text, err := json.Marshal(m)
	must(t, err)
	must(t, os.WriteFile(path, text, 0o600))
}

func numbers(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}
