package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// memory keeps bindings.
type memory struct {
	mu       sync.Mutex
	bindings []access.Binding
	events   []audit.Event
	err      error
}

func (m *memory) BindingsOf(_ context.Context, of access.Subject) ([]access.Binding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []access.Binding
	for _, b := range m.bindings {
		if b.Subject == of {
			out = append(out, b)
		}
	}
	return out, m.err
}

func (m *memory) Grant(_ context.Context, b access.Binding, e audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bindings, m.events = append(m.bindings, b), append(m.events, e)
	return nil
}

func (m *memory) GrantTerms(ctx context.Context, b access.Binding, e audit.Event) (access.Binding, error) {
	b.Number = int64(len(m.bindings) + 1)
	return b, m.Grant(ctx, b, e)
}

func (m *memory) Grants(_ context.Context, of access.Subject, w page.Window) (page.Page[access.Binding], error) {
	p := page.Page[access.Binding]{Window: w}
	for _, b := range m.bindings {
		if b.Opens() && (of.ID == "" || b.Subject == of) {
			p.Items, p.Total = append(p.Items, b), p.Total+1
		}
	}
	return p, nil
}

func (m *memory) GrantByNumber(_ context.Context, number int64) (access.Binding, error) {
	for _, b := range m.bindings {
		if b.Number == number {
			return b, nil
		}
	}
	return access.Binding{}, access.ErrNoGrantOf
}

func (m *memory) BindingsOn(_ context.Context, on access.Resource) (all []access.Binding, _ error) {
	for _, b := range m.bindings {
		if b.Resource.Kind == on.Kind && b.Resource.ID == on.ID {
			all = append(all, b)
		}
	}
	return all, nil
}

func (m *memory) SetRole(_ context.Context, b access.Binding, check func([]access.Role) error, e audit.Event) error {
	same := func(x access.Binding) bool {
		return x.Subject == b.Subject && x.Resource.Kind == b.Resource.Kind && x.Resource.ID == b.Resource.ID
	}
	var held []access.Role
	for _, x := range m.bindings {
		if same(x) {
			held = append(held, x.Role)
		}
	}
	if err := check(held); err != nil {
		return err
	}
	m.bindings = slices.DeleteFunc(m.bindings, same)
	if b.Role != "" {
		m.bindings = append(m.bindings, b)
	}
	m.events = append(m.events, e)
	return nil
}
func (m *memory) Revoke(context.Context, access.Binding, audit.Event) error { return nil }

var now = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func service(m *memory) *access.Service {
	return &access.Service{Store: m, Now: func() time.Time { return now }, NewID: func() string { return "id" }}
}

func user(id string, scopes ...access.Action) access.Caller {
	return access.Caller{
		Principal: access.Principal{Kind: access.User, ID: id, Name: id}, Scopes: scopes, Method: "password", At: now,
		Address: netip.MustParseAddr("192.0.2.1"), Door: "native",
	}
}

func key(project string) access.Caller {
	return access.Caller{
		Principal: access.Principal{Kind: access.APIKey, ID: "k", Name: "ci"},
		Scopes:    []access.Action{"keyproof.*", access.AuthInfo}, Limit: access.Project(project),
	}
}

func holding(id string, role access.Role, on access.Resource) access.Binding {
	return access.Binding{Subject: access.Subject{Kind: access.User, ID: id}, Role: role, Resource: on}
}

// actions are all actions, and one that only a later room will know.
var actions = []access.Action{
	access.KeyproofCreate, access.KeyproofRead, access.KeyproofUpdate, access.KeyproofComplete, access.KeyproofDelete,
	access.KeyproofWebhook, access.KeyproofAttempt, access.KeyproofExpire, access.AuthInfo,
	access.TokenIssue, access.TokenRead, access.TokenRevoke,
	access.ProjectCreate, access.ProjectRead, access.ProjectUpdate,
	access.UserCreate, access.UserRead, access.UserUpdate, access.AccessGrant, access.AccessRevoke,
	access.DeliveryRead, access.DeliveryResend,
	access.TokenUpdate, access.ProjectDelete, access.RepoCreate, access.RepoRead, access.RepoWrite, access.RepoUpdate, access.RepoDelete,
	"gadget.open",
}

