package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type idpCommands struct {
	Add     idpAdd     `cmd:"" help:"Add a directory, or an OpenID Connect or SAML provider."`
	List    idpList    `cmd:"" help:"List identity providers."`
	Show    idpShow    `cmd:"" help:"Print one with all its settings but its secret, as JSON."`
	Set     idpSet     `cmd:"" help:"Change settings of one; what is not given stays."`
	Test    idpTest    `cmd:"" help:"Try what can be tried without a person, step by step."`
	Enable  idpEnable  `cmd:"" help:"Let people come from it."`
	Disable idpDisable `cmd:"" help:"Let nobody come from it, and end the sessions that began by it."`
	Remove  idpRemove  `cmd:"" help:"Remove it with its links; users stay."`
}

const seeProviders = "see `gatehouse idp list`"

type idpAdd struct {
	Place
	Output
	Kind     string `required:"" enum:"ldap,oidc,saml" placeholder:"KIND" help:"ldap, oidc or saml."`
	Name     string `required:"" help:"What people know it by."`
	Disabled bool   `help:"Add it without letting anybody come from it yet."`
	providerFlags
}

// Run adds the provider. Its settings are looked at, and nobody is asked.
func (c *idpAdd) Run(ctx context.Context, p *process) error {
	in := identity.NewProvider{Kind: identity.ProviderKind(c.Kind), Name: c.Name, Disabled: c.Disabled}
	if err := c.apply("add", in.Kind, &in.Settings); err != nil {
		return err
	}
	var err error
	if in.Secret, err = c.secret(p); err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		made, err := h.Providers.Add(ctx, h.Access.For(by), in)
		if err != nil {
			return failed("add identity provider "+c.Name, err, seeProviders)
		}
		if p.json {
			return p.printJSON(wireProvider(made))
		}
		p.note("added identity provider %s; try it with `gatehouse idp test %s`", made.Name, strconv.Quote(made.Name))
		return nil
	})
}

type idpSet struct {
	Place
	Output
	Provider string `arg:"" name:"name" help:"Name of the provider."`
	Name     string `placeholder:"NEW" help:"What people know it by from now on."`
	Kind     string `enum:",ldap,oidc,saml" default:"" placeholder:"KIND" help:"Of a draft alone: ldap, oidc or saml."`
	providerFlags
}

// Run changes what was given and keeps the rest, the secret too.
func (c *idpSet) Run(ctx context.Context, p *process) error {
	if c.Name == "" && c.Kind == "" && !given(c.providerFlags) {
		return usagef("set identity provider %s: nothing to set; see `gatehouse idp set --help`", c.Provider)
	}
	plain, err := c.secret(p)
	if err != nil {
		return err
	}
	return p.withProvider(ctx, "set", c.Provider, func(h *app.House, by access.Caller, one identity.Provider) error {
		changed, err := h.Providers.Change(ctx, h.Access.For(by), one.ID, func(is identity.Provider) (identity.Provider, error) {
			if c.Name != "" {
				is.Name = c.Name
			}
			if c.Kind != "" {
				is.Kind = identity.ProviderKind(c.Kind)
			}
			is.Secret = plain
			return is, c.apply("set", is.Kind, &is.Settings)
		})
		if err != nil {
			return err
		}
		if p.json {
			return p.printJSON(wireProvider(changed))
		}
		p.note("set identity provider %s; try it with `gatehouse idp test %s`", changed.Name, strconv.Quote(changed.Name))
		return nil
	})
}

type providerJSON struct {
	ID       string                    `json:"id"`
	Number   int64                     `json:"number"`
	Kind     identity.ProviderKind     `json:"kind"`
	Name     string                    `json:"name"`
	Enabled  bool                      `json:"enabled"`
	Settings identity.ProviderSettings `json:"settings"`
	Created  time.Time                 `json:"created_at"`
	Updated  time.Time                 `json:"updated_at"`
}

func wireProvider(p identity.Provider) providerJSON {
	return providerJSON{p.ID, p.Number, p.Kind, p.Name, p.Enabled, p.Settings, p.Created.UTC(), p.Updated.UTC()}
}

type idpList struct {
	Place
	Output
}

// Run lists the providers.
func (c *idpList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		all, err := h.Providers.List(ctx, h.Access.For(by))
		if err != nil {
			return failed("list identity providers", err, "try again in a moment")
		}
		shown := make([]providerJSON, len(all))
		for i, one := range all {
			shown[i] = wireProvider(one)
		}
		return print(p, shown, []string{"NUMBER", "NAME", "KIND", "STATE", "LINKS BY", "ADDS PEOPLE", "CREATED"}, func(o providerJSON) []string {
			return []string{strconv.FormatInt(o.Number, 10), o.Name, string(o.Kind), state(!o.Enabled), string(o.Settings.Link), yes(o.Settings.JIT.Provision), moment(o.Created)}
		})
	})
}

// withProvider finds the provider that a command names.
func (p *process) withProvider(ctx context.Context, what, name string, work func(*app.House, access.Caller, identity.Provider) error) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		one, err := h.Providers.ByName(ctx, h.Access.For(by), name)
		if err == nil {
			err = work(h, by, one)
		}
		if err != nil {
			return failed(what+" identity provider "+name, err, seeProviders)
		}
		return nil
	})
}

type idpShow struct {
	Place
	Output
	Name string `arg:"" help:"Name of the provider."`
}

