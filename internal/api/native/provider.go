package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// wireProvider is an outside party that says who people are. Its secret is written, and never read.
type wireProvider struct {
	ID          string               `json:"id" format:"uuid"`
	Number      int64                `json:"number" doc:"For the addresses of sign-in pages; never given twice."`
	Kind        string               `json:"kind" enum:"ldap,oidc,saml,none"`
	Name        string               `json:"name"`
	Enabled     bool                 `json:"enabled"`
	Settings    wireProviderSettings `json:"settings"`
	Unsupported string               `json:"unsupported,omitempty" doc:"Why nobody can sign in by it, whatever else is set; absent where they can."`
	CreatedAt   time.Time            `json:"created_at"`
	UpdatedAt   time.Time            `json:"updated_at"`
}

// wireProviderSettings is everything about a provider that may be shown.
type wireProviderSettings struct {
	Button  string            `json:"button,omitempty" maxLength:"40" doc:"Text of its button on the sign-in page; Log in with NAME where it is empty."`
	Domains []string          `json:"domains,omitempty" nullable:"false" maxItems:"100" doc:"E-mail domains that discovery offers it to; none is all."`
	Link    string            `json:"link,omitempty" enum:"never,email,name" default:"never" doc:"How who comes first becomes a user who is there: by an administrator alone, by verified e-mail address, by name."`
	JIT     *wireJIT          `json:"jit,omitempty" doc:"What becomes of people whom nobody has added."`
	Extra   map[string]string `json:"extra,omitempty" doc:"Texts of your own, shown back."`
	LDAP    *wireLDAP         `json:"ldap,omitempty"`
	OIDC    *wireOIDC         `json:"oidc,omitempty"`
	SAML    *wireSAML         `json:"saml,omitempty"`
}

// The structs below have the fields of identity's, in their order, so that one converts to the other.

type wireJIT struct {
	Provision bool   `json:"provision,omitempty" doc:"They are added, as members without further rights."`
	Display   string `json:"display,omitempty" doc:"Expression for the display name, such as ${given_name}."`
	Email     string `json:"email,omitempty" doc:"Expression for the e-mail address."`

	Groups string   `json:"groups,omitempty" maxLength:"1024" doc:"Attribute or claim that lists their groups, which they then are in, and in no others; groups are left alone where it is empty."`
	Scopes []string `json:"scopes,omitempty" nullable:"false" maxItems:"50" doc:"OpenID Connect: asked for beside the provider's own."`
}

type wireLDAP struct {
	URL        string `json:"url" maxLength:"2048" example:"ldaps://ldap.example.com" doc:"ldaps://host:port, or ldap://host:port, which then means StartTLS."`
	CA         string `json:"ca,omitempty" doc:"PEM; the system's authorities where it is empty."`
	ServerName string `json:"server_name,omitempty" doc:"Name in the certificate, where it is not the URL's host."`
	Resolve    string `json:"resolve" enum:"search,construct,upn" doc:"How a name becomes a DN."`
	BindDN     string `json:"bind_dn,omitempty" doc:"Service account; search needs it, and so does the re-check."`
	BaseDN     string `json:"base_dn,omitempty" doc:"Where search looks."`
	Filter     string `json:"filter,omitempty" doc:"With {mail}, {name} or {login} for what was presented; (mail={login}) where it is empty."`
	Template   string `json:"template,omitempty" doc:"Of construct: uid={name},ou=people,dc=example,dc=com."`
	Subject    string `json:"subject,omitempty" doc:"Attribute that never changes; entryUUID where it is empty."`
	Name       string `json:"name,omitempty" doc:"Attribute of the user name; uid where it is empty."`
	Mail       string `json:"mail,omitempty" doc:"Attribute of the e-mail address; mail where it is empty."`
	Display    string `json:"display,omitempty" doc:"Attribute of the display name; cn where it is empty."`
	Active     string `json:"active,omitempty" doc:"Filter that an entry must match to sign in or stay."`
}

type wireOIDC struct {
	Issuer       string   `json:"issuer" maxLength:"2048" example:"https://id.example.com"`
	ClientID     string   `json:"client_id" maxLength:"1024" example:"gatehouse"`
	Scopes       []string `json:"scopes,omitempty" nullable:"false" maxItems:"50" doc:"Beside openid, email and profile."`
	NameClaim    string   `json:"name_claim,omitempty" doc:"Expression for the user name."`
	NoDiscovery  bool     `json:"no_discovery,omitempty" doc:"Then the endpoints are given."`
	AuthURL      string   `json:"auth_url,omitempty"`
	TokenURL     string   `json:"token_url,omitempty"`
	UserInfoURL  string   `json:"userinfo_url,omitempty"`
	KeysURL      string   `json:"keys_url,omitempty"`
	CA           string   `json:"ca,omitempty" doc:"PEM."`
	AllowUnbound bool     `json:"allow_unbound,omitempty" doc:"Take codes of sign-ins that were not begun here; needs a client secret."`
}

