package access

import "context"

// ListsOf returns what an authorization reaches: what it holds, in the order in which it was given. Who may read authorizations sees it.
func (s *Service) ListsOf(ctx context.Context, by Caller, authorization string) ([]Binding, error) {
	if err := s.Require(ctx, by, AuthorizationRead, Resource{Kind: AuthorizationKind, ID: authorization}); err != nil {
		return nil, err
	}
	return s.Store.BindingsOf(ctx, Subject{Authorization, authorization})
}
