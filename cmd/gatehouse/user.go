package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

type userCommands struct {
	Add         userAdd      `cmd:"" help:"Add a user."`
	List        userList     `cmd:"" help:"List users."`
	SetPassword userPassword `cmd:"" help:"Give a user another password."`
	Unlock      userUnlock   `cmd:"" help:"Forget a user's failed sign-ins."`
	Reset2FA    userReset2FA `cmd:"" name:"reset-2fa" help:"Take a user's second factors away."`
	Enable      userEnable   `cmd:"" help:"Let a user in again."`
	Disable     userDisable  `cmd:"" help:"Shut a user out."`
	GrantAdmin  userGrant    `cmd:"" help:"Give a user every right on the installation."`
	Link        userLink     `cmd:"" help:"Say who a user is at an identity provider."`
	Unlink      userUnlink   `cmd:"" help:"Say that a user is nobody there any more."`
}

const seeUsers = "see `gatehouse user list`"

type userAdd struct {
	Place
	Output
	Name          string `arg:"" help:"Letters, digits, dots, underscores, hyphens."`
	Email         string `required:"" placeholder:"E" help:"E-mail address."`
	PasswordStdin bool   `help:"Read the password from standard input. Without it no password opens the user."`
	Admin         bool   `help:"Give every right on the installation."`
}

// Run adds the user, and grants the role where that was asked for.
func (c *userAdd) Run(ctx context.Context, p *process) error {
	var password secret.String
	if c.PasswordStdin {
		var err error
		if password, err = p.readPassword(); err != nil {
			return err
		}
		if password.Empty() {
			return failed("add user "+c.Name, secret.ErrPasswordEmpty, "")
		}
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		u, err := h.Users.Add(ctx, h.Access.For(by), identity.New{Name: c.Name, Email: c.Email, Password: password})
		if err != nil {
			return failed("add user "+c.Name, err, seeUsers)
		}
		if c.Admin {
			if err := grantAdmin(ctx, h, by, u); err != nil {
				return fmt.Errorf("user %s was added, but not made administrator: %w; run `gatehouse user grant-admin %s`", u.Name, err, u.Name)
			}
		}
		if p.json {
			return p.printJSON(wireUser(u, c.Admin))
		}
		p.note("added user %s", u.Name)
		return nil
	})
}

type userJSON struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	Admin    bool      `json:"admin"`
	Disabled bool      `json:"disabled"`
	Password bool      `json:"has_password"`
	Created  time.Time `json:"created_at"`
}

func wireUser(u identity.User, admin bool) userJSON {
	return userJSON{u.ID, u.Name, u.Email, admin, u.Disabled, u.PasswordHash != "", u.Created.UTC()}
}

type userList struct {
	Place
	Output
}

// Run lists the users.
func (c *userList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		users, err := every(func(w page.Window) (page.Page[identity.User], error) { return h.Users.List(ctx, h.Access.For(by), w) })
		if err != nil {
			return failed("list users", err, seeUsers)
		}
		shown := make([]userJSON, len(users))
		for i, u := range users {
			admin, err := isAdmin(ctx, h, u)
			if err != nil {
				return failed("read rights of "+u.Name, err, seeUsers)
			}
			shown[i] = wireUser(u, admin)
		}
		return print(p, shown, []string{"NAME", "EMAIL", "ADMIN", "STATE", "PASSWORD", "CREATED"}, func(u userJSON) []string {
			return []string{u.Name, u.Email, yes(u.Admin), state(u.Disabled), yes(u.Password), moment(u.Created)}
		})
	})
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func state(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

// isAdmin asks the one decision whether the user could give others rights on the installation.
func isAdmin(ctx context.Context, h *app.House, u identity.User) (bool, error) {
	who := access.Caller{Principal: access.Principal{Kind: access.User, ID: u.ID, Name: u.Name}, Scopes: []access.Action{"*"}}
	d, err := h.Access.Decide(ctx, who, "*", access.Installation)
	return d.Allowed, err
}

func grantAdmin(ctx context.Context, h *app.House, by access.Caller, u identity.User) error {
	return h.Access.Grant(ctx, by, access.Subject{Kind: access.User, ID: u.ID}, access.SysAdmin, access.Installation)
}

// withUser finds the user that a command names.
func (p *process) withUser(ctx context.Context, what, name string, work func(*app.House, access.Caller, identity.User) error) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		u, err := h.Users.ByName(ctx, h.Access.For(by), name)
		if err == nil {
			err = work(h, by, u)
		}
		if err != nil {
			return failed(what+" "+name, err, seeUsers)
		}
		return nil
	})
}

type userPassword struct {
	Place
	Name          string `arg:"" help:"Name of the user."`
	PasswordStdin bool   `required:"" help:"Read the password from standard input."`
}

// Run sets the password. The file with the first administrator's generated one goes with it.
func (c *userPassword) Run(ctx context.Context, p *process) error {
	password, err := p.readPassword()
	if err != nil {
		return err
	}
	return p.withUser(ctx, "set password of", c.Name, func(h *app.House, by access.Caller, u identity.User) error {
		if err := h.Users.SetPassword(ctx, h.Access.For(by), u.ID, password); err != nil {
			return err
		}
		p.note("set the password of %s", u.Name)
		if identity.Fold(u.Name) != identity.FirstName {
			return nil
		}
		if err := os.Remove(filepath.Join(h.Config.Data, "initial-password")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the password was set, but its old copy remains: %w; remove the file by hand", err)
		}
		return nil
	})
}

type userEnable struct {
	Place
	Name string `arg:"" help:"Name of the user."`
}

// Run lets the user in again.
func (c *userEnable) Run(ctx context.Context, p *process) error {
	return p.withUser(ctx, "enable", c.Name, func(h *app.House, by access.Caller, u identity.User) error {
		if err := h.Users.SetDisabled(ctx, h.Access.For(by), u.ID, false); err != nil {
			return err
		}
		p.note("%s is enabled", u.Name)
		return nil
	})
}

type userDisable struct {
	Place
	Name string `arg:"" help:"Name of the user."`
}

// Run shuts the user out.
func (c *userDisable) Run(ctx context.Context, p *process) error {
	return p.withUser(ctx, "disable", c.Name, func(h *app.House, by access.Caller, u identity.User) error {
		if err := h.Users.SetDisabled(ctx, h.Access.For(by), u.ID, true); err != nil {
			return err
		}
		p.note("%s is disabled", u.Name)
		return nil
	})
}

type userGrant struct {
	Place
	Name string `arg:"" help:"Name of the user."`
}

// Run makes the user an administrator.
func (c *userGrant) Run(ctx context.Context, p *process) error {
	return p.withUser(ctx, "grant every right to", c.Name, func(h *app.House, by access.Caller, u identity.User) error {
		if u.Disabled {
			return fault.New(fault.Conflict, "the user is disabled; run `gatehouse user enable "+u.Name+"` first")
		}
		if err := grantAdmin(ctx, h, by, u); err != nil {
			return err
		}
		p.note("%s has every right on the installation", u.Name)
		return nil
	})
}
