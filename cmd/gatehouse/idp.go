package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type idpCommands struct {
	Add     idpAdd     `cmd:"" help:"Add a directory, or an OpenID Connect or SAML provider."`
	List    idpList    `cmd:"" help:"List identity providers."`
	Show    idpShow    `cmd:"" help:"Print one with all its settings but its secret, as JSON."`
	Test    idpTest    `cmd:"" help:"Try what can be tried without a person, step by step."`
	Enable  idpEnable  `cmd:"" help:"Let people come from it."`
	Disable idpDisable `cmd:"" help:"Let nobody come from it, and end the sessions that began by it."`
	Remove  idpRemove  `cmd:"" help:"Remove it with its links; users stay."`
}

const seeProviders = "see `gatehouse idp list`"

type idpAdd struct {
	Place
	Output
	Kind string `required:"" enum:"ldap,oidc,saml" placeholder:"KIND" help:"ldap, oidc or saml."`
	Name string `required:"" help:"What people know it by."`

	Disabled    bool     `help:"Add it without letting anybody come from it yet."`
	Button      string   `placeholder:"TEXT" help:"Text of its button on the sign-in page (Log in with NAME)."`
	Domain      []string `placeholder:"DOMAIN" help:"E-mail domains that discovery offers it to. Without it, all."`
	LinkBy      string   `enum:",email,name" default:"" placeholder:"email|name" help:"How who comes first becomes a user who is there: by verified e-mail address, or by name. Without it, by 'gatehouse user link' alone."`
	Provision   bool     `help:"Add people whom nobody has added, as members without rights."`
	JITDisplay  string   `name:"jit-display" placeholder:"EXPR" help:"Expression for their display name, such as $${given_name}."`
	JITEmail    string   `name:"jit-email" placeholder:"EXPR" help:"Expression for their e-mail address."`
	SecretStdin bool     `help:"Read the client secret, or the password of the service account, from standard input."`

	CAFile string `name:"ca-file" placeholder:"FILE" help:"Authorities to trust, in PEM form (the system's). ldap, oidc."`
	Issuer string `placeholder:"ISSUER" help:"Who the provider says it is. oidc, saml."`

	NameClaim string `placeholder:"EXPR" help:"Expression for the user name, such as $${sub}. oidc, saml."`

	LDAP ldapFlags `embed:"" group:"ldap"`
	OIDC oidcFlags `embed:"" group:"oidc"`
	SAML samlFlags `embed:"" group:"saml"`
}

type ldapFlags struct {
	URL              string `name:"url" placeholder:"URL" help:"ldaps://HOST[:PORT], or ldap://HOST[:PORT], which then means StartTLS."`
	ServerName       string `placeholder:"NAME" help:"Name in the directory's certificate (the URL's host)."`
	Resolve          string `placeholder:"HOW" help:"How a name becomes a DN: search, construct or upn."`
	BindDN           string `name:"bind-dn" placeholder:"DN" help:"Service account; search needs it, and so does the re-check."`
	BaseDN           string `name:"base-dn" placeholder:"DN" help:"Where search looks."`
	Filter           string `placeholder:"FILTER" help:"What search looks for, with {login}, {mail} or {name} ((mail={login}))."`
	Template         string `placeholder:"DN" help:"DN that construct makes, with {name} or {login}."`
	SubjectAttribute string `placeholder:"ATTR" help:"Attribute that never changes (entryUUID)."`
	NameAttribute    string `placeholder:"ATTR" help:"Attribute of the user name (uid)."`
	MailAttribute    string `placeholder:"ATTR" help:"Attribute of the e-mail address (mail)."`
	DisplayAttribute string `placeholder:"ATTR" help:"Attribute of the display name (cn)."`
	Active           string `placeholder:"FILTER" help:"Filter that people must match to sign in and to stay."`
}

