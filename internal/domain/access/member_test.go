package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func TestSetRole(t *testing.T) {
	t.Parallel()
	p1, infra := access.Project("p1"), access.Repo("p1", "infra")
	reserved := infra
	reserved.Reserved = true
	for name, c := range map[string]struct {
		by   access.Caller
		to   access.Subject
		role access.Role
		on   access.Resource
		want error // nil: it is set; a fault of that kind otherwise
	}{
		"gives_what_one_holds":                     {user("pam", "*"), person("eve"), access.ProjectAdmin, p1, nil},
		"replaces_what_was_held":                   {user("pam", "*"), person("bob"), access.ProjectReader, p1, nil},
		"takes_away_what_one_could_give":           {user("pam", "*"), person("bob"), "", p1, nil},
		"takes_away_where_nothing_is_held":         {user("pam", "*"), person("eve"), "", p1, nil},
		"takes_administration_from_an_equal":       {user("pam", "*"), person("pat"), access.ProjectReader, p1, nil},
		"gives_roles_on_repositories_by_a_project": {user("pam", "*"), person("eve"), access.RepoAdmin, infra, nil},
		"gives_roles_on_ones_repository":           {user("rex", "*"), person("eve"), access.RepoAdmin, infra, nil},
		"gives_to_groups_of_the_default_account":   {user("pam", "*"), access.Subject{Kind: access.Group, ID: "ops"}, access.ProjectReader, p1, nil},
		"lets_one_raise_oneself_to_what_one_holds": {user("adam", "*"), person("adam"), access.ProjectAdmin, p1, nil},

		"refuses_who_may_not_grant":                 {user("bob", "*"), person("eve"), access.ProjectReader, p1, fault.New(fault.Denied, "")},
		"refuses_a_scope_without_granting":          {user("pam", "project.*"), person("eve"), access.ProjectReader, p1, fault.New(fault.Denied, "")},
		"refuses_more_than_the_scopes_carry":        {user("pam", access.AccessGrant, access.ProjectRead), person("eve"), access.ProjectWriter, p1, fault.New(fault.Denied, "")}, // rule W7
		"refuses_another_project":                   {user("pam", "*"), person("eve"), access.ProjectReader, access.Project("p2"), fault.New(fault.Denied, "")},
		"refuses_a_repository_admin_the_project":    {user("rex", "*"), person("eve"), access.ProjectReader, p1, fault.New(fault.Denied, "")},
		"refuses_a_repository_admin_where_reserved": {user("rex", "*"), person("eve"), access.RepoReader, reserved, fault.New(fault.Denied, "")},
		"refuses_to_take_from_who_stands_above":     {user("adam", "*"), person("ana"), "", access.Installation, fault.New(fault.Denied, "")},
		"refuses_to_lower_who_stands_above":         {user("adam", "*"), person("ana"), access.Admin, access.Installation, fault.New(fault.Denied, "")},
		"refuses_to_take_beyond_the_scopes":         {user("pam", access.AccessGrant, access.ProjectRead), person("bob"), "", p1, fault.New(fault.Denied, "")},
		"refuses_to_take_ones_own_administration":   {user("pam", "*"), person("pam"), "", p1, access.ErrOwnRole},
		"refuses_to_lower_ones_own_administration":  {user("pam", "*"), person("pam"), access.ProjectWriter, p1, access.ErrOwnRole},
		"refuses_roles_of_another_kind":             {user("ana", "*"), person("eve"), access.RepoReader, p1, fault.New(fault.Invalid, "")},
		"refuses_roles_that_do_not_exist":           {user("ana", "*"), person("eve"), "owner", p1, fault.New(fault.Invalid, "")},
		"refuses_groups_that_do_not_exist":          {user("pam", "*"), access.Subject{Kind: access.Group, ID: "nobody"}, access.ProjectReader, p1, access.ErrNoGroup},
		"refuses_groups_of_others_on_all":           {user("ana", "*"), access.Subject{Kind: access.Group, ID: "g-a"}, access.Licensed, access.Installation, fault.New(fault.Invalid, "")},
		"refuses_nobody":                            {access.NobodyAt(netip.Addr{}, "native", now), person("eve"), access.ProjectReader, p1, fault.New(fault.Denied, "")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &memory{bindings: []access.Binding{
				holding("ana", access.SysAdmin, access.Installation), holding("adam", access.Admin, access.Installation),
				holding("pam", access.ProjectAdmin, p1), holding("pat", access.ProjectAdmin, p1), holding("bob", access.ProjectWriter, p1), holding("rex", access.RepoAdmin, infra),
			}}
			before := fmt.Sprint(m.bindings)
			err := clubbed(&club{memory: m}).SetRole(t.Context(), c.by, c.to, c.role, c.on)
			if c.want != nil {
				if !fault.Is(err, fault.KindOf(c.want)) || fault.Is(c.want, fault.Conflict) && !errors.Is(err, c.want) || len(m.events) != 0 || fmt.Sprint(m.bindings) != before {
					t.Errorf("%v, events %+v", err, m.events)
				}
				return
			}
			var held []access.Role
			for _, b := range m.bindings {
				if b.Subject == c.to && b.Resource.Kind == c.on.Kind && b.Resource.ID == c.on.ID {
					held = append(held, b.Role)
				}
			}
			if err != nil || c.role == "" && held != nil || c.role != "" && !slices.Equal(held, []access.Role{c.role}) {
				t.Fatalf("%v: holds %v", err, held)
			}
			e, subject := m.events[0], string(c.to.Kind)+" "+c.to.ID
			if c.role == "" && (e.Action != "access.revoke" || e.Detail["from"] != subject) || c.role != "" && (e.Action != "access.grant" || e.Detail["to"] != subject || e.Detail["role"] != string(c.role)) {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestSetRole_changes_nothing_when_bindings_cannot_be_read(t *testing.T) {
	t.Parallel()
	m := &memory{err: errors.New("away"), bindings: []access.Binding{holding("pam", access.ProjectAdmin, access.Project("p1"))}}
	if err := service(m).SetRole(t.Context(), user("pam", "*"), person("eve"), access.ProjectReader, access.Project("p1")); !errors.Is(err, m.err) || len(m.events) != 0 {
		t.Errorf("%v, %+v", err, m.events)
	}
}

func TestBindingsOn_is_for_who_may_grant(t *testing.T) {
	t.Parallel()
	s := service(&memory{bindings: []access.Binding{holding("pam", access.ProjectAdmin, access.Project("p1")), holding("bob", access.ProjectWriter, access.Project("p1")), holding("eve", access.ProjectReader, access.Project("p2"))}})
	if got, err := s.BindingsOn(t.Context(), user("pam", "*"), access.Project("p1")); err != nil || len(got) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range []string{"bob", "eve"} {
		if _, err := s.BindingsOn(t.Context(), user(name, "*"), access.Project("p1")); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	s := service(&memory{bindings: []access.Binding{
		holding("ana", access.Admin, access.Installation), holding("lic", access.Licensed, access.Installation),
		holding("bob", access.ProjectReader, access.Project("p1")), holding("bob", access.ProjectAdmin, access.Project("p1")), holding("bob", access.ProjectWriter, access.Project("p2")),
		holding("bob", access.RepoReader, access.Repo("p3", "r1")),
	}})
	token := func(place access.Resource, scopes ...access.Action) access.Caller {
		return access.Caller{Principal: access.Principal{Kind: access.ServiceIdentity, ID: "t1"}, Scopes: scopes, Limit: place}
	}
	lapsed := user("lic", "*")
	lapsed.Limit = access.Project("p1")
	for name, c := range map[string]struct {
		by   access.Caller
		do   access.Action
		kind string
		all  bool
		ids  []string
	}{
		"all by a role on the installation":      {user("ana", "*"), access.ProjectRead, access.ProjectKind, true, nil},
		"those where a role allows it, once":     {user("bob", "*"), access.ProjectRead, access.ProjectKind, false, []string{"p1", "p2"}},
		"not where a role does not":              {user("bob", "*"), access.ProjectUpdate, access.ProjectKind, false, []string{"p1"}},
		"not what lies within another kind":      {user("bob", "*"), access.RepoRead, access.RepoKind, false, []string{"r1"}},
		"none without a role":                    {user("lic", "*"), access.ProjectRead, access.ProjectKind, false, nil},
		"none without a scope":                   {user("ana", access.RepoRead), access.ProjectRead, access.ProjectKind, false, nil},
		"all that the server has":                {access.LocalCaller("root", now), access.ProjectRead, access.ProjectKind, true, nil},
		"nothing for nobody":                     {access.NobodyAt(netip.Addr{}, "native", now), access.ProjectRead, access.ProjectKind, false, nil},
		"a token's own place":                    {token(access.Project("p1"), "*"), access.ProjectRead, access.ProjectKind, false, []string{"p1"}},
		"a token's own place, of another kind":   {token(access.Repo("p1", "r1"), "*"), access.ProjectRead, access.ProjectKind, false, nil}, // rule G1
		"nothing for a token without the scope":  {token(access.Repo("p1", "r1"), access.RepoRead), access.RepoWrite, access.RepoKind, false, nil},
		"nothing for a token without a place":    {token(access.Resource{}, "*"), access.RepoRead, access.RepoKind, false, nil},
		"nothing for who is limited to it alone": {lapsed, access.ProjectRead, access.ProjectKind, false, nil},
	} {
		all, ids, err := s.Reach(t.Context(), c.by, c.do, c.kind)
		if err != nil || all != c.all || !slices.Equal(ids, c.ids) {
			t.Errorf("%s: %v %q, %v", name, all, ids, err)
		}
	}
	away := service(&memory{err: errors.New("away")})
	if all, ids, err := away.Reach(t.Context(), user("bob", "*"), access.ProjectRead, access.ProjectKind); err == nil || all || ids != nil {
		t.Errorf("%v %v, %v", all, ids, err)
	}
}

func TestStrongest(t *testing.T) {
	t.Parallel()
	infra := access.Repo("p1", "infra")
	reserved, open := infra, infra
	reserved.Reserved, open.Open = true, true
	s := service(&memory{bindings: []access.Binding{
		holding("ana", access.SysAdmin, access.Installation), holding("pam", access.ProjectAdmin, access.Project("p1")), holding("bob", access.ProjectWriter, access.Project("p1")),
		holding("rex", access.RepoAdmin, infra), holding("eve", access.Licensed, access.Installation),
	}})
	for name, c := range map[string]struct {
		by   access.Caller
		on   access.Resource
		want access.Role
	}{
		"all of it":                         {user("ana", "*"), infra, access.RepoAdmin},
		"by the project":                    {user("pam", "*"), infra, access.RepoAdmin},
		"some of it":                        {user("bob", "*"), infra, access.RepoWriter},
		"by itself":                         {user("rex", "*"), infra, access.RepoAdmin},
		"what is left where it is reserved": {user("rex", "*"), reserved, access.RepoWriter},
		"not from those above":              {user("pam", "*"), reserved, access.RepoAdmin},
		"nothing":                           {user("eve", "*"), infra, ""},
		"what anybody may":                  {user("eve", "*"), open, access.RepoReader},
		"what scopes leave":                 {user("ana", "repo.read", "repo.write"), infra, access.RepoWriter},
		"nothing without scopes":            {user("ana"), open, ""},
	} {
		if got, err := s.Strongest(t.Context(), c.by, c.on, access.RepoReader, access.RepoWriter, access.RepoAdmin); err != nil || got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// What is open anybody may read, and no more than that; scopes and places narrow it all the same.
func TestOpen_and_reserved_against_a_plain_rule(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		project := rapid.SampledFrom([]string{"p1", "p2"}).Draw(t, "project")
		on := access.Repo(project, "r-"+project)
		on.Open, on.Reserved = rapid.Bool().Draw(t, "open"), rapid.Bool().Draw(t, "reserved")
		do := rapid.SampledFrom([]access.Action{access.RepoRead, access.RepoWrite, access.RepoUpdate, access.RepoDelete, access.AccessGrant, access.TokenIssue, access.SSHKeyGrant}).Draw(t, "action")
		kind := rapid.SampledFrom([]access.PrincipalKind{access.Nobody, access.User, access.ServiceIdentity}).Draw(t, "who")
		onRepo := rapid.SampledFrom([]access.Role{"", access.RepoReader, access.RepoWriter, access.RepoAdmin}).Draw(t, "role")
		onProject := rapid.SampledFrom([]access.Role{"", access.ProjectReader, access.ProjectWriter, access.ProjectAdmin}).Draw(t, "role on the project")
		place := rapid.SampledFrom([]access.Resource{{}, access.Project("p1"), access.Repo("p1", "r-p1"), access.Repo("p2", "r-p2")}).Draw(t, "place")
		scope := rapid.SampledFrom([]access.Action{"*", "repo.*", access.RepoRead, access.TokenIssue}).Draw(t, "scope")

		m := &memory{}
		if onRepo != "" {
			m.bindings = append(m.bindings, holding("x", onRepo, on))
		}
		if onProject != "" {
			m.bindings = append(m.bindings, holding("x", onProject, access.Project(project)))
		}
		by := access.Caller{Principal: access.Principal{Kind: kind, ID: "x"}, Scopes: []access.Action{scope}, Limit: place}

		transfers := do == access.RepoRead || do == access.RepoWrite
		inside := place.Kind == access.ProjectKind && place.ID == project || place.Kind == access.RepoKind && place.ID == on.ID
		want := false
		switch kind {
		case access.User:
			want = onProject.Allows(do) || onRepo.Allows(do) && (transfers || !on.Reserved)
		case access.ServiceIdentity:
			want = inside // rule G1
		}
		want = (want || on.Open && do == access.RepoRead) && do.AllowedBy(scope) && (inside || place.Kind == "")
		d, err := service(m).Decide(context.Background(), by, do, on)
		if err != nil || d.Allowed != want {
			t.Fatalf("%v %q, %v; want %v", d.Allowed, d, err, want)
		}
	})
}
