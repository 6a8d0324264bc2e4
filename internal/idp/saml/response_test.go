package saml_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/idp/saml"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

var dana = identity.Visitor{Subject: "emailAddress:dana@example.test", Email: "Dana@example.test", EmailVerified: true, Display: "Dana Scully"}

func arrive(t testing.TB, f *saml.Federation, p identity.Provider, fl *login.Flow, text string) (identity.Visitor, []login.Once, error) {
	t.Helper()
	return f.Arrive(t.Context(), p, fl, back(text))
}

// refused demands a *login.Wrong, nobody, and nothing to keep.
func refused(t testing.TB, f *saml.Federation, p identity.Provider, fl *login.Flow, text string) string {
	t.Helper()
	v, once, err := arrive(t, f, p, fl, text)
	var wrong *login.Wrong
	if !errors.As(err, &wrong) || !reflect.DeepEqual(v, identity.Visitor{}) || once != nil {
		t.Fatalf("Arrive = %+v, %v, %v; want a refusal", v, once, err)
	}
	return wrong.Reason
}

func welcome(t testing.TB, f *saml.Federation, p identity.Provider, text string) identity.Visitor {
	t.Helper()
	v, once, err := arrive(t, f, p, flow(), text)
	if err != nil || len(once) != 1 {
		t.Fatalf("Arrive = %+v, %v, %v", v, once, err)
	}
	return v
}

