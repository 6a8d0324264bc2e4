package gate

import (
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/peers"
)

// NewKeys makes n Ed25519 key pairs without a program for each.
func NewKeys(tb testing.TB, n int) []KeyFile {
	tb.Helper()
	keys, dir := make([]KeyFile, n), tb.TempDir()
	for i := range keys {
		keys[i] = newKey(tb, filepath.Join(dir, "key"+strconv.Itoa(i+1)))
	}
	return keys
}

func newKey(tb testing.TB, path string) KeyFile {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "e2e")
	if err != nil {
		tb.Fatal(err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		tb.Fatal(err)
	}
	k := KeyFile{Path: path, Public: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))), SHA256: ssh.FingerprintSHA256(public)}
	for name, text := range map[string][]byte{path: pem.EncodeToMemory(block), path + ".pub": []byte(k.Public + "\n")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return k
}

// Signer opens the private key for a client of our own making.
func (k KeyFile) Signer(tb testing.TB) ssh.Signer {
	tb.Helper()
	text, err := os.ReadFile(k.Path)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		tb.Fatal(err)
	}
	return signer
}

// SSHAddr is where the gate's SSH door listens.
func (g *Gate) SSHAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(g.SSHPort)) }

// HostKey returns the fingerprint of the gate's Ed25519 host key, as ssh-keyscan saw it once.
func (g *Gate) HostKey(tb testing.TB) string {
	tb.Helper()
	peers.Require(tb, "ssh-keyscan")
	g.scan.Do(func() {
		r := Run(tb, exec.Command("ssh-keyscan", "-t", "ed25519", "-p", strconv.Itoa(g.SSHPort), "127.0.0.1"), "")
		_, line, _ := strings.Cut(r.Stdout, " ")
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			tb.Fatalf("ssh-keyscan: %v\n%s%s", err, r.Stdout, r.Stderr)
		}
		g.hostKey = ssh.FingerprintSHA256(key)
	})
	return g.hostKey
}

// Dbclient returns a command that connects with Dropbear's client and these keys.
func (g *Gate) Dbclient(tb testing.TB, user string, args []string, keys ...KeyFile) *exec.Cmd {
	tb.Helper()
	peers.Require(tb, "dbclient", "dropbearconvert")
	all := append([]string{"-y", "-y", "-p", strconv.Itoa(g.SSHPort)}, args...)
	if !slices.Contains(args, "-t") {
		all = append(all, "-T") // or it wants a terminal of its own
	}
	for _, k := range keys {
		path := filepath.Join(tb.TempDir(), "dropbear")
		if r := Run(tb, exec.Command("dropbearconvert", "openssh", "dropbear", k.Path, path), ""); r.Exit != 0 {
			tb.Fatalf("dropbearconvert: %s", r.Stderr)
		}
		all = append(all, "-i", path)
	}
	return clean(tb, exec.Command("dbclient", append(all, user+"@127.0.0.1")...))
}

// Plink returns a command that connects with PuTTY's client. Its keys come from an agent, or from
// args: "-i" and what PuttyKey returns.
func (g *Gate) Plink(tb testing.TB, user string, args ...string) *exec.Cmd {
	tb.Helper()
	peers.Require(tb, "plink")
	all := append([]string{"-ssh", "-no-antispoof", "-P", strconv.Itoa(g.SSHPort), "-hostkey", g.HostKey(tb)}, args...)
	return clean(tb, exec.Command("plink", append(all, user+"@127.0.0.1")...))
}

// PuttyKey converts a private key to PuTTY's form and returns its path.
func PuttyKey(tb testing.TB, k KeyFile) string {
	tb.Helper()
	peers.Require(tb, "puttygen")
	path := filepath.Join(tb.TempDir(), "key.ppk")
	if r := Run(tb, clean(tb, exec.Command("puttygen", k.Path, "-O", "private", "-o", path)), ""); r.Exit != 0 {
		tb.Fatalf("puttygen: %s", r.Stderr)
	}
	return path
}

// clean gives a client a home and an environment of its own.
func clean(tb testing.TB, cmd *exec.Cmd) *exec.Cmd {
	tb.Helper()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir()}
	return cmd
}

// UseAgent makes a client use that agent.
func UseAgent(cmd *exec.Cmd, socket string) *exec.Cmd {
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+socket)
	return cmd
}

// OnTerminal runs a client on a terminal by expect: whenever one of the texts of dialogue appears, it
// types what follows it. The result's standard output is what the terminal showed.
func OnTerminal(tb testing.TB, cmd *exec.Cmd, dialogue ...[2]string) Result {
	tb.Helper()
	peers.Require(tb, "expect")
	var script strings.Builder
	script.WriteString("set timeout 30\nspawn -noecho {*}$argv\n")
	for _, d := range dialogue {
		script.WriteString("expect {\n -ex {" + d[0] + "} { send -- \"" + d[1] + "\" }\n eof { puts \"EOF BEFORE THE QUESTION\" }\n timeout { puts \"TIMEOUT\" }\n}\n")
	}
	script.WriteString("expect eof\nexit [lindex [wait] 3]\n")
	path := filepath.Join(tb.TempDir(), "dialogue.exp")
	if err := os.WriteFile(path, []byte(script.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	expect := exec.Command("expect", append([]string{path}, cmd.Args...)...)
	expect.Env = cmd.Env
	return Run(tb, expect, "")
}

// Silence is an input that says nothing and does not end before the test does.
func Silence(tb testing.TB) *os.File {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close(); w.Close() })
	return r
}
