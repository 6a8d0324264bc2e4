package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type groupCommands struct {
	List    groupList    `cmd:"" help:"List the groups of an account."`
	Create  groupCreate  `cmd:"" help:"Make a group."`
	Delete  groupDelete  `cmd:"" help:"Delete a group; what its members held by it, they lose."`
	Members groupMembers `cmd:"" help:"List who is in a group."`
	Add     groupAdd     `cmd:"" help:"Put users into a group."`
	Remove  groupRemove  `cmd:"" help:"Take users out of a group."`
	Grant   groupGrant   `cmd:"" help:"Give a group a role on the installation."`
	Revoke  groupRevoke  `cmd:"" help:"Take a role on the installation from a group."`
}

const seeGroups = "see `gatehouse group list`"

// InAccount says in which account a group is.
type InAccount struct {
	Account string `placeholder:"NAME" help:"Name of the account (default)."`
}

// id finds the account.
func (a InAccount) id(ctx context.Context, h *app.House, by access.Caller) (string, error) {
	if a.Account == "" {
		return identity.DefaultAccount, nil
	}
	found, err := h.Accounts.ByName(ctx, h.Access.For(by), a.Account)
	if err != nil {
		return "", failed("find account "+a.Account, err, "give the name of an account that exists")
	}
	return found.ID, nil
}

// withGroup finds the group that a command names.
func (p *process) withGroup(ctx context.Context, what string, in InAccount, name string, work func(*app.House, access.Caller, identity.Group) error) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		account, err := in.id(ctx, h, by)
		if err != nil {
			return err
		}
		g, err := h.Groups.ByName(ctx, h.Access.For(by), account, name)
		if err == nil {
			err = work(h, by, g)
		}
		if err != nil {
			return failed(what+" group "+name, err, seeGroups)
		}
		return nil
	})
}

type groupJSON struct {
	ID      string    `json:"id"`
	Account string    `json:"account_id"`
	Name    string    `json:"name"`
	Role    string    `json:"role"` // the highest on the installation; empty where there is none
	Created time.Time `json:"created_at"`
}

func (p *process) wireGroup(ctx context.Context, h *app.House, g identity.Group) (groupJSON, error) {
	out := groupJSON{ID: g.ID, Account: g.Account, Name: g.Name, Created: g.Created.UTC()}
	for _, role := range []access.Role{access.SysAdmin, access.Admin, access.ProjectCreator, access.Licensed} {
		holds, err := h.Access.Holds(ctx, access.Subject{Kind: access.Group, ID: g.ID}, role, access.Installation)
		if err != nil {
			return out, err
		}
		if holds {
			out.Role = string(role)
			break
		}
	}
	return out, nil
}

type groupList struct {
	Place
	Output
	InAccount
}

// Run lists the groups.
func (c *groupList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		account, err := c.id(ctx, h, by)
		if err != nil {
			return err
		}
		all, err := h.Groups.List(ctx, h.Access.For(by), account)
		if err != nil {
			return failed("list groups", err, trySSO)
		}
		shown := make([]groupJSON, len(all))
		for i, g := range all {
			if shown[i], err = p.wireGroup(ctx, h, g); err != nil {
				return failed("read rights of group "+g.Name, err, trySSO)
			}
		}
		return print(p, shown, []string{"NAME", "ROLE", "CREATED", "ID"}, func(g groupJSON) []string {
			return []string{g.Name, g.Role, moment(g.Created), g.ID}
		})
	})
}

type groupCreate struct {
	Place
	Output
	InAccount
	Name string `arg:"" help:"What it is called; unique in its account."`
}

// Run makes the group.
func (c *groupCreate) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		account, err := c.id(ctx, h, by)
		if err != nil {
			return err
		}
		g, err := h.Groups.Create(ctx, h.Access.For(by), account, c.Name)
		if err != nil {
			return failed("create group "+c.Name, err, seeGroups)
		}
		if p.json {
			return p.printJSON(groupJSON{ID: g.ID, Account: g.Account, Name: g.Name, Created: g.Created.UTC()})
		}
		p.note("created group %s", g.Name)
		return nil
	})
}

type groupDelete struct {
	Place
	InAccount
	Name string `arg:"" help:"Name of the group."`
}

// Run deletes the group.
func (c *groupDelete) Run(ctx context.Context, p *process) error {
	return p.withGroup(ctx, "delete", c.InAccount, c.Name, func(h *app.House, by access.Caller, g identity.Group) error {
		if err := h.Groups.Delete(ctx, h.Access.For(by), g.ID); err != nil {
			return err
		}
		p.note("deleted group %s", g.Name)
		return nil
	})
}

type groupMembers struct {
	Place
	Output
	InAccount
	Name string `arg:"" help:"Name of the group."`
}

