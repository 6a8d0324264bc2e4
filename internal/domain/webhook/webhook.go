// Package webhook tells others what happened: subscriptions, signed deliveries, retries.
//
// A change that fires an event hands the store one Delivery per subscribed webhook, written in the
// change's own transaction. Service.Run, on every node, claims due deliveries, sends them and records
// each attempt. A delivery is
//
//	pending -- an attempt answered 2xx -------------------> delivered
//	pending -- attempts == 1 + retries, all failed -------> failed
//	delivered, failed -- re-sent by hand -----------------> pending
//
// Delivery is at least once: a node that dies between sending and recording leaves a lease that ends,
// and the delivery goes out again with the same attempt number. Receivers deduplicate by invocation id.
package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Limits of a webhook.
const (
	MaxURL            = 2048           // bytes
	MaxHeaderNames    = 32             // header names
	MaxHeaderBytes    = 8 << 10        // names and values together
	MaxRetries        = 20             // after the first attempt
	MaxInitialBackoff = 86400          // seconds
	MaxMultiplier     = 10.0           //
	MaxDelay          = 24 * time.Hour // between two attempts
	DefaultBackoff    = 10             // seconds
	DefaultMultiplier = 2.0
	DefaultMethod     = "post"
	secretPrefix      = "whsec_"
	minSecret         = 24 // bytes
	maxSecret         = 64 // bytes
)

// Methods are the HTTP methods that a webhook may use, as the wire writes them.
var Methods = []string{"post", "put", "patch"}

// Webhook is one subscription.
type Webhook struct {
	ID                string
	Owner             string // id of the session it belongs to; empty of a Subscription
	Project           string // empty of a Subscription
	URL               string
	Method            string // one of Methods
	Headers           map[string][]string
	Events            []string // empty is all; of a Subscription they are Patterns
	Retries           int
	InitialBackoff    int64 // seconds
	BackoffMultiplier float64
	Secret            secret.String // "whsec_..." or empty
	Created           time.Time
}

// Wants reports whether the webhook subscribed to the event.
func (w Webhook) Wants(event string) bool {
	return len(w.Events) == 0 || slices.Contains(w.Events, event)
}

// Delay returns how long to wait after failed attempt n (1, 2, ...), given how long one second of
// back-off lasts: initial_backoff * multiplier^(n-1), at most a day, no jitter.
func (w Webhook) Delay(n int, unit time.Duration) time.Duration {
	seconds := float64(w.InitialBackoff)
	for range n - 1 {
		seconds = min(seconds*w.BackoffMultiplier, MaxDelay.Seconds())
	}
	return time.Duration(min(seconds, MaxDelay.Seconds()) * float64(unit))
}

// CheckURL returns what is wrong with a webhook's address, or nil. allowed says which literal
// addresses may be called; names are looked at when they are called.
func CheckURL(text string, allowed func(netip.Addr) bool) error {
	if len(text) > MaxURL {
		return fault.Newf(fault.Invalid, "expected length <= %d", MaxURL)
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || !validPort(u.Port()) || !printable(text) {
		return fault.New(fault.Invalid, "expected an http or https address")
	}
	if u.User != nil {
		return fault.New(fault.Invalid, "must not contain user information")
	}
	if u.Fragment != "" || strings.Contains(text, "#") {
		return fault.New(fault.Invalid, "must not contain a fragment")
	}
	if literal, ok := literalAddress(u.Hostname()); ok && !allowed(literal) {
		return ErrForbiddenAddress
	}
	return nil
}

// ErrForbiddenAddress says that the target is not one that Gatehouse may call.
var ErrForbiddenAddress = fault.New(fault.Invalid, "target address is not allowed")

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// validPort admits every port there is, and none named.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || (err == nil && n > 0)
}

// literalAddress reads a host that is an IP address in its usual spelling, also as a full name. Odd spellings (octal, a bare
// number) are names for the resolver, whose answer the dialer checks.
func literalAddress(host string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(host, "."))
	return addr.WithZone(""), err == nil
}

// refusedHeaders would let a webhook speak for the transport or for the signature.
var refusedHeaders = []string{"host", "content-length", "connection", "transfer-encoding", "te", "trailer", "upgrade"}

// CheckHeaders returns what is wrong with a webhook's headers, or nil. The text names the header, never its value.
func CheckHeaders(headers map[string][]string) error {
	if len(headers) > MaxHeaderNames {
		return fault.Newf(fault.Invalid, "expected at most %d header names", MaxHeaderNames)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		values, lower := headers[name], strings.ToLower(name)
		if !httpguts.ValidHeaderFieldName(name) {
			return fault.New(fault.Invalid, "a header name is not valid")
		}
		if slices.Contains(refusedHeaders, lower) || strings.HasPrefix(lower, "proxy-") || strings.HasPrefix(lower, "webhook-") {
			return fault.Newf(fault.Invalid, "header %s cannot be set", name)
		}
		size += len(name)
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fault.Newf(fault.Invalid, "the value of header %s is not valid", name)
			}
			size += len(value)
		}
	}
	if size > MaxHeaderBytes {
		return fault.Newf(fault.Invalid, "expected at most %d bytes of headers", MaxHeaderBytes)
	}
	return nil
}

