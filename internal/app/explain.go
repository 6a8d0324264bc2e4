package app

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// buildExplanations tells package access what it cannot know of rooms above it: whether anybody can act as somebody, and what belongs to what.
func (h *House) buildExplanations() {
	h.Access.Standing = h.standing
	h.Access.Belongs = h.belongs
}

func (h *House) standing(ctx context.Context, of access.Subject) (name, shut string, err error) {
	var disabled, account bool
	switch of.Kind {
	case access.User:
		u, err := h.Users.Store.ByID(ctx, of.ID)
		if err != nil {
			return "", "", err
		}
		name, disabled, account = u.Name, u.Disabled, u.AccountShut
	case access.Application:
		a, err := h.Apps.ForLogin(ctx, of.ID)
		if err != nil {
			return "", "", err
		}
		name, disabled, account = a.Name, a.Disabled, a.AccountShut
	default:
		return "", "", fault.New(fault.Invalid, "rights are explained of users and applications")
	}
	switch {
	case disabled:
		shut = string(of.Kind) + " " + name + " is disabled: nobody signs in so, whatever the rights"
	case account:
		shut = "the account of " + string(of.Kind) + " " + name + " is disabled: nobody signs in so, whatever the rights"
	}
	return name, shut, nil
}

func (h *House) belongs(ctx context.Context, on access.Resource) (access.Resource, error) {
	found, err := h.found(ctx, on)
	if fault.Is(err, fault.NotFound) { // what is not there belongs to nothing, and nobody learns that it is not
		return on, nil
	}
	return found, err
}

// found is a resource as its room gives it.
func (h *House) found(ctx context.Context, on access.Resource) (access.Resource, error) {
	switch on.Kind {
	case access.ProjectKind:
		p, err := h.Projects.Store.ByID(ctx, on.ID)
		return p.Resource(), err
	case access.RepoKind:
		r, err := h.Repos.Store.ByID(ctx, on.ID)
		return r.Resource(), err
	case access.ApplicationKind:
		a, err := h.Apps.ForLogin(ctx, on.ID)
		return access.InAccount(a.Account, on.Kind, on.ID), err
	case access.GroupKind:
		g, err := h.Groups.Store.ByID(ctx, on.ID)
		return access.InAccount(g.Account, on.Kind, on.ID), err
	case access.SessionKind:
		x, err := store.Sessions{DB: h.DB}.ByID(ctx, on.ID)
		return access.SessionOf(access.Subject{Kind: x.Principal.Kind, ID: x.Principal.ID}, on.ID), err
	case access.DeviceKind:
		return access.Device(on.ID), nil
	case access.CredentialKind:
		c, err := h.Vault.Get(ctx, on.ID)
		return c.Resource(), err
	case access.RemoteKind:
		x, err := store.Remotes{DB: h.DB}.ByID(ctx, on.ID)
		return x.Resource(), err
	case "delivery":
		d, _, err := store.Webhooks{DB: h.DB, Sealer: h.Sealer}.Delivery(ctx, on.ID)
		return access.Within(d.Project, on.Kind, on.ID), err
	}
	return on, nil
}
