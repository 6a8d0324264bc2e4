package sshd_test

import (
	"context"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

const anaPassword = "correct horse battery staple"

// ward is a whole Gatehouse with one device, a real sshd, and one person, ana, whose key is on file.
type ward struct {
	*app.Server
	target *peers.SSHServer
	device device.Device
	cred   vault.Credential
	ana    identity.User
	key    keyPair
	data   string
}

func newWard(t *testing.T, terms *access.Terms, settings ...string) *ward {
	t.Helper()
	peers.Require(t, "ssh")
	w := &ward{target: peers.Sshd(t, peers.SSHOptions{}), key: keyPairs(t, 1)[0], data: t.TempDir() + "/data"}
	env := []string{"GATEHOUSE_ADMIN_PASSWORD=" + anaPassword}
	c, err := config.Load(map[string]string{"data": w.data, "http": "127.0.0.1:0", "ssh": "127.0.0.1:0"}, append(env, settings...), "")
	must(t, err)
	ctx := context.WithoutCancel(t.Context())
	house, err := app.Migrate(ctx, c, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	w.Server, err = house.Listen(ctx)
	must(t, err)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-done)
		house.Close()
	})
	w.ana, err = w.Users.Add(ctx, w.Access.For(me()), identity.New{Name: "ana", Email: "ana@example.test", Password: secret.New(anaPassword)})
	must(t, err)
	_, err = w.Keys.AddUserKey(ctx, me(), w.ana.ID, sshkey.New{Text: string(ssh.MarshalAuthorizedKey(w.key.public)), Label: "ana's", Via: sshkey.Wire})
	must(t, err)
	w.device, err = w.Devices.Create(ctx, me(), device.New{Host: "web-1", IP: w.target.At.Addr(), Connect: &[]device.Connectivity{{Name: "SSH", Port: int(w.target.At.Port())}}})
	must(t, err)
	public, err := ssh.ParsePublicKey(w.target.HostKeys[0])
	must(t, err)
	_, err = w.Devices.AcceptHostKey(ctx, me(), w.device.ID, int(w.target.At.Port()), string(ssh.MarshalAuthorizedKey(public)))
	must(t, err)
	kind := "SSH Key"
	w.cred, err = w.Vault.Create(ctx, me(), vault.New{Device: w.device.ID, Username: w.target.Account.Name, Secret: secret.New(string(w.target.Key)), Type: &kind})
	must(t, err)
	if terms != nil {
		w.grant(t, *terms)
	}
	return w
}

func (w *ward) grant(t *testing.T, terms access.Terms) {
	t.Helper()
	_, err := w.Access.GrantTerms(t.Context(), me(), access.Subject{Kind: access.User, ID: w.ana.ID}, access.CredentialConnect, w.cred.Resource(), terms)
	must(t, err)
}

// enrol gives ana an app, and returns its secret. The code that the app shows then is used up; that of the next half minute is good already.
func (w *ward) enrol(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	in, err := w.Login.SignIn(ctx, login.Presented{Kind: login.Password, Name: "ana", Secret: secret.New(anaPassword), Door: "test", Accepts: []login.Kind{login.Password}}, login.Begin{})
	must(t, err)
	_, err = w.Login.ElevateByPassword(ctx, in.Caller, secret.New(anaPassword))
	must(t, err)
	e, err := w.Login.StartVoluntary(ctx, in.Caller)
	must(t, err)
	_, err = w.Login.CompleteVoluntary(ctx, in.Caller, e.Token, secret.New(codeAt(t, e.Secret.Reveal(), time.Now())))
	must(t, err)
	return e.Secret.Reveal()
}

// codeAt is what an app shows (RFC 6238).
func codeAt(t *testing.T, key string, at time.Time) string {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(key)
	must(t, err)
	mac := hmac.New(sha1.New, raw)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	off := sum[19] & 15
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[off:off+4])&0x7fffffff)%1000000)
}

func (w *ward) port() string {
	_, port, _ := net.SplitHostPort(w.SSH.String())
	return port
}

// options are those of OpenSSH's programs.
func (w *ward) options(t *testing.T) []string {
	t.Helper()
	return []string{
		"-F", "none", "-o", "Port=" + w.port(), "-i", w.key.file, "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + filepath.Join(t.TempDir(), "known"),
		"-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes",
	}
}

