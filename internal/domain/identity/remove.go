package identity

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const actionDelete = "user.delete"

// The faults of removing somebody.
var (
	ErrSelf         = fault.New(fault.Conflict, "nobody removes themselves; let another administrator do it")
	ErrLastSysAdmin = fault.New(fault.Conflict, "the installation keeps at least one system administrator who may sign in")
)

// Remove takes a user away for good, with all that opens a door for them: sessions, second factors, links to providers, keys, personal tokens, roles and
// memberships. What they made stays, and so do their names in the audit log. Their personal project goes where it holds nothing;
// else it stays under its key as nobody's, for administrators: who comes under the same name does not inherit it.
//
// Nobody removes themselves (ErrSelf), who stands above them, or the last system administrator (ErrLastSysAdmin). It returns the user as they were, and reports ErrUnknown.
func (s *Service) Remove(ctx context.Context, by Authority, id string) (User, error) {
	e, err := by.Authorize(ctx, actionDelete, id)
	if err != nil {
		return User{}, err
	}
	if self := by.Self(); self.Kind == kindUser && self.ID == id {
		return User{}, ErrSelf
	}
	u, err := s.Store.ByID(ctx, id)
	if err != nil {
		return User{}, err
	}
	e.Object.Name = u.Name
	if err := s.Store.Delete(ctx, id, s.Now(), e); err != nil {
		return User{}, err
	}
	if s.OnChanged != nil {
		s.OnChanged(id)
	}
	return u, nil
}
