package store

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
)

// Once remembers what was used, by digest alone: keys may hold what somebody could still use elsewhere.
type Once struct{ DB *DB }

var _ guard.OnceStore = Once{}

// Use implements guard.OnceStore. One statement decides: those who come second wait for the row and change nothing.
func (s Once) Use(ctx context.Context, key string, until, now time.Time) (bool, error) {
	digest, first := sha256.Sum256([]byte(key)), false
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `INSERT INTO used_once (key, until) VALUES ($1, $2)
			ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE used_once.until <= $3`, digest[:], Micros(until), Micros(now))
		first = n == 1
		return err
	})
	return first && err == nil, err
}

// Used implements guard.OnceStore.
func (s Once) Used(ctx context.Context, key string, now time.Time) (bool, error) {
	digest := sha256.Sum256([]byte(key))
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		_, err := One(ctx, tx, Value[int64], `SELECT until FROM used_once WHERE key = $1 AND until > $2`, digest[:], Micros(now))
		return err
	})
	if Absent(err) {
		return false, nil
	}
	return err == nil, err
}

// SweepUsed implements guard.OnceStore.
func (s Once) SweepUsed(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM used_once WHERE until < $1`, Micros(before))
		return err
	})
}
