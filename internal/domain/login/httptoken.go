package login

import (
	"context"
	"errors"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

// byHTTPToken takes an HTTP access token. In the place of a password it must be its owner's: a name that was sent and not looked at would be a lie that works, and
// a token of a project or repository has no name that could come along.
func (s *Service) byHTTPToken(ctx context.Context, p Presented) (access.Caller, error) {
	t, err := s.HTTPTokens.Check(ctx, p.Secret)
	if err == nil {
		err = asPassword(t, p)
	}
	if errors.Is(err, token.ErrBadAccess) {
		return access.Caller{}, s.refuse(ctx, p, err)
	}
	if err != nil {
		return access.Caller{}, err
	}
	s.HTTPTokens.Used(t.ID, p.Address, p.Door, s.Now())
	c := t.Caller()
	c.Address, c.Door, c.Request = p.Address, p.Door, p.Request
	return c, nil
}

// asPassword returns why a good token is refused in the place of a password.
func asPassword(t token.Access, p Presented) error {
	if p.Name == "" && p.Basic == "" {
		return nil
	}
	name := identity.Login(p.Name)
	switch {
	case !t.Personal():
		return token.Refuse(t, "an access token of a project or repository came in the place of a password")
	case name == "", strings.Contains(name, "@") && name != identity.FoldEmail(t.UserEmail), !strings.Contains(name, "@") && name != identity.Fold(t.UserName):
		return token.Refuse(t, "the access token belongs to somebody else than was named")
	}
	return nil
}
