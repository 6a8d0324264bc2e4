package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type tokenCommands struct {
	List     tokenList     `cmd:"" help:"List the HTTP access tokens of a user, project or repository."`
	Add      tokenAdd      `cmd:"" help:"Make a token of a project or repository and print it, this once."`
	Revoke   tokenRevoke   `cmd:"" help:"End a token at once."`
	Expiring tokenExpiring `cmd:"" help:"List tokens that expire soon, the first first."`
}

const (
	seeTokens = "see `gatehouse token list`"
	needOwner = "give --user, --project or --repo"
)

type tokenJSON struct {
	ID          string     `json:"id"`
	Handle      string     `json:"handle"`
	Of          string     `json:"of"`
	OfID        string     `json:"of_id"`
	Name        string     `json:"name"`
	Permissions []string   `json:"permissions"`
	Created     time.Time  `json:"created_at"`
	Expires     *time.Time `json:"expires_at"`
	LastUsed    *time.Time `json:"last_used_at"`
	LastAddress string     `json:"last_address"`
	LastDoor    string     `json:"last_door"`
}

func wireToken(t token.Access) tokenJSON {
	out := tokenJSON{
		ID: t.ID, Handle: t.Handle, Of: t.Scope.Kind, OfID: t.Scope.ID, Name: t.Name, Permissions: []string{}, Created: t.Created.UTC(), Expires: optionalTime(t.Expires),
		LastUsed: optionalTime(t.LastUsed), LastAddress: t.LastAddress, LastDoor: t.LastDoor,
	}
	for _, p := range t.Permissions {
		out.Permissions = append(out.Permissions, string(p))
	}
	return out
}

type tokenList struct {
	Place
	Output
	Owner
}

// Run lists the tokens that have not expired.
func (c *tokenList) Run(ctx context.Context, p *process) error {
	if c.missing() {
		return usagef("list tokens: nobody's; %s", needOwner)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		of, called, err := c.scope(ctx, h, by)
		if err != nil {
			return err
		}
		all, err := every(func(w page.Window) (page.Page[token.Access], error) { return h.HTTPTokens.List(ctx, by, of, w) })
		if err != nil {
			return failed("list tokens of "+called, err, seeTokens)
		}
		return p.printTokens(all)
	})
}

func (p *process) printTokens(all []token.Access) error {
	shown := make([]tokenJSON, len(all))
	for i, t := range all {
		shown[i] = wireToken(t)
	}
	return print(p, shown, []string{"HANDLE", "NAME", "PERMISSIONS", "CREATED", "EXPIRES", "LAST USED", "FROM"}, func(t tokenJSON) []string {
		return []string{t.Handle, t.Name, joined(t.Permissions), moment(t.Created), ifAny(t.Expires), ifAny(t.LastUsed), t.LastAddress}
	})
}

type tokenAdd struct {
	Place
	Output
	Owner
	Name       string   `required:"" placeholder:"N" help:"What the token is for."`
	Permission []string `required:"" placeholder:"P" help:"What it is good for at most: repo.read, repo.write, repo.admin, project.read, project.write, project.admin. It may be given more than once."`
	Days       int      `placeholder:"N" help:"It ends after so many days. Without it, never, where the settings allow that."`
}

// Run makes the token. It stands alone on standard output.
func (c *tokenAdd) Run(ctx context.Context, p *process) error {
	switch {
	case c.missing():
		return usagef("add token: nobody's; give --project or --repo")
	case c.Days < 0:
		return usagef("--days: %d is no number of days; give 1 or more", c.Days)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		of, called, err := c.scope(ctx, h, by)
		if err != nil {
			return err
		}
		draft := token.Draft{Name: c.Name}
		for _, word := range c.Permission {
			draft.Permissions = append(draft.Permissions, token.Permission(word))
		}
		if c.Days > 0 {
			draft.ExpiryDays = &c.Days
		}
		plain, t, err := h.HTTPTokens.Issue(ctx, by, of, draft)
		if err != nil {
			return failed("add token of "+called, err, "let them sign in and make it")
		}
		if p.json {
			return p.printJSON(struct {
				tokenJSON
				Token string `json:"token"`
			}{wireToken(t), plain.Reveal()})
		}
		fmt.Fprintln(p.out, plain.Reveal())
		p.note("this is the only time that the token is shown; its handle is %s", t.Handle)
		return nil
	})
}

type tokenRevoke struct {
	Place
	Owner
	Handle string `arg:"" help:"Its handle, as 'token list' shows it."`
}

// Run ends the token.
func (c *tokenRevoke) Run(ctx context.Context, p *process) error {
	if c.missing() {
		return usagef("revoke token %s: nobody's; %s", c.Handle, needOwner)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		of, called, err := c.scope(ctx, h, by)
		if err != nil {
			return err
		}
		if err := h.HTTPTokens.Remove(ctx, by, of, c.Handle); err != nil {
			return failed("revoke token "+c.Handle+" of "+called, err, seeTokens)
		}
		p.note("revoked; running servers refuse it within 2 seconds")
		return nil
	})
}

type tokenExpiring struct {
	Place
	Output
	Owner
	Days int `default:"14" placeholder:"N" help:"How soon (${default})."`
}

// Run lists tokens that expire soon: everybody's where nobody is named.
func (c *tokenExpiring) Run(ctx context.Context, p *process) error {
	const longest = 36_500
	if c.Days < 1 || c.Days > longest {
		return usagef("--days: %d lies outside 1 to %d; correct it", c.Days, longest)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		of, called := access.Installation, "everybody"
		if !c.missing() {
			var err error
			if of, called, err = c.scope(ctx, h, by); err != nil {
				return err
			}
		}
		all, err := every(func(w page.Window) (page.Page[token.Access], error) {
			return h.HTTPTokens.Expiring(ctx, by, of, time.Duration(c.Days)*24*time.Hour, w)
		})
		if err != nil {
			return failed("list expiring tokens of "+called, err, seeTokens)
		}
		return p.printTokens(all)
	})
}
