// Package vault keeps the credentials that open targets: sealed, lent to sessions, and shown to nobody who may not see them.
//
// A secret leaves this room on two ways. Lend gives it to the relay that signs in to the target; the person on the other end never sees it. CheckOut
// shows it to a program that has the right to, records it, marks the credential for rotation, and keeps who has it until they check it in.
package vault

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Kind is what a credential's secret is.
type Kind string

// The kinds.
const (
	Password Kind = "password"
	SSHKey   Kind = "ssh_key" // a private key, PEM as OpenSSH writes it, without passphrase
)

// Credential is what opens a device, without its secret.
type Credential struct {
	ID         string
	Number     int64         // for wires that know it by an integer; the store gives it, and never twice
	Identifier string        // unique as it is written; letters, digits, "_", "-" and "."
	Device     device.Device // where it is registered; read with the credential
	Username   string
	Kind       Kind
	Type       string // as wires write it: Local User, Local administrator, Domain user, Domain Admin, SSH Key
	Domain     string // a registered one: it opens all devices of it. Empty: its own device alone
	Additional string
	Tags       []string
	Parent     int64              // number of the credential whose password it is said to share; 0 is none. Kept for who asks: nothing here follows it
	Protocols  *[]device.Protocol // by which it may be used; nil: nobody said, so all
	RemoteApp  bool               // it opens a single application of its device and no whole session
	Extra      map[string]any     // what wires store and read back: nothing here acts on it

	HasSecret     bool
	NeverShown    bool // nobody checks it out
	Exclusive     bool // one holder at a time
	NeedsRotation bool // somebody has seen it
	Disabled      bool
	Created       time.Time
	Updated       time.Time
	LastUsed      time.Time // zero is never
}

// Resource is the credential as rights are asked for it.
func (c Credential) Resource() access.Resource { return access.Credential(c.Device.ID, c.ID) }

// Custody is who holds a credential, and until when.
type Custody struct {
	Credential string
	Holder     access.Subject
	Taken      time.Time
	Until      time.Time
}

// The faults of this room.
var (
	ErrUnknown    = fault.New(fault.NotFound, "credential not found")
	ErrInactive   = fault.New(fault.Conflict, "the credential is not active")
	ErrNotShown   = fault.New(fault.Denied, "the secret of this credential is shown to nobody")
	ErrHeld       = fault.New(fault.Conflict, "somebody else has checked the credential out")
	ErrNotHeld    = fault.New(fault.Conflict, "the credential is not checked out by this caller")
	ErrTaken      = fault.New(fault.Conflict, "the device has such a credential of that user name, or the identifier is taken")
	ErrNoSecret   = fault.New(fault.Conflict, "the credential has no secret yet")
	ErrElsewhere  = fault.New(fault.Conflict, "the identifier is of a credential on another device")
	ErrIdentifier = fault.New(fault.Invalid, "an identifier has 1 to 255 letters, digits, dots, hyphens and underscores")
	ErrUsername   = fault.New(fault.Invalid, "a user name has at most 255 characters, none of them control characters")
	ErrType       = fault.New(fault.Invalid, "there is no such type of credential; the types are Local User, Local administrator, Domain user, Domain Admin and SSH Key")
	ErrKey        = fault.New(fault.Invalid, "that is no private key that opens a target: give an OpenSSH or PEM file without passphrase, of type Ed25519, ECDSA, or RSA with 2048 to 8192 bits")
	ErrPassphrase = fault.New(fault.Invalid, "the private key has a passphrase; remove it from a copy with `ssh-keygen -p` and give that: Gatehouse seals it")
)

// Store keeps credentials. All that reads one reads its device with it.
type Store interface {
	// Insert adds c with its secret (which may be empty), gives it the next number, lets each of listed hold its role on it, and records e: all or
	// nothing. It returns c as it is, and reports ErrTaken and device.ErrUnknownDomain.
	Insert(ctx context.Context, c Credential, plain secret.String, listed []access.Binding, e audit.Event) (Credential, error)
	// Change loads the credential, hands it to decide and keeps what that returns, with another secret where fresh is not empty, and the event. One that
	// is disabled by it loses its sessions: end_asked is set on them and all nodes are told. Where nothing but Updated differs, the secret included,
	// nothing is written, and changed is false. decide may run more than once. It reports ErrUnknown, ErrTaken and device.ErrUnknownDomain.
	Change(ctx context.Context, id string, fresh secret.String, decide func(Credential) (Credential, error), event func(was, is Credential, secret bool) audit.Event) (c Credential, changed bool, err error)
	// ByID, ByNumber and ByIdentifier report ErrUnknown.
	ByID(ctx context.Context, id string) (Credential, error)
	ByNumber(ctx context.Context, number int64) (Credential, error)
	ByIdentifier(ctx context.Context, identifier string) (Credential, error)
	// OfDevice lists the credentials that are registered on a device, by number.
	OfDevice(ctx context.Context, device string) ([]Credential, error)
	// List returns credentials by number: all, or those of ids and of the devices.
	List(ctx context.Context, all bool, ids, devices []string, w page.Window) (page.Page[Credential], error)
	// Secret opens the secret of a credential that check lets go, writes used as its last use and records e. It reports ErrUnknown and ErrNoSecret.
	Secret(ctx context.Context, id string, used time.Time, check func(Credential) error, event func(Credential) audit.Event) (Credential, secret.String, error)

	// Take gives a holder custody of a credential that check lets go, or renews it, marks the credential for rotation, records the event and opens the
	// secret, which may be empty: all or nothing. It reports ErrUnknown, and ErrHeld where the credential is exclusive and another holder's custody has
	// not ended at c.Taken.
	Take(ctx context.Context, c Custody, check func(Credential) error, event func(Credential) audit.Event) (Credential, secret.String, error)
	// Release ends a holder's custody that has not ended at now, or reports ErrNotHeld. The credential is marked for rotation.
	Release(ctx context.Context, credential string, holder access.Subject, now time.Time, e audit.Event) error
	// Custodies are those that have not ended at now.
	Custodies(ctx context.Context, credential string, now time.Time) ([]Custody, error)
	// Expire ends up to limit custodies that are over, each with the event that it is given for, and marks their credentials for rotation.
	Expire(ctx context.Context, now time.Time, limit int, event func(Custody) audit.Event) (int, error)
}
