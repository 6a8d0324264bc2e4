package login

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The faults of enrolment.
var (
	ErrManaged = fault.New(fault.Conflict, "Two-step verification is left to your identity provider.")
	ErrOneself = fault.New(fault.Denied, "nobody does that to themselves")
)

// Factors returns what the caller has enrolled.
func (s *Service) Factors(ctx context.Context, by access.Caller) (factor.Set, error) {
	if err := s.Access.Require(ctx, by, access.FactorRead, userOf(by.ID)); err != nil {
		return factor.Set{}, err
	}
	return s.Second.Of(ctx, by.ID)
}

// Managed says that an identity provider looks after the caller: the session came from one, or no password opens the user.
func (s *Service) Managed(ctx context.Context, by access.Caller) (bool, error) {
	u, err := s.self(ctx, by)
	if err != nil || u.PasswordHash == "" || by.Session == "" {
		return u.PasswordHash == "", err
	}
	x, err := s.Sessions.Own(ctx, by)
	return x.Provider != "", err
}

// elevatedFor loads who calls for a change of the app, and lets the elevation last on. What they may do to themselves is asked of access as well.
func (s *Service) elevatedFor(ctx context.Context, by access.Caller, do access.Action) (settler, error) {
	m, err := s.settler(ctx, by)
	if err != nil {
		return m, err
	}
	return m, s.stayElevated(ctx, by, m, do)
}

// unmanagedFor is elevatedFor for what is refused to whom a provider looks after, before anything else is asked of them: they might have no way to elevate.
func (s *Service) unmanagedFor(ctx context.Context, by access.Caller, do access.Action) (settler, error) {
	m, err := s.settler(ctx, by)
	if err != nil {
		return m, err
	}
	if m.managed() {
		return m, ErrManaged
	}
	return m, s.stayElevated(ctx, by, m, do)
}

func (s *Service) stayElevated(ctx context.Context, by access.Caller, m settler, do access.Action) error {
	if err := s.Access.Require(ctx, by, do, userOf(by.ID)); err != nil {
		return err
	}
	if !m.elevated(s.Now()) { // rule F14
		return &NotElevated{Methods: m.methods()}
	}
	return s.Sessions.Extend(ctx, by, s.ElevationFor)
}

// change is a change of the caller's own second factors that ends their other sessions.
func (s *Service) change(by access.Caller, do access.Action, what factor.Kind) factor.Change {
	e := by.Event(s.Now(), do, userOf(by.ID), audit.Done).With("factor", string(what))
	e.Object.Name = by.Name
	return factor.Change{Events: []audit.Event{e}, End: identity.Ending{Sessions: true, Except: by.Session}}
}

// changed drops what this node remembers of the sessions that a change of second factors ended.
func (s *Service) changed(user string, err error) error {
	s.Sessions.ForgetPrincipal(user) // also after an error: the store may have gone away just behind the commit
	return err
}

func (m settler) conversation(p factor.Purpose) factor.Conversation {
	return factor.Conversation{Purpose: p, User: m.user.ID, Session: m.session.ID, Name: m.session.Login, Stamp: m.user.PasswordHash}
}

// StartVoluntary begins to set up a TOTP app. It needs elevation, as all of the following do, and reports *NotElevated, ErrManaged and factor.ErrEnrolled.
func (s *Service) StartVoluntary(ctx context.Context, by access.Caller) (factor.Enrolment, error) {
	m, err := s.unmanagedFor(ctx, by, access.FactorEnrol)
	if err != nil {
		return factor.Enrolment{}, err
	}
	if m.set.TOTP != nil {
		return factor.Enrolment{}, factor.ErrEnrolled
	}
	return s.Second.StartEnrolment(ctx, m.conversation(factor.Voluntary), m.user.Name)
}

// CompleteVoluntary stores the app if the code is its. The user's other sessions end; a cookie gets another token. A wrong code is
// a *Failed. It reports factor.ErrNoConversation too.
func (s *Service) CompleteVoluntary(ctx context.Context, by access.Caller, conversation, code secret.String) (Signed, error) {
	m, err := s.elevatedFor(ctx, by, access.FactorEnrol)
	if err != nil {
		return Signed{}, err
	}
	if m.set.TOTP != nil {
		return Signed{}, factor.ErrEnrolled
	}
	recovery, err := s.finish(ctx, by, m, factor.KeyOf(conversation, factor.Voluntary), code)
	if err != nil {
		return Signed{}, err
	}
	signed, err := s.raised(ctx, by, m, true)
	signed.Recovery = recovery
	return signed, err
}

// raised is what becomes of a session whose holder has enrolled a second factor.
func (s *Service) raised(ctx context.Context, by access.Caller, m settler, first bool) (Signed, error) {
	if m.session.State == session.EnrolOnly { // the sign-in is complete now
		if err := s.forget(ctx, m.session.Login, Presented{Address: by.Address}); err != nil {
			return Signed{}, err
		}
	}
	token, x, err := s.Sessions.Enrolled(ctx, by, first)
	return Signed{Token: token, Session: x, Caller: x.Caller(by.Address, by.Door, by.Request), Target: "/"}, err
}

