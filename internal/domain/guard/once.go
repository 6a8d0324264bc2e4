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
	// Used reports whether key is used at now, and notes nothing.
	Used(ctx context.Context, key string, now time.Time) (bool, error)
	// SweepUsed removes what was over before that time.
	SweepUsed(ctx context.Context, before time.Time) error
}

// clockMargin is how far the clocks of nodes may differ without one of them forgetting what another still refuses.
const clockMargin = time.Hour

// SweepOnce removes what is long over every so often until ctx ends. Nothing depends on it but space.
func SweepOnce(ctx context.Context, s OnceStore, now func() time.Time, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = s.SweepUsed(ctx, now().Add(-clockMargin)) // the next tick tries again
		}
	}
}
