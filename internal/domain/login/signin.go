package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// Method is one way to prove who somebody is.
type Method interface {
	// Prove looks at what was presented. What is wrong is a *Wrong with the true reason; other errors mean
	// that nobody could look. It neither counts nor records, and waits for nothing: Service does.
	Prove(ctx context.Context, p Presented) (Proof, error)
}

// Proof is what a method found out.
type Proof struct {
	Caller access.Caller
	Stamp  string // the credential that was checked, as session.Store.Insert compares it

	Provider    string // id of the identity provider that vouched; empty: none
	Certificate []byte // SHA-256 of the client's certificate, to which a session is bound; nil: none

	ProviderSession string    // as in session.Session
	Until           time.Time // as in session.Session
}

// Wrong says why an attempt is refused, for the audit log alone.
type Wrong struct {
	Reason string
	Who    access.Principal // whom it was about, where they exist
	Away   bool             // whoever judges it could not be asked: that is nobody's failure, and is not counted
	unseen bool             // nothing was looked at, so nothing was counted
	unread bool             // because no right CAPTCHA came along
	again  bool             // it was used before: somebody else came with it, perhaps at this moment

	provider access.Principal // which identity provider it came from, where one is known
}

// named names the identity provider at which an attempt failed, so that the record says which of several is to be looked at. Other errors pass.
func named(to identity.Provider, err error) error {
	var wrong *Wrong
	if !errors.As(err, &wrong) || to.ID == "" {
		return err
	}
	known := *wrong
	known.provider = access.Principal{Kind: "provider", ID: to.ID, Name: to.Name}
	return &known
}

func (w *Wrong) Error() string { return ErrFailed.Text + ": " + w.Reason }

// Unwrap makes a Wrong an ErrFailed.
func (w *Wrong) Unwrap() error { return ErrFailed }

// Failed is an ErrFailed that says whether a CAPTCHA is due for the presented name, existing or not. It says the
// same whatever went wrong.
type Failed struct {
	CaptchaDue bool
	Unread     bool // nothing was looked at, as no right CAPTCHA came along
	unseen     bool // as in Wrong
}

func (f *Failed) Error() string { return ErrFailed.Text }

// Unwrap makes a Failed an ErrFailed.
func (f *Failed) Unwrap() error { return ErrFailed }

// Begin says what kind of session a sign-in asks for.
type Begin struct {
	Transport session.Transport
	UserAgent string
	Target    string // where a browser goes afterwards; what SafeTarget makes of it counts
	Talk      bool   // no session before the last factor: what waits for it is a conversation
	Elevated  bool   // who must enrol a second factor does so at once: a password that was proved just now is not asked for again
}

// Signed is a sign-in that was let in, as far as it got. While Pending is set nothing else is open yet: with Begin.Talk there is no
// session at all, otherwise one that opens its next step alone.
type Signed struct {
	Token   secret.String // shown this once; empty where the caller's bearer goes on
	Session session.Session
	Caller  access.Caller
	Target  string // a path of ours

	Pending  *Pending      // nil: complete
	Recovery secret.String // the recovery key that an enrolment made, shown this once
}

// Pending is what a sign-in waits for.
type Pending struct {
	Enrol        bool              // a second factor must be enrolled; otherwise one must be proved
	Conversation secret.String     // what names it; empty where a session does
	Challenge    *factor.Challenge // for security keys; its devices may be none
	Allowed      []factor.Kind     // what may prove it
}

// passed is a first factor that was right.
type passed struct {
	Proof
	who    guard.Who
	before guard.Standing // how things stood for who
}

// SignIn begins a session for what was presented: a password, the secret of an application or a further method. Who has a second factor, or must have
// one, gets what Signed.Pending says. It reports what Authenticate reports, and ErrUseLoginPage.
func (s *Service) SignIn(ctx context.Context, p Presented, in Begin) (Signed, error) {
	m, ok := s.method(p.Kind)
	if !ok || !slices.Contains(p.Accepts, p.Kind) {
		return Signed{}, s.refuse(ctx, p, ErrNotAccepted)
	}
	begun := s.Now()
	got, err := s.prove(ctx, p, m)
	if err != nil {
		return Signed{}, err
	}
	return s.admit(ctx, p, got, in, begun)
}

// prove runs a method behind the lock-out and answers failures late and alike. Failures that were counted before stay: only a complete
// sign-in forgets them.
func (s *Service) prove(ctx context.Context, p Presented, m Method) (passed, error) {
	if err := s.unblocked(ctx, p); err != nil {
		return passed{}, err
	}
	begun := s.Now()
	got, err := s.attempt(ctx, p, m)
	var wrong *Wrong
	switch {
	case err == nil:
		s.count(p.Kind, "ok")
		s.cameByBasic(ctx, p, got.Caller)
		return got, nil
	case errors.As(err, &wrong):
		return passed{}, s.answer(ctx, p, begun, wrong, got.before)
	case errors.Is(err, secret.ErrBusy) || fault.Is(err, fault.Limited):
		s.count(p.Kind, "busy")
	default:
		s.count(p.Kind, "error")
	}
	return passed{}, err
}

