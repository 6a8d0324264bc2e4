package remote

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// StepKind is something that must happen before a session begins.
type StepKind string

// The steps, in their order.
const (
	NothingDue     StepKind = ""         // it may start
	StepUpDue      StepKind = "step_up"  // StepUp with a second factor
	ReasonDue      StepKind = "reason"   // Explain
	ApprovalWanted StepKind = "approval" // somebody else decides the Request
)

// Step is what is due next in a session that waits.
type Step struct {
	Kind    StepKind
	Request Request   // of ApprovalWanted
	Until   time.Time // when the session waits no longer
}

// Due tells what is due next. Where that is approval it is asked for, once. It reports ErrNoFactor where a second factor is due and the user has none,
// and ErrOver.
func (s *Service) Due(ctx context.Context, x Session) (Step, error) {
	switch {
	case x.State == Active:
		return Step{}, nil
	case x.State != Waiting:
		return Step{}, ErrOver
	case over(x.Expires, s.Now()):
		if _, err := s.lapse(ctx, x); err != nil {
			return Step{}, err
		}
		return Step{}, ErrOver
	}
	switch next := x.next(); next {
	case StepUpDue:
		return Step{Kind: next, Until: x.Expires}, s.canStepUp(ctx, x)
	case ReasonDue:
		return Step{Kind: next, Until: x.Expires}, nil
	case ApprovalWanted:
		return s.approval(ctx, x)
	}
	return Step{Until: x.Expires}, nil
}

// next is the first step that the terms ask for and that the session does not show as done. Approval is shown by its request.
func (s Session) next() StepKind {
	switch {
	case s.Terms.StepUp && s.SteppedUp.IsZero():
		return StepUpDue
	case s.Terms.Reason && s.Why == "":
		return ReasonDue
	case s.Terms.Approval:
		return ApprovalWanted
	}
	return NothingDue
}

func (s *Service) canStepUp(ctx context.Context, x Session) error {
	has, err := s.HasFactor(ctx, x.User.ID)
	if err == nil && !has {
		err = ErrNoFactor
	}
	return err
}

// approval asks for approval, unless that was done, and tells how it stands.
func (s *Service) approval(ctx context.Context, x Session) (Step, error) {
	r, err := s.Store.RequestOf(ctx, x.ID)
	if errors.Is(err, ErrNoRequest) {
		r, err = s.ask(ctx, x)
	}
	if err != nil {
		return Step{}, err
	}
	switch r.State {
	case Approved:
		return Step{Until: x.Expires}, nil
	case Pending:
		return Step{Kind: ApprovalWanted, Request: r, Until: r.Expires}, nil
	}
	return Step{}, ErrOver
}

// ask makes the request.
func (s *Service) ask(ctx context.Context, x Session) (Request, error) {
	now := s.Now()
	r := Request{
		ID: s.NewID(), Session: x.ID, User: x.User, Device: x.Target, Credential: x.Credential, Reason: x.Why, Reference: x.Reference, Approvers: x.Terms.Approvers,
		State: Pending, Created: now, Expires: now.Add(orDefault(x.Terms.ApprovalFor, 10*time.Minute)),
	}
	return s.Store.InsertRequest(ctx, r, func(r Request) audit.Event { return r.on(s.eventOf(s.visitor(x), sessionWaiting, x, audit.Done)) })
}

// StepUp proves a second factor of the session's user. It reports ErrNotWaiting where none is due, and the faults of Prove.
func (s *Service) StepUp(ctx context.Context, x Session, answer Answer) (Session, error) {
	if err := s.waits(x, StepUpDue); err != nil {
		return x, err
	}
	by := s.visitor(x)
	if answer.Address.IsValid() {
		by.Address = answer.Address.Unmap()
	}
	if !answer.Proven {
		if err := s.Prove(ctx, by, answer); err != nil {
			return x, err
		}
	}
	return s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
		if x.State != Waiting {
			return x, nil, ErrOver
		}
		x.SteppedUp = s.Now()
		return x, nil, nil
	})
}

// waits returns nil where the step is the next one of a session that waits.
func (s *Service) waits(x Session, step StepKind) error {
	switch {
	case x.State != Waiting && x.State != Active, over(x.Expires, s.Now()) && x.State == Waiting:
		return ErrOver
	case x.State == Active, x.next() != step:
		return ErrNotWaiting
	}
	return nil
}

// maxReason is how many characters a reason and a ticket have at most.
const maxReason = 1000

// Explain keeps the person's reason, which must not be blank, and their ticket, which may be. It reports ErrNotWaiting where no reason is due.
func (s *Service) Explain(ctx context.Context, x Session, reason, reference string) (Session, error) {
	if err := s.waits(x, ReasonDue); err != nil {
		return x, err
	}
	reason, reference = strings.TrimSpace(reason), strings.TrimSpace(reference)
	switch {
	case reason == "":
		return x, fault.Fields("say why you need this session", fault.Field{Path: "reason", Message: "not blank"})
	case !readable(reason), !readable(reference):
		return x, fault.Fields("a reason and a reference have at most 1000 characters of text each", fault.Field{Path: "reason", Message: "at most 1000 characters of text"})
	}
	return s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
		if err := s.waits(x, ReasonDue); err != nil {
			return x, nil, err
		}
		x.Why, x.Reference = reason, reference
		return x, nil, nil
	})
}

func readable(text string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxReason && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' })
}

// activate makes a waiting session with nothing due Active on this node, after it has looked at user, grant, device and credential again. Where the grant
// asks for more by now that is due first. It reports ErrNotWaiting, ErrOver, ErrElsewhere, and ErrLinkDenied, which ends the session.
func (s *Service) activate(ctx context.Context, x Session) (Session, error) {
	grant, err := s.mayStart(ctx, x)
	if fault.Is(err, fault.Denied) {
		_, err = s.stop(ctx, s.clock(), x, Revoked, "")
		if err == nil {
			err = ErrLinkDenied
		}
	}
	if err != nil {
		return x, err
	}
	approved := false
	if grant.Terms.Approval {
		r, err := s.Store.RequestOf(ctx, x.ID)
		if err != nil && !errors.Is(err, ErrNoRequest) {
			return x, err
		}
		approved = r.State == Approved
	}
	code, now := hexadecimal(20), s.Now()
	x, err = s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
		switch {
		case s.elsewhere(x): // this node was taken for gone while it began
			return x, nil, ErrElsewhere
		case x.State != Waiting || over(x.Expires, now):
			return x, nil, ErrOver
		}
		x.Grant, x.Terms = grant.Number, grant.Terms
		if due := x.next(); due != NothingDue && (due != ApprovalWanted || !approved) { // rule S15: nothing reaches the target before
			return x, nil, nil
		}
		x.State, x.Node, x.Code, x.Started = Active, s.Node, code, now
		return x, []audit.Event{s.eventOf(s.visitor(x), sessionStarted, x, audit.Done)}, nil
	})
	if err == nil && x.State != Active {
		err = ErrNotWaiting
	}
	return x, err
}

// wait is how long a session waits for its person.
func (s *Service) wait() time.Duration { return orDefault(s.Settings.Wait, 10*time.Minute) }
