package login

import (
	"context"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// ErrTooManyCodes says that no further code of the person is looked at for a while.
var ErrTooManyCodes = fault.New(fault.Limited, "Too many wrong codes; wait a while, or let an administrator unlock you.")

// codeDigits is how long a code of an app is; everything else is taken for a recovery code.
const codeDigits = 6

// StepUp checks a code of by's app, or a recovery code, which is used up: a second factor for something that is no sign-in. Wrong ones count as failed
// sign-ins of the name, and none is looked at while the name is shut out for them. It reports factor.ErrWrongCode, ErrTooManyCodes and ErrMethodUnavailable.
func (s *Service) StepUp(ctx context.Context, by access.Caller, code secret.String) error {
	begun := s.Now()
	u, err := s.user(ctx, by.ID)
	if err != nil {
		return err
	}
	by.Session = "" // whatever it came with, this proof is not about it
	name, err := s.nameOf(ctx, by, u)
	if err != nil {
		return err
	}
	kind := factor.Recovery
	if len(code.Reveal()) == codeDigits {
		kind = factor.TOTP
	}
	p := Presented{Kind: Kind(kind), Address: by.Address, Door: by.Door, Request: by.Request}
	who := guard.Who{Name: name, Address: by.Address}
	leave, err := s.enter(ctx, who)
	if err != nil {
		return err
	}
	defer leave()
	at, err := s.Lockout.Stands(ctx, who)
	if err != nil {
		return err
	}
	if at.Refused(who) {
		return s.tell(ctx, p, begun, &Wrong{Reason: refusal(at), Who: by.Principal}, at, ErrTooManyCodes)
	}
	if err := s.Second.Confirm(ctx, u.ID, factor.Answer{Kind: kind, Code: code}, s.confirmed(by, kind)); err != nil {
		return s.unconfirmed(ctx, by, u, kind, err, begun)
	}
	return s.forget(ctx, name, p)
}

// CanStepUp reports whether a user has a second factor that StepUp takes: an app, or recovery codes beside whatever else is enrolled.
func (s *Service) CanStepUp(ctx context.Context, user string) (bool, error) {
	set, err := s.Second.Of(ctx, user)
	if err != nil {
		return false, err
	}
	unused := slices.ContainsFunc(set.Codes, func(c factor.Code) bool { return c.Used.IsZero() })
	return set.TOTP != nil || set.Enrolled() && unused, nil
}
