// Package factor enrols and checks second factors: TOTP apps, security keys, recovery codes.
//
// What a user has enrolled is one Set, which every change loads, judges and stores in one transaction: a code
// that was accepted is noted with its acceptance, so of two that present it at the same moment one is let in, on whatever nodes (rule F7). What is under way (a
// sign-in that waits for its second factor, an enrolment) is a Conversation: one kind, one user, a few minutes, five tries.
package factor

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Kind is a kind of second factor.
type Kind string

// The kinds.
const (
	FIDO2    Kind = "fido2" // a security key, imported U2F ones too
	TOTP     Kind = "totp"
	Recovery Kind = "recovery_code"
)

// Set is what one user has enrolled.
type Set struct {
	User    string
	TOTP    *App // nil: none
	Devices []Device
	Codes   []Code // used ones too
}

// App is an authenticator app.
type App struct {
	Secret   secret.String // base32; sealed at rest
	Enabled  time.Time
	LastStep int64 // of the last accepted code: one at or below it is refused
}

// DeviceKind tells security keys apart.
type DeviceKind string

// The kinds of devices.
const (
	WebAuthn DeviceKind = "Fido2"
	U2F      DeviceKind = "U2f" // imported: Origin is its AppID
)

// Device is a security key.
type Device struct {
	ID         string
	Name       string // unique among the user's
	Kind       DeviceKind
	Credential []byte // credential id, unique
	PublicKey  []byte // COSE key
	Counter    uint32
	Origin     string // where it was enrolled, or the AppID of a U2F key
	Transports []string
	AAGUID     []byte
	Format     string // of its attestation
	Flags      byte   // of the authenticator data when it was enrolled
	Created    time.Time
	LastUsed   time.Time // zero is never
}

// CodeKind tells the two sets of recovery codes apart.
type CodeKind string

// The kinds of recovery codes. An unused one of either finishes any sign-in.
const (
	InList CodeKind = "list" // one of ten
	AsKey  CodeKind = "key"  // the one recovery key of a TOTP enrolment
)

// Code is a recovery code without its text.
type Code struct {
	ID      string
	Kind    CodeKind
	Salt    []byte
	Hash    [32]byte
	Created time.Time
	Used    time.Time // zero is never
}

// Enrolled says that the user has a second factor. Recovery codes alone are none.
func (set Set) Enrolled() bool { return set.TOTP != nil || len(set.Devices) > 0 }

// Purpose is what a conversation is about.
type Purpose string

// The purposes.
const (
	SignIn       Purpose = "sign_in"       // a sign-in that waits for its second factor
	Enforced     Purpose = "enforced"      // a sign-in that waits for the enrolment of one
	Voluntary    Purpose = "voluntary"     // the enrolment of a TOTP app
	Update       Purpose = "update"        // the change of a TOTP app
	Registration Purpose = "registration"  // the enrolment of a security key
	ElevationKey Purpose = "elevation_key" // a security key's challenge for elevation
)

// Conversation is something under way that waits for an answer.
type Conversation struct {
	ID       string
	Digest   [32]byte // SHA-256 of its token: 32 random bytes as base64url, 43 characters
	Purpose  Purpose
	User     string
	Session  string        // the session that began it and alone may go on; empty: the token alone
	Name     string        // folded login name as presented, under which wrong answers are counted
	Method   string        // how the first factor was proved
	Stamp    string        // credential that was checked, as session.Store.Insert compares it: it dies when the password changes
	Provider string        // who vouched
	Target   string        // where a browser goes afterwards
	Secret   secret.String // pending TOTP secret, or challenge; sealed at rest
	Tries    int
	Created  time.Time
	Expires  time.Time

	ProviderSession string    // as in session.Session
	Until           time.Time // as in session.Session
}

// Key finds a conversation: by the digest of its token, or by session and purpose.
type Key struct {
	Digest  [32]byte
	Session string
	Purpose Purpose
}

// The faults of this room.
var (
	ErrNoConversation = fault.New(fault.NotFound, "The conversation does not exist or has expired.")
	ErrWrongCode      = fault.New(fault.Unauthenticated, "The code is not correct.")
	ErrEnrolled       = fault.New(fault.Conflict, "Two-step verification is already set up.")
	ErrNotEnrolled    = fault.New(fault.Conflict, "Two-step verification is not set up.")
	ErrNameTaken      = fault.New(fault.Conflict, "a security key of that name exists")
	ErrKnownKey       = fault.New(fault.Conflict, "that security key is enrolled already")
	ErrNoDevice       = fault.New(fault.NotFound, "security key not found")
	ErrLastFactor     = fault.New(fault.Denied, "the last second factor stays while one is demanded")
)

