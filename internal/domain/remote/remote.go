// Package remote takes people to devices: the link that opens a session, what must happen before it begins, the session itself, and its end.
//
//	issued ── Redeem (in time, right address) ──► waiting ── nothing more is due ──► active ──► ended
//	   │                                             │ step-up, reason, approval        ▲
//	   ├── 30 s ──► expired                          └── refused, abandoned ──► ended ──┘ closed, idle, dropped, window, absolute,
//	   └── End by its handle ──► cancelled                                                address, revoked, error, unrecorded, node_lost
//
// A native client has no link: Begin makes a waiting session at once.
//
// Nothing reaches the target before the session is active, and it becomes active only when its recorder has started. The credential is lent to the
// relay alone. The node that made a session active carries it to its end (Live); all others know it by the store, and end it there: the carrying node
// hears of it and obeys within two seconds, by notice or by looking.
package remote

import (
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// State is where a session stands.
type State string

// The states.
const (
	Issued    State = "issued"    // its link has not been used
	Expired   State = "expired"   // nobody used it in time
	Cancelled State = "cancelled" // somebody took it back
	Waiting   State = "waiting"   // somebody came, and something is due before it begins
	Active    State = "active"
	Ended     State = "ended"
)

// Way is how the person comes.
type Way string

// The ways.
const (
	Web    Way = "web"    // a browser
	Native Way = "native" // an SSH client
)

// Reason is why a session ended.
type Reason string

// The reasons.
const (
	Closed     Reason = "closed"     // the person or the target closed it, or the person did not come back
	Idle       Reason = "idle"       // nobody typed in a terminal for too long, and nothing passed beside terminals
	Dropped    Reason = "dropped"    // somebody with the right ended it
	Window     Reason = "window"     // the grant's time is over
	Absolute   Reason = "absolute"   // it lasted as long as sessions may
	Moved      Reason = "address"    // a request came from another address
	Revoked    Reason = "revoked"    // user, grant, device or credential are gone
	Failed     Reason = "error"      // the target could not be reached, refused us, or showed another host key
	Unrecorded Reason = "unrecorded" // it could not be recorded any more
	NodeLost   Reason = "node_lost"  // the node that carried it is gone
	Refused    Reason = "refused"    // approval was denied
	Abandoned  Reason = "abandoned"  // the person did not do what was due in time
	Drained    Reason = "drained"    // the node was stopped
)

// Session is one remote session, from the link on.
type Session struct {
	ID     string // UUIDv7; the name of its recording
	Number int64  // given when it starts; 0 before
	Code   string // 40 hexadecimal characters, given when it starts
	State  State
	Way    Way

	Origin  access.Subject // who asked for it: an authorization, or the user
	Session string         // id of the Gatehouse session that must redeem the link; empty: whoever has it

	User       access.Principal // who is taken there
	Device     string           // id of the device where the credential is registered
	Credential string           // id
	Username   string           // at the target
	Target     string           // id of the device it goes to
	Host       string           // what the target is called
	IP         netip.Addr       // and where it is
	Protocol   device.Protocol
	Port       int
	Screen     Screen

	Bound   netip.Addr // the address that may redeem, where one was named
	Address netip.Addr // the address that did
	Request string     // id of the request for approval, where one was made

	Grant     int64 // number of the grant that governs
	Terms     access.Terms
	SteppedUp time.Time // zero: not yet
	Why       string    // the person's reason
	Reference string    // and their ticket

	Node     string // which carries it
	Created  time.Time
	Expires  time.Time // of the link; when waiting, of the wait
	Redeemed time.Time
	Started  time.Time
	Ended    time.Time
	End      Reason
	EndAsked Reason // somebody asked for its end, and the carrying node has not obeyed yet
	EndedBy  string // name of who did
	Hold     bool   // its recording is kept beyond retention
}

// Resource is the session as rights are asked for it. It belongs to its user as well, who sees and ends it.
func (s Session) Resource() access.Resource {
	r := access.RemoteSession(s.ID, s.Target, s.Credential)
	r.Parents = append(r.Parents, access.Resource{Kind: access.UserKind, ID: s.User.ID})
	return r
}

// Screen is the size that was asked for, in pixels.
type Screen struct{ Width, Height int }

// Subject is the user as a subject.
func (s Session) Subject() access.Subject { return access.Subject{Kind: access.User, ID: s.User.ID} }

// The faults of this room. Doors tell them apart by errors.Is.
var (
	ErrUnknown       = fault.New(fault.NotFound, "remote session not found")
	ErrLinkUnknown   = fault.New(fault.Expired, "This link is not valid")
	ErrLinkLate      = fault.New(fault.Expired, "This link has expired")
	ErrLinkUsed      = fault.New(fault.Expired, "This link was already used")
	ErrLinkCancelled = fault.New(fault.Expired, "This link was cancelled")
	ErrLinkElsewhere = fault.New(fault.Denied, "This link is for another computer or network")
	ErrLinkDenied    = fault.New(fault.Denied, "You cannot start this session now")
	ErrTooManyLinks  = fault.New(fault.Limited, "Too many requests")

	ErrNoUser       = fault.New(fault.NotFound, "user not found")
	ErrUserShut     = fault.New(fault.Denied, "the user may not start sessions")
	ErrTooMany      = fault.New(fault.Limited, "the user has as many sessions as are allowed")
	ErrNoDevice     = fault.New(fault.NotFound, "device not found")
	ErrNoCredential = fault.New(fault.NotFound, "credential not found")
	ErrInactive     = fault.New(fault.Conflict, "the credential is not active")
	ErrNoneFree     = fault.New(fault.Conflict, "no free credential on this device")
	ErrNeedsTarget  = fault.New(fault.Invalid, "the credential belongs to a domain; say which of its devices to go to")
	ErrNoTarget     = fault.New(fault.NotFound, "target device not found")
	ErrNoAccess     = fault.New(fault.Denied, "no grant opens this now")
	ErrProtocolOff  = fault.New(fault.Denied, "the protocol is not enabled for the credential")
	ErrPort         = fault.New(fault.Invalid, "the grant does not cover this port")
	ErrRemoteApp    = fault.New(fault.Invalid, "there is no such application on the device, or the credential opens only applications")
	ErrNotSignedIn  = fault.New(fault.Denied, "a link for oneself belongs to the session that asks for it; sign in and ask again")
	ErrNoFactor     = fault.New(fault.Denied, "a second factor is required here, and the user has none; enrol one first")

	ErrNoRequest   = fault.New(fault.NotFound, "request not found")
	ErrDecided     = fault.New(fault.Conflict, "nobody waits for an answer to this request any more")
	ErrOwnRequest  = fault.New(fault.Denied, "somebody else must answer your own request")
	ErrNotWaiting  = fault.New(fault.Conflict, "the session is not waiting for that")
	ErrRecorded    = fault.New(fault.Conflict, "a recording of the session was begun before; start another session")
	ErrSigned      = fault.New(fault.Conflict, "another manifest of the recording was signed in the meantime")
	ErrOver        = fault.New(fault.Conflict, "the session is over")
	ErrElsewhere   = fault.New(fault.Conflict, "another node carries the session")
	ErrHostKey     = fault.New(fault.Denied, "the target showed a host key that no administrator has accepted")
	ErrUnreachable = fault.New(fault.Conflict, "the target cannot be reached")
	ErrTargetLogin = fault.New(fault.Conflict, "the target refused the stored credential")
	ErrNotOffered  = fault.New(fault.Conflict, "the target does not offer this")
)
