package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// maxAnswer is how much of a receiver's answer is kept.
const maxAnswer = 4 << 10

var (
	errNoDelivery      = fault.New(fault.NotFound, "delivery not found")
	errDeliveryTaken   = fault.New(fault.Conflict, "the delivery is not leased by this node at this attempt")
	errDeliveryPending = fault.New(fault.Conflict, "the delivery is pending already")
)

// insertDeliveries adds deliveries to the transaction of the change that fires them and wakes the
// senders. A webhook that was removed since the change was decided gets none.
func insertDeliveries(ctx context.Context, tx Tx, ds ...webhook.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	for _, d := range ds {
		_, err := tx.ExecContext(ctx, insertDelivery+`w.id, w.owner, w.project`+deliveryValues+`FROM webhooks w WHERE w.id = $2`,
			d.ID, d.Webhook, d.Entity, d.Event, string(d.Payload), Micros(d.Triggered), string(d.State), d.Attempts, Micros(d.Due), d.Status, d.Reason)
		if err != nil {
			return fmt.Errorf("insert delivery: %w", err)
		}
	}
	return tx.Notify(ctx, "webhook")
}

const (
	insertDelivery = `INSERT INTO webhook_deliveries
		(id, webhook, owner, project, entity, event, payload, triggered, state, attempts, due, status, reason) SELECT CAST($1 AS TEXT), `
	deliveryValues = `, CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS BIGINT), CAST($7 AS TEXT), CAST($8 AS BIGINT),
		CAST($9 AS BIGINT), CAST($10 AS BIGINT), CAST($11 AS TEXT) `
)

const deliveryColumns = `d.id, d.webhook, d.owner, d.project, d.entity, d.event, d.payload, d.triggered, d.state, d.attempts, d.due,
	d.status, d.reason, d.ended`

// deliveryFields are where a row of deliveryColumns goes.
func deliveryFields(d *webhook.Delivery) []any {
	return []any{
		&d.ID, &d.Webhook, &d.Owner, &d.Project, &d.Entity, &d.Event, (*[]byte)(&d.Payload), ScanTime(&d.Triggered), (*string)(&d.State),
		&d.Attempts, ScanTime(&d.Due), &d.Status, &d.Reason, ScanTime(&d.Ended),
	}
}

func scanDelivery(scan Scan) (webhook.Delivery, error) {
	var d webhook.Delivery
	err := scan(deliveryFields(&d)...)
	return d, err
}

// Finish implements webhook.Store.
func (s Webhooks) Finish(ctx context.Context, holder string, d webhook.Delivery, a webhook.Attempt) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `UPDATE webhook_deliveries
			SET state = $4, attempts = $5, due = $6, status = $7, reason = $8, ended = $9, holder = NULL, leased = NULL
			WHERE id = $1 AND holder = $2 AND attempts = $3 AND state = 'pending'`,
			d.ID, holder, a.Number-1, string(d.State), d.Attempts, Micros(d.Due), d.Status, d.Reason, NullMicros(d.Ended))
		if err != nil {
			return err
		}
		if n == 0 {
			return errDeliveryTaken
		}
		return insertAttempt(ctx, tx, a)
	})
}

func insertAttempt(ctx context.Context, tx Tx, a webhook.Attempt) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO webhook_attempts (delivery, number, started, took, status, reason, answer)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		a.Delivery, a.Number, Micros(a.Started), a.Took.Microseconds(), a.Status, a.Reason, a.Answer[:min(len(a.Answer), maxAnswer)])
	if err != nil {
		return fmt.Errorf("insert attempt: %w", err)
	}
	return nil
}

func scanAttempt(scan Scan) (webhook.Attempt, error) {
	var a webhook.Attempt
	var took int64
	err := scan(&a.Delivery, &a.Number, ScanTime(&a.Started), &took, &a.Status, &a.Reason, &a.Answer)
	a.Took = time.Duration(took) * time.Microsecond
	return a, err
}

