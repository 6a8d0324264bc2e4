package access

import (
	"context"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ErrOwnRole says that somebody would take away what lets him do it.
var ErrOwnRole = fault.New(fault.Conflict, "you cannot take your own administration away; let another administrator do it")

// BindingsOn lists who holds what on a resource itself, in the order in which it was given. It takes the right to grant there. Users and groups
// have a Name, unless they are gone: whoever may give somebody a role may know whom it was given to.
func (s *Service) BindingsOn(ctx context.Context, by Caller, on Resource) ([]Binding, error) {
	if err := s.Require(ctx, by, AccessGrant, on); err != nil {
		return nil, err
	}
	return s.Store.BindingsOn(ctx, on)
}

// SetRole makes a role the only one that a subject holds on the resource itself; "" takes away whatever it holds. Nobody gives more than they hold (rule
// W7), takes from who stands above them, or takes their own administration away (ErrOwnRole).
func (s *Service) SetRole(ctx context.Context, by Caller, to Subject, role Role, on Resource) error {
	if role != "" && !role.fits(on.Kind) {
		return fault.Newf(fault.Invalid, "there is no role %q on a %s; the roles are %s", role, on.Kind, roleNames(on.Kind))
	}
	if role != "" {
		if err := role.suits(to.Kind); err != nil {
			return err
		}
	}
	if role.opens() {
		return fault.New(fault.Invalid, "this role has terms; give it as a grant")
	}
	if err := s.mayGive(ctx, by, role, on); err != nil {
		return err
	}
	if err := s.fitsGroup(ctx, to, on); err != nil {
		return err
	}
	beyond, err := s.beyond(ctx, by, on)
	if err != nil {
		return err
	}
	now := s.Now()
	e := by.Event(now, AccessGrant, on, audit.Done).With("role", string(role)).With("to", string(to.Kind)+" "+to.ID)
	if role == "" {
		e = by.Event(now, AccessRevoke, on, audit.Done).With("from", string(to.Kind)+" "+to.ID)
	}
	return s.Store.SetRole(ctx, Binding{ID: s.NewID(), Subject: to, Role: role, Resource: on, Created: now}, func(held []Role) error {
		for _, was := range held {
			if beyond[was] != nil {
				return beyond[was]
			}
		}
		own := to == Subject{by.Kind, by.ID}
		if own && slices.ContainsFunc(held, func(r Role) bool { return r.Allows(AccessGrant) }) && !role.Allows(AccessGrant) {
			return ErrOwnRole
		}
		return nil
	}, e)
}

// beyond are the roles on a resource that hold more than the caller does, each with why.
func (s *Service) beyond(ctx context.Context, by Caller, on Resource) (map[Role]error, error) {
	all := map[Role]error{}
	for _, g := range grants {
		if g.kind != on.Kind {
			continue
		}
		err := s.mayGive(ctx, by, g.role, on)
		if err != nil && !fault.Is(err, fault.Denied) {
			return nil, err
		}
		all[g.role] = err
	}
	return all, nil
}

// Reach tells on which resources of a kind a caller may do the action by its roles: on all, or on those of ids. What anybody may read is not among them.
func (s *Service) Reach(ctx context.Context, by Caller, do Action, kind string) (all bool, ids []string, err error) {
	if _, ok := by.scopeFor(do, Resource{Kind: kind}); !ok {
		return false, nil, nil
	}
	if by.Limit.Kind != "" {
		if by.Limit.Kind != kind {
			return false, nil, nil
		}
		d, err := s.Decide(ctx, by, do, by.Limit)
		if d.Allowed {
			ids = []string{by.Limit.ID}
		}
		return false, ids, err
	}
	d, err := s.Decide(ctx, by, do, Resource{Kind: kind})
	if err != nil || d.Allowed || by.ID == "" {
		return d.Allowed, nil, err
	}
	bindings, err := s.Store.BindingsOf(ctx, Subject{by.Kind, by.ID})
	for _, b := range bindings {
		if b.Resource.is(Every(kind)) && b.Role.Allows(do) {
			return true, nil, err
		}
		if b.Resource.Kind == kind && b.Role.Allows(do) && !slices.Contains(ids, b.Resource.ID) {
			ids = append(ids, b.Resource.ID)
		}
	}
	return false, ids, err
}

// Strongest returns the highest of a kind's roles that a caller's rights amount to on a resource, however they came; "" is none. roles are from the least to the most.
func (s *Service) Strongest(ctx context.Context, by Caller, on Resource, roles ...Role) (Role, error) {
	strongest := Role("")
	for _, role := range roles {
		for _, do := range role.actions() {
			d, err := s.Decide(ctx, by, do, on)
			if err != nil || !d.Allowed {
				return strongest, err
			}
		}
		strongest = role
	}
	return strongest, nil
}