// CheckSecret returns what is wrong with a signing secret, or nil. The text never repeats it.
func CheckSecret(s secret.String) error {
	if key, err := secretKey(s); err != nil || len(key) < minSecret || len(key) > maxSecret {
		return fault.New(fault.Invalid, "expected whsec_ followed by the base64 of 24 to 64 bytes")
	}
	return nil
}

func secretKey(s secret.String) ([]byte, error) {
	text, ok := strings.CutPrefix(s.Reveal(), secretPrefix)
	if !ok {
		return nil, fault.New(fault.Invalid, "no whsec_ prefix")
	}
	if strings.ContainsAny(text, "\r\n") { // the decoder skips them
		return nil, fault.New(fault.Invalid, "a line break")
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// State is where a delivery stands.
type State string

// The states of a delivery.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Failed    State = "failed"
)

// Delivery is one event for one webhook. Its id is the invocation id that receivers see.
type Delivery struct {
	ID        string // UUIDv7
	Webhook   string
	Owner     string // session; empty for events of the installation
	Project   string // empty for events of the installation
	Entity    string // verify_session, collect_session, EventEntity
	Event     string
	Payload   json.RawMessage // a copy: what was true when it happened
	Triggered time.Time

	State    State
	Attempts int       // attempts made and recorded
	Due      time.Time // when the next attempt may start, while pending
	Status   int       // HTTP status of the last attempt, 0 for none
	Reason   string    // why the last attempt failed, "" when it did not
	Ended    time.Time // when it left pending
}

// Attempt is one request and how it ended.
type Attempt struct {
	Delivery string
	Number   int
	Started  time.Time
	Took     time.Duration
	Status   int    // 0 where no answer came
	Reason   string // "" for success
	Answer   []byte // first 4 KiB of the answer's body
}

// Job is a claimed delivery with the webhook as it is now.
type Job struct {
	Delivery Delivery
	Webhook  Webhook
}

// Filter selects deliveries for a person. Empty fields select all.
type Filter struct {
	Project string
	Owner   string
	Webhook string
	Entity  string // EventEntity: those of the subscription that Webhook names
	State   State
	Before  string // only those older than the delivery of that id
	Limit   int
}

// Store keeps webhooks and deliveries.
type Store interface {
	// Insert adds w and records e, both or neither. It reports fault.NotFound when the owner is gone.
	Insert(ctx context.Context, w Webhook, e audit.Event) error
	// Change loads the webhook, hands it to decide and stores what that returns together with e: all or
	// nothing. decide may run more than once. It reports fault.NotFound.
	Change(ctx context.Context, owner, id string, decide func(Webhook) (Webhook, error), e audit.Event) (Webhook, error)
	// Delete removes the webhook and its deliveries that have not started, and records e. It reports fault.NotFound.
	Delete(ctx context.Context, owner, id string, e audit.Event) error
	// ByID reports fault.NotFound when the owner has no such webhook.
	ByID(ctx context.Context, owner, id string) (Webhook, error)
	// Count and OfOwner list the webhooks of an owner in order of creation.
	Count(ctx context.Context, owner string) (int64, error)
	OfOwner(ctx context.Context, owner string, offset, limit int64) ([]Webhook, error)

	// Claim leases up to limit due deliveries to holder until now+lease, oldest first. While a first
	// attempt of a webhook is leased, no later first attempt of that webhook is claimed by anybody,
	// so that events of one webhook leave in order while nothing fails.
	Claim(ctx context.Context, holder string, now time.Time, lease time.Duration, limit int) ([]Job, error)
	// Finish records the attempt and the delivery's new state, if holder still leases it at that attempt
	// number; otherwise it reports fault.Conflict and writes nothing.
	Finish(ctx context.Context, holder string, d Delivery, a Attempt) error
	// Release gives leased deliveries back unsent.
	Release(ctx context.Context, holder string, ids []string) error
	// Deliveries lists deliveries, newest first.
	Deliveries(ctx context.Context, f Filter) ([]Delivery, error)
	// Delivery reports fault.NotFound.
	Delivery(ctx context.Context, id string) (Delivery, []Attempt, error)
	// Again makes an ended delivery due now, with its webhook as it is, and records e, both or neither.
	// It reports fault.NotFound, and fault.Conflict when the delivery is pending already.
	Again(ctx context.Context, id string, now time.Time, e audit.Event) error
	// Backlog returns how many deliveries are due and since when the oldest is, zero for none.
	Backlog(ctx context.Context, now time.Time) (int64, time.Time, error)
	// Purge removes ended deliveries that are older than before, at most limit, and returns how many.
	Purge(ctx context.Context, before time.Time, limit int) (int64, error)
}
