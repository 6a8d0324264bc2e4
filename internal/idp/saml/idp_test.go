package saml_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/saml"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	entityID = "https://gate.example.test/saml/metadata.xml"
	acs      = "https://gate.example.test/saml"
	issuer   = "https://idp.example.test"
	request  = "_request"
)

var now = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

// signer is a key of a provider with its certificate.
type signer struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

func newSigner(key crypto.Signer) signer {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return signer{key, c}
}

func newRSA() signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return newSigner(key)
}

// The keys: the provider's, one of somebody else, and ours.
var (
	theirs   = sync.OnceValue(newRSA)
	stranger = sync.OnceValue(newRSA)
	ours     = sync.OnceValue(newRSA)
	theirEC  = sync.OnceValue(func() signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return newSigner(key)
	})
)

func armoured(signers ...signer) string {
	var text strings.Builder
	for _, s := range signers {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.Raw}))
	}
	return text.String()
}

func provider(signers ...signer) identity.Provider {
	return identity.Provider{ID: "corp", Kind: identity.SAML, Settings: identity.ProviderSettings{SAML: &identity.SAMLSettings{
		Issuer: issuer, SSOURL: issuer + "/sso", Certificate: armoured(signers...),
	}}}
}

func federation() *saml.Federation {
	return &saml.Federation{EntityID: entityID, ACS: acs, Now: func() time.Time { return now }}
}

func flow() *login.Flow {
	return &login.Flow{ID: "flow", Provider: "corp", State: secret.New(request), Expires: now.Add(10 * time.Minute)}
}

