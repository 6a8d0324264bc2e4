package login

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Confirmation is a way to prove once more who holds a session.
type Confirmation string

// The ways.
const (
	ByPassword Confirmation = "PASSWORD"
	ByTOTP     Confirmation = "TOTP" // a recovery code does as well
)

// Elevation says whether a session is elevated, and what would elevate it.
type Elevation struct {
	Elevated bool
	Methods  []Confirmation // none for who has neither a password nor an app
}

// The faults of elevation.
var (
	ErrNotElevated       = fault.New(fault.Unauthenticated, "Confirm who you are once more.")
	ErrMethodUnavailable = fault.New(fault.Invalid, "This confirmation method is not available.")
	ErrWrongPassword     = fault.New(fault.Invalid, "The password is not correct.")
	ErrLocked            = fault.New(fault.Denied, "Two factor configuration is locked")
	ErrNoPassword        = fault.New(fault.Denied, "This operation is forbidden")
)

// NotElevated is an ErrNotElevated that says what would elevate the session.
type NotElevated struct{ Methods []Confirmation }

func (n *NotElevated) Error() string { return ErrNotElevated.Text }

// Unwrap makes a NotElevated an ErrNotElevated.
func (n *NotElevated) Unwrap() error { return ErrNotElevated }

// Elevation tells how the caller's session stands. It does not extend anything. Who came without a session gets session.ErrInvalid.
func (s *Service) Elevation(ctx context.Context, by access.Caller) (Elevation, error) {
	return Elevation{}, errors.ErrUnsupported
}

// ElevateByPassword elevates the caller's session, where no app is enrolled. A cookie gets the token that is returned. It reports
// ErrWrongPassword, ErrMethodUnavailable and session.ErrInvalid: wrong proofs count as failed sign-ins, and the last of ElevationTries in a row ends the session.
func (s *Service) ElevateByPassword(ctx context.Context, by access.Caller, password secret.String) (secret.String, error) {
	return secret.String{}, errors.ErrUnsupported
}

// ElevateByTOTP elevates the caller's session with a code of the app, as ElevateByPassword does. It reports factor.ErrWrongCode and ErrMethodUnavailable.
func (s *Service) ElevateByTOTP(ctx context.Context, by access.Caller, code secret.String) (secret.String, error) {
	return secret.String{}, errors.ErrUnsupported
}

// ElevateByRecovery elevates the caller's session with a recovery code, and returns the recovery key that replaces the one there was.
func (s *Service) ElevateByRecovery(ctx context.Context, by access.Caller, code secret.String) (token, recovery secret.String, err error) {
	return secret.String{}, secret.String{}, errors.ErrUnsupported
}

// UnlockSettings opens the settings of second factors for a while: the password alone does. A cookie gets the token that is returned. A wrong
// password is a *Failed; who has none gets ErrNoPassword.
func (s *Service) UnlockSettings(ctx context.Context, by access.Caller, password secret.String) (secret.String, error) {
	return secret.String{}, errors.ErrUnsupported
}

// LockSettings shuts them again.
func (s *Service) LockSettings(ctx context.Context, by access.Caller) error {
	return errors.ErrUnsupported
}
