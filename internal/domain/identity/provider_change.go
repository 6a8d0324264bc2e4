package identity

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const kindProvider = "provider"

const (
	actionProviderCreate = "provider.create"
	actionProviderRead   = "provider.read"
	actionProviderUpdate = "provider.update"
	actionProviderDelete = "provider.delete"
	actionProviderTest   = "provider.test"
	actionProviderLink   = "provider.link"
	actionProviderUnlink = "provider.unlink"
)

const (
	maxProviderName = 255 // characters
	maxButton       = 40  // characters
	maxDomains      = 100
	maxExtra        = 40 // members, each of at most maxExtraText bytes
	maxExtraText    = 32 << 10
)

// Providers adds and changes identity providers, and finds out who came from one.
type Providers struct {
	Store ProviderStore
	Users Store
	Now   func() time.Time
	NewID func() string

	// Guarded says whom no policy links: those who have rights over others. An administrator who stands high enough links them by hand.
	Guarded func(ctx context.Context, user string) (bool, error)
	// Heavy says which groups nobody joins by a provider's word, unless JITAdminGroups: those that hold rights over others.
	Heavy          func(ctx context.Context, group string) (bool, error)
	JITAdminGroups bool

	Check func(Provider) error // why the settings of a provider cannot work, without asking anybody; nil takes them all
}

// NewProvider is what a provider is made from.
type NewProvider struct {
	Kind     ProviderKind
	Name     string
	Disabled bool
	Settings ProviderSettings
	Secret   secret.String
}

// Add makes a provider.
func (s *Providers) Add(ctx context.Context, by Authority, in NewProvider) (Provider, error) {
	id, now := s.NewID(), s.now()
	e, err := by.AuthorizeOn(ctx, actionProviderCreate, Target{Kind: kindProvider, ID: id})
	if err != nil {
		return Provider{}, err
	}
	p := Provider{ID: id, Handle: [16]byte(secret.Bytes(16)), Kind: in.Kind, Name: in.Name, Enabled: !in.Disabled, Settings: in.Settings, Secret: in.Secret, Created: now, Updated: now}
	if err := s.check(p); err != nil {
		return Provider{}, err
	}
	e.Object.Name = p.Name
	p, err = s.Store.Insert(ctx, p, e.With("kind", string(p.Kind)))
	return p.shown(), err
}

// now is the time as it is kept: in microseconds, so that a provider is shown at once as it is later.
func (s *Providers) now() time.Time { return s.Now().Truncate(time.Microsecond) }

// shown is a provider without its secret: that is written, and never read again.
func (p Provider) shown() Provider {
	p.HasSecret = !p.Secret.Empty()
	p.Secret = secret.String{}
	return p
}

// Change loads the provider, hands it to decide and keeps what that returns; what identifies it stays, and its kind, unless it was a Draft. decide sees no
// secret, and leaves the secret as it is by leaving it empty. It may run more than once. It reports ErrNoProvider and ErrProviderTaken.
func (s *Providers) Change(ctx context.Context, by Authority, id string, decide func(Provider) (Provider, error)) (Provider, error) {
	was, e, err := s.allowed(ctx, by, actionProviderUpdate, id)
	if err != nil {
		return Provider{}, err
	}
	e.Object.Name = was.Name
	now := s.now()
	p, err := s.Store.Change(ctx, id, func(was Provider) (Provider, error) {
		given := was.shown()
		given.Settings = given.Settings.copied()
		p, err := decide(given)
		if err != nil {
			return Provider{}, err
		}
		if p.Secret.Empty() {
			p.Secret = was.Secret
		}
		if p.Kind != was.Kind && was.Kind != Draft {
			return Provider{}, fault.Fields("the kind of an identity provider cannot be changed", fault.Field{Path: "kind", Message: "cannot be changed"})
		}
		p.ID, p.Number, p.Handle, p.Created, p.Updated = was.ID, was.Number, was.Handle, was.Created, now
		return p, s.check(p)
	}, func(was, is Provider) audit.Event { return is.changedEvent(was, e) })
	return p.shown(), err
}

// SetEnabled lets people come from a provider, or no longer: then the sessions that began by it end.
func (s *Providers) SetEnabled(ctx context.Context, by Authority, id string, enabled bool) (Provider, error) {
	return s.Change(ctx, by, id, func(p Provider) (Provider, error) {
		p.Enabled = enabled
		return p, nil
	})
}

// Remove removes a provider with its links, ends the sessions that began by it, and returns what it was. Users whom it made stay.
func (s *Providers) Remove(ctx context.Context, by Authority, id string) (Provider, error) {
	p, e, err := s.allowed(ctx, by, actionProviderDelete, id)
	if err != nil {
		return Provider{}, err
	}
	e.Object.Name = p.Name
	return p.shown(), s.Store.Delete(ctx, id, e)
}

// List returns the providers by number.
func (s *Providers) List(ctx context.Context, by Authority) ([]Provider, error) {
	if _, err := by.AuthorizeOn(ctx, actionProviderRead, Target{}); err != nil {
		return nil, err
	}
	all, err := s.Store.All(ctx)
	for i := range all {
		all[i] = all[i].shown()
	}
	return all, err
}

