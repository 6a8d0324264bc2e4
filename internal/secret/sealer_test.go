package secret_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func newSealer(t testing.TB) (*secret.Sealer, secret.MasterKey, []byte) {
	t.Helper()
	m := secret.NewMasterKey()
	wrapped, err := secret.NewKeyset(m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := secret.OpenKeyset(m, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return s, m, wrapped
}

func seal(t testing.TB, s *secret.Sealer, plain, context string) []byte {
	t.Helper()
	sealed, err := s.Seal([]byte(plain), context)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealer_opens_only_where_it_sealed(t *testing.T) {
	t.Parallel()
	s, _, _ := newSealer(t)
	rapid.Check(t, func(r *rapid.T) {
		plain := rapid.String().Draw(r, "plain")
		here, there := rapid.StringN(1, 40, -1).Draw(r, "here"), rapid.StringN(1, 40, -1).Draw(r, "there")
		sealed := seal(t, s, plain, here)
		got, err := s.Open(sealed, here)
		if err != nil || string(got) != plain {
			r.Fatalf("does not open in its place: %v", err)
		}
		if _, err := s.Open(sealed, there); here != there && !errors.Is(err, secret.ErrSealed) {
			r.Fatalf("opens in another place: %v", err)
		}
		at := rapid.IntRange(0, len(sealed)-1).Draw(r, "at")
		sealed[at] ^= 1
		if _, err := s.Open(sealed, here); !errors.Is(err, secret.ErrSealed) {
			r.Fatalf("opens with byte %d changed: %v", at, err)
		}
	})
}

func TestSealer_refuses(t *testing.T) {
	t.Parallel()
	s, _, _ := newSealer(t)
	other, _, _ := newSealer(t)
	sealed := seal(t, s, treasure, "webhooks/secret/1")
	if bytes.Contains(sealed, []byte(treasure)) {
		t.Error("sealed text is readable")
	}
	if bytes.Equal(sealed, seal(t, s, treasure, "webhooks/secret/1")) {
		t.Error("sealing twice gives the same bytes")
	}
	if _, err := other.Open(sealed, "webhooks/secret/1"); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("another keyset: %v", err)
	}
	for _, junk := range [][]byte{nil, {1}, sealed[:len(sealed)-1]} {
		if _, err := s.Open(junk, "webhooks/secret/1"); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("%d bytes: %v", len(junk), err)
		}
	}
	if _, err := s.Seal([]byte("x"), ""); err == nil {
		t.Error("sealed without a context")
	}
	if _, err := s.Open(sealed, ""); err == nil {
		t.Error("opened without a context")
	}
}

func TestKeyset_wants_its_master_key(t *testing.T) {
	t.Parallel()
	s, m, wrapped := newSealer(t)
	sealed := seal(t, s, treasure, "x/1")
	fresh := secret.NewMasterKey()
	if _, err := secret.OpenKeyset(fresh, wrapped); !errors.Is(err, secret.ErrWrongMasterKey) {
		t.Errorf("another master key: %v", err)
	}
	if _, err := secret.OpenKeyset(m, wrapped[:len(wrapped)/2]); !errors.Is(err, secret.ErrWrongMasterKey) {
		t.Errorf("half a keyset: %v", err)
	}
	if _, err := secret.OpenKeyset(secret.MasterKey{}, wrapped); err == nil {
		t.Error("no master key at all")
	}
	if _, err := secret.Rewrap(fresh, m, wrapped); !errors.Is(err, secret.ErrWrongMasterKey) {
		t.Errorf("rewrap with another master key: %v", err)
	}
	rewrapped, err := secret.Rewrap(m, fresh, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenKeyset(m, rewrapped); !errors.Is(err, secret.ErrWrongMasterKey) {
		t.Errorf("the old master key still opens: %v", err)
	}
	again, err := secret.OpenKeyset(fresh, rewrapped)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Open(sealed, "x/1"); err != nil || string(plain) != treasure {
		t.Errorf("what was sealed before the rewrap does not open: %v", err)
	}
}
