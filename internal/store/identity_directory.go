package store

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

const usersByNumber = `SELECT ` + userColumns + ` FROM users u WHERE u.account = $1 ORDER BY u.number`

// Beginning implements identity.Store. Display names are compared here and not in SQL, because databases fold differently.
func (s Users) Beginning(ctx context.Context, account, folded string, w page.Window) (page.Page[identity.User], error) {
	p := page.Page[identity.User]{Window: w}
	if folded == "" {
		err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
			if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM users WHERE account = $1`, account); err != nil {
				return err
			}
			p.Items, err = All(ctx, tx, scanUser, usersByNumber+` LIMIT $2 OFFSET $3`, account, w.Limit, w.Offset)
			return err
		})
		return p, err
	}
	all, err := readAll(ctx, s.DB, scanUser, usersByNumber, account)
	if err != nil {
		return p, err
	}
	found := slices.DeleteFunc(all, func(u identity.User) bool {
		begins := func(text string) bool { return strings.HasPrefix(identity.Fold(text), folded) }
		return !begins(u.Name) && !begins(u.Names.Display) && !begins(u.Email)
	})
	p.Total = int64(len(found))
	from := min(w.Offset, p.Total)
	p.Items = found[from : from+min(w.Limit, p.Total-from)]
	return p, nil
}

// ByIDs implements identity.Store.
func (s Users) ByIDs(ctx context.Context, ids []string) ([]identity.User, error) {
	var all []identity.User
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		all = nil
		for _, id := range ids {
			u, err := One(ctx, tx, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.id = $1`, id)
			if err == nil {
				all = append(all, u)
			} else if !Absent(err) {
				return err
			}
		}
		return nil
	})
	return all, err
}
