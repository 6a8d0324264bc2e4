package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Subscriptions keeps the webhooks of the whole installation, and how far along the audit chain each one is. Their deliveries lie with those of
// Webhooks, which sends them.
//
// Whoever adds, removes or moves one holds the lock "subscriptions": no delivery is made for one that is being removed, and none twice.
type Subscriptions struct {
	DB     *DB
	Sealer *secret.Sealer
}

var _ webhook.SubscriptionStore = Subscriptions{}

const subscriptionColumns = `s.id, s.url, s.method, s.events, s.retries, s.initial_backoff, s.backoff_multiplier, s.created, s.number, s.position`

func scanSubscription(scan Scan) (x webhook.Subscription, err error) {
	var multiplier string
	err = scan(&x.ID, &x.URL, &x.Method, ScanJSON(&x.Events), &x.Retries, &x.InitialBackoff, &multiplier, ScanTime(&x.Created), &x.Number, &x.Position)
	if err != nil {
		return x, err
	}
	x.BackoffMultiplier, err = strconv.ParseFloat(multiplier, 64)
	return x, err
}

// locked is a Write under the lock of all subscriptions.
func (s Subscriptions) locked(ctx context.Context, run Func) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.Lock(ctx, "subscriptions"); err != nil {
			return err
		}
		return run(ctx, tx)
	})
}

// Insert implements webhook.SubscriptionStore.
func (s Subscriptions) Insert(ctx context.Context, x webhook.Subscription, most int, e audit.Event) (webhook.Subscription, error) {
	sealed, err := Webhooks(s).seal(x.Webhook)
	if err != nil {
		return x, err
	}
	err = s.locked(ctx, func(ctx context.Context, tx Tx) error {
		n, err := One(ctx, tx, Value[int], `SELECT COUNT(*) FROM subscriptions`)
		if err != nil {
			return err
		}
		if n >= most {
			return fault.Newf(fault.Conflict, "there are %d subscriptions already; delete one first", n)
		}
		if x.Number, err = nextNumber(ctx, tx, "subscription"); err != nil {
			return err
		}
		if x.Position, err = headOf(ctx, tx); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO subscriptions (id, number, url, method, headers, events, retries, initial_backoff, backoff_multiplier,
			secret, position, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			x.ID, x.Number, x.URL, x.Method, sealed.headers, JSON(x.Events), x.Retries, x.InitialBackoff, decimal(x.BackoffMultiplier), sealed.secret,
			x.Position, Micros(x.Created))
		if err != nil {
			return fmt.Errorf("insert subscription: %w", err)
		}
		return insertEvents(ctx, tx, e)
	})
	return x, err
}

// All implements webhook.SubscriptionStore.
func (s Subscriptions) All(ctx context.Context) ([]webhook.Subscription, error) {
	return readAll(ctx, s.DB, scanSubscription, `SELECT `+subscriptionColumns+` FROM subscriptions s ORDER BY s.number`)
}

// Delete implements webhook.SubscriptionStore. A delivery under way stays and is recorded, as with Webhooks.
func (s Subscriptions) Delete(ctx context.Context, id string, e audit.Event) error {
	return s.locked(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM subscriptions WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return webhook.ErrNoSubscription
		}
		if err := dropUnstarted(ctx, tx, id, e.At); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// Fire implements webhook.SubscriptionStore.
func (s Subscriptions) Fire(ctx context.Context, d webhook.Delivery, e audit.Event) error {
	return s.locked(ctx, func(ctx context.Context, tx Tx) error {
		n, err := insertEventDelivery(ctx, tx, d)
		if err == nil && n == 0 {
			err = webhook.ErrNoSubscription
		}
		if err != nil {
			return err
		}
		if err := insertEvents(ctx, tx, e); err != nil {
			return err
		}
		return tx.Notify(ctx, "webhook")
	})
}

// insertEventDelivery adds a delivery unless its subscription is gone; it returns how many it added.
func insertEventDelivery(ctx context.Context, tx Tx, d webhook.Delivery) (int64, error) {
	n, err := Exec(ctx, tx, insertDelivery+`s.id, '', ''`+deliveryValues+`FROM subscriptions s WHERE s.id = $2`,
		d.ID, d.Webhook, d.Entity, d.Event, string(d.Payload), Micros(d.Triggered), string(d.State), d.Attempts, Micros(d.Due), d.Status, d.Reason)
	if err != nil {
		return 0, fmt.Errorf("insert delivery: %w", err)
	}
	return n, nil
}

// Advance implements webhook.SubscriptionStore. Most calls find nobody behind, and do not ask for the lock.
func (s Subscriptions) Advance(ctx context.Context, limit int, decide func(webhook.Subscription, []audit.Entry) []webhook.Delivery) (int, error) {
	if behind, err := s.Behind(ctx); behind == 0 || err != nil {
		return 0, err
	}
	taken := 0
	err := s.locked(ctx, func(ctx context.Context, tx Tx) error {
		taken = 0
		all, err := All(ctx, tx, scanSubscription, `SELECT `+subscriptionColumns+` FROM subscriptions s ORDER BY s.position, s.number`)
		if err != nil || len(all) == 0 {
			return err
		}
		entries, err := All(ctx, tx, scanEntry, entriesBehind, all[0].Position, limit)
		if err != nil || len(entries) == 0 {
			return err
		}
		taken = len(entries)
		fired := 0
		for _, x := range all {
			n, err := forward(ctx, tx, x, entries, decide)
			if err != nil {
				return err
			}
			fired += n
		}
		if fired == 0 {
			return nil
		}
		return tx.Notify(ctx, "webhook")
	})
	if err != nil {
		return 0, fmt.Errorf("advance subscriptions: %w", err)
	}
	return taken, nil
}

// forward hands a subscription what of the entries it has not been told of, adds its deliveries and moves it behind them.
func forward(ctx context.Context, tx Tx, x webhook.Subscription, entries []audit.Entry, decide func(webhook.Subscription, []audit.Entry) []webhook.Delivery) (int, error) {
	first := slices.IndexFunc(entries, func(e audit.Entry) bool { return e.Position > x.Position })
	if first < 0 {
		return 0, nil
	}
	deliveries := decide(x, entries[first:])
	for _, d := range deliveries {
		if _, err := insertEventDelivery(ctx, tx, d); err != nil {
			return 0, err
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE subscriptions SET position = $2 WHERE id = $1`, x.ID, entries[len(entries)-1].Position)
	return len(deliveries), err
}

// Behind implements webhook.SubscriptionStore.
func (s Subscriptions) Behind(ctx context.Context) (n int64, err error) {
	err = s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) error {
		n = 0
		last, err := One(ctx, tx, Value[int64], `SELECT s.position FROM subscriptions s ORDER BY s.position LIMIT 1`)
		if Absent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		head, err := headOf(ctx, tx)
		n = max(0, head-last)
		return err
	})
	return n, err
}
