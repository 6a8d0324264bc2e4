package token

import (
	"context"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// Used notes that a token was used. It costs no write: Run writes the latest use of each token.
func (s *Service) Used(id string, from netip.Addr, at time.Time) {
	address := ""
	if from.IsValid() {
		address = from.String()
	}
	s.used.Note(recent.Use{ID: id, At: at, Address: address})
}

// Run writes last uses every UsedEvery until ctx ends, and then what is left. What cannot be written is kept for the next time.
func (s *Service) Run(ctx context.Context) {
	s.used.Run(ctx, s.UsedEvery, s.Store.MarkUsed, s.OnUsedFailed)
}