func TestRoles_allow_what_the_table_says(t *testing.T) {
	t.Parallel()
	keyproof := []string{"keyproof.create", "keyproof.read", "keyproof.update", "keyproof.complete", "keyproof.delete", "keyproof.webhook", "keyproof.attempt", "keyproof.expire"}
	tokens := []string{"token.info", "token.issue", "token.read", "token.update", "token.revoke"}
	repos := []string{"repo.create", "repo.read", "repo.write", "repo.update", "repo.delete"}
	webhooks := []string{"webhook.read", "webhook.resend"}
	grants := []string{"access.grant", "access.revoke"}
	everything := make([]string, len(actions))
	for i, a := range actions {
		everything[i] = string(a)
	}
	for role, may := range map[access.Role][]string{
		access.Licensed:       nil,
		access.ProjectCreator: {"project.create"},
		access.Admin:          slices.Concat(keyproof, tokens, repos, []string{"project.create", "project.read", "project.update", "project.delete", "user.create", "user.read", "user.update"}, grants, webhooks),
		access.SysAdmin:       everything,
		access.ProjectReader:  {"project.read", "keyproof.read", "repo.read"},
		access.ProjectWriter:  append([]string{"project.read", "repo.read", "repo.write"}, keyproof...),
		access.ProjectAdmin:   slices.Concat(keyproof, tokens, repos, []string{"project.read", "project.update", "project.delete"}, grants, webhooks),
		access.RepoReader:     {"repo.read"},
		access.RepoWriter:     {"repo.read", "repo.write"},
		access.RepoAdmin:      slices.Concat(tokens, []string{"repo.read", "repo.write", "repo.update", "repo.delete"}, grants),
		"nothing.known":       nil,
		"":                    nil,
	} {
		for _, a := range actions {
			if want := slices.Contains(may, string(a)); role.Allows(a) != want {
				t.Errorf("role %q allows %s: %v", role, a, !want)
			}
		}
	}
}

func TestAllowedBy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scope, action access.Action
		want          bool
	}{
		{"*", "repo.write", true},
		{"*", "*", true},
		{"repo.write", "repo.write", true},
		{"repo.*", "repo.write", true},
		{"repo.*", "repo.*", true},
		{"repo.read", "repo.write", false},
		{"repo.write", "repo.*", false},
		{"repo.*", "*", false},
		{"repo.*", "repository.write", false},
		{"repo", "repo.write", false},
		{".*", "repo.write", false},
		{"", "repo.write", false},
		{"", "", true}, // nobody holds an empty scope: it names nothing
	} {
		if got := c.action.AllowedBy(c.scope); got != c.want {
			t.Errorf("scope %q, action %q: %v", c.scope, c.action, got)
		}
	}
}

// TestDecide holds the answers and the words: people read them when they ask why.
func TestDecide(t *testing.T) {
	t.Parallel()
	s := service(&memory{bindings: []access.Binding{
		holding("ana", access.SysAdmin, access.Installation),
		holding("bob", access.ProjectWriter, access.Project("p1")),
	}})
	limited := user("ana", "*")
	limited.Limit = access.Project("p1")
	unlimitedKey := key("p1")
	unlimitedKey.Limit = access.Resource{}
	for name, c := range map[string]struct {
		by   access.Caller
		do   access.Action
		on   access.Resource
		may  bool
		says string
	}{
		"the_zero_caller":                   {access.Caller{}, "keyproof.read", access.Project("p1"), false, " has no scope for keyproof.read"},
		"nobody":                            {access.NobodyAt(netip.Addr{}, "native", now), "keyproof.read", access.Project("p1"), false, "nobody has no scope for keyproof.read"},
		"nobody_with_a_scope":               {access.Caller{Scopes: []access.Action{"*"}}, "keyproof.read", access.Project("p1"), false, "nobody has signed in"},
		"a_person_by_a_role_on_the_project": {user("bob", "*"), "keyproof.create", access.Within("p1", "verify_session", "s"), true, "user bob has scope *; role project.write on project p1 allows keyproof.create"},
		"a_person_by_a_role_above":          {user("ana", "*"), "keyproof.create", access.Project("p9"), true, "user ana has scope *; role sysadmin on the installation allows keyproof.create"},
		"a_person_in_another_project":       {user("bob", "*"), "keyproof.create", access.Project("p2"), false, "user bob has scope *; no role on project p2 or above allows keyproof.create"},
		"a_person_above_the_own_role":       {user("bob", "*"), "token.issue", access.Project("p1"), false, "user bob has scope *; no role on project p1 or above allows token.issue"},
		"a_person_without_the_scope":        {user("ana", "keyproof.read"), "keyproof.create", access.Project("p1"), false, "user ana has no scope for keyproof.create"},
		"a_person_without_any_scope":        {user("ana"), "keyproof.read", access.Project("p1"), false, "user ana has no scope for keyproof.read"},
		"a_limited_person_inside":           {limited, "keyproof.read", access.Within("p1", "verify_session", "s"), true, "user ana has scope *; role sysadmin on the installation allows keyproof.read"},
		"a_limited_person_outside":          {limited, "keyproof.read", access.Project("p2"), false, "user ana has scope *; it is limited to project p1, and project p2 lies outside"},
		"a_limited_person_above":            {limited, "project.create", access.Installation, false, "user ana has scope *; it is limited to project p1, and the installation lies outside"},
		"a_key_in_its_project":              {key("p1"), "keyproof.create", access.Within("p1", "verify_session", "s"), true, "api_key ci has scope keyproof.*; verify_session s lies inside project p1"},
		"a_key_in_another_project":          {key("p1"), "keyproof.create", access.Project("p2"), false, "api_key ci has scope keyproof.*; it is limited to project p1, and project p2 lies outside"},
		"a_key_that_would_make_a_key":       {key("p1"), "token.issue", access.Project("p1"), false, "api_key ci has no scope for token.issue"},
		"a_key_without_a_project":           {unlimitedKey, "keyproof.create", access.Project("p1"), false, "api_key ci has scope keyproof.*; a key without a place of its own may do nothing"},
		"the_command_line":                  {access.LocalCaller("root", now), "user.create", access.Installation, true, "local root has scope *; whoever runs the server may do all of it"},
		"the_system":                        {access.SystemCaller(now), "keyproof.expire", access.Project("p1"), true, "system gatehouse has scope *; whoever runs the server may do all of it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := s.Decide(context.Background(), c.by, c.do, c.on)
			if err != nil || d.Allowed != c.may || strings.TrimSpace(d.String()) != strings.TrimSpace(c.says) {
				t.Errorf("%v %q, %v", d.Allowed, d, err)
			}
			err = s.Require(context.Background(), c.by, c.do, c.on)
			if (err == nil) != c.may || (err != nil && !fault.Is(err, fault.Denied)) {
				t.Errorf("Require: %v", err)
			}
		})
	}
}

