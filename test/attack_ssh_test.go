package test

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// unlimited are the settings of a gate whose test needs more calls than a project has in an hour.
func unlimited(more ...string) map[string]string {
	settings := map[string]string{"sshverify.rate_per_hour": "0"}
	for i := 0; i+1 < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	return settings
}

// sessionOf is the request for a verify session with these keys; more are further fields and their values.
func sessionOf(keys []string, more ...any) map[string]any {
	var list []map[string]any
	for _, k := range keys {
		list = append(list, map[string]any{"public_key": k})
	}
	body := map[string]any{"keys": list}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return body
}

// provenPrints are the fingerprints of the keys that the session shows as verified.
func provenPrints(s gate.Session) []string {
	var prints []string
	for _, k := range s.Keys {
		if k.Verified != nil {
			prints = append(prints, k.SHA256)
		}
	}
	return prints
}

// stillServes proves a key with the real client: whatever happened before, others are served.
func stillServes(t *testing.T, g *gate.Gate, key gate.KeyFile) {
	t.Helper()
	s := g.Create(t, "verify", sessionOf([]string{key.Public}))
	if r := gate.Run(t, g.SSH(t, s.ConnectionIdentifier, gate.With(key)...), ""); r.Exit != 0 || !strings.Contains(r.Stdout, "Verified with "+key.SHA256) {
		t.Errorf("a good client is not served: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if s = g.Session(t, "verify", s.ID); s.Status != "verified" {
		t.Errorf("its session is %s", s.Status)
	}
}

// attemptOf is the audit event of the one attempt on a session.
func attemptOf(t *testing.T, g *gate.Gate, session string) gate.Audited {
	t.Helper()
	var found gate.Audited
	gate.Eventually(t, func() error {
		for _, e := range g.Audited(t, "keyproof.attempt") {
			if e.Object.ID == session {
				found = e
				return nil
			}
		}
		return fmt.Errorf("no attempt on session %s in the audit log", session)
	})
	return found
}

// Rule S1: signed, not offered.
//
// What was broken elsewhere: servers took the key that a client had offered last, or offered at all, for
// the key that it had signed with; a public key, which everybody has, was enough to be its owner.
// How it is attacked: a client of our own offers the victim's key without a signature, offers it and signs
// with its own, and puts its own signature under the victim's key.
// What must happen: exactly what a signature proved counts, and the audit log says how the attempt ended.
func TestAttack_S1_offers_prove_nothing(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	keys := gate.NewKeys(t, 2)
	victim, mine := keys[0], keys[1]
	a, b := victim.Signer(t), mine.Signer(t)
	both, one := []string{victim.Public, mine.Public}, []string{victim.Public}
	offer := func(r *rawClient, user string, k ssh.Signer) {
		r.offer(user, k.PublicKey().Type(), k.PublicKey().Marshal())
	}
	for name, c := range map[string]struct {
		listed []string
		attack func(r *rawClient, user string)
		want   []string
		reason string
	}{
		"an offer, then the way in without a key": {
			one, func(r *rawClient, user string) { offer(r, user, a); r.interactive(user) }, nil, "no_match",
		},
		"an offer, then gone":          {one, func(r *rawClient, user string) { offer(r, user, a) }, nil, "no_match"},
		"a hundred offers, then gone":  {one, func(r *rawClient, user string) { times(100, func() { offer(r, user, a) }) }, nil, "no_match"},
		"offer A, sign B, both listed": {both, func(r *rawClient, user string) { offer(r, user, a); r.sign(user, b.PublicKey(), b) }, []string{mine.SHA256}, ""},
		"offer B, offer A, sign B, only A listed": {
			one, func(r *rawClient, user string) { offer(r, user, b); offer(r, user, a); r.sign(user, b.PublicKey(), b) }, nil, "no_match",
		},
		"B's signature under A's name": {one, func(r *rawClient, user string) { offer(r, user, a); r.sign(user, a.PublicKey(), b) }, nil, "no_match"},
		"A for another session": {one, func(r *rawClient, user string) {
			other := g.Create(t, "verify", sessionOf(one)).ConnectionIdentifier
			offer(r, user, b)
			if r.sign(other, a.PublicKey(), a) == rawAuthSuccess {
				t.Error("a second user name was taken")
			}
		}, nil, "no_match"},
	} {
		t.Run(name, func(t *testing.T) {
			s := g.Create(t, "verify", sessionOf(c.listed))
			r := rawConnect(t, g)
			c.attack(r, s.ConnectionIdentifier)
			r.close()
			e := attemptOf(t, g, s.ID)
			if e.Reason != c.reason || e.Address != "127.0.0.1" || e.Door != "sshd" {
				t.Errorf("audit log: %+v", e)
			}
			if prints := strings.Join(c.want, " "); e.Detail["fingerprints"] != prints {
				t.Errorf("audit log: fingerprints %q, want %q", e.Detail["fingerprints"], prints)
			}
			if got := provenPrints(g.Session(t, "verify", s.ID)); !slices.Equal(got, c.want) {
				t.Errorf("proven: %v, want %v", got, c.want)
			}
		})
	}
}

func times(n int, do func()) {
	for range n {
		do()
	}
}

// Rules S5, S10 and S11: certificates cannot crash us.
//
// What was broken elsewhere: a server with a certificate checker that lacked a callback died of any
// certificate; others believed certificates of the wrong authority, of the wrong type, or for principals
// that a comma had smuggled in.
// How it is attacked: certificates of every kind that ssh-keygen makes, at upload and on the wire by the
// real client, where the plain key inside is the listed one.
// What must happen: each is refused, nothing is proven, and a second client is served.
func TestAttack_S5_certificates(t *testing.T) {
	t.Parallel()
	peers.Require(t, "ssh", "ssh-keygen")
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	authority, key := gate.NewKey(t, "ed25519"), gate.NewKey(t, "ed25519")
	certify := func(t *testing.T, k gate.KeyFile, args ...string) (path, public string) {
		t.Helper()
		all := slices.Concat([]string{"-q", "-s", authority.Path, "-I", "attack"}, args, []string{k.Path + ".pub"})
		if r := gate.Run(t, exec.Command("ssh-keygen", all...), ""); r.Exit != 0 {
			t.Fatalf("ssh-keygen: %s", r.Stderr)
		}
		path = k.Path + "-cert.pub"
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return path, strings.TrimSpace(string(text))
	}
	for name, args := range map[string][]string{
		"user certificate": {"-n", "ana"}, "host certificate": {"-h", "-n", "example.test"}, "no principals": {},
		"many principals": {"-n", "root,ana,*"}, "expired": {"-V", "20010101:20020101"}, "forced command": {"-O", "force-command=true", "-O", "source-address=0.0.0.0/0"},
		"unknown critical option": {"-O", "critical:x@example.test=1"}, "no touch": {"-O", "no-touch-required"},
	} {
		t.Run(name, func(t *testing.T) {
			path, public := certify(t, key, args...)
			a := g.API(t, "POST", "/api/v1/ssh/verify/sessions/", sessionOf([]string{public}))
			if a.Status != 422 || !strings.Contains(string(a.Body), "SSH certificates are not accepted") {
				t.Errorf("upload: %d %s", a.Status, a.Body)
			}
			s := g.Create(t, "verify", sessionOf([]string{key.Public}))
			onlyCertificate(t, g, s, path, key)
		})
	}
	for _, kind := range []string{"rsa", "ecdsa"} {
		t.Run(kind, func(t *testing.T) {
			k := gate.NewKey(t, kind)
			path, public := certify(t, k, "-n", "ana")
			if a := g.API(t, "POST", "/api/v1/ssh/verify/sessions/", sessionOf([]string{public})); a.Status != 422 {
				t.Errorf("upload: %d %s", a.Status, a.Body)
			}
			onlyCertificate(t, g, g.Create(t, "verify", sessionOf([]string{k.Public})), path, k)
		})
	}
	stillServes(t, g, gate.NewKeys(t, 1)[0])
}

// onlyCertificate tries a certificate alone: the client of our own making would rather sign with the
// plain key as well, as ssh does.
func onlyCertificate(t *testing.T, g *gate.Gate, s gate.Session, path string, key gate.KeyFile) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(certificate.(*ssh.Certificate), key.Signer(t))
	if err != nil {
		t.Fatal(err)
	}
	r := rawConnect(t, g)
	for _, algorithm := range []string{certificate.Type(), key.Signer(t).PublicKey().Type()} {
		if kind := r.offer(s.ConnectionIdentifier, algorithm, certificate.Marshal()); kind != rawAuthFailure {
			t.Errorf("the offer as %s was answered with %d", algorithm, kind)
		}
	}
	if kind := r.sign(s.ConnectionIdentifier, certificate, signer); kind != rawAuthFailure && kind != rawClosed {
		t.Errorf("the signature was answered with %d", kind)
	}
	r.close()
	if e := attemptOf(t, g, s.ID); e.Outcome != "refused" || e.Reason != "no_match" {
		t.Errorf("audit log: %+v", e)
	}
	if s = g.Session(t, "verify", s.ID); s.Status != "failed" || len(provenPrints(s)) != 0 {
		t.Errorf("session %s, proven %v", s.Status, provenPrints(s))
	}
}

