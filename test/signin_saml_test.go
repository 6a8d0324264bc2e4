package test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// certificateIn takes from our metadata the certificate that is there for signatures and for encryption alike.
func certificateIn(t *testing.T, metadata gate.Answer) []byte {
	t.Helper()
	found := regexp.MustCompile(`<ds:X509Certificate>([^<]+)<`).FindAllSubmatch(metadata.Body, -1)
	if metadata.Status != http.StatusOK || len(found) != 2 || !bytes.Equal(found[0][1], found[1][1]) {
		t.Fatalf("%d %s", metadata.Status, metadata.Body)
	}
	der, err := base64.StdEncoding.DecodeString(string(found[0][1]))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// A provider reads our certificate in the metadata, takes requests that are signed with its key alone, and encrypts assertions to it. Every
// node signs and reads with the one key that one of them made, after a new start too.
func TestSAML_provider_encrypts_to_the_certificate_of_our_metadata(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if n := p.a.Count(t, "SELECT count(*) FROM service_keys"); n != 0 {
		t.Errorf("%d keys that nobody has asked for", n)
	}
	var metadata [2]gate.Answer
	var both sync.WaitGroup
	for i, g := range []*gate.Gate{p.a, p.b} {
		v := g.Visitor(t)
		both.Go(func() { metadata[i] = v.Get("/saml/metadata.xml") })
	}
	both.Wait()
	certificate := certificateIn(t, metadata[0])
	if !bytes.Equal(metadata[0].Body, metadata[1].Body) || len(p.a.Audited(t, "servicekey.make")) != 1 {
		t.Fatalf("two nodes have two keys:\n%s\n%s", metadata[0].Body, metadata[1].Body)
	}

	there := peers.SAML(t, peers.SAMLServiceProvider{EntityID: pairURL + "/saml/metadata.xml", ACS: pairURL + "/saml", Certificate: certificate})
	addPeople(t, p.a, "dana")
	number := addSAML(t, p.a, there, "Vaulted", "--link-by", "email", "--sign-requests")
	p.a.Must(t, "idp", "test", "Vaulted")
	signIn := func(t *testing.T, from, to *gate.Gate) {
		t.Helper()
		v := from.Visitor(t)
		posted := arriveSAML(t, v, there, number)
		response, err := base64.StdEncoding.DecodeString(posted.Get("SAMLResponse"))
		if err != nil || !strings.Contains(string(response), "EncryptedAssertion") || strings.Contains(string(response), peers.SAMLMail) {
			t.Fatalf("nothing was encrypted: %v %s", err, response)
		}
		v = v.At(to)
		if v.Get(landed(t, v.Post("/saml", posted))); who(v) != "dana" {
			t.Errorf("signed in as %q", who(v))
		}
	}
	signIn(t, p.a, p.a)
	signIn(t, p.a, p.b)
	p.a.Stop(t)
	p.a.Serve(t)
	signIn(t, p.b, p.a)
	if again := certificateIn(t, p.a.Visitor(t).Get("/saml/metadata.xml")); !bytes.Equal(again, certificate) {
		t.Error("another certificate after a new start")
	}
}
