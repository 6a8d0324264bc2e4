package bitbucket

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// repositories are the routes of repositories.
func (d *Dialect) repositories() []api.Route {
	const at, one = "/rest/api/{v}/projects/{projectKey}/repos", "/rest/api/{v}/projects/{projectKey}/repos/{repositorySlug}"
	return []api.Route{
		d.reading(at, access.RepoRead, d.listRepos),
		d.core("POST", at, access.RepoCreate, d.createRepo, coreRow{repo.ErrTaken, http.StatusConflict, "A repository of that name exists in the project.", ""}),
		d.reading(one, access.RepoRead, d.showRepo),
		d.core("PUT", one, access.RepoUpdate, d.changeRepo),
		d.core("DELETE", one, access.RepoDelete, d.removeRepo),
	}
}

// listRepos lists the repositories of a project that the caller may see. Who sees some may ask for them without seeing the project as a whole.
func (d *Dialect) listRepos(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	in, err := d.projectIn(r, by)
	if err != nil {
		return err
	}
	all, err := listed(r, func(want page.Window) (page.Page[repo.Repo], error) {
		return d.Repos.OfProject(r.Context(), by, in, want)
	}, func(one repo.Repo) (wireRepository, error) { return d.repository(r.Context(), one) })
	if err == nil && all.Size == 0 {
		err = d.Access.Require(r.Context(), by, access.ProjectRead, in.Resource())
	}
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, all)
}

// createRepo makes an empty repository.
func (d *Dialect) createRepo(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	in, err := d.allowedProject(r, by, access.RepoCreate)
	if err != nil {
		return err
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	c, scm := readRepo(body), body.line("scmId", maxBody)
	if err := body.wrong(); err != nil {
		return err
	}
	if scm != nil && *scm != "git" {
		return invalid("scmId", "Repositories are of git alone.")
	}
	made, err := d.Repos.Create(r.Context(), by, in, repo.New{Name: value(c.Name), DefaultBranch: value(c.DefaultBranch), Public: value(c.Public)})
	return d.shownRepo(w, r, http.StatusCreated, made, err)
}

// showRepo shows one.
func (d *Dialect) showRepo(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	one, err := d.allowedRepo(r, by, access.RepoRead)
	return d.shownRepo(w, r, http.StatusOK, one, err)
}

// changeRepo changes the members that come. The slug stays: addresses of clones hold it.
func (d *Dialect) changeRepo(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	one, err := d.allowedRepo(r, by, access.RepoUpdate)
	if err != nil {
		return err
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	in := readRepo(body)
	if err := body.wrong(); err != nil {
		return err
	}
	one, err = d.Repos.Update(r.Context(), by, one, in)
	return d.shownRepo(w, r, http.StatusOK, one, err)
}

// removeRepo removes one. The vendor says that it will be gone; here it is.
func (d *Dialect) removeRepo(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	one, err := d.allowedRepo(r, by, access.RepoDelete)
	if err != nil {
		return err
	}
	if err := d.Repos.Delete(r.Context(), by, one); err != nil {
		return err
	}
	guarded(w.Header())
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// allowedRepo finds the repository of the path for whoever may do that with it.
func (d *Dialect) allowedRepo(r *http.Request, by access.Caller, do access.Action) (repo.Repo, error) {
	one, err := d.repoIn(r, by)
	if err != nil {
		return one, err
	}
	return one, d.Access.Require(r.Context(), by, do, one.Resource())
}

func (d *Dialect) shownRepo(w http.ResponseWriter, r *http.Request, status int, one repo.Repo, err error) error {
	if err != nil {
		return inFieldsOf(err, "name")
	}
	shown, err := d.repository(r.Context(), one)
	if err != nil {
		return err
	}
	return coreReply(w, status, shown)
}

// readRepo reads what can be said of a repository.
func readRepo(body *object) repo.Change {
	return repo.Change{Name: body.line("name", maxBody), DefaultBranch: body.line("defaultBranch", maxBody), Public: body.flag("public")}
}
