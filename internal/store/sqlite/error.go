package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

// Classify implements store.Engine.
func (e *Engine) Classify(err error) error {
	var failure *sqlite.Error
	var known *store.Violation
	if err == nil || errors.As(err, &known) || !errors.As(err, &failure) {
		return err
	}
	switch failure.Code() {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		table, _, _ := strings.Cut(refused(failure), ".")
		return &store.Violation{Kind: store.Unique, Constraint: table + "_pkey", Cause: err}
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return &store.Violation{Kind: store.Unique, Constraint: e.indexes.name(e, refused(failure)), Cause: err}
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return &store.Violation{Kind: store.ForeignKey, Cause: err}
	case sqlite3.SQLITE_CONSTRAINT_CHECK:
		return &store.Violation{Kind: store.Check, Constraint: refused(failure), Cause: err}
	}
	if unavailable(failure) && !errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// refused takes "tokens.owner, tokens.name" from
// "constraint failed: UNIQUE constraint failed: tokens.owner, tokens.name (2067)".
func refused(failure *sqlite.Error) string {
	text := failure.Error()
	if i := strings.LastIndex(text, "constraint failed: "); i >= 0 {
		text = text[i+len("constraint failed: "):]
	}
	if i := strings.LastIndex(text, " ("); i >= 0 {
		text = text[:i]
	}
	return text
}

func unavailable(failure *sqlite.Error) bool {
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// loses reports whether SQLite may have rolled back the whole transaction with the statement, or
// the connection is not to be trusted any more. Going on would write outside any transaction.
func loses(err error) bool {
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return false
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY,
		sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_READONLY:
		return true
	}
	return false
}

func busy(err error) bool {
	var failure *sqlite.Error
	return errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_BUSY
}

// indexes finds the name of a unique index by what SQLite reports instead: its columns.
type indexes struct {
	mu    sync.Mutex
	names map[string]string // "tokens.owner, tokens.name": "tokens_name_key"
}

func (x *indexes) name(e *Engine, columns string) string {
	// An index over expressions is reported by its name: index 'tokens_name_key'.
	if name, ok := strings.CutPrefix(columns, "index '"); ok {
		return strings.TrimSuffix(name, "'")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if name, ok := x.names[columns]; ok {
		return name
	}
	// Unknown: the schema is younger than what we read, or was never read.
	if names, err := e.uniqueIndexes(); err == nil {
		x.names = names
	}
	if name, ok := x.names[columns]; ok {
		return name
	}
	return columns
}

// uniqueIndexes reads every unique index of the schema: columns as SQLite reports them, to name.
func (e *Engine) uniqueIndexes() (map[string]string, error) {
	names := make(map[string]string)
	// A connection of its own: Classify may run while the caller holds a reader.
	rows, err := e.readers.QueryContext(context.Background(), `SELECT t.name, i.name, c.name FROM sqlite_master t
		JOIN pragma_index_list(t.name) i JOIN pragma_index_info(i.name) c
		WHERE t.type = 'table' AND i."unique" = 1 ORDER BY i.name, c.seqno`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns := make(map[string]string)
	for rows.Next() {
		var table, index string
		var column *string // NULL for an expression
		if err := rows.Scan(&table, &index, &column); err != nil {
			return nil, err
		}
		if column == nil {
			continue
		}
		if columns[index] != "" {
			columns[index] += ", "
		}
		columns[index] += table + "." + *column
	}
	for index, list := range columns {
		names[list] = index
	}
	return names, rows.Err()
}
