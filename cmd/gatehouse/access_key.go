package main

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type accessKeyCommands struct {
	List   accessKeyList   `cmd:"" help:"List the SSH keys that open a project or repository."`
	Add    accessKeyAdd    `cmd:"" help:"Let an SSH key open a project or repository; its line is read from standard input."`
	Remove accessKeyRemove `cmd:"" help:"Take a project or repository away from an SSH key."`
}

const (
	seeAccessKeys = "see `gatehouse access-key list`"
	needPlace     = "give --project or --repo"
)

type accessKeyJSON struct {
	Key        keyJSON   `json:"key"`
	On         string    `json:"on"` // project or repo
	Permission string    `json:"permission"`
	Since      time.Time `json:"since"`
}

func wireAccessKey(h sshkey.Held) accessKeyJSON {
	return accessKeyJSON{wireKey(h.Key), h.Grant.Place.Kind, string(h.Grant.Permission), h.Grant.Created.UTC()}
}

type accessKeyList struct {
	Place
	Output
	At
	Effective bool `help:"Of a repository: with those of its project, which open it too."`
}

// Run lists the keys.
func (c *accessKeyList) Run(ctx context.Context, p *process) error {
	return p.withPlace(ctx, "list access keys of", c.At, seeAccessKeys, func(h *app.House, by access.Caller, on access.Resource, _ string) error {
		all, err := every(func(w page.Window) (page.Page[sshkey.Held], error) {
			return h.Keys.ListAt(ctx, by, sshkey.At{Place: on, Effective: c.Effective, Window: w})
		})
		if err != nil {
			return err
		}
		shown := make([]accessKeyJSON, len(all))
		for i, held := range all {
			shown[i] = wireAccessKey(held)
		}
		return print(p, shown, []string{"NUMBER", "LABEL", "FINGERPRINT", "ON", "PERMISSION", "STATE", "PROVEN", "EXPIRES", "LAST USED"}, func(k accessKeyJSON) []string {
			return []string{number(k.Key.Number), k.Key.Label, k.Key.Fingerprint, k.On, k.Permission, k.Key.State, yes(!k.Key.Unproven), ifAny(k.Key.Expires), ifAny(k.Key.LastUsed)}
		})
	})
}

type accessKeyAdd struct {
	Place
	Output
	At
	Draft
	Write bool `help:"It may push too."`
}

// Run lets the key open the place.
func (c *accessKeyAdd) Run(ctx context.Context, p *process) error {
	if c.At == (At{}) {
		return usagef("add access key of nothing; %s", needPlace)
	}
	n, err := c.read(p)
	if err != nil {
		return err
	}
	permission := sshkey.Read
	if c.Write {
		permission = sshkey.Write
	}
	return p.withPlace(ctx, "add access key of", c.At, seeAccessKeys, func(h *app.House, by access.Caller, on access.Resource, called string) error {
		held, err := h.Keys.AddAccessKey(ctx, by, on, permission, n)
		if err != nil {
			return err
		}
		if p.json {
			return p.printJSON(wireAccessKey(held))
		}
		p.note("key %d opens %s to %s: %s, %s", held.Key.Number, called, held.Grant.Permission, held.Key.Key.SHA256(), held.Key.State)
		return nil
	})
}

type accessKeyRemove struct {
	Place
	At
	Number int64 `arg:"" help:"Its number, as 'access-key list' shows it."`
}

// Run takes the place away from the key.
func (c *accessKeyRemove) Run(ctx context.Context, p *process) error {
	return p.withPlace(ctx, "remove access key "+number(c.Number)+" of", c.At, seeAccessKeys, func(h *app.House, by access.Caller, on access.Resource, _ string) error {
		if _, err := h.Keys.AccessAt(ctx, by, on, c.Number); err != nil {
			return err
		}
		if err := h.Keys.RemoveAccess(ctx, by, on, c.Number); err != nil {
			return err
		}
		p.note("removed; running servers refuse it there within 2 seconds")
		return nil
	})
}
