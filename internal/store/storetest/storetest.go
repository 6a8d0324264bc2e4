// Package storetest runs one conformance suite on both databases.
//
// Each noun adds a file of tests that begin with Each:
//
//	func TestTokens(t *testing.T) {
//		storetest.Each(t, func(t *testing.T, db *store.DB) { ... })
//	}
//
// Every test gets an empty database with the newest schema. SQLite always runs; PostgreSQL is
// started when it is installed, skipped visibly when not, and required with GATEHOUSE_PEERS=all.
// A package that uses Each ends the server in TestMain with peers.Main.
package storetest

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/postgres"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// Each runs the test on an empty, migrated database of either kind.
func Each(t *testing.T, test func(t *testing.T, db *store.DB)) {
	t.Helper()
	EachWith(t, store.Migrations(), func(t *testing.T, open Opener) { test(t, open(t)) })
}

// Nodes is Each with two handles on one database, as two nodes (PostgreSQL) or the server and the
// command line (SQLite) have them.
func Nodes(t *testing.T, test func(t *testing.T, one, two *store.DB)) {
	t.Helper()
	EachWith(t, store.Migrations(), func(t *testing.T, open Opener) { test(t, open(t), open(t)) })
}

// Opener opens one more handle on the test's database; it is closed with the test.
type Opener func(t *testing.T) *store.DB

// EachWith is for tests that bring their own schema or open their own number of handles. The first
// handle migrates.
func EachWith(t *testing.T, migrations fs.FS, test func(t *testing.T, open Opener)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "gatehouse.db")
		test(t, migrated(func(t *testing.T) store.Engine { return openSQLite(t, path, migrations) }))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := peers.Postgres(t).Database(t)
		test(t, migrated(func(t *testing.T) store.Engine { return OpenPostgres(t, url, migrations) }))
	})
}

func migrated(open func(*testing.T) store.Engine) Opener {
	done := false
	return func(t *testing.T) *store.DB {
		t.Helper()
		engine := open(t)
		if !done {
			if err := engine.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			done = true
		}
		return &store.DB{Engine: engine}
	}
}

func openSQLite(t *testing.T, path string, migrations fs.FS) store.Engine {
	t.Helper()
	engine, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Migrations: migrations})
	return closing(t, engine, err)
}

// OpenPostgres opens a database by its URL for tests that start a server of their own.
func OpenPostgres(t *testing.T, url string, migrations fs.FS) store.Engine {
	t.Helper()
	engine, err := postgres.Open(t.Context(), postgres.Options{URL: url, MaxConns: 8, Migrations: migrations})
	return closing(t, engine, err)
}

func closing(t *testing.T, engine store.Engine, err error) store.Engine {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

// Write runs statements without parameters, one transaction in all, and fails the test on an error.
func Write(t *testing.T, db *store.DB, statements ...string) {
	t.Helper()
	err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for _, s := range statements {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Count returns what a SELECT of one number gives.
func Count(t *testing.T, db *store.DB, query string, args ...any) int64 {
	t.Helper()
	var n int64
	err := db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		n, err = store.One(ctx, tx, store.Value[int64], query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
