// Package sqlite runs the store on one SQLite file: a pool of readers, and one writer that commits in groups.
//
// Contexts: a statement that has begun is not interrupted, since SQLite would roll back the whole
// group with it; the context is checked before each statement. Statements are short by design.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

// Options says how to open a file. Only Path is needed.
type Options struct {
	Path        string        // made, with mode 0600, where it does not exist
	Readers     int           // connections for reading; 4
	BusyTimeout time.Duration // how long a write waits for another process; 5 s
	MaxGroup    int           // most functions in one commit; 64
	MaxGather   time.Duration // longest time that a group takes in functions; 2 ms
	Migrations  fs.FS         // store.Migrations()
}

func (o Options) withDefaults() Options {
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.MaxGroup == 0 {
		o.MaxGroup = 64
	}
	if o.MaxGather == 0 {
		o.MaxGather = 2 * time.Millisecond
	}
	if o.Migrations == nil {
		o.Migrations = store.Migrations()
	}
	return o
}

// Engine is the store on one SQLite file.
type Engine struct {
	options Options
	readers *sql.DB    // makes the connections of idle
	idle    chan *conn // Options.Readers of them; a nil one is opened at its first use
	writer  *writer
	hub     store.Hub
	indexes indexes

	closeOnce sync.Once
	closed    chan struct{}
}

var _ store.Engine = (*Engine)(nil)

// Open opens the file. It does not touch the schema: see Migrate.
func Open(ctx context.Context, options Options) (*Engine, error) {
	options = options.withDefaults()
	if err := create(options.Path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", options.Path, err)
	}
	e := &Engine{options: options, idle: make(chan *conn, options.Readers), closed: make(chan struct{})}
	var err error
	if e.readers, err = sql.Open("sqlite", options.dsn("query_only(1)")); err != nil {
		return nil, fmt.Errorf("open database %s: %w", options.Path, err)
	}
	if e.writer, err = startWriter(ctx, options); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", options.Path, err), e.readers.Close())
	}
	for range options.Readers {
		e.idle <- nil
	}
	return e, nil
}

// create makes the file before SQLite does, so that it and its companions are the owner's alone.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (o Options) dsn(pragmas ...string) string {
	q := url.Values{"_txlock": {"immediate"}, "_dqs": {"0"}}
	// busy_timeout comes first: switching to WAL may have to wait for another process.
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", o.BusyTimeout.Milliseconds()))
	for _, p := range append([]string{
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)",
		"journal_size_limit(67108864)", // a log that once grew long is cut again
	}, pragmas...) {
		q.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: o.Path}).EscapedPath() + "?" + q.Encode()
}

// Read implements store.Engine.
func (e *Engine) Read(ctx context.Context, fn store.Func) error {
	return e.Classify(e.withReader(ctx, func(c *conn) error {
		return fn(ctx, &tx{conn: c})
	}))
}

// ReadSnapshot implements store.Engine.
func (e *Engine) ReadSnapshot(ctx context.Context, fn store.Func) error {
	return e.Classify(e.withReader(ctx, func(c *conn) error {
		if err := c.run("BEGIN"); err != nil {
			return err
		}
		defer func() { c.broken = c.run("ROLLBACK") != nil || c.broken }()
		return fn(ctx, &tx{conn: c})
	}))
}

// withReader lends an idle connection to work.
func (e *Engine) withReader(ctx context.Context, work func(*conn) error) (err error) {
	var c *conn
	select {
	case c = <-e.idle:
	default:
		select {
		case c = <-e.idle:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.closed:
			return errClosed
		}
	}
	if c == nil {
		if c, err = openConn(e.readers); err != nil {
			e.idle <- nil
			return err
		}
	}
	defer func() {
		if c.broken {
			c.close()
			c = nil
		}
		e.idle <- c
	}()
	return work(c)
}

// Write implements store.Engine.
func (e *Engine) Write(ctx context.Context, fn store.Func) error {
	notices, err := e.writer.write(ctx, fn)
	if err != nil {
		return e.Classify(err)
	}
	e.hub.Publish(notices)
	return nil
}

// ForUpdate implements store.Engine: the single writer needs no row locks.
func (*Engine) ForUpdate() string { return "" }

// Listen implements store.Engine. Other processes on the same file are not heard.
func (e *Engine) Listen(ctx context.Context, notice func(string), missed func()) error {
	return e.hub.Listen(ctx, notice, missed)
}

// Now implements store.Engine: the file's clock is ours.
func (*Engine) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// Ping implements store.Engine.
func (e *Engine) Ping(ctx context.Context) error {
	return e.Read(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := store.One(ctx, tx, store.Value[int64], `SELECT COUNT(*) FROM sqlite_master`)
		return err
	})
}

// Migrate implements store.Engine. The caller holds the lock of the data directory.
func (e *Engine) Migrate(ctx context.Context) error {
	return e.withProvider(func(p *goose.Provider) error { return store.MigrateWith(ctx, p) })
}

// SchemaVersion implements store.Engine.
func (e *Engine) SchemaVersion(ctx context.Context) (have, newest int64, err error) {
	err = e.withProvider(func(p *goose.Provider) error {
		have, newest, err = store.VersionWith(ctx, p)
		return err
	})
	return have, newest, err
}

func (e *Engine) withProvider(work func(*goose.Provider) error) (err error) {
	db, err := sql.Open("sqlite", e.options.dsn())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	p, err := store.ProviderOf(goose.NewProvider(goose.DialectSQLite3, db, e.options.Migrations))
	if err != nil {
		return err
	}
	return work(p)
}

// Close ends the writer after what it has begun, waits for the readers and closes the file.
func (e *Engine) Close() error {
	var err error
	e.closeOnce.Do(func() {
		close(e.closed)
		err = e.writer.close()
		for range e.options.Readers {
			if c := <-e.idle; c != nil {
				c.close()
			}
		}
		err = errors.Join(err, e.readers.Close())
	})
	return err
}
