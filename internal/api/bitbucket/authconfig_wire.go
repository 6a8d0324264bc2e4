package bitbucket

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// An IdpConfigEntity is an identity.Provider. Most of its members lie somewhere in the provider's settings; what nothing here reads is kept beside
// them, under the member's own name, and so is everything of a draft that only one kind of provider has. Between the wire and either place a value
// travels as a text: a flag as true or false, a list as JSON.

// form is what a member looks like on the wire.
type form int

const (
	text form = iota
	flag
	list
)

// member is one member of the entity.
type member struct {
	name    string
	also    string                // another name that is read
	of      identity.ProviderKind // the one kind of provider that has it; every kind where empty
	form    form
	at      func(p *identity.Provider) place // where it lies; beside the settings where nil
	initial string                           // what holds until it is given
	words   []string                         // what it may be; anything where nil
	most    int                              // characters of a text; maxText where 0
}

const (
	maxText        = 2048
	maxCertificate = 32000
	maxName        = 255
	maxButton      = 40
	maxSecret      = 4096
)

// members are the members of the entity but for id, sso-type, client-secret, jit-configuration and last-updated.
var members = []member{
	{name: "name", most: maxName, at: func(p *identity.Provider) place { return textAt{&p.Name} }},
	{name: "enabled", form: flag, initial: "true", at: func(p *identity.Provider) place { return flagAt{&p.Enabled} }},
	{name: "buttonText", also: "button-text", at: func(p *identity.Provider) place { return textAt{&p.Settings.Button} }},
	{name: "include-customer-logins", form: flag, initial: "false"},
	{name: "enable-remember-me", form: flag, initial: "false"},

	{name: "idp-type", of: identity.SAML, initial: "GENERIC", words: []string{"GENERIC", crowd}},
	{name: "crowd-url", of: identity.SAML},
	{name: "sso-url", of: identity.SAML, at: func(p *identity.Provider) place { return textAt{&p.Settings.SAML.SSOURL} }},
	{name: "sso-issuer", of: identity.SAML, at: func(p *identity.Provider) place { return textAt{&p.Settings.SAML.Issuer} }},
	{name: "certificate", of: identity.SAML, most: maxCertificate, at: func(p *identity.Provider) place { return textAt{&p.Settings.SAML.Certificate} }},
	{name: "username-attribute", of: identity.SAML, initial: "${NameID}", at: func(p *identity.Provider) place { return textAt{&p.Settings.SAML.NameClaim} }},
	{name: "sign-authnrequest", of: identity.SAML, form: flag, initial: "false", at: func(p *identity.Provider) place { return flagAt{&p.Settings.SAML.SignRequests} }},
	{name: "signature-algorithm", of: identity.SAML, initial: "RSA_SHA256", words: []string{"RSA_SHA256", "RSA_SHA384", "RSA_SHA512"}},
	{name: "name-id-policy", of: identity.SAML, initial: "UNSPECIFIED", words: []string{
		"NONE", "UNSPECIFIED", "EMAIL_ADDRESS", "ENCRYPTED", "ENTITY", "KERBEROS", "PERSISTENT", "TRANSIENT", "WINDOWS_DOMAIN_QUALIFIED_NAME", "X509_SUBJECT_NAME",
	}},

	{name: "issuer-url", of: identity.OIDC, at: func(p *identity.Provider) place { return textAt{&p.Settings.OIDC.Issuer} }},
	{name: "client-id", of: identity.OIDC, at: func(p *identity.Provider) place { return textAt{&p.Settings.OIDC.ClientID} }},
	{name: "discovery-enabled", of: identity.OIDC, form: flag, initial: "true", at: func(p *identity.Provider) place { return notAt{&p.Settings.OIDC.NoDiscovery} }},
	{name: "authorization-endpoint", of: identity.OIDC, at: func(p *identity.Provider) place { return textAt{&p.Settings.OIDC.AuthURL} }},
	{name: "token-endpoint", of: identity.OIDC, at: func(p *identity.Provider) place { return textAt{&p.Settings.OIDC.TokenURL} }},
	{name: "userinfo-endpoint", of: identity.OIDC, at: func(p *identity.Provider) place { return textAt{&p.Settings.OIDC.UserInfoURL} }},
	{name: "additional-scopes", of: identity.OIDC, form: list, initial: "[]", at: func(p *identity.Provider) place { return listAt{&p.Settings.OIDC.Scopes} }},
	{name: "username-claim", of: identity.OIDC, initial: "${sub}", at: func(p *identity.Provider) place { return textAt{&p.Settings.OIDC.NameClaim} }},
}

