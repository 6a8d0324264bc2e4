package token

import (
	"context"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// HTTPToken is the kind of an HTTP access token as a resource, and the method by which its holder is authenticated.
const HTTPToken = "http_token"

// Access is an HTTP access token: of a person, for whom it acts, or of a project or repository, inside which it acts for nobody but itself. It is good for
// the REST wires and for git.
type Access struct {
	ID          string
	Handle      string          // 12 digits, by which wires know it and its plain text names it
	Scope       access.Resource // whose it is: a user, a project or a repository
	Name        string
	Permissions []Permission // as they were asked for, without duplicates
	Digest      [32]byte     // SHA-256 of the random part of the plain text
	Creator     string       // id of who made it
	Created     time.Time
	Expires     time.Time // zero is never; the very moment is too late
	Revoked     time.Time // zero while it is good
	LastUsed    time.Time // zero is never; up to UsedEvery behind
	LastAddress string
	LastDoor    string

	UserName, UserEmail string // the owner's, of a personal token; read with it, never written
	Shut                bool   // nobody acts by it now, as its owner is disabled or gone; read with it, never written (rule F12)
}

// OfUser is a user as what personal tokens belong to.
func OfUser(id string) access.Resource { return access.Resource{Kind: access.UserKind, ID: id} }

// Personal reports whether the token acts for a person.
func (t Access) Personal() bool { return t.Scope.Kind == access.UserKind }

// Resource is the token as what is acted on.
func (t Access) Resource() access.Resource {
	return access.Resource{Kind: HTTPToken, ID: t.ID, Parents: append([]access.Resource{t.Scope}, t.Scope.Parents...)}
}

// Caller is who acts by the token, as far as the token says: the owner with fewer rights, or the token itself inside its place. What it may do is the lesser of
// its permissions and of what the owner may do at that moment. It has no moment of authentication: a token is never the fresh proof of a person (rule F14).
func (t Access) Caller() access.Caller {
	c := access.Caller{Method: HTTPToken, Credential: t.ID, Scopes: scopes(t.Permissions)}
	if !t.Personal() {
		c.Principal = access.Principal{Kind: access.ServiceIdentity, ID: t.ID, Name: t.Name}
		c.Limit = access.Resource{Kind: t.Scope.Kind, ID: t.Scope.ID, Parents: t.Scope.Parents}
		return c
	}
	c.Principal = access.Principal{Kind: access.User, ID: t.Scope.ID, Name: t.UserName}
	for _, do := range personalScopes {
		c.Scopes = append(c.Scopes, do.OnSelf())
	}
	return c
}

func (t Access) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// of reports whether the token is one of a scope's.
func (t Access) of(scope access.Resource) bool {
	return t.Scope.Kind == scope.Kind && t.Scope.ID == scope.ID
}

// event is the audit record of something that was done with the token.
func (t Access) event(by access.Caller, now time.Time, do access.Action) audit.Event {
	words := make([]string, len(t.Permissions))
	for i, p := range t.Permissions {
		words[i] = string(p)
	}
	e := by.Event(now, do, t.Resource(), audit.Done).With("handle", t.Handle).With("permissions", strings.Join(words, " "))
	e.Object.Name = t.Name
	if t.Personal() {
		e = e.With("user", t.Scope.ID)
	}
	if !t.Expires.IsZero() {
		e = e.With("expires", t.Expires.UTC().Format(time.RFC3339))
	}
	return e
}

// The faults of HTTP access tokens that are not about a field.
var (
	ErrNoAccess    = fault.New(fault.NotFound, "access token not found")
	ErrTooMany     = fault.New(fault.Invalid, "The maximum number of tokens has been reached.") // Accesses.MaxPerScope is the number
	ErrOnlyOneself = fault.New(fault.Denied, "people make their access tokens themselves")
	ErrHandleTaken = fault.New(fault.Conflict, "an access token has that handle")
)

// AccessStore keeps HTTP access tokens. Every change tells all nodes, as "token" and the token's id.
type AccessStore interface {
	// Insert adds t and records e, both or neither, unless its scope has that many tokens already that are neither revoked nor expired when t is created: however
	// many calls come at once, there are never more. It reports ErrTooMany, ErrHandleTaken, and a NotFound fault where the scope is gone.
	Insert(ctx context.Context, t Access, most int, e audit.Event) error
	// ByHandle finds a token whatever has become of it. It reports ErrNoAccess.
	ByHandle(ctx context.Context, handle string) (Access, error)
	// OfScope returns, by handle, a page of a scope's tokens that are neither revoked nor expired.
	OfScope(ctx context.Context, scope access.Resource, now time.Time, w page.Window) (page.Page[Access], error)
	// Expiring returns, the first to expire first, a page of the good tokens that expire up to that moment: those of a scope, or of all where it is the installation.
	Expiring(ctx context.Context, scope access.Resource, now, until time.Time, w page.Window) (page.Page[Access], error)
	// Change hands a token that is not revoked to decide, and keeps name, permissions and expiry of what that returns, and e, all or nothing. It reports ErrNoAccess.
	Change(ctx context.Context, id string, decide func(Access) (Access, error), e audit.Event) (Access, error)
	// Revoke marks a token as revoked and records e, both or neither. It reports ErrNoAccess where it is revoked already.
	Revoke(ctx context.Context, id string, at time.Time, e audit.Event) error
	// MarkUsed stores uses in one transaction. It moves no token's last use back, and skips tokens that are gone.
	MarkUsed(ctx context.Context, uses []recent.Use) error
}

// Accesses issues, checks, changes and revokes HTTP access tokens. A scope is a resource as its room gives it, so that what is open or reserved about it counts;
// that there is such a thing is for the caller to see to.
type Accesses struct {
	Store     AccessStore
	Access    *access.Service
	Reports   *guard.Failures // how often an address may report leaked tokens
	Now       func() time.Time
	NewID     func() string
	CacheFor  time.Duration // how long a good token is believed without asking the store; at most 2 s
	UsedEvery time.Duration // how often a token's last use is written at most; 60 s by default
	FreshFor  time.Duration // how long ago people may have proved who they are when they make or change a token (rule F14); 10 minutes by default

	MaxPerScope    int  // good tokens of one user, project or repository; 100 by default
	ExpiryRequired bool // new tokens expire
	MaxDays        int  // after at most so many days, new tokens expire; 0 is no limit

	// OnUsedFailed, where set, hears that last uses could not be written; they are tried again.
	OnUsedFailed func(error)

	cache recent.Answers[AccessSecret, Access]
	used  recent.Uses
}

// List returns, by handle, a page of a scope's tokens that have not expired.
func (s *Accesses) List(ctx context.Context, by access.Caller, scope access.Resource, w page.Window) (page.Page[Access], error) {
	if err := s.Access.Require(ctx, by, access.TokenRead, scope); err != nil {
		return page.Page[Access]{}, err
	}
	return s.Store.OfScope(ctx, scope, s.Now(), w)
}

// Expiring returns, the first to expire first, a page of the tokens that expire within that time: of one scope, or, by right, of all, which are those of access.Installation.
func (s *Accesses) Expiring(ctx context.Context, by access.Caller, scope access.Resource, within time.Duration, w page.Window) (page.Page[Access], error) {
	if err := s.Access.Require(ctx, by, access.TokenRead, scope); err != nil {
		return page.Page[Access]{}, err
	}
	now := s.Now()
	return s.Store.Expiring(ctx, scope, now, now.Add(within), w)
}

// Show returns one token of a scope, expired or not. Who may not read the scope's tokens is refused whether there is such a token or not. It reports ErrNoAccess, also for
// tokens of other scopes and revoked ones.
func (s *Accesses) Show(ctx context.Context, by access.Caller, scope access.Resource, handle string) (Access, error) {
	return s.one(ctx, by, access.TokenRead, scope, handle)
}

func (s *Accesses) one(ctx context.Context, by access.Caller, do access.Action, scope access.Resource, handle string) (Access, error) {
	if err := s.Access.Require(ctx, by, do, scope); err != nil {
		return Access{}, err
	}
	if !isHandle(handle) {
		return Access{}, ErrNoAccess
	}
	t, err := s.Store.ByHandle(ctx, handle)
	if err == nil && (!t.of(scope) || !t.Revoked.IsZero() || t.Handle != handle) {
		err = ErrNoAccess
	}
	if err != nil {
		return Access{}, err
	}
	return t, nil
}

// Remove revokes a token of a scope, at once on this node and within 2 s on the others. It reports what Show does.
func (s *Accesses) Remove(ctx context.Context, by access.Caller, scope access.Resource, handle string) error {
	t, err := s.one(ctx, by, access.TokenRevoke, scope, handle)
	if err != nil {
		return err
	}
	now := s.Now()
	return s.revoke(ctx, t, now, t.event(by, now, access.TokenRevoke))
}

func (s *Accesses) revoke(ctx context.Context, t Access, now time.Time, e audit.Event) error {
	err := s.Store.Revoke(ctx, t.ID, now, e)
	s.Forget(t.ID) // also after an error: the store may have gone away just behind the commit
	return err
}
