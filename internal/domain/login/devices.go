package login

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// unlockedFor loads who calls for a change of security keys.
func (s *Service) unlockedFor(ctx context.Context, by access.Caller, do access.Action) (settler, error) {
	m, err := s.settler(ctx, by)
	if err != nil {
		return m, err
	}
	if err := s.Access.Require(ctx, by, do, userOf(by.ID)); err != nil {
		return m, err
	}
	if !m.unlocked(s.Now(), s.FreshFor) { // rule F14
		return m, ErrLocked
	}
	return m, nil
}

// StartDevice begins the enrolment of a security key. Its settings must be open, as for all of the following: it reports ErrLocked.
func (s *Service) StartDevice(ctx context.Context, by access.Caller, algorithms []int64) (factor.Creation, error) {
	m, err := s.unlockedFor(ctx, by, access.FactorEnrol)
	if err != nil {
		return factor.Creation{}, err
	}
	return s.Second.StartDevice(ctx, m.session.ID, m.user.ID, m.user.Name, algorithms)
}

// AddDevice stores the security key that answered. An enrol-only session is active then, the user's other sessions end, a cookie gets another token.
func (s *Service) AddDevice(ctx context.Context, by access.Caller, name string, a factor.Attestation, algorithms []int64) (Signed, error) {
	m, err := s.unlockedFor(ctx, by, access.FactorEnrol)
	if err != nil {
		return Signed{}, err
	}
	_, err = s.Second.AddDevice(ctx, m.session.ID, m.user.ID, name, a, algorithms, s.change(by, access.FactorEnrol, factor.FIDO2))
	if err := s.changed(m.user.ID, err); err != nil {
		return Signed{}, err
	}
	return s.raised(ctx, by, m, !m.set.Enrolled())
}

// RenameDevice gives one of the caller's security keys another name.
func (s *Service) RenameDevice(ctx context.Context, by access.Caller, old, fresh string) error {
	m, err := s.unlockedFor(ctx, by, access.FactorEnrol)
	if err != nil {
		return err
	}
	c := s.change(by, access.FactorEnrol, factor.FIDO2)
	c.End = identity.Ending{} // a name opens nothing
	return s.Second.RenameDevice(ctx, m.user.ID, old, fresh, c)
}

// RemoveDevice takes a security key away, the caller's own or, by right, another user's. It reports factor.ErrLastFactor while a second factor is demanded of them.
func (s *Service) RemoveDevice(ctx context.Context, by access.Caller, user, name string) error {
	c := s.change(by, access.FactorRemove, factor.FIDO2)
	if by.Kind != access.User || by.ID != user {
		them, err := s.inferior(ctx, by, access.FactorReset, user)
		if err != nil {
			return err
		}
		c = s.taken(by, them, access.FactorReset, factor.FIDO2)
	}
	if by.Kind == access.User {
		if _, err := s.unlockedFor(ctx, by, access.FactorRemove); err != nil {
			return err
		}
	}
	demanded, err := s.demanded(ctx, user)
	if err != nil {
		return err
	}
	return s.changed(user, s.Second.RemoveDevice(ctx, user, name, demanded, c))
}

// RecoveryList makes the caller's ten recovery codes anew. It needs a fresh proof, and reports access.ErrNotFresh.
func (s *Service) RecoveryList(ctx context.Context, by access.Caller) ([]secret.String, error) {
	m, err := s.settler(ctx, by)
	if err != nil {
		return nil, err
	}
	if err := s.Access.Require(ctx, by, access.FactorCodes, userOf(by.ID)); err != nil {
		return nil, err
	}
	if err := access.Fresh(m.session.Caller(by.Address, by.Door, by.Request), s.Now(), s.FreshFor); err != nil { // rule F14
		return nil, err
	}
	c := s.change(by, access.FactorCodes, factor.Recovery)
	c.End = identity.Ending{}
	return s.Second.NewList(ctx, by.ID, c)
}

// ResetFactors takes away everything that a user has enrolled and ends their sessions. It reports whether there was anything.
func (s *Service) ResetFactors(ctx context.Context, by access.Caller, user string) (bool, error) {
	them, err := s.inferior(ctx, by, access.FactorReset, user)
	if err != nil {
		return false, err
	}
	if err := access.Fresh(by, s.Now(), s.FreshFor); err != nil { // rule F14
		return false, err
	}
	any, err := s.Second.Reset(ctx, user, s.taken(by, them, access.FactorReset, ""))
	return any, s.changed(user, err)
}

// ImportU2F gives a user a security key that was enrolled elsewhere.
func (s *Service) ImportU2F(ctx context.Context, by access.Caller, user, name string, handle, point []byte, appID string) (factor.Device, error) {
	them, err := s.inferior(ctx, by, access.FactorImport, user)
	if err != nil {
		return factor.Device{}, err
	}
	if err := access.Fresh(by, s.Now(), s.FreshFor); err != nil { // rule F14
		return factor.Device{}, err
	}
	d, err := s.Second.ImportU2F(ctx, user, name, handle, point, appID, s.taken(by, them, access.FactorImport, factor.FIDO2))
	return d, s.changed(user, err)
}

// inferior loads a user whose second factors the caller may change by right: one who does not stand above the caller. An administrator
// of the account in which the caller works may do it to the members whose home it is.
func (s *Service) inferior(ctx context.Context, by access.Caller, do access.Action, user string) (identity.User, error) {
	if by.Kind != access.User && by.Kind != access.Local && by.Kind != access.System {
		return identity.User{}, ErrForbidden
	}
	on, err := s.memberOf(ctx, by.Account, user)
	if err != nil {
		return identity.User{}, err
	}
	if err := s.Access.Require(ctx, by, do, on); err != nil {
		return identity.User{}, err
	}
	if err := s.notAbove(ctx, by, user); err != nil {
		return identity.User{}, err
	}
	return s.user(ctx, user)
}

// memberOf is the user as a resource, inside the account where that is their home and they are a member of it. Other accounts do not count: whoever
// administers one makes anybody a member of it, unasked, and would have their second factors then (rule W7).
func (s *Service) memberOf(ctx context.Context, account, user string) (access.Resource, error) {
	on := userOf(user)
	if account == "" {
		return on, nil
	}
	them, err := s.user(ctx, user)
	if fault.Is(err, fault.NotFound) || err == nil && them.Account != account {
		return on, nil
	}
	if err != nil {
		return on, err
	}
	_, err = s.Accounts.Membership(ctx, account, user)
	if fault.Is(err, fault.NotFound) {
		return on, nil
	}
	on.Parents = []access.Resource{access.Account(account)}
	return on, err
}
