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

func (h *House) belongs(ctx context.Context, on access.Resource) (parents []access.Resource, err error) {
	switch on.Kind {
	case access.ApplicationKind:
		a, missing := h.Apps.ForLogin(ctx, on.ID)
		parents, err = []access.Resource{access.Account(a.Account)}, missing
	case access.GroupKind:
		g, missing := h.Groups.Store.ByID(ctx, on.ID)
		parents, err = []access.Resource{access.Account(g.Account)}, missing
	case access.SessionKind:
		x, missing := store.Sessions{DB: h.DB}.ByID(ctx, on.ID)
		parents, err = []access.Resource{{Kind: string(x.Principal.Kind), ID: x.Principal.ID}}, missing
	case "delivery":
		d, _, missing := store.Webhooks{DB: h.DB, Sealer: h.Sealer}.Delivery(ctx, on.ID)
		parents, err = []access.Resource{access.Project(d.Project)}, missing
	}
	if fault.Is(err, fault.NotFound) { // what is not there belongs to nothing, and nobody learns that it is not
		return nil, nil
	}
	return parents, err
}
