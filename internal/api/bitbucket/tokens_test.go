package bitbucket_test

import (
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// gather makes two groups of the default account: ops, which dana is in, and Crew.
func (h *house) gather(t *testing.T) {
	t.Helper()
	by := h.login.Access.For(access.LocalCaller("root", h.clock.Now()))
	ops, err := h.groups.Create(t.Context(), by, identity.DefaultAccount, "ops")
	must(t, err)
	must(t, h.groups.AddMember(t.Context(), by, ops.ID, h.ids["dana"]))
	_, err = h.groups.Create(t.Context(), by, identity.DefaultAccount, "Crew")
	must(t, err)
}