// jitMembers are those of jit-configuration; drafts have them as well.
var jitMembers = []member{
	{name: "user-provisioning-enabled", form: flag, at: func(p *identity.Provider) place { return flagAt{&p.Settings.JIT.Provision} }},
	{name: "mapping-display-name", at: func(p *identity.Provider) place { return textAt{&p.Settings.JIT.Display} }},
	{name: "mapping-email", at: func(p *identity.Provider) place { return textAt{&p.Settings.JIT.Email} }},
	{name: "mapping-groups", at: func(p *identity.Provider) place { return textAt{&p.Settings.JIT.Groups} }},
	{name: "additional-openid-scopes", form: list, at: func(p *identity.Provider) place { return listAt{&p.Settings.JIT.Scopes} }},
}

const (
	clientSecret = "client-secret"
	crowd        = "CROWD"
	noCrowd      = "Crowd identity providers are not supported."
)

// kinds are the words of sso-type. Providers of other kinds do not exist on this wire.
var kinds = map[string]identity.ProviderKind{"SAML": identity.SAML, "OIDC": identity.OIDC, "NONE": identity.Draft}

func ssoType(kind identity.ProviderKind) (word string, ok bool) {
	for word, k := range kinds {
		if k == kind {
			return word, true
		}
	}
	return "", false
}

// in says where the member of a provider lies.
func (m member) in(p *identity.Provider) place {
	switch {
	case p.Kind == identity.Draft && m.of != "":
		return beside{p, m.name, ""} // as it was given, or not at all
	case m.at == nil:
		return beside{p, m.name, m.initial}
	}
	return m.at(p)
}

// has says that providers of the kind have the member.
func (m member) has(kind identity.ProviderKind) bool {
	return m.of == "" || m.of == kind || kind == identity.Draft
}

// place is where a value lies.
type place interface {
	value() string
	put(value string)
}

type (
	textAt struct{ at *string }
	flagAt struct{ at *bool }
	notAt  struct{ at *bool } // a flag that is kept the other way round
	listAt struct{ at *[]string }
	beside struct {
		of            *identity.Provider
		name, initial string
	}
)

func (t textAt) value() string    { return *t.at }
func (t textAt) put(value string) { *t.at = value }

func (f flagAt) value() string    { return strconv.FormatBool(*f.at) }
func (f flagAt) put(value string) { *f.at = value == "true" }

func (n notAt) value() string    { return strconv.FormatBool(!*n.at) }
func (n notAt) put(value string) { *n.at = value != "true" }

func (l listAt) value() string    { return written(*l.at) }
func (l listAt) put(value string) { *l.at = entries(value) }

func (b beside) value() string {
	if value := b.of.Settings.Extra[b.name]; value != "" {
		return value
	}
	return b.initial
}

func (b beside) put(value string) {
	kept := maps.Clone(b.of.Settings.Extra) // the map may be another's
	delete(kept, b.name)
	if value != "" {
		if kept == nil {
			kept = map[string]string{}
		}
		kept[b.name] = value
	}
	b.of.Settings.Extra = kept
}

// written is a list as a text.
func written(entries []string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(append([]string{}, entries...)) // texts always encode
	return strings.TrimSuffix(b.String(), "\n")
}

// entries reads what written wrote; no list is an empty one.
func entries(value string) []string {
	var all []string
	if json.Unmarshal([]byte(value), &all) != nil {
		return nil
	}
	return all
}

// wireProvider is an IdpConfigEntity as it is sent: its members in order.
type wireProvider []wireMember

type wireMember struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (w wireProvider) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range w {
		if i > 0 {
			out = append(out, ',')
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
		out = append(strconv.AppendQuote(out, m.name), ':')
		out = append(out, bytes.TrimSpace(b.Bytes())...)
	}
	return append(out, '}'), nil
}

// entity writes a provider. What is not set is left out, and so is the secret.
func entity(p identity.Provider) wireProvider {
	word, _ := ssoType(p.Kind)
	w := wireProvider{{"id", p.Number}, {"sso-type", word}}
	p.Settings.Button = label(p)
	w = append(w, shown(&p, members)...)
	return append(w, wireMember{"jit-configuration", shown(&p, jitMembers)}, wireMember{"last-updated", wireTime(p.Updated)})
}

