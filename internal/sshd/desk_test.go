package sshd_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
)

func asError[T error](err error, target *T) bool { return errors.As(err, target) }

func ptr[T any](v T) *T { return &v }

func print(k ssh.Signer) string { return ssh.FingerprintSHA256(k.PublicKey()) }

// Every line of spec section 7.3, with its exit status.
func TestLines(t *testing.T) {
	t.Parallel()
	d := open(t)
	keys := eds(3)
	a, b, stranger, small := keys[0], keys[1], keys[2], newRSA(1024)
	const prompt = "Press y to confirm, any other key to cancel: "
	hint := func(s keyproof.Session) string {
		return "None of your keys matches. Try: ssh -o IdentitiesOnly=yes -i <key file> " + s.Identifier + "@gate.example.test -p 2222\n"
	}
	const usedUp = "This code can no longer be used.\n"

	for name, c := range map[string]struct {
		options keyproof.Options
		collect bool
		signers []ssh.Signer
		input   string
		want    func(keyproof.Session) string
		exit    int
	}{
		"verified": {
			signers: []ssh.Signer{a},
			want:    func(keyproof.Session) string { return "Verified with " + print(a) + " (key-a).\n" },
		},
		"verified with both": {
			options: keyproof.Options{MatchAllKeys: true}, signers: []ssh.Signer{b, a},
			want: func(keyproof.Session) string {
				return "Verified with " + print(b) + " (key-b).\nVerified with " + print(a) + " (key-a).\n"
			},
		},
		"over several connections": {
			options: keyproof.Options{MultiConnection: true}, signers: []ssh.Signer{a},
			want: func(keyproof.Session) string {
				return "Verified with " + print(a) + " (key-a).\nYou can connect again with another key, or go back to the web page.\n"
			},
		},
		"incomplete": {
			options: keyproof.Options{MatchAllKeys: true, MaxAttempts: 2}, signers: []ssh.Signer{a},
			want: func(keyproof.Session) string { return "1 of 2 keys verified. All are needed.\n" }, exit: 1,
		},
		"no match": {
			options: keyproof.Options{MaxAttempts: 2}, signers: []ssh.Signer{stranger}, want: hint, exit: 1,
		},
		"last attempt": {
			signers: []ssh.Signer{stranger}, want: func(s keyproof.Session) string { return hint(s) + usedUp }, exit: 1,
		},
		"no key": {
			options: keyproof.Options{MaxAttempts: 2}, exit: 1,
			want: func(keyproof.Session) string {
				return "Your SSH client offered no key. Add one to your agent or use -i <key file>.\n"
			},
		},
		"message first": {
			options: keyproof.Options{Message: ptr("Sign in\nto \u202eExample\x1b[2J")}, signers: []ssh.Signer{a},
			want: func(keyproof.Session) string {
				return "Sign in\nto Example[2J\nVerified with " + print(a) + " (key-a).\n"
			},
		},
		"collected": {
			collect: true, options: keyproof.Options{MultiKey: true}, signers: []ssh.Signer{a, stranger},
			want: func(keyproof.Session) string { return "Recorded " + print(a) + "\nRecorded " + print(stranger) + "\n" },
		},
		"nothing to collect": {
			collect: true, signers: []ssh.Signer{small}, exit: 1,
			want: func(keyproof.Session) string {
				return "None of your keys can be recorded. Use an ed25519, ECDSA or RSA key (2048 bits or more), not a certificate.\n"
			},
		},
		"confirmed": {
			options: keyproof.Options{MustConfirm: true}, signers: []ssh.Signer{a}, input: "\r\n\ny\n",
			want: func(keyproof.Session) string {
				return "key-a  " + print(a) + "\n" + prompt + "\nVerified with " + print(a) + " (key-a).\n"
			},
		},
		"declined": {
			options: keyproof.Options{MustConfirm: true}, signers: []ssh.Signer{a}, input: "n", exit: 1,
			want: func(keyproof.Session) string {
				return "key-a  " + print(a) + "\n" + prompt + "\nCancelled. Nothing was recorded.\n" + usedUp
			},
		},
		"Ctrl-C": {
			options: keyproof.Options{MustConfirm: true, MaxAttempts: 2}, signers: []ssh.Signer{a}, input: "\x03y", exit: 1,
			want: func(keyproof.Session) string {
				return "key-a  " + print(a) + "\n" + prompt + "\nCancelled. Nothing was recorded.\n"
			},
		},
		"end of input": {
			options: keyproof.Options{MustConfirm: true}, collect: true, signers: []ssh.Signer{a}, exit: 1,
			want: func(keyproof.Session) string {
				return print(a) + "\n" + prompt + "\nCancelled. Nothing was recorded.\n"
			},
		},
		"nothing to confirm": {
			options: keyproof.Options{MustConfirm: true, MaxAttempts: 2}, signers: []ssh.Signer{stranger}, input: "y", want: hint, exit: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := keyproof.Session{}
			switch {
			case c.collect:
				s = d.collect(t, c.options)
			case c.options.MatchAllKeys:
				s = d.verify(t, c.options, a.PublicKey(), b.PublicKey())
			default:
				s = d.verify(t, c.options, a.PublicKey())
			}
			v := d.login(t, s.Identifier, c.input, c.signers...)
			if v.err != nil || v.output != c.want(s) || v.exit != c.exit {
				t.Errorf("got %q, exit %d, %v\nwant %q, exit %d", v.output, v.exit, v.err, c.want(s), c.exit)
			}
		})
	}
}

