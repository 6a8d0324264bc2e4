// Package store keeps the domain in SQL: one file of queries per noun, one text for both databases.
//
// What differs between SQLite and PostgreSQL lies behind Engine, which the rooms sqlite and postgres
// implement. A noun's file holds a type around *DB whose methods run a function in Read or Write:
//
//	func (s Tokens) Insert(ctx context.Context, t token.Token) error {
//		err := s.DB.Write(ctx, func(ctx context.Context, tx store.Tx) error {
//			_, err := tx.ExecContext(ctx, `INSERT INTO tokens (id, name, created) VALUES ($1, $2, $3)`,
//				t.ID, t.Name, store.Micros(t.Created))
//			return err
//		})
//		if store.Violates(err, "tokens_name_key") {
//			return token.ErrNameTaken
//		}
//		return err
//	}
//
// Rules for SQL that both databases read alike stand in migrations/README.md.
package store

import (
	"context"
	"database/sql"
	"time"
)

// Tx runs statements inside the function that Read or Write was given, and only there.
//
// Statements are prepared once and kept, so a text should be a constant, values always parameters.
// Rows must be closed before the next statement; All and One do that. A failed statement in Write
// ends the whole function: return its error, do not go on (PostgreSQL would refuse anything else).
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row

	// Lock waits until no other transaction holds the name, and holds it until this one ends.
	// Work is claimed under it. On SQLite the single writer is the lock. Only inside Write.
	Lock(ctx context.Context, name string) error

	// Notify tells every listener of every node, once this transaction has committed. The payload
	// is "topic" or "topic id", at most MaxNotice bytes. Only inside Write. PostgreSQL commits
	// transactions that notify one after the other: keep it out of the hottest writes.
	Notify(ctx context.Context, payload string) error
}

// MaxNotice is the most bytes that a notice carries.
const MaxNotice = 200

// Func is what Read and Write run. It may run more than once, so it changes nothing outside the
// transaction except variables that every run sets anew.
type Func func(ctx context.Context, tx Tx) error

// Engine is what differs between the databases. Errors come out classified: *Violation,
// ErrUnavailable, ErrOutcomeUnknown or as the driver gave them; what the function itself returned
// stays in the chain.
type Engine interface {
	// Read runs fn on one connection without a transaction: each statement sees what was committed
	// when it began. It runs again when the connection was lost.
	Read(ctx context.Context, fn Func) error

	// ReadSnapshot is Read with one view for all statements of fn.
	ReadSnapshot(ctx context.Context, fn Func) error

	// Write runs fn in a transaction and returns after the durable commit. An error means that
	// nothing was written, unless it is ErrOutcomeUnknown. fn runs again after a deadlock, a
	// serialization failure or a connection lost before the commit was sent. A panic in fn rolls
	// back and goes on in the caller.
	Write(ctx context.Context, fn Func) error

	// ForUpdate ends a SELECT whose rows the same Write will change: " FOR UPDATE" or nothing.
	ForUpdate() string

	// Classify gives the error of a statement its meaning. Read and Write have done so already.
	Classify(err error) error

	// Listen calls notice for every payload until ctx ends, and returns nil then. Payloads of this
	// handle's own transactions arrive before their Write returns, so what notice drops from a
	// cache is gone for whoever saw the change done; it must be quick and must not call Write.
	// missed is called whenever listening begins, the first time too: notices may have been lost
	// before. Calls may overlap.
	Listen(ctx context.Context, notice func(payload string), missed func()) error

	// Now is the database's clock, to compare with ours for readiness; SQL never uses it.
	Now(ctx context.Context) (time.Time, error)

	Ping(ctx context.Context) error

	// Migrate brings the schema to the newest version. Several nodes may call it at once on
	// PostgreSQL; on SQLite the data directory must be locked.
	Migrate(ctx context.Context) error

	// SchemaVersion tells the schema's version and the newest that this program knows.
	SchemaVersion(ctx context.Context) (have, newest int64, err error)

	Close() error
}

// DB is an Engine whose work is observed. Nouns hold a *DB.
type DB struct {
	Engine
	// Observe, if set, is told about every Read ("read"), ReadSnapshot ("snapshot") and Write ("write").
	Observe func(op string, took time.Duration, err error)
}

// Read is Engine.Read, observed.
func (d *DB) Read(ctx context.Context, fn Func) error {
	return d.observed("read", func() error { return d.Engine.Read(ctx, fn) })
}

// ReadSnapshot is Engine.ReadSnapshot, observed.
func (d *DB) ReadSnapshot(ctx context.Context, fn Func) error {
	return d.observed("snapshot", func() error { return d.Engine.ReadSnapshot(ctx, fn) })
}

// Write is Engine.Write, observed.
func (d *DB) Write(ctx context.Context, fn Func) error {
	return d.observed("write", func() error { return d.Engine.Write(ctx, fn) })
}

func (d *DB) observed(op string, work func() error) error {
	if d.Observe == nil {
		return work()
	}
	begun := time.Now()
	err := work()
	d.Observe(op, time.Since(begun), err)
	return err
}