const there = "ana:target@web-1@127.0.0.1"

// ssh runs OpenSSH's client.
func (w *ward) ssh(t *testing.T, input string, args ...string) ran {
	t.Helper()
	return run(t, input, []string{"LANG=C.UTF-8"}, "ssh", append(w.options(t), args...)...)
}

// sessions are those that started, newest first.
func (w *ward) sessions(t *testing.T) []remote.Session {
	t.Helper()
	all, err := w.Remote.List(t.Context(), me(), remote.Which{}, page.Window{Limit: 50})
	must(t, err)
	return all.Items
}

// ended waits until the latest session is over.
func (w *ward) ended(t *testing.T) remote.Session {
	t.Helper()
	var x remote.Session
	gate.Eventually(t, func() error {
		all := w.sessions(t)
		if len(all) == 0 || all[0].State != remote.Ended {
			return fmt.Errorf("sessions: %+v", all)
		}
		x = all[0]
		return nil
	})
	return x
}

// recorded is all that lies in the recording of a session, once it is whole.
func (w *ward) recorded(t *testing.T, x remote.Session) string {
	t.Helper()
	var all strings.Builder
	gate.Eventually(t, func() error {
		all.Reset()
		whole := errors.New("there is no manifest")
		err := filepath.WalkDir(filepath.Join(w.data, "recordings"), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.Contains(path, x.ID) {
				return err
			}
			if filepath.Base(path) == "manifest.json" {
				whole = nil
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		return errors.Join(err, whole)
	})
	return all.String()
}

func TestRemote_runs_commands(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{})
	got := w.ssh(t, "hello", "-o", "SendEnv=LANG", there, "cat; echo beside >&2; echo $LANG; exit 7")
	if got.out != "helloC.UTF-8\n" || !strings.Contains(got.err, "beside\n") || got.exit != 7 {
		t.Errorf("got %+v", got)
	}
	x := w.ended(t)
	if x.End != remote.Closed || x.Way != remote.Native || x.User.ID != w.ana.ID || x.Username != "target" || x.Number == 0 {
		t.Errorf("the session is %+v", x)
	}
	if text := w.recorded(t, x); !strings.Contains(text, "hello") || strings.Contains(text, string(w.target.Key[40:80])) {
		t.Errorf("the recording holds %q", text)
	}
	if got := w.ssh(t, "", there, "kill -TERM $$"); got.exit != 255 && got.exit != 143 {
		t.Errorf("after a signal: %+v", got)
	}
	if got := w.ssh(t, "", "ana:web-1@127.0.0.1", "echo any"); got.out != "any\n" {
		t.Errorf("without a credential: %+v", got)
	}
	if got := w.ssh(t, "exit 3\n", there); got.exit != 3 {
		t.Errorf("a shell without a terminal: %+v", got)
	}
}

func TestRemote_has_a_terminal(t *testing.T) {
	t.Parallel()
	peers.Require(t, "expect")
	w := newWard(t, &access.Terms{})
	cmd := exec.Command("ssh", append(w.options(t), "-t", there, "stty size; tty; echo $TERM; read x; echo got $x; exit 4")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TERM=vt220"}
	got := gate.OnTerminal(t, cmd, [2]string{"vt220", "word\r"})
	if got.Exit != 4 || !strings.Contains(got.Stdout, "got word") || !strings.Contains(got.Stdout, "/dev/pts/") || !strings.Contains(got.Stdout, "This session is recorded.") {
		t.Errorf("got %+v", got)
	}
	if text := w.recorded(t, w.ended(t)); !strings.Contains(text, "got word") || !strings.Contains(text, "vt220") {
		t.Errorf("the recording holds %q", text)
	}
}

func TestRemote_copies_files(t *testing.T) {
	t.Parallel()
	peers.Require(t, "scp", "sftp")
	w := newWard(t, &access.Terms{})
	dir := t.TempDir()
	content := strings.Repeat("0123456789abcdef", 100_000)
	sum := sha256.Sum256([]byte(content))
	must(t, os.WriteFile(dir+"/a", []byte(content), 0o600))
	scp := func(args ...string) {
		t.Helper()
		if got := run(t, "", nil, "scp", append(w.options(t), args...)...); got.exit != 0 {
			t.Fatalf("scp %q: %+v", args, got)
		}
	}
	same := func(file string) {
		t.Helper()
		if text, err := os.ReadFile(file); err != nil || string(text) != content {
			t.Errorf("%s differs: %v", file, err)
		}
	}
	scp(dir+"/a", "scp://ana%3Atarget%40web-1@127.0.0.1/"+dir+"/b")
	same(dir + "/b")
	text := w.recorded(t, w.ended(t))
	if !strings.Contains(text, hex.EncodeToString(sum[:])) || !strings.Contains(text, dir+"/b") || strings.Contains(text, "0123456789abcdef0123456789abcdef0123456789abcdef") {
		t.Errorf("the recording holds %.2000q", text)
	}
	scp("-o", "User=ana:target@web-1", "127.0.0.1:"+dir+"/b", dir+"/c")
	same(dir + "/c")
	scp("-O", "-o", "User=ana:target@web-1", dir+"/a", "127.0.0.1:"+dir+"/d") // the old protocol, which is a command
	same(dir + "/d")
	batch := filepath.Join(dir, "batch")
	must(t, os.WriteFile(batch, []byte("put "+dir+"/a "+dir+"/e\nrename "+dir+"/e "+dir+"/f\nget "+dir+"/f "+dir+"/g\n"), 0o600))
	if got := run(t, "", nil, "sftp", append(append(w.options(t), "-o", "User=ana:target@web-1", "-b", batch), "127.0.0.1")...); got.exit != 0 {
		t.Fatalf("sftp: %+v", got)
	}
	same(dir + "/g")
	if text := w.recorded(t, w.ended(t)); !strings.Contains(text, `"rename"`) || strings.Count(text, hex.EncodeToString(sum[:])) < 2 {
		t.Errorf("the recording holds %.2000q", text)
	}
}

// echo answers each connection with what comes.
func echo(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// rule S14: what the grant does not give is refused by itself, and on record.
func TestRemote_decides_on_each_channel(t *testing.T) {
	t.Parallel()
	port := echo(t)
	place := "127.0.0.1:" + strconv.Itoa(port)
	w := newWard(t, &access.Terms{Features: []access.Feature{access.Exec}})
	if got := w.ssh(t, "", there, "echo yes"); got.out != "yes\n" {
		t.Errorf("exec is given: %+v", got)
	}
	if got := w.ssh(t, "exit\n", there); got.exit != 255 || !strings.Contains(got.err, "does not give") {
		t.Errorf("a shell is not: %+v", got)
	}
	if got := w.ssh(t, "", "-W", place, there); got.exit != 255 || !strings.Contains(got.err, "prohibited") {
		t.Errorf("a forward is not: %+v", got)
	}
	if got := w.ssh(t, "", "-s", there, "sftp"); got.exit != 255 || !strings.Contains(got.err, "does not give") {
		t.Errorf("files are not: %+v", got)
	}
	if got := w.ssh(t, "", "-s", there, "netconf"); got.exit != 255 {
		t.Errorf("another subsystem: %+v", got)
	}
	if got := w.ssh(t, "", "-o", "ExitOnForwardFailure=yes", "-R", "0:"+place, there, "echo no"); got.exit != 255 || got.out != "" {
		t.Errorf("a forward back: %+v", got)
	}
	if text := w.recorded(t, w.ended(t)); !strings.Contains(text, "tcpip-forward") {
		t.Errorf("the refusal is not in the recording: %q", text)
	}
	if got := w.ssh(t, "", "-o", "SetEnv=LD_PRELOAD=/tmp/x LC_GATE=ok", there, "echo $LD_PRELOAD.$LC_GATE"); got.out != ".ok\n" {
		t.Errorf("variables: %+v", got)
	}
}

// rule S8
func TestRemote_takes_no_agent_along(t *testing.T) {
	t.Parallel()
	peers.Require(t, "ssh-agent")
	w := newWard(t, &access.Terms{})
	socket := filepath.Join(t.TempDir(), "agent")
	peers.Start(t, exec.Command("ssh-agent", "-D", "-a", socket))
	gate.Eventually(t, func() error { _, err := os.Stat(socket); return err })
	got := run(t, "", []string{"SSH_AUTH_SOCK=" + socket}, "ssh", append(w.options(t), "-A", there, "echo agent=$SSH_AUTH_SOCK.")...)
	if got.out != "agent=.\n" {
		t.Errorf("got %+v", got)
	}
}

func TestRemote_forwards(t *testing.T) {
	t.Parallel()
	port := echo(t)
	w := newWard(t, &access.Terms{Features: access.Features})
	if got := w.ssh(t, "through", "-W", "127.0.0.1:"+strconv.Itoa(port), there); got.out != "through" {
		t.Errorf("-W: %+v", got)
	}
	x := w.ended(t)
	sum := sha256.Sum256([]byte("through"))
	if text := w.recorded(t, x); !strings.Contains(text, strconv.Itoa(port)) || !strings.Contains(text, hex.EncodeToString(sum[:])) {
		t.Errorf("the recording holds %q", text)
	}
	// A jump: the inner connection is OpenSSH's own, to the target's sshd.
	inner := append(w.options(t), "-o", "ProxyCommand=ssh "+strings.Join(w.options(t), " ")+" -W 127.0.0.1:"+strconv.Itoa(int(w.target.At.Port()))+" "+there)
	inner = append(inner, "-i", w.target.KeyFile, "target@jumped", "echo jumped")
	if got := run(t, "", nil, "ssh", inner...); got.out != "jumped\n" {
		t.Errorf("a jump: %+v", got)
	}
	if got := w.ssh(t, "", "-W", "127.0.0.1:"+strconv.Itoa(peers.Port(t)), there); got.exit != 255 || !strings.Contains(got.err, "connect") {
		t.Errorf("a closed port: %+v", got)
	}
}

// client is a connection of our own making.
func (w *ward) client(t *testing.T, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	t.Helper()
	if auth == nil {
		signer, err := ssh.NewSignerFromKey(w.key.private)
		must(t, err)
		auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	}
	c, err := ssh.Dial("tcp", w.SSH.String(), &ssh.ClientConfig{
		User: user, Auth: auth, Timeout: patience,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			if !strings.Contains(strings.Join(w.HostKeys, " "), ssh.FingerprintSHA256(k)) {
				return errors.New("another host key")
			}
			return nil
		},
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// An editor keeps several commands and forwards open in one connection.
func TestRemote_several_channels(t *testing.T) {
	t.Parallel()
	port := echo(t)
	w := newWard(t, &access.Terms{Features: access.Features})
	c, err := w.client(t, "ana:target@web-1")
	must(t, err)
	results := make(chan error, 16)
	for i := range 8 {
		go func() {
			s, err := c.NewSession()
			if err == nil {
				s.Stdin = strings.NewReader(strings.Repeat(strconv.Itoa(i), 50_000))
				var out []byte
				if out, err = s.Output("cat"); err == nil && string(out) != strings.Repeat(strconv.Itoa(i), 50_000) {
					err = fmt.Errorf("command %d: %d bytes", i, len(out))
				}
			}
			results <- err
		}()
		go func() {
			far, err := c.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
			if err == nil {
				text := fmt.Sprintf("forward %d", i)
				_, _ = io.WriteString(far, text)
				got := make([]byte, len(text))
				if _, err = io.ReadFull(far, got); err == nil && string(got) != text {
					err = fmt.Errorf("got %q", got)
				}
				far.Close()
			}
			results <- err
		}()
	}
	for range 16 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if all := w.sessions(t); len(all) != 1 || all[0].State != remote.Active {
		t.Errorf("sessions: %+v", all)
	}
	c.Close()
	if x := w.ended(t); x.End != remote.Closed {
		t.Errorf("ended as %s", x.End)
	}
}

func TestRemote_refuses(t *testing.T) {
	t.Parallel()
	w := newWard(t, nil)
	for _, c := range []struct{ name, user, says string }{
		{"without a grant", there, "no"},
		{"to a device that there is not", "ana:target@web-9@127.0.0.1", "device not found"},
	} {
		if got := w.ssh(t, "", c.user, "echo in"); got.exit != 255 || got.out != "" || !strings.Contains(got.err, c.says) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if got := w.ssh(t, "", "-W", "127.0.0.1:1", c.user); got.exit != 255 {
			t.Errorf("%s, a forward: %+v", c.name, got)
		}
	}
	w.grant(t, access.Terms{})
	if got := w.ssh(t, "", "bob:target@web-1@127.0.0.1", "echo in"); got.exit != 255 || !strings.Contains(got.err, "Permission denied") { // rule S1
		t.Errorf("as somebody else, with a key of one's own: %+v", got)
	}
	stranger := keyPairs(t, 1)[0]
	own := w.key
	w.key = stranger
	if got := w.ssh(t, "", there, "echo in"); got.exit != 255 || !strings.Contains(got.err, "Permission denied") {
		t.Errorf("with a key that is not on file: %+v", got)
	}
	w.key = own
	_, _, err := w.Devices.SetDisabled(t.Context(), me(), w.device.ID, true)
	must(t, err)
	if got := w.ssh(t, "", there, "echo in"); got.exit != 255 || got.out != "" {
		t.Errorf("to a device that is switched off: %+v", got)
	}
	if all := w.sessions(t); len(all) != 0 {
		t.Errorf("sessions: %+v", all)
	}
}

// rules S8, S16: the person is told, and nothing of what was stored has left.
func TestRemote_does_not_go_to_a_strange_target(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{})
	other := peers.Sshd(t, peers.SSHOptions{})
	_, _, _, err := w.Devices.Put(t.Context(), me(), device.New{Host: "web-1", IP: other.At.Addr(), Connect: &[]device.Connectivity{{Name: "SSH", Port: int(other.At.Port())}}})
	must(t, err)
	if got := w.ssh(t, "", there, "echo in"); got.exit != 255 || !strings.Contains(got.err, "host key") {
		t.Errorf("got %+v", got)
	}
	if x := w.ended(t); x.End != remote.Failed {
		t.Errorf("ended as %s", x.End)
	}
}

func TestRemote_ends(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(w *ward, x remote.Session) error
		says string
	}{
		"by an administrator": {func(w *ward, x remote.Session) error {
			_, err := w.Remote.End(t.Context(), me(), x.ID, remote.Dropped)
			return err
		}, "ended by an administrator"},
		"with the device": {func(w *ward, _ remote.Session) error {
			_, _, err := w.Devices.SetDisabled(t.Context(), me(), w.device.ID, true)
			return err
		}, "access was withdrawn"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, &access.Terms{})
			result := make(chan ran, 1)
			begun := filepath.Join(t.TempDir(), "begun")
			go func() { result <- w.ssh(t, "", there, "touch "+begun+"; sleep 60") }()
			gate.Eventually(t, func() error { _, err := os.Stat(begun); return err })
			must(t, c.end(w, w.sessions(t)[0]))
			began := time.Now()
			got := <-result
			if got.exit != 255 || !strings.Contains(got.err, c.says) || time.Since(began) > 10*time.Second {
				t.Errorf("after %v: %+v", time.Since(began), got)
			}
		})
	}
}

func TestRemote_lists_places(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{Reason: true})
	got := w.ssh(t, "", "ana@127.0.0.1")
	if got.exit != 0 || !strings.Contains(got.out, "ana:target@web-1@") || !strings.Contains(got.out, "reason") {
		t.Errorf("got %+v", got)
	}
	if got := w.ssh(t, "", "-W", "127.0.0.1:1", "ana@127.0.0.1"); got.exit != 255 {
		t.Errorf("a forward: %+v", got)
	}
	if len(w.sessions(t)) != 0 {
		t.Error("a session began")
	}
}

