package sshd_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/sshd"
)

// authenticator is a security key in software, with flags as a test wants them. It takes an ed25519
// or an ECDSA key for sk-ssh-ed25519@openssh.com or sk-ecdsa-sha2-nistp256@openssh.com.
type authenticator struct {
	private any
	public  ssh.PublicKey
	flags   byte
}

const application = "ssh:"

func newAuthenticator(t *testing.T, kind string, flags byte) *authenticator {
	t.Helper()
	a := &authenticator{flags: flags}
	var blob []byte
	if kind == ssh.KeyAlgoSKED25519 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		a.private = private
		blob = ssh.Marshal(struct {
			Name        string
			Key         []byte
			Application string
		}{kind, public, application})
	} else {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		a.private = private
		point, err := private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		blob = ssh.Marshal(struct {
			Name, Curve string
			Key         []byte
			Application string
		}{kind, "nistp256", point, application})
	}
	var err error
	if a.public, err = ssh.ParsePublicKey(blob); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authenticator) PublicKey() ssh.PublicKey { return a.public }

// Sign signs as a FIDO authenticator does (PROTOCOL.u2f of OpenSSH).
func (a *authenticator) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	app, message := sha256.Sum256([]byte(application)), sha256.Sum256(data)
	trailer := struct {
		Flags   byte
		Counter uint32
	}{a.flags, 7}
	signed := append(append(app[:], ssh.Marshal(trailer)...), message[:]...)
	signature := &ssh.Signature{Format: a.public.Type(), Rest: ssh.Marshal(trailer)}
	switch k := a.private.(type) {
	case ed25519.PrivateKey:
		signature.Blob = ed25519.Sign(k, signed)
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(signed)
		r, s, err := ecdsa.Sign(random, k, digest[:])
		if err != nil {
			return nil, err
		}
		signature.Blob = ssh.Marshal(struct{ R, S *big.Int }{r, s})
	}
	return signature, nil
}

// Rule S4: a security key proves nothing unless somebody touched it.
func TestSecurity_key_needs_a_touch(t *testing.T) {
	t.Parallel()
	d := open(t)
	const present, verified = 0x01, 0x04
	for _, kind := range []string{ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256} {
		for flags, want := range map[byte]byte{present: msgAuthSuccess, present | verified: msgAuthSuccess, 0: msgClosed, verified: msgClosed} {
			t.Run(fmt.Sprintf("%s flags %#x", kind, flags), func(t *testing.T) {
				key := newAuthenticator(t, kind, flags)
				s := d.verify(t, keyproof.Options{}, key.PublicKey())
				r := handshake(t, d)
				if got := r.query(s.Identifier, key.PublicKey()); got != msgAuthKeyOK {
					t.Fatalf("the offer was answered with %d", got)
				}
				if got := r.sign(s.Identifier, key); got != want {
					t.Errorf("the signature was answered with %d, want %d", got, want)
				}
				r.close()
				d.closed(t)
				if want == msgAuthSuccess {
					d.want(t, s, keyproof.Verified, 0, key.PublicKey())
				} else {
					d.want(t, s, keyproof.Failed, 1)
				}
			})
		}
	}
}

