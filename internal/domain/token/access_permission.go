package token

import (
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Permission is what an HTTP access token is good for at most; its owner's rights bound it as well.
type Permission string

// The permissions, each family from the least to the most. Those on projects hold on all their repositories too.
const (
	RepoRead     Permission = "repo.read"
	RepoWrite    Permission = "repo.write"
	RepoAdmin    Permission = "repo.admin"
	ProjectRead  Permission = "project.read"
	ProjectWrite Permission = "project.write"
	ProjectAdmin Permission = "project.admin"
)

var (
	repoFamily    = []Permission{RepoRead, RepoWrite, RepoAdmin}
	projectFamily = []Permission{ProjectRead, ProjectWrite, ProjectAdmin}
)

// goesWith is with which permission on projects one on repositories can be combined: with none that is the higher one.
var goesWith = map[Permission][]Permission{
	RepoRead:  {ProjectRead},
	RepoWrite: {ProjectRead, ProjectWrite},
	RepoAdmin: {ProjectRead, ProjectWrite, ProjectAdmin},
}

// The tables of what a token's permissions let its holder do, besides what anybody may: each line adds to those above it. They are those of the roles of
// the same names, with two exceptions: no token makes tokens, so none makes administrators either, and none changes or sends webhooks. Every scope is bound to projects or
// repositories, so that the roles which its owner holds on the whole installation give it nothing beyond these.
var (
	repoScopes = [][]access.Action{
		{access.RepoRead},
		{access.RepoWrite},
		{access.RepoUpdate, access.RepoDelete, access.TokenRead, access.TokenUpdate, access.TokenRevoke, access.SSHKeyGrant, access.AccessGrant, access.AccessRevoke},
	}
	projectScopes = [][]access.Action{
		{access.ProjectRead, access.KeyproofRead},
		{"keyproof.*"},
		{access.ProjectUpdate, access.ProjectDelete, access.RepoCreate},
	}
	// personalScopes is what every personal token lets its holder do with what is their own: see who they are, and which tokens and keys they have.
	personalScopes = []access.Action{access.UserRead, access.TokenRead, access.SSHKeyRead}
)

// The faults of permissions. Their fields name "permissions" and carry what was sent as the value.
var (
	ErrNoPermission      = fault.New(fault.Invalid, "At least one permission is required.")
	ErrUnknownPermission = fault.New(fault.Invalid, "There is no such permission.")                                   // Value: the Permission
	ErrCombination       = fault.New(fault.Invalid, "A permission on projects must not exceed that on repositories.") // Value: []Permission, of repositories and of projects
	ErrNotForRepo        = fault.New(fault.Invalid, "Project permissions cannot be granted to a repository token.")   // for repository tokens
)

// checkPermissions returns what is kept of a list: as it is, without duplicates.
func checkPermissions(list []Permission, scope access.Resource) ([]Permission, error) {
	var kept []Permission
	for _, p := range list {
		if !slices.Contains(repoFamily, p) && !slices.Contains(projectFamily, p) {
			return nil, ErrUnknownPermission.With(fault.Field{Path: "permissions", Message: "Unknown permission: " + string(p), Value: p})
		}
		if !slices.Contains(kept, p) {
			kept = append(kept, p)
		}
	}
	repo, project := strongest(kept, repoFamily), strongest(kept, projectFamily)
	switch {
	case len(kept) == 0:
		return nil, at("permissions", ErrNoPermission)
	case project > 0 && scope.Kind == access.RepoKind:
		return nil, at("permissions", ErrNotForRepo)
	case repo > 0 && project > 0 && !slices.Contains(goesWith[repoFamily[repo-1]], projectFamily[project-1]):
		pair := []Permission{repoFamily[repo-1], projectFamily[project-1]}
		return nil, ErrCombination.With(fault.Field{Path: "permissions", Message: string(pair[0]) + " cannot be combined with " + string(pair[1]) + ".", Value: pair})
	}
	return kept, nil
}

// at names the field that a fault is about.
func at(path string, f *fault.Error) error { return f.With(fault.Field{Path: path, Message: f.Text}) }

// strongest is how many steps of a family a list amounts to; 0 is none.
func strongest(list, family []Permission) int {
	for i := len(family); i > 0; i-- {
		if slices.Contains(list, family[i-1]) {
			return i
		}
	}
	return 0
}

// scopes is what a token with these permissions may do at most.
func scopes(list []Permission) []access.Action {
	var all []access.Action
	bound := func(kind string, steps [][]access.Action) {
		for _, step := range steps {
			for _, do := range step {
				all = append(all, do.On(kind))
			}
		}
	}
	repo, project := strongest(list, repoFamily), strongest(list, projectFamily)
	bound(access.RepoKind, repoScopes[:max(repo, project)])
	bound(access.ProjectKind, repoScopes[:project])
	bound(access.ProjectKind, projectScopes[:project])
	return all
}
