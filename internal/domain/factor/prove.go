package factor

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

var errUnbuilt = errors.ErrUnsupported

// Miss is a wrong answer: an ErrWrongCode.
type Miss struct {
	Reason       string // for the audit log alone
	Left         int    // tries that are left; 0: the conversation is gone; -1: there is none
	Conversation Conversation
}

func (m *Miss) Error() string { return ErrWrongCode.Error() }

// Unwrap makes a Miss an ErrWrongCode.
func (m *Miss) Unwrap() error { return ErrWrongCode }

// Prove checks an answer to a conversation of the purpose SignIn or ElevationKey.
func (s *Service) Prove(ctx context.Context, k Key, a Answer, record func(Conversation) audit.Event) (Conversation, error) {
	return Conversation{}, errUnbuilt
}

// Confirm checks a code outside a conversation.
func (s *Service) Confirm(ctx context.Context, user string, a Answer, e audit.Event) error {
	return errUnbuilt
}

// Replace uses up a recovery code and makes a new recovery key.
func (s *Service) Replace(ctx context.Context, user string, code secret.String, e audit.Event) (key secret.String, err error) {
	return secret.String{}, errUnbuilt
}
