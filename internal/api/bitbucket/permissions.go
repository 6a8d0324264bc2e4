package bitbucket

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

const noSuchGroup = exceptions + "user.NoSuchGroupException"

// repoRoles are the roles on repositories, from the least to the most.
var repoRoles = []access.Role{access.RepoReader, access.RepoWriter, access.RepoAdmin}

// globalRoles are those on the installation, and globalWords what this wire calls them.
var (
	globalRoles = []access.Role{access.Licensed, access.ProjectCreator, access.Admin, access.SysAdmin}
	globalWords = map[access.Role]string{access.Licensed: "LICENSED_USER", access.ProjectCreator: "PROJECT_CREATE", access.Admin: "ADMIN", access.SysAdmin: "SYS_ADMIN"}
)

// roleWord is what this wire calls a role.
func roleWord(role access.Role) string {
	if word, ok := globalWords[role]; ok {
		return word
	}
	return permissionWord(string(role))
}

// roleCalled finds the role among some that a word stands for.
func roleCalled(word string, among []access.Role) (access.Role, error) {
	for _, role := range among {
		if roleWord(role) == word {
			return role, nil
		}
	}
	return "", invalid("permission", "Unknown permission: "+storable(word))
}

// rank is a role's place in a list from the least to the most; -1 is none.
func rank(role access.Role, among []access.Role) int { return slices.Index(among, role) }

// rolesAt is where people hold permissions, and which there are.
type rolesAt struct {
	on    access.Resource
	roles []access.Role
}

// permissions are the routes of who holds what on projects and repositories.
func (d *Dialect) permissions() []api.Route {
	const inProject, inRepo = "/rest/api/{v}/projects/{projectKey}/permissions", "/rest/api/{v}/projects/{projectKey}/repos/{repositorySlug}/permissions"
	ofProject := func(r *http.Request, by access.Caller) (rolesAt, error) {
		p, err := d.projectIn(r, by)
		return rolesAt{p.Resource(), projectRoles}, err
	}
	ofRepo := func(r *http.Request, by access.Caller) (rolesAt, error) {
		in, err := d.repoIn(r, by)
		return rolesAt{in.Resource(), repoRoles}, err
	}
	return slices.Concat(
		d.permissionsOf(inProject+"/users", ofProject, d.people()), d.permissionsOf(inProject+"/groups", ofProject, d.circles()),
		d.permissionsOf(inRepo+"/users", ofRepo, d.people()), d.permissionsOf(inRepo+"/groups", ofRepo, d.circles()),
	)
}

// permissionsOf are those of one kind of place and of subject.
func (d *Dialect) permissionsOf(pattern string, find func(*http.Request, access.Caller) (rolesAt, error), of subjects) []api.Route {
	route := func(method string, action access.Action, h func(http.ResponseWriter, *http.Request, access.Caller, rolesAt, subjects) error) api.Route {
		return d.core(method, pattern, action, func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
			at, err := find(r, by)
			if err != nil {
				return err
			}
			if err := d.Access.Require(r.Context(), by, access.AccessGrant, at.on); err != nil {
				return err
			}
			if at.on.Kind == access.InstallationKind && method == http.MethodPut { // rule F14: what gives rights over everything, as at every door
				if err := d.fresh(by); err != nil {
					return err
				}
			}
			err = h(w, r, by, at, of)
			if at.on.Kind == access.InstallationKind {
				err = above(err)
			}
			return err
		}, ownRole, aboveRow)
	}
	return []api.Route{route("GET", access.AccessGrant, d.listHolders), route("PUT", access.AccessGrant, d.give), route("DELETE", access.AccessRevoke, d.take)}
}

var ownRole = coreRow{access.ErrOwnRole, http.StatusConflict, "You cannot take your own administration away; let another administrator do it.", ""}

// wirePermission is what a user or a group holds.
type wirePermission struct {
	User       *wireUser  `json:"user,omitempty"`
	Group      *wireGroup `json:"group,omitempty"`
	Permission string     `json:"permission"`
}

type wireGroup struct {
	Name string `json:"name"`
}

// subjects is one of the two kinds of whom permissions are given to.
type subjects struct {
	kind access.PrincipalKind
	// find finds one by name.
	find func(ctx context.Context, name string) (id string, err error)
	// show shows those of the bindings' subjects who are there and whose name begins with a text, in the order of the wire.
	show func(ctx context.Context, held []access.Binding, beginning string) ([]wirePermission, error)
}

