package recent

import (
	"context"
	"sync"
	"time"
)

// Use is one thing's latest use.
type Use struct {
	ID      string
	At      time.Time
	Address string // where it was used from; "" where nobody knows
	Door    string // which door it came through; "" where nobody asks
}

// flushWithin bounds the last write of a node that stops.
const flushWithin = 5 * time.Second

// Uses gathers latest uses until they are written. Its zero value is ready.
type Uses struct {
	mu   sync.Mutex
	last map[string]Use
}

// Note keeps the later of a thing's uses.
func (u *Uses) Note(uses ...Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = make(map[string]Use)
	}
	for _, one := range uses {
		if known, ok := u.last[one.ID]; !ok || !one.At.Before(known.At) {
			u.last[one.ID] = one
		}
	}
}

// Run hands what was gathered to write as often as it may, until ctx ends, and then what is left. What cannot be written is
// kept for the next time, and failed, where it is set, hears of it.
func (u *Uses) Run(ctx context.Context, every time.Duration, write func(context.Context, []Use) error, failed func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	flush := func(ctx context.Context) {
		if err := u.flush(ctx, write); err != nil && failed != nil {
			failed(err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
			defer cancel()
			flush(last)
			return
		case <-tick.C:
			flush(ctx)
		}
	}
}

func (u *Uses) flush(ctx context.Context, write func(context.Context, []Use) error) error {
	u.mu.Lock()
	uses := make([]Use, 0, len(u.last))
	for _, one := range u.last {
		uses = append(uses, one)
	}
	clear(u.last)
	u.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	err := write(ctx, uses)
	if err != nil {
		u.Note(uses...)
	}
	return err
}
