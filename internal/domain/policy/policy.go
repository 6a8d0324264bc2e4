// Package policy keeps what administrators choose about signing in while the server runs: which ways the sign-in page offers, and
// who may still send a password by HTTP Basic. What operators set before a start lies in the configuration.
package policy

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// SSO is how the sign-in page treats identity providers. The zero SSO is what holds until somebody changes it.
type SSO struct {
	HideForm bool              `json:"hide_form,omitempty"` // the page offers providers alone
	Fallback bool              `json:"fallback,omitempty"`  // a hidden form is shown to who asks for it by ?auth_fallback
	Extra    map[string]string `json:"extra,omitempty"`     // what a wire keeps and shows back; nothing here reads it

	Version int64     `json:"-"` // counts the changes; 0: none yet
	Updated time.Time `json:"-"` // zero: never
}

// Basic is who may send a person's password by HTTP Basic.
type Basic struct {
	Block bool     `json:"block"`
	Paths []string `json:"paths,omitempty"` // patterns of paths where it is taken all the same
	Users []string `json:"users,omitempty"` // patterns of login names from whom it is taken all the same; addresses fit only those that hold an @
	Warn  bool     `json:"warn,omitempty"`  // answers to who sends one carry a warning

	Version int64     `json:"-"` // counts the changes; 0: none yet
	Updated time.Time `json:"-"` // zero: never
}

// ErrOvertaken says that somebody else's change came in between.
var ErrOvertaken = fault.New(fault.Conflict, "another change was made at the same time; look at it and try again")

// Store keeps the policies, one row each.
type Store interface {
	// SSO returns the zero SSO while nobody has changed it.
	SSO(ctx context.Context) (SSO, error)
	// ChangeSSO keeps to as the version after was, records e and tells all nodes, all or nothing. It reports ErrOvertaken where was is not the current version.
	ChangeSSO(ctx context.Context, was int64, to SSO, e audit.Event) error
	// Basic and ChangeBasic do the same for Basic.
	Basic(ctx context.Context) (Basic, error)
	ChangeBasic(ctx context.Context, was int64, to Basic, e audit.Event) error
}

// Service reads and changes the policies.
type Service struct {
	Store    Store
	Access   *access.Service
	Now      func() time.Time
	CacheFor time.Duration // how long a policy may be answered from memory after another node changed it
	Start    Basic         // what holds until somebody changes it

	mu    sync.Mutex
	sso   remembered[SSO]
	basic remembered[Basic]
	era   uint64 // counts Forget: what was read before the last one is not kept
}

type remembered[T any] struct {
	is    T
	until time.Time
}

// SSO returns the policy by which the sign-in page is made. It is for doors, tells the caller nothing and asks for no right. It answers from memory for
// CacheFor; nobody changes what it returns.
func (s *Service) SSO(ctx context.Context) (SSO, error) {
	return recall(ctx, s, &s.sso, s.Store.SSO)
}

// Basic returns the policy by which passwords by Basic are judged, as SSO does.
func (s *Service) Basic(ctx context.Context) (Basic, error) {
	return recall(ctx, s, &s.basic, s.freshBasic)
}

func (s *Service) freshBasic(ctx context.Context) (Basic, error) {
	is, err := s.Store.Basic(ctx)
	if err == nil && is.Version == 0 {
		is = s.Start
	}
	return is, err
}

// recall answers from memory, or reads and remembers unless something was forgotten meanwhile.
func recall[T any](ctx context.Context, s *Service, in *remembered[T], read func(context.Context) (T, error)) (T, error) {
	now := s.Now()
	s.mu.Lock()
	known, era := *in, s.era
	s.mu.Unlock()
	if now.Before(known.until) {
		return known.is, nil
	}
	is, err := read(ctx)
	if err != nil {
		return is, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if era == s.era {
		*in = remembered[T]{is, now.Add(s.CacheFor)}
	}
	return is, nil
}

// Forget drops what is remembered: another node has changed it, or notices of changes may have been lost.
func (s *Service) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
	s.sso, s.basic = remembered[SSO]{}, remembered[Basic]{}
}
