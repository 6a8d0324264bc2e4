package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
)

// Guards keeps failure counters and request budgets.
type Guards struct{ DB *DB }

var (
	_ guard.FailureStore = Guards{}
	_ guard.BudgetStore  = Guards{}
	_ guard.LockoutStore = Guards{}
)

func scanCounter(scan Scan) (guard.Counter, error) {
	var c guard.Counter
	err := scan(&c.Count, ScanTime(&c.Ends))
	return c, err
}

// Count implements guard.FailureStore. The lock on the key serves where there is no row to lock yet.
func (s Guards) Count(ctx context.Context, key string, decide func(c guard.Counter, found bool) guard.Counter) (guard.Counter, error) {
	var is guard.Counter
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.Lock(ctx, "failures "+key); err != nil {
			return err
		}
		was, err := One(ctx, tx, scanCounter, `SELECT attempts, ends FROM failures WHERE key = $1`, key)
		if err != nil && !Absent(err) {
			return err
		}
		is = decide(was, err == nil)
		_, err = tx.ExecContext(ctx, `INSERT INTO failures (key, attempts, ends) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET attempts = excluded.attempts, ends = excluded.ends`, key, is.Count, Micros(is.Ends))
		return err
	})
	return is, err
}

// Sweep implements guard.FailureStore.
func (s Guards) Sweep(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM failures WHERE ends < $1`, Micros(before))
		return err
	})
}

func scanRecord(scan Scan) (guard.Record, error) {
	var r guard.Record
	err := scan(&r.Count, ScanTime(&r.Since), ScanTime(&r.Last))
	return r, err
}

const selectRecord = `SELECT failures, since, last FROM lockouts WHERE key = $1`

// Record implements guard.LockoutStore.
func (s Guards) Record(ctx context.Context, key string) (guard.Record, error) {
	var r guard.Record
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		r, err = One(ctx, tx, scanRecord, selectRecord, key)
		return err
	})
	if Absent(err) {
		return guard.Record{}, nil
	}
	return r, err
}

// Strike implements guard.LockoutStore. The lock on the key serves where there is no row to lock yet.
func (s Guards) Strike(ctx context.Context, key string, decide func(guard.Record) guard.Record) (guard.Record, error) {
	var is guard.Record
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.Lock(ctx, "lockout "+key); err != nil {
			return err
		}
		was, err := One(ctx, tx, scanRecord, selectRecord, key)
		if err != nil && !Absent(err) {
			return err
		}
		is = decide(was)
		_, err = tx.ExecContext(ctx, `INSERT INTO lockouts (key, failures, since, last) VALUES ($1, $2, $3, $4)
			ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, since = excluded.since, last = excluded.last`,
			key, is.Count, Micros(is.Since), Micros(is.Last))
		return err
	})
	return is, err
}

// Clear implements guard.LockoutStore.
func (s Guards) Clear(ctx context.Context, keys []string, events ...audit.Event) (int, error) {
	cleared := 0
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		cleared = 0
		for _, key := range keys {
			n, err := Exec(ctx, tx, `DELETE FROM lockouts WHERE key = $1`, key)
			if err != nil {
				return err
			}
			cleared += int(n)
		}
		return insertEvents(ctx, tx, events...)
	})
	return cleared, err
}

// SweepRecords implements guard.LockoutStore.
func (s Guards) SweepRecords(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM lockouts WHERE last < $1`, Micros(before))
		return err
	})
}

func scanBucket(scan Scan) (guard.BucketRow, error) {
	var b guard.BucketRow
	err := scan(&b.MicroTokens, &b.Size, ScanTime(&b.At))
	return b, err
}

// Lease implements guard.BudgetStore.
func (s Guards) Lease(ctx context.Context, key string, decide func(row guard.BucketRow, found bool) guard.BucketRow) (guard.BucketRow, error) {
	var is guard.BucketRow
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.Lock(ctx, "bucket "+key); err != nil {
			return err
		}
		was, err := One(ctx, tx, scanBucket, `SELECT micro_tokens, size, at FROM buckets WHERE key = $1`, key)
		if err != nil && !Absent(err) {
			return err
		}
		is = decide(was, err == nil)
		_, err = tx.ExecContext(ctx, `INSERT INTO buckets (key, micro_tokens, size, at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (key) DO UPDATE SET micro_tokens = excluded.micro_tokens, size = excluded.size, at = excluded.at`,
			key, is.MicroTokens, is.Size, Micros(is.At))
		return err
	})
	return is, err
}