// onTerminal runs ssh where it can be asked. Without key the person has none.
func (w *ward) onTerminal(t *testing.T, key bool, command string, dialogue ...[2]string) gate.Result {
	t.Helper()
	peers.Require(t, "expect")
	args := w.options(t)
	args = append([]string{"-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"}, args...) // of two the first counts
	if !key {
		args = append([]string{"-o", "PubkeyAuthentication=no"}, args...)
	}
	cmd := exec.Command("ssh", append(args, there, command)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TERM=xterm"}
	return gate.OnTerminal(t, cmd, dialogue...)
}

func TestRemote_signs_in_by_password(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{})
	if got := w.onTerminal(t, false, "echo in''side", [2]string{"Password for ana:", anaPassword + "\r"}); got.Exit != 0 || !strings.Contains(got.Stdout, "inside") {
		t.Errorf("got %+v", got)
	}
	if got := w.onTerminal(t, false, "echo in''side", [2]string{"Password for ana:", "wrong\r"}); got.Exit != 255 || strings.Contains(got.Stdout, "inside") {
		t.Errorf("got %+v", got)
	}
}

// rule S18
func TestRemote_asks_for_a_second_factor(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{StepUp: true})
	if got := w.ssh(t, "", there, "echo in"); got.exit != 255 || strings.Contains(got.out, "in") {
		t.Errorf("nobody could prove a second factor: %+v", got)
	}
	key := w.enrol(t)
	if got := w.ssh(t, "", there, "echo in"); got.exit != 255 || !strings.Contains(got.err, "BatchMode") {
		t.Errorf("where nobody can be asked: %+v", got)
	}
	got := w.onTerminal(t, true, "echo in''side", [2]string{"Code of your", "000000\r"}, [2]string{"Code of your", codeAt(t, key, time.Now().Add(30*time.Second)) + "\r"})
	if got.Exit != 0 || !strings.Contains(got.Stdout, "inside") || strings.Count(got.Stdout, "Code of your") != 2 { // the right one counts for the sign-in and the grant
		t.Errorf("got %+v", got)
	}
	if x := w.ended(t); x.SteppedUp.IsZero() {
		t.Error("the session does not show the step")
	}
	signer, err := ssh.NewSignerFromKey(w.key.private)
	must(t, err)
	asked := 0
	wrong := ssh.RetryableAuthMethod(ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		asked += len(questions)
		answers := make([]string, len(questions))
		for i := range answers {
			answers[i] = "000000"
		}
		return answers, nil
	}), 10)
	if _, err := w.client(t, "ana:target@web-1", ssh.PublicKeys(signer), wrong); err == nil || asked < 1 || asked > 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if got := w.ssh(t, "", "-o", "PubkeyAuthentication=no", there, "echo in"); got.exit != 255 {
		t.Errorf("with nothing: %+v", got)
	}
}

