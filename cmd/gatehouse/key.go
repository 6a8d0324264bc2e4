package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type keyCommands struct {
	List     keyList     `cmd:"" help:"List the SSH keys of a user."`
	Add      keyAdd      `cmd:"" help:"Put an SSH key of a user on file; its line is read from standard input."`
	Remove   keyRemove   `cmd:"" help:"Take an SSH key of a user off file."`
	Import   keyImport   `cmd:"" help:"Put the keys of an authorized_keys file on file, read from standard input."`
	Unproven keyUnproven `cmd:"" help:"List keys that nobody has proved to hold."`
	Disable  keyDisable  `cmd:"" help:"Shut a key out until its owner proves it anew."`
}

const seeKeys = "see `gatehouse key list --user NAME`"

type keyJSON struct {
	ID          string     `json:"id"`
	Number      int64      `json:"number"`
	User        string     `json:"user"` // name; empty of an access key
	Text        string     `json:"text"`
	Label       string     `json:"label"`
	Fingerprint string     `json:"fingerprint"`
	State       string     `json:"state"`
	Unproven    bool       `json:"unproven"`
	Created     time.Time  `json:"created_at"`
	Expires     *time.Time `json:"expires_at"`
	LastUsed    *time.Time `json:"last_used_at"`
	LastAddress string     `json:"last_address"`
}

func wireKey(r sshkey.Registered) keyJSON {
	return keyJSON{
		ID: r.ID, Number: r.Number, User: r.UserName, Text: r.Text(), Label: r.Label, Fingerprint: r.Key.SHA256(), State: string(r.State), Unproven: r.Unproven(),
		Created: r.Created.UTC(), Expires: optionalTime(r.Expires), LastUsed: optionalTime(r.LastUsed), LastAddress: r.LastFrom,
	}
}

func (p *process) printKeys(all []sshkey.Registered) error {
	shown := make([]keyJSON, len(all))
	for i, r := range all {
		shown[i] = wireKey(r)
	}
	return print(p, shown, []string{"NUMBER", "USER", "LABEL", "FINGERPRINT", "STATE", "PROVEN", "CREATED", "EXPIRES", "LAST USED"}, func(k keyJSON) []string {
		return []string{number(k.Number), k.User, k.Label, k.Fingerprint, k.State, yes(!k.Unproven), moment(k.Created), ifAny(k.Expires), ifAny(k.LastUsed)}
	})
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func joined(words []string) string { return strings.Join(words, " ") }

// OfUser says whose keys are meant.
type OfUser struct {
	User string `required:"" placeholder:"NAME" help:"Name of the user."`
}

type keyList struct {
	Place
	Output
	OfUser
}

// Run lists the user's keys.
func (c *keyList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		u, err := userNamed(ctx, h, by, c.User)
		if err != nil {
			return err
		}
		all, err := every(func(w page.Window) (page.Page[sshkey.Registered], error) { return h.Keys.ListOf(ctx, by, u.ID, w) })
		if err != nil {
			return failed("list keys of "+u.Name, err, seeUsers)
		}
		return p.printKeys(all)
	})
}

// maxKeyFile is what standard input may hold; one byte more is read, to be refused for.
const maxKeyFile = 1 << 20

// readKeys reads one key or a file of them from standard input.
func (p *process) readKeys() (string, error) {
	text, err := io.ReadAll(io.LimitReader(p.in, maxKeyFile+1))
	if err != nil {
		return "", fmt.Errorf("read keys from standard input: %w; pipe them in", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", usagef("read keys: standard input is empty; pipe a .pub file in")
	}
	return string(text), nil
}

// Draft is what a key on file is made with.
type Draft struct {
	Label string `placeholder:"L" help:"What the key is called. Without it, the comment of its line."`
	Days  int    `placeholder:"N" help:"It ends after so many days. Without it, never."`
}

// read makes the new key of standard input. Whoever has a shell here vouches for it, so it works at once unless the settings want a proof of all keys.
func (d Draft) read(p *process) (sshkey.New, error) {
	if d.Days < 0 {
		return sshkey.New{}, usagef("--days: %d is no number of days; give 1 or more", d.Days)
	}
	text, err := p.readKeys()
	n := sshkey.New{Text: strings.TrimSpace(text), Label: d.Label, Via: sshkey.Wire}
	if d.Days > 0 {
		n.ExpiryDays = &d.Days
	}
	return n, err
}

type keyAdd struct {
	Place
	Output
	OfUser
	Draft
}

// Run puts the key on file.
func (c *keyAdd) Run(ctx context.Context, p *process) error {
	n, err := c.read(p)
	if err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		u, err := userNamed(ctx, h, by, c.User)
		if err != nil {
			return err
		}
		r, err := h.Keys.AddUserKey(ctx, by, u.ID, n)
		if err != nil {
			return failed("add key of "+u.Name, err, seeUsers)
		}
		r.UserName = u.Name
		if p.json {
			return p.printJSON(wireKey(r))
		}
		p.note("added key %d of %s: %s, %s", r.Number, u.Name, r.Key.SHA256(), r.State)
		return nil
	})
}

