package main

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type userUnlock struct {
	Place
	Name string `arg:"" help:"Name of the user."`
}

// Run forgets the failed sign-ins under the user's name and e-mail address.
func (c *userUnlock) Run(ctx context.Context, p *process) error {
	return p.withUser(ctx, "unlock", c.Name, func(h *app.House, by access.Caller, u identity.User) error {
		locked, err := h.Login.Unlock(ctx, by, u.ID)
		if err != nil {
			return err
		}
		if !locked {
			p.note("%s had no failed sign-ins", u.Name)
			return nil
		}
		p.note("%s can sign in again", u.Name)
		return nil
	})
}
