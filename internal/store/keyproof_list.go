package store

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// countShards is how many rows share the count of a project and kind. It must not change: sessions are
// counted where their id puts them.
const countShards = 16

// countRow names one number: a status in one shard of a project and kind.
type countRow struct {
	project string
	kind    keyproof.Kind
	shard   int64
	status  keyproof.Status
}

func (r countRow) compare(o countRow) int {
	return cmp.Or(cmp.Compare(r.project, o.project), cmp.Compare(r.kind, o.kind), cmp.Compare(r.shard, o.shard), cmp.Compare(r.status, o.status))
}

// count is a number to add to a row.
type count struct {
	countRow
	by int64
}

func countOf(s keyproof.Session, by int64) count {
	return count{countRow{s.Project, s.Kind, shardOf(s.ID), s.Status}, by}
}

func shardOf(id string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash takes everything
	return int64(h.Sum32() % countShards)
}

// addCount adds to one number.
func addCount(ctx context.Context, tx Tx, c count) error {
	by := make(map[keyproof.Status]int64, 1)
	by[c.status] = c.by
	_, err := tx.ExecContext(ctx, `INSERT INTO proof_counts (project, kind, shard, pending, verified, failed, completed, expired)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (project, kind, shard) DO UPDATE SET
		pending = proof_counts.pending + excluded.pending, verified = proof_counts.verified + excluded.verified,
		failed = proof_counts.failed + excluded.failed, completed = proof_counts.completed + excluded.completed,
		expired = proof_counts.expired + excluded.expired`,
		c.project, string(c.kind), c.shard, by[keyproof.Pending], by[keyproof.Verified], by[keyproof.Failed], by[keyproof.Completed], by[keyproof.Expired])
	if err != nil {
		return fmt.Errorf("count session: %w", err)
	}
	return nil
}

// countMoves tells, for each status that a pending session may take, how its counts change.
var countMoves = map[keyproof.Status]string{
	keyproof.Verified:  countMove + `verified = verified + 1` + countMoveOf,
	keyproof.Failed:    countMove + `failed = failed + 1` + countMoveOf,
	keyproof.Completed: countMove + `completed = completed + 1` + countMoveOf,
	keyproof.Expired:   countMove + `expired = expired + 1` + countMoveOf,
}

const (
	countMove   = `UPDATE proof_counts SET pending = pending - 1, `
	countMoveOf = ` WHERE project = $1 AND kind = $2 AND shard = $3`
)

// moveCount counts a session under another status.
func moveCount(ctx context.Context, tx Tx, was keyproof.Session, to keyproof.Status) error {
	move, ok := countMoves[to]
	if !ok || was.Status != keyproof.Pending {
		return fmt.Errorf("session %s cannot go from %s to %s", was.ID, was.Status, to)
	}
	_, err := tx.ExecContext(ctx, move, was.Project, string(was.Kind), shardOf(was.ID))
	return err
}

// List implements keyproof.Store: page and total are of one moment.
func (s Keyproofs) List(ctx context.Context, f keyproof.Filter) (page.Page[keyproof.Session], error) {
	p := page.Page[keyproof.Session]{Window: f.Window}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		p.Items = nil
		if p.Total, err = total(ctx, tx, f); err != nil {
			return fmt.Errorf("count sessions: %w", err)
		}
		p.Items, err = sessionsOf(ctx, tx, f, p.Total)
		return err
	})
	return p, err
}

