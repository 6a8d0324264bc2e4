package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// Purge implements keyproof.Store. Sessions that time ended but nobody expired count as ended, too.
// What to remove is looked for outside the transaction: an ended session stays ended.
func (s Keyproofs) Purge(ctx context.Context, before time.Time, limit int, e audit.Event) (int64, error) {
	old, err := s.endedBefore(ctx, before, limit)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	var purged int64
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		purged = 0
		counts := make(map[countRow]int64)
		for _, session := range old {
			n, err := Exec(ctx, tx, `DELETE FROM proof_sessions
				WHERE id = $1 AND status = $2 AND (status <> 'pending' OR expires < $3)`,
				session.ID, string(session.Status), Micros(before))
			if err != nil {
				return err
			}
			if n == 0 { // another node was faster, or the session lives on
				continue
			}
			purged++
			counts[countOf(session, -1).countRow]--
			if err := dropUnsent(ctx, tx, session.ID, e.At); err != nil {
				return err
			}
		}
		if purged == 0 {
			return nil
		}
		if err := insertEvents(ctx, tx, e.With("sessions", fmt.Sprint(purged))); err != nil {
			return err
		}
		return addCounts(ctx, tx, counts)
	})
	if err != nil {
		return 0, fmt.Errorf("purge sessions: %w", err)
	}
	return purged, nil
}

// endedBefore finds up to limit sessions without an index of their own, which every session that ends
// would have to enter: who ended before a moment was created before it, and lies first by status.
func (s Keyproofs) endedBefore(ctx context.Context, before time.Time, limit int) (found []keyproof.Session, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		found, err = All(ctx, tx, scanEnded, `SELECT id, project, kind, status FROM proof_sessions
			WHERE status = 'pending' AND expires IS NOT NULL AND expires < $1 ORDER BY expires LIMIT $2`, Micros(before), limit)
		if err != nil {
			return err
		}
		lists, err := All(ctx, tx, scanList, `SELECT DISTINCT project, kind FROM proof_counts`)
		if err != nil {
			return err
		}
		for _, of := range lists {
			for _, status := range []keyproof.Status{keyproof.Verified, keyproof.Failed, keyproof.Completed, keyproof.Expired} {
				if len(found) >= limit {
					return nil
				}
				more, err := All(ctx, tx, scanEnded, `SELECT id, project, kind, status FROM proof_sessions
					WHERE project = $1 AND kind = $2 AND status = $3 AND created < $4 AND updated < $4 ORDER BY created LIMIT $5`,
					of.Project, string(of.Kind), string(status), Micros(before), limit-len(found))
				if err != nil {
					return err
				}
				found = append(found, more...)
			}
		}
		return nil
	})
	return found, err
}

func scanEnded(scan Scan) (s keyproof.Session, err error) {
	err = scan(&s.ID, &s.Project, (*string)(&s.Kind), (*string)(&s.Status))
	return s, err
}

func scanList(scan Scan) (s keyproof.Session, err error) {
	err = scan(&s.Project, (*string)(&s.Kind))
	return s, err
}

// addCounts applies sums in one order, so that two purges never wait for each other in a circle.
func addCounts(ctx context.Context, tx Tx, sums map[countRow]int64) error {
	rows := make([]countRow, 0, len(sums))
	for row := range sums {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, countRow.compare)
	for _, row := range rows {
		if err := addCount(ctx, tx, count{row, sums[row]}); err != nil {
			return err
		}
	}
	return nil
}
