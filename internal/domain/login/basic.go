package login

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Basic says that a person's password came with the request, by HTTP Basic, and at what kind of door.
type Basic string

// The kinds of doors. The zero Basic is a password that came another way.
const (
	BasicREST      Basic = "rest"      // below /rest
	BasicElsewhere Basic = "elsewhere" // other wires that take it
)

// BasicScope says which doors the policy on passwords by Basic covers.
type BasicScope string

// The scopes. The zero BasicScope is ScopeREST.
const (
	ScopeREST BasicScope = "rest"
	ScopeAll  BasicScope = "all"
)

// ErrBasicBlocked says that passwords by Basic are not taken at the door. It was not looked at, so nothing is learnt of it.
var ErrBasicBlocked = fault.New(fault.Denied, "Basic authentication is disabled")

// basicWarning is what who sends a password by Basic is told where the policy warns.
const basicWarning = "Basic authentication may be disabled on this instance."

// BasicWarning returns what an answer to p says of its password by Basic, whether it was right or not: "" where there is nothing to say.
func (s *Service) BasicWarning(ctx context.Context, p Presented) (string, error) {
	is, covered, err := s.basicPolicy(ctx, p)
	if err != nil || !covered || !is.Warn {
		return "", err
	}
	return basicWarning, nil
}

// basicPolicy returns the policy on passwords by Basic, and whether it covers what was presented at all. Programs, tokens, sessions and passwords that
// come in a body are never covered.
func (s *Service) basicPolicy(ctx context.Context, p Presented) (is policy.Basic, covered bool, err error) {
	if p.Kind != Password || p.Basic == "" || p.Basic != BasicREST && s.BasicScope != ScopeAll || token.IsAccess(p.Secret.Reveal()) {
		return policy.Basic{}, false, nil
	}
	is, err = s.Policy.Basic(ctx)
	return is, err == nil, err
}

// unblocked returns ErrBasicBlocked, on record, where the policy has shut the way by which a password came. An HTTP token in the place of a password is none,
// and a *Failed that nobody counts: guessing tokens leads nowhere.
func (s *Service) unblocked(ctx context.Context, p Presented) error {
	if p.Kind == Password && p.Basic != "" && token.IsAccess(p.Secret.Reveal()) {
		return s.answer(ctx, p, s.Now(), &Wrong{Reason: "an HTTP token is no password"}, guard.Standing{})
	}
	is, covered, err := s.basicPolicy(ctx, p)
	if err != nil || !covered || !is.Blocks(p.Path, p.Name) {
		return err
	}
	s.count(p.Kind, "refused")
	return errors.Join(ErrBasicBlocked, s.recordWrong(ctx, p, &Wrong{Reason: "passwords by Basic are blocked"}, guard.Standing{}))
}

// cameByBasic tells OnBasic of a right password that came by Basic where the policy warns of that. What a stranger typed as a name never gets there.
func (s *Service) cameByBasic(ctx context.Context, p Presented, who access.Caller) {
	if s.OnBasic == nil {
		return
	}
	is, covered, err := s.basicPolicy(ctx, p)
	switch {
	case err != nil && s.OnError != nil:
		s.OnError("read policy on passwords by Basic", err)
	case covered && is.Warn:
		s.OnBasic(who)
	}
}
