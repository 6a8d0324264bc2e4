package sshkey

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Why a key is refused. The texts are part of dialects and never hold any of the input.
var (
	ErrNotPublicKey = fault.New(fault.Invalid, "not a public key in OpenSSH, PEM or RFC 4716 form")
	ErrRSATooSmall  = fault.New(fault.Invalid, "RSA keys must have at least 2048 bits")
	ErrRSATooLarge  = fault.New(fault.Invalid, "RSA keys must have at most 8192 bits")
	ErrDSA          = fault.New(fault.Invalid, "DSA keys are not accepted")
	ErrCertificate  = fault.New(fault.Invalid, "SSH certificates are not accepted; send the plain public key")
)

// Sizes in bits of the RSA moduli that are accepted.
const (
	minRSA = 2048
	maxRSA = 8192
)

// maxBlob is above every accepted key: RSA of 8192 bits takes 1,051 bytes, and a hardware key's
// application is the name of a site.
const maxBlob = 2048

// acceptedTypes are the formats of a plain key that a Key may have.
var acceptedTypes = []string{
	ssh.KeyAlgoED25519,
	ssh.KeyAlgoECDSA256,
	ssh.KeyAlgoECDSA384,
	ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSA,
	ssh.KeyAlgoSKED25519,
	ssh.KeyAlgoSKECDSA256,
}

// FromWire takes a key as a client presents it, by the same rules as Parse: it reports
// ErrCertificate, ErrDSA, ErrRSATooSmall, ErrRSATooLarge or ErrNotPublicKey.
func FromWire(pub ssh.PublicKey) (Key, error) {
	switch p := pub.(type) {
	case nil:
		return Key{}, ErrNotPublicKey
	case *ssh.Certificate: // rule S5: before anything in it is looked at
		return Key{}, ErrCertificate
	default:
		kind := p.Type()
		if err := checkType(kind); err != nil {
			return Key{}, err
		}
		return fromBlob(kind, p.Marshal(), "")
	}
}

// checkType tells the refused types apart from texts that are no type at all.
func checkType(kind string) error {
	switch {
	case isCertificate(kind):
		return ErrCertificate
	case kind == ssh.InsecureKeyAlgoDSA: //nolint:staticcheck // named to be refused
		return ErrDSA
	case slices.Contains(acceptedTypes, kind):
		return nil
	default:
		return ErrNotPublicKey
	}
}

// isCertificate knows certificate types by their form, the old v00 and coming ones among them.
func isCertificate(kind string) bool { return strings.Contains(kind, "-cert-v") }

// fromBlob makes a Key of a wire encoding. An empty kind takes the type that the blob names;
// any other must be that type.
func fromBlob(kind string, blob []byte, comment string) (Key, error) {
	name, rest, ok := readString(blob)
	if !ok {
		return Key{}, ErrNotPublicKey
	}
	if err := checkType(string(name)); err != nil {
		return Key{}, err
	}
	if kind != "" && kind != string(name) {
		return Key{}, ErrNotPublicKey
	}
	if string(name) == ssh.KeyAlgoRSA {
		if err := checkRSA(rest); err != nil {
			return Key{}, err
		}
	}
	if len(blob) > maxBlob {
		return Key{}, ErrNotPublicKey
	}
	// The library refuses trailing bytes, wrong lengths and points off their curve.
	pub, err := ssh.ParsePublicKey(blob)
	// Two spellings of one key would have two fingerprints: only the canonical one is a key.
	if err != nil || string(pub.Marshal()) != string(blob) {
		return Key{}, ErrNotPublicKey
	}
	return Key{kind: string(name), comment: comment, blob: string(blob), print: sha256.Sum256(blob)}, nil
}

// checkRSA judges exponent and modulus by their encoding alone, before any key maths (rule S6):
// CVE-2026-39829 was huge parameters that cost minutes.
func checkRSA(in []byte) error {
	exponent, in, ok := readString(in)
	if !ok {
		return ErrNotPublicKey
	}
	modulus, _, ok := readString(in)
	if !ok {
		return ErrNotPublicKey
	}
	n, ok := bitLen(modulus)
	switch {
	case !ok:
		return ErrNotPublicKey
	case n < minRSA:
		return ErrRSATooSmall
	case n > maxRSA:
		return ErrRSATooLarge
	}
	// The library takes no exponent above 24 bits either.
	e, ok := bitLen(exponent)
	if !ok || e < 2 || e > 24 || even(exponent) || even(modulus) {
		return ErrNotPublicKey
	}
	return nil
}

// bitLen is the length in bits of a positive mpint in canonical encoding (RFC 4251 section 5).
func bitLen(mpint []byte) (int, bool) {
	if len(mpint) == 0 || mpint[0]&0x80 != 0 {
		return 0, false // zero or negative
	}
	if mpint[0] == 0 {
		if len(mpint) == 1 || mpint[1]&0x80 == 0 {
			return 0, false // a zero byte that is not needed
		}
		mpint = mpint[1:]
	}
	return (len(mpint)-1)*8 + bits.Len8(mpint[0]), true
}

func even(mpint []byte) bool { return mpint[len(mpint)-1]&1 == 0 }

// readString takes one length-prefixed string from the front (RFC 4251 section 5).
func readString(in []byte) (out, rest []byte, ok bool) {
	if len(in) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(in)
	in = in[4:]
	if uint64(n) > uint64(len(in)) {
		return nil, nil, false
	}
	return in[:n], in[n:], true
}
