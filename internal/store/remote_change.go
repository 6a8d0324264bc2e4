package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Change implements remote.Store.
func (s Remotes) Change(
	ctx context.Context, id string, cookie *[32]byte, decide func(remote.Session) (remote.Session, []audit.Event, error),
) (remote.Session, error) {
	var is remote.Session
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := s.locked(ctx, tx, id)
		if err != nil {
			return err
		}
		var events []audit.Event
		if is, events, err = decide(was); err != nil {
			return err
		}
		if is, err = changeRemote(ctx, tx, was, is); err != nil {
			return err
		}
		if cookie != nil {
			if _, err := tx.ExecContext(ctx, `UPDATE remote_sessions SET cookie = $2 WHERE id = $1`, id, cookie[:]); err != nil {
				return err
			}
		}
		return insertEvents(ctx, tx, events...)
	})
	if err != nil {
		return remote.Session{}, unknownRemote(err)
	}
	return is, nil
}

func unknownRemote(err error) error {
	if Absent(err) {
		return remote.ErrUnknown
	}
	return err
}

// locked reads a session that the same transaction will change.
func (s Remotes) locked(ctx context.Context, tx Tx, id string) (remote.Session, error) {
	return One(ctx, tx, scanRemote, selectRemote+`x.id = $1`+s.DB.ForUpdate(), id)
}

// changeRemote keeps what became of a session. The state that it had is a condition of the one statement: of two who change it one fails, whatever lock
// the database gave (rule S14).
func changeRemote(ctx context.Context, tx Tx, was, is remote.Session) (_ remote.Session, err error) {
	if is.State == remote.Active && was.State != remote.Active {
		if is.Number, err = nextNumber(ctx, tx, "remote_session"); err != nil {
			return is, err
		}
	}
	n, err := Exec(ctx, tx, `UPDATE remote_sessions SET number = $3, code = $4, state = $5, address = $6, request_id = $7, grant_number = $8, terms = $9, stepped_up = $10,
		reason = $11, reference = $12, node = $13, expires = $14, redeemed = $15, started = $16, ended = $17, end_reason = $18, end_asked = $19, ended_by = $20
		WHERE id = $1 AND state = $2`,
		was.ID, string(was.State), numberOrNull(is.Number), codeOrNull(is.Code), string(is.State), addrText(is.Address), is.Request, is.Grant, JSON(is.Terms),
		NullMicros(is.SteppedUp), is.Why, is.Reference, is.Node, Micros(is.Expires), NullMicros(is.Redeemed), NullMicros(is.Started), NullMicros(is.Ended),
		string(is.End), string(is.EndAsked), is.EndedBy)
	if err != nil {
		return is, err
	}
	if n == 0 {
		return is, remote.ErrOver
	}
	if is.State == remote.Ended && was.State != remote.Ended {
		if _, err := tx.ExecContext(ctx, `UPDATE remote_requests SET state = 'expired', decided = $2 WHERE session = $1 AND state = 'pending'`, is.ID, Micros(is.Ended)); err != nil {
			return is, err
		}
	}
	if is.State != was.State || is.EndAsked != was.EndAsked {
		return is, tx.Notify(ctx, "remote "+is.ID)
	}
	return is, nil
}

// Overdue implements remote.Store.
func (s Remotes) Overdue(ctx context.Context, now time.Time, limit int) ([]remote.Session, error) {
	return readAll(ctx, s.DB, scanRemote, selectRemote+`x.state IN ('issued', 'waiting') AND x.expires <= $1 ORDER BY x.expires LIMIT $2`, Micros(now), limit)
}

// spent are the sessions that are over and whose digests are still there, as the index of them says it.
const spent = `ended IS NOT NULL AND (sr IS NOT NULL OR handle IS NOT NULL OR cookie IS NOT NULL) AND ended < $1`

// Purge implements remote.Store. What was recorded or asked for is history, and stays.
func (s Remotes) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	most := 0
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		most = 0
		old, err := All(ctx, tx, Value[string], `SELECT id FROM remote_sessions WHERE `+spent+` ORDER BY ended LIMIT $2`, Micros(before), limit)
		if err != nil {
			return err
		}
		for _, id := range old {
			if _, err := tx.ExecContext(ctx, `DELETE FROM remote_sessions WHERE id = $1 AND started IS NULL
				AND NOT EXISTS (SELECT 1 FROM recordings r WHERE r.session = $1) AND NOT EXISTS (SELECT 1 FROM remote_requests r WHERE r.session = $1)`, id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE remote_sessions SET sr = NULL, handle = NULL, cookie = NULL WHERE id = $1`, id); err != nil {
				return err
			}
		}
		most = len(old)
		_, err = tx.ExecContext(ctx, `DELETE FROM remote_tickets WHERE expires < $1`, Micros(before))
		return err
	})
	return most, err
}

// AddTicket implements remote.Store.
func (s Remotes) AddTicket(ctx context.Context, t remote.Ticket) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO remote_tickets (digest, session, purpose, subject, name, expires) VALUES ($1, $2, $3, $4, $5, $6)`,
			t.Digest[:], t.Session, t.Purpose, t.Subject, t.Name, Micros(t.Expires))
		return err
	})
}

// UseTicket implements remote.Store. The one statement that takes it decides who was first.
func (s Remotes) UseTicket(ctx context.Context, digest [32]byte, purpose string, now time.Time) (remote.Ticket, error) {
	t := remote.Ticket{Digest: digest}
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		return tx.QueryRowContext(ctx, `DELETE FROM remote_tickets WHERE digest = $1 AND purpose = $2 AND expires > $3 RETURNING session, purpose, subject, name, expires`,
			digest[:], purpose, Micros(now)).Scan(&t.Session, &t.Purpose, &t.Subject, &t.Name, ScanTime(&t.Expires))
	})
	if err != nil {
		return remote.Ticket{}, unknownRemote(err)
	}
	return t, nil
}
