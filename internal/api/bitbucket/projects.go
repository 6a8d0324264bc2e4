package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// projects are the routes of projects.
func (d *Dialect) projects() []api.Route {
	const at, one = "/rest/api/{v}/projects", "/rest/api/{v}/projects/{projectKey}"
	return []api.Route{
		d.reading(at, access.ProjectRead, d.listProjects),
		d.core("POST", at, access.ProjectCreate, d.createProject, coreRow{project.ErrKeyTaken, http.StatusConflict, "A project with that key exists.", ""}),
		d.reading(one, access.ProjectRead, d.showProject),
		d.core("PUT", one, access.ProjectUpdate, d.changeProject),
		d.core("DELETE", one, access.ProjectDelete, d.removeProject,
			coreRow{project.ErrNotEmpty, http.StatusConflict, "The project still has repositories or key proofs.", ""}),
	}
}

// reading is a route by which also strangers look at what is public. They are told of nothing else whether it is there.
func (d *Dialect) reading(pattern string, action access.Action, h api.Handler) api.Route {
	known := named(h)
	adapter := api.Adapter{Authenticate: d.reader, Fail: d.failCore()}
	return api.Route{Method: "GET", Pattern: pattern, Action: action, Handler: d.warned(d.inTime(adapter.Handle(func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if by.Kind != access.Nobody {
			return known(w, r, by)
		}
		err := h(w, r, by)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Denied) {
			err = errNobody
		}
		return err
	})))}
}

// reader is who calls, or nobody where nothing was sent by which anybody could be known.
func (d *Dialect) reader(r *http.Request) (access.Caller, error) {
	by, err := d.coreCaller(r)
	if errors.Is(err, errNobody) {
		return access.NobodyAt(api.Remote(r.Context()), Name, d.Now()), nil
	}
	return by, err
}

// projectRoles are the roles on projects, from the least to the most.
var projectRoles = []access.Role{access.ProjectReader, access.ProjectWriter, access.ProjectAdmin}

// listProjects lists the projects that the caller may see, or may do something more with.
func (d *Dialect) listProjects(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	q := r.URL.Query()
	seen := func(want page.Window) (page.Page[project.Project], error) {
		return d.Projects.Visible(r.Context(), by, storable(q.Get("name")), want)
	}
	if word := q.Get("permission"); word != "" {
		least, err := roleCalled(word, projectRoles)
		if err != nil {
			return err
		}
		seen = d.whereStrong(r.Context(), by, least, seen)
	}
	all, err := listed(r, seen, func(p project.Project) (wireProject, error) { return d.project(r.Context(), p) })
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, all)
}

// whereStrong are those of a listing in which the caller has at least that role. What a caller may see is no long list, so it is read whole.
func (d *Dialect) whereStrong(
	ctx context.Context, by access.Caller, least access.Role, list func(page.Window) (page.Page[project.Project], error),
) func(page.Window) (page.Page[project.Project], error) {
	return func(want page.Window) (page.Page[project.Project], error) {
		var strong []project.Project
		for w := page.Of(0, page.MaxLimit); ; w.Offset += page.MaxLimit {
			part, err := list(w)
			if err != nil {
				return part, err
			}
			for _, p := range part.Items {
				has, err := d.Access.Strongest(ctx, by, p.Resource(), projectRoles...)
				if err != nil {
					return part, err
				}
				if has != "" && rank(has, projectRoles) >= rank(least, projectRoles) || least == access.ProjectReader {
					strong = append(strong, p)
				}
			}
			if !part.HasMore() {
				return cut(strong, want), nil
			}
		}
	}
}

// cut is a page of what is there as a whole.
func cut[T any](all []T, want page.Window) page.Page[T] {
	from := min(want.Offset, int64(len(all)))
	to := min(from+want.Limit, int64(len(all)))
	return page.Page[T]{Items: all[from:to], Total: int64(len(all)), Window: want}
}

// createProject makes a project that its maker administers.
func (d *Dialect) createProject(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := d.Access.Require(r.Context(), by, access.ProjectCreate, access.Installation); err != nil {
		return err // before the body is looked at
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	key, in := body.line("key", maxBody), readProject(body)
	if err := body.wrong(); err != nil {
		return err
	}
	if key == nil || project.CheckKey(*key) != nil {
		return invalid("key", "A project key begins with a letter and holds up to 128 letters, digits, underscores and hyphens.")
	}
	p, err := d.Projects.Create(r.Context(), by, project.New{Key: *key, Name: value(in.Name), Description: value(in.Description), Public: value(in.Public)})
	return d.shownProject(w, r, http.StatusCreated, p, err)
}

// showProject shows one.
func (d *Dialect) showProject(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	p, err := d.allowedProject(r, by, access.ProjectRead)
	return d.shownProject(w, r, http.StatusOK, p, err)
}

// changeProject changes the members that come. Keys stay.
func (d *Dialect) changeProject(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	p, err := d.allowedProject(r, by, access.ProjectUpdate)
	if err != nil {
		return err
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	key, in := body.line("key", maxBody), readProject(body)
	if err := body.wrong(); err != nil {
		return err
	}
	if key != nil && project.FoldKey(*key) != p.Key {
		return invalid("key", "The key of a project cannot be changed.")
	}
	p, err = d.Projects.Update(r.Context(), by, p.ID, in)
	return d.shownProject(w, r, http.StatusOK, p, err)
}

// removeProject removes one that holds nothing any more.
func (d *Dialect) removeProject(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	p, err := d.allowedProject(r, by, access.ProjectDelete)
	if err != nil {
		return err
	}
	if err := d.Projects.Delete(r.Context(), by, p.ID); err != nil {
		return err
	}
	return done(w)
}

// allowedProject finds the project of the path for whoever may do that with it.
func (d *Dialect) allowedProject(r *http.Request, by access.Caller, do access.Action) (project.Project, error) {
	p, err := d.projectIn(r, by)
	if err != nil {
		return p, err
	}
	return p, d.Access.Require(r.Context(), by, do, p.Resource())
}

func (d *Dialect) shownProject(w http.ResponseWriter, r *http.Request, status int, p project.Project, err error) error {
	if err != nil {
		return inFieldsOf(err, "name")
	}
	shown, err := d.project(r.Context(), p)
	if err != nil {
		return err
	}
	return coreReply(w, status, shown)
}

// readProject reads what can be said of a project. An empty name is as good as none.
func readProject(body *object) project.Change {
	in := project.Change{Name: body.line("name", maxBody), Description: body.line("description", maxBody), Public: body.flag("public")}
	if in.Name != nil && *in.Name == "" {
		in.Name = nil
	}
	return in
}

// memberOf is what this wire calls what the domain calls otherwise.
var memberOf = map[string]string{"default_branch": "defaultBranch"}

// inFieldsOf says which member a fault is about that names none, and says it as a sentence.
func inFieldsOf(err error, member string) error {
	if !fault.Is(err, fault.Invalid) {
		return err
	}
	message := fault.Text(err)
	if fields := fault.FieldsOf(err); len(fields) > 0 {
		member = cmp.Or(memberOf[fields[0].Path], fields[0].Path, member)
	}
	return invalid(member, strings.ToUpper(message[:1])+message[1:]+".")
}

// value is what a pointer points at, the zero value where there is nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
