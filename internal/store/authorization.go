package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Authorizations keeps what applications may do by the API of remote sessions, the tokens that they have as digests, and their access log.
type Authorizations struct{ DB *DB }

var _ identity.AuthorizationStore = Authorizations{}

const authorizationColumns = `z.id, z.application, z.name, z.client_id, z.digest, z.enabled, z.expires, z.resources, z.writes, z.addresses, z.referrers, z.auto_pick, z.ancestors, z.created,
	z.updated, a.name, a.account, a.addresses, a.disabled OR COALESCE((SELECT c.disabled FROM accounts c WHERE c.id = a.account), TRUE)`

const authorizationTables = ` FROM authorizations z JOIN applications a ON a.id = z.application`

func scanAuthorization(scan Scan) (identity.Authorization, error) {
	var a identity.Authorization
	var digest []byte
	err := scan(&a.ID, &a.Application, &a.Name, &a.ClientID, &digest, &a.Enabled, ScanTime(&a.Expires), ScanJSON(&a.Resources), &a.Writes, ScanJSON(&a.Addresses), ScanJSON(&a.Referrers), &a.AutoPick,
		ScanJSON(&a.Ancestors), ScanTime(&a.Created), ScanTime(&a.Updated), &a.ApplicationName, &a.Account, ScanJSON(&a.Within), &a.Shut)
	copy(a.Digest[:], digest)
	return a, err
}

// listOf is a list as a column has it: no list is an empty one.
func listOf[T any](list []T) string {
	if list == nil {
		list = []T{}
	}
	return JSON(list)
}

func noAuthorization(err error) error {
	if Absent(err) {
		return identity.ErrNoAuthorization
	}
	return err
}

// Insert implements identity.AuthorizationStore.
func (s Authorizations) Insert(ctx context.Context, a identity.Authorization, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO authorizations (id, application, name, client_id, digest, enabled, expires, resources, writes, addresses, referrers, auto_pick, ancestors,
			created, updated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
			a.ID, a.Application, a.Name, a.ClientID, a.Digest[:], a.Enabled, NullMicros(a.Expires), listOf(a.Resources), a.Writes, listOf(a.Addresses), listOf(a.Referrers), a.AutoPick,
			listOf(a.Ancestors), Micros(a.Created), Micros(a.Updated))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if ViolatesKind(err, ForeignKey) {
		return identity.ErrNoApplication
	}
	return err
}

// ByID implements identity.AuthorizationStore.
func (s Authorizations) ByID(ctx context.Context, id string) (identity.Authorization, error) {
	return s.one(ctx, `SELECT `+authorizationColumns+authorizationTables+` WHERE z.id = $1`, id)
}

// ByClient implements identity.AuthorizationStore.
func (s Authorizations) ByClient(ctx context.Context, clientID string) (identity.Authorization, error) {
	return s.one(ctx, `SELECT `+authorizationColumns+authorizationTables+` WHERE z.client_id = $1`, clientID)
}

func (s Authorizations) one(ctx context.Context, query string, args ...any) (identity.Authorization, error) {
	var a identity.Authorization
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		a, err = One(ctx, tx, scanAuthorization, query, args...)
		return err
	})
	return a, noAuthorization(err)
}

// All implements identity.AuthorizationStore.
func (s Authorizations) All(ctx context.Context, application string) ([]identity.Authorization, error) {
	return readAll(ctx, s.DB, scanAuthorization, `SELECT `+authorizationColumns+authorizationTables+` WHERE $1 = '' OR z.application = $1 ORDER BY z.id`, application)
}