func TestDecide_allows_nothing_when_bindings_cannot_be_read(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	s := service(&memory{err: away, bindings: []access.Binding{holding("ana", access.SysAdmin, access.Installation)}})
	d, err := s.Decide(context.Background(), user("ana", "*"), "keyproof.read", access.Project("p1"))
	if d.Allowed || !errors.Is(err, away) {
		t.Errorf("%v, %v", d, err)
	}
	if err := s.Require(context.Background(), user("ana", "*"), "keyproof.read", access.Project("p1")); !errors.Is(err, away) {
		t.Error(err)
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	eve := access.Subject{Kind: access.User, ID: "eve"}
	grant := func(by access.Caller, role access.Role, on access.Resource) (*memory, error) {
		m := &memory{bindings: []access.Binding{
			holding("ana", access.SysAdmin, access.Installation), holding("adam", access.Admin, access.Installation),
			holding("pam", access.ProjectAdmin, access.Project("p1")), holding("bob", access.ProjectWriter, access.Project("p1")),
		}}
		return m, service(m).Grant(context.Background(), by, eve, role, on)
	}
	for name, c := range map[string]struct {
		by   access.Caller
		role access.Role
		on   access.Resource
		want fault.Kind // Internal: it is given
	}{
		"gives_what_one_holds":                     {user("pam", "*"), access.ProjectAdmin, access.Project("p1"), fault.Internal},
		"gives_less":                               {user("pam", "*"), access.ProjectReader, access.Project("p1"), fault.Internal},
		"refuses_without_the_right_to_grant":       {user("bob", "*"), access.ProjectReader, access.Project("p1"), fault.Denied},
		"refuses_on_another_project":               {user("pam", "*"), access.ProjectReader, access.Project("p2"), fault.Denied},
		"refuses_more_than_one_holds":              {user("adam", "*"), access.SysAdmin, access.Installation, fault.Denied},
		"refuses_more_than_the_scopes_carry":       {user("ana", access.AccessGrant, "project.*"), access.ProjectWriter, access.Project("p1"), fault.Denied},
		"refuses_a_role_that_does_not_exist":       {user("ana", "*"), "owner", access.Project("p1"), fault.Invalid},
		"refuses_a_project_role_on_all":            {user("ana", "*"), access.ProjectAdmin, access.Installation, fault.Invalid},
		"refuses_an_installation_role_on_one":      {user("ana", "*"), access.Admin, access.Project("p1"), fault.Invalid},
		"refuses_to_let_an_API_key_grant_anything": {key("p1"), access.ProjectReader, access.Project("p1"), fault.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := grant(c.by, c.role, c.on)
			if c.want == fault.Internal {
				if err != nil || len(m.events) != 1 || m.events[0].Detail["to"] != "user eve" || m.events[0].Detail["role"] != string(c.role) {
					t.Errorf("%v, events %+v", err, m.events)
				}
				return
			}
			if !fault.Is(err, c.want) || len(m.events) != 0 {
				t.Errorf("%v, events %+v", err, m.events)
			}
		})
	}
}