type oidcFlags struct {
	ClientID     string   `name:"client-id" placeholder:"ID" help:"What the provider knows Gatehouse by."`
	Scope        []string `placeholder:"SCOPE" help:"Scopes to ask for beside openid, email and profile."`
	NoDiscovery  bool     `help:"Do not ask the provider for its endpoints: they are given."`
	AuthURL      string   `name:"auth-url" placeholder:"URL" help:"Authorization endpoint."`
	TokenURL     string   `name:"token-url" placeholder:"URL" help:"Token endpoint."`
	UserinfoURL  string   `name:"userinfo-url" placeholder:"URL" help:"Userinfo endpoint."`
	KeysURL      string   `name:"keys-url" placeholder:"URL" help:"Where the provider publishes its keys."`
	AllowUnbound bool     `help:"Take codes of sign-ins that did not begin here; needs a client secret."`
}

type samlFlags struct {
	SSOURL          string `name:"sso-url" placeholder:"URL" help:"Where people are sent."`
	CertificateFile string `placeholder:"FILE" help:"Certificates by which the provider signs, in PEM form."`
	IDPInitiated    bool   `name:"idp-initiated" help:"Take responses to no request of ours."`
	SignRequests    bool   `help:"Sign requests."`
}

// given says whether a flag of the kind was used.
func (f oidcFlags) given() bool {
	return f.ClientID != "" || len(f.Scope) > 0 || f.NoDiscovery || f.AuthURL != "" || f.TokenURL != "" || f.UserinfoURL != "" || f.KeysURL != "" || f.AllowUnbound
}

// Run adds the provider. Its settings are looked at, and nobody is asked.
func (c *idpAdd) Run(ctx context.Context, p *process) error {
	in, err := c.provider()
	if err != nil {
		return err
	}
	if c.SecretStdin {
		if in.Secret, err = p.readPassword(); err != nil {
			return err
		}
		if in.Secret.Empty() {
			return usagef("--secret-stdin: standard input is empty; give the secret, or leave the flag out")
		}
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		made, err := h.Providers.Add(ctx, h.Access.For(by), in)
		if err != nil {
			return failed("add identity provider "+c.Name, err, seeProviders)
		}
		if p.json {
			return p.printJSON(wireProvider(made))
		}
		p.note("added identity provider %s; try it with `gatehouse idp test %s`", made.Name, strconv.Quote(made.Name))
		return nil
	})
}

// provider reads the flags of the kind. One of another kind is a mistake, not something to pass over.
func (c *idpAdd) provider() (identity.NewProvider, error) {
	in := identity.NewProvider{Kind: identity.ProviderKind(c.Kind), Name: c.Name, Disabled: c.Disabled}
	in.Settings = identity.ProviderSettings{
		Button: c.Button, Domains: c.Domain, Link: identity.LinkPolicy(c.LinkBy), JIT: identity.JIT{Provision: c.Provision, Display: c.JITDisplay, Email: c.JITEmail},
	}
	for kind, given := range map[identity.ProviderKind]bool{identity.LDAP: c.LDAP != ldapFlags{}, identity.OIDC: c.OIDC.given(), identity.SAML: c.SAML != samlFlags{}} {
		if given && kind != in.Kind {
			return in, usagef("a flag of --kind %s was given with --kind %s; see `gatehouse idp add --help`", kind, in.Kind)
		}
	}
	if in.Kind == identity.LDAP && c.Issuer+c.NameClaim != "" || in.Kind == identity.SAML && c.CAFile != "" {
		return in, usagef("a flag of another kind was given with --kind %s; see `gatehouse idp add --help`", in.Kind)
	}
	authorities, err := c.file("--ca-file", c.CAFile)
	if err != nil {
		return in, err
	}
	switch in.Kind {
	case identity.LDAP:
		f := c.LDAP
		in.Settings.LDAP = &identity.LDAPSettings{
			URL: f.URL, CA: authorities, ServerName: f.ServerName, Resolve: f.Resolve, BindDN: f.BindDN, BaseDN: f.BaseDN, Filter: f.Filter, Template: f.Template,
			Subject: f.SubjectAttribute, Name: f.NameAttribute, Mail: f.MailAttribute, Display: f.DisplayAttribute, Active: f.Active,
		}
	case identity.OIDC:
		f := c.OIDC
		in.Settings.OIDC = &identity.OIDCSettings{
			Issuer: c.Issuer, ClientID: f.ClientID, Scopes: f.Scope, NameClaim: c.NameClaim, NoDiscovery: f.NoDiscovery, AuthURL: f.AuthURL, TokenURL: f.TokenURL,
			UserInfoURL: f.UserinfoURL, KeysURL: f.KeysURL, CA: authorities, AllowUnbound: f.AllowUnbound,
		}
	case identity.SAML:
		f := c.SAML
		certificate, err := c.file("--certificate-file", f.CertificateFile)
		if err != nil {
			return in, err
		}
		in.Settings.SAML = &identity.SAMLSettings{
			Issuer: c.Issuer, SSOURL: f.SSOURL, Certificate: certificate, NameClaim: c.NameClaim, IDPInitiated: f.IDPInitiated, SignRequests: f.SignRequests,
		}
	}
	return in, nil
}

