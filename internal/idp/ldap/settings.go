package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The ways from a name to a DN, as LDAPSettings.Resolve names them.
const (
	bySearch   = "search"
	byTemplate = "construct"
	byUPN      = "upn"
)

// What stands in filters and templates for what was presented: the whole of it, or the part before its last @.
const (
	placeLogin = "{login}"
	placeMail  = "{mail}" // the same as {login}: what is no e-mail address equals none
	placeName  = "{name}"
)

const (
	anything     = "(objectClass=*)"
	upnAttribute = "userPrincipalName"
	maxPresented = 256 // bytes
)

// noAttributes asks for entries without attributes (RFC 4511 section 4.5.1.8).
var noAttributes = []string{"1.1"}

// settled is settings that were read and found usable, with every default filled in.
type settled struct {
	identity.LDAPSettings
	address  string // host and port
	implicit bool   // TLS from the first byte; StartTLS otherwise
	tls      *tls.Config
	password secret.String // of BindDN
	terms    []term
}

// term says that an attribute of the entry is made of what was presented.
type term struct{ attribute, value string }

// Check returns what is wrong with a provider's settings, all at once, as an Invalid fault.
func (d Directory) Check(p identity.Provider) error {
	_, err := settle(p, d.Roots)
	return err
}

// settle reads settings. roots are trusted where they bring no authority of their own.
func settle(p identity.Provider, roots *x509.CertPool) (settled, error) {
	if p.Kind != identity.LDAP || p.Settings.LDAP == nil {
		return settled{}, fault.New(fault.Invalid, "the provider is no LDAP directory")
	}
	s := settled{LDAPSettings: *p.Settings.LDAP, password: p.Secret}
	s.Filter = or(s.Filter, "(mail="+placeLogin+")")
	s.Subject, s.Name, s.Mail, s.Display = or(s.Subject, "entryUUID"), or(s.Name, "uid"), or(s.Mail, "mail"), or(s.Display, "cn")
	s.Active = or(s.Active, anything)
	var wrong faults
	wrong.add("ldap.url", s.readURL())
	wrong.add("ldap.ca", s.readCA(roots))
	s.readResolve(&wrong)
	wrong.add("ldap.active", checkFilter(s.Active))
	for path, attribute := range map[string]string{"ldap.subject": s.Subject, "ldap.name": s.Name, "ldap.mail": s.Mail, "ldap.display": s.Display} {
		if !attributeName.MatchString(attribute) {
			wrong.add(path, "expected the name of an attribute")
		}
	}
	if (s.BindDN == "") != s.password.Empty() {
		wrong.add("ldap.bind_dn", "a service account needs both a DN and a password")
	}
	if s.BindDN != "" || s.Resolve != byTemplate {
		wrong.add("ldap.base_dn", checkBase(s.BaseDN))
	}
	return s, wrong.fault()
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// faults collects what is wrong where.
type faults []fault.Field

// add notes what is wrong with a member; an empty message is nothing.
func (f *faults) add(path, message string) {
	if message != "" {
		*f = append(*f, fault.Field{Path: path, Message: message})
	}
}

func (f *faults) fault() error {
	if len(*f) == 0 {
		return nil
	}
	slices.SortFunc(*f, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return fault.Fields("the directory's settings cannot work", *f...)
}

// readURL takes the address apart. There is no way to ask for LDAP without TLS.
func (s *settled) readURL() string {
	u, err := url.Parse(s.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "expected ldaps://host:port, or ldap://host:port for StartTLS, and nothing else"
	}
	port := "389"
	switch u.Scheme {
	case "ldap":
	case "ldaps":
		port, s.implicit = "636", true
	default:
		return "expected ldaps://, or ldap:// for StartTLS: a password never travels in the clear"
	}
	port = or(u.Port(), port)
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "the port is none"
	}
	s.address = net.JoinHostPort(u.Hostname(), port)
	s.ServerName = or(s.ServerName, u.Hostname())
	return ""
}

// readCA says whom to trust.
func (s *settled) readCA(roots *x509.CertPool) string {
	s.tls = &tls.Config{ServerName: s.ServerName, RootCAs: roots, MinVersion: tls.VersionTLS12}
	if s.CA == "" {
		return ""
	}
	s.tls.RootCAs = x509.NewCertPool()
	rest := []byte(s.CA)
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return "expected certificates as PEM, and nothing else"
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "a certificate cannot be read"
		}
		s.tls.RootCAs.AddCert(c)
	}
	return ""
}