// method finds the method of a kind that begins sessions.
func (s *Service) method(of Kind) (Method, bool) {
	switch of {
	case Password:
		return passwords{s}, true
	case AppSecret:
		return appSecrets{s}, true
	case Certificate:
		return certificates{s}, true
	}
	return s.vouched(of)
}

// attempt looks at what was presented unless it must not be looked at, and counts a failure. How things stand then comes with a *Wrong too.
func (s *Service) attempt(ctx context.Context, p Presented, m Method) (passed, error) {
	who, err := s.who(ctx, p)
	if err != nil {
		return passed{}, err
	}
	leave, err := s.enter(ctx, who)
	if err != nil {
		return passed{}, err
	}
	defer leave()
	standing, err := s.stands(ctx, p, &who)
	if err != nil {
		return passed{}, err
	}
	if standing.Refused(who) { // neither hashed nor counted (rule W13)
		return passed{before: standing}, &Wrong{Reason: refusal(standing), unseen: true, unread: standing.CaptchaDue && !who.Solved}
	}
	proof, err := m.Prove(ctx, p)
	var wrong *Wrong
	if errors.As(err, &wrong) && wrong.Away {
		return passed{before: standing}, err
	}
	if errors.As(err, &wrong) {
		after, failErr := s.Lockout.Fail(ctx, who)
		return passed{before: after}, cmp.Or(failErr, err)
	}
	return passed{proof, who, standing}, err
}

// stands tells how things stand, and whether the CAPTCHA that came along is right where one is due.
func (s *Service) stands(ctx context.Context, p Presented, who *guard.Who) (guard.Standing, error) {
	standing, err := s.Lockout.Stands(ctx, *who)
	if err != nil || !standing.CaptchaDue || p.Solve == nil {
		return standing, err
	}
	if who.Solved, err = p.Solve(ctx); err != nil || !who.Solved {
		return standing, err
	}
	return s.Lockout.Stands(ctx, *who) // who has solved one waits less
}

func refusal(at guard.Standing) string {
	if at.BackOff {
		return "backing off after failures; nothing was looked at"
	}
	return "a CAPTCHA is due after failures; nothing was looked at"
}

// enter bounds how many attempts on one name are under way. What has no name needs no such bound: nobody finds
// the secret of an application, or what a provider signs, by trying.
func (s *Service) enter(ctx context.Context, who guard.Who) (func(), error) {
	if who.Name == "" || s.Gate == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.QueueWait)
	defer cancel()
	leave, err := s.Gate.Enter(ctx, who.Name)
	if err != nil {
		return nil, fault.Wrap(fault.Limited, secret.ErrBusy.Text, errors.Join(secret.ErrBusy, err))
	}
	return leave, nil
}

// answer records why an attempt failed and tells, not before its time, that it did.
func (s *Service) answer(ctx context.Context, p Presented, begun time.Time, why *Wrong, at guard.Standing) error {
	return s.tell(ctx, p, begun, why, at, &Failed{CaptchaDue: at.CaptchaDue, Unread: why.unread, unseen: why.unseen})
}

// tell is answer with an answer of the caller's choice.
func (s *Service) tell(ctx context.Context, p Presented, begun time.Time, why *Wrong, at guard.Standing, answer error) error {
	outcome := "failed"
	if at.BackOff || at.CaptchaDue {
		outcome = "refused"
	}
	s.count(p.Kind, outcome)
	if err := s.recordWrong(ctx, p, why, at); err != nil {
		answer = errors.Join(answer, fmt.Errorf("record refusal: %w", err)) // told the same, logged with the cause
	}
	s.wait(ctx, s.MinFailure-s.Now().Sub(begun))
	return answer
}

// recordWrong writes the true reason, folded with others like it. What a stranger typed as a name is not written: it
// may be a password in the wrong place.
func (s *Service) recordWrong(ctx context.Context, p Presented, why *Wrong, at guard.Standing) error {
	now := s.Now()
	about := why.Who
	if about.ID == "" {
		about = why.provider
	}
	on := access.Resource{Kind: string(about.Kind), ID: about.ID}
	if about.ID == "" {
		on = access.Resource{Kind: string(p.Kind)}
	}
	e := access.NobodyAt(p.Address, p.Door, now).Event(now, actionLogin+access.Action(p.Kind), on, audit.Refused)
	e.Actor.Name, e.Object.Name, e.Reason = why.Who.Name, about.Name, why.Reason
	if at.Locked {
		lock := access.NobodyAt(p.Address, p.Door, now).Event(now, actionLock, on, audit.Done)
		lock.Object.Name, lock.Reason = why.Who.Name, "too many failed sign-ins"
		if err := s.Audit.Record(ctx, lock); err != nil {
			return err
		}
	}
	return s.Audit.Refuse(ctx, e)
}

// actionLock records that a name, or a program at an address, has failed too often.
const actionLock access.Action = "guard.lock"

func (s *Service) count(kind Kind, outcome string) {
	if s.OnAttempt != nil {
		s.OnAttempt(kind, outcome)
	}
}

// wait lets time pass, less when the caller goes away.
func (s *Service) wait(ctx context.Context, d time.Duration) {
	switch {
	case d <= 0:
	case s.Wait != nil:
		s.Wait(ctx, d)
	default:
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}
