// Package policy keeps what administrators choose about signing in while the server runs: which ways the sign-in page offers, and
// who may still send a password by HTTP Basic. What operators set before a start lies in the configuration.
package policy

import (
	"context"
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
	Users []string `json:"users,omitempty"` // patterns of login names from whom it is taken all the same
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
}
