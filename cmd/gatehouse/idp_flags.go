package main

import (
	"os"
	"reflect"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// providerFlags are the settings of a provider as flags. One that was not given is nil, and changes nothing.
type providerFlags struct {
	Button      *string  `placeholder:"TEXT" help:"Text of its button on the sign-in page (Log in with NAME)."`
	Domain      []string `placeholder:"DOMAIN" help:"E-mail domains that discovery offers it to; one that is empty means all."`
	LinkBy      string   `enum:",never,email,name" default:"" placeholder:"email|name|never" help:"How who comes first becomes a user who is there: by verified e-mail address, by name, or by the command gatehouse user link alone (never)."`
	Provision   *bool    `negatable:"" help:"Add people whom nobody has added, as members without rights, and keep their names and groups as the provider says."`
	JITDisplay  *string  `name:"jit-display" placeholder:"EXPR" help:"Expression for their display name, such as $${given_name}."`
	JITEmail    *string  `name:"jit-email" placeholder:"EXPR" help:"Expression for their e-mail address."`
	JITGroups   *string  `name:"jit-groups" placeholder:"NAME" help:"Claim or attribute that lists their groups. Without it groups are left alone. oidc, saml."`
	JITScope    []string `name:"jit-scope" placeholder:"SCOPE" help:"Scopes to ask for because of that; one that is empty means none. oidc."`
	SecretStdin bool     `help:"Read the client secret, or the password of the service account, from standard input."`

	CAFile *string `name:"ca-file" placeholder:"FILE" help:"Authorities to trust, in PEM form (the system's). ldap, oidc."`
	Issuer *string `placeholder:"ISSUER" help:"Who the provider says it is. oidc, saml."`

	NameClaim *string `placeholder:"EXPR" help:"Expression for the user name, such as $${sub}. oidc, saml."`

	LDAP ldapFlags `embed:"" group:"ldap"`
	OIDC oidcFlags `embed:"" group:"oidc"`
	SAML samlFlags `embed:"" group:"saml"`
}

type ldapFlags struct {
	URL              *string `name:"url" placeholder:"URL" help:"ldaps://HOST[:PORT], or ldap://HOST[:PORT], which then means StartTLS."`
	ServerName       *string `placeholder:"NAME" help:"Name in the directory's certificate (the URL's host)."`
	Resolve          *string `placeholder:"HOW" help:"How a name becomes a DN: search, construct or upn."`
	BindDN           *string `name:"bind-dn" placeholder:"DN" help:"Service account; search needs it, and so does the re-check."`
	BaseDN           *string `name:"base-dn" placeholder:"DN" help:"Where search looks."`
	Filter           *string `placeholder:"FILTER" help:"What search looks for, with {login}, {mail} or {name} ((mail={login}))."`
	Template         *string `placeholder:"DN" help:"DN that construct makes, with {name} or {login}."`
	SubjectAttribute *string `placeholder:"ATTR" help:"Attribute that never changes (entryUUID)."`
	NameAttribute    *string `placeholder:"ATTR" help:"Attribute of the user name (uid)."`
	MailAttribute    *string `placeholder:"ATTR" help:"Attribute of the e-mail address (mail)."`
	DisplayAttribute *string `placeholder:"ATTR" help:"Attribute of the display name (cn)."`
	Active           *string `placeholder:"FILTER" help:"Filter that people must match to sign in and to stay."`
}

type oidcFlags struct {
	ClientID     *string  `name:"client-id" placeholder:"ID" help:"What the provider knows Gatehouse by."`
	Scope        []string `placeholder:"SCOPE" help:"Scopes to ask for beside openid, email and profile; one that is empty means none."`
	NoDiscovery  *bool    `negatable:"discovery" help:"Do not ask the provider for its endpoints: they are given."`
	AuthURL      *string  `name:"auth-url" placeholder:"URL" help:"Authorization endpoint."`
	TokenURL     *string  `name:"token-url" placeholder:"URL" help:"Token endpoint."`
	UserinfoURL  *string  `name:"userinfo-url" placeholder:"URL" help:"Userinfo endpoint."`
	KeysURL      *string  `name:"keys-url" placeholder:"URL" help:"Where the provider publishes its keys."`
	AllowUnbound *bool    `negatable:"" help:"Take codes of sign-ins that did not begin here; needs a client secret."`
}

type samlFlags struct {
	SSOURL          *string `name:"sso-url" placeholder:"URL" help:"Where people are sent."`
	CertificateFile *string `placeholder:"FILE" help:"Certificates by which the provider signs, in PEM form."`
	IDPInitiated    *bool   `name:"idp-initiated" negatable:"" help:"Take responses to no request of ours."`
	SignRequests    *bool   `negatable:"" help:"Sign requests."`
}

// given says whether any of the flags was used. It looks by reflection, so that no flag is forgotten here.
func given(flags any) bool { return !reflect.ValueOf(flags).IsZero() }

// put sets what was given.
func put[T any](to, given *T) {
	if given != nil {
		*to = *given
	}
}

// putAll is put for flags that are given several times. An empty text is no element: alone it empties the list.
func putAll(to *[]string, given []string) {
	if given != nil {
		*to = slices.DeleteFunc(slices.Clone(given), func(text string) bool { return text == "" })
	}
}

// secret reads the secret, where it was said that there is one.
func (f providerFlags) secret(p *process) (secret.String, error) {
	if !f.SecretStdin {
		return secret.String{}, nil
	}
	plain, err := p.readPassword()
	if err == nil && plain.Empty() {
		err = usagef("--secret-stdin: standard input is empty; give the secret, or leave the flag out")
	}
	return plain, err
}

// apply changes settings of a provider of that kind by the flags of the command. One of another kind is a mistake, not something to pass over.
func (f providerFlags) apply(command string, kind identity.ProviderKind, to *identity.ProviderSettings) error {
	if err := f.fit(command, kind); err != nil {
		return err
	}
	put(&to.Button, f.Button)
	putAll(&to.Domains, f.Domain)
	switch f.LinkBy {
	case "":
	case "never":
		to.Link = identity.LinkNever
	default:
		to.Link = identity.LinkPolicy(f.LinkBy)
	}
	put(&to.JIT.Provision, f.Provision)
	put(&to.JIT.Display, f.JITDisplay)
	put(&to.JIT.Email, f.JITEmail)
	put(&to.JIT.Groups, f.JITGroups)
	putAll(&to.JIT.Scopes, f.JITScope)
	switch kind {
	case identity.LDAP:
		return f.applyLDAP(to)
	case identity.OIDC:
		return f.applyOIDC(to)
	case identity.SAML:
		return f.applySAML(to)
	case identity.Draft:
	}
	return nil
}

// fit refuses flags of another kind.
func (f providerFlags) fit(command string, kind identity.ProviderKind) error {
	is := "with --kind " + string(kind)
	if command == "set" {
		is = "for a provider of kind " + string(kind)
	}
	if kind == identity.Draft {
		is = "for a draft, which has no kind yet; give --kind ldap, oidc or saml with it"
	}
	for of, used := range map[identity.ProviderKind]bool{identity.LDAP: given(f.LDAP), identity.OIDC: given(f.OIDC), identity.SAML: given(f.SAML)} {
		if used && of != kind {
			return usagef("a flag of --kind %s was given %s; see `gatehouse idp %s --help`", of, is, command)
		}
	}
	vouches := kind == identity.OIDC || kind == identity.SAML
	wrong := (f.Issuer != nil || f.NameClaim != nil || f.JITGroups != nil) && !vouches ||
		f.JITScope != nil && kind != identity.OIDC || f.CAFile != nil && kind != identity.OIDC && kind != identity.LDAP
	if wrong {
		return usagef("a flag of another kind was given %s; see `gatehouse idp %s --help`", is, command)
	}
	return nil
}

func (f providerFlags) applyLDAP(to *identity.ProviderSettings) error {
	set := identity.LDAPSettings{}
	put(&set, to.LDAP)
	in := f.LDAP
	put(&set.URL, in.URL)
	put(&set.ServerName, in.ServerName)
	put(&set.Resolve, in.Resolve)
	put(&set.BindDN, in.BindDN)
	put(&set.BaseDN, in.BaseDN)
	put(&set.Filter, in.Filter)
	put(&set.Template, in.Template)
	put(&set.Subject, in.SubjectAttribute)
	put(&set.Name, in.NameAttribute)
	put(&set.Mail, in.MailAttribute)
	put(&set.Display, in.DisplayAttribute)
	put(&set.Active, in.Active)
	to.LDAP = &set
	return putFile(&set.CA, "--ca-file", f.CAFile)
}

func (f providerFlags) applyOIDC(to *identity.ProviderSettings) error {
	set := identity.OIDCSettings{}
	put(&set, to.OIDC)
	in := f.OIDC
	put(&set.Issuer, f.Issuer)
	put(&set.NameClaim, f.NameClaim)
	put(&set.ClientID, in.ClientID)
	putAll(&set.Scopes, in.Scope)
	put(&set.NoDiscovery, in.NoDiscovery)
	put(&set.AuthURL, in.AuthURL)
	put(&set.TokenURL, in.TokenURL)
	put(&set.UserInfoURL, in.UserinfoURL)
	put(&set.KeysURL, in.KeysURL)
	put(&set.AllowUnbound, in.AllowUnbound)
	to.OIDC = &set
	return putFile(&set.CA, "--ca-file", f.CAFile)
}

func (f providerFlags) applySAML(to *identity.ProviderSettings) error {
	set := identity.SAMLSettings{}
	put(&set, to.SAML)
	in := f.SAML
	put(&set.Issuer, f.Issuer)
	put(&set.NameClaim, f.NameClaim)
	put(&set.SSOURL, in.SSOURL)
	put(&set.IDPInitiated, in.IDPInitiated)
	put(&set.SignRequests, in.SignRequests)
	to.SAML = &set
	return putFile(&set.Certificate, "--certificate-file", in.CertificateFile)
}

// putFile sets the text of a file that was named; an empty name means none.
func putFile(to *string, flag string, name *string) error {
	if name == nil || *name == "" {
		put(to, name)
		return nil
	}
	text, err := os.ReadFile(*name)
	if err != nil {
		return usagef("%s: %w; give a file that can be read", flag, err)
	}
	*to = string(text)
	return nil
}
