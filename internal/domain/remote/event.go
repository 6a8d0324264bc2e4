package remote

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// What is recorded of links and sessions. A link is refused to people who have not shown who they are, so those events are folded.
const (
	linkCreated   access.Action = "session_url.created"
	linkRedeemed  access.Action = "session_url.redeemed"
	linkExpired   access.Action = "session_url.expired"
	linkReused    access.Action = "session_url.reused"
	linkCancelled access.Action = "session_url.cancelled"
	linkUnknown   access.Action = "session_url.unknown"
	linkElsewhere access.Action = "session_url.wrong_address"
	linkDenied    access.Action = "session_url.denied"

	sessionWaiting  access.Action = "session.waiting"
	sessionApproved access.Action = "session.approved"
	sessionRefused  access.Action = "session.refused"
	sessionStarted  access.Action = "session.started"
	sessionEnded    access.Action = "session.ended"
	sessionForeign  access.Action = "session.request_refused"
)

// eventOf is something that happened to a session, with what there is to know about it; never its link, handle or cookie (rule W13).
func (s *Service) eventOf(by access.Caller, did access.Action, x Session, outcome audit.Outcome) audit.Event {
	e := by.Event(s.Now(), did, access.RemoteSession(x.ID, x.Target, x.Credential), outcome)
	for _, d := range []struct{ name, value string }{
		{"user", x.User.Name},
		{"user_id", x.User.ID},
		{"device", x.Host},
		{"device_id", x.Target},
		{"credential", x.Username},
		{"credential_id", x.Credential},
		{"protocol", string(x.Protocol)},
		{"session_id", x.Code},
		{"reason", x.Why},
		{"reference", x.Reference},
	} {
		if d.value != "" {
			e = e.With(d.name, d.value)
		}
	}
	if x.Origin.Kind == access.Authorization {
		e = e.With("authorization", x.Origin.ID)
	}
	if x.Port != 0 {
		e = e.With("port", strconv.Itoa(x.Port))
	}
	if x.Bound.IsValid() {
		e = e.With("bound", x.Bound.String())
	}
	return e
}

// visitor is the user of a session as the browser that holds its cookie, or its link, presents them: not signed in to anything but the session.
func (s *Service) visitor(x Session) access.Caller {
	return access.Caller{Principal: x.User, Method: "link", At: s.Now(), Address: x.Address, Door: "remote"}
}

// clock is Gatehouse itself, doing what time demands.
func (s *Service) clock() access.Caller { return access.SystemCaller(s.Now()) }

// refused records that a link was not taken, and counts it against the address. It returns why, or ErrTooManyLinks.
func (s *Service) refused(ctx context.Context, v Visit, did access.Action, x Session, why error) error {
	e := access.NobodyAt(v.Address, v.Door, s.Now()).Event(s.Now(), did, access.Installation, audit.Refused)
	if x.ID != "" {
		e = s.eventOf(access.NobodyAt(v.Address, v.Door, s.Now()), did, x, audit.Refused)
	}
	if did == linkExpired {
		e = e.With("attempted", "true")
	}
	e.Reason = why.Error()
	return s.counted(ctx, v, s.Audit.Refuse(ctx, e.With("request", v.Request)), why)
}

// Foreign keeps on record that a request for a session, or for its recording, did not begin at a page of ours, or came without a ticket that opens it (rules
// W1 and W3). Those of an address are folded: another site can have a browser send as many as it likes.
func (s *Service) Foreign(ctx context.Context, x Session, from netip.Addr, door, why string) {
	e := s.eventOf(access.NobodyAt(from, door, s.Now()), sessionForeign, x, audit.Refused)
	e.Reason = why
	if err := s.Audit.Refuse(ctx, e); err != nil {
		s.failed("record a foreign request", err)
	}
}

// counted counts a refusal against the address it came from.
func (s *Service) counted(ctx context.Context, v Visit, err, why error) error {
	if s.Observe.Refused != nil {
		s.Observe.Refused(why.Error())
	}
	if err != nil {
		s.failed("record the refusal of a link", err)
	}
	if s.Refusals == nil {
		return why
	}
	verdict, err := s.Refusals.Fail(ctx, refusedLink, v.Address)
	if err != nil {
		s.failed("count the refusal of a link", err)
	}
	if verdict.Blocked {
		return ErrTooManyLinks
	}
	return why
}

// refusedLink is the kind of failure that Refusals counts.
const refusedLink = "remote link"

// over reports whether a moment has come.
func over(at, now time.Time) bool { return !now.Before(at) }
