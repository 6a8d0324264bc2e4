package store

import (
	"context"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// Groups keeps the groups of accounts.
type Groups struct{ DB *DB }

var _ identity.GroupStore = Groups{}

const groupColumns = `id, account, name, creator_kind, creator_id, created`

func scanGroup(scan Scan) (identity.Group, error) {
	var g identity.Group
	err := scan(&g.ID, &g.Account, &g.Name, &g.Creator.Kind, &g.Creator.ID, ScanTime(&g.Created))
	return g, err
}

const insertGroup = `INSERT INTO account_groups (id, account, name, name_folded, creator_kind, creator_id, created) VALUES ($1, $2, $3, $4, $5, $6, $7)`

// Insert implements identity.GroupStore.
func (s Groups) Insert(ctx context.Context, g identity.Group, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, insertGroup,
			g.ID, g.Account, g.Name, identity.Fold(g.Name), g.Creator.Kind, g.Creator.ID, Micros(g.Created))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	switch {
	case Violates(err, "account_groups_name_key"):
		return identity.ErrGroupTaken
	case ViolatesKind(err, ForeignKey):
		return identity.ErrNoAccount
	}
	return err
}

// ByID implements identity.GroupStore.
func (s Groups) ByID(ctx context.Context, id string) (identity.Group, error) {
	return s.one(ctx, `SELECT `+groupColumns+` FROM account_groups WHERE id = $1`, id)
}

const groupByName = `SELECT ` + groupColumns + ` FROM account_groups WHERE account = $1 AND name_folded = $2`

// ByName implements identity.GroupStore.
func (s Groups) ByName(ctx context.Context, account, folded string) (identity.Group, error) {
	return s.one(ctx, groupByName, account, folded)
}

func (s Groups) one(ctx context.Context, query string, args ...any) (identity.Group, error) {
	var g identity.Group
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		g, err = One(ctx, tx, scanGroup, query, args...)
		return err
	})
	if Absent(err) {
		err = identity.ErrNoGroup
	}
	return g, err
}

// OfAccount implements identity.GroupStore.
func (s Groups) OfAccount(ctx context.Context, account string) ([]identity.Group, error) {
	var all []identity.Group
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanGroup, `SELECT `+groupColumns+` FROM account_groups WHERE account = $1 ORDER BY name_folded`, account)
		return err
	})
	return all, err
}

// Delete implements identity.GroupStore. Applications that were in the group are so no more. No node remembers rights, so none is told.
func (s Groups) Delete(ctx context.Context, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		account, err := One(ctx, tx, Value[string], `DELETE FROM account_groups WHERE id = $1 RETURNING account`, id)
		if Absent(err) {
			return identity.ErrNoGroup
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM role_bindings WHERE subject_kind = 'group' AND subject_id = $1`, id); err != nil {
			return err
		}
		apps, err := All(ctx, tx, scanApplication, `SELECT `+applicationColumns+` FROM applications a WHERE a.account = $1`+s.DB.ForUpdate(), account)
		if err != nil {
			return err
		}
		for _, a := range apps {
			if !slices.Contains(a.Groups, id) {
				continue
			}
			a.Groups = slices.DeleteFunc(a.Groups, func(g string) bool { return g == id })
			if a.Default == id {
				a.Default = ""
			}
			if _, err := tx.ExecContext(ctx, `UPDATE applications SET groups_in = $2, default_group = $3 WHERE id = $1`, a.ID, JSON(a.Groups), a.Default); err != nil {
				return err
			}
		}
		return insertEvents(ctx, tx, e)
	})
}