// rules S4, S18: the touch of an ssh key in hardware is a second factor, also for who has another, and only a touch is.
func TestRemote_takes_a_touch_for_a_second_factor(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{StepUp: true})
	w.enrol(t)
	for _, c := range []struct {
		name  string
		flags byte
		in    bool
	}{{"touched", 1, true}, {"not touched", 0, false}} {
		a := newAuthenticator(t, ssh.KeyAlgoSKED25519, c.flags)
		_, err := w.Keys.AddUserKey(t.Context(), me(), w.ana.ID, sshkey.New{Text: string(ssh.MarshalAuthorizedKey(a.public)), Label: c.name, Via: sshkey.Wire})
		must(t, err)
		client, err := w.client(t, "ana:target@web-1", ssh.PublicKeys(a))
		if (err == nil) != c.in {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		s, err := client.NewSession()
		must(t, err)
		if out, err := s.Output("echo inside"); string(out) != "inside\n" || err != nil {
			t.Errorf("%s: %q, %v", c.name, out, err)
		}
		client.Close()
		if x := w.ended(t); x.SteppedUp.IsZero() {
			t.Errorf("%s: the session does not show the step", c.name)
		}
	}
}

// rule S18: who has security keys alone, which text cannot ask for, is told where to go.
func TestRemote_names_the_browser(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{})
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	must(t, err)
	_, err = w.Factors.ImportU2F(t.Context(), w.ana.ID, "key", make([]byte, 64), private.PublicKey().Bytes(), "https://old.example.test", factor.Change{})
	must(t, err)
	if got := w.ssh(t, "", there, "echo in"); got.exit != 255 || got.out != "" || !strings.Contains(got.err, "browser") {
		t.Errorf("got %+v", got)
	}
	if got := w.onTerminal(t, false, "echo in''side", [2]string{"Password for ana:", anaPassword + "\r"}); got.Exit != 255 || !strings.Contains(got.Stdout, "browser") {
		t.Errorf("by password: %+v", got)
	}
}

