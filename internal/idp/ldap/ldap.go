// Package ldap signs people in at an LDAP directory, and asks it later whether they are still there.
//
// Directory is a login.Directory. Each call makes one connection, speaks TLS on it before anything else (ldaps://, or ldap:// and
// then StartTLS, without which nothing goes on), and is over within Timeout. No password travels before the certificate was
// verified, and an empty one never travels: many servers take it for an anonymous visitor and say yes (rule F6).
//
// A sign-in goes so. The presented name becomes a DN: by a search that must find exactly one entry, by a template, or, at
// servers that take a user principal name, not at all. The directory checks the password. Then the entry is read, by the service account where there is one,
// through the filter of those who are active; and it must hold the very name that was presented, as identity.Fold compares it. Directories are more
// generous when they compare, and every spelling that they alone think equal would be one more name to guess under.
//
// Referrals are not followed, aliases are not resolved, and of what a connection brings 64 KiB are read. Reasons and notes are our own words: nothing that
// the other side wrote is repeated.
package ldap

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// ErrNoServiceAccount says that the directory cannot be asked about anybody: it answers only whoever signs in.
var ErrNoServiceAccount = errors.New("the directory's settings name no service account")

const defaultTimeout = 5 * time.Second

// Directory asks LDAP servers. It keeps nothing, so it may be used from everywhere at once.
type Directory struct {
	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // must be set: the dialer of package outbound
	Timeout time.Duration                                                        // of everything that one call does; 5 s when zero
	Roots   *x509.CertPool                                                       // trusted where the settings bring no authority; the system's when nil
}

var _ login.Directory = Directory{}

// Bind returns who the name and the password belong to. Whatever is wrong is a *login.Wrong.
func (d Directory) Bind(ctx context.Context, p identity.Provider, name string, password secret.String) (identity.Visitor, error) {
	v, err := d.bind(ctx, p, name, password)
	if err != nil {
		return identity.Visitor{}, &login.Wrong{Reason: err.Error(), Away: errors.As(err, new(away))}
	}
	return v, nil
}

func (d Directory) bind(ctx context.Context, p identity.Provider, name string, password secret.String) (identity.Visitor, error) {
	var nobody identity.Visitor
	if password.Empty() || strings.ContainsRune(password.Reveal(), 0) {
		return nobody, refusal("no password was given") // rule F6; a server written in C sees nothing behind a NUL
	}
	s, err := settle(p, d.Roots)
	if err != nil {
		return nobody, refusal("the directory's settings cannot work")
	}
	who, err := s.presented(name)
	if err != nil {
		return nobody, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	c, err := d.connect(ctx, s)
	if err != nil {
		return nobody, away{err}
	}
	defer c.close()
	dn, err := s.resolve(c, who, password)
	if err != nil {
		return nobody, err
	}
	if err := c.bind("bind", dn, password); err != nil {
		return nobody, err
	}
	return s.read(c, who, dn)
}

// away says that the directory could not be asked, or not be trusted.
type away struct{ error }

func (d Directory) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return defaultTimeout
}

// resolve turns what was presented into what to bind as. A search that finds nobody binds all the same, as nobody, so that it
// takes the directory as many steps as a wrong password (rule F6).
func (s settled) resolve(c *connection, who presented, password secret.String) (string, error) {
	switch s.Resolve {
	case byTemplate:
		return who.fill(s.Template, goldap.EscapeDN), nil
	case byUPN:
		return who.whole, nil
	}
	if err := c.bind("bind the service account", s.BindDN, s.password); err != nil {
		return "", err
	}
	found, err := c.find(s.BaseDN, goldap.ScopeWholeSubtree, who.fill(s.Filter, goldap.EscapeFilter), noAttributes)
	if err != nil {
		return "", err
	}
	var wrong refusal
	switch {
	case len(found) == 0:
		wrong = "the directory has nobody of that name"
	case len(found) > 1:
		wrong = "the directory has several entries of that name"
	case found[0].DN == "":
		wrong = "the directory has an entry without a DN"
	default:
		return found[0].DN, nil
	}
	_ = c.bind("bind", "cn=nobody,"+s.BaseDN, password)
	return "", wrong
}

// read returns whose entry it is, now that the password is known to be right.
func (s settled) read(c *connection, who presented, dn string) (identity.Visitor, error) {
	var nobody identity.Visitor
	if s.serves() { // what a person may read of themselves is often less
		if err := c.bind("bind the service account", s.BindDN, s.password); err != nil {
			return nobody, err
		}
	}
	base, scope, filter := dn, goldap.ScopeBaseObject, s.Active
	if s.Resolve == byUPN {
		base, scope, filter = s.BaseDN, goldap.ScopeWholeSubtree, both(equality(upnAttribute, who.whole), s.Active)
	}
	found, err := c.find(base, scope, filter, s.attributes())
	if err != nil {
		return nobody, err
	}
	if len(found) != 1 {
		return nobody, refusal("the entry is not active in the directory, or cannot be read")
	}
	e := found[0]
	if !s.carries(e, who) {
		return nobody, refusal("the entry does not hold the name as it was presented")
	}
	return s.visitor(c, e, who)
}

