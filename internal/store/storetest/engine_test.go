package storetest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

func TestMain(m *testing.M) {
	code := peers.Main(m)
	left, ended := goleak.Find(), time.Now()
	for left != nil && time.Since(ended) < 30*time.Second { // one that is on its way out is waited for
		left = goleak.Find()
	}
	if left != nil && code == 0 {
		fmt.Fprintln(os.Stderr, left)
		code = 1
	}
	os.Exit(code)
}

// schema is the suite's own: it asks about the seam, not about the product's tables.
var schema fs.FS = fstest.MapFS{
	"0001_things.sql": {Data: []byte(`-- +goose Up
CREATE TABLE things (
	id TEXT PRIMARY KEY,
	owner TEXT NOT NULL,
	name TEXT NOT NULL,
	size BIGINT NOT NULL,
	live BOOLEAN NOT NULL DEFAULT TRUE,
	digest BYTEA,
	tags TEXT NOT NULL DEFAULT '[]',
	ended BIGINT,
	CONSTRAINT things_size_check CHECK (size >= 0)
);
CREATE UNIQUE INDEX things_name_key ON things (owner, name);
CREATE UNIQUE INDEX things_digest_key ON things (digest) WHERE live;
`)},
	"0002_parts.sql": {Data: []byte(`-- +goose Up
CREATE TABLE parts (
	id TEXT PRIMARY KEY,
	thing TEXT NOT NULL REFERENCES things (id)
);
CREATE INDEX parts_thing ON parts (thing);
`)},
}

func each(t *testing.T, test func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Parallel()
	storetest.EachWith(t, schema, func(t *testing.T, open storetest.Opener) { test(t, open(t)) })
}

func nodes(t *testing.T, test func(t *testing.T, one, two *store.DB)) {
	t.Helper()
	t.Parallel()
	storetest.EachWith(t, schema, func(t *testing.T, open storetest.Opener) { test(t, open(t), open(t)) })
}

const insert = `INSERT INTO things (id, owner, name, size) VALUES ($1, $2, $3, $4)`

func inserting(id string, size int64) store.Func {
	return func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, insert, id, "owner of "+id, "name of "+id, size)
		return err
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrite_is_all_or_nothing(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		refused := errors.New("refused by a rule")
		err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			must(t, inserting("a", 1)(ctx, tx))
			must(t, inserting("b", 1)(ctx, tx))
			return refused
		})
		if !errors.Is(err, refused) {
			t.Errorf("Write gives %v, want the function's own error", err)
		}
		must(t, db.Write(t.Context(), inserting("c", 1)))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM things`); n != 1 {
			t.Errorf("%d rows, want the one of the write that succeeded", n)
		}
	})
}

func TestWrite_does_not_commit_past_an_ignored_error(t *testing.T) {
	storetestPostgresOnly(t, func(t *testing.T, db *store.DB) {
		err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			must(t, inserting("a", 1)(ctx, tx))
			_ = inserting("a", 1)(ctx, tx)
			return nil
		})
		if !store.Violates(err, "things_pkey") {
			t.Errorf("Write gives %v, want the ignored violation", err)
		}
	})
}

func storetestPostgresOnly(t *testing.T, test func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Parallel()
	url := peers.Postgres(t).Database(t)
	engine := storetest.OpenPostgres(t, url, schema)
	must(t, engine.Migrate(t.Context()))
	test(t, &store.DB{Engine: engine})
}

func TestWrite_that_fails_does_not_hurt_its_neighbours(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		must(t, db.Write(t.Context(), inserting("taken", 1)))
		var all sync.WaitGroup
		for n := range 200 {
			all.Go(func() {
				err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
					if err := inserting(fmt.Sprintf("n%d", n), 1)(ctx, tx); err != nil || n%3 != 0 {
						return err
					}
					return inserting("taken", 1)(ctx, tx)
				})
				if failed := store.ViolatesKind(err, store.Unique); failed != (n%3 == 0) || (err != nil && !failed) {
					t.Errorf("write %d gives %v", n, err)
				}
			})
		}
		all.Wait()
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM things`); n != 1+133 {
			t.Errorf("%d rows, want 134", n)
		}
	})
}

// Whoever is refused because somebody else was first finds what they wrote, although writes share commits.
func TestWrite_that_is_refused_can_read_why(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		var all sync.WaitGroup
		for n := range 200 {
			all.Go(func() {
				name := fmt.Sprint("n", n/4)
				err := db.Write(t.Context(), inserting(name, 1))
				if err != nil && !store.ViolatesKind(err, store.Unique) {
					t.Errorf("write %d gives %v", n, err)
				}
				if storetest.Count(t, db, `SELECT COUNT(*) FROM things WHERE name = $1`, "name of "+name) != 1 {
					t.Errorf("write %d, %v: nothing is there", n, err)
				}
			})
		}
		all.Wait()
	})
}