// Rules S5, S10 and S11: certificates of every kind are refused on the wire, hostile ones too, even
// where the plain key in them is listed; then a good client comes in as if nothing had been.
func TestCertificates_are_refused(t *testing.T) {
	t.Parallel()
	d := open(t)
	key, authority := newED(), newED()
	make := func(change func(*ssh.Certificate)) *ssh.Certificate {
		c := &ssh.Certificate{
			Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "id", ValidPrincipals: []string{"ana"},
			ValidBefore: ssh.CertTimeInfinity,
		}
		change(c)
		if err := c.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		return c
	}
	good := make(func(*ssh.Certificate) {})
	certificates := map[string]*ssh.Certificate{
		"user certificate":       good,
		"host certificate":       make(func(c *ssh.Certificate) { c.CertType = ssh.HostCert }),
		"certificate of no type": make(func(c *ssh.Certificate) { c.CertType = 7 }),
		"no principals":          make(func(c *ssh.Certificate) { c.ValidPrincipals = nil }),
		"odd principals":         make(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"", "a,b", "a b", "a\x00b", "\n"} }),
		"expired":                make(func(c *ssh.Certificate) { c.ValidBefore = 1 }),
		"no touch required": make(func(c *ssh.Certificate) {
			c.Extensions = map[string]string{"no-touch-required": ""}
		}),
		"source address": make(func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": "", "force-command": "x"}
		}),
	}
	s := d.verify(t, keyproof.Options{MaxAttempts: 1000}, key.PublicKey())
	for name, c := range certificates {
		t.Run(name, func(t *testing.T) {
			r := handshake(t, d)
			for _, algorithm := range []string{c.Type(), ssh.KeyAlgoED25519} {
				if kind := r.queryAs(s.Identifier, algorithm, c.Marshal()); kind != msgAuthFailure {
					t.Errorf("the offer as %s was answered with %d", algorithm, kind)
				}
			}
			signer, err := ssh.NewCertSigner(c, key)
			if err != nil {
				t.Fatal(err)
			}
			if kind := r.sign(s.Identifier, signer); kind == msgAuthSuccess || kind == msgAuthKeyOK {
				t.Errorf("the signature was answered with %d", kind)
			}
			r.close()
			if o := d.closed(t); o != string(keyproof.NoMatch) {
				t.Errorf("outcome %s", o)
			}
		})
	}
	t.Run("nested and broken ones", func(t *testing.T) {
		blob := good.Marshal()
		nested := ssh.Marshal(struct {
			Name                                                    string
			Nonce, Key                                              []byte
			Serial                                                  uint64
			Type                                                    uint32
			ID                                                      string
			Principals                                              []byte
			After, Before                                           uint64
			Critical, Extensions, Reserved, SignatureKey, Signature []byte
		}{Name: good.Type(), Nonce: blob[:32], Key: key.PublicKey().Marshal()[15+8:], SignatureKey: blob, Signature: blob})
		for i, b := range [][]byte{nested, blob[:len(blob)/2], blob[:20], append(blob, 1), []byte(good.Type())} {
			r := handshake(t, d)
			if kind := r.queryAs(s.Identifier, good.Type(), b); kind != msgAuthFailure && kind != msgClosed {
				t.Errorf("blob %d was answered with %d", i, kind)
			}
			r.close()
			d.closed(t)
		}
	})
	if v := d.login(t, s.Identifier, "", key); v.exit != 0 || v.err != nil {
		t.Errorf("a good client afterwards: %+v", v)
	}
	c := d.collect(t, keyproof.Options{MultiKey: true})
	r := handshake(t, d)
	r.queryAs(c.Identifier, good.Type(), good.Marshal())
	r.interactive(c.Identifier)
	r.close()
	d.closed(t)
	d.closed(t)
	d.want(t, c, keyproof.Pending, 0)
}

