package peers

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// SSHServer is a running SSH server on 127.0.0.1 that lets one account in.
type SSHServer struct {
	At       netip.AddrPort
	Account  *Account
	Key      []byte   // the private key of the account, in PEM
	KeyFile  string   // where it lies
	HostKeys [][]byte // in the wire form
	Process  *Process
}

// SSHOptions says what a server is like.
type SSHOptions struct {
	User     string   // name of the account; none is target
	HostKeys []string // types as ssh-keygen has them; none is ed25519
	KeyType  string   // of the account; none is ed25519
	Lines    []string // further ones of sshd_config
	NoFiles  bool     // there is no SFTP
}

// Sshd starts OpenSSH's server. Public keys and, unless Lines say otherwise, passwords let the account in.
func Sshd(tb testing.TB, options SSHOptions) *SSHServer {
	tb.Helper()
	Require(tb, "/usr/sbin/sshd", "ssh-keygen")
	s, dir, port := newSSHServer(tb, options)
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it gives up its rights
			tb.Fatal(err)
		}
	}
	lines := []string{fmt.Sprint("Port ", port), "ListenAddress 127.0.0.1", "PidFile " + dir + "/pid", "StrictModes no", "UseDNS no", "PrintMotd no"}
	for i := range s.HostKeys {
		lines = append(lines, fmt.Sprintf("HostKey %s/host%d", dir, i))
	}
	if !options.NoFiles {
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	lines = append(lines, options.Lines...) // of two that contradict each other the first counts
	lines = append(lines, "UsePAM no", "MaxStartups 1000:30:2000", "PermitRootLogin yes", "AcceptEnv LANG LC_* GATE_*")
	if err := os.WriteFile(dir+"/conf", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.Process = Start(tb, s.Account.run(exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", dir+"/conf")))
	Await(tb, s.Process, s.answers)
	return s
}

// Dropbear starts dropbear's server.
func Dropbear(tb testing.TB, options SSHOptions) *SSHServer {
	tb.Helper()
	Require(tb, "/usr/sbin/dropbear", "dropbearkey", "ssh-keygen")
	s, dir, port := newSSHServer(tb, options)
	args := []string{"-F", "-E", "-p", fmt.Sprint("127.0.0.1:", port), "-P", dir + "/pid"}
	for i := range s.HostKeys {
		own := fmt.Sprintf("%s/host%d", dir, i)
		if out, err := exec.Command("dropbearconvert", "openssh", "dropbear", own, own+".db").CombinedOutput(); err != nil { //nolint:noctx // it ends by itself
			tb.Fatalf("dropbearconvert: %v\n%s", err, out)
		}
		args = append(args, "-r", own+".db")
	}
	s.Process = Start(tb, s.Account.run(exec.Command("/usr/sbin/dropbear", args...)))
	Await(tb, s.Process, s.answers)
	return s
}

// newSSHServer makes the keys of a server and of its account.
func newSSHServer(tb testing.TB, options SSHOptions) (s *SSHServer, dir string, port int) {
	tb.Helper()
	dir, port = tb.TempDir(), Port(tb)
	s = &SSHServer{At: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)), Account: NewAccount(tb, cmp.Or(options.User, "target")), KeyFile: filepath.Join(dir, "key")}
	if len(options.HostKeys) == 0 {
		options.HostKeys = []string{"ed25519"}
	}
	if options.KeyType == "" {
		options.KeyType = "ed25519"
	}
	for i, kind := range options.HostKeys {
		s.HostKeys = append(s.HostKeys, keyPair(tb, kind, fmt.Sprintf("%s/host%d", dir, i)).Marshal())
	}
	public := keyPair(tb, options.KeyType, s.KeyFile)
	var err error
	if s.Key, err = os.ReadFile(s.KeyFile); err == nil {
		err = os.Mkdir(filepath.Join(s.Account.Home, ".ssh"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.Account.Home, ".ssh/authorized_keys"), ssh.MarshalAuthorizedKey(public), 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s, dir, port
}

// keyPair makes a key pair in a file, and returns its public half.
func keyPair(tb testing.TB, kind, file string) ssh.PublicKey {
	tb.Helper()
	out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file).CombinedOutput() //nolint:noctx // it ends by itself
	if err != nil {
		tb.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		tb.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		tb.Fatal(err)
	}
	return public
}

// answers reports whether the server says what it is.
func (s *SSHServer) answers() error {
	c, err := net.Dial("tcp", s.At.String()) //nolint:noctx // on this machine
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 4))
	return err
}
