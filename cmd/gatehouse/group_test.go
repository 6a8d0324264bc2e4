package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// within does with the data of a shell what no command does.
func (s shell) within(work func(h *app.House, by access.Caller) error) {
	s.t.Helper()
	p := &process{out: &bytes.Buffer{}, err: &bytes.Buffer{}, now: time.Now, flags: map[string]string{"data": s.data}}
	if err := p.withHouse(s.t.Context(), work); err != nil {
		s.t.Fatal(err)
	}
}

func TestGroup_grant_tells_who_came_by_a_provider(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("", "idp", "add", "--kind", "oidc", "--name", "Corp", "--issuer", "https://id.example.test", "--client-id", "gatehouse", "--provision", "--jit-groups", "groups",
		"--jit-email", "${email}", "--name-claim", "${sub}")
	s.must("", "user", "add", "ana", "--email", "ana@example.test")
	s.must("", "group", "create", "Operators")
	s.must("", "group", "add", "Operators", "ana")
	if _, _, errs := s.run("", "group", "grant", "Operators", "licensed"); strings.Contains(errs, "provider") {
		t.Errorf("%s", errs)
	}
	s.within(func(h *app.House, by access.Caller) error {
		corp, err := h.Providers.ByName(t.Context(), h.Access.For(by), "Corp")
		if err != nil {
			return err
		}
		who := identity.Visitor{Subject: "1", Name: "eve", Email: "eve@example.test", EmailVerified: true, Groups: []string{"Operators"}}
		_, err = h.Providers.Arrive(t.Context(), corp, who)
		return err
	})
	if code, _, errs := s.run("", "group", "grant", "Operators", "admin"); code != 0 || !strings.Contains(errs, "of its 2 members 1 came by an identity provider; see `gatehouse group members Operators`") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}
