package identity

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// ProviderKind is what a provider speaks.
type ProviderKind string

// The kinds of providers.
const (
	LDAP ProviderKind = "ldap"
	OIDC ProviderKind = "oidc"
	SAML ProviderKind = "saml"

	Draft ProviderKind = "none" // nothing yet: kept as it was given, never enabled; a change may give it another kind
)

// LinkPolicy says how somebody who comes from a provider for the first time becomes a user who is there already.
type LinkPolicy string

// The policies. Whatever they say, a user who is linked to a provider already is never linked to a second one by it.
const (
	LinkNever   LinkPolicy = ""      // an administrator links them (Providers.Link)
	LinkByEmail LinkPolicy = "email" // whoever has the e-mail address, where the provider says that it is verified
	LinkByName  LinkPolicy = "name"  // whoever has the user name
)

// Provider is an outside party that says who people are.
type Provider struct {
	ID        string
	Number    int64    // for wires that know it by an integer; never given twice
	Handle    [16]byte // for wires that know it by 16 random bytes
	Kind      ProviderKind
	Name      string // unique, compared folded
	Enabled   bool
	Settings  ProviderSettings
	Secret    secret.String // client secret, or the password of LDAP's service account; sealed at rest, never shown
	HasSecret bool          // it has one, where Secret is not shown
	Created   time.Time
	Updated   time.Time
}

// ProviderSettings is everything about a provider that may be shown. Members of other kinds are empty.
type ProviderSettings struct {
	Button  string     `json:"button,omitempty"`  // text of the button on the sign-in page; "Log in with NAME" when empty
	Domains []string   `json:"domains,omitempty"` // e-mail domains that discovery offers it to; none is all
	Link    LinkPolicy `json:"link,omitempty"`
	JIT     JIT        `json:"jit"`

	Extra       map[string]string `json:"extra,omitempty"`       // what a wire keeps and shows back; nothing here reads it
	Unsupported string            `json:"unsupported,omitempty"` // why nobody can sign in by it yet, said to who tries; empty: they can

	LDAP *LDAPSettings `json:"ldap,omitempty"`
	OIDC *OIDCSettings `json:"oidc,omitempty"`
	SAML *SAMLSettings `json:"saml,omitempty"`
}

// JIT says what becomes of people whom nobody has added.
type JIT struct {
	Provision bool   `json:"provision,omitempty"` // they are added, as members without further rights
	Display   string `json:"display,omitempty"`   // expression for the display name
	Email     string `json:"email,omitempty"`     // expression for the e-mail address

	Groups string   `json:"groups,omitempty"` // attribute or claim that lists their groups; empty: groups are left alone
	Scopes []string `json:"scopes,omitempty"` // OIDC: asked for beside the provider's own
}

// IsZero reports whether nothing is set.
func (j JIT) IsZero() bool {
	return !j.Provision && j.Display == "" && j.Email == "" && j.Groups == "" && len(j.Scopes) == 0
}

// LDAPSettings is how a directory is asked. Provider.Secret is the password of BindDN.
type LDAPSettings struct {
	URL        string `json:"url"`                   // ldaps://host:port, or ldap://host:port, which then means StartTLS
	CA         string `json:"ca,omitempty"`          // PEM; the system's authorities when empty
	ServerName string `json:"server_name,omitempty"` // name in the certificate, where it is not the URL's host
	Resolve    string `json:"resolve"`               // how a name becomes a DN: search, construct or upn
	BindDN     string `json:"bind_dn,omitempty"`     // service account: search needs it, and so does the re-check
	BaseDN     string `json:"base_dn,omitempty"`     // where search looks
	Filter     string `json:"filter,omitempty"`      // with {mail}, {name} or {login} for what was presented, escaped; "(mail={login})" when empty
	Template   string `json:"template,omitempty"`    // of construct: "uid={name},ou=people,dc=example,dc=test"
	Subject    string `json:"subject,omitempty"`     // attribute that never changes: entryUUID (default), objectGUID; the DN where it is absent
	Name       string `json:"name,omitempty"`        // attribute of the user name; uid when empty
	Mail       string `json:"mail,omitempty"`        // attribute of the e-mail address; mail when empty
	Display    string `json:"display,omitempty"`     // attribute of the display name; cn when empty
	Active     string `json:"active,omitempty"`      // filter that an entry must match to sign in or stay; none when empty
}

