package sshd_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// keyPair is a key pair in files, for other people's programs.
type keyPair struct {
	private crypto.PrivateKey
	public  ssh.PublicKey
	file    string // OpenSSH's own form
}

func newKeyPair(t *testing.T, private crypto.Signer) keyPair {
	t.Helper()
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return keyPair{private, public, file}
}

func keyPairs(t *testing.T, n int) []keyPair {
	t.Helper()
	out := make([]keyPair, n)
	for i := range out {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = newKeyPair(t, private)
	}
	return out
}

func of(ids ...keyPair) []ssh.PublicKey {
	out := make([]ssh.PublicKey, len(ids))
	for i, id := range ids {
		out[i] = id.public
	}
	return out
}

// ran is what a program did.
type ran struct {
	out, err string
	exit     int
}

func run(t *testing.T, input string, env []string, name string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal to ask on
	cmd.WaitDelay = patience
	cmd.Stdin = strings.NewReader(input)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TERM=xterm"}, env...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (d *door) port() string {
	_, port, _ := net.SplitHostPort(d.addr)
	return port
}

// openssh runs OpenSSH's client.
func (d *door) openssh(t *testing.T, s keyproof.Session, input string, args ...string) ran {
	t.Helper()
	return d.opensshWith(t, s, input, nil, args...)
}

func (d *door) opensshWith(t *testing.T, s keyproof.Session, input string, env []string, args ...string) ran {
	t.Helper()
	all := []string{
		"-F", "none", "-p", d.port(), "-o", "UserKnownHostsFile=" + filepath.Join(t.TempDir(), "known"),
		"-o", "StrictHostKeyChecking=accept-new",
	}
	return run(t, input, env, "ssh", append(append(all, args...), s.Identifier+"@127.0.0.1")...)
}

func with(ids ...keyPair) []string {
	args := []string{"-o", "IdentitiesOnly=yes"}
	for _, id := range ids {
		args = append(args, "-i", id.file)
	}
	return args
}

// sshAgent starts ssh-agent with keys in it and returns the environment that leads to it.
func sshAgent(t *testing.T, ids ...keyPair) []string {
	t.Helper()
	peers.Require(t, "ssh-agent")
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	p := peers.Start(t, exec.Command("ssh-agent", "-D", "-a", socket))
	var conn net.Conn
	peers.Await(t, p, func() (err error) { conn, err = net.Dial("unix", socket); return err })
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	keys := agent.NewClient(conn) // one client: each reads all answers
	for _, id := range ids {
		if err := keys.Add(agent.AddedKey{PrivateKey: id.private}); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"SSH_AUTH_SOCK=" + socket}
}