func TestWrite_passes_a_panic_to_its_caller_and_goes_on(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not reach the caller")
				}
			}()
			_ = db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
				must(t, inserting("a", 1)(ctx, tx))
				panic("a mistake in a noun")
			})
		}()
		must(t, db.Write(t.Context(), inserting("b", 1)))
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM things`); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
	})
}

func TestWrite_of_an_ended_context_writes_nothing(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Write(ctx, func(ctx context.Context, tx store.Tx) error {
			must(t, inserting("a", 1)(ctx, tx))
			cancel()
			return inserting("b", 1)(ctx, tx)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Write gives %v, want context.Canceled", err)
		}
		if err := db.Write(ctx, inserting("c", 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("Write gives %v, want context.Canceled", err)
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM things`); n != 0 {
			t.Errorf("%d rows, want none", n)
		}
	})
}

func TestViolation_has_one_name_on_both_databases(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO things (id, owner, name, size, digest) VALUES ('a', 'o', 'n', 1, $1)`, []byte{1})
			return err
		}))
		for _, c := range []struct {
			statement  string
			kind       store.ViolationKind
			constraint string
		}{
			{`INSERT INTO things (id, owner, name, size) VALUES ('a', 'x', 'y', 1)`, store.Unique, "things_pkey"},
			{`INSERT INTO things (id, owner, name, size) VALUES ('b', 'o', 'n', 1)`, store.Unique, "things_name_key"},
			{`INSERT INTO things (id, owner, name, size, digest) SELECT 'c', 'x', 'y', 1, digest FROM things`, store.Unique, "things_digest_key"},
			{`INSERT INTO things (id, owner, name, size) VALUES ('d', 'x', 'y', -1)`, store.Check, "things_size_check"},
		} {
			err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
				_, err := tx.ExecContext(ctx, c.statement)
				return fmt.Errorf("insert thing: %w", err)
			})
			var v *store.Violation
			if !errors.As(err, &v) || v.Kind != c.kind || v.Constraint != c.constraint {
				t.Errorf("%s\ngives %v, want %v %s", c.statement, err, c.kind, c.constraint)
			}
		}
		err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO parts (id, thing) VALUES ('p', 'nowhere')`)
			return err
		})
		if !store.ViolatesKind(err, store.ForeignKey) {
			t.Errorf("foreign key gives %v", err)
		}
	})
}

func TestValues_come_back_as_they_went_in(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		ended := time.Date(2031, 2, 3, 4, 5, 6, 789000, time.UTC)
		must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			// Parameters out of order and repeated: a driver that binds by appearance swaps columns.
			_, err := tx.ExecContext(ctx, `INSERT INTO things (id, owner, name, size, live, digest, tags, ended) VALUES ($3, $2, $1, $4, $5, $6, $7, $8)`,
				"name", "owner", "id", int64(1)<<60, false, []byte{0, 255}, store.JSON([]string{"a", "b"}), store.NullMicros(ended))
			return err
		}))
		var id, owner, name string
		var size int64
		var live bool
		var digest []byte
		var tags []string
		var back time.Time
		must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return tx.QueryRowContext(ctx, `SELECT id, owner, name, size, live, digest, tags, ended FROM things WHERE id = $1 OR owner = $1`, "id").
				Scan(&id, &owner, &name, &size, &live, &digest, store.ScanJSON(&tags), store.ScanTime(&back))
		}))
		if id != "id" || owner != "owner" || name != "name" || size != 1<<60 || live || !slices.Equal(digest, []byte{0, 255}) ||
			!slices.Equal(tags, []string{"a", "b"}) || !back.Equal(ended) {
			t.Errorf("got %s %s %s %d %v %v %v %v", id, owner, name, size, live, digest, tags, back)
		}
	})
}

func TestReads(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		for n := range int64(5) {
			must(t, db.Write(t.Context(), inserting(fmt.Sprint(n), n)))
		}
		var sizes []int64
		must(t, db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
			sizes, err = store.All(ctx, tx, store.Value[int64], `SELECT size FROM things WHERE size > $1 ORDER BY size`, 1)
			return err
		}))
		if !slices.Equal(sizes, []int64{2, 3, 4}) {
			t.Errorf("sizes %v", sizes)
		}
		err := db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, err := store.One(ctx, tx, store.Value[int64], `SELECT size FROM things WHERE id = $1`, "absent")
			return err
		})
		if !store.Absent(err) || !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("absent row gives %v", err)
		}
		err = db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return errors.Join(tx.Notify(ctx, "topic"), tx.Lock(ctx, "name"),
				tx.QueryRowContext(ctx, `SELECT nothing FROM nowhere`).Scan(new(int64)))
		})
		if !errors.Is(err, store.ErrNotWriting) {
			t.Errorf("Read lets a function notify: %v", err)
		}
		if n := storetest.Count(t, db, `SELECT COUNT(*) FROM things`); n != 5 {
			t.Errorf("%d rows after a failed read", n)
		}
	})
}

