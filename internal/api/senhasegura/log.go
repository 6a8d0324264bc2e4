package senhasegura

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// answered remembers the status of an answer.
type answered struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answered) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController the writer below.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// record writes the row that a call leaves in the access log. Of calls by nobody whom we know, so many from one address in a minute: a flood of them must
// not fill the database; the audit record counts those that present something.
func (d *Dialect) record(c *call, out *answered, failed error, begun time.Time) {
	now := d.Now()
	address := api.Remote(c.Context())
	if c.from.ID == "" && !d.strangers.room(address.String(), now) {
		return
	}
	if out.status == 0 { // a panic: who is above us answers
		out.status = http.StatusInternalServerError
	}
	row := identity.Call{
		At: begun, Client: c.from.ClientID, Address: address.String(), Resource: c.route.resource, Event: string(c.route.action), Method: c.Method,
		Path: shown(c.URL.Path), Status: out.status, Node: d.Node, Took: now.Sub(begun),
	}
	if c.from.ID != "" {
		row.Name = c.from.Title()
	}
	if c.refused != nil {
		failed = c.refused
	}
	if failed != nil {
		row.Error = answerTo(failed).text
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), 5*time.Second)
	defer cancel()
	if err := d.Authorizations.Record(ctx, row); err != nil && d.OnError != nil {
		d.OnError("write access log", err)
	}
}

const (
	maxStrange   = 60     // rows a minute of strangers from one address
	maxAddresses = 10_000 // that are remembered; beyond them strangers are written down together
)

// tally counts, on this node, what strangers leave in a minute.
type tally struct {
	mu    sync.Mutex
	until time.Time
	rows  map[string]int
}

// room counts one row of an address, and reports whether there is room for it.
func (t *tally) room(address string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil || !now.Before(t.until) {
		t.rows, t.until = map[string]int{}, now.Add(time.Minute)
	}
	if _, known := t.rows[address]; !known && len(t.rows) >= maxAddresses {
		address = ""
	}
	t.rows[address]++
	return t.rows[address] <= maxStrange
}
