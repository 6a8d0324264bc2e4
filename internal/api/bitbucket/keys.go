package bitbucket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// accessKeys are the routes of access keys.
func (d *Dialect) accessKeys() []api.Route {
	const at = "/rest/keys/{v}"
	const inProject, inRepo = at + "/projects/{projectKey}/ssh", at + "/projects/{projectKey}/repos/{repositorySlug}/ssh"
	return slices.Concat(d.accessKeysAt(inRepo, d.repoPlace), d.accessKeysAt(inProject, d.projectPlace), []api.Route{
		d.core("DELETE", at+"/ssh/{keyId}", access.SSHKeyGrant, d.removeFromMany),
		d.core("GET", at+"/ssh/{keyId}/projects", access.SSHKeyGrant, d.listProjectsOf),
		d.core("GET", at+"/ssh/{keyId}/repos", access.SSHKeyGrant, d.listReposOf),
	})
}

// accessKeysAt are those of one place.
func (d *Dialect) accessKeysAt(pattern string, find finder) []api.Route {
	route := func(method, pattern string, h func(http.ResponseWriter, *http.Request, access.Caller, location) error) api.Route {
		return d.core(method, pattern, access.SSHKeyGrant, func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
			at, err := find(r, by)
			if err != nil {
				return err
			}
			return h(w, r, by, at)
		})
	}
	return []api.Route{
		route("GET", pattern, d.listAccessKeys),
		route("POST", pattern, d.addAccessKey),
		route("GET", pattern+"/{keyId}", d.showAccessKey),
		route("DELETE", pattern+"/{keyId}", d.removeAccess),
		route("PUT", pattern+"/{keyId}/permission/{permission}", d.changePermission),
	}
}

// location is where an access key opens something: a repository, or else a project.
type location struct {
	project project.Project
	repo    *repo.Repo
}

func (l location) resource() access.Resource {
	if l.repo != nil {
		return l.repo.Resource()
	}
	return l.project.Resource()
}

// permissionsAt are the words of this wire for what a key may do at a place of that kind.
func permissionsAt(kind string) map[sshkey.Permission]string {
	if kind == access.RepoKind {
		return map[sshkey.Permission]string{sshkey.Read: "REPO_READ", sshkey.Write: "REPO_WRITE"}
	}
	return map[sshkey.Permission]string{sshkey.Read: "PROJECT_READ", sshkey.Write: "PROJECT_WRITE"}
}

// noPermission is what no key can be given.
const noPermission sshkey.Permission = "none"

// permission reads a word of this wire. None is none; what cannot be given there is noPermission, which the verb refuses.
func (l location) permission(word string) sshkey.Permission {
	if word == "" {
		return ""
	}
	for is, called := range permissionsAt(l.resource().Kind) {
		if called == word {
			return is
		}
	}
	return noPermission
}

// finder finds the place that a path names.
type finder func(r *http.Request, by access.Caller) (location, error)

func (d *Dialect) projectPlace(r *http.Request, by access.Caller) (location, error) {
	p, err := d.projectIn(r, by)
	return location{project: p}, err
}

func (d *Dialect) repoPlace(r *http.Request, by access.Caller) (location, error) {
	in, err := d.repoIn(r, by)
	return location{in.Project, &in}, err
}

// listAccessKeys lists the access keys of a place; of a repository, where it is asked for, with those of its project.
func (d *Dialect) listAccessKeys(w http.ResponseWriter, r *http.Request, by access.Caller, at location) error {
	q, member := r.URL.Query(), "permission"
	want := sshkey.At{Place: at.resource(), Label: storable(q.Get("filter"))}
	least := q.Get(member)
	if at.repo != nil {
		want.Effective = strings.EqualFold(q.Get("effective"), "true")
		if asked := q.Get("minimumPermission"); asked != "" {
			member, least = "minimumPermission", asked
		}
	}
	want.Least = at.permission(least)
	show := d.shower(r.Context(), at)
	all, err := listed(r, func(w page.Window) (page.Page[sshkey.Held], error) {
		want.Window = w
		return d.Keys.ListAt(r.Context(), by, want)
	}, show)
	if fault.Is(err, fault.Invalid) {
		err = invalid(member, "Unknown permission: "+storable(least))
	}
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, all)
}

