package bitbucket_test

import (
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// use notes that a key was used for git.
func (h *house) use(t *testing.T, number int64) {
	t.Helper()
	k, err := h.keys.Store.ByNumber(t.Context(), number, h.clock.Now())
	must(t, err)
	must(t, h.keys.Store.MarkUsed(t.Context(), []recent.Use{{ID: k.ID, At: h.clock.Now(), Address: "192.0.2.1"}}))
}

// reserve leaves the settings of a project's repositories to its administrators.
func (h *house) reserve(t *testing.T, key string) {
	t.Helper()
	root, yes := access.LocalCaller("root", h.clock.Now()), true
	p, err := h.projects.ByKey(t.Context(), root, key)
	must(t, err)
	_, err = h.projects.Update(t.Context(), root, p.ID, project.Change{Restricted: &yes})
	must(t, err)
}
