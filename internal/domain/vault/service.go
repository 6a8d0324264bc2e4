package vault

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
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Service keeps credentials.
type Service struct {
	Store    Store
	Access   *access.Service
	Devices  *device.Service
	Now      func() time.Time
	NewID    func() string
	Held     time.Duration // how long custody lasts
	FreshFor time.Duration // how long ago people may have signed in who see a secret
	Every    time.Duration // how often custody that is over is looked for; it counts no longer before that either
	OnError  func(doing string, err error)
}

// New is what a credential is made from, or changed to. On a change what is nil, zero or empty is kept.
type New struct {
	Device string     // id of the device where it is registered; or
	Host   string     // its name in any case and
	IP     netip.Addr // its address, which must be that of the same device

	Identifier string // empty on a new one: one is made
	Username   string // empty on a new one: "usr"
	Secret     secret.String

	Type       *string // one of Types; it says whether the secret is a password or a key
	Domain     *string
	Additional *string
	Tags       *[]string
	Parent     *int64
	Protocols  *[]device.Protocol
	RemoteApp  *bool
	Extra      map[string]any // by its keys, each as a whole

	NeverShown *bool // a new private key is never shown unless this says otherwise
	Exclusive  *bool

	OfDevice device.New // what to change of the device with it; Host and IP of it are not looked at
}

// Create adds a credential to a device. One that an authorization adds is listed for it. It reports ErrTaken and device.ErrUnknown.
func (s *Service) Create(ctx context.Context, by access.Caller, in New) (Credential, error) {
	d, err := s.device(ctx, by, in)
	if err != nil {
		return Credential{}, err
	}
	return s.create(ctx, by, d, in)
}

// errDeviceOff is a device.ErrUnknown to wires, on which nothing is registered on a device that is switched off.
var errDeviceOff = fault.Wrap(fault.Conflict, "the device is switched off; switch it on first", device.ErrUnknown)

// device finds the device that a credential is registered on: an active one that the caller may see.
func (s *Service) device(ctx context.Context, by access.Caller, in New) (device.Device, error) {
	switch {
	case in.Device != "":
	case in.Host == "":
		return device.Device{}, device.ErrNoHost
	case !in.IP.IsValid():
		return device.Device{}, device.ErrNoIP
	}
	ref := in.Device
	if ref == "" {
		ref = in.Host
	}
	d, err := s.Devices.Find(ctx, by, ref)
	if err != nil {
		return device.Device{}, err
	}
	switch {
	case in.Device == "" && d.IP != in.IP.Unmap():
		return device.Device{}, device.ErrUnknown
	case d.Disabled:
		return device.Device{}, errDeviceOff
	}
	return d, nil
}

func (s *Service) create(ctx context.Context, by access.Caller, d device.Device, in New) (Credential, error) {
	if err := s.Access.Require(ctx, by, access.CredentialCreate, d.Resource()); err != nil {
		return Credential{}, err
	}
	if in.Identifier == "" {
		in.Identifier = s.NewID()
	}
	if in.Username == "" {
		in.Username = "usr"
	}
	c, err := in.on(Credential{ID: s.NewID(), Device: d, Type: LocalUser, Kind: Password, Created: s.Now()})
	if err != nil {
		return Credential{}, err
	}
	c.Updated, c.HasSecret = c.Created, !in.Secret.Empty()
	if _, err := s.alsoDevice(ctx, by, d, in); err != nil {
		return Credential{}, err
	}
	return s.Store.Insert(ctx, c, in.Secret, s.listed(by, c), named(by.Event(c.Created, access.CredentialCreate, c.Resource(), audit.Done), c))
}

// alsoDevice changes what is given of the device.
func (s *Service) alsoDevice(ctx context.Context, by access.Caller, d device.Device, in New) (changed bool, err error) {
	of := in.OfDevice
	of.Host, of.IP = "", netip.Addr{}
	if of == (device.New{}) {
		return false, nil
	}
	_, changed, err = s.Devices.Update(ctx, by, d.ID, of)
	return changed, err
}