// total returns how many sessions the filter selects. A filter by external id counts rows of its
// index; all others add up the kept counts.
func total(ctx context.Context, tx Tx, f keyproof.Filter) (int64, error) {
	if f.ExternalID != nil {
		q := selection(f)
		return One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM (`+q.text+`) found`, q.args...)
	}
	n := make(map[keyproof.Status]int64, 5)
	var pending, verified, failed, completed, expired int64
	err := tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(pending), 0) AS BIGINT), CAST(COALESCE(SUM(verified), 0) AS BIGINT),
		CAST(COALESCE(SUM(failed), 0) AS BIGINT), CAST(COALESCE(SUM(completed), 0) AS BIGINT), CAST(COALESCE(SUM(expired), 0) AS BIGINT)
		FROM proof_counts WHERE project = $1 AND kind = $2`, f.Project, string(f.Kind)).Scan(&pending, &verified, &failed, &completed, &expired)
	if err != nil {
		return 0, err
	}
	if len(f.Statuses) == 0 {
		return pending + verified + failed + completed + expired, nil
	}
	due, err := One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM proof_sessions
		WHERE open = TRUE AND ends <= $1 AND project = $2 AND kind = $3`, Micros(f.Now), f.Project, string(f.Kind))
	if err != nil {
		return 0, err
	}
	n[keyproof.Pending], n[keyproof.Expired] = pending-due, expired+due // the sweeper keeps them few
	n[keyproof.Verified], n[keyproof.Failed], n[keyproof.Completed] = verified, failed, completed
	var sum int64
	for _, status := range distinct(f.Statuses) {
		sum += n[status]
	}
	return sum, nil
}

func distinct(statuses []keyproof.Status) []keyproof.Status {
	sorted := slices.Sorted(slices.Values(statuses))
	return slices.Compact(sorted)
}

// sessionsOf reads the page. The ids come from an index alone; a page beyond the middle is reached
// from the other end, which halves the longest way.
func sessionsOf(ctx context.Context, tx Tx, f keyproof.Filter, total int64) ([]keyproof.Session, error) {
	offset, limit, order := f.Window.Offset, min(f.Window.Limit, total-f.Window.Offset), newestFirst
	if limit <= 0 {
		return nil, nil
	}
	if offset > total/2 {
		offset, order = total-offset-limit, oldestFirst
	}
	q := selection(f)
	q.add(order+` LIMIT `, limit)
	q.add(` OFFSET `, offset)
	rows, err := All(ctx, tx, scanSession, pageBegin+q.text+pageEnd, q.args...)
	sessions := make([]keyproof.Session, len(rows))
	for i, row := range rows {
		sessions[i] = row.Session
	}
	return sessions, err
}

const (
	newestFirst = ` ORDER BY created DESC, id DESC`
	oldestFirst = ` ORDER BY created, id`
	pageBegin   = `SELECT ` + sessionColumns + ` FROM (`
	pageEnd     = `) found JOIN proof_sessions s ON s.id = found.id ORDER BY found.created DESC, found.id DESC`
)

// query is a statement put together from constants, with its parameters.
type query struct {
	text string
	args []any
}

// add appends constant text that ends where a parameter belongs.
func (q *query) add(text string, value any) {
	q.args = append(q.args, value)
	q.text += text + fmt.Sprintf("$%d", len(q.args))
}

// selection selects id and created of the sessions that match. For each status it has a part of its
// own, which an index gives in order: sorting a million rows takes seconds, merging lists does not.
func selection(f keyproof.Filter) query {
	q := query{args: []any{f.Project, string(f.Kind)}}
	where := ` WHERE project = $1 AND kind = $2`
	if f.ExternalID != nil {
		q.args = append(q.args, *f.ExternalID)
		where += ` AND external_id = $3`
	}
	statuses := distinct(f.Statuses)
	if len(statuses) == 0 {
		q.text = sessionIDs + where
		return q
	}
	for i, status := range statuses {
		if i > 0 {
			q.text += ` UNION ALL `
		}
		q.text += sessionIDs + where
		switch status {
		case keyproof.Pending:
			q.add(` AND status = 'pending' AND (expires IS NULL OR expires > `, Micros(f.Now))
			q.text += `)`
		case keyproof.Expired:
			q.text += ` AND status = 'expired' UNION ALL ` + overdueIDs + where
			q.add(overdue, Micros(f.Now))
			q.text += overdueEnd
		default:
			q.add(` AND status = `, string(status))
		}
	}
	return q
}

// Pending sessions whose time is up are few, as the sweeper expires them, and lie together in the
// index by end. ORDER BY and LIMIT keep both databases from looking for them among all pending ones.
const (
	sessionIDs = `SELECT id, created FROM proof_sessions`
	overdueIDs = `SELECT id, created FROM (SELECT id, created FROM proof_sessions`
	overdue    = ` AND open = TRUE AND ends <= `
	overdueEnd = ` ORDER BY ends LIMIT 1000000000) overdue`
)