func TestBanner(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{Banner: ptr("Welcome\x1b[31m")}, key.PublicKey())
	if v := d.login(t, s.Identifier, "", key); v.banner != "Welcome[31m\n" {
		t.Errorf("banner %q", v.banner)
	}
	s = d.verify(t, keyproof.Options{}, key.PublicKey())
	if v := d.login(t, s.Identifier, "", key); v.banner != "" || v.exit != 0 {
		t.Errorf("banner %q, exit %d", v.banner, v.exit)
	}
}

// visitor is an authenticated connection of the library's client.
func visitor(t *testing.T, d *door, user string, signers ...ssh.Signer) *ssh.Client {
	t.Helper()
	var banner strings.Builder
	c, err := ssh.Dial("tcp", d.addr, client(user, &banner, signers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Rule S14: every channel and every request is decided by itself; what is not listed is refused.
func TestRequests(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{MustConfirm: true}, key.PublicKey()) // the question keeps the channel open
	c := visitor(t, d, s.Identifier, key)

	for _, kind := range []string{"direct-tcpip", "forwarded-tcpip", "x11", "auth-agent@openssh.com", "direct-streamlocal@openssh.com", "tun@openssh.com", ""} {
		_, _, err := c.OpenChannel(kind, ssh.Marshal(struct {
			Host string
			Port uint32
			From string
			FP   uint32
		}{"127.0.0.1", 22, "127.0.0.1", 1}))
		var refused *ssh.OpenChannelError
		if !asError(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("channel %q: %v", kind, err)
		}
	}
	for _, kind := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "keepalive@openssh.com", "no-more-sessions@openssh.com", "hostkeys-prove-00@openssh.com", ""} {
		if ok, _, err := c.SendRequest(kind, true, nil); ok || err != nil {
			t.Errorf("global request %q: %v, %v", kind, ok, err)
		}
	}
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if _, _, err := c.OpenChannel("session", nil); err == nil {
		t.Error("a second session channel was accepted")
	}
	for _, r := range []struct {
		kind string
		want bool
	}{
		{"env", false},
		{"subsystem", false},
		{"x11-req", false},
		{"auth-agent-req@openssh.com", false},
		{"signal", false},
		{"break", false},
		{"xon-xoff", false},
		{"exit-status", false},
		{"", false},
		{"PTY-REQ", false},
		{"pty-req", true},
		{"window-change", true},
		{"exec", true},
		{"shell", false}, // the second one
		{"exec", false},
		{"window-change", true},
	} {
		if ok, err := channel.SendRequest(r.kind, true, nil); ok != r.want || err != nil {
			t.Errorf("request %q: %v, %v; want %v", r.kind, ok, err, r.want)
		}
	}
	if _, err := io.WriteString(channel, "Y"); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(channel)
	if err != nil || !strings.HasSuffix(string(out), ": \r\nVerified with "+print(key)+" (key-a).\r\nYou forwarded your agent; this is not needed here.\r\n") {
		t.Errorf("output %q, %v", out, err)
	}
}

// Without a channel the result counts all the same; the door waits a while and closes.
func TestNo_channel(t *testing.T) {
	t.Parallel()
	d := open(t, short, func(l *sshd.Limits) { l.Confirm = growing[0] })
	key := newED()
	t.Run("without confirmation", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, key.PublicKey())
		c := visitor(t, d, s.Identifier, key)
		_ = c.Wait()
		d.closed(t)
		d.want(t, s, keyproof.Verified, 0, key.PublicKey())
	})
	t.Run("with confirmation", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{MustConfirm: true}, key.PublicKey())
		_ = visitor(t, d, s.Identifier, key).Wait()
		if o := d.closed(t); o != string(keyproof.TimedOut) {
			t.Errorf("outcome %s", o)
		}
		d.want(t, s, keyproof.Failed, 1)
	})
	// silent lets the time for the answer run out on a client that has come to the question, or to the channel before it, and waits until the door closes.
	silent := func(t *testing.T, come func(*ssh.Session) (done func(), err error)) {
		t.Helper()
		for i, confirm := range growing {
			d := open(t, short, func(l *sshd.Limits) { l.Confirm = confirm })
			s := d.verify(t, keyproof.Options{MustConfirm: true}, key.PublicKey())
			c := visitor(t, d, s.Identifier, key)
			done := func() {}
			session, err := c.NewSession()
			if err == nil {
				done, err = come(session)
			}
			if err != nil && i < len(growing)-1 {
				continue // it was late
			}
			if err != nil {
				t.Fatal(err)
			}
			done()
			_ = c.Wait()
			if o := d.closed(t); o != string(keyproof.TimedOut) {
				t.Errorf("outcome %s", o)
			}
			return
		}
	}
	t.Run("a channel without a shell", func(t *testing.T) {
		silent(t, func(*ssh.Session) (func(), error) { return func() {}, nil })
	})
	t.Run("silence at the question", func(t *testing.T) {
		silent(t, func(session *ssh.Session) (func(), error) {
			if _, err := session.StdinPipe(); err != nil { // stays open
				return nil, err
			}
			var out strings.Builder
			session.Stdout = &out
			return func() {
				if err := session.Wait(); err == nil || !strings.HasSuffix(out.String(), "\nNo answer. Nothing was recorded.\nThis code can no longer be used.\n") {
					t.Errorf("output %q, %v", out.String(), err)
				}
			}, session.Shell()
		})
	})
}

