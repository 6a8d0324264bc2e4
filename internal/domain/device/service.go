package device

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Service keeps devices.
type Service struct {
	Store   Store
	Access  *access.Service
	Now     func() time.Time
	NewID   func() string
	Scanner Scanner               // nil: host keys are not asked for, but given
	Allowed func(netip.Addr) bool // which addresses a device may have that is added through an API; at the server's command line loopback ones too
}

// New is what a device is made from, or changed to. On a change what is nil or zero is kept.
type New struct {
	Host    string
	IP      netip.Addr
	Model   *string
	Type    *string
	Vendor  *string
	Site    *string
	Domains *[]string
	Tags    *[]string
	Connect *[]Connectivity
	Script  *string

	Unrecorded *bool
}

// Create adds a device. One that an authorization adds is listed for it. It reports ErrTaken.
func (s *Service) Create(ctx context.Context, by access.Caller, in New) (Device, error) {
	if err := s.Access.Require(ctx, by, access.DeviceCreate, access.Installation); err != nil {
		return Device{}, err
	}
	if err := s.mayRecordLess(ctx, by, in); err != nil {
		return Device{}, err
	}
	d, err := in.on(Device{ID: s.NewID(), Created: s.Now()})
	if err != nil {
		return Device{}, err
	}
	d.Updated = d.Created
	if err := s.mayLie(by, d.IP); err != nil {
		return Device{}, err
	}
	e := by.Event(d.Created, access.DeviceCreate, d.Resource(), audit.Done).With("ip", d.IP.String())
	e.Object.Name = d.Host
	return s.Store.Insert(ctx, d, s.listed(by, d), e)
}

// listed lets the authorization that adds a device reach it.
func (s *Service) listed(by access.Caller, d Device) []access.Binding {
	if by.Kind != access.Authorization {
		return nil
	}
	who := access.Subject{Kind: by.Kind, ID: by.ID}
	return []access.Binding{{ID: s.NewID(), Subject: who, Role: access.DeviceListed, Resource: d.Resource(), Created: d.Created}}
}

// mayLie refuses addresses that lead to Gatehouse itself, or nowhere, to callers from elsewhere (rule W8).
func (s *Service) mayLie(by access.Caller, ip netip.Addr) error {
	switch {
	case ip.IsUnspecified(), ip.IsMulticast():
		return ErrForbidden
	case by.Kind == access.Local, by.Kind == access.System, s.Allowed == nil, s.Allowed(ip):
		return nil
	}
	return ErrForbidden
}

// mayRecordLess asks for the rights of an administrator of the installation where somebody wants sessions to go on unrecorded (rule W14).
func (s *Service) mayRecordLess(ctx context.Context, by access.Caller, in New) error {
	if in.Unrecorded == nil || !*in.Unrecorded {
		return nil
	}
	return s.Access.Require(ctx, by, access.DeviceTrust, access.Installation)
}

// Put adds a device, or changes the one of that host name, in any case, to what is given. created and changed say which; neither where nothing
// differs. It reports ErrTaken where the caller may not see the device of that name.
func (s *Service) Put(ctx context.Context, by access.Caller, in New) (d Device, created, changed bool, err error) {
	if in.Host == "" {
		return Device{}, false, false, ErrNoHost
	}
	there, err := s.Store.ByHost(ctx, in.Host)
	if errors.Is(err, ErrUnknown) {
		d, err = s.Create(ctx, by, in)
		if !errors.Is(err, ErrTaken) {
			return d, err == nil, err == nil, err
		}
		there, err = s.Store.ByHost(ctx, in.Host) // another request was first
	}
	if err != nil {
		return Device{}, false, false, err
	}
	in.Host = "" // it keeps the spelling that it has
	d, changed, err = s.change(ctx, by, there.ID, in)
	if errors.Is(err, ErrUnknown) {
		err = ErrTaken
	}
	return d, false, changed, err
}

// Update changes a device to what is given. It reports ErrUnknown also to who may not see it.
func (s *Service) Update(ctx context.Context, by access.Caller, id string, in New) (d Device, changed bool, err error) {
	return s.change(ctx, by, id, in)
}

