package sshkey

import (
	"math/big"

	"golang.org/x/crypto/ssh"
)

// Algorithm is the family of a key's type.
type Algorithm string

// The families.
const (
	RSA       Algorithm = "rsa"
	ECDSA     Algorithm = "ecdsa"
	ED25519   Algorithm = "ed25519"
	ECDSASK   Algorithm = "ecdsa-sk" // in a security key
	ED25519SK Algorithm = "ed25519-sk"
)

// Algorithm is the family of the key, "" of the zero Key.
func (k Key) Algorithm() Algorithm {
	return map[string]Algorithm{
		ssh.KeyAlgoRSA: RSA, ssh.KeyAlgoECDSA256: ECDSA, ssh.KeyAlgoECDSA384: ECDSA, ssh.KeyAlgoECDSA521: ECDSA, ssh.KeyAlgoED25519: ED25519,
		ssh.KeyAlgoSKECDSA256: ECDSASK, ssh.KeyAlgoSKED25519: ED25519SK,
	}[k.kind]
}

// Bits is the length of an RSA modulus, otherwise the size of the curve's field; of the zero Key 0.
func (k Key) Bits() int {
	switch k.kind {
	case ssh.KeyAlgoRSA:
		n, _ := bitLen(modulus(k))
		return n
	case ssh.KeyAlgoECDSA384:
		return 384
	case ssh.KeyAlgoECDSA521:
		return 521
	case "":
		return 0
	}
	return 256
}

// modulus is that of an RSA key, as it lies in the blob; nil of another.
func modulus(k Key) []byte {
	rest := []byte(k.blob)
	var field []byte
	for range 3 { // type name, exponent, modulus
		var ok bool
		if field, rest, ok = readString(rest); !ok || k.kind != ssh.KeyAlgoRSA {
			return nil
		}
	}
	return field
}

// UnsafeModulus reports whether an RSA key's modulus is not a product of two large secret primes that were chosen at random, so that
// others can work out the private half. It has a factor below 752, is a prime or a square itself, or has the mark of the faulty
// generator of CVE-2017-15361. Such a key is of an accepted size and is taken, with a warning: whoever warns by the same name checks
// moduli for small factors and primality. The primality test takes a moment, so the answer is kept with the key on file.
func UnsafeModulus(k Key) bool {
	m := modulus(k)
	if m == nil {
		return false
	}
	n := new(big.Int).SetBytes(m)
	root := new(big.Int).Sqrt(n)
	return hasSmallFactor(n) || faultyGenerator(n) || root.Mul(root, root).Cmp(n) == 0 || seemsPrime(n)
}

// seemsPrime is the test of Fermat to the base 2: every prime passes, and hardly anything else that is worth a warning.
func seemsPrime(n *big.Int) bool {
	one := big.NewInt(1)
	return new(big.Int).Exp(big.NewInt(2), new(big.Int).Sub(n, one), n).Cmp(one) == 0
}

const smallFactors = 752

func hasSmallFactor(n *big.Int) bool {
	rest := new(big.Int)
	for p := int64(2); p < smallFactors; p++ { // composites among them find nothing that their primes do not
		if rest.Mod(n, big.NewInt(p)).Sign() == 0 {
			return true
		}
	}
	return false
}

// faultyGenerator reports whether the modulus is a power of 65537 modulo every small prime, as all moduli are whose primes were
// k*M + 65537^a mod M; of others hardly any is.
func faultyGenerator(n *big.Int) bool {
	rest := new(big.Int)
	for p := int64(3); p <= 167; p++ {
		if prime := big.NewInt(p); prime.ProbablyPrime(0) && !powerOf65537(rest.Mod(n, prime).Int64(), p) {
			return false
		}
	}
	return true
}

func powerOf65537(n, p int64) bool {
	for x, first := int64(1), true; first || x != 1; x, first = x*(65537%p)%p, false {
		if x == n {
			return true
		}
		if x == 0 {
			return false
		}
	}
	return false
}
