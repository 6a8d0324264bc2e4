package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	flowLife   = 10 * time.Minute // how long somebody may take at the provider
	finishLife = 2 * time.Minute  // and how long a browser from there to here
)

// Way is one way to sign in.
type Way struct {
	Provider  *identity.Provider // nil: by password
	Departure *Departure         // where the way leads through a browser: the flow that was begun for the program that asks
}

// Ways lists how to sign in: by password, then by each provider that is enabled, by number. What was presented is p.Name, an e-mail address of which the domain
// alone counts, or p.Account: the list is the same whether somebody of that name exists or not (rule F6). Flows are begun for programs, so they finish
// in SignIn alone. An unknown account, and an address that asks too often, is told of the password alone; a provider that cannot be asked is left out.
func (s *Service) Ways(ctx context.Context, p Presented) ([]Way, error) {
	ways := []Way{{}}
	offered, err := s.offered(ctx, p)
	if err != nil || len(offered) == 0 {
		return ways, err
	}
	blocked, err := s.departsTooOften(ctx, p)
	if err != nil || blocked {
		return ways, err
	}
	asked := make([]func() (Departure, error), len(offered))
	for i, to := range offered {
		if to.Kind != identity.LDAP {
			asked[i] = s.ask(ctx, to, Flow{})
		}
	}
	for i, to := range offered {
		w := Way{Provider: &to}
		if asked[i] != nil {
			d, err := s.keep(ctx, asked[i])
			if errors.As(err, new(*Wrong)) {
				continue // it says so in its test; others go on
			}
			if err != nil {
				return nil, err
			}
			w.Departure = &d
		}
		to.Secret = secret.String{}
		ways = append(ways, w)
	}
	return ways, nil
}

// offered lists the providers that discovery may tell of.
func (s *Service) offered(ctx context.Context, p Presented) ([]identity.Provider, error) {
	any := p.Account != ""
	if any {
		a, err := s.Accounts.Store.ByID(ctx, strings.ToLower(p.Account))
		if fault.Is(err, fault.NotFound) || err == nil && a.Disabled {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	all, err := s.Providers.Store.All(ctx)
	if err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(p.Name, "@")
	var offered []identity.Provider
	for _, to := range all {
		if to.Settings.Unsupported == "" && (any && to.Enabled || to.OffersTo(domain)) {
			offered = append(offered, to)
		}
	}
	return offered, nil
}

func (s *Service) departsTooOften(ctx context.Context, p Presented) (bool, error) {
	v, err := s.Discoveries.Fail(ctx, "departure", p.Address)
	return v.Blocked, err
}

// Depart begins a sign-in of a browser at the provider of that number and says how to get there. Departure.Flow.Browser is the pre-login cookie,
// without which nobody can finish it (rule F11). It reports identity.ErrNoProvider, also for one that is disabled or takes passwords here, ErrBlocked for an address that
// asks too often, a Denied fault that says why nobody can sign in by the provider, and ErrFailed where it cannot be asked.
func (s *Service) Depart(ctx context.Context, number int64, target string, p Presented) (Departure, error) {
	to, err := s.Providers.Store.ByNumber(ctx, number)
	if err != nil {
		return Departure{}, err
	}
	if !to.Enabled || s.Federations[to.Kind] == nil {
		return Departure{}, identity.ErrNoProvider
	}
	blocked, err := s.departsTooOften(ctx, p)
	if err != nil {
		return Departure{}, err
	}
	if blocked {
		return Departure{}, ErrBlocked
	}
	p.Kind = Kind(to.Kind)
	if to.Settings.Unsupported != "" {
		return Departure{}, s.unsupported(ctx, p, to)
	}
	d, err := s.begin(ctx, to, Flow{Browser: secret.New(secret.Token(32)), Target: s.SafeTarget(target)})
	return d, s.disclosed(ctx, p, named(to, err))
}

// unsupported refuses, on record, a provider by which nobody can sign in yet.
func (s *Service) unsupported(ctx context.Context, p Presented, to identity.Provider) error {
	s.count(p.Kind, "refused")
	return errors.Join(fault.New(fault.Denied, to.Settings.Unsupported), s.recordWrong(ctx, p, &Wrong{Reason: "nobody can sign in by identity provider " + to.Name + ": " + to.Settings.Unsupported}, guard.Standing{}))
}

// disclosed records why an outside party's word is not taken and answers plainly; other errors pass.
func (s *Service) disclosed(ctx context.Context, p Presented, err error) error {
	var wrong *Wrong
	if !errors.As(err, &wrong) {
		return err
	}
	s.count(p.Kind, "failed")
	return errors.Join(&Failed{}, s.recordWrong(ctx, p, wrong, guard.Standing{}))
}

// begin asks the provider's room how to get there and keeps the flow.
func (s *Service) begin(ctx context.Context, to identity.Provider, f Flow) (Departure, error) {
	return s.keep(ctx, s.ask(ctx, to, f))
}

// ask begins to ask the provider's room how to get there, and returns what waits for the answer: providers that are slow are slow at the same time.
func (s *Service) ask(ctx context.Context, to identity.Provider, f Flow) func() (Departure, error) {
	there := s.Federations[to.Kind]
	now := s.Now()
	f.ID, f.Provider, f.Created, f.Expires = s.NewID(), to.ID, now, now.Add(flowLife)
	var d Departure
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { // what a stranger's document does to its reader ends this sign-in alone
			if p := recover(); p != nil {
				err = fmt.Errorf("ask identity provider %s: %v", to.Name, p)
			}
		}()
		if there == nil {
			err = &Wrong{Reason: "nobody here speaks " + string(to.Kind)}
			return
		}
		d, err = there.Depart(ctx, to, &f)
		to.Secret = secret.String{}
		d.Provider, d.Flow = to, f
	}()
	return func() (Departure, error) {
		<-done
		return d, err
	}
}

// keep waits for what a provider's room says and keeps the flow.
func (s *Service) keep(ctx context.Context, asked func() (Departure, error)) (Departure, error) {
	d, err := asked()
	if err != nil {
		return Departure{}, err
	}
	if d.Flow.State.Empty() {
		return Departure{}, fault.New(fault.Internal, "a flow without state would be found by anybody")
	}
	return d, s.Flows.Insert(ctx, d.Flow)
}
