package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Scan is the Scan method of a row, as All and One hand it to a noun's own function.
type Scan func(dest ...any) error

// All returns every row that the query gives, each read by read. No row is an empty result, no error.
func All[T any](ctx context.Context, tx Tx, read func(Scan) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // what went wrong is in rows.Err
	var all []T
	for rows.Next() {
		one, err := read(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// One returns the only row that the query gives, sql.ErrNoRows when there is none.
func One[T any](ctx context.Context, tx Tx, read func(Scan) (T, error), query string, args ...any) (T, error) {
	return read(tx.QueryRowContext(ctx, query, args...).Scan)
}

// Value reads a row of one column.
func Value[T any](scan Scan) (T, error) {
	var v T
	err := scan(&v)
	return v, err
}

// Exec runs a statement and tells how many rows it changed.
func Exec(ctx context.Context, tx Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Absent reports whether err says that there is no such row.
func Absent(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// below is the id behind which a listing of ids in falling order goes on: that of the last one, or what stands above all ids.
func below(after string) string {
	if after == "" {
		return "z" // ids are hexadecimal
	}
	return after
}

// places lists n parameters, the first with that number.
func places(first, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", first+i)
	}
	return strings.Join(list, ", ")
}

// JSON is how SQL holds a list or a small structure: as JSON in TEXT. A value that cannot be
// written as JSON is a mistake in the program.
func JSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: %T as JSON: %v", v, err))
	}
	return string(text)
}

// ScanJSON scans a column of JSON into v, a pointer; NULL leaves it as it is.
func ScanJSON(v any) sql.Scanner { return jsonScanner{v} }

type jsonScanner struct{ into any }

// Scan implements sql.Scanner.
func (s jsonScanner) Scan(src any) error {
	switch text := src.(type) {
	case nil:
		return nil
	case string:
		return json.Unmarshal([]byte(text), s.into)
	case []byte:
		return json.Unmarshal(text, s.into)
	default:
		return fmt.Errorf("JSON column holds %T", src)
	}
}
