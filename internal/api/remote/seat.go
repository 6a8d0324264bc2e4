package remote

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// seat is a browser at a desk, by one socket.
type seat struct {
	socket   *websocket.Conn
	language language
	size     remote.Size
	from     int64         // the offset behind all output that the browser has
	ping     time.Duration // how often it is asked whether it is there

	sent, until    int64 // output: sent before it; shown before it by another page
	arrived, taken int64 // input: what had arrived when it sat down; taken as it was told
	notified       int
	unrecorded     bool // it was told

	news chan struct{} // there may be something to send
	gone chan struct{} // another window took the desk
	once sync.Once
}

func (s *seat) wake() {
	select {
	case s.news <- struct{}{}:
	default: // it knows already
	}
}

func (s *seat) replace() { s.once.Do(func() { close(s.gone) }) }

// sit lets a browser sit at a desk until its socket ends, another window takes its place, or the session is over.
func (s *desks) sit(ctx context.Context, d *desk, at *seat) {
	s.work.Add(1)
	defer s.work.Done()
	at.news, at.gone = make(chan struct{}, 1), make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d.take(at)
	defer d.leave(s.reattach, at)
	if d.ch != nil {
		_ = d.ch.Resize(at.size) // of a terminal that has gone: the end is on its way
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	defer at.socket.CloseNow() //nolint:errcheck // it may be closed already; it ends what reads
	beside.Go(func() {
		defer stop()
		d.read(ctx, at)
	})
	beside.Go(func() { at.keepAlive(ctx) })
	if status, why := d.write(ctx, at); status != 0 {
		_ = at.socket.Close(status, why) // the browser may have gone
	}
	stop()
}

// keepAlive asks the browser whether it is there, also while nothing happens. Whatever stands between sees that the socket is in use.
func (s *seat) keepAlive(ctx context.Context) {
	tick := time.NewTicker(s.ping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !pinged(ctx, s.socket) {
				_ = s.socket.CloseNow()
				return
			}
		}
	}
}

// read takes what the browser sends.
func (d *desk) read(ctx context.Context, at *seat) {
	for {
		kind, body, err := at.socket.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			if !d.arrive(at, body) {
				_ = at.socket.Close(websocket.StatusPolicyViolation, "more input than the target takes")
				return
			}
			continue
		}
		if !d.obey(body) {
			_ = at.socket.Close(websocket.StatusPolicyViolation, "malformed message")
			return
		}
	}
}

// obey does what a message in text says. Types that it does not know are of newer pages.
func (d *desk) obey(body []byte) bool {
	var m struct {
		Type   string `json:"type"`
		Cols   int    `json:"cols"`
		Rows   int    `json:"rows"`
		Offset int64  `json:"offset"`
	}
	if json.Unmarshal(body, &m) != nil {
		return false
	}
	switch m.Type {
	case "ack":
		return d.ack(m.Offset) == nil
	case "resize":
		if d.ch != nil {
			_ = d.ch.Resize(sizeOf(m.Cols, m.Rows)) // of a terminal that has gone: the end is on its way
		}
	}
	return true
}

// write sends output, notices and at last why the session ended. It returns how to close the socket; 0 where it is closed already.
func (d *desk) write(ctx context.Context, at *seat) (websocket.StatusCode, string) {
	if send(ctx, at.socket, message{Type: "ready", Offset: &at.sent, Until: &at.until, Input: &at.arrived}) != nil {
		return 0, ""
	}
	for {
		select {
		case <-at.gone:
			return closedReplaced, "another window shows the session"
		default:
		}
		output, said, over := d.pending(at)
		if len(output) > 0 && write(ctx, at.socket, websocket.MessageBinary, output) != nil {
			return 0, ""
		}
		for _, m := range said {
			if send(ctx, at.socket, m) != nil {
				return 0, ""
			}
		}
		if len(output)+len(said) > 0 {
			continue
		}
		if over {
			why := d.live.Ended()
			_ = send(ctx, at.socket, message{Type: "end", Reason: string(why), Text: at.language.say(endText(why))})
			return websocket.StatusNormalClosure, ""
		}
		select {
		case <-at.news:
		case <-at.gone:
		case <-ctx.Done():
			return 0, ""
		}
	}
}

// pending takes what is to be sent to a seat: output first of all, what is to be said beside it, and whether there is nothing more to come.
func (d *desk) pending(at *seat) (output []byte, said []message, over bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kept := d.out.from(at.sent, piece); len(kept) > 0 {
		output = append(output, kept...)
		at.sent += int64(len(kept))
		d.shown = max(d.shown, at.sent)
	}
	if at.taken < d.taken {
		at.taken = d.taken
		taken := d.taken
		said = append(said, message{Type: "taken", Offset: &taken})
	}
	for at.notified < d.notified {
		n := d.notices[max(0, len(d.notices)-(d.notified-at.notified))]
		at.notified++
		m := message{Type: "notice", Text: n.Text, Idle: n.Idle}
		if !n.EndsAt.IsZero() {
			m.EndsAt = &n.EndsAt
		}
		said = append(said, m)
	}
	if !at.unrecorded && !d.live.Recorded() {
		at.unrecorded = true
		said = append(said, message{Type: "unrecorded"})
	}
	return output, said, d.over
}
