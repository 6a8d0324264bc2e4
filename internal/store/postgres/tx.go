package postgres

import (
	"context"
	"database/sql"
	"hash/fnv"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

// channel is what nodes NOTIFY and LISTEN on.
const channel = "gatehouse"

// tx implements store.Tx on a connection of the pool. pgx keeps statements prepared by their text.
type tx struct {
	conn    *sql.Conn
	writing bool
	failed  error    // the first statement that failed: the server refuses all after it
	notices []string // to publish in this process after the commit
}

var _ store.Tx = (*tx)(nil)

// ExecContext implements store.Tx.
func (t *tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	// pgx would report an ended context as a bad connection and drop a good one.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	result, err := t.conn.ExecContext(ctx, query, args...)
	return result, t.seen(err)
}

// QueryContext implements store.Tx.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows, err := t.conn.QueryContext(ctx, query, args...)
	return rows, t.seen(err)
}

// QueryRowContext implements store.Tx.
func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := t.conn.QueryRowContext(ctx, query, args...)
	_ = t.seen(row.Err())
	return row
}

func (t *tx) seen(err error) error {
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

// Lock implements store.Tx.
func (t *tx) Lock(ctx context.Context, name string) error {
	if !t.writing {
		return store.ErrNotWriting
	}
	_, err := t.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, lockNumber(name))
	return err
}

// lockNumber turns a name into the number that PostgreSQL wants. Two names with one number would
// only wait for each other.
func lockNumber(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("gatehouse/" + name)) // a hash takes everything
	return int64(h.Sum64())                     //nolint:gosec // a bit pattern that names the lock, not a number
}

// Notify implements store.Tx.
func (t *tx) Notify(ctx context.Context, payload string) error {
	switch {
	case !t.writing:
		return store.ErrNotWriting
	case len(payload) > store.MaxNotice:
		return store.ErrNoticeTooLong
	case slices.Contains(t.notices, payload):
		return nil
	}
	if _, err := t.ExecContext(ctx, `SELECT pg_notify($1, $2)`, channel, payload); err != nil {
		return err
	}
	t.notices = append(t.notices, payload)
	return nil
}
