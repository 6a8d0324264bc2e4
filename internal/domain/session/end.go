package session

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Refresh begins the idle window of the caller's session anew and writes it at once.
func (s *Service) Refresh(ctx context.Context, by access.Caller) error {
	if by.Session == "" {
		return ErrInvalid
	}
	x, err := s.Store.ByID(ctx, by.Session)
	if fault.Is(err, fault.NotFound) {
		return ErrInvalid
	}
	if err != nil {
		return err
	}
	if why := s.over(x); why != "" {
		return &Refusal{why, x}
	}
	if x.State == Pending {
		return ErrNotActive
	}
	x.LastUsed = s.Now()
	s.cache.touch(x.Digest, x.LastUsed)
	return s.Store.Touch(ctx, x.ID, x.LastUsed, x.Expires())
}

// Select sets the account that the caller's session works in, at once and on every node. A user must be a member; an
// application has its own account alone. It reports ErrNotMember.
func (s *Service) Select(ctx context.Context, by access.Caller, account string) error {
	x, err := s.own(ctx, by, access.SessionKeep)
	if err != nil {
		return err
	}
	if by.Kind == access.Application {
		if account != x.Account {
			return ErrNotMember
		}
		return nil
	}
	_, err = s.Accounts.Membership(ctx, account, by.ID)
	if errors.Is(err, identity.ErrNoMember) {
		return ErrNotMember
	}
	if err != nil {
		return err
	}
	e := by.Event(s.Now(), access.SessionKeep, x.resource(), audit.Done).With("account", account)
	return s.change(ctx, x.ID, e, func(x Session) (Session, error) {
		if x.State != Active {
			return x, ErrNotActive
		}
		x.Account = account
		return x, nil
	})
}

// Complete makes a pending or enrol-only session active: what it waited for was done just now. A bearer
// keeps its token; a cookie gets a new one, which is returned, and the old one is dead (rule F11). Only package login calls it, and the rooms that
// check second factors.
func (s *Service) Complete(ctx context.Context, by access.Caller) (secret.String, Session, error) {
	return s.raise(ctx, by, "completed", func(x Session, now time.Time) (Session, error) {
		if x.State != Pending && x.State != EnrolOnly {
			return x, ErrNotActive
		}
		x.State, x.Authenticated, x.LastUsed = Active, now, now
		x.Deadline = before(x.Created.Add(s.life(x.Principal.Kind).Max), x.Until)
		return x, nil
	})
}

// Elevate makes an active session of a user fresh until that long from now: they proved who they are once
// more. Cookies change as in Complete. With zero it takes an elevation back.
func (s *Service) Elevate(ctx context.Context, by access.Caller, lasting time.Duration) (secret.String, Session, error) {
	return s.raise(ctx, by, "elevated", func(x Session, now time.Time) (Session, error) {
		if x.State != Active && x.State != EnrolOnly || x.Principal.Kind != access.User {
			return x, ErrNotActive
		}
		x.Elevated = time.Time{}
		if lasting > 0 {
			x.Elevated, x.Tries = now.Add(lasting), 0
		}
		return x, nil
	})
}

// raise changes what a session may do, and the token of a cookie with it.
func (s *Service) raise(ctx context.Context, by access.Caller, what string, to func(Session, time.Time) (Session, error)) (secret.String, Session, error) {
	now, fresh := s.Now(), newToken()
	e := by.Event(now, access.SessionKeep, access.SessionOf(access.Subject{Kind: by.Kind, ID: by.ID}, by.Session), audit.Done).With("changed", what)
	token := secret.String{}
	var is Session
	err := s.change(ctx, by.Session, e, func(x Session) (Session, error) {
		if why := s.over(x); why != "" {
			return x, &Refusal{why, x}
		}
		x, err := to(x, now)
		if err != nil {
			return x, err
		}
		token = secret.String{}
		if x.Transport == Cookie {
			token, x.Digest = fresh, secret.Digest(fresh.Reveal())
		}
		is = x
		return x, nil
	})
	if err != nil {
		return secret.String{}, Session{}, err
	}
	return token, is, nil
}