func TestArrive_takes_what_a_provider_signs(t *testing.T) {
	t.Parallel()
	both := signing{by: theirs()}.sign(t, signed(t, good), "_response")
	for name, text := range map[string]string{
		"the assertion signed":            signed(t, good),
		"the response signed":             signing{by: theirs()}.sign(t, good, "_response"),
		"both signed":                     both,
		"an XML declaration":              `<?xml version="1.0" encoding="UTF-8"?>` + signed(t, good),
		"SHA-512":                         signing{by: theirs(), method: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", digest: "http://www.w3.org/2001/04/xmlenc#sha512"}.sign(t, good, "_assertion"),
		"ECDSA":                           signing{by: theirEC(), method: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"}.sign(t, good, "_assertion"),
		"a stranger's key named in it":    signing{by: theirs(), keyInfo: stranger().certificate}.sign(t, good, "_assertion"),
		"the provider's key named in it":  signing{by: theirs(), keyInfo: theirs().certificate}.sign(t, good, "_assertion"),
		"a minute's difference of clocks": signed(t, strings.ReplaceAll(good, "19:59:30Z", "20:00:59Z")),
		"CDATA, which is text":            signed(t, strings.Replace(good, "Dana@example.test", "<![CDATA[Dana@example.test]]>", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if v := welcome(t, federation(), provider(stranger(), theirEC(), theirs()), text); !reflect.DeepEqual(v, dana) {
				if name == "a stranger's key named in it" {
					t.Fatalf("the visitor is %+v", v)
				}
				t.Fatalf("the visitor is %+v, want %+v", v, dana)
			}
		})
	}
}

// rule F2: each case changes one thing before a valid signature is made.
func TestArrive_checks_every_condition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, changed string }{
		{"status", "status:Success", "status:Responder"},
		{"no status", `<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>`, ""},
		{"response version", `ID="_response" Version="2.0"`, `ID="_response" Version="1.1"`},
		{"assertion version", `ID="_assertion" Version="2.0"`, `ID="_assertion" Version="1.1"`},
		{"response issuer", "<saml:Issuer>https://idp.example.test<", "<saml:Issuer>https://other.example.test<"},
		{"assertion issuer", `:entity">https://idp.example.test<`, `:entity">https://other.example.test<`},
		{"format of the issuer", "nameid-format:entity", "nameid-format:persistent"},
		{"destination", `Destination="https://gate.example.test/saml"`, `Destination="https://gate.example.test/saml2"`},
		{"no destination", ` Destination="https://gate.example.test/saml"`, ""},
		{"recipient", `Recipient="https://gate.example.test/saml"`, `Recipient="https://other.example.test/saml"`},
		{"no recipient", ` Recipient="https://gate.example.test/saml"`, ""},
		{"audience", "/saml/metadata.xml<", "/saml/metadata<"},
		{"no audience", "<saml:AudienceRestriction><saml:Audience>https://gate.example.test/saml/metadata.xml</saml:Audience></saml:AudienceRestriction>", ""},
		{"two audiences that must both be us", "<saml:AudienceRestriction>", "<saml:AudienceRestriction><saml:Audience>https://other.example.test</saml:Audience></saml:AudienceRestriction><saml:AudienceRestriction>"},
		{"unknown condition", "<saml:AudienceRestriction>", "<saml:Condition/><saml:AudienceRestriction>"},
		{"no conditions", "saml:Conditions", "saml:Other"},
		{"conditions too early", `NotBefore="2026-11-22T19:59:30Z"`, `NotBefore="2026-11-22T20:01:01Z"`},
		{"conditions too late", `NotOnOrAfter="2026-11-22T20:06:00Z"`, `NotOnOrAfter="2026-11-22T19:59:00Z"`},
		{"confirmation too early", "<saml:SubjectConfirmationData ", `<saml:SubjectConfirmationData NotBefore="2026-11-22T20:01:01Z" `},
		{"confirmation too late", `NotOnOrAfter="2026-11-22T20:05:00Z"`, `NotOnOrAfter="2026-11-22T19:59:00Z"`},
		{"confirmation without end", ` NotOnOrAfter="2026-11-22T20:05:00Z"`, ""},
		{"no time", `NotOnOrAfter="2026-11-22T20:05:00Z"`, `NotOnOrAfter="tomorrow"`},
		{"session over", `SessionIndex="_s"`, `SessionNotOnOrAfter="2026-11-22T19:00:00Z"`},
		{"nobody signed in", "saml:AuthnStatement", "saml:Other"},
		{"not for the bearer", "cm:bearer", "cm:sender-vouches"},
		{"response to another request", `InResponseTo="_request">`, `InResponseTo="_other">`},
		{"response to no request", ` InResponseTo="_request">`, ">"},
		{"confirmation of another request", `InResponseTo="_request"/>`, `InResponseTo="_other"/>`},
		{"confirmation of no request", ` InResponseTo="_request"/>`, "/>"},
		{"passing identity", "nameid-format:emailAddress", "nameid-format:transient"},
		{"e-mail address that is none", "Dana@example.test", "dana"},
		{"empty NameID", "Dana@example.test", " "},
		{"markup in the NameID", "Dana@example.test", "Dana@example.test<saml:x/>.evil"},
		{"two NameIDs", "<saml:SubjectConfirmation ", "<saml:NameID>mallory</saml:NameID><saml:SubjectConfirmation "},
		{"one ID twice", `SessionIndex="_s"`, `ID="_response"`},
	} {
		for _, id := range []string{"_assertion", "_response"} {
			t.Run(c.name+" in a signed "+id[1:], func(t *testing.T) {
				t.Parallel()
				text := strings.ReplaceAll(good, c.old, c.changed)
				if text == good {
					t.Fatal("nothing was changed")
				}
				refused(t, federation(), provider(theirs()), flow(), signing{by: theirs()}.sign(t, text, id))
			})
		}
	}
}

// rule F1
// While a provider changes its certificate both are set, and either may sign; the old one is trusted until it is taken out.
func TestArrive_while_certificates_change(t *testing.T) {
	t.Parallel()
	before, during, after := provider(theirs()), provider(theirs(), stranger()), provider(stranger())
	for _, c := range []struct {
		by   signer
		p    identity.Provider
		want bool
	}{{theirs(), before, true}, {stranger(), before, false}, {theirs(), during, true}, {stranger(), during, true}, {theirs(), after, false}, {stranger(), after, true}} {
		text := signing{by: c.by}.sign(t, good, "_assertion")
		if !c.want {
			refused(t, federation(), c.p, flow(), text)
		} else if v := welcome(t, federation(), c.p, text); !reflect.DeepEqual(v, dana) {
			t.Errorf("%+v came", v)
		}
	}
}

