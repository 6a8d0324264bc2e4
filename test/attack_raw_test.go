package test

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
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// rawClient is an SSH client that sends what an attack wants, in whatever order: real clients and the
// library's are too well-behaved. It knows one key exchange and one cipher.
type rawClient struct {
	tb         testing.TB
	version    string
	conn       net.Conn
	in         *bufio.Reader
	session    []byte
	seal, open *rawGCM // nil before the keys are there
}

// Message numbers (RFC 4250 section 4.1.2).
const (
	rawClosed         = 0 // not a number of SSH: the door has closed the connection
	rawServiceRequest = 5
	rawServiceAccept  = 6
	rawKexInit        = 20
	rawNewKeys        = 21
	rawECDHInit       = 30
	rawECDHReply      = 31
	rawAuthRequest    = 50
	rawAuthFailure    = 51
	rawAuthSuccess    = 52
	rawKeyOK          = 60 // and keyboard-interactive's question
	rawInfoAnswer     = 61
	rawGlobalRequest  = 80
	rawRequestSuccess = 81
	rawChannelOpen    = 90
	rawChannelOpened  = 91
)

type rawGCM struct {
	aead cipher.AEAD
	iv   []byte
}

func (g *rawGCM) nonce() []byte {
	nonce := bytes.Clone(g.iv)
	binary.BigEndian.PutUint64(g.iv[4:], binary.BigEndian.Uint64(g.iv[4:])+1)
	return nonce
}

// dialFrom connects to the address from one of the many addresses that loopback has.
func dialFrom(tb testing.TB, from, address string) net.Conn {
	tb.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: peers.Patience}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(peers.Patience))
	return conn
}

const rawVersion = "SSH-2.0-raw"

// rawHello exchanges versions.
func rawHello(tb testing.TB, g *gate.Gate) *rawClient {
	tb.Helper()
	return rawHelloAs(tb, g, rawVersion)
}

func rawHelloAs(tb testing.TB, g *gate.Gate, version string) *rawClient {
	tb.Helper()
	conn := dialFrom(tb, "127.0.0.1", g.SSHAddr())
	r := &rawClient{tb: tb, version: version, conn: conn, in: bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, version+"\r\n"); err != nil {
		tb.Fatal(err)
	}
	if line, err := r.in.ReadString('\n'); err != nil || line != "SSH-2.0-Gatehouse\r\n" {
		tb.Fatalf("version %q, %v", line, err)
	}
	return r
}

// kexInit is an offer with these ciphers.
func kexInit(ciphers string) []byte {
	return append([]byte{rawKexInit}, ssh.Marshal(struct {
		Cookie                                         [16]byte
		Kex, HostKey, CipherCS, CipherSC, MACCS, MACSC string
		CompressCS, CompressSC, LanguageCS, LanguageSC string
		Follows                                        bool
		Reserved                                       uint32
	}{
		Kex: "curve25519-sha256", HostKey: "ssh-ed25519", CipherCS: ciphers, CipherSC: ciphers,
		MACCS: "hmac-sha2-256", MACSC: "hmac-sha2-256", CompressCS: "none", CompressSC: "none",
	})...)
}

// rawConnect does version and key exchange and asks for the authentication service.
func rawConnect(tb testing.TB, g *gate.Gate) *rawClient {
	tb.Helper()
	r := rawHello(tb, g)
	r.begin()
	return r
}

// begin does the key exchange and asks for the authentication service.
func (r *rawClient) begin() {
	r.tb.Helper()
	r.exchangeKeys()
	r.send(rawServiceRequest, ssh.Marshal(struct{ S string }{"ssh-userauth"}))
	if kind, _ := r.receive(); kind != rawServiceAccept {
		r.tb.Fatalf("message %d instead of service accept", kind)
	}
}

// exchangeKeys does RFC 4253 sections 7 and 8 with RFC 8731. It checks no host key: it is the attacker.
func (r *rawClient) exchangeKeys() {
	r.tb.Helper()
	mine := kexInit("aes128-gcm@openssh.com")
	r.write(mine)
	theirs := r.read()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		r.tb.Fatal(err)
	}
	point := private.PublicKey().Bytes()
	r.send(rawECDHInit, ssh.Marshal(struct{ Q []byte }{point}))
	packet := r.read()
	var reply struct{ HostKey, Q, Signature []byte }
	if packet[0] != rawECDHReply || ssh.Unmarshal(packet[1:], &reply) != nil {
		r.tb.Fatalf("message %d instead of the key exchange's answer", packet[0])
	}
	public, err := ecdh.X25519().NewPublicKey(reply.Q)
	if err != nil {
		r.tb.Fatal(err)
	}
	shared, err := private.ECDH(public)
	if err != nil {
		r.tb.Fatal(err)
	}
	k := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)})
	h := sha256.Sum256(append(ssh.Marshal(struct {
		VC, VS             string
		IC, IS, KS, QC, QS []byte
	}{r.version, "SSH-2.0-Gatehouse", mine, theirs, reply.HostKey, point, reply.Q}), k...))
	r.session = h[:]
	r.send(rawNewKeys, nil)
	if packet := r.read(); packet[0] != rawNewKeys {
		r.tb.Fatalf("message %d instead of new keys", packet[0])
	}
	derive := func(letter byte) []byte {
		sum := sha256.Sum256(bytes.Join([][]byte{k, h[:], {letter}, h[:]}, nil))
		return sum[:]
	}
	gcm := func(iv, key byte) *rawGCM {
		block, _ := aes.NewCipher(derive(key)[:16])
		aead, _ := cipher.NewGCM(block)
		return &rawGCM{aead, derive(iv)[:12]}
	}
	r.seal, r.open = gcm('A', 'C'), gcm('B', 'D')
}

