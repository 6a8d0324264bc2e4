package app_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// The explanation knows what belongs to what, and who is shut out.
func TestExplain_of_real_things(t *testing.T) {
	t.Parallel()
	s, _, turned := serve(t)
	ctx, root := t.Context(), access.LocalCaller("test", turned.Now())
	as := s.Access.For(root)
	u, err := s.Users.Add(ctx, as, identity.New{Name: "dana", Email: "dana@example.test", Password: secret.New(phrase)})
	if err != nil {
		t.Fatal(err)
	}
	account, err := s.Accounts.Create(ctx, as, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.SetMember(ctx, as, account.ID, u.ID, identity.Administrator); err != nil {
		t.Fatal(err)
	}
	app, _, err := s.Apps.Create(ctx, as, identity.NewApplication{Account: account.ID, Name: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	group, err := s.Groups.Create(ctx, as, account.ID, "developers")
	if err != nil {
		t.Fatal(err)
	}
	in := signIn(t, s.House, "dana")
	dana, program := access.Subject{Kind: access.User, ID: u.ID}, access.Subject{Kind: access.Application, ID: app.ID}
	ask := func(of access.Subject, do access.Action, kind, id string, allowed bool, why string) {
		t.Helper()
		d, err := s.Access.Explain(ctx, root, of, do, access.Resource{Kind: kind, ID: id})
		if err != nil || d.Allowed != allowed || !strings.Contains(d.String(), why) {
			t.Errorf("%s on %s: %v %v, %v", do, kind, d.Allowed, d, err)
		}
	}
	ask(dana, access.ApplicationReset, access.ApplicationKind, app.ID, true, "account.administrator on account "+account.ID)
	ask(dana, access.GroupDelete, access.GroupKind, group.ID, true, "account.administrator on account "+account.ID)
	ask(dana, access.SessionEnd, access.SessionKind, in.Session.ID, true, "is the caller's own")
	p, err := s.Projects.Create(ctx, root, project.New{Key: "OPS", Public: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Repos.Store.Insert(ctx, repo.Repo{ID: "r1", Project: p, Slug: "infra", Name: "infra"}, root.Event(turned.Now(), access.RepoCreate, access.Repo(p.ID, "r1"), audit.Done))
	if err != nil {
		t.Fatal(err)
	}
	ask(dana, access.RepoRead, access.RepoKind, r.ID, true, "anybody may read repo r1")
	ask(dana, access.RepoWrite, access.RepoKind, r.ID, false, "no role on repo r1 or above")
	if err := s.Access.Grant(ctx, root, dana, access.ProjectWriter, p.Resource()); err != nil {
		t.Fatal(err)
	}
	ask(dana, access.RepoWrite, access.RepoKind, r.ID, true, "role project.write on project "+p.ID)
	ask(dana, access.ProjectRead, access.ProjectKind, p.ID, true, "anybody may read project")
	ask(dana, access.DeliveryRead, "delivery", "nowhere", false, "no role on delivery nowhere or above")
	ask(dana, access.GroupDelete, access.GroupKind, "nowhere", false, "no role on group nowhere or above")
	ask(program, access.AccountRead, access.AccountKind, account.ID, true, "the application belongs to account")
	if err := s.Accounts.SetDisabled(ctx, as, account.ID, true); err != nil {
		t.Fatal(err)
	}
	ask(program, access.AccountRead, access.AccountKind, account.ID, false, "the account of application ci is disabled")
	if err := s.Users.SetDisabled(ctx, as, u.ID, true); err != nil {
		t.Fatal(err)
	}
	ask(dana, access.GroupDelete, access.GroupKind, group.ID, false, "user dana is disabled")
	if _, err := s.Access.Explain(ctx, root, access.Subject{Kind: access.User, ID: "nobody"}, access.UserRead, access.Installation); err == nil {
		t.Error("nobody was explained")
	}
}
