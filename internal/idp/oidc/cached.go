package oidc

import (
	"context"
	"time"
)

// How long what a provider publishes is believed, and how seldom it is asked: whoever begins sign-ins decides when we want to
// know, and must not be able to turn that into a flood of calls.
const (
	lasts    = time.Hour        // then it is fetched anew
	seldom   = time.Minute      // at most so often for a key that nobody knows
	lenient  = 24 * time.Hour   // as long as it may be used while the provider does not answer
	patience = 10 * time.Second // after a call that failed, before the next
)

// cached is something that is fetched by one caller at a time, for all. Copies share it. It is generic because a document and a set of
// keys are kept by the same rules.
type cached[T any] struct{ state chan state[T] }

type state[T any] struct {
	value   T
	fetched time.Time // zero: never
	tried   time.Time
	err     error // of the last try
}

func newCached[T any]() cached[T] {
	c := cached[T]{make(chan state[T], 1)}
	c.state <- state[T]{}
	return c
}

// read returns the value, fetched anew when it is older than that. While fetching fails it returns the old value for a day, then the failure.
// The caller who fetches does so for the others too, so the end of its own request does not end the call.
func (c cached[T]) read(ctx context.Context, now func() time.Time, older time.Duration, fetch func(context.Context) (T, error)) (T, error) {
	var s state[T]
	select {
	case s = <-c.state:
	case <-ctx.Done():
		return s.value, wrong("the provider took too long")
	}
	defer func() { c.state <- s }()
	at := now()
	if !s.fetched.IsZero() && at.Sub(s.fetched) < older {
		return s.value, nil
	}
	if s.err == nil || at.Sub(s.tried) >= patience {
		var fresh T
		s.tried = at
		if fresh, s.err = fetch(context.WithoutCancel(ctx)); s.err == nil {
			s.value, s.fetched = fresh, at
		}
	}
	if s.err != nil && (s.fetched.IsZero() || at.Sub(s.fetched) >= lenient) {
		var none T
		return none, s.err
	}
	return s.value, nil
}
