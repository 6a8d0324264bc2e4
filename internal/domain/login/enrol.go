package login

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The faults of enrolment.
var (
	ErrManaged = fault.New(fault.Conflict, "Two-step verification is left to your identity provider.")
	ErrOneself = fault.New(fault.Denied, "nobody does that to themselves")
)

// Factors returns what the caller has enrolled.
func (s *Service) Factors(ctx context.Context, by access.Caller) (factor.Set, error) {
	return factor.Set{}, errors.ErrUnsupported
}

// Managed says that an identity provider looks after the caller: the session came from one, or no password opens the user.
func (s *Service) Managed(ctx context.Context, by access.Caller) (bool, error) {
	return false, errors.ErrUnsupported
}

// StartVoluntary begins to set up a TOTP app. It needs elevation, as all of the following do, and reports *NotElevated, ErrManaged and factor.ErrEnrolled.
func (s *Service) StartVoluntary(ctx context.Context, by access.Caller) (factor.Enrolment, error) {
	return factor.Enrolment{}, errors.ErrUnsupported
}

// CompleteVoluntary stores the app if the code is its. The user's other sessions end; a cookie gets another token. A wrong code is
// a *Failed. It reports factor.ErrNoConversation too.
func (s *Service) CompleteVoluntary(ctx context.Context, by access.Caller, conversation, code secret.String) (Signed, error) {
	return Signed{}, errors.ErrUnsupported
}

// StartUpdate begins to change the TOTP app; the old one works until the end. It reports factor.ErrNotEnrolled.
func (s *Service) StartUpdate(ctx context.Context, by access.Caller) (factor.Enrolment, error) {
	return factor.Enrolment{}, errors.ErrUnsupported
}

// CompleteUpdate changes the app if the code is the new one's, as CompleteVoluntary does.
func (s *Service) CompleteUpdate(ctx context.Context, by access.Caller, conversation, code secret.String) error {
	return errors.ErrUnsupported
}

// RotateRecovery replaces the recovery key of the app. It reports factor.ErrNotEnrolled.
func (s *Service) RotateRecovery(ctx context.Context, by access.Caller) (secret.String, error) {
	return secret.String{}, errors.ErrUnsupported
}

// Unenrol takes the app and its recovery key away. It reports factor.ErrNotEnrolled.
func (s *Service) Unenrol(ctx context.Context, by access.Caller) error {
	return errors.ErrUnsupported
}

// UnenrolOther takes another user's app away: an administrator does, and proves their own app. It reports, in this order, a
// Denied fault (no right, or less than the other has), ErrOneself, factor.ErrWrongCode, identity.ErrUnknown, factor.ErrNotEnrolled.
func (s *Service) UnenrolOther(ctx context.Context, by access.Caller, userName string, code secret.String) error {
	return errors.ErrUnsupported
}
