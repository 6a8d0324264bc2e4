package webhook

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// EventEntity is the Entity of deliveries of events of the whole installation. Their Payload is the whole body of the request.
const EventEntity = "event"

// TestEvent is the type of what Subscriptions.Test sends.
const TestEvent = "subscription.test"

// SubscriptionKind is the kind of the resource in the audit log.
const SubscriptionKind = "subscription"

// DefaultRetries is how often a delivery of a subscription is tried again where its maker says nothing: with the default back-off for about 42 minutes.
const DefaultRetries = 8

// Subscription is a webhook of the whole installation, which belongs to no session and no project. What it is told comes from the sealed audit
// chain, entry by entry: see Advance of SubscriptionStore.
type Subscription struct {
	Webhook
	Number   int64 // for people; never given twice
	Position int64 // of the last entry of the chain that was looked at for it
}

// NewSubscription is what a caller says about one.
type NewSubscription struct {
	URL               string
	Method            string // post where it is empty
	Headers           map[string][]string
	Events            []string // at least one pattern
	Retries           *int     // DefaultRetries where it is nil
	InitialBackoff    int64
	BackoffMultiplier float64
	Secret            secret.String // made here where it is empty
}

// SubscriptionStore keeps subscriptions.
type SubscriptionStore interface {
	// Insert adds x at the end of the chain, unless there are most subscriptions already, and records e, both or neither. It returns x with its
	// number and position, or a fault.Conflict.
	Insert(ctx context.Context, x Subscription, most int, e audit.Event) (Subscription, error)
	// All returns the subscriptions by number, without headers and secrets.
	All(ctx context.Context) ([]Subscription, error)
	// Delete removes the subscription and its deliveries that have not started, and records e. It reports fault.NotFound.
	Delete(ctx context.Context, id string, e audit.Event) error
	// Fire adds d, a delivery for a subscription, and records e, both or neither. It reports fault.NotFound when the subscription is gone.
	Fire(ctx context.Context, d Delivery, e audit.Event) error
	// Advance takes, under a lock that only one node holds, up to limit entries of the chain behind the subscription that is furthest back. It
	// hands each subscription those that it has not been told of, in order; inserts the deliveries that decide returns for them; and moves the
	// subscriptions behind the entries: all or nothing, so that none is lost or sent for twice. decide may run more than once. It returns how many
	// entries were taken: 0 when no subscription is behind.
	Advance(ctx context.Context, limit int, decide func(x Subscription, entries []audit.Entry) []Delivery) (int, error)
	// Behind returns how many sealed entries the subscription that is furthest back has not been told of.
	Behind(ctx context.Context) (int64, error)
}

// Subscriptions manages what the whole installation tells others, and turns entries of the audit chain into deliveries.
type Subscriptions struct {
	Store  SubscriptionStore
	Hooks  *Service // whose rules, address policy and senders they share
	Access *access.Service
	Now    func() time.Time
	NewID  func() string

	Max     int                           // how many there may be
	Batch   int                           // entries of the chain taken at once
	Poll    time.Duration                 // how often to look without being woken
	OnError func(doing string, err error) // hears of errors that no caller sees

	wake chan struct{}
}

// Start prepares the service; call it before Run and Wake.
func (s *Subscriptions) Start() { s.wake = make(chan struct{}, 1) }

