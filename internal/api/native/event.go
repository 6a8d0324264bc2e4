package native

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// wireEvent is what happened, as the stream and the webhooks of the installation tell it.
type wireEvent struct {
	Type      string        `json:"type" example:"session.start"`
	Timestamp time.Time     `json:"timestamp"`
	Data      wireEventData `json:"data"`
}

// wireEventData is the entry of the audit log. What is empty is absent.
type wireEventData struct {
	Position int64             `json:"position,omitempty" doc:"In the sealed audit chain."`
	ID       string            `json:"id" format:"uuid"`
	At       time.Time         `json:"at"`
	Actor    wireEventActor    `json:"actor"`
	Action   string            `json:"action"`
	Object   wireEventObject   `json:"object"`
	Project  string            `json:"project,omitempty"`
	Outcome  string            `json:"outcome" enum:"done,refused,failed"`
	Reason   string            `json:"reason,omitempty" doc:"Why it was refused or failed: the true reason, which whoever tried was not told."`
	Address  string            `json:"address,omitempty"`
	Door     string            `json:"door,omitempty"`
	Count    int               `json:"count,omitempty" doc:"How many like it this one stands for: floods of refusals are folded."`
	Detail   map[string]string `json:"detail,omitempty"`
}

type wireEventActor struct {
	Kind   string `json:"kind"`
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
	Method string `json:"method,omitempty"`
}

type wireEventObject struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type followEvents struct {
	Types string `query:"types" example:"session.*,login.*" doc:"Patterns with commas between them: a type, the beginning of types up to a dot with * behind it. Every event where it is left out."`
	After string `header:"Last-Event-ID" doc:"Position in the audit chain: what happened since is told first. Browsers send it when they connect again."`
}

var errPosition = fault.Fields("Last-Event-ID is no id that a stream gave", fault.Field{Path: "header.Last-Event-ID", Message: "expected a position, 0 or above"})

// position reads from where to follow.
func (in followEvents) position() (int64, error) {
	if in.After == "" {
		return webhook.FromEnd, nil
	}
	n, err := strconv.ParseInt(in.After, 10, 64)
	if err != nil || n < 0 {
		return 0, errPosition
	}
	return n, nil
}

func (in followEvents) patterns() webhook.Patterns {
	if in.Types == "" {
		return nil
	}
	return strings.Split(in.Types, ",")
}

// stream makes a line of a function that answers with server-sent events, each with an Event as its data. A page of another site may not read
// it (rule W1): for the cookie the request has to have begun at a page of ours.
func stream[In any](method, path string, do access.Action, summary string, answer func(http.ResponseWriter, *http.Request, access.Caller, In) error, more ...func(*line)) line {
	o := line{method: method, path: path, action: do, summary: summary, in: reflect.TypeFor[In](), out: reflect.TypeFor[wireEvent](), status: http.StatusOK, stream: true}
	for _, m := range more {
		m(&o)
	}
	o.serve = func(a *API, w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if a.Cookies.Foreign(r) || by.Cookie && !a.Cookies.BeganHere(r) {
			return errOrigin
		}
		var in In
		if err := bind(r, path, &in); err != nil {
			return err
		}
		return placed(answer(w, r, by, in), o.in)
	}
	return o
}

// followEvents writes events until the client goes or the domain ends it.
func (a *API) followEvents(w http.ResponseWriter, r *http.Request, by access.Caller, in followEvents) error {
	after, err := in.position()
	if err != nil {
		return err
	}
	tail, err := a.Events.Follow(r.Context(), by, in.patterns(), after)
	if err != nil {
		return err
	}
	defer tail.Close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	out := eventWriter{w, http.NewResponseController(w), a.SendWait}
	if err := out.begin(tail.Position()); err != nil {
		return nil //nolint:nilerr // the client has gone
	}
	return out.follow(r.Context(), tail)
}

// eventWriter writes server-sent events (WHATWG HTML section 9.2).
type eventWriter struct {
	w    http.ResponseWriter
	c    *http.ResponseController
	wait time.Duration // for one write
}

// begin tells the client from where it follows, and gives it all the time there is: the request has arrived.
func (o eventWriter) begin(position int64) error {
	err := o.write(fmt.Sprintf("retry: 3000\nid: %d\n\n", position))
	_ = o.c.SetReadDeadline(time.Time{}) // a writer without deadlines has none to take away
	return err
}

func (o eventWriter) follow(ctx context.Context, tail *webhook.Tail) error {
	for {
		events, err := tail.Next(ctx)
		if err != nil {
			return o.end(ctx, err)
		}
		var text strings.Builder
		for _, e := range events {
			fmt.Fprintf(&text, "id: %d\ndata: %s\n\n", e.Position, e.Body)
		}
		if len(events) == 0 { // a sign of life, and past what was not asked for
			fmt.Fprintf(&text, ": nothing new\nid: %d\n\n", tail.Position())
		}
		if err := o.write(text.String()); err != nil {
			return nil //nolint:nilerr // the client has gone, or does not read
		}
	}
}

// end tells the client why there is no more. What is no one's decision breaks the connection off instead, and is logged.
func (o eventWriter) end(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the client has gone
	}
	if fault.Is(err, fault.Internal) {
		return err
	}
	reason, _ := json.Marshal(map[string]string{"reason": sentence(fault.Text(err))}) // text always marshals
	_ = o.write(fmt.Sprintf("event: end\ndata: %s\n\n", reason))
	return nil
}

// write sends text within its time.
func (o eventWriter) write(text string) error {
	_ = o.c.SetWriteDeadline(time.Now().Add(o.wait)) // a writer without deadlines is a test's
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.c.Flush()
}
