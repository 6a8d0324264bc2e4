package saml_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/saml"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// A provider that others wrote takes our request, and its response lets its person in: plainly, and with our key, by which it
// checks our signature and encrypts its assertion.
func TestSimpleSAMLphp_signs_a_person_in(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "signed and encrypted"}[keyed], func(t *testing.T) {
			t.Parallel()
			sp := peers.SAMLServiceProvider{EntityID: entityID, ACS: acs}
			gate := &saml.Federation{EntityID: entityID, ACS: acs, AllowHTTP: true}
			if keyed {
				certificate := current(t)
				gate.Key = holding(signer{ourKey(), certificate})
				sp.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
			}
			idp := peers.SAML(t, sp)
			p := identity.Provider{ID: "corp", Kind: identity.SAML, Settings: identity.ProviderSettings{SAML: &identity.SAMLSettings{
				Issuer: idp.EntityID, SSOURL: idp.SSOURL, Certificate: idp.Certificate, NameClaim: "${uid}", SignRequests: keyed,
			}}}
			p.Settings.JIT = identity.JIT{Provision: true, Groups: "groups"}
			tried(t, gate, p)

			f := &login.Flow{ID: "flow", Provider: p.ID, Expires: time.Now().Add(10 * time.Minute)}
			departure, err := gate.Depart(t.Context(), p, f)
			if err != nil {
				t.Fatal(err)
			}
			action, posted := idp.SignIn(t, departure.Form, peers.SAMLUser, peers.SAMLPassword)
			if action != acs || posted.Get("RelayState") != "flow" {
				t.Fatalf("the provider posts to %s with the relay state %q", action, posted.Get("RelayState"))
			}
			answer := login.Return{Response: posted.Get("SAMLResponse")}
			if state := gate.StateOf(answer); state != f.State.Reveal() {
				t.Fatalf("the response names the request %q", state)
			}
			v, once, err := gate.Arrive(t.Context(), p, f, answer)
			want := identity.Visitor{Subject: "emailAddress:" + peers.SAMLMail, Name: peers.SAMLUser, Email: peers.SAMLMail, EmailVerified: true, Display: peers.SAMLDisplay, Groups: []string{"agents", "basement"}, GroupsSaid: true}
			if !v.Until.After(time.Now()) {
				t.Errorf("the session there ends at %v", v.Until)
			}
			v.Until = time.Time{}
			if err != nil || !reflect.DeepEqual(v, want) || len(once) != 1 {
				t.Fatalf("Arrive = %+v, %v, %v\n%s", v, once, err, decoded(t, answer))
			}
			refuseChanged(t, gate, p, f, answer)
		})
	}
}

func tried(t *testing.T, gate *saml.Federation, p identity.Provider) {
	t.Helper()
	policy, err := outbound.NewPolicy([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	gate.Client = policy.Client()
	for _, step := range gate.Test(t.Context(), p) {
		if !step.OK {
			t.Errorf("%s: %s", step.Name, step.Note)
		}
	}
}

// refuseChanged changes the response in places of its own, one byte each.
func refuseChanged(t *testing.T, gate *saml.Federation, p identity.Provider, f *login.Flow, answer login.Return) {
	t.Helper()
	text := decoded(t, answer)
	changed := 0
	for _, at := range []string{"Success", "SignatureValue>", "DigestValue>", "Audience>", "NameID ", peers.SAMLMail, "CipherValue>"} {
		for i := range strings.Count(text, at) {
			place := nth(text, at, i) + len(at) - 2
			if _, _, err := gate.Arrive(t.Context(), p, f, back(text[:place]+flip(text[place])+text[place+1:])); err == nil {
				t.Errorf("a response was taken with another byte at %q", at)
			}
			changed++
		}
	}
	if changed < 4 {
		t.Errorf("only %d bytes were changed", changed)
	}
}

func flip(b byte) string {
	if b == 'A' {
		return "B"
	}
	return "A"
}

func nth(text, part string, n int) int {
	at := strings.Index(text, part)
	for range n {
		at += 1 + strings.Index(text[at+1:], part)
	}
	return at
}

func decoded(t *testing.T, answer login.Return) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(answer.Response)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// current is a certificate of our key that is valid by the real clock.
func current(t *testing.T) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gate"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ourKey().Public(), ourKey())
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
