package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type authzCommands struct {
	Add     authorizationAdd     `cmd:"" help:"Let an application call the API of remote sessions; print a client id and secret, this once."`
	List    authorizationList    `cmd:"" help:"List what applications may do."`
	Enable  authorizationEnable  `cmd:"" help:"Let an authorization in again."`
	Disable authorizationDisable `cmd:"" help:"Shut an authorization out, its tokens included."`
}

const seeAuthorizations = "see `gatehouse authorization list`"

// resources is what the command line calls what an authorization is for.
var resources = map[string]string{"pam-core": identity.PAMCore, "web-proxy-session": identity.WebProxySession, "a2a": identity.A2A}

type authorizationAdd struct {
	Place
	App       string   `required:"" placeholder:"NAME" help:"Name of the application."`
	Account   string   `placeholder:"NAME" help:"Name of the account that the application belongs to (default)."`
	Name      string   `placeholder:"N" default:"api" help:"What the authorization is for (api)."`
	Resources []string `required:"" placeholder:"pam-core,web-proxy-session" help:"What it is for: pam-core (devices, credentials, sessions), web-proxy-session (links by which people open sessions), a2a."`
	Write     bool     `help:"It may change things, and make links. Without it, it only reads."`
	Expires   string   `placeholder:"90d|TIME" help:"When it ends: after days, hours (12h), or at an RFC 3339 time. Without it, never."`
	AllowIP   []string `name:"allow-ip" placeholder:"CIDR|'*'" help:"Where it may come from; '*' is anywhere. Without it, nowhere."`
	Referrer  []string `placeholder:"HOST|ORIGIN" help:"Which pages may lead to its calls. Without it, any."`
	AutoPick  bool     `name:"auto-pick" help:"A free credential is picked where it names none."`
	Ancestor  []string `name:"frame-ancestor" placeholder:"ORIGIN" help:"Whose pages may frame the pages of its sessions. Without it, nobody's."`

	Device         []string `placeholder:"HOST" help:"A device that it reaches."`
	AllDevices     bool     `name:"all-devices" help:"It reaches all devices, now and later."`
	Credential     []string `placeholder:"USER@HOST" help:"A credential that it reaches, by user and host, number or identifier."`
	AllCredentials bool     `name:"all-credentials" help:"It reaches all credentials, now and later."`
	User           []string `placeholder:"NAME" help:"Somebody for whom it may open sessions."`
	Group          []string `placeholder:"NAME" help:"A group for whose members it may open sessions."`
	AllUsers       bool     `name:"all-users" help:"It may open sessions for everybody."`
}

// reach is one thing on the lists of an authorization.
type reach struct {
	role access.Role
	on   access.Resource
}

// Run makes the authorization. Its client id and secret stand alone on standard output, as JSON. What it is to reach is found first, so that a name that is
// wrong leaves nothing behind.
func (c *authorizationAdd) Run(ctx context.Context, p *process) error {
	in, err := c.new(p.now())
	if err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		owner, err := findApp(ctx, h, by, InAccount{c.Account}, c.App)
		if err != nil {
			return failed("add authorization of application "+c.App, err, "add the application with `gatehouse app add`")
		}
		lists, err := c.reaches(ctx, h, by)
		if err != nil {
			return err
		}
		in.Application = owner.ID
		made, plain, err := h.Authorizations.Create(ctx, h.Access.For(by), in)
		if err != nil {
			return failed("add authorization "+c.Name, err, seeAuthorizations)
		}
		for _, r := range lists {
			if err := h.Access.Grant(ctx, by, access.Subject{Kind: access.Authorization, ID: made.ID}, r.role, r.on); err != nil {
				return failed("list what authorization "+made.ClientID+" reaches", err, "disable it with `gatehouse authorization disable`, and add another")
			}
		}
		c.warn(p, lists)
		return p.printJSON(struct {
			Client string `json:"client_id"`
			Secret string `json:"client_secret"`
		}{made.ClientID, plain.Reveal()})
	})
}

