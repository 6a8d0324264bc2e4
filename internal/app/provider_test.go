package app_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// published reads from a server's SAML metadata the certificates by what they are for.
func published(t *testing.T, s *app.Server) map[string]*x509.Certificate {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.HTTP.String()+"/saml/metadata.xml", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := app.LoopbackClient().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var metadata struct {
		Keys []struct {
			Use         string `xml:"use,attr"`
			Certificate string `xml:"KeyInfo>X509Data>X509Certificate"`
		} `xml:"SPSSODescriptor>KeyDescriptor"`
	}
	if err := xml.NewDecoder(response.Body).Decode(&metadata); err != nil {
		t.Fatal(response.Status, err)
	}
	all := map[string]*x509.Certificate{}
	for _, k := range metadata.Keys {
		der, err := base64.StdEncoding.DecodeString(k.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if all[k.Use], err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// A start makes no key, a command needs none, and what providers are told is kept for good.
func TestService_key(t *testing.T) {
	t.Parallel()
	s, c, turned := serve(t)
	ctx, kept := t.Context(), store.ServiceKeys{DB: s.DB}
	command, err := app.Open(ctx, c, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Now: turned.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer command.Close()
	idp := httptest.NewTLSServer(http.NotFoundHandler())
	defer idp.Close()
	signs := identity.Provider{ID: "corp", Kind: identity.SAML, Settings: identity.ProviderSettings{SAML: &identity.SAMLSettings{
		Issuer: idp.URL, SSOURL: idp.URL, SignRequests: true,
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: idp.Certificate().Raw})),
	}}}
	if err := command.Login.CheckProvider(signs); err != nil {
		t.Errorf("a provider that wants signed requests: %v", err)
	}
	if _, err := kept.ServiceKey(ctx, "saml"); !fault.Is(err, fault.NotFound) {
		t.Fatalf("nobody has asked for a key: %v", err)
	}

	all := published(t, s)
	if len(all) != 2 || all["signing"] == nil || !all["signing"].Equal(all["encryption"]) || all["signing"].Subject.CommonName != c.PublicURL.Hostname() {
		t.Fatalf("%+v", all)
	}
	if k, err := kept.ServiceKey(ctx, "saml"); err != nil || string(k.Certificate) != string(all["signing"].Raw) {
		t.Errorf("another certificate is kept: %v", err)
	}
	departure, err := command.Login.Federations[identity.SAML].Depart(ctx, signs, &login.Flow{ID: "flow"})
	if err != nil {
		t.Fatal(err)
	}
	if request, err := base64.StdEncoding.DecodeString(departure.Request); err != nil || !contains(request, all["signing"].Raw) {
		t.Errorf("another process signs with another key: %s", request)
	}
}

func contains(request, certificate []byte) bool {
	return strings.Contains(string(request), base64.StdEncoding.EncodeToString(certificate))
}
