package login

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Confirmation is a way to prove once more who holds a session.
type Confirmation string

// The ways.
const (
	ByPassword Confirmation = "PASSWORD"
	ByTOTP     Confirmation = "TOTP" // a recovery code does as well
)

// Elevation says whether a session is elevated, and what would elevate it.
type Elevation struct {
	Elevated bool
	Methods  []Confirmation // none for who has neither a password nor an app
}

// The faults of elevation.
var (
	ErrNotElevated       = fault.New(fault.Unauthenticated, "Confirm who you are once more.")
	ErrMethodUnavailable = fault.New(fault.Invalid, "This confirmation method is not available.")
	ErrWrongPassword     = fault.New(fault.Invalid, "The password is not correct.")
	ErrLocked            = fault.New(fault.Denied, "Two factor configuration is locked")
)

// NotElevated is an ErrNotElevated that says what would elevate the session.
type NotElevated struct{ Methods []Confirmation }

func (n *NotElevated) Error() string { return ErrNotElevated.Text }

// Unwrap makes a NotElevated an ErrNotElevated.
func (n *NotElevated) Unwrap() error { return ErrNotElevated }

// settler is somebody who settles their second factors in a session.
type settler struct {
	session session.Session
	user    identity.User
	set     factor.Set
}

// settler loads who calls, afresh: how a session stands is not taken from memory here. Programs get ErrForbidden, who came without a session
// session.ErrInvalid.
func (s *Service) settler(ctx context.Context, by access.Caller) (settler, error) {
	if by.Kind != access.User {
		return settler{}, ErrForbidden
	}
	x, err := s.Sessions.Own(ctx, by)
	if err != nil {
		return settler{}, err
	}
	if x.State != session.Active && x.State != session.EnrolOnly {
		return settler{}, ErrPending
	}
	u, err := s.self(ctx, by)
	if err != nil {
		return settler{}, err
	}
	set, err := s.Second.Of(ctx, u.ID)
	if err == nil && x.State == session.EnrolOnly && set.Enrolled() { // enrolled elsewhere while this sign-in began: a password alone adds no factor to those there are
		err = session.ErrInvalid
	}
	return settler{x, u, set}, err
}

// managed says that an identity provider looks after the user, at least in this session.
func (m settler) managed() bool { return m.session.Provider != "" || m.user.PasswordHash == "" }

// methods says what elevates the session. Who has an app proves that, or the password would be worth as much.
func (m settler) methods() []Confirmation {
	switch {
	case m.set.TOTP != nil:
		return []Confirmation{ByTOTP}
	case m.managed():
		return nil
	}
	return []Confirmation{ByPassword}
}

// elevated says whether settings of the app may be changed. The password's unlocking counts only while there is no second factor.
func (m settler) elevated(now time.Time) bool {
	return now.Before(m.session.Elevated) || now.Before(m.session.Unlocked) && !m.set.Enrolled()
}

// unlocked says whether settings of security keys may be changed. Who has no password unlocks them by having signed in just now.
func (m settler) unlocked(now time.Time, fresh time.Duration) bool {
	x := m.session
	since := now.Sub(x.Authenticated)
	return now.Before(x.Elevated) || now.Before(x.Unlocked) || m.user.PasswordHash == "" && since < fresh && since > -fresh
}

// Elevation tells how the caller's session stands. It does not extend anything. Who came without a session gets session.ErrInvalid.
func (s *Service) Elevation(ctx context.Context, by access.Caller) (Elevation, error) {
	m, err := s.settler(ctx, by)
	if err != nil {
		return Elevation{}, err
	}
	return Elevation{Elevated: m.elevated(s.Now()), Methods: m.methods()}, nil
}

// ElevateByPassword elevates the caller's session, where no app is enrolled. A cookie gets the token that is returned. It reports
// ErrWrongPassword, ErrMethodUnavailable and session.ErrInvalid: wrong proofs count as failed sign-ins, and the last of ElevationTries in a row ends the session.
func (s *Service) ElevateByPassword(ctx context.Context, by access.Caller, password secret.String) (secret.String, error) {
	m, err := s.settler(ctx, by)
	if err != nil {
		return secret.String{}, err
	}
	if m.set.TOTP != nil || m.managed() {
		return secret.String{}, ErrMethodUnavailable
	}
	err = s.proveAgain(ctx, by, m.user, password)
	var failed *Failed
	if errors.As(err, &failed) {
		if !failed.unseen {
			_, err = s.Sessions.Miss(ctx, by, s.ElevationTries)
		} else {
			err = nil
		}
		return secret.String{}, errors.Join(ErrWrongPassword, err)
	}
	if err != nil {
		return secret.String{}, err
	}
	return s.elevate(ctx, by)
}

