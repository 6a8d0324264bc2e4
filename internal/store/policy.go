package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
)

// Policies keeps what administrators choose about signing in, each as one JSON body under its name.
type Policies struct{ DB *DB }

var _ policy.Store = Policies{}

// The names of the rows.
const (
	ssoPolicy   = "sso"
	basicPolicy = "basic"
)

// SSO implements policy.Store.
func (s Policies) SSO(ctx context.Context) (policy.SSO, error) {
	return readPolicy(ctx, s.DB, ssoPolicy, func(scan Scan) (p policy.SSO, err error) {
		err = scan(ScanJSON(&p), &p.Version, ScanTime(&p.Updated))
		return p, err
	})
}

// Basic implements policy.Store.
func (s Policies) Basic(ctx context.Context) (policy.Basic, error) {
	return readPolicy(ctx, s.DB, basicPolicy, func(scan Scan) (p policy.Basic, err error) {
		err = scan(ScanJSON(&p), &p.Version, ScanTime(&p.Updated))
		return p, err
	})
}

// readPolicy returns the zero T where no row is stored.
func readPolicy[T any](ctx context.Context, db *DB, name string, scan func(Scan) (T, error)) (T, error) {
	var is T
	err := db.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		is, err = One(ctx, tx, scan, `SELECT body, version, updated FROM policies WHERE name = $1`, name)
		return err
	})
	if Absent(err) {
		err = nil
	}
	return is, err
}

// ChangeSSO implements policy.Store.
func (s Policies) ChangeSSO(ctx context.Context, was int64, to policy.SSO, e audit.Event) error {
	return s.change(ctx, policyRow{ssoPolicy, was, JSON(to), Micros(to.Updated)}, e)
}

// ChangeBasic implements policy.Store.
func (s Policies) ChangeBasic(ctx context.Context, was int64, to policy.Basic, e audit.Event) error {
	return s.change(ctx, policyRow{basicPolicy, was, JSON(to), Micros(to.Updated)}, e)
}

// policyRow is a policy that takes the place of version was.
type policyRow struct {
	name    string
	was     int64
	body    string
	updated int64
}

func (s Policies) change(ctx context.Context, to policyRow, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		kept, err := to.keep(ctx, tx)
		if err != nil {
			return err
		}
		if kept == 0 {
			return policy.ErrOvertaken
		}
		if err := tx.Notify(ctx, "policy"); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// keep writes the row where nobody was faster, and tells how many it wrote.
func (r policyRow) keep(ctx context.Context, tx Tx) (int64, error) {
	if r.was == 0 {
		return Exec(ctx, tx, `INSERT INTO policies (name, body, version, updated) VALUES ($1, $2, 1, $3) ON CONFLICT (name) DO NOTHING`, r.name, r.body, r.updated)
	}
	return Exec(ctx, tx, `UPDATE policies SET body = $3, version = version + 1, updated = $4 WHERE name = $1 AND version = $2`, r.name, r.was, r.body, r.updated)
}
