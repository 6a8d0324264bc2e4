package main

import (
	"context"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

// seeRepos says where repositories are listed.
const seeRepos = "see `gatehouse repo list KEY`"

// At says which project or repository is meant.
type At struct {
	Project string `xor:"of" placeholder:"KEY" help:"Key of a project."`
	Repo    string `xor:"of" placeholder:"KEY/SLUG" help:"A repository: its project's key and its slug."`
}

// place finds it, with how people name it.
func (a At) place(ctx context.Context, h *app.House, by access.Caller) (on access.Resource, called string, err error) {
	if a.Repo != "" {
		r, err := repoAt(ctx, h, by, a.Repo)
		if err != nil {
			return on, "", err
		}
		return r.Resource(), "repository " + r.Path(), nil
	}
	p, err := h.Projects.ByKey(ctx, by, a.Project)
	if err != nil {
		return on, "", failed("find project "+a.Project, err, seeProjects)
	}
	return p.Resource(), "project " + p.Key, nil
}

// repoAt finds a repository by KEY/SLUG.
func repoAt(ctx context.Context, h *app.House, by access.Caller, path string) (repo.Repo, error) {
	key, slug, ok := strings.Cut(path, "/")
	if !ok {
		return repo.Repo{}, usagef("%q is no repository; name it by its project's key and its slug, such as OPS/infra", path)
	}
	r, err := h.Repos.ByPath(ctx, by, key, slug)
	if err != nil {
		return repo.Repo{}, failed("find repository "+path, err, seeRepos)
	}
	return r, nil
}

// Owner says whose tokens are meant.
type Owner struct {
	User    string `xor:"of" placeholder:"NAME" help:"Name of a user."`
	Project string `xor:"of" placeholder:"KEY" help:"Key of a project."`
	Repo    string `xor:"of" placeholder:"KEY/SLUG" help:"A repository: its project's key and its slug."`
}

func (o Owner) missing() bool { return o.User == "" && o.Project == "" && o.Repo == "" }

// scope finds it, with how people name it.
func (o Owner) scope(ctx context.Context, h *app.House, by access.Caller) (on access.Resource, called string, err error) {
	if o.User == "" {
		return At{o.Project, o.Repo}.place(ctx, h, by)
	}
	u, err := userNamed(ctx, h, by, o.User)
	return token.OfUser(u.ID), "user " + u.Name, err
}

// userNamed finds a user.
func userNamed(ctx context.Context, h *app.House, by access.Caller, name string) (identity.User, error) {
	u, err := h.Users.ByName(ctx, h.Access.For(by), name)
	if err != nil {
		return u, failed("find user "+name, err, seeUsers)
	}
	return u, nil
}
