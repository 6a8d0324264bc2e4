package senhasegura

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// wireSession is a session that was started.
type wireSession struct {
	ID           string `json:"id"` // its number
	SessionID    string `json:"session_id"`
	User         string `json:"user"`
	OriginIP     string `json:"origin_ip"`
	Credential   string `json:"credential"`
	Credencial   string `json:"credencial"`
	Device       string `json:"device"`
	Dispositivo  string `json:"dispositivo"`
	Protocol     string `json:"protocol"`
	Proxy        string `json:"proxy"`
	Start        string `json:"start"`
	End          any    `json:"end"`
	Time         string `json:"time"`
	PreventPurge string `json:"prevent_purge"`
	Request      any    `json:"request"`
	ITSM         any    `json:"ITSM"`
}

func (d *Dialect) sessionOf(x remote.Session) wireSession {
	at := netip.AddrPortFrom(x.IP, uint16(x.Port)).String() //nolint:gosec // a port
	out := wireSession{
		ID: number(x.Number), SessionID: x.Code, User: x.User.Name, Credential: x.Username, Credencial: x.Username, Device: at, Dispositivo: at,
		Protocol: strings.ToLower(string(x.Protocol)), Proxy: proxies[x.Way], Start: moment(x.Started), PreventPurge: "No", Request: noneIfEmpty(x.Request), ITSM: noneIfEmpty(x.Reference),
	}
	if x.Address.IsValid() {
		out.OriginIP = x.Address.String()
	}
	until := d.Now()
	if !x.Ended.IsZero() {
		until, out.End = x.Ended, moment(x.Ended)
	}
	out.Time = clock(until.Sub(x.Started))
	if x.Hold {
		out.PreventPurge = "Yes"
	}
	return out
}

// proxies is what the wire calls the ways to a session.
var proxies = map[remote.Way]string{remote.Web: "Web Proxy", remote.Native: "Terminal Proxy"}

// clock is a time that passed as hours, of which there may be many, minutes and seconds.
func clock(took time.Duration) string {
	s := max(0, int(took.Seconds()))
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// listed is which sessions a listing has.
type listed struct {
	remote.Which
	skip, limit int64 // limit 0 is none
	nobody      bool  // it names a user or a device that is not there
}

// listSessions streams the sessions that the authorization sees, newest first: there may be millions.
func (d *Dialect) listSessions(w http.ResponseWriter, c *call) error {
	want, err := d.wantedSessions(c)
	if err != nil {
		return err
	}
	head, err := json.Marshal(d.success(http.StatusOK, ""))
	if err != nil {
		return err
	}
	begun := false
	write := func(text []byte) {
		if !begun {
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Cache-Control", "no-store")
			_, _ = w.Write(append(head[:len(head)-1:len(head)-1], `,"remote_sessions":[`...))
		}
		begun = true
		_, _ = w.Write(text) // the caller has gone: nobody is left to tell
	}
	separator := ""
	err = d.eachSession(c, want, func(x remote.Session) error {
		text, err := json.Marshal(d.sessionOf(x))
		if err == nil {
			write(append([]byte(separator), text...))
			separator = ","
		}
		return err
	})
	if err == nil {
		write([]byte("]}\n"))
	}
	return err
}

// wantedSessions reads the query.
func (d *Dialect) wantedSessions(c *call) (listed, error) {
	q := c.URL.Query()
	out := listed{}
	for name, at := range map[string]*int64{"limit": &out.limit, "offset": &out.skip} {
		if text := q.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 || name == "limit" && (n < 1 || n > 1000) {
				return out, said(http.StatusBadRequest, "Invalid "+name)
			}
			*at = n
		}
	}
	out.Active = q.Get("active") == "1"
	if name := q.Get("user"); name != "" {
		who, err := d.Remote.Users.ForRemote(c.Context(), name)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return out, err
		}
		out.User, out.nobody = who.User.ID, who.User.ID == "" || identity.Fold(name) != identity.Fold(who.User.Name)
	}
	if ref := q.Get("device"); ref != "" {
		at, err := d.Devices.Find(c.Context(), c.by, ref)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return out, err
		}
		out.Device, out.nobody = at.ID, out.nobody || at.ID == ""
	}
	return out, nil
}

// eachSession reads a listing to its end. Sessions that start meanwhile push others down: none is told twice.
func (d *Dialect) eachSession(c *call, want listed, tell func(remote.Session) error) error {
	if want.nobody {
		return nil
	}
	last, told := int64(0), int64(0)
	for offset := want.skip; ; offset += page.MaxLimit {
		part, err := d.Remote.List(c.Context(), c.by, want.Which, page.Of(offset, page.MaxLimit))
		if err != nil {
			return err
		}
		for _, x := range part.Items {
			if last > 0 && x.Number >= last {
				continue
			}
			if err := tell(x); err != nil {
				return err
			}
			last = x.Number
			if told++; told == want.limit {
				return nil
			}
		}
		if !part.HasMore() || len(part.Items) == 0 {
			return nil
		}
	}
}

// showSession tells of one session, by its number.
func (d *Dialect) showSession(w http.ResponseWriter, c *call) error {
	id := c.PathValue("id")
	if id == "" || strings.Trim(id, "0123456789") != "" {
		return errSessionID
	}
	x, err := d.Remote.Find(c.Context(), c.by, id)
	if err != nil {
		return err
	}
	if x.Number == 0 || number(x.Number) != strings.TrimLeft(id, "0") { // another kind of name that looks like a number
		return remote.ErrUnknown
	}
	a := d.success(http.StatusOK, "")
	one := []wireSession{d.sessionOf(x)}
	a.RemoteSession, a.RemoteSessions = one, one
	return reply(w, a)
}

// drop ends a session by its id, or by the token that came with its link.
func (d *Dialect) drop(w http.ResponseWriter, c *call) error {
	x := strings.ToLower(c.PathValue("session"))
	if len(x) != 40 && len(x) != 64 || strings.Trim(x, "0123456789abcdef") != "" {
		return errDrop
	}
	_, err := d.Remote.End(c.Context(), c.by, x, remote.Dropped)
	if err != nil && !fault.Is(err, fault.Internal) && !fault.Is(err, fault.Limited) {
		return errDrop
	}
	if err != nil {
		return err
	}
	a := d.success(http.StatusOK, "Session dropped successfully")
	a.Response.Mensagem = "Sessão encerrada com sucesso"
	return reply(w, a)
}