// finish ends an enrolment in a session, and counts a wrong code.
func (s *Service) finish(ctx context.Context, by access.Caller, m settler, k factor.Key, code secret.String) (secret.String, error) {
	begun := s.Now()
	recovery, _, err := s.Second.FinishEnrolment(ctx, k, code, m.session.ID, func(factor.Conversation) factor.Change {
		return s.change(by, access.FactorEnrol, factor.TOTP)
	})
	var miss *factor.Miss
	if errors.As(err, &miss) {
		p := Presented{Kind: Kind(factor.TOTP), Address: by.Address, Door: by.Door, Request: by.Request}
		return secret.String{}, s.missed(ctx, p, by.Principal, miss.Conversation.Name, miss, begun)
	}
	return recovery, s.changed(by.ID, err)
}

// StartUpdate begins to change the TOTP app; the old one works until the end. It reports ErrManaged and factor.ErrNotEnrolled.
func (s *Service) StartUpdate(ctx context.Context, by access.Caller) (factor.Enrolment, error) {
	m, err := s.unmanagedFor(ctx, by, access.FactorEnrol)
	if err != nil {
		return factor.Enrolment{}, err
	}
	if m.set.TOTP == nil {
		return factor.Enrolment{}, factor.ErrNotEnrolled
	}
	return s.Second.StartEnrolment(ctx, m.conversation(factor.Update), m.user.Name)
}

// CompleteUpdate changes the app if the code is the new one's, as CompleteVoluntary does.
func (s *Service) CompleteUpdate(ctx context.Context, by access.Caller, conversation, code secret.String) error {
	m, err := s.elevatedFor(ctx, by, access.FactorEnrol)
	if err != nil {
		return err
	}
	if m.set.TOTP == nil {
		return factor.ErrNotEnrolled
	}
	_, err = s.finish(ctx, by, m, factor.KeyOf(conversation, factor.Update), code)
	return err
}

// RotateRecovery replaces the recovery key of the app. It reports factor.ErrNotEnrolled.
func (s *Service) RotateRecovery(ctx context.Context, by access.Caller) (secret.String, error) {
	if _, err := s.elevatedFor(ctx, by, access.FactorCodes); err != nil {
		return secret.String{}, err
	}
	key, err := s.Second.RotateKey(ctx, by.ID, s.change(by, access.FactorCodes, factor.Recovery))
	return key, s.changed(by.ID, err)
}

// Unenrol takes the app and its recovery key away, whoever demands one: the next sign-in asks for an enrolment then. It reports factor.ErrNotEnrolled.
func (s *Service) Unenrol(ctx context.Context, by access.Caller) error {
	if _, err := s.elevatedFor(ctx, by, access.FactorRemove); err != nil {
		return err
	}
	return s.changed(by.ID, s.Second.RemoveTOTP(ctx, by.ID, s.change(by, access.FactorRemove, factor.TOTP)))
}

// UnenrolOther takes another user's app away: an administrator does, and proves their own app. It reports, in this order, a
// Denied fault (no right, or less than the other has), ErrOneself, factor.ErrWrongCode, identity.ErrUnknown, factor.ErrNotEnrolled.
func (s *Service) UnenrolOther(ctx context.Context, by access.Caller, userName string, code secret.String) error {
	begun := s.Now()
	if by.Kind != access.User {
		return ErrForbidden
	}
	if err := s.Access.Require(ctx, by, access.FactorReset, access.Resource{Kind: access.UserKind}); err != nil {
		return err
	}
	them, unknown := s.Users.ForLogin(ctx, userName)
	if unknown != nil && !fault.Is(unknown, fault.NotFound) {
		return unknown
	}
	if unknown == nil {
		if err := s.notAbove(ctx, by, them.ID); err != nil {
			return err
		}
		if them.ID == by.ID {
			return ErrOneself
		}
	}
	if err := s.ownCode(ctx, by, code, begun); err != nil {
		return err
	}
	if unknown != nil {
		return unknown
	}
	return s.changed(them.ID, s.Second.RemoveTOTP(ctx, them.ID, s.taken(by, them, access.FactorReset, factor.TOTP)))
}

// ownCode checks a code of the caller's own app. Who has none cannot give one.
func (s *Service) ownCode(ctx context.Context, by access.Caller, code secret.String, begun time.Time) error {
	me, err := s.self(ctx, by)
	if err != nil {
		return err
	}
	err = s.Second.Confirm(ctx, by.ID, factor.Answer{Kind: factor.TOTP, Code: code}, s.confirmed(by, factor.TOTP))
	if errors.Is(err, factor.ErrNotEnrolled) {
		return factor.ErrWrongCode
	}
	if err != nil {
		return s.unconfirmed(ctx, by, me, factor.TOTP, err, begun)
	}
	return nil
}

// taken is a change of somebody else's second factors, which ends all of their sessions.
func (s *Service) taken(by access.Caller, from identity.User, do access.Action, what factor.Kind) factor.Change {
	e := by.Event(s.Now(), do, userOf(from.ID), audit.Done)
	e.Object.Name = from.Name
	if what != "" {
		e = e.With("factor", string(what))
	}
	return factor.Change{Events: []audit.Event{e}, End: identity.Ending{Sessions: true}}
}

// notAbove refuses a caller who stands below the user on the installation: only a system administrator touches one.
func (s *Service) notAbove(ctx context.Context, by access.Caller, user string) error {
	above, err := s.Access.Outranks(ctx, user, by)
	if err == nil && above {
		err = ErrForbidden
	}
	return err
}
