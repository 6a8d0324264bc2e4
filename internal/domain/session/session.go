// Package session keeps the signed-in state of people and programs: start, look up, extend, elevate, end.
//
// A session is known by a token of 512 random bits, whose plain text exists twice: in the answer that began
// it, and in the requests of its holder. Stored is its SHA-256. Check is the only way from a token to a
// Session; it tells nobody why a token was refused: the true reason travels in a Refusal, for the audit log.
//
//	          Start                 Complete
//	(login) ────────► PENDING ────────────────────► ACTIVE ◄──── Reauth: one more, with the same deadline
//	   │                 │ its few minutes are over    │ Refresh, any use: the idle window begins anew
//	   ├───────────────────────────────────────────────┤ Select: the account it works in
//	   │                 │                             │ Elevate: fresh again for a while
//	   └─► ENROL_ONLY ───┼──────── Complete ───────────┤
//	                     ▼                             ▼
//	                TERMINATED ◄── Terminate, End, EndAll, a disabled principal, idle or too old
//
// Only an active session opens anything; a pending one opens the second factor alone, an enrol-only one the
// enrolment alone, and the door that serves those asks for them by name. Expiry is read against the clock at each
// use (rule W11). Check answers from memory for CacheFor, which an end on this node cuts short at once, and one on another node
// as soon as its notice arrives (Forget, ForgetPrincipal). When a session was used is written coarsely: at
// most every twentieth of its idle window, 60 s at most, and the expiry test allows for that grain.
package session

