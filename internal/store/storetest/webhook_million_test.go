package storetest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/storetest"
)

// fillDeliveries adds old deliveries of no webhook: of each ten thousand one waits for a retry tomorrow.
const fillDeliveries = `WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1)
	INSERT INTO webhook_deliveries (id, webhook, owner, project, entity, event, payload, triggered, state, attempts, due, status, reason, ended)
	SELECT '01900000-0000-7000-8000-0000' || CAST(10000000 + i AS TEXT), 'hook ' || CAST(i % 1000 AS TEXT), 'owner ' || CAST(i % 500 AS TEXT), 'p',
		'verify_session', 'verified', '{}', i, CASE WHEN i % 10000 = 0 THEN 'pending' ELSE 'delivered' END, 1,
		CASE WHEN i % 10000 = 0 THEN 9000000000000000 ELSE i END, 200, '', CASE WHEN i % 10000 = 0 THEN NULL ELSE i END
	FROM n`

// TestClaim_among_a_million_deliveries holds that neither the poll that finds nothing nor a claim looks
// at what was sent long ago.
func TestClaim_among_a_million_deliveries(t *testing.T) {
	t.Parallel()
	if os.Getenv("GATEHOUSE_NIGHTLY") == "" {
		t.Skip("takes a minute: set GATEHOUSE_NIGHTLY")
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := proofs(t, db)
		must(t, db.Write(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, err := tx.ExecContext(ctx, fillDeliveries, 1_000_000)
			return err
		}))
		best := func(work func()) time.Duration {
			fastest := time.Hour
			for range 10 {
				begin := time.Now()
				work()
				fastest = min(fastest, time.Since(begin))
			}
			return fastest
		}
		poll := best(func() { claim(t, s.Webhooks, "a", start, 100) })
		_, hooks := hooked(t, s, 1)
		fire(t, s, hooks[0], 1000)
		full := best(func() {
			if jobs := claim(t, s.Webhooks, "a", start, 100); len(jobs) != 100 {
				t.Errorf("claimed %d", len(jobs))
			} else {
				must(t, s.Webhooks.Release(t.Context(), "a", jobIDs(jobs)))
			}
		})
		backlog := best(func() { must(t, thirdOf(s.Webhooks.Backlog(t.Context(), start))) })
		t.Logf("poll %v, claim and release of 100 %v, backlog %v", poll, full, backlog)
		if poll > 20*time.Millisecond || full > 200*time.Millisecond || backlog > 50*time.Millisecond {
			t.Error("too slow: an index is not used")
		}
	})
}