type wireSAML struct {
	Issuer       string `json:"issuer" maxLength:"2048" example:"https://id.example.com/saml"`
	SSOURL       string `json:"sso_url" maxLength:"2048" example:"https://id.example.com/saml/sso"`
	Certificate  string `json:"certificate" example:"-----BEGIN CERTIFICATE-----..." doc:"PEM or bare base64; of several all are trusted."`
	NameClaim    string `json:"name_claim,omitempty" doc:"Expression for the user name."`
	IDPInitiated bool   `json:"idp_initiated,omitempty" doc:"Take sign-ins that began at the provider."`
	SignRequests bool   `json:"sign_requests,omitempty"`
}

var linkWords = map[identity.LinkPolicy]string{identity.LinkNever: "never", identity.LinkByEmail: "email", identity.LinkByName: "name"}

func providerOf(p identity.Provider) wireProvider {
	set := p.Settings
	out := wireProvider{
		ID: p.ID, Number: p.Number, Kind: string(p.Kind), Name: p.Name, Enabled: p.Enabled, Unsupported: set.Unsupported, CreatedAt: p.Created.UTC(), UpdatedAt: p.Updated.UTC(),
		Settings: wireProviderSettings{Button: set.Button, Domains: set.Domains, Link: linkWords[set.Link], Extra: set.Extra},
	}
	if !set.JIT.IsZero() {
		jit := wireJIT(set.JIT)
		out.Settings.JIT = &jit
	}
	if set.LDAP != nil {
		ldap := wireLDAP(*set.LDAP)
		out.Settings.LDAP = &ldap
	}
	if set.OIDC != nil {
		oidc := wireOIDC(*set.OIDC)
		out.Settings.OIDC = &oidc
	}
	if set.SAML != nil {
		saml := wireSAML(*set.SAML)
		out.Settings.SAML = &saml
	}
	return out
}

func (w wireProviderSettings) settings() identity.ProviderSettings {
	set := identity.ProviderSettings{Button: w.Button, Domains: w.Domains, Link: meant(linkWords, w.Link), Extra: w.Extra}
	if w.JIT != nil {
		set.JIT = identity.JIT(*w.JIT)
	}
	if w.LDAP != nil {
		ldap := identity.LDAPSettings(*w.LDAP)
		set.LDAP = &ldap
	}
	if w.OIDC != nil {
		oidc := identity.OIDCSettings(*w.OIDC)
		set.OIDC = &oidc
	}
	if w.SAML != nil {
		saml := identity.SAMLSettings(*w.SAML)
		set.SAML = &saml
	}
	return set
}

func (a *API) listProviders(ctx context.Context, by access.Caller, _ none) (wirePage[wireProvider], error) {
	all, err := a.Providers.List(ctx, a.Access.For(by))
	return whole(all, providerOf), err
}

type createProvider struct {
	Body wireProviderDraft
}

type wireProviderDraft struct {
	Kind     string               `json:"kind" enum:"ldap,oidc,saml"`
	Name     string               `json:"name" maxLength:"255" example:"Corporate directory"`
	Disabled bool                 `json:"disabled,omitempty" doc:"Nobody comes from it yet."`
	Settings wireProviderSettings `json:"settings"`
	Secret   string               `json:"secret,omitempty" writeOnly:"true" maxLength:"4096" doc:"Client secret, or the password of the service account."`
}

func (a *API) createProvider(ctx context.Context, by access.Caller, in createProvider) (wireProvider, error) {
	p, err := a.Providers.Add(ctx, a.Access.For(by), identity.NewProvider{
		Kind: identity.ProviderKind(in.Body.Kind), Name: in.Body.Name, Disabled: in.Body.Disabled, Settings: in.Body.Settings.settings(), Secret: secret.New(in.Body.Secret),
	})
	return providerOf(p), err
}

type oneProvider struct {
	Provider string `path:"provider" doc:"Its id."`
}

func (a *API) showProvider(ctx context.Context, by access.Caller, in oneProvider) (wireProvider, error) {
	p, err := a.Providers.ByID(ctx, a.Access.For(by), in.Provider)
	return providerOf(p), err
}

type changeProvider struct {
	Provider string `path:"provider" doc:"Its id."`
	Body     wireProviderChange
}

