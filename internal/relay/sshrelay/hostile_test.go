package sshrelay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// hostile is a target in this process that does what no good server does.
type hostile struct {
	config ssh.ServerConfig
	key    ssh.PublicKey
	serve  func(net.Conn, *hostile)
}

// newHostile starts it, and returns how to get there. The password is "sesame".
func newHostile(t *testing.T, change func(*hostile)) remote.Target {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{key: signer.PublicKey(), serve: func(c net.Conn, h *hostile) {
		conn, channels, requests, err := ssh.NewServerConn(c, &h.config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for ch := range channels {
			_ = ch.Reject(ssh.Prohibited, "no")
		}
		_ = conn.Wait()
	}}
	h.config.AddHostKey(signer)
	h.config.PasswordCallback = func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if string(password) != "sesame" {
			return nil, errors.New("no")
		}
		return nil, nil
	}
	change(h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go h.serve(c, h)
		}
	}()
	return remote.Target{
		At: l.Addr().(*net.TCPAddr).AddrPort(), Username: "root", Password: secret.New("sesame"), HostKeys: [][]byte{h.key.Marshal()},
	}
}

// enter signs in at a target, or is refused.
func enter(t *testing.T, to remote.Target) (remote.Link, error) {
	t.Helper()
	link, err := dialer(t).Dial(t.Context(), to)
	if err == nil {
		t.Cleanup(func() { link.Close() })
	}
	return link, err
}

