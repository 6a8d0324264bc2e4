package sshkey_test

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

func TestMeasure(t *testing.T) {
	t.Parallel()
	want := map[string]struct {
		algorithm sshkey.Algorithm
		bits      int
	}{
		"ssh-ed25519": {sshkey.ED25519, 256}, "ecdsa-sha2-nistp256": {sshkey.ECDSA, 256}, "ecdsa-sha2-nistp384": {sshkey.ECDSA, 384}, "ecdsa-sha2-nistp521": {sshkey.ECDSA, 521},
		"ssh-rsa": {sshkey.RSA, 2048}, "sk-ssh-ed25519@openssh.com": {sshkey.ED25519SK, 256}, "sk-ecdsa-sha2-nistp256@openssh.com": {sshkey.ECDSASK, 256},
	}
	honest, err := rsa.GenerateKey(rand.Reader, 2048) // that of pairs has a modulus of two bits set
	if err != nil {
		t.Fatal(err)
	}
	all := pairs(t)
	wire, err := ssh.NewPublicKey(&honest.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	all["ssh-rsa"] = pair{wire: wire}
	for kind, p := range all {
		key, err := sshkey.FromWire(p.wire)
		if err != nil {
			t.Fatal(err)
		}
		if w := want[kind]; key.Algorithm() != w.algorithm || key.Bits() != w.bits || sshkey.UnsafeModulus(key) {
			t.Errorf("%s: %s of %d bits", kind, key.Algorithm(), key.Bits())
		}
	}
	if none := (sshkey.Key{}); none.Algorithm() != "" || none.Bits() != 0 || sshkey.UnsafeModulus(none) {
		t.Error("the zero Key measures something")
	}
}

func TestUnsafeModulus(t *testing.T) {
	t.Parallel()
	prime := func(bits int) *big.Int {
		p, err := rand.Prime(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	half := prime(1024)
	half.SetBit(half, 1022, 1) // its square has 2048 bits
	// What the faulty generator makes is k*M + 65537^a mod M, with M the product of the first primes.
	m := big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			m.Mul(m, big.NewInt(p))
		}
	}
	k := prime(2049 - m.BitLen())
	faulty := new(big.Int).Exp(big.NewInt(65537), big.NewInt(4711), m)
	for faulty.Add(faulty, k.Mul(k, m)); faulty.Bit(0) == 0 || faulty.BitLen() < 2048; faulty.Add(faulty, m) {
	}
	for name, n := range map[string]*big.Int{
		"a small factor":     new(big.Int).Mul(big.NewInt(743), new(big.Int).Mul(half, half)),
		"a prime":            prime(2048),
		"a square":           new(big.Int).Mul(half, half),
		"a faulty generator": faulty,
	} {
		wire, err := ssh.NewPublicKey(&rsa.PublicKey{N: n, E: 65537})
		if err != nil {
			t.Fatal(err)
		}
		key, err := sshkey.FromWire(wire)
		if err != nil {
			t.Fatal(name, n.BitLen(), err)
		}
		if !sshkey.UnsafeModulus(key) {
			t.Error(name)
		}
	}
}

// The largest modulus that is accepted is judged in a moment.
func TestUnsafeModulus_in_time(t *testing.T) {
	t.Parallel()
	n := new(big.Int).Lsh(big.NewInt(1), 8191)
	for n.Add(n, big.NewInt(1)); ; n.Add(n, big.NewInt(2)) { // the first without a small factor
		factor := int64(3)
		for factor < 752 && new(big.Int).Mod(n, big.NewInt(factor)).Sign() != 0 {
			factor += 2
		}
		if factor >= 752 {
			break
		}
	}
	wire, err := ssh.NewPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	key, err := sshkey.FromWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	sshkey.UnsafeModulus(key)
	if took := time.Since(begun); took > 20*time.Second {
		t.Error(took)
	} else {
		t.Log(took)
	}
}