func (c *idpAdd) file(flag, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", usagef("%s: %w; give a file that can be read", flag, err)
	}
	return string(text), nil
}

type providerJSON struct {
	ID       string                    `json:"id"`
	Number   int64                     `json:"number"`
	Kind     identity.ProviderKind     `json:"kind"`
	Name     string                    `json:"name"`
	Enabled  bool                      `json:"enabled"`
	Settings identity.ProviderSettings `json:"settings"`
	Created  time.Time                 `json:"created_at"`
	Updated  time.Time                 `json:"updated_at"`
}

func wireProvider(p identity.Provider) providerJSON {
	return providerJSON{p.ID, p.Number, p.Kind, p.Name, p.Enabled, p.Settings, p.Created.UTC(), p.Updated.UTC()}
}

type idpList struct {
	Place
	Output
}

// Run lists the providers.
func (c *idpList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		all, err := h.Providers.List(ctx, h.Access.For(by))
		if err != nil {
			return failed("list identity providers", err, "try again in a moment")
		}
		shown := make([]providerJSON, len(all))
		for i, one := range all {
			shown[i] = wireProvider(one)
		}
		return print(p, shown, []string{"NUMBER", "NAME", "KIND", "STATE", "LINKS BY", "ADDS PEOPLE", "CREATED"}, func(o providerJSON) []string {
			return []string{strconv.FormatInt(o.Number, 10), o.Name, string(o.Kind), state(!o.Enabled), string(o.Settings.Link), yes(o.Settings.JIT.Provision), moment(o.Created)}
		})
	})
}

// withProvider finds the provider that a command names.
func (p *process) withProvider(ctx context.Context, what, name string, work func(*app.House, access.Caller, identity.Provider) error) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		one, err := h.Providers.ByName(ctx, h.Access.For(by), name)
		if err == nil {
			err = work(h, by, one)
		}
		if err != nil {
			return failed(what+" identity provider "+name, err, seeProviders)
		}
		return nil
	})
}

type idpShow struct {
	Place
	Output
	Name string `arg:"" help:"Name of the provider."`
}

// Run prints the provider.
func (c *idpShow) Run(ctx context.Context, p *process) error {
	return p.withProvider(ctx, "show", c.Name, func(_ *app.House, _ access.Caller, one identity.Provider) error {
		return p.printJSON(wireProvider(one))
	})
}

type idpTest struct {
	Place
	Output
	Name string `arg:"" help:"Name of the provider."`
}

type stepJSON struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Note string `json:"note,omitempty"`
}

var errTestFailed = errors.New("a step failed; correct the settings, or the provider, as the step says")

// Run tries the provider and prints the steps.
func (c *idpTest) Run(ctx context.Context, p *process) error {
	return p.withProvider(ctx, "test", c.Name, func(h *app.House, by access.Caller, one identity.Provider) error {
		taken, err := h.Login.TestProvider(ctx, by, one.ID)
		if err != nil {
			return err
		}
		steps, ok := make([]stepJSON, len(taken)), true
		for i, step := range taken {
			steps[i], ok = stepJSON{step.Name, step.OK, step.Note}, ok && step.OK
		}
		if p.json {
			err = p.printJSON(steps)
		} else {
			c.print(p, steps)
		}
		if err == nil && !ok {
			err = errTestFailed
		}
		return err
	})
}

