package main

import (
	"context"
	"net/netip"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type appCommands struct {
	Add appAdd `cmd:"" help:"Make an application and print its id and secret, this once."`
}

type appAdd struct {
	Place
	Name        string   `arg:"" help:"What the application is called; unique in its account."`
	Account     string   `placeholder:"NAME" help:"Name of the account it belongs to (default)."`
	Description string   `placeholder:"TEXT" help:"What it is for."`
	AllowIP     []string `name:"allow-ip" placeholder:"CIDR" help:"Where it may come from. Without it, anywhere."`
}

// Run makes the application. Its id and secret stand alone on standard output, as JSON.
func (c *appAdd) Run(ctx context.Context, p *process) error {
	networks, err := c.networks()
	if err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		as, account := h.Access.For(by), identity.DefaultAccount
		if c.Account != "" {
			a, err := h.Accounts.ByName(ctx, as, c.Account)
			if err != nil {
				return failed("find account "+c.Account, err, "give the name of an account that exists")
			}
			account = a.ID
		}
		made, plain, err := h.Apps.Create(ctx, as, identity.NewApplication{Account: account, Name: c.Name, Description: c.Description, Addresses: networks})
		if err != nil {
			return failed("add application "+c.Name, err, "look at what is there first")
		}
		return p.printJSON(struct {
			ID     string `json:"app_id"`
			Secret string `json:"secret"`
		}{made.ID, plain.Reveal()})
	})
}

func (c *appAdd) networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range c.AllowIP {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, usagef("--allow-ip: %q is not an address or CIDR, such as 10.0.0.0/8; correct it", text)
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}
