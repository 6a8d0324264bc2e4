package access

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// UserKind is the kind of a user as a resource.
const UserKind = "user"

// For binds a caller to what it may do to users: the form in which identity, which stands below this
// room, asks for a right.
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
	if err := a.access.Require(ctx, a.by, Action(action), on); err != nil {
		return audit.Event{}, err
	}
	return a.by.Event(a.access.Now(), Action(action), on, audit.Done), nil
}

// TopRoles are the roles that the first administrator holds on the installation.
func TopRoles() []string { return []string{string(SysAdmin)} }