// rules S13, S15: while somebody waits for approval nothing is open.
func TestRemote_waits_for_approval(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{Reason: true, Approval: true, Features: access.Features})
	request := func(t *testing.T) remote.Request {
		t.Helper()
		var r remote.Request
		gate.Eventually(t, func() error {
			all, err := w.Remote.Requests(t.Context(), me(), remote.Pending, page.Window{Limit: 10})
			if err != nil || len(all.Items) != 1 {
				return fmt.Errorf("%d requests: %w", len(all.Items), err)
			}
			r = all.Items[0]
			return nil
		})
		return r
	}
	for _, approve := range []bool{true, false} {
		result := make(chan gate.Result, 1)
		go func() {
			result <- w.onTerminal(t, true, "echo in''side", [2]string{"Why do you", "disk is full\r"}, [2]string{"Ticket", "OPS-7\r"}, [2]string{"waits for approval", ""})
		}()
		r := request(t)
		if r.Reason != "disk is full" || r.Reference != "OPS-7" {
			t.Errorf("the request is %+v", r)
		}
		if all := w.sessions(t); approve && len(all) != 0 {
			t.Errorf("a session began before its approval: %+v", all)
		}
		_, err := w.Remote.Decide(t.Context(), me(), r.Number, approve, "")
		must(t, err)
		got := <-result
		if strings.Contains(got.Stdout, "inside") != approve || (got.Exit == 0) != approve {
			t.Errorf("approved %v: %+v", approve, got)
		}
		if !approve && !strings.Contains(got.Stdout, "was denied") {
			t.Errorf("the person is not told: %q", got.Stdout)
		}
	}
}