func (s *Service) change(ctx context.Context, id string, e audit.Event, decide func(Session) (Session, error)) error {
	_, err := s.Store.Change(ctx, id, decide, e)
	s.Forget(id) // also after an error: the store may have gone away just behind the commit
	if errors.Is(err, ErrUnknown) {
		return ErrInvalid
	}
	return err
}

// Terminate ends the session that the caller came with, in whatever state: at once on this node and within 2 s on the others.
func (s *Service) Terminate(ctx context.Context, by access.Caller) error {
	if by.Session == "" {
		return ErrInvalid
	}
	on := access.SessionOf(access.Subject{Kind: by.Kind, ID: by.ID}, by.Session)
	return s.end(ctx, by.Session, by.Event(s.Now(), access.SessionEnd, on, audit.Done))
}

// End ends a session: one's own, or anybody's with the right session.end. It reports ErrUnknown also to who may not.
func (s *Service) End(ctx context.Context, by access.Caller, id string) error {
	x, err := s.Store.ByID(ctx, id)
	if err != nil {
		return err
	}
	if err := s.Access.Require(ctx, by, access.SessionEnd, x.resource()); err != nil {
		if fault.Is(err, fault.Denied) {
			return ErrUnknown
		}
		return err
	}
	return s.end(ctx, id, by.Event(s.Now(), access.SessionEnd, x.resource(), audit.Done))
}

func (s *Service) end(ctx context.Context, id string, e audit.Event) error {
	err := s.Store.End(ctx, id, s.Now(), e)
	s.Forget(id) // also after an error: the store may have gone away just behind the commit
	return err
}

// EndAll ends all sessions of a subject but the one the caller came with where keepOwn is set, and returns how many.
func (s *Service) EndAll(ctx context.Context, by access.Caller, of access.Subject, keepOwn bool) (int, error) {
	on := access.SessionOf(of, "")
	if err := s.Access.Require(ctx, by, access.SessionEnd, on); err != nil {
		return 0, err
	}
	except := ""
	if keepOwn {
		except = by.Session
	}
	n, err := s.Store.EndAll(ctx, of, except, s.Now(), by.Event(s.Now(), access.SessionEnd, on, audit.Done))
	s.ForgetPrincipal(of.ID)
	return n, err
}

// Of lists the living sessions of a subject: the caller's own, or anybody's with the right session.read.
func (s *Service) Of(ctx context.Context, by access.Caller, of access.Subject) ([]Session, error) {
	if err := s.Access.Require(ctx, by, access.SessionRead, access.SessionOf(of, "")); err != nil {
		return nil, err
	}
	return s.Store.Of(ctx, of, s.Now())
}

// List lists all living sessions of the installation, newest first.
func (s *Service) List(ctx context.Context, by access.Caller, w page.Window) (page.Page[Session], error) {
	if err := s.Access.Require(ctx, by, access.SessionRead, access.Installation); err != nil {
		return page.Page[Session]{}, err
	}
	return s.Store.List(ctx, s.Now(), w)
}

const sweepBatch = 500

func (s *Service) sweep(ctx context.Context) {
	now := s.Now()
	event := func(x Session) audit.Event {
		e := access.SystemCaller(now).Event(now, access.SessionExpire, x.resource(), audit.Done)
		e.Object.Name = x.Principal.Name
		return e
	}
	s.batches(ctx, "end expired sessions", func() (int, error) { return s.Store.Expire(ctx, now, sweepBatch, event) })
	s.batches(ctx, "remove old sessions", func() (int, error) { return s.Store.Purge(ctx, now.Add(-s.KeepFor), sweepBatch) })
}

// batches repeats work until a batch is not full.
func (s *Service) batches(ctx context.Context, doing string, work func() (int, error)) {
	for ctx.Err() == nil {
		n, err := work()
		if err != nil && ctx.Err() == nil && s.OnError != nil {
			s.OnError(doing, err)
		}
		if err != nil || n < sweepBatch {
			return
		}
	}
}
