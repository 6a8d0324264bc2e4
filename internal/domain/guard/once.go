package guard

import (
	"context"
	"time"
)

// OnceStore remembers what was used.
type OnceStore interface {
	// Use notes that key is used, until that time, and reports whether it is the first: of many that try at once exactly one
	// is. What is over at now counts as unused.
	Use(ctx context.Context, key string, until, now time.Time) (first bool, err error)
	// SweepUsed removes what was over before that time.
	SweepUsed(ctx context.Context, before time.Time) error
}
