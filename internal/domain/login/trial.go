package login

import (
	"context"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// CheckProvider returns why the settings of a provider cannot work, or nil, without asking anybody: what identity.Providers asks.
func (s *Service) CheckProvider(p identity.Provider) error {
	switch there := s.Federations[p.Kind]; {
	case p.Kind == identity.LDAP && s.Directory != nil:
		return s.Directory.Check(p)
	case there != nil:
		return there.Check(p)
	}
	return fault.Newf(fault.Invalid, "nobody here speaks %s", p.Kind)
}

// TestProvider tries everything about a provider that can be tried without a person, disabled or not, and returns the steps that were taken: the
// last one failed, or none did.
func (s *Service) TestProvider(ctx context.Context, by access.Caller, id string) ([]Step, error) {
	p, e, err := s.Providers.ForTest(ctx, s.Access.For(by), id)
	if err != nil {
		return nil, err
	}
	var steps []Step
	switch there := s.Federations[p.Kind]; {
	case p.Settings.Unsupported != "":
		steps = []Step{{Name: "kind", Note: p.Settings.Unsupported + " Add a provider of another kind in its place."}}
	case p.Kind == identity.LDAP && s.Directory != nil:
		steps = s.Directory.Test(ctx, p)
	case there != nil:
		steps = there.Test(ctx, p)
	default:
		return nil, fault.New(fault.Conflict, "the identity provider is a draft: give it a kind first")
	}
	if i := slices.IndexFunc(steps, func(step Step) bool { return !step.OK }); i >= 0 {
		e.Outcome, e.Reason = audit.Failed, steps[i].Name
	}
	return steps, s.Audit.Record(ctx, e)
}
