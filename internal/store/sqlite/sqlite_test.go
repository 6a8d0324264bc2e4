package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	if path := inChild(); path != "" {
		writeUntilKilled(path)
		return
	}
	goleak.VerifyTestMain(m)
}

const schema = `
CREATE TABLE things (id TEXT PRIMARY KEY, name TEXT NOT NULL, size BIGINT NOT NULL);
CREATE UNIQUE INDEX things_name_key ON things (name);
CREATE TABLE events (id TEXT PRIMARY KEY, thing TEXT NOT NULL REFERENCES things (id), body TEXT NOT NULL);
CREATE INDEX events_thing ON events (thing);`

func open(tb testing.TB) *store.DB {
	tb.Helper()
	db := openAt(tb, filepath.Join(tb.TempDir(), "gate house?#.db"))
	must(tb, db.Write(tb.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	}))
	return db
}

func openAt(tb testing.TB, path string) *store.DB {
	tb.Helper()
	engine, err := sqlite.Open(context.WithoutCancel(tb.Context()), sqlite.Options{Path: path})
	must(tb, err)
	tb.Cleanup(func() { must(tb, engine.Close()) })
	return &store.DB{Engine: engine}
}
