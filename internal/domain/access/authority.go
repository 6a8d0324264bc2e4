package access

import (
	"context"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// UserKind is the kind of a user as a resource.
const UserKind = "user"

// For binds a caller to what it may do to users, accounts, groups and applications: the form in which
// identity, which stands below this room, asks for a right.
func (s *Service) For(by Caller) identity.Authority { return authority{s, by} }

type authority struct {
	access *Service
	by     Caller
}

// Authorize implements identity.Authority.
func (a authority) Authorize(ctx context.Context, action, user string) (audit.Event, error) {
	on := Installation
	if user != "" {
		on = Resource{Kind: UserKind, ID: user}
	}
	return a.authorize(ctx, action, on)
}

// AuthorizeOn implements identity.Authority.
func (a authority) AuthorizeOn(ctx context.Context, action string, on identity.Target) (audit.Event, error) {
	return a.authorize(ctx, action, resourceOf(on))
}

func (a authority) authorize(ctx context.Context, action string, on Resource) (audit.Event, error) {
	if err := a.access.Require(ctx, a.by, Action(action), on); err != nil {
		return audit.Event{}, err
	}
	return a.by.Event(a.access.Now(), Action(action), on, audit.Done), nil
}

// Event implements identity.Authority.
func (a authority) Event(action string, on identity.Target) audit.Event {
	return a.by.Event(a.access.Now(), Action(action), resourceOf(on), audit.Done)
}

// Self implements identity.Authority.
func (a authority) Self() identity.Self {
	return identity.Self{Kind: string(a.by.Kind), ID: a.by.ID, Session: a.by.Session, Account: a.by.Account, Lesser: !slices.Contains(a.by.Scopes, "*")}
}

func resourceOf(on identity.Target) Resource {
	if on.Kind == "" {
		return Installation
	}
	r := Resource{Kind: on.Kind, ID: on.ID}
	if on.Account != "" {
		r.Parents = []Resource{Account(on.Account)}
	}
	return r
}

// TopRoles are the roles that the first administrator holds on the installation.
func TopRoles() []string { return []string{string(SysAdmin)} }
