package sshkey

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// HostKey is one key by which the SSH door shows who it is: made once, the same on every node.
type HostKey struct {
	Type    string // ssh-ed25519 or ssh-rsa
	Sealed  []byte // the private key, PKCS #8, bound to its type
	Public  string // the public key as an SSH line
	Created time.Time
}

// HostKeyStore keeps the host keys of the installation.
type HostKeyStore interface {
	// HostKeys returns all host keys; none is no error.
	HostKeys(ctx context.Context) ([]HostKey, error)
	// InsertFirstHostKeys adds keys and records e, all or nothing, unless there are host keys already,
	// whoever made them. It returns those that are there then.
	InsertFirstHostKeys(ctx context.Context, keys []HostKey, e audit.Event) ([]HostKey, error)
}

// hostRSABits is the size of the RSA host key, for clients that know no ed25519.
const hostRSABits = 3072

// HostKeyMake is the action under which the making of host keys is recorded.
const HostKeyMake access.Action = "hostkey.make"

// OpenHostKeys returns the installation's host keys, ready to sign, ed25519 first. The first node that
// asks makes them; nodes that start together end up with the same ones.
func OpenHostKeys(ctx context.Context, store HostKeyStore, sealer *secret.Sealer, now time.Time) ([]ssh.Signer, error) {
	keys, err := store.HostKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read host keys: %w", err)
	}
	if len(keys) == 0 {
		if keys, err = makeHostKeys(ctx, store, sealer, now); err != nil {
			return nil, err
		}
	}
	var signers []ssh.Signer
	for _, kind := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoRSA} {
		for _, k := range keys {
			if k.Type != kind {
				continue
			}
			signer, err := k.open(sealer)
			if err != nil {
				return nil, fmt.Errorf("open host key %s: %w", k.Type, err)
			}
			signers = append(signers, signer)
		}
	}
	if len(signers) == 0 {
		return nil, fault.New(fault.Internal, "there are host keys, and none of a type that this version knows")
	}
	return signers, nil
}

func makeHostKeys(ctx context.Context, store HostKeyStore, sealer *secret.Sealer, now time.Time) ([]HostKey, error) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	big, err := rsa.GenerateKey(rand.Reader, hostRSABits)
	if err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	e := access.SystemCaller(now).Event(now, HostKeyMake, access.Installation, audit.Done)
	var keys []HostKey
	for _, private := range []crypto.Signer{ed, big} {
		k, err := newHostKey(private, sealer, now)
		if err != nil {
			return nil, fmt.Errorf("make host key: %w", err)
		}
		keys = append(keys, k)
		public, err := Parse(k.Public)
		if err != nil {
			return nil, fmt.Errorf("make host key: %w", err)
		}
		e = e.With(k.Type, public.SHA256())
	}
	keys, err = store.InsertFirstHostKeys(ctx, keys, e)
	if err != nil {
		return nil, fmt.Errorf("insert host keys: %w", err)
	}
	return keys, nil
}

func newHostKey(private crypto.Signer, sealer *secret.Sealer, now time.Time) (HostKey, error) {
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return HostKey{}, err
	}
	key, err := FromWire(public)
	if err != nil {
		return HostKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return HostKey{}, err
	}
	sealed, err := sealer.Seal(der, sealedAs(key.Type()))
	return HostKey{Type: key.Type(), Sealed: sealed, Public: key.SSH(), Created: now}, err
}

// sealedAs is the place that a sealed host key is bound to.
func sealedAs(kind string) string { return "ssh_host_keys/" + kind }

// open unseals the key and makes sure that it is the private half of the public key shown to people.
func (k HostKey) open(sealer *secret.Sealer) (ssh.Signer, error) {
	der, err := sealer.Open(k.Sealed, sealedAs(k.Type))
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	public, err := FromWire(signer.PublicKey())
	if err != nil {
		return nil, err
	}
	if public.SSH() != k.Public {
		return nil, fault.New(fault.Internal, "the sealed private key does not belong to the public key beside it")
	}
	if k.Type != ssh.KeyAlgoRSA {
		return signer, nil
	}
	// Without this list the library would also sign with SHA-1.
	return ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
}