// good is a response as a provider writes it, before it is signed.
const good = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_response" Version="2.0" IssueInstant="2026-11-22T20:00:00Z" Destination="https://gate.example.test/saml" InResponseTo="_request">
<saml:Issuer>https://idp.example.test</saml:Issuer>
<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>
` + goodAssertion + `
</samlp:Response>`

const goodAssertion = `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_assertion" Version="2.0" IssueInstant="2026-11-22T20:00:00Z">
<saml:Issuer Format="urn:oasis:names:tc:SAML:2.0:nameid-format:entity">https://idp.example.test</saml:Issuer>
<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">Dana@example.test</saml:NameID>
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="2026-11-22T20:05:00Z" Recipient="https://gate.example.test/saml" InResponseTo="_request"/></saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotBefore="2026-11-22T19:59:30Z" NotOnOrAfter="2026-11-22T20:06:00Z"><saml:AudienceRestriction><saml:Audience>https://gate.example.test/saml/metadata.xml</saml:Audience></saml:AudienceRestriction></saml:Conditions>
<saml:AuthnStatement AuthnInstant="2026-11-22T20:00:00Z" SessionIndex="_s"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
<saml:AttributeStatement><saml:Attribute Name="urn:oid:0.9.2342.19200300.100.1.1" FriendlyName="uid"><saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">dana</saml:AttributeValue></saml:Attribute>
<saml:Attribute Name="displayName"><saml:AttributeValue>Dana Scully</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>
</saml:Assertion>`

// unasked is a good response to no request.
func unasked() string { return strings.ReplaceAll(good, ` InResponseTo="_request"`, "") }

// signing is how a signature is made; the zero value but for the signer is how it should be.
type signing struct {
	by        signer
	method    string
	digest    string
	c14n      string
	reference string // what it refers to, where not the element
	twice     bool   // the reference
	transform string // instead of enveloped
	keyInfo   *x509.Certificate
	hmac      []byte
}

var exclusive = dsig.CanonicalXML10ExclusiveAlgorithmId.String()

var hashes = map[string]crypto.Hash{
	dsig.RSASHA1SignatureMethod: crypto.SHA1, dsig.RSASHA256SignatureMethod: crypto.SHA256, dsig.RSASHA512SignatureMethod: crypto.SHA512, dsig.ECDSASHA256SignatureMethod: crypto.SHA256,
	"http://www.w3.org/2000/09/xmldsig#sha1": crypto.SHA1, "http://www.w3.org/2001/04/xmlenc#sha256": crypto.SHA256, "http://www.w3.org/2001/04/xmlenc#sha512": crypto.SHA512,
	"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256": crypto.SHA256,
}

func (s signing) settled() signing {
	for _, missing := range []struct {
		member    *string
		otherwise string
	}{
		{&s.method, dsig.RSASHA256SignatureMethod},
		{&s.digest, "http://www.w3.org/2001/04/xmlenc#sha256"},
		{&s.c14n, exclusive},
		{&s.transform, dsig.EnvelopedSignatureAltorithmId.String()},
	} {
		if *missing.member == "" {
			*missing.member = missing.otherwise
		}
	}
	return s
}

// sign signs the element with that ID and puts the signature behind its issuer.
func (s signing) sign(t testing.TB, text, id string) string {
	t.Helper()
	s = s.settled()
	d := tree(t, text)
	e := withID(&d.Element, id)
	uri := "#" + id
	if s.reference != "" {
		uri = s.reference
	}
	target := e
	if other := withID(&d.Element, strings.TrimPrefix(uri, "#")); other != nil {
		target = other
	}
	reference := `<ds:Reference URI="` + uri + `"><ds:Transforms><ds:Transform Algorithm="` + s.transform + `"/><ds:Transform Algorithm="` + s.c14n + `"/></ds:Transforms><ds:DigestMethod Algorithm="` + s.digest +
		`"/><ds:DigestValue>` + base64.StdEncoding.EncodeToString(s.hash(s.digest, s.canonical(t, target))) + `</ds:DigestValue></ds:Reference>`
	if s.twice {
		reference += reference
	}
	info := `<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:CanonicalizationMethod Algorithm="` + s.c14n + `"/><ds:SignatureMethod Algorithm="` + s.method + `"/>` + reference + `</ds:SignedInfo>`
	value := s.value(t, s.canonical(t, tree(t, info).Root()))
	signature := `<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">` + info + `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(value) + `</ds:SignatureValue>`
	if s.keyInfo != nil {
		signature += `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(s.keyInfo.Raw) + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`
	}
	e.InsertChildAt(e.SelectElement("Issuer").Index()+1, tree(t, signature+`</ds:Signature>`).Root())
	return write(t, d)
}

func (s signing) canonical(t testing.TB, e *etree.Element) []byte {
	t.Helper()
	c := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	target := e
	switch s.c14n {
	case exclusive:
		target = e.Copy() // it is changed
	case exclusive + "WithComments":
		c, target = dsig.MakeC14N10ExclusiveWithCommentsCanonicalizerWithPrefixList(""), e.Copy()
	default:
		c = dsig.MakeC14N10RecCanonicalizer()
	}
	text, err := c.Canonicalize(target)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s signing) hash(algorithm string, text []byte) []byte {
	h := hashes[algorithm].New()
	h.Write(text)
	return h.Sum(nil)
}

func (s signing) value(t testing.TB, text []byte) []byte {
	t.Helper()
	if s.hmac != nil {
		h := hmac.New(crypto.SHA256.New, s.hmac)
		h.Write(text)
		return h.Sum(nil)
	}
	if key, ok := s.by.key.(*ecdsa.PrivateKey); ok {
		r, v, err := ecdsa.Sign(rand.Reader, key, s.hash(s.method, text))
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	}
	value, err := s.by.key.Sign(rand.Reader, s.hash(s.method, text), hashes[s.method])
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// signed signs the assertion, as most providers do.
func signed(t testing.TB, text string) string {
	t.Helper()
	return signing{by: theirs()}.sign(t, text, "_assertion")
}

func tree(t testing.TB, text string) *etree.Document {
	t.Helper()
	d := etree.NewDocument()
	if err := d.ReadFromString(text); err != nil {
		t.Fatal(err)
	}
	return d
}

func write(t testing.TB, d *etree.Document) string {
	t.Helper()
	text, err := d.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func withID(e *etree.Element, id string) *etree.Element {
	for _, child := range e.ChildElements() {
		if child.SelectAttrValue("ID", "") == id {
			return child
		}
		if found := withID(child, id); found != nil {
			return found
		}
	}
	return nil
}

func back(text string) login.Return {
	return login.Return{Response: base64.StdEncoding.EncodeToString([]byte(text))}
}
