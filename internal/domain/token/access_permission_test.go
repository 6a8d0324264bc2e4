package token_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// lists are all lists of permissions that differ in what they allow.
var lists = [][]token.Permission{
	{token.RepoRead},
	{token.RepoWrite},
	{token.RepoAdmin},
	{token.ProjectRead},
	{token.ProjectWrite},
	{token.ProjectAdmin},
	{token.RepoRead, token.ProjectRead},
	{token.RepoWrite, token.ProjectRead},
	{token.RepoWrite, token.ProjectWrite},
	{token.RepoAdmin, token.ProjectRead},
	{token.RepoAdmin, token.ProjectWrite},
	{token.RepoAdmin, token.ProjectAdmin},
}

// roleOf is the role that a permission is called after; that on projects comes with its like on repositories.
func roleOf(p token.Permission) (onRepos, onProjects access.Role) {
	kind, step, _ := strings.Cut(string(p), ".")
	if kind == "project" {
		onProjects = access.Role(p)
	}
	return access.Role("repo." + step), onProjects
}

// lent says, without any look at scopes, whether a list of permissions covers an action: by the roles of the same names, but for what no token may.
func lent(list []token.Permission, do access.Action, on access.Resource) bool {
	if do == access.TokenIssue || do == access.AuthInfo || strings.HasPrefix(string(do), "webhook.") {
		return false
	}
	plain := do == access.RepoRead || do == access.RepoWrite
	for _, p := range list {
		onRepos, onProjects := roleOf(p)
		switch {
		case on.Kind == access.RepoKind && onRepos.Allows(do) && (plain || !on.Reserved):
			return true
		case (on.Kind == access.RepoKind || on.Kind == access.ProjectKind) && onProjects.Allows(do):
			return true
		}
	}
	return false
}

// Rules W6 and W7: what a token may do is what both its permissions and its owner may do at that moment, over every action, role and kind of resource. No token carries
// what its owner may do on the whole installation, to other users, or to anything but projects and repositories.
func TestAccess_may_do_the_lesser_of_token_and_owner(t *testing.T) {
	t.Parallel()
	reserved, open, openProject := infra, infra, ops
	reserved.Reserved, open.Open, openProject.Open = true, true, true
	places := map[string]access.Resource{
		"a repository": infra, "a reserved repository": reserved, "an open repository": open, "a project": ops, "an open project": openProject, "another project": web, "its repository": site,
		"the installation": access.Installation, "oneself": dana, "somebody else": token.OfUser("eve"), "an account": access.Account("a1"), "a group": access.InAccount("a1", access.GroupKind, "g1"),
		"an application": access.InAccount("a1", access.ApplicationKind, "p1"), "one's session": access.SessionOf(access.Subject{Kind: access.User, ID: "dana"}, "s1"),
		"another session": access.SessionOf(access.Subject{Kind: access.User, ID: "eve"}, "s2"), "a provider": {Kind: "provider", ID: "i1"},
		"one's key": {Kind: "ssh_key", ID: "k1", Parents: []access.Resource{dana}}, "another key": {Kind: "ssh_key", ID: "k2", Parents: []access.Resource{token.OfUser("eve")}},
	}
	owners := map[string][]access.Binding{
		"nobody in particular": nil, "licensed": {role(access.Licensed, access.Installation)}, "a maker of projects": {role(access.ProjectCreator, access.Installation)},
		"an administrator": {role(access.Admin, access.Installation)}, "a system administrator": {role(access.SysAdmin, access.Installation)},
		"a reader": {role(access.ProjectReader, ops)}, "a writer": {role(access.ProjectWriter, ops)}, "a project's administrator": {role(access.ProjectAdmin, ops)},
		"a reader of one": {role(access.RepoReader, infra)}, "a writer of one": {role(access.RepoWriter, infra)}, "a repository's administrator": {role(access.RepoAdmin, infra)},
		"one with both": {role(access.ProjectReader, ops), role(access.RepoAdmin, infra)},
	}
	own := []access.Action{access.UserRead, access.TokenRead, access.SSHKeyRead}
	for who, held := range owners {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			o := newOffice()
			person := o.person("dana", held...)
			may := func(by access.Caller, do access.Action, on access.Resource) bool {
				d, err := o.Access.Decide(t.Context(), by, do, on)
				if err != nil {
					t.Fatal(err)
				}
				return d.Allowed
			}
			for where, on := range places {
				for _, do := range access.Actions() {
					owner := may(person, do, on)
					for _, list := range lists {
						mine := token.Access{ID: "a1", Scope: dana, UserName: "dana", Permissions: list}
						self := (where == "oneself" || where == "one's session" || where == "one's key") && slices.Contains(own, do)
						if want := owner && (self || lent(list, do, on)); may(mine.Caller(), do, on) != want {
							t.Errorf("%v of dana: %s on %s: want %v", list, do, where, want)
						}
						for _, scope := range []access.Resource{ops, infra} {
							inside := on.Kind == scope.Kind && on.ID == scope.ID || len(on.Parents) > 0 && on.Parents[0].ID == scope.ID && on.Parents[0].Kind == scope.Kind
							theirs := token.Access{ID: "a2", Scope: scope, Permissions: list}
							if want := inside && lent(list, do, on); may(theirs.Caller(), do, on) != want {
								t.Errorf("%v of %s: %s on %s: want %v", list, scope, do, where, want)
							}
						}
					}
				}
			}
		})
	}
}

