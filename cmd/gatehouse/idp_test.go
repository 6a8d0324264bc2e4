package main

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

func (s shell) provider(name string) providerJSON {
	s.t.Helper()
	var one providerJSON
	if err := json.Unmarshal([]byte(s.must("", "idp", "show", name)), &one); err != nil {
		s.t.Fatal(err)
	}
	return one
}

func TestIdP(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	oidc := []string{"idp", "add", "--kind", "oidc", "--name", "Corp", "--issuer", "https://id.example.test", "--client-id", "gatehouse"}
	s.must("client secret\n", append(oidc, "--secret-stdin", "--link-by", "email", "--provision", "--domain", "example.test", "--button", "Corp account")...)
	s.fails(1, "an identity provider of that name exists", oidc...)
	s.must("the service account's\n", "idp", "add", "--kind", "ldap", "--name", "people", "--url", "ldaps://ldap.invalid", "--resolve", "search",
		"--bind-dn", "cn=gatehouse,dc=example,dc=test", "--base-dn", "dc=example,dc=test", "--secret-stdin", "--disabled")

	var all []providerJSON
	list := s.must("", "idp", "list", "--json")
	if err := json.Unmarshal([]byte(list), &all); err != nil || len(all) != 2 {
		t.Fatalf("%s, %v", list, err)
	}
	corp := all[0]
	if corp.Number != 1 || corp.Kind != "oidc" || !corp.Enabled || corp.Settings.Link != "email" || !corp.Settings.JIT.Provision || corp.Settings.OIDC.ClientID != "gatehouse" || all[1].Enabled {
		t.Errorf("%+v", all)
	}
	shown := s.must("", "idp", "show", "CORP")
	for _, text := range []string{list, shown, s.must("", "idp", "list"), s.must("", "audit", "list", "--json")} {
		if strings.Contains(text, "client secret") || strings.Contains(text, "service account's") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
	s.must("", "idp", "disable", "corp")
	if out := s.must("", "idp", "list"); !strings.Contains(out, "disabled") || strings.Contains(out, "enabled") {
		t.Errorf("%s", out)
	}
	s.must("", "idp", "enable", "corp")

	t.Run("tells_what_is_wrong_with_settings", func(t *testing.T) {
		s.fails(1, "", "idp", "add", "--kind", "ldap", "--name", "plain", "--url", "http://ldap.invalid", "--resolve", "search")
		s.fails(1, "", "idp", "add", "--kind", "saml", "--name", "unsigned", "--issuer", "x", "--sso-url", "https://id.example.test/sso")
		s.fails(1, "", "idp", "add", "--kind", "oidc", "--name", "plain", "--issuer", "http://id.example.test", "--client-id", "x")
		s.fails(2, "--kind ldap", "idp", "add", "--kind", "oidc", "--name", "x", "--issuer", "https://x.test", "--client-id", "x", "--bind-dn", "cn=x")
		s.fails(2, "another kind", "idp", "add", "--kind", "ldap", "--name", "x", "--url", "ldaps://x", "--resolve", "upn", "--issuer", "x")
		s.fails(2, "give a file", "idp", "add", "--kind", "oidc", "--name", "x", "--issuer", "https://x.test", "--client-id", "x", "--ca-file", filepath.Join(t.TempDir(), "none"))
		s.fails(2, "kind", "idp", "add", "--kind", "vcd", "--name", "x")
		s.fails(1, "identity provider not found", "idp", "show", "nobody")
	})
	t.Run("tries_step_by_step", func(t *testing.T) {
		code, out, errs := s.run("", "idp", "test", "people")
		if code != 1 || !strings.HasPrefix(out, "ok ") || !strings.Contains(out, "failed  connect: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
		code, out, _ = s.run("", "idp", "test", "people", "--json")
		var steps []stepJSON
		if err := json.Unmarshal([]byte(out), &steps); err != nil || code != 1 || len(steps) < 2 || !steps[0].OK || steps[len(steps)-1].OK {
			t.Errorf("exit %d, %v\n%s", code, err, out)
		}
	})
	t.Run("links_users", func(t *testing.T) {
		s.must("", "user", "add", "dana", "--email", "dana@example.test")
		s.fails(2, "--subject is missing", "user", "link", "dana", "--idp", "corp")
		s.must("", "user", "link", "dana", "--idp", "corp", "--subject", "248289761001")
		s.fails(1, "linked to that provider already", "user", "link", "dana", "--idp", "corp", "--subject", "other")
		s.fails(1, "identity provider not found", "user", "link", "dana", "--idp", "nobody", "--subject", "x")
		s.must("", "user", "unlink", "dana", "--idp", "corp")
		s.fails(1, "not linked", "user", "unlink", "dana", "--idp", "corp")
	})
	t.Run("changes_what_is_given_and_keeps_the_rest", func(t *testing.T) {
		before := s.provider("corp")
		s.fails(2, "nothing to set", "idp", "set", "corp")
		s.fails(2, "--kind ldap", "idp", "set", "corp", "--bind-dn", "cn=x")
		s.fails(2, "another kind", "idp", "set", "people", "--jit-groups", "groups")
		s.fails(1, "identity provider not found", "idp", "set", "nobody", "--button", "x")
		s.fails(1, "kind of an identity provider cannot be changed", "idp", "set", "corp", "--kind", "saml")
		if after := s.provider("corp"); !reflect.DeepEqual(before, after) {
			t.Errorf("what was refused changed %+v to %+v", before, after)
		}
		s.must("", "idp", "set", "corp", "--name", "Corporation", "--jit-groups", "roles", "--jit-scope", "groups", "--jit-scope", "more", "--no-provision", "--link-by", "never", "--domain", "", "--scope", "offline_access")
		after := s.provider("corporation")
		if j := after.Settings.JIT; after.Number != 1 || j.Groups != "roles" || strings.Join(j.Scopes, " ") != "groups more" || j.Provision || after.Settings.Link != "" || len(after.Settings.Domains) != 0 {
			t.Errorf("%+v", after)
		}
		if set := after.Settings; set.Button != before.Settings.Button || set.OIDC.Issuer != before.Settings.OIDC.Issuer || set.OIDC.ClientID != "gatehouse" || set.OIDC.Scopes[0] != "offline_access" {
			t.Errorf("%+v", after)
		}
		s.must("another secret\n", "idp", "set", "corporation", "--secret-stdin", "--jit-scope", "", "--jit-groups", "", "--provision", "--scope", "", "--name", "Corp")
		if after = s.provider("corp"); after.Settings.JIT.Groups != "" || len(after.Settings.JIT.Scopes) != 0 || !after.Settings.JIT.Provision || len(after.Settings.OIDC.Scopes) != 0 {
			t.Errorf("%+v", after)
		}
		s.must("", "idp", "set", "people", "--filter", "(uid={login})", "--json")
		if l := s.provider("people").Settings.LDAP; l.Filter != "(uid={login})" || l.Resolve != "search" || l.BindDN == "" {
			t.Errorf("%+v", l)
		}
	})
	t.Run("says_what_a_draft_lacks", func(t *testing.T) {
		s.within(func(h *app.House, by access.Caller) error {
			_, err := h.Providers.Add(t.Context(), h.Access.For(by), identity.NewProvider{Kind: identity.Draft, Name: "Later", Disabled: true})
			return err
		})
		s.fails(1, "it is a draft; give it a kind and its settings first: `gatehouse idp set \"Later\" --kind ", "idp", "enable", "later")
		s.fails(2, "for a draft, which has no kind yet; give --kind ldap, oidc or saml with it; see `gatehouse idp set --help`", "idp", "set", "Later", "--issuer", "https://id.example.test")
		s.fails(2, "see `gatehouse idp set --help`", "idp", "set", "Later", "--client-id", "gatehouse")
		s.fails(2, "for a provider of kind oidc; see `gatehouse idp set --help`", "idp", "set", "corp", "--bind-dn", "cn=x")
		s.must("secret\n", "idp", "set", "Later", "--kind", "oidc", "--issuer", "https://later.example.test", "--client-id", "gatehouse", "--secret-stdin")
		s.must("", "idp", "enable", "Later")
		s.must("", "idp", "remove", "Later")
	})
	s.must("", "idp", "remove", "people")
	s.fails(1, "identity provider not found", "idp", "remove", "people")
}
