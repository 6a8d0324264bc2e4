package remote

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// on adds to an event which request it is about.
func (r Request) on(e audit.Event) audit.Event {
	e = e.With("request_id", r.ID)
	if r.Number > 0 {
		e = e.With("request", strconv.FormatInt(r.Number, 10))
	}
	if r.Note != "" {
		e = e.With("note", r.Note)
	}
	return e
}

// Requests lists the requests that a caller may decide, or could but for others being named, newest first. state "" is every.
func (s *Service) Requests(ctx context.Context, by access.Caller, state RequestState, w page.Window) (page.Page[Request], error) {
	which := WhichRequests{State: state}
	var err error
	if which.Seen, err = s.seen(ctx, by, access.RemoteApprove); err != nil {
		return page.Page[Request]{}, err
	}
	if which.Approvers, err = s.standsFor(ctx, by); err != nil {
		return page.Page[Request]{}, err
	}
	return s.Store.Requests(ctx, which, w)
}

// standsFor are the caller and the groups they are in, as grants name approvers; none for who has no scope to approve.
func (s *Service) standsFor(ctx context.Context, by access.Caller) ([]access.Subject, error) {
	if by.Kind != access.User || !by.Covers(access.RemoteApprove, access.Resource{Kind: access.RemoteKind}) {
		return nil, nil
	}
	p, err := s.Users.ForRemote(ctx, by.ID)
	if err != nil {
		return nil, err
	}
	all := []access.Subject{{Kind: access.User, ID: by.ID}}
	for _, g := range p.Groups {
		all = append(all, access.Subject{Kind: access.Group, ID: g})
	}
	return all, nil
}

// Note is what whoever denied the session's request had to say to its person; "" for nothing.
func (s *Service) Note(ctx context.Context, x Session) (string, error) {
	if x.End != Refused {
		return "", nil
	}
	r, err := s.Store.RequestOf(ctx, x.ID)
	if errors.Is(err, ErrNoRequest) {
		err = nil
	}
	return r.Note, err
}

// Request returns a request that the caller may see: one of their own, or one that Requests lists. It reports ErrNoRequest.
func (s *Service) Request(ctx context.Context, by access.Caller, number int64) (Request, error) {
	r, x, err := s.request(ctx, number)
	if err != nil {
		return Request{}, err
	}
	if by.Kind == access.User && by.ID == r.User.ID && by.Covers(access.RemoteRead, x.Resource()) {
		return r, nil
	}
	_, seen, err := s.mayDecide(ctx, by, r, x)
	if err == nil && !seen {
		err = ErrNoRequest
	}
	if err != nil {
		return Request{}, err
	}
	return r, nil
}

func (s *Service) request(ctx context.Context, number int64) (Request, Session, error) {
	r, err := s.Store.RequestByNumber(ctx, number)
	if err != nil {
		return Request{}, Session{}, err
	}
	x, err := s.Store.ByID(ctx, r.Session)
	return r, x, err
}

// Decide approves or denies a request that is pending. Only those whom the grant names may, or, where it names nobody, who has RemoteApprove on the
// session; whoever runs the server may in either case. Nobody approves their own (ErrOwnRequest). It reports ErrNoRequest and ErrDecided too, and a
// Denied fault to who may see the request and not decide it.
func (s *Service) Decide(ctx context.Context, by access.Caller, number int64, approve bool, note string) (Request, error) {
	r, x, err := s.request(ctx, number)
	if err != nil {
		return Request{}, err
	}
	if by.Kind == access.User && by.ID == r.User.ID {
		return Request{}, ErrOwnRequest
	}
	may, seen, err := s.mayDecide(ctx, by, r, x)
	switch {
	case err != nil:
		return Request{}, err
	case !seen:
		return Request{}, ErrNoRequest
	case !may:
		return Request{}, fault.New(fault.Denied, "not allowed: the grant names others who answer its requests")
	}
	if note = strings.TrimSpace(note); !readable(note) {
		return Request{}, fault.Fields("a note has at most 1000 characters of text", fault.Field{Path: "note", Message: "at most 1000 characters of text"})
	}
	return s.Store.ChangeRequest(ctx, r.ID, func(r Request, x Session) (Request, Session, []audit.Event, error) {
		return s.decided(by, r, x, approve, note)
	})
}

// mayDecide says whether a caller may decide a request, and whether they may see it.
func (s *Service) mayDecide(ctx context.Context, by access.Caller, r Request, x Session) (may, seen bool, err error) {
	d, err := s.Access.Decide(ctx, by, access.RemoteApprove, access.RemoteSession(x.ID, x.Target, x.Credential))
	if err != nil {
		return false, false, err
	}
	if len(r.Approvers) == 0 || by.Kind == access.Local {
		return d.Allowed, d.Allowed, nil
	}
	all, err := s.standsFor(ctx, by)
	if err != nil {
		return false, false, err
	}
	may = slices.ContainsFunc(all, func(one access.Subject) bool { return slices.Contains(r.Approvers, one) })
	return may, may || d.Allowed, nil
}

// decided is what becomes of a request and its session.
func (s *Service) decided(by access.Caller, r Request, x Session, approve bool, note string) (Request, Session, []audit.Event, error) {
	now := s.Now()
	if r.State != Pending || over(r.Expires, now) || x.State != Waiting {
		return r, x, nil, ErrDecided
	}
	r.Decided, r.DecidedBy, r.Note = now, by.Name, note
	if approve {
		r.State, x.Expires = Approved, now.Add(s.wait())
		return r, x, []audit.Event{r.on(s.eventOf(by, sessionApproved, x, audit.Done))}, nil
	}
	r.State = Denied
	x, ended := s.ended(by, x, Refused, by.Name)
	return r, x, []audit.Event{r.on(s.eventOf(by, sessionRefused, x, audit.Done)), ended}, nil
}
