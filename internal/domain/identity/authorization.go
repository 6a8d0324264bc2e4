package identity

import (
	"context"
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	actionAuthorizationCreate = "authorization.create"
	actionAuthorizationRead   = "authorization.read"
	actionAuthorizationUpdate = "authorization.update"

	kindAuthorization = "authorization"
)

// What an authorization may be for. Others are kept and open nothing.
const (
	PAMCore         = "PAM Core"          // devices, credentials, sessions
	WebProxySession = "Web Proxy Session" // links by which people open sessions
	A2A             = "A2A"               // secrets of applications
)

// Authorization is what an application may do by the API of remote sessions: a client of its own, with lists of its own. Devices, credentials and users that
// it reaches are role bindings of it, and none is nothing.
type Authorization struct {
	ID          string
	Application string // id
	Name        string
	ClientID    string   // 40 hexadecimal characters
	Digest      [32]byte // SHA-256 of the client secret
	Enabled     bool
	Expires     time.Time      // zero is never
	Resources   []string       // PAMCore and the like
	Writes      bool           // it may change things too
	Addresses   []netip.Prefix // where it may come from; none is nowhere
	Referrers   []string       // hosts, or origins, that may refer to its calls; none is any
	AutoPick    bool           // a free credential is picked where it names none
	Ancestors   []string       // origins that may frame the pages of its sessions
	Created     time.Time
	Updated     time.Time

	ApplicationName string         // these are read with it, and never written
	Account         string         // of the application
	Shut            bool           // the application, or its account, is disabled
	Within          []netip.Prefix // where the application may come from; none is anywhere
}

// Title is what it is called in logs and in the audit record.
func (a Authorization) Title() string { return a.ApplicationName + "/" + a.Name }

// Opens reports whether it authenticates anybody now.
func (a Authorization) Opens(now time.Time) bool {
	return a.Enabled && !a.Shut && (a.Expires.IsZero() || now.Before(a.Expires))
}

// From reports whether it may be used from an address, by a call that a page of that URL led to (rule W7).
func (a Authorization) From(address netip.Addr, referrer string) bool {
	address = address.Unmap().WithZone("")
	listed := slices.ContainsFunc(a.Addresses, func(p netip.Prefix) bool { return p.Contains(address) })
	return listed && Within(a.Within, address) && a.refers(referrer)
}

func (a Authorization) refers(referrer string) bool {
	if len(a.Referrers) == 0 {
		return true
	}
	u, err := url.Parse(referrer)
	if err != nil || u.Hostname() == "" {
		return false
	}
	host, origin := strings.ToLower(u.Hostname()), strings.ToLower(u.Scheme+"://"+u.Host)
	return slices.ContainsFunc(a.Referrers, func(r string) bool { return r == host || r == origin })
}

// May says why a call for a resource is refused, or nil: ErrNoResource, ErrReadOnly.
func (a Authorization) May(resource string, writes bool) error {
	switch {
	case !slices.Contains(a.Resources, resource):
		return ErrNoResource
	case writes && !a.Writes:
		return ErrReadOnly
	}
	return nil
}

// AnyAddress are the networks that hold every address.
func AnyAddress() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}

// The faults of authorizations.
var (
	ErrNoAuthorization = fault.New(fault.NotFound, "authorization not found")
	ErrBadClient       = fault.New(fault.Unauthenticated, "Client authentication failed.")
	ErrElsewhere       = fault.New(fault.Denied, "the authorization may not be used from there")
	ErrNoResource      = fault.New(fault.Denied, "the authorization lacks the resource")
	ErrReadOnly        = fault.New(fault.Denied, "the authorization may only read")
	ErrTooManyTokens   = fault.New(fault.Limited, "Too many requests")
)