type groupMemberJSON struct {
	User     string    `json:"user_id"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	Provider string    `json:"provider"` // name of the identity provider that put them there; empty where a person did
	Since    time.Time `json:"since"`
}

// Run lists who is in the group.
func (c *groupMembers) Run(ctx context.Context, p *process) error {
	return p.withGroup(ctx, "list members of", c.InAccount, c.Name, func(h *app.House, by access.Caller, g identity.Group) error {
		all, err := h.Groups.Members(ctx, h.Access.For(by), g.ID)
		if err != nil {
			return err
		}
		providers, err := h.Providers.List(ctx, h.Access.For(by))
		if err != nil {
			return fmt.Errorf("list identity providers: %w", err)
		}
		called := map[string]string{}
		for _, one := range providers {
			called[one.ID] = one.Name
		}
		shown := make([]groupMemberJSON, len(all))
		for i, m := range all {
			shown[i] = groupMemberJSON{m.User, m.Name, m.Email, called[m.Provider], m.Since.UTC()}
		}
		return print(p, shown, []string{"NAME", "EMAIL", "PUT THERE BY", "SINCE"}, func(m groupMemberJSON) []string {
			return []string{m.Name, m.Email, m.Provider, moment(m.Since)}
		})
	})
}

type groupAdd struct {
	Place
	InAccount
	Name  string   `arg:"" help:"Name of the group."`
	Users []string `arg:"" name:"user" help:"Names of users."`
}

// Run puts the users into the group, one after the other.
func (c *groupAdd) Run(ctx context.Context, p *process) error {
	return p.withGroup(ctx, "add to", c.InAccount, c.Name, func(h *app.House, by access.Caller, g identity.Group) error {
		return eachUser(ctx, h, by, c.Users, func(u identity.User) error {
			if err := h.Groups.AddMember(ctx, h.Access.For(by), g.ID, u.ID); err != nil {
				return err
			}
			p.note("%s is in group %s", u.Name, g.Name)
			return nil
		})
	})
}

type groupRemove struct {
	Place
	InAccount
	Name  string   `arg:"" help:"Name of the group."`
	Users []string `arg:"" name:"user" help:"Names of users."`
}

// Run takes the users out of the group, one after the other.
func (c *groupRemove) Run(ctx context.Context, p *process) error {
	return p.withGroup(ctx, "remove from", c.InAccount, c.Name, func(h *app.House, by access.Caller, g identity.Group) error {
		return eachUser(ctx, h, by, c.Users, func(u identity.User) error {
			if err := h.Groups.RemoveMember(ctx, h.Access.For(by), g.ID, u.ID); err != nil {
				return err
			}
			p.note("%s is not in group %s any more", u.Name, g.Name)
			return nil
		})
	})
}

// eachUser finds users by name and stops at the first with whom it does not work.
func eachUser(ctx context.Context, h *app.House, by access.Caller, users []string, work func(identity.User) error) error {
	for _, name := range users {
		u, err := h.Users.ByName(ctx, h.Access.For(by), name)
		if err != nil {
			return fmt.Errorf("%s: %w; %s", name, err, seeUsers)
		}
		if err := work(u); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

type groupGrant struct {
	Place
	InAccount
	Name string `arg:"" help:"Name of the group."`
	Role string `arg:"" help:"licensed, project-creator, admin or sysadmin."`
}

// Run gives the group the role.
func (c *groupGrant) Run(ctx context.Context, p *process) error {
	return p.withGroup(ctx, "grant to", c.InAccount, c.Name, func(h *app.House, by access.Caller, g identity.Group) error {
		if err := h.Access.Grant(ctx, by, access.Subject{Kind: access.Group, ID: g.ID}, access.Role(c.Role), access.Installation); err != nil {
			return err
		}
		p.note("whoever is in group %s has the role %s", g.Name, c.Role)
		c.warn(ctx, p, h, by, g)
		return nil
	})
}

// warn says how many have the role because a provider says so: whoever gives it may not know. What cannot be counted keeps nothing from being done.
func (c *groupGrant) warn(ctx context.Context, p *process, h *app.House, by access.Caller, g identity.Group) {
	all, err := h.Groups.Members(ctx, h.Access.For(by), g.ID)
	if err != nil {
		return
	}
	n := 0
	for _, m := range all {
		if m.Provider != "" {
			n++
		}
	}
	if n > 0 {
		p.note("of its %d members %d came by an identity provider; see `gatehouse group members %s`", len(all), n, g.Name)
	}
}

type groupRevoke struct {
	Place
	InAccount
	Name string `arg:"" help:"Name of the group."`
	Role string `arg:"" help:"licensed, project-creator, admin or sysadmin."`
}

// Run takes the role from the group.
func (c *groupRevoke) Run(ctx context.Context, p *process) error {
	return p.withGroup(ctx, "revoke from", c.InAccount, c.Name, func(h *app.House, by access.Caller, g identity.Group) error {
		if err := h.Access.Revoke(ctx, by, access.Subject{Kind: access.Group, ID: g.ID}, access.Role(c.Role), access.Installation); err != nil {
			return err
		}
		p.note("group %s gives the role %s no longer", g.Name, c.Role)
		return nil
	})
}
