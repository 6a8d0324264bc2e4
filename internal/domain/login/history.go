package login

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// History lists what happened to the sign-ins of a user, newest first: sessions that began and ended, refusals, changes of second factors and of the
// password. People see their own, and anybody's with the right session.read. The window is Keyed.
func (s *Service) History(ctx context.Context, by access.Caller, user string, w page.Window) (page.Page[audit.Event], error) {
	if err := s.Access.Require(ctx, by, access.SessionRead, access.SessionOf(access.Subject{Kind: access.User, ID: user}, "")); err != nil {
		return page.Page[audit.Event]{}, err
	}
	return s.Audit.Store.Concerning(ctx, user, w)
}
