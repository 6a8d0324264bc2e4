package remote

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// found is what a Want comes to.
type found struct {
	person     Person
	device     device.Device
	credential vault.Credential
	target     device.Device
	port       int
	grant      access.Binding
}

// search finds what is wanted, in the order of the checks that callers are told of: user, device, credential, target, grant, protocol, port. Where the
// credential is ours to choose it returns all that would do, those first that were not used for longest.
func (s *Service) search(ctx context.Context, by access.Caller, want Want) ([]found, error) {
	person, err := s.person(ctx, by, want.User)
	if err != nil {
		return nil, err
	}
	devices, err := s.devices(ctx, by, want.Device)
	if err != nil {
		return nil, err
	}
	if len(devices) == 0 {
		return nil, ErrNoDevice
	}
	if want.Credential == "" {
		return s.searchAny(ctx, by, want, person, devices)
	}
	for _, d := range devices {
		c, err := s.credential(ctx, by, d, want)
		if errors.Is(err, ErrNoCredential) {
			continue // another device of that address may have it
		}
		if err != nil {
			return nil, err
		}
		f, err := s.settle(ctx, by, want, found{person: person, device: d, credential: c})
		return []found{f}, err
	}
	return nil, ErrNoCredential
}

// person finds the user, whom an authorization must list; people come for themselves.
func (s *Service) person(ctx context.Context, by access.Caller, nameOrID string) (Person, error) {
	p, err := s.Users.ForRemote(ctx, nameOrID)
	if err != nil {
		return Person{}, err
	}
	may := by.Kind == access.User && p.User.ID == by.ID
	if by.Kind == access.Authorization {
		d, err := s.Access.Decide(ctx, by, access.RemoteFor, access.Listed(p.User.ID, p.Groups))
		if err != nil {
			return Person{}, err
		}
		may = d.Allowed
	}
	switch {
	case !may:
		return Person{}, ErrNoUser // who asks may not know that there is one
	case p.Shut:
		return Person{}, ErrUserShut
	}
	return p, nil
}

// devices are the active devices that a text names and the caller may know of.
func (s *Service) devices(ctx context.Context, by access.Caller, ref string) ([]device.Device, error) {
	all, err := s.Devices.Named(ctx, ref)
	if err != nil {
		return nil, err
	}
	var seen []device.Device
	for _, d := range all {
		knows, err := s.knows(ctx, by, d)
		if err != nil {
			return nil, err
		}
		if knows && !d.Disabled {
			seen = append(seen, d)
		}
	}
	return seen, nil
}

// knows reports whether a caller may know of a device: an authorization that lists it, a user who has a grant on it or on one of its credentials.
func (s *Service) knows(ctx context.Context, by access.Caller, d device.Device) (bool, error) {
	say, err := s.Access.Decide(ctx, by, access.DeviceRead, d.Resource())
	if err != nil || say.Allowed || by.Kind != access.User {
		return say.Allowed, err
	}
	all, err := s.Vault.OfDevice(ctx, d.ID)
	if err != nil {
		return false, err
	}
	for _, c := range all {
		if say, err := s.Access.Decide(ctx, by, access.CredentialRead, c.Resource()); err != nil || say.Allowed {
			return say.Allowed, err
		}
	}
	return false, nil
}

// usable reports whether a caller may know of a credential and take it for sessions, grants aside.
func (s *Service) usable(ctx context.Context, by access.Caller, c vault.Credential) (bool, error) {
	if by.Kind == access.Authorization {
		say, err := s.Access.Decide(ctx, by, access.RemoteLaunch, c.Resource())
		return say.Allowed, err
	}
	say, err := s.Access.Decide(ctx, by, access.CredentialRead, c.Resource())
	if err != nil || say.Allowed {
		return say.Allowed, err
	}
	say, err = s.Access.Decide(ctx, by, access.DeviceRead, c.Device.Resource())
	return say.Allowed, err
}

