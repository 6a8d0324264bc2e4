package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

// Tokens keeps API keys, by the digest of their plain text alone.
type Tokens struct{ DB *DB }

var _ token.Store = Tokens{}

const tokenColumns = `id, kind, name, project, digest, created, expires, revoked, last_used, last_address`

func scanToken(scan Scan) (token.Token, error) {
	var t token.Token
	var digest []byte
	err := scan(&t.ID, &t.Kind, &t.Name, &t.Project, &digest, ScanTime(&t.Created), ScanTime(&t.Expires), ScanTime(&t.Revoked), ScanTime(&t.LastUsed), &t.LastAddress)
	copy(t.Digest[:], digest)
	return t, err
}

// Insert implements token.Store.
func (s Tokens) Insert(ctx context.Context, t token.Token, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tokens (`+tokenColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			t.ID, string(t.Kind), t.Name, t.Project, t.Digest[:], Micros(t.Created), NullMicros(t.Expires), NullMicros(t.Revoked), NullMicros(t.LastUsed), t.LastAddress)
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if ViolatesKind(err, ForeignKey) {
		return project.ErrUnknown
	}
	return err
}

// ByDigest implements token.Store.
func (s Tokens) ByDigest(ctx context.Context, digest [32]byte) (token.Token, error) {
	return s.one(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE digest = $1`, digest[:])
}

// ByID implements token.Store.
func (s Tokens) ByID(ctx context.Context, id string) (token.Token, error) {
	return s.one(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE id = $1`, id)
}

func (s Tokens) one(ctx context.Context, query string, arg any) (token.Token, error) {
	var t token.Token
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		t, err = One(ctx, tx, scanToken, query, arg)
		return err
	})
	if Absent(err) {
		err = token.ErrUnknown
	}
	return t, err
}

// OfProject implements token.Store.
func (s Tokens) OfProject(ctx context.Context, projectID string) ([]token.Token, error) {
	var all []token.Token
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanToken, `SELECT `+tokenColumns+` FROM tokens WHERE project = $1 ORDER BY id DESC`, projectID)
		return err
	})
	return all, err
}

// Revoke implements token.Store.
func (s Tokens) Revoke(ctx context.Context, id string, at time.Time, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		t, err := One(ctx, tx, scanToken, `SELECT `+tokenColumns+` FROM tokens WHERE id = $1`+s.DB.ForUpdate(), id)
		if Absent(err) {
			return token.ErrUnknown
		}
		if err != nil || !t.Revoked.IsZero() {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked = $2 WHERE id = $1`, id, Micros(at)); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "token "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// MarkUsed implements token.Store.
func (s Tokens) MarkUsed(ctx context.Context, uses []token.Use) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		for _, u := range uses {
			_, err := tx.ExecContext(ctx, `UPDATE tokens SET last_used = $2, last_address = $3 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)`,
				u.ID, Micros(u.At), u.Address)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
