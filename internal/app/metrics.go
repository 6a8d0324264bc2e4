package app

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
)

// metrics is what machines are told about this process. Labels take values from fixed lists only.
type metrics struct {
	registry *prometheus.Registry

	connections *prometheus.CounterVec
	handshakes  *prometheus.CounterVec
	proofs      *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	ended       *prometheus.CounterVec
	deliveries  *prometheus.CounterVec
	delivery    *prometheus.HistogramVec
	storeTime   *prometheus.HistogramVec
	storeErrors *prometheus.CounterVec
	seals       prometheus.Counter
	sealTime    prometheus.Histogram
	requests    *prometheus.HistogramVec
	logins      *prometheus.CounterVec
	hashQueue   prometheus.Histogram

	gitEnded  *prometheus.CounterVec
	gitTook   *prometheus.HistogramVec
	gitQueued prometheus.Histogram
	gitBytes  *prometheus.CounterVec
}

func newMetrics(version string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gatehouse_" + name, Help: help, Buckets: buckets}, labels)
	}
	fast := prometheus.ExponentialBuckets(0.0001, 3, 11) // 0.1 ms to 6 s
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		connections: counter("ssh_connections_total", "SSH connections that ended, by how.", "outcome"),
		handshakes:  counter("ssh_handshakes_failed_total", "SSH connections that failed before authentication, by why.", "reason"),
		proofs:      counter("keyproof_proofs_total", "Signatures that verified, by kind of session.", "kind"),
		attempts:    counter("keyproof_attempts_total", "Connections that ended as an attempt, by kind of session and verdict.", "kind", "verdict"),
		ended:       counter("keyproof_sessions_ended_total", "Sessions that ended, by kind and status.", "kind", "status"),
		deliveries:  counter("webhook_deliveries_total", "Webhook requests, by what became of the delivery.", "outcome"),
		delivery:    histogram("webhook_delivery_seconds", "How long webhook requests took.", prometheus.ExponentialBuckets(0.001, 3, 10), "outcome"),
		storeTime:   histogram("store_seconds", "How long the database took, by kind of work.", fast, "op"),
		storeErrors: counter("store_errors_total", "Database work that failed, by kind of work.", "op"),
		seals:       prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_audit_events_sealed_total", Help: "Audit events linked into the chain and signed by this node."}),
		sealTime:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gatehouse_audit_seal_seconds", Help: "How long sealing a batch of audit events took.", Buckets: fast}),
		requests:    histogram("http_request_seconds", "How long HTTP requests took.", fast, "owner", "method", "pattern", "status"),
	}
	m.logins = counter("logins_total", "Sign-ins with a password, a secret or another method, by outcome.", "kind", "outcome")
	m.hashQueue = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gatehouse_hash_queue_seconds", Help: "How long password hashes waited for a free slot.", Buckets: fast})
	slow := prometheus.ExponentialBuckets(0.01, 4, 10) // 10 ms to 44 min
	m.gitEnded = counter("git_exchanges_total", "Exchanges with clients of git, by what was asked for and how it ended.", "service", "outcome")
	m.gitTook = histogram("git_exchange_seconds", "How long exchanges with clients of git took.", slow, "service")
	m.gitQueued = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gatehouse_git_queue_seconds", Help: "How long clients of git waited for their turn.", Buckets: slow})
	m.gitBytes = counter("git_bytes_total", "Bytes that came from clients of git, and that went to them.", "direction")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_build_info", Help: "Always 1; the labels tell the version.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.connections, m.handshakes, m.proofs, m.attempts, m.ended, m.deliveries, m.delivery, m.storeTime,
		m.storeErrors, m.seals, m.sealTime, m.requests, m.logins, m.hashQueue, m.gitEnded, m.gitTook, m.gitQueued, m.gitBytes, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler serves the metrics in Prometheus' text form.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

func (m *metrics) observeStore(op string, took time.Duration, err error) {
	m.storeTime.WithLabelValues(op).Observe(took.Seconds())
	if err != nil && !expected(err) {
		m.storeErrors.WithLabelValues(op).Inc()
	}
}

func (m *metrics) proved(e keyproof.Event) {
	switch e.What {
	case "proof":
		m.proofs.WithLabelValues(string(e.Kind)).Inc()
	case "attempt":
		m.attempts.WithLabelValues(string(e.Kind), string(e.Verdict)).Inc()
	case "status":
		m.ended.WithLabelValues(string(e.Kind), string(e.Status)).Inc()
	}
}

func (m *metrics) delivered(outcome string, took time.Duration) {
	m.deliveries.WithLabelValues(outcome).Inc()
	m.delivery.WithLabelValues(outcome).Observe(took.Seconds())
}

func (m *metrics) sealed(events int, took time.Duration) {
	m.seals.Add(float64(events))
	m.sealTime.Observe(took.Seconds())
}

func (m *metrics) signedIn(kind login.Kind, outcome string) {
	m.logins.WithLabelValues(string(kind), outcome).Inc()
}

func (m *metrics) hashQueued(waited time.Duration) { m.hashQueue.Observe(waited.Seconds()) }

func (m *metrics) requested(o api.Observation) {
	status := strconv.Itoa(o.Status)
	if o.Denied {
		status = "denied"
	}
	m.requests.WithLabelValues(o.Owner, o.Method, o.Pattern, status).Observe(o.Duration.Seconds())
}

// queue reads, at each scrape, how long the queue of due webhook deliveries is and how old its oldest.
type queue struct {
	store webhook.Store
	now   func() time.Time
	size  *prometheus.Desc
	age   *prometheus.Desc
}

func newQueue(s webhook.Store, now func() time.Time) queue {
	return queue{
		store: s, now: now,
		size: prometheus.NewDesc("gatehouse_webhook_queue", "Webhook deliveries that are due.", nil, nil),
		age:  prometheus.NewDesc("gatehouse_webhook_queue_age_seconds", "How long the oldest due webhook delivery has waited.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (q queue) Describe(to chan<- *prometheus.Desc) { to <- q.size; to <- q.age }

// Collect implements prometheus.Collector. While the database is away the figures are absent.
func (q queue) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	now := q.now()
	n, oldest, err := q.store.Backlog(ctx, now)
	if err != nil {
		return
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, now.Sub(oldest).Seconds())
	}
	to <- prometheus.MustNewConstMetric(q.size, prometheus.GaugeValue, float64(n))
	to <- prometheus.MustNewConstMetric(q.age, prometheus.GaugeValue, age)
}

// gauge adds a figure that is read at each scrape.
func (m *metrics) gauge(name, help string, read func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) }))
}
