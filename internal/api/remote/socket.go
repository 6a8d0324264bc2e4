package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// What tickets are for.
const (
	terminalPurpose = "terminal"
	watchPurpose    = "watch"
	playPurpose     = "play"
)

const (
	mostMessage = 64 << 10         // of what a browser sends at a time
	helloWait   = 10 * time.Second // for the first message
	writeWait   = 30 * time.Second // for a browser to take a message
	pongWait    = 20 * time.Second

	closedReplaced websocket.StatusCode = 4001 // another window shows the session
	closedTicket   websocket.StatusCode = 4003 // the ticket opens nothing
)

// hello is the first message of a socket.
type hello struct {
	Ticket string `json:"ticket"`
	Cols   int    `json:"cols"`
	Rows   int    `json:"rows"`
	From   int64  `json:"from"` // the offset behind all output that the browser has
}

// size is that of the browser's terminal, within what a terminal can be.
func (h hello) size() remote.Size { return sizeOf(h.Cols, h.Rows) }

func sizeOf(cols, rows int) remote.Size {
	if cols <= 0 || rows <= 0 {
		return remote.Size{Cols: 80, Rows: 24}
	}
	return remote.Size{Cols: min(max(cols, 2), 1000), Rows: min(max(rows, 1), 1000)}
}

var errTicket = fault.New(fault.NotFound, "the ticket opens nothing")

// upgrade is the only way to a WebSocket. It refuses requests that did not begin at exactly one of our own origins (rule W3), then takes a one-time
// ticket of the session, for the purpose and the person, from the first message. Where it returns an error everything is answered already.
func (p *Pages) upgrade(w http.ResponseWriter, r *http.Request, x remote.Session, purpose, subject string) (*websocket.Conn, hello, error) {
	if from := r.Header.Values("Origin"); len(from) != 1 || !slices.Contains(p.Cookies.Own(), from[0]) {
		p.foreign(r, x, errForeign)
		p.problem(w, r, errForeign)
		return nil, hello{}, errForeign
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		OriginPatterns:  []string{"*"}, // judged above, to the letter
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, hello{}, err
	}
	c.SetReadLimit(mostMessage)
	h, err := p.greet(r.Context(), c, x.ID, purpose, subject)
	if errors.Is(err, errTicket) {
		p.foreign(r, x, err)
	}
	if err != nil {
		_ = c.Close(closedTicket, "the ticket opens nothing") // whoever it was is gone already
		return nil, hello{}, err
	}
	return c, h, nil
}

// foreign keeps on record that a request was none of ours.
func (p *Pages) foreign(r *http.Request, x remote.Session, why error) {
	p.Sessions.Foreign(context.WithoutCancel(r.Context()), x, api.Remote(r.Context()), Name, fault.Text(why))
}

func (p *Pages) greet(ctx context.Context, c *websocket.Conn, session, purpose, subject string) (hello, error) {
	ctx, cancel := context.WithTimeout(ctx, helloWait)
	defer cancel()
	var h hello
	kind, first, err := c.Read(ctx)
	if err != nil {
		return h, err
	}
	if kind != websocket.MessageText || json.Unmarshal(first, &h) != nil || h.Ticket == "" {
		return h, errTicket
	}
	return h, p.useTicket(ctx, h.Ticket, session, purpose, subject)
}

// useTicket takes a ticket of a session, for a purpose and a person. It reports errTicket.
func (p *Pages) useTicket(ctx context.Context, text, session, purpose, subject string) error {
	t, err := p.Sessions.UseTicket(ctx, secret.New(text), purpose)
	if errors.Is(err, remote.ErrUnknown) || err == nil && (t.Session != session || t.Subject != subject) {
		return errTicket
	}
	return err
}

// message is what is told in text beside output.
type message struct {
	Type   string     `json:"type"`
	Offset *int64     `json:"offset,omitempty"` // ready: where output goes on; taken: how much input the target took
	Until  *int64     `json:"until,omitempty"`  // ready: output before it was shown by another page already
	Input  *int64     `json:"input,omitempty"`  // ready: how much input has arrived
	Text   string     `json:"text,omitempty"`
	EndsAt *time.Time `json:"ends_at,omitempty"`
	Idle   bool       `json:"idle,omitempty"` // notice: typing takes it back
	Reason string     `json:"reason,omitempty"`
}

func send(ctx context.Context, c *websocket.Conn, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return write(ctx, c, websocket.MessageText, body)
}

func write(ctx context.Context, c *websocket.Conn, kind websocket.MessageType, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return c.Write(ctx, kind, body)
}

// terminal is the socket of a session's terminal. The first one starts the session.
func (p *Pages) terminal(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	c, first, err := p.upgrade(w, r, x, terminalPurpose, x.User.ID)
	if err != nil {
		return nil // answered
	}
	defer c.CloseNow()                        //nolint:errcheck // it may be closed already
	ctx := context.WithoutCancel(r.Context()) // which ends with this function alone: the connection is ours now
	l := languageOf(r)
	d, err := p.deskOf(ctx, x, first.size())
	if err != nil {
		why, name := failure(err)
		if fault.Is(err, fault.Internal) {
			p.OnError("start a remote session", err)
		}
		_ = send(ctx, c, message{Type: "end", Reason: why, Text: l.say(name)})
		_ = c.Close(websocket.StatusNormalClosure, "")
		return nil
	}
	p.desks.sit(ctx, d, &seat{socket: c, language: l, size: first.size(), from: first.From, ping: p.Ping})
	return nil
}

