package saml

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/beevik/etree"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const maxValue = 1024 // bytes of an attribute; what is longer counts as missing

// formats are the kinds of NameID that name somebody for longer than one sign-in, by what Visitor.Subject calls them.
var formats = map[string]string{
	"": "unspecified",
	"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified": "unspecified",
	formatEmail: "emailAddress",
	"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent":                 "persistent",
	"urn:oasis:names:tc:SAML:2.0:nameid-format:kerberos":                   "kerberos",
	"urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName":            "X509SubjectName",
	"urn:oasis:names:tc:SAML:1.1:nameid-format:WindowsDomainQualifiedName": "WindowsDomainQualifiedName",
}

// The attributes that are looked for, by name or friendly name, the first that is there.
var (
	displayNames = []string{
		"displayName", "urn:oid:2.16.840.1.113730.3.1.241", "http://schemas.microsoft.com/identity/claims/displayname",
		"cn", "urn:oid:2.5.4.3",
	}
	mailNames = []string{
		"mail", "urn:oid:0.9.2342.19200300.100.1.3", "email",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
	}
)

// visitor says who an assertion is about, as the package comment tells.
func (a *arrival) visitor(assertion *etree.Element) (identity.Visitor, error) {
	kind, id, err := a.nameID(assertion)
	if err != nil {
		return identity.Visitor{}, err
	}
	values := valuesOf(assertion)
	values["NameID"] = id
	v := identity.Visitor{Subject: kind + ":" + id, Email: first(values, mailNames), Display: first(values, displayNames), Until: a.ends}
	if kind == formats[formatEmail] {
		v.Subject, v.Email, v.EmailVerified = kind+":"+identity.FoldEmail(id), id, true
	}
	if v.Name, err = identity.Expand(a.NameClaim, values); err != nil {
		return identity.Visitor{}, errors.New("the user name: " + fault.Text(err))
	}
	if a.jit.Provision {
		a.provision(&v, values)
		v.Groups, v.GroupsSaid = listOf(assertion, a.jit.Groups)
	}
	return v, nil
}

// provision applies the expressions for people who are added, and kept as the provider describes them. What is missing is named, and whoever adds them decides.
func (a *arrival) provision(v *identity.Visitor, values map[string]string) {
	if a.jit.Display != "" {
		display, err := identity.Expand(a.jit.Display, values)
		if v.Display = display; err != nil {
			v.Unmapped = "the display name: " + fault.Text(err)
		}
	}
	if a.jit.Email != "" {
		mapped, err := identity.Expand(a.jit.Email, values)
		v.EmailVerified = v.EmailVerified && identity.FoldEmail(mapped) == identity.FoldEmail(v.Email)
		if v.Email = mapped; err != nil {
			v.Unmapped = "the e-mail address: " + fault.Text(err)
		}
	}
}

// listOf returns all usable values of the attributes of that name, or, where no attribute has it for a name, of those that have it for a friendly name. It
// says whether there is such an attribute, with or without values.
func listOf(assertion *etree.Element, name string) (values []string, said bool) {
	var named, friendly []string
	if name == "" {
		return nil, false
	}
	found := false
	for _, statement := range children(assertion, nsAssertion, "AttributeStatement") {
		for _, e := range children(statement, nsAssertion, "Attribute") {
			switch name {
			case attribute(e, "Name"):
				named, found = append(named, allOf(e)...), true
			case attribute(e, "FriendlyName"):
				friendly, said = append(friendly, allOf(e)...), true
			}
		}
	}
	if found {
		return named, true
	}
	return friendly, said
}

// nameID returns the kind and the value of the one NameID.
func (a *arrival) nameID(assertion *etree.Element) (kind, id string, err error) {
	subject, err := only(assertion, nsAssertion, "Subject")
	if err != nil {
		return "", "", err
	}
	e, err := only(subject, nsAssertion, "NameID")
	if err != nil {
		return "", "", err
	}
	id, err = textOf(e)
	if err != nil {
		return "", "", err
	}
	kind, known := formats[attribute(e, "Format")]
	switch {
	case !known:
		return "", "", errors.New("the NameID's format names nobody for good")
	case id == "" || len(id) > maxNameID || !printable(id):
		return "", "", errors.New("the NameID is empty, too long or not printable")
	case attribute(e, "Format") == formatEmail && identity.CheckEmail(id) != nil:
		return "", "", errors.New("the NameID is no e-mail address")
	case kind == "persistent" && !a.forUs(e):
		return "", "", errors.New("the NameID is one of another pair of parties")
	}
	return kind, id, nil
}

// forUs says whether a persistent id is one of the provider and us: such ids are unique only for their pair of parties (SAML core 8.3.7).
func (a *arrival) forUs(nameID *etree.Element) bool {
	by, to := attribute(nameID, "NameQualifier"), attribute(nameID, "SPNameQualifier")
	return (by == "" || by == a.Issuer) && (to == "" || to == a.EntityID)
}

// valuesOf returns the first usable value of each attribute by its name, and by its friendly name where no attribute has that for a name.
func valuesOf(assertion *etree.Element) map[string]string {
	values, friendly := map[string]string{}, map[string]string{}
	for _, statement := range children(assertion, nsAssertion, "AttributeStatement") {
		for _, e := range children(statement, nsAssertion, "Attribute") {
			value := valueOf(e)
			keep(values, attribute(e, "Name"), value)
			keep(friendly, attribute(e, "FriendlyName"), value)
		}
	}
	for name, value := range friendly {
		keep(values, name, value)
	}
	return values
}

func keep(values map[string]string, name, value string) {
	if name != "" && value != "" && values[name] == "" {
		values[name] = value
	}
}

func valueOf(e *etree.Element) string {
	if all := allOf(e); len(all) > 0 {
		return all[0]
	}
	return ""
}

// allOf returns the usable values of an attribute.
func allOf(e *etree.Element) (all []string) {
	for _, v := range children(e, nsAssertion, "AttributeValue") {
		if text, err := textOf(v); err == nil && text != "" && len(text) <= maxValue && printable(text) {
			all = append(all, text)
		}
	}
	return all
}

func first(values map[string]string, names []string) string {
	for _, name := range names {
		if values[name] != "" {
			return values[name]
		}
	}
	return ""
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