// The listings differ in the index that they start from; what else is asked for narrows it.
const (
	deliveriesWhere = `SELECT ` + deliveryColumns + ` FROM webhook_deliveries d WHERE `
	deliveriesAnd   = ` AND ($1 = '' OR d.project = $1) AND ($2 = '' OR d.owner = $2) AND ($3 = '' OR d.webhook = $3)
		AND ($4 = '' OR d.state = $4) AND d.id < $6 ORDER BY d.id DESC LIMIT $5`
	deliveriesAll       = deliveriesWhere + `TRUE` + deliveriesAnd
	deliveriesOfOwner   = deliveriesWhere + `d.owner = $2` + deliveriesAnd
	deliveriesOfProject = deliveriesWhere + `d.project = $1` + deliveriesAnd
	deliveriesOfEvents  = deliveriesWhere + `d.project = '' AND d.webhook = $3` + deliveriesAnd
	deliveriesFailed    = deliveriesWhere + `d.project = $1 AND d.state = 'failed'` + deliveriesAnd
)

// Deliveries implements webhook.Store.
func (s Webhooks) Deliveries(ctx context.Context, f webhook.Filter) ([]webhook.Delivery, error) {
	query := deliveriesAll
	switch {
	case f.Entity == webhook.EventEntity && f.Webhook != "":
		query = deliveriesOfEvents
	case f.Owner != "":
		query = deliveriesOfOwner
	case f.Project != "" && f.State == webhook.Failed:
		query = deliveriesFailed
	case f.Project != "":
		query = deliveriesOfProject
	}
	return readAll(ctx, s.DB, scanDelivery, query, f.Project, f.Owner, f.Webhook, string(f.State), f.Limit, below(f.Before))
}

// Delivery implements webhook.Store.
func (s Webhooks) Delivery(ctx context.Context, id string) (d webhook.Delivery, attempts []webhook.Attempt, err error) {
	err = s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) error {
		if d, err = One(ctx, tx, scanDelivery, `SELECT `+deliveryColumns+` FROM webhook_deliveries d WHERE d.id = $1`, id); err != nil {
			return err
		}
		attempts, err = All(ctx, tx, scanAttempt, `SELECT delivery, number, started, took, status, reason, answer
			FROM webhook_attempts WHERE delivery = $1 ORDER BY number`, id)
		return err
	})
	if Absent(err) {
		return webhook.Delivery{}, nil, errNoDelivery
	}
	return d, attempts, err
}

// Again implements webhook.Store. A delivery whose webhook was removed cannot go out again.
func (s Webhooks) Again(ctx context.Context, id string, now time.Time, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `UPDATE webhook_deliveries SET state = 'pending', due = $2, ended = NULL, holder = NULL, leased = NULL
			WHERE id = $1 AND state <> 'pending' AND (webhook IN (SELECT w.id FROM webhooks w) OR webhook IN (SELECT s.id FROM subscriptions s))`, id, Micros(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return whyNotAgain(ctx, tx, id)
		}
		if err := insertEvents(ctx, tx, e); err != nil {
			return err
		}
		return tx.Notify(ctx, "webhook")
	})
}

func whyNotAgain(ctx context.Context, tx Tx, id string) error {
	state, err := One(ctx, tx, Value[string], `SELECT state FROM webhook_deliveries WHERE id = $1`, id)
	switch {
	case Absent(err):
		return errNoDelivery
	case err != nil:
		return err
	case webhook.State(state) == webhook.Pending:
		return errDeliveryPending
	default:
		return errNoWebhook
	}
}

// Backlog implements webhook.Store.
func (s Webhooks) Backlog(ctx context.Context, now time.Time) (n int64, since time.Time, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		var oldest sql.NullInt64
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*), MIN(due) FROM (
			SELECT due FROM webhook_deliveries WHERE state = 'pending' AND attempts = 0 AND due <= $1
			UNION ALL
			SELECT due FROM webhook_deliveries WHERE state = 'pending' AND attempts > 0 AND due <= $1) waiting`, Micros(now)).Scan(&n, &oldest)
		since = time.Time{}
		if oldest.Valid {
			since = Time(oldest.Int64)
		}
		return err
	})
	return n, since, err
}

// Purge implements webhook.Store.
func (s Webhooks) Purge(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err = Exec(ctx, tx, `DELETE FROM webhook_deliveries WHERE id IN
			(SELECT id FROM webhook_deliveries WHERE ended < $1 ORDER BY ended LIMIT $2)`, Micros(before), limit)
		return err
	})
	return n, err
}
