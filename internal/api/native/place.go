package native

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
)

// place is a project, or one of its repositories: what tokens, keys and roles can be for. Two lines of the table share one function so.
type place struct {
	Project string `path:"project" optional:"true" doc:"Key of the project."`
	Repo    string `path:"repo" optional:"true" doc:"Slug of the repository."`
}

// at finds a place. It hides what the caller may not see.
func (a *API) at(ctx context.Context, by access.Caller, in place) (access.Resource, error) {
	if in.Repo == "" {
		p, err := a.Projects.ByKey(ctx, by, in.Project)
		return p.Resource(), err
	}
	r, err := a.repo(ctx, by, in)
	return r.Resource(), err
}

// repo finds a repository. Whether its project is there is no stranger's to know.
func (a *API) repo(ctx context.Context, by access.Caller, in place) (repo.Repo, error) {
	return a.Repos.Open(ctx, by, in.Project, in.Repo, false)
}

// project finds a project.
func (a *API) project(ctx context.Context, by access.Caller, in place) (project.Project, error) {
	return a.Projects.ByKey(ctx, by, in.Project)
}
