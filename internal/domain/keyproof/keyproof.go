// Package keyproof proves over a live SSH connection that somebody holds a private key.
//
// A verify session lists keys; it ends verified when signatures of the connection prove enough of
// them. A collect session records which keys a connection offers, and proves nothing. A person comes in
// by the session's connection identifier as SSH user name.
//
//	verify:   pending -- rules met in one connection (multi_connection off) --> verified
//	          pending -- complete, rules met (multi_connection on) ----------> verified
//	          pending -- complete, rules not met ----------------------------> failed
//	          pending -- counted attempts reach max_attempts ----------------> failed
//	          pending -- expiry reached -------------------------------------> expired
//
//	collect:  pending -- a connection recorded a key (multi_connection off) --> completed
//	          pending -- complete (multi_connection on) ----------------------> completed
//	          pending -- expiry reached --------------------------------------> expired
//
// The SSH door talks to an Attempt: what was offered and what was proven are different types, and only
// a proven key counts (rule S1). Programs talk to Service.
package keyproof

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Kind tells the two kinds of session apart.
type Kind string

// The kinds.
const (
	Verify  Kind = "verify"
	Collect Kind = "collect"
)

// Entity is the kind's name in webhooks and audit.
func (k Kind) Entity() string { return string(k) + "_session" }

// Status is where a session stands.
type Status string

// The statuses. Verified and Failed are of verify sessions, Completed of collect sessions.
const (
	Pending   Status = "pending"
	Verified  Status = "verified"
	Failed    Status = "failed"
	Completed Status = "completed"
	Expired   Status = "expired"
)

// Limits on what a caller may ask for.
const (
	MaxText     = 255                    // characters of names and external ids
	MaxMessage  = 4096                   // characters of banner and message
	MaxAttempts = 1000                   //
	MaxTimeout  = 31536000 * time.Second // a year
	maxOffered  = 64                     // keys that one connection records in a collect session
)

// Options say how a session judges.
type Options struct {
	ExternalID      *string
	MatchAllKeys    bool // verify: all listed keys must be proven
	MultiKey        bool // look at several keys of a connection
	MultiConnection bool // stay open over several connections, until completed
	MustConfirm     bool // nothing counts before the person typed y
	MaxAttempts     int  // verify
	Banner          *string
	Message         *string
}

// Session is a pending or ended proof.
type Session struct {
	ID         string
	Project    string
	Kind       Kind
	Identifier string // the SSH user name
	Status     Status
	Options
	Attempts int // counted ones
	Created  time.Time
	Updated  time.Time
	Expires  time.Time // zero is never
	Keys     []Key     // verify: in input order
	Strict   bool      // the project's strict_status, as it is now

	OnFile string // id of the key on file that this proves, which has no project; "" of every other session
	Owner  string // user whose key that is; "" of an access key
}

// Key is a listed key of a verify session.
type Key struct {
	ID         string     `json:"id"`
	ExternalID *string    `json:"external_id"`
	Name       *string    `json:"name"`
	Public     sshkey.Key `json:"public"`
	Verified   time.Time  `json:"verified,omitzero"` // first kept proof
}

// Connection is one SSH connection that named the session.
type Connection struct {
	ID            string
	Session       string
	Address       string
	ClientVersion string
	Created       time.Time
	Keys          []ConnectionKey
}

// ConnectionKey is a key that a connection proved (verify) or offered (collect).
type ConnectionKey struct {
	ID         string     `json:"id"`                    // of this key in this connection
	Key        string     `json:"key,omitempty"`         // verify: the session key's id
	ExternalID *string    `json:"external_id,omitempty"` // verify: as listed then
	Name       *string    `json:"name,omitempty"`        // verify: as listed then
	Public     sshkey.Key `json:"public"`
	At         time.Time  `json:"at"` // of the signature, or of the recording
}

// Detail is a session with all that belongs to it.
type Detail struct {
	Session
	Connections []Connection // oldest first
	Webhooks    []webhook.Webhook
}

// Final reports whether the session has ended.
func (s Session) Final() bool { return s.Status != Pending }

// Due reports whether a pending session's time is up.
func (s Session) Due(now time.Time) bool {
	return s.Status == Pending && !s.Expires.IsZero() && !s.Expires.After(now)
}

// At returns the status at that moment: expiry is read at use (rule W11).
func (s Session) At(now time.Time) Status {
	if s.Due(now) {
		return Expired
	}
	return s.Status
}

// Shown returns the status as callers of the project see it: with strict_status an expired verify
// session reads failed.
func (s Session) Shown(now time.Time) Status { return s.show(s.At(now)) }

