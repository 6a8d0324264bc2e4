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

type requestCommands struct {
	List    requestList    `cmd:"" help:"List requests of people whose grants ask for approval."`
	Approve requestApprove `cmd:"" help:"Let a person in."`
	Deny    requestDeny    `cmd:"" help:"Send a person away."`
}

const seeRequests = "see `gatehouse request list`"

type requestList struct {
	Place
	Output
	All bool `help:"Those that were answered, or that nobody answered, too."`
}

type requestJSON struct {
	Number     int64      `json:"number"`
	Session    string     `json:"session_id"`
	UserID     string     `json:"user_id"`
	User       string     `json:"user"`
	Device     string     `json:"device_id"`
	Credential string     `json:"credential_id"`
	Place      string     `json:"place"`
	Reason     string     `json:"reason"`
	Reference  string     `json:"reference"`
	State      string     `json:"state"`
	Created    time.Time  `json:"created_at"`
	Expires    time.Time  `json:"expires_at"`
	Decided    *time.Time `json:"decided_at"`
	DecidedBy  string     `json:"decided_by,omitempty"`
	Note       string     `json:"note,omitempty"`
}

func wireRequest(r remote.Request) requestJSON {
	return requestJSON{
		Number: r.Number, Session: r.Session, UserID: r.User.ID, User: r.User.Name, Device: r.Device, Credential: r.Credential, Reason: r.Reason, Reference: r.Reference,
		State: string(r.State), Created: r.Created.UTC(), Expires: r.Expires.UTC(), Decided: optionalTime(r.Decided), DecidedBy: r.DecidedBy, Note: r.Note,
	}
}

// Run lists the requests, newest first.
func (c *requestList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		state := remote.Pending
		if c.All {
			state = ""
		}
		all, err := every(func(w page.Window) (page.Page[remote.Request], error) { return h.Remote.Requests(ctx, by, state, w) })
		if err != nil {
			return failed("list requests", err, seeRequests)
		}
		shown := make([]requestJSON, len(all))
		for i, r := range all {
			shown[i] = wireRequest(r)
			shown[i].Place = placeName(ctx, h, access.Resource{Kind: access.CredentialKind, ID: r.Credential})
		}
		return print(p, shown, []string{"NUMBER", "USER", "WHERE", "REASON", "REFERENCE", "STATE", "ASKED", "WAITS UNTIL"}, func(r requestJSON) []string {
			return []string{strconv.FormatInt(r.Number, 10), r.User, r.Place, r.Reason, r.Reference, r.State, moment(r.Created), moment(r.Expires)}
		})
	})
}

// answer is what both answers take.
type answer struct {
	Place
	Number int64  `arg:"" help:"Its number, as 'request list' shows it."`
	Note   string `placeholder:"TEXT" help:"What the person is told."`
}

func (c *answer) give(ctx context.Context, p *process, approve bool) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		r, err := h.Remote.Decide(ctx, by, c.Number, approve, c.Note)
		if err != nil {
			return failed(fmt.Sprintf("answer request %d", c.Number), err, seeRequests)
		}
		p.note("request %d of %s is %s", r.Number, r.User.Name, r.State)
		return nil
	})
}

type requestApprove struct{ answer }

// Run approves the request.
func (c *requestApprove) Run(ctx context.Context, p *process) error { return c.give(ctx, p, true) }

type requestDeny struct{ answer }

// Run denies the request.
func (c *requestDeny) Run(ctx context.Context, p *process) error { return c.give(ctx, p, false) }