// carries says whether the entry holds what was presented: the whole of it, or the part before the @ and the whole as
// its e-mail address.
func (s settled) carries(e *goldap.Entry, who presented) bool {
	return slices.ContainsFunc(s.terms, func(t term) bool {
		if !holds(e, t.attribute, who.fill(t.value, plain)) {
			return false
		}
		return who.whole == who.local || !strings.Contains(t.value, placeName) || holds(e, s.Mail, who.whole)
	})
}

func holds(e *goldap.Entry, attribute, value string) bool {
	want := identity.Fold(value)
	return slices.ContainsFunc(e.GetEqualFoldAttributeValues(attribute), func(v string) bool { return identity.Fold(v) == want })
}

// visitor says who an entry is. An e-mail address that several entries hold is not vouched for: where people may write their own, one of them lies.
func (s settled) visitor(c *connection, e *goldap.Entry, who presented) (identity.Visitor, error) {
	subject, err := s.subject(e)
	if err != nil {
		return identity.Visitor{}, err
	}
	v := identity.Visitor{
		Subject: subject,
		Name:    pick(e, s.Name, who.local, who.whole),
		Email:   pick(e, s.Mail, who.whole),
		Display: pick(e, s.Display),
	}
	if identity.CheckEmail(v.Email) != nil {
		v.Email = ""
		return v, nil
	}
	v.EmailVerified = true
	if s.BaseDN != "" {
		found, err := c.find(s.BaseDN, goldap.ScopeWholeSubtree, equality(s.Mail, v.Email), noAttributes)
		if err != nil {
			return identity.Visitor{}, err
		}
		v.EmailVerified = len(found) == 1
	}
	return v, nil
}

// subject is the entry's unchanging name: hexadecimal where the directory keeps bytes, its DN where it has no such attribute.
func (s settled) subject(e *goldap.Entry) (string, error) {
	values := e.GetEqualFoldRawAttributeValues(s.Subject)
	switch {
	case len(values) == 0:
		return e.DN, nil
	case len(values) > 1:
		return "", refusal("the entry has several values of the attribute that should never change")
	case s.binarySubject():
		return hex.EncodeToString(values[0]), nil
	}
	text := string(values[0])
	if !printable(text) || isDN(text) { // it could claim to be the DN of somebody else
		return "", refusal("the attribute that should never change holds something that cannot be a subject")
	}
	return text, nil
}

// isDN tells a subject that is a DN from the value of an attribute, in which an equals sign is refused.
func isDN(subject string) bool { return strings.Contains(subject, "=") }

// pick returns the value of an attribute that is one of those preferred, or else the first; empty where that cannot be shown.
func pick(e *goldap.Entry, attribute string, preferred ...string) string {
	values := e.GetEqualFoldAttributeValues(attribute)
	if len(values) == 0 {
		return ""
	}
	best := values[0]
	for _, v := range values {
		if slices.ContainsFunc(preferred, func(p string) bool { return identity.Fold(p) == identity.Fold(v) }) {
			best = v
			break
		}
	}
	if !printable(best) {
		return ""
	}
	return best
}

func printable(text string) bool {
	return text != "" && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// Present says whether the entry of a subject is still there and active. That nobody was found counts only when the
// service account can see where it looked.
func (d Directory) Present(ctx context.Context, p identity.Provider, subject string) (bool, error) {
	s, err := settle(p, d.Roots)
	if err != nil {
		return false, err
	}
	if !s.serves() {
		return false, ErrNoServiceAccount
	}
	base, scope, filter, err := s.whereIs(subject)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	c, err := d.connect(ctx, s)
	if err != nil {
		return false, err
	}
	defer c.close()
	if err := c.bind("bind the service account", s.BindDN, s.password); err != nil {
		return false, err
	}
	found, err := c.find(base, scope, filter, noAttributes)
	switch {
	case err != nil:
		return false, err
	case len(found) == 1:
		return true, nil
	case len(found) > 1:
		return false, refusal("the directory has several entries of that subject")
	}
	return false, s.seesBase(c)
}

// whereIs says how to find a subject among those who are active.
func (s settled) whereIs(subject string) (base string, scope int, filter string, err error) {
	if subject == "" {
		return "", 0, "", refusal("there is no subject to look for")
	}
	if isDN(subject) {
		return subject, goldap.ScopeBaseObject, s.Active, nil
	}
	value := subject
	if s.binarySubject() {
		raw, err := hex.DecodeString(subject)
		if err != nil {
			return "", 0, "", refusal("the subject is not of the attribute that the settings name")
		}
		value = string(raw)
	}
	return s.BaseDN, goldap.ScopeWholeSubtree, both(equality(s.Subject, value), s.Active), nil
}

// seesBase reports why the service account does not see the entry under which it searches.
func (s settled) seesBase(c *connection) error {
	found, err := c.find(s.BaseDN, goldap.ScopeBaseObject, anything, noAttributes)
	if err == nil && len(found) != 1 {
		err = refusal("the service account cannot see the base of the search")
	}
	return err
}

// equality makes a filter of an attribute that came from settings and a value that came from anywhere.
func equality(attribute, value string) string {
	return "(" + attribute + "=" + goldap.EscapeFilter(value) + ")"
}

func both(one, other string) string { return "(&" + one + other + ")" }
