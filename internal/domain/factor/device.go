package factor

import (
	"context"
)

// Ask says what the user's security keys are asked in a conversation.
func (s *Service) Ask(c Conversation, set Set) Challenge {
	return Challenge{}
}

// StartDevice begins the enrolment of a security key in a session.
func (s *Service) StartDevice(ctx context.Context, session, user, userName string, algorithms []int64) (Creation, error) {
	return Creation{}, errUnbuilt
}

// AddDevice checks what a new security key answered and stores it.
func (s *Service) AddDevice(ctx context.Context, session, user, name string, a Attestation, algorithms []int64, make Change) (Device, error) {
	return Device{}, errUnbuilt
}

// RenameDevice gives a security key another name.
func (s *Service) RenameDevice(ctx context.Context, user, old, fresh string, c Change) error {
	return errUnbuilt
}

// RemoveDevice removes a security key; with demanded not the last second factor.
func (s *Service) RemoveDevice(ctx context.Context, user, name string, demanded bool, c Change) error {
	return errUnbuilt
}

// ImportU2F stores a key that was enrolled elsewhere: its raw P-256 point, 65 bytes.
func (s *Service) ImportU2F(ctx context.Context, user, name string, keyHandle, point []byte, appID string, c Change) (Device, error) {
	return Device{}, errUnbuilt
}
