// Package device keeps the targets that people are taken to: where they are, which protocols they speak, and by which host keys they are known.
//
// A host key counts only once an administrator has accepted it, for one port of one device (rule S16). A key that a target shows and nobody has
// accepted yet is kept beside, so that there is something to accept; nobody is ever taken to a target that shows one.
package device

import (
	"context"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Device is one target.
type Device struct {
	ID      string
	Number  int64  // for wires that know it by an integer; the store gives it, and never twice
	Host    string // as it was written; unique in any case
	IP      netip.Addr
	Model   string
	Type    string
	Vendor  string
	Site    string
	Domains []string // registered ones
	Tags    []string
	Connect []Connectivity
	Script  string // how a person is signed in where a protocol has no sign-in of its own: "Telnet:EXPECT:FILL", several with commas

	Unrecorded bool // sessions go on although they cannot be recorded: loudly, by an administrator's word (rule W14)
	Disabled   bool
	Created    time.Time
	Updated    time.Time
}

// Resource is the device as rights are asked for it.
func (d Device) Resource() access.Resource { return access.Device(d.ID) }

// Connectivity is a protocol that a device speaks, and where. Name is as it was written; Protocol folds it.
type Connectivity struct {
	Name string `json:"name"`
	Port int    `json:"port"`
}

// Protocol is what carries a session.
type Protocol string

// The protocols by which sessions can be asked for.
const (
	SSH    Protocol = "ssh"
	Telnet Protocol = "telnet"
	RDP    Protocol = "rdp"
	VNC    Protocol = "vnc"
	HTTP   Protocol = "http"
	HTTPS  Protocol = "https"
)

// DefaultPort is where a protocol is spoken unless somebody says otherwise; 0 for what is no protocol.
func (p Protocol) DefaultPort() int {
	switch p {
	case SSH:
		return 22
	case Telnet:
		return 23
	case RDP:
		return 3389
	case VNC:
		return 5900
	case HTTP:
		return 80
	case HTTPS:
		return 443
	}
	return 0
}

// HostKey is a key that a target showed on one of its ports.
type HostKey struct {
	ID        string
	Device    string
	Port      int
	Blob      []byte // the wire form of RFC 4253 section 6.6
	Accepted  bool
	Seen      time.Time
	Decided   time.Time // zero: nobody has
	DecidedBy string
}

// The faults of this room.
var (
	ErrUnknown        = fault.New(fault.NotFound, "device not found")
	ErrUnknownDomain  = fault.New(fault.Invalid, "the domain is not registered; register it first")
	ErrForbidden      = fault.New(fault.Denied, "a device may not have this address; ask the operator to allow it")
	ErrNoHost         = fault.New(fault.Invalid, "a device needs a host name")
	ErrNoIP           = fault.New(fault.Invalid, "a device needs an IP address")
	ErrTaken          = fault.New(fault.Conflict, "a device of that host name exists")
	ErrUnknownHostKey = fault.New(fault.NotFound, "host key not found")
	ErrNotSSH         = fault.New(fault.Invalid, "the device has no SSH connectivity; name the port")
)

// Lent is a credential whose password is sent to a device.
type Lent struct {
	Credential string // id
	Device     string // id of the device where it is registered
	NeverShown bool   // nobody checks it out
}

// Store keeps devices.
type Store interface {
	// Insert adds d, gives it the next number, lets each of listed hold its role on it, and records e: all or nothing. It returns d as it is, and reports
	// ErrTaken and ErrUnknownDomain.
	Insert(ctx context.Context, d Device, listed []access.Binding, e audit.Event) (Device, error)
	// Change loads the device, hands it to decide and keeps what that returns, and the event. Where nothing but Updated differs nothing is written, and
	// changed is false. A device that is disabled by it loses its sessions: end_asked is set on them and all nodes are told; its credentials are disabled
	// too. decide may run more than once. It reports ErrUnknown, ErrTaken and ErrUnknownDomain.
	Change(ctx context.Context, id string, decide func(Device) (Device, error), event func(was, is Device) audit.Event) (d Device, changed bool, err error)
	// Lent lists the passwords that sessions to a device may be lent: of credentials that are registered on it, or belong to one of its domains.
	Lent(ctx context.Context, d Device) ([]Lent, error)
	// ByID, ByNumber and ByHost (in any case) report ErrUnknown. ByIP returns all devices of an address, by number.
	ByID(ctx context.Context, id string) (Device, error)
	ByNumber(ctx context.Context, number int64) (Device, error)
	ByHost(ctx context.Context, host string) (Device, error)
	ByIP(ctx context.Context, ip netip.Addr) ([]Device, error)
	// List returns devices by number: all, or those of ids.
	List(ctx context.Context, all bool, ids []string, w page.Window) (page.Page[Device], error)

	// AddDomain registers a domain and records e; one that is there in any case stays as it is, with no event. Domains lists them by name.
	AddDomain(ctx context.Context, name string, at time.Time, e audit.Event) error
	Domains(ctx context.Context) ([]string, error)

	// Saw keeps a host key that waits for a decision, and e; one that is there already is left as it is, with no event. Of one port only the newest
	// MostSeen wait.
	Saw(ctx context.Context, k HostKey, e audit.Event) error
	// Accept accepts a host key for a device's port, adding it where it is not there, and records e. It returns the key as it is.
	Accept(ctx context.Context, k HostKey, e audit.Event) (HostKey, error)
	// Remove forgets a host key and records e. It reports ErrUnknownHostKey.
	Remove(ctx context.Context, device, id string, e audit.Event) error
	// HostKeys lists the keys of a device by port, the oldest first.
	HostKeys(ctx context.Context, device string) ([]HostKey, error)
}

// MostSeen is how many host keys of one port wait for a decision: a target that shows another one each time fills nothing.
const MostSeen = 16

// Scanner asks a target for the host keys that it shows: a relay.
type Scanner interface {
	HostKeys(ctx context.Context, at netip.AddrPort) (blobs [][]byte, err error)
}