// people are users, by number.
func (d *Dialect) people() subjects {
	return subjects{access.User, func(ctx context.Context, name string) (string, error) {
		u, err := d.findUser(ctx, name)
		return u.ID, err
	}, func(ctx context.Context, held []access.Binding, beginning string) ([]wirePermission, error) {
		ids := make([]string, len(held))
		for i, b := range held {
			ids[i] = b.Subject.ID
		}
		users, err := d.Users.ByIDs(ctx, d.ourselves(), ids)
		var all []wirePermission
		for _, b := range held {
			u, there := users[b.Subject.ID]
			if there && (begins(u.Name, beginning) || begins(u.Names.Display, beginning) || begins(u.Email, beginning)) {
				all = append(all, wirePermission{User: d.user(u), Permission: roleWord(b.Role)})
			}
		}
		slices.SortFunc(all, func(a, b wirePermission) int { return int(a.User.ID - b.User.ID) })
		return all, err
	}}
}

// circles are groups, by name.
func (d *Dialect) circles() subjects {
	return subjects{access.Group, func(ctx context.Context, name string) (string, error) {
		g, err := d.Groups.Named(ctx, d.ourselves(), storable(name))
		if fault.Is(err, fault.NotFound) {
			err = notThere(noSuchGroup, "Group %s does not exist.", storable(name))
		}
		return g.ID, err
	}, func(_ context.Context, held []access.Binding, beginning string) ([]wirePermission, error) {
		var all []wirePermission
		for _, b := range held {
			if b.Name != "" && begins(b.Name, beginning) {
				all = append(all, wirePermission{Group: &wireGroup{b.Name}, Permission: roleWord(b.Role)})
			}
		}
		slices.SortFunc(all, func(a, b wirePermission) int {
			return strings.Compare(identity.Fold(a.Group.Name), identity.Fold(b.Group.Name))
		})
		return all, nil
	}}
}

func begins(text, beginning string) bool {
	return strings.HasPrefix(identity.Fold(text), identity.Fold(beginning))
}

// listHolders lists who holds what at a place, each with the most that they hold.
func (d *Dialect) listHolders(w http.ResponseWriter, r *http.Request, by access.Caller, at rolesAt, of subjects) error {
	bindings, err := d.Access.BindingsOn(r.Context(), by, at.on)
	if err != nil {
		return err
	}
	var held []access.Binding
	for _, b := range bindings {
		i := slices.IndexFunc(held, func(other access.Binding) bool { return other.Subject == b.Subject })
		switch {
		case b.Subject.Kind != of.kind || rank(b.Role, at.roles) < 0:
		case i < 0:
			held = append(held, b)
		case rank(b.Role, at.roles) > rank(held[i].Role, at.roles):
			held[i] = b
		}
	}
	shown, err := of.show(r.Context(), held, storable(r.URL.Query().Get("filter")))
	if err != nil {
		return err
	}
	all, err := listed(r, func(want page.Window) (page.Page[wirePermission], error) { return cut(shown, want), nil }, func(p wirePermission) (wirePermission, error) { return p, nil })
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, all)
}

// give makes a permission the one that somebody holds at a place.
func (d *Dialect) give(w http.ResponseWriter, r *http.Request, by access.Caller, at rolesAt, of subjects) error {
	id, err := nameIn(r, of)
	if err != nil {
		return err
	}
	role, err := roleCalled(r.URL.Query().Get("permission"), at.roles)
	if err != nil {
		return err
	}
	return d.set(w, r, by, access.Subject{Kind: of.kind, ID: id}, role, at)
}

// take takes what somebody holds at a place.
func (d *Dialect) take(w http.ResponseWriter, r *http.Request, by access.Caller, at rolesAt, of subjects) error {
	id, err := nameIn(r, of)
	if err != nil {
		return err
	}
	return d.set(w, r, by, access.Subject{Kind: of.kind, ID: id}, "", at)
}

func (d *Dialect) set(w http.ResponseWriter, r *http.Request, by access.Caller, to access.Subject, role access.Role, at rolesAt) error {
	if err := d.Access.SetRole(r.Context(), by, to, role, at.on); err != nil {
		return err
	}
	return done(w)
}

// nameIn finds whom the query names. More than one at a time would be all or nothing, and is refused.
func nameIn(r *http.Request, of subjects) (id string, err error) {
	names := r.URL.Query()["name"]
	if len(names) != 1 || names[0] == "" {
		return "", invalid("name", "One name is required.")
	}
	return of.find(r.Context(), names[0])
}
