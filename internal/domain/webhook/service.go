package webhook

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Result is how one request ended.
type Result struct {
	Status int    // 0 where no answer came
	Reason string // why it counts as failed; "" for 2xx. Never holds the answer's body or a header value.
	Answer []byte // first 4 KiB of the body
}

// Sender sends one request, without following redirects, to an address that the rules allow.
type Sender interface {
	Send(ctx context.Context, r Request) Result
}

// Service manages webhooks and delivers.
type Service struct {
	Store     Store
	Access    *access.Service
	Sender    Sender
	Now       func() time.Time
	NewID     func() string
	Allowed   func(netip.Addr) bool // which literal addresses a webhook may name
	UserAgent string                // "Gatehouse/<version>"

	Holder     string                                   // names this node in leases
	Lease      time.Duration                            // how long a claimed delivery is this node's; 60 s by default
	Timeout    time.Duration                            // of one request; 10 s by default
	RetryUnit  time.Duration                            // what one second of back-off lasts; 1 s by default
	Poll       time.Duration                            // how often to look for due deliveries without being woken; 1 s by default
	Parallel   int                                      // requests under way at once; 64 by default
	Batch      int                                      // deliveries claimed at once; 128 by default
	MaxPer     int                                      // webhooks that one owner may have
	KeepFor    time.Duration                            // how long ended deliveries are kept; 30 days by default
	OnDelivery func(outcome string, took time.Duration) // hears of every attempt: "delivered", "retried", "failed"
	OnError    func(doing string, err error)            // hears of errors that no caller sees

	wake chan struct{}
}

// Start prepares the service; call it before Run and Wake.
func (s *Service) Start() { s.wake = make(chan struct{}, 1) }

// Wake tells Run that deliveries may be due.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// New returns a webhook of an owner from what a caller sent, with defaults filled in. The caller's
// fields were checked by CheckURL, CheckHeaders and CheckSecret.
func (s *Service) New(owner, project string, w Webhook) (Webhook, error) {
	w.ID, w.Owner, w.Project, w.Created = s.NewID(), owner, project, s.Now()
	if w.Method == "" {
		w.Method = DefaultMethod
	}
	if w.InitialBackoff == 0 {
		w.InitialBackoff = DefaultBackoff
	}
	if w.BackoffMultiplier == 0 {
		w.BackoffMultiplier = DefaultMultiplier
	}
	return w, s.check(w)
}

// check holds the invariants of a webhook, whatever door it came through.
func (s *Service) check(w Webhook) error {
	for _, err := range []error{CheckURL(w.URL, s.Allowed), CheckHeaders(w.Headers)} {
		if err != nil {
			return err
		}
	}
	if w.Secret.Reveal() != "" {
		if err := CheckSecret(w.Secret); err != nil {
			return err
		}
	}
	switch {
	case !slices.Contains(Methods, w.Method):
		return fault.New(fault.Invalid, "a webhook's method is post, put or patch")
	case w.Retries < 0 || w.Retries > MaxRetries:
		return fault.Newf(fault.Invalid, "a webhook has 0 to %d retries", MaxRetries)
	case w.InitialBackoff < 1 || w.InitialBackoff > MaxInitialBackoff:
		return fault.Newf(fault.Invalid, "a webhook's initial back-off is 1 to %d seconds", MaxInitialBackoff)
	case !(w.BackoffMultiplier >= 1 && w.BackoffMultiplier <= MaxMultiplier): // NaN is neither
		return fault.Newf(fault.Invalid, "a webhook's back-off multiplier is 1 to %g", MaxMultiplier)
	}
	return nil
}

// Add gives an owner one more webhook. The caller's right was decided by the owner's room.
func (s *Service) Add(ctx context.Context, owner string, w Webhook, e audit.Event) (Webhook, error) {
	n, err := s.Store.Count(ctx, owner)
	if err != nil {
		return Webhook{}, err
	}
	if n >= int64(s.MaxPer) {
		return Webhook{}, fault.Newf(fault.Conflict, "The session has %d webhooks already", n)
	}
	w, err = s.New(owner, w.Project, w)
	if err != nil {
		return Webhook{}, err
	}
	return w, s.Store.Insert(ctx, w, e.With("webhook", w.ID))
}

// Change applies edit to a webhook and keeps it valid.
func (s *Service) Change(ctx context.Context, owner, id string, edit func(*Webhook), e audit.Event) (Webhook, error) {
	return s.Store.Change(ctx, owner, id, func(w Webhook) (Webhook, error) {
		edit(&w)
		return w, s.check(w)
	}, e.With("webhook", id))
}

// Fire returns one delivery of the event for each webhook that subscribed to it.
func (s *Service) Fire(hooks []Webhook, entity, event string, payload any, at time.Time) ([]Delivery, error) {
	var body json.RawMessage
	var out []Delivery
	for _, w := range hooks {
		if !w.Wants(event) {
			continue
		}
		if body == nil {
			var err error
			if body, err = json.Marshal(payload); err != nil {
				return nil, err
			}
		}
		out = append(out, Delivery{
			ID: s.NewID(), Webhook: w.ID, Owner: w.Owner, Project: w.Project, Entity: entity, Event: event,
			Payload: body, Triggered: at, State: Pending, Due: at,
		})
	}
	return out, nil
}

// List returns deliveries, newest first, to somebody who may read them.
func (s *Service) List(ctx context.Context, by access.Caller, f Filter) ([]Delivery, error) {
	on := access.Installation
	if f.Project != "" {
		on = access.Project(f.Project)
	}
	if err := s.Access.Require(ctx, by, access.DeliveryRead, on); err != nil {
		return nil, err
	}
	return s.Store.Deliveries(ctx, f)
}

// ErrNoDelivery says that there is no such delivery, or that the caller may not know of it.
var ErrNoDelivery = fault.New(fault.NotFound, "Delivery not found")

// Show returns one delivery with its attempts. It reports ErrNoDelivery also to who may not read it.
func (s *Service) Show(ctx context.Context, by access.Caller, id string) (Delivery, []Attempt, error) {
	d, attempts, err := s.Store.Delivery(ctx, id)
	if err == nil {
		err = s.Access.Require(ctx, by, access.DeliveryRead, access.Within(d.Project, "delivery", id))
	}
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Denied) {
		err = ErrNoDelivery
	}
	if err != nil {
		return Delivery{}, nil, err
	}
	return d, attempts, nil
}

// Resend makes an ended delivery go out once more, under the same invocation id; the
// attempt number goes on. It reports ErrNoDelivery also to who may not read it.
func (s *Service) Resend(ctx context.Context, by access.Caller, id string) error {
	d, _, err := s.Show(ctx, by, id)
	if err != nil {
		return err
	}
	on := access.Within(d.Project, "delivery", id)
	if err := s.Access.Require(ctx, by, access.DeliveryResend, on); err != nil {
		return err
	}
	e := by.Event(s.Now(), access.DeliveryResend, on, audit.Done).With("event", d.Event)
	if err := s.Store.Again(ctx, id, s.Now(), e); err != nil {
		return err
	}
	s.Wake()
	return nil
}
