package webhook

import (
	"context"
	"sync"
	"time"
)

// Run delivers until ctx ends, then waits for the requests under way and gives the rest back.
func (s *Service) Run(ctx context.Context) {
	places := make(chan struct{}, s.Parallel)
	var senders sync.WaitGroup
	defer senders.Wait()
	poll := time.NewTicker(s.Poll)
	defer poll.Stop()
	sweep := s.Now()
	for {
		more := s.claim(ctx, places, &senders)
		if now := s.Now(); now.Sub(sweep) > time.Hour {
			sweep = now
			s.sweep(ctx)
		}
		if more {
			if ctx.Err() != nil {
				return
			}
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

// claim takes due deliveries when a place is free and starts one sender per webhook. It reports
// whether more may be due.
func (s *Service) claim(ctx context.Context, places chan struct{}, senders *sync.WaitGroup) bool {
	select {
	case places <- struct{}{}: // wait for a place before claiming: a lease must not age in a queue
	case <-ctx.Done():
		return false
	}
	<-places
	jobs, err := s.Store.Claim(ctx, s.Holder, s.Now(), s.Lease, s.Batch)
	if err != nil {
		if ctx.Err() == nil {
			s.OnError("claim deliveries", err)
		}
		return false
	}
	for _, line := range perWebhook(jobs) {
		places <- struct{}{}
		senders.Go(func() {
			defer func() { <-places }()
			s.sendInOrder(ctx, line)
		})
	}
	return len(jobs) == s.Batch
}

// perWebhook splits jobs by webhook and keeps their order.
func perWebhook(jobs []Job) [][]Job {
	var lines [][]Job
	index := map[string]int{}
	for _, j := range jobs {
		i, ok := index[j.Webhook.ID]
		if !ok {
			i = len(lines)
			index[j.Webhook.ID] = i
			lines = append(lines, nil)
		}
		lines[i] = append(lines[i], j)
	}
	return lines
}

// sendInOrder sends the events of one webhook one after the other. What it cannot start while its
// lease is sure to hold, it gives back.
func (s *Service) sendInOrder(ctx context.Context, line []Job) {
	claimed := s.Now()
	for i, job := range line {
		if ctx.Err() != nil || s.Now().Add(s.Timeout).After(claimed.Add(s.Lease)) {
			s.giveBack(ctx, line[i:])
			return
		}
		s.attempt(ctx, job)
	}
}

func (s *Service) giveBack(ctx context.Context, jobs []Job) {
	ids := make([]string, len(jobs))
	for i, j := range jobs {
		ids[i] = j.Delivery.ID
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Store.Release(ctx, s.Holder, ids); err != nil {
		s.OnError("release deliveries", err)
	}
}

// attempt sends one delivery and records how it ended. A request that was started is finished and
// recorded even when the server is stopping.
func (s *Service) attempt(ctx context.Context, j Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout+10*time.Second)
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