// credential finds the credential of a device that a text names. Of several those that are active come first, then those that fit the target: a
// domain's with one, a local one without; then passwords before keys, then the lowest number.
func (s *Service) credential(ctx context.Context, by access.Caller, d device.Device, want Want) (vault.Credential, error) {
	all, err := s.Vault.OfDevice(ctx, d.ID)
	if err != nil {
		return vault.Credential{}, err
	}
	var fit []vault.Credential
	for _, c := range all {
		if !called(c, want.Credential) {
			continue
		}
		ok, err := s.usable(ctx, by, c)
		if err != nil {
			return vault.Credential{}, err
		}
		if ok {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		return vault.Credential{}, ErrNoCredential
	}
	c := slices.MinFunc(fit, func(a, b vault.Credential) int {
		return cmp.Or(first(!a.Disabled, !b.Disabled), first((a.Domain != "") == (want.Target != ""), (b.Domain != "") == (want.Target != "")),
			first(a.Kind == vault.Password, b.Kind == vault.Password), cmp.Compare(a.Number, b.Number))
	})
	if c.Disabled {
		return c, ErrInactive
	}
	return c, nil
}

// first orders what is before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// called reports whether a text names a credential: its user name, with its domain before or behind it, or its identifier.
func called(c vault.Credential, text string) bool {
	if text == c.Username || text == c.Identifier {
		return true
	}
	if c.Domain == "" {
		return false
	}
	if domain, name, ok := strings.Cut(text, `\`); ok {
		return name == c.Username && identity.Fold(domain) == identity.Fold(c.Domain)
	}
	at := strings.LastIndexByte(text, '@')
	return at >= 0 && text[:at] == c.Username && identity.Fold(text[at+1:]) == identity.Fold(c.Domain)
}

// searchAny finds the credentials that would do, of all of the devices that are meant. People take keys as well; programs get passwords alone.
func (s *Service) searchAny(ctx context.Context, by access.Caller, want Want, person Person, devices []device.Device) ([]found, error) {
	if !want.Pick {
		return nil, ErrNoCredential
	}
	if _, err := s.targets(ctx, by, want.Target); err != nil {
		return nil, err
	}
	var fit []found
	for _, d := range devices {
		all, err := s.Vault.OfDevice(ctx, d.ID)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			if c.Disabled || c.Kind != vault.Password && by.Kind != access.User {
				continue
			}
			ok, err := s.usable(ctx, by, c)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			f, err := s.settle(ctx, by, want, found{person: person, device: d, credential: c})
			switch {
			case err == nil:
				fit = append(fit, f)
			case fault.Is(err, fault.Internal):
				return nil, err
			default: // this one does not do
			}
		}
	}
	if len(fit) == 0 {
		return nil, ErrNoneFree
	}
	slices.SortStableFunc(fit, func(a, b found) int {
		return cmp.Or(a.credential.LastUsed.Compare(b.credential.LastUsed), cmp.Compare(a.credential.Number, b.credential.Number))
	})
	return fit, nil
}

// targets are the active devices that a text names as where to go; none where nothing is named.
func (s *Service) targets(ctx context.Context, by access.Caller, ref string) ([]device.Device, error) {
	if ref == "" {
		return nil, nil
	}
	all, err := s.Devices.Named(ctx, ref)
	if err != nil {
		return nil, err
	}
	var seen []device.Device
	for _, d := range all {
		if d.Disabled {
			continue
		}
		if by.Kind == access.Authorization { // people need a grant for the target, which is asked for next
			say, err := s.Access.Decide(ctx, by, access.DeviceRead, d.Resource())
			if err != nil {
				return nil, err
			}
			if !say.Allowed {
				continue
			}
		}
		seen = append(seen, d)
	}
	if len(seen) == 0 {
		return nil, ErrNoTarget
	}
	return seen, nil
}

// settle finds where a credential leads, and asks whether the user may go there now.
func (s *Service) settle(ctx context.Context, by access.Caller, want Want, f found) (found, error) {
	var err error
	if f.target, err = s.destination(ctx, by, want, f); err != nil {
		return f, err
	}
	o := access.Opening{Device: f.device.ID, Credential: f.credential.ID, Target: f.target.ID, Protocol: string(want.Protocol)}
	if _, err := s.governing(ctx, f.person.User.ID, o); err != nil {
		return f, err
	}
	if !speaks(f.credential, f.target, want.Protocol) {
		return f, ErrProtocolOff
	}
	if f.port = want.Port; f.port == 0 {
		f.port = usualPort(f.target, want.Protocol)
	}
	o.Port = f.port
	if f.grant, err = s.governing(ctx, f.person.User.ID, o); errors.Is(err, ErrNoAccess) {
		return f, ErrPort
	}
	if err != nil {
		return f, err
	}
	if len(f.grant.Terms.Ports) == 0 && !ownPort(f.target, want.Protocol, f.port) {
		return f, ErrPort
	}
	if want.RemoteApp != 0 || f.credential.RemoteApp {
		return f, ErrRemoteApp // there are none to choose from
	}
	return f, nil
}

// destination is where a credential leads: its own device, or one of its domain.
func (s *Service) destination(ctx context.Context, by access.Caller, want Want, f found) (device.Device, error) {
	c := f.credential
	if want.Target == "" {
		if c.Domain != "" && !f.device.In(c.Domain) {
			return device.Device{}, ErrNeedsTarget
		}
		return f.device, nil
	}
	all, err := s.targets(ctx, by, want.Target)
	if err != nil {
		return device.Device{}, err
	}
	if i := slices.IndexFunc(all, func(d device.Device) bool {
		return c.Domain != "" && d.In(c.Domain) || c.Domain == "" && d.ID == f.device.ID
	}); i >= 0 {
		return all[i], nil
	}
	if c.Domain == "" {
		return device.Device{}, ErrNoAccess
	}
	return device.Device{}, ErrNoTarget
}

// governing is access.Governing with this room's fault.
func (s *Service) governing(ctx context.Context, user string, o access.Opening) (access.Binding, error) {
	b, err := s.Access.Governing(ctx, user, o)
	if errors.Is(err, access.ErrNoGrant) {
		err = ErrNoAccess
	}
	return b, err
}

// speaks reports whether a protocol is enabled. Where nobody said anything of a credential it is what the device says that it speaks, and everything
// where the device says nothing.
func speaks(c vault.Credential, d device.Device, p device.Protocol) bool {
	if p.DefaultPort() == 0 || !c.Speaks(p) {
		return false
	}
	_, says := d.PortOf(p)
	return c.Protocols != nil || says || len(d.Connect) == 0
}

// usualPort is where a device speaks a protocol.
func usualPort(d device.Device, p device.Protocol) int {
	if port, says := d.PortOf(p); says {
		return port
	}
	return p.DefaultPort()
}

// ownPort reports whether a port is one that the device says it speaks the protocol on, or the usual one where it says nothing of it. Without that
// anybody with a grant could knock at every port of a target.
func ownPort(d device.Device, p device.Protocol, port int) bool {
	return port == usualPort(d, p) || slices.ContainsFunc(d.Connect, func(c device.Connectivity) bool { return c.Protocol() == p && c.Port == port })
}