// new reads the flags that need no data.
func (c *authorizationAdd) new(now time.Time) (identity.NewAuthorization, error) {
	in := identity.NewAuthorization{Name: c.Name, Writes: c.Write, Referrers: c.Referrer, AutoPick: c.AutoPick, Ancestors: c.Ancestor}
	for _, name := range c.Resources {
		resource, known := resources[strings.ToLower(name)]
		if !known {
			return in, usagef("--resources: there is no %q; name pam-core, web-proxy-session or a2a", name)
		}
		in.Resources = append(in.Resources, resource)
	}
	var err error
	if in.Expires, err = expiry(c.Expires, now); err != nil {
		return in, err
	}
	if slices.Contains(c.AllowIP, "*") {
		in.Addresses = identity.AnyAddress()
		return in, nil
	}
	in.Addresses, err = (&appAdd{AllowIP: c.AllowIP}).networks()
	return in, err
}

// reaches finds what is listed.
func (c *authorizationAdd) reaches(ctx context.Context, h *app.House, by access.Caller) ([]reach, error) {
	var all []reach
	for _, name := range c.Device {
		x, err := h.Devices.Find(ctx, by, name)
		if err != nil {
			return nil, failed("find device "+name, err, "see `gatehouse device list`")
		}
		all = append(all, reach{access.DeviceListed, x.Resource()})
	}
	for _, name := range c.Credential {
		x, err := h.Vault.Find(ctx, by, name)
		if err != nil {
			return nil, failed("find credential "+name, err, "see `gatehouse credential list`")
		}
		all = append(all, reach{access.CredentialListed, x.Resource()})
	}
	people, err := c.people(ctx, h, by)
	if err != nil {
		return nil, err
	}
	all = append(all, people...)
	for role, every := range map[access.Role]struct {
		is   bool
		kind string
	}{
		access.DeviceListed: {c.AllDevices, access.DeviceKind}, access.CredentialListed: {c.AllCredentials, access.CredentialKind}, access.UserListed: {c.AllUsers, access.UserKind},
	} {
		if every.is {
			all = append(all, reach{role, access.Every(every.kind)})
		}
	}
	return all, nil
}

func (c *authorizationAdd) people(ctx context.Context, h *app.House, by access.Caller) ([]reach, error) {
	as, all := h.Access.For(by), []reach(nil)
	for _, name := range c.User {
		x, err := h.Users.ByName(ctx, as, name)
		if err != nil {
			return nil, failed("find user "+name, err, "see `gatehouse user list`")
		}
		all = append(all, reach{access.UserListed, access.Resource{Kind: access.UserKind, ID: x.ID}})
	}
	for _, name := range c.Group {
		x, err := h.Groups.ByName(ctx, as, identity.DefaultAccount, name)
		if err != nil {
			return nil, failed("find group "+name, err, seeGroups)
		}
		all = append(all, reach{access.GroupListed, access.InAccount(x.Account, access.GroupKind, x.ID)})
	}
	return all, nil
}

// warn says what the authorization cannot do, where that is likely a mistake.
func (c *authorizationAdd) warn(p *process, lists []reach) {
	has := func(roles ...access.Role) bool {
		return slices.ContainsFunc(lists, func(r reach) bool { return slices.Contains(roles, r.role) })
	}
	if len(c.AllowIP) == 0 {
		p.note("it may come from nowhere yet: no --allow-ip was given")
	}
	if links := slices.Contains(c.Resources, "web-proxy-session"); links && !has(access.UserListed, access.GroupListed) {
		p.note("it opens sessions for nobody yet: no --user, --group or --all-users was given")
	}
	p.note("this is the only time that the secret is shown")
}

// findApp finds an application by its name.
func findApp(ctx context.Context, h *app.House, by access.Caller, in InAccount, name string) (identity.Application, error) {
	account, err := in.id(ctx, h, by)
	if err != nil {
		return identity.Application{}, err
	}
	all, err := h.Apps.List(ctx, h.Access.For(by), account)
	if err != nil {
		return identity.Application{}, err
	}
	i := slices.IndexFunc(all, func(a identity.Application) bool { return a.Name == name })
	if i < 0 {
		return identity.Application{}, identity.ErrNoApplication
	}
	return all[i], nil
}

