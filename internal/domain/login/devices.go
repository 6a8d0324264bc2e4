package login

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// StartDevice begins the enrolment of a security key. Its settings must be open, as for all of the following: it reports ErrLocked.
func (s *Service) StartDevice(ctx context.Context, by access.Caller, algorithms []int64) (factor.Creation, error) {
	return factor.Creation{}, errors.ErrUnsupported
}

// AddDevice stores the security key that answered. An enrol-only session is active then, the user's other sessions end, a cookie gets another token.
func (s *Service) AddDevice(ctx context.Context, by access.Caller, name string, a factor.Attestation, algorithms []int64) (Signed, error) {
	return Signed{}, errors.ErrUnsupported
}

// RenameDevice gives one of the caller's security keys another name.
func (s *Service) RenameDevice(ctx context.Context, by access.Caller, old, fresh string) error {
	return errors.ErrUnsupported
}

// RemoveDevice takes a security key away, the caller's own or, by right, another user's. It reports factor.ErrLastFactor while a second factor is demanded of them.
func (s *Service) RemoveDevice(ctx context.Context, by access.Caller, user, name string) error {
	return errors.ErrUnsupported
}

// RecoveryList makes the caller's ten recovery codes anew. It needs a fresh proof, and reports access.ErrNotFresh.
func (s *Service) RecoveryList(ctx context.Context, by access.Caller) ([]secret.String, error) {
	return nil, errors.ErrUnsupported
}

// ResetFactors takes away everything that a user has enrolled and ends their sessions. It reports whether there was anything.
func (s *Service) ResetFactors(ctx context.Context, by access.Caller, user string) (bool, error) {
	return false, errors.ErrUnsupported
}

// ImportU2F gives a user a security key that was enrolled elsewhere.
func (s *Service) ImportU2F(ctx context.Context, by access.Caller, user, name string, handle, point []byte, appID string) (factor.Device, error) {
	return factor.Device{}, errors.ErrUnsupported
}
