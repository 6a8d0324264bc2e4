package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type remoteCommands struct {
	List remoteList `cmd:"" help:"List remote sessions, newest first."`
	End  remoteEnd  `cmd:"" help:"End a remote session at once."`
}

const seeRemote = "see `gatehouse remote list`"

type remoteList struct {
	Place
	Output
	Active bool   `help:"Only those that live."`
	User   string `placeholder:"NAME" help:"Only those of this user."`
	Device string `placeholder:"HOST" help:"Only those to this device."`
	Limit  int64  `placeholder:"N" default:"50" help:"At most so many (${default})."`
}

type remoteJSON struct {
	ID         string     `json:"id"`
	Number     int64      `json:"number"`
	Code       string     `json:"code"`
	State      string     `json:"state"`
	Way        string     `json:"way"`
	UserID     string     `json:"user_id"`
	User       string     `json:"user"`
	DeviceID   string     `json:"device_id"`
	Device     string     `json:"device"`
	IP         string     `json:"ip"`
	Port       int        `json:"port"`
	Protocol   string     `json:"protocol"`
	Credential string     `json:"credential_id"`
	Username   string     `json:"username"`
	Address    string     `json:"address"`
	Reason     string     `json:"reason"`
	Reference  string     `json:"reference"`
	Node       string     `json:"node"`
	Started    time.Time  `json:"started_at"`
	Ended      *time.Time `json:"ended_at"`
	End        string     `json:"end,omitempty"`
	EndedBy    string     `json:"ended_by,omitempty"`
	Hold       bool       `json:"hold"`
}

func wireRemote(x remote.Session) remoteJSON {
	out := remoteJSON{
		ID: x.ID, Number: x.Number, Code: x.Code, State: string(x.State), Way: string(x.Way), UserID: x.User.ID, User: x.User.Name, DeviceID: x.Target, Device: x.Host, IP: x.IP.String(),
		Port: x.Port, Protocol: string(x.Protocol), Credential: x.Credential, Username: x.Username, Reason: x.Why, Reference: x.Reference, Node: x.Node, Started: x.Started.UTC(),
		Ended: optionalTime(x.Ended), End: string(x.End), EndedBy: x.EndedBy, Hold: x.Hold,
	}
	if x.Address.IsValid() {
		out.Address = x.Address.String()
	}
	return out
}

// Run lists the sessions that started.
func (c *remoteList) Run(ctx context.Context, p *process) error {
	if err := limited(c.Limit); err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		which := remote.Which{Active: c.Active}
		if c.User != "" {
			u, err := userNamed(ctx, h, by, c.User)
			if err != nil {
				return err
			}
			which.User = u.ID
		}
		if c.Device != "" {
			d, err := h.Devices.Find(ctx, by, c.Device)
			if err != nil {
				return failed("find device "+c.Device, err, seeDevices)
			}
			which.Device = d.ID
		}
		all, err := upTo(c.Limit, func(w page.Window) (page.Page[remote.Session], error) { return h.Remote.List(ctx, by, which, w) })
		if err != nil {
			return failed("list remote sessions", err, "run `gatehouse migrate`")
		}
		shown := make([]remoteJSON, len(all))
		for i, x := range all {
			shown[i] = wireRemote(x)
		}
		return print(p, shown, []string{"NUMBER", "USER", "DEVICE", "AS", "PROTOCOL", "STATE", "BEGUN", "ENDED", "WHY", "FROM"}, func(x remoteJSON) []string {
			return []string{strconv.FormatInt(x.Number, 10), x.User, x.Device, x.Username, x.Protocol, x.State, moment(x.Started), ifAny(x.Ended), x.End, x.Address}
		})
	})
}

type remoteEnd struct {
	Place
	Session string `arg:"" help:"Its number, id or code."`
}

// Run ends the session.
func (c *remoteEnd) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		x, err := h.Remote.End(ctx, by, c.Session, remote.Dropped)
		if err != nil {
			return failed("end remote session "+c.Session, err, seeRemote)
		}
		p.note("%s", endedHow(x))
		return nil
	})
}

func endedHow(x remote.Session) string {
	if x.State == remote.Active {
		return fmt.Sprintf("session %d of %s on %s ends within 2 seconds", x.Number, x.User.Name, x.Host)
	}
	return "ended before it began"
}
