package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Projects keeps projects.
type Projects struct{ DB *DB }

var _ project.Store = Projects{}

const projectColumns = `id, key, name, strict_status, rate_per_hour, created, updated, number, description, public, restricted, owner`

func scanProject(scan Scan) (project.Project, error) {
	var p project.Project
	var rate sql.NullInt64
	err := scan(&p.ID, &p.Key, &p.Name, &p.StrictStatus, &rate, ScanTime(&p.Created), ScanTime(&p.Updated),
		&p.Number, &p.Description, &p.Public, &p.Restricted, &p.Owner)
	if rate.Valid {
		n := int(rate.Int64)
		p.RatePerHour = &n
	}
	return p, err
}

func nullRate(n *int) sql.NullInt64 {
	if n == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: int64(*n), Valid: true}
}

// Insert implements project.Store.
func (s Projects) Insert(ctx context.Context, p project.Project, admin access.Binding, e audit.Event) (project.Project, error) {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Number, err = nextNumber(ctx, tx, "project"); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO projects (`+projectColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			p.ID, p.Key, p.Name, p.StrictStatus, nullRate(p.RatePerHour), Micros(p.Created), Micros(p.Updated), p.Number, p.Description, p.Public, p.Restricted, p.Owner)
		if err != nil {
			return err
		}
		if admin.ID != "" {
			if _, err := insertBinding(ctx, tx, admin); err != nil {
				return err
			}
		}
		return insertEvents(ctx, tx, e)
	})
	if Violates(err, "projects_key_key") || Violates(err, "projects_owner_key") {
		return project.Project{}, project.ErrKeyTaken
	}
	return p, err
}

// Delete implements project.Store.
func (s Projects) Delete(ctx context.Context, id string, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM projects WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return project.ErrUnknown
		}
		if err := s.DB.forgetPlace(ctx, tx, access.ProjectKind, id); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "project "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if ViolatesKind(err, ForeignKey) {
		return project.ErrNotEmpty
	}
	return err
}

// forgetPlace removes what is held on a project or repository that goes: roles, HTTP tokens, and SSH keys that gave access to nothing else.
func (d *DB) forgetPlace(ctx context.Context, tx Tx, kind, id string) error {
	// Who gives one of the keys another place at this moment waits, or is waited for: that key stays.
	_, err := All(ctx, tx, Value[string], `SELECT id FROM ssh_keys WHERE id IN (SELECT key_id FROM ssh_key_grants WHERE resource_kind = $1 AND resource_id = $2) ORDER BY id`+d.ForUpdate(), kind, id)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM role_bindings WHERE resource_kind = $1 AND resource_id = $2`,
		`DELETE FROM http_tokens WHERE scope_kind = $1 AND scope_id = $2`,
		`DELETE FROM ssh_keys WHERE id IN (SELECT key_id FROM ssh_key_grants WHERE resource_kind = $1 AND resource_id = $2)
			AND NOT EXISTS (SELECT 1 FROM ssh_key_grants o WHERE o.key_id = ssh_keys.id AND NOT (o.resource_kind = $1 AND o.resource_id = $2))`,
		`DELETE FROM ssh_key_grants WHERE resource_kind = $1 AND resource_id = $2`,
	} {
		if _, err := tx.ExecContext(ctx, statement, kind, id); err != nil {
			return err
		}
	}
	if err := tx.Notify(ctx, "tokens"); err != nil {
		return err
	}
	return tx.Notify(ctx, "sshkeys")
}

// Change implements project.Store.
func (s Projects) Change(ctx context.Context, id string, decide func(project.Project) (project.Project, error), e audit.Event) (project.Project, error) {
	var is project.Project
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := One(ctx, tx, scanProject, `SELECT `+projectColumns+` FROM projects WHERE id = $1`+s.DB.ForUpdate(), id)
		if Absent(err) {
			return project.ErrUnknown
		}
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE projects SET name = $2, strict_status = $3, rate_per_hour = $4, updated = $5, description = $6, public = $7, restricted = $8 WHERE id = $1`,
			id, is.Name, is.StrictStatus, nullRate(is.RatePerHour), Micros(is.Updated), is.Description, is.Public, is.Restricted)
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, "project "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, err
}

// ByID implements project.Store.
func (s Projects) ByID(ctx context.Context, id string) (project.Project, error) {
	return s.one(ctx, `SELECT `+projectColumns+` FROM projects WHERE id = $1`, id)
}

// ByKey implements project.Store.
func (s Projects) ByKey(ctx context.Context, key string) (project.Project, error) {
	return s.one(ctx, `SELECT `+projectColumns+` FROM projects WHERE key = $1`, key)
}

func (s Projects) one(ctx context.Context, query, arg string) (project.Project, error) {
	var p project.Project
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		p, err = One(ctx, tx, scanProject, query, arg)
		return err
	})
	if Absent(err) {
		err = project.ErrUnknown
	}
	return p, err
}

// List implements project.Store.
func (s Projects) List(ctx context.Context, w page.Window) (page.Page[project.Project], error) {
	if w.Keyed {
		all, err := readAll(ctx, s.DB, scanProject, `SELECT `+projectColumns+` FROM projects WHERE key > $1 ORDER BY key LIMIT $2`, w.After, w.Limit+1)
		return page.Cut(all, w, func(p project.Project) string { return p.Key }), err
	}
	p := page.Page[project.Project]{Window: w}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM projects`); err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, scanProject, `SELECT `+projectColumns+` FROM projects ORDER BY key LIMIT $1 OFFSET $2`, w.Limit, w.Offset)
		return err
	})
	return p, err
}

// Some implements project.Store.
func (s Projects) Some(ctx context.Context, name string, all bool, ids []string, w page.Window) (page.Page[project.Project], error) {
	return visible[project.Project]{
		scan: scanProject, query: `SELECT ` + projectColumns + ` FROM projects WHERE TRUE`, all: all, ids: ids,
		like: func(p project.Project) bool { return strings.HasPrefix(identity.Fold(p.Name), identity.Fold(name)) },
	}.page(ctx, s.DB, w)
}
