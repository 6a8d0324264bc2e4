package identity

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// GroupMember says that a user is in a group.
type GroupMember struct {
	User     string // id
	Name     string
	Email    string
	Provider string // id of the identity provider by whose word; empty where a person put them there
	Since    time.Time
}

// ErrNotInGroup says that a user is in no such group.
var ErrNotInGroup = fault.New(fault.NotFound, "the user is not in that group")

// Members lists who is in a group, by name. It reports ErrNoGroup, also to who may not read it.
func (s *Groups) Members(ctx context.Context, by Authority, group string) ([]GroupMember, error) {
	if _, _, err := s.allowed(ctx, by, actionGroupRead, group); err != nil {
		return nil, err
	}
	return s.Store.Members(ctx, group)
}

// OfUser lists the groups that a user is in, to themselves and to whoever may read users. It reports ErrUnknown to others.
func (s *Groups) OfUser(ctx context.Context, by Authority, user string) ([]Group, error) {
	if _, err := by.Authorize(ctx, actionRead, user); err != nil {
		return nil, hidden(err, ErrUnknown)
	}
	return s.Store.OfUser(ctx, user)
}

// AddMember puts a user of the account into one of its groups. Nobody gives by it what they could not grant themselves (rule W7): whoever may
// change groups, and lacks what the group holds, is refused. It reports ErrNoGroup, and ErrNoMember for who does not belong to the account.
func (s *Groups) AddMember(ctx context.Context, by Authority, group, user string) error {
	_, e, err := s.allowed(ctx, by, actionGroupMember, group)
	if err != nil {
		return err
	}
	// What the group is given between this and the insert is given to a member, by somebody who may.
	if err := s.Weigh(ctx, by, group); err != nil {
		return err
	}
	return s.Store.AddMember(ctx, group, user, s.Now(), e.With("added", user))
}

// RemoveMember takes a user out of a group, and with it what they held by it. Nobody takes what they could not give. It reports ErrNoGroup and ErrNotInGroup.
func (s *Groups) RemoveMember(ctx context.Context, by Authority, group, user string) error {
	_, e, err := s.allowed(ctx, by, actionGroupMember, group)
	if err != nil {
		return err
	}
	if err := s.Weigh(ctx, by, group); err != nil {
		return err
	}
	return s.Store.RemoveMember(ctx, group, user, e.With("removed", user))
}

// WeighLeaving returns why somebody may not take a user out of an account, or nil: with it they leave its groups, and what they held by those.
func (s *Groups) WeighLeaving(ctx context.Context, by Authority, account, user string) error {
	all, err := s.Store.OfUser(ctx, user)
	if err != nil {
		return err
	}
	for _, g := range all {
		if g.Account != account {
			continue
		}
		if err := s.Weigh(ctx, by, g.ID); err != nil {
			return err
		}
	}
	return nil
}
