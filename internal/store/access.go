package store

import (
	"context"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Bindings keeps who holds which role on what.
type Bindings struct{ DB *DB }

var _ access.Store = Bindings{}

// insertBinding reports whether the binding is new.
func insertBinding(ctx context.Context, tx Tx, b access.Binding) (bool, error) {
	n, err := Exec(ctx, tx, `INSERT INTO role_bindings (id, subject_kind, subject_id, role, resource_kind, resource_id, created, number, terms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (subject_kind, subject_id, resource_kind, resource_id, role) DO NOTHING`,
		b.ID, string(b.Subject.Kind), b.Subject.ID, string(b.Role), b.Resource.Kind, b.Resource.ID, Micros(b.Created), b.Number, JSON(b.Terms))
	return n > 0, err
}

// bindingsChanged tells all nodes whose rights are others now.
func bindingsChanged(ctx context.Context, tx Tx, of access.Subject) error {
	return tx.Notify(ctx, "binding "+of.ID)
}

const bindingColumns = `b.id, b.subject_kind, b.subject_id, b.role, b.resource_kind, b.resource_id, b.created, b.number, b.terms`

// bindingsOf is a subject's own bindings, and behind them those of a user's groups. An application in a group holds nothing by it.
const bindingsOf = `SELECT ` + bindingColumns + `, '' FROM role_bindings b WHERE b.subject_kind = $1 AND b.subject_id = $2
	UNION ALL SELECT ` + bindingColumns + `, m.name
	FROM ` + groupsThatCount + ` m JOIN role_bindings b ON b.subject_kind = 'group' AND b.subject_id = m.group_id
	WHERE $1 = 'user' AND m.user_id = $2 AND b.resource_kind <> 'account' AND (b.resource_kind <> 'installation' OR m.account = $3)
	ORDER BY 2 DESC, 1`

func scanBinding(scan Scan) (access.Binding, error) {
	var b access.Binding
	err := scan(&b.ID, &b.Subject.Kind, &b.Subject.ID, &b.Role, &b.Resource.Kind, &b.Resource.ID, ScanTime(&b.Created), &b.Number, ScanJSON(&b.Terms), &b.Name)
	return b, err
}

// BindingsOf implements access.Store.
func (s Bindings) BindingsOf(ctx context.Context, of access.Subject) ([]access.Binding, error) {
	return readAll(ctx, s.DB, scanBinding, bindingsOf, string(of.Kind), of.ID, identity.DefaultAccount)
}

// BindingsOn implements access.Store.
func (s Bindings) BindingsOn(ctx context.Context, on access.Resource) ([]access.Binding, error) {
	return readAll(ctx, s.DB, scanBinding, `SELECT `+bindingColumns+`, COALESCE(u.name, g.name, '')
		FROM role_bindings b
		LEFT JOIN users u ON b.subject_kind = 'user' AND u.id = b.subject_id
		LEFT JOIN account_groups g ON b.subject_kind = 'group' AND g.id = b.subject_id
		WHERE b.resource_kind = $1 AND b.resource_id = $2 ORDER BY b.created, b.id`, on.Kind, on.ID)
}

// lockHeld makes those who change what a subject holds on a resource wait for each other. A lock on its rows would not: there may be none yet.
func lockHeld(ctx context.Context, tx Tx, b access.Binding) error {
	return tx.Lock(ctx, strings.Join([]string{"role", string(b.Subject.Kind), b.Subject.ID, b.Resource.Kind, b.Resource.ID}, " "))
}

// SetRole implements access.Store.
func (s Bindings) SetRole(ctx context.Context, b access.Binding, check func(held []access.Role) error, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := lockHeld(ctx, tx, b); err != nil {
			return err
		}
		held, err := All(ctx, tx, Value[access.Role], `SELECT role FROM role_bindings WHERE subject_kind = $1 AND subject_id = $2 AND resource_kind = $3 AND resource_id = $4`,
			string(b.Subject.Kind), b.Subject.ID, b.Resource.Kind, b.Resource.ID)
		if err != nil {
			return err
		}
		if err := check(held); err != nil {
			return err
		}
		if len(held) == 0 && b.Role == "" || len(held) == 1 && held[0] == b.Role {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM role_bindings WHERE subject_kind = $1 AND subject_id = $2 AND resource_kind = $3 AND resource_id = $4`,
			string(b.Subject.Kind), b.Subject.ID, b.Resource.Kind, b.Resource.ID); err != nil {
			return err
		}
		if b.Role != "" {
			if _, err := insertBinding(ctx, tx, b); err != nil {
				return err
			}
		}
		if err := bindingsChanged(ctx, tx, b.Subject); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// Grant implements access.Store.
func (s Bindings) Grant(ctx context.Context, b access.Binding, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := lockHeld(ctx, tx, b); err != nil {
			return err
		}
		if fresh, err := insertBinding(ctx, tx, b); !fresh || err != nil {
			return err
		}
		if err := bindingsChanged(ctx, tx, b.Subject); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// GrantTerms implements access.Store.
func (s Bindings) GrantTerms(ctx context.Context, b access.Binding, e audit.Event) (access.Binding, error) {
	is := b
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := lockHeld(ctx, tx, b); err != nil {
			return err
		}
		was, err := One(ctx, tx, scanBinding, `SELECT `+bindingColumns+`, '' FROM role_bindings b WHERE b.subject_kind = $1 AND b.subject_id = $2
			AND b.resource_kind = $3 AND b.resource_id = $4 AND b.role = $5`, string(b.Subject.Kind), b.Subject.ID, b.Resource.Kind, b.Resource.ID, string(b.Role))
		if err != nil && !Absent(err) {
			return err
		}
		is = b
		switch there := err == nil; {
		case there && JSON(was.Terms) == JSON(b.Terms):
			is = was
			return nil
		case there:
			is, is.Terms = was, b.Terms
			_, err = tx.ExecContext(ctx, `UPDATE role_bindings SET terms = $2 WHERE id = $1`, is.ID, JSON(is.Terms))
		default:
			if is.Number, err = nextNumber(ctx, tx, "grant"); err != nil {
				return err
			}
			_, err = insertBinding(ctx, tx, is)
		}
		if err != nil {
			return err
		}
		if err := bindingsChanged(ctx, tx, b.Subject); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, err
}

const selectGrant = `SELECT ` + bindingColumns + `, COALESCE(u.name, g.name, '') FROM role_bindings b
	LEFT JOIN users u ON b.subject_kind = 'user' AND u.id = b.subject_id
	LEFT JOIN account_groups g ON b.subject_kind = 'group' AND g.id = b.subject_id
	WHERE b.number > 0`

// Grants implements access.Store.
func (s Bindings) Grants(ctx context.Context, of access.Subject, w page.Window) (page.Page[access.Binding], error) {
	p := page.Page[access.Binding]{Window: w}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM role_bindings b WHERE b.number > 0 AND ($1 = '' OR b.subject_kind = $1 AND b.subject_id = $2)`,
			string(of.Kind), of.ID); err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, scanBinding, selectGrant+` AND ($1 = '' OR b.subject_kind = $1 AND b.subject_id = $2) ORDER BY b.number LIMIT $3 OFFSET $4`,
			string(of.Kind), of.ID, w.Limit, w.Offset)
		return err
	})
	return p, err
}

// GrantByNumber implements access.Store.
func (s Bindings) GrantByNumber(ctx context.Context, number int64) (access.Binding, error) {
	var b access.Binding
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		b, err = One(ctx, tx, scanBinding, selectGrant+` AND b.number = $1`, number)
		return err
	})
	if Absent(err) {
		err = access.ErrNoGrantOf
	}
	return b, err
}

// Revoke implements access.Store.
func (s Bindings) Revoke(ctx context.Context, b access.Binding, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM role_bindings WHERE subject_kind = $1 AND subject_id = $2 AND role = $3 AND resource_kind = $4 AND resource_id = $5`,
			string(b.Subject.Kind), b.Subject.ID, string(b.Role), b.Resource.Kind, b.Resource.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "no such role binding")
		}
		if err := bindingsChanged(ctx, tx, b.Subject); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}
