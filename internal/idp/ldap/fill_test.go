package ldap

import (
	"bytes"
	"slices"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

var strange = []string{"dana", "*", ")(uid=*", `\00`, `\`, "dana\x00", "#dana", " dana ", "a,b+c=d", `"q"`, "<>;", "{name}", "ün@x", "a@b@c", "\xff\xfe"}

// rule F6: whatever was presented, a filter compares one attribute with exactly that.
func FuzzFill_makes_a_filter_of_one_value(f *testing.F) {
	for _, s := range strange {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		filter := presented{name, name}.fill("(&(objectClass=person)(uid={login}))", goldap.EscapeFilter)
		p, err := goldap.CompileFilter(filter)
		if err != nil {
			t.Fatalf("%q: %v", filter, err)
		}
		if p.Tag != goldap.FilterAnd || len(p.Children) != 2 {
			t.Fatalf("%q has another shape", filter)
		}
		uid := p.Children[1]
		if uid.Tag != goldap.FilterEqualityMatch || len(uid.Children) != 2 || octets(uid.Children[0]) != "uid" || octets(uid.Children[1]) != name {
			t.Fatalf("%q compares %q", filter, uid.Bytes())
		}
	})
}

func octets(p *ber.Packet) string { return p.Data.String() }

// rule F6: whatever was presented, and is a name at all, a DN differs from its template in that one value.
func FuzzFill_makes_a_DN_of_one_value(f *testing.F) {
	for _, s := range strange {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		who, err := settled{}.presented(name)
		if err != nil {
			return
		}
		text := who.fill("uid={login},ou=people,dc=test", goldap.EscapeDN)
		dn, err := goldap.ParseDN(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if len(dn.RDNs) != 3 || len(dn.RDNs[0].Attributes) != 1 || dn.RDNs[1].String() != "ou=people" || dn.RDNs[2].String() != "dc=test" {
			t.Fatalf("%q has another shape", text)
		}
		if uid := dn.RDNs[0].Attributes[0]; uid.Type != "uid" || uid.Value != who.whole {
			t.Fatalf("%q names %q, not %q", text, uid.Value, who.whole)
		}
	})
}

// Filters come from settings; one that is taken has its places where the entry can be asked.
func FuzzFilterTerms_cover_every_place(f *testing.F) {
	for _, s := range []string{"(uid={name})", "(|(uid={login})(mail={mail}))", "(uid=*{name}*)", "(&(a=b)(c={name}x{mail}))", "(!(uid={name}))", `(a=\28{name})`} {
		f.Add(s, "dana")
	}
	f.Fuzz(func(t *testing.T, filter, name string) {
		terms, wrong := filterTerms(filter)
		if wrong != "" {
			return
		}
		who := presented{name, name}
		p, err := goldap.CompileFilter(who.fill(filter, goldap.EscapeFilter))
		if err != nil {
			t.Fatalf("%q with %q: %v", filter, name, err)
		}
		var values []string
		equalities(p, &values)
		for _, one := range terms {
			if want := one.attribute + "=" + who.fill(one.value, plain); !slices.Contains(values, want) {
				t.Fatalf("%q does not compare %q, but %q", filter, want, values)
			}
		}
	})
}

func equalities(p *ber.Packet, values *[]string) {
	if p.Tag == goldap.FilterEqualityMatch && len(p.Children) == 2 {
		*values = append(*values, octets(p.Children[0])+"="+octets(p.Children[1]))
		return
	}
	for _, child := range p.Children {
		equalities(child, values)
	}
}

// The answer to StartTLS may come from anybody on the way.
func FuzzStartsTLS(f *testing.F) {
	f.Add([]byte("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x80\x02\x01\x01\x78\x00\x00\x00"))
	f.Add([]byte("\x30\x03\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if err := startsTLS(bytes.NewReader(answer)); err == nil && !bytes.Contains(answer, []byte{0x78}) {
			t.Fatalf("% x starts TLS", answer)
		}
	})
}
