package token

import (
	"context"
	"net/netip"
	"time"
)

// flushWithin bounds the last write of a node that stops.
const flushWithin = 5 * time.Second

// Used notes that a token was used. It costs no write: Run writes the latest use of each token.
func (s *Service) Used(id string, from netip.Addr, at time.Time) {
	address := ""
	if from.IsValid() {
		address = from.String()
	}
	s.note(Use{ID: id, At: at, Address: address})
}

func (s *Service) note(uses ...Use) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil {
		s.used = make(map[string]Use)
	}
	for _, u := range uses {
		if known, ok := s.used[u.ID]; !ok || !u.At.Before(known.At) {
			s.used[u.ID] = u
		}
	}
}

// Run writes last uses every UsedEvery until ctx ends, and then what is left.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(s.UsedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
			defer cancel()
			s.flush(last)
			return
		case <-tick.C:
			s.flush(ctx)
		}
	}
}

// flush writes what was gathered. What cannot be written is kept for the next time.
func (s *Service) flush(ctx context.Context) {
	s.mu.Lock()
	uses := make([]Use, 0, len(s.used))
	for _, u := range s.used {
		uses = append(uses, u)
	}
	clear(s.used)
	s.mu.Unlock()
	if len(uses) == 0 {
		return
	}
	if err := s.Store.MarkUsed(ctx, uses); err != nil {
		s.note(uses...)
		if s.OnUsedFailed != nil {
			s.OnUsedFailed(err)
		}
	}
}
