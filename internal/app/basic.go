package app

import (
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

const (
	basicEvery = time.Minute // how often one principal is named
	maxBasic   = 10_000      // principals that are remembered
)

// basicLog names who still sends a password by HTTP Basic while administrators warn of that: one line per minute and principal, so that a busy robot
// does not flood the log.
type basicLog struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	until map[string]time.Time // by principal
}

func (b *basicLog) note(who access.Caller) {
	if b.due(who.ID) {
		b.log.Info("password by HTTP Basic", slog.String("name", who.Name), slog.String("remote", who.Address.String()), slog.String("door", who.Door))
	}
}

func (b *basicLog) due(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if now.Before(b.until[id]) {
		return false
	}
	if b.until == nil || len(b.until) >= maxBasic {
		b.until = make(map[string]time.Time)
	}
	b.until[id] = now.Add(basicEvery)
	return true
}
