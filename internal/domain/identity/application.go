package identity

import (
	"context"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	actionAppCreate     = "application.create"
	actionAppRead       = "application.read"
	actionAppUpdate     = "application.update"
	actionAppDelete     = "application.delete"
	actionAppReset      = "application.reset"
	actionAppCredential = "application.credential"
)

const (
	secretSize = 64               // random bytes of a secret unless something else is asked for
	minSecret  = 16               // rule F10, with room below for what the wire allows
	maxSecret  = 256              // bytes
	pickup     = 15 * time.Minute // how long a fresh secret can be seen
	maxOverlap = 365 * 24 * time.Hour
)

// AuthType is how an application proves who it is.
type AuthType string

// The ways.
const (
	BySecret      AuthType = "secret"
	ByAWSIAM      AuthType = "aws_iam"     // a request signed for AWS, of the ARN that is the application's name
	ByCertificate AuthType = "certificate" // one certificate
	ByAuthority   AuthType = "trusted_ca"  // any certificate of a subject that certain authorities signed
	ByLDAP        AuthType = "ldap"        // a directory checks the password
)

// Application is a program that can sign in. Its name is unique in its account, compared byte for byte.
type Application struct {
	ID          string
	Account     string
	Name        string
	Description string
	AuthType    AuthType
	Digest      [32]byte // SHA-256 of the secret
	OldDigest   [32]byte // of the secret before, good until OldUntil
	OldUntil    time.Time
	Disabled    bool
	Addresses   []netip.Prefix // where it may come from; none is anywhere
	Groups      []string       // ids
	Default     string         // id of the default group, or empty
	Role        string         // a word of the caller's own, shown back: "crypto", "admin"
	Creator     Creator
	Created     time.Time
	Updated     time.Time
	LastLogin   time.Time // zero is never

	Certificate [32]byte // ByCertificate: SHA-256 of its DER
	Authorities string   // ByAuthority: PEM
	Subject     string   // ByAuthority: the certificate's subject as RFC 2253 writes it, compared byte for byte
	Provider    string   // ByLDAP: id of the identity provider

	AccountShut bool // the account is disabled; read with the application, never written
}

// Shut says that the application may not sign in, nor go on (rule F12).
func (a Application) Shut() bool { return a.Disabled || a.AccountShut }

// From reports whether the application may come from that address (rule W7).
func (a Application) From(address netip.Addr) bool { return Within(a.Addresses, address) }

// Within reports whether an address lies in one of the networks; no networks are all of them.
func Within(networks []netip.Prefix, address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return len(networks) == 0 || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
}

// HasSecret reports whether a secret opens the application now. It takes the same time for every secret.
func (a Application) HasSecret(plain secret.String, now time.Time) bool {
	digest := secret.Digest(plain.Reveal())
	fresh := secret.Equal(digest[:], a.Digest[:])
	old := secret.Equal(digest[:], a.OldDigest[:])
	return a.AuthType == BySecret && !plain.Empty() && (fresh || old && now.Before(a.OldUntil)) // rule W11
}

// The faults of applications.
var (
	ErrNoApplication    = fault.New(fault.NotFound, "application not found")
	ErrApplicationTaken = fault.New(fault.Conflict, "an application of that name exists in the account")
	ErrNoSecret         = fault.New(fault.Conflict, "the application has no secret: it signs in otherwise")
	ErrNoCredential     = fault.New(fault.NotFound, "the secret cannot be seen any more")
)

// ApplicationStore keeps applications. Where it takes a plain secret it keeps it sealed until that time, and nothing of
// it longer.
type ApplicationStore interface {
	// Insert adds a, its secret for a while, and e, all or nothing. It reports ErrApplicationTaken, ErrNoAccount and ErrNoGroup.
	Insert(ctx context.Context, a Application, plain secret.String, until time.Time, e audit.Event) error
	// ByID reports ErrNoApplication.
	ByID(ctx context.Context, id string) (Application, error)
	// ByName finds an application of an account by its exact name. It reports ErrNoApplication.
	ByName(ctx context.Context, account, name string) (Application, error)
	// OfAccount lists the applications of an account by name.
	OfAccount(ctx context.Context, account string) ([]Application, error)
	// Change loads the application, hands it to decide, stores what that returns and a new secret for a while where
	// plain is not empty, ends sessions as end says, records e and tells all nodes, all or nothing. decide may run
	// more than once. It reports ErrNoApplication and ErrApplicationTaken.
	Change(ctx context.Context, id string, decide func(Application) (Application, error), fresh Fresh, end Ending, e audit.Event) (Application, error)
	// Delete removes the application with its roles, ends its sessions, records e and tells all nodes, all or
	// nothing. It reports ErrNoApplication.
	Delete(ctx context.Context, id string, e audit.Event) error
	// Plain returns the secret if it may still be seen at that time, and records e, both or neither. It reports ErrNoCredential.
	Plain(ctx context.Context, id string, now time.Time, e audit.Event) (secret.String, error)
	// ByCertificate lists the applications of that certificate, and those that trust authorities.
	ByCertificate(ctx context.Context, digest [32]byte) ([]Application, error)
	// Erase forgets the plain secrets whose time is over.
	Erase(ctx context.Context, now time.Time) error
}