// Change is what happens together with a change of a Set.
type Change struct {
	Events []audit.Event
	End    identity.Ending // sessions of the user that it ends
	Alone  bool            // of an answer: the user's other sign-ins that wait for a second factor end
}

// Store keeps sets and conversations. Secrets are sealed.
type Store interface {
	// Of loads what a user has enrolled. Nothing is the empty Set.
	Of(ctx context.Context, user string) (Set, error)
	// Change loads the set of a user, locked, hands it to decide, and stores what that left in it together with what it returned: all or
	// nothing. It tells all nodes ("user ID"). decide may run more than once. It reports identity.ErrUnknown, ErrNameTaken and ErrKnownKey.
	Change(ctx context.Context, user string, decide func(*Set) (Change, error)) (Set, error)
	// Open adds a conversation; those of the same user, purpose and session, where that is not empty, go.
	Open(ctx context.Context, c Conversation) error
	// Find loads a conversation. It reports ErrNoConversation; whether it has expired is the caller's to see.
	Find(ctx context.Context, k Key) (Conversation, error)
	// Answer loads a conversation with the set of its user, both locked, hands them to decide and stores what that left, all or nothing: with
	// keep the conversation stays as it was left, otherwise it goes. Of many at once each sees what the one before left. It reports ErrNoConversation.
	Answer(ctx context.Context, k Key, decide func(*Conversation, *Set) (keep bool, c Change, err error)) error
	// Drop removes the conversations of a user, but those of a session where one is named. It is part of other changes too.
	Drop(ctx context.Context, user string) error
	// Sweep removes up to limit conversations that expired before that time.
	Sweep(ctx context.Context, before time.Time, limit int) (int, error)
	// ByCredential finds whose security key that is. It reports ErrNoDevice.
	ByCredential(ctx context.Context, credential []byte) (user string, d Device, err error)
}

// Assertion is what a security key answers, decoded from whatever wire it came by.
type Assertion struct {
	ID                []byte // credential id
	Type              string // "public-key" or empty
	ClientData        []byte // JSON as it was signed
	AuthenticatorData []byte
	Signature         []byte
	UserHandle        []byte
	AppID             bool // the client says that it used the AppID extension
}

// Attestation is what a security key answers when it is enrolled.
type Attestation struct {
	ID         []byte
	Type       string
	ClientData []byte
	Object     []byte // attestationObject, CBOR
	Transports []string
}

// Answer is one try to prove a second factor: a code, or an assertion.
type Answer struct {
	Kind      Kind
	Code      secret.String
	Assertion *Assertion
}

// Challenge is what a security key is asked: the request options of WebAuthn, and the user's devices.
type Challenge struct {
	Challenge []byte // 32 random bytes
	Timeout   time.Duration
	RPID      string
	Devices   []Device // those that may answer; may be empty
	AppID     string   // of the first imported U2F key; empty where there is none
	Verify    string   // userVerification: "preferred"
}

// Creation is what a new security key is asked: the creation options of WebAuthn.
type Creation struct {
	Challenge  []byte
	Timeout    time.Duration
	RPID       string
	RPName     string
	UserID     []byte // the user's uuid, 16 bytes
	UserName   string
	Display    string
	Algorithms []int64 // COSE
	Exclude    []Device
}

// Enrolment is a TOTP app that is being set up.
type Enrolment struct {
	Token  secret.String // of the conversation
	Secret secret.String // base32, 32 characters
	URL    secret.String // otpauth://totp/...
	User   string        // user name
}

// Service enrols and checks second factors. Its verbs are for package login, which asks who is calling, counts and records failures.
type Service struct {
	Store   Store
	Now     func() time.Time
	NewID   func() string
	RPID    string        // WebAuthn's relying party: the host of the public URL
	RPName  string        // "Gatehouse"
	Origins []string      // where assertions may come from
	Wait    time.Duration // how long a challenge may take; 5 min
	Talk    time.Duration // how long a conversation lasts; 10 min
	Tries   int           // wrong answers that end one; 5
	OnError func(doing string, err error)
}
