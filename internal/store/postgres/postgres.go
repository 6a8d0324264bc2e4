// Package postgres runs the store on a PostgreSQL server that many nodes share.
//
// Isolation is READ COMMITTED; rows that a decision depends on are read FOR UPDATE, and work is
// claimed under a named lock. LISTEN needs a connection of its own that stays: PgBouncer must
// pool by session.
package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

// Options says how to reach a database. Only URL is needed.
type Options struct {
	URL            string
	MaxConns       int           // 16
	MaxIdle        int           // MaxConns
	ConnectTimeout time.Duration // 5 s, unless the URL has a connect_timeout
	CommitTimeout  time.Duration // how long a commit may take before its outcome is unknown; 10 s
	MaxRetries     int           // runs of a function after the first; 8
	ListenBackoff  time.Duration // pause before listening again, growing to 32 times that; 100 ms
	Migrations     fs.FS         // store.Migrations()
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = 16
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = o.MaxConns
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	if o.CommitTimeout == 0 {
		o.CommitTimeout = 10 * time.Second
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = 8
	}
	if o.ListenBackoff == 0 {
		o.ListenBackoff = 100 * time.Millisecond
	}
	if o.Migrations == nil {
		o.Migrations = store.Migrations()
	}
	return o
}

// Engine is the store on a PostgreSQL database.
type Engine struct {
	options Options
	config  *pgx.ConnConfig
	db      *sql.DB
	hub     store.Hub
}

var _ store.Engine = (*Engine)(nil)

// Open prepares the pool and tries it once. It does not touch the schema: see Migrate.
func Open(ctx context.Context, options Options) (*Engine, error) {
	options = options.withDefaults()
	config, err := pgx.ParseConfig(options.URL)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err) // pgx keeps the password out of the text
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = options.ConnectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "gatehouse"
	}
	e := &Engine{options: options, config: config, db: stdlib.OpenDB(*config)}
	e.db.SetMaxOpenConns(options.MaxConns)
	e.db.SetMaxIdleConns(options.MaxIdle)
	e.db.SetConnMaxIdleTime(5 * time.Minute)
	if err := e.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), e.db.Close())
	}
	return e, nil
}

// Read implements store.Engine.
func (e *Engine) Read(ctx context.Context, fn store.Func) error {
	return e.retry(ctx, func(conn *sql.Conn, t *tx) error { return fn(ctx, t) })
}

// ReadSnapshot implements store.Engine.
func (e *Engine) ReadSnapshot(ctx context.Context, fn store.Func) error {
	return e.retry(ctx, func(conn *sql.Conn, t *tx) error {
		if _, err := command(ctx, conn, "begin isolation level repeatable read read only"); err != nil {
			return t.seen(err)
		}
		defer e.rollback(conn)
		return fn(ctx, t)
	})
}

// Write implements store.Engine.
func (e *Engine) Write(ctx context.Context, fn store.Func) error {
	var notices []string
	err := e.retry(ctx, func(conn *sql.Conn, t *tx) error {
		t.writing = true
		if _, err := command(ctx, conn, "begin isolation level read committed"); err != nil {
			return t.seen(err)
		}
		committed := false
		defer func() { // also when fn panics
			if !committed {
				e.rollback(conn)
			}
		}()
		if err := fn(ctx, t); err != nil {
			return err
		}
		if err := e.commit(ctx, conn, t); err != nil {
			return err
		}
		committed, notices = true, t.notices
		return nil
	})
	if err == nil {
		e.hub.Publish(notices)
	}
	return err
}

// retry lends a connection to work, and does it again when nothing can have been written: after a
// deadlock or serialization failure, and when a connection turns out to be dead.
func (e *Engine) retry(ctx context.Context, work func(*sql.Conn, *tx) error) error {
	// After a restart of the server every idle connection may be dead; each is found out by itself.
	dead, again := 0, 0
	for {
		t := &tx{}
		err := e.once(ctx, work, t)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrOutcomeUnknown):
			return err
		case ctx.Err() != nil:
			if lost(err) { // pgx ends the connection with the context
				err = errors.Join(ctx.Err(), err)
			}
			return err
		case (contended(err) || contended(t.failed)) && again < e.options.MaxRetries:
			again++
			if !pause(ctx, jitter(time.Millisecond<<again)) {
				return e.Classify(err)
			}
		case (lost(err) || lost(t.failed)) && dead <= e.options.MaxIdle:
			dead++
		default:
			return e.Classify(err)
		}
	}
}

