package audit

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Store keeps events and seals.
type Store interface {
	// Append inserts events that belong to no other change, all or none.
	Append(ctx context.Context, events ...Event) error
	// SealNext takes up to limit waiting events, oldest first, under a lock that only one sealer holds
	// in all nodes; hands their digests and the last seal (zero at the start) to seal; and stores the
	// links and the seal, all or nothing. It returns how many events were sealed; seal is not called for none.
	SealNext(ctx context.Context, limit int, seal func(previous Seal, waiting []Hash) (Seal, []Hash)) (int, error)
	// Concerning lists the events that concern a user, newest first, behind the one of the id w.After, sealed or not.
	Concerning(ctx context.Context, user string, w page.Window) (page.Page[Event], error)
	Source
}

// Source is what a verifier reads. All lists are in order.
type Source interface {
	// Entries returns up to limit entries with a position above after.
	Entries(ctx context.Context, after int64, limit int) ([]Entry, error)
	// Seals returns up to limit seals with a number above after.
	Seals(ctx context.Context, after int64, limit int) ([]Seal, error)
	// Waiting returns how many events are not sealed yet.
	Waiting(ctx context.Context) (int64, error)
}

// Service records events that stand alone and seals all.
type Service struct {
	Store     Store
	Signer    Signer
	Now       func() time.Time
	SealEvery time.Duration // how often waiting events are sealed; 250 ms by default
	SealBatch int           // how many events one seal covers at most; 1,000 by default
	Folder    *Folder       // folds refusals before authentication

	// OnSeal, where set, hears of every batch: how many events it held and how long sealing took, or the error.
	OnSeal func(events int, took time.Duration, err error)
}

// Record stores an event that belongs to no other change.
func (s *Service) Record(ctx context.Context, e Event) error { return s.Store.Append(ctx, e) }

// Refuse records a refusal before authentication. The first of its kind from an address in a minute
// is stored at once; the rest of the minute is stored as one counted event. A first one that cannot be
// stored is counted with the rest, and stored when the store is back.
func (s *Service) Refuse(ctx context.Context, e Event) error {
	if first := s.Folder.add(e, s.Now()); !first {
		return nil
	}
	err := s.Store.Append(ctx, e)
	if err != nil {
		e.Count = 1
		s.Folder.putBack([]Event{e})
	}
	return err
}

// Run seals waiting events and stores folded refusals until ctx ends, and finishes then.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(s.SealEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			s.Finish(last)
			return
		case <-tick.C:
			s.unfold(ctx, false)
			s.sealAll(ctx)
		}
	}
}

// unfold stores the counted events whose minute is over, or all of them.
func (s *Service) unfold(ctx context.Context, all bool) {
	events := s.Folder.due(s.Now(), all)
	if len(events) == 0 {
		return
	}
	if err := s.Store.Append(ctx, events...); err != nil {
		s.Folder.putBack(events)
	}
}

// sealAll seals batch by batch until fewer events wait than one seal holds.
func (s *Service) sealAll(ctx context.Context) {
	for ctx.Err() == nil {
		start := s.Now()
		n, err := s.Store.SealNext(ctx, s.SealBatch, func(previous Seal, waiting []Hash) (Seal, []Hash) {
			return s.Signer.seal(previous, waiting, s.Now())
		})
		if s.OnSeal != nil && (n > 0 || err != nil) {
			s.OnSeal(n, s.Now().Sub(start), err)
		}
		if err != nil || n < s.SealBatch {
			return
		}
	}
}

// Finish stores what is folded and seals everything that waits, so that a server that stopped in peace
// leaves nothing waiting.
func (s *Service) Finish(ctx context.Context) {
	s.unfold(ctx, true)
	s.sealAll(ctx)
}
