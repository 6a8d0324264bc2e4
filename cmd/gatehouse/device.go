package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type deviceCommands struct {
	Add     deviceAdd     `cmd:"" help:"Add a device."`
	List    deviceList    `cmd:"" help:"List devices."`
	Show    deviceShow    `cmd:"" help:"Show a device with its host keys."`
	Set     deviceSet     `cmd:"" help:"Change a device."`
	Enable  deviceEnable  `cmd:"" help:"Switch a device on; its credentials stay as they are."`
	Disable deviceDisable `cmd:"" help:"Switch a device and its credentials off, and end its live sessions."`

	HostKey hostKeyCommands `cmd:"" name:"host-key" help:"The SSH host keys by which devices are known."`
	Domain  domainCommands  `cmd:"" help:"Domains, whose credentials open all their devices."`
}

const seeDevices = "see `gatehouse device list`"

// deviceFields are what may be said of a device.
type deviceFields struct {
	Connect    []string `placeholder:"ssh:22,rdp:3389" help:"Protocols that it speaks, each with its port; the usual one may be left out."`
	Model      *string  `placeholder:"TEXT" help:"Which model it is."`
	Type       *string  `placeholder:"TEXT" help:"What it is."`
	Vendor     *string  `placeholder:"TEXT" help:"Who made it."`
	Site       *string  `placeholder:"TEXT" help:"Where it stands."`
	Domain     []string `placeholder:"NAME" help:"A registered domain that it belongs to."`
	Tag        []string `placeholder:"TEXT" help:"A tag."`
	Script     *string  `placeholder:"Telnet:EXPECT:FILL" help:"How a person is signed in where the protocol has no sign-in of its own."`
	Unrecorded *bool    `negatable:"" help:"Let sessions go on although they cannot be recorded."`
}

func (f deviceFields) new() (device.New, error) {
	in := device.New{Model: f.Model, Type: f.Type, Vendor: f.Vendor, Site: f.Site, Script: f.Script, Unrecorded: f.Unrecorded}
	if f.Domain != nil {
		in.Domains = &f.Domain
	}
	if f.Tag != nil {
		in.Tags = &f.Tag
	}
	if f.Connect != nil {
		all, err := device.ParseConnects(f.Connect)
		if err != nil {
			return in, usagef("--connect: %s; give protocols with their ports, such as ssh:22,https:8443", err)
		}
		in.Connect = &all
	}
	return in, nil
}

// parseIP reads --ip.
func parseIP(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, usagef("--ip: %q is no IP address; give one, such as 10.2.0.11", text)
	}
	return ip, nil
}

type deviceAdd struct {
	Place
	Output
	Host string `arg:"" help:"What it is called; unique in any case."`
	IP   string `name:"ip" required:"" placeholder:"ADDRESS" help:"Where sessions go."`
	deviceFields
	AcceptHostKeys bool `help:"Ask it for its SSH host keys and accept them, at your word that nobody is in between."`
}

// Run adds the device.
func (c *deviceAdd) Run(ctx context.Context, p *process) error {
	in, err := c.new()
	if err != nil {
		return err
	}
	if in.IP, err = parseIP(c.IP); err != nil {
		return err
	}
	in.Host = c.Host
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		d, err := h.Devices.Create(ctx, by, in)
		if err != nil {
			return failed("add device "+c.Host, err, "register domains with `gatehouse device domain add`")
		}
		p.note("added device %s", d.Host)
		if len(d.Connect) == 0 {
			p.note("it has no protocol yet, so nothing leads there: gatehouse device set %s --connect ssh:22", d.Host)
		}
		var keys []device.HostKey
		if c.AcceptHostKeys {
			if keys, err = acceptShown(ctx, h, by, d, 0); err != nil {
				return failed("accept the host keys of "+d.Host+", which was added", err, "when it can be reached, run `gatehouse device host-key scan "+d.Host+" --accept`")
			}
		}
		return p.printDevice(d, keys, c.AcceptHostKeys)
	})
}

