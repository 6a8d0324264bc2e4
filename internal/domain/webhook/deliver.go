package webhook

import (
	"context"
	"sync"
	"time"
)

// storeWait bounds how long the store may take for what must be done even when the server stops.
const storeWait = 10 * time.Second

// Run delivers until ctx ends, then waits for the requests under way and gives the rest back.
func (s *Service) Run(ctx context.Context) {
	d := deliverer{Service: s, places: make(chan struct{}, s.Parallel), lines: map[string][]claimed{}}
	defer d.senders.Wait()
	poll := time.NewTicker(s.Poll)
	defer poll.Stop()
	swept := s.Now()
	for {
		more := d.claim(ctx)
		if now := s.Now(); now.Sub(swept) > time.Hour {
			swept = now
			s.sweep(ctx)
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-poll.C:
		}
	}
}

// deliverer is one run of Service.Run: a line of claimed deliveries for each webhook, and one sender
// for each line, so that a slow receiver takes one place and keeps its own events in order.
type deliverer struct {
	*Service
	places  chan struct{} // one for each request that may be under way
	senders sync.WaitGroup

	turn  sync.Mutex // claiming and giving back take turns, or what was given back could be overtaken
	mu    sync.Mutex
	lines map[string][]claimed // by webhook; there while a sender works on it
}

// claimed is a job that is this node's until its lease ends.
type claimed struct {
	Job
	at time.Time // when it was claimed
}

// claim takes due deliveries when a place is free, lines them up, and starts a sender for each line
// that has none. It reports whether more may be due.
func (d *deliverer) claim(ctx context.Context) bool {
	if !d.enter(ctx) { // before claiming: a lease must not age in a queue
		return false
	}
	d.leave()
	idle, n, err := d.lineUp(ctx)
	if err != nil {
		d.OnError("claim deliveries", err)
		return false
	}
	for _, webhook := range idle {
		if !d.enter(ctx) {
			d.giveBack(ctx, webhook)
			continue
		}
		d.senders.Go(func() {
			defer d.leave()
			d.sendInOrder(ctx, webhook)
		})
	}
	return n == d.Batch
}

// lineUp claims deliveries and puts each behind those of its webhook that wait already. It returns the
// webhooks on whose line no sender works, and how many deliveries it claimed.
func (d *deliverer) lineUp(ctx context.Context) (idle []string, n int, err error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	// A claim that was begun is seen through: leases that nobody knows of would delay their deliveries.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	now := d.Now()
	jobs, err := d.Store.Claim(ctx, d.Holder, now, d.Lease, d.Batch)
	if err != nil {
		return nil, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range jobs {
		line, working := d.lines[j.Webhook.ID]
		if !working {
			idle = append(idle, j.Webhook.ID)
		}
		d.lines[j.Webhook.ID] = append(line, claimed{j, now})
	}
	return idle, len(jobs), nil
}

// enter waits for a place; it reports false when ctx ended first.
func (d *deliverer) enter(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case d.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *deliverer) leave() { <-d.places }

// sendInOrder sends the events of one webhook one after the other. What it cannot start while its
// lease is sure to hold, it gives back together with all that stands behind.
func (d *deliverer) sendInOrder(ctx context.Context, webhook string) {
	for {
		next, ok := d.next(webhook)
		if !ok {
			d.Wake() // what became due meanwhile was not claimed, as this line was busy
			return
		}
		if ctx.Err() != nil || d.Now().After(d.latestStart(next)) {
			d.giveBack(ctx, webhook, next)
			return
		}
		d.attempt(ctx, next.Job)
	}
}

// next takes the first job of a webhook's line; when there is none, the line ends.
func (d *deliverer) next(webhook string) (claimed, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := d.lines[webhook]
	if len(line) == 0 {
		delete(d.lines, webhook)
		return claimed{}, false
	}
	d.lines[webhook] = line[1:]
	return line[0], true
}

// latestStart leaves time for the whole request and, after it, a tenth of what is left of the lease
// for clocks that differ.
func (d *deliverer) latestStart(c claimed) time.Time {
	return c.at.Add((d.Lease - d.Timeout) * 9 / 10)
}

// giveBack releases these jobs and the rest of their line, which ends with it: later events must not
// overtake those given back.
func (d *deliverer) giveBack(ctx context.Context, webhook string, jobs ...claimed) {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	jobs = append(jobs, d.lines[webhook]...)
	delete(d.lines, webhook)
	d.mu.Unlock()
	ids := make([]string, len(jobs))
	for i, j := range jobs {
		ids[i] = j.Delivery.ID
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	if err := d.Store.Release(ctx, d.Holder, ids); err != nil {
		d.OnError("release deliveries", err)
	}
}

// attempt sends one delivery and records how it ended. A request that was started is finished and
// recorded even when the server is stopping.
func (s *Service) attempt(ctx context.Context, j Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout+storeWait)
	defer cancel()
	started := s.Now()
	n := j.Delivery.Attempts + 1
	result := s.send(ctx, j, n, started)
	ended := s.Now()
	d := j.after(n, result, ended, s.RetryUnit)
	err := s.Store.Finish(ctx, s.Holder, d, Attempt{
		Delivery: d.ID, Number: n, Started: started, Took: ended.Sub(started), Status: result.Status, Reason: result.Reason, Answer: result.Answer,
	})
	if err != nil {
		s.OnError("record delivery", err)
	}
	s.OnDelivery(d.outcome(), ended.Sub(started))
}

func (s *Service) send(ctx context.Context, j Job, n int, now time.Time) Result {
	request, err := j.request(n, now, s.UserAgent)
	if err != nil {
		return Result{Reason: "the request could not be built"}
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return s.Sender.Send(ctx, request)
}

// after is the one rule of retries: the state of the delivery once attempt n has ended.
func (j Job) after(n int, r Result, now time.Time, unit time.Duration) Delivery {
	d := j.Delivery
	d.Attempts, d.Status, d.Reason = n, r.Status, r.Reason
	switch {
	case r.Reason == "":
		d.State, d.Ended = Delivered, now
	case n > j.Webhook.Retries:
		d.State, d.Ended = Failed, now
	default:
		d.State, d.Due = Pending, now.Add(j.Webhook.Delay(n, unit))
	}
	return d
}

func (d Delivery) outcome() string {
	switch d.State {
	case Delivered:
		return "delivered"
	case Failed:
		return "failed"
	default:
		return "retried"
	}
}

// sweep removes what is kept no longer.
func (s *Service) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := s.Store.Purge(ctx, s.Now().Add(-s.KeepFor), 1000)
		if err != nil {
			s.OnError("purge deliveries", err)
			return
		}
		if n < 1000 {
			return
		}
	}
}
