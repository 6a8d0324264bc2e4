package login

import (
	"context"
	"errors"
	"slices"
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

// The faults of second factors.
var (
	ErrNothingPending = fault.New(fault.Conflict, "no second factor pending")
	// ErrUseLoginPage says that the user has security keys alone, which a conversation of codes cannot ask for.
	ErrUseLoginPage = fault.New(fault.Unauthenticated, "Sign in on the Gatehouse login page.")
	ErrForbidden    = fault.New(fault.Denied, "This operation is forbidden")
)

// Of whom a second factor is demanded.
const (
	DemandNone   = "none"
	DemandAdmins = "system-admins"
	DemandAll    = "all"
)

// wait is what stands between a first factor and a session.
type wait int

const (
	forNothing wait = iota
	forProof
	forEnrolment
)

// waits says what a first factor waits for. Programs never wait; nor do those for whom a provider vouches that asks for a second factor itself, unless
// MFAAfterSSO is set. Whom a provider looks after need not enrol.
func (s *Service) waits(ctx context.Context, of Proof) (wait, factor.Set, error) {
	who := of.Caller.Principal
	federated := of.Caller.Method == string(OIDC) || of.Caller.Method == string(SAML)
	if who.Kind != access.User || federated && !s.MFAAfterSSO {
		return forNothing, factor.Set{}, nil
	}
	set, err := s.Second.Of(ctx, who.ID)
	switch {
	case err != nil:
		return forProof, set, err
	case set.Enrolled():
		return forProof, set, nil
	case of.Provider != "":
		return forNothing, set, nil
	}
	demanded, err := s.demanded(ctx, who.ID)
	if err != nil || demanded {
		return forEnrolment, set, err
	}
	return forNothing, set, nil
}

// demanded says whether the user must have a second factor: the installation demands it, or an account that the user belongs to.
func (s *Service) demanded(ctx context.Context, user string) (bool, error) {
	if s.Enforcement == DemandAll {
		return true, nil
	}
	if s.Enforcement == DemandAdmins {
		top, err := s.Access.Holds(ctx, access.Subject{Kind: access.User, ID: user}, access.SysAdmin, access.Installation)
		if top || err != nil {
			return top, err
		}
	}
	return s.Accounts.Demands(ctx, user)
}

// alone is a method whose proof comes with every request, where nobody can be asked for a second factor.
type alone struct {
	Method
	s *Service
}

// Prove implements Method. A right password that may not open anything is as wrong as any, and is counted so: nobody learns here that it is right.
func (m alone) Prove(ctx context.Context, p Presented) (Proof, error) {
	proof, err := m.Method.Prove(ctx, p)
	if err != nil || !m.s.RefuseEnrolledBasic {
		return proof, err
	}
	w, _, err := m.s.waits(ctx, proof)
	if err != nil {
		return Proof{}, err
	}
	if w != forNothing {
		return Proof{}, &Wrong{Reason: "the user has a second factor, or must have one, and none can be asked for here", Who: proof.Caller.Principal}
	}
	return proof, nil
}

// admit begins what a right first factor opens: a session, or what waits for the second one. begun is when the sign-in began.
func (s *Service) admit(ctx context.Context, p Presented, got passed, in Begin, begun time.Time) (Signed, error) {
	w, set, err := s.waits(ctx, got.Proof)
	if err != nil {
		return Signed{}, err
	}
	if got.who.Name == "" && got.Caller.Kind == access.User {
		got.who.Name = identity.Login(got.Caller.Name) // a provider vouched: wrong second factors count for somebody all the same
	}
	c := factor.Conversation{
		Purpose: factor.SignIn, User: got.Caller.ID, Name: got.who.Name, Method: got.Caller.Method, Stamp: got.Stamp, Provider: got.Provider,
		ProviderSession: got.ProviderSession, Until: got.Until, Target: s.SafeTarget(in.Target),
	}
	switch {
	case w == forNothing:
		return s.open(ctx, p, got, in, begun)
	case in.Talk:
		return s.talk(ctx, w, c, set)
	case w == forEnrolment:
		signed, err := s.start(ctx, p, got, session.EnrolOnly, in, begun)
		signed.Pending = &Pending{Enrol: true}
		return signed, err
	}
	signed, err := s.start(ctx, p, got, session.Pending, in, begun)
	if err != nil {
		return Signed{}, err
	}
	c.Session = signed.Session.ID
	_, c, err = s.Second.Begin(ctx, c)
	if err != nil {
		return Signed{}, err
	}
	signed.Pending = s.asks(c, set)
	return signed, nil
}

// talk begins a conversation in place of a session.
func (s *Service) talk(ctx context.Context, w wait, c factor.Conversation, set factor.Set) (Signed, error) {
	if w == forProof && set.TOTP == nil { // also where enrolment is demanded: a password alone adds no factor to those there are
		return Signed{}, ErrUseLoginPage
	}
	if w == forEnrolment {
		c.Purpose = factor.Enforced
	}
	token, _, err := s.Second.Begin(ctx, c)
	if err != nil {
		return Signed{}, err
	}
	pending := &Pending{Enrol: w == forEnrolment, Conversation: token}
	if !pending.Enrol {
		pending.Allowed = allowed(set)
	}
	return Signed{Target: c.Target, Pending: pending}, nil
}

func (s *Service) asks(c factor.Conversation, set factor.Set) *Pending {
	ask := s.Second.Ask(c, set)
	return &Pending{Challenge: &ask, Allowed: allowed(set)}
}

// allowed lists what may prove a second factor.
func allowed(set factor.Set) []factor.Kind {
	var kinds []factor.Kind
	if len(set.Devices) > 0 {
		kinds = append(kinds, factor.FIDO2)
	}
	if set.TOTP != nil {
		kinds = append(kinds, factor.TOTP)
	}
	if slices.ContainsFunc(set.Codes, func(c factor.Code) bool { return c.Used.IsZero() }) {
		kinds = append(kinds, factor.Recovery)
	}
	return kinds
}

// open begins the session of a complete sign-in.
func (s *Service) open(ctx context.Context, p Presented, got passed, in Begin, begun time.Time) (Signed, error) {
	if err := s.Lockout.Succeed(ctx, got.who, got.before); err != nil {
		return Signed{}, err
	}
	return s.start(ctx, p, got, session.Active, in, begun)
}

func (s *Service) start(ctx context.Context, p Presented, of passed, state session.State, in Begin, begun time.Time) (Signed, error) {
	begins := session.New{
		State: state, Transport: in.Transport, UserAgent: in.UserAgent, Stamp: of.Stamp, Provider: of.Provider, Certificate: of.Certificate,
		Login: of.who.Name, ProviderSession: of.ProviderSession, Until: of.Until,
	}
	if in.Elevated && state == session.EnrolOnly {
		begins.Elevated = s.ElevationFor
	}
	token, x, err := s.Sessions.Start(ctx, of.Caller, begins)
	if errors.Is(err, session.ErrChanged) { // shut out, or given another password, between the check and the session
		return Signed{}, s.answer(ctx, p, begun, &Wrong{Reason: "the principal changed while it signed in", Who: of.Caller.Principal}, guard.Standing{})
	}
	if err != nil {
		return Signed{}, err
	}
	signed := Signed{Token: token, Session: x, Caller: x.Caller(p.Address, p.Door, p.Request), Target: s.SafeTarget(in.Target)}
	if gone, err := s.goneThere(ctx, of.Proof); gone || err != nil {
		if err = errors.Join(err, s.Sessions.Terminate(ctx, signed.Caller)); err != nil {
			return Signed{}, err
		}
		return Signed{}, s.answer(ctx, p, begun, &Wrong{Reason: "the identity provider ended the session there meanwhile", Who: of.Caller.Principal}, guard.Standing{})
	}
	return signed, nil
}

// forget lets the failures of a name be forgotten, whose sign-in is complete.
func (s *Service) forget(ctx context.Context, name string, p Presented) error {
	who := guard.Who{Name: name, Address: p.Address}
	before, err := s.Lockout.Stands(ctx, who)
	if err != nil {
		return err
	}
	return s.Lockout.Succeed(ctx, who, before)
}

// Complete proves the second factor that the caller's session waits for: the session is active then. A bearer keeps its token, a cookie
// gets the one that is returned (rule F11). What is wrong is a *Failed; the last try ends the session. It reports ErrNothingPending.
func (s *Service) Complete(ctx context.Context, by access.Caller, a factor.Answer) (Signed, error) {
	begun := s.Now()
	x, err := s.Sessions.Own(ctx, by)
	if err != nil {
		return Signed{}, err
	}
	if x.State != session.Pending {
		return Signed{}, ErrNothingPending
	}
	p := Presented{Kind: Kind(a.Kind), Address: by.Address, Door: by.Door, Request: by.Request}
	by.Principal = x.Principal
	c, err := s.Second.Prove(ctx, factor.Key{Session: x.ID, Purpose: factor.SignIn}, a, s.proved(by, p))
	var miss *factor.Miss
	switch {
	case errors.As(err, &miss):
		var ended error
		if miss.Left == 0 { // rule F7
			ended = s.Sessions.Terminate(ctx, by)
		}
		return Signed{}, errors.Join(s.missed(ctx, p, by.Principal, miss.Conversation.Name, miss, begun), ended)
	case errors.Is(err, factor.ErrNoConversation): // somebody else was quicker with the same token
		return Signed{}, ErrNothingPending
	case err != nil:
		return Signed{}, err
	}
	if err := s.forget(ctx, c.Name, p); err != nil {
		return Signed{}, err
	}
	token, x, err := s.Sessions.Complete(ctx, by)
	if err != nil {
		return Signed{}, err
	}
	s.count(p.Kind, "ok")
	return Signed{Token: token, Session: x, Caller: x.Caller(by.Address, by.Door, by.Request), Target: c.Target}, nil
}

// proved makes the event of a right second factor.
func (s *Service) proved(by access.Caller, p Presented) func(factor.Conversation) audit.Event {
	return func(factor.Conversation) audit.Event {
		return by.Event(s.Now(), actionLogin+access.Action(p.Kind), userOf(by.ID), audit.Done)
	}
}

func userOf(id string) access.Resource { return access.Resource{Kind: access.UserKind, ID: id} }

// missed counts a wrong second factor as a failed sign-in of the name, and answers as for a wrong first one (rule F7).
func (s *Service) missed(ctx context.Context, p Presented, who access.Principal, name string, miss *factor.Miss, begun time.Time) error {
	after, err := s.Lockout.Fail(ctx, guard.Who{Name: name, Address: p.Address})
	if err != nil {
		return err
	}
	return s.answer(ctx, p, begun, &Wrong{Reason: miss.Reason, Who: who}, after)
}

// Challenge says what the caller's session waits for. It reports ErrNothingPending.
func (s *Service) Challenge(ctx context.Context, by access.Caller) (Pending, error) {
	x, err := s.Sessions.Own(ctx, by)
	if err != nil {
		return Pending{}, err
	}
	switch x.State {
	case session.EnrolOnly:
		return Pending{Enrol: true}, nil
	case session.Pending:
	default:
		return Pending{}, ErrNothingPending
	}
	c, err := s.Second.Find(ctx, factor.Key{Session: x.ID, Purpose: factor.SignIn})
	if errors.Is(err, factor.ErrNoConversation) {
		return Pending{}, ErrNothingPending
	}
	if err != nil {
		return Pending{}, err
	}
	set, err := s.Second.Of(ctx, x.Principal.ID)
	if err != nil {
		return Pending{}, err
	}
	return *s.asks(c, set), nil
}

// Continue proves the second factor that a conversation waits for, and begins the session. What is wrong is a *Failed. It reports
// factor.ErrNoConversation.
func (s *Service) Continue(ctx context.Context, conversation secret.String, a factor.Answer, p Presented, in Begin) (Signed, error) {
	begun := s.Now()
	p.Kind = Kind(a.Kind)
	k := factor.KeyOf(conversation, factor.SignIn)
	c, by, err := s.talker(ctx, k, p)
	if err != nil {
		return Signed{}, err
	}
	_, err = s.Second.Prove(ctx, k, a, s.proved(by, p))
	var miss *factor.Miss
	if errors.As(err, &miss) {
		return Signed{}, s.missed(ctx, p, by.Principal, c.Name, miss, begun)
	}
	if err != nil {
		return Signed{}, err
	}
	return s.conclude(ctx, p, c, by, in, begun)
}

// talker loads a conversation that belongs to no session, and whom it is about, who must still be able to sign in.
func (s *Service) talker(ctx context.Context, k factor.Key, p Presented) (factor.Conversation, access.Caller, error) {
	c, err := s.Second.Find(ctx, k)
	if err != nil {
		return c, access.Caller{}, err
	}
	if c.Session != "" {
		return c, access.Caller{}, factor.ErrNoConversation
	}
	u, err := s.user(ctx, c.User)
	if fault.Is(err, fault.NotFound) || err == nil && u.Shut() { // rule F12
		err = factor.ErrNoConversation
	}
	by := s.caller(p, access.Principal{Kind: access.User, ID: u.ID, Name: u.Name})
	by.Method = c.Method
	return c, by, err
}

// user loads anybody.
func (s *Service) user(ctx context.Context, id string) (identity.User, error) {
	return s.Users.ByID(ctx, s.Access.For(access.SystemCaller(s.Now())), id)
}

// conclude begins the session that a conversation was about.
func (s *Service) conclude(ctx context.Context, p Presented, c factor.Conversation, by access.Caller, in Begin, begun time.Time) (Signed, error) {
	if err := s.forget(ctx, c.Name, p); err != nil {
		return Signed{}, err
	}
	in.Target = c.Target
	by.At = s.Now()
	proof := Proof{Caller: by, Stamp: c.Stamp, Provider: c.Provider, ProviderSession: c.ProviderSession, Until: c.Until}
	of := passed{Proof: proof, who: guard.Who{Name: c.Name}}
	signed, err := s.start(ctx, p, of, session.Active, in, begun)
	if err == nil {
		s.count(p.Kind, "ok")
	}
	return signed, err
}

// StartEnforced begins the enrolment that a conversation waits for; again with the same secret. It reports factor.ErrNoConversation.
func (s *Service) StartEnforced(ctx context.Context, conversation secret.String) (factor.Enrolment, error) {
	k := factor.KeyOf(conversation, factor.Enforced)
	_, by, err := s.talker(ctx, k, Presented{})
	if err != nil {
		return factor.Enrolment{}, err
	}
	e, err := s.Second.StartEnforced(ctx, k, by.Name)
	e.Token = conversation
	return e, err
}

// CompleteEnforced ends that enrolment with a code of the new app, and begins the session. A wrong code is a *Failed. It reports
// factor.ErrNoConversation, also before StartEnforced.
func (s *Service) CompleteEnforced(ctx context.Context, conversation, code secret.String, p Presented, in Begin) (Signed, error) {
	begun := s.Now()
	p.Kind = Kind(factor.TOTP)
	k := factor.KeyOf(conversation, factor.Enforced)
	c, by, err := s.talker(ctx, k, p)
	if err != nil {
		return Signed{}, err
	}
	recovery, _, err := s.Second.FinishEnrolment(ctx, k, code, "", func(factor.Conversation) factor.Change {
		e := by.Event(s.Now(), access.FactorEnrol, userOf(by.ID), audit.Done).With("factor", string(factor.TOTP))
		return factor.Change{Events: []audit.Event{e}, End: identity.Ending{Sessions: true}}
	})
	var miss *factor.Miss
	if errors.As(err, &miss) {
		return Signed{}, s.missed(ctx, p, by.Principal, c.Name, miss, begun)
	}
	if err != nil {
		return Signed{}, err
	}
	s.Sessions.ForgetPrincipal(by.ID)
	signed, err := s.conclude(ctx, p, c, by, in, begun)
	signed.Recovery = recovery
	return signed, err
}