// Run prints the provider.
func (c *idpShow) Run(ctx context.Context, p *process) error {
	return p.withProvider(ctx, "show", c.Name, func(_ *app.House, _ access.Caller, one identity.Provider) error {
		return p.printJSON(wireProvider(one))
	})
}

type idpTest struct {
	Place
	Output
	Name string `arg:"" help:"Name of the provider."`
}

type stepJSON struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Note string `json:"note,omitempty"`
}

var errTestFailed = errors.New("a step failed; correct the settings, or the provider, as the step says")

// Run tries the provider and prints the steps.
func (c *idpTest) Run(ctx context.Context, p *process) error {
	return p.withProvider(ctx, "test", c.Name, func(h *app.House, by access.Caller, one identity.Provider) error {
		taken, err := h.Login.TestProvider(ctx, by, one.ID)
		if err != nil {
			return err
		}
		steps, ok := make([]stepJSON, len(taken)), true
		for i, step := range taken {
			steps[i], ok = stepJSON{step.Name, step.OK, step.Note}, ok && step.OK
		}
		if p.json {
			err = p.printJSON(steps)
		} else {
			c.print(p, steps)
		}
		if err == nil && !ok {
			err = errTestFailed
		}
		return err
	})
}

func (c *idpTest) print(p *process, steps []stepJSON) {
	for _, step := range steps {
		how := "ok"
		if !step.OK {
			how = "failed"
		}
		fmt.Fprintf(p.out, "%-6s  %s: %s\n", how, clean(step.Name), clean(step.Note))
	}
}

type idpEnable struct {
	Place
	Name string `arg:"" help:"Name of the provider."`
}

// Run lets people come from the provider.
func (c *idpEnable) Run(ctx context.Context, p *process) error {
	return p.setProvider(ctx, "enable", c.Name, true)
}

type idpDisable struct {
	Place
	Name string `arg:"" help:"Name of the provider."`
}

// Run lets nobody come from the provider.
func (c *idpDisable) Run(ctx context.Context, p *process) error {
	return p.setProvider(ctx, "disable", c.Name, false)
}

func (p *process) setProvider(ctx context.Context, what, name string, enabled bool) error {
	return p.withProvider(ctx, what, name, func(h *app.House, by access.Caller, one identity.Provider) error {
		if enabled && one.Kind == identity.Draft {
			return fmt.Errorf("it is a draft; give it a kind and its settings first: `gatehouse idp set %s --kind ldap|oidc|saml ...`, see `gatehouse idp set --help`", strconv.Quote(one.Name))
		}
		if _, err := h.Providers.SetEnabled(ctx, h.Access.For(by), one.ID, enabled); err != nil {
			return err
		}
		p.note("%s is %s", one.Name, state(!enabled))
		return nil
	})
}

type idpRemove struct {
	Place
	Name string `arg:"" help:"Name of the provider."`
}

// Run removes the provider.
func (c *idpRemove) Run(ctx context.Context, p *process) error {
	return p.withProvider(ctx, "remove", c.Name, func(h *app.House, by access.Caller, one identity.Provider) error {
		if _, err := h.Providers.Remove(ctx, h.Access.For(by), one.ID); err != nil {
			return err
		}
		p.note("removed identity provider %s", one.Name)
		return nil
	})
}

type userLink struct {
	Place
	Name    string `arg:"" help:"Name of the user."`
	IDP     string `name:"idp" required:"" placeholder:"NAME" help:"Name of the identity provider."`
	Subject string `placeholder:"SUBJECT" help:"Who the user is there: entryUUID in a directory, sub at an OpenID Connect provider, NameID at a SAML provider (the user's e-mail address)."`
}

// Run says who the user is at the provider.
func (c *userLink) Run(ctx context.Context, p *process) error {
	return p.withLink(ctx, "link", c.Name, c.IDP, func(h *app.House, by access.Caller, u identity.User, one identity.Provider) error {
		subject := c.Subject
		if subject == "" && one.Kind == identity.SAML {
			subject = u.Email
		}
		if subject == "" {
			return usagef("--subject is missing: only SAML providers know people by their e-mail address; give who the user is there")
		}
		if _, err := h.Providers.Link(ctx, h.Access.For(by), one.ID, u.ID, subject); err != nil {
			return err
		}
		p.note("%s is linked to %s", u.Name, one.Name)
		return nil
	})
}

type userUnlink struct {
	Place
	Name string `arg:"" help:"Name of the user."`
	IDP  string `name:"idp" required:"" placeholder:"NAME" help:"Name of the identity provider."`
}

// Run says that the user is nobody at the provider any more.
func (c *userUnlink) Run(ctx context.Context, p *process) error {
	return p.withLink(ctx, "unlink", c.Name, c.IDP, func(h *app.House, by access.Caller, u identity.User, one identity.Provider) error {
		if err := h.Providers.Unlink(ctx, h.Access.For(by), one.ID, u.ID); err != nil {
			return err
		}
		p.note("%s is no longer linked to %s", u.Name, one.Name)
		return nil
	})
}

// withLink finds the user and the provider that a command names.
func (p *process) withLink(ctx context.Context, what, user, provider string, work func(*app.House, access.Caller, identity.User, identity.Provider) error) error {
	return p.withUser(ctx, what, user, func(h *app.House, by access.Caller, u identity.User) error {
		one, err := h.Providers.ByName(ctx, h.Access.For(by), provider)
		if err != nil {
			return fmt.Errorf("find %s: %w; %s", provider, err, seeProviders)
		}
		return work(h, by, u, one)
	})
}
