package store

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"

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
	if f.Window.Keyed {
		return s.behind(ctx, f)
	}
	p := page.Page[keyproof.Session]{Window: f.Window}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) error {
		sel, err := newSelection(ctx, tx, f)
		if err != nil {
			return err
		}
		p.Items = nil
		if p.Total, err = sel.total(ctx, tx); err != nil {
			return fmt.Errorf("count sessions: %w", err)
		}
		keys, err := sel.page(ctx, tx, p.Total)
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		p.Items, err = sessionsByKey(ctx, tx, keys)
		return err
	})
	return p, err
}

// behind is List for a Keyed window: nothing is counted, and nothing before the page is read.
func (s Keyproofs) behind(ctx context.Context, f keyproof.Filter) (page.Page[keyproof.Session], error) {
	after := listKeyOf(f.Window.After)
	var found []keyproof.Session
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) error {
		sel, err := newSelection(ctx, tx, f)
		if err != nil {
			return err
		}
		keys, err := sel.behind(ctx, tx, after, f.Window.Limit+1)
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		found, err = sessionsByKey(ctx, tx, keys)
		return err
	})
	return page.Cut(found, f.Window, func(x keyproof.Session) string { return listKey{x.ID, Micros(x.Created)}.String() }), err
}

// String is the key as it stands in a window.
func (k listKey) String() string { return strconv.FormatInt(k.created, 10) + "/" + k.id }

// listKeyOf reads what String wrote. What is no key stands before everything.
func listKeyOf(text string) listKey {
	created, id, _ := strings.Cut(text, "/")
	at, err := strconv.ParseInt(created, 10, 64)
	if err != nil {
		return listKey{id: "z", created: math.MaxInt64}
	}
	return listKey{id, at}
}

// behind returns the places of up to limit sessions behind one, newest first.
func (s selection) behind(ctx context.Context, tx Tx, after listKey, limit int64) ([]listKey, error) {
	text, args := s.query(listSessions)
	text += fmt.Sprintf(` AND (created, id) < ($%d, $%d) ORDER BY created DESC, id DESC LIMIT $%d`, len(args)+1, len(args)+2, len(args)+3)
	keys, err := All(ctx, tx, scanListKey, text, append(args, after.created, after.id, limit)...)
	if err != nil || !s.has(keyproof.Expired) {
		return keys, err
	}
	for _, k := range s.overdue {
		if newestFirst(after, k) < 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, newestFirst)
	return keys[:min(limit, int64(len(keys)))], nil
}

// selection is a filter in terms of what is stored. A pending session whose time is up is stored as
// pending and listed as expired: such sessions are few, as the sweeper ends them, and are read first.
type selection struct {
	keyproof.Filter
	stored  []keyproof.Status // statuses of rows that match, sorted; empty is all
	overdue []listKey         // pending rows that match as expired, or match not as pending; newest first
}

// listKey is a session's place in a list.
type listKey struct {
	id      string
	created int64
}

func scanListKey(scan Scan) (k listKey, err error) {
	err = scan(&k.id, &k.created)
	return k, err
}

// newestFirst orders as lists do.
func newestFirst(a, b listKey) int {
	return cmp.Or(cmp.Compare(b.created, a.created), cmp.Compare(b.id, a.id))
}

func newSelection(ctx context.Context, tx Tx, f keyproof.Filter) (selection, error) {
	sel := selection{Filter: f, stored: slices.Compact(slices.Sorted(slices.Values(f.Statuses)))}
	if sel.has(keyproof.Pending) == sel.has(keyproof.Expired) {
		return sel, nil // then it does not matter which of the two a session is
	}
	var err error
	sel.overdue, err = All(ctx, tx, scanListKey, overdueKeys, f.Project, string(f.Kind), Micros(f.Now), f.ExternalID == nil, f.ExternalID)
	slices.SortFunc(sel.overdue, newestFirst)
	return sel, err
}

// "project || ”" is no column to either planner: it keeps SQLite on the index by end, where overdue
// sessions lie together, and off the one by status, where they lie among all pending ones.
const overdueKeys = `SELECT id, created FROM proof_sessions WHERE project || '' = $1 AND kind || '' = $2
	AND status = 'pending' AND expires IS NOT NULL AND expires <= $3 AND (CAST($4 AS BOOLEAN) OR external_id = $5) ORDER BY expires`

func (s selection) has(status keyproof.Status) bool { return slices.Contains(s.stored, status) }

// What query begins with.
const (
	countSessions = `SELECT COUNT(*) FROM proof_sessions WHERE project = $1 AND kind = $2`
	listSessions  = `SELECT id, created FROM proof_sessions WHERE project = $1 AND kind = $2`
)

