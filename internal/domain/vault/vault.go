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
	Identifier string        // unique; letters, digits, "_", "-" and "."
	Device     device.Device // where it is registered; read with the credential
	Username   string
	Kind       Kind
	Type       string // as wires write it: Local User, Local administrator, Domain user, Domain Admin, SSH Key
	Domain     string // a registered one: it opens all devices of it. Empty: its own device alone
	Additional string
	Tags       []string
	Parent     int64              // number of the credential whose password it shares; 0 is none
	Protocols  *[]device.Protocol // by which it may be used; nil: nobody said, so all
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
	ErrUnknown  = fault.New(fault.NotFound, "credential not found")
	ErrInactive = fault.New(fault.Conflict, "the credential is not active")
	ErrNotShown = fault.New(fault.Denied, "the secret of this credential is shown to nobody")
	ErrHeld     = fault.New(fault.Conflict, "somebody else has checked the credential out")
	ErrNotHeld  = fault.New(fault.Conflict, "the credential is not checked out by this caller")
	ErrTaken    = fault.New(fault.Conflict, "the device has a credential of that user name, or the identifier is taken")
	ErrNoSecret = fault.New(fault.Conflict, "the credential has no secret yet")
)

// Store keeps credentials.
type Store interface {
	// Insert adds c with its secret (which may be empty), gives it the next number, lets each of listed hold CredentialListed on it, and records e: all
	// or nothing. It reports ErrTaken.
	Insert(ctx context.Context, c Credential, plain secret.String, listed []access.Binding, e audit.Event) (Credential, error)
	// Change loads the credential, hands it to decide and keeps what that returns, with another secret where fresh is not empty, and e. One that is
	// disabled by it loses its sessions: end_asked is set on them and all nodes are told. Where nothing differs nothing is written, and changed is false.
	Change(ctx context.Context, id string, fresh secret.String, decide func(Credential) (Credential, error), e audit.Event) (c Credential, changed bool, err error)
	ByID(ctx context.Context, id string) (Credential, error)
	ByNumber(ctx context.Context, number int64) (Credential, error)
	ByIdentifier(ctx context.Context, identifier string) (Credential, error)
	ByUsername(ctx context.Context, device, username string) (Credential, error)
	// OfDevice lists the credentials of a device, by number.
	OfDevice(ctx context.Context, device string) ([]Credential, error)
	// List returns credentials by number: all, or those of ids.
	List(ctx context.Context, all bool, ids []string, w page.Window) (page.Page[Credential], error)
	// Secret opens the secret of a credential; used is written as its last use where it is not zero. It reports ErrUnknown and ErrNoSecret.
	Secret(ctx context.Context, id string, used time.Time, e ...audit.Event) (secret.String, error)

	// Take gives a holder custody, or renews it, marks the credential for rotation and records e, unless another holder has it and it is exclusive
	// (ErrHeld): all or nothing.
	Take(ctx context.Context, c Custody, now time.Time, exclusive bool, e audit.Event) error
	// Release ends a holder's custody, or reports ErrNotHeld.
	Release(ctx context.Context, credential string, holder access.Subject, now time.Time, e audit.Event) error
	// Custodies are those that have not ended.
	Custodies(ctx context.Context, credential string, now time.Time) ([]Custody, error)
	// Expire ends up to limit custodies that are over, each with the event that it is given for.
	Expire(ctx context.Context, now time.Time, limit int, event func(Custody) audit.Event) (int, error)
}
