package saml_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/gatehouse-project/gatehouse/internal/domain/login"
)

// rule F1: a signed message is wrapped so that one part is verified and another read. Somebody who was once signed in as dana
// tries to be mallory.
func TestArrive_refuses_wrapped_signatures(t *testing.T) {
	t.Parallel()
	signedResponse := signing{by: theirs()}.sign(t, good, "_response")
	signedAssertion := signed(t, good)
	for name, wrap := range map[string]func(d *etree.Document){
		"1: the response inside the signature of a forged one": func(d *etree.Document) {
			inner, signature := unsigned(d.Root())
			forge(d.Root(), "_forged", "_forged2")
			signature.AddChild(inner)
		},
		"2: the response before its signature, both in a forged one": func(d *etree.Document) {
			inner, signature := unsigned(d.Root())
			forge(d.Root(), "_forged", "_forged2")
			d.Root().RemoveChild(signature)
			d.Root().AddChild(inner)
			d.Root().AddChild(signature)
		},
		"3: a forged assertion before the signed one": func(d *etree.Document) {
			e := assertion(d)
			forged, _ := unsigned(e)
			rename(forged, "_forged")
			d.Root().InsertChildAt(e.Index(), forged)
		},
		"4: the signed assertion inside a forged one": func(d *etree.Document) {
			e := assertion(d)
			forged, _ := unsigned(e)
			rename(forged, "_forged")
			d.Root().RemoveChild(e)
			forged.AddChild(e)
			d.Root().AddChild(forged)
		},
		"5: a forged assertion with the signature, the signed one behind it": func(d *etree.Document) {
			e := assertion(d)
			inner, _ := unsigned(e)
			rename(e, "_forged")
			d.Root().AddChild(inner)
		},
		"6: a forged assertion, the signed one inside its signature": func(d *etree.Document) {
			e := assertion(d)
			inner, signature := unsigned(e)
			rename(e, "_forged")
			signature.AddChild(inner)
		},
		"7: a forged assertion of the same id in Extensions": func(d *etree.Document) {
			forged, _ := unsigned(assertion(d))
			rename(forged, "_assertion")
			extensions := etree.NewElement("samlp:Extensions")
			extensions.AddChild(forged)
			d.Root().InsertChildAt(0, extensions)
		},
		"8: a forged assertion, the signed one in an object of its signature": func(d *etree.Document) {
			e := assertion(d)
			inner, signature := unsigned(e)
			rename(e, "_assertion")
			object := signature.CreateElement("ds:Object")
			object.AddChild(inner)
		},
		"a forged assertion of the same id beside the signed one": func(d *etree.Document) {
			forged, _ := unsigned(assertion(d))
			rename(forged, "_assertion")
			d.Root().AddChild(forged)
		},
		"the signed assertion in another namespace's wrapper": func(d *etree.Document) {
			e := assertion(d)
			forged, _ := unsigned(e)
			rename(forged, "_forged")
			d.Root().RemoveChild(e)
			wrapper := etree.NewElement("x:Wrapper")
			wrapper.CreateAttr("xmlns:x", "urn:x")
			wrapper.AddChild(e)
			d.Root().AddChild(wrapper)
			d.Root().AddChild(forged)
		},
		"the signature moved to the response": func(d *etree.Document) {
			e := assertion(d)
			signature := e.SelectElement("Signature")
			e.RemoveChild(signature)
			forge(d.Root(), "_response", "_forged")
			d.Root().AddChild(signature)
		},
		"a forged second name": func(d *etree.Document) {
			subject := assertion(d).SelectElement("Subject")
			subject.InsertChildAt(0, subject.SelectElement("NameID").Copy())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := signedAssertion
			if strings.HasPrefix(name, "1") || strings.HasPrefix(name, "2") {
				original = signedResponse
			}
			d := tree(t, original)
			wrap(d)
			text := write(t, d)
			if name != "a forged second name" && !strings.Contains(text, "Mallory@") {
				t.Fatal("nothing was forged")
			}
			refused(t, federation(), provider(theirs()), flow(), text)
		})
	}
}

func assertion(d *etree.Document) *etree.Element { return d.Root().SelectElement("Assertion") }

// unsigned is a copy of an element without its signature, and the original's signature.
func unsigned(e *etree.Element) (bare, signature *etree.Element) {
	bare = e.Copy()
	bare.RemoveChild(bare.SelectElement("Signature"))
	return bare, e.SelectElement("Signature")
}

// rename makes an assertion say that mallory came.
func rename(e *etree.Element, id string) {
	e.CreateAttr("ID", id)
	e.FindElement("./Subject/NameID").SetText("Mallory@example.test")
}

func forge(response *etree.Element, id, assertionID string) {
	response.CreateAttr("ID", id)
	rename(response.SelectElement("Assertion"), assertionID)
}

// Whatever becomes of the bytes of a signed response, nobody but dana comes in with it, and with a key that signed nothing nobody does (rule
// F1). The seeds are signed by a key that nobody has, so that every process of the fuzzer knows its certificate.
func FuzzArrive(f *testing.F) {
	f.Add(load(f, "testdata/signed-assertion.xml"))
	f.Add(load(f, "testdata/signed-both.xml"))
	f.Add(good)
	f.Add(sealed(f, good, "aes256-gcm"))
	gate, p, strangers := federation(), provider(), provider(stranger())
	gate.Key = holding(ours())
	p.Settings.SAML.Certificate = load(f, "testdata/idp.crt")
	f.Fuzz(func(t *testing.T, text string) {
		gate.StateOf(back(text))
		gate.StateOf(login.Return{Response: text})
		v, once, err := arrive(t, gate, p, flow(), text)
		if err == nil && (!reflect.DeepEqual(v, dana) || len(once) != 1) {
			t.Fatalf("%+v came in by %s", v, text)
		}
		if v, _, err := arrive(t, gate, strangers, flow(), text); err == nil {
			t.Fatalf("%+v came in by a key that signed nothing: %s", v, text)
		}
	})
}
