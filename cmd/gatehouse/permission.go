package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// withPlace finds the project or repository that a command names.
func (p *process) withPlace(ctx context.Context, what string, at At, missing string, work func(h *app.House, by access.Caller, on access.Resource, called string) error) error {
	if at == (At{}) {
		return usagef("%s nothing; %s", what, needPlace)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		on, called, err := at.place(ctx, h, by)
		if err != nil {
			return err
		}
		if err := work(h, by, on, called); err != nil {
			return failed(what+" "+called, err, missing)
		}
		return nil
	})
}

// Who says to whom something is given.
type Who struct {
	User  string `xor:"who" placeholder:"NAME" help:"Name of a user."`
	Group string `xor:"who" placeholder:"NAME" help:"Name of a group of the default account."`
}

// subject finds the user or group.
func (w Who) subject(ctx context.Context, h *app.House, by access.Caller) (access.Subject, string, error) {
	if w.Group != "" {
		g, err := h.Groups.ByName(ctx, h.Access.For(by), identity.DefaultAccount, w.Group)
		if err != nil {
			return access.Subject{}, "", fmt.Errorf("%w; %s", err, seeGroups)
		}
		return access.Subject{Kind: access.Group, ID: g.ID}, "group " + g.Name, nil
	}
	u, err := h.Users.ByName(ctx, h.Access.For(by), w.User)
	if err != nil {
		return access.Subject{}, "", fmt.Errorf("%w; %s", err, seeUsers)
	}
	return access.Subject{Kind: access.User, ID: u.ID}, "user " + u.Name, nil
}

// grant gives somebody a permission in place of the one before.
func (w Who) grant(ctx context.Context, p *process, at At, permission string) error {
	if w == (Who{}) {
		return usagef("grant %s to nobody; give --user or --group", permission)
	}
	return p.withPlace(ctx, "grant "+permission+" on", at, seeProjects, func(h *app.House, by access.Caller, on access.Resource, called string) error {
		to, name, err := w.subject(ctx, h, by)
		if err != nil {
			return err
		}
		if err := h.Access.SetRole(ctx, by, to, access.Role(on.Kind+"."+permission), on); err != nil {
			return err
		}
		p.note("%s has the permission %s on %s", name, permission, called)
		return nil
	})
}

// revoke takes whatever permission somebody has.
func (w Who) revoke(ctx context.Context, p *process, at At) error {
	if w == (Who{}) {
		return usagef("revoke from nobody; give --user or --group")
	}
	return p.withPlace(ctx, "revoke on", at, seeProjects, func(h *app.House, by access.Caller, on access.Resource, called string) error {
		from, name, err := w.subject(ctx, h, by)
		if err != nil {
			return err
		}
		if err := h.Access.SetRole(ctx, by, from, "", on); err != nil {
			return err
		}
		p.note("%s has no permission of its own on %s", name, called)
		return nil
	})
}

type memberJSON struct {
	Kind       string    `json:"kind"` // user or group
	ID         string    `json:"id"`
	Name       string    `json:"name"` // empty of one who is gone
	Permission string    `json:"permission"`
	Since      time.Time `json:"since"`
}

// members lists who may what, by itself.
func (p *process) members(ctx context.Context, at At) error {
	return p.withPlace(ctx, "list members of", at, seeProjects, func(h *app.House, by access.Caller, on access.Resource, _ string) error {
		bindings, err := h.Access.BindingsOn(ctx, by, on)
		if err != nil {
			return err
		}
		shown := make([]memberJSON, len(bindings))
		for i, b := range bindings {
			shown[i] = memberJSON{string(b.Subject.Kind), b.Subject.ID, b.Name, strings.TrimPrefix(string(b.Role), on.Kind+"."), b.Created.UTC()}
		}
		return print(p, shown, []string{"KIND", "NAME", "PERMISSION", "SINCE"}, func(m memberJSON) []string {
			return []string{m.Kind, m.Name, m.Permission, moment(m.Since)}
		})
	})
}

