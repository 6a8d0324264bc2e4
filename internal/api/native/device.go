package native

import (
	"context"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func (a *API) devices() tag {
	return tag{"Devices", "Targets of remote sessions: where they are, which protocols they speak, and by which host keys they are known.", []line{
		op("GET", "/api/v1/devices", access.DeviceRead, "List the devices that one may see", a.listDevices),
		op("POST", "/api/v1/devices", access.DeviceCreate, "Add a device", a.createDevice, created),
		op("GET", "/api/v1/devices/{device}", access.DeviceRead, "Show a device", a.showDevice),
		op("PATCH", "/api/v1/devices/{device}", access.DeviceUpdate, "Change a device", a.changeDevice, says("What is left out stays.")),
		op("POST", "/api/v1/devices/{device}/enable", access.DeviceUpdate, "Switch a device on", a.setDeviceDisabled(false), says("Its credentials stay as they are.")),
		op("POST", "/api/v1/devices/{device}/disable", access.DeviceUpdate, "Switch a device and its credentials off", a.setDeviceDisabled(true), says("Its live sessions end.")),
		op("GET", "/api/v1/devices/{device}/credentials", access.CredentialRead, "List those credentials of a device that one may see", a.listDeviceCredentials),
		op("GET", "/api/v1/devices/{device}/host-keys", access.DeviceRead, "List the host keys of a device", a.listHostKeys, says("Those that count, and those that the device has shown and that nobody has accepted.")),
		op("POST", "/api/v1/devices/{device}/host-keys", access.DeviceTrust, "Accept a host key of a device", a.acceptHostKey, fresh, created, says("People are taken to a device only while it shows an accepted key.")),
		op("POST", "/api/v1/devices/{device}/host-keys/scan", access.DeviceTrust, "Ask a device for its host keys", a.scanHostKeys, says("They are kept, and wait for somebody to accept them.")),
		op("DELETE", "/api/v1/devices/{device}/host-keys/{key}", access.DeviceTrust, "Forget a host key of a device", a.removeHostKey),
		op("GET", "/api/v1/device-domains", access.DeviceRead, "List the domains to which devices may belong", a.listDomains),
		op("POST", "/api/v1/device-domains", access.DeviceCreate, "Register a domain", a.addDomain, created, says("One that is there in any case stays as it is.")),
	}}
}

// wireTarget is a target of remote sessions.
type wireTarget struct {
	ID         string    `json:"id" format:"uuid"`
	Number     int64     `json:"number"`
	Host       string    `json:"host"`
	IP         string    `json:"ip"`
	Model      string    `json:"model"`
	Type       string    `json:"type"`
	Vendor     string    `json:"vendor"`
	Site       string    `json:"site"`
	Domains    []string  `json:"domains" nullable:"false"`
	Tags       []string  `json:"tags" nullable:"false"`
	Connect    []string  `json:"connect" nullable:"false" example:"[\"SSH:22\",\"HTTPS:443\"]"`
	Script     string    `json:"script"`
	Unrecorded bool      `json:"unrecorded" doc:"Sessions go on although they cannot be recorded."`
	Disabled   bool      `json:"disabled"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

func targetOf(d device.Device) wireTarget {
	out := wireTarget{
		ID: d.ID, Number: d.Number, Host: d.Host, IP: d.IP.String(), Model: d.Model, Type: d.Type, Vendor: d.Vendor, Site: d.Site, Domains: append([]string{}, d.Domains...),
		Tags: append([]string{}, d.Tags...), Connect: []string{}, Script: d.Script, Unrecorded: d.Unrecorded, Disabled: d.Disabled, CreatedAt: d.Created.UTC(), UpdatedAt: d.Updated.UTC(),
	}
	for _, c := range d.Connect {
		out.Connect = append(out.Connect, c.String())
	}
	return out
}

func (a *API) listDevices(ctx context.Context, by access.Caller, in window) (wirePage[wireTarget], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireTarget]{}, err
	}
	p, err := a.Devices.List(ctx, by, w)
	return pageOf(p, targetOf), err
}

type createDevice struct {
	Body wireTargetDraft
}

type wireTargetDraft struct {
	Host string `json:"host" maxLength:"4096" example:"web-01.example.net" doc:"Unique in any case."`
	IP   string `json:"ip" maxLength:"64" example:"10.2.0.11" doc:"Where sessions go; the host is a name for people. Loopback, link-local and Gatehouse's own addresses are refused unless the setting device.allow names them."`

	Model      *string   `json:"model,omitempty" maxLength:"4096"`
	Type       *string   `json:"type,omitempty" maxLength:"4096"`
	Vendor     *string   `json:"vendor,omitempty" maxLength:"4096"`
	Site       *string   `json:"site,omitempty" maxLength:"4096"`
	Domains    *[]string `json:"domains,omitempty" maxItems:"100" doc:"Registered ones: credentials of a domain open its devices."`
	Tags       *[]string `json:"tags,omitempty" maxItems:"100"`
	Connect    *[]string `json:"connect,omitempty" maxItems:"100" example:"[\"SSH:22\",\"HTTPS:443\"]" doc:"Protocols, each with its port behind a colon: SSH, Telnet, RDP, VNC, HTTP, HTTPS; others are kept."`
	Script     *string   `json:"script,omitempty" maxLength:"4096" doc:"How a person is signed in where the protocol has no sign-in of its own: PROTOCOL:EXPECT:FILL, several with commas."`
	Unrecorded *bool     `json:"unrecorded,omitempty" doc:"Let sessions go on although they cannot be recorded; for administrators of the installation."`
}

// new is the draft as the domain takes it.
func (d wireTargetDraft) new() (device.New, error) {
	out := device.New{
		Host: d.Host, Model: d.Model, Type: d.Type, Vendor: d.Vendor, Site: d.Site, Domains: d.Domains, Tags: d.Tags, Script: d.Script, Unrecorded: d.Unrecorded,
	}
	if d.IP != "" {
		ip, err := netip.ParseAddr(d.IP)
		if err != nil {
			return out, fault.Fields("that is no IP address", fault.Field{Path: "ip", Message: "an IPv4 or IPv6 address"})
		}
		out.IP = ip
	}
	if d.Connect != nil {
		all, err := device.ParseConnects(*d.Connect)
		if err != nil {
			return out, err
		}
		out.Connect = &all
	}
	return out, nil
}

func (a *API) createDevice(ctx context.Context, by access.Caller, in createDevice) (wireTarget, error) {
	draft, err := in.Body.new()
	if err != nil {
		return wireTarget{}, err
	}
	d, err := a.Devices.Create(ctx, by, draft)
	return targetOf(d), err
}

type oneTarget struct {
	Device string `path:"device" doc:"Its id, number, host in any case, or IP address."`
}

func (a *API) showDevice(ctx context.Context, by access.Caller, in oneTarget) (wireTarget, error) {
	d, err := a.Devices.Find(ctx, by, in.Device)
	return targetOf(d), err
}

type changeDevice struct {
	oneTarget
	Body wireTargetChange
}

type wireTargetChange struct {
	Host string `json:"host,omitempty" maxLength:"4096"`
	IP   string `json:"ip,omitempty" maxLength:"64"`

	Model      *string   `json:"model,omitempty" maxLength:"4096"`
	Type       *string   `json:"type,omitempty" maxLength:"4096"`
	Vendor     *string   `json:"vendor,omitempty" maxLength:"4096"`
	Site       *string   `json:"site,omitempty" maxLength:"4096"`
	Domains    *[]string `json:"domains,omitempty" maxItems:"100"`
	Tags       *[]string `json:"tags,omitempty" maxItems:"100"`
	Connect    *[]string `json:"connect,omitempty" maxItems:"100"`
	Script     *string   `json:"script,omitempty" maxLength:"4096"`
	Unrecorded *bool     `json:"unrecorded,omitempty" doc:"For administrators of the installation."`
}

func (a *API) changeDevice(ctx context.Context, by access.Caller, in changeDevice) (wireTarget, error) {
	d, err := a.Devices.Find(ctx, by, in.Device)
	if err != nil {
		return wireTarget{}, err
	}
	change, err := wireTargetDraft(in.Body).new()
	if err != nil {
		return wireTarget{}, err
	}
	d, _, err = a.Devices.Update(ctx, by, d.ID, change)
	return targetOf(d), err
}

func (a *API) setDeviceDisabled(disabled bool) func(context.Context, access.Caller, oneTarget) (wireTarget, error) {
	return func(ctx context.Context, by access.Caller, in oneTarget) (wireTarget, error) {
		d, err := a.Devices.Find(ctx, by, in.Device)
		if err != nil {
			return wireTarget{}, err
		}
		d, _, err = a.Devices.SetDisabled(ctx, by, d.ID, disabled)
		return targetOf(d), err
	}
}

// wireHostKey is a key that a device shows, or is to show, on a port.
type wireHostKey struct {
	ID          string     `json:"id" format:"uuid"`
	Port        int64      `json:"port"`
	Type        string     `json:"type"`
	Fingerprint string     `json:"fingerprint"`
	Key         string     `json:"key" doc:"As a file of public keys has it."`
	Accepted    bool       `json:"accepted"`
	SeenAt      time.Time  `json:"seen_at"`
	DecidedAt   *time.Time `json:"decided_at" nullable:"true" doc:"When it was accepted; null while nobody has."`
	DecidedBy   string     `json:"decided_by"`
}

func hostKeyOf(k device.HostKey) wireHostKey {
	return wireHostKey{
		ID: k.ID, Port: int64(k.Port), Type: k.Type(), Fingerprint: k.Fingerprint(), Key: k.Line(), Accepted: k.Accepted, SeenAt: k.Seen.UTC(), DecidedAt: moment(k.Decided), DecidedBy: k.DecidedBy,
	}
}

func (a *API) listHostKeys(ctx context.Context, by access.Caller, in oneTarget) (wirePage[wireHostKey], error) {
	d, err := a.Devices.Find(ctx, by, in.Device)
	if err != nil {
		return wirePage[wireHostKey]{}, err
	}
	all, err := a.Devices.HostKeys(ctx, by, d.ID)
	return whole(all, hostKeyOf), err
}

type acceptHostKey struct {
	oneTarget
	Body wireHostKeyDraft
}

type wireHostKeyDraft struct {
	Key  string `json:"key" maxLength:"16384" example:"SHA256:uNiVztksCsDhcc0u9e8BrBJp1MkQhxvtmZfW5lHYK0g" doc:"The fingerprint of one that the device has shown, or a line as a file of public keys has it."`
	Port int64  `json:"port,omitempty" minimum:"1" maximum:"65535" doc:"Where it is left out, that of the device's SSH."`
}

func (a *API) acceptHostKey(ctx context.Context, by access.Caller, in acceptHostKey) (wireHostKey, error) {
	d, err := a.Devices.Find(ctx, by, in.Device)
	if err != nil {
		return wireHostKey{}, err
	}
	k, err := a.Devices.AcceptHostKey(ctx, by, d.ID, int(in.Body.Port), in.Body.Key)
	if err != nil {
		return wireHostKey{}, err
	}
	return hostKeyOf(k), nil
}

type scanHostKeys struct {
	oneTarget
	Body wireScan
}

type wireScan struct {
	Port int64 `json:"port,omitempty" minimum:"1" maximum:"65535" doc:"Where it is left out, that of the device's SSH."`
}

func (a *API) scanHostKeys(ctx context.Context, by access.Caller, in scanHostKeys) (wirePage[wireHostKey], error) {
	d, err := a.Devices.Find(ctx, by, in.Device)
	if err != nil {
		return wirePage[wireHostKey]{}, err
	}
	all, err := a.Devices.Scan(ctx, by, d.ID, int(in.Body.Port))
	return whole(all, hostKeyOf), err
}

type oneHostKey struct {
	oneTarget
	Key string `path:"key" doc:"Its id, or its fingerprint on whichever port where that has no slash."`
}

func (a *API) removeHostKey(ctx context.Context, by access.Caller, in oneHostKey) (none, error) {
	d, err := a.Devices.Find(ctx, by, in.Device)
	if err != nil {
		return none{}, err
	}
	return none{}, a.Devices.RemoveHostKey(ctx, by, d.ID, in.Key)
}

// wireDomain is a name under which devices lie together.
type wireDomain struct {
	Name string `json:"domain" maxLength:"4096" example:"corp.example.net"`
}

func (a *API) listDomains(ctx context.Context, by access.Caller, _ none) (wirePage[wireDomain], error) {
	all, err := a.Devices.Domains(ctx, by)
	return whole(all, func(name string) wireDomain { return wireDomain{name} }), err
}

type addDomain struct {
	Body wireDomain
}

func (a *API) addDomain(ctx context.Context, by access.Caller, in addDomain) (wireDomain, error) {
	return in.Body, a.Devices.AddDomain(ctx, by, in.Body.Name)
}
