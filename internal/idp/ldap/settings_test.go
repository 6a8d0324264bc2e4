package ldap_test

import (
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/idp/ldap"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

func lawful() identity.Provider {
	return bySearch(&peers.Directory{Base: "dc=example,dc=test", People: "ou=people,dc=example,dc=test", Service: "cn=gate", ServicePassword: "x"},
		func(p *identity.Provider) { p.Settings.LDAP.URL = "ldaps://dir.example.test" })
}

func TestCheck_takes(t *testing.T) {
	t.Parallel()
	ca := string(peers.NewCertificate(t, "localhost").CA)
	for what, change := range map[string]func(*identity.Provider, *identity.LDAPSettings){
		"a search":           func(*identity.Provider, *identity.LDAPSettings) {},
		"StartTLS":           func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldap://dir.example.test:389/" },
		"the default filter": func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "" },
		"a filter of several": func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Filter = "(&(objectClass=person)(!(uid=root))(|(uid={name})(alias=smtp:{mail})))"
		},
		"bits of a number": func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Active = "(!(userAccountControl:1.2.840.113556.1.4.803:=2))"
		},
		"an authority": func(_ *identity.Provider, s *identity.LDAPSettings) { s.CA = ca + "\n" + ca },
		"a template": func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Resolve, s.Template = "construct", "uid={name},ou=people,dc=example,dc=test"
		},
		"a template of several": func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Resolve, s.Template = "construct", "uid={name}+mail={mail},dc=test"
		},
		"a template without a service": func(p *identity.Provider, s *identity.LDAPSettings) {
			p.Secret = secret.String{}
			s.BindDN, s.BaseDN = "", ""
			s.Resolve, s.Template = "construct", "uid={name},dc=test"
		},
		"names with an @": func(p *identity.Provider, s *identity.LDAPSettings) {
			p.Secret = secret.String{}
			s.BindDN = ""
			s.Resolve = "upn"
		},
	} {
		p := lawful()
		change(&p, p.Settings.LDAP)
		if err := (ldap.Directory{}).Check(p); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCheck_refuses(t *testing.T) {
	t.Parallel()
	key := string(peers.NewCertificate(t, "localhost").Key)
	for _, c := range []struct {
		path   string
		change func(*identity.Provider, *identity.LDAPSettings)
	}{
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "dir.example.test:636" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldapi:///run/slapd" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "cldap://dir.example.test" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "http://dir.example.test" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldap+plain://dir.example.test" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldap://dir.example.test?tls=no" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldaps://cn:pw@dir.example.test" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldaps://dir.example.test/dc=test" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldaps://dir.example.test:0" }},
		{"ldap.url", func(_ *identity.Provider, s *identity.LDAPSettings) { s.URL = "ldaps://dir.example.test:70000" }},
		{"ldap.ca", func(_ *identity.Provider, s *identity.LDAPSettings) { s.CA = "no certificate" }},
		{"ldap.ca", func(_ *identity.Provider, s *identity.LDAPSettings) { s.CA = key }},
		{"ldap.resolve", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Resolve = "" }},
		{"ldap.bind_dn", func(p *identity.Provider, s *identity.LDAPSettings) { s.BindDN, p.Secret = "", secret.String{} }},
		{"ldap.bind_dn", func(p *identity.Provider, _ *identity.LDAPSettings) { p.Secret = secret.String{} }},
		{"ldap.base_dn", func(_ *identity.Provider, s *identity.LDAPSettings) { s.BaseDN = "" }},
		{"ldap.base_dn", func(_ *identity.Provider, s *identity.LDAPSettings) { s.BaseDN = "people" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "(uid=dana)" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "(uid={user})" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "(uid={name})(uid=x)" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "(uid={name}" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "(uid=*{name}*)" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "(uid~={name})" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "(uid:caseIgnoreMatch:={name})" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = "({name}=dana)" }},
		{"ldap.filter", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Filter = `(uid=\{name})` }},
		{"ldap.active", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Active = "memberOf=cn=staff" }},
		{"ldap.active", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Active = "(uid={name})" }},
		{"ldap.subject", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Subject = "entry)(uid" }},
		{"ldap.mail", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Mail = "mail=*" }},
		{"ldap.template", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Resolve = "construct" }},
		{"ldap.template", func(_ *identity.Provider, s *identity.LDAPSettings) { s.Resolve, s.Template = "construct", "{login}" }},
		{"ldap.template", func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Resolve, s.Template = "construct", "uid=dana,dc=test"
		}},
		{"ldap.template", func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Resolve, s.Template = "construct", "uid={name},ou={mail},dc=test"
		}},
		{"ldap.template", func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Resolve, s.Template = "construct", "uid={user},dc=test"
		}},
		{"ldap.template", func(_ *identity.Provider, s *identity.LDAPSettings) {
			s.Resolve, s.Template = "construct", "{name}=dana,dc=test"
		}},
	} {
		p := lawful()
		c.change(&p, p.Settings.LDAP)
		err := ldap.Directory{}.Check(p)
		fields := fault.FieldsOf(err)
		if !fault.Is(err, fault.Invalid) || len(fields) != 1 || fields[0].Path != c.path {
			t.Errorf("%+v: %v, want a fault of %s", *p.Settings.LDAP, err, c.path)
		}
	}
	for _, p := range []identity.Provider{{Kind: identity.LDAP}, {Kind: identity.OIDC, Settings: identity.ProviderSettings{LDAP: &identity.LDAPSettings{}}}} {
		if err := (ldap.Directory{}).Check(p); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
