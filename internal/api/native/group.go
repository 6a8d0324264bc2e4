package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// wireGroup is a named set inside an account.
type wireGroup struct {
	ID        string    `json:"id" format:"uuid"`
	Account   string    `json:"account_id" format:"uuid"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

func groupOf(g identity.Group) wireGroup {
	return wireGroup{ID: g.ID, Account: g.Account, Name: g.Name, CreatedAt: g.Created.UTC()}
}

func (a *API) listGroups(ctx context.Context, by access.Caller, in oneAccount) (wirePage[wireGroup], error) {
	all, err := a.Groups.List(ctx, a.Access.For(by), in.Account)
	return whole(all, groupOf), err
}

func (a *API) listGroupsOfUser(ctx context.Context, by access.Caller, in oneUser) (wirePage[wireGroup], error) {
	all, err := a.Groups.OfUser(ctx, a.Access.For(by), in.User)
	return whole(all, groupOf), err
}

type createGroup struct {
	Account string `path:"account" doc:"Id of the account."`
	Body    wireGroupDraft
}

type wireGroupDraft struct {
	Name string `json:"name" maxLength:"4096" example:"developers"`
}

func (a *API) createGroup(ctx context.Context, by access.Caller, in createGroup) (wireGroup, error) {
	g, err := a.Groups.Create(ctx, a.Access.For(by), in.Account, in.Body.Name)
	return groupOf(g), err
}

type oneGroup struct {
	Group string `path:"group" doc:"Its id."`
}

func (a *API) deleteGroup(ctx context.Context, by access.Caller, in oneGroup) (none, error) {
	return none{}, a.Groups.Delete(ctx, a.Access.For(by), in.Group)
}

// wireGroupMember is a user in a group.
type wireGroupMember struct {
	User     string    `json:"user_id" format:"uuid"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	Provider *string   `json:"provider_id" format:"uuid" nullable:"true" doc:"The identity provider that put them there, and may take them out; null where a person did."`
	Since    time.Time `json:"since"`
}

func groupMemberOf(m identity.GroupMember) wireGroupMember {
	out := wireGroupMember{User: m.User, Name: m.Name, Email: m.Email, Since: m.Since.UTC()}
	if m.Provider != "" {
		out.Provider = &m.Provider
	}
	return out
}

func (a *API) listGroupMembers(ctx context.Context, by access.Caller, in oneGroup) (wirePage[wireGroupMember], error) {
	all, err := a.Groups.Members(ctx, a.Access.For(by), in.Group)
	return whole(all, groupMemberOf), err
}

type oneGroupMember struct {
	Group string `path:"group" doc:"Id of the group."`
	User  string `path:"user" doc:"Id of the user."`
}

func (a *API) addGroupMember(ctx context.Context, by access.Caller, in oneGroupMember) (none, error) {
	return none{}, a.Groups.AddMember(ctx, a.Access.For(by), in.Group, in.User)
}

func (a *API) removeGroupMember(ctx context.Context, by access.Caller, in oneGroupMember) (none, error) {
	return none{}, a.Groups.RemoveMember(ctx, a.Access.For(by), in.Group, in.User)
}

type oneGroupRole struct {
	Group string `path:"group" doc:"Id of the group."`
	Role  string `path:"role" doc:"licensed, project-creator, admin or sysadmin."`
}

func (a *API) grantToGroup(ctx context.Context, by access.Caller, in oneGroupRole) (none, error) {
	of, err := a.group(ctx, by, in.Group)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Access.Grant(ctx, by, of, access.Role(in.Role), access.Installation)
}

func (a *API) revokeFromGroup(ctx context.Context, by access.Caller, in oneGroupRole) (none, error) {
	of, err := a.group(ctx, by, in.Group)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Access.Revoke(ctx, by, of, access.Role(in.Role), access.Installation)
}

// group is a group that is there, as one that can hold roles.
func (a *API) group(ctx context.Context, by access.Caller, id string) (access.Subject, error) {
	g, err := a.Groups.ByID(ctx, a.Access.For(by), id)
	return access.Subject{Kind: access.Group, ID: g.ID}, err
}
