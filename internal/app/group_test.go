package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// An administrator of an account says who is in its groups, and hands on nothing that is not theirs to give (rule W7).
func TestGroups_of_real_people(t *testing.T) {
	t.Parallel()
	s, _, turned := serve(t)
	ctx, root := t.Context(), access.LocalCaller("test", turned.Now())
	as := s.Access.For(root)
	people := make(map[string]string)
	for _, name := range []string{"dana", "eve"} {
		u, err := s.Users.Add(ctx, as, identity.New{Name: name, Email: name + "@example.test", Password: secret.New(phrase)})
		if err != nil {
			t.Fatal(err)
		}
		people[name] = u.ID
	}
	if err := s.Accounts.SetMember(ctx, as, identity.DefaultAccount, people["dana"], identity.Administrator); err != nil {
		t.Fatal(err)
	}
	dana := access.Caller{Principal: access.Principal{Kind: access.User, ID: people["dana"], Name: "dana"}, Scopes: []access.Action{"*"}}
	by, eve := s.Access.For(dana), access.Caller{Principal: access.Principal{Kind: access.User, ID: people["eve"], Name: "eve"}, Scopes: []access.Action{"*"}}

	heads, err := s.Groups.Create(ctx, by, identity.DefaultAccount, "heads")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Groups.AddMember(ctx, by, heads.ID, people["dana"]); err != nil { // it holds nothing yet
		t.Fatal(err)
	}
	if err := s.Groups.RemoveMember(ctx, by, heads.ID, people["dana"]); err != nil {
		t.Fatal(err)
	}
	group := access.Subject{Kind: access.Group, ID: heads.ID}
	if err := s.Access.Grant(ctx, root, group, access.Admin, access.Installation); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dana", "eve"} {
		if err := s.Groups.AddMember(ctx, by, heads.ID, people[name]); !fault.Is(err, fault.Denied) {
			t.Errorf("%s becomes an administrator by an account's: %v", name, err)
		}
	}
	if err := s.Groups.AddMember(ctx, as, heads.ID, people["eve"]); err != nil {
		t.Fatal(err)
	}
	d, err := s.Access.Explain(ctx, root, access.Subject{Kind: access.User, ID: people["eve"]}, access.UserUpdate, access.Resource{Kind: access.UserKind, ID: people["dana"]})
	if err != nil || !d.Allowed || !strings.Contains(d.String(), "as a member of group heads") {
		t.Errorf("%v %q, %v", d.Allowed, d, err)
	}
	for what, ask := range map[string]func(context.Context, string) (bool, error){"guarded": s.Providers.Guarded, "heavy": s.Providers.Heavy} {
		if yes, err := ask(ctx, map[string]string{"guarded": people["eve"], "heavy": heads.ID}[what]); err != nil || !yes {
			t.Errorf("%s: %v, %v", what, yes, err)
		}
	}
	if yes, err := s.Providers.Guarded(ctx, people["dana"]); err != nil || !yes {
		t.Errorf("who administers an account is linked by a policy: %v, %v", yes, err)
	}
	if err := s.Groups.RemoveMember(ctx, by, heads.ID, people["eve"]); !fault.Is(err, fault.Denied) {
		t.Errorf("an account's administrator takes what they could not give: %v", err)
	}
	if err := s.Accounts.RemoveMember(ctx, by, identity.DefaultAccount, people["eve"]); !fault.Is(err, fault.Denied) {
		t.Errorf("an account's administrator takes it with the membership: %v", err)
	}
	if err := s.Groups.Delete(ctx, by, heads.ID); !fault.Is(err, fault.Denied) {
		t.Errorf("an account's administrator takes it from all: %v", err)
	}
	if err := s.Groups.Delete(ctx, as, heads.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Access.Require(ctx, eve, access.UserUpdate, access.Resource{Kind: access.UserKind, ID: people["dana"]}); !fault.Is(err, fault.Denied) {
		t.Errorf("the group is gone: %v", err)
	}
	if err := s.Access.Grant(ctx, root, group, access.Admin, access.Installation); !errors.Is(err, access.ErrNoGroup) {
		t.Errorf("to a group that is gone: %v", err)
	}
	shop, err := s.Accounts.Create(ctx, as, "shop")
	if err != nil {
		t.Fatal(err)
	}
	sellers, err := s.Groups.Create(ctx, as, shop.ID, "sellers")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Access.Grant(ctx, root, access.Subject{Kind: access.Group, ID: sellers.ID}, access.Admin, access.Installation); !fault.Is(err, fault.Invalid) {
		t.Errorf("to a group of another account: %v", err)
	}
}