// Fresh is a secret made just now that can be seen for a while; the zero Fresh is none.
type Fresh struct {
	Plain secret.String
	Until time.Time
}

// Applications adds and changes applications.
type Applications struct {
	Store     ApplicationStore
	Providers ProviderStore // of the directories that may check passwords of applications; nil: none may
	Now       func() time.Time
	NewID     func() string
}

// NewApplication is what an application is made from.
type NewApplication struct {
	Account     string
	Name        string
	Description string
	Addresses   []netip.Prefix
	Groups      []string
	Default     string
	Role        string
	Credential  Credential
}

// Create makes an application. One that has a secret gets it returned, and it can be seen with Credential for 15 minutes.
func (s *Applications) Create(ctx context.Context, by Authority, in NewApplication) (Application, secret.String, error) {
	none := secret.String{}
	now := s.Now()
	a := Application{
		ID: s.NewID(), Account: in.Account, Name: in.Name, Description: in.Description, Addresses: in.Addresses, Groups: in.Groups, Default: in.Default, Role: in.Role,
		Creator: creator(by), Created: now, Updated: now,
	}
	if a.Default != "" && !slices.Contains(a.Groups, a.Default) {
		a.Groups = append(slices.Clone(a.Groups), a.Default)
	}
	e, err := by.AuthorizeOn(ctx, actionAppCreate, a.target())
	if err != nil {
		return Application{}, none, err
	}
	if err := CheckLabel(a.Name); err != nil {
		return Application{}, none, err
	}
	if err := checkText("description", a.Description); err != nil {
		return Application{}, none, err
	}
	if err := checkText("role", a.Role); err != nil {
		return Application{}, none, err
	}
	plain, err := in.Credential.give(&a, now)
	if err == nil && a.AuthType == ByLDAP {
		a.Provider, err = s.directory(ctx, a.Provider)
	}
	if err != nil {
		return Application{}, none, err
	}
	e.Object.Name = a.Name
	if err := s.Store.Insert(ctx, a, plain, now.Add(pickup), e); err != nil {
		return Application{}, none, err
	}
	return a, plain, nil
}

// checkText returns why a text cannot be kept, or nil.
func checkText(member, text string) error {
	if len(text) > 4096 || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return fault.Fields("a "+member+" has at most 4096 bytes of text", fault.Field{Path: member, Message: "at most 4096 bytes of text"})
	}
	return nil
}

// NewSecret returns so many random bytes as base64url without padding.
func NewSecret(size int) secret.String {
	return secret.New(base64.RawURLEncoding.EncodeToString(secret.Bytes(size)))
}

// ByID returns an application to the members of its account and to itself. It reports ErrNoApplication to others too.
func (s *Applications) ByID(ctx context.Context, by Authority, id string) (Application, error) {
	a, _, err := s.allowed(ctx, by, actionAppRead, id)
	return a, err
}

// List returns the applications of an account.
func (s *Applications) List(ctx context.Context, by Authority, account string) ([]Application, error) {
	if _, err := by.AuthorizeOn(ctx, actionAppRead, Target{Kind: kindAccount, ID: account}); err != nil {
		return nil, err
	}
	return s.Store.OfAccount(ctx, account)
}

// Delete removes an application and ends its sessions. It reports ErrNoApplication to who may not know of it.
func (s *Applications) Delete(ctx context.Context, by Authority, id string) error {
	_, e, err := s.allowed(ctx, by, actionAppDelete, id)
	if err != nil {
		return err
	}
	return s.Store.Delete(ctx, id, e)
}

