package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

const (
	readyFor = time.Second // how long an answer of the database is good for
	maxSkew  = time.Second // between this node's clock and the database's
)

// readiness answers whether this node should get work: its doors are open, its database answers, and
// the two agree on the time.
type readiness struct {
	db  *store.DB
	now func() time.Time

	mu      sync.Mutex
	isOpen  bool
	asked   time.Time
	reasons []string
}

func (r *readiness) open()  { r.set(true) }
func (r *readiness) close() { r.set(false) }

func (r *readiness) set(open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isOpen = open
}

// check returns why this node is not ready; nothing when it is.
func (r *readiness) check(ctx context.Context) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isOpen {
		return []string{"starting or stopping"}
	}
	if r.now().Sub(r.asked) >= readyFor {
		r.reasons = r.askDatabase(ctx)
		r.asked = r.now()
	}
	return r.reasons
}

func (r *readiness) askDatabase(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	before := r.now()
	theirs, err := r.db.Now(ctx)
	after := r.now()
	if err != nil {
		return []string{"the database does not answer"}
	}
	// theirs was read somewhere between before and after; only what lies outside is skew.
	if ahead, behind := theirs.Sub(after), before.Sub(theirs); ahead > maxSkew || behind > maxSkew {
		return []string{fmt.Sprintf("this node's clock is %s off the database's", max(ahead, behind).Round(time.Millisecond))}
	}
	return nil
}