// TestGrant_never_ends_above_the_grantor is rule W7: whatever people hand on to each other, nobody ends
// with a right that none of those who had rights in the beginning held, as narrow as they came.
func TestGrant_never_ends_above_the_grantor(t *testing.T) {
	t.Parallel()
	resources := []access.Resource{access.Installation, access.Project("p1"), access.Project("p2"), access.Within("p1", "verify_session", "s")}
	roles := []access.Role{
		access.Licensed, access.ProjectCreator, access.Admin, access.SysAdmin,
		access.ProjectReader, access.ProjectWriter, access.ProjectAdmin,
	}
	people := []string{"ana", "bob", "eve"}
	scopes := append([]access.Action{"*", "keyproof.*", "project.*", "token.*", "webhook.*", "access.*"}, actions...)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		role, on := rapid.SampledFrom(roles).Draw(t, "role"), rapid.SampledFrom(resources[:3]).Draw(t, "on")
		m := &memory{bindings: []access.Binding{holding("ana", role, on)}}
		s := service(m)
		callers := map[string]access.Caller{"bob": user("bob", "*"), "eve": user("eve", "*")}
		ana := user("ana", rapid.SliceOfN(rapid.SampledFrom(scopes), 1, 8).Draw(t, "scopes")...)
		if rapid.Bool().Draw(t, "everything") {
			ana.Scopes = []access.Action{"*"}
		}
		if rapid.Bool().Draw(t, "limited") {
			ana.Limit = access.Project("p1")
		}
		callers["ana"] = ana
		may := func(by access.Caller) map[string]bool {
			all := make(map[string]bool)
			for _, on := range resources {
				for _, do := range actions {
					d, err := s.Decide(ctx, by, do, on)
					if err != nil {
						t.Fatal(err)
					}
					all[fmt.Sprintf("%s on %s", do, on)] = d.Allowed
				}
			}
			return all
		}
		before := may(ana)
		for range rapid.IntRange(1, 12).Draw(t, "grants") {
			by := callers[rapid.SampledFrom(people).Draw(t, "by")]
			to := access.Subject{Kind: access.User, ID: rapid.SampledFrom(people).Draw(t, "to")}
			err := s.Grant(ctx, by, to, rapid.SampledFrom(roles).Draw(t, "role"), rapid.SampledFrom(resources).Draw(t, "on"))
			if err != nil && !fault.Is(err, fault.Denied) && !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
		}
		for _, name := range people {
			for what, allowed := range may(callers[name]) {
				if allowed && !before[what] {
					t.Fatalf("%s may do %s, which ana could not: %+v", name, what, m.bindings)
				}
			}
		}
	})
}

func TestEvent_says_who_what_where(t *testing.T) {
	t.Parallel()
	by := key("p1")
	by.Address, by.Door, by.Method = netip.MustParseAddr("192.0.2.7"), "sshverify", "api_key"
	e := by.Event(now, access.KeyproofCreate, access.Within("p1", "verify_session", "s"), audit.Done)
	want := audit.Event{
		ID: e.ID, At: now, Actor: audit.Actor{Kind: "api_key", ID: "k", Name: "ci", Method: "api_key"}, Action: "keyproof.create",
		Object: audit.Object{Kind: "verify_session", ID: "s"}, Project: "p1", Outcome: audit.Done, Address: "192.0.2.7", Door: "sshverify",
	}
	if string(e.Body()) != string(want.Body()) {
		t.Errorf("got  %s\nwant %s", e.Body(), want.Body())
	}
	if own := by.Event(now, access.ProjectRead, access.Project("p1"), audit.Done); own.Project != "p1" {
		t.Errorf("an event about the project itself belongs to project %q", own.Project)
	}
}

func TestFor_lends_identity_the_caller_s_right(t *testing.T) {
	t.Parallel()
	s := service(&memory{bindings: []access.Binding{holding("adam", access.Admin, access.Installation)}})
	e, err := s.For(user("adam", "*")).Authorize(context.Background(), "user.update", "u7")
	if err != nil || e.Action != "user.update" || e.Object.ID != "u7" || e.Object.Kind != access.UserKind || e.Actor.ID != "adam" || e.Outcome != audit.Done {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.For(user("bob", "*")).Authorize(context.Background(), "user.update", "u7"); !fault.Is(err, fault.Denied) {
		t.Errorf("bob: %v", err)
	}
	if _, err := s.For(key("p1")).Authorize(context.Background(), "user.read", ""); !fault.Is(err, fault.Denied) {
		t.Errorf("key: %v", err)
	}
}

func TestTopRoles_allow_everything(t *testing.T) {
	t.Parallel()
	for _, a := range actions {
		if !slices.ContainsFunc(access.TopRoles(), func(r string) bool { return access.Role(r).Allows(a) }) {
			t.Errorf("no top role allows %s", a)
		}
	}
}