func (s *Service) elevate(ctx context.Context, by access.Caller) (secret.String, error) {
	token, _, err := s.Sessions.Elevate(ctx, by, s.ElevationFor)
	return token, err
}

// ElevateByTOTP elevates the caller's session with a code of the app, as ElevateByPassword does. It reports factor.ErrWrongCode and ErrMethodUnavailable.
func (s *Service) ElevateByTOTP(ctx context.Context, by access.Caller, code secret.String) (secret.String, error) {
	begun := s.Now()
	m, err := s.settler(ctx, by)
	if err != nil {
		return secret.String{}, err
	}
	if m.set.TOTP == nil {
		return secret.String{}, ErrMethodUnavailable
	}
	err = s.Second.Confirm(ctx, by.ID, factor.Answer{Kind: factor.TOTP, Code: code}, s.confirmed(by, factor.TOTP))
	if err != nil {
		return secret.String{}, s.unconfirmed(ctx, by, m.user, factor.TOTP, err, begun)
	}
	return s.elevate(ctx, by)
}

// ElevateByRecovery elevates the caller's session with a recovery code, and returns the recovery key that replaces the one there was.
func (s *Service) ElevateByRecovery(ctx context.Context, by access.Caller, code secret.String) (token, recovery secret.String, err error) {
	begun := s.Now()
	m, err := s.settler(ctx, by)
	if err != nil {
		return token, recovery, err
	}
	if m.set.TOTP == nil {
		return token, recovery, ErrMethodUnavailable
	}
	recovery, err = s.Second.Replace(ctx, by.ID, code, s.confirmed(by, factor.Recovery))
	if err != nil {
		return token, recovery, s.unconfirmed(ctx, by, m.user, factor.Recovery, err, begun)
	}
	token, err = s.elevate(ctx, by)
	return token, recovery, err
}

// confirmed is the event of a right code of somebody who is signed in.
func (s *Service) confirmed(by access.Caller, kind factor.Kind) audit.Event {
	return by.Event(s.Now(), actionLogin+access.Action(kind), userOf(by.ID), audit.Done)
}

// unconfirmed counts a wrong code of somebody who is signed in, for their name and in their session, and answers factor.ErrWrongCode. What is no wrong code it
// returns as it is.
func (s *Service) unconfirmed(ctx context.Context, by access.Caller, u identity.User, kind factor.Kind, err error, begun time.Time) error {
	var miss *factor.Miss
	if errors.Is(err, factor.ErrNotEnrolled) {
		return ErrMethodUnavailable
	}
	if !errors.As(err, &miss) {
		return err
	}
	name, err := s.nameOf(ctx, by, u)
	if err != nil {
		return err
	}
	after, err := s.Lockout.Fail(ctx, guard.Who{Name: name, Address: by.Address})
	if err != nil {
		return err
	}
	answer := error(factor.ErrWrongCode)
	if by.Session != "" {
		if _, err := s.Sessions.Miss(ctx, by, s.ElevationTries); err != nil {
			answer = errors.Join(answer, err)
		}
	}
	p := Presented{Kind: Kind(kind), Address: by.Address, Door: by.Door, Request: by.Request}
	return s.tell(ctx, p, begun, &Wrong{Reason: miss.Reason, Who: by.Principal}, after, answer)
}

// UnlockSettings opens the settings of second factors for a while: the password alone does. A cookie gets the token that is returned. A wrong
// password is a *Failed; who has none gets ErrForbidden.
func (s *Service) UnlockSettings(ctx context.Context, by access.Caller, password secret.String) (secret.String, error) {
	m, err := s.settler(ctx, by)
	if err != nil {
		return secret.String{}, err
	}
	if m.user.PasswordHash == "" {
		return secret.String{}, ErrForbidden
	}
	if err := s.proveAgain(ctx, by, m.user, password); err != nil {
		return secret.String{}, err
	}
	token, _, err := s.Sessions.Unlock(ctx, by, s.UnlockFor)
	return token, err
}

// LockSettings shuts them again.
func (s *Service) LockSettings(ctx context.Context, by access.Caller) error {
	if by.Kind != access.User {
		return ErrForbidden
	}
	return s.Sessions.Lock(ctx, by)
}