func TestArrive_refuses_other_signatures(t *testing.T) {
	t.Parallel()
	inclusive := "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
	for name, text := range map[string]string{
		"none":                                  good,
		"a stranger's":                          signing{by: stranger(), keyInfo: stranger().certificate}.sign(t, good, "_assertion"),
		"a stranger's that names the right key": signing{by: stranger(), keyInfo: theirs().certificate}.sign(t, good, "_assertion"),
		"a stranger's on the response, the right one on the assertion": signing{by: stranger()}.sign(t, signed(t, good), "_response"),
		"the right one on the response, a stranger's on the assertion": signing{by: theirs()}.sign(t, signing{by: stranger()}.sign(t, good, "_assertion"), "_response"),
		"SHA-1":                       signing{by: theirs(), method: "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}.sign(t, good, "_assertion"),
		"SHA-1 digest":                signing{by: theirs(), digest: "http://www.w3.org/2000/09/xmldsig#sha1"}.sign(t, good, "_assertion"),
		"HMAC with the public key":    signing{hmac: []byte(armoured(theirs())), method: "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"}.sign(t, good, "_assertion"),
		"inclusive canonicalisation":  signing{by: theirs(), c14n: inclusive}.sign(t, good, "_assertion"),
		"with comments":               signing{by: theirs(), c14n: exclusive + "WithComments"}.sign(t, good, "_assertion"),
		"over something else":         signing{by: theirs(), reference: "#_other"}.sign(t, strings.Replace(good, `SessionIndex="_s"`, `ID="_other" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"`, 1), "_assertion"),
		"over the whole document":     signing{by: theirs(), reference: "#_response"}.sign(t, good, "_assertion"),
		"two references":              signing{by: theirs(), twice: true}.sign(t, good, "_assertion"),
		"another transform":           signing{by: theirs(), transform: "http://www.w3.org/TR/1999/REC-xpath-19991116"}.sign(t, good, "_assertion"),
		"another name":                strings.Replace(signed(t, good), "Dana@", "Mallory@", 1),
		"another digest":              strings.Replace(signed(t, good), "<ds:DigestValue>", "<ds:DigestValue>AA", 1),
		"a value that is no base64":   strings.Replace(signed(t, good), "<ds:SignatureValue>", "<ds:SignatureValue>!", 1),
		"two signatures on one":       signing{by: theirs()}.sign(t, signed(t, good), "_assertion"),
		"an attribute more":           strings.Replace(signed(t, good), `<saml:Attribute Name="displayName">`, `<saml:Attribute Name="displayName" x="y">`, 1),
		"RSA method with an EC value": signing{by: theirEC()}.sign(t, good, "_assertion"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, federation(), provider(theirs()), flow(), text)
		})
	}
}

// rule F2: what makes parsers disagree is refused even where it is signed, or where no signature covers it.
func TestArrive_refuses_hostile_XML(t *testing.T) {
	t.Parallel()
	text := signed(t, good)
	deep := strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)
	for name, hostile := range map[string]string{
		"comment in the NameID":      strings.Replace(text, "Dana@example.test", "Dana@example.test<!-- -->.evil.test", 1),
		"comment in a signed text":   signed(t, strings.Replace(good, "Dana@example.test", "Dana@example.test<!-- -->.evil.test", 1)),
		"comment outside":            "<!-- -->" + text,
		"document type":              `<!DOCTYPE samlp:Response>` + text,
		"entity":                     `<!DOCTYPE r [<!ENTITY d "Dana">]>` + strings.Replace(text, "Dana@", "&d;@", 1),
		"external entity":            `<!DOCTYPE r [<!ENTITY d SYSTEM "file:///etc/passwd">]>` + strings.Replace(text, "Dana@", "&d;@", 1),
		"unknown entity":             strings.Replace(text, "Dana@", "&d;@", 1),
		"processing instruction":     strings.Replace(text, "Dana@", "<?x y?>Dana@", 1),
		"stylesheet":                 `<?xml-stylesheet href="x"?>` + text,
		"another encoding":           `<?xml version="1.0" encoding="UTF-7"?>` + text,
		"text behind":                text + "x",
		"second root":                text + text,
		"half":                       text[:len(text)/2],
		"one attribute twice":        strings.Replace(text, `Version="2.0"`, `Version="2.0" Version="2.0"`, 1),
		"a name with two colons":     strings.Replace(text, "<samlp:Status>", "<samlp:Status a:b:c=\"\">", 1),
		"too deep":                   strings.Replace(text, "<samlp:Status>", "<samlp:Extensions>"+deep+"</samlp:Extensions><samlp:Status>", 1),
		"too large":                  strings.Replace(text, "<samlp:Status>", strings.Repeat(" ", 257<<10)+"<samlp:Status>", 1),
		"another namespace":          strings.ReplaceAll(text, "SAML:2.0:protocol", "SAML:2.0:protocol2"),
		"undeclared prefix":          strings.ReplaceAll(text, "samlp:Status>", "nobody:Status>"),
		"no XML":                     "hello",
		"nothing":                    "",
		"no UTF-8":                   strings.Replace(text, "Dana@", "Dana\xff@", 1),
		"two assertions":             strings.Replace(text, "</samlp:Response>", strings.Replace(goodAssertion, "_assertion", "_second", 1)+"</samlp:Response>", 1),
		"two signed assertions":      signing{by: theirs()}.sign(t, strings.Replace(text, "</samlp:Response>", strings.Replace(goodAssertion, "_assertion", "_second", 1)+"</samlp:Response>", 1), "_second"),
		"assertion inside advice":    signed(t, strings.Replace(good, "<saml:AuthnStatement", "<saml:Advice>"+strings.Replace(goodAssertion, "_assertion", "_second", 1)+"</saml:Advice><saml:AuthnStatement", 1)),
		"no assertion":               strings.Replace(good, goodAssertion, "", 1),
		"an assertion and no answer": signing{by: theirs()}.sign(t, goodAssertion, "_assertion"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, federation(), provider(theirs()), flow(), hostile)
		})
	}
	t.Run("no base64", func(t *testing.T) {
		t.Parallel()
		if _, _, err := federation().Arrive(t.Context(), provider(theirs()), flow(), login.Return{Response: "<>"}); err == nil {
			t.Fatal("it was taken")
		}
	})
	t.Run("its reasons repeat nothing", func(t *testing.T) {
		t.Parallel()
		if reason := refused(t, federation(), provider(theirs()), flow(), strings.Replace(text, "<samlp:Status>", "<mallory:Status>", 1)); strings.Contains(reason, "mallory") {
			t.Fatal(reason)
		}
	})
}

