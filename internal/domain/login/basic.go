package login

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Basic says that a person's password came with the request, by HTTP Basic, and at what kind of door.
type Basic string

// The kinds of doors. The zero Basic is a password that came another way.
const (
	BasicREST      Basic = "rest"      // below /rest
	BasicElsewhere Basic = "elsewhere" // other wires that take it
)

// BlockBasic says which doors refuse passwords by Basic.
type BlockBasic string

// The scopes of blocking.
const (
	BlockNowhere BlockBasic = ""
	BlockREST    BlockBasic = "rest"
	BlockAll     BlockBasic = "all"
)

// ErrBasicBlocked says that passwords by Basic are not taken at the door. It was not looked at, so nothing is learnt of it.
var ErrBasicBlocked = fault.New(fault.Denied, "Basic authentication is disabled")

// unblocked returns ErrBasicBlocked, on record, where the operator has shut the way by which a password came.
func (s *Service) unblocked(ctx context.Context, p Presented) error {
	if p.Kind != Password || p.Basic == "" || s.BlockBasic == BlockNowhere || s.BlockBasic == BlockREST && p.Basic != BasicREST {
		return nil
	}
	s.count(p.Kind, "refused")
	return errors.Join(ErrBasicBlocked, s.recordWrong(ctx, p, &Wrong{Reason: "passwords by Basic are blocked"}, guard.Standing{}))
}
