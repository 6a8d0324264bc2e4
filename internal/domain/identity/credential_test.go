package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// signed makes a certificate of that name, signed by an authority, or by itself where that is nil.
func signed(t *testing.T, name string, isCA bool, usage x509.ExtKeyUsage, by *x509.Certificate, byKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if isCA {
		c.KeyUsage = x509.KeyUsageCertSign
	} else {
		c.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	}
	if by == nil {
		by, byKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

func TestApplication_HasCertificate(t *testing.T) {
	t.Parallel()
	authority, key := signed(t, "authority", true, 0, nil, nil)
	foreign, foreignKey := signed(t, "authority", true, 0, nil, nil)
	good, _ := signed(t, "agent", false, x509.ExtKeyUsageClientAuth, authority, key)
	other, _ := signed(t, "other", false, x509.ExtKeyUsageClientAuth, authority, key)
	server, _ := signed(t, "agent", false, x509.ExtKeyUsageServerAuth, authority, key)
	forged, _ := signed(t, "agent", false, x509.ExtKeyUsageClientAuth, foreign, foreignKey)
	double := *good // of somebody who chose a name beside the one that the authority gave
	var err error
	if double.RawSubject, err = asn1.Marshal(pkix.RDNSequence{{{Type: commonName, Value: "chosen"}}, {{Type: commonName, Value: "agent"}}}); err != nil {
		t.Fatal(err)
	}
	double.Raw, err = x509.CreateCertificate(rand.Reader, &double, authority, good.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	twoNames, err := x509.ParseCertificate(double.Raw)
	if err != nil {
		t.Fatal(err)
	}
	made := func(c identity.Credential) identity.Application {
		t.Helper()
		s := &identity.Applications{Store: &apps{}, Now: func() time.Time { return start }, NewID: func() string { return "a1" }}
		a, plain, err := s.Create(context.Background(), may{"application.create"}, identity.NewApplication{Account: "c1", Name: "agent", Credential: c})
		if err != nil || !plain.Empty() {
			t.Fatalf("%v, a secret: %v", err, !plain.Empty())
		}
		return a
	}
	pinned := made(identity.Credential{Type: identity.ByCertificate, Certificate: good.Raw})
	trusting := made(identity.Credential{Type: identity.ByAuthority, Authorities: [][]byte{authority.Raw}, Subject: "CN=agent"})
	for what, c := range map[string]struct {
		app  identity.Application
		cert *x509.Certificate
		at   time.Time
		want bool
	}{
		"pinned":                  {pinned, good, start, true},
		"pinned, another":         {pinned, other, start, false},
		"pinned, over":            {pinned, good, start.Add(2 * time.Hour), false},
		"pinned, not yet":         {pinned, good, start.Add(-2 * time.Hour), false},
		"trusted":                 {trusting, good, start, true},
		"trusted, other subject":  {trusting, other, start, false},
		"trusted, one of names":   {trusting, twoNames, start, false},
		"trusted, for servers":    {trusting, server, start, false},
		"trusted, namesake signs": {trusting, forged, start, false},
		"trusted, over":           {trusting, good, start.Add(2 * time.Hour), false},
		"no certificate":          {identity.Application{AuthType: identity.BySecret}, good, start, false},
	} {
		if c.app.HasCertificate(c.cert, c.at) != c.want {
			t.Errorf("%s: %v", what, !c.want)
		}
	}
}

func TestCreate_refuses_credentials_that_cannot_be_used(t *testing.T) {
	t.Parallel()
	authority, _ := signed(t, "authority", true, 0, nil, nil)
	leaf, _ := signed(t, "leaf", false, x509.ExtKeyUsageClientAuth, nil, nil)
	s := &identity.Applications{Store: &apps{}, Now: func() time.Time { return start }, NewID: func() string { return "a1" }}
	for what, c := range map[string]identity.Credential{
		"unknown":              {Type: "google"},
		"no certificate":       {Type: identity.ByCertificate},
		"broken certificate":   {Type: identity.ByCertificate, Certificate: []byte("x")},
		"no authority":         {Type: identity.ByAuthority, Subject: "CN=x"},
		"no subject":           {Type: identity.ByAuthority, Authorities: [][]byte{authority.Raw}},
		"a leaf for authority": {Type: identity.ByAuthority, Authorities: [][]byte{leaf.Raw}, Subject: "CN=x"},
		"no directory":         {Type: identity.ByLDAP},
	} {
		if _, _, err := s.Create(context.Background(), may{"application.create"}, identity.NewApplication{Account: "c1", Name: "x", Credential: c}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
