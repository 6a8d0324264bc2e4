package sshrelay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/relay"
	"github.com/gatehouse-project/gatehouse/internal/relay/sshrelay"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

func TestMain(m *testing.M) { os.Exit(peers.Main(m)) }

// dialer goes out as the product does.
func dialer(t testing.TB) *sshrelay.Dialer {
	t.Helper()
	policy, err := outbound.NewPolicy(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &sshrelay.Dialer{Outward: relay.Outward{Connect: policy.DialInside, Patience: 20 * time.Second}}
}

// byKey is a server as a target, with the stored key of its account.
func byKey(s *peers.SSHServer) remote.Target {
	return remote.Target{Host: "target", At: s.At, Protocol: device.SSH, Username: s.Account.Name, Key: secret.New(string(s.Key)), HostKeys: s.HostKeys}
}

// byPassword is byKey with the password.
func byPassword(s *peers.SSHServer) remote.Target {
	to := byKey(s)
	to.Key, to.Password = secret.String{}, secret.New(s.Account.Password)
	return to
}

func dial(t testing.TB, to remote.Target) remote.Link {
	t.Helper()
	link, err := dialer(t).Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	return link
}

// run runs a command at the target.
func run(t testing.TB, link remote.Link, terminal remote.Terminal, input string) (out, errors string, exit remote.Exit) {
	t.Helper()
	ch, err := link.Terminal(t.Context(), terminal)
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	go func() {
		_, _ = io.WriteString(ch, input)
		_ = ch.CloseWrite()
	}()
	var beside bytes.Buffer
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(&beside, ch.Stderr())
		close(done)
	}()
	text, err := io.ReadAll(ch)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	return string(text), beside.String(), ch.Wait()
}

func TestDial_signs_in_to_real_servers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		start  func(testing.TB, peers.SSHOptions) *peers.SSHServer
		as     func(*peers.SSHServer) remote.Target
		option peers.SSHOptions
	}{
		{"OpenSSH by an ed25519 key", peers.Sshd, byKey, peers.SSHOptions{}},
		{"OpenSSH by an RSA key, with SHA-2", peers.Sshd, byKey, peers.SSHOptions{KeyType: "rsa", HostKeys: []string{"rsa"}}},
		{"OpenSSH by an ECDSA key", peers.Sshd, byKey, peers.SSHOptions{KeyType: "ecdsa", HostKeys: []string{"ecdsa"}}},
		{"OpenSSH by a password", peers.Sshd, byPassword, peers.SSHOptions{}},
		{"OpenSSH with AES-CTR alone", peers.Sshd, byKey, peers.SSHOptions{Lines: []string{"Ciphers aes256-ctr", "MACs hmac-sha2-256"}}},
		{"dropbear by an ed25519 key", peers.Dropbear, byKey, peers.SSHOptions{}},
		{"dropbear by an RSA key", peers.Dropbear, byKey, peers.SSHOptions{KeyType: "rsa", HostKeys: []string{"rsa"}}},
		{"dropbear by a password", peers.Dropbear, byPassword, peers.SSHOptions{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			link := dial(t, c.as(c.start(t, c.option)))
			out, beside, exit := run(t, link, remote.Terminal{Command: "cat; echo beside >&2; exit 7"}, "hello")
			if out != "hello" || beside != "beside\n" || exit.Status != 7 {
				t.Errorf("got %q, %q, %+v", out, beside, exit)
			}
		})
	}
}

// A wrong password is shown once: not again by the other method, or the account would be locked twice as fast.
func TestDial_is_refused(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{})
	other := peers.Dropbear(t, peers.SSHOptions{})
	for _, c := range []struct {
		name string
		to   func(to *remote.Target)
	}{
		{"a wrong password", func(to *remote.Target) { to.Password = secret.New("wrong-password-7") }},
		{"a key that is not on file", func(to *remote.Target) { to.Key, to.Password = secret.New(string(other.Key)), secret.String{} }},
		{"a key that is none", func(to *remote.Target) { to.Key = secret.New("no key") }},
		{"nothing to show", func(to *remote.Target) { to.Password = secret.String{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			to := byPassword(s)
			c.to(&to)
			_, err := dialer(t).Dial(t.Context(), to)
			if !errors.Is(err, remote.ErrTargetLogin) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "wrong-password") {
				t.Error("the password stands in the error")
			}
		})
	}
}

