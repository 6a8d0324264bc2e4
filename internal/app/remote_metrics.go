package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// countRemote lets remote sessions be counted: hooks for what happens, and gauges of what lives on this node, which are read at each scrape.
func (m *metrics) countRemote(s *remote.Service) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_remote_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	started := counter("sessions_started_total", "Remote sessions that started, by how the person came and by protocol.", "way", "protocol")
	ended := counter("sessions_ended_total", "Remote sessions that ended, by protocol and why.", "protocol", "reason")
	refused := counter("sessions_refused_total", "Remote sessions that were refused before they started, by why.", "reason")
	carried := counter("bytes_total", "Bytes that remote sessions carried, by direction.", "direction")
	unrecorded := counter("sessions_unrecorded_total", "Remote sessions that went on although they could not be recorded, as their devices are set.")
	unrecorded.WithLabelValues() // an alert on it wants the zero
	took := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gatehouse_remote_session_seconds", Help: "How long remote sessions lasted.", Buckets: prometheus.ExponentialBuckets(1, 4, 9), // 1 s to 18 h
	})
	m.registry.MustRegister(took)
	s.Observe = remote.Hooks{
		Started: func(way remote.Way, p device.Protocol) { started.WithLabelValues(string(way), string(p)).Inc() },
		Ended: func(_ remote.Way, p device.Protocol, why remote.Reason, lasted time.Duration) {
			ended.WithLabelValues(string(p), string(why)).Inc()
			took.Observe(lasted.Seconds())
		},
		Refused:    func(why string) { refused.WithLabelValues(why).Inc() },
		Carried:    func(direction string, bytes int) { carried.WithLabelValues(direction).Add(float64(bytes)) },
		Unrecorded: func() { unrecorded.WithLabelValues().Inc() },
	}
	m.gauge("gatehouse_remote_sessions", "Remote sessions that this node carries.", func() int { n, _ := s.Living(); return n })
	m.gauge("gatehouse_remote_watchers", "People who look on at remote sessions that this node carries.", func() int { _, n := s.Living(); return n })
}
