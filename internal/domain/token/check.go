package token

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/recent"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// ErrUnknownKey is the one answer to every key that opens nothing.
var ErrUnknownKey = fault.New(fault.Unauthenticated, "Missing, unknown or expired API key")

// Refusal is an ErrUnknownKey, or of HTTP access tokens an ErrBadAccess, that remembers, for the audit log alone, why.
type Refusal struct {
	Reason string
	Token  Token  // the key that was expired or revoked; the zero Token otherwise
	Access Access // likewise the HTTP access token

	as *fault.Error // nil is ErrUnknownKey
}

// Error gives the answer and the reason: for logs.
func (r *Refusal) Error() string { return cmp.Or(r.as, ErrUnknownKey).Text + ": " + r.Reason }

// Unwrap makes a Refusal the answer that callers get.
func (r *Refusal) Unwrap() error { return cmp.Or(r.as, ErrUnknownKey) }

// Check returns the token that a plain key stands for. Every key that is missing, malformed, unknown,
// expired or revoked gets ErrUnknownKey, as a *Refusal; other errors mean that we could not look.
func (s *Service) Check(ctx context.Context, plain secret.String) (Token, error) {
	text := plain.Reveal()
	if text == "" {
		return Token{}, &Refusal{Reason: "no key was sent"}
	}
	if !WellFormed(text) {
		return Token{}, &Refusal{Reason: "it is not spelled like an API key"}
	}
	t, err := s.find(ctx, secret.Digest(text))
	if err != nil {
		return Token{}, err
	}
	if why := s.shut(t); why != "" { // rules W7 and W11: read at every use
		return Token{}, &Refusal{Reason: why, Token: t}
	}
	return t, nil
}

// shut returns why a known token opens nothing any more, or "".
func (s *Service) shut(t Token) string {
	switch {
	case t.Kind != APIKey:
		return "it is no API key"
	case !t.Revoked.IsZero():
		return "the key was revoked"
	case t.expired(s.Now()):
		return "the key has expired"
	}
	return ""
}

// find answers from memory or from the store. Only good tokens are remembered: a stranger who tries
// keys cannot push them out.
func (s *Service) find(ctx context.Context, digest [32]byte) (Token, error) {
	now := s.Now()
	if t, ok := s.cache.ByKey(digest, now); ok {
		return t, nil
	}
	era := s.cache.Era()
	t, err := s.Store.ByDigest(ctx, digest)
	if fault.Is(err, fault.NotFound) {
		return Token{}, &Refusal{Reason: "there is no such key"}
	}
	if err != nil {
		return Token{}, fmt.Errorf("find api key: %w", err)
	}
	if !secret.Equal(t.Digest[:], digest[:]) { // rule S12: whatever the database takes for equal
		return Token{}, &Refusal{Reason: "there is no such key"}
	}
	if s.shut(t) == "" && s.CacheFor > 0 {
		s.cache.Keep(recent.Answer[[32]byte, Token]{Key: t.Digest, ID: t.ID, Value: t, Until: now.Add(s.CacheFor)}, now, era)
	}
	return t, nil
}

// Forget drops a token from memory: it was changed here or on another node.
func (s *Service) Forget(id string) { s.cache.Forget(id) }

// ForgetAll drops all tokens from memory: notices of changes may have been lost.
func (s *Service) ForgetAll() { s.cache.ForgetAll() }