// rules S8, S16: a key that no administrator accepted ends the dialling before anything is shown to the target.
func TestDial_knows_the_target_by_its_host_key(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{HostKeys: []string{"ed25519", "ecdsa", "rsa"}})
	other := peers.Sshd(t, peers.SSHOptions{})
	for _, c := range []struct {
		name     string
		accepted [][]byte
		changed  bool
	}{
		{"none accepted", nil, false},
		{"another accepted", other.HostKeys, true},
		{"something accepted that is no key", [][]byte{[]byte("no key")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := byPassword(s)
			to.HostKeys = c.accepted
			_, err := dialer(t).Dial(t.Context(), to)
			var strange *remote.StrangeKey
			if !errors.As(err, &strange) || !errors.Is(err, remote.ErrHostKey) || strange.Changed != c.changed {
				t.Fatalf("got %v", err)
			}
			if !bytes.Equal(strange.Blob, s.HostKeys[0]) {
				t.Error("it is not the key that the target showed")
			}
		})
	}
	for i, key := range s.HostKeys { // the target is asked for the one that was accepted
		to := byKey(s)
		to.HostKeys = [][]byte{key}
		if _, err := dialer(t).Dial(t.Context(), to); err != nil {
			t.Errorf("accepted key %d: %v", i, err)
		}
	}
	text, err := os.ReadFile(s.Process.Output)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "Failed password") {
		t.Error("a target was shown a password before it was known")
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{HostKeys: []string{"ed25519", "ecdsa", "rsa"}})
	got, err := dialer(t).HostKeys(t.Context(), s.At)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d keys, %v", len(got), err)
	}
	for i, key := range s.HostKeys {
		if !bytes.Equal(got[i], key) {
			t.Errorf("key %d differs", i)
		}
	}
	small := peers.Dropbear(t, peers.SSHOptions{})
	if got, err = dialer(t).HostKeys(t.Context(), small.At); err != nil || len(got) != 1 {
		t.Errorf("dropbear: %d keys, %v", len(got), err)
	}
}