// Made lists the users whom some provider made and who are still there, by name; also those whose provider is gone.
func (s *Providers) Made(ctx context.Context, by Authority) ([]User, error) {
	if _, err := by.AuthorizeOn(ctx, actionProviderRead, Target{}); err != nil {
		return nil, err
	}
	return s.Store.Made(ctx)
}

// ByID reports ErrNoProvider.
func (s *Providers) ByID(ctx context.Context, by Authority, id string) (Provider, error) {
	p, _, err := s.allowed(ctx, by, actionProviderRead, id)
	return p.shown(), err
}

// ByNumber reports ErrNoProvider.
func (s *Providers) ByNumber(ctx context.Context, by Authority, number int64) (Provider, error) {
	return s.find(ctx, by, func(p Provider) bool { return p.Number == number })
}

// ByName finds a provider under any spelling of its name. It reports ErrNoProvider.
func (s *Providers) ByName(ctx context.Context, by Authority, name string) (Provider, error) {
	return s.find(ctx, by, func(p Provider) bool { return Fold(p.Name) == Fold(name) })
}

func (s *Providers) find(ctx context.Context, by Authority, meant func(Provider) bool) (Provider, error) {
	all, err := s.List(ctx, by)
	if err != nil {
		return Provider{}, err
	}
	if i := slices.IndexFunc(all, meant); i >= 0 {
		return all[i], nil
	}
	return Provider{}, ErrNoProvider
}

// ForTest returns a provider with its secret, to whoever may try it out, with the event that records the test: for package login alone.
func (s *Providers) ForTest(ctx context.Context, by Authority, id string) (Provider, audit.Event, error) {
	p, e, err := s.allowed(ctx, by, actionProviderTest, id)
	e.Object.Name = p.Name
	return p, e, err
}

// allowed asks for a right and loads the provider, its secret too.
func (s *Providers) allowed(ctx context.Context, by Authority, action, id string) (Provider, audit.Event, error) {
	e, err := by.AuthorizeOn(ctx, action, Target{Kind: kindProvider, ID: id})
	if err != nil {
		return Provider{}, audit.Event{}, err
	}
	p, err := s.Store.ByID(ctx, id)
	return p, e, err
}

// check returns why a provider cannot be kept so, or nil.
func (s *Providers) check(p Provider) error {
	if err := p.checkShape(); err != nil {
		return err
	}
	if p.Kind == Draft || s.Check == nil {
		return nil
	}
	return s.Check(p)
}

func (p Provider) checkShape() error {
	if !isLine(p.Name, maxProviderName) || strings.TrimSpace(p.Name) == "" {
		return wrong("name", "1 to 255 characters in one line")
	}
	set := p.Settings
	fits := map[ProviderKind]bool{
		Draft: !p.Enabled,
		LDAP:  set.LDAP != nil && set.OIDC == nil && set.SAML == nil,
		OIDC:  set.OIDC != nil && set.LDAP == nil && set.SAML == nil,
		SAML:  set.SAML != nil && set.LDAP == nil && set.OIDC == nil,
	}
	switch ok, known := fits[p.Kind]; {
	case !known:
		return wrong("kind", "one of ldap, oidc and saml")
	case p.Kind == Draft && !ok:
		return wrong("enabled", "a draft cannot be enabled")
	case !ok:
		return wrong("settings", "those of "+string(p.Kind)+", and no others")
	case !isLine(set.Button, maxButton):
		return wrong("button", "at most 40 characters in one line")
	case set.Link != LinkNever && set.Link != LinkByEmail && set.Link != LinkByName:
		return wrong("link", "email, name or nothing")
	}
	for member, expression := range map[string]string{"jit.display": set.JIT.Display, "jit.email": set.JIT.Email} {
		if err := CheckExpression(expression); err != nil {
			return wrong(member, "literal text and ${name}")
		}
	}
	return set.checkLists()
}

func (s ProviderSettings) checkLists() error {
	if len(s.Domains) > maxDomains {
		return wrong("domains", "at most 100")
	}
	for _, d := range s.Domains {
		if CheckEmail("x@"+d) != nil {
			return wrong("domains", "domains of e-mail addresses, such as example.com")
		}
	}
	if len(s.Extra) > maxExtra {
		return wrong("extra", "at most 40 members")
	}
	for name, text := range s.Extra {
		if len(name)+len(text) > maxExtraText || !utf8.ValidString(name+text) || strings.ContainsRune(name+text, 0) {
			return wrong("extra", "at most 32768 bytes of text each")
		}
	}
	return nil
}

func isLine(text string, most int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= most && !strings.ContainsFunc(text, unicode.IsControl)
}

func wrong(member, message string) error {
	return fault.Fields("the identity provider cannot be set up so: "+member+": "+message, fault.Field{Path: member, Message: message})
}

// OffersTo reports whether discovery offers the provider to people with that e-mail domain, "" where none was said.
func (p Provider) OffersTo(domain string) bool {
	return p.Enabled && (len(p.Settings.Domains) == 0 || domain != "" && slices.ContainsFunc(p.Settings.Domains, func(d string) bool { return Fold(d) == Fold(domain) }))
}