// query selects the rows that match by what is stored. Each of the first three cases has an index that
// gives them in order, since sorting a million takes seconds; the service asks for no other.
func (s selection) query(begin string) (text string, args []any) {
	args = []any{s.Project, string(s.Kind)}
	text = begin
	if s.ExternalID != nil {
		args = append(args, *s.ExternalID)
		text += ` AND external_id = $3`
	}
	switch {
	case len(s.stored) == 0:
	case len(s.stored) == 1:
		args = append(args, string(s.stored[0]))
		text += fmt.Sprintf(` AND status = $%d`, len(args))
	case slices.Equal(s.stored, []keyproof.Status{keyproof.Expired, keyproof.Failed}):
		text += ` AND status IN ('failed', 'expired')` // as the index has it
	default:
		text += ` AND status IN (` + places(len(args)+1, len(s.stored)) + `)`
		for _, status := range s.stored {
			args = append(args, string(status))
		}
	}
	if s.has(keyproof.Pending) && !s.has(keyproof.Expired) {
		args = append(args, Micros(s.Now))
		text += fmt.Sprintf(` AND (status <> 'pending' OR expires IS NULL OR expires > $%d)`, len(args))
	}
	return text, args
}

// total returns how many sessions match. For an external id it counts rows of its index; all else
// adds up the kept counts.
func (s selection) total(ctx context.Context, tx Tx) (int64, error) {
	overdue := int64(len(s.overdue))
	if s.ExternalID != nil {
		text, args := s.query(countSessions)
		n, err := One(ctx, tx, Value[int64], text, args...)
		if s.has(keyproof.Expired) {
			n += overdue
		}
		return n, err
	}
	var pending, verified, failed, completed, expired int64
	err := tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(pending), 0) AS BIGINT), CAST(COALESCE(SUM(verified), 0) AS BIGINT),
		CAST(COALESCE(SUM(failed), 0) AS BIGINT), CAST(COALESCE(SUM(completed), 0) AS BIGINT), CAST(COALESCE(SUM(expired), 0) AS BIGINT)
		FROM proof_counts WHERE project = $1 AND kind = $2`, s.Project, string(s.Kind)).Scan(&pending, &verified, &failed, &completed, &expired)
	if err != nil || len(s.stored) == 0 {
		return pending + verified + failed + completed + expired, err
	}
	counts := map[keyproof.Status]int64{
		keyproof.Pending: pending - overdue, keyproof.Expired: expired + overdue,
		keyproof.Verified: verified, keyproof.Failed: failed, keyproof.Completed: completed,
	}
	var n int64
	for _, status := range s.stored {
		n += counts[status]
	}
	return n, nil
}

// page returns the places of the sessions on the page, newest first.
func (s selection) page(ctx context.Context, tx Tx, total int64) ([]listKey, error) {
	offset, limit := s.Window.Offset, s.Window.Limit
	switch {
	case offset >= total:
		return nil, nil
	case len(s.overdue) == 0 || !s.has(keyproof.Expired):
		return s.rows(ctx, tx, offset, limit, total)
	}
	// The overdue ones lie anywhere among the rows of the index, so at most all of them precede the
	// page: read that many rows more before it, and merge.
	extra := int64(len(s.overdue))
	start := max(0, offset-extra)
	rows, err := s.rows(ctx, tx, start, offset+limit-start, total-extra)
	if err != nil {
		return nil, err
	}
	before := 0 // overdue ones that precede what was read, where that is not the beginning
	for start > 0 && before < len(s.overdue) && newestFirst(s.overdue[before], rows[0]) < 0 {
		before++
	}
	merged := append(rows, s.overdue[before:]...)
	slices.SortFunc(merged, newestFirst)
	skip := offset - start - int64(before)
	return merged[skip:min(skip+limit, int64(len(merged)))], nil
}

// rows reads places from the index. What lies beyond the middle is reached from the other end, which
// halves the longest way.
func (s selection) rows(ctx context.Context, tx Tx, offset, limit, total int64) ([]listKey, error) {
	limit = min(limit, total-offset)
	if limit <= 0 {
		return nil, nil
	}
	text, args := s.query(listSessions)
	order := ` ORDER BY created DESC, id DESC`
	backwards := offset > total/2
	if backwards {
		offset, order = total-offset-limit, ` ORDER BY created, id`
	}
	text += order + fmt.Sprintf(` LIMIT $%d OFFSET $%d`, len(args)+1, len(args)+2)
	keys, err := All(ctx, tx, scanListKey, text, append(args, limit, offset)...)
	if backwards {
		slices.Reverse(keys)
	}
	return keys, err
}

// sessionsMany selects up to page.MaxLimit sessions by id; the last id fills what is left.
var sessionsMany = sessionsByID + places(1, page.MaxLimit) + `)`

const sessionsByID = `SELECT ` + sessionColumns + ` FROM proof_sessions s WHERE s.id IN (`

// sessionsByKey reads the rows of a page, in its order.
func sessionsByKey(ctx context.Context, tx Tx, keys []listKey) ([]keyproof.Session, error) {
	sessions := make([]keyproof.Session, 0, len(keys))
	for chunk := range slices.Chunk(keys, page.MaxLimit) {
		ids := make([]any, page.MaxLimit)
		for i := range ids {
			ids[i] = chunk[min(i, len(chunk)-1)].id
		}
		rows, err := All(ctx, tx, scanSession, sessionsMany, ids...)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			sessions = append(sessions, row.Session)
		}
	}
	slices.SortFunc(sessions, func(a, b keyproof.Session) int {
		return newestFirst(listKey{a.ID, Micros(a.Created)}, listKey{b.ID, Micros(b.Created)})
	})
	return sessions, nil
}