// Rule S6: keys of odd sizes and types are refused fast, offered or signed.
func TestKey_sizes_on_the_wire(t *testing.T) {
	t.Parallel()
	d := open(t)
	s := d.collect(t, keyproof.Options{MultiKey: true})
	small := newRSA(1024)
	modulus := func(bits uint) []byte {
		n := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits-1), big.NewInt(1))
		return ssh.Marshal(struct {
			Name string
			E, N *big.Int
		}{ssh.KeyAlgoRSA, big.NewInt(65537), n})
	}
	one := big.NewInt(1)
	dsa := ssh.Marshal(struct {
		Name       string
		P, Q, G, Y *big.Int
	}{"ssh-dss", one, one, one, one})
	begun := time.Now()
	for name, blob := range map[string][]byte{
		"RSA of 1024 bits": small.PublicKey().Marshal(), "RSA of 2047 bits": modulus(2047), "RSA of 8193 bits": modulus(8193),
		"RSA of 16384 bits": modulus(16384), "RSA of 200,000 bits": modulus(200_000), "DSA": dsa,
	} {
		for _, algorithm := range []string{ssh.KeyAlgoRSASHA512, "ssh-rsa", "ssh-dss", ssh.KeyAlgoED25519} {
			r := handshake(t, d)
			if kind := r.queryAs(s.Identifier, algorithm, blob); kind != msgAuthFailure {
				t.Errorf("%s as %s was answered with %d", name, algorithm, kind)
			}
			forged := ssh.Marshal(publicKey{
				Signed: true, Algorithm: algorithm, Blob: blob,
				Rest: ssh.Marshal(struct{ S []byte }{ssh.Marshal(ssh.Signature{Format: algorithm, Blob: blob[len(blob)-min(len(blob), 2048):]})}),
			})
			if kind := r.request(s.Identifier, "publickey", forged); kind != msgAuthFailure && kind != msgClosed {
				t.Errorf("%s signed as %s was answered with %d", name, algorithm, kind)
			}
			r.close()
			if o := d.closed(t); o != string(keyproof.NoMatch) { // nothing that a collect session records
				t.Errorf("outcome %s", o)
			}
		}
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	r := handshake(t, d)
	if kind := r.sign(s.Identifier, small); kind != msgAuthFailure {
		t.Errorf("a good signature of a small key was answered with %d", kind)
	}
	r.close()
	d.closed(t)
	for _, c := range d.now(t, s).Connections {
		if len(c.Keys) != 0 {
			t.Errorf("recorded: %v", c.Keys)
		}
	}
}

// Rules S7 and S19: a hundred connections that say nothing occupy the places of their own address only,
// and keep nobody waiting.
func TestSilent_connections(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	var s keyproof.Session
	silent := make([]net.Conn, 100)
	for i := range silent {
		silent[i] = dialTCP(t, d, "127.0.0.1")
	}
	took, tries := time.Hour, 0
	for ; took > time.Second && tries < 5; tries++ { // who waits for a silent client waits each time
		s = d.verify(t, keyproof.Options{}, key.PublicKey())
		begun := time.Now()
		conn := dialTCP(t, d, "127.0.0.2")
		var banner strings.Builder
		sc, chans, reqs, err := ssh.NewClientConn(conn, d.addr, client(s.Identifier, &banner, key))
		if err != nil {
			t.Fatalf("a good client from another address: %v", err)
		}
		took = time.Since(begun)
		ssh.NewClient(sc, chans, reqs).Close()
	}
	if took > time.Second {
		t.Errorf("a good client had to wait %v", took)
	}
	for range 100 - 20 {
		if o := d.closed(t); o != "too_many" && o != "proven" {
			t.Errorf("outcome %s", o)
		}
	}
	for _, c := range silent {
		c.Close()
	}
	for range 20 + tries {
		d.closed(t)
	}
	d.want(t, s, keyproof.Verified, 0, key.PublicKey())
	if n := d.server.Unauthenticated(); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
	if v := d.login(t, d.verify(t, keyproof.Options{}, key.PublicKey()).Identifier, "", key); v.err != nil {
		t.Errorf("afterwards: %v", v.err)
	}
}

