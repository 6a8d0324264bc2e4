package identity

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/page"
)

// This is what everybody who is somebody here may know of the others, so that people can be given something by those who know their names alone: how users and
// groups of the default account are called.

// People returns, by number, the users whose name, display name or e-mail address begins with a text in any case.
func (s *Service) People(ctx context.Context, by Authority, beginning string, w page.Window) (page.Page[User], error) {
	if err := acquainted(ctx, by); err != nil {
		return page.Page[User]{}, err
	}
	return s.Store.Beginning(ctx, DefaultAccount, Fold(beginning), w)
}

// Named finds a user under any spelling of the name. It reports ErrUnknown.
func (s *Service) Named(ctx context.Context, by Authority, name string) (User, error) {
	if err := acquainted(ctx, by); err != nil {
		return User{}, err
	}
	return s.Store.ByName(ctx, DefaultAccount, Fold(name))
}

// ByIDs returns those of the users who are there, by id.
func (s *Service) ByIDs(ctx context.Context, by Authority, ids []string) (map[string]User, error) {
	if err := acquainted(ctx, by); err != nil {
		return nil, err
	}
	all, err := s.Store.ByIDs(ctx, ids)
	found := make(map[string]User, len(all))
	for _, u := range all {
		found[u.ID] = u
	}
	return found, err
}

// Named finds a group under any spelling of its name. It reports ErrNoGroup.
func (s *Groups) Named(ctx context.Context, by Authority, name string) (Group, error) {
	if err := acquainted(ctx, by); err != nil {
		return Group{}, err
	}
	return s.Store.ByName(ctx, DefaultAccount, Fold(name))
}

// acquainted returns nil for people, and for whoever may read users.
func acquainted(ctx context.Context, by Authority) error {
	if by.Self().Kind == kindUser {
		return nil
	}
	_, err := by.Authorize(ctx, actionRead, "")
	return err
}
