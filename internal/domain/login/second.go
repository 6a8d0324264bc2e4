package login

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The faults of second factors.
var (
	ErrNothingPending = fault.New(fault.Conflict, "no second factor pending")
	// ErrUseLoginPage says that the user has security keys alone, which a conversation of codes cannot ask for.
	ErrUseLoginPage = fault.New(fault.Unauthenticated, "Sign in on the Gatehouse login page.")
)

// Complete proves the second factor that the caller's session waits for: the session is active then. A bearer keeps its token, a cookie
// gets the one that is returned (rule F11). What is wrong is a *Failed; the last try ends the session. It reports ErrNothingPending.
func (s *Service) Complete(ctx context.Context, by access.Caller, a factor.Answer) (Signed, error) {
	return Signed{}, errors.ErrUnsupported
}

// Challenge says what the caller's session waits for. It reports ErrNothingPending.
func (s *Service) Challenge(ctx context.Context, by access.Caller) (Pending, error) {
	return Pending{}, errors.ErrUnsupported
}

// Continue proves the second factor that a conversation waits for, and begins the session. What is wrong is a *Failed. It reports
// factor.ErrNoConversation.
func (s *Service) Continue(ctx context.Context, conversation secret.String, a factor.Answer, p Presented, in Begin) (Signed, error) {
	return Signed{}, errors.ErrUnsupported
}

// StartEnforced begins the enrolment that a conversation waits for; again with the same secret. It reports factor.ErrNoConversation.
func (s *Service) StartEnforced(ctx context.Context, conversation secret.String) (factor.Enrolment, error) {
	return factor.Enrolment{}, errors.ErrUnsupported
}

// CompleteEnforced ends that enrolment with a code of the new app, and begins the session. A wrong code is a *Failed. It reports
// factor.ErrNoConversation, also before StartEnforced.
func (s *Service) CompleteEnforced(ctx context.Context, conversation, code secret.String, p Presented, in Begin) (Signed, error) {
	return Signed{}, errors.ErrUnsupported
}
