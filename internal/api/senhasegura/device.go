package senhasegura

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// wireDevice is a target.
type wireDevice struct {
	ID             string `json:"id"`
	Hostname       string `json:"hostname"`
	IP             string `json:"ip"`
	Model          string `json:"model"`
	Type           string `json:"type"`
	Vendor         string `json:"vendor"`
	Site           string `json:"site"`
	Domain         string `json:"device_domain"`
	Connectivities string `json:"connectivities"`
	Config         string `json:"session_remote_config"`
	Tags           string `json:"device_tags"`
}

// wireDeviceLine is a target as a listing has it.
type wireDeviceLine struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	IP       string `json:"ip"`
	Model    string `json:"model"`
	Type     string `json:"type"`
	Vendor   string `json:"vendor"`
	Site     string `json:"site"`
	Tags     string `json:"tags"`
}

func deviceOf(x device.Device) wireDevice {
	connect := make([]string, len(x.Connect))
	for i, c := range x.Connect {
		connect[i] = c.Name + ":" + strconv.Itoa(c.Port)
	}
	return wireDevice{
		ID: number(x.Number), Hostname: x.Host, IP: x.IP.String(), Model: x.Model, Type: x.Type, Vendor: x.Vendor, Site: x.Site, Domain: strings.Join(x.Domains, ","),
		Connectivities: strings.Join(connect, ","), Config: x.Script, Tags: strings.Join(x.Tags, ","),
	}
}

func deviceLineOf(x device.Device) wireDeviceLine {
	return wireDeviceLine{ID: number(x.Number), Hostname: x.Host, IP: x.IP.String(), Model: x.Model, Type: x.Type, Vendor: x.Vendor, Site: x.Site, Tags: strings.Join(x.Tags, ",")}
}

// putDevice adds a device, or changes the one of that host name.
func (d *Dialect) putDevice(w http.ResponseWriter, c *call) error {
	in := c.body.device()
	in.Host, in.IP = c.body.hostAndIP()
	in.Type = c.body.optional("type")
	if err := c.body.wrong(); err != nil {
		return err
	}
	is, created, changed, err := d.Devices.Put(c.Context(), c.by, in)
	if err != nil {
		return err
	}
	a := d.success(http.StatusCreated, "Device updated successfully!")
	if created {
		a = d.success(http.StatusCreated, "Device successfully registered!")
	}
	a.Response.Changed = strconv.FormatBool(changed)
	a.Device = deviceOf(is)
	return reply(w, a)
}

// hostAndIP reads what names a device; both must be there.
func (f *fields) hostAndIP() (string, netip.Addr) {
	host, text := strings.TrimSpace(f.text("hostname")), strings.TrimSpace(f.text("ip"))
	if host == "" {
		f.refuse(errNoHost)
	}
	if text == "" {
		f.refuse(errNoIP)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		f.refuse(said(http.StatusBadRequest, "Invalid ip"))
	}
	return host, ip
}

// device reads what both calls say of a device but its type, which one of them has another use for.
func (f *fields) device() device.New {
	return device.New{
		Model: f.optional("model"), Vendor: f.optional("vendor"), Site: f.optional("site"), Domains: f.list("device_domain"), Tags: f.list("device_tags"),
		Connect: f.connectivities("connectivities"), Script: f.optional("session_remote_config"),
	}
}

// connectivities reads a list such as SSH:22,HTTPS:443; absent is nil.
func (f *fields) connectivities(name string) *[]device.Connectivity {
	list := f.list(name)
	if list == nil {
		return nil
	}
	all := make([]device.Connectivity, len(*list))
	for i, text := range *list {
		protocol, port, _ := strings.Cut(text, ":")
		n, err := strconv.ParseUint(strings.TrimSpace(port), 10, 16)
		if protocol = strings.TrimSpace(protocol); err != nil || n == 0 || protocol == "" {
			f.refuse(errConnectivities)
		}
		all[i] = device.Connectivity{Name: protocol, Port: int(n)}
	}
	return &all
}

func (d *Dialect) listDevices(w http.ResponseWriter, c *call) error {
	all, err := every(func(w page.Window) (page.Page[device.Device], error) { return d.Devices.List(c.Context(), c.by, w) }, deviceLineOf)
	if err != nil {
		return err
	}
	a := d.success(http.StatusOK, fmt.Sprintf("%d devices found", len(all)))
	a.Devices = all
	return reply(w, a)
}

// every reads a listing to its end: this wire knows no pages.
func every[T, W any](read func(page.Window) (page.Page[T], error), line func(T) W) ([]W, error) {
	all := []W{}
	for {
		part, err := read(page.Of(int64(len(all)), page.MaxLimit))
		if err != nil {
			return nil, err
		}
		for _, one := range part.Items {
			all = append(all, line(one))
		}
		if !part.HasMore() || len(part.Items) == 0 {
			return all, nil
		}
	}
}

func (d *Dialect) showDevice(w http.ResponseWriter, c *call) error {
	x, err := d.Devices.Find(c.Context(), c.by, c.PathValue("device"))
	if err != nil {
		return err
	}
	a := d.success(http.StatusOK, "Device "+number(x.Number))
	a.Device = deviceOf(x)
	return reply(w, a)
}

// deactivateDevice switches a device off, once: what is off already is not there for this wire.
func (d *Dialect) deactivateDevice(w http.ResponseWriter, c *call) error {
	changed, err := d.setDevice(c.Context(), c, true)
	if err == nil && !changed {
		err = device.ErrUnknown
	}
	if err != nil {
		return err
	}
	return reply(w, d.success(http.StatusOK, "Device successfully deactivated"))
}

func (d *Dialect) activateDevice(w http.ResponseWriter, c *call) error {
	if _, err := d.setDevice(c.Context(), c, false); err != nil {
		return err
	}
	return reply(w, d.success(http.StatusOK, "Device successfully activated"))
}

func (d *Dialect) setDevice(ctx context.Context, c *call, disabled bool) (changed bool, err error) {
	x, err := d.Devices.Find(ctx, c.by, c.PathValue("device"))
	if err != nil {
		return false, err
	}
	_, changed, err = d.Devices.SetDisabled(ctx, c.by, x.ID, disabled)
	return changed, err
}
