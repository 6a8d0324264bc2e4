package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

// maxStatements bounds the prepared statements of one connection. The texts of the store are
// constants and far fewer; only texts built at run time could reach it.
const maxStatements = 512

// conn is one connection with its prepared statements: parsing a statement costs more than running it.
type conn struct {
	sql        *sql.Conn
	statements map[string]*sql.Stmt
	broken     bool // to be closed, not used again
}

func openConn(db *sql.DB) (*conn, error) {
	// Not the caller's context: the driver would watch it with a goroutine for every statement.
	c, err := db.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{sql: c, statements: make(map[string]*sql.Stmt)}, nil
}

func (c *conn) prepared(query string) (*sql.Stmt, error) {
	if s, ok := c.statements[query]; ok {
		return s, nil
	}
	if len(c.statements) >= maxStatements {
		c.forget()
	}
	s, err := c.sql.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = s
	return s, nil
}

// run executes one of our own statements: BEGIN, COMMIT and so on.
func (c *conn) run(query string) error {
	s, err := c.prepared(query) //nolint:sqlclosecheck // kept with the connection, closed by forget
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}

func (c *conn) forget() {
	for query, s := range c.statements {
		_ = s.Close() // nothing can be done, nothing depends on it
		delete(c.statements, query)
	}
}

// close ends the connection, and an open transaction with it. Without the bad word database/sql
// would keep the connection and hand it out again as a fresh one.
func (c *conn) close() {
	c.forget()
	_ = c.sql.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.sql.Close()
}

// tx implements store.Tx on a connection whose transaction somebody else opened.
type tx struct {
	conn    *conn
	writing bool
	lost    error    // SQLite may have rolled back everything: see loses
	notices []string // to publish after the commit
}

var _ store.Tx = (*tx)(nil)

// ExecContext implements store.Tx.
func (t *tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := t.ready(ctx, query) //nolint:sqlclosecheck // kept with the connection, closed by forget
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(context.Background(), args...)
	return result, t.seen(err)
}

// QueryContext implements store.Tx.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := t.ready(ctx, query) //nolint:sqlclosecheck // kept with the connection, closed by forget
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(context.Background(), args...)
	return rows, t.seen(err)
}

// QueryRowContext implements store.Tx.
func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := t.ready(ctx, query) //nolint:sqlclosecheck // kept with the connection, closed by forget
	if err != nil {
		return failedRow(t.conn, err)
	}
	row := s.QueryRowContext(context.Background(), args...)
	_ = t.seen(row.Err())
	return row
}

func (t *tx) ready(ctx context.Context, query string) (*sql.Stmt, error) {
	if t.lost != nil {
		return nil, t.lost
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.conn.prepared(query)
}

func (t *tx) seen(err error) error {
	if err != nil && loses(err) {
		t.lost = err
		t.conn.broken = true
	}
	return err
}

// failedRow makes a row that reports err: database/sql has no other way to make one.
func failedRow(c *conn, err error) *sql.Row {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(err)
	return c.sql.QueryRowContext(causeContext{ctx, err}, "SELECT 1")
}

// causeContext is an ended context that names its cause where database/sql asks for Err.
type causeContext struct {
	context.Context
	err error
}

func (c causeContext) Err() error { return c.err }

// Lock implements store.Tx: there is one writer, and it is us.
func (t *tx) Lock(context.Context, string) error {
	if !t.writing {
		return store.ErrNotWriting
	}
	return nil
}

// Notify implements store.Tx.
func (t *tx) Notify(_ context.Context, payload string) error {
	switch {
	case !t.writing:
		return store.ErrNotWriting
	case len(payload) > store.MaxNotice:
		return store.ErrNoticeTooLong
	case !slices.Contains(t.notices, payload):
		t.notices = append(t.notices, payload)
	}
	return nil
}
