package factor

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Of loads what a user has enrolled.
func (s *Service) Of(ctx context.Context, user string) (Set, error) {
	return s.Store.Of(ctx, user)
}

// StartEnrolment begins to set up a TOTP app, or to change it.
func (s *Service) StartEnrolment(ctx context.Context, c Conversation, userName string) (Enrolment, error) {
	return Enrolment{}, errUnbuilt
}

// StartEnforced begins to set up the TOTP app that a sign-in waits for.
func (s *Service) StartEnforced(ctx context.Context, k Key, userName string) (Enrolment, error) {
	return Enrolment{}, errUnbuilt
}

// FinishEnrolment stores the app if the code is its.
func (s *Service) FinishEnrolment(ctx context.Context, k Key, code secret.String, session string, make func(Conversation) Change) (recovery secret.String, c Conversation, err error) {
	return secret.String{}, Conversation{}, errUnbuilt
}

// RotateKey replaces the recovery key.
func (s *Service) RotateKey(ctx context.Context, user string, c Change) (secret.String, error) {
	return secret.String{}, errUnbuilt
}

// NewList replaces the list of recovery codes.
func (s *Service) NewList(ctx context.Context, user string, c Change) ([]secret.String, error) {
	return nil, errUnbuilt
}

// RemoveTOTP removes the app and the recovery key.
func (s *Service) RemoveTOTP(ctx context.Context, user string, c Change) error {
	return errUnbuilt
}

// Reset removes everything and reports whether there was anything.
func (s *Service) Reset(ctx context.Context, user string, c Change) (bool, error) {
	return false, errUnbuilt
}