// listed lets the authorization that adds a credential reach it.
func (s *Service) listed(by access.Caller, c Credential) []access.Binding {
	if by.Kind != access.Authorization {
		return nil
	}
	who := access.Subject{Kind: by.Kind, ID: by.ID}
	return []access.Binding{{ID: s.NewID(), Subject: who, Role: access.CredentialListed, Resource: c.Resource(), Created: c.Created}}
}

// named adds to an event what people know the credential by.
func named(e audit.Event, c Credential) audit.Event {
	e.Object.Name = c.Username + "@" + c.Device.Host
	return e.With("identifier", c.Identifier).With("device", c.Device.ID)
}

// Put adds a credential, or changes the one of that identifier, or else of that device and user name, to what is given. created and changed say which;
// neither where nothing differs, the secret included. It reports ErrTaken where the caller may not see that one, ErrElsewhere and device.ErrUnknown.
func (s *Service) Put(ctx context.Context, by access.Caller, in New) (c Credential, created, changed bool, err error) {
	d, err := s.device(ctx, by, in)
	if err != nil {
		return Credential{}, false, false, err
	}
	if in.Username == "" {
		in.Username = "usr"
	}
	there, err := s.match(ctx, d, in)
	if errors.Is(err, ErrUnknown) {
		c, err = s.create(ctx, by, d, in)
		if !errors.Is(err, ErrTaken) {
			return c, err == nil, err == nil, err
		}
		there, err = s.match(ctx, d, in) // another request was first
	}
	if err != nil {
		return Credential{}, false, false, err
	}
	c, changed, err = s.Update(ctx, by, there.ID, in)
	if errors.Is(err, ErrUnknown) {
		err = ErrTaken
	}
	return c, false, changed, err
}

// match finds the credential that Put means.
func (s *Service) match(ctx context.Context, d device.Device, in New) (Credential, error) {
	if in.Identifier != "" {
		c, err := s.Store.ByIdentifier(ctx, in.Identifier)
		if err == nil && c.Device.ID != d.ID {
			err = ErrElsewhere
		}
		if !errors.Is(err, ErrUnknown) {
			return c, err
		}
	}
	all, err := s.Store.OfDevice(ctx, d.ID)
	if err != nil {
		return Credential{}, err
	}
	all = slices.DeleteFunc(all, func(c Credential) bool { return c.Username != in.Username })
	if len(all) == 0 {
		return Credential{}, ErrUnknown
	}
	return slices.MinFunc(all, in.nearer), nil
}

// Update changes a credential to what is given; the device it is registered on stays. It reports ErrUnknown also to who may not see it.
func (s *Service) Update(ctx context.Context, by access.Caller, id string, in New) (c Credential, changed bool, err error) {
	was, err := s.may(ctx, by, access.CredentialUpdate, id)
	if err != nil {
		return Credential{}, false, err
	}
	if _, err := in.on(was); err != nil { // before anything of the device changes
		return Credential{}, false, err
	}
	of, err := s.alsoDevice(ctx, by, was.Device, in)
	if err != nil {
		return Credential{}, false, err
	}
	now := s.Now()
	c, changed, err = s.Store.Change(ctx, id, in.Secret, func(c Credential) (Credential, error) {
		is, err := in.on(c)
		is.Updated = now
		return is, err
	}, s.changed(by, now))
	return c, changed || of, err
}

// changed is the event of a change: which fields it touched, never what they hold.
func (s *Service) changed(by access.Caller, now time.Time) func(was, is Credential, secret bool) audit.Event {
	return func(was, is Credential, secret bool) audit.Event {
		fields := was.differs(is)
		if secret {
			fields = append(fields, "secret")
		}
		return named(by.Event(now, access.CredentialUpdate, is.Resource(), audit.Done), is).With("changed", strings.Join(fields, " "))
	}
}