// rule S13: a client that opens channels while it is asked is not served.
func TestRemote_serves_nothing_before_the_end_of_the_questions(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{Reason: true, Features: access.Features})
	signer, err := ssh.NewSignerFromKey(w.key.private)
	must(t, err)
	asked := 0
	c, err := w.client(t, "ana:target@web-1", ssh.PublicKeys(signer), ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		asked += len(questions)
		if len(w.sessions(t)) != 0 {
			t.Error("a session began before the reason was given")
		}
		return make([]string, len(questions)), nil // blank
	}))
	if err == nil {
		c.Close()
		t.Error("a blank reason was taken")
	}
	if asked == 0 {
		t.Error("nothing was asked")
	}
	if len(w.sessions(t)) != 0 {
		t.Error("a session began")
	}
}

// oddStore is a store of second factors that fails when it is asked the first time.
type oddStore struct {
	factor.Store
	asked atomic.Int32
}

func (s *oddStore) Of(ctx context.Context, user string) (factor.Set, error) {
	if s.asked.Add(1) == 1 {
		return factor.Set{}, errors.New("the store is away")
	}
	return s.Store.Of(ctx, user)
}

// rules S3, S18: a key whose owner's second factors could not be looked up proves nothing to the next method.
func TestRemote_asks_for_a_second_factor_after_a_fault(t *testing.T) {
	t.Parallel()
	w := newWard(t, &access.Terms{})
	w.enrol(t)
	odd := &oddStore{Store: w.Login.Second.Store}
	w.Login.Second.Store = odd
	signer, err := ssh.NewSignerFromKey(w.key.private)
	must(t, err)
	var questions []string
	silent := ssh.KeyboardInteractive(func(_, _ string, asked []string, _ []bool) ([]string, error) {
		questions = append(questions, asked...)
		return make([]string, len(asked)), nil
	})
	if _, err := w.client(t, "ana:target@web-1", ssh.PublicKeys(signer), silent); err == nil {
		t.Errorf("a key alone let somebody in who has a second factor; asked %q", questions)
	}
	if odd.asked.Load() < 1 || len(questions) == 0 || !strings.Contains(questions[0], "Password") {
		t.Errorf("asked the store %d times, the person %q", odd.asked.Load(), questions)
	}
}