func TestArrive_binds_a_response_to_its_request(t *testing.T) {
	t.Parallel()
	begins := provider(theirs())
	begins.Settings.SAML.IDPInitiated = true
	answer, alone := signed(t, good), signed(t, unasked())
	t.Run("without a request only where the provider may begin", func(t *testing.T) {
		t.Parallel()
		refused(t, federation(), provider(theirs()), nil, alone)
		if v, once, err := arrive(t, federation(), begins, nil, alone); err != nil || !reflect.DeepEqual(v, dana) || len(once) != 1 {
			t.Fatal(v, once, err)
		}
	})
	t.Run("who begins names no request", func(t *testing.T) {
		t.Parallel()
		refused(t, federation(), begins, nil, answer)
		refused(t, federation(), begins, nil, signed(t, strings.Replace(good, ` InResponseTo="_request">`, ">", 1)))
		refused(t, federation(), begins, nil, signed(t, strings.Replace(good, ` InResponseTo="_request"/>`, "/>", 1)))
	})
	t.Run("a request wants its answer even from who may begin", func(t *testing.T) {
		t.Parallel()
		refused(t, federation(), begins, flow(), alone)
	})
	t.Run("another flow's", func(t *testing.T) {
		t.Parallel()
		for name, change := range map[string]func(*login.Flow){
			"state":    func(f *login.Flow) { f.State = secret.New("_other") },
			"no state": func(f *login.Flow) { f.State = secret.String{} },
			"provider": func(f *login.Flow) { f.Provider = "other" },
			"over":     func(f *login.Flow) { f.Expires = now },
		} {
			changed := flow()
			change(changed)
			if reason := refused(t, federation(), provider(theirs()), changed, answer); reason == "" {
				t.Error(name)
			}
		}
	})
	t.Run("what the caller says it answers", func(t *testing.T) {
		t.Parallel()
		said := back(answer)
		said.State = "_other"
		if _, _, err := federation().Arrive(t.Context(), provider(theirs()), flow(), said); err == nil {
			t.Fatal("it was taken")
		}
		said.State = request
		if _, _, err := federation().Arrive(t.Context(), provider(theirs()), flow(), said); err != nil {
			t.Fatal(err)
		}
	})
}