// SetDisabled shuts an application out, ending its sessions, or lets it in again.
func (s *Applications) SetDisabled(ctx context.Context, by Authority, id string, disabled bool) error {
	_, e, err := s.allowed(ctx, by, actionAppUpdate, id)
	if err != nil {
		return err
	}
	what := "enabled"
	if disabled {
		what = "disabled"
	}
	now := s.Now()
	_, err = s.Store.Change(ctx, id, func(a Application) (Application, error) {
		a.Disabled, a.Updated = disabled, now
		return a, nil
	}, Fresh{}, Ending{Sessions: disabled}, e.With("changed", what))
	return err
}

// ResetSecret gives an application another secret of so many random bytes (0: 64), which can be seen with Credential for
// 15 minutes. With an overlap the old secret, and the sessions, go on until it ends; without one they end now.
func (s *Applications) ResetSecret(ctx context.Context, by Authority, id string, size int, overlap time.Duration) (Application, secret.String, error) {
	if size == 0 {
		size = secretSize
	}
	if size < minSecret || size > maxSecret {
		return Application{}, secret.String{}, fault.Fields("a secret has 16 to 256 bytes", fault.Field{Path: "secret_size", Message: "16 to 256"})
	}
	if overlap < 0 || overlap > maxOverlap {
		return Application{}, secret.String{}, fault.Fields("the old secret works at most a year longer", fault.Field{Path: "credential_migration_period", Message: "0 seconds to a year"})
	}
	_, e, err := s.allowed(ctx, by, actionAppReset, id)
	if err != nil {
		return Application{}, secret.String{}, err
	}
	now, plain := s.Now(), NewSecret(size)
	a, err := s.Store.Change(ctx, id, func(a Application) (Application, error) {
		if a.AuthType != BySecret {
			return a, ErrNoSecret
		}
		a.OldDigest, a.OldUntil = [32]byte{}, time.Time{}
		if overlap > 0 {
			a.OldDigest, a.OldUntil = a.Digest, now.Add(overlap)
		}
		a.Digest, a.Updated = secret.Digest(plain.Reveal()), now
		return a, nil
	}, Fresh{plain, now.Add(pickup)}, Ending{Sessions: overlap == 0}, e.With("overlap", overlap.String()))
	if err != nil {
		return Application{}, secret.String{}, err
	}
	return a, plain, nil
}

// Credential returns the secret of an application within 15 minutes of its making, and ErrNoCredential later.
func (s *Applications) Credential(ctx context.Context, by Authority, id string) (secret.String, error) {
	_, e, err := s.allowed(ctx, by, actionAppCredential, id)
	if err != nil {
		return secret.String{}, err
	}
	return s.Store.Plain(ctx, id, s.Now(), e)
}

// Run erases plain secrets whose time is over, every so often until ctx ends.
func (s *Applications) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = s.Store.Erase(ctx, s.Now()) // the next tick tries again; Plain looks at the time itself
		}
	}
}

// ForLogin finds an application by its id, for package login alone. It reports ErrNoApplication.
func (s *Applications) ForLogin(ctx context.Context, id string) (Application, error) {
	return s.Store.ByID(ctx, id)
}

// ForLoginByName finds an application of an account by its exact name, for package login alone. It reports ErrNoApplication.
func (s *Applications) ForLoginByName(ctx context.Context, account, name string) (Application, error) {
	if CheckLabel(name) != nil {
		return Application{}, ErrNoApplication
	}
	return s.Store.ByName(ctx, account, name)
}

// ForLoginByCertificate lists the applications that a certificate may be of, by the SHA-256 of its DER, for package login alone: those that
// trust authorities are among them whatever it is.
func (s *Applications) ForLoginByCertificate(ctx context.Context, digest [32]byte) ([]Application, error) {
	return s.Store.ByCertificate(ctx, digest)
}

// allowed loads an application and asks for a right to it. Who may not even see it learns nothing of it.
func (s *Applications) allowed(ctx context.Context, by Authority, action, id string) (Application, audit.Event, error) {
	a, err := s.Store.ByID(ctx, id)
	if err != nil {
		return Application{}, audit.Event{}, err
	}
	e, err := by.AuthorizeOn(ctx, action, a.target())
	if err == nil {
		e.Object.Name = a.Name
		return a, e, nil
	}
	if _, blind := by.AuthorizeOn(ctx, actionAppRead, a.target()); blind != nil {
		err = hidden(err, ErrNoApplication)
	}
	return Application{}, audit.Event{}, err
}

func (a Application) target() Target {
	return Target{Kind: kindApplication, ID: a.ID, Account: a.Account}
}