import (
	"context"
	"encoding/base64"
	"math"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// State is where a session stands.
type State string

// The states.
const (
	Pending    State = "pending"    // the second factor is due
	EnrolOnly  State = "enrol_only" // a second factor must be enrolled first
	Active     State = "active"
	Terminated State = "terminated"
)

// Transport is how a session's token travels.
type Transport string

// The transports.
const (
	Bearer Transport = "bearer"
	Cookie Transport = "cookie"
)

// Session is the signed-in state of one person or program, without its token.
type Session struct {
	ID        string
	Digest    [32]byte // SHA-256 of the token
	Principal access.Principal
	Account   string // chosen by a user, an application's own; empty before a choice
	State     State
	Method    string // how the principal proved itself: password, app_secret
	Provider  string // id of the identity provider that vouched; empty: none
	Transport Transport

	Created       time.Time
	Authenticated time.Time // when the principal proved itself last, in full
	LastUsed      time.Time // up to Grain behind
	Idle          time.Duration
	Deadline      time.Time // the session ends then, however busy it is; while pending, when the second factor is too late
	Elevated      time.Time // until when it counts as fresh beyond Authenticated, whatever its holder has enrolled; zero is never
	Unlocked      time.Time // until when the settings of second factors are open by the password alone; zero is never
	Ended         time.Time // zero while it lives

	Login       string // folded name under which the principal signed in, and under which wrong proofs count; empty: none
	Tries       int    // wrong proofs in a row since the last right one
	Certificate []byte // SHA-256 of the certificate that every request must present; nil: none

	ProviderSession string    // hex of the SHA-256 of the provider's own session, by which it may end this one; empty: it named none
	Until           time.Time // the session never outlives this, whatever Deadline becomes; zero: no such end

	Address   string // where it began
	UserAgent string // what began it, cut short

	Shut     bool           // the principal or an account is disabled; read with the session, never written (rule F12)
	Networks []netip.Prefix // where an application may come from; read with the session, never written (rule W7)
}

// Subject is whom the session belongs to.
func (x Session) Subject() access.Subject {
	return access.Subject{Kind: x.Principal.Kind, ID: x.Principal.ID}
}

func (x Session) resource() access.Resource { return access.SessionOf(x.Subject(), x.ID) }

// Grain is how far LastUsed may lie behind the truth.
func (x Session) Grain() time.Duration { return min(x.Idle/20, time.Minute) }

// Expires is the moment from which on the session is over if it is not used again.
func (x Session) Expires() time.Time {
	idle := x.LastUsed.Add(x.Idle + x.Grain())
	if x.State == Pending || x.Deadline.Before(idle) {
		return x.Deadline
	}
	return idle
}

// ExpiresIn is what callers are told: whole seconds of the idle window, or to the deadline where that is
// nearer. For a pending session it is the window that applies once it is active.
func (x Session) ExpiresIn(now time.Time) int {
	left := x.Idle
	if x.State != Pending {
		left = min(left, max(0, x.Deadline.Sub(now)))
	}
	return int(min(left/time.Second, math.MaxInt32))
}

// everything is what an active session opens, as far as its principal may.
var everything = []access.Action{"*"}

// enrolling is what an enrol-only session opens: the holder's own second factors, what leads to them, and the holder's names.
var enrolling = []access.Action{"factor.*", "session.*", access.UserRead, access.UserRename}

// Caller is who acts by the session. Nothing but an active one makes a caller with rights; an enrol-only one makes one
// that may look at itself, name itself and set up its second factor.
func (x Session) Caller(address netip.Addr, door, request string) access.Caller {
	c := access.Caller{
		Principal: x.Principal, Method: x.Method, At: x.Authenticated, Address: address, Door: door, Request: request,
		Session: x.ID, Cookie: x.Transport == Cookie, Account: x.Account, Elevated: x.Elevated,
	}
	if x.Unlocked.After(x.Elevated) {
		c.Elevated = x.Unlocked
	}
	switch x.State {
	case Active:
		c.Scopes = everything
	case EnrolOnly:
		c.Scopes, c.Limit = enrolling, access.Resource{Kind: string(x.Principal.Kind), ID: x.Principal.ID}
	}
	return c
}

// The faults of this room.
var (
	ErrInvalid    = fault.New(fault.Unauthenticated, "Session is invalid or expired")
	ErrUnknown    = fault.New(fault.NotFound, "session not found")
	ErrNotActive  = fault.New(fault.Conflict, "the session is not in a state that allows this")
	ErrNotMember  = fault.New(fault.Denied, "This operation is forbidden")
	ErrUsersAlone = fault.New(fault.Denied, "only an application begins a further session with one that it has")
	// ErrChanged says that the principal was disabled, or its credential changed, while it signed in.
	ErrChanged = fault.New(fault.Unauthenticated, "the sign-in was overtaken by a change")
)

// Refusal is an ErrInvalid that remembers, for the audit log alone, why.
type Refusal struct {
	Reason  string
	Session Session // what the token stood for; the zero Session otherwise
}

func (r *Refusal) Error() string { return ErrInvalid.Text + ": " + r.Reason }

// Unwrap makes a Refusal an ErrInvalid.
func (r *Refusal) Unwrap() error { return ErrInvalid }

// Store keeps sessions. Those that a method returns hold the principal's name, Shut and Networks as they are now.
type Store interface {
	// Insert adds x with e and notes the principal's last login, all or nothing. The principal's other living sessions
	// beyond limit-1, pending ones and then the least recently used first, end, each with the event that evict makes of it. It reports ErrChanged when the principal is gone or
	// disabled, or when stamp is not empty and is not what the principal's credential is now:
	// a user's password hash, or an application's digest as hex.
	Insert(ctx context.Context, x Session, stamp string, limit int, e audit.Event, evict func(Session) audit.Event) error
	// ByDigest finds a session by its exact digest, ended ones too. It reports ErrUnknown.
	ByDigest(ctx context.Context, digest [32]byte) (Session, error)
	// ByID finds ended ones too. It reports ErrUnknown.
	ByID(ctx context.Context, id string) (Session, error)
	// Change loads the session, hands it to decide, stores what that returns together with e, tells all nodes,
	// all or nothing. decide may run more than once. It reports ErrUnknown.
	Change(ctx context.Context, id string, decide func(Session) (Session, error), e audit.Event) (Session, error)
	// Touch moves the last use of a living session forward, never back. One that has ended stays as it is.
	Touch(ctx context.Context, id string, used, expires time.Time) error
	// End terminates the session, records e and tells all nodes, all or nothing. One that has ended
	// already stays as it is and e is not recorded.
	End(ctx context.Context, id string, at time.Time, e audit.Event) error
	// EndAll terminates the living sessions of a subject but the one named except, records e with their number and tells all nodes, all or nothing. With
	// none, nothing is recorded.
	EndAll(ctx context.Context, of access.Subject, except string, at time.Time, e audit.Event) (int, error)
	// EndVouched terminates what v names: living sessions, each with its event, and the sign-ins that are not finished. It tells all nodes, all or
	// nothing, and returns how many sessions there were.
	EndVouched(ctx context.Context, v Vouched, at time.Time, event func(Session) audit.Event) (int, error)
	// Of lists the living sessions of a subject at that time, newest first.
	Of(ctx context.Context, of access.Subject, now time.Time) ([]Session, error)
	// List lists all living sessions at that time, newest first.
	List(ctx context.Context, now time.Time, w page.Window) (page.Page[Session], error)
	// Expire terminates up to limit sessions whose Expires lies before that time, each with its event, and returns how many.
	Expire(ctx context.Context, now time.Time, limit int, event func(Session) audit.Event) (int, error)
	// Purge removes up to limit sessions that ended before that time, and returns how many.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
}

// Life says how long sessions of one kind of principal last, and how many there may be.
type Life struct {
	Idle  time.Duration
	Max   time.Duration
	Limit int // living sessions of one principal; the least recently used goes first
}

// Membership answers what a user is in an account: an *identity.Accounts.
type Membership interface {
	Membership(ctx context.Context, account, user string) (identity.Member, error)
}

// Service starts, checks and ends sessions.
type Service struct {
	Store    Store
	Access   *access.Service
	Accounts Membership
	Now      func() time.Time
	NewID    func() string
	Users    Life          // 24 h, 7 d, 100
	Apps     Life          // 10 min, 24 h, 1000
	Wait     time.Duration // how long the second factor may take; 5 min
	CacheFor time.Duration // how long a good token is believed without asking the store; at most 2 s
	KeepFor  time.Duration // how long ended sessions are kept
	Every    time.Duration // how often Sweep looks

	OnError func(doing string, err error) // where set, hears of what no caller sees

	cache cache
}

// New is what a session begins with.
type New struct {
	State     State     // Pending, EnrolOnly or Active
	Transport Transport // Bearer when empty
	UserAgent string
	Stamp     string // the credential that was checked, as Store.Insert compares it; empty is not compared

	Login       string // folded name as it was presented
	Provider    string // id of the identity provider that vouched; empty: none
	Certificate []byte // SHA-256 of the certificate to which the session is bound; nil: none

	ProviderSession string    // as in Session
	Until           time.Time // as in Session; one that is over begins no session

	Elevated time.Duration // how long it begins elevated: the holder proved just now what would elevate it
}

const (
	tokenBytes   = 64 // as base64url without padding: 86 characters
	tokenLength  = 86
	maxUserAgent = 256 // bytes
)

func newToken() secret.String {
	return secret.New(base64.RawURLEncoding.EncodeToString(secret.Bytes(tokenBytes))) // rule F10
}

func (s *Service) life(of access.PrincipalKind) Life {
	if of == access.Application {
		return s.Apps
	}
	return s.Users
}
