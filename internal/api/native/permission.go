package native

import (
	"context"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// wirePermission is what a user or a group may do in a project or repository.
type wirePermission struct {
	Kind       string    `json:"kind" enum:"user,group"`
	ID         string    `json:"id" format:"uuid"`
	Name       string    `json:"name"` // empty of one who is gone
	Permission string    `json:"permission" enum:"read,write,admin"`
	Since      time.Time `json:"since"`
}

// roleAt is the role on a place that a permission stands for: project.read, repo.admin.
func roleAt(on access.Resource, permission string) access.Role {
	return access.Role(on.Kind + "." + permission)
}

func (a *API) listPermissions(ctx context.Context, by access.Caller, in place) (wirePage[wirePermission], error) {
	on, err := a.at(ctx, by, in)
	if err != nil {
		return wirePage[wirePermission]{}, err
	}
	bindings, err := a.Access.BindingsOn(ctx, by, on)
	if err != nil {
		return wirePage[wirePermission]{}, err
	}
	var all []wirePermission
	for _, b := range bindings {
		all = append(all, wirePermission{
			Kind: string(b.Subject.Kind), ID: b.Subject.ID, Name: b.Name, Permission: strings.TrimPrefix(string(b.Role), on.Kind+"."), Since: b.Created.UTC(),
		})
	}
	return whole(all, func(p wirePermission) wirePermission { return p }), nil
}

type userAt struct {
	place
	User string `path:"user" doc:"Id of the user."`
}

type groupAt struct {
	place
	Group string `path:"group" doc:"Id of the group."`
}

type setUserPermission struct {
	userAt
	Body wirePermissionChoice
}

type setGroupPermission struct {
	groupAt
	Body wirePermissionChoice
}

type wirePermissionChoice struct {
	Permission string `json:"permission" enum:"read,write,admin" doc:"In place of the one before."`
}

func (a *API) setUserPermission(ctx context.Context, by access.Caller, in setUserPermission) (none, error) {
	return none{}, a.setPermission(ctx, by, in.place, access.Subject{Kind: access.User, ID: in.User}, in.Body.Permission)
}

func (a *API) setGroupPermission(ctx context.Context, by access.Caller, in setGroupPermission) (none, error) {
	return none{}, a.setPermission(ctx, by, in.place, access.Subject{Kind: access.Group, ID: in.Group}, in.Body.Permission)
}

func (a *API) removeUserPermission(ctx context.Context, by access.Caller, in userAt) (none, error) {
	return none{}, a.setPermission(ctx, by, in.place, access.Subject{Kind: access.User, ID: in.User}, "")
}

func (a *API) removeGroupPermission(ctx context.Context, by access.Caller, in groupAt) (none, error) {
	return none{}, a.setPermission(ctx, by, in.place, access.Subject{Kind: access.Group, ID: in.Group}, "")
}

// setPermission gives somebody who is there one permission in place of others; "" takes it away.
func (a *API) setPermission(ctx context.Context, by access.Caller, in place, to access.Subject, permission string) error {
	on, err := a.at(ctx, by, in)
	if err != nil {
		return err
	}
	if permission == "" {
		return a.Access.SetRole(ctx, by, to, "", on)
	}
	if to.Kind == access.User {
		found, err := a.Users.ByIDs(ctx, a.Access.For(by), []string{to.ID})
		if err != nil {
			return err
		}
		if _, there := found[to.ID]; !there {
			return identity.ErrUnknown
		}
	}
	return a.Access.SetRole(ctx, by, to, roleAt(on, permission), on)
}