func (s Session) show(status Status) Status {
	if status == Expired && s.Strict && s.Kind == Verify {
		return Failed
	}
	return status
}

// Met reports whether the kept proofs meet the rules.
func (s Session) Met() bool {
	if s.MatchAllKeys {
		return s.proven() == len(s.Keys)
	}
	return s.proven() > 0
}

// proven counts the keys with a kept proof.
func (s Session) proven() int {
	n := 0
	for _, k := range s.Keys {
		if !k.Verified.IsZero() {
			n++
		}
	}
	return n
}

// several reports whether one connection may bring more than one key.
func (s Session) several() bool { return s.MultiKey || (s.Kind == Verify && s.MatchAllKeys) }

// recordable is how many keys one connection records in a collect session.
func (s Session) recordable() int {
	if s.MultiKey {
		return maxOffered
	}
	return 1
}

func (s Session) keyIndex(k sshkey.Key) int {
	for i := range s.Keys {
		if s.Keys[i].Public.Equal(k) {
			return i
		}
	}
	return -1
}

// crockford is the alphabet of connection identifiers, without i, l, o and u.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// IdentifierLength is how many characters a connection identifier has: 80 random bits.
const IdentifierLength = 16

// NewIdentifier makes a connection identifier.
func NewIdentifier() string {
	var random [IdentifierLength]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	for i, b := range random {
		random[i] = crockford[b&31]
	}
	return string(random[:])
}

// Identifier returns the connection identifier that an SSH user name spells, in lower case, and
// whether it is one. No letter is substituted for another.
func Identifier(user string) (string, bool) {
	if len(user) != IdentifierLength {
		return "", false
	}
	lower := []byte(user)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' { // ASCII alone: Unicode has other letters whose lower case is k
			lower[i] = c + 'a' - 'A'
		}
		if strings.IndexByte(crockford, lower[i]) < 0 {
			return "", false
		}
	}
	return string(lower), true
}

// State is what a rule looks at: the session and its webhooks at the moment of the change.
type State struct {
	Session  Session
	Webhooks []webhook.Webhook
}

// Change is what a rule decides: all of it is written, or nothing.
type Change struct {
	Session    *Session    // the session's new values, or nil
	Connection *Connection // values of a connection, or nil
	// NewConnection says that Connection is not on record yet.
	NewConnection bool
	Deliveries    []webhook.Delivery
	Events        []audit.Event
	Proven        time.Time // when the key on file was proven by it; zero where it was not
}

// Filter selects sessions of a project.
type Filter struct {
	Project    string
	Kind       Kind
	Statuses   []Status // as At computes them; empty is all
	ExternalID *string
	Window     page.Window
	Now        time.Time // the moment for which expiry is computed
}

// Store keeps sessions and their connections. Every session comes with Strict as its project has it.
type Store interface {
	// Insert adds the session with its webhooks and records e, all or nothing.
	Insert(ctx context.Context, s Session, hooks []webhook.Webhook, e audit.Event) error
	// ByIdentifier returns the session of an identifier with its webhooks, or fault.NotFound.
	ByIdentifier(ctx context.Context, identifier string) (State, error)
	// ByID returns a session of that project and kind, or fault.NotFound.
	ByID(ctx context.Context, project string, kind Kind, id string) (Session, error)
	// DetailByID returns all of a session of that project and kind as of one moment, or fault.NotFound.
	DetailByID(ctx context.Context, project string, kind Kind, id string) (Detail, error)
	// List returns a page of sessions, newest first by creation, then id.
	List(ctx context.Context, f Filter) (page.Page[Session], error)
	// Connect adds a connection with the deliveries it fires, all or nothing. It reports fault.NotFound
	// when the session is gone.
	Connect(ctx context.Context, c Connection, deliveries []webhook.Delivery) error
	// Change loads the session under a lock, hands it to decide and writes what that returns, all or
	// nothing. An error of decide is returned and nothing is written. decide may run more than once. It
	// reports fault.NotFound when the session is gone.
	Change(ctx context.Context, id string, decide func(State) (Change, error)) (Session, error)
	// Delete removes a session with its connections, webhooks and deliveries not yet started, records e,
	// and tells all nodes (topic "keyproof.gone"). It reports fault.NotFound.
	Delete(ctx context.Context, project string, kind Kind, id string, e audit.Event) error
	// Due returns the ids of up to limit pending sessions whose time is up, most overdue first.
	Due(ctx context.Context, now time.Time, limit int) ([]string, error)
	// Purge removes up to limit sessions that ended before that moment, records e with their number
	// unless there were none, and returns it.
	Purge(ctx context.Context, before time.Time, limit int, e audit.Event) (int64, error)
}