func (r *rawClient) send(kind byte, payload []byte) { r.write(append([]byte{kind}, payload...)) }

// write sends a packet (RFC 4253 section 6, RFC 5647). The door may have closed: reading tells.
func (r *rawClient) write(payload []byte) {
	block, head := 8, 5
	if r.seal != nil {
		block, head = 16, 1 // the length is not encrypted
	}
	padding := block - (head+len(payload))%block
	if padding < 4 {
		padding += block
	}
	length := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	body := append(append([]byte{byte(padding)}, payload...), make([]byte, padding)...)
	if r.seal != nil {
		body = r.seal.aead.Seal(nil, r.seal.nonce(), body, length)
	}
	_, _ = r.conn.Write(append(length, body...))
}

// read returns the next packet; rawClosed when there is none.
func (r *rawClient) read() []byte {
	length := make([]byte, 4)
	if _, err := io.ReadFull(r.in, length); err != nil {
		return []byte{rawClosed}
	}
	n := int(binary.BigEndian.Uint32(length))
	if r.open != nil {
		n += r.open.aead.Overhead()
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r.in, body); err != nil {
		return []byte{rawClosed}
	}
	if r.open != nil {
		var err error
		if body, err = r.open.aead.Open(nil, r.open.nonce(), body, length); err != nil {
			return []byte{rawClosed}
		}
	}
	return body[1 : len(body)-int(body[0])]
}

// receive returns the next message that is neither banner nor information.
func (r *rawClient) receive() (kind byte, payload []byte) {
	for {
		packet := r.read()
		switch packet[0] {
		case 2, 7, 53: // ignore, extension info, banner
		default:
			return packet[0], packet[1:]
		}
	}
}

// ends reads to the end and returns the kinds of messages that came.
func (r *rawClient) ends() (kinds []byte) {
	for range 1000 {
		kind, _ := r.receive()
		if kind == rawClosed {
			return kinds
		}
		kinds = append(kinds, kind)
	}
	r.tb.Error("the door goes on answering")
	return kinds
}

type authRequest struct {
	User, Service, Method string
	Rest                  []byte `ssh:"rest"`
}

// request sends an authentication request and returns the kind of the answer.
func (r *rawClient) request(user, method string, rest []byte) byte {
	r.send(rawAuthRequest, ssh.Marshal(authRequest{user, "ssh-connection", method, rest}))
	kind, _ := r.receive()
	return kind
}

type publicKeyRequest struct {
	Signed    bool
	Algorithm string
	Blob      []byte
	Rest      []byte `ssh:"rest"`
}

// offer offers a key, or any other blob, without a signature.
func (r *rawClient) offer(user, algorithm string, blob []byte) byte {
	return r.request(user, "publickey", ssh.Marshal(publicKeyRequest{Algorithm: algorithm, Blob: blob}))
}

// sign names one key and signs with another, or with the same.
func (r *rawClient) sign(user string, named ssh.PublicKey, with ssh.Signer) byte {
	r.tb.Helper()
	p := publicKeyRequest{Signed: true, Algorithm: named.Type(), Blob: named.Marshal()}
	data := append(ssh.Marshal(struct{ Session []byte }{r.session}), rawAuthRequest)
	data = append(data, ssh.Marshal(authRequest{user, "ssh-connection", "publickey", ssh.Marshal(p)})...)
	signature, err := with.Sign(rand.Reader, data)
	if err != nil {
		r.tb.Fatal(err)
	}
	p.Rest = ssh.Marshal(struct{ S []byte }{ssh.Marshal(signature)})
	return r.request(user, "publickey", ssh.Marshal(p))
}

// interactive asks for keyboard-interactive and answers its question, which has no prompts.
func (r *rawClient) interactive(user string) byte {
	if kind := r.request(user, "keyboard-interactive", ssh.Marshal(struct{ L, S string }{})); kind != rawKeyOK {
		return kind
	}
	r.send(rawInfoAnswer, ssh.Marshal(struct{ N uint32 }{0}))
	kind, _ := r.receive()
	return kind
}

func (r *rawClient) close() { r.conn.Close() }
