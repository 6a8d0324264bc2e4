package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// A set of ids travels as one parameter, the JSON of its list, so that statements are constants. No id holds a quote or a wildcard.

// seenRemote are the sessions that somebody may see: arguments 1 to 6 are those of seenArgs.
const seenRemote = `(CASE WHEN $1 THEN ($2 OR CAST($3 AS TEXT) LIKE '%"' || x.target || '"%') AND ($4 OR CAST($5 AS TEXT) LIKE '%"' || x.credential || '"%')
	ELSE $2 OR $4 OR CAST($3 AS TEXT) LIKE '%"' || x.target || '"%' OR CAST($5 AS TEXT) LIKE '%"' || x.credential || '"%' END OR x.user_id = $6)`

func seenArgs(v remote.Seen) []any {
	return []any{v.Both, v.AllDevices, JSON(v.Devices), v.AllCredentials, JSON(v.Credentials), v.Own}
}

const (
	remoteListed = ` FROM remote_sessions x WHERE x.number IS NOT NULL AND ` + seenRemote + `
		AND (NOT $7 OR x.state = 'active') AND ($8 = '' OR x.user_id = $8) AND ($9 = '' OR x.target = $9)`
	countRemote = `SELECT COUNT(*)` + remoteListed
	listRemote  = `SELECT ` + remoteColumns + remoteListed + ` ORDER BY x.number DESC LIMIT $10 OFFSET $11`
)

// List implements remote.Store.
func (s Remotes) List(ctx context.Context, which remote.Which, w page.Window) (page.Page[remote.Session], error) {
	args := append(seenArgs(which.Seen), which.Active, which.User, which.Device)
	return readPart(ctx, s.DB, scanRemote, countRemote, listRemote, args, w)
}

// readPart reads a page and how many there are. The listing takes limit and offset behind args.
func readPart[T any](ctx context.Context, db *DB, scan func(Scan) (T, error), count, list string, args []any, w page.Window) (page.Page[T], error) {
	p := page.Page[T]{Window: w}
	err := db.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], count, args...); err != nil || p.Total == 0 {
			return err
		}
		p.Items, err = All(ctx, tx, scan, list, append(args[:len(args):len(args)], w.Limit, w.Offset)...)
		return err
	})
	return p, err
}

// GroupsOf are the ids of the groups by which a user holds roles.
func (s Remotes) GroupsOf(ctx context.Context, user string) ([]string, error) {
	return readAll(ctx, s.DB, Value[string], `SELECT m.group_id FROM `+groupsThatCount+` m WHERE m.user_id = $1 ORDER BY m.group_id`, user)
}
