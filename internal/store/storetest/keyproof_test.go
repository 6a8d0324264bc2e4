package storetest_test

import (
	"context"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

func addProject(t *testing.T, db *store.DB, id string) {
	t.Helper()
	must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO projects (id, key, name, strict_status, created, updated) VALUES ($1, $1, $1, FALSE, 0, 0)`, id)
		return err
	}))
}
