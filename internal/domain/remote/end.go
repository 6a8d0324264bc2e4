package remote

import (
	"context"
	"errors"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// End ends a session by id, number, code or handle: a link is cancelled, a session that waits is over at once, and one that lives is over as soon as
// the node that carries it hears of it, within two seconds. A handle is good for who made the link alone. It reports ErrUnknown, for sessions that the
// caller may not see too, a Denied fault, and ErrOver.
func (s *Service) End(ctx context.Context, by access.Caller, ref string, why Reason) (Session, error) {
	find := s.named
	if len(ref) == handleLength {
		find = func(ctx context.Context, ref string) (Session, error) { return s.byHandle(ctx, by, ref) }
	}
	x, err := find(ctx, ref)
	if err != nil {
		return Session{}, err
	}
	if x, err = s.visible(ctx, by, x); err != nil {
		return Session{}, err
	}
	if err := s.Access.Require(ctx, by, access.RemoteEnd, x.Resource()); err != nil {
		return Session{}, err
	}
	return s.stop(ctx, by, x, why, by.Name)
}

// stop cancels a link, ends a session that waits, and asks the node that carries a living one to end it.
func (s *Service) stop(ctx context.Context, by access.Caller, x Session, why Reason, who string) (Session, error) {
	return s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
		switch x.State {
		case Issued:
			if over(x.Expires, s.Now()) {
				return x, nil, ErrOver
			}
			x.State, x.Ended, x.EndedBy = Cancelled, s.Now(), who
			return x, []audit.Event{s.eventOf(by, linkCancelled, x, audit.Done)}, nil
		case Waiting:
			x, e := s.ended(by, x, why, who)
			return x, []audit.Event{e}, nil
		case Active:
			if x.EndAsked != "" {
				return x, nil, ErrOver
			}
			x.EndAsked, x.EndedBy = why, who
			return x, []audit.Event{s.eventOf(by, access.RemoteEnd, x, audit.Done).With("why", string(why))}, nil
		}
		return x, nil, ErrOver
	})
}

// ended is a session that is over, and the event of it.
func (s *Service) ended(by access.Caller, x Session, why Reason, who string) (Session, audit.Event) {
	x.State, x.Ended, x.End, x.EndedBy = Ended, s.Now(), why, who
	e := s.eventOf(by, sessionEnded, x, audit.Done).With("why", string(why))
	if who != "" {
		e = e.With("by", who)
	}
	return x, e
}

// finish ends a session, with its event, and returns it as it is then; one that is over already, or that another node carries, stays as it was, and is
// returned with ErrOver. by is the name of who did, empty: nobody but time or the person; trouble says what went wrong where that is why. Where somebody asked
// for the end before, that is why.
func (s *Service) finish(ctx context.Context, id string, why Reason, by, trouble string) (Session, error) {
	var was Session
	x, err := s.Store.Change(ctx, id, nil, func(x Session) (Session, []audit.Event, error) {
		was = x
		if x.State != Waiting && x.State != Active || s.elsewhere(x) {
			return x, nil, ErrOver
		}
		if x.EndAsked != "" {
			why, by, trouble = x.EndAsked, x.EndedBy, ""
		}
		did := s.clock()
		if why == Closed {
			did = s.visitor(x)
		}
		x, e := s.ended(did, x, why, by)
		e.Reason = trouble
		return x, []audit.Event{e}, nil
	})
	if errors.Is(err, ErrOver) {
		return was, err
	}
	return x, err
}
