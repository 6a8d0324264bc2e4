package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// Delete implements identity.Store. What refers to the row of the user goes with it.
func (s Users) Delete(ctx context.Context, id string, at time.Time, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.Lock(ctx, "users removed"); err != nil { // two who are the last would each see the other
			return err
		}
		if err := spareLast(ctx, tx, id); err != nil {
			return err
		}
		said, err := endedBy(ctx, tx, access.User, id, identity.Ending{Sessions: true}, at, e)
		if err != nil {
			return err
		}
		if err := s.DB.forgetPlace(ctx, tx, access.UserKind, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM role_bindings WHERE subject_kind = 'user' AND subject_id = $1`, id); err != nil {
			return err
		}
		n, err := Exec(ctx, tx, `DELETE FROM users WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return identity.ErrUnknown
		}
		if said, err = s.leaveProject(ctx, tx, id, said); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "user "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, said)
	})
}

// spareLast reports ErrLastSysAdmin for a system administrator without whom there is none who may sign in.
func spareLast(ctx context.Context, tx Tx, id string) error {
	top, err := One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM (SELECT id AS user_id FROM users WHERE id = $1) m WHERE `+isTop, id)
	if err != nil || top == 0 {
		return err
	}
	others, err := One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM (SELECT id AS user_id FROM users WHERE id <> $1 AND NOT disabled) m WHERE `+isTop, id)
	if err == nil && others == 0 {
		err = identity.ErrLastSysAdmin
	}
	return err
}

// leaveProject removes the personal project of a user who goes, unless it holds something, and returns the event with what became of it.
func (s Users) leaveProject(ctx context.Context, tx Tx, user string, e audit.Event) (audit.Event, error) {
	project, err := One(ctx, tx, Value[string], `SELECT id FROM projects WHERE owner = $1`, user)
	if Absent(err) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	n, err := Exec(ctx, tx, `DELETE FROM projects WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM repos WHERE project = $1) AND NOT EXISTS (SELECT 1 FROM proof_sessions WHERE project = $1)`, project)
	if err != nil {
		return e, err
	}
	if n == 0 {
		_, err := tx.ExecContext(ctx, `UPDATE projects SET owner = '' WHERE id = $1`, project)
		return e.With("personal_project", "kept"), err
	}
	if err := s.DB.forgetPlace(ctx, tx, access.ProjectKind, project); err != nil {
		return e, err
	}
	return e.With("personal_project", "removed"), tx.Notify(ctx, "project "+project)
}
