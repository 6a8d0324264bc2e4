package remote

import (
	"context"
	"errors"
	"net/netip"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Visit is a browser that comes with a link.
type Visit struct {
	Link    secret.String
	Address netip.Addr
	Door    string
	Request string // id of the HTTP request: the reference number of refusals
	Session string // id of the Gatehouse session of the browser; "" where nobody is signed in

	// Earlier are the session cookies that the browser came with: a step-up in one of those sessions counts here for Settings.Grace.
	Earlier []secret.String
}

// maxEarlier is how many cookies of a browser are looked at.
const maxEarlier = 16

// Redeem takes a link, once, and returns the session, which waits for what is Due, and the cookie that every further request of its page brings
// (Resume). It reports ErrLinkUnknown, ErrLinkUsed, ErrLinkCancelled, ErrLinkLate, ErrLinkElsewhere (the link stays good), ErrLinkDenied (it does not)
// and ErrTooManyLinks. Of two who come at once one gets it. A link that was used is returned with its session where Earlier holds its cookie.
func (s *Service) Redeem(ctx context.Context, v Visit) (Session, secret.String, error) {
	v.Address = v.Address.Unmap()
	if len(v.Earlier) > maxEarlier {
		v.Earlier = v.Earlier[:maxEarlier]
	}
	if s.Refusals != nil && s.Refusals.Held(refusedLink, v.Address).Blocked {
		return Session{}, secret.String{}, ErrTooManyLinks
	}
	x, err := s.Store.ByLink(ctx, secret.Digest(v.Link.Reveal()))
	if errors.Is(err, ErrUnknown) {
		return Session{}, secret.String{}, s.refused(ctx, v, linkUnknown, Session{}, ErrLinkUnknown)
	}
	if err != nil {
		return Session{}, secret.String{}, err
	}
	if did, why := s.refusal(x, v); why != nil {
		return s.turnAway(ctx, v, did, x, why)
	}
	return s.take(ctx, v, x)
}

// refusal is why a link is not taken, or nil.
func (s *Service) refusal(x Session, v Visit) (access.Action, error) {
	switch {
	case x.State == Expired:
		return linkExpired, ErrLinkLate
	case x.State == Cancelled:
		return linkCancelled, ErrLinkCancelled
	case x.State != Issued:
		return linkReused, ErrLinkUsed
	case over(x.Expires, s.Now()):
		return linkExpired, ErrLinkLate
	case x.Bound.IsValid() && x.Bound != v.Address, x.Session != "" && x.Session != v.Session:
		return linkElsewhere, ErrLinkElsewhere
	}
	return "", nil
}

// turnAway refuses a link. One that nobody had found late yet is expired by it, so that the sweep does not tell of it again.
func (s *Service) turnAway(ctx context.Context, v Visit, did access.Action, x Session, why error) (Session, secret.String, error) {
	if errors.Is(why, ErrLinkLate) && x.State == Issued {
		by := access.NobodyAt(v.Address, v.Door, s.Now())
		_, err := s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
			if x.State != Issued {
				return x, nil, ErrOver
			}
			x.State, x.Ended = Expired, s.Now()
			return x, []audit.Event{s.eventOf(by, linkExpired, x, audit.Refused).With("attempted", "true").With("request", v.Request)}, nil
		})
		if errors.Is(err, ErrOver) {
			err = nil // the sweep was faster
		}
		return Session{}, secret.String{}, s.counted(ctx, v, err, why)
	}
	why = s.refused(ctx, v, did, x, why)
	if errors.Is(why, ErrLinkUsed) && x.State != Ended {
		for _, cookie := range v.Earlier {
			if own, err := s.Store.ByCookie(ctx, x.ID, secret.Digest(cookie.Reveal())); err == nil {
				return own, secret.String{}, why
			}
		}
	}
	return Session{}, secret.String{}, why
}

// take redeems a link that is good, if access still is.
func (s *Service) take(ctx context.Context, v Visit, x Session) (Session, secret.String, error) {
	grant, err := s.stillMay(ctx, x)
	if fault.Is(err, fault.Denied) {
		return s.burn(ctx, v, x, err)
	}
	if err != nil {
		return Session{}, secret.String{}, err
	}
	proven, err := s.Store.SteppedUp(ctx, x.User.ID, digests(v.Earlier))
	if err != nil {
		return Session{}, secret.String{}, err
	}
	cookie, now := secret.Token(43), s.Now()
	digest := secret.Digest(cookie)
	x, err = s.Store.Change(ctx, x.ID, &digest, func(x Session) (Session, []audit.Event, error) {
		if _, why := s.refusal(x, v); why != nil { // rule S14: whoever is second finds it used
			return x, nil, why
		}
		x.State, x.Address, x.Redeemed, x.Expires = Waiting, v.Address, now, now.Add(s.wait())
		x.Grant, x.Terms = grant.Number, grant.Terms
		if x.Terms.StepUp && now.Sub(proven) < s.Settings.Grace && !proven.After(now) {
			x.SteppedUp = proven
		}
		by := s.visitor(x)
		by.Door, by.Request = v.Door, v.Request
		events := []audit.Event{s.eventOf(by, linkRedeemed, x, audit.Done)}
		if x.Terms.Needs() {
			events = append(events, s.eventOf(by, sessionWaiting, x, audit.Done))
		}
		return x, events, nil
	})
	switch {
	case errors.Is(err, ErrLinkUsed), errors.Is(err, ErrLinkCancelled), errors.Is(err, ErrLinkLate):
		did, _ := s.refusal(x, v)
		if did == "" {
			did = linkReused
		}
		return Session{}, secret.String{}, s.refused(ctx, v, did, x, err)
	case err != nil:
		return Session{}, secret.String{}, err
	}
	return x, secret.New(cookie), nil
}

