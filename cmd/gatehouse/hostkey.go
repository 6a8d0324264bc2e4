package main

import (
	"context"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
)

type hostKeyCommands struct {
	List   hostKeyList   `cmd:"" help:"List the host keys of a device: accepted ones, and those that it has shown and nobody has accepted."`
	Scan   hostKeyScan   `cmd:"" help:"Ask a device for its host keys."`
	Accept hostKeyAccept `cmd:"" help:"Accept a host key of a device."`
	Remove hostKeyRemove `cmd:"" help:"Forget a host key of a device."`
}

type hostKeyJSON struct {
	ID          string     `json:"id"`
	Port        int        `json:"port"`
	Type        string     `json:"type"`
	Fingerprint string     `json:"fingerprint"`
	Key         string     `json:"key"`
	Accepted    bool       `json:"accepted"`
	Seen        time.Time  `json:"seen_at"`
	Decided     *time.Time `json:"decided_at"`
	DecidedBy   string     `json:"decided_by"`
}

func wireHostKeys(keys []device.HostKey) []hostKeyJSON {
	out := make([]hostKeyJSON, len(keys))
	for i, k := range keys {
		out[i] = hostKeyJSON{k.ID, k.Port, k.Type(), k.Fingerprint(), k.Line(), k.Accepted, k.Seen.UTC(), optionalTime(k.Decided), k.DecidedBy}
	}
	return out
}

func (p *process) printHostKeys(keys []device.HostKey) error {
	return print(p, wireHostKeys(keys), []string{"PORT", "TYPE", "FINGERPRINT", "STATE", "BY", "SEEN"}, func(k hostKeyJSON) []string {
		state := "waits"
		if k.Accepted {
			state = "accepted"
		}
		return []string{strconv.Itoa(k.Port), k.Type, k.Fingerprint, state, k.DecidedBy, moment(k.Seen)}
	})
}

type hostKeyList struct{ oneDevice }

// Run lists the keys.
func (c *hostKeyList) Run(ctx context.Context, p *process) error {
	return c.on(ctx, p, "list host keys of %s", func(h *app.House, by access.Caller, d device.Device) error {
		keys, err := h.Devices.HostKeys(ctx, by, d.ID)
		if err != nil {
			return err
		}
		return p.printHostKeys(keys)
	})
}

type hostKeyScan struct {
	oneDevice
	Port   int  `placeholder:"N" help:"Which port; that of the device's SSH without it."`
	Accept bool `help:"Accept what it shows, at your word that nobody is in between."`
}

// Run asks for the keys.
func (c *hostKeyScan) Run(ctx context.Context, p *process) error {
	return c.on(ctx, p, "scan host keys of %s", func(h *app.House, by access.Caller, d device.Device) (err error) {
		var keys []device.HostKey
		if c.Accept {
			keys, err = acceptShown(ctx, h, by, d, c.Port)
		} else {
			keys, err = h.Devices.Scan(ctx, by, d.ID, c.Port)
		}
		if err != nil {
			return err
		}
		return p.printHostKeys(keys)
	})
}

type hostKeyAccept struct {
	oneDevice
	Key  string `arg:"" help:"The SHA256 fingerprint of a key that it has shown, or a line of a file of public keys."`
	Port int    `placeholder:"N" help:"On which port; that of the device's SSH without it."`
}

// Run accepts the key.
func (c *hostKeyAccept) Run(ctx context.Context, p *process) error {
	return c.on(ctx, p, "accept a host key of %s", func(h *app.House, by access.Caller, d device.Device) error {
		k, err := h.Devices.AcceptHostKey(ctx, by, d.ID, c.Port, c.Key)
		if err != nil {
			return err
		}
		return p.printHostKeys([]device.HostKey{k})
	})
}

type hostKeyRemove struct {
	Place
	Host string `arg:"" help:"The device."`
	Key  string `arg:"" help:"The key's SHA256 fingerprint, or its id."`
}

// Run forgets the key.
func (c *hostKeyRemove) Run(ctx context.Context, p *process) error {
	one := oneDevice{Place: c.Place, Host: c.Host}
	return one.on(ctx, p, "remove a host key of %s", func(h *app.House, by access.Caller, d device.Device) error {
		if err := h.Devices.RemoveHostKey(ctx, by, d.ID, c.Key); err != nil {
			return err
		}
		p.note("device %s is not known by %s any more", d.Host, c.Key)
		return nil
	})
}