// OpenSSH's own client, as people use it.
func TestOpenSSH(t *testing.T) {
	t.Parallel()
	peers.Require(t, "ssh")
	d := open(t)
	ids := keyPairs(t, 3)
	one, two, stranger := ids[0], ids[1], ids[2]
	batch := []string{"-o", "BatchMode=yes"}

	t.Run("one key", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{Banner: ptr("Hello")}, one.public)
		r := d.openssh(t, s, "", with(one)...)
		if r.exit != 0 || r.out != "Verified with "+ssh.FingerprintSHA256(one.public)+" (key-a).\n" || !strings.Contains(r.err, "Hello") {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, one.public)
	})
	t.Run("BatchMode", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, one.public)
		if r := d.openssh(t, s, "", append(with(one), batch...)...); r.exit != 0 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, one.public)
	})
	t.Run("BatchMode with one of two", func(t *testing.T) {
		d := open(t)
		s := d.verify(t, keyproof.Options{MatchAllKeys: true}, one.public, two.public)
		if r := d.openssh(t, s, "", append(with(one), batch...)...); r.exit != 255 {
			t.Errorf("%+v", r)
		}
		if o := d.closed(t); o != string(keyproof.Incomplete) {
			t.Errorf("outcome %s", o)
		}
		d.want(t, s, keyproof.Failed, 1, one.public)
	})
	t.Run("two of two in one connection", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MatchAllKeys: true}, two.public, one.public)
		if r := d.openssh(t, s, "", with(stranger, one, two)...); r.exit != 0 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, one.public, two.public)
	})
	t.Run("one of two", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MatchAllKeys: true}, one.public, two.public)
		if r := d.openssh(t, s, "", with(one, stranger)...); r.exit != 1 || !strings.HasPrefix(r.out, "1 of 2 keys verified.") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("several listed, a stranger among them", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MultiKey: true}, one.public, two.public, newED().PublicKey())
		if r := d.openssh(t, s, "", with(one, stranger, two)...); r.exit != 0 || strings.Count(r.out, "Verified with") != 2 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, one.public, two.public)
	})
	t.Run("over several connections", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MatchAllKeys: true, MultiConnection: true, MaxAttempts: 3}, one.public, two.public)
		for i, step := range []struct {
			with     keyPair
			exit     int
			attempts int
		}{{one, 0, 0}, {one, 1, 1}, {two, 0, 1}} {
			if r := d.openssh(t, s, "", with(step.with)...); r.exit != step.exit {
				t.Errorf("step %d: %+v", i, r)
			}
			d.want(t, s, keyproof.Pending, step.attempts, step.with.public)
		}
	})
	t.Run("no match", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, one.public)
		if r := d.openssh(t, s, "", with(stranger)...); r.exit != 1 || !strings.HasPrefix(r.out, "None of your keys matches.") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no key", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, one.public)
		if r := d.openssh(t, s, "", "-o", "IdentityFile=none"); r.exit != 1 || !strings.HasPrefix(r.out, "Your SSH client offered no key.") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a code that is not valid", func(t *testing.T) {
		r := d.openssh(t, keyproof.Session{Identifier: "0123456789abcdef"}, "", with(one)...)
		if r.exit != 255 || !strings.Contains(r.err, "This code is not valid (any more). Ask for a new one.") || !strings.Contains(r.err, "Permission denied") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("RSA listed, signed with SHA-256", func(t *testing.T) {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		id := newKeyPair(t, private)
		s := d.verify(t, keyproof.Options{}, id.public)
		if r := d.openssh(t, s, "", append(with(id), "-o", "PubkeyAcceptedAlgorithms=rsa-sha2-256")...); r.exit != 0 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, id.public)
		if kind := d.now(t, s).Keys[0].Public.Type(); kind != "ssh-rsa" {
			t.Errorf("type %s", kind)
		}
	})
	t.Run("a command is not run, a pty gets CRLF", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, one.public)
		if r := d.openssh(t, s, "", append(with(one), "-tt")...); r.exit != 0 || !strings.HasSuffix(r.out, "(key-a).\r\n") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("forwarded agent", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, one.public)
		r := d.opensshWith(t, s, "", sshAgent(t, one), "-A")
		if r.exit != 0 || !strings.HasSuffix(r.out, "You forwarded your agent; this is not needed here.\n") {
			t.Errorf("%+v", r)
		}
	})
}

// The question, with OpenSSH's client.
func TestOpenSSH_confirmation(t *testing.T) {
	t.Parallel()
	peers.Require(t, "ssh")
	d := open(t)
	id := keyPairs(t, 1)[0]
	for name, c := range map[string]struct {
		input string
		args  []string
		exit  int
		says  string
	}{
		"y with a pty":         {"y", []string{"-tt"}, 0, "Verified with"},
		"return, y with a pty": {"\ry", []string{"-tt"}, 0, "Verified with"},
		"echo y":               {"y\n", []string{"-T"}, 0, "Verified with"},
		"n":                    {"n", []string{"-tt"}, 1, "Cancelled. Nothing was recorded."},
		"end of input":         {"", []string{"-T"}, 1, "Cancelled. Nothing was recorded."},
	} {
		t.Run(name, func(t *testing.T) {
			s := d.verify(t, keyproof.Options{MustConfirm: true}, id.public)
			r := d.openssh(t, s, c.input, append(with(id), c.args...)...)
			if r.exit != c.exit || !strings.Contains(r.out, "Press y to confirm, any other key to cancel: ") || !strings.Contains(r.out, c.says) {
				t.Errorf("%+v", r)
			}
			if c.exit == 0 {
				d.want(t, s, keyproof.Verified, 0, id.public)
			} else {
				d.want(t, s, keyproof.Failed, 1)
			}
		})
	}
	t.Run("-N", func(t *testing.T) {
		d := open(t, short)
		s := d.verify(t, keyproof.Options{}, id.public)
		d.openssh(t, s, "", append(with(id), "-N")...)
		d.want(t, s, keyproof.Verified, 0, id.public)
	})
}

// Keys come in the agent's order.
func TestAgent_with_eight_keys(t *testing.T) {
	t.Parallel()
	peers.Require(t, "ssh")
	d := open(t)
	ids := keyPairs(t, 8)
	env := sshAgent(t, ids...)

	t.Run("the last one is listed", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, ids[7].public)
		if r := d.opensshWith(t, s, "", env); r.exit != 0 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, ids[7].public)
	})
	t.Run("four are listed and needed", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MatchAllKeys: true}, of(ids[6], ids[1], ids[3], ids[4])...)
		if r := d.opensshWith(t, s, "", env); r.exit != 0 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, of(ids[1], ids[3], ids[4], ids[6])...)
	})
	t.Run("collect all", func(t *testing.T) {
		s := d.collect(t, keyproof.Options{MultiKey: true})
		if r := d.opensshWith(t, s, "", env); r.exit != 0 || strings.Count(r.out, "Recorded SHA256:") != 8 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Completed, 0, of(ids...)...)
	})
	t.Run("collect the first", func(t *testing.T) {
		s := d.collect(t, keyproof.Options{})
		if r := d.opensshWith(t, s, "", env); r.exit != 0 {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Completed, 0, ids[0].public)
	})
}

