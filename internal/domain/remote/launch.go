package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Want is what somebody wants to open.
type Want struct {
	User       string // login name, or id
	Device     string // id, number, host in any case or address of the device where the credential is registered
	Credential string // user name at the target, "domain\name", "name@domain", or identifier; "" with Pick: any that is free
	Pick       bool   // the caller may leave the credential to us
	Protocol   device.Protocol
	Target     string     // where to go with a domain's credential, named as Device is; "" is Device
	Port       int        // 0 is the device's own for the protocol
	Bound      netip.Addr // who redeems the link must come from there; the zero Addr: from anywhere
	RemoteApp  int        // 0 is none
	Screen     Screen
}

// Launched is a link that was made. Link (the _sr of the URL) and Handle (by which the caller ends the session) are shown once, here.
type Launched struct {
	Session Session
	Link    secret.String
	Handle  secret.String
}

// Launch makes a link by which want.User opens a session. An authorization makes it for the users, devices and credentials on its lists; a user for
// themselves alone, and then only their own Gatehouse session redeems it (Session.Session). The faults, in the order of the checks: ErrNoUser,
// ErrUserShut, ErrNoDevice, ErrNoCredential (ErrNoneFree where it was ours to choose), ErrInactive, ErrNeedsTarget, ErrNoTarget, ErrNoAccess,
// ErrProtocolOff, ErrPort, ErrRemoteApp, ErrTooMany; ErrNotSignedIn for a user without a session. Whatever terms ask for before a session begins is no
// fault here: it is asked of the person.
func (s *Service) Launch(ctx context.Context, by access.Caller, want Want) (Launched, error) {
	switch {
	case by.Kind != access.Authorization && by.Kind != access.User:
		return Launched{}, fault.New(fault.Denied, "not allowed: links are made by people for themselves, and by authorizations of applications")
	case by.Kind == access.User && by.Session == "":
		return Launched{}, ErrNotSignedIn
	}
	fit, err := s.search(ctx, by, want)
	if err != nil {
		return Launched{}, err
	}
	link, handle := base64.RawURLEncoding.EncodeToString(secret.Bytes(32)), hexadecimal(32)
	sr, hd := secret.Digest(link), secret.Digest(handle)
	base := Session{
		ID: s.NewID(), State: Issued, Way: Web, Origin: access.Subject{Kind: by.Kind, ID: by.ID}, Bound: want.Bound.Unmap(), Screen: want.Screen,
		Created: s.Now(), Expires: s.Now().Add(orDefault(s.Settings.LinkLife, linkLife)),
	}
	if by.Kind == access.User {
		base.Session = by.Session
	}
	x, err := s.insert(ctx, by, want, base, fit, Digests{Link: &sr, Handle: &hd}, linkCreated)
	if err != nil {
		return Launched{}, err
	}
	return Launched{Session: x, Link: secret.New(link), Handle: secret.New(handle)}, nil
}

// linkLife is how long a link is good where nobody set it, and the longest that a setting may make it.
const linkLife = 30e9

// Begin makes a session of by, a user who came with an SSH client: it waits for what is Due, or to be started. Where the credential is ours to choose it
// is a free one, or else one that is in use already. The faults are those of Launch.
func (s *Service) Begin(ctx context.Context, by access.Caller, want Want) (Session, error) {
	if by.Kind != access.User {
		return Session{}, ErrNoUser
	}
	want.User = by.ID
	fit, err := s.search(ctx, by, want)
	if err != nil {
		return Session{}, err
	}
	now := s.Now()
	base := Session{
		ID: s.NewID(), State: Waiting, Way: Native, Origin: access.Subject{Kind: by.Kind, ID: by.ID}, Session: by.Session, Address: by.Address.Unmap(),
		Screen: want.Screen, Created: now, Redeemed: now, Expires: now.Add(s.wait()),
	}
	x, err := s.insert(ctx, by, want, base, fit, Digests{}, sessionWaiting)
	if errors.Is(err, ErrNoneFree) { // people open a second terminal on a machine, and editors several connections
		want.Credential = fit[0].credential.Username
		return s.insert(ctx, by, want, base, fit, Digests{}, sessionWaiting)
	}
	return x, err
}

// insert adds the session, with the first credential that is free where there is a choice.
func (s *Service) insert(ctx context.Context, by access.Caller, want Want, base Session, fit []found, d Digests, did access.Action) (Session, error) {
	all := make([]Session, len(fit))
	for i, f := range fit {
		x := base
		x.User = access.Principal{Kind: access.User, ID: f.person.User.ID, Name: f.person.User.Name}
		x.Device, x.Credential, x.Username = f.device.ID, f.credential.ID, f.credential.Username
		x.Target, x.Host, x.IP, x.Protocol, x.Port = f.target.ID, f.target.Host, f.target.IP, want.Protocol, f.port
		x.Grant, x.Terms = f.grant.Number, f.grant.Terms
		all[i] = x
	}
	var pick []Session
	if want.Credential == "" {
		pick = all
	}
	x, err := s.Store.Insert(ctx, all[0], pick, d, s.Settings.PerUser, func(x Session) audit.Event { return s.eventOf(by, did, x, audit.Done) })
	if err != nil {
		return Session{}, fmt.Errorf("add a session: %w", err)
	}
	return x, nil
}