// acceptShown asks a device for its host keys and accepts what it shows.
func acceptShown(ctx context.Context, h *app.House, by access.Caller, d device.Device, port int) ([]device.HostKey, error) {
	shown, err := h.Devices.Scan(ctx, by, d.ID, port)
	for i, k := range shown {
		if shown[i], err = h.Devices.AcceptHostKey(ctx, by, d.ID, k.Port, k.Line()); err != nil {
			return nil, err
		}
	}
	return shown, err
}

type deviceJSON struct {
	ID         string    `json:"id"`
	Number     int64     `json:"number"`
	Host       string    `json:"host"`
	IP         string    `json:"ip"`
	Model      string    `json:"model"`
	Type       string    `json:"type"`
	Vendor     string    `json:"vendor"`
	Site       string    `json:"site"`
	Domains    []string  `json:"domains"`
	Tags       []string  `json:"tags"`
	Connect    []string  `json:"connect"`
	Script     string    `json:"script"`
	Unrecorded bool      `json:"unrecorded"`
	Disabled   bool      `json:"disabled"`
	Created    time.Time `json:"created_at"`
	Updated    time.Time `json:"updated_at"`

	HostKeys []hostKeyJSON `json:"host_keys,omitempty"`
}

func wireDevice(d device.Device) deviceJSON {
	out := deviceJSON{
		ID: d.ID, Number: d.Number, Host: d.Host, IP: d.IP.String(), Model: d.Model, Type: d.Type, Vendor: d.Vendor, Site: d.Site, Domains: append([]string{}, d.Domains...),
		Tags: append([]string{}, d.Tags...), Connect: []string{}, Script: d.Script, Unrecorded: d.Unrecorded, Disabled: d.Disabled, Created: d.Created.UTC(), Updated: d.Updated.UTC(),
	}
	for _, c := range d.Connect {
		out.Connect = append(out.Connect, c.String())
	}
	return out
}

// printDevice prints a device for programs, and for people what it is known by where that was asked for.
func (p *process) printDevice(d device.Device, keys []device.HostKey, wanted bool) error {
	if p.json {
		out := wireDevice(d)
		out.HostKeys = wireHostKeys(keys)
		return p.printJSON(out)
	}
	if !wanted {
		return nil
	}
	return p.printHostKeys(keys)
}

type deviceList struct {
	Place
	Output
}

// Run lists the devices.
func (c *deviceList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		all, err := every(func(w page.Window) (page.Page[device.Device], error) { return h.Devices.List(ctx, by, w) })
		if err != nil {
			return failed("list devices", err, seeDevices)
		}
		shown := make([]deviceJSON, len(all))
		for i, d := range all {
			shown[i] = wireDevice(d)
		}
		return print(p, shown, []string{"NUMBER", "HOST", "IP", "CONNECT", "DOMAINS", "TAGS", "STATE"}, func(d deviceJSON) []string {
			return []string{strconv.FormatInt(d.Number, 10), d.Host, d.IP, strings.Join(d.Connect, ","), strings.Join(d.Domains, ","), strings.Join(d.Tags, ","), state(d.Disabled)}
		})
	})
}

// oneDevice is a command on a device.
type oneDevice struct {
	Place
	Output
	Host string `arg:"" help:"The device: its host in any case, IP address, number or id."`
}

// on finds the device and does something with it.
func (c *oneDevice) on(ctx context.Context, p *process, what string, do func(h *app.House, by access.Caller, d device.Device) error) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		d, err := h.Devices.Find(ctx, by, c.Host)
		if err == nil {
			err = do(h, by, d)
		}
		if err != nil {
			return failed(fmt.Sprintf(what, c.Host), err, seeDevices)
		}
		return nil
	})
}

type deviceShow struct{ oneDevice }

