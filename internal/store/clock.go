package store

import (
	"database/sql"
	"time"
)

// Micros is how SQL holds a time: microseconds since 1970, UTC. The zero time, which the domain
// uses for "never", has no such number: use NullMicros where a column may be NULL.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time is the inverse of Micros.
func Time(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// NullMicros is Micros for columns that may be NULL: the zero time is NULL.
func NullMicros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

// ScanTime scans a column of microseconds into t; NULL is the zero time.
func ScanTime(t *time.Time) sql.Scanner { return &timeScanner{t} }

type timeScanner struct{ t *time.Time }

// Scan implements sql.Scanner.
func (s *timeScanner) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	*s.t = time.Time{}
	if n.Valid {
		*s.t = Time(n.Int64)
	}
	return nil
}