// addAccessKey puts a key on file that opens the place, or gives one that is there this place too.
func (d *Dialect) addAccessKey(w http.ResponseWriter, r *http.Request, by access.Caller, at location) error {
	if err := d.Access.Require(r.Context(), by, access.SSHKeyGrant, at.resource()); err != nil {
		return err // before the body is looked at
	}
	body, err := read(r)
	if err != nil {
		return err
	}
	permission := sshkey.Permission("")
	if body.has("permission") {
		permission = cmp.Or(at.permission(body.loose("permission")), noPermission)
	}
	key := body.object("key")
	key.path = "" // its members are called by their own names
	n := newKey(key)
	if err := body.wrong(); err != nil {
		return err
	}
	held, err := d.Keys.AddAccessKey(r.Context(), by, at.resource(), permission, n)
	return d.shown(w, r, http.StatusCreated, at, held, err)
}

// shown answers with what a key was given at a place.
func (d *Dialect) shown(w http.ResponseWriter, r *http.Request, status int, at location, held sshkey.Held, err error) error {
	if err != nil {
		return keyFault(r, err)
	}
	out, err := d.shower(r.Context(), at)(held)
	if err != nil {
		return err
	}
	return coreReply(w, status, out)
}

// showAccessKey shows what a key was given at the place.
func (d *Dialect) showAccessKey(w http.ResponseWriter, r *http.Request, by access.Caller, at location) error {
	held, err := d.Keys.AccessAt(r.Context(), by, at.resource(), keyNumber(r))
	return d.shown(w, r, http.StatusOK, at, held, err)
}

// changePermission changes what a key may do at the place.
func (d *Dialect) changePermission(w http.ResponseWriter, r *http.Request, by access.Caller, at location) error {
	held, err := d.Keys.SetPermission(r.Context(), by, at.resource(), keyNumber(r), at.permission(r.PathValue("permission")))
	return d.shown(w, r, http.StatusOK, at, held, err)
}

// removeAccess takes the place away from a key, whether it had it or not.
func (d *Dialect) removeAccess(w http.ResponseWriter, r *http.Request, by access.Caller, at location) error {
	if err := d.Keys.RemoveAccess(r.Context(), by, at.resource(), keyNumber(r)); err != nil {
		return err
	}
	return done(w)
}

// removeFromMany takes all places away that the body names, or none.
func (d *Dialect) removeFromMany(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	projects, repos := body.objects("projects"), body.objects("repositories")
	if err := body.wrong(); err != nil {
		return err
	}
	var at []access.Resource
	for _, o := range projects {
		p, err := d.namedProject(r, by, o)
		if err != nil {
			return err
		}
		at = append(at, p.Resource())
	}
	for _, o := range repos {
		in, err := d.namedRepo(r, by, o)
		if err != nil {
			return err
		}
		at = append(at, in.Resource())
	}
	if err := d.Keys.RemoveFromMany(r.Context(), by, keyNumber(r), at); err != nil {
		return err
	}
	return done(w)
}

// namedProject finds the project that an object of a body names.
func (d *Dialect) namedProject(r *http.Request, by access.Caller, o *object) (project.Project, error) {
	key := o.loose("key")
	if key == "" {
		return project.Project{}, invalid("projects", "A project is named by its key.")
	}
	return d.findProject(r.Context(), by, key)
}