// Run shows the device.
func (c *deviceShow) Run(ctx context.Context, p *process) error {
	return c.on(ctx, p, "show device %s", func(h *app.House, by access.Caller, d device.Device) error {
		keys, err := h.Devices.HostKeys(ctx, by, d.ID)
		if err != nil {
			return err
		}
		if p.json {
			return p.printDevice(d, keys, true)
		}
		x := wireDevice(d)
		table(p.out, []string{"FIELD", "VALUE"}, [][]string{
			{"number", strconv.FormatInt(x.Number, 10)},
			{"id", x.ID},
			{"host", x.Host},
			{"ip", x.IP},
			{"connect", strings.Join(x.Connect, ",")},
			{"model", x.Model},
			{"type", x.Type},
			{"vendor", x.Vendor},
			{"site", x.Site},
			{"domains", strings.Join(x.Domains, ",")},
			{"tags", strings.Join(x.Tags, ",")},
			{"script", x.Script},
			{"unrecorded", yes(x.Unrecorded)},
			{"state", state(x.Disabled)},
			{"created", moment(x.Created)},
			{"updated", moment(x.Updated)},
		})
		fmt.Fprintln(p.out)
		return p.printHostKeys(keys)
	})
}

type deviceSet struct {
	oneDevice
	Name string  `placeholder:"HOST" help:"Another name."`
	IP   *string `name:"ip" placeholder:"ADDRESS" help:"Where sessions go."`
	deviceFields
}

// Run changes what was given and keeps the rest.
func (c *deviceSet) Run(ctx context.Context, p *process) error {
	in, err := c.new()
	if err != nil {
		return err
	}
	in.Host = c.Name
	if c.IP != nil {
		if in.IP, err = parseIP(*c.IP); err != nil {
			return err
		}
	}
	if in == (device.New{}) {
		return usagef("set device %s: nothing to set; give --ip, --connect or another flag", c.Host)
	}
	return c.on(ctx, p, "set device %s", func(h *app.House, by access.Caller, d device.Device) error {
		d, changed, err := h.Devices.Update(ctx, by, d.ID, in)
		if err != nil {
			return err
		}
		if changed {
			p.note("changed device %s", d.Host)
		} else {
			p.note("device %s was so already", d.Host)
		}
		return p.printDevice(d, nil, false)
	})
}

type deviceEnable struct{ oneDevice }

// Run switches the device on.
func (c *deviceEnable) Run(ctx context.Context, p *process) error { return c.set(ctx, p, false) }

type deviceDisable struct{ oneDevice }

// Run switches the device off.
func (c *deviceDisable) Run(ctx context.Context, p *process) error { return c.set(ctx, p, true) }

func (c *oneDevice) set(ctx context.Context, p *process, disabled bool) error {
	return c.on(ctx, p, "switch device %s", func(h *app.House, by access.Caller, d device.Device) error {
		d, _, err := h.Devices.SetDisabled(ctx, by, d.ID, disabled)
		if err != nil {
			return err
		}
		p.note("device %s is %s", d.Host, state(d.Disabled))
		return p.printDevice(d, nil, false)
	})
}

type domainCommands struct {
	Add  domainAdd  `cmd:"" help:"Register a domain."`
	List domainList `cmd:"" help:"List the registered domains."`
}

type domainAdd struct {
	Place
	Name string `arg:"" help:"What it is called."`
}

// Run registers the domain.
func (c *domainAdd) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if err := h.Devices.AddDomain(ctx, by, c.Name); err != nil {
			return failed("add domain "+c.Name, err, seeDevices)
		}
		p.note("registered domain %s", c.Name)
		return nil
	})
}

type domainList struct {
	Place
	Output
}

// Run lists the domains.
func (c *domainList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		all, err := h.Devices.Domains(ctx, by)
		if err != nil {
			return failed("list domains", err, seeDevices)
		}
		return print(p, all, []string{"DOMAIN"}, func(name string) []string { return []string{name} })
	})
}
