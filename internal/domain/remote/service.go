package remote

import (
	"context"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Store keeps sessions, from the link on, and the requests for approval. The digests are SHA-256 of what was given out.
type Store interface {
	// Insert adds x, which is Issued or Waiting, with the digests of its link, handle and cookie (nil: none), and records the event: all or nothing. It
	// reports ErrTooMany where the user has most sessions that wait, live, or have a link that is still good; 0 is no limit. Where pick is not empty the
	// session is the first of pick whose credential no such session uses on its device; ErrNoneFree where there is none. Two callers never get the same
	// one.
	Insert(ctx context.Context, x Session, pick []Session, d Digests, most int, e func(Session) audit.Event) (Session, error)
	// ByID and its like report ErrUnknown.
	ByID(ctx context.Context, id string) (Session, error)
	ByNumber(ctx context.Context, number int64) (Session, error)
	ByCode(ctx context.Context, code string) (Session, error)
	ByHandle(ctx context.Context, digest [32]byte) (Session, error)
	ByLink(ctx context.Context, digest [32]byte) (Session, error)
	ByCookie(ctx context.Context, id string, digest [32]byte) (Session, error)
	// Change loads the session for update, hands it to decide and keeps what that returns, with another cookie where cookie is not nil, and the events,
	// unless another was faster to change its state. The number is given by it when the state becomes Active. A request for approval that is pending when
	// the session ends is expired by it. All nodes are told of a session that has ended, or has EndAsked. decide may run more than once.
	Change(ctx context.Context, id string, cookie *[32]byte, decide func(Session) (Session, []audit.Event, error)) (Session, error)
	// List returns sessions that have started, newest first: of those that which wants.
	List(ctx context.Context, which Which, w page.Window) (page.Page[Session], error)
	// Overdue returns up to limit sessions that are Issued or Waiting and whose Expires is over.
	Overdue(ctx context.Context, now time.Time, limit int) ([]Session, error)
	// Purge forgets links that were over before without a session having started, the digests of those that were used, and old tickets: up to limit of
	// each. It returns how many of the first two there were.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)

	// SteppedUp is when a user last stepped up in a session that had one of the cookies; zero is never.
	SteppedUp(ctx context.Context, user string, cookies [][32]byte) (time.Time, error)

	// InsertRequest adds a request, gives it the next number, lets its session wait for as long as the request, and records e; one request a session:
	// where there is one already it is returned. Requests lists them, newest first.
	InsertRequest(ctx context.Context, r Request, e func(Request) audit.Event) (Request, error)
	RequestOf(ctx context.Context, session string) (Request, error)
	RequestByNumber(ctx context.Context, number int64) (Request, error)
	Requests(ctx context.Context, which WhichRequests, w page.Window) (page.Page[Request], error)
	// ChangeRequest loads the request and its session, hands them to decide, keeps what that returns of both and the events, and tells all nodes.
	ChangeRequest(ctx context.Context, id string, decide func(Request, Session) (Request, Session, []audit.Event, error)) (Request, error)

	// AddTicket keeps a one-time ticket; UseTicket takes it, once, and reports ErrUnknown where there is none of that purpose that has not expired.
	AddTicket(ctx context.Context, t Ticket) error
	UseTicket(ctx context.Context, digest [32]byte, purpose string, now time.Time) (Ticket, error)

	LiveStore
}

// LiveStore is what the node that carries sessions asks.
type LiveStore interface {
	// Beat says that the node lives. Lost ends the active sessions of nodes not seen since before, each with its event, and tells which they were.
	Beat(ctx context.Context, node string, now time.Time) error
	Lost(ctx context.Context, before, now time.Time, event func(Session) audit.Event) ([]Session, error)
	// Uncut returns up to limit sessions that are over, behind the id of one, whose recording is not settled and whose node was not seen since before. Those
	// that were over before and never started count too: whoever began the recording need not be the node that they name, if they name one.
	Uncut(ctx context.Context, before time.Time, after string, limit int) ([]Session, error)
	// Doomed returns the node's active sessions that must end: with EndAsked set to why. User gone or disabled, device or credential disabled: Revoked.
	Doomed(ctx context.Context, node string) ([]Session, error)
	// Carried returns the ids of the node's active sessions.
	Carried(ctx context.Context, node string) ([]string, error)

	// Watch begins or prolongs a watch; Unwatch ends it. Watched tells which of the sessions somebody looks on at, with the names.
	Watch(ctx context.Context, w Watching) error
	Unwatch(ctx context.Context, id string) error
	Watched(ctx context.Context, sessions []string, now time.Time) (map[string][]string, error)
	// AddFrames keeps what passed in a session; Frames reads it behind a sequence number; DropFrames forgets what is older.
	AddFrames(ctx context.Context, session string, frames []Frame) error
	Frames(ctx context.Context, session string, after int64, limit int) ([]Frame, error)
	DropFrames(ctx context.Context, before time.Time) error
}

// Digests are SHA-256 of what a session was given out with; nil is nothing.
type Digests struct{ Link, Handle, Cookie *[32]byte }

// Which says which sessions a listing holds. Zero fields say nothing, but those that say who may see what.
type Which struct {
	Active bool
	User   string // id
	Device string // id of the target

	Seen // what the caller may see; List of the Service fills it in
}

// Seen says which sessions somebody may see: by target and by credential, both (Both) or one of them, and their own.
type Seen struct {
	Devices                    []string // ids of targets; AllDevices: whichever
	Credentials                []string // ids; AllCredentials: whichever
	AllDevices, AllCredentials bool
	Both                       bool
	Own                        string // id of the user whose own count too
}

// WhichRequests says which requests a listing holds.
type WhichRequests struct {
	State RequestState // "" is every

	Seen      Seen             // what the caller may see; Requests of the Service fills it in
	Approvers []access.Subject // and those that name one of these as who decides
}

// Ticket opens one socket, once.
type Ticket struct {
	Digest  [32]byte
	Session string // id of the remote session
	Purpose string // terminal, watch
	Subject string // id of who may use it: of the user, or of the caller
	Name    string // what they are called
	Expires time.Time
}

// Watching is somebody who looks on.
type Watching struct {
	ID      string
	Session string
	Watcher string // name
	Until   time.Time
}

// Frame is a piece of what passed in a session, for who looks on.
type Frame struct {
	Sequence int64
	At       time.Time
	Body     []byte // one JSON array of events as asciicast v3 has them: [[interval, code, data], ...]
}

// RequestState is where a request stands.
type RequestState string

// The states of a request.
const (
	Pending  RequestState = "pending"
	Approved RequestState = "approved"
	Denied   RequestState = "denied"
	Lapsed   RequestState = "expired"
)

// Request is somebody's wish to open a session, which somebody else must approve.
type Request struct {
	ID         string
	Number     int64
	Session    string // id
	User       access.Principal
	Device     string // id of the target
	Credential string // id
	Reason     string
	Reference  string
	Approvers  []access.Subject // who decides; none: whoever has the right to
	State      RequestState
	Created    time.Time
	Expires    time.Time
	Decided    time.Time
	DecidedBy  string // name
	Note       string // of who decided
}

// Settings are the limits of sessions. All are of the configuration.
type Settings struct {
	LinkLife          time.Duration   // 30 s
	Grace             time.Duration   // how long a step-up counts in the same browser; 5 min
	TicketLife        time.Duration   // 30 s
	Wait              time.Duration   // how long a waiting session may wait, but for approval; 10 min
	Idle              time.Duration   // 30 min
	Absolute          time.Duration   // 12 h
	Notices           []time.Duration // before an end that is known: 15, 10 and 5 min
	Reattach          time.Duration   // how long a browser may be away; 60 s
	AddressScope      string          // session or start
	PinAlways         bool            // sessions keep to the redeeming address even where none was named
	RequireCredential bool            // callers must name the credential unless their authorisation may pick
	FinishedKept      time.Duration   // 24 h
	PerUser           int             // sessions of one user at a time; 0 is no limit
	Beat              time.Duration   // how often a node says that it lives; 5 s
	LostAfter         time.Duration   // a node not seen for so long is gone; 20 s
	Look              time.Duration   // how often a node looks for sessions to end; 1 s
	Sweep             time.Duration   // 5 s
	DialTimeout       time.Duration   // 15 s
	IdleNotice        time.Duration   // before the end of a session where nobody types; 1 min
	Frame             time.Duration   // how often what passes is written for who looks on; 200 ms
	WatchLife         time.Duration   // how long a watch lasts that nobody prolongs; 30 s
	Channels          int             // open at a time in one session; 32
}

// Users finds people: identity.Service as this room sees it.
type Users interface {
	// ForRemote returns a user by login name or by id, whether they are shut out and why ("" is not), and the ids of their groups. It reports ErrNoUser.
	ForRemote(ctx context.Context, nameOrID string) (Person, error)
}

// Person is a user as this room sees one.
type Person struct {
	User   identity.User
	Shut   bool
	Groups []string // ids
}

// FileTap follows the SFTP protocol in both directions and notes what happens to files. An error means that it can follow no longer: nothing more is
// carried then.
type FileTap interface {
	ToTarget(p []byte) error
	FromTarget(p []byte) error
	Close() error // notes what was left open
}

// Service makes, opens, carries and ends sessions.
type Service struct {
	Store      Store
	Access     *access.Service
	Audit      *audit.Service
	Users      Users
	Devices    *device.Service
	Vault      *vault.Service
	Dialers    map[device.Protocol]Dialer
	Recordings Recordings
	NewFileTap func(note func(Note) error) FileTap
	// NewFilter, where set, makes what takes out of a terminal's output whatever could harm those who look on, piece by piece: it appends to dst what
	// passes of p (rule W10).
	NewFilter func() func(dst, p []byte) []byte
	// Prove proves a second factor of by, a user; it reports an Unauthenticated fault for a wrong one, Denied where the user has none, and Limited.
	Prove func(ctx context.Context, by access.Caller, answer Answer) error
	// HasFactor reports whether a user has a second factor that Prove takes.
	HasFactor func(ctx context.Context, user string) (bool, error)

	// Refusals, where set, counts refused links by address.
	Refusals *guard.Failures

	// Stands, where set, reports whether an authorization is still good: what it asked for begins no more otherwise.
	Stands func(ctx context.Context, authorization string) (bool, error)

	Settings Settings
	Node     string // names this process
	Now      func() time.Time
	NewID    func() string
	OnError  func(doing string, err error)
	Observe  Hooks

	node node // what lives here
}

// Answer is what proves a second factor: a TOTP or recovery code.
type Answer struct {
	Code    string
	Address netip.Addr
	Proven  bool // a door has seen it proven on this very connection: by the touch of a security key that signed, or by a code just now
}

// Hooks hear what happens, for metrics. Each may be nil.
type Hooks struct {
	Started    func(way Way, protocol device.Protocol)
	Ended      func(way Way, protocol device.Protocol, why Reason, took time.Duration)
	Refused    func(why string)
	Carried    func(direction string, bytes int) // "to_target" or "from_target"; some time after they passed
	Unrecorded func()                            // a session goes on although it is not recorded
}