func TestArrive_names_what_counts_once(t *testing.T) {
	t.Parallel()
	_, first, err := arrive(t, federation(), provider(theirs()), flow(), signed(t, good))
	if err != nil {
		t.Fatal(err)
	}
	if want := now.Add(7 * time.Minute); !first[0].Until.Equal(want) { // until the later of its two ends, and the grace
		t.Errorf("kept until %v, want %v", first[0].Until, want)
	}
	_, again, _ := arrive(t, federation(), provider(theirs()), flow(), signing{by: theirs()}.sign(t, signed(t, good), "_response"))
	if again[0].Key != first[0].Key {
		t.Error("the same assertion in another envelope has another key")
	}
	_, other, _ := arrive(t, federation(), provider(theirs()), flow(), signed2(t))
	if other[0].Key == first[0].Key {
		t.Error("two assertions have one key")
	}
}

// signed2 is a good response with another assertion.
func signed2(t *testing.T) string {
	t.Helper()
	return signing{by: theirs()}.sign(t, strings.Replace(good, "_assertion", "_assertion2", 1), "_assertion2")
}

// groups are two attributes of that name.
const groups = `<saml:Attribute Name="groups"><saml:AttributeValue>agents</saml:AttributeValue><saml:AttributeValue/><saml:AttributeValue>basement</saml:AttributeValue></saml:Attribute>` +
	`<saml:Attribute Name="groups"><saml:AttributeValue>third floor</saml:AttributeValue></saml:Attribute>`

