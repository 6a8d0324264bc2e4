package access_test

import (
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// Rule W6: a bound scope reaches resources of its kind and what belongs to them, never what its holder may do elsewhere.
func TestBoundScopes(t *testing.T) {
	t.Parallel()
	ops, infra, dana := access.Project("ops"), access.Repo("ops", "infra"), access.Resource{Kind: access.UserKind, ID: "dana"}
	reserved := infra
	reserved.Reserved = true
	key := access.Resource{Kind: "ssh_key", ID: "k1", Parents: []access.Resource{infra, ops}}
	store := &memory{bindings: []access.Binding{{Subject: access.Subject{Kind: access.User, ID: "dana"}, Role: access.SysAdmin, Resource: access.Installation}}}
	s := &access.Service{Store: store}
	for name, c := range map[string]struct {
		scope access.Action
		do    access.Action
		on    access.Resource
		want  bool
	}{
		"the kind itself":                 {access.RepoUpdate.On(access.RepoKind), access.RepoUpdate, infra, true},
		"another action":                  {access.RepoUpdate.On(access.RepoKind), access.RepoDelete, infra, false},
		"every verb of a noun":            {access.Action("repo.*").On(access.RepoKind), access.RepoDelete, infra, true},
		"what belongs to it":              {access.RepoUpdate.On(access.ProjectKind), access.RepoUpdate, infra, true},
		"what belongs to it, further":     {access.SSHKeyGrant.On(access.ProjectKind), access.SSHKeyGrant, key, true},
		"what it belongs to":              {access.AccessGrant.On(access.RepoKind), access.AccessGrant, ops, false},
		"the installation":                {access.AccessGrant.On(access.ProjectKind), access.AccessGrant, access.Installation, false},
		"a person":                        {access.TokenRead.On(access.ProjectKind), access.TokenRead, dana, false},
		"settings that are reserved":      {access.RepoUpdate.On(access.RepoKind), access.RepoUpdate, reserved, false},
		"reading what is reserved":        {access.RepoWrite.On(access.RepoKind), access.RepoWrite, reserved, true},
		"reserved, from the project":      {access.RepoUpdate.On(access.ProjectKind), access.RepoUpdate, reserved, true},
		"oneself":                         {access.UserRead.OnSelf(), access.UserRead, dana, true},
		"one's own":                       {access.SSHKeyRead.OnSelf(), access.SSHKeyRead, access.Resource{Kind: "ssh_key", ID: "k2", Parents: []access.Resource{dana}}, true},
		"somebody else":                   {access.UserRead.OnSelf(), access.UserRead, access.Resource{Kind: access.UserKind, ID: "eve"}, false},
		"everybody":                       {access.UserRead.OnSelf(), access.UserRead, access.Installation, false},
		"a kind that is not there":        {access.RepoRead.On(""), access.RepoRead, infra, false},
		"a role's pattern, as it stands":  {access.Action("keyproof.*").On(access.ProjectKind), "keyproof.*", ops, true},
		"everything, inside of its place": {access.Action("*").On(access.RepoKind), access.RepoDelete, infra, true},
	} {
		by := access.Caller{Principal: access.Principal{Kind: access.User, ID: "dana"}, Scopes: []access.Action{c.scope}}
		if d, err := s.Decide(t.Context(), by, c.do, c.on); err != nil || d.Allowed != c.want {
			t.Errorf("%s: %v %q, %v", name, d.Allowed, d, err)
		}
	}
	// What is reached by a bound scope is listed: all, for who may read all.
	by := access.Caller{Principal: access.Principal{Kind: access.User, ID: "dana"}, Scopes: []access.Action{access.RepoRead.On(access.RepoKind)}}
	if all, _, err := s.Reach(t.Context(), by, access.RepoRead, access.RepoKind); err != nil || !all {
		t.Errorf("all: %v, %v", all, err)
	}
	if all, ids, err := s.Reach(t.Context(), by, access.ProjectRead, access.ProjectKind); err != nil || all || ids != nil {
		t.Errorf("without a scope: %v %v, %v", all, ids, err)
	}
}
