package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type ssoCommands struct {
	Show    ssoShow    `cmd:"" help:"Show what the sign-in page offers."`
	Set     ssoSet     `cmd:"" help:"Hide or show the form for name and password."`
	Disable ssoDisable `cmd:"" help:"Show the form again and let nobody come from OpenID Connect and SAML providers: for the day when they are down."`
}

const trySSO = "try again in a moment"

type ssoJSON struct {
	LoginForm bool       `json:"login_form"`
	Fallback  bool       `json:"fallback"`
	Shown     bool       `json:"form_is_shown"` // also where it should not be, but nobody could come in any other way
	Providers []string   `json:"providers"`
	Updated   *time.Time `json:"updated_at"`
}

// wireSSO joins the policy and the providers that the sign-in page offers.
func wireSSO(is policy.SSO, providers []identity.Provider) ssoJSON {
	out := ssoJSON{LoginForm: !is.HideForm, Fallback: is.Fallback, Shown: true, Providers: []string{}, Updated: optionalTime(is.Updated)}
	for _, one := range providers {
		if one.Enabled && vouches(one) {
			out.Providers = append(out.Providers, one.Name)
			out.Shown = !is.HideForm || out.Shown && one.Settings.Unsupported != ""
		}
	}
	return out
}

// vouches says whether people sign in at the provider itself. The password of a directory is typed into our form.
func vouches(p identity.Provider) bool { return p.Kind == identity.OIDC || p.Kind == identity.SAML }

func (s ssoJSON) print(p *process) {
	fmt.Fprintf(p.out, "login form  %s\n", onOff(s.LoginForm))
	fmt.Fprintf(p.out, "fallback    %s\n", onOff(s.Fallback))
	fmt.Fprintf(p.out, "providers   %s\n", clean(names(s.Providers)))
	switch {
	case s.Shown && !s.LoginForm:
		p.note("the form is shown all the same: nobody could come in any other way")
	case !s.Shown && s.Fallback:
		p.note("the form is shown to who opens /login?auth_fallback")
	case !s.Shown:
		p.note("who cannot come from a provider cannot sign in by browser; `gatehouse sso set --fallback on` keeps a door, `gatehouse sso disable` opens one")
	}
}

func names(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

// showSSO prints a policy with what is offered under it.
func (p *process) showSSO(ctx context.Context, h *app.House, by access.Caller, is policy.SSO) error {
	all, err := h.Providers.List(ctx, h.Access.For(by))
	if err != nil {
		return failed("list identity providers", err, trySSO)
	}
	shown := wireSSO(is, all)
	if p.json {
		return p.printJSON(shown)
	}
	shown.print(p)
	return nil
}

type ssoShow struct {
	Place
	Output
}

// Run shows the policy.
func (c *ssoShow) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		is, err := h.Policies.ReadSSO(ctx, by)
		if err != nil {
			return failed("read how people sign in", err, trySSO)
		}
		return p.showSSO(ctx, h, by, is)
	})
}

type ssoSet struct {
	Place
	Output
	LoginForm string `placeholder:"on|off" enum:",on,off" default:"" help:"Whether the sign-in page has a form for name and password."`
	Fallback  string `placeholder:"on|off" enum:",on,off" default:"" help:"Whether a hidden form is shown to who opens /login?auth_fallback."`
}

// Run changes what was given and keeps the rest.
func (c *ssoSet) Run(ctx context.Context, p *process) error {
	if c.LoginForm == "" && c.Fallback == "" {
		return usagef("set single sign-on: nothing to set; give --login-form or --fallback")
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		is, err := h.Policies.ChangeSSO(ctx, by, func(is policy.SSO) (policy.SSO, error) {
			if c.LoginForm != "" {
				is.HideForm = c.LoginForm == "off"
			}
			if c.Fallback != "" {
				is.Fallback = c.Fallback == "on"
			}
			return is, nil
		})
		if err != nil {
			return failed("set single sign-on", err, trySSO)
		}
		if err := p.showSSO(ctx, h, by, is); err != nil || c.LoginForm != "off" {
			return err
		}
		return c.warn(ctx, p, h, by)
	})
}

// trialWait bounds how long the providers are tried before somebody is told that none of them works.
const trialWait = 10 * time.Second

// warn tells who has just hidden the form that nobody comes in any other way, where that is so now. It is done all the same: the provider may be down today,
// and `gatehouse sso disable` needs no sign-in. Without any provider the form is shown, and nobody needs a warning.
func (c *ssoSet) warn(ctx context.Context, p *process, h *app.House, by access.Caller) error {
	all, err := h.Providers.List(ctx, h.Access.For(by))
	if err != nil {
		return failed("list identity providers", err, trySSO)
	}
	all = slices.DeleteFunc(all, func(one identity.Provider) bool {
		return !one.Enabled || !vouches(one) || one.Settings.Unsupported != ""
	})
	ctx, cancel := context.WithTimeout(ctx, trialWait)
	defer cancel()
	works := func(one identity.Provider) bool {
		steps, err := h.Login.TestProvider(ctx, by, one.ID)
		return err == nil && !slices.ContainsFunc(steps, func(step login.Step) bool { return !step.OK })
	}
	if len(all) > 0 && !slices.ContainsFunc(all, works) {
		p.note("warning: no OpenID Connect or SAML provider passes its test now, so perhaps nobody can sign in by the page; `gatehouse idp test %s` says why, `gatehouse sso set --login-form on` shows the form again (the test needs the settings of the server, public_url above all: by --config or the environment)", strconv.Quote(all[0].Name))
	}
	return nil
}

