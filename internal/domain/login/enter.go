package login

import (
	"context"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
)

// Next is what a door that begins no session, and asks by text alone, does about a second factor.
type Next string

// What there is to do.
const (
	NextNothing Next = ""        // the person is in
	NextCode    Next = "code"    // StepUp with a code
	NextBrowser Next = "browser" // they have security keys alone, which text cannot ask for
	NextEnrol   Next = "enrol"   // they must enrol one first
)

// Enter proves a person by their password, for a door that begins no session and asks for a second factor itself: Next says whether. It reports what SignIn
// reports. Failures of the name are forgotten once nothing more is asked for.
func (s *Service) Enter(ctx context.Context, p Presented) (access.Caller, Next, error) {
	if p.Kind != Password || !slices.Contains(p.Accepts, Password) {
		return access.Caller{}, "", s.refuse(ctx, p, ErrNotAccepted)
	}
	got, err := s.prove(ctx, p, passwords{s})
	if err != nil {
		return access.Caller{}, "", err
	}
	next, err := s.Next(ctx, got.Caller)
	if err == nil && next == NextNothing {
		err = s.Lockout.Succeed(ctx, got.who, got.before)
	}
	return got.Caller, next, err
}

// Next says what a person who has proved one factor, a password or a key, must do about a second one. Who has enrolled one proves it (rule S18).
func (s *Service) Next(ctx context.Context, by access.Caller) (Next, error) {
	w, set, err := s.waits(ctx, Proof{Caller: by})
	switch {
	case err != nil || w == forNothing:
		return NextNothing, err
	case w == forEnrolment:
		return NextEnrol, nil
	case set.TOTP != nil, slices.ContainsFunc(set.Codes, func(c factor.Code) bool { return c.Used.IsZero() }):
		return NextCode, nil
	}
	return NextBrowser, nil
}