// Link-local addresses, where clouds tell machines their secrets, are no targets, whoever registered them.
func TestDial_goes_to_no_link_local_address(t *testing.T) {
	t.Parallel()
	to := remote.Target{Username: "root"}
	for _, address := range []string{"169.254.169.254:80", "[fe80::1]:22", "[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:22"} {
		if err := to.At.UnmarshalText([]byte(address)); err != nil {
			t.Fatal(err)
		}
		_, err := dialer(t).Dial(t.Context(), to)
		if !errors.Is(err, remote.ErrUnreachable) || !errors.Is(err, outbound.ErrForbidden) {
			t.Errorf("%s: %v", address, err)
		}
		if _, err = dialer(t).HostKeys(t.Context(), to.At); !errors.Is(err, outbound.ErrForbidden) {
			t.Errorf("scan of %s: %v", address, err)
		}
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{})
	link := dial(t, byKey(s))

	t.Run("has the size, kind and modes that were asked for", func(t *testing.T) {
		modes := []byte{53, 0, 0, 0, 0, 0} // ECHO off (RFC 4254 section 8), end
		out, _, _ := run(t, link, remote.Terminal{
			Command: "stty size; echo $TERM $GATE_X; stty -a | grep -o -- ' -echo '", PTY: true, Term: "vt220",
			Size: remote.Size{Cols: 132, Rows: 43}, Modes: modes, Env: []remote.EnvVar{{Name: "GATE_X", Value: "y"}},
		}, "")
		if !strings.Contains(out, "43 132") || !strings.Contains(out, "vt220 y") || !strings.Contains(out, "-echo") {
			t.Errorf("got %q", out)
		}
	})
	t.Run("is resized", func(t *testing.T) {
		ch, err := link.Terminal(t.Context(), remote.Terminal{PTY: true, Size: remote.Size{Cols: 80, Rows: 24}})
		if err != nil {
			t.Fatal(err)
		}
		if err := ch.Resize(remote.Size{Cols: 99, Rows: 33}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(ch, "stty size; exit 3\n")
		text, _ := io.ReadAll(ch)
		if !strings.Contains(string(text), "33 99") || ch.Wait().Status != 3 {
			t.Errorf("got %q, %+v", text, ch.Wait())
		}
	})
	t.Run("hears of the signal that ended it", func(t *testing.T) {
		if _, _, exit := run(t, link, remote.Terminal{Command: "kill -TERM $$"}, ""); exit.Signal != "TERM" || exit.Status != 143 {
			t.Errorf("got %+v", exit)
		}
	})
	t.Run("passes signals on", func(t *testing.T) { // OpenSSH takes none where a session runs as the server's own user
		ch, err := dial(t, byKey(peers.Dropbear(t, peers.SSHOptions{}))).Terminal(t.Context(), remote.Terminal{Command: "echo ready; exec sleep 60"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ch.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := ch.Signal("TERM"); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, ch.Stderr())
		_, _ = io.Copy(io.Discard, ch)
		if exit := ch.Wait(); exit.Signal != "TERM" {
			t.Errorf("got %+v", exit)
		}
	})
	t.Run("several at a time", func(t *testing.T) {
		results := make(chan string, 8)
		for range 8 {
			go func() {
				out, _, _ := run(t, link, remote.Terminal{Command: "cat"}, strings.Repeat("x", 100_000))
				results <- out
			}()
		}
		for range 8 {
			if out := <-results; len(out) != 100_000 {
				t.Errorf("got %d bytes", len(out))
			}
		}
	})
}

func TestForward(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{})
	link := dial(t, byKey(s))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	f, err := link.Forward(t.Context(), "127.0.0.1", port)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(f, "there and back")
		_ = f.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if text, err := io.ReadAll(f); string(text) != "there and back" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := link.Forward(t.Context(), "127.0.0.1", peers.Port(t)); err == nil || errors.Is(err, remote.ErrNotOffered) {
		t.Errorf("a closed port: %v", err)
	}
	shut := dial(t, byKey(peers.Sshd(t, peers.SSHOptions{Lines: []string{"AllowTcpForwarding no"}})))
	if _, err := shut.Forward(t.Context(), "127.0.0.1", port); !errors.Is(err, remote.ErrNotOffered) {
		t.Errorf("forwarding is off: %v", err)
	}
}

func TestFiles_is_not_offered(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{NoFiles: true})
	if _, err := dial(t, byKey(s)).Files(t.Context()); !errors.Is(err, remote.ErrNotOffered) {
		t.Errorf("got %v", err)
	}
}

func TestLink_says_how_it_ended(t *testing.T) {
	t.Parallel()
	s := peers.Sshd(t, peers.SSHOptions{})
	link := dial(t, byKey(s))
	ch, err := link.Terminal(t.Context(), remote.Terminal{Command: "sleep 60"})
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Close(); err != nil {
		t.Error(err)
	}
	<-link.Done()
	go io.Copy(io.Discard, ch.Stderr())
	_, _ = io.Copy(io.Discard, ch)
	if exit := ch.Wait(); exit.Status != -1 || link.Err() != nil {
		t.Errorf("got %+v, %v", exit, link.Err())
	}

	frozen := dialer(t)
	frozen.Alive = 200 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cut := between(t, l, s.At.String())
	to := byKey(s)
	to.At = l.Addr().(*net.TCPAddr).AddrPort()
	dead, err := frozen.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	cut()
	<-dead.Done()
	if dead.Err() == nil {
		t.Error("a target that fell silent ended in peace")
	}
}

// between carries one connection until it is cut: then it carries nothing more, and stays open.
func between(t *testing.T, l net.Listener, to string) (cut func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			near.Close()
			return
		}
		t.Cleanup(func() { near.Close(); far.Close() })
		carry := func(to, from net.Conn) {
			b := make([]byte, 4096)
			for {
				n, err := from.Read(b)
				if err != nil || ctx.Err() != nil {
					return
				}
				_, _ = to.Write(b[:n])
			}
		}
		go carry(near, far)
		carry(far, near)
	}()
	t.Cleanup(func() { l.Close() })
	return cancel
}