// label is the text of a provider's button.
func label(p identity.Provider) string {
	if p.Settings.Button != "" {
		return p.Settings.Button
	}
	return usualLabel(p)
}

func usualLabel(p identity.Provider) string { return "Log in with " + p.Name }

// shown are those of the members that the provider has.
func shown(p *identity.Provider, of []member) (w wireProvider) {
	for _, m := range of {
		if !m.has(p.Kind) {
			continue
		}
		value := m.in(p).value()
		switch {
		case value == "" && m.of != "":
		case m.form == flag:
			w = append(w, wireMember{m.name, value == "true"})
		case m.form == list:
			w = append(w, wireMember{m.name, append([]string{}, entries(value)...)})
		default:
			w = append(w, wireMember{m.name, value})
		}
	}
	return w
}

// wireChange is an IdpConfigEntity as it came: the members that were given.
type wireChange struct {
	id      *int64
	ssoType *string
	secret  secret.String
	members map[string]string
	jit     map[string]string
}

// readProvider reads an entity.
func readProvider(o *object) (wireChange, error) {
	in := wireChange{id: o.number("id"), ssoType: o.line("sso-type", maxText)}
	if s := o.line(clientSecret, maxSecret); s != nil {
		in.secret = secret.New(*s)
	}
	in.members = collect(o, members)
	in.jit = collect(o.object("jit-configuration"), jitMembers)
	if in.ssoType != nil && kinds[*in.ssoType] == "" {
		o.refuse("sso-type", "must be SAML, OIDC or NONE")
	}
	return in, o.wrong()
}

// collect reads the members that are there.
func collect(o *object, of []member) map[string]string {
	found := map[string]string{}
	for _, m := range of {
		name := m.name
		if !o.has(name) && m.also != "" {
			name = m.also
		}
		if !o.has(name) {
			continue
		}
		switch m.form {
		case flag:
			found[m.name] = strconv.FormatBool(*o.flag(name))
		case list:
			found[m.name] = written(o.list(name))
		default:
			most := m.most
			if most == 0 {
				most = maxText
			}
			found[m.name] = *o.line(name, most)
			if m.words != nil && !slices.Contains(m.words, found[m.name]) {
				o.refuse(name, "must be one of "+strings.Join(m.words, ", "))
			}
		}
	}
	return found
}

// Why a provider is not kept as it came.
var (
	errIDGiven     = fault.New(fault.Invalid, "id must be null when an identity provider is created.")
	errIDOther     = fault.New(fault.Invalid, "id does not match the path.")
	errNoType      = fault.New(fault.Invalid, "sso-type is required.")
	errTypeChanged = fault.New(fault.Invalid, "sso-type cannot be changed.")
	errNoneEnabled = fault.New(fault.Invalid, "An identity provider of type NONE cannot be enabled.")
)

// made is the provider that a request for a new one describes.
func (in wireChange) made() (identity.Provider, error) {
	switch {
	case in.id != nil:
		return identity.Provider{}, errIDGiven
	case in.ssoType == nil:
		return identity.Provider{}, errNoType
	}
	p := identity.Provider{Kind: identity.Draft, Settings: identity.ProviderSettings{Link: identity.LinkByName}}
	become(&p, kinds[*in.ssoType])
	if p.Kind != identity.Draft {
		p.Enabled = true
	}
	return p, in.into(&p, false)
}

// changed is the provider after a change.
func (in wireChange) changed(p identity.Provider) (identity.Provider, error) {
	if in.id != nil && *in.id != p.Number {
		return p, errIDOther
	}
	hasSecret := p.Kind == identity.OIDC // or it would not have been let in
	if in.ssoType != nil {
		to := kinds[*in.ssoType]
		if to != p.Kind && p.Kind != identity.Draft {
			return p, errTypeChanged
		}
		become(&p, to)
	}
	p.Settings = detached(p.Settings)
	return p, in.into(&p, hasSecret)
}

// detached is a copy of settings whose parts may be written to.
func detached(set identity.ProviderSettings) identity.ProviderSettings {
	if set.SAML != nil {
		saml := *set.SAML
		set.SAML = &saml
	}
	if set.OIDC != nil {
		oidc := *set.OIDC
		set.OIDC = &oidc
	}
	return set
}

