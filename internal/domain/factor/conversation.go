package factor

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	tokenBytes     = 32
	challengeBytes = 32
	sweepBatch     = 500
)

// Begin opens a conversation. It fills in what the caller leaves: id, digest, times and, where the purpose wants one, the
// challenge. The token that is returned finds the conversation once more.
func (s *Service) Begin(ctx context.Context, c Conversation) (token secret.String, made Conversation, err error) {
	token = secret.New(base64.RawURLEncoding.EncodeToString(secret.Bytes(tokenBytes))) // rule F10
	c.ID, c.Digest, c.Tries, c.Created = s.NewID(), secret.Digest(token.Reveal()), 0, s.Now()
	c.Expires = c.Created.Add(s.lasts(c))
	if c.Purpose.challenges() {
		c.Secret = secret.New(base64.RawURLEncoding.EncodeToString(secret.Bytes(challengeBytes)))
	}
	if err := s.Store.Open(ctx, c); err != nil {
		return secret.String{}, Conversation{}, err
	}
	return token, c, nil
}

// challenges says that a security key may answer.
func (p Purpose) challenges() bool { return p == SignIn || p == Registration || p == ElevationKey }

func (s *Service) lasts(c Conversation) time.Duration {
	if c.Session != "" && c.Purpose.challenges() {
		return s.Wait
	}
	return s.Talk
}

// Find loads a living conversation, whoever asks: that its session is the caller's is for the caller to see. It reports ErrNoConversation.
func (s *Service) Find(ctx context.Context, k Key) (Conversation, error) {
	c, err := s.Store.Find(ctx, k)
	if err == nil && !s.living(c, k) {
		err = ErrNoConversation
	}
	if err != nil {
		return Conversation{}, err
	}
	return c, nil
}

// living reads the clock at each use (rule W11).
func (s *Service) living(c Conversation, k Key) bool {
	return c.Purpose == k.Purpose && s.Now().Before(c.Expires)
}

// open is what every answer asks first: the conversation lives, and who answers is who began it. One that belongs to a session
// is not found by its token alone.
func (s *Service) open(c Conversation, k Key, session string) error {
	if !s.living(c, k) || c.Session != session {
		return ErrNoConversation
	}
	return nil
}

// KeyOf finds a conversation by its token. A malformed token finds nothing.
func KeyOf(token secret.String, p Purpose) Key {
	k := Key{Purpose: p}
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(token.Reveal()); err == nil && len(raw) == tokenBytes {
		k.Digest = secret.Digest(token.Reveal())
	}
	return k
}

// missed notes a wrong answer, and tells whether the conversation goes on.
func (s *Service) missed(c *Conversation, reason string) (keep bool, miss *Miss) {
	c.Tries++
	left := max(0, s.Tries-c.Tries)
	return left > 0, &Miss{Reason: reason, Left: left, Conversation: *c}
}

// Run removes conversations that are over, until ctx ends. Nothing depends on it but space.
func (s *Service) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sweep(ctx)
		}
	}
}

func (s *Service) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := s.Store.Sweep(ctx, s.Now(), sweepBatch)
		if err != nil && !errors.Is(err, context.Canceled) && s.OnError != nil {
			s.OnError("remove conversations that are over", err)
		}
		if err != nil || n < sweepBatch {
			return
		}
	}
}
