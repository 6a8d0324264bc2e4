package remote

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Store keeps sessions, from the link on, and the requests for approval. The digests are SHA-256 of what was given out.
type Store interface {
	// Insert adds a session that is Issued or Waiting with the digests of its link, handle and cookie (nil: none), and records e, unless check, which is
	// handed how many sessions the user has that are waiting or active, returns an error: all or nothing. Where pick is not empty the credential is the
	// first of it that no living or issued session of the target uses; ErrNoneFree where there is none. Two callers never get the same one.
	Insert(ctx context.Context, x Session, d Digests, pick []vault.Credential, check func(living int) error, e func(Session) audit.Event) (Session, error)
	ByID(ctx context.Context, id string) (Session, error)
	ByNumber(ctx context.Context, number int64) (Session, error)
	ByCode(ctx context.Context, code string) (Session, error)
	ByHandle(ctx context.Context, digest [32]byte) (Session, error)
	ByLink(ctx context.Context, digest [32]byte) (Session, error)
	ByCookie(ctx context.Context, id string, digest [32]byte) (Session, error)
	// Change loads the session for update, hands it to decide and keeps what that returns, with another cookie where cookie is not nil, and the events;
	// node, number and code are given by it when the state becomes Active. When the state becomes Ended, or EndAsked is set, all nodes are told.
	Change(ctx context.Context, id string, cookie *[32]byte, decide func(Session) (Session, []audit.Event, error)) (Session, error)
	// List returns sessions that have started, newest first: of those that which wants.
	List(ctx context.Context, which Which, w page.Window) (page.Page[Session], error)
	// Overdue returns up to limit sessions that are Issued or Waiting and whose Expires is over.
	Overdue(ctx context.Context, now time.Time, limit int) ([]Session, error)
	// Purge forgets links that were expired or cancelled before, up to limit.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)

	// InsertRequest adds a request, gives it the next number and records e; one request a session. Requests lists them, newest first.
	InsertRequest(ctx context.Context, r Request, e audit.Event) (Request, error)
	RequestOf(ctx context.Context, session string) (Request, error)
	RequestByNumber(ctx context.Context, number int64) (Request, error)
	Requests(ctx context.Context, state RequestState, devices []string, all bool, w page.Window) (page.Page[Request], error)
	// ChangeRequest loads the request, hands it to decide, keeps what that returns and e, and tells all nodes of its session.
	ChangeRequest(ctx context.Context, id string, decide func(Request) (Request, error), e audit.Event) (Request, error)

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
	// Doomed returns the node's active sessions that must end: with EndAsked set to why. User gone or disabled, device or credential disabled: Revoked.
	Doomed(ctx context.Context, node string) ([]Session, error)

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

// Which says which sessions a listing holds. Zero fields say nothing.
type Which struct {
	Active                     bool
	User                       string   // id
	Device                     string   // id of the target
	Devices                    []string // ids of targets; AllDevices: whichever
	Credentials                []string // ids; AllCredentials: whichever
	AllDevices, AllCredentials bool
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
	// StepUp proves a second factor of a user; it reports an Unauthenticated fault for a wrong one, and Denied where the user has none.
	StepUp func(ctx context.Context, by access.Caller, answer Answer) error
	// HasFactor reports whether a user has a second factor that StepUp takes.
	HasFactor func(ctx context.Context, user string) (bool, error)

	Settings Settings
	Node     string // names this process
	Now      func() time.Time
	NewID    func() string
	OnError  func(doing string, err error)
	Observe  Hooks

	mu   sync.Mutex
	live map[string]*Live // by session id
}

// Answer is what proves a second factor: a TOTP or recovery code.
type Answer struct {
	Code    string
	Address netip.Addr
}

// Hooks hear what happens, for metrics. Each may be nil.
type Hooks struct {
	Started func(way Way, protocol device.Protocol)
	Ended   func(way Way, protocol device.Protocol, why Reason, took time.Duration)
	Refused func(why string)
	Carried func(direction string, bytes int)
}