// AuthorizationStore keeps authorizations, their tokens and their access log.
type AuthorizationStore interface {
	// Insert adds a and records e, both or neither. It reports ErrNoApplication.
	Insert(ctx context.Context, a Authorization, e audit.Event) error
	// ByID and ByClient report ErrNoAuthorization.
	ByID(ctx context.Context, id string) (Authorization, error)
	ByClient(ctx context.Context, clientID string) (Authorization, error)
	// All lists the authorizations of an application in the order of their making, or of all where it is "".
	All(ctx context.Context, application string) ([]Authorization, error)
	// Change loads the authorization, hands it to decide, stores what that returns and records e, all or nothing. It reports ErrNoAuthorization.
	Change(ctx context.Context, id string, decide func(Authorization) (Authorization, error), e audit.Event) (Authorization, error)
	// InsertToken adds t and records e, unless most tokens of the authorization were made since, by whichever node: ErrTooManyTokens.
	InsertToken(ctx context.Context, t AuthorizationToken, since time.Time, most int, e audit.Event) error
	// ByToken returns the authorization of a token that has not expired, as it is now, or ErrNoAuthorization.
	ByToken(ctx context.Context, digest [32]byte, now time.Time) (Authorization, error)

	// AddCall adds a row to the access log. Calls lists it, newest first; its window is Keyed.
	AddCall(ctx context.Context, c Call) error
	Calls(ctx context.Context, w page.Window) (page.Page[Call], error)
	// Sweep forgets tokens that have expired, and calls from before another time.
	Sweep(ctx context.Context, now, calls time.Time) error
}

// Authorizations makes and checks authorizations.
type Authorizations struct {
	Store     AuthorizationStore
	Now       func() time.Time
	NewID     func() string
	TokenLife time.Duration // 1 h by default
	PerMinute int           // tokens of one client; 600 by default
	CallsKept time.Duration // how long the access log goes back
	OnError   func(doing string, err error)
}

// NewAuthorization is what an authorization is made from.
type NewAuthorization struct {
	Application string // id
	Name        string
	Expires     time.Time
	Resources   []string
	Writes      bool
	Addresses   []netip.Prefix
	Referrers   []string
	AutoPick    bool
	Ancestors   []string
}

// Create makes an authorization and returns its client secret, which nobody sees again. What it reaches is given to it by package access.
func (s *Authorizations) Create(ctx context.Context, by Authority, in NewAuthorization) (Authorization, secret.String, error) {
	now := s.Now()
	plain := secret.New(hex.EncodeToString(secret.Bytes(16))) // as long as the wire has it
	a := Authorization{
		ID: s.NewID(), Application: in.Application, Name: in.Name, ClientID: hex.EncodeToString(secret.Bytes(20)), Digest: secret.Digest(plain.Reveal()), Enabled: true,
		Expires: in.Expires, Resources: in.Resources, Writes: in.Writes, Addresses: in.Addresses, Referrers: in.Referrers, AutoPick: in.AutoPick, Ancestors: in.Ancestors,
		Created: now, Updated: now,
	}
	e, err := by.AuthorizeOn(ctx, actionAuthorizationCreate, a.target())
	if err == nil {
		err = a.check()
	}
	if err != nil {
		return Authorization{}, secret.String{}, err
	}
	e.Object.Name = a.Name
	if err := s.Store.Insert(ctx, a, e.With("application", a.Application).With("client_id", a.ClientID)); err != nil {
		return Authorization{}, secret.String{}, err
	}
	a, err = s.Store.ByID(ctx, a.ID)
	return a, plain, err
}

// check returns what is wrong with an authorization, and gives its lists their one form.
func (a *Authorization) check() error {
	if err := CheckLabel(a.Name); err != nil {
		return err
	}
	for _, r := range a.Resources {
		if r == "" || len(r) > 64 || checkText("resources", r) != nil {
			return fault.Fields("a resource is a name of at most 64 bytes, such as PAM Core", fault.Field{Path: "resources", Message: "1 to 64 bytes"})
		}
	}
	a.Referrers = slices.Clone(a.Referrers)
	for i, r := range a.Referrers {
		a.Referrers[i] = strings.ToLower(r)
		if !isOrigin(r) && !isOrigin("https://"+r) {
			return fault.Fields("a referrer is a host name, or an origin such as https://tools.example.net", fault.Field{Path: "referrers", Message: "a host name or an origin"})
		}
	}
	for _, r := range a.Ancestors {
		if !isOrigin(r) {
			return fault.Fields("what may frame pages is an origin, such as https://tools.example.net", fault.Field{Path: "frame_ancestors", Message: "scheme, host and perhaps port"})
		}
	}
	return nil
}

// isOrigin reports whether a text is scheme, host and perhaps port and nothing more: it goes into headers.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > 255 || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return false
	}
	odd := strings.ContainsFunc(u.Host, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]", r)
	})
	return !odd && strings.EqualFold(text, u.Scheme+"://"+u.Host)
}

