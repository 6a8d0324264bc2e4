package remote

import (
	"fmt"
	"slices"
	"time"
)

// lastWords is how long doors may take to read what a target printed before it closed the connection.
const lastWords = 10 * time.Second

// limits are the ends of a session that are known when it starts. The terms are those of its start: only revocation changes them afterwards.
type limits struct {
	hard    time.Time // zero: none
	why     Reason
	idle    time.Duration
	warn    time.Duration   // before the idle end
	notices []time.Duration // before the hard end, the longest first
	told    time.Time       // the idle end that the person was told of
}

func newLimits(x Session, s Settings) *limits {
	m := &limits{idle: s.Idle, warn: orDefault(s.IdleNotice, time.Minute), notices: slices.Clone(s.Notices)}
	slices.Sort(m.notices)
	slices.Reverse(m.notices)
	if s.Absolute > 0 {
		m.hard, m.why = x.Started.Add(s.Absolute), Absolute
	}
	if until := x.Terms.Until(x.Started); !until.IsZero() && (m.hard.IsZero() || until.Before(m.hard)) {
		m.hard, m.why = until, Window
	}
	return m
}

// at looks at the limits: why the session must end now, or what the person is to be told, and when to look again (zero: never).
func (m *limits) at(now, typed time.Time) (end Reason, tell []Notice, next time.Time) {
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !m.hard.IsZero() {
		if !now.Before(m.hard) {
			return m.why, nil, time.Time{}
		}
		due := false
		for len(m.notices) > 0 && !now.Before(m.hard.Add(-m.notices[0])) { // of several that are due one is enough
			due, m.notices = true, m.notices[1:]
		}
		if due {
			tell = append(tell, Notice{Text: fmt.Sprintf("This session ends in %s: %s.", inWords(m.hard.Sub(now)), m.why.because()), EndsAt: m.hard})
		}
		sooner(m.hard)
		if len(m.notices) > 0 {
			sooner(m.hard.Add(-m.notices[0]))
		}
	}
	if m.idle > 0 {
		over := typed.Add(m.idle)
		if !now.Before(over) {
			return Idle, nil, time.Time{}
		}
		sooner(over)
		switch warn := over.Add(-m.warn); {
		case m.warn >= m.idle:
		case now.Before(warn):
			sooner(warn)
		case !m.told.Equal(over):
			m.told = over
			tell = append(tell, Notice{Text: fmt.Sprintf("This session ends in %s unless you type something.", inWords(over.Sub(now))), EndsAt: over, Idle: true})
		}
	}
	return "", tell, next
}

func (r Reason) because() string {
	if r == Window {
		return "the time of your grant is over then"
	}
	return "it will have lasted as long as sessions may"
}

// inWords says how long, to the minute, or to the second below one.
func inWords(d time.Duration) string {
	unit, n := "minute", int((d+30*time.Second)/time.Minute)
	if d < time.Minute {
		unit, n = "second", int((d+time.Second-1)/time.Second)
	}
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// keep carries the session to its end: when the person is idle, its time is over, the target goes, the recorder fails, or somebody closes it.
func (l *Live) keep() {
	defer l.finish()
	m := newLimits(l.Session(), l.s.Settings)
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.mu.Lock()
	gone, failed := l.link.Done(), (<-chan struct{})(nil)
	if l.recorder != nil {
		failed = l.recorder.Failed()
	}
	l.mu.Unlock()
	var words <-chan time.Time
	for {
		select {
		case <-l.ending:
			return
		case <-timer.C:
			now := l.s.Now()
			end, tell, next := m.at(now, time.Unix(0, l.used.Load()))
			for _, n := range tell {
				l.tell(n)
			}
			if end != "" {
				l.Close(end, "")
			} else if !next.IsZero() {
				timer.Reset(next.Sub(now))
			}
		case <-failed:
			failed = nil
			_ = l.lost(l.recorder.Err()) // it ends the session, or tells everybody
		case <-gone:
			gone = nil
			last := time.NewTimer(lastWords)
			defer last.Stop() // at most once: gone is nil now
			words = last.C
			l.leave()
		case <-l.idle:
			if gone == nil {
				l.leave()
			}
		case <-words:
			l.closeFor(l.link.Err())
		}
	}
}

// leave ends the session of a target that has gone, once the doors have read what it printed.
func (l *Live) leave() {
	l.mu.Lock()
	open := len(l.open) + len(l.forwards)
	l.mu.Unlock()
	if open == 0 {
		l.closeFor(l.link.Err())
	}
}

func (l *Live) closeFor(err error) {
	if err == nil {
		l.Close(Closed, "")
		return
	}
	l.s.failed("carry session "+l.Session().ID, err)
	l.Close(Failed, "")
}
