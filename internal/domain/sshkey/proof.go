package sshkey

import (
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ErrSignatureAlgorithm says that a signature was made with an algorithm that this key type does not
// accept here: SHA-1, or one of another type.
var ErrSignatureAlgorithm = fault.New(fault.Denied, "signature algorithm not accepted")

// OfferedKey is a key that a client named and did not sign for. It may be listed where a dialect asks
// for offers; it proves nothing and counts for nothing (rule S1).
type OfferedKey struct{ offered Key }

// Offered takes a key that a client offered.
func Offered(pub ssh.PublicKey) (OfferedKey, error) {
	key, err := FromWire(pub)
	return OfferedKey{offered: key}, err
}

// Key is the offered key.
func (o OfferedKey) Key() Key { return o.offered }

// ProvenKey is a key whose private half signed on this connection. It has other fields than
// OfferedKey, so that Go has no conversion between the two.
type ProvenKey struct {
	proven    Key
	algorithm string
}

// Proven takes a key whose signature was verified. It may be called from one place alone, the
// VerifiedPublicKeyCallback of the SSH door, with that callback's own arguments; a test of the whole
// module keeps it so (rule S1). It reports what FromWire reports, and ErrSignatureAlgorithm.
func Proven(pub ssh.PublicKey, signatureAlgorithm string) (ProvenKey, error) {
	key, err := FromWire(pub)
	if err != nil {
		return ProvenKey{}, err
	}
	if !slices.Contains(algorithms(key.kind), signatureAlgorithm) {
		return ProvenKey{}, ErrSignatureAlgorithm
	}
	return ProvenKey{proven: key, algorithm: signatureAlgorithm}, nil
}

// algorithms are the signatures that count for a key type. RSA with SHA-1 is not among them.
func algorithms(kind string) []string {
	if kind == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
	}
	return []string{kind}
}

// Key is the proven key.
func (p ProvenKey) Key() Key { return p.proven }

// Algorithm is the signature algorithm of the proof, such as "rsa-sha2-512".
func (p ProvenKey) Algorithm() string { return p.algorithm }