// A host-key scan finds both host keys and leaves no trace.
func TestKeyscan(t *testing.T) {
	t.Parallel()
	peers.Require(t, "ssh-keyscan")
	d := open(t)
	s := d.verify(t, keyproof.Options{}, newED().PublicKey())
	r := run(t, "", nil, "ssh-keyscan", "-p", d.port(), "-t", "ed25519,rsa", "127.0.0.1")
	if !strings.Contains(r.out, "ssh-ed25519 ") || !strings.Contains(r.out, "ssh-rsa ") {
		t.Errorf("%+v", r)
	}
	d.untouched(t, s)
}

// Dropbear's client tries each key once and then needs another method to end with.
func TestDropbear(t *testing.T) {
	t.Parallel()
	peers.Require(t, "dbclient", "dropbearconvert")
	d := open(t)
	ids := keyPairs(t, 3)
	dbclient := func(t *testing.T, s keyproof.Session, input string, ids ...keyPair) ran {
		t.Helper()
		args := []string{"-y", "-y", "-p", d.port()}
		for _, id := range ids {
			own := filepath.Join(t.TempDir(), "key.db")
			if r := run(t, "", nil, "dropbearconvert", "openssh", "dropbear", id.file, own); r.exit != 0 {
				t.Fatalf("%+v", r)
			}
			args = append(args, "-i", own)
		}
		return run(t, input, nil, "dbclient", append(args, s.Identifier+"@127.0.0.1", "ignored")...)
	}
	other(t, d, ids, dbclient)
}

// PuTTY's command line.
func TestPlink(t *testing.T) {
	t.Parallel()
	peers.Require(t, "plink", "puttygen")
	d := open(t)
	ids := keyPairs(t, 3)
	plink := func(t *testing.T, s keyproof.Session, input string, ids ...keyPair) ran {
		t.Helper()
		args := []string{"-ssh", "-no-antispoof", "-P", d.port(), "-hostkey", ssh.FingerprintSHA256(hostED().PublicKey())}
		var env []string
		switch len(ids) {
		case 0:
			args = append(args, "-noagent")
		case 1:
			own := filepath.Join(t.TempDir(), "key.ppk")
			if r := run(t, "", nil, "puttygen", ids[0].file, "-O", "private", "-o", own); r.exit != 0 {
				t.Fatalf("%+v", r)
			}
			args = append(args, "-noagent", "-i", own)
		default: // plink takes several keys from an agent only
			env = sshAgent(t, ids...)
			args = append(args, "-agent")
		}
		return run(t, input, env, "plink", append(args, s.Identifier+"@127.0.0.1", "ignored")...)
	}
	other(t, d, ids, plink)
}

// other is what every client that is not OpenSSH must manage.
func other(t *testing.T, d *door, ids []keyPair, client func(*testing.T, keyproof.Session, string, ...keyPair) ran) {
	t.Run("one key", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, ids[0].public)
		if r := client(t, s, "", ids[0]); r.exit != 0 || !strings.Contains(r.out, "Verified with "+ssh.FingerprintSHA256(ids[0].public)) {
			t.Errorf("%+v", r)
		}
		d.want(t, s, keyproof.Verified, 0, ids[0].public)
	})
	t.Run("two of two", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MatchAllKeys: true}, of(ids[0], ids[1])...)
		if r := client(t, s, "", ids...); r.exit != 0 || strings.Count(r.out, "Verified with") != 2 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("two listed keys and one that nobody has", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MultiKey: true}, ids[0].public, ids[1].public, newED().PublicKey())
		if r := client(t, s, "", ids...); r.exit != 0 || strings.Count(r.out, "Verified with") != 2 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no match", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, newED().PublicKey())
		if r := client(t, s, "", ids[0]); r.exit != 1 || !strings.Contains(r.out, "None of your keys matches.") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no key", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, ids[0].public)
		if r := client(t, s, ""); r.exit != 1 || !strings.Contains(r.out, "Your SSH client offered no key.") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("collect", func(t *testing.T) {
		s := d.collect(t, keyproof.Options{MultiKey: true})
		if r := client(t, s, "", ids...); r.exit != 0 || strings.Count(r.out, "Recorded SHA256:") != 3 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("confirm", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MustConfirm: true}, ids[0].public)
		if r := client(t, s, "y\n", ids[0]); r.exit != 0 || !strings.Contains(r.out, "Verified with") {
			t.Errorf("%+v", r)
		}
	})
}
