package main

import (
	"crypto/ed25519"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func newPair(t *testing.T) (ed25519.PrivateKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return private, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(wire)))
}

// serveAgent answers as an agent that holds a key, at a socket of short name.
func serveAgent(t *testing.T, key ed25519.PrivateKey, comment string) string {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: comment}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = agent.ServeAgent(ring, conn)
			}()
		}
	}()
	return l.Addr().String()
}

func TestFindKeys(t *testing.T) {
	t.Parallel()
	private, line := newPair(t)
	_, other := newPair(t)
	socket := serveAgent(t, private, "ana@laptop\x1b[2J")
	home := t.TempDir()
	folder := filepath.Join(home, ".ssh")
	for name, text := range map[string]string{
		"same.pub": line + " also in the agent", "work.pub": other + " work", "work": "private",
		"broken.pub": "nonsense", "options.pub": `command="x" ` + other,
	} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("agent first, each key once, nothing made", func(t *testing.T) {
		t.Parallel()
		got, err := findKeys(t.Context(), []string{"HOME=" + home, "SSH_AUTH_SOCK=" + socket}, t.TempDir())
		if err != nil || len(got.keys) != 2 || got.made || got.identity != "" {
			t.Fatalf("%+v %v", got, err)
		}
		if k := got.keys[0]; k.from != "agent" || k.name != "ana@laptop[2J" || !strings.HasPrefix(line, k.SSH()) {
			t.Errorf("%+v", k)
		}
		if k := got.keys[1]; k.from != "~/.ssh/work.pub" || k.name != "work" {
			t.Errorf("%+v", k)
		}
	})
	t.Run("a key that ssh would not find by itself is named", func(t *testing.T) {
		t.Parallel()
		got, err := findKeys(t.Context(), []string{"HOME=" + home}, t.TempDir())
		if err != nil || got.made || got.identity != filepath.Join(folder, "work") {
			t.Errorf("%+v %v", got, err)
		}
	})
	t.Run("without any a key is made that ssh can read", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		got, err := findKeys(t.Context(), []string{"HOME=" + dir, "SSH_AUTH_SOCK=" + filepath.Join(dir, "gone")}, dir)
		if err != nil || !got.made || len(got.keys) != 1 {
			t.Fatalf("%+v %v", got, err)
		}
		text, err := os.ReadFile(got.identity)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey(text)
		if err != nil || ssh.FingerprintSHA256(signer.PublicKey()) != got.keys[0].SHA256() {
			t.Errorf("the private key does not fit: %v", err)
		}
		if info, err := os.Stat(got.identity); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	})
}

func TestFold_keeps_a_command_pasteable(t *testing.T) {
	t.Parallel()
	p := &panel{out: os.Stdout} // no terminal: 80 columns
	words := []string{strings.Repeat("a", 40), strings.Repeat("b", 40), "c"}
	folded := p.fold(words)
	if len(folded) != 2 || !strings.HasSuffix(folded[0], ` \`) || strings.HasSuffix(folded[1], `\`) {
		t.Errorf("%q", folded)
	}
	if joined := strings.ReplaceAll(strings.Join(folded, "\n"), " \\\n", " "); joined != strings.Join(words, " ") {
		t.Errorf("%q", joined)
	}
}

func TestReadKeys(t *testing.T) {
	t.Parallel()
	pressed := make(chan byte, 1)
	ended := false
	readKeys(strings.NewReader("C"), pressed, func() { ended = true }) // then the end of input
	if key := <-pressed; key != 'c' || !ended {
		t.Errorf("%q %v", key, ended)
	}
	for _, stop := range []string{"q", "Q", "\x03", "\x04"} {
		quit := false
		readKeys(strings.NewReader(stop), pressed, func() { quit = true })
		if !quit {
			t.Errorf("%q did not quit", stop)
		}
	}
	readKeys(strings.NewReader("\x1b[A"), pressed, func() {})
	select {
	case key := <-pressed:
		t.Errorf("an arrow key was read as %q", key)
	default:
	}
}

func TestMadeUp_shell(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		out    string
		status uint32
		end    bool
	}{
		"":              {"", 0, false},
		"ls":            {"log/  notes.txt  orders.csv\n", 0, false},
		"ls ./log/":     {"release.txt  today.log\n", 0, false},
		"ls /etc":       {"ls: etc: there is no such folder\n", 1, false},
		"cat log":       {"cat: log: there is no such file; ls shows them\n", 1, false},
		"whoami":        {"deploy\n", 0, false},
		"rm\x1b[2J -rf": {`rm\x1b[2J: there is no such command here; try help` + "\n", 127, false},
		"exit":          {"", 0, true},
	} {
		var out strings.Builder
		status, end := (&madeUp{}).run(line, &out)
		if out.String() != want.out || status != want.status || end != want.end {
			t.Errorf("%q: %q, %d, %v", line, out.String(), status, end)
		}
	}
}

func TestTarget_lets_nobody_in_but_the_gate(t *testing.T) {
	t.Parallel()
	machine, err := startTarget()
	if err != nil {
		t.Fatal(err)
	}
	defer machine.close()
	for user, password := range map[string]string{targetUser: "guess", "root": machine.password.Reveal()} {
		conn, err := net.Dial("tcp", machine.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _, _, err = ssh.NewClientConn(conn, "web-01", &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.FixedHostKey(machine.host),
		})
		if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: %v", user, err)
		}
	}
}