// OIDCSettings is how an OpenID Connect provider is asked. Provider.Secret is the client secret.
type OIDCSettings struct {
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"client_id"`
	Scopes       []string `json:"scopes,omitempty"` // beside openid, email and profile
	NameClaim    string   `json:"name_claim,omitempty"`
	NoDiscovery  bool     `json:"no_discovery,omitempty"` // then the endpoints are given
	AuthURL      string   `json:"auth_url,omitempty"`
	TokenURL     string   `json:"token_url,omitempty"`
	UserInfoURL  string   `json:"userinfo_url,omitempty"`
	KeysURL      string   `json:"keys_url,omitempty"`
	CA           string   `json:"ca,omitempty"`            // PEM
	AllowUnbound bool     `json:"allow_unbound,omitempty"` // codes of flows that we did not begin; needs a client secret
}

// SAMLSettings is how a SAML 2.0 identity provider is asked.
type SAMLSettings struct {
	Issuer       string `json:"issuer"`
	SSOURL       string `json:"sso_url"`
	Certificate  string `json:"certificate"` // PEM or bare base64, may hold several; all are trusted for signatures
	NameClaim    string `json:"name_claim,omitempty"`
	IDPInitiated bool   `json:"idp_initiated,omitempty"`
	SignRequests bool   `json:"sign_requests,omitempty"`
}

// Link says who a user is at a provider.
type Link struct {
	Provider string
	Subject  string // unchanging name at the provider
	User     string
	Made     bool // the user was made by it (JIT)
	Created  time.Time
	Checked  time.Time // last re-check of a directory; zero is never
}

// Visitor is who a provider says came.
type Visitor struct {
	Subject       string // unchanging name at the provider
	Name          string // what the provider's mapping gives as user name; may be empty
	Email         string
	EmailVerified bool
	Display       string

	Groups     []string  // names of the groups that the provider lists, where its JIT.Groups asks for them
	GroupsSaid bool      // the provider says which groups, or that there are none; otherwise it says nothing of groups
	Unmapped   string    // why an expression of its JIT has no value: names what is missing, repeats no value; empty: each has one
	Session    string    // the session at the provider, under which it may end it; empty: it named none
	Until      time.Time // when the session at the provider ends at the latest; zero: it did not say
}

// The faults of providers.
var (
	ErrNoProvider    = fault.New(fault.NotFound, "identity provider not found")
	ErrProviderTaken = fault.New(fault.Conflict, "an identity provider of that name exists")
	ErrLinked        = fault.New(fault.Conflict, "the user is linked to that provider already, or the provider's subject to another user")
	ErrNoLink        = fault.New(fault.NotFound, "the user is not linked to that provider")
	// ErrStranger says that nobody here is the visitor, and that the provider may not make or link one. What is wrapped around it
	// says why, for the audit log.
	ErrStranger = fault.New(fault.Unauthenticated, "nobody here is linked to who came from the provider")
)

// ProviderStore keeps providers, their secrets sealed, and links.
type ProviderStore interface {
	// Insert adds p, gives it the next number, which is returned, and records e, all or nothing. It reports ErrProviderTaken.
	Insert(ctx context.Context, p Provider, e audit.Event) (Provider, error)
	// ByID, ByNumber and ByHandle report ErrNoProvider.
	ByID(ctx context.Context, id string) (Provider, error)
	ByNumber(ctx context.Context, number int64) (Provider, error)
	ByHandle(ctx context.Context, handle [16]byte) (Provider, error)
	// All lists providers by number.
	All(ctx context.Context) ([]Provider, error)
	// Change loads the provider, hands it to decide, stores what that returns and the event of it, and tells all nodes, all or nothing. Sessions that
	// began by a provider which is disabled by it end. It reports ErrNoProvider and ErrProviderTaken.
	Change(ctx context.Context, id string, decide func(Provider) (Provider, error), event func(was, is Provider) audit.Event) (Provider, error)
	// Delete removes the provider with its links and flows, ends the sessions that began by it, records e, tells all nodes. It reports ErrNoProvider.
	Delete(ctx context.Context, id string, e audit.Event) error

	// LinkOf finds a link by provider and subject. It reports ErrNoLink.
	LinkOf(ctx context.Context, provider, subject string) (Link, error)
	// LinksOf lists the links of a user.
	LinksOf(ctx context.Context, user string) ([]Link, error)
	// InsertLink adds l and records e, both or neither. It reports ErrLinked.
	InsertLink(ctx context.Context, l Link, e audit.Event) error
	// InsertMade adds a user, as an ordinary member of its account, with its link and e, all or nothing. It reports
	// ErrNameTaken, ErrEmailTaken and ErrLinked.
	InsertMade(ctx context.Context, u User, l Link, e audit.Event) error
	// DeleteLink removes a link, ends the user's sessions that began by the provider, records e and tells all nodes, all or nothing. It reports ErrNoLink.
	DeleteLink(ctx context.Context, provider, user string, e audit.Event) error
	// DueLinks claims up to limit links of a provider that were last claimed or checked before that time, longest ago first: they count as
	// checked at now, so nobody else is given them.
	DueLinks(ctx context.Context, provider string, before time.Time, limit int, now time.Time) ([]Link, error)
	// Checked notes that a link was checked. present says whether the directory still has them: a user who is gone is disabled
	// by the provider and their sessions end; one who was disabled by the same provider and is back is enabled. event is recorded where something changed.
	Checked(ctx context.Context, l Link, present bool, now time.Time, event func(change string) audit.Event) error

	// Standing returns a user as a refresh finds them, with the groups of the default account that are called one of the folded names. It reports ErrUnknown.
	Standing(ctx context.Context, user string, names []string) (Standing, error)
	// Refresh loads the user's Standing, hands it to decide, stores what that returns and tells all nodes, all or nothing; an Update without an
	// event stores nothing. decide may run more than once. It reports ErrUnknown, ErrEmailTaken, and ErrOvertaken where a group came or went meanwhile.
	Refresh(ctx context.Context, user string, names []string, decide func(Standing) (Update, error)) (User, error)
	// Made lists the users whom some provider made, by folded name.
	Made(ctx context.Context) ([]User, error)
}
