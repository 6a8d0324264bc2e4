package login_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// agents are the applications that a certificate may be of, beside the one of programs.
type agents struct {
	*programs
	more []identity.Application
}

func (s *agents) ByCertificate(context.Context, [32]byte) ([]identity.Application, error) {
	return append([]identity.Application{s.one}, s.more...), nil
}

func certificate(t *testing.T, at time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agent"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSignIn_with_a_client_certificate(t *testing.T) {
	t.Parallel()
	fresh := func() (*port, *agents, []byte) {
		p := newPort()
		der := certificate(t, p.clock)
		p.programs.one.AuthType, p.programs.one.Digest, p.programs.one.Certificate = identity.ByCertificate, [32]byte{}, sha256.Sum256(der)
		a := &agents{programs: p.programs}
		p.Applications.Store = a
		return p, a, der
	}
	with := func(der []byte, name, text string) login.Presented {
		in := program(name, text)
		in.Accepts, in.Certificate = append(in.Accepts, login.Certificate), der
		if name == "" {
			in.Kind = login.Certificate
		}
		return in
	}
	for _, name := range []string{"", appID} {
		p, _, der := fresh()
		signed, err := p.SignIn(t.Context(), with(der, name, ""), login.Begin{})
		sum := sha256.Sum256(der)
		if err != nil || signed.Caller.ID != appID || string(signed.Session.Certificate) != string(sum[:]) {
			t.Fatalf("%q: %+v, %v", name, signed, err)
		}
		again := login.Presented{Kind: login.Session, Secret: signed.Token, Address: inside, Door: "test", Accepts: takes, Certificate: der}
		if _, err := p.Authenticate(t.Context(), again); err != nil {
			t.Errorf("%q: with the certificate: %v", name, err)
		}
		for _, other := range [][]byte{nil, certificate(t, p.clock)} {
			again.Certificate = other
			if _, err := p.Authenticate(t.Context(), again); err == nil {
				t.Errorf("%q: the session goes on without its certificate", name)
			}
		}
	}
	for reason, c := range map[string]struct {
		name, text string
		spoil      func(*port, *agents, *login.Presented)
	}{
		"no certificate that can be read": {"", "", func(_ *port, _ *agents, in *login.Presented) { in.Certificate = nil }},
		"not that of exactly one":         {"", "", func(_ *port, a *agents, _ *login.Presented) { a.more = append(a.more, a.one) }},
		"that of exactly one application": {"", "", func(p *port, _ *agents, _ *login.Presented) { p.clock = p.clock.Add(2 * time.Hour) }},
		"certificate is another one":      {appID, "", func(p *port, _ *agents, in *login.Presented) { in.Certificate = certificate(t, p.clock) }},
		"the certificate is another":      {appID, "", func(_ *port, _ *agents, in *login.Presented) { in.Certificate = nil }},
		"is another one":                  {appID, "a secret", func(*port, *agents, *login.Presented) {}},
		"the application is disabled":     {"", "", func(p *port, _ *agents, _ *login.Presented) { p.programs.one.Disabled = true }},
		"the account is disabled":         {appID, "", func(p *port, _ *agents, _ *login.Presented) { p.programs.one.AccountShut = true }},
	} {
		p, a, der := fresh()
		in := with(der, c.name, c.text)
		c.spoil(p, a, &in)
		want(t, p.try(t, in), login.ErrFailed)
		if !strings.Contains(p.why(), reason) || len(p.seats.rows) != 0 {
			t.Errorf("%s: %q", reason, p.why())
		}
	}
	p, _, der := fresh()
	p.programs.one.AuthType, p.programs.one.Digest = identity.BySecret, secret.Digest(rightApp)
	want(t, p.try(t, with(der, "", "")), login.ErrFailed)
	want(t, p.try(t, with(der, appID, "")), login.ErrFailed)
}
