package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// buildSubscriptions makes what follows the audit chain: webhooks of the installation, and the live stream.
func (h *House) buildSubscriptions() {
	h.Subscriptions = &webhook.Subscriptions{
		Store: store.Subscriptions{DB: h.DB, Sealer: h.Sealer}, Hooks: h.Webhooks, Access: h.Access, Now: h.Now, NewID: newID,
		Max: 20, Batch: 200, Poll: time.Second, OnError: h.failed,
	}
	h.Subscriptions.Start()
	h.Events = &webhook.Stream{
		Chain: store.Audit{DB: h.DB}, Access: h.Access, Living: h.living, Look: 2 * time.Second, Beat: 15 * time.Second, PerUser: 10,
	}
	h.Events.Start()
}

// living says what is wrong with the session of a caller by now. It is no use of it: a page that is left open does not keep its session from ending.
func (h *House) living(ctx context.Context, by access.Caller) error {
	x, err := h.Sessions.Own(ctx, by)
	if err == nil && x.State != session.Active {
		err = session.ErrNotActive
	}
	return err
}

// newLag is a figure that is read at each scrape: how far the slowest subscription is behind. It is absent while the database is away.
func newLag(s webhook.SubscriptionStore) prometheus.Collector {
	return lag{s, prometheus.NewDesc("gatehouse_webhook_subscription_lag", "Audit events that the slowest webhook subscription of the installation has not been told of.", nil, nil)}
}

type lag struct {
	store webhook.SubscriptionStore
	desc  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (l lag) Describe(to chan<- *prometheus.Desc) { to <- l.desc }

// Collect implements prometheus.Collector.
func (l lag) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	n, err := l.store.Behind(ctx)
	if err != nil {
		return
	}
	to <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, float64(n))
}
