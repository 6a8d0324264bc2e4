package access

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ErrNoGroup says that there is no group of that id to give anything to.
var ErrNoGroup = fault.New(fault.NotFound, "group not found")

// fitsGroup returns why a group cannot hold a role on a resource, or nil for it and for every other subject.
//
// On the installation only groups of the default account hold roles. Whoever administers another account says who is in its groups, and makes accounts
// where everybody may; the installation's rights are not for them to hand on, and its list of administrators stays in one place. Stores leave out such a binding however it came
// about. In an account people have their roles one by one: a role there is what makes a member, and members are counted.
func (s *Service) fitsGroup(ctx context.Context, to Subject, on Resource) error {
	if to.Kind != Group {
		return nil
	}
	if on.Kind == AccountKind {
		return fault.New(fault.Invalid, "a group holds no role in an account; its members have one each")
	}
	if s.Belongs == nil {
		return ErrNoGroup
	}
	group, err := s.Belongs(ctx, Resource{Kind: GroupKind, ID: to.ID})
	switch {
	case err != nil:
		return err
	case len(group.Parents) == 0:
		return ErrNoGroup
	case on.Kind == InstallationKind && !group.Parents[0].is(Account(identity.DefaultAccount)):
		return fault.New(fault.Invalid, "only groups of the default account hold roles on the installation")
	}
	return nil
}

// MayGiveAll returns nil where the caller could grant every role that the subject holds, and why not otherwise (rule W7).
func (s *Service) MayGiveAll(ctx context.Context, by Caller, to Subject) error {
	bindings, err := s.Store.BindingsOf(ctx, to)
	if err != nil {
		return err
	}
	for _, b := range bindings {
		on := b.Resource
		if s.Belongs != nil {
			if on, err = s.Belongs(ctx, on); err != nil {
				return err
			}
		}
		if err := s.mayGive(ctx, by, b.Role, on); err != nil {
			return err
		}
	}
	return nil
}

// Weigh is MayGiveAll of a group, in the form in which identity asks: who joins a group is given all that it holds.
func (s *Service) Weigh(ctx context.Context, by identity.Authority, group string) error {
	a, ok := by.(authority)
	if !ok {
		return fault.New(fault.Denied, "not allowed: nobody knows who gives")
	}
	return s.MayGiveAll(ctx, a.by, Subject{Group, group})
}

// Heavy reports whether a group holds a role over people on the installation.
func (s *Service) Heavy(ctx context.Context, group string) (bool, error) {
	return s.Holds(ctx, Subject{Group, group}, Admin, Installation)
}