func (s *Service) change(ctx context.Context, by access.Caller, id string, in New) (Device, bool, error) {
	was, err := s.may(ctx, by, access.DeviceUpdate, id)
	if err != nil {
		return Device{}, false, err
	}
	if err := s.mayRecordLess(ctx, by, in); err != nil {
		return Device{}, false, err
	}
	joins, err := s.mayJoin(ctx, by)
	if err != nil {
		return Device{}, false, err
	}
	moves := false
	if is, bad := in.on(was); bad == nil && was.leads(is) {
		if moves, err = s.mayMove(ctx, by, was); err != nil {
			return Device{}, false, err
		}
	}
	now := s.Now()
	return s.Store.Change(ctx, id, func(d Device) (Device, error) {
		is, err := in.on(d)
		if err != nil {
			return d, err
		}
		if is.IP != d.IP {
			if err := s.mayLie(by, is.IP); err != nil {
				return d, err
			}
		}
		if !joins && slices.ContainsFunc(is.Domains, func(name string) bool { return !d.In(name) }) {
			return d, errJoin
		}
		if !moves && d.leads(is) {
			return d, errMove
		}
		is.Updated = now
		return is, nil
	}, s.changed(by, now))
}

var errJoin = fault.New(fault.Denied, "not allowed: the credentials of a domain open all of its devices, so an administrator of the installation adds a device to one")

// mayJoin reports whether the caller may add a device to a domain. The credentials of the domain are registered on other devices, and are lent to whatever
// answers at this one's address: who manages this one alone would have them by pointing it at a machine of their own (rule W7).
func (s *Service) mayJoin(ctx context.Context, by access.Caller) (bool, error) {
	if by.Kind == access.Authorization { // its wire has it, and who made it says what it lists
		return true, nil
	}
	d, err := s.Access.Decide(ctx, by, access.DeviceTrust, access.Installation)
	return d.Allowed, err
}

var errMove = fault.New(fault.Denied, "not allowed: sessions to this device send it passwords that you may not see, so its address, ports and script are changed by a system administrator, or by who may check all of them out")

// leads reports whether passwords would go elsewhere, or be typed otherwise, once a device is as given.
func (d Device) leads(is Device) bool {
	return d.IP != is.IP || d.Script != is.Script || !slices.Equal(d.Connect, is.Connect)
}

// mayMove reports whether the caller may say where the passwords go that sessions to the device are lent. Whoever may not see them could have them sent
// to a machine of their own (rule W7). A private key never leaves the gate, so it does not matter here.
func (s *Service) mayMove(ctx context.Context, by access.Caller, d Device) (bool, error) {
	all, err := s.Access.Decide(ctx, by, access.CredentialCheckOut, access.Installation)
	if err != nil || all.Allowed {
		return all.Allowed, err
	}
	lent, err := s.Store.Lent(ctx, d)
	if err != nil {
		return false, err
	}
	for _, c := range lent {
		sees, err := s.Access.Decide(ctx, by, access.CredentialCheckOut, access.Credential(c.Device, c.Credential))
		if err != nil || !sees.Allowed || c.NeverShown {
			return false, err
		}
	}
	return true, nil
}

// changed is the event of a change: which fields it touched, and, because it is where passwords go, between which addresses a device moved.
func (s *Service) changed(by access.Caller, now time.Time) func(was, is Device) audit.Event {
	return func(was, is Device) audit.Event {
		e := by.Event(now, access.DeviceUpdate, is.Resource(), audit.Done).With("changed", strings.Join(was.differs(is), " "))
		e.Object.Name = is.Host
		if was.IP != is.IP {
			e = e.With("ip", was.IP.String()+" to "+is.IP.String())
		}
		return e
	}
}

// SetDisabled switches a device off or on; changed is false where it was so already. One that is switched off loses its live sessions, and its
// credentials are switched off too, which switching it on does not undo.
func (s *Service) SetDisabled(ctx context.Context, by access.Caller, id string, disabled bool) (d Device, changed bool, err error) {
	if _, err := s.may(ctx, by, access.DeviceUpdate, id); err != nil {
		return Device{}, false, err
	}
	now := s.Now()
	return s.Store.Change(ctx, id, func(d Device) (Device, error) {
		d.Disabled, d.Updated = disabled, now
		return d, nil
	}, s.changed(by, now))
}

