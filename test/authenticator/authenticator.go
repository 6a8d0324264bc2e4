// Package authenticator is a security key in software, for tests of whatever speaks WebAuthn.
//
// A test makes a Key, changes what it says field by field, and hands its answers to the server under test. Nothing here checks anything.
package authenticator

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
)

// The algorithms that a Key can have (COSE numbers).
const (
	ES256 int64 = -7
	EdDSA int64 = -8
	RS256 int64 = -257
)

// Flags of authenticator data (WebAuthn Level 2, section 6.1).
const (
	Present  byte = 1
	Verified byte = 4
	Attested byte = 64
)

// Key is a security key with one credential. Its exported fields may be changed between answers.
type Key struct {
	ID         []byte
	Algorithm  int64
	AAGUID     []byte
	Flags      byte   // of assertions and, with Attested, of attestations
	Counter    uint32 // grows by Step with every answer
	Step       uint32
	Format     string // of attestations: "none", "packed" or "fido-u2f"
	AppID      string // of a U2F key: what it answers for instead of the relying party's id
	UserHandle []byte
	signer     crypto.Signer
}

// New makes a key of that algorithm.
func New(algorithm int64) *Key {
	return &Key{
		ID: random(32), Algorithm: algorithm, AAGUID: random(16), Flags: Present, Step: 1, Format: "none", signer: signerOf(algorithm),
	}
}

// NewU2F makes a key of before WebAuthn, enrolled for an AppID.
func NewU2F(appID string) *Key {
	k := New(ES256)
	k.AAGUID, k.Format, k.AppID = make([]byte, 16), "fido-u2f", appID
	return k
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func signerOf(algorithm int64) crypto.Signer {
	switch algorithm {
	case ES256:
		return sure(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return sure(private, err)
	case RS256:
		return sure(rsa.GenerateKey(rand.Reader, 2048))
	default:
		panic(fmt.Sprint("no such algorithm: ", algorithm))
	}
}

func sure[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Ceremony is what a browser is asked, and what it adds. Zero fields of the first three are an error of the test.
type Ceremony struct {
	Challenge []byte
	Origin    string
	RPID      string
	Type      string // "webauthn.create" and "webauthn.get" where empty
	Cross     bool
}

// Create enrols the key.
func (k *Key) Create(c Ceremony) factor.Attestation {
	client := c.clientData("webauthn.create")
	data := k.data(c.RPID, k.Flags|Attested)
	data = append(data, k.AAGUID...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.ID))) //nolint:gosec // a test's id is short
	data = append(append(data, k.ID...), k.Public()...)
	object := map[string]any{"fmt": k.Format, "authData": data, "attStmt": k.statement(c.RPID, data, client)}
	return factor.Attestation{ID: k.ID, Type: "public-key", ClientData: client, Object: sure(webauthncbor.Marshal(object)), Transports: []string{"usb"}}
}

// Get answers a challenge.
func (k *Key) Get(c Ceremony) factor.Assertion {
	client := c.clientData("webauthn.get")
	scope := c.RPID
	if k.AppID != "" {
		scope = k.AppID
	}
	data := k.data(scope, k.Flags)
	hash := sha256.Sum256(client)
	return factor.Assertion{
		ID: k.ID, Type: "public-key", ClientData: client, AuthenticatorData: data, Signature: k.Sign(append(bytes.Clone(data), hash[:]...)),
		UserHandle: k.UserHandle, AppID: k.AppID != "",
	}
}

func (c Ceremony) clientData(kind string) []byte {
	if c.Type != "" {
		kind = c.Type
	}
	return sure(json.Marshal(map[string]any{
		"type": kind, "challenge": base64.RawURLEncoding.EncodeToString(c.Challenge), "origin": c.Origin, "crossOrigin": c.Cross,
	}))
}

// data is the authenticator data without an attested credential.
func (k *Key) data(scope string, flags byte) []byte {
	k.Counter += k.Step
	hash := sha256.Sum256([]byte(scope))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), k.Counter)
}

// Sign signs as the key's algorithm does.
func (k *Key) Sign(message []byte) []byte {
	if k.Algorithm == EdDSA {
		return sure(k.signer.Sign(nil, message, crypto.Hash(0)))
	}
	digest := sha256.Sum256(message)
	return sure(k.signer.Sign(rand.Reader, digest[:], crypto.SHA256))
}

// Public is the COSE form of the key (RFC 9052, section 7).
func (k *Key) Public() []byte {
	switch public := k.signer.Public().(type) {
	case *ecdsa.PublicKey:
		point := sure(public.Bytes())
		return sure(webauthncbor.Marshal(map[int]any{1: 2, 3: k.Algorithm, -1: 1, -2: point[1:33], -3: point[33:]}))
	case ed25519.PublicKey:
		return sure(webauthncbor.Marshal(map[int]any{1: 1, 3: k.Algorithm, -1: 6, -2: []byte(public)}))
	case *rsa.PublicKey:
		return sure(webauthncbor.Marshal(map[int]any{1: 3, 3: k.Algorithm, -1: public.N.Bytes(), -2: big.NewInt(int64(public.E)).Bytes()}))
	default:
		panic("no such key")
	}
}

// Point is the raw P-256 point of an ES256 key, 65 bytes: how U2F keys are imported.
func (k *Key) Point() []byte {
	return sure(k.signer.Public().(*ecdsa.PublicKey).Bytes()) //nolint:forcetypeassert // a test asks for it on ES256 alone
}

// statement is the attestation statement of the key's format (WebAuthn Level 2, section 8).
func (k *Key) statement(rpID string, data, client []byte) map[string]any {
	hash := sha256.Sum256(client)
	switch k.Format {
	case "packed":
		return map[string]any{"alg": k.Algorithm, "sig": k.Sign(append(bytes.Clone(data), hash[:]...))}
	case "fido-u2f":
		scope := sha256.Sum256([]byte(rpID))
		batch := New(ES256)
		message := bytes.Join([][]byte{{0}, scope[:], hash[:], k.ID, k.Point()}, nil)
		return map[string]any{"sig": batch.Sign(message), "x5c": [][]byte{batch.certificate()}}
	default:
		return map[string]any{}
	}
}

// certificate is what a maker of U2F keys would put into a batch of them.
func (k *Key) certificate() []byte {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test U2F"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	return sure(x509.CreateCertificate(rand.Reader, template, template, k.signer.Public(), k.signer))
}

// AssertionJSON is an assertion as browsers send it.
func AssertionJSON(a factor.Assertion) []byte {
	response := map[string]any{"clientDataJSON": text(a.ClientData), "authenticatorData": text(a.AuthenticatorData), "signature": text(a.Signature)}
	if a.UserHandle != nil {
		response["userHandle"] = text(a.UserHandle)
	}
	return sure(json.Marshal(map[string]any{
		"id": text(a.ID), "type": a.Type, "response": response, "get_client_extension_results": map[string]any{"appid": a.AppID},
	}))
}

// AttestationJSON is an attestation as browsers send it.
func AttestationJSON(a factor.Attestation) []byte {
	return sure(json.Marshal(map[string]any{
		"id": text(a.ID), "type": a.Type, "get_client_extension_results": map[string]any{},
		"response": map[string]any{"clientDataJSON": text(a.ClientData), "attestationObject": text(a.Object), "getTransports": a.Transports},
	}))
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