// A connection that ends before y counts as disconnected, and its proofs are not kept.
func TestDrop_before_y(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	for name, leave := range map[string]func(*ssh.Client, net.Conn, ssh.Channel){
		"TCP closed":          func(_ *ssh.Client, conn net.Conn, _ ssh.Channel) { conn.Close() },
		"channel, then TCP":   func(c *ssh.Client, _ net.Conn, ch ssh.Channel) { ch.Close(); c.Close() },
		"in the middle of it": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := d.verify(t, keyproof.Options{MustConfirm: true}, key.PublicKey())
			if leave == nil {
				r := handshake(t, d)
				r.sign(s.Identifier, key)
				r.close()
			} else {
				conn := dialTCP(t, d, "127.0.0.1")
				var banner strings.Builder
				sc, chans, reqs, err := ssh.NewClientConn(conn, d.addr, client(s.Identifier, &banner, key))
				if err != nil {
					t.Fatal(err)
				}
				c := ssh.NewClient(sc, chans, reqs)
				ch, requests, err := c.OpenChannel("session", nil)
				if err != nil {
					t.Fatal(err)
				}
				go ssh.DiscardRequests(requests)
				if ok, err := ch.SendRequest("shell", true, nil); !ok || err != nil {
					t.Fatalf("shell: %v, %v", ok, err)
				}
				seen := make([]byte, 20) // the question is there
				if _, err := io.ReadFull(ch, seen); err != nil {
					t.Fatal(err)
				}
				leave(c, conn, ch)
			}
			if o := d.closed(t); o != string(keyproof.Dropped) {
				t.Errorf("outcome %s", o)
			}
			d.want(t, s, keyproof.Failed, 1)
		})
	}
}

// The time may run out while the person thinks.
func TestExpiry_during_the_question(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{MustConfirm: true}, key.PublicKey())
	c := visitor(t, d, s.Identifier, key)
	d.clock.Add(int64(2 * time.Hour))
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	session.Stdin = strings.NewReader("y")
	out, err := session.Output("")
	if err == nil || !strings.HasSuffix(string(out), "\nThis code has expired. Ask for a new one.\n") {
		t.Errorf("output %q, %v", out, err)
	}
	if is := d.now(t, s); is.Status != keyproof.Expired || is.Attempts != 0 {
		t.Errorf("%+v", is.Session)
	}
}

// Two connections may prove at once: one wins.
func TestRace(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{}, key.PublicKey())
	ready, visits := make(chan struct{}), make(chan visit, 2)
	for range 2 {
		r := handshake(t, d)
		if kind := r.query(s.Identifier, key.PublicKey()); kind != msgAuthKeyOK {
			t.Fatalf("answered with %d", kind)
		}
		go func() {
			<-ready
			r.sign(s.Identifier, key)
			r.close()
			visits <- visit{}
		}()
	}
	close(ready)
	<-visits
	<-visits
	got := []string{d.closed(t), d.closed(t)}
	if got[0] == got[1] || got[0]+got[1] != "provenlost" && got[0]+got[1] != "lostproven" {
		t.Errorf("outcomes %v", got)
	}
	is := d.now(t, s)
	if is.Status != keyproof.Verified || len(is.Connections) != 2 || len(is.Connections[0].Keys)+len(is.Connections[1].Keys) != 1 {
		t.Errorf("%+v", is)
	}
}
