package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

func (a *API) remoteSessions() tag {
	return tag{"Remote sessions", "Recorded sessions of people on devices: list, end, and open one for oneself.", []line{
		op("GET", "/api/v1/remote-sessions", access.RemoteRead, "List remote sessions, newest first", a.listRemote, says("Those that started: one's own, and by right others'.")),
		op("POST", "/api/v1/remote-sessions", access.RemoteOpen, "Make a link that opens a session for oneself", a.launchRemote, created, says("It opens once, within seconds, and only in the browser whose session asked for it. The credential of the device is never shown.")),
		op("GET", "/api/v1/remote-sessions/{remote}", access.RemoteRead, "Show a remote session", a.showRemote),
		op("POST", "/api/v1/remote-sessions/{remote}/end", access.RemoteEnd, "End a remote session", a.endRemote, says("Wherever it is carried, within two seconds; a link that nobody used is cancelled.")),
	}}
}

// wireRemote is one session of somebody on a device.
type wireRemote struct {
	ID         string     `json:"id" format:"uuid"`
	Number     int64      `json:"number" doc:"0 until it starts."`
	Code       string     `json:"code" doc:"40 hexadecimal characters; empty until it starts."`
	State      string     `json:"state" enum:"issued,expired,cancelled,waiting,active,ended"`
	Way        string     `json:"way" enum:"web,native"`
	UserID     string     `json:"user_id" format:"uuid"`
	User       string     `json:"user"`
	Device     string     `json:"device_id" format:"uuid"`
	Host       string     `json:"host"`
	IP         string     `json:"ip"`
	Port       int64      `json:"port"`
	Protocol   string     `json:"protocol"`
	Credential string     `json:"credential_id" format:"uuid"`
	Username   string     `json:"username"`
	Grant      int64      `json:"grant"`
	Address    string     `json:"address" doc:"Where the person came from; empty until they came."`
	Reason     string     `json:"reason"`
	Reference  string     `json:"reference"`
	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  *time.Time `json:"started_at" nullable:"true"`
	EndedAt    *time.Time `json:"ended_at" nullable:"true"`
	End        string     `json:"end" doc:"Why it ended."`
	EndedBy    string     `json:"ended_by"`
	Hold       bool       `json:"hold" doc:"Its recording is kept beyond retention."`
}

func remoteOf(x remote.Session) wireRemote {
	out := wireRemote{
		ID: x.ID, Number: x.Number, Code: x.Code, State: string(x.State), Way: string(x.Way), UserID: x.User.ID, User: x.User.Name, Device: x.Target, Host: x.Host, IP: x.IP.String(),
		Port: int64(x.Port), Protocol: string(x.Protocol), Credential: x.Credential, Username: x.Username, Grant: x.Grant, Reason: x.Why, Reference: x.Reference,
		CreatedAt: x.Created.UTC(), StartedAt: moment(x.Started), EndedAt: moment(x.Ended), End: string(x.End), EndedBy: x.EndedBy, Hold: x.Hold,
	}
	if x.Address.IsValid() {
		out.Address = x.Address.String()
	}
	return out
}

type listRemote struct {
	window
	Active bool   `query:"active" doc:"Only those that live."`
	User   string `query:"user" doc:"Only those of this user, by id."`
	Device string `query:"device" doc:"Only those to this device, by id."`
}

func (a *API) listRemote(ctx context.Context, by access.Caller, in listRemote) (wirePage[wireRemote], error) {
	w, err := in.counted()
	if err != nil {
		return wirePage[wireRemote]{}, err
	}
	p, err := a.Remote.List(ctx, by, remote.Which{Active: in.Active, User: in.User, Device: in.Device}, w)
	return countedOf(p, remoteOf), err
}

type launchRemote struct {
	Body wireLaunch
}

type wireLaunch struct {
	Device     string `json:"device" maxLength:"4096" doc:"Its id, number, host in any case, or IP address: where the credential is registered."`
	Credential string `json:"credential,omitempty" maxLength:"4096" doc:"User name at the device, or identifier; without it one that is free."`
	Protocol   string `json:"protocol" enum:"ssh,telnet,rdp,vnc,http,https"`
	Target     string `json:"target,omitempty" maxLength:"4096" doc:"Where to go with a domain's credential; without it the device."`
	Port       int64  `json:"port,omitempty" minimum:"0" maximum:"65535" doc:"0 is the device's own."`
}

// wireLaunchLink is a link to a session, shown once.
type wireLaunchLink struct {
	Session   string    `json:"session_id" format:"uuid"`
	URL       string    `json:"url" format:"uri"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (a *API) launchRemote(ctx context.Context, by access.Caller, in launchRemote) (wireLaunchLink, error) {
	made, err := a.Remote.Launch(ctx, by, remote.Want{
		User: by.ID, Device: in.Body.Device, Credential: in.Body.Credential, Pick: true, Protocol: device.Protocol(in.Body.Protocol), Target: in.Body.Target, Port: int(in.Body.Port),
	})
	if err != nil {
		return wireLaunchLink{}, err
	}
	at := a.Cookies.PublicURL.JoinPath("/modulos/auth")
	at.RawQuery = "_sr=" + made.Link.Reveal()
	return wireLaunchLink{Session: made.Session.ID, URL: at.String(), ExpiresAt: made.Session.Expires.UTC()}, nil
}

type oneRemote struct {
	Remote string `path:"remote" doc:"Its id, number or code."`
}

func (a *API) showRemote(ctx context.Context, by access.Caller, in oneRemote) (wireRemote, error) {
	x, err := a.Remote.Find(ctx, by, in.Remote)
	return remoteOf(x), err
}

func (a *API) endRemote(ctx context.Context, by access.Caller, in oneRemote) (wireRemote, error) {
	x, err := a.Remote.End(ctx, by, in.Remote, remote.Dropped)
	return remoteOf(x), err
}
