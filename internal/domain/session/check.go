package session

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Check returns the living session that a token stands for, in whatever state, and counts as a use of it. Look at State before anything
// is opened: Session.Caller gives rights to an active one alone. Every token that is missing, malformed, unknown, of a
// session that is over, or of an application at a wrong address gets ErrInvalid, as a *Refusal; other errors mean that we could not look.
func (s *Service) Check(ctx context.Context, token secret.String, from netip.Addr) (Session, error) {
	text := token.Reveal()
	if len(text) != tokenLength {
		return Session{}, &Refusal{Reason: "it is not spelled like a session token"}
	}
	x, err := s.find(ctx, secret.Digest(text))
	if err != nil {
		return Session{}, err
	}
	if why := s.over(x); why != "" { // rules F12, W7 and W11: read at every use
		return Session{}, &Refusal{why, x}
	}
	if !identity.Within(x.Networks, from) {
		return Session{}, &Refusal{"the application may not come from that address", x}
	}
	return s.used(ctx, x), nil
}

// over returns why a known session opens nothing any more, or "".
func (s *Service) over(x Session) string {
	now := s.Now()
	switch {
	case x.State == Terminated || !x.Ended.IsZero():
		return "the session was ended"
	case x.Shut:
		return "the principal or the account is disabled"
	case !now.Before(x.Deadline):
		return "the session is too old"
	case !now.Before(x.Expires()):
		return "the session was idle for too long"
	case x.State != Pending && x.State != EnrolOnly && x.State != Active:
		return "the session is in no known state"
	}
	return ""
}

// find answers from memory or from the store. Only good sessions are remembered: a stranger who tries
// tokens cannot push them out.
func (s *Service) find(ctx context.Context, digest [32]byte) (Session, error) {
	now := s.Now()
	if x, ok := s.cache.byDigest(digest, now); ok {
		return x, nil
	}
	era := s.cache.now()
	x, err := s.Store.ByDigest(ctx, digest)
	if fault.Is(err, fault.NotFound) {
		return Session{}, &Refusal{Reason: "there is no such session"}
	}
	if err != nil {
		return Session{}, fmt.Errorf("find session: %w", err)
	}
	if !secret.Equal(x.Digest[:], digest[:]) { // rule S12: whatever the database takes for equal
		return Session{}, &Refusal{Reason: "there is no such session"}
	}
	if s.over(x) == "" && s.CacheFor > 0 {
		s.cache.keep(x, now.Add(s.CacheFor), now, era)
	}
	return x, nil
}

// used slides the idle window. It writes once a grain; a write that fails costs nobody their answer.
func (s *Service) used(ctx context.Context, x Session) Session {
	now := s.Now()
	if x.State == Pending || now.Sub(x.LastUsed) < x.Grain() {
		return x
	}
	x.LastUsed = now
	if !s.cache.touch(x.Digest, now) {
		return x // somebody else is writing it
	}
	if err := s.Store.Touch(ctx, x.ID, now, x.Expires()); err != nil && s.OnError != nil {
		s.OnError("write last use of session", err)
	}
	return x
}

// Forget drops a session from memory: it was changed here or on another node.
func (s *Service) Forget(id string) { s.cache.forget(id) }

// ForgetPrincipal drops all sessions of a user or an application from memory.
func (s *Service) ForgetPrincipal(id string) { s.cache.forgetPrincipal(id) }

// ForgetAll drops all sessions from memory: notices of changes may have been lost, or something changed
// that many sessions depend on.
func (s *Service) ForgetAll() { s.cache.forgetAll() }

// Sweep ends sessions whose time is over and removes old ones, until ctx ends. Nothing depends on it but the
// record and space: Check reads the clock.
func (s *Service) Sweep(ctx context.Context) {
	tick := time.NewTicker(s.Every)
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