// repoMemberCommands are about who may what in a repository, and who did.
type repoMemberCommands struct {
	Grant   repoGrant   `cmd:"" help:"Give a user or group a permission in a repository."`
	Revoke  repoRevoke  `cmd:"" help:"Take a user's or group's permission in a repository away."`
	Members repoMembers `cmd:"" help:"List who may what in a repository, by itself."`
	Pushes  repoPushes  `cmd:"" help:"List who pushed what, the newest first."`
}

type projectGrant struct {
	Place
	Who
	Key        string `arg:"" help:"Key of the project."`
	Permission string `arg:"" enum:"read,write,admin" help:"read, write or admin."`
}

// Run gives the permission.
func (c *projectGrant) Run(ctx context.Context, p *process) error {
	return c.grant(ctx, p, At{Project: c.Key}, c.Permission)
}

type projectRevoke struct {
	Place
	Who
	Key string `arg:"" help:"Key of the project."`
}

// Run takes it away.
func (c *projectRevoke) Run(ctx context.Context, p *process) error {
	return c.revoke(ctx, p, At{Project: c.Key})
}

type projectMembers struct {
	Place
	Output
	Key string `arg:"" help:"Key of the project."`
}

// Run lists who may what in the project.
func (c *projectMembers) Run(ctx context.Context, p *process) error {
	return p.members(ctx, At{Project: c.Key})
}

type repoGrant struct {
	Place
	Who
	Repo       string `arg:"" help:"KEY/SLUG: its project's key and its slug."`
	Permission string `arg:"" enum:"read,write,admin" help:"read, write or admin."`
}

// Run gives the permission.
func (c *repoGrant) Run(ctx context.Context, p *process) error {
	return c.grant(ctx, p, At{Repo: c.Repo}, c.Permission)
}

type repoRevoke struct {
	Place
	Who
	Repo string `arg:"" help:"KEY/SLUG: its project's key and its slug."`
}

// Run takes it away.
func (c *repoRevoke) Run(ctx context.Context, p *process) error {
	return c.revoke(ctx, p, At{Repo: c.Repo})
}

type repoMembers struct {
	Place
	Output
	Repo string `arg:"" help:"KEY/SLUG: its project's key and its slug."`
}

// Run lists who may what in the repository, by itself.
func (c *repoMembers) Run(ctx context.Context, p *process) error {
	return p.members(ctx, At{Repo: c.Repo})
}

type repoPushes struct {
	Place
	Output
	Repo  string `arg:"" help:"KEY/SLUG: its project's key and its slug."`
	Limit int64  `default:"100" placeholder:"N" help:"How many, the newest first (${default})."`
}

type pushJSON struct {
	ID         string     `json:"id"`
	At         time.Time  `json:"at"`
	Kind       string     `json:"actor_kind"`
	Name       string     `json:"actor"`
	Credential string     `json:"credential_id"` // of the token or SSH key by which it came; empty: a session or a password
	Address    string     `json:"address"`
	Door       string     `json:"door"`
	Refs       []repo.Ref `json:"refs"`
}

// Run lists who pushed what.
func (c *repoPushes) Run(ctx context.Context, p *process) error {
	if c.Limit < 1 || c.Limit > page.MaxLimit {
		return usagef("--limit: %d lies outside 1 to %d; correct it", c.Limit, page.MaxLimit)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		r, err := repoAt(ctx, h, by, c.Repo)
		if err != nil {
			return err
		}
		pushes, err := h.Repos.Pushes(ctx, by, r, page.Behind("", c.Limit))
		if err != nil {
			return failed("list pushes to "+r.Path(), err, seeRepos)
		}
		shown := make([]pushJSON, len(pushes.Items))
		for i, one := range pushes.Items {
			shown[i] = pushJSON{one.ID, one.At.UTC(), string(one.Actor.Kind), one.Actor.Name, one.Credential, one.Address, one.Door, one.Refs}
		}
		return print(p, shown, []string{"AT", "WHO", "FROM", "BY", "REFS"}, func(one pushJSON) []string {
			return []string{moment(one.At), one.Name, one.Address, one.Door, moved(one.Refs)}
		})
	})
}

// moved names references, and how many more there are.
func moved(refs []repo.Ref) string {
	const most = 3
	var names []string
	for _, r := range refs[:min(len(refs), most)] {
		names = append(names, r.Name)
	}
	if more := len(refs) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
