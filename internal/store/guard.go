package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
)

// Guards keeps failure counters and request budgets.
type Guards struct{ DB *DB }

var (
	_ guard.FailureStore = Guards{}
	_ guard.BudgetStore  = Guards{}
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
