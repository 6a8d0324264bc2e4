package login

import (
	"context"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// LoginOptions are the ways to sign in that are offered to browsers.
type LoginOptions struct { //nolint:revive // the wires and their documents call them that
	Form      bool                // name and password
	Hidden    bool                // they are not offered, but taken from who asks for them by ?auth_fallback
	Providers []identity.Provider // those that are enabled, by number, also directories and those that nobody can sign in by yet; without secrets
}

// ErrFormHidden says that names and passwords are not taken from browsers.
var ErrFormHidden = fault.New(fault.Unauthenticated, "Sign in with an identity provider")

// LoginOptions lists what the policy offers. A hidden form is shown all the same where nobody could sign in otherwise: no provider that leads
// through a browser is enabled and supported. It tells everybody, and no secret.
func (s *Service) LoginOptions(ctx context.Context) (LoginOptions, error) {
	is, err := s.Policy.SSO(ctx)
	if err != nil {
		return LoginOptions{}, err
	}
	offered, err := s.enabled(ctx)
	if err != nil {
		return LoginOptions{}, err
	}
	hide := is.HideForm && slices.ContainsFunc(offered, leadsIn)
	return LoginOptions{Form: !hide, Hidden: hide && is.Fallback, Providers: offered}, nil
}

// leadsIn reports whether a browser can sign in by the provider alone.
func leadsIn(p identity.Provider) bool {
	return p.Kind != identity.LDAP && p.Settings.Unsupported == ""
}

// FormReachable reports whether names and passwords are taken from browsers. Who sends them where they are not is told ErrFormHidden.
func (s *Service) FormReachable(ctx context.Context) (bool, error) {
	is, err := s.Policy.SSO(ctx)
	if err != nil || !is.HideForm || is.Fallback {
		return err == nil, err
	}
	options, err := s.LoginOptions(ctx)
	return options.Form || options.Hidden, err
}

// enabled lists the providers that are enabled, by number, without their secrets.
func (s *Service) enabled(ctx context.Context) ([]identity.Provider, error) {
	all, err := s.Providers.Store.All(ctx)
	if err != nil {
		return nil, err
	}
	var offered []identity.Provider
	for _, one := range all {
		if one.Enabled {
			one.Secret = secret.String{}
			offered = append(offered, one)
		}
	}
	return offered, nil
}

// Button finds one of those that LoginOptions lists by its number. It reports identity.ErrNoProvider.
func (s *Service) Button(ctx context.Context, number int64) (identity.Provider, error) {
	one, err := s.Providers.Store.ByNumber(ctx, number)
	if err == nil && !one.Enabled {
		err = identity.ErrNoProvider
	}
	one.Secret = secret.String{}
	return one, err
}
