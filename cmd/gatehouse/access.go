package main

import (
	"context"
	"fmt"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type accessCommands struct {
	Explain accessExplain `cmd:"" help:"Say whether a user may do something, and why."`
}

type accessExplain struct {
	Place
	Output
	User   string `arg:"" help:"Name of the user."`
	Action string `arg:"" help:"Such as user.create; a wrong one is answered with the list of all."`
	Kind   string `arg:"" optional:"" default:"installation" help:"What is acted on: installation, account, user, group, application, session, project, provider, delivery (${default})."`
	ID     string `arg:"" optional:"" help:"Its id."`
}

type explanationJSON struct {
	Allowed bool     `json:"allowed"`
	Why     []string `json:"why"`
}

// Run asks the one decision that all doors ask.
func (c *accessExplain) Run(ctx context.Context, p *process) error {
	return p.withUser(ctx, "explain the rights of", c.User, func(h *app.House, by access.Caller, u identity.User) error {
		d, err := h.Access.Explain(ctx, by, access.Subject{Kind: access.User, ID: u.ID}, access.Action(c.Action), access.Resource{Kind: c.Kind, ID: c.ID})
		if err != nil {
			return err
		}
		if p.json {
			return p.printJSON(explanationJSON{d.Allowed, d.Why})
		}
		answer := "refused"
		if d.Allowed {
			answer = "allowed"
		}
		fmt.Fprintln(p.out, answer)
		for _, why := range d.Why {
			fmt.Fprintln(p.out, "  "+clean(why))
		}
		return nil
	})
}
