package sshd_test

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// raw is an SSH client that sends whatever a test wants, in whatever order: the library's client is too
// well-behaved. It knows one key exchange and one cipher, and no strict key exchange.
type raw struct {
	t       testing.TB
	conn    net.Conn
	in      *bufio.Reader
	session []byte
	seal    *gcm // nil before the keys are there
	open    *gcm
	banners string
}

// Message numbers (RFC 4250 section 4.1.2).
const (
	msgDisconnect      = 1
	msgIgnore          = 2
	msgServiceRequest  = 5
	msgServiceAccept   = 6
	msgExtInfo         = 7
	msgKexInit         = 20
	msgNewKeys         = 21
	msgKexECDHInit     = 30
	msgKexECDHReply    = 31
	msgAuthRequest     = 50
	msgAuthFailure     = 51
	msgAuthSuccess     = 52
	msgAuthBanner      = 53
	msgAuthKeyOK       = 60 // and keyboard-interactive's question
	msgAuthInfoAnswer  = 61
	msgGlobalRequest   = 80
	msgRequestFailure  = 82
	msgChannelOpen     = 90
	msgChannelOpenFail = 92
	msgChannelRequest  = 98
	msgClosed          = 0 // not a number of SSH: the door has closed the connection
)

type gcm struct {
	aead cipher.AEAD
	iv   []byte
}

func (g *gcm) next() []byte {
	nonce := bytes.Clone(g.iv)
	binary.BigEndian.PutUint64(g.iv[4:], binary.BigEndian.Uint64(g.iv[4:])+1)
	return nonce
}

// dialTCP connects to the door from a loopback address.
func dialTCP(t testing.TB, d *door, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := dialer.DialContext(t.Context(), "tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

const rawVersion = "SSH-2.0-raw"

// hello exchanges versions.
func hello(t testing.TB, d *door, version string) *raw {
	t.Helper()
	r := &raw{t: t, conn: dialTCP(t, d, "127.0.0.1")}
	r.in = newReader(r.conn)
	if _, err := io.WriteString(r.conn, version+"\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := r.in.ReadString('\n')
	if err != nil || line != "SSH-2.0-Gatehouse\r\n" {
		t.Fatalf("version %q, %v", line, err)
	}
	return r
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReader(conn) }

// kexInit is what this client offers.
func kexInit(ciphers string) []byte {
	m := struct {
		Cookie                                         [16]byte
		Kex, HostKey, CipherCS, CipherSC, MACCS, MACSC string
		CompressCS, CompressSC, LanguageCS, LanguageSC string
		Follows                                        bool
		Reserved                                       uint32
	}{
		Kex: "curve25519-sha256", HostKey: "ssh-ed25519", CipherCS: ciphers, CipherSC: ciphers,
		MACCS: "hmac-sha2-256", MACSC: "hmac-sha2-256", CompressCS: "none", CompressSC: "none",
	}
	return append([]byte{msgKexInit}, ssh.Marshal(m)...)
}

// handshake does version and key exchange and asks for the authentication service.
func handshake(t testing.TB, d *door) *raw {
	t.Helper()
	r := keyed(t, d, rawVersion)
	r.send(msgServiceRequest, ssh.Marshal(struct{ S string }{"ssh-userauth"}))
	if kind, _ := r.receive(); kind != msgServiceAccept {
		t.Fatalf("message %d instead of service accept", kind)
	}
	return r
}

// keyed does version and key exchange (RFC 4253 sections 7 and 8, RFC 8731).
func keyed(t testing.TB, d *door, version string) *raw {
	t.Helper()
	r := hello(t, d, version)
	mine := kexInit("aes128-gcm@openssh.com")
	r.write(mine)
	theirs := r.read()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := private.PublicKey().Bytes()
	r.send(msgKexECDHInit, ssh.Marshal(struct{ Q []byte }{point}))
	packet := r.read()
	var reply struct {
		HostKey, Q, Signature []byte
	}
	if packet[0] != msgKexECDHReply || ssh.Unmarshal(packet[1:], &reply) != nil {
		t.Fatalf("key exchange reply: %d", packet[0])
	}
	public, err := ecdh.X25519().NewPublicKey(reply.Q)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := private.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	k := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)})
	h := sha256.Sum256(append(ssh.Marshal(struct {
		VC, VS             string
		IC, IS, KS, QC, QS []byte
	}{
		version, "SSH-2.0-Gatehouse", mine, theirs, reply.HostKey, point, reply.Q,
	}), k...))
	r.session = h[:]
	r.send(msgNewKeys, nil)
	if packet := r.read(); packet[0] != msgNewKeys {
		t.Fatalf("message %d instead of new keys", packet[0])
	}
	derive := func(letter byte) []byte {
		sum := sha256.Sum256(bytes.Join([][]byte{k, h[:], {letter}, h[:]}, nil))
		return sum[:]
	}
	newGCM := func(iv, key byte) *gcm {
		block, _ := aes.NewCipher(derive(key)[:16])
		aead, _ := cipher.NewGCM(block)
		return &gcm{aead, derive(iv)[:12]}
	}
	r.seal, r.open = newGCM('A', 'C'), newGCM('B', 'D')
	return r
}

