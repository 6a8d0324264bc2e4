package sshkey_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// hostKeys is a HostKeyStore in memory.
type hostKeys struct {
	mu     sync.Mutex
	keys   []sshkey.HostKey
	events []audit.Event
}

func (h *hostKeys) HostKeys(context.Context) ([]sshkey.HostKey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keys, nil
}

func (h *hostKeys) InsertFirstHostKeys(_ context.Context, keys []sshkey.HostKey, e audit.Event) ([]sshkey.HostKey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.keys) == 0 {
		h.keys, h.events = keys, append(h.events, e)
	}
	return h.keys, nil
}

func newSealer(t *testing.T) *secret.Sealer {
	t.Helper()
	master := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(master)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := secret.OpenKeyset(master, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

func open(t *testing.T, store sshkey.HostKeyStore, sealer *secret.Sealer) []ssh.Signer {
	t.Helper()
	signers, err := sshkey.OpenHostKeys(t.Context(), store, sealer, time.Unix(1_800_000_000, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	return signers
}

func TestOpenHostKeys(t *testing.T) {
	t.Parallel()
	store, sealer := &hostKeys{}, newSealer(t)
	first := open(t, store, sealer)

	t.Run("makes ed25519 and RSA of 3072 bits at first start and records it", func(t *testing.T) {
		if len(first) != 2 || first[0].PublicKey().Type() != ssh.KeyAlgoED25519 || first[1].PublicKey().Type() != ssh.KeyAlgoRSA {
			t.Fatalf("signers: %v", first)
		}
		if n := len(first[1].PublicKey().Marshal()); n < 384 || n > 420 {
			t.Errorf("the RSA key takes %d bytes, which is not 3072 bits", n)
		}
		if len(store.events) != 1 || store.events[0].Action != string(sshkey.HostKeyMake) ||
			store.events[0].Detail[ssh.KeyAlgoED25519] != ssh.FingerprintSHA256(first[0].PublicKey()) {
			t.Errorf("events: %+v", store.events)
		}
	})
	t.Run("opens the same keys ever after", func(t *testing.T) {
		second := open(t, store, sealer)
		for i := range first {
			if string(first[i].PublicKey().Marshal()) != string(second[i].PublicKey().Marshal()) {
				t.Errorf("host key %d has changed", i)
			}
		}
		if len(store.events) != 1 {
			t.Errorf("%d events", len(store.events))
		}
	})
	t.Run("signs with RSA, and never with SHA-1", func(t *testing.T) {
		signer, ok := first[1].(ssh.MultiAlgorithmSigner)
		if !ok {
			t.Fatal("the RSA host key does not limit its algorithms")
		}
		if got := strings.Join(signer.Algorithms(), " "); got != "rsa-sha2-512 rsa-sha2-256" {
			t.Errorf("algorithms: %s", got)
		}
	})
	t.Run("keeps no private key in the open", func(t *testing.T) {
		for _, k := range store.keys {
			if strings.Contains(string(k.Sealed), "\x06\x03\x2b\x65\x70") { // the ed25519 object id, in every PKCS #8 key
				t.Errorf("%s is not sealed", k.Type)
			}
		}
	})
}

func TestOpenHostKeys_of_nodes_that_start_together(t *testing.T) {
	t.Parallel()
	store, sealer := &hostKeys{}, newSealer(t)
	var nodes [3][]ssh.Signer
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() { nodes[i] = open(t, store, sealer) })
	}
	wg.Wait()
	for _, n := range nodes[1:] {
		if string(n[0].PublicKey().Marshal()) != string(nodes[0][0].PublicKey().Marshal()) {
			t.Error("two nodes have different host keys")
		}
	}
}

func TestOpenHostKeys_refuses(t *testing.T) {
	t.Parallel()
	made := &hostKeys{}
	sealer := newSealer(t)
	open(t, made, sealer)
	now := time.Unix(1_800_000_000, 0)

	t.Run("keys sealed for another installation", func(t *testing.T) {
		if _, err := sshkey.OpenHostKeys(t.Context(), made, newSealer(t), now); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a sealed key that was moved to another row", func(t *testing.T) {
		swapped := &hostKeys{keys: []sshkey.HostKey{
			{Type: made.keys[0].Type, Sealed: made.keys[1].Sealed, Public: made.keys[0].Public},
		}}
		if _, err := sshkey.OpenHostKeys(t.Context(), swapped, sealer, now); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a public key that belongs to another private key", func(t *testing.T) {
		other := &hostKeys{}
		open(t, other, sealer)
		mixed := &hostKeys{keys: []sshkey.HostKey{
			{Type: made.keys[0].Type, Sealed: made.keys[0].Sealed, Public: other.keys[0].Public},
		}}
		if _, err := sshkey.OpenHostKeys(t.Context(), mixed, sealer, now); err == nil {
			t.Error("opened")
		}
	})
}
