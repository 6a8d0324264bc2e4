package factor

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Begin opens a conversation. It fills in what the caller leaves: id, digest, times and, where the purpose wants one, the
// challenge. The token that is returned finds the conversation once more.
func (s *Service) Begin(ctx context.Context, c Conversation) (token secret.String, made Conversation, err error) {
	return secret.String{}, Conversation{}, errUnbuilt
}

// Find loads a living conversation. It reports ErrNoConversation.
func (s *Service) Find(ctx context.Context, k Key) (Conversation, error) {
	return Conversation{}, errUnbuilt
}

// KeyOf finds a conversation by its token. A malformed token finds nothing.
func KeyOf(token secret.String, p Purpose) Key {
	return Key{Digest: secret.Digest(token.Reveal()), Purpose: p}
}

// Run removes conversations that are over, until ctx ends. Nothing depends on it but space.
func (s *Service) Run(ctx context.Context, every time.Duration) {}
