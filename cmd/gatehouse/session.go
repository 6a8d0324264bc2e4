package main

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	signedin "github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type sessionCommands struct {
	List sessionList `cmd:"" help:"List who is signed in."`
	End  sessionEnd  `cmd:"" help:"End a session at once, or all of a user or an application."`
}

const seeSessions = "see `gatehouse session list`"

type sessionList struct {
	Place
	Output
	User string `placeholder:"NAME" help:"Only the sessions of this user."`
}

type sessionJSON struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Principal string    `json:"principal_id"`
	Name      string    `json:"name"`
	Account   string    `json:"account_id"`
	State     string    `json:"state"`
	Method    string    `json:"method"`
	Transport string    `json:"transport"`
	Created   time.Time `json:"created_at"`
	LastUsed  time.Time `json:"last_used_at"`
	Expires   time.Time `json:"expires_at"`
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
}

func wireSession(x signedin.Session) sessionJSON {
	return sessionJSON{
		x.ID, string(x.Principal.Kind), x.Principal.ID, x.Principal.Name, x.Account, string(x.State), x.Method, string(x.Transport),
		x.Created.UTC(), x.LastUsed.UTC(), x.Expires().UTC(), x.Address, x.UserAgent,
	}
}

// Run lists the living sessions, newest first.
func (c *sessionList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		sessions, err := c.read(ctx, h, by)
		if err != nil {
			return failed("list sessions", err, seeUsers)
		}
		shown := make([]sessionJSON, len(sessions))
		for i, x := range sessions {
			shown[i] = wireSession(x)
		}
		return print(p, shown, []string{"ID", "KIND", "NAME", "STATE", "METHOD", "BEGUN", "LAST USED", "FROM"}, func(x sessionJSON) []string {
			return []string{x.ID, x.Kind, x.Name, x.State, x.Method, moment(x.Created), moment(x.LastUsed), x.Address}
		})
	})
}

func (c *sessionList) read(ctx context.Context, h *app.House, by access.Caller) ([]signedin.Session, error) {
	if c.User == "" {
		return every(func(w page.Window) (page.Page[signedin.Session], error) { return h.Sessions.List(ctx, by, w) })
	}
	u, err := h.Users.ByName(ctx, h.Access.For(by), c.User)
	if err != nil {
		return nil, err
	}
	return h.Sessions.Of(ctx, by, access.Subject{Kind: access.User, ID: u.ID})
}

type sessionEnd struct {
	Place
	ID   string `arg:"" optional:"" help:"Id of the session, as 'session list' shows it."`
	User string `placeholder:"NAME" help:"End all sessions of this user."`
	App  string `placeholder:"ID" help:"End all sessions of this application."`
}

// Run ends what was named.
func (c *sessionEnd) Run(ctx context.Context, p *process) error {
	if given := countGiven(c.ID, c.User, c.App); given != 1 {
		return usagef("session end: nothing or too much was named; name one session, or give --user NAME or --app ID")
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if c.ID != "" {
			if err := h.Sessions.End(ctx, by, c.ID); err != nil {
				return failed("end session "+c.ID, err, seeSessions)
			}
			p.note("ended; running servers refuse it within 2 seconds")
			return nil
		}
		of, err := c.subject(ctx, h, by)
		if err != nil {
			return failed("end sessions", err, seeSessions)
		}
		n, err := h.Sessions.EndAll(ctx, by, of, false)
		if err != nil {
			return failed("end sessions", err, seeSessions)
		}
		p.note("ended %d; running servers refuse them within 2 seconds", n)
		return nil
	})
}

func (c *sessionEnd) subject(ctx context.Context, h *app.House, by access.Caller) (access.Subject, error) {
	if c.App != "" {
		a, err := h.Apps.ByID(ctx, h.Access.For(by), c.App)
		return access.Subject{Kind: access.Application, ID: a.ID}, err
	}
	u, err := h.Users.ByName(ctx, h.Access.For(by), identity.Fold(c.User))
	return access.Subject{Kind: access.User, ID: u.ID}, err
}

func countGiven(texts ...string) int {
	n := 0
	for _, text := range texts {
		if text != "" {
			n++
		}
	}
	return n
}
