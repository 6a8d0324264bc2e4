package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

type apikeyCommands struct {
	Add    apikeyAdd    `cmd:"" help:"Make an API key of a project and print it, this once."`
	List   apikeyList   `cmd:"" help:"List the API keys of a project."`
	Revoke apikeyRevoke `cmd:"" help:"End an API key at once."`
}

type apikeyAdd struct {
	Place
	Output
	Project string `required:"" placeholder:"KEY" help:"Key of the project."`
	Name    string `required:"" placeholder:"N" help:"What the key is for."`
	Expires string `placeholder:"90d|TIME" help:"When it ends: after days, hours (12h), or at an RFC 3339 time. Without it, never."`
}

// Run makes the key. It stands alone on standard output.
func (c *apikeyAdd) Run(ctx context.Context, p *process) error {
	expires, err := expiry(c.Expires, p.now())
	if err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		owner, err := h.Projects.ByKey(ctx, by, c.Project)
		if err != nil {
			return failed("add API key to project "+c.Project, err, seeProjects)
		}
		plain, t, err := h.Tokens.IssueAPIKey(ctx, by, owner.ID, c.Name, expires)
		if err != nil {
			return failed("add API key "+c.Name, err, seeProjects)
		}
		if p.json {
			return p.printJSON(struct {
				apikeyJSON
				Key string `json:"key"`
			}{wireAPIKey(t, p.now()), plain.Reveal()})
		}
		fmt.Fprintln(p.out, plain.Reveal())
		p.note("this is the only time that the key is shown; its id is %s", t.ID)
		return nil
	})
}

// expiry reads when a key ends: "" is never.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	life, err := time.ParseDuration(text)
	if digits, ok := strings.CutSuffix(text, "d"); ok {
		var days int
		days, err = strconv.Atoi(digits)
		life = time.Duration(days) * 24 * time.Hour
		if days > 100*365 { // a duration holds 292 years
			life = 0
		}
	}
	if err != nil || life <= 0 {
		return time.Time{}, usagef("--expires: %q is neither a time to come, such as 90d or 12h, nor an RFC 3339 time; correct it", text)
	}
	return now.Add(life), nil
}

type apikeyJSON struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	State       string     `json:"state"` // active, expired, revoked
	Created     time.Time  `json:"created_at"`
	Expires     *time.Time `json:"expires_at"`
	LastUsed    *time.Time `json:"last_used_at"`
	LastAddress string     `json:"last_address"`
}

func wireAPIKey(t token.Token, now time.Time) apikeyJSON {
	state := "active"
	switch {
	case !t.Revoked.IsZero():
		state = "revoked"
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		state = "expired"
	}
	return apikeyJSON{t.ID, t.Name, state, t.Created.UTC(), optionalTime(t.Expires), optionalTime(t.LastUsed), t.LastAddress}
}

type apikeyList struct {
	Place
	Output
	Project string `required:"" placeholder:"KEY" help:"Key of the project."`
}

// Run lists the keys, newest first.
func (c *apikeyList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		owner, err := h.Projects.ByKey(ctx, by, c.Project)
		if err != nil {
			return failed("list API keys of project "+c.Project, err, seeProjects)
		}
		tokens, err := h.Tokens.List(ctx, by, owner.ID)
		if err != nil {
			return failed("list API keys of project "+c.Project, err, seeProjects)
		}
		shown := make([]apikeyJSON, len(tokens))
		for i, t := range tokens {
			shown[i] = wireAPIKey(t, p.now())
		}
		return print(p, shown, []string{"ID", "NAME", "STATE", "CREATED", "EXPIRES", "LAST USED", "FROM"}, func(t apikeyJSON) []string {
			return []string{t.ID, t.Name, t.State, moment(t.Created), ifAny(t.Expires), ifAny(t.LastUsed), t.LastAddress}
		})
	})
}

type apikeyRevoke struct {
	Place
	ID string `arg:"" help:"Id of the key, as 'apikey list' shows it."`
}

// Run ends the key.
func (c *apikeyRevoke) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if err := h.Tokens.Revoke(ctx, by, c.ID); err != nil {
			return failed("revoke API key "+c.ID, err, "see `gatehouse apikey list --project KEY`")
		}
		p.note("revoked; running servers refuse it within 2 seconds")
		return nil
	})
}