// Rule S7: there is a cap on all addresses together, and who has authenticated does not count.
func TestTotal_of_unauthenticated_connections(t *testing.T) {
	t.Parallel()
	d := open(t, func(l *sshd.Limits) { l.Total = 3 })
	key := newED()
	s := d.verify(t, keyproof.Options{MustConfirm: true, MultiConnection: true}, key.PublicKey())
	for range 3 { // these wait for y
		visitor(t, d, s.Identifier, key)
	}
	for d.server.Unauthenticated() > 0 { // the client hears of its success first
		runtime.Gosched()
	}
	var idle []net.Conn
	for i := range 3 {
		idle = append(idle, dialTCP(t, d, fmt.Sprintf("127.0.0.%d", 3+i)))
		if _, err := io.ReadFull(idle[i], make([]byte, 8)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	late := dialTCP(t, d, "127.0.0.9")
	if n, err := late.Read(make([]byte, 8)); n != 0 || err == nil {
		t.Errorf("connection 4 was answered: %d bytes, %v", n, err)
	}
	if o := d.closed(t); o != "too_many" {
		t.Errorf("outcome %s", o)
	}
}

// Rule S13: whatever the client claims, nothing is served before authentication has ended.
func TestMessages_out_of_order(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{}, key.PublicKey())
	channelOpen := ssh.Marshal(struct {
		Kind                 string
		Sender, Window, Size uint32
	}{"session", 0, 1 << 20, 1 << 15})
	global := ssh.Marshal(struct {
		Kind string
		Want bool
	}{"keepalive@openssh.com", true})
	messages := map[string]func(*raw){
		"channel open":    func(r *raw) { r.send(msgChannelOpen, channelOpen) },
		"global request":  func(r *raw) { r.send(msgGlobalRequest, global) },
		"success":         func(r *raw) { r.send(msgAuthSuccess, nil); r.send(msgChannelOpen, channelOpen) },
		"channel request": func(r *raw) { r.send(msgChannelRequest, ssh.Marshal(struct{ N uint32 }{0})) },
		"another service": func(r *raw) { r.send(msgServiceRequest, ssh.Marshal(struct{ S string }{"ssh-connection"})) },
		"answer without a question": func(r *raw) {
			r.send(msgAuthInfoAnswer, ssh.Marshal(struct{ N uint32 }{0}))
		},
		"number 255": func(r *raw) { r.send(255, nil) },
	}
	stages := map[string]func(*testing.T) *raw{
		"before the service":       func(t *testing.T) *raw { return keyed(t, d, rawVersion) },
		"before the first request": func(t *testing.T) *raw { return handshake(t, d) },
		"after an offer": func(t *testing.T) *raw {
			r := handshake(t, d)
			r.query(s.Identifier, key.PublicKey())
			return r
		},
	}
	for stage, reach := range stages {
		for name, send := range messages {
			s = d.verify(t, keyproof.Options{}, key.PublicKey())
			r := reach(t)
			send(r)
			for {
				kind, _ := r.receive()
				if kind == msgClosed {
					break
				}
				if kind == msgChannelOpen+1 || kind == msgChannelOpenFail || kind == msgRequestFailure || kind == msgAuthSuccess {
					t.Errorf("%s %s was answered with %d", name, stage, kind)
					break
				}
			}
			r.close()
			d.closed(t)
			if is := d.now(t, s); is.Status == keyproof.Verified {
				t.Errorf("%s %s: verified", name, stage)
			}
		}
	}
	t.Run("a channel instead of the signature that is awaited", func(t *testing.T) {
		s := d.verify(t, keyproof.Options{}, key.PublicKey())
		r := handshake(t, d)
		r.send(msgAuthRequest, ssh.Marshal(authRequest{s.Identifier, "ssh-connection", "keyboard-interactive", ssh.Marshal(struct{ L, S string }{})}))
		if kind, _ := r.receive(); kind != msgAuthKeyOK {
			t.Fatalf("answered with %d", kind)
		}
		r.send(msgChannelOpen, channelOpen)
		if kind, _ := r.receive(); kind != msgAuthFailure && kind != msgClosed {
			t.Errorf("answered with %d", kind)
		}
		r.close()
		d.closed(t)
	})
}

// Rule S20: whoever hangs is closed when the time is up, at every stage.
func TestHanging_logins(t *testing.T) {
	t.Parallel()
	d := open(t, func(l *sshd.Limits) {
		l.Handshake, l.Auth, l.Connection = 4*time.Second, 5*time.Second, 6*time.Second // those that get further must get there in time
		l.Channel, l.Confirm = time.Hour, time.Hour
	})
	limits := d.server.Limits
	key := newED()
	s := d.verify(t, keyproof.Options{MustConfirm: true, MaxAttempts: 100}, key.PublicKey())
	hangs := []struct {
		name  string
		least time.Duration
		reach func() *raw
		took  chan time.Duration
	}{
		{name: "silent", least: limits.Handshake, reach: func() *raw {
			r := &raw{t: t, conn: dialTCP(t, d, "127.0.0.1")}
			r.in = newReader(r.conn)
			return r
		}},
		{name: "after the version", least: limits.Handshake, reach: func() *raw { return hello(t, d, rawVersion) }},
		{name: "after the keys", least: limits.Handshake, reach: func() *raw { return keyed(t, d, rawVersion) }},
		{name: "before a request", least: limits.Auth, reach: func() *raw { return handshake(t, d) }},
		{name: "after an offer", least: limits.Auth, reach: func() *raw { r := handshake(t, d); r.query(s.Identifier, key.PublicKey()); return r }},
		{name: "after authentication", least: limits.Connection, reach: func() *raw {
			r := handshake(t, d)
			if kind := r.sign(s.Identifier, key); kind != msgAuthSuccess {
				t.Errorf("answered with %d", kind)
			}
			return r
		}},
	}
	for i := range hangs { // all at once: each takes seconds
		begun, took := time.Now(), make(chan time.Duration, 1)
		hangs[i].took = took
		r := hangs[i].reach()
		go func() {
			_, _ = io.Copy(io.Discard, r.in)
			took <- time.Since(begun)
		}()
	}
	for _, hang := range hangs {
		if took := <-hang.took; took < hang.least || took > patience {
			t.Errorf("%s: closed after %v", hang.name, took)
		}
		d.closed(t)
	}
	if n := d.server.Unauthenticated(); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

// Rule S7: who floods an authenticated connection with requests or channels loses it.
func TestFloods(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	for name, flood := range map[string]func(*ssh.Client) error{
		"global requests": func(c *ssh.Client) error { _, _, err := c.SendRequest("x", true, nil); return err },
		"requests that want no answer": func(c *ssh.Client) error {
			_, _, err := c.SendRequest("x", false, make([]byte, 1024))
			return err
		},
		"channels": func(c *ssh.Client) error {
			_, _, err := c.OpenChannel("direct-tcpip", nil)
			var refused *ssh.OpenChannelError
			if asError(err, &refused) {
				return nil
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := d.verify(t, keyproof.Options{MustConfirm: true}, key.PublicKey())
			c := visitor(t, d, s.Identifier, key)
			var err error
			for n := 0; err == nil && n < 1_000_000; n++ {
				err = flood(c)
			}
			if err == nil {
				t.Error("the flood was never stopped")
			}
			d.closed(t)
		})
	}
}

// Rule S5: a panic ends its own connection and no other.
func TestPanic_ends_one_connection(t *testing.T) {
	t.Parallel()
	d := open(t)
	key := newED()
	s := d.verify(t, keyproof.Options{}, key.PublicKey())
	d.store.panics.Store(true)
	r := handshake(t, d)
	r.send(msgAuthRequest, ssh.Marshal(authRequest{s.Identifier, "ssh-connection", "none", nil}))
	r.closed()
	if o := d.closed(t); o != "failed" || !strings.Contains(d.log.String(), "planted panic") {
		t.Errorf("outcome %s", o)
	}
	d.store.panics.Store(false)
	if v := d.login(t, s.Identifier, "", key); v.err != nil || v.exit != 0 {
		t.Errorf("the next client: %+v", v)
	}
}