// namedRepo finds the repository that an object of a body names.
func (d *Dialect) namedRepo(r *http.Request, by access.Caller, o *object) (repo.Repo, error) {
	key, slug := o.object("project").loose("key"), o.loose("slug")
	if key == "" || slug == "" {
		return repo.Repo{}, invalid("repositories", "A repository is named by its slug and the key of its project.")
	}
	return d.findRepo(r.Context(), by, key, slug)
}

// maxPlaces is how many projects and how many repositories one body names at most.
const maxPlaces = 100

// objects reads objects of which one may stand alone.
func (o *object) objects(member string) []*object {
	if !o.has(member) {
		return nil
	}
	raw := o.members[member]
	var list []json.RawMessage
	if raw[0] != '[' {
		list = []json.RawMessage{raw}
	} else if json.Unmarshal(raw, &list) != nil || len(list) > maxPlaces {
		o.refuse(member, "must hold at most 100 objects")
		return nil
	}
	all := make([]*object, 0, len(list))
	for _, one := range list {
		in := &object{path: o.path + member + ".", within: o}
		if json.Unmarshal(one, &in.members) != nil || in.members == nil {
			o.refuse(member, "must be an object or a list of objects")
		}
		all = append(all, in)
	}
	return all
}

// listProjectsOf lists the projects that a key opens.
func (d *Dialect) listProjectsOf(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	return d.listPlacesOf(w, r, by, access.ProjectKind)
}

// listReposOf lists the repositories that a key opens.
func (d *Dialect) listReposOf(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	return d.listPlacesOf(w, r, by, access.RepoKind)
}

func (d *Dialect) listPlacesOf(w http.ResponseWriter, r *http.Request, by access.Caller, kind string) error {
	key, err := d.Keys.LocationsOf(r.Context(), by, keyNumber(r))
	if err != nil {
		return keyFault(r, err)
	}
	withRestrictions := strings.EqualFold(r.URL.Query().Get("withRestrictions"), "true")
	all := []wireAccessKey{}
	for _, g := range key.Grants {
		if g.Place.Kind != kind {
			continue
		}
		at, err := d.placeOf(r.Context(), by, g.Place)
		if fault.Is(err, fault.NotFound) { // it went meanwhile
			continue
		}
		if err != nil {
			return err
		}
		shown, err := d.shower(r.Context(), at)(sshkey.Held{Key: key, Grant: g})
		if err == nil && withRestrictions && kind == access.RepoKind {
			shown.ReadOnly, err = d.readOnly(r.Context(), by, at)
		}
		if err != nil {
			return err
		}
		all = append(all, shown)
	}
	slices.SortFunc(all, func(a, b wireAccessKey) int { return cmp.Compare(a.number(), b.number()) })
	return coreReply(w, http.StatusOK, all)
}

// placeOf finds the place of a grant.
func (d *Dialect) placeOf(ctx context.Context, by access.Caller, at access.Resource) (location, error) {
	if at.Kind == access.RepoKind {
		in, err := d.Repos.ByID(ctx, by, at.ID)
		return location{in.Project, &in}, err
	}
	p, err := d.Projects.ByID(ctx, by, at.ID)
	return location{project: p}, err
}

// readOnly says whether the settings of a repository are reserved for others than the caller.
func (d *Dialect) readOnly(ctx context.Context, by access.Caller, at location) (*bool, error) {
	may, err := d.Access.Decide(ctx, by, access.SSHKeyGrant, at.resource())
	is := !may.Allowed
	return &is, err
}

// keyNumber is the number of the key that the path names; what is no number names none.
func keyNumber(r *http.Request) int64 { return number(r.PathValue("keyId")) }

// keyFault says what became of a key in the words of this wire.
func keyFault(r *http.Request, err error) error {
	switch {
	case errors.Is(err, sshkey.ErrUnknown):
		return notThere(noSuchSSHKey, "SSH key %s does not exist.", r.PathValue("keyId"))
	case fault.Is(err, fault.Conflict):
		return called{err, duplicateSSHKey}
	}
	return err
}
