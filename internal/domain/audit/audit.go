// Package audit is the append-only record of what happened, and the sealed chain that makes it tamper-evident.
//
// A change hands its Event to the store, which inserts it in the change's own transaction. Nothing
// shared is touched then: the event carries a digest and waits unsealed. The sealer (Service.Run, on
// any node) gives waiting events their positions, links each to the one before, and signs the end of
// every batch with the installation's Ed25519 key:
//
//	digest(n) = SHA-256(body(n))
//	link(n)   = SHA-256(link(n-1) || digest(n))        link(0) = 32 zero bytes
//	seal(k)   = Ed25519("gatehouse audit seal v1" || number, first, last, link(last), hash(seal(k-1)), time)
//
// Verify checks all of it offline. What the chain alone cannot show, a tail that was cut off or a
// chain written anew by somebody who holds the signing key, an exported Head shows.
package audit

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Outcome says how the recorded thing ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"    // it happened
	Refused Outcome = "refused" // a rule forbade it
	Failed  Outcome = "failed"  // it was allowed and did not work
)

// Actor is who did it.
type Actor struct {
	Kind   string `json:"kind"`             // user, api_key, local, system, nobody
	ID     string `json:"id,omitempty"`     // empty for nobody
	Name   string `json:"name,omitempty"`   // as it was then
	Method string `json:"method,omitempty"` // how the actor was authenticated
}

// Object is what it was done to.
type Object struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Event is one thing that happened. Its JSON form is what the digest covers.
type Event struct {
	ID      string            `json:"id"` // UUIDv7
	At      time.Time         `json:"at"` // UTC, microseconds
	Actor   Actor             `json:"actor"`
	Action  string            `json:"action"` // noun.verb
	Object  Object            `json:"object"`
	Project string            `json:"project,omitempty"`
	Outcome Outcome           `json:"outcome"`
	Reason  string            `json:"reason,omitempty"`  // why it was refused or failed: the true reason, not the shown one
	Address string            `json:"address,omitempty"` // where the actor came from
	Door    string            `json:"door,omitempty"`    // sshverify, sshd, command, ...
	Count   int               `json:"count,omitempty"`   // how many like it this event stands for, when folded
	Detail  map[string]string `json:"detail,omitempty"`  // never a secret

	// Concerns is the id of the user to whose sign-ins the event belongs; empty where it belongs to nobody's. It finds events, and is no
	// part of what the digest covers.
	Concerns string `json:"-"`
}

// NewEvent returns an event of that moment with an id.
func NewEvent(now time.Time, action string, outcome Outcome) Event {
	return Event{ID: uuid.Must(uuid.NewV7()).String(), At: now.UTC().Truncate(time.Microsecond), Action: action, Outcome: outcome}
}

// With returns the event with one more detail. The value must not be a secret.
func (e Event) With(name, value string) Event {
	detail := make(map[string]string, len(e.Detail)+1)
	for k, v := range e.Detail {
		detail[k] = v
	}
	detail[name] = value
	e.Detail = detail
	return e
}

// Body returns the bytes that are stored and digested: JSON with members in a fixed order.
func (e Event) Body() []byte {
	body, err := json.Marshal(e)
	if err != nil { // strings, numbers and a time before the year 10000 always marshal
		panic(fmt.Sprintf("audit: marshal event: %v", err))
	}
	return body
}

// Hash is a SHA-256 value: a digest, a link or the hash of a seal.
type Hash [sha256.Size]byte

// DigestOf returns the digest of an event's body.
func DigestOf(body []byte) Hash { return sha256.Sum256(body) }

// LinkOf returns the link of an event behind the link before it.
func LinkOf(previous, digest Hash) Hash {
	return sha256.Sum256(append(previous[:], digest[:]...))
}

// Entry is an event as the chain holds it.
type Entry struct {
	Position int64 // 1, 2, 3, ... without gaps
	ID       string
	Body     []byte
	Digest   Hash // as stored; Verify computes it again from Body
	Link     Hash
}