// deskOf returns where the session's terminal is kept on this node. Where there is none yet the session starts.
func (p *Pages) deskOf(ctx context.Context, x remote.Session, size remote.Size) (*desk, error) {
	return p.desks.get(x.ID, func() (Live, remote.Channel, error) {
		live, here := p.Engine.Lived(x.ID)
		switch {
		case here: // its terminal has gone, or another door has it
		case x.State == remote.Active:
			return nil, nil, remote.ErrElsewhere
		default:
			step, err := p.Sessions.Due(ctx, x)
			if err != nil {
				return nil, nil, err
			}
			if step.Kind != remote.NothingDue {
				return nil, nil, remote.ErrNotWaiting
			}
			if live, err = p.Engine.Start(ctx, x, size); err != nil {
				return nil, nil, err
			}
		}
		if !x.Terms.Gives(access.Shell) { // for its files alone
			return live, nil, nil
		}
		ch, err := live.Terminal(ctx, remote.Terminal{PTY: true, Term: "xterm-256color", Size: size})
		if err != nil {
			live.Close(remote.Failed, "")
			return nil, nil, err
		}
		return live, ch, nil
	})
}

// failure is how a start that failed is told: a word for the script, and the name of a text.
func failure(err error) (why, name string) {
	for _, one := range []struct {
		is        error
		why, name string
	}{
		{remote.ErrUnreachable, "error", "ended.unreachable"},
		{remote.ErrTargetLogin, "error", "ended.login"},
		{remote.ErrHostKey, "error", "ended.hostkey"},
		{remote.ErrUnrecorded, "unrecorded", "ended.unrecorded"},
		{remote.ErrNoAccess, "revoked", "ended.revoked"},
		{remote.ErrLinkDenied, "revoked", "ended.revoked"},
		{remote.ErrDraining, "drained", "ended.drained"},
		{remote.ErrElsewhere, "elsewhere", "ended.elsewhere"},
		{remote.ErrOver, "closed", "ended.closed"},
	} {
		if errors.Is(err, one.is) {
			return one.why, one.name
		}
	}
	return "error", "ended.error"
}

// stream is the socket of somebody who looks on.
func (p *Pages) stream(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	x, err := p.Sessions.Find(r.Context(), by, r.PathValue("ref"))
	if err != nil {
		return err
	}
	c, _, err := p.upgrade(w, r, x, watchPurpose, by.ID)
	if err != nil {
		return nil // answered
	}
	defer c.CloseNow() //nolint:errcheck // it may be closed already
	// Nobody types here: what comes is read to see the socket close, and a message of the browser closes it.
	ctx := c.CloseRead(context.WithoutCancel(r.Context()))
	feed, err := p.Engine.Watch(ctx, by, x.ID)
	if err != nil {
		_ = send(ctx, c, message{Type: "end", Reason: watchEnd(err)})
		return nil
	}
	defer feed.Close() //nolint:errcheck // the watch lapses by itself where it cannot be ended
	p.passOn(ctx, c, feed, x.ID, by.Name)
	_ = c.Close(websocket.StatusNormalClosure, "")
	return nil
}

func watchEnd(err error) string {
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.Unauthenticated) {
		return "denied"
	}
	return "over"
}

// frames are what passed, as events of asciicast v3.
type frames struct {
	Type   string            `json:"type"`
	Events []json.RawMessage `json:"events"` // each is one frame: a list of events
}

// watchers are who looks on, as far as this node knows.
type watchers struct {
	Type  string   `json:"type"`
	Names []string `json:"names"`
}

// passOn sends what passes in the session, until it or the watch is over.
func (p *Pages) passOn(ctx context.Context, c *websocket.Conn, feed Feed, id, name string) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go p.tellWatchers(ctx, c, id, name)
	for {
		passed, err := feed.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				_ = send(ctx, c, message{Type: "end", Reason: watchEnd(err)})
			}
			return
		}
		f := frames{Type: "frames"}
		for _, one := range passed {
			f.Events = append(f.Events, one.Body)
		}
		if len(f.Events) > 0 && send(ctx, c, f) != nil {
			return
		}
	}
}

// tellWatchers says who looks on, whenever that changes, and asks a silent browser whether it is there.
func (p *Pages) tellWatchers(ctx context.Context, c *websocket.Conn, id, name string) {
	var told []string
	look, ping := time.NewTicker(p.Look), time.NewTicker(p.Ping)
	defer look.Stop()
	defer ping.Stop()
	for {
		names := []string{name}
		if live, here := p.Engine.Lived(id); here {
			names = append(names, live.Watchers()...)
		}
		slices.Sort(names)
		if names = slices.Compact(names); !slices.Equal(names, told) {
			if told = names; send(ctx, c, watchers{"watchers", names}) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-ping.C:
			if !pinged(ctx, c) {
				_ = c.CloseNow()
				return
			}
		}
	}
}

// pinged asks the browser whether it is there. Whatever stands between sees that the socket is in use.
func pinged(ctx context.Context, c *websocket.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, pongWait)
	defer cancel()
	return c.Ping(ctx) == nil
}

// watchTicket gives the page of somebody who looks on what opens its socket, once.
func (p *Pages) watchTicket(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	x, err := p.Sessions.Find(r.Context(), by, r.PathValue("ref"))
	if err != nil {
		return err
	}
	plain, err := p.Sessions.MakeTicket(r.Context(), x, watchPurpose, by.ID, by.Name)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, wireTicket{plain.Reveal()})
}

// watch is the page of somebody who looks on.
func (p *Pages) watch(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	x, err := p.Sessions.Find(r.Context(), by, r.PathValue("ref"))
	if err != nil || p.build(w, r) {
		return err
	}
	page := newShell(r, "watch", "watch", x)
	page.Path = "/ws/watch/" + x.ID
	w.Header().Set("Content-Security-Policy", policy(terminal, "'none'"))
	return show(w, http.StatusOK, "watch", page)
}
