package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	micro = 1_000_000 // micro-tokens in a token
	grab  = 10        // tokens that a node takes out of the shared bucket at a time

	// refillTime is how long an empty bucket of any size takes to fill: sizes are requests per hour.
	refillTime = time.Hour
)

// BucketRow is a bucket as the store keeps it. The tokens in it are those that no node holds.
type BucketRow struct {
	MicroTokens int64
	Size        int
	At          time.Time // when MicroTokens was true
}

// BudgetStore keeps buckets.
type BudgetStore interface {
	// Lease loads the bucket of key (found says whether there is one), hands it to decide and stores
	// and returns what that returns, in one transaction. decide may run more than once.
	Lease(ctx context.Context, key string, decide func(row BucketRow, found bool) BucketRow) (BucketRow, error)
}

// Budget gives out requests from token buckets that all nodes share. A bucket holds its size at first
// and grows by size tokens an hour, up to its size.
type Budget struct {
	Store BudgetStore
	Now   func() time.Time

	mu     sync.Mutex
	shares map[string]*share
}

// State is what a request may do, and what is left.
type State struct {
	Allowed    bool
	Limit      int           // the bucket's size; 0: there is no limit and nothing below has a meaning
	Remaining  int           // whole tokens that are left, as far as this node knows
	Reset      time.Duration // until the bucket is full, in whole seconds, rounded up
	RetryAfter time.Duration // until there is one token, in whole seconds, at least one; 0 when allowed
}

// share is what one node holds of a bucket and last saw of it.
type share struct {
	mu   sync.Mutex
	held int       // whole tokens taken out of the bucket and not used yet
	took time.Time // when they were taken
	seen BucketRow // the bucket behind that
}

// Take asks for one request from the bucket of key. size is its size now, 0 for no limit. A refused
// request costs nothing, and asks the store only when a token can have grown since the last look.
func (b *Budget) Take(ctx context.Context, key string, size int) (State, error) {
	if size <= 0 {
		return State{Allowed: true}, nil
	}
	h := b.share(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := b.Now()
	if h.mustLook(now, size) {
		if err := h.lease(ctx, b.Store, key, now, size); err != nil {
			return State{}, fmt.Errorf("take from budget: %w", err)
		}
	}
	if h.held == 0 {
		return h.state(now, false), nil
	}
	h.held--
	return h.state(now, true), nil
}

func (b *Budget) share(key string) *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shares == nil {
		b.shares = make(map[string]*share)
	}
	h, ok := b.shares[key]
	if !ok {
		h = &share{}
		b.shares[key] = h
	}
	return h
}

// mustLook says whether to go to the store. What is held longer than a token takes to grow goes back
// first, or a quiet node would save tokens up beyond the size of the bucket.
func (h *share) mustLook(now time.Time, size int) bool {
	switch {
	case h.seen.Size != size:
		return true
	case h.held > 0:
		return now.Sub(h.took).Abs() > untilTokens(micro, size)
	default:
		return h.seen.refilled(now, size).MicroTokens >= micro
	}
}

// lease gives back what is held and takes what is due, in one step.
func (h *share) lease(ctx context.Context, store BudgetStore, key string, now time.Time, size int) error {
	got := 0
	row, err := store.Lease(ctx, key, func(row BucketRow, found bool) BucketRow {
		row = row.current(found, now, size).with(h.held)
		got = int(min(grab, row.MicroTokens/micro))
		return row.with(-got)
	})
	if err != nil {
		h.held = 0 // whether it went back is not known, and it must not count twice
		return err
	}
	h.held, h.took, h.seen = got, now, row
	return nil
}

// Return gives back what this node holds of all buckets: call it when the node stops.
func (b *Budget) Return(ctx context.Context) error {
	b.mu.Lock()
	shares := b.shares
	b.shares = nil
	b.mu.Unlock()
	var errs []error
	for key, h := range shares {
		errs = append(errs, h.giveBack(ctx, b.Store, key, b.Now()))
	}
	return errors.Join(errs...)
}

func (h *share) giveBack(ctx context.Context, store BudgetStore, key string, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == 0 {
		return nil
	}
	_, err := store.Lease(ctx, key, func(row BucketRow, found bool) BucketRow {
		return row.current(found, now, h.seen.Size).with(h.held)
	})
	h.held = 0 // also after an error, as in lease
	return err
}

// current returns the row as it is now in a bucket of that size. A new bucket is full, and one that was
// full stays so when its size changes.
func (r BucketRow) current(found bool, now time.Time, size int) BucketRow {
	full := BucketRow{MicroTokens: int64(size) * micro, Size: size, At: now}
	if !found {
		return full
	}
	before := r.refilled(now, r.Size)
	if r.Size > 0 && before.MicroTokens == int64(r.Size)*micro {
		full.At = before.At
		return full
	}
	return r.refilled(now, size)
}

// refilled returns the row with what has grown since. Time never runs backwards here: for a node whose
// clock is behind, nothing has grown, and the row keeps its later time so that nothing grows twice.
// Only a time so far ahead that no two clocks differ by it is taken for a mistake and set right.
func (r BucketRow) refilled(now time.Time, size int) BucketRow {
	r.Size = size
	elapsed := now.Sub(r.At)
	switch {
	case elapsed >= refillTime:
		r.MicroTokens, r.At = int64(size)*micro, now
	case elapsed > 0: // time that has not grown a whole micro-token yet goes on counting
		grown := elapsed.Microseconds() * int64(size) / int64(refillTime/time.Second)
		r.MicroTokens, r.At = r.MicroTokens+grown, r.At.Add(untilTokens(grown, size))
	case elapsed < -refillTime:
		r.At = now
	}
	r.MicroTokens = max(0, min(r.MicroTokens, int64(size)*micro))
	return r
}

// with returns the row with n tokens more, never more than its size.
func (r BucketRow) with(n int) BucketRow {
	r.MicroTokens = min(r.MicroTokens+int64(n)*micro, int64(r.Size)*micro)
	return r
}

// untilTokens is how long so many micro-tokens take to grow, rounded up.
func untilTokens(missing int64, size int) time.Duration {
	if missing <= 0 {
		return 0
	}
	seconds := int64(refillTime / time.Second)
	return time.Duration((missing*seconds+int64(size)-1)/int64(size)) * time.Microsecond
}

func (h *share) state(now time.Time, allowed bool) State {
	row := h.seen.refilled(now, h.seen.Size)
	there := min(row.MicroTokens+int64(h.held)*micro, int64(row.Size)*micro)
	s := State{
		Allowed: allowed, Limit: row.Size, Remaining: int(there / micro),
		Reset: wholeSeconds(untilTokens(int64(row.Size)*micro-there, row.Size)),
	}
	if !allowed {
		s.RetryAfter = max(time.Second, wholeSeconds(untilTokens(micro-there, row.Size)+max(0, row.At.Sub(now))))
	}
	return s
}

func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
