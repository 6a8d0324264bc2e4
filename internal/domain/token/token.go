// Package token issues, checks and revokes long-lived secrets: API keys of projects, and HTTP access tokens of people, projects and repositories.
//
// Service is for API keys, which open key proofs of one project; Accesses for HTTP access tokens, which open the REST wires and git. What holds of the former
// holds of the latter:
//
// The plain text of a key exists twice: in the answer to IssueAPIKey, and in the requests of its
// holder. Stored is its SHA-256. Check is the only way from a plain key to a Token, and it tells
// nobody why a key was refused: the true reason travels in a Refusal, for the audit log.
//
// Check answers from memory for CacheFor, which a revocation on this node cuts short at once and one
// on another node as soon as its notice arrives (Forget). Expiry is read against the clock each time
// (rule W11). When a key was used is gathered in memory and written by Run.
package token

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/recent"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Kind says what a token is for.
type Kind string

// The kinds.
const (
	APIKey Kind = "api_key" // opens key proofs of one project
)

// Token is a secret that was issued, without the secret.
type Token struct {
	ID          string
	Kind        Kind
	Name        string
	Project     string
	Digest      [32]byte // SHA-256 of the plain text
	Created     time.Time
	Expires     time.Time // zero is never
	Revoked     time.Time // zero while it is good
	LastUsed    time.Time // zero is never; up to UsedEvery behind
	LastAddress string    // where it was used last
}

// expired reports whether the token's time is over. The very moment of expiry is too late.
func (t Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

func (t Token) resource() access.Resource {
	return access.Within(t.Project, string(t.Kind), t.ID)
}

// ErrUnknown says that there is no such token, or that the caller may not know of it.
var ErrUnknown = fault.New(fault.NotFound, "token not found")

// Use is one token's latest use.
type Use = recent.Use

// Store keeps tokens.
type Store interface {
	// Insert adds t and records e, both or neither. It reports fault.NotFound when the project is gone.
	Insert(ctx context.Context, t Token, e audit.Event) error
	// ByDigest finds a token by its exact digest, revoked and expired ones too. It reports ErrUnknown.
	ByDigest(ctx context.Context, digest [32]byte) (Token, error)
	// ByID reports ErrUnknown.
	ByID(ctx context.Context, id string) (Token, error)
	// OfProject lists the tokens of a project, newest first, revoked and expired ones too.
	OfProject(ctx context.Context, project string) ([]Token, error)
	// Revoke marks the token as revoked at that time, records e and tells all nodes, all or nothing. A
	// token that is revoked already stays as it is and e is not recorded. It reports ErrUnknown.
	Revoke(ctx context.Context, id string, at time.Time, e audit.Event) error
	// MarkUsed stores uses in one transaction. It moves no token's last use back, and skips tokens
	// that are gone.
	MarkUsed(ctx context.Context, uses []Use) error
}

// Service issues, checks and revokes tokens.
type Service struct {
	Store     Store
	Access    *access.Service
	Now       func() time.Time
	NewID     func() string
	CacheFor  time.Duration // how long a good key is believed without asking the store; at most 2 s
	UsedEvery time.Duration // how often a key's last use is written at most; 60 s by default

	// OnUsedFailed, where set, hears that last uses could not be written; they are tried again.
	OnUsedFailed func(error)

	cache recent.Answers[[32]byte, Token] // by digest
	used  recent.Uses
}

const maxName = 255 // characters

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.Newf(fault.Invalid, "a key's name has 1 to %d characters and no control characters", maxName)
	}
	return nil
}

// IssueAPIKey makes a key of a project that works until expires, for ever when that is zero. The plain
// text is returned this once. Whoever issues needs the right token.issue on the project, which no API
// key has: a key cannot make another (rule W6).
func (s *Service) IssueAPIKey(ctx context.Context, by access.Caller, project, name string, expires time.Time) (secret.String, Token, error) {
	if err := s.Access.Require(ctx, by, access.TokenIssue, access.Project(project)); err != nil {
		return secret.String{}, Token{}, err
	}
	if err := checkName(name); err != nil {
		return secret.String{}, Token{}, err
	}
	now := s.Now()
	if !expires.IsZero() && !now.Before(expires) {
		return secret.String{}, Token{}, fault.New(fault.Invalid, "the key's expiry must lie in the future")
	}
	plain := NewAPIKey()
	t := Token{ID: s.NewID(), Kind: APIKey, Name: name, Project: project, Digest: secret.Digest(plain.Reveal()), Created: now, Expires: expires}
	e := by.Event(now, access.TokenIssue, t.resource(), audit.Done)
	e.Object.Name = name
	if !expires.IsZero() {
		e = e.With("expires", expires.UTC().Format(time.RFC3339))
	}
	if err := s.Store.Insert(ctx, t, e); err != nil {
		return secret.String{}, Token{}, fmt.Errorf("insert api key: %w", err)
	}
	return plain, t, nil
}

// List returns the tokens of a project, newest first, with those that are revoked or expired.
func (s *Service) List(ctx context.Context, by access.Caller, project string) ([]Token, error) {
	if err := s.Access.Require(ctx, by, access.TokenRead, access.Project(project)); err != nil {
		return nil, err
	}
	return s.Store.OfProject(ctx, project)
}

// Revoke ends a token, at once on this node and within 2 s on the others. To revoke twice is no error.
// It reports ErrUnknown also to who may not revoke it.
func (s *Service) Revoke(ctx context.Context, by access.Caller, id string) error {
	t, err := s.Store.ByID(ctx, id)
	if err != nil {
		return err
	}
	if err := s.Access.Require(ctx, by, access.TokenRevoke, t.resource()); err != nil {
		if fault.Is(err, fault.Denied) {
			return ErrUnknown
		}
		return err
	}
	now := s.Now()
	e := by.Event(now, access.TokenRevoke, t.resource(), audit.Done)
	e.Object.Name = t.Name
	err = s.Store.Revoke(ctx, id, now, e)
	s.Forget(id) // also after an error: the store may have gone away just behind the commit
	return err
}

// Self tells the holder of a key what the key is.
func (s *Service) Self(ctx context.Context, by access.Caller) (Token, error) {
	if by.Kind != access.APIKey {
		return Token{}, fault.New(fault.Denied, "only an API key can ask what it is")
	}
	if err := s.Access.Require(ctx, by, access.AuthInfo, by.Limit); err != nil {
		return Token{}, err
	}
	if t, ok := s.cache.ByID(by.ID, s.Now()); ok {
		return t, nil
	}
	return s.Store.ByID(ctx, by.ID)
}