// ByID returns an authorization to who may see it. It reports ErrNoAuthorization.
func (s *Authorizations) ByID(ctx context.Context, by Authority, id string) (Authorization, error) {
	a, err := s.Store.ByID(ctx, id)
	return s.seen(ctx, by, a, err)
}

// ByClient finds an authorization by its client id, or by its id.
func (s *Authorizations) ByClient(ctx context.Context, by Authority, clientID string) (Authorization, error) {
	a, err := s.Store.ByClient(ctx, strings.ToLower(clientID))
	if fault.Is(err, fault.NotFound) {
		a, err = s.Store.ByID(ctx, clientID)
	}
	return s.seen(ctx, by, a, err)
}

func (s *Authorizations) seen(ctx context.Context, by Authority, a Authorization, err error) (Authorization, error) {
	if err != nil {
		return Authorization{}, err
	}
	if _, err := by.AuthorizeOn(ctx, actionAuthorizationRead, a.target()); err != nil {
		return Authorization{}, hidden(err, ErrNoAuthorization)
	}
	return a, nil
}

// List returns the authorizations of an application, or all where its id is "".
func (s *Authorizations) List(ctx context.Context, by Authority, application string) ([]Authorization, error) {
	if _, err := by.AuthorizeOn(ctx, actionAuthorizationRead, Target{}); err != nil {
		return nil, err
	}
	return s.Store.All(ctx, application)
}

// AuthorizationChange says what becomes different; nil is what stays.
type AuthorizationChange struct {
	Name      *string
	Enabled   *bool
	Expires   *time.Time
	Resources *[]string
	Writes    *bool
	Addresses *[]netip.Prefix
	Referrers *[]string
	AutoPick  *bool
	Ancestors *[]string
}

// Update changes an authorization. It holds from the next call on, for tokens that were issued before too.
func (s *Authorizations) Update(ctx context.Context, by Authority, id string, to AuthorizationChange) (Authorization, error) {
	a, err := s.Store.ByID(ctx, id)
	if err != nil {
		return Authorization{}, err
	}
	e, err := by.AuthorizeOn(ctx, actionAuthorizationUpdate, a.target())
	if err != nil {
		if _, blind := s.seen(ctx, by, a, nil); blind != nil {
			err = blind
		}
		return Authorization{}, err
	}
	e.Object.Name = a.Title()
	now := s.Now()
	return s.Store.Change(ctx, id, func(a Authorization) (Authorization, error) {
		replace(&a.Name, to.Name)
		replace(&a.Enabled, to.Enabled)
		replace(&a.Expires, to.Expires)
		replace(&a.Resources, to.Resources)
		replace(&a.Writes, to.Writes)
		replace(&a.Addresses, to.Addresses)
		replace(&a.Referrers, to.Referrers)
		replace(&a.AutoPick, to.AutoPick)
		replace(&a.Ancestors, to.Ancestors)
		a.Updated = now
		return a, a.check()
	}, to.told(e))
}

// told names in the event what was changed.
func (c AuthorizationChange) told(e audit.Event) audit.Event {
	var what []string
	note := func(name string, is bool) {
		if is {
			what = append(what, name)
		}
	}
	note("name", c.Name != nil)
	note("enabled", c.Enabled != nil && *c.Enabled)
	note("disabled", c.Enabled != nil && !*c.Enabled)
	note("expires", c.Expires != nil)
	note("resources", c.Resources != nil)
	note("permission", c.Writes != nil)
	note("addresses", c.Addresses != nil)
	note("referrers", c.Referrers != nil)
	note("auto_pick", c.AutoPick != nil)
	note("frame_ancestors", c.Ancestors != nil)
	return e.With("changed", strings.Join(what, " "))
}

func replace[T any](old *T, fresh *T) {
	if fresh != nil {
		*old = *fresh
	}
}

// ForRemote returns an authorization as it is now, unchecked: for those who carry out what it asked for. It reports ErrNoAuthorization.
func (s *Authorizations) ForRemote(ctx context.Context, id string) (Authorization, error) {
	return s.Store.ByID(ctx, id)
}

func (a Authorization) target() Target { return Target{Kind: kindAuthorization, ID: a.ID} }
