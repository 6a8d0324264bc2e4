package main

import (
	"context"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type repoCommands struct {
	Add    repoAdd    `cmd:"" help:"Make an empty git repository in a project."`
	List   repoList   `cmd:"" help:"List the repositories of a project, or of all."`
	Delete repoDelete `cmd:"" help:"Delete a repository, its history and whatever opens it."`

	repoMemberCommands
}

type repoJSON struct {
	ID            string    `json:"id"`
	Project       string    `json:"project"`
	Slug          string    `json:"slug"`
	Name          string    `json:"name"`
	DefaultBranch string    `json:"default_branch"`
	Public        bool      `json:"public"` // anybody may read it, by itself
	Open          bool      `json:"open"`   // anybody may read it: it is public, or its project is
	Created       time.Time `json:"created_at"`
}

func wireRepo(r repo.Repo) repoJSON {
	return repoJSON{r.ID, r.Project.Key, r.Slug, r.Name, r.DefaultBranch, r.Public, r.Open(), r.Created.UTC()}
}

type repoAdd struct {
	Place
	Output
	Path   string `arg:"" name:"repository" placeholder:"KEY/NAME" help:"Key of its project and what people call it."`
	Branch string `placeholder:"NAME" help:"Branch that it begins with (main)."`
	Public bool   `help:"Let anybody read it."`
}

// Run makes the repository.
func (c *repoAdd) Run(ctx context.Context, p *process) error {
	key, name, ok := strings.Cut(c.Path, "/")
	if !ok || key == "" || name == "" {
		return usagef("add repository %s: name its project's key and the repository, such as OPS/infra", c.Path)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		in, err := h.Projects.ByKey(ctx, by, key)
		if err != nil {
			return failed("add repository "+c.Path, err, seeProjects)
		}
		r, err := h.Repos.Create(ctx, by, in, repo.New{Name: name, DefaultBranch: c.Branch, Public: c.Public})
		if err != nil {
			return failed("add repository "+c.Path, err, seeRepos)
		}
		if p.json {
			return p.printJSON(wireRepo(r))
		}
		p.note("added repository %s", r.Path())
		return nil
	})
}

type repoList struct {
	Place
	Output
	Project string `arg:"" optional:"" placeholder:"KEY" help:"Key of a project; without one, of all."`
}

// Run lists the repositories.
func (c *repoList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		projects, err := c.projects(ctx, h, by)
		if err != nil {
			return failed("list repositories", err, seeProjects)
		}
		shown := []repoJSON{}
		for _, in := range projects {
			repos, err := every(func(w page.Window) (page.Page[repo.Repo], error) { return h.Repos.OfProject(ctx, by, in, w) })
			if err != nil {
				return failed("list repositories of project "+in.Key, err, seeProjects)
			}
			for _, r := range repos {
				shown = append(shown, wireRepo(r))
			}
		}
		return print(p, shown, []string{"PROJECT", "SLUG", "NAME", "BRANCH", "ANYBODY READS", "CREATED", "ID"}, func(r repoJSON) []string {
			return []string{r.Project, r.Slug, r.Name, r.DefaultBranch, yes(r.Open), moment(r.Created), r.ID}
		})
	})
}

func (c *repoList) projects(ctx context.Context, h *app.House, by access.Caller) ([]project.Project, error) {
	if c.Project == "" {
		return every(func(w page.Window) (page.Page[project.Project], error) { return h.Projects.List(ctx, by, w) })
	}
	one, err := h.Projects.ByKey(ctx, by, c.Project)
	return []project.Project{one}, err
}

type repoDelete struct {
	Place
	Path string `arg:"" name:"repository" placeholder:"KEY/SLUG" help:"Key of its project and its slug."`
}

// Run deletes the repository.
func (c *repoDelete) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		r, err := repoAt(ctx, h, by, c.Path)
		if err != nil {
			return err
		}
		if err := h.Repos.Delete(ctx, by, r); err != nil {
			return failed("delete repository "+c.Path, err, seeRepos)
		}
		p.note("deleted repository %s", r.Path())
		return nil
	})
}
