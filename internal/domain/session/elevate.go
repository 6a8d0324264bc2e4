package session

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Own returns the caller's session as the store has it now, in whatever state it lives. What is over is a *Refusal.
func (s *Service) Own(ctx context.Context, by access.Caller) (Session, error) {
	if by.Session == "" {
		return Session{}, ErrInvalid
	}
	x, err := s.Store.ByID(ctx, by.Session)
	if fault.Is(err, fault.NotFound) {
		return Session{}, ErrInvalid
	}
	if err != nil {
		return Session{}, err
	}
	if why := s.over(x); why != "" {
		return Session{}, &Refusal{why, x}
	}
	if x.Subject() != (access.Subject{Kind: by.Kind, ID: by.ID}) {
		return Session{}, ErrInvalid
	}
	return x, nil
}

// settles reports whether a session is one in which a person settles their second factors.
func (x Session) settles() bool {
	return x.Principal.Kind == access.User && (x.State == Active || x.State == EnrolOnly)
}

// Unlock opens the settings of second factors until that long from now: the password was proved once more. Cookies change as in Complete.
func (s *Service) Unlock(ctx context.Context, by access.Caller, lasting time.Duration) (secret.String, Session, error) {
	return s.raise(ctx, by, "unlocked", func(x Session, now time.Time) (Session, error) {
		if !x.settles() {
			return x, ErrNotActive
		}
		x.Unlocked, x.Tries = now.Add(lasting), 0
		return x, nil
	})
}

// Lock shuts the settings of second factors again, and takes an elevation back with it. A session that is locked stays so.
func (s *Service) Lock(ctx context.Context, by access.Caller) error {
	return s.keep(ctx, by, "locked", func(x Session, _ time.Time) (Session, error) {
		if !x.settles() {
			return x, ErrNotActive
		}
		if x.Unlocked.IsZero() && x.Elevated.IsZero() {
			return x, errAsItIs
		}
		x.Unlocked, x.Elevated = time.Time{}, time.Time{}
		return x, nil
	})
}

// Extend lets an elevation last that long from now. One that is over stays over.
func (s *Service) Extend(ctx context.Context, by access.Caller, lasting time.Duration) error {
	return s.keep(ctx, by, "elevation extended", func(x Session, now time.Time) (Session, error) {
		until := now.Add(lasting)
		if !now.Before(x.Elevated) || !until.After(x.Elevated) {
			return x, errAsItIs
		}
		x.Elevated = until
		return x, nil
	})
}

// Miss counts a wrong proof in the caller's session, and ends the session with the last one of limit in a row.
func (s *Service) Miss(ctx context.Context, by access.Caller, limit int) (ended bool, err error) {
	err = s.keep(ctx, by, "wrong proof", func(x Session, _ time.Time) (Session, error) {
		x.Tries++
		ended = x.Tries >= limit
		return x, nil
	})
	if err != nil || !ended {
		return false, err
	}
	e := by.Event(s.Now(), access.SessionEnd, access.SessionOf(access.Subject{Kind: by.Kind, ID: by.ID}, by.Session), audit.Done)
	e.Reason = "too many wrong proofs in a row"
	return true, s.end(ctx, by.Session, e)
}

// Enrolled notes that the holder of the session has just enrolled a second factor: an enrol-only session becomes active. Where it
// is the first one, the password alone gave the elevation, which counts for no more than Unlock from now on. Cookies change as in Complete.
func (s *Service) Enrolled(ctx context.Context, by access.Caller, first bool) (secret.String, Session, error) {
	return s.raise(ctx, by, "enrolled", func(x Session, now time.Time) (Session, error) {
		if !x.settles() {
			return x, ErrNotActive
		}
		x.State, x.LastUsed = Active, now
		if first && x.Elevated.After(x.Unlocked) {
			x.Unlocked = x.Elevated
		}
		if first {
			x.Elevated = time.Time{}
		}
		return x, nil
	})
}

// errAsItIs says that nothing changes.
var errAsItIs = errors.New("as it is")

// keep changes a living session that keeps its token.
func (s *Service) keep(ctx context.Context, by access.Caller, what string, to func(Session, time.Time) (Session, error)) error {
	now := s.Now()
	e := by.Event(now, access.SessionKeep, access.SessionOf(access.Subject{Kind: by.Kind, ID: by.ID}, by.Session), audit.Done).With("changed", what)
	err := s.change(ctx, by.Session, e, func(x Session) (Session, error) {
		if why := s.over(x); why != "" {
			return x, &Refusal{why, x}
		}
		return to(x, now)
	})
	if errors.Is(err, errAsItIs) {
		return nil
	}
	return err
}
