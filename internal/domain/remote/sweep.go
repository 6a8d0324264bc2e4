package remote

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// sweepBatch is how much one statement of the sweep looks at.
const sweepBatch = 200

// Sweep ends, until ctx is done, what waited too long: links, sessions that wait, requests. What is long over is forgotten.
func (s *Service) Sweep(ctx context.Context) {
	tick := time.NewTicker(orDefault(s.Settings.Sweep, 5*time.Second))
	defer tick.Stop()
	for {
		if err := s.SweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.failed("sweep remote sessions", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// SweepOnce is one round of Sweep. Any number of nodes may sweep at once.
func (s *Service) SweepOnce(ctx context.Context) error {
	for {
		late, err := s.Store.Overdue(ctx, s.Now(), sweepBatch)
		if err != nil {
			return err
		}
		if err := s.lapseAll(ctx, late); err != nil {
			return err
		}
		if len(late) < sweepBatch {
			break
		}
	}
	for {
		n, err := s.Store.Purge(ctx, s.Now().Add(-orDefault(s.Settings.FinishedKept, 24*time.Hour)), sweepBatch)
		if err != nil || n < sweepBatch {
			return err
		}
	}
}

// lapsing is how many of them end at a time: a store makes several writes durable at once, and has other callers.
const lapsing = 4

// lapseAll ends sessions that waited too long, and reports the first error.
func (s *Service) lapseAll(ctx context.Context, late []Session) error {
	errs, turns := make([]error, len(late)), make(chan struct{}, lapsing)
	var all sync.WaitGroup
	for i, x := range late {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			_, errs[i] = s.lapse(ctx, x)
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// lapse ends what waited too long, and returns it as it is then: a link is expired, a session abandoned, or refused where nobody answered its request.
func (s *Service) lapse(ctx context.Context, x Session) (Session, error) {
	unanswered, err := s.unanswered(ctx, x)
	if err != nil {
		return Session{}, err
	}
	var was Session
	x, err = s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
		was = x
		switch {
		case !over(x.Expires, s.Now()):
			return x, nil, ErrNotWaiting // it was prolonged meanwhile
		case x.State == Issued:
			x.State, x.Ended = Expired, s.Now()
			return x, []audit.Event{s.eventOf(s.clock(), linkExpired, x, audit.Done).With("attempted", "false")}, nil
		case x.State != Waiting:
			return x, nil, ErrOver
		case unanswered:
			x, e := s.ended(s.clock(), x, Refused, "")
			refused := s.eventOf(s.clock(), sessionRefused, x, audit.Refused)
			refused.Reason = "nobody answered the request in time"
			return x, []audit.Event{refused, e}, nil
		}
		x, e := s.ended(s.clock(), x, Abandoned, "")
		return x, []audit.Event{e}, nil
	})
	if errors.Is(err, ErrOver) || errors.Is(err, ErrNotWaiting) {
		return was, nil
	}
	return x, err
}

// unanswered reports whether a session waits for the answer to a request.
func (s *Service) unanswered(ctx context.Context, x Session) (bool, error) {
	if x.State != Waiting || !x.Terms.Approval {
		return false, nil
	}
	r, err := s.Store.RequestOf(ctx, x.ID)
	if errors.Is(err, ErrNoRequest) {
		return false, nil
	}
	return err == nil && r.State == Pending, err
}