// Wake tells Run that the chain may have grown.
func (s *Subscriptions) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run follows the chain until ctx ends.
func (s *Subscriptions) Run(ctx context.Context) {
	poll := time.NewTicker(s.Poll)
	defer poll.Stop()
	for {
		for ctx.Err() == nil && s.advance(ctx) {
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

// advance reports whether there may be more to take.
func (s *Subscriptions) advance(ctx context.Context) bool {
	n, err := s.Store.Advance(ctx, s.Batch, s.deliveries)
	if err != nil {
		if ctx.Err() == nil {
			s.OnError("follow the audit chain for subscriptions", err)
		}
		return false
	}
	return n > 0
}

// deliveries makes one for each entry that the subscription asks for.
func (s *Subscriptions) deliveries(x Subscription, entries []audit.Entry) []Delivery {
	var out []Delivery
	for _, entry := range entries {
		m, err := messageOf(entry)
		if err != nil { // spoiled in the database, as `gatehouse audit verify` says: it must not hold up what came after it
			s.OnError(fmt.Sprintf("read entry %d of the audit chain for subscriptions", entry.Position), err)
			continue
		}
		if Patterns(x.Events).Match(m.Type) {
			out = append(out, s.delivery(x, m))
		}
	}
	return out
}

func (s *Subscriptions) delivery(x Subscription, m message) Delivery {
	return Delivery{
		ID: s.NewID(), Webhook: x.ID, Entity: EventEntity, Event: m.Type, Payload: m.body(), Triggered: m.Timestamp, State: Pending, Due: s.Now(),
	}
}

// message is an event as subscribers and followers of the stream get it: the payload of Standard Webhooks 1.0.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      happened  `json:"data"`
}

// happened is an audit event with its place in the chain; 0 and absent for one that is not in it.
type happened struct {
	Position int64 `json:"position,omitempty"`
	audit.Event
}

func messageOf(entry audit.Entry) (message, error) {
	var e audit.Event
	if err := json.Unmarshal(entry.Body, &e); err != nil {
		return message{}, err
	}
	return message{e.Action, e.At, happened{entry.Position, e}}, nil
}

func (m message) body() json.RawMessage {
	body, err := json.Marshal(m)
	if err != nil { // strings, numbers and times of an event that was read from JSON
		panic(fmt.Sprintf("webhook: marshal event: %v", err))
	}
	return body
}

// ErrNoSubscription says that there is no such subscription.
var ErrNoSubscription = fault.New(fault.NotFound, "there is no such subscription")

var errNoPatterns = fault.Fields("a subscription says which events it wants", fault.Field{Path: "events", Message: "expected at least one pattern; * is every event"})

// Create adds a subscription, which is told of what is sealed from now on. The secret in what it returns is shown this once.
func (s *Subscriptions) Create(ctx context.Context, by access.Caller, in NewSubscription) (Subscription, error) {
	if err := s.Access.Require(ctx, by, access.SubscriptionCreate, access.Installation); err != nil {
		return Subscription{}, err
	}
	w, err := s.webhook(in)
	if err != nil {
		return Subscription{}, err
	}
	e := by.Event(s.Now(), access.SubscriptionCreate, resourceOf(w.ID), audit.Done)
	e = e.With("host", hostOf(w.URL)).With("events", strings.Join(in.Events, " ")) // the rest of the address may hold a token
	return s.Store.Insert(ctx, Subscription{Webhook: w}, s.Max, e)
}

// webhook checks what a caller said and fills in the rest.
func (s *Subscriptions) webhook(in NewSubscription) (Webhook, error) {
	if len(in.Events) == 0 {
		return Webhook{}, errNoPatterns
	}
	if err := Patterns(in.Events).Check("events"); err != nil {
		return Webhook{}, err
	}
	w := Webhook{
		URL: in.URL, Method: in.Method, Headers: in.Headers, Events: in.Events, Retries: DefaultRetries, InitialBackoff: in.InitialBackoff,
		BackoffMultiplier: in.BackoffMultiplier, Secret: in.Secret,
	}
	if in.Retries != nil {
		w.Retries = *in.Retries
	}
	if w.Secret.Empty() {
		w.Secret = newSecret()
	}
	return s.Hooks.New("", "", w)
}

// newSecret is a signing key of 256 random bits.
func newSecret() secret.String {
	var key [32]byte
	rand.Read(key[:]) // never fails: crypto/rand ends the program instead
	return secret.New(secretPrefix + base64.StdEncoding.EncodeToString(key[:]))
}

func resourceOf(id string) access.Resource { return access.Resource{Kind: SubscriptionKind, ID: id} }

// hostOf is the host of an address that was checked.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// List returns the subscriptions by number, without headers and secrets.
func (s *Subscriptions) List(ctx context.Context, by access.Caller) ([]Subscription, error) {
	if err := s.Access.Require(ctx, by, access.SubscriptionRead, access.Installation); err != nil {
		return nil, err
	}
	return s.Store.All(ctx)
}

// Find returns the subscription of an id or a number, without headers and secret. It reports ErrNoSubscription.
func (s *Subscriptions) Find(ctx context.Context, by access.Caller, ref string) (Subscription, error) {
	all, err := s.List(ctx, by)
	if err != nil {
		return Subscription{}, err
	}
	return pick(all, ref)
}

func pick(all []Subscription, ref string) (Subscription, error) {
	for _, x := range all {
		if x.ID == ref || strconv.FormatInt(x.Number, 10) == ref {
			return x, nil
		}
	}
	return Subscription{}, ErrNoSubscription
}

// Delete ends a subscription. What is under way to it arrives; what waits does not go out. It reports ErrNoSubscription.
func (s *Subscriptions) Delete(ctx context.Context, by access.Caller, ref string) error {
	x, err := s.toChange(ctx, by, access.SubscriptionDelete, ref)
	if err != nil {
		return err
	}
	e := by.Event(s.Now(), access.SubscriptionDelete, resourceOf(x.ID), audit.Done).With("host", hostOf(x.URL))
	return s.Store.Delete(ctx, x.ID, e)
}

// Test sends the subscription an event of the type TestEvent, whatever its patterns are, and returns the delivery, which is on its way then. It
// reports ErrNoSubscription.
func (s *Subscriptions) Test(ctx context.Context, by access.Caller, ref string) (Delivery, error) {
	x, err := s.toChange(ctx, by, access.SubscriptionTest, ref)
	if err != nil {
		return Delivery{}, err
	}
	e := by.Event(s.Now(), access.SubscriptionTest, resourceOf(x.ID), audit.Done)
	d := s.delivery(x, message{TestEvent, e.At, happened{Event: e}})
	if err := s.Store.Fire(ctx, d, e.With("delivery", d.ID)); err != nil {
		return Delivery{}, err
	}
	s.Hooks.Wake()
	return d, nil
}

// toChange finds a subscription for somebody who may do that to it.
func (s *Subscriptions) toChange(ctx context.Context, by access.Caller, do access.Action, ref string) (Subscription, error) {
	if err := s.Access.Require(ctx, by, do, access.Installation); err != nil {
		return Subscription{}, err
	}
	all, err := s.Store.All(ctx)
	if err != nil {
		return Subscription{}, err
	}
	return pick(all, ref)
}