func (r *raw) send(kind byte, payload []byte) { r.write(append([]byte{kind}, payload...)) }

// write sends a packet (RFC 4253 section 6, RFC 5647). The door may have closed: reading tells.
func (r *raw) write(payload []byte) {
	block, head := 8, 5
	if r.seal != nil {
		block, head = 16, 1 // the length is not encrypted
	}
	padding := block - (head+len(payload))%block
	if padding < 4 {
		padding += block
	}
	length := make([]byte, 4)
	binary.BigEndian.PutUint32(length, uint32(1+len(payload)+padding))
	body := append([]byte{byte(padding)}, payload...)
	body = append(body, make([]byte, padding)...)
	if r.seal != nil {
		body = r.seal.aead.Seal(nil, r.seal.next(), body, length)
	}
	_, _ = r.conn.Write(append(length, body...))
}

// read returns the next packet, and an empty one when the door has closed.
func (r *raw) read() []byte {
	r.t.Helper()
	length := make([]byte, 4)
	if _, err := io.ReadFull(r.in, length); err != nil {
		return []byte{msgClosed}
	}
	n := int(binary.BigEndian.Uint32(length))
	if r.open != nil {
		n += r.open.aead.Overhead()
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r.in, body); err != nil {
		return []byte{msgClosed}
	}
	if r.open != nil {
		var err error
		if body, err = r.open.aead.Open(nil, r.open.next(), body, length); err != nil {
			r.t.Fatalf("packet does not open: %v", err)
		}
	}
	return body[1 : len(body)-int(body[0])]
}

// receive returns the next message that is no banner and no extension info.
func (r *raw) receive() (kind byte, payload []byte) {
	r.t.Helper()
	for {
		packet := r.read()
		switch packet[0] {
		case msgAuthBanner:
			var m struct{ Text, Language string }
			_ = ssh.Unmarshal(packet[1:], &m)
			r.banners += m.Text
		case msgExtInfo, msgIgnore:
		default:
			return packet[0], packet[1:]
		}
	}
}

// closed checks that the door closes the connection, whatever it says before.
func (r *raw) closed() {
	r.t.Helper()
	for range 1000 {
		if kind, _ := r.receive(); kind == msgClosed {
			return
		}
	}
	r.t.Error("the door goes on answering")
}

// close ends the connection.
func (r *raw) close() { r.conn.Close() }

type authRequest struct {
	User, Service, Method string
	Rest                  []byte `ssh:"rest"`
}

// request sends an authentication request and returns the kind of the answer.
func (r *raw) request(user, method string, rest []byte) byte {
	r.t.Helper()
	r.send(msgAuthRequest, ssh.Marshal(authRequest{user, "ssh-connection", method, rest}))
	kind, _ := r.receive()
	return kind
}

type publicKey struct {
	Signed    bool
	Algorithm string
	Blob      []byte
	Rest      []byte `ssh:"rest"`
}

// algorithm is the signature algorithm for a key: the door takes no SHA-1.
func algorithm(k ssh.PublicKey) string {
	if k.Type() == ssh.KeyAlgoRSA {
		return ssh.KeyAlgoRSASHA512
	}
	return k.Type()
}

// query offers a key without a signature.
func (r *raw) query(user string, k ssh.PublicKey) byte {
	r.t.Helper()
	return r.queryAs(user, algorithm(k), k.Marshal())
}

func (r *raw) queryAs(user, algorithm string, blob []byte) byte {
	r.t.Helper()
	return r.request(user, "publickey", ssh.Marshal(publicKey{Algorithm: algorithm, Blob: blob}))
}

// sign sends a signed request for a key.
func (r *raw) sign(user string, s ssh.Signer) byte {
	r.t.Helper()
	return r.signAs(user, s.PublicKey(), s)
}