// Rule W6: no list of permissions has a scope for what is nobody's business but a person's, not even bound.
func TestAccess_has_no_scope_for_what_no_token_may(t *testing.T) {
	t.Parallel()
	personal := []access.Action{"user.read@self", "token.read@self", "sshkey.read@self"}
	for _, list := range lists {
		for _, scope := range []access.Resource{dana, ops, infra} {
			c := token.Access{ID: "a1", Scope: scope, Permissions: list}.Caller()
			for _, has := range c.Scopes {
				noun, _, _ := strings.Cut(string(has), ".")
				what, bound, _ := strings.Cut(string(has), "@")
				if scope.Kind == access.UserKind && slices.Contains(personal, has) {
					continue
				}
				if bound != access.ProjectKind && bound != access.RepoKind {
					t.Errorf("%v has scope %s, which is not bound", list, has)
				}
				if slices.Contains([]string{"user", "provider", "session", "account", "sso", "basicauth", "group", "application", "factor", "guard", "webhook", "*"}, noun) ||
					access.TokenIssue.AllowedBy(access.Action(what)) || access.SSHKeyAdd.AllowedBy(access.Action(what)) || access.ProjectCreate.AllowedBy(access.Action(what)) {
					t.Errorf("%v has scope %s", list, has)
				}
			}
			if access.Fresh(c, c.At, 1<<62) == nil { // rule F14
				t.Error("a token is a fresh proof of a person")
			}
		}
	}
}

// Nobody gives more than they hold: no token makes administrators, who could make tokens.
func TestAccess_gives_roles_below_its_own(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.person("dana", role(access.ProjectAdmin, ops))
	eve := access.Subject{Kind: access.User, ID: "eve"}
	for _, c := range []struct {
		p    token.Permission
		role access.Role
		on   access.Resource
		want bool
	}{
		{token.ProjectAdmin, access.ProjectReader, ops, true},
		{token.ProjectAdmin, access.ProjectWriter, ops, true},
		{token.ProjectAdmin, access.ProjectAdmin, ops, false},
		{token.ProjectAdmin, access.RepoWriter, infra, true},
		{token.RepoAdmin, access.RepoWriter, infra, true},
		{token.RepoAdmin, access.RepoAdmin, infra, false},
		{token.RepoAdmin, access.ProjectReader, ops, false},
		{token.ProjectWrite, access.ProjectReader, ops, false},
	} {
		by := token.Access{ID: "a1", Scope: dana, Permissions: []token.Permission{c.p}}.Caller()
		if err := o.Access.SetRole(t.Context(), by, eve, c.role, c.on); (err == nil) != c.want || err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%s gives %s: %v", c.p, c.role, err)
		}
	}
}

func TestIssue_judges_permissions(t *testing.T) {
	t.Parallel()
	none := token.Permission("")
	matrix := map[token.Permission]map[token.Permission]bool{ // of repositories, of projects
		none:            {none: false, token.ProjectRead: true, token.ProjectWrite: true, token.ProjectAdmin: true},
		token.RepoRead:  {none: true, token.ProjectRead: true, token.ProjectWrite: false, token.ProjectAdmin: false},
		token.RepoWrite: {none: true, token.ProjectRead: true, token.ProjectWrite: true, token.ProjectAdmin: false},
		token.RepoAdmin: {none: true, token.ProjectRead: true, token.ProjectWrite: true, token.ProjectAdmin: true},
	}
	o := newOffice()
	by := o.person("dana", role(access.ProjectAdmin, ops))
	issue := func(scope access.Resource, list ...token.Permission) error {
		_, _, err := o.Issue(t.Context(), by, scope, token.Draft{Name: "ci", Permissions: list})
		if err != nil && (fault.KindOf(err) != fault.Invalid || len(fault.FieldsOf(err)) != 1 || fault.FieldsOf(err)[0].Path != "permissions") {
			t.Errorf("%v: %v", list, err)
		}
		return err
	}
	for r, row := range matrix {
		for p, want := range row {
			list := slices.DeleteFunc([]token.Permission{r, p}, func(p token.Permission) bool { return p == none })
			err := issue(dana, list...)
			switch {
			case want && err != nil, !want && len(list) == 0 && !errors.Is(err, token.ErrNoPermission):
				t.Errorf("%v: %v", list, err)
			case !want && len(list) == 2:
				if pair, _ := fault.FieldsOf(err)[0].Value.([]token.Permission); !errors.Is(err, token.ErrCombination) || !slices.Equal(pair, list) {
					t.Errorf("%v: %v", list, err)
				}
			}
			if err := issue(infra, list...); (err == nil) != (want && p == none) || p != none && !errors.Is(err, token.ErrNotForRepo) {
				t.Errorf("%v for a repository: %v", list, err)
			}
		}
	}
	if err := issue(ops, token.RepoRead, token.RepoAdmin, token.ProjectAdmin); err != nil { // the highest of a family counts
		t.Error(err)
	}
	if err := issue(ops, token.ProjectRead, "repo.fly"); !errors.Is(err, token.ErrUnknownPermission) || fault.FieldsOf(err)[0].Value != token.Permission("repo.fly") {
		t.Error(err)
	}
}

// What people may do without any right is for them, not for their tokens.
func TestAccess_makes_no_accounts(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.person("dana")
	by := token.Access{ID: "a1", Scope: dana, UserName: "dana", Permissions: []token.Permission{token.ProjectAdmin}}.Caller()
	accounts := &identity.Accounts{UsersMake: true, NewID: func() string { return "c1" }} // without a store: it must not get that far
	if _, err := accounts.Create(t.Context(), o.Access.For(by), "mine"); !fault.Is(err, fault.Denied) {
		t.Error(err)
	}
}
