package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Beat implements remote.LiveStore. A clock that was set back makes no node older than it was.
func (s Remotes) Beat(ctx context.Context, node string, now time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO nodes (id, seen) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen WHERE nodes.seen < excluded.seen`, node, Micros(now))
		return err
	})
}

// ofLostNodes are sessions whose node was not seen since $1.
const ofLostNodes = `x.node <> '' AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = x.node AND n.seen >= $1)`

// Lost implements remote.LiveStore. Most rounds find nothing, and do not ask for the lock. Sessions that wait and that such a node had begun to start are
// anybody's again.
func (s Remotes) Lost(ctx context.Context, before, now time.Time, event func(remote.Session) audit.Event) ([]remote.Session, error) {
	some, err := readAll(ctx, s.DB, Value[string], `SELECT x.id FROM remote_sessions x WHERE x.state IN ('active', 'waiting') AND `+ofLostNodes+` LIMIT 1`, Micros(before))
	if len(some) == 0 || err != nil {
		return nil, err
	}
	var lost []remote.Session
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		lost = nil
		if err := tx.Lock(ctx, "remote-lost"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE remote_sessions AS x SET node = '' WHERE x.state = 'waiting' AND `+ofLostNodes, Micros(before)); err != nil {
			return err
		}
		ids, err := All(ctx, tx, Value[string], `SELECT x.id FROM remote_sessions x WHERE x.state = 'active' AND `+ofLostNodes+` ORDER BY x.id`, Micros(before))
		if err != nil {
			return err
		}
		for _, id := range ids {
			x, err := s.loseOne(ctx, tx, id, now, event)
			if err != nil {
				return err
			}
			if x.ID != "" {
				lost = append(lost, x)
			}
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM nodes WHERE seen < $1 AND NOT EXISTS (SELECT 1 FROM remote_sessions x WHERE x.node = nodes.id AND x.state = 'active')`, Micros(before))
		return err
	})
	return lost, err
}

// loseOne ends one session, unless it has ended meanwhile.
func (s Remotes) loseOne(ctx context.Context, tx Tx, id string, now time.Time, event func(remote.Session) audit.Event) (remote.Session, error) {
	was, err := s.locked(ctx, tx, id)
	if err != nil || was.State != remote.Active {
		return remote.Session{}, err
	}
	is := was
	is.State, is.Ended, is.End = remote.Ended, now, remote.NodeLost
	if is, err = changeRemote(ctx, tx, was, is); err != nil {
		return remote.Session{}, err
	}
	return is, insertEvents(ctx, tx, event(is))
}

// Uncut implements remote.LiveStore.
func (s Remotes) Uncut(ctx context.Context, before time.Time, after string, limit int) ([]remote.Session, error) {
	return readAll(ctx, s.DB, scanRemote, `SELECT `+remoteColumns+` FROM recordings r JOIN remote_sessions x ON x.id = r.session
		WHERE NOT r.settled AND x.state = 'ended' AND (`+ofLostNodes+` OR x.started IS NULL AND x.ended < $1) AND r.session > $2
		ORDER BY r.session LIMIT $3`, Micros(before), after, limit)
}

// Doomed implements remote.LiveStore.
func (s Remotes) Doomed(ctx context.Context, node string) ([]remote.Session, error) {
	doomed, err := readAll(ctx, s.DB, scanRemote, `SELECT `+remoteColumns+` FROM remote_sessions x
		LEFT JOIN users u ON u.id = x.user_id LEFT JOIN accounts a ON a.id = u.account
		LEFT JOIN credentials c ON c.id = x.credential LEFT JOIN devices d ON d.id = x.device LEFT JOIN devices t ON t.id = x.target
		WHERE x.node = $1 AND x.state = 'active' AND (x.end_asked <> '' OR u.id IS NULL OR u.disabled OR a.id IS NULL OR a.disabled
			OR c.id IS NULL OR c.disabled OR d.id IS NULL OR d.disabled OR t.id IS NULL OR t.disabled
			OR x.session <> '' AND NOT EXISTS (SELECT 1 FROM sessions g WHERE g.id = x.session AND g.ended IS NULL))
		ORDER BY x.id`, node)
	for i := range doomed {
		if doomed[i].EndAsked == "" {
			doomed[i].EndAsked = remote.Revoked
		}
	}
	return doomed, err
}

// Carried implements remote.LiveStore.
func (s Remotes) Carried(ctx context.Context, node string) ([]string, error) {
	return readAll(ctx, s.DB, Value[string], `SELECT x.id FROM remote_sessions x WHERE x.node = $1 AND x.state = 'active'`, node)
}

// Watch implements remote.LiveStore.
func (s Remotes) Watch(ctx context.Context, w remote.Watching) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO remote_watches (id, session, watcher, until) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET until = excluded.until`, w.ID, w.Session, w.Watcher, Micros(w.Until))
		if err != nil {
			return err
		}
		return tx.Notify(ctx, "remote.watch "+w.Session)
	})
}

// Unwatch implements remote.LiveStore.
func (s Remotes) Unwatch(ctx context.Context, id string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		session, err := One(ctx, tx, Value[string], `DELETE FROM remote_watches WHERE id = $1 RETURNING session`, id)
		if Absent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.Notify(ctx, "remote.watch "+session)
	})
}

// Watched implements remote.LiveStore.
func (s Remotes) Watched(ctx context.Context, sessions []string, now time.Time) (map[string][]string, error) {
	names := make(map[string][]string)
	if len(sessions) == 0 {
		return names, nil
	}
	all, err := readAll(ctx, s.DB, func(scan Scan) (w remote.Watching, err error) {
		err = scan(&w.Session, &w.Watcher)
		return w, err
	}, `SELECT session, watcher FROM remote_watches WHERE until > $1 AND CAST($2 AS TEXT) LIKE '%"' || session || '"%' ORDER BY id`, Micros(now), JSON(sessions))
	for _, w := range all {
		names[w.Session] = append(names[w.Session], w.Watcher)
	}
	return names, err
}

// AddFrames implements remote.LiveStore.
func (s Remotes) AddFrames(ctx context.Context, session string, frames []remote.Frame) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		for _, f := range frames {
			if _, err := tx.ExecContext(ctx, `INSERT INTO remote_frames (session, sequence, at, body) VALUES ($1, $2, $3, $4) ON CONFLICT (session, sequence) DO NOTHING`,
				session, f.Sequence, Micros(f.At), f.Body); err != nil {
				return err
			}
		}
		return nil
	})
}

// Frames implements remote.LiveStore.
func (s Remotes) Frames(ctx context.Context, session string, after int64, limit int) ([]remote.Frame, error) {
	return readAll(ctx, s.DB, func(scan Scan) (f remote.Frame, err error) {
		err = scan(&f.Sequence, ScanTime(&f.At), &f.Body)
		return f, err
	}, `SELECT sequence, at, body FROM remote_frames WHERE session = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`, session, after, limit)
}

// DropFrames implements remote.LiveStore. Watches that are over go along.
func (s Remotes) DropFrames(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM remote_frames WHERE at < $1`, Micros(before)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM remote_watches WHERE until < $1`, Micros(before))
		return err
	})
}