func TestDial_does_not_wait_for_ever(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(net.Conn, *hostile){
		"it says nothing":                    func(net.Conn, *hostile) {},
		"it hangs in the key exchange":       func(c net.Conn, _ *hostile) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n") },
		"it sends lines before its version":  func(c net.Conn, _ *hostile) { flood(c, "hello\r\n") },
		"it sends a version without end":     func(c net.Conn, _ *hostile) { flood(c, "SSH-2.0-"+strings.Repeat("x", 4096)) },
		"it sends a packet of 4 GiB":         func(c net.Conn, _ *hostile) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\xff\xff\xff\xff\xff") },
		"it sends noise in place of packets": func(c net.Conn, _ *hostile) { flood(c, "SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x14noise") },
		"it closes":                          func(c net.Conn, _ *hostile) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dialer(t)
			d.Outward.Patience = 500 * time.Millisecond
			_, err := d.Dial(t.Context(), newHostile(t, func(h *hostile) { h.serve = serve }))
			if !errors.Is(err, remote.ErrUnreachable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func flood(c net.Conn, text string) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

// A caller that gives up is not kept.
func TestDial_ends_with_its_context(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	to := newHostile(t, func(h *hostile) { h.serve = func(net.Conn, *hostile) { cancel() } })
	d := dialer(t)
	d.Outward.Patience = time.Hour
	if _, err := d.Dial(ctx, to); !errors.Is(err, remote.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// rule S9: nothing that a truncated prefix could work on.
func TestDial_agrees_to_AES_alone(t *testing.T) {
	t.Parallel()
	for _, cipher := range []string{ssh.CipherChaCha20Poly1305, ssh.InsecureCipherAES128CBC, ssh.InsecureCipherRC4128} {
		to := newHostile(t, func(h *hostile) { h.config.Ciphers = []string{cipher} })
		_, err := enter(t, to)
		var none *ssh.AlgorithmNegotiationError
		if !errors.As(err, &none) || !errors.Is(err, remote.ErrUnreachable) {
			t.Errorf("%s: %v", cipher, err)
		}
	}
}

func TestDial_answers_one_hidden_question(t *testing.T) {
	t.Parallel()
	type ask struct {
		questions []string
		echo      []bool
	}
	var shown atomic.Int32
	for _, c := range []struct {
		name string
		asks []ask
		ok   bool
	}{
		{"for the password", []ask{{[]string{"Password: "}, []bool{false}}}, true},
		{"and then for nothing", []ask{{[]string{"Password: "}, []bool{false}}, {nil, nil}}, true},
		{"with an echo", []ask{{[]string{"Password: "}, []bool{true}}}, false},
		{"two at once", []ask{{[]string{"Password: ", "Code: "}, []bool{false, false}}}, false},
		{"and then for a new password", []ask{{[]string{"Password: "}, []bool{false}}, {[]string{"New password: "}, []bool{false}}}, false},
		{"for nothing, without end", []ask{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := newHostile(t, func(h *hostile) {
				h.config.PasswordCallback = nil
				h.config.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, question ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
					for _, a := range c.asks {
						answers, err := question("", "", a.questions, a.echo)
						if err != nil {
							return nil, err
						}
						for _, answer := range answers {
							if answer == "sesame" {
								shown.Add(1)
							}
						}
					}
					return nil, nil
				}
			})
			_, err := enter(t, to)
			if c.ok != (err == nil) || err != nil && !errors.Is(err, remote.ErrTargetLogin) {
				t.Errorf("got %v", err)
			}
		})
	}
	if shown.Load() != 3 { // once for each that begins with one hidden question
		t.Errorf("the password was shown %d times", shown.Load())
	}
}

// A wrong password is tried by one method alone.
func TestDial_shows_a_wrong_password_once(t *testing.T) {
	t.Parallel()
	var tried atomic.Int32
	to := newHostile(t, func(h *hostile) {
		h.config.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			tried.Add(1)
			return nil, errors.New("no")
		}
		h.config.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, question ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			if _, err := question("", "", []string{"Password: "}, []bool{false}); err == nil {
				tried.Add(1)
			}
			return nil, errors.New("no")
		}
	})
	if _, err := enter(t, to); !errors.Is(err, remote.ErrTargetLogin) || tried.Load() != 1 {
		t.Errorf("tried %d times: %v", tried.Load(), err)
	}
}

// rule W5
func TestDial_hears_few_banners(t *testing.T) {
	t.Parallel()
	to := newHostile(t, func(h *hostile) {
		h.config.PreAuthConnCallback = func(c ssh.ServerPreAuthConn) {
			for range 100 {
				if c.SendAuthBanner(strings.Repeat("x", 10_000)) != nil {
					return
				}
			}
		}
	})
	if _, err := enter(t, to); err == nil || !strings.Contains(err.Error(), "too much") {
		t.Errorf("got %v", err)
	}
}

// rule S8: no agent goes along, whatever a target asks for, and nothing that it opens by itself is taken.
func TestLink_takes_nothing_that_the_target_opens(t *testing.T) {
	t.Parallel()
	refused := make(chan error, 8)
	link, err := enter(t, newHostile(t, func(h *hostile) {
		h.serve = func(c net.Conn, h *hostile) {
			conn, channels, requests, err := ssh.NewServerConn(c, &h.config)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			go func() {
				for ch := range channels {
					_ = ch.Reject(ssh.Prohibited, "no")
				}
			}()
			for _, kind := range []string{"auth-agent@openssh.com", "x11", "forwarded-tcpip", "session", "direct-tcpip"} {
				_, _, err := conn.OpenChannel(kind, nil)
				refused <- err
			}
			_, _, _ = conn.SendRequest("hostkeys-00@openssh.com", true, []byte("junk"))
			close(refused)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for err := range refused {
		var no *ssh.OpenChannelError
		if !errors.As(err, &no) {
			t.Errorf("got %v", err)
		}
		count++
	}
	if count != 5 || link.Err() != nil {
		t.Errorf("%d, %v", count, link.Err())
	}
}

// A target that opens no channel, or answers no request, keeps nobody beyond their context.
func TestTerminal_does_not_wait_for_ever(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(ssh.NewChannel){
		"it does not answer":    func(ssh.NewChannel) {},
		"it answers no request": func(ch ssh.NewChannel) { _, _, _ = ch.Accept() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link, err := enter(t, newHostile(t, func(h *hostile) { h.serve = serving(take) }))
			if err != nil {
				t.Fatal(err)
			}
			for _, open := range []func(ctx context.Context) error{
				func(ctx context.Context) error { _, err := link.Terminal(ctx, remote.Terminal{PTY: true}); return err },
				func(ctx context.Context) error { _, err := link.Files(ctx); return err },
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				if err := open(ctx); !errors.Is(err, remote.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				cancel()
			}
		})
	}
}

// serving is a target that lets in and gives channels to take.
func serving(take func(ssh.NewChannel)) func(net.Conn, *hostile) {
	return func(c net.Conn, h *hostile) {
		_, channels, requests, err := ssh.NewServerConn(c, &h.config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for ch := range channels {
			go take(ch)
		}
	}
}

// rule W5: a target that floods fills its window, and no more of our memory.
func TestTerminal_holds_little_of_a_flood(t *testing.T) {
	link, err := enter(t, newHostile(t, func(h *hostile) {
		h.serve = serving(func(ch ssh.NewChannel) {
			channel, requests, err := ch.Accept()
			if err != nil {
				return
			}
			go func() {
				for r := range requests {
					_ = r.Reply(true, nil)
				}
			}()
			go flooding(channel.Stderr())
			flooding(channel)
		})
	}))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ch, err := link.Terminal(t.Context(), remote.Terminal{Command: "yes"})
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	for range 1000 { // a slow reader
		if _, err := ch.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 { // both ends are in this process
		t.Errorf("%d bytes were kept", grown)
	}
}

func flooding(w io.Writer) {
	junk := make([]byte, 32<<10)
	for {
		if _, err := w.Write(junk); err != nil {
			return
		}
	}
}

// What a target says of the end of a command is its own: anything may stand there.
func TestWait_takes_any_ending(t *testing.T) {
	t.Parallel()
	endings := make(chan []byte, 8)
	link, err := enter(t, newHostile(t, func(h *hostile) {
		h.serve = serving(func(ch ssh.NewChannel) {
			channel, requests, err := ch.Accept()
			if err != nil {
				return
			}
			for r := range requests {
				_ = r.Reply(true, nil)
				if r.Type == "exec" {
					_, _ = channel.SendRequest("exit-signal", false, <-endings)
					channel.Close()
				}
			}
		})
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		payload string
		want    remote.Exit
	}{
		{"", remote.Exit{Status: -1}},
		{"\xff\xff\xff\xffTERM", remote.Exit{Status: -1}},
		{"\x00\x00\x00\x04TE", remote.Exit{Status: -1}},
		{"\x00\x00\x00\x04T\x1b]0", remote.Exit{Status: -1}}, // rule W10
		{"\x00\x00\x00\x04KILL", remote.Exit{Status: 137, Signal: "KILL"}},
	} {
		endings <- []byte(c.payload)
		if _, _, exit := run(t, link, remote.Terminal{Command: "x"}, ""); exit != c.want {
			t.Errorf("%q: %+v", c.payload, exit)
		}
	}
}

// Certificates are no host keys here: a pin is a key.
func TestDial_trusts_no_certificate(t *testing.T) {
	t.Parallel()
	to := newHostile(t, func(h *hostile) {
		_, ca, _ := ed25519.GenerateKey(rand.Reader)
		authority, _ := ssh.NewSignerFromKey(ca)
		_, own, _ := ed25519.GenerateKey(rand.Reader)
		signer, _ := ssh.NewSignerFromKey(own)
		cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		certified, err := ssh.NewCertSigner(cert, signer)
		if err != nil {
			t.Fatal(err)
		}
		h.config = ssh.ServerConfig{PasswordCallback: h.config.PasswordCallback}
		h.config.AddHostKey(certified)
	})
	if _, err := enter(t, to); !errors.Is(err, remote.ErrUnreachable) && !errors.Is(err, remote.ErrHostKey) {
		t.Errorf("got %v", err)
	}
}