// Rule S9: no prefix truncation.
//
// What was broken elsewhere: with ChaCha20-Poly1305, or CBC with encrypt-then-MAC, somebody in the middle
// could cut messages off the beginning of a connection (Terrapin).
// How it is attacked: clients that offer nothing else.
// What must happen: no common cipher, closed, recorded; no session hears of it.
func TestAttack_S9_weak_ciphers_only(t *testing.T) {
	t.Parallel()
	for _, ciphers := range []string{"chacha20-poly1305@openssh.com", "aes128-cbc,aes256-cbc,3des-cbc"} {
		t.Run(ciphers, func(t *testing.T) {
			g := gate.Start(t, gate.Options{})
			r := rawHello(t, g)
			r.write(kexInit(ciphers))
			if kinds := r.ends(); !slices.Equal(kinds, []byte{rawKexInit}) && !slices.Equal(kinds, []byte{rawKexInit, 1}) {
				t.Errorf("it was answered with %v", kinds)
			}
			e := g.AwaitAudited(t, "ssh.negotiate", "refused", "cipher")
			if e.Address != "127.0.0.1" || e.Actor.Kind != "nobody" {
				t.Errorf("audit log: %+v", e)
			}
			key := gate.NewKeys(t, 1)[0]
			s := g.Create(t, "verify", sessionOf([]string{key.Public}))
			args := append(gate.With(key), "-o", "Ciphers="+strings.ReplaceAll(ciphers, ",3des-cbc", ""))
			if r := gate.Run(t, g.SSH(t, s.ConnectionIdentifier, args...), ""); r.Exit != 255 || !strings.Contains(r.Stderr, "no matching cipher") {
				t.Errorf("the real client: exit %d, %s", r.Exit, r.Stderr)
			}
			if s = g.Session(t, "verify", s.ID); s.Status != "pending" || len(s.Connections) != 0 {
				t.Errorf("the session is %s with %d connections", s.Status, len(s.Connections))
			}
			stillServes(t, g, key)
		})
	}
}

