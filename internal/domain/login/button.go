package login

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Buttons lists the providers that the sign-in page offers, by number: those that are enabled. It tells everybody, and no secret.
func (s *Service) Buttons(ctx context.Context) ([]identity.Provider, error) {
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

// Button finds one of Buttons by its number. It reports identity.ErrNoProvider.
func (s *Service) Button(ctx context.Context, number int64) (identity.Provider, error) {
	one, err := s.Providers.Store.ByNumber(ctx, number)
	if err == nil && !one.Enabled {
		err = identity.ErrNoProvider
	}
	one.Secret = secret.String{}
	return one, err
}
