package sshkey

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// Registered is a key on file: it opens the repositories of its user, or the places that it was given. A key is on file once, in one role.
//
//	waiting  -- proven by a key proof of its owner --> active
//	active   -- not proven for too long -------------> disabled
//	any      -- an administrator shuts it out -------> disabled, unproven
//	disabled -- proven ------------------------------> active
type Registered struct {
	ID         string
	Number     int64 // by which wires know it; one sequence for all keys
	Key        Key
	Role       Role
	User       string // user keys: whose
	Label      string
	State      State
	ExpiryDays int // as it was asked for; 0 is never
	Created    time.Time
	Expires    time.Time // zero is never; the very moment is too late
	Proven     time.Time // zero until its owner proved to hold the private half
	LastUsed   time.Time // zero is never; up to UsedEvery behind
	LastFrom   string    // address of the last use
	Unsafe     bool      // others can work out the private half: see UnsafeModulus
	Grants     []Grant   // access keys: where they open what; listings of a place leave it out

	UserName string // read with a user key, never written
	UserShut bool   // nobody acts as its user now; read with the key, never written (rule F12)
}

// Role says what a key on file is for.
type Role string

// The roles.
const (
	UserKey   Role = "user"   // signs its user in for git
	AccessKey Role = "access" // opens the places that it was given, for no user
)

// State says whether a key on file opens anything.
type State string

// The states.
const (
	Active   State = "active"
	Waiting  State = "waiting"  // for the proof of its owner
	Disabled State = "disabled" // nobody proved it in time, or an administrator shut it out; a proof brings it back
)

// keyKind is the kind of a key on file as a resource.
const keyKind = "ssh_key"

// Unproven reports whether nobody has proved to hold the private half.
func (r Registered) Unproven() bool { return r.Proven.IsZero() }

// Text is the key as an OpenSSH line with its label as comment.
func (r Registered) Text() string {
	if r.Label == "" {
		return r.Key.SSH()
	}
	return r.Key.SSH() + " " + r.Label
}

func (r Registered) expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// Resource is the key as what is acted on: it belongs to its user, an access key to the place in question.
func (r Registered) Resource(at ...access.Resource) access.Resource {
	on := access.Resource{Kind: keyKind, ID: r.ID}
	if r.Role == UserKey {
		on.Parents = []access.Resource{ofUser(r.User)}
	}
	for _, place := range at {
		on.Parents = append(append(on.Parents, place), place.Parents...)
	}
	return on
}

func ofUser(id string) access.Resource { return access.Resource{Kind: access.UserKind, ID: id} }

// grantAt returns what an access key was given at exactly that place.
func (r Registered) grantAt(place access.Resource) (Grant, bool) {
	for _, g := range r.Grants {
		if same(g.Place, place) {
			return g, true
		}
	}
	return Grant{}, false
}

// Selection selects what access keys were given at some places.
type Selection struct {
	Places []access.Resource // one or two
	Prefix string            // of the folded label; "" is all
	Least  Permission
	Now    time.Time
	Window page.Window
}

// Store keeps keys on file. Whoever reads says what time it is: a key that has expired is not there. Every change tells all nodes, as
// "sshkey" and the key's id.
type Store interface {
	// Insert adds the key with its grants and records e, all or nothing, and returns it with the number that it was given. An expired key
	// with the same digest makes room. It reports ErrOnFile when another has the digest, and fault.NotFound when the user is gone.
	Insert(ctx context.Context, r Registered, e audit.Event) (Registered, error)
	// ByDigest finds a key by its exact digest. It reports ErrUnknown, as do ByID and ByNumber.
	ByDigest(ctx context.Context, digest Fingerprint, now time.Time) (Registered, error)
	ByID(ctx context.Context, id string, now time.Time) (Registered, error)
	ByNumber(ctx context.Context, number int64, now time.Time) (Registered, error)
	// OfUser returns a page of a user's keys by number.
	OfUser(ctx context.Context, user string, now time.Time, w page.Window) (page.Page[Registered], error)
	// Remove takes a key off file and records e, both or neither. A key that is not there is no error, and e is not recorded.
	Remove(ctx context.Context, id string, e audit.Event) error
	// RemoveOfUser takes all keys of a user off file, expired ones too, and records an event for each, all or nothing.
	RemoveOfUser(ctx context.Context, user string, event func(Registered) audit.Event) error

	// At returns a page of what access keys were given at places, by number and then by place in the order of the selection.
	At(ctx context.Context, of Selection) (page.Page[Held], error)
	// AddGrant gives an access key one more place and records e, both or neither. It reports ErrGranted when it has that place already,
	// and ErrUnknown when the key is gone.
	AddGrant(ctx context.Context, id string, g Grant, e audit.Event) error
	// SetPermission changes what a key may do at a place and records e, both or neither. It reports ErrUnknown when it has not that place.
	SetPermission(ctx context.Context, id string, at access.Resource, to Permission, e audit.Event) error
	// RemoveGrants takes places away from an access key, and the key off file with its last place, and records an event for each place that
	// it had: all or nothing. Places that it has not, and a key that is gone, are no error.
	RemoveGrants(ctx context.Context, id string, at []access.Resource, event func(access.Resource) audit.Event) error

	// MarkUsed stores uses in one transaction. It moves no key's last use back, and skips keys that are gone.
	MarkUsed(ctx context.Context, uses []recent.Use) error
	// Unproven returns a page, by number, of keys created up to that moment that nobody has proved.
	Unproven(ctx context.Context, created, now time.Time, w page.Window) (page.Page[Registered], error)
	// Disable makes a key disabled and unproven and records e, both or neither. A key that is disabled already stays as it is, and e is not
	// recorded. It reports ErrUnknown.
	Disable(ctx context.Context, id string, e audit.Event) error
	// DisableUnproven disables up to limit active keys created up to that moment that nobody has proved, records an event for each, all or
	// nothing, and returns how many they were.
	DisableUnproven(ctx context.Context, created time.Time, limit int, event func(Registered) audit.Event) (int, error)
	// Purge takes up to limit expired keys off file, records an event for each, all or nothing, and returns how many they were.
	Purge(ctx context.Context, now time.Time, limit int, event func(Registered) audit.Event) (int, error)
}

// What is refused about a key on file.
var (
	// ErrUnknown says that there is no such key, or that the caller may not know of it.
	ErrUnknown = fault.New(fault.NotFound, "SSH key not found")
	// ErrOnFile says that the key is somebody's already.
	ErrOnFile = fault.New(fault.Conflict, "This SSH key already exists.")
	// ErrAccessKey says that the key opens projects or repositories, and so cannot be a user's.
	ErrAccessKey = fault.New(fault.Conflict, "This SSH key is already used to access a repository or project.")
	// ErrGranted says that the key opens this place already, with whatever permission; see also ErrGrantedProject.
	ErrGranted        = fault.New(fault.Conflict, "SSH key already provides access to this repository")
	ErrGrantedProject = fault.New(fault.Conflict, "SSH key already provides access to this project")
	// ErrAccessKeysOff says that access keys are switched off.
	ErrAccessKeysOff = fault.New(fault.Invalid, "Access keys are disabled.")
	// ErrNoPlace says that no place was named.
	ErrNoPlace = fault.New(fault.Invalid, "Name at least one project or repository.")
)

// errAssigned says that a key meant for access is a user's. The name is told to those alone who may read that user's keys.
func errAssigned(name string) error {
	if name == "" {
		return fault.New(fault.Conflict, "This SSH key is already assigned to another user.")
	}
	return fault.Newf(fault.Conflict, "This SSH key is already assigned to '%s'.", name)
}
