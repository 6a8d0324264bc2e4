package main

import (
	"context"
	"fmt"
	"strings"

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
	Kind   string `arg:"" optional:"" default:"installation" help:"What is acted on: installation, account, user, group, application, session, project, repo (by its id, or KEY/SLUG), device, credential (USER@HOST), remote_session, provider, delivery (${default})."`
	ID     string `arg:"" optional:"" help:"Its id."`
}

type explanationJSON struct {
	Allowed bool     `json:"allowed"`
	Why     []string `json:"why"`
}

// resource is what the question is about. What people have names for goes by those as well.
func (c *accessExplain) resource(ctx context.Context, h *app.House, by access.Caller) (access.Resource, error) {
	if c.Kind == access.RepoKind && strings.Contains(c.ID, "/") {
		r, err := repoAt(ctx, h, by, c.ID)
		return r.Resource(), err
	}
	if c.Kind == access.ProjectKind {
		if p, err := h.Projects.ByKey(ctx, by, c.ID); err == nil {
			return p.Resource(), nil
		}
	}
	switch c.Kind {
	case access.DeviceKind:
		d, err := h.Devices.Find(ctx, by, c.ID)
		if err != nil {
			return access.Resource{}, failed("find device "+c.ID, err, seeDevices)
		}
		return d.Resource(), nil
	case access.CredentialKind:
		x, err := h.Vault.Find(ctx, by, c.ID)
		if err != nil {
			return access.Resource{}, failed("find credential "+c.ID, err, "see `gatehouse credential list`")
		}
		return x.Resource(), nil
	case access.RemoteKind:
		x, err := h.Remote.Find(ctx, by, c.ID)
		if err != nil {
			return access.Resource{}, failed("find remote session "+c.ID, err, seeRemote)
		}
		return x.Resource(), nil
	}
	return access.Resource{Kind: c.Kind, ID: c.ID}, nil
}

// Run asks the one decision that all doors ask.
func (c *accessExplain) Run(ctx context.Context, p *process) error {
	return p.withUser(ctx, "explain the rights of", c.User, func(h *app.House, by access.Caller, u identity.User) error {
		on, err := c.resource(ctx, h, by)
		if err != nil {
			return err
		}
		d, err := h.Access.Explain(ctx, by, access.Subject{Kind: access.User, ID: u.ID}, access.Action(c.Action), on)
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