func TestArrive_says_who_came(t *testing.T) {
	t.Parallel()
	email := `"urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">Dana@example.test`
	persistent := `"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"`
	for _, c := range []struct {
		name, old, changed string
		settings           func(*identity.ProviderSettings)
		want               identity.Visitor
	}{
		{"by name, too", "", "", func(s *identity.ProviderSettings) { s.SAML.NameClaim = "${uid}" }, with(func(v *identity.Visitor) { v.Name = "dana" })},
		{"by NameID", "", "", func(s *identity.ProviderSettings) { s.SAML.NameClaim = "${NameID}" }, with(func(v *identity.Visitor) { v.Name = "Dana@example.test" })},
		{
			"an attribute is no NameID", `Name="displayName"`, `Name="NameID"`, func(s *identity.ProviderSettings) { s.SAML.NameClaim = "${NameID}" },
			with(func(v *identity.Visitor) { v.Name, v.Display = "Dana@example.test", "" }),
		},
		{"by a persistent id", email, persistent + ">D4", nil, identity.Visitor{Subject: "persistent:D4", Display: "Dana Scully"}},
		{"by a persistent id of ours", email, persistent + ` NameQualifier="` + issuer + `" SPNameQualifier="` + entityID + `">D4`, nil, identity.Visitor{Subject: "persistent:D4", Display: "Dana Scully"}},
		{"by an attribute for mail, which nobody vouches for", email, persistent + ">D4", func(*identity.ProviderSettings) {}, identity.Visitor{Subject: "persistent:D4", Display: "Dana Scully"}},
		{"by an unspecified id", ` Format=` + email, ">dana", nil, identity.Visitor{Subject: "unspecified:dana", Display: "Dana Scully"}},
		{"cn for want of a display name", `Name="displayName"`, `Name="cn"`, nil, dana},
		{"provisioned", "", "", func(s *identity.ProviderSettings) {
			s.JIT = identity.JIT{Provision: true, Display: "${uid}!", Email: "${uid}@example.test"}
		}, with(func(v *identity.Visitor) { v.Display, v.Email = "dana!", "dana@example.test" })},
		{"provisioned under another address", "", "", func(s *identity.ProviderSettings) {
			s.JIT = identity.JIT{Provision: true, Display: "${nobody}", Email: "boss@example.test"}
		}, with(func(v *identity.Visitor) {
			v.Display, v.Email, v.EmailVerified, v.Unmapped = "", "boss@example.test", false, "the display name: there is no value for ${nobody}"
		})},
		{"provisioned without an address", "", "", func(s *identity.ProviderSettings) {
			s.JIT = identity.JIT{Provision: true, Email: "${upn}"}
		}, with(func(v *identity.Visitor) {
			v.Email, v.EmailVerified, v.Unmapped = "", false, "the e-mail address: there is no value for ${upn}"
		})},
		{"with groups", `<saml:AttributeStatement>`, `<saml:AttributeStatement>` + groups, func(s *identity.ProviderSettings) {
			s.JIT = identity.JIT{Provision: true, Groups: "groups"}
		}, with(func(v *identity.Visitor) {
			v.Groups, v.GroupsSaid = []string{"agents", "basement", "third floor"}, true
		})},
		{"with groups by a friendly name", `<saml:AttributeStatement>`, `<saml:AttributeStatement>` + strings.ReplaceAll(groups, ` Name="groups"`, ` Name="urn:x" FriendlyName="groups"`), func(s *identity.ProviderSettings) {
			s.JIT = identity.JIT{Provision: true, Groups: "groups"}
		}, with(func(v *identity.Visitor) {
			v.Groups, v.GroupsSaid = []string{"agents", "basement", "third floor"}, true
		})},
		{"with groups by the name where another has it for a friendly one", `<saml:AttributeStatement>`, `<saml:AttributeStatement>` + strings.Replace(groups, ` Name="groups"`, ` Name="urn:x" FriendlyName="groups"`, 1), func(s *identity.ProviderSettings) {
			s.JIT = identity.JIT{Provision: true, Groups: "groups"}
		}, with(func(v *identity.Visitor) { v.Groups, v.GroupsSaid = []string{"third floor"}, true })},
		{"with no groups", "", "", func(s *identity.ProviderSettings) { s.JIT = identity.JIT{Provision: true, Groups: "groups"} }, dana},
		{"with an attribute for groups that has no value", `<saml:AttributeStatement>`, `<saml:AttributeStatement><saml:Attribute Name="groups"/>`, func(s *identity.ProviderSettings) {
			s.JIT = identity.JIT{Provision: true, Groups: "groups"}
		}, with(func(v *identity.Visitor) { v.GroupsSaid = true })},
		{"with groups that nobody asks for", `<saml:AttributeStatement>`, `<saml:AttributeStatement>` + groups, func(s *identity.ProviderSettings) { s.JIT = identity.JIT{Provision: true} }, dana},
		{"with groups of people who are not provisioned", `<saml:AttributeStatement>`, `<saml:AttributeStatement>` + groups, func(s *identity.ProviderSettings) { s.JIT = identity.JIT{Groups: "groups"} }, dana},
		{"until the provider's session ends", `SessionIndex="_s"`, `SessionIndex="_s" SessionNotOnOrAfter="2031-01-01T00:00:00.5Z"`, nil, with(func(v *identity.Visitor) {
			v.Until = time.Date(2031, 1, 1, 0, 0, 0, 500_000_000, time.UTC)
		})},
		{"until the first of the provider's sessions ends", `<saml:AuthnStatement`, `<saml:AuthnStatement AuthnInstant="2026-11-22T20:00:00Z" SessionNotOnOrAfter="2031-01-02T00:00:00Z"/><saml:AuthnStatement SessionNotOnOrAfter="2031-01-01T00:00:00Z"`, nil, with(func(v *identity.Visitor) {
			v.Until = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := provider(theirs())
			if c.settings != nil {
				c.settings(&p.Settings)
			}
			text := strings.Replace(good, c.old, c.changed, 1)
			if c.name == "by an attribute for mail, which nobody vouches for" {
				text = strings.Replace(text, `Name="displayName"`, `Name="mail"`, 1)
				text = strings.Replace(text, "Dana Scully", "d@example.test", 1)
				c.want.Display, c.want.Email = "", "d@example.test"
			}
			if v := welcome(t, federation(), p, signed(t, text)); !reflect.DeepEqual(v, c.want) {
				t.Fatalf("the visitor is %+v, want %+v", v, c.want)
			}
		})
	}
	t.Run("refuses a name without a value", func(t *testing.T) {
		t.Parallel()
		p := provider(theirs())
		p.Settings.SAML.NameClaim = "${nobody}"
		if reason := refused(t, federation(), p, flow(), signed(t, good)); !strings.Contains(reason, "nobody") {
			t.Fatal(reason)
		}
	})
	t.Run("refuses a persistent id of other parties", func(t *testing.T) {
		t.Parallel()
		refused(t, federation(), provider(theirs()), flow(), signed(t, strings.Replace(good, email, persistent+` SPNameQualifier="other">D4`, 1)))
	})
}

func with(change func(*identity.Visitor)) identity.Visitor {
	v := dana
	change(&v)
	return v
}
