package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
)

// Two queues hold what is due. First attempts leave in the order of their ids, which is the order of
// what happened; retries leave by the moment that they became due. Each has its own narrow index, so
// that neither a million old deliveries nor a receiver that is away make a claim slow. "e.attempts < 1"
// is said otherwise than in the index of first attempts, or PostgreSQL would walk that one again for
// every row instead of looking into the webhook's own queue.
const (
	dueFirst = ` FROM webhook_deliveries d LEFT JOIN webhooks w ON w.id = d.webhook LEFT JOIN subscriptions s ON s.id = d.webhook
		WHERE d.state = 'pending' AND d.attempts = 0 AND d.due <= $1 AND (d.leased IS NULL OR d.leased <= $1)
		AND NOT EXISTS (SELECT 1 FROM webhook_deliveries e WHERE e.webhook = d.webhook AND e.state = 'pending' AND e.id < d.id
			AND e.attempts < 1 AND e.leased > $1)
		ORDER BY d.id LIMIT $2`
	dueAgain = ` FROM webhook_deliveries d LEFT JOIN webhooks w ON w.id = d.webhook LEFT JOIN subscriptions s ON s.id = d.webhook
		WHERE d.state = 'pending' AND d.attempts > 0 AND d.due <= $1 AND (d.leased IS NULL OR d.leased <= $1)
		ORDER BY d.due, d.id LIMIT $2`
	// jobColumns reads an absent webhook as one without id. No id is one of both tables.
	jobColumns = `COALESCE(w.id, s.id, ''), COALESCE(w.owner, ''), COALESCE(w.project, ''), COALESCE(w.url, s.url, ''), COALESCE(w.method, s.method, ''),
		COALESCE(w.headers, s.headers), COALESCE(w.events, s.events, '[]'), COALESCE(w.retries, s.retries, 0),
		COALESCE(w.initial_backoff, s.initial_backoff, 0), COALESCE(w.backoff_multiplier, s.backoff_multiplier, '1'),
		COALESCE(w.secret, s.secret), COALESCE(w.created, s.created, 0)`
	claimFirst = `SELECT ` + deliveryColumns + `, ` + jobColumns + dueFirst
	claimAgain = `SELECT ` + deliveryColumns + `, ` + jobColumns + dueAgain
	anyFirst   = `SELECT d.id` + dueFirst
	anyAgain   = `SELECT d.id` + dueAgain
)

// candidate is a due delivery and, while unfit is nil, the webhook to send it to.
type candidate struct {
	webhook.Job
	unfit string // why it can never be sent, "" when it can
}

// Claim implements webhook.Store. Most polls find nothing, and do not ask for the lock.
func (s Webhooks) Claim(ctx context.Context, holder string, now time.Time, lease time.Duration, limit int) ([]webhook.Job, error) {
	if due, err := s.anyDue(ctx, now); !due || err != nil {
		return nil, err
	}
	var jobs []webhook.Job
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		jobs = nil
		if err := tx.Lock(ctx, "webhook-claim"); err != nil {
			return err
		}
		found, err := s.candidates(ctx, tx, now, limit)
		if err != nil {
			return err
		}
		for _, c := range found {
			if c.unfit == "" {
				jobs = append(jobs, c.Job)
			} else if err := giveUp(ctx, tx, c, now); err != nil {
				return err
			}
		}
		return leaseTo(ctx, tx, holder, now.Add(lease), jobs)
	})
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	return jobs, nil
}

func (s Webhooks) anyDue(ctx context.Context, now time.Time) (due bool, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		_, err := One(ctx, tx, Value[string], anyFirst, Micros(now), 1)
		if Absent(err) {
			_, err = One(ctx, tx, Value[string], anyAgain, Micros(now), 1)
		}
		due = err == nil
		if Absent(err) {
			return nil
		}
		return err
	})
	return due, err
}

// candidates takes from both queues whichever front became due earlier.
func (s Webhooks) candidates(ctx context.Context, tx Tx, now time.Time, limit int) ([]candidate, error) {
	first, err := All(ctx, tx, s.scanCandidate, claimFirst, Micros(now), limit)
	if err != nil {
		return nil, err
	}
	again, err := All(ctx, tx, s.scanCandidate, claimAgain, Micros(now), limit)
	if err != nil {
		return nil, err
	}
	var found []candidate
	for len(found) < limit && len(first)+len(again) > 0 {
		from := &first
		if len(first) == 0 || (len(again) > 0 && again[0].Delivery.Due.Before(first[0].Delivery.Due)) {
			from = &again
		}
		found = append(found, (*from)[0])
		*from = (*from)[1:]
	}
	return found, nil
}

func (s Webhooks) scanCandidate(scan Scan) (c candidate, err error) {
	both := func(dest ...any) error { return scan(append(deliveryFields(&c.Delivery), dest...)...) }
	var sealed sealedFields
	if c.Webhook, sealed, err = scanSealed(both); err != nil {
		return c, err
	}
	if c.Webhook.ID == "" {
		c.unfit = "the webhook was removed"
		return c, nil
	}
	if c.Webhook, err = s.open(c.Webhook, sealed); err != nil {
		c.unfit = "the webhook could not be read" // one spoiled row must not hold up all others
	}
	return c, nil
}

// giveUp ends a delivery that nobody can send.
func giveUp(ctx context.Context, tx Tx, c candidate, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE webhook_deliveries SET state = 'failed', reason = $2, ended = $3, holder = NULL, leased = NULL
		WHERE id = $1`, c.Delivery.ID, c.unfit, Micros(now))
	return err
}

// leaseBatch is how many deliveries one statement leases or releases; the last id fills what is left.
const leaseBatch = 32

const (
	leaseWhere   = `UPDATE webhook_deliveries SET holder = $1, leased = $2 WHERE id IN (`
	releaseWhere = `UPDATE webhook_deliveries SET holder = NULL, leased = NULL WHERE holder = $1 AND state = 'pending' AND id IN (`
)

var (
	leaseMany   = leaseWhere + places(3, leaseBatch) + `)`
	releaseMany = releaseWhere + places(2, leaseBatch) + `)`
)

func leaseTo(ctx context.Context, tx Tx, holder string, until time.Time, jobs []webhook.Job) error {
	ids := make([]string, len(jobs))
	for i, j := range jobs {
		ids[i] = j.Delivery.ID
	}
	return inBatches(ctx, tx, leaseMany, ids, holder, Micros(until))
}

// Release implements webhook.Store.
func (s Webhooks) Release(ctx context.Context, holder string, ids []string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		return inBatches(ctx, tx, releaseMany, ids, holder)
	})
}

// inBatches runs a statement whose first parameters are given and whose last are leaseBatch ids.
func inBatches(ctx context.Context, tx Tx, statement string, ids []string, given ...any) error {
	for chunk := range slices.Chunk(ids, leaseBatch) {
		args := slices.Clone(given)
		for i := range leaseBatch {
			args = append(args, chunk[min(i, len(chunk)-1)])
		}
		if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
			return err
		}
	}
	return nil
}
