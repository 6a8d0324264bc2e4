package store

import (
	"context"
	"fmt"
	"reflect"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// Change implements keyproof.Store.
func (s Keyproofs) Change(ctx context.Context, id string, decide func(keyproof.State) (keyproof.Change, error)) (is keyproof.Session, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		row, err := One(ctx, tx, scanSession, sessionForUpdate+s.DB.ForUpdate(), id)
		if Absent(err) {
			return errNoSession
		}
		if err != nil {
			return err
		}
		// A statement of its own, after the lock: webhooks may have come and gone while it waited.
		state, err := s.state(ctx, tx, row)
		if err != nil {
			return err
		}
		c, err := decide(state)
		if err != nil {
			return err
		}
		is = row.Session
		if c.Session != nil {
			is = *c.Session
		}
		return s.apply(ctx, tx, row.Session, c)
	})
	return is, err
}

const sessionForUpdate = `SELECT ` + sessionColumns + ` FROM proof_sessions s WHERE s.id = $1`

// apply writes what was decided, and nothing where nothing was.
func (s Keyproofs) apply(ctx context.Context, tx Tx, was keyproof.Session, c keyproof.Change) error {
	if c.Session != nil {
		if err := updateSession(ctx, tx, was, *c.Session); err != nil {
			return fmt.Errorf("change session: %w", err)
		}
	}
	if c.Connection != nil && c.NewConnection {
		if err := insertConnection(ctx, tx, *c.Connection); err != nil {
			return err
		}
	} else if c.Connection != nil {
		n, err := Exec(ctx, tx, `UPDATE proof_connections SET keys = $3 WHERE session = $1 AND id = $2`,
			was.ID, c.Connection.ID, connectionKeys(*c.Connection))
		if err == nil && n != 1 {
			err = fmt.Errorf("session %s has no connection %s", was.ID, c.Connection.ID)
		}
		if err != nil {
			return fmt.Errorf("change connection: %w", err)
		}
	}
	if err := insertDeliveries(ctx, tx, c.Deliveries...); err != nil {
		return err
	}
	if err := insertEvents(ctx, tx, c.Events...); err != nil {
		return err
	}
	if c.Session == nil || c.Session.Status == was.Status {
		return nil
	}
	return moveCount(ctx, tx, was, c.Session.Status)
}

// updateSession writes as little as the change allows: a counted attempt or a kept proof touches no
// index, an ended session one or two. Each names the status that was loaded, so that no ended session changes
// by a rule that took it for a pending one.
func updateSession(ctx context.Context, tx Tx, was, is keyproof.Session) error {
	var n int64
	var err error
	switch {
	case !reflect.DeepEqual(was.Options, is.Options) || !was.Expires.Equal(is.Expires):
		n, err = Exec(ctx, tx, `UPDATE proof_sessions SET external_id = $3, match_all_keys = $4, multi_key = $5, multi_connection = $6,
			must_confirm = $7, max_attempts = $8, banner = $9, message = $10, expires = $11, status = $12,
			attempts = $13, updated = $14, keys = $15 WHERE id = $1 AND status = $2`,
			was.ID, string(was.Status), is.ExternalID, is.MatchAllKeys, is.MultiKey, is.MultiConnection,
			is.MustConfirm, is.MaxAttempts, is.Banner, is.Message, NullMicros(is.Expires), string(is.Status),
			is.Attempts, Micros(is.Updated), keysOf(is))
	case was.Status != is.Status:
		n, err = Exec(ctx, tx, `UPDATE proof_sessions SET status = $3, attempts = $4, updated = $5, keys = $6
			WHERE id = $1 AND status = $2`,
			was.ID, string(was.Status), string(is.Status), is.Attempts, Micros(is.Updated), keysOf(is))
	default:
		n, err = Exec(ctx, tx, `UPDATE proof_sessions SET attempts = $3, updated = $4, keys = $5 WHERE id = $1 AND status = $2`,
			was.ID, string(was.Status), is.Attempts, Micros(is.Updated), keysOf(is))
	}
	if err == nil && n != 1 {
		err = fmt.Errorf("session %s is not %s any more", was.ID, was.Status)
	}
	return err
}