// become gives a draft another kind: what it was given moves to where that kind has it, and what only other kinds have goes.
func become(p *identity.Provider, kind identity.ProviderKind) {
	if p.Kind == kind {
		return
	}
	was := *p
	p.Kind, p.Settings.LDAP, p.Settings.OIDC, p.Settings.SAML = kind, nil, nil, nil
	switch kind {
	case identity.SAML:
		p.Settings.SAML = &identity.SAMLSettings{}
	case identity.OIDC:
		p.Settings.OIDC = &identity.OIDCSettings{}
	}
	for _, m := range members {
		if m.of == "" {
			continue
		}
		value := m.in(&was).value()
		beside{p, m.name, ""}.put("")
		if value == "" {
			value = m.initial
		}
		if m.of == kind {
			m.in(p).put(value)
		}
	}
}

// into writes what was given into a provider, and judges what it is then.
func (in wireChange) into(p *identity.Provider, hasSecret bool) error {
	for _, m := range members {
		if value, ok := in.members[m.name]; ok && m.has(p.Kind) {
			m.put(p, value)
		}
	}
	for _, m := range jitMembers {
		if value, ok := in.jit[m.name]; ok {
			m.put(p, value)
		}
	}
	if p.Settings.Button == usualLabel(*p) { // as it was shown: it goes on following the name
		p.Settings.Button = ""
	}
	p.Settings.Unsupported = unsupported(*p)
	return judge(*p, in.keepSecret(p) || hasSecret)
}

// put writes a value. Nothing stands for what holds until it is given.
func (m member) put(p *identity.Provider, value string) {
	if value == "" && p.Kind != identity.Draft {
		value = m.initial
	}
	m.in(p).put(value)
}

// unsupported is what people are told who want to come from the provider.
func unsupported(p identity.Provider) string {
	now := p.Settings.Unsupported
	switch {
	case p.Settings.Extra["idp-type"] == crowd:
		return noCrowd
	case now == noCrowd:
		return ""
	}
	return now
}

// keepSecret puts the client secret where one belongs, and reports whether there is one now.
func (in wireChange) keepSecret(p *identity.Provider) (known bool) {
	if p.Kind == identity.SAML {
		return false
	}
	if !in.secret.Empty() {
		p.Secret = in.secret
	}
	return p.HasSecret || !p.Secret.Empty()
}

// judge says why a provider cannot be kept so, in the words of the wire and before the domain says it in its own.
func judge(p identity.Provider, hasSecret bool) error {
	switch {
	case strings.TrimSpace(p.Name) == "":
		return fault.New(fault.Invalid, "name is required.")
	case p.Kind == identity.Draft && p.Enabled:
		return errNoneEnabled
	case utf8.RuneCountInString(p.Settings.Button) > maxButton:
		return fault.Newf(fault.Invalid, "buttonText must be at most %d characters long.", maxButton)
	}
	for _, name := range demanded(p) {
		m := members[slices.IndexFunc(members, func(m member) bool { return m.name == name })]
		if m.in(&p).value() == "" {
			return missing(name, p)
		}
	}
	if p.Kind == identity.OIDC && !hasSecret {
		return missing(clientSecret, p)
	}
	return nil
}

// demanded names the members without which a provider cannot work.
func demanded(p identity.Provider) []string {
	switch {
	case p.Kind == identity.SAML:
		return []string{"sso-url", "sso-issuer", "certificate"}
	case p.Kind != identity.OIDC:
		return nil
	case !p.Settings.OIDC.NoDiscovery:
		return []string{"issuer-url", "client-id"}
	case p.Settings.OIDC.KeysURL != "": // set up elsewhere: there is no need of userinfo
		return []string{"issuer-url", "client-id", "authorization-endpoint", "token-endpoint"}
	}
	return []string{"issuer-url", "client-id", "authorization-endpoint", "token-endpoint", "userinfo-endpoint"}
}

func missing(name string, p identity.Provider) error {
	word, _ := ssoType(p.Kind)
	if strings.HasSuffix(name, "-endpoint") {
		return fault.Newf(fault.Invalid, "%s is required when discovery-enabled is false.", name)
	}
	return fault.Newf(fault.Invalid, "%s is required for %s.", name, word)
}
