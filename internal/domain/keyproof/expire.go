package keyproof

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Sweep expires overdue sessions and removes those that are kept no longer, until ctx ends. Several
// nodes may sweep at once: each session is expired under its own lock, by the first that comes.
func (s *Service) Sweep(ctx context.Context) {
	tick := time.NewTicker(s.SweepEvery)
	defer tick.Stop()
	purged := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.expireDue(ctx)
		if now := s.Now(); now.Sub(purged) >= time.Hour {
			purged = now
			s.purge(ctx, now)
		}
	}
}

func (s *Service) expireDue(ctx context.Context) {
	const batch = 500
	for ctx.Err() == nil {
		ids, err := s.Store.Due(ctx, s.Now(), batch)
		if err != nil {
			s.OnError("find overdue sessions", err)
			return
		}
		failed := 0
		for _, id := range ids {
			if _, err := s.expire(ctx, Session{ID: id}); err != nil && !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
				s.OnError("expire session", err)
				failed++ // one that cannot be expired does not keep the others waiting
			}
		}
		if len(ids) < batch || failed > 0 {
			return
		}
	}
}

func (s *Service) purge(ctx context.Context, now time.Time) {
	if s.OnFile != nil {
		if err := s.OnFile.Purge(ctx, now.Add(-s.KeepFor)); err != nil {
			s.OnError("purge proofs of keys on file", err)
		}
	}
	const batch = 1000
	for ctx.Err() == nil {
		e := access.SystemCaller(now).Event(now, "keyproof.purge", access.Installation, audit.Done)
		n, err := s.Store.Purge(ctx, now.Add(-s.KeepFor), batch, e)
		if err != nil {
			s.OnError("purge sessions", err)
			return
		}
		if n < batch {
			return
		}
	}
}

// expire ends a session whose time is up. Whoever comes second finds it ended and fires nothing.
func (s *Service) expire(ctx context.Context, of Session) (Session, error) {
	fired := false
	session, err := s.write(ctx, of, func(was State) (Change, error) {
		fired = was.Session.Due(s.Now())
		if !fired {
			return Change{}, nil
		}
		return s.expiry(was, s.Now())
	})
	if err == nil && fired {
		s.ended(session)
	}
	return session, err
}

// expiry is the change that expires a session: exactly one event, triggered at the moment of expiry.
func (s *Service) expiry(was State, now time.Time) (Change, error) {
	is := was.Session
	is.Status, is.Updated = Expired, now
	f := firing{session: is, to: was.Webhooks}
	f.statusChanged(is.Expires)
	deliveries, err := f.deliveries(s.Webhooks)
	return Change{Session: &is, Events: []audit.Event{expired(is, now)}, Deliveries: deliveries}, err
}

// expired is the audit record of a session whose time is up.
func expired(s Session, now time.Time) audit.Event {
	return access.SystemCaller(now).Event(now, access.KeyproofExpire, s.resource(), audit.Done)
}
