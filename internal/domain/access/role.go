package access

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// Role is a named set of actions that can be held on one kind of resource.
type Role string

// The roles, each kind from the least to the most.
const (
	Licensed       Role = "licensed"        // on the installation: may sign in
	ProjectCreator Role = "project-creator" // may create projects too
	Admin          Role = "admin"           // may manage people and projects too
	SysAdmin       Role = "sysadmin"        // may do everything

	AccountAuditor       = Role(identity.Auditor)       // on an account: see
	AccountMember        = Role(identity.Ordinary)      // belong to it
	AccountAdministrator = Role(identity.Administrator) // manage its members, groups and applications

	ProjectReader Role = "project.read"  // on a project: see, and clone its repositories
	ProjectWriter Role = "project.write" // use: create and end proofs, push
	ProjectAdmin  Role = "project.admin" // manage: keys, settings, members, repositories

	RepoReader Role = "repo.read"  // on a repository: see and clone
	RepoWriter Role = "repo.write" // push
	RepoAdmin  Role = "repo.admin" // manage: keys, settings, who may what
)

// grants is the one table from role to resource kind and actions. A role includes those listed before
// it for the same kind.
var grants = []struct {
	role    Role
	kind    string
	actions []Action
}{
	{Licensed, InstallationKind, nil},
	{ProjectCreator, InstallationKind, []Action{ProjectCreate}},
	{Admin, InstallationKind, []Action{
		UserCreate, UserRead, UserUpdate, UserDelete, UserRename, "project.*", "repo.*", "keyproof.*", "token.*", "webhook.*", AccessGrant, AccessRevoke, AccessExplain,
		"account.*", "group.*", "application.*", SessionRead, SessionEnd, GuardUnlock, ProviderRead, ProviderTest, ProviderLink, ProviderUnlink, FactorReset, FactorImport,
		"sso.*", "basicauth.*", "sshkey.*",
		"device.*", CredentialCreate, CredentialRead, CredentialUpdate, CredentialCheckIn, "remote.*", RecordingRead, RecordingHold,
		"authorization.*", "subscription.*", EventRead,
	}},
	{SysAdmin, InstallationKind, []Action{"*"}},

	{AccountAuditor, AccountKind, []Action{AccountRead, UserRead, GroupRead, ApplicationRead}},
	{AccountMember, AccountKind, nil},
	{AccountAdministrator, AccountKind, []Action{AccountUpdate, AccountMembers, "group.*", "application.*", FactorReset}},

	{ProjectReader, ProjectKind, []Action{ProjectRead, KeyproofRead, RepoRead}},
	{ProjectWriter, ProjectKind, []Action{"keyproof.*", RepoWrite}},
	{ProjectAdmin, ProjectKind, []Action{ProjectUpdate, ProjectDelete, "repo.*", "token.*", "webhook.*", SSHKeyGrant, AccessGrant, AccessRevoke}},

	{RepoReader, RepoKind, []Action{RepoRead}},
	{RepoWriter, RepoKind, []Action{RepoWrite}},
	{RepoAdmin, RepoKind, []Action{RepoUpdate, RepoDelete, "token.*", SSHKeyGrant, AccessGrant, AccessRevoke}},

	{DeviceConnect, DeviceKind, []Action{RemoteOpen, DeviceRead}},
	{DeviceListed, DeviceKind, []Action{DeviceUpdate}},
	{DeviceManage, DeviceKind, []Action{
		"device.*", CredentialCreate, CredentialRead, CredentialUpdate, CredentialCheckIn, RemoteRead, RemoteEnd, RemoteWatch, RemoteApprove, RecordingRead, RecordingHold, AccessGrant, AccessRevoke,
	}},

	{CredentialConnect, CredentialKind, []Action{RemoteOpen, CredentialRead}},
	{CredentialListed, CredentialKind, []Action{CredentialUpdate, CredentialCheckOut, CredentialCheckIn, RemoteLaunch, RemoteRead, RemoteEnd}},
	{CredentialManage, CredentialKind, []Action{RemoteWatch, RemoteApprove, RecordingRead, AccessGrant, AccessRevoke}},

	{UserListed, UserKind, []Action{RemoteFor}},
	{GroupListed, GroupKind, []Action{RemoteFor}},
}

// Holds reports whether a subject has the role on the resource itself, or one that includes it.
func (s *Service) Holds(ctx context.Context, who Subject, role Role, on Resource) (bool, error) {
	bindings, err := s.Store.BindingsOf(ctx, who)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(bindings, func(b Binding) bool { return b.Resource.is(on) && b.Role.includes(role) }), nil
}

// Guarded reports whether a user has rights over others anywhere, by themselves or by a group: a role that gives roles to people, or says who belongs to
// an account.
func (s *Service) Guarded(ctx context.Context, user string) (bool, error) {
	bindings, err := s.Store.BindingsOf(ctx, Subject{User, user})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(bindings, func(b Binding) bool { return b.Role.Allows(AccessGrant) || b.Role.Allows(AccountMembers) }), nil
}

// Outranks reports whether a user holds a role on the whole installation that stands above whatever the caller holds there: only a system administrator
// changes how a system administrator signs in. Whoever runs the server stands above all.
func (s *Service) Outranks(ctx context.Context, user string, by Caller) (bool, error) {
	if by.Kind == Local || by.Kind == System || by.Kind == User && by.ID == user {
		return false, nil
	}
	for _, role := range []Role{SysAdmin, Admin} {
		theirs, err := s.Holds(ctx, Subject{User, user}, role, Installation)
		if err != nil {
			return true, err
		}
		mine, err := s.Holds(ctx, Subject{by.Kind, by.ID}, role, Installation)
		if err != nil || theirs && !mine {
			return true, err
		}
	}
	return false, nil
}

// includes reports whether a role is the other, or stands above it among those of the same kind of resource.
func (r Role) includes(other Role) bool {
	kind, ok := r.kind()
	seen := false
	for _, g := range grants {
		if g.kind == kind && g.role == other {
			seen = true
		}
		if g.role == r {
			return ok && seen
		}
	}
	return false
}

// actions returns all scopes of the role, those of lesser roles of the same kind included.
func (r Role) actions() []Action {
	kind, ok := r.kind()
	if !ok {
		return nil
	}
	var all []Action
	for _, g := range grants {
		if g.kind == kind {
			all = append(all, g.actions...)
		}
		if g.role == r {
			break
		}
	}
	return all
}

// Allows reports whether the role covers the action.
func (r Role) Allows(do Action) bool {
	for _, scope := range r.actions() {
		if do.AllowedBy(scope) {
			return true
		}
	}
	return false
}

func (r Role) kind() (string, bool) {
	for _, g := range grants {
		if g.role == r {
			return g.kind, true
		}
	}
	return "", false
}

func (r Role) known() bool { _, ok := r.kind(); return ok }

func (r Role) fits(kind string) bool { k, ok := r.kind(); return ok && k == kind }

func roleNames(kind string) string {
	var names []string
	for _, g := range grants {
		if g.kind == kind {
			names = append(names, string(g.role))
		}
	}
	return strings.Join(names, ", ")
}
