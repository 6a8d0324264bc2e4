package login

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Landing is where a browser goes that comes back from a provider.
type Landing struct {
	Finish  secret.String // of a browser's flow: what Finish takes, for two minutes, once
	Program bool          // a program began it, and the program finishes it: here nothing was opened
}

// Land takes what a provider sent back by way of a browser. A browser's flow is checked with the provider, and waits for Finish; a program's
// is left to SignIn: its code is tied to the flow, its assertion not even read. It reports ErrNoFlow for what nobody began, and ErrFailed for what is
// wrong; then the flow is over. Both have their reason on record.
func (s *Service) Land(ctx context.Context, kind identity.ProviderKind, back Return, p Presented) (Landing, error) {
	there := s.Federations[kind]
	if there == nil {
		return Landing{}, ErrNoFlow
	}
	p.Kind = Kind(kind)
	back.State = there.StateOf(back)
	if back.State == "" && kind == identity.SAML {
		return Landing{Program: true}, nil // nobody asked: whether the provider may do that is for SignIn to see
	}
	f, err := s.Flows.ByState(ctx, back.State, s.Now())
	if err != nil {
		return Landing{}, s.lost(ctx, p, err)
	}
	if !f.Browser.Empty() {
		l, err := s.landBrowser(ctx, there, kind, f, back, p)
		return l, s.lost(ctx, p, err)
	}
	if kind == identity.OIDC && back.Code != "" && back.Refused == "" {
		_, err = s.Flows.TieCode(ctx, back.State, back.Code, s.Now())
	}
	return Landing{Program: true}, s.lost(ctx, p, err)
}

// lost records an ErrNoFlow: somebody came with what nobody began, what is over, or what another browser began. Other errors pass.
func (s *Service) lost(ctx context.Context, p Presented, err error) error {
	if !errors.Is(err, ErrNoFlow) {
		return err
	}
	s.count(p.Kind, "failed")
	return errors.Join(err, s.recordWrong(ctx, p, &Wrong{Reason: "no such sign-in is under way, or another browser began it"}, guard.Standing{}))
}

func (s *Service) landBrowser(ctx context.Context, there Federation, kind identity.ProviderKind, f Flow, back Return, p Presented) (Landing, error) {
	to, err := s.Providers.Store.ByID(ctx, f.Provider)
	if err != nil {
		return Landing{}, err
	}
	if to.Kind != kind { // a state of one kind of provider at the door of the other
		return Landing{}, ErrNoFlow
	}
	f.Visitor, err = s.visit(ctx, there, to, &f, back)
	var wrong *Wrong
	if errors.As(err, &wrong) {
		if !wrong.again { // else it is for whoever came first, who may not be done yet
			if _, gone := s.Flows.Take(ctx, f.ID, s.Now()); gone != nil && !fault.Is(gone, fault.NotFound) {
				err = errors.Join(err, gone)
			}
		}
		return Landing{}, s.disclosed(ctx, p, err)
	}
	if err != nil {
		return Landing{}, err
	}
	now := s.Now()
	f.Finish, f.Expires = secret.New(secret.Token(32)), now.Add(finishLife)
	if err := s.Flows.Answered(ctx, f, now); err != nil {
		return Landing{}, err
	}
	return Landing{Finish: f.Finish}, nil
}

// visit has the provider's answer checked. What may be used once is used up by it, right or wrong: a code before it goes anywhere,
// the rest before anybody hears who came (rules F2 and F5).
func (s *Service) visit(ctx context.Context, there Federation, to identity.Provider, f *Flow, back Return) (identity.Visitor, error) {
	v, err := s.judge(ctx, there, to, f, back)
	return v, named(to, err)
}

func (s *Service) judge(ctx context.Context, there Federation, to identity.Provider, f *Flow, back Return) (identity.Visitor, error) {
	none := identity.Visitor{}
	if !to.Enabled {
		return none, &Wrong{Reason: "the identity provider is disabled"}
	}
	if why := to.Settings.Unsupported; why != "" {
		return none, &Wrong{Reason: "nobody can sign in by the identity provider: " + why}
	}
	if f != nil && f.Provider != to.ID {
		return none, &Wrong{Reason: "the sign-in was begun at another identity provider"}
	}
	if back.Code != "" {
		sum := sha256.Sum256([]byte(back.Code))
		if err := s.use(ctx, Once{Key: "try of code " + to.ID + " " + hex.EncodeToString(sum[:]), Until: s.Now().Add(flowLife)}); err != nil {
			return none, err
		}
	}
	v, once, err := there.Arrive(ctx, to, f, back)
	for _, o := range once {
		if usedErr := s.use(ctx, o); usedErr != nil && err == nil {
			err = usedErr
		}
	}
	if err != nil {
		return none, err
	}
	return v, nil
}

// use reports a *Wrong for what was used before.
func (s *Service) use(ctx context.Context, o Once) error {
	used, err := s.used(ctx, o)
	if err == nil && used {
		err = &Wrong{Reason: "it was used before", again: true}
	}
	return err
}

func (s *Service) used(ctx context.Context, o Once) (bool, error) {
	first, err := s.Once.Use(ctx, o.Key, o.Until, s.Now())
	if err != nil {
		return false, fmt.Errorf("note use: %w", err)
	}
	return !first, nil
}

// Finish opens the session of a browser whose provider's answer Land has checked. browser is its pre-login cookie: without the one that
// began the flow it reports ErrNoFlow, and the flow stays for who has it. What is wrong is a *Failed, as in SignIn.
func (s *Service) Finish(ctx context.Context, finish, browser secret.String, p Presented, in Begin) (Signed, error) {
	if finish.Empty() || browser.Empty() {
		return Signed{}, s.lost(ctx, p, ErrNoFlow)
	}
	f, err := s.Flows.TakeFinished(ctx, finish.Reveal(), browser.Reveal(), s.Now())
	if err != nil {
		return Signed{}, s.lost(ctx, p, err)
	}
	to, err := s.Providers.Store.ByID(ctx, f.Provider)
	if fault.Is(err, fault.NotFound) {
		err = ErrNoFlow
	}
	if err != nil {
		return Signed{}, err
	}
	p.Kind, p.Accepts, p.Provider, p.landed = Kind(to.Kind), []Kind{Kind(to.Kind)}, to.Handle, &f
	p.Name, p.Secret, p.State = "", secret.String{}, ""
	in.Target = f.Target
	return s.SignIn(ctx, p, in)
}

// SweepFlows removes flows that are long over every so often until ctx ends. Nothing depends on it but space.
func SweepFlows(ctx context.Context, flows FlowStore, now func() time.Time, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = flows.Sweep(ctx, now().Add(-flowLife)) // the next tick tries again
		}
	}
}