func (e *Engine) once(ctx context.Context, work func(*sql.Conn, *tx) error, t *tx) error {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool
	t.conn = conn
	return work(conn, t)
}

// commit makes the transaction durable, whatever becomes of ctx meanwhile: an interrupted commit
// would be neither done nor undone.
func (e *Engine) commit(ctx context.Context, conn *sql.Conn, t *tx) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.failed != nil {
		return fmt.Errorf("statement failed and was ignored: %w", t.failed)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.options.CommitTimeout)
	defer cancel()
	done, err := command(ctx, conn, "commit")
	if err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) && !ended(refused) {
			return err // the server says that it has rolled back
		}
		return fmt.Errorf("%w: %w", store.ErrOutcomeUnknown, err)
	}
	if done != "COMMIT" {
		return errors.New("a failed statement was ignored: rolled back")
	}
	return nil
}

// rollback ends a transaction. Where that fails the pool finds out and drops the connection.
func (e *Engine) rollback(conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), e.options.CommitTimeout)
	defer cancel()
	_, _ = command(ctx, conn, "rollback")
}

// command runs a statement of ours past database/sql, which would not tell COMMIT from the
// ROLLBACK that PostgreSQL answers when a statement before had failed.
func command(ctx context.Context, conn *sql.Conn, statement string) (done string, err error) {
	err = conn.Raw(func(raw any) error {
		c := raw.(*stdlib.Conn).Conn()
		tag, err := c.Exec(ctx, statement)
		done = tag.String()
		if err != nil && c.IsClosed() {
			return errors.Join(err, driver.ErrBadConn) // the pool is to forget it
		}
		return err
	})
	return done, err
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter spreads d over half to one and a half of it, so that those who collided do not meet again.
func jitter(d time.Duration) time.Duration {
	var chance [1]byte
	rand.Read(chance[:]) // never fails: crypto/rand ends the program instead
	return d/2 + d*time.Duration(chance[0])/256
}

// ForUpdate implements store.Engine.
func (*Engine) ForUpdate() string { return " FOR UPDATE" }

// Now implements store.Engine.
func (e *Engine) Now(ctx context.Context) (now time.Time, err error) {
	err = e.Read(ctx, func(ctx context.Context, tx store.Tx) error {
		micros, err := store.One(ctx, tx, store.Value[int64],
			`SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`)
		now = store.Time(micros)
		return err
	})
	return now, err
}

// Ping implements store.Engine.
func (e *Engine) Ping(ctx context.Context) error {
	return e.Read(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, `SELECT 1`)
		return err
	})
}

// Migrate implements store.Engine. Nodes that start together wait for each other on an advisory lock.
func (e *Engine) Migrate(ctx context.Context) error {
	p, err := e.provider()
	if err != nil {
		return err
	}
	return e.Classify(store.MigrateWith(ctx, p))
}

// SchemaVersion implements store.Engine.
func (e *Engine) SchemaVersion(ctx context.Context) (have, newest int64, err error) {
	p, err := e.provider()
	if err != nil {
		return 0, 0, err
	}
	have, newest, err = store.VersionWith(ctx, p)
	return have, newest, e.Classify(err)
}

func (e *Engine) provider() (*goose.Provider, error) {
	// Asks for the lock every second, five minutes long: by default nodes start 5 s apart.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, err
	}
	return store.ProviderOf(goose.NewProvider(goose.DialectPostgres, e.db, e.options.Migrations,
		goose.WithSessionLocker(locker)))
}

// Close closes the pool; a connection in use closes when its function returns.
func (e *Engine) Close() error { return e.db.Close() }
