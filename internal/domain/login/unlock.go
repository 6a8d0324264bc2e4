package login

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// Unlock forgets the failed sign-ins under a user's name and e-mail address, and reports whether there were any.
func (s *Service) Unlock(ctx context.Context, by access.Caller, user string) (bool, error) {
	on := access.Resource{Kind: access.UserKind, ID: user}
	if err := s.Access.Require(ctx, by, access.GuardUnlock, on); err != nil {
		return false, err
	}
	u, err := s.Users.ByID(ctx, s.Access.For(by), user)
	if err != nil {
		return false, err
	}
	e := by.Event(s.Now(), access.GuardUnlock, on, audit.Done)
	e.Object.Name = u.Name
	return s.Lockout.Clear(ctx, e, identity.Login(u.Name), identity.Login(u.Email))
}
