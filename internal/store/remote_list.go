package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// clause gathers conditions and their arguments.
type clause struct {
	text []string
	args []any
}

// arg adds an argument and returns its place.
func (c *clause) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

func (c *clause) add(text string) { c.text = append(c.text, text) }

// in is the condition that a column holds one of the ids. There are few texts of it: the last id is repeated.
func (c *clause) in(column string, ids []string) string {
	if len(ids) == 0 {
		return "FALSE"
	}
	ids = padded(ids)
	list := places(len(c.args)+1, len(ids))
	for _, id := range ids {
		c.args = append(c.args, id)
	}
	return column + ` IN (` + list + `)`
}

func (c *clause) where() string { return strings.Join(c.text, ` AND `) }

// maxSeen is how many devices or credentials one statement may name: both databases take twice that many arguments.
const maxSeen = 8192

// seen is the condition that somebody may see what lies in the two columns, or is theirs in the third.
func (c *clause) seen(v remote.Seen, device, credential, owner string) (string, error) {
	if len(v.Devices) > maxSeen || len(v.Credentials) > maxSeen {
		return "", fault.Newf(fault.Limited, "the caller sees more than %d devices or credentials one by one; give it all of them instead", maxSeen)
	}
	part := func(all bool, column string, ids []string) string {
		if all {
			return "TRUE"
		}
		return c.in(column, ids)
	}
	join := ` OR `
	if v.Both {
		join = ` AND `
	}
	text := `(` + part(v.AllDevices, device, v.Devices) + join + part(v.AllCredentials, credential, v.Credentials) + `)`
	if v.Own != "" {
		text = `(` + text + ` OR ` + owner + ` = ` + c.arg(v.Own) + `)`
	}
	return text, nil
}

// List implements remote.Store.
func (s Remotes) List(ctx context.Context, which remote.Which, w page.Window) (page.Page[remote.Session], error) {
	p := page.Page[remote.Session]{Window: w}
	c := &clause{}
	visible, err := c.seen(which.Seen, "x.target", "x.credential", "x.user_id")
	if err != nil {
		return p, err
	}
	c.add(visible)
	c.add(`x.number IS NOT NULL`)
	if which.Active {
		c.add(`x.state = 'active'`)
	}
	if which.User != "" {
		c.add(`x.user_id = ` + c.arg(which.User))
	}
	if which.Device != "" {
		c.add(`x.target = ` + c.arg(which.Device))
	}
	return readPart(ctx, s.DB, scanRemote, c, part{`remote_sessions x`, remoteColumns, `x.number`}, w)
}

// part is what a page is read from: newest numbers first.
type part struct{ from, columns, number string }

// readPart reads a page of what the conditions hold of.
func readPart[T any](ctx context.Context, db *DB, scan func(Scan) (T, error), c *clause, of part, w page.Window) (page.Page[T], error) {
	p := page.Page[T]{Window: w}
	err := db.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM `+of.from+` WHERE `+c.where(), c.args...)
		if err != nil || p.Total == 0 {
			return err
		}
		limit := *c
		p.Items, err = All(ctx, tx, scan, `SELECT `+of.columns+` FROM `+of.from+` WHERE `+c.where()+` ORDER BY `+of.number+` DESC LIMIT `+limit.arg(w.Limit)+` OFFSET `+limit.arg(w.Offset), limit.args...)
		return err
	})
	return p, err
}

// GroupsOf are the ids of the groups by which a user holds roles.
func (s Remotes) GroupsOf(ctx context.Context, user string) ([]string, error) {
	return readAll(ctx, s.DB, Value[string], `SELECT m.group_id FROM `+groupsThatCount+` m WHERE m.user_id = $1 ORDER BY m.group_id`, user)
}