// Change implements identity.AuthorizationStore.
func (s Authorizations) Change(ctx context.Context, id string, decide func(identity.Authorization) (identity.Authorization, error), e audit.Event) (identity.Authorization, error) {
	var is identity.Authorization
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		// Locked first by a statement of its own: PostgreSQL locks every table of a join, and the application is nobody's to hold here.
		if _, err := One(ctx, tx, Value[string], `SELECT id FROM authorizations WHERE id = $1`+s.DB.ForUpdate(), id); err != nil {
			return err
		}
		was, err := One(ctx, tx, scanAuthorization, `SELECT `+authorizationColumns+authorizationTables+` WHERE z.id = $1`, id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE authorizations SET name = $2, enabled = $3, expires = $4, resources = $5, writes = $6, addresses = $7, referrers = $8, auto_pick = $9, ancestors = $10,
			updated = $11 WHERE id = $1`, id, is.Name, is.Enabled, NullMicros(is.Expires), listOf(is.Resources), is.Writes, listOf(is.Addresses), listOf(is.Referrers), is.AutoPick, listOf(is.Ancestors),
			Micros(is.Updated))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, noAuthorization(err)
}

// InsertToken implements identity.AuthorizationStore. Those who issue for one authorization wait for each other, or two could both be the last that is allowed.
func (s Authorizations) InsertToken(ctx context.Context, t identity.AuthorizationToken, since time.Time, most int, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.Lock(ctx, "authorization "+t.Authorization); err != nil {
			return err
		}
		n, err := One(ctx, tx, Value[int], `SELECT COUNT(*) FROM authorization_tokens WHERE authorization_id = $1 AND created > $2`, t.Authorization, Micros(since))
		if err != nil {
			return err
		}
		if n >= most {
			return identity.ErrTooManyTokens
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO authorization_tokens (digest, authorization_id, created, expires) VALUES ($1, $2, $3, $4)`,
			t.Digest[:], t.Authorization, Micros(t.Created), Micros(t.Expires)); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if ViolatesKind(err, ForeignKey) {
		return identity.ErrNoAuthorization
	}
	return err
}

// ByToken implements identity.AuthorizationStore.
func (s Authorizations) ByToken(ctx context.Context, digest [32]byte, now time.Time) (identity.Authorization, error) {
	return s.one(ctx, `SELECT `+authorizationColumns+authorizationTables+` JOIN authorization_tokens t ON t.authorization_id = z.id WHERE t.digest = $1 AND t.expires > $2`, digest[:], Micros(now))
}

// AddCall implements identity.AuthorizationStore.
func (s Authorizations) AddCall(ctx context.Context, c identity.Call) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO authorization_calls (id, at, client, name, address, resource, event, method, path, status, error, node, took)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			c.ID, Micros(c.At), c.Client, c.Name, c.Address, c.Resource, c.Event, c.Method, c.Path, c.Status, c.Error, c.Node, c.Took.Microseconds())
		return err
	})
}

func scanCall(scan Scan) (identity.Call, error) {
	var c identity.Call
	var took int64
	err := scan(&c.ID, ScanTime(&c.At), &c.Client, &c.Name, &c.Address, &c.Resource, &c.Event, &c.Method, &c.Path, &c.Status, &c.Error, &c.Node, &took)
	c.Took = time.Duration(took) * time.Microsecond
	return c, err
}

// Calls implements identity.AuthorizationStore.
func (s Authorizations) Calls(ctx context.Context, w page.Window) (page.Page[identity.Call], error) {
	all, err := readAll(ctx, s.DB, scanCall, `SELECT id, at, client, name, address, resource, event, method, path, status, error, node, took FROM authorization_calls
		WHERE id < $1 ORDER BY id DESC LIMIT $2`, below(w.After), w.Limit+1)
	return page.Cut(all, w, func(c identity.Call) string { return c.ID }), err
}

// Sweep implements identity.AuthorizationStore. It writes only where there is something to forget.
func (s Authorizations) Sweep(ctx context.Context, now, calls time.Time) error {
	n, err := readAll(ctx, s.DB, Value[int64], `SELECT (SELECT COUNT(*) FROM authorization_tokens WHERE expires <= $1) + (SELECT COUNT(*) FROM authorization_calls WHERE at < $2)`,
		Micros(now), Micros(calls))
	if err != nil || n[0] == 0 {
		return err
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM authorization_tokens WHERE expires <= $1`, Micros(now)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM authorization_calls WHERE at < $1`, Micros(calls))
		return err
	})
}
