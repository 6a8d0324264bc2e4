package saml_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/idp/saml"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

func TestMain(m *testing.M) { os.Exit(peers.Main(m)) }

func TestDepart(t *testing.T) {
	t.Parallel()
	depart := func(t *testing.T, f *saml.Federation, p identity.Provider) (login.Departure, login.Flow) {
		t.Helper()
		fl := login.Flow{ID: "flow-1", Provider: p.ID, Target: "/after"}
		d, err := f.Depart(t.Context(), p, &fl)
		if err != nil {
			t.Fatal(err)
		}
		return d, fl
	}
	t.Run("posts a request under a new id", func(t *testing.T) {
		t.Parallel()
		d, fl := depart(t, federation(), provider(theirs()))
		_, other := depart(t, federation(), provider(theirs()))
		id := fl.State.Reveal()
		if len(id) != 41 || id[0] != '_' || id == other.State.Reveal() { // rule F10: 160 bits
			t.Errorf("the request's id is %q", id)
		}
		if d.URL != issuer+"/sso" || d.Form.Get("SAMLRequest") != d.Request || d.Flow.State.Reveal() != id || d.Provider.ID != "corp" {
			t.Errorf("the departure is %+v", d)
		}
		if d.Form.Get("RelayState") != "flow-1" { // rule F4: no target leaves the server
			t.Errorf("the relay state is %q", d.Form.Get("RelayState"))
		}
		root := tree(t, unarmoured(t, d.Request)).Root()
		for name, want := range map[string]string{
			"ID": id, "Version": "2.0", "IssueInstant": "2026-11-22T20:00:00Z", "Destination": issuer + "/sso", "AssertionConsumerServiceURL": acs,
			"ProtocolBinding": "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
		} {
			if got := root.SelectAttrValue(name, ""); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if root.SelectElement("Issuer").Text() != entityID || root.SelectElement("Signature") != nil {
			t.Error(unarmoured(t, d.Request))
		}
	})
	t.Run("signs where the provider wants it", func(t *testing.T) {
		t.Parallel()
		f, p := federation(), provider(theirs())
		f.Key = holding(ours())
		p.Settings.SAML.SignRequests = true
		d, _ := depart(t, f, p)
		if children := tree(t, unarmoured(t, d.Request)).Root().ChildElements(); len(children) != 3 || children[1].Tag != "Signature" {
			t.Error(unarmoured(t, d.Request))
		}
	})
	t.Run("goes nowhere by settings that cannot work", func(t *testing.T) {
		t.Parallel()
		if _, err := federation().Depart(t.Context(), provider(), &login.Flow{}); err == nil {
			t.Fatal("it went")
		}
	})
}

func unarmoured(t *testing.T, request string) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(request)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestStateOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		back login.Return
		want string
	}{
		"reads the request's id, unverified": {back(good), request},
		"none where there is none":           {back(unasked()), ""},
		"nothing of what is no response":     {back(goodAssertion), ""},
		"nothing behind a document type":     {back("<!DOCTYPE x>" + good), ""},
		"nothing of what is no base64":       {login.Return{Response: "<"}, ""},
		"nothing of nothing":                 {login.Return{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := federation().StateOf(c.back); got != c.want {
				t.Fatalf("the state is %q, want %q", got, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	bare := func(s signer) string { return base64.StdEncoding.EncodeToString(s.certificate.Raw) }
	for _, c := range []struct {
		name   string
		change func(*saml.Federation, *identity.SAMLSettings)
		path   string // of the fault; "" for none
	}{
		{"good settings", func(*saml.Federation, *identity.SAMLSettings) {}, ""},
		{"bare base64", func(_ *saml.Federation, s *identity.SAMLSettings) { s.Certificate = bare(theirs()) }, ""},
		{"two in bare base64", func(_ *saml.Federation, s *identity.SAMLSettings) {
			s.Certificate = bare(theirs()) + "\n\n" + bare(theirEC())
		}, ""},
		{"two in PEM", func(_ *saml.Federation, s *identity.SAMLSettings) { s.Certificate = armoured(theirs(), theirEC()) }, ""},
		{"no certificate", func(_ *saml.Federation, s *identity.SAMLSettings) { s.Certificate = "" }, "saml.certificate"},
		{"a certificate that is none", func(_ *saml.Federation, s *identity.SAMLSettings) { s.Certificate = "AAAA" }, "saml.certificate"},
		{"something behind a certificate", func(_ *saml.Federation, s *identity.SAMLSettings) { s.Certificate += "x" }, "saml.certificate"},
		{"a private key", func(_ *saml.Federation, s *identity.SAMLSettings) {
			s.Certificate = strings.ReplaceAll(s.Certificate, "CERTIFICATE", "PRIVATE KEY")
		}, "saml.certificate"},
		{"no issuer", func(_ *saml.Federation, s *identity.SAMLSettings) { s.Issuer = "" }, "saml.issuer"},
		{"no URL", func(_ *saml.Federation, s *identity.SAMLSettings) { s.SSOURL = "" }, "saml.sso_url"},
		{"http", func(f *saml.Federation, s *identity.SAMLSettings) {
			s.SSOURL, f.AllowHTTP = "http://idp.example.test/", true
		}, "saml.sso_url"},
		{"http on loopback where that is not allowed", func(_ *saml.Federation, s *identity.SAMLSettings) { s.SSOURL = "http://127.0.0.1/" }, "saml.sso_url"},
		{"http on loopback where it is", func(f *saml.Federation, s *identity.SAMLSettings) { s.SSOURL, f.AllowHTTP = "http://127.0.0.1/", true }, ""},
		{"a script", func(_ *saml.Federation, s *identity.SAMLSettings) { s.SSOURL = "javascript:alert(1)" }, "saml.sso_url"}, // rule F3
		{"a URL with a name", func(_ *saml.Federation, s *identity.SAMLSettings) { s.SSOURL = "https://a:b@idp.example.test/" }, "saml.sso_url"},
		{"no expression", func(_ *saml.Federation, s *identity.SAMLSettings) { s.NameClaim = "${" }, "saml.name_claim"},
		{"signing without a key", func(_ *saml.Federation, s *identity.SAMLSettings) { s.SignRequests = true }, "saml.sign_requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, p := federation(), provider(theirs())
			c.change(f, p.Settings.SAML)
			err := f.Check(p)
			fields := fault.FieldsOf(err)
			switch {
			case c.path == "" && err != nil:
				t.Fatal(err)
			case c.path != "" && (!fault.Is(err, fault.Invalid) || len(fields) != 1 || fields[0].Path != c.path):
				t.Fatalf("the fault is %v", err)
			}
		})
	}
	t.Run("another kind", func(t *testing.T) {
		t.Parallel()
		if err := federation().Check(identity.Provider{Kind: identity.OIDC}); !fault.Is(err, fault.Invalid) {
			t.Fatal(err)
		}
	})
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	read := func(f *saml.Federation) string {
		text, err := f.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	plain := read(federation())
	for _, part := range []string{`entityID="` + entityID + `"`, `Location="` + acs + `"`, "HTTP-POST", "emailAddress", `WantAssertionsSigned="true"`} {
		if !strings.Contains(plain, part) {
			t.Errorf("%s is not in %s", part, plain)
		}
	}
	if strings.Contains(plain, "KeyDescriptor") {
		t.Error("a key is described, and there is none")
	}
	f := federation()
	f.Key = holding(ours())
	if keyed := read(f); strings.Count(keyed, "KeyDescriptor use=") != 2 || !strings.Contains(keyed, base64.StdEncoding.EncodeToString(ours().certificate.Raw)) {
		t.Error(keyed)
	}
}

func TestTest(t *testing.T) {
	t.Parallel()
	idp := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(idp.Close)
	policy, err := outbound.NewPolicy([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	try := func(change func(*saml.Federation, *identity.SAMLSettings)) []login.Step {
		f, p := federation(), provider(theirs())
		f.Client, f.AllowHTTP, p.Settings.SAML.SSOURL = policy.Client(), true, idp.URL
		change(f, p.Settings.SAML)
		return f.Test(t.Context(), p)
	}
	t.Run("all is well, whatever is answered", func(t *testing.T) {
		t.Parallel()
		steps := try(func(*saml.Federation, *identity.SAMLSettings) {})
		if len(steps) != 3 || !steps[0].OK || !steps[1].OK || !steps[2].OK || !strings.Contains(steps[1].Note, "SHA-256") || strings.Contains(steps[1].Note, "warning") {
			t.Fatalf("%+v", steps)
		}
	})
	t.Run("settings stop it", func(t *testing.T) {
		t.Parallel()
		if steps := try(func(_ *saml.Federation, s *identity.SAMLSettings) { s.Issuer = "" }); len(steps) != 1 || steps[0].OK || !strings.Contains(steps[0].Note, "saml.issuer") {
			t.Fatalf("%+v", steps)
		}
	})
	t.Run("an expired certificate is a warning", func(t *testing.T) {
		t.Parallel()
		for after, word := range map[time.Duration]string{366 * 24 * time.Hour: "expired", 350 * 24 * time.Hour: "soon", -48 * time.Hour: "not valid yet"} {
			steps := try(func(f *saml.Federation, _ *identity.SAMLSettings) { f.Now = func() time.Time { return now.Add(after) } })
			if !steps[1].OK || !strings.Contains(steps[1].Note, word) {
				t.Errorf("%+v", steps)
			}
		}
	})
	t.Run("nobody answers in time", func(t *testing.T) {
		t.Parallel()
		slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		t.Cleanup(slow.Close)
		steps := try(func(f *saml.Federation, s *identity.SAMLSettings) {
			f.Timeout, s.SSOURL = 50*time.Millisecond, slow.URL
		})
		if len(steps) != 3 || steps[2].OK || !strings.Contains(steps[2].Note, "no answer in time") {
			t.Errorf("%+v", steps)
		}
	})
	t.Run("a private address is not called", func(t *testing.T) { // rule W8
		t.Parallel()
		strict, err := outbound.NewPolicy(nil)
		if err != nil {
			t.Fatal(err)
		}
		steps := try(func(f *saml.Federation, _ *identity.SAMLSettings) { f.Client = strict.Client() })
		if len(steps) != 3 || steps[2].OK || !strings.Contains(steps[2].Note, "target address is not allowed") {
			t.Errorf("%+v", steps)
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		t.Parallel()
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		for _, change := range []func(*saml.Federation, *identity.SAMLSettings){
			func(_ *saml.Federation, s *identity.SAMLSettings) { s.SSOURL = gone.URL },
			func(f *saml.Federation, _ *identity.SAMLSettings) { f.Client = nil },
		} {
			if steps := try(change); len(steps) != 3 || steps[2].OK {
				t.Errorf("%+v", steps)
			}
		}
	})
}

// An expired certificate's key still verifies; see the package comment.
func TestArrive_trusts_the_key_of_an_expired_certificate(t *testing.T) {
	t.Parallel()
	f := federation()
	f.Now = func() time.Time { return now.AddDate(2, 0, 0) }
	text := strings.NewReplacer("2026-11-22", "2028-11-22").Replace(good)
	fl := &login.Flow{ID: "flow", Provider: "corp", State: secret.New(request)}
	if v, _, err := arrive(t, f, provider(theirs()), fl, signed(t, text)); err != nil || !reflect.DeepEqual(v, dana) {
		t.Fatal(v, err)
	}
}

// The seeds of the fuzz test that are in the repository are signed by a key that nobody has: they stay good for as long as Arrive reads them.
func TestArrive_reads_what_was_signed_before(t *testing.T) {
	t.Parallel()
	certificate := filepath.Join("testdata", "idp.crt")
	if os.Getenv("UPDATE_SAML") != "" {
		keep(t, certificate, armoured(theirs()))
		keep(t, filepath.Join("testdata", "signed-assertion.xml"), signed(t, good))
		keep(t, filepath.Join("testdata", "signed-both.xml"), signing{by: theirs()}.sign(t, signed(t, good), "_response"))
	}
	p := provider()
	p.Settings.SAML.Certificate = load(t, certificate)
	for _, name := range []string{"signed-assertion.xml", "signed-both.xml"} {
		if v := welcome(t, federation(), p, load(t, filepath.Join("testdata", name))); !reflect.DeepEqual(v, dana) {
			t.Errorf("%s: the visitor is %+v", name, v)
		}
	}
}

func keep(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
