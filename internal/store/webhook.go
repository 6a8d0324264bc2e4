package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Webhooks keeps subscriptions and their deliveries. Header values and signing secrets are sealed:
// both open the receiver's door.
//
// Whoever adds or removes a webhook first counts it in its session's row, and so waits for whoever
// holds that row to fire events at the session's webhooks.
type Webhooks struct {
	DB     *DB
	Sealer *secret.Sealer
}

var _ webhook.Store = Webhooks{}

var (
	errNoWebhook      = fault.New(fault.NotFound, "webhook not found")
	errNoWebhookOwner = fault.New(fault.NotFound, "the webhook's owner was not found")
)

const webhookColumns = `w.id, w.owner, w.project, w.url, w.method, w.headers, w.events, w.retries, w.initial_backoff, w.backoff_multiplier,
	w.secret, w.created`

// scanSealed reads a webhook and what is sealed of it, still closed.
func scanSealed(scan Scan) (w webhook.Webhook, sealed sealedFields, err error) {
	var multiplier string
	err = scan(&w.ID, &w.Owner, &w.Project, &w.URL, &w.Method, &sealed.headers, ScanJSON(&w.Events), &w.Retries, &w.InitialBackoff,
		&multiplier, &sealed.secret, ScanTime(&w.Created))
	if err != nil {
		return w, sealed, err
	}
	w.BackoffMultiplier, err = strconv.ParseFloat(multiplier, 64)
	return w, sealed, err
}

func (s Webhooks) scan(scan Scan) (webhook.Webhook, error) {
	w, sealed, err := scanSealed(scan)
	if err != nil {
		return w, err
	}
	return s.open(w, sealed)
}

// sealedFields are the two that the database's owner must not read; nil where there is nothing.
type sealedFields struct{ headers, secret []byte }

func headersContext(id string) string { return "webhooks/headers/" + id }
func secretContext(id string) string  { return "webhooks/secret/" + id }

func (s Webhooks) seal(w webhook.Webhook) (f sealedFields, err error) {
	if len(w.Headers) > 0 {
		if f.headers, err = s.Sealer.Seal([]byte(JSON(w.Headers)), headersContext(w.ID)); err != nil {
			return f, err
		}
	}
	if !w.Secret.Empty() {
		f.secret, err = s.Sealer.Seal([]byte(w.Secret.Reveal()), secretContext(w.ID))
	}
	return f, err
}

func (s Webhooks) open(w webhook.Webhook, f sealedFields) (webhook.Webhook, error) {
	if f.headers != nil {
		plain, err := s.Sealer.Open(f.headers, headersContext(w.ID))
		if err != nil {
			return w, fmt.Errorf("open headers of webhook %s: %w", w.ID, err)
		}
		if err := json.Unmarshal(plain, &w.Headers); err != nil {
			return w, fmt.Errorf("read headers of webhook %s: %w", w.ID, err)
		}
	}
	if f.secret != nil {
		plain, err := s.Sealer.Open(f.secret, secretContext(w.ID))
		if err != nil {
			return w, fmt.Errorf("open secret of webhook %s: %w", w.ID, err)
		}
		w.Secret = secret.New(string(plain))
	}
	return w, nil
}

// insertWebhook adds a row; its owner has counted it.
func (s Webhooks) insertWebhook(ctx context.Context, tx Tx, w webhook.Webhook) error {
	sealed, err := s.seal(w)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO webhooks (id, owner, project, url, method, headers, events, retries, initial_backoff,
		backoff_multiplier, secret, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		w.ID, w.Owner, w.Project, w.URL, w.Method, sealed.headers, JSON(w.Events), w.Retries, w.InitialBackoff,
		decimal(w.BackoffMultiplier), sealed.secret, Micros(w.Created))
	if err != nil {
		return fmt.Errorf("insert webhook: %w", err)
	}
	return nil
}

// decimal is the shortest text that reads as the same number.
func decimal(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// countWebhook notes in the owner's row that it has one webhook more or less, and locks the row.
func countWebhook(ctx context.Context, tx Tx, owner string, by int) error {
	n, err := Exec(ctx, tx, `UPDATE proof_sessions SET hooks = hooks + $2 WHERE id = $1`, owner, by)
	if err == nil && n == 0 {
		return errNoWebhookOwner
	}
	return err
}

// Insert implements webhook.Store.
func (s Webhooks) Insert(ctx context.Context, w webhook.Webhook, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := countWebhook(ctx, tx, w.Owner, 1); err != nil {
			return err
		}
		if err := s.insertWebhook(ctx, tx, w); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

const webhookByID = `SELECT ` + webhookColumns + ` FROM webhooks w WHERE w.owner = $1 AND w.id = $2`

// Change implements webhook.Store. Id, owner, project and moment of creation stay.
func (s Webhooks) Change(ctx context.Context, owner, id string, decide func(webhook.Webhook) (webhook.Webhook, error), e audit.Event) (is webhook.Webhook, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := One(ctx, tx, s.scan, webhookByID+s.DB.ForUpdate(), owner, id)
		if Absent(err) {
			return errNoWebhook
		}
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		is.ID, is.Owner, is.Project, is.Created = was.ID, was.Owner, was.Project, was.Created
		if err := s.update(ctx, tx, is); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, err
}

func (s Webhooks) update(ctx context.Context, tx Tx, w webhook.Webhook) error {
	sealed, err := s.seal(w)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE webhooks SET url = $2, method = $3, headers = $4, events = $5, retries = $6, initial_backoff = $7,
		backoff_multiplier = $8, secret = $9 WHERE id = $1`,
		w.ID, w.URL, w.Method, sealed.headers, JSON(w.Events), w.Retries, w.InitialBackoff, decimal(w.BackoffMultiplier), sealed.secret)
	return err
}

// Delete implements webhook.Store. A delivery under way stays and is recorded; what would be sent
// again later ends when it is claimed.
func (s Webhooks) Delete(ctx context.Context, owner, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := countWebhook(ctx, tx, owner, -1); err != nil {
			return err
		}
		n, err := Exec(ctx, tx, `DELETE FROM webhooks WHERE owner = $1 AND id = $2`, owner, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoWebhook
		}
		if err := dropUnstarted(ctx, tx, id, e.At); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// dropUnstarted removes those deliveries of a webhook that nobody has tried or tries now.
func dropUnstarted(ctx context.Context, tx Tx, webhook string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM webhook_deliveries
		WHERE webhook = $1 AND state = 'pending' AND attempts = 0 AND (leased IS NULL OR leased <= $2)`, webhook, Micros(now))
	return err
}

// ByID implements webhook.Store.
func (s Webhooks) ByID(ctx context.Context, owner, id string) (w webhook.Webhook, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		w, err = One(ctx, tx, s.scan, webhookByID, owner, id)
		return err
	})
	if Absent(err) {
		return webhook.Webhook{}, errNoWebhook
	}
	return w, err
}

// Count implements webhook.Store.
func (s Webhooks) Count(ctx context.Context, owner string) (n int64, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		n, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM webhooks WHERE owner = $1`, owner)
		return err
	})
	return n, err
}

const webhooksOfOwner = `SELECT ` + webhookColumns + ` FROM webhooks w WHERE w.owner = $1 ORDER BY w.created, w.id`

// OfOwner implements webhook.Store.
func (s Webhooks) OfOwner(ctx context.Context, owner string, offset, limit int64) ([]webhook.Webhook, error) {
	return readAll(ctx, s.DB, s.scan, webhooksOfOwner+` LIMIT $2 OFFSET $3`, owner, limit, offset)
}