// signAs names one key and signs with another.
func (r *raw) signAs(user string, named ssh.PublicKey, s ssh.Signer) byte {
	r.t.Helper()
	p := publicKey{Signed: true, Algorithm: algorithm(named), Blob: named.Marshal()}
	data := append(ssh.Marshal(struct{ Session []byte }{r.session}), msgAuthRequest)
	data = append(data, ssh.Marshal(authRequest{user, "ssh-connection", "publickey", ssh.Marshal(p)})...)
	signature, err := sign(s, data)
	if err != nil {
		r.t.Fatal(err)
	}
	p.Rest = ssh.Marshal(struct{ Signature []byte }{ssh.Marshal(signature)})
	return r.request(user, "publickey", ssh.Marshal(p))
}

func sign(s ssh.Signer, data []byte) (*ssh.Signature, error) {
	if as, ok := s.(ssh.AlgorithmSigner); ok && s.PublicKey().Type() == ssh.KeyAlgoRSA {
		return as.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
	}
	return s.Sign(rand.Reader, data)
}

// interactive asks for keyboard-interactive, answers the question without prompts, and returns the kind
// of the last answer.
func (r *raw) interactive(user string) byte {
	r.t.Helper()
	r.send(msgAuthRequest, ssh.Marshal(authRequest{user, "ssh-connection", "keyboard-interactive", ssh.Marshal(struct{ L, S string }{})}))
	kind, payload := r.receive()
	if kind != msgAuthKeyOK {
		return kind
	}
	var q struct {
		Name, Instruction, Language string
		Prompts                     uint32
		Rest                        []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(payload, &q); err != nil || q.Prompts != 0 || q.Name+q.Instruction != "" {
		r.t.Errorf("keyboard-interactive asks: %+v, %v", q, err)
	}
	r.send(msgAuthInfoAnswer, ssh.Marshal(struct{ N uint32 }{0}))
	kind, _ = r.receive()
	return kind
}

// Rule S9: the door lists AES-GCM and AES-CTR only, strict key exchange, and no SHA-1.
func TestAlgorithms_offered(t *testing.T) {
	t.Parallel()
	d := open(t)
	r := hello(t, d, rawVersion)
	r.write(kexInit("aes128-gcm@openssh.com"))
	packet := r.read()
	var m struct {
		Cookie                                                           [16]byte
		Kex, HostKey, CipherCS, CipherSC, MACCS, MACSC, CompressCS, Rest string
		More                                                             []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(packet[1:], &m); err != nil {
		t.Fatal(err)
	}
	const ciphers = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr"
	if m.CipherCS != ciphers || m.CipherSC != ciphers {
		t.Errorf("ciphers %s and %s", m.CipherCS, m.CipherSC)
	}
	if !strings.HasPrefix(m.Kex, "mlkem768x25519-sha256,curve25519-sha256") || !strings.Contains(m.Kex, "kex-strict-s-v00@openssh.com") {
		t.Errorf("key exchanges %s", m.Kex)
	}
	for _, list := range []string{m.Kex, m.HostKey, m.MACCS, m.MACSC} {
		for _, name := range strings.Split(list, ",") {
			if strings.Contains(name, "sha1") || name == "ssh-rsa" || strings.Contains(name, "dss") {
				t.Errorf("%s is offered", name)
			}
		}
	}
	r.close()
}

// Rule S9: a client with nothing but the ciphers of Terrapin finds no common one; the refusal is recorded
// and no session hears of it.
func TestClients_with_weak_ciphers_only(t *testing.T) {
	t.Parallel()
	for _, ciphers := range []string{"chacha20-poly1305@openssh.com", "aes128-cbc,3des-cbc,aes256-cbc"} {
		t.Run(ciphers, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			r := hello(t, d, rawVersion)
			r.write(kexInit(ciphers))
			if r.read()[0] != msgKexInit {
				t.Fatal("no key exchange")
			}
			r.closed()
			if o := d.closed(t); o != "handshake" {
				t.Errorf("outcome %s", o)
			}
			events := d.refusals.all()
			if len(events) != 1 || events[0].Action != "ssh.negotiate" || !strings.Contains(events[0].Reason, "cipher") || events[0].Address != "127.0.0.1" {
				t.Errorf("recorded: %+v", events)
			}
			if reason := <-d.reasons; reason != "no common algorithm" {
				t.Errorf("reason %s", reason)
			}
		})
	}
}