func digests(plain []secret.String) [][32]byte {
	all := make([][32]byte, len(plain))
	for i, p := range plain {
		all[i] = secret.Digest(p.Reveal())
	}
	return all
}

// burn refuses a link whose user may not go there any more, and makes it good for nothing.
func (s *Service) burn(ctx context.Context, v Visit, x Session, cause error) (Session, secret.String, error) {
	by := access.NobodyAt(v.Address, v.Door, s.Now())
	_, err := s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
		if x.State != Issued {
			return x, nil, ErrLinkUsed
		}
		x.State, x.Ended, x.End, x.Address = Ended, s.Now(), Revoked, v.Address
		e := s.eventOf(by, linkDenied, x, audit.Refused).With("request", v.Request)
		e.Reason = fault.Text(cause)
		return x, []audit.Event{e}, nil
	})
	if errors.Is(err, ErrLinkUsed) {
		return Session{}, secret.String{}, s.refused(ctx, v, linkReused, x, ErrLinkUsed)
	}
	return Session{}, secret.String{}, s.counted(ctx, v, err, ErrLinkDenied)
}

// stillMay asks again what was asked when the session was made: the user, the device and the credential are active, and a grant opens it now. It
// returns the grant, or a Denied fault that says what is gone.
func (s *Service) stillMay(ctx context.Context, x Session) (access.Binding, error) {
	p, err := s.Users.ForRemote(ctx, x.User.ID)
	if errors.Is(err, ErrNoUser) || err == nil && p.Shut {
		return access.Binding{}, fault.New(fault.Denied, "the user may not start sessions any more")
	}
	if err != nil {
		return access.Binding{}, err
	}
	if err := s.originStands(ctx, x); err != nil {
		return access.Binding{}, err
	}
	c, err := s.Vault.Get(ctx, x.Credential)
	if fault.Is(err, fault.NotFound) || err == nil && (c.Disabled || c.Device.Disabled) {
		return access.Binding{}, fault.New(fault.Denied, "the credential is not active any more")
	}
	if err != nil {
		return access.Binding{}, err
	}
	d, err := s.Devices.Get(ctx, x.Target)
	if fault.Is(err, fault.NotFound) || err == nil && (d.Disabled || !c.Opens(d) || !speaks(c, d, x.Protocol)) {
		return access.Binding{}, fault.New(fault.Denied, "the device is not active any more, or the credential is not for it")
	}
	if err != nil {
		return access.Binding{}, err
	}
	return s.governing(ctx, x.User.ID, x.opening())
}

// mayStart is stillMay of a session with nothing due. What somebody approved is what the grant of that time gives: another one does not stand in for it,
// as others may have to answer its requests.
func (s *Service) mayStart(ctx context.Context, x Session) (access.Binding, error) {
	grant, err := s.stillMay(ctx, x)
	if err == nil && x.Terms.Approval && grant.Number != x.Grant {
		return access.Binding{}, fault.New(fault.Denied, "another grant opens it by now than the one that was approved")
	}
	return grant, err
}

// originStands refuses what an authorization asked for that has been switched off, or has expired, since.
func (s *Service) originStands(ctx context.Context, x Session) error {
	if x.Origin.Kind != access.Authorization || s.Stands == nil {
		return nil
	}
	stands, err := s.Stands(ctx, x.Origin.ID)
	if err == nil && !stands {
		err = fault.New(fault.Denied, "the authorization that asked for the session is not active any more")
	}
	return err
}

// Resume is a further request of a session's page. A session that is over is returned as such, for the page that says why. A request from another address
// ends a session that is bound to one, and reports ErrLinkElsewhere. It reports ErrUnknown for a wrong cookie.
func (s *Service) Resume(ctx context.Context, id string, cookie secret.String, address netip.Addr) (Session, error) {
	x, err := s.Store.ByCookie(ctx, id, secret.Digest(cookie.Reveal()))
	if err != nil {
		return Session{}, err
	}
	switch {
	case x.State != Waiting && x.State != Active:
		return x, nil
	case s.pinned(x) && address.Unmap() != x.Address: // rule S15
		if _, err := s.stop(ctx, s.visitor(x), x, Moved, ""); err != nil && !errors.Is(err, ErrOver) {
			return Session{}, err
		}
		return Session{}, ErrLinkElsewhere
	case x.State == Waiting && over(x.Expires, s.Now()):
		return s.lapse(ctx, x)
	}
	return x, nil
}

// pinned reports whether a session keeps to the address that redeemed its link.
func (s *Service) pinned(x Session) bool {
	return s.Settings.AddressScope != "start" && (x.Bound.IsValid() || s.Settings.PinAlways)
}
