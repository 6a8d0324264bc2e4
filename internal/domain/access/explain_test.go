package access_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// explainer knows Dana, who administers account blue, Eve, who is disabled, and application ci of account blue.
func explainer() *access.Service {
	s := service(&memory{bindings: []access.Binding{
		holding("adam", access.Admin, access.Installation), holding("dana", access.AccountAdministrator, access.Account("blue")),
		holding("eve", access.SysAdmin, access.Installation),
	}})
	s.Standing = func(_ context.Context, of access.Subject) (string, string, error) {
		switch of.ID {
		case "eve":
			return "Eve", "user Eve is disabled", nil
		case "dana", "adam", "ci":
			return of.ID, "", nil
		}
		return "", "", fault.New(fault.NotFound, "user not found")
	}
	s.Belongs = func(_ context.Context, on access.Resource) (access.Resource, error) {
		switch {
		case on.Kind == access.ApplicationKind && on.ID == "ci":
			on.Parents = []access.Resource{access.Account("blue")}
		case on.Kind == access.RepoKind:
			on = access.Repo("p1", on.ID)
			on.Open, on.Reserved = on.ID == "open", true
		}
		return on, nil
	}
	return s
}

func person(id string) access.Subject { return access.Subject{Kind: access.User, ID: id} }

func TestExplain(t *testing.T) {
	t.Parallel()
	s, adam, ci := explainer(), user("adam", "*"), access.Resource{Kind: access.ApplicationKind, ID: "ci"}
	for name, c := range map[string]struct {
		by      access.Caller
		of      access.Subject
		do      access.Action
		on      access.Resource
		allowed bool
		why     string
	}{
		"finds what the resource belongs to":        {adam, person("dana"), access.ApplicationReset, ci, true, "role account.administrator on account blue"},
		"knows what anybody may read":               {adam, person("dana"), access.RepoRead, access.Resource{Kind: access.RepoKind, ID: "open"}, true, "anybody may read repo open"},
		"knows what is reserved":                    {adam, person("dana"), access.RepoUpdate, access.Resource{Kind: access.RepoKind, ID: "shut"}, false, "settings of repo shut are reserved"},
		"refuses what no role allows":               {adam, person("dana"), access.UserCreate, access.Installation, false, "no role on the installation or above"},
		"says that somebody is disabled":            {adam, person("eve"), access.UserCreate, access.Installation, false, "user Eve is disabled; user Eve has scope *; role sysadmin"},
		"answers about oneself":                     {user("dana", "*"), person("dana"), access.ApplicationRead, ci, true, "account blue"},
		"answers for the scopes that one came with": {user("dana", "access.*"), person("dana"), access.ApplicationRead, ci, false, "no scope"},
		"knows what a program may see":              {adam, access.Subject{Kind: access.Application, ID: "ci"}, access.AccountRead, access.Account("blue"), true, "the application belongs to account blue"},
		"needs no right for what is public":         {adam, person("dana"), access.Public, access.Installation, true, "needs no right"},
	} {
		d, err := s.Explain(t.Context(), c.by, c.of, c.do, c.on)
		if err != nil || d.Allowed != c.allowed || !strings.Contains(d.String(), c.why) {
			t.Errorf("%s: %v %v, %v", name, d.Allowed, d, err)
		}
	}
}

func TestExplain_refuses(t *testing.T) {
	t.Parallel()
	s, adam := explainer(), user("adam", "*")
	if _, err := s.Explain(t.Context(), user("dana", "*"), person("adam"), access.UserRead, access.Installation); !fault.Is(err, fault.Denied) {
		t.Errorf("about others without a right: %v", err)
	}
	if _, err := s.Explain(t.Context(), adam, person("nobody"), access.UserRead, access.Installation); !fault.Is(err, fault.NotFound) {
		t.Errorf("about nobody: %v", err)
	}
	_, err := s.Explain(t.Context(), adam, person("dana"), "user.fly", access.Installation)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Text(err), "user.create, user.delete, user.password") {
		t.Errorf("no such action: %v", err)
	}
	if _, err := s.Explain(t.Context(), adam, person("dana"), access.UserRead, access.Resource{Kind: "moon"}); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Text(err), "installation, account") {
		t.Errorf("no such kind: %v", err)
	}
}

// Actions lists every constant of that type, read from the source.
func TestActions_are_all_there_are(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	inspect := func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Action" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		declared++
		if err != nil || !slices.Contains(access.Actions(), access.Action(text)) {
			t.Errorf("%s is missing", text)
		}
		return true
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			ast.Inspect(file, inspect)
		}
	}
	if declared != len(access.Actions()) || declared < 50 {
		t.Errorf("%d declared, %d listed", declared, len(access.Actions()))
	}
}

// What is done to a user's sessions, factors and password belongs to their sign-ins, whoever does it.
func TestEvents_of_signing_in_say_whom_they_concern(t *testing.T) {
	t.Parallel()
	dana := access.Resource{Kind: access.UserKind, ID: "dana"}
	for _, c := range []struct {
		do   access.Action
		on   access.Resource
		whom string
	}{
		{access.SessionEnd, access.SessionOf(person("dana"), "s"), "dana"},
		{"login.password", dana, "dana"},
		{access.FactorReset, dana, "dana"},
		{access.GuardUnlock, dana, "dana"},
		{access.UserPassword, dana, "dana"},
		{access.UserRead, dana, ""},
		{"login.password", access.Resource{Kind: "password"}, ""},
		{access.SessionEnd, access.SessionOf(access.Subject{Kind: access.Application, ID: "ci"}, "s"), ""},
		{access.KeyproofCreate, access.Project("p"), ""},
	} {
		if e := user("adam", "*").Event(now, c.do, c.on, "done"); e.Concerns != c.whom {
			t.Errorf("%s on %s concerns %q", c.do, c.on, e.Concerns)
		}
	}
}

// Rule W7: whoever stands below a user on the installation does not set their password, which would be taking what they may do.
func TestFor_keeps_lesser_administrators_from_greater_ones(t *testing.T) {
	t.Parallel()
	s := service(&memory{bindings: []access.Binding{
		holding("adam", access.Admin, access.Installation), holding("other", access.Admin, access.Installation), holding("top", access.SysAdmin, access.Installation),
	}})
	for _, c := range []struct {
		by      access.Caller
		user    string
		allowed bool
	}{
		{user("adam", "*"), "dana", true},
		{user("adam", "*"), "other", true},
		{user("adam", "*"), "top", false},
		{user("top", "*"), "adam", true},
		{access.LocalCaller("root", now), "top", true},
	} {
		if _, err := s.For(c.by).Authorize(t.Context(), "user.update", c.user); (err == nil) != c.allowed || err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%s changes %s: %v", c.by.ID, c.user, err)
		}
	}
	if _, err := s.For(user("adam", "*")).Authorize(t.Context(), "guard.unlock", "top"); !fault.Is(err, fault.Denied) { // else they guess at the password for ever
		t.Errorf("forgetting failures: %v", err)
	}
	if _, err := s.For(user("adam", "*")).Authorize(t.Context(), "user.read", "top"); err != nil {
		t.Errorf("reading: %v", err)
	}
}