type authorizationJSON struct {
	ID         string     `json:"id"`
	ClientID   string     `json:"client_id"`
	App        string     `json:"app"`
	Name       string     `json:"name"`
	State      string     `json:"state"` // active, disabled, expired
	Resources  []string   `json:"resources"`
	Permission string     `json:"permission"`
	Addresses  []string   `json:"addresses"`
	Referrers  []string   `json:"referrers"`
	AutoPick   bool       `json:"auto_pick"`
	Ancestors  []string   `json:"frame_ancestors"`
	Created    time.Time  `json:"created_at"`
	Expires    *time.Time `json:"expires_at"`
}

func wireAuthorization(a identity.Authorization, now time.Time) authorizationJSON {
	out := authorizationJSON{
		ID: a.ID, ClientID: a.ClientID, App: a.ApplicationName, Name: a.Name, State: "active", Resources: append([]string{}, a.Resources...), Permission: "Read-only",
		Addresses: addressTexts(a.Addresses), Referrers: append([]string{}, a.Referrers...), AutoPick: a.AutoPick, Ancestors: append([]string{}, a.Ancestors...),
		Created: a.Created.UTC(), Expires: optionalTime(a.Expires),
	}
	switch {
	case !a.Enabled, a.Shut:
		out.State = "disabled"
	case !a.Opens(now):
		out.State = "expired"
	}
	if a.Writes {
		out.Permission = "Read and write"
	}
	return out
}

// addressTexts are networks as they were given: all of them are "*".
func addressTexts(all []netip.Prefix) []string {
	if slices.Equal(all, identity.AnyAddress()) {
		return []string{"*"}
	}
	out := []string{}
	for _, p := range all {
		out = append(out, p.String())
	}
	return out
}

type authorizationList struct {
	Place
	Output
	App     string `placeholder:"NAME" help:"Only those of this application."`
	Account string `placeholder:"NAME" help:"Name of the account that the application belongs to (default)."`
}

// Run lists the authorizations. Their secrets are not kept.
func (c *authorizationList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		id := ""
		if c.App != "" {
			owner, err := findApp(ctx, h, by, InAccount{c.Account}, c.App)
			if err != nil {
				return failed("list authorizations of application "+c.App, err, "give the name of an application that exists")
			}
			id = owner.ID
		}
		all, err := h.Authorizations.List(ctx, h.Access.For(by), id)
		if err != nil {
			return failed("list authorizations", err, trySSO)
		}
		shown := make([]authorizationJSON, len(all))
		for i, a := range all {
			shown[i] = wireAuthorization(a, p.now())
		}
		return print(p, shown, []string{"APP", "NAME", "CLIENT ID", "STATE", "RESOURCES", "PERMISSION", "FROM", "EXPIRES"}, func(a authorizationJSON) []string {
			return []string{a.App, a.Name, a.ClientID, a.State, strings.Join(a.Resources, ", "), a.Permission, strings.Join(a.Addresses, ", "), ifAny(a.Expires)}
		})
	})
}

type authorizationEnable struct {
	Place
	Client string `arg:"" name:"client-id" help:"Its client id."`
}

// Run lets the authorization in again.
func (c *authorizationEnable) Run(ctx context.Context, p *process) error {
	return setAuthorization(ctx, p, c.Client, true)
}

type authorizationDisable struct {
	Place
	Client string `arg:"" name:"client-id" help:"Its client id."`
}

// Run shuts the authorization out.
func (c *authorizationDisable) Run(ctx context.Context, p *process) error {
	return setAuthorization(ctx, p, c.Client, false)
}

func setAuthorization(ctx context.Context, p *process, client string, enabled bool) error {
	what := map[bool]string{true: "enable", false: "disable"}[enabled]
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		as := h.Access.For(by)
		a, err := h.Authorizations.ByClient(ctx, as, client)
		if err == nil {
			_, err = h.Authorizations.Update(ctx, as, a.ID, identity.AuthorizationChange{Enabled: &enabled})
		}
		if err != nil {
			return failed(fmt.Sprintf("%s authorization %s", what, client), err, seeAuthorizations)
		}
		p.note("%sd; it holds from its next call on", what)
		return nil
	})
}
