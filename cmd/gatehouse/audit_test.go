package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// seals is a chain that consists of seals only; numbers may be missing.
type seals []int64

func (s seals) Seals(_ context.Context, after int64, limit int) (out []audit.Seal, _ error) {
	for _, n := range s {
		if n > after && len(out) < limit {
			out = append(out, audit.Seal{Number: n})
		}
	}
	return out, nil
}

func (seals) Entries(context.Context, int64, int) ([]audit.Entry, error) { return nil, nil }
func (seals) Waiting(context.Context) (int64, error)                     { return 0, nil }

func TestLastSeal(t *testing.T) {
	t.Parallel()
	long := make(seals, 1000)
	for i := range long {
		long[i] = int64(i + 1)
	}
	for want, chain := range map[int64]seals{
		0: nil, 1: {1}, 2: {1, 2}, 3: {1, 2, 3}, 4: {1, 2, 3, 4}, 5: {5}, 999: long[:999], 1000: long, 40: {1, 2, 40},
	} {
		got, ok, err := lastSeal(t.Context(), chain)
		if err != nil || ok != (want > 0) || got.Number != want {
			t.Errorf("last of %d seals is %d: %d %v %v", len(chain), want, got.Number, ok, err)
		}
	}
}

func TestReadPublicKey(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	read := func(text string) (ed25519.PublicKey, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readPublicKey(file)
	}
	for _, text := range []string{
		hex.EncodeToString(public) + "\n",
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	} {
		if got, err := read(text); err != nil || !got.Equal(public) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "zz", hex.EncodeToString(public)[2:], "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if got, err := read(text); err == nil {
			t.Errorf("%q was read as %x", text, got)
		}
	}
}