type wireProviderChange struct {
	Kind     *string               `json:"kind,omitempty" enum:"ldap,oidc,saml" doc:"Of a draft alone."`
	Name     *string               `json:"name,omitempty" maxLength:"255"`
	Settings *wireProviderSettings `json:"settings,omitempty" doc:"All of them, in place of those that are there."`
	Secret   *string               `json:"secret,omitempty" writeOnly:"true" maxLength:"4096" doc:"In place of the one that is there."`
}

func (a *API) changeProvider(ctx context.Context, by access.Caller, in changeProvider) (wireProvider, error) {
	p, err := a.Providers.Change(ctx, a.Access.For(by), in.Provider, func(p identity.Provider) (identity.Provider, error) {
		if in.Body.Kind != nil {
			p.Kind = identity.ProviderKind(*in.Body.Kind)
		}
		if in.Body.Name != nil {
			p.Name = *in.Body.Name
		}
		if in.Body.Settings != nil {
			cannot := p.Settings.Unsupported // a fact about the provider, and not a choice
			p.Settings = in.Body.Settings.settings()
			p.Settings.Unsupported = cannot
		}
		if in.Body.Secret != nil {
			p.Secret = secret.New(*in.Body.Secret)
		}
		return p, nil
	})
	return providerOf(p), err
}

func (a *API) deleteProvider(ctx context.Context, by access.Caller, in oneProvider) (none, error) {
	_, err := a.Providers.Remove(ctx, a.Access.For(by), in.Provider)
	return none{}, err
}

// setEnabled lets people come from a provider, or no longer.
func (a *API) setEnabled(enabled bool) func(context.Context, access.Caller, oneProvider) (wireProvider, error) {
	return func(ctx context.Context, by access.Caller, in oneProvider) (wireProvider, error) {
		p, err := a.Providers.SetEnabled(ctx, a.Access.For(by), in.Provider, enabled)
		return providerOf(p), err
	}
}

func (a *API) listMade(ctx context.Context, by access.Caller, _ none) (wirePage[wireUser], error) {
	all, err := a.Providers.Made(ctx, a.Access.For(by))
	return whole(all, userOf), err
}

// wireTrial is what a test of a provider found.
type wireTrial struct {
	OK    bool       `json:"ok"`
	Steps []wireStep `json:"steps" nullable:"false" doc:"In order; the last one failed, or none did."`
}

type wireStep struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Note string `json:"note" doc:"What was found, or what is wrong and what to do."`
}

func (a *API) testProvider(ctx context.Context, by access.Caller, in oneProvider) (wireTrial, error) {
	steps, err := a.Login.TestProvider(ctx, by, in.Provider)
	out := wireTrial{OK: true, Steps: []wireStep{}}
	for _, s := range steps {
		out.OK = out.OK && s.OK
		out.Steps = append(out.Steps, stepOf(s))
	}
	return out, err
}

func stepOf(s login.Step) wireStep { return wireStep{s.Name, s.OK, s.Note} }

// wireLink says who a user is at a provider.
type wireLink struct {
	Provider  string     `json:"provider_id" format:"uuid"`
	User      string     `json:"user_id" format:"uuid"`
	Subject   string     `json:"subject" doc:"Unchanging name at the provider."`
	Made      bool       `json:"made" doc:"The user was added by it."`
	CreatedAt time.Time  `json:"created_at"`
	CheckedAt *time.Time `json:"checked_at" nullable:"true" doc:"When the directory was last asked whether they are there."`
}

func linkOf(l identity.Link) wireLink {
	return wireLink{Provider: l.Provider, User: l.User, Subject: l.Subject, Made: l.Made, CreatedAt: l.Created.UTC(), CheckedAt: moment(l.Checked)}
}

func (a *API) listLinks(ctx context.Context, by access.Caller, in oneUser) (wirePage[wireLink], error) {
	all, err := a.Providers.LinksOf(ctx, a.Access.For(by), in.User)
	return whole(all, linkOf), err
}

type createLink struct {
	User string `path:"user" doc:"Id of the user."`
	Body wireLinkDraft
}

type wireLinkDraft struct {
	Provider string `json:"provider_id" maxLength:"255"`
	Subject  string `json:"subject" maxLength:"1024" example:"248289761001" doc:"Unchanging name at the provider."`
}

func (a *API) createLink(ctx context.Context, by access.Caller, in createLink) (wireLink, error) {
	l, err := a.Providers.Link(ctx, a.Access.For(by), in.Body.Provider, in.User, in.Body.Subject)
	return linkOf(l), err
}

type oneLink struct {
	User     string `path:"user" doc:"Id of the user."`
	Provider string `path:"provider" doc:"Id of the provider."`
}

func (a *API) deleteLink(ctx context.Context, by access.Caller, in oneLink) (none, error) {
	return none{}, a.Providers.Unlink(ctx, a.Access.For(by), in.Provider, in.User)
}
