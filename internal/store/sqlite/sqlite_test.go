package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

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

func count(t *testing.T, db *store.DB, query string) (n int64) {
	t.Helper()
	must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		n, err = store.One(ctx, tx, store.Value[int64], query)
		return err
	}))
	return n
}

func pragma(t *testing.T, db *store.DB, text string) {
	t.Helper()
	must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := store.One(ctx, tx, store.Value[int64], text)
		return err
	}))
}

func TestOpen_makes_a_file_for_its_owner_alone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	db := openAt(t, path)
	must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	}))
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestWrite_on_a_full_disk_fails_and_goes_on_when_there_is_room(t *testing.T) {
	t.Parallel()
	db := open(t)
	pages := count(t, db, `SELECT page_count FROM pragma_page_count`)
	pragma(t, db, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages+8))

	written, refused := make([]int64, 0, 400), 0
	var seen sync.Mutex
	var all sync.WaitGroup
	for n := range int64(400) {
		all.Go(func() {
			err := db.Write(t.Context(), fourStatements(n))
			seen.Lock()
			defer seen.Unlock()
			switch {
			case err == nil:
				written = append(written, n)
			case errors.Is(err, store.ErrUnavailable):
				refused++
			default:
				t.Errorf("write %d: %v", n, err)
			}
		})
	}
	all.Wait()
	if refused == 0 {
		t.Fatal("the disk was never full")
	}
	// The limit belonged to the connection, which was replaced when it failed: there is room again.
	must(t, db.Write(t.Context(), fourStatements(1000)))
	if n := count(t, db, `SELECT COUNT(*) FROM things`); n != int64(len(written))+1 {
		t.Errorf("%d rows, but %d writes were acknowledged", n, len(written)+1)
	}
	if n := count(t, db, `SELECT COUNT(*) FROM events`); n != int64(len(written))+1 {
		t.Errorf("%d events, but %d writes were acknowledged", n, len(written)+1)
	}
}

func TestWrite_survives_a_function_that_ends_its_goroutine(t *testing.T) {
	t.Parallel()
	db := open(t)
	err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		must(t, fourStatements(1)(ctx, tx))
		runtime.Goexit() // as t.FailNow does
		return nil
	})
	if err == nil {
		t.Error("the write succeeds")
	}
	must(t, db.Write(t.Context(), fourStatements(2)))
	if n := count(t, db, `SELECT COUNT(*) FROM things`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestWrite_waits_for_another_process_until_the_busy_timeout(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "busy.db")
	server := openAt(t, path)
	must(t, server.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	}))
	engine, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, BusyTimeout: 50 * time.Millisecond})
	must(t, err)
	defer func() { must(t, engine.Close()) }()

	must(t, server.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		if err := engine.Write(ctx, fourStatements(1)); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a write beside another process's gives %v", err)
		}
		return fourStatements(2)(ctx, tx)
	}))
	must(t, engine.Write(t.Context(), fourStatements(3)))
	if n := count(t, server, `SELECT COUNT(*) FROM things`); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func TestWrite_that_gave_up_in_the_queue_never_runs(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var late sync.WaitGroup
	must(t, db.Write(t.Context(), func(context.Context, store.Tx) error {
		late.Go(func() {
			if err := db.Write(ctx, fourStatements(1)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		cancel()
		late.Wait()
		return nil
	}))
	must(t, db.Write(t.Context(), fourStatements(2)))
	if n := count(t, db, `SELECT COUNT(*) FROM things`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestClose_finishes_what_is_queued_and_refuses_the_rest(t *testing.T) {
	t.Parallel()
	db := open(t)
	var all sync.WaitGroup
	for n := range int64(50) {
		all.Go(func() {
			if err := db.Write(t.Context(), fourStatements(n)); err != nil && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("write %d: %v", n, err)
			}
		})
	}
	must(t, db.Close())
	all.Wait()
	if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping after Close gives %v", err)
	}
}

func TestRead_cannot_write(t *testing.T) {
	t.Parallel()
	db := open(t)
	if err := db.Read(t.Context(), fourStatements(1)); err == nil {
		t.Error("Read lets a function write")
	}
	must(t, db.Write(t.Context(), fourStatements(1)))
}

func TestQueryRow_reports_its_error_and_keeps_the_connection(t *testing.T) {
	t.Parallel()
	db := open(t)
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Read(ctx, func(ctx context.Context, tx store.Tx) error {
			if err := tx.QueryRowContext(ctx, `SELECT nothing FROM nowhere`).Scan(new(int64)); err == nil {
				t.Error("a wrong statement succeeds")
			}
			cancel()
			return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM things`).Scan(new(int64))
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context gives %v", err)
		}
	}
	must(t, db.Ping(t.Context()))
}

func TestLockDir_lets_one_in(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	release, err := sqlite.LockDir(dir)
	must(t, err)
	if _, err := sqlite.LockDir(dir); !errors.Is(err, sqlite.ErrLocked) {
		t.Errorf("the second gets %v", err)
	}
	release()
	release, err = sqlite.LockDir(dir)
	must(t, err)
	release()
}