// readResolve fills terms, and notes in wrong what its way needs and lacks.
func (s *settled) readResolve(wrong *faults) {
	var message string
	switch s.Resolve {
	case bySearch:
		if s.BindDN == "" {
			wrong.add("ldap.bind_dn", "a search needs a service account")
		}
		s.terms, message = filterTerms(s.Filter)
		wrong.add("ldap.filter", message)
	case byTemplate:
		s.terms, message = templateTerms(s.Template)
		wrong.add("ldap.template", message)
	case byUPN:
		s.terms = []term{{upnAttribute, placeLogin}}
	default:
		wrong.add("ldap.resolve", "expected search, construct or upn")
	}
}

var (
	attributeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.;-]*$`)
	placeholder   = regexp.MustCompile(`\{(login|mail|name)\}`)
	// filterItem finds (attribute=value): inside a value parentheses are escaped (RFC 4515 section 3).
	filterItem = regexp.MustCompile(`\(([A-Za-z0-9][A-Za-z0-9.;-]*)=([^()]*)\)`)
)

// filterTerms says which attributes a filter compares with what was presented. Each place must be part of a plain equality, so that
// the entry can be asked whether it holds just that.
func filterTerms(filter string) (terms []term, wrong string) {
	places := 0
	for _, item := range filterItem.FindAllStringSubmatch(filter, -1) {
		n := len(placeholder.FindAllString(item[2], -1))
		if n > 0 && strings.ContainsAny(item[2], `*\`) {
			return nil, "beside {mail}, {name} and {login} there may be no * and no \\"
		}
		if n > 0 {
			terms = append(terms, term{item[1], item[2]})
		}
		places += n
	}
	if places == 0 || places != len(placeholder.FindAllString(filter, -1)) {
		return nil, "expected {mail}, {name} or {login} as the value of an attribute, such as (uid={name})"
	}
	return terms, checkFilter(presented{"x", "x"}.fill(filter, goldap.EscapeFilter))
}

// checkFilter says what is wrong with a filter into which nothing is to be filled.
func checkFilter(filter string) string {
	if _, err := goldap.CompileFilter(filter); err != nil || strings.ContainsAny(filter, "{}") {
		return "the filter cannot be read"
	}
	return ""
}

// templateTerms says which attributes of the first part of a DN are made of what was presented.
func templateTerms(template string) (terms []term, wrong string) {
	dn, err := goldap.ParseDN(template)
	if err != nil || len(dn.RDNs) < 2 {
		return nil, "expected a DN, such as uid={name},ou=people,dc=example,dc=com"
	}
	for i, rdn := range dn.RDNs {
		for _, a := range rdn.Attributes {
			used := placeholder.MatchString(a.Value)
			if strings.ContainsAny(placeholder.ReplaceAllString(a.Type+a.Value, ""), "{}") || i > 0 && used {
				return nil, "{mail}, {name} or {login} may stand in the first part alone, and no other braces anywhere"
			}
			if used {
				terms = append(terms, term{a.Type, a.Value})
			}
		}
	}
	if len(terms) == 0 {
		return nil, "expected {mail}, {name} or {login} in the first part"
	}
	return terms, ""
}

func checkBase(dn string) string {
	parsed, err := goldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return "expected the DN under which people are found"
	}
	return ""
}

// serves says whether there is a service account.
func (s settled) serves() bool { return s.BindDN != "" && !s.password.Empty() }

// binarySubject says whether the attribute holds bytes, not text.
func (s settled) binarySubject() bool {
	return strings.EqualFold(s.Subject, "objectGUID") || strings.EqualFold(s.Subject, "objectSid")
}

// attributes lists what is read of an entry.
func (s settled) attributes() []string {
	list := []string{s.Subject, s.Name, s.Mail, s.Display}
	for _, t := range s.terms {
		list = append(list, t.attribute)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// presented is a name as somebody typed it.
type presented struct{ whole, local string }

// upnForbidden cannot be part of a user principal name. Servers that take one take other names in its place, and these characters belong to them.
const upnForbidden = `"/\[]:;|=,+*?<>`

// presented reads a name, or says why no directory is asked about it.
func (s settled) presented(name string) (presented, error) {
	name = strings.TrimSpace(name)
	if !printable(name) || len(name) > maxPresented {
		return presented{}, refusal("the name cannot be one of a directory")
	}
	who := presented{name, name}
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		who.local = name[:at]
	}
	if who.local == "" {
		return presented{}, refusal("the name has nothing before its @")
	}
	if s.Resolve == byUPN && (who.local == who.whole || strings.ContainsAny(name, upnForbidden)) {
		return presented{}, refusal("the name is no user principal name")
	}
	return who, nil
}

// fill puts what was presented into a filter or a template, each value escaped.
func (w presented) fill(text string, escape func(string) string) string {
	return strings.NewReplacer(placeLogin, escape(w.whole), placeMail, escape(w.whole), placeName, escape(w.local)).Replace(text)
}

func plain(text string) string { return text }