type keyRemove struct {
	Place
	OfUser
	Number int64 `arg:"" help:"Its number, as 'key list' shows it."`
}

// Run takes the key off file.
func (c *keyRemove) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		u, err := userNamed(ctx, h, by, c.User)
		if err != nil {
			return err
		}
		r, err := h.Keys.ByNumber(ctx, by, c.Number)
		if err == nil && r.User != u.ID {
			err = sshkey.ErrUnknown
		}
		if err == nil {
			err = h.Keys.RemoveUserKey(ctx, by, c.Number)
		}
		if err != nil {
			return failed("remove key "+number(c.Number)+" of "+u.Name, err, seeKeys)
		}
		p.note("removed; running servers refuse it within 2 seconds")
		return nil
	})
}

type keyImport struct {
	Place
	Output
	OfUser
}

type importJSON struct {
	Line   int      `json:"line"`
	Key    *keyJSON `json:"key"`    // null where the line was refused
	Reason string   `json:"reason"` // why it was; empty where it was not
}

// Run puts the keys on file, line by line. Refused lines are told and stop nothing; the exit code is 1 where no key came in.
func (c *keyImport) Run(ctx context.Context, p *process) error {
	text, err := p.readKeys()
	if err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		u, err := userNamed(ctx, h, by, c.User)
		if err != nil {
			return err
		}
		outcomes, err := h.Keys.Import(ctx, by, u.ID, text, sshkey.Wire)
		if err != nil {
			return failed("import keys of "+u.Name, err, seeUsers)
		}
		shown, added := make([]importJSON, len(outcomes)), 0
		for i, o := range outcomes {
			shown[i] = importJSON{Line: o.Line}
			if o.Err != nil {
				shown[i].Reason = fault.Text(o.Err)
				continue
			}
			added++
			o.Key.UserName = u.Name
			key := wireKey(o.Key)
			shown[i].Key = &key
		}
		if err := print(p, shown, []string{"LINE", "OUTCOME", "NUMBER", "FINGERPRINT"}, outcomeRow); err != nil {
			return err
		}
		if added == 0 && len(outcomes) > 0 {
			return fmt.Errorf("import keys of %s: no line was taken; see why above", u.Name)
		}
		p.note("%d of %d keys are on file now", added, len(outcomes))
		return nil
	})
}

func outcomeRow(o importJSON) []string {
	if o.Key == nil {
		return []string{strconv.Itoa(o.Line), o.Reason, "", ""}
	}
	return []string{strconv.Itoa(o.Line), "added, " + o.Key.State, number(o.Key.Number), o.Key.Fingerprint}
}

type keyUnproven struct {
	Place
	Output
	Days int `placeholder:"N" help:"Only those that have been on file for so many days."`
}

// Run lists keys that nobody has proved, of all users and places.
func (c *keyUnproven) Run(ctx context.Context, p *process) error {
	const longest = 36_500
	if c.Days < 0 || c.Days > longest {
		return usagef("--days: %d lies outside 0 to %d; correct it", c.Days, longest)
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		all, err := every(func(w page.Window) (page.Page[sshkey.Registered], error) {
			return h.Keys.Unproven(ctx, by, time.Duration(c.Days)*24*time.Hour, w)
		})
		if err != nil {
			return failed("list unproven keys", err, seeKeys)
		}
		return p.printKeys(all)
	})
}

type keyDisable struct {
	Place
	ID string `arg:"" help:"Its id, as '--json' shows it."`
}

// Run shuts the key out.
func (c *keyDisable) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		if err := h.Keys.Disable(ctx, by, c.ID); err != nil {
			return failed("disable key "+c.ID, err, seeKeys)
		}
		p.note("disabled; running servers refuse it within 2 seconds, until its owner proves it")
		return nil
	})
}
