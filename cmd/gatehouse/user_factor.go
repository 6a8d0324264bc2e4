package main

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type userReset2FA struct {
	Place
	Name string `arg:"" help:"Name of the user."`
}

// Run takes away the user's security keys, app and recovery codes, and ends their sessions.
func (c *userReset2FA) Run(ctx context.Context, p *process) error {
	return p.withUser(ctx, "reset second factors of", c.Name, func(h *app.House, by access.Caller, u identity.User) error {
		had, err := h.Login.ResetFactors(ctx, by, u.ID)
		if err != nil {
			return err
		}
		if !had {
			p.note("%s had no second factors", u.Name)
			return nil
		}
		p.note("%s signs in with the password alone, and is asked to enrol where a second factor is demanded", u.Name)
		return nil
	})
}