// SetDisabled switches a credential off or on; changed is false where it was so already. One that is switched off loses its live sessions.
func (s *Service) SetDisabled(ctx context.Context, by access.Caller, id string, disabled bool) (c Credential, changed bool, err error) {
	if _, err := s.may(ctx, by, access.CredentialUpdate, id); err != nil {
		return Credential{}, false, err
	}
	now := s.Now()
	return s.Store.Change(ctx, id, secret.String{}, func(c Credential) (Credential, error) {
		c.Disabled, c.Updated = disabled, now
		return c, nil
	}, s.changed(by, now))
}

// may finds a credential with which the caller may do something. It reports ErrUnknown to who may not see it.
func (s *Service) may(ctx context.Context, by access.Caller, do access.Action, id string) (Credential, error) {
	c, err := s.visible(ctx, by)(s.Store.ByID(ctx, id))
	if err != nil {
		return Credential{}, err
	}
	return c, s.Access.Require(ctx, by, do, c.Resource())
}

// visible hides a credential from who may not read it.
func (s *Service) visible(ctx context.Context, by access.Caller) func(Credential, error) (Credential, error) {
	return access.Visible[Credential](ctx, s.Access, by, access.CredentialRead, ErrUnknown)
}

// Find finds a credential by id, identifier, user name and host, as in root@web-01, or number. It reports ErrUnknown also to who may not see it.
func (s *Service) Find(ctx context.Context, by access.Caller, key string) (Credential, error) {
	return s.visible(ctx, by)(s.named(ctx, key))
}

// named finds what a key names: digits a number before an identifier, a UUID an id before one, everything else an identifier before a user name and
// host. A key with more than one at sign names no user.
func (s *Service) named(ctx context.Context, key string) (Credential, error) {
	var c Credential
	err := error(ErrUnknown)
	if number, bad := strconv.ParseInt(key, 10, 64); bad == nil {
		c, err = s.Store.ByNumber(ctx, number)
	} else if uuid.Validate(key) == nil {
		c, err = s.Store.ByID(ctx, strings.ToLower(key))
	}
	if !errors.Is(err, ErrUnknown) {
		return c, err
	}
	if c, err = s.Store.ByIdentifier(ctx, key); !errors.Is(err, ErrUnknown) || strings.Count(key, "@") != 1 {
		return c, err
	}
	username, host, _ := strings.Cut(key, "@")
	d, err := s.Devices.Store.ByHost(ctx, host)
	if errors.Is(err, device.ErrUnknown) {
		return Credential{}, ErrUnknown
	}
	if err != nil {
		return Credential{}, err
	}
	return s.match(ctx, d, New{Username: username})
}

// Get finds a credential by id. It asks for no right: it is for rooms that do.
func (s *Service) Get(ctx context.Context, id string) (Credential, error) {
	return s.Store.ByID(ctx, id)
}

// OfDevice lists the credentials that are registered on a device, by number, disabled ones too. It asks for no right: it is for rooms that do.
func (s *Service) OfDevice(ctx context.Context, device string) ([]Credential, error) {
	return s.Store.OfDevice(ctx, device)
}

// On lists those credentials of a device that the caller may see, by number.
func (s *Service) On(ctx context.Context, by access.Caller, id string) ([]Credential, error) {
	all, err := s.Store.OfDevice(ctx, id)
	var seen []Credential
	for _, c := range all {
		_, err := s.visible(ctx, by)(c, nil)
		switch {
		case err == nil:
			seen = append(seen, c)
		case !errors.Is(err, ErrUnknown):
			return nil, err
		}
	}
	return seen, err
}

// List returns the credentials that the caller may see, by number.
func (s *Service) List(ctx context.Context, by access.Caller, w page.Window) (page.Page[Credential], error) {
	all, ids, err := s.Access.Reach(ctx, by, access.CredentialRead, access.CredentialKind)
	if err != nil {
		return page.Page[Credential]{}, err
	}
	whole, devices, err := s.Access.Reach(ctx, by, access.CredentialRead, access.DeviceKind)
	if err != nil {
		return page.Page[Credential]{}, err
	}
	return s.Store.List(ctx, all || whole, ids, devices, w)
}