func TestReadSnapshot_sees_one_state(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		must(t, db.Write(t.Context(), inserting("a", 1)))
		must(t, db.ReadSnapshot(t.Context(), func(ctx context.Context, tx store.Tx) error {
			count := func() int64 {
				n, err := store.One(ctx, tx, store.Value[int64], `SELECT COUNT(*) FROM things`)
				must(t, err)
				return n
			}
			before := count()
			must(t, db.Write(ctx, inserting(fmt.Sprint("during ", before), 1)))
			if after := count(); after != before {
				t.Errorf("%d rows, then %d", before, after)
			}
			return nil
		}))
	})
}

func TestForUpdate_loses_no_increment(t *testing.T) {
	nodes(t, func(t *testing.T, one, two *store.DB) {
		must(t, one.Write(t.Context(), inserting("a", 0)))
		var all sync.WaitGroup
		for n := range 8 {
			db := []*store.DB{one, two}[n%2]
			all.Go(func() {
				for range 25 {
					if err := db.Write(t.Context(), increment(db)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if n := storetest.Count(t, one, `SELECT size FROM things WHERE id = 'a'`); n != 200 {
			t.Errorf("200 increments give %d", n)
		}
	})
}

func increment(db *store.DB) store.Func {
	return func(ctx context.Context, tx store.Tx) error {
		size, err := store.One(ctx, tx, store.Value[int64], `SELECT size FROM things WHERE id = $1`+db.ForUpdate(), "a")
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE things SET size = $2 WHERE id = $1`, "a", size+1)
		return err
	}
}

func TestWrite_runs_again_after_a_deadlock(t *testing.T) {
	nodes(t, func(t *testing.T, one, two *store.DB) {
		must(t, one.Write(t.Context(), inserting("a", 0)))
		must(t, one.Write(t.Context(), inserting("b", 0)))
		var all sync.WaitGroup
		for n, db := range []*store.DB{one, two, one, two} {
			order := []string{"a", "b"}
			if n%2 == 1 {
				slices.Reverse(order)
			}
			all.Go(func() {
				for range 10 {
					err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
						for _, id := range order {
							if _, err := tx.ExecContext(ctx, `UPDATE things SET size = size + 1 WHERE id = $1`, id); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if n := storetest.Count(t, one, `SELECT SUM(size) FROM things`); n != 80 {
			t.Errorf("sum %d, want 80", n)
		}
	})
}

func TestLock_lets_one_node_in(t *testing.T) {
	nodes(t, func(t *testing.T, one, two *store.DB) {
		var inside sync.Mutex
		var all sync.WaitGroup
		for n := range 8 {
			db := []*store.DB{one, two}[n%2]
			all.Go(func() {
				for range 10 {
					err := db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
						if err := tx.Lock(ctx, "claim"); err != nil {
							return err
						}
						if !inside.TryLock() {
							t.Error("two are inside")
							return nil
						}
						defer inside.Unlock()
						// A claim without row locks: only the named lock keeps two from taking one number.
						_, err := tx.ExecContext(ctx, `INSERT INTO things (id, owner, name, size)
							SELECT CAST(COUNT(*) AS TEXT), CAST(COUNT(*) AS TEXT), '', 0 FROM things`)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if n := storetest.Count(t, one, `SELECT COUNT(*) FROM things`); n != 80 {
			t.Errorf("%d claims, want 80", n)
		}
	})
}

// ear is a listener whose every call can be waited for.
type ear struct{ heard, missed chan string }

func listen(t *testing.T, db *store.DB) ear {
	t.Helper()
	e := ear{make(chan string, 100), make(chan string, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- db.Listen(ctx, func(payload string) { e.heard <- payload }, func() { e.missed <- "" })
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
	<-e.missed
	return e
}

func notifying(payload string, result error) store.Func {
	return func(ctx context.Context, tx store.Tx) error {
		if err := tx.Notify(ctx, payload); err != nil {
			return err
		}
		return result
	}
}

func TestNotify_reaches_this_handle_before_Write_returns(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		here := listen(t, db)
		refused := errors.New("refused")
		if err := db.Write(t.Context(), notifying("never", refused)); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		must(t, db.Write(t.Context(), notifying("token 7", nil)))
		select {
		case got := <-here.heard:
			if got != "token 7" {
				t.Errorf("heard %q", got)
			}
		default:
			t.Error("Write returned before its notice was heard")
		}
	})
}

func TestNotify_reaches_other_nodes_after_the_commit(t *testing.T) {
	t.Parallel()
	url := peers.Postgres(t).Database(t)
	one := &store.DB{Engine: storetest.OpenPostgres(t, url, schema)}
	two := &store.DB{Engine: storetest.OpenPostgres(t, url, schema)}
	must(t, one.Migrate(t.Context()))
	there := listen(t, two)
	if err := one.Write(t.Context(), notifying("never", errors.New("refused"))); err == nil {
		t.Fatal("the write succeeds")
	}
	must(t, one.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return errors.Join(inserting("a", 1)(ctx, tx), tx.Notify(ctx, "thing a"))
	}))
	if got := <-there.heard; got != "thing a" {
		t.Errorf("heard %q", got)
	}
	if n := storetest.Count(t, two, `SELECT COUNT(*) FROM things`); n != 1 {
		t.Error("the notice came before the commit")
	}
}

func TestPostgres_that_goes_away_and_comes_back(t *testing.T) {
	t.Parallel()
	server := peers.OwnPostgres(t, "fsync=off")
	db := &store.DB{Engine: storetest.OpenPostgres(t, server.Database(t), schema)}
	must(t, db.Migrate(t.Context()))
	must(t, db.Write(t.Context(), inserting("a", 0)))
	there := listen(t, db)
	fillPool(t, db)

	server.Restart(t) // every pooled connection is dead now
	must(t, db.Write(t.Context(), increment(db)))
	fillPool(t, db)
	server.Restart(t)
	if n := storetest.Count(t, db, `SELECT size FROM things`); n != 1 {
		t.Errorf("size %d, want 1", n)
	}

	server.Crash(t)
	begun := time.Now()
	if err := db.Write(t.Context(), increment(db)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Write without a server gives %v", err)
	}
	if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Ping without a server gives %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("errors took %v", took)
	}
	server.Start(t)
	must(t, db.Write(t.Context(), increment(db)))
	if n := storetest.Count(t, db, `SELECT size FROM things`); n != 2 {
		t.Errorf("size %d, want 2", n)
	}
	<-there.missed // after one of the restarts the listener listens again and says so
}

// fillPool uses several connections at once, so that several lie idle afterwards.
func fillPool(t *testing.T, db *store.DB) {
	t.Helper()
	var all, in sync.WaitGroup
	in.Add(8)
	for range 8 {
		all.Go(func() {
			entered := sync.OnceFunc(in.Done)
			err := db.Read(t.Context(), func(ctx context.Context, tx store.Tx) error {
				entered()
				in.Wait()
				_, err := store.One(ctx, tx, store.Value[int64], `SELECT COUNT(*) FROM things`)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestMigrate_runs_once_and_tells_its_version(t *testing.T) {
	nodes(t, func(t *testing.T, one, two *store.DB) {
		must(t, one.Migrate(t.Context()))
		for _, db := range []*store.DB{one, two} {
			have, newest, err := db.SchemaVersion(t.Context())
			must(t, err)
			if have != 2 || newest != 2 {
				t.Errorf("version %d of %d, want 2 of 2", have, newest)
			}
		}
	})
}

func TestMigrate_of_nodes_that_start_together(t *testing.T) {
	t.Parallel()
	url := peers.Postgres(t).Database(t)
	var all sync.WaitGroup
	for range 4 {
		node := storetest.OpenPostgres(t, url, schema)
		all.Go(func() {
			if err := node.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestNow_is_near_our_clock(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		before := time.Now()
		now, err := db.Now(t.Context())
		must(t, err)
		if after := time.Now(); now.Before(before.Add(-time.Second)) || now.After(after.Add(time.Second)) {
			t.Errorf("the database has %v on the same machine, between %v and %v of ours", now, before, after)
		}
	})
}

func TestObserve_hears_of_every_call(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		var ops []string
		db.Observe = func(op string, _ time.Duration, err error) { ops = append(ops, fmt.Sprint(op, " ", err != nil)) }
		must(t, db.Write(t.Context(), inserting("a", 1)))
		_ = db.Write(t.Context(), inserting("a", 1))
		storetest.Count(t, db, `SELECT COUNT(*) FROM things`)
		if want := []string{"write false", "write true", "read false"}; !slices.Equal(ops, want) {
			t.Errorf("observed %v, want %v", ops, want)
		}
	})
}