type ssoDisable struct {
	Place
	Output
	FormOnly bool `help:"Show the form and leave the providers as they are."`
}

// disabledJSON is what was done, and who cannot sign in now.
type disabledJSON struct {
	FormWasHidden bool     `json:"form_was_hidden"`
	Disabled      []string `json:"disabled"`         // names of providers
	WithoutWay    []string `json:"without_password"` // names of users who came from those providers alone
	Undo          []string `json:"undo"`             // commands
}

// Run opens the form first: what fails afterwards keeps nobody out.
func (c *ssoDisable) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		done := disabledJSON{Disabled: []string{}, WithoutWay: []string{}, Undo: []string{}}
		if err := c.showForm(ctx, p, h, by, &done); err != nil {
			return failed("show the login form", err, trySSO)
		}
		if !c.FormOnly {
			if err := c.shut(ctx, p, h, by, &done); err != nil {
				return err
			}
		}
		if p.json {
			return p.printJSON(done)
		}
		c.tell(p, done)
		return nil
	})
}

func (c *ssoDisable) showForm(ctx context.Context, p *process, h *app.House, by access.Caller, done *disabledJSON) error {
	_, err := h.Policies.ChangeSSO(ctx, by, func(is policy.SSO) (policy.SSO, error) {
		done.FormWasHidden = is.HideForm
		is.HideForm = false
		return is, nil
	})
	if err != nil {
		return err
	}
	if !done.FormWasHidden {
		p.note("the login form was shown already")
		return nil
	}
	done.Undo = append(done.Undo, "gatehouse sso set --login-form off")
	p.note("the login form is shown")
	return nil
}

// shut disables the providers, and finds out whom that leaves without a way in.
func (c *ssoDisable) shut(ctx context.Context, p *process, h *app.House, by access.Caller, done *disabledJSON) error {
	all, err := h.Providers.List(ctx, h.Access.For(by))
	if err != nil {
		return failed("list identity providers", err, trySSO)
	}
	open := map[string]bool{} // providers by which people still come
	for _, one := range all {
		if !one.Enabled {
			continue
		}
		if !vouches(one) {
			open[one.ID] = true
			continue
		}
		if _, err := h.Providers.SetEnabled(ctx, h.Access.For(by), one.ID, false); err != nil {
			return failed("disable identity provider "+one.Name, err, seeProviders)
		}
		done.Disabled = append(done.Disabled, one.Name)
		done.Undo = append(done.Undo, "gatehouse idp enable "+strconv.Quote(one.Name))
		p.note("%s is disabled, and the sessions that began by it end", one.Name)
	}
	if len(done.Disabled) == 0 {
		p.note("no OpenID Connect or SAML provider was enabled")
	}
	done.WithoutWay, err = stranded(ctx, h, by, all, open)
	if err != nil {
		return failed("list who has no password", err, seeUsers)
	}
	return nil
}

// stranded lists by name who is linked to a provider that vouches, has no password here, and belongs to no directory that is open.
func stranded(ctx context.Context, h *app.House, by access.Caller, providers []identity.Provider, open map[string]bool) ([]string, error) {
	as := h.Access.For(by)
	users, err := every(func(w page.Window) (page.Page[identity.User], error) { return h.Users.List(ctx, as, w) })
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, u := range users {
		if u.PasswordHash != "" || u.Shut() {
			continue
		}
		links, err := h.Providers.LinksOf(ctx, as, u.ID)
		if err != nil {
			return nil, err
		}
		away := slices.ContainsFunc(links, func(l identity.Link) bool {
			return slices.ContainsFunc(providers, func(p identity.Provider) bool { return p.ID == l.Provider && vouches(p) })
		})
		if away && !slices.ContainsFunc(links, func(l identity.Link) bool { return open[l.Provider] }) {
			out = append(out, u.Name)
		}
	}
	return out, nil
}

// mostNames is how many people a line for people names.
const mostNames = 10

func (c *ssoDisable) tell(p *process, done disabledJSON) {
	if n := len(done.WithoutWay); n > 0 {
		who, more := done.WithoutWay, ""
		if n > mostNames {
			who, more = who[:mostNames], " and others (--json has all)"
		}
		p.note("%d without a password here cannot sign in now: %s%s; give them one with `gatehouse user set-password NAME --password-stdin`", n, strings.Join(who, ", "), more)
	}
	for _, command := range done.Undo {
		p.note("to undo: %s", command)
	}
}
