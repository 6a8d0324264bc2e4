package token

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/recent"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The answers to tokens that open nothing, and to who reports too many.
var (
	ErrBadAccess      = fault.New(fault.Unauthenticated, "Missing, unknown or expired access token")
	ErrTooManyReports = fault.New(fault.Limited, "Too many reports from this address")
)

// Check returns the token that a plain text stands for. Every text that is malformed, and every token that is unknown, expired, revoked or shut with its owner gets
// ErrBadAccess, as a *Refusal; other errors mean that we could not look. An unknown handle costs what a wrong secret does.
func (s *Accesses) Check(ctx context.Context, plain secret.String) (Access, error) {
	parts, ok := ParseAccess(plain.Reveal())
	if !ok {
		return Access{}, &Refusal{Reason: "it is not spelled like an access token", as: ErrBadAccess}
	}
	t, err := s.find(ctx, parts)
	if err != nil {
		return Access{}, err
	}
	if why := s.shut(t); why != "" { // rules F12, W7 and W11: read at every use
		return Access{}, &Refusal{Reason: why, Access: t, as: ErrBadAccess}
	}
	return t, nil
}

// Refuse is an ErrBadAccess about a token that is good, but not as it was presented.
func Refuse(t Access, reason string) error {
	return &Refusal{Reason: reason, Access: t, as: ErrBadAccess}
}

// shut returns why a known token opens nothing any more, or "".
func (s *Accesses) shut(t Access) string {
	switch {
	case !t.Revoked.IsZero():
		return "the access token was revoked"
	case t.expired(s.Now()):
		return "the access token has expired"
	case t.Shut && t.Personal():
		return "its owner is disabled"
	case t.Shut:
		return "what it was for is gone"
	}
	return ""
}

// find answers from memory or from the store. Only good tokens are remembered: a stranger who tries some cannot push them out.
func (s *Accesses) find(ctx context.Context, parts AccessSecret) (Access, error) {
	now := s.Now()
	if t, ok := s.cache.ByKey(parts, now); ok {
		return t, nil
	}
	era := s.cache.Era()
	t, err := s.Store.ByHandle(ctx, parts.Handle)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Access{}, fmt.Errorf("find access token: %w", err)
	}
	same := secret.Equal(t.Digest[:], parts.Digest[:]) // of no token where there is none: that takes as long
	switch {
	case err != nil || t.Handle != parts.Handle: // rule S12: whatever the database takes for equal
		return Access{}, &Refusal{Reason: "there is no such access token", as: ErrBadAccess}
	case !same:
		return Access{}, &Refusal{Reason: "the secret of the access token is wrong", as: ErrBadAccess}
	}
	if s.shut(t) == "" && s.CacheFor > 0 {
		s.cache.Keep(recent.Answer[AccessSecret, Access]{Key: parts, ID: t.ID, Value: t, Until: now.Add(s.CacheFor)}, now, era)
	}
	return t, nil
}

// ReportLeaked revokes a token whose plain text somebody other than its holder has, on the word of anybody who has it: there is no better proof. Nobody learns whether
// there was such a token: what is unknown, expired or revoked already is no error. It reports ErrTooManyReports, and looks at nothing, once an address reports too often.
func (s *Accesses) ReportLeaked(ctx context.Context, by access.Caller, plain secret.String) error {
	verdict, err := s.Reports.Fail(ctx, "token-report", by.Address)
	if err != nil {
		return err
	}
	if verdict.Blocked {
		return ErrTooManyReports
	}
	parts, ok := ParseAccess(plain.Reveal())
	if !ok {
		return nil
	}
	t, err := s.find(ctx, parts)
	if errors.Is(err, ErrBadAccess) {
		return nil
	}
	if err != nil {
		return err
	}
	now := s.Now()
	e := t.event(by, now, access.TokenRevoke)
	e.Reason = "it was reported as leaked"
	if err := s.revoke(ctx, t, now, e); !errors.Is(err, ErrNoAccess) {
		return err
	}
	return nil
}

// Used notes that a token was used, from where and through which door. It costs no write: Run writes the latest use of each.
func (s *Accesses) Used(id string, from netip.Addr, door string, at time.Time) {
	address := ""
	if from.IsValid() {
		address = from.String()
	}
	s.used.Note(recent.Use{ID: id, At: at, Address: address, Door: door})
}

// Run writes last uses every UsedEvery until ctx ends, and then what is left. What cannot be written is kept for the next time.
func (s *Accesses) Run(ctx context.Context) {
	s.used.Run(ctx, s.UsedEvery, s.Store.MarkUsed, s.OnUsedFailed)
}

// Forget drops a token from memory: it was changed here or on another node.
func (s *Accesses) Forget(id string) { s.cache.Forget(id) }

// ForgetUser drops the tokens of a user from memory, who may be shut out now.
func (s *Accesses) ForgetUser(user string) {
	s.cache.ForgetIf(func(t Access) bool { return t.of(OfUser(user)) })
}

// ForgetAll drops all tokens from memory: notices of changes may have been lost.
func (s *Accesses) ForgetAll() { s.cache.ForgetAll() }
