package gate

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/peers"
)

// KeyFile is a key pair on disk, made by ssh-keygen.
type KeyFile struct {
	Path   string // of the private key
	Public string // the public key line
	SHA256 string // fingerprint
}

// NewKey makes a key pair: kind is what ssh-keygen -t takes, more further arguments such as "-b", "2048".
func NewKey(tb testing.TB, kind string, more ...string) KeyFile {
	tb.Helper()
	peers.Require(tb, "ssh-keygen")
	path := filepath.Join(tb.TempDir(), "id_"+kind)
	args := append([]string{"-q", "-t", kind, "-N", "", "-C", "e2e", "-f", path}, more...)
	if r := Run(tb, exec.Command("ssh-keygen", args...), ""); r.Exit != 0 {
		tb.Fatalf("ssh-keygen: %s", r.Stderr)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		tb.Fatal(err)
	}
	r := Run(tb, exec.Command("ssh-keygen", "-l", "-f", path+".pub"), "")
	return KeyFile{Path: path, Public: strings.TrimSpace(string(public)), SHA256: strings.Fields(r.Stdout)[1]}
}

// SSH returns an ssh command to the gate: user is the connection identifier, args stand before the host.
func (g *Gate) SSH(tb testing.TB, user string, args ...string) *exec.Cmd {
	tb.Helper()
	peers.Require(tb, "ssh")
	all := append([]string{
		"-F", "none", "-p", strconv.Itoa(g.SSHPort), "-o", "UserKnownHostsFile=" + filepath.Join(tb.TempDir(), "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=20",
	}, args...)
	cmd := exec.Command("ssh", append(all, user+"@127.0.0.1")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir()}
	return cmd
}

// With returns the arguments that make ssh use exactly these keys.
func With(keys ...KeyFile) []string {
	args := []string{"-o", "IdentitiesOnly=yes"}
	for _, k := range keys {
		args = append(args, "-i", k.Path)
	}
	return args
}

// Agent starts an ssh-agent that holds the keys in that order, and returns its socket.
func Agent(tb testing.TB, keys ...KeyFile) string {
	tb.Helper()
	peers.Require(tb, "ssh-agent", "ssh-add")
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	p := peers.Start(tb, exec.Command("ssh-agent", "-D", "-a", socket))
	peers.Await(tb, p, func() error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if len(keys) == 0 {
		return socket
	}
	add := exec.Command("ssh-add", "-q")
	for _, k := range keys {
		add.Args = append(add.Args, k.Path)
	}
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if r := Run(tb, add, ""); r.Exit != 0 {
		tb.Fatal(fmt.Errorf("ssh-add: %s", r.Stderr))
	}
	return socket
}