// may finds a device on which the caller may do something. It reports ErrUnknown to who may not see it.
func (s *Service) may(ctx context.Context, by access.Caller, do access.Action, id string) (Device, error) {
	d, err := s.visible(ctx, by)(s.Store.ByID(ctx, id))
	if err != nil {
		return Device{}, err
	}
	return d, s.Access.Require(ctx, by, do, d.Resource())
}

// visible hides a device from who may not read it.
func (s *Service) visible(ctx context.Context, by access.Caller) func(Device, error) (Device, error) {
	return access.Visible[Device](ctx, s.Access, by, access.DeviceRead, ErrUnknown)
}

// Find finds a device by id, number, host name in any case, or IP address. It reports ErrUnknown also to who may not see it, and where an address is
// that of several which the caller may see.
func (s *Service) Find(ctx context.Context, by access.Caller, ref string) (Device, error) {
	all, err := s.Named(ctx, ref)
	if err != nil {
		return Device{}, err
	}
	var seen []Device
	for _, one := range all {
		d, err := s.visible(ctx, by)(one, nil)
		switch {
		case err == nil:
			seen = append(seen, d)
		case !errors.Is(err, ErrUnknown):
			return Device{}, err
		}
	}
	if len(seen) != 1 {
		return Device{}, ErrUnknown
	}
	return seen[0], nil
}

// Named returns the devices that a text names, by number: one by its id, number or host name in any case, or all of an IP address. It asks for no right:
// it is for rooms that do.
func (s *Service) Named(ctx context.Context, ref string) ([]Device, error) {
	d, err := s.named(ctx, ref)
	if err == nil {
		return []Device{d}, nil
	}
	if !errors.Is(err, ErrUnknown) {
		return nil, err
	}
	ip, err := netip.ParseAddr(ref)
	if err != nil || ip.Zone() != "" {
		return nil, nil
	}
	return s.Store.ByIP(ctx, ip.Unmap())
}

func (s *Service) named(ctx context.Context, ref string) (Device, error) {
	if number, err := strconv.ParseInt(ref, 10, 64); err == nil {
		return s.Store.ByNumber(ctx, number)
	}
	if uuid.Validate(ref) == nil {
		return s.Store.ByID(ctx, strings.ToLower(ref))
	}
	return s.Store.ByHost(ctx, ref)
}

// Get finds a device by id. It asks for no right: it is for rooms that do.
func (s *Service) Get(ctx context.Context, id string) (Device, error) { return s.Store.ByID(ctx, id) }

// List returns the devices that the caller may see, by number.
func (s *Service) List(ctx context.Context, by access.Caller, w page.Window) (page.Page[Device], error) {
	all, ids, err := s.Access.Reach(ctx, by, access.DeviceRead, access.DeviceKind)
	if err != nil {
		return page.Page[Device]{}, err
	}
	return s.Store.List(ctx, all, ids, w)
}

// AddDomain registers a domain, so that devices and credentials may belong to it. One that is there stays.
func (s *Service) AddDomain(ctx context.Context, by access.Caller, name string) error {
	if err := s.Access.Require(ctx, by, access.DeviceCreate, access.Installation); err != nil {
		return err
	}
	if by.Kind == access.Authorization { // it may add devices, not domains
		return fault.New(fault.Denied, "an authorization cannot register domains")
	}
	name = strings.TrimSpace(name)
	if err := checkDomain(name); err != nil {
		return err
	}
	now := s.Now()
	e := by.Event(now, access.DeviceCreate, access.Installation, audit.Done).With("domain", name)
	return s.Store.AddDomain(ctx, name, now, e)
}

// Domains lists the registered domains.
func (s *Service) Domains(ctx context.Context, by access.Caller) ([]string, error) {
	all, ids, err := s.Access.Reach(ctx, by, access.DeviceRead, access.DeviceKind)
	if err != nil {
		return nil, err
	}
	if !all && len(ids) == 0 {
		return nil, fault.New(fault.Denied, "not allowed: the caller sees no device")
	}
	return s.Store.Domains(ctx)
}

// In reports whether a device belongs to a domain, in any case.
func (d Device) In(domain string) bool {
	return domain != "" && slices.ContainsFunc(d.Domains, func(one string) bool { return identity.Fold(one) == identity.Fold(domain) })
}