func (c *idpTest) print(p *process, steps []stepJSON) {
	for _, step := range steps {
		how := "ok"
		if !step.OK {
			how = "failed"
		}
		fmt.Fprintf(p.out, "%-6s  %s: %s\n", how, clean(step.Name), clean(step.Note))
	}
}

type idpEnable struct {
	Place
	Name string `arg:"" help:"Name of the provider."`
}

// Run lets people come from the provider.
func (c *idpEnable) Run(ctx context.Context, p *process) error {
	return p.setProvider(ctx, "enable", c.Name, true)
}

type idpDisable struct {
	Place
	Name string `arg:"" help:"Name of the provider."`
}

// Run lets nobody come from the provider.
func (c *idpDisable) Run(ctx context.Context, p *process) error {
	return p.setProvider(ctx, "disable", c.Name, false)
}

func (p *process) setProvider(ctx context.Context, what, name string, enabled bool) error {
	return p.withProvider(ctx, what, name, func(h *app.House, by access.Caller, one identity.Provider) error {
		if _, err := h.Providers.SetEnabled(ctx, h.Access.For(by), one.ID, enabled); err != nil {
			return err
		}
		p.note("%s is %s", one.Name, state(!enabled))
		return nil
	})
}

type idpRemove struct {
	Place
	Name string `arg:"" help:"Name of the provider."`
}

// Run removes the provider.
func (c *idpRemove) Run(ctx context.Context, p *process) error {
	return p.withProvider(ctx, "remove", c.Name, func(h *app.House, by access.Caller, one identity.Provider) error {
		if _, err := h.Providers.Remove(ctx, h.Access.For(by), one.ID); err != nil {
			return err
		}
		p.note("removed identity provider %s", one.Name)
		return nil
	})
}

type userLink struct {
	Place
	Name    string `arg:"" help:"Name of the user."`
	IDP     string `name:"idp" required:"" placeholder:"NAME" help:"Name of the identity provider."`
	Subject string `placeholder:"SUBJECT" help:"Who the user is there: entryUUID in a directory, sub at an OpenID Connect provider, NameID at a SAML provider (the user's e-mail address)."`
}

// Run says who the user is at the provider.
func (c *userLink) Run(ctx context.Context, p *process) error {
	return p.withLink(ctx, "link", c.Name, c.IDP, func(h *app.House, by access.Caller, u identity.User, one identity.Provider) error {
		subject := c.Subject
		if subject == "" && one.Kind == identity.SAML {
			subject = u.Email
		}
		if subject == "" {
			return usagef("--subject is missing: only SAML providers know people by their e-mail address; give who the user is there")
		}
		if _, err := h.Providers.Link(ctx, h.Access.For(by), one.ID, u.ID, subject); err != nil {
			return err
		}
		p.note("%s is linked to %s", u.Name, one.Name)
		return nil
	})
}

type userUnlink struct {
	Place
	Name string `arg:"" help:"Name of the user."`
	IDP  string `name:"idp" required:"" placeholder:"NAME" help:"Name of the identity provider."`
}

// Run says that the user is nobody at the provider any more.
func (c *userUnlink) Run(ctx context.Context, p *process) error {
	return p.withLink(ctx, "unlink", c.Name, c.IDP, func(h *app.House, by access.Caller, u identity.User, one identity.Provider) error {
		if err := h.Providers.Unlink(ctx, h.Access.For(by), one.ID, u.ID); err != nil {
			return err
		}
		p.note("%s is no longer linked to %s", u.Name, one.Name)
		return nil
	})
}

// withLink finds the user and the provider that a command names.
func (p *process) withLink(ctx context.Context, what, user, provider string, work func(*app.House, access.Caller, identity.User, identity.Provider) error) error {
	return p.withUser(ctx, what, user, func(h *app.House, by access.Caller, u identity.User) error {
		one, err := h.Providers.ByName(ctx, h.Access.For(by), provider)
		if err != nil {
			return fmt.Errorf("find %s: %w; %s", provider, err, seeProviders)
		}
		return work(h, by, u, one)
	})
}