// Rule S13: no channel before done.
//
// What was broken elsewhere: a client that announced its own success got a shell (libssh).
// How it is attacked: success, channels and requests out of order, before and amid authentication.
// What must happen: the connection ends, no channel opens, nothing is proven.
func TestAttack_S13_messages_out_of_order(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	key := gate.NewKeys(t, 1)[0]
	public := key.Signer(t).PublicKey()
	channel := ssh.Marshal(struct {
		Kind                 string
		Sender, Window, Size uint32
	}{"session", 0, 1 << 20, 1 << 15})
	for name, attack := range map[string]func(r *rawClient){
		"success": func(r *rawClient) { r.send(rawAuthSuccess, nil); r.send(rawChannelOpen, channel) },
		"channel": func(r *rawClient) { r.send(rawChannelOpen, channel) },
		"service": func(r *rawClient) { r.send(rawServiceRequest, ssh.Marshal(struct{ S string }{"ssh-connection"})) },
		"global request": func(r *rawClient) {
			r.send(rawGlobalRequest, append(ssh.Marshal(struct{ K string }{"tcpip-forward"}), 1))
		},
		"unasked answer":  func(r *rawClient) { r.send(rawInfoAnswer, ssh.Marshal(struct{ N uint32 }{0})) },
		"a new key round": func(r *rawClient) { r.send(rawNewKeys, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := g.Create(t, "verify", sessionOf([]string{key.Public}))
			r := rawConnect(t, g)
			r.offer(s.ConnectionIdentifier, public.Type(), public.Marshal())
			attack(r)
			for _, kind := range r.ends() {
				if kind == rawAuthSuccess || kind == rawChannelOpened || kind == rawRequestSuccess {
					t.Errorf("it was answered with %d", kind)
				}
			}
			if e := attemptOf(t, g, s.ID); e.Outcome != "refused" || e.Reason != "no_match" {
				t.Errorf("audit log: %+v", e)
			}
			if got := provenPrints(g.Session(t, "verify", s.ID)); got != nil {
				t.Errorf("proven: %v", got)
			}
		})
	}
	stillServes(t, g, key)
}

