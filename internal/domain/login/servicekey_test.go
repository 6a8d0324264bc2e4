package login_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// serviceKeys is a ServiceKeyStore in memory.
type serviceKeys struct {
	mu     sync.Mutex
	kept   *login.ServiceKey
	events []audit.Event
	err    error
}

func (s *serviceKeys) ServiceKey(ctx context.Context, _ string) (login.ServiceKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(ctx.Err(), s.err); err != nil {
		return login.ServiceKey{}, err
	}
	if s.kept == nil {
		return login.ServiceKey{}, fault.New(fault.NotFound, "none")
	}
	return *s.kept, nil
}

func (s *serviceKeys) InsertFirstServiceKey(ctx context.Context, k login.ServiceKey, e audit.Event) (login.ServiceKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept, s.events = &k, append(s.events, e)
	}
	return *s.kept, ctx.Err()
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

var keyMade = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

// keysOf is a node on that store.
func keysOf(s login.ServiceKeyStore, sealer *secret.Sealer) *login.ServiceKeys {
	return &login.ServiceKeys{Store: s, Sealer: sealer, Host: "gate.example.test", Now: func() time.Time { return keyMade }}
}

func TestServiceKeys(t *testing.T) {
	t.Parallel()
	s, sealer := &serviceKeys{}, newSealer(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	node := keysOf(s, sealer)
	first, err := node.SAML(gone) // whoever asked first has gone away, and the key is made for everybody
	if err != nil {
		t.Fatal(err)
	}

	t.Run("makes RSA of 3072 bits when it is first asked for, and records it", func(t *testing.T) {
		if first.Private.N.BitLen() != 3072 {
			t.Errorf("%d bits", first.Private.N.BitLen())
		}
		if len(s.events) != 1 || s.events[0].Action != string(login.ServiceKeyMake) || s.events[0].Actor.Kind != "system" || len(s.events[0].Detail["certificate_sha256"]) != 64 {
			t.Errorf("events: %+v", s.events)
		}
	})
	t.Run("names its certificate after the host, for ten years", func(t *testing.T) {
		c := first.Certificate
		if c.Subject.CommonName != "gate.example.test" || c.NotBefore.After(keyMade) || !c.NotAfter.Equal(keyMade.AddDate(10, 0, 0)) || c.IsCA || c.SerialNumber.Sign() <= 0 {
			t.Errorf("%+v", c)
		}
		if c.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || c.SignatureAlgorithm != x509.SHA256WithRSA || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
			t.Errorf("%+v", c)
		}
	})
	t.Run("opens the same one ever after", func(t *testing.T) {
		again, err := keysOf(s, sealer).SAML(t.Context())
		if err != nil || !again.Private.Equal(first.Private) || !again.Certificate.Equal(first.Certificate) || len(s.events) != 1 {
			t.Errorf("%v, %d events", err, len(s.events))
		}
	})
	t.Run("asks the store no more once it has it", func(t *testing.T) {
		s.err = errors.New("the database is away")
		defer func() { s.err = nil }()
		if again, err := node.SAML(t.Context()); err != nil || again != first {
			t.Error(err)
		}
		if _, err := keysOf(s, sealer).SAML(t.Context()); !errors.Is(err, s.err) {
			t.Errorf("a node that never had it: %v", err)
		}
	})
	t.Run("keeps no private key in the open", func(t *testing.T) {
		if bytes.Contains(s.kept.Sealed, first.Private.Primes[0].Bytes()) || bytes.Contains(s.kept.Certificate, first.Private.Primes[0].Bytes()) {
			t.Error(hex.EncodeToString(s.kept.Sealed))
		}
	})
}

func TestServiceKeys_of_nodes_that_ask_together(t *testing.T) {
	t.Parallel()
	s, sealer := &serviceKeys{}, newSealer(t)
	nodes := []*login.ServiceKeys{keysOf(s, sealer), keysOf(s, sealer)}
	var pairs [4]login.KeyPair
	var wg sync.WaitGroup
	for i := range pairs {
		wg.Go(func() {
			var err error
			if pairs[i], err = nodes[i%2].SAML(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, p := range pairs[1:] {
		if !p.Private.Equal(pairs[0].Private) || !p.Certificate.Equal(pairs[0].Certificate) {
			t.Error("two have different keys")
		}
	}
	if len(s.events) != 1 {
		t.Errorf("%d events", len(s.events))
	}
}

func TestServiceKeys_refuses(t *testing.T) {
	t.Parallel()
	made, other, sealer := &serviceKeys{}, &serviceKeys{}, newSealer(t)
	for _, s := range []*serviceKeys{made, other} {
		if _, err := keysOf(s, sealer).SAML(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(t *testing.T, change func(k *login.ServiceKey), by *secret.Sealer, want error) {
		t.Helper()
		k := *made.kept
		change(&k)
		if _, err := keysOf(&serviceKeys{kept: &k}, by).SAML(t.Context()); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	}
	t.Run("a key sealed for another installation", func(t *testing.T) {
		refused(t, func(*login.ServiceKey) {}, newSealer(t), secret.ErrSealed)
	})
	t.Run("a sealed key that was moved to another row", func(t *testing.T) {
		refused(t, func(k *login.ServiceKey) { k.Name = "other" }, sealer, secret.ErrSealed)
	})
	t.Run("a certificate of another key", func(t *testing.T) {
		refused(t, func(k *login.ServiceKey) { k.Certificate = other.kept.Certificate }, sealer, nil)
	})
	t.Run("no certificate", func(t *testing.T) {
		refused(t, func(k *login.ServiceKey) { k.Certificate = nil }, sealer, nil)
	})
}