// Rule S14: authorise each channel and request.
//
// What was broken elsewhere: gateways that guarded the shell forgot forwards, subsystems and agents.
// How it is attacked: a person whose key is proven asks the real client for all of them.
// What must happen: only the line with the result comes; a command is not run, a forward leads nowhere.
func TestAttack_S14_everything_but_a_shell(t *testing.T) {
	t.Parallel()
	peers.Require(t, "ssh", "sftp", "ssh-agent")
	g := gate.Start(t, gate.Options{Settings: unlimited()})
	key := gate.NewKeys(t, 1)[0]
	session := func(t *testing.T) gate.Session { return g.Create(t, "verify", sessionOf([]string{key.Public})) }
	recorded := func(t *testing.T, s gate.Session) {
		t.Helper()
		if e := attemptOf(t, g, s.ID); e.Outcome != "done" || e.Detail["fingerprints"] != key.SHA256 {
			t.Errorf("audit log: %+v", e)
		}
	}
	t.Run("a command is not run", func(t *testing.T) {
		s, marker := session(t), filepath.Join(t.TempDir(), "ran")
		cmd := g.SSH(t, s.ConnectionIdentifier, gate.With(key)...)
		cmd.Args = append(cmd.Args, "touch "+marker+"; echo pwned")
		r := gate.Run(t, cmd, "")
		if _, err := os.Stat(marker); err == nil || strings.Contains(r.Stdout, "pwned") || r.Exit != 0 || !strings.Contains(r.Stdout, "Verified with") {
			t.Errorf("exit %d, file: %v\n%s%s", r.Exit, err, r.Stdout, r.Stderr)
		}
		recorded(t, s)
	})
	t.Run("sftp", func(t *testing.T) {
		s := session(t)
		cmd := g.SSH(t, s.ConnectionIdentifier, append(gate.With(key), "-s")...)
		cmd.Args = append(cmd.Args, "sftp")
		if r := gate.Run(t, cmd, ""); r.Exit == 0 || !strings.Contains(r.Stderr, "subsystem request failed") {
			t.Errorf("exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
		recorded(t, s)
	})
	t.Run("forwards and X11", func(t *testing.T) {
		s := g.Create(t, "verify", sessionOf([]string{key.Public}, "must_confirm", true))
		local, remote := strconv.Itoa(peers.Port(t)), strconv.Itoa(peers.Port(t))
		target := gate.Receive(t, "", nil)
		to := strings.TrimSuffix(strings.TrimPrefix(target.URL, "http://"), "/hook")
		cmd := g.SSH(t, s.ConnectionIdentifier, append(gate.With(key), "-T", "-L", "127.0.0.1:"+local+":"+to, "-R", remote+":"+to)...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p := peers.Start(t, cmd)
		peers.Await(t, p, func() error {
			conn, err := net.Dial("tcp", "127.0.0.1:"+local)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET /hook HTTP/1.0\r\n\r\n")
			_ = conn.SetReadDeadline(time.Now().Add(peers.Patience))
			if got, err := io.ReadAll(conn); err == nil && len(got) > 0 {
				t.Errorf("the forward answered %q", got)
			}
			return nil
		})
		if conn, err := net.Dial("tcp", "127.0.0.1:"+remote); err == nil {
			conn.Close()
			t.Error("the door listens for the client")
		}
		_, _ = io.WriteString(in, "y\n")
		if code := p.ExitCode(); code != 0 {
			t.Errorf("exit %d", code)
		}
		if got := target.Got(); len(got) != 0 {
			t.Errorf("the forward carried %d requests", len(got))
		}
		recorded(t, s)
	})
	t.Run("agent", func(t *testing.T) {
		s := session(t)
		cmd := gate.UseAgent(g.SSH(t, s.ConnectionIdentifier, "-A"), gate.Agent(t, key))
		if r := gate.Run(t, cmd, ""); r.Exit != 0 || !strings.Contains(r.Stdout, "You forwarded your agent; this is not needed here.") {
			t.Errorf("exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
		recorded(t, s)
	})
	t.Run("every channel and request by name", func(t *testing.T) { deskRefuses(t, g, key) })
}

// deskRefuses asks for all channel kinds and requests by a client that tells what was answered.
func deskRefuses(t *testing.T, g *gate.Gate, key gate.KeyFile) {
	t.Helper()
	s := g.Create(t, "verify", sessionOf([]string{key.Public}, "must_confirm", true))
	c, err := sshClient(dialFrom(t, "127.0.0.1", g.SSHAddr()), s.ConnectionIdentifier, key.Signer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, kind := range []string{"tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com", "hostkeys-prove-00@openssh.com", "no-more-sessions@openssh.com", ""} {
		if ok, _, err := c.SendRequest(kind, true, nil); ok || err != nil {
			t.Errorf("global request %q: %v, %v", kind, ok, err)
		}
	}
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	for _, kind := range []string{"session", "direct-tcpip", "forwarded-tcpip", "direct-streamlocal@openssh.com", "x11", "auth-agent@openssh.com", "tun@openssh.com", ""} {
		if _, _, err := c.OpenChannel(kind, ssh.Marshal(struct {
			Host string
			Port uint32
			From string
			At   uint32
		}{"127.0.0.1", 22, "127.0.0.1", 1})); err == nil {
			t.Errorf("channel %q was opened", kind)
		}
	}
	for _, kind := range []string{"subsystem", "env", "x11-req", "auth-agent-req@openssh.com", "signal", "break", "eow@openssh.com", ""} {
		if ok, err := channel.SendRequest(kind, true, ssh.Marshal(struct{ A, B string }{"sftp", "x"})); ok || err != nil {
			t.Errorf("request %q: %v, %v", kind, ok, err)
		}
	}
	c.Close()
	if e := attemptOf(t, g, s.ID); e.Reason != "disconnected" {
		t.Errorf("audit log: %+v", e)
	}
}

// Rules S7 and S20: hard limits before login, and a deadline for logging in.
//
// What was broken elsewhere: slow key exchanges, hanging logins and endless key offers held memory and
// places for ever; the signal that was to end them ran code it must not.
// How it is attacked: connections that stop at each stage, names without end, floods of requests.
// What must happen: each is cut off in time, the refusals are recorded, another address is served.
func TestAttack_S7_S20_limits_before_login(t *testing.T) {
	t.Parallel()
	settings := unlimited("ssh.handshake_timeout", "1s")
	g := gate.Start(t, gate.Options{Settings: settings})
	key := gate.NewKeys(t, 1)[0]
	public := key.Signer(t).PublicKey()
	within := func(t *testing.T, least, most time.Duration, run func()) {
		t.Helper()
		began := time.Now() // before the connection, so that the least is what it must have had
		run()
		if after := time.Since(began); after < least || took(began) > most {
			t.Errorf("it ended after %v", after)
		}
	}
	t.Run("silence", func(t *testing.T) {
		within(t, time.Second, 10*time.Second, func() { _, _ = io.Copy(io.Discard, dialFrom(t, "127.0.0.1", g.SSHAddr())) })
	})
	t.Run("a version and nothing more", func(t *testing.T) {
		within(t, time.Second, 10*time.Second, func() { rawHello(t, g).ends() })
		g.AwaitMetric(t, `gatehouse_ssh_handshakes_failed_total{reason="timeout"}`, func(n float64) bool { return n >= 2 })
	})
	t.Run("a version byte by byte", func(t *testing.T) {
		within(t, time.Second, 10*time.Second, func() {
			for conn := dialFrom(t, "127.0.0.1", g.SSHAddr()); ; {
				if _, err := conn.Write([]byte("S")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond) // slowness is the attack
			}
		})
	})
	again := func(handshake, auth string) { // who is not to be cut off has the usual times
		g.Stop(t)
		settings["ssh.handshake_timeout"], settings["ssh.auth_timeout"], settings["ssh.unauthenticated_per_address"] = handshake, auth, "5"
		g.Serve(t)
	}
	again("20s", "5s")
	t.Run("a login that hangs", func(t *testing.T) {
		s := g.Create(t, "verify", sessionOf([]string{key.Public}))
		within(t, 5*time.Second, 15*time.Second, func() {
			r := rawConnect(t, g)
			r.offer(s.ConnectionIdentifier, public.Type(), public.Marshal())
			r.ends()
		})
		if e := attemptOf(t, g, s.ID); e.Reason != "no_match" {
			t.Errorf("audit log: %+v", e)
		}
	})
	again("20s", "120s")
	for name, c := range map[string]struct {
		user, reason string
		most         int // answers
	}{
		"six failures where there is no door": {"no/body", "no door", 6},
		"keys of nobody":                      {"root", "no such key", 32 + 6}, // a person has many keys in their agent, and nothing was signed
	} {
		t.Run(name, func(t *testing.T) {
			r := rawConnect(t, g)
			n := 0
			for ; n < 100 && r.offer(c.user, public.Type(), public.Marshal()) == rawAuthFailure; n++ {
			}
			if n > c.most {
				t.Errorf("%d offers were answered", n)
			}
			if e := g.AwaitAudited(t, "ssh.login", "refused", c.reason); e.Address != "127.0.0.1" {
				t.Errorf("audit log: %+v", e)
			}
		})
	}
	t.Run("floods after login", func(t *testing.T) {
		s := g.Create(t, "verify", sessionOf([]string{key.Public}, "must_confirm", true))
		c, err := sshClient(dialFrom(t, "127.0.0.1", g.SSHAddr()), s.ConnectionIdentifier, key.Signer(t))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sent := 0
		for ; sent < 100_000; sent++ {
			if _, _, err := c.SendRequest("flood", false, nil); err != nil {
				break
			}
		}
		if sent == 100_000 {
			t.Error("a flood of global requests was let through")
		}
		if e := attemptOf(t, g, s.ID); e.Reason != "disconnected" {
			t.Errorf("audit log: %+v", e)
		}
	})
	t.Run("too many from one address", func(t *testing.T) {
		var silent []net.Conn
		for range 5 {
			silent = append(silent, dialFrom(t, "127.0.0.7", g.SSHAddr()))
		}
		for _, c := range silent { // the banner shows that each has its place
			if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if n, _ := dialFrom(t, "127.0.0.7", g.SSHAddr()).Read(make([]byte, 8)); n != 0 {
				t.Error("the sixth connection was answered")
			}
		}
		stillServes(t, g, key) // from 127.0.0.1
		if e := g.AwaitAudited(t, "ssh.connect", "refused", "too many"); e.Address != "127.0.0.7" {
			t.Errorf("audit log: %+v", e)
		}
	})
	g.Stop(t) // stores what was folded
	var counted int
	for _, e := range g.Audited(t, "ssh.connect") {
		if e.Count > 0 {
			counted += e.Count
		}
	}
	if counted != 2 {
		t.Errorf("of three connections too many one is an event and %d are counted, not 2", counted)
	}
}

// Rule S19: accept() only accepts.
//
// What was broken elsewhere: a listener read PROXY headers and handshakes in its accept loop, so that one
// client that said nothing kept all others out.
// How it is attacked: 100 connections to each listener, with PROXY protocol expected, that send nothing.
// What must happen: a good client of another address is served in under a second.
func TestAttack_S19_silent_clients(t *testing.T) {
	t.Parallel()
	g := gate.Start(t, gate.Options{Settings: unlimited("proxy_protocol_from", "127.0.0.3,127.0.0.4")})
	key := gate.NewKeys(t, 1)[0]
	for range 100 {
		dialFrom(t, "127.0.0.3", g.SSHAddr())
		dialFrom(t, "127.0.0.3", strings.TrimPrefix(g.URL, "http://"))
	}
	var s gate.Session
	promptly(t, "SSH", func() {
		s = g.Create(t, "verify", sessionOf([]string{key.Public}))
		c, err := sshClient(dialFrom(t, "127.0.0.2", g.SSHAddr()), s.ConnectionIdentifier, key.Signer(t))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	promptly(t, "HTTP", func() {
		if a := g.API(t, "GET", "/api/v1/auth/info", nil); a.Status != 200 {
			t.Errorf("HTTP: %d", a.Status)
		}
	})
	if e := attemptOf(t, g, s.ID); e.Outcome != "done" || e.Address != "127.0.0.2" {
		t.Errorf("audit log: %+v", e)
	}
}

// sshClient authenticates over a connection with the library's client. It checks no host key: the door
// knows nothing that is worth hiding from it.
func sshClient(conn net.Conn, user string, keys ...ssh.Signer) (*ssh.Client, error) {
	c, channels, requests, err := ssh.NewClientConn(conn, "gate", &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(keys...), ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return nil, nil })},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
	})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// proveFrom proves keys over one connection from a loopback address and returns what the person reads and
// the exit status; -1 where the connection was lost.
func proveFrom(tb testing.TB, g *gate.Gate, from, user string, keys ...ssh.Signer) (string, int) {
	tb.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 2 * peers.Patience}).Dial("tcp", g.SSHAddr())
	if err != nil {
		return err.Error(), -1
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * peers.Patience))
	return proveOver(conn, user, keys...)
}

// proveOver is proveFrom over a connection that is there already.
func proveOver(conn net.Conn, user string, keys ...ssh.Signer) (string, int) {
	c, err := sshClient(conn, user, keys...)
	if err != nil {
		return err.Error(), -1
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		return err.Error(), -1
	}
	out, err := s.Output("")
	switch exit, ok := err.(*ssh.ExitError); { //nolint:errorlint // the library returns it bare
	case ok:
		return string(out), exit.ExitStatus()
	case err != nil:
		return string(out) + err.Error(), -1
	}
	return string(out), 0
}

// memoryKeys makes keys in memory.
func memoryKeys(tb testing.TB, n int) (keys []ssh.Signer, lines []string) {
	tb.Helper()
	for range n {
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			tb.Fatal(err)
		}
		key, err := ssh.NewSignerFromKey(private)
		if err != nil {
			tb.Fatal(err)
		}
		keys, lines = append(keys, key), append(lines, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))))
	}
	return keys, lines
}
