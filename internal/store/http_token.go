package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// HTTPTokens keeps HTTP access tokens, by the digest of their random part alone. A revoked one stays, so that its handle is not given twice.
type HTTPTokens struct{ DB *DB }

var _ token.AccessStore = HTTPTokens{}

// selectHTTPToken reads tokens with what their owner is now. A token whose user, project or repository is not there is shut.
const selectHTTPToken = `SELECT t.id, t.handle, t.scope_kind, t.scope_id, COALESCE(r.project, ''), t.name, t.permissions, t.digest, t.creator, t.created, t.expires, t.revoked,
	t.last_used, t.last_address, t.last_door, COALESCE(u.name, ''), COALESCE(u.email, ''),
	CASE WHEN t.scope_kind = 'user' THEN COALESCE(u.disabled OR c.disabled, TRUE) ELSE p.id IS NULL AND r.id IS NULL END
	FROM http_tokens t
	LEFT JOIN users u ON t.scope_kind = 'user' AND u.id = t.scope_id
	LEFT JOIN accounts c ON c.id = u.account
	LEFT JOIN projects p ON t.scope_kind = 'project' AND p.id = t.scope_id
	LEFT JOIN repos r ON t.scope_kind = 'repo' AND r.id = t.scope_id`

func scanHTTPToken(scan Scan) (token.Access, error) {
	var t token.Access
	var digest []byte
	var project string
	err := scan(&t.ID, &t.Handle, &t.Scope.Kind, &t.Scope.ID, &project, &t.Name, ScanJSON(&t.Permissions), &digest, &t.Creator, ScanTime(&t.Created), ScanTime(&t.Expires), ScanTime(&t.Revoked),
		ScanTime(&t.LastUsed), &t.LastAddress, &t.LastDoor, &t.UserName, &t.UserEmail, &t.Shut)
	copy(t.Digest[:], digest)
	if project != "" {
		t.Scope.Parents = []access.Resource{access.Project(project)}
	}
	return t, err
}

const goodHTTPToken = ` t.revoked IS NULL AND (t.expires IS NULL OR t.expires > $1)`

// Insert implements token.AccessStore. The row of the scope is locked first: its tokens are made one after the other, so that they can be counted.
func (s HTTPTokens) Insert(ctx context.Context, t token.Access, most int, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := s.holdScope(ctx, tx, t.Scope); err != nil {
			return err
		}
		n, err := One(ctx, tx, Value[int], `SELECT COUNT(*) FROM http_tokens t WHERE`+goodHTTPToken+` AND t.scope_kind = $2 AND t.scope_id = $3`, Micros(t.Created), t.Scope.Kind, t.Scope.ID)
		if err != nil {
			return err
		}
		if n >= most {
			return token.ErrTooMany
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO http_tokens (id, handle, scope_kind, scope_id, name, permissions, digest, creator, created, expires, revoked, last_used, last_address, last_door)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			t.ID, t.Handle, t.Scope.Kind, t.Scope.ID, t.Name, JSON(t.Permissions), t.Digest[:], t.Creator, Micros(t.Created), NullMicros(t.Expires), NullMicros(t.Revoked),
			NullMicros(t.LastUsed), t.LastAddress, t.LastDoor)
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if Violates(err, "http_tokens_handle_key") {
		err = token.ErrHandleTaken
	}
	return err
}

// holdScope locks what a token is for, which also keeps it from going away meanwhile: there is no foreign key into three tables.
func (s HTTPTokens) holdScope(ctx context.Context, tx Tx, scope access.Resource) error {
	query, gone := "", error(identity.ErrUnknown)
	switch scope.Kind {
	case access.UserKind:
		query = `SELECT id FROM users WHERE id = $1`
	case access.ProjectKind:
		query, gone = `SELECT id FROM projects WHERE id = $1`, project.ErrUnknown
	case access.RepoKind:
		query, gone = `SELECT id FROM repos WHERE id = $1`, repo.ErrUnknown
	default:
		return fault.Newf(fault.Internal, "a %s has no tokens", scope.Kind)
	}
	_, err := One(ctx, tx, Value[string], query+s.DB.ForUpdate(), scope.ID)
	if Absent(err) {
		return gone
	}
	return err
}

// ByHandle implements token.AccessStore.
func (s HTTPTokens) ByHandle(ctx context.Context, handle string) (token.Access, error) {
	var t token.Access
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		t, err = One(ctx, tx, scanHTTPToken, selectHTTPToken+` WHERE t.handle = $1`, handle)
		return err
	})
	if Absent(err) {
		err = token.ErrNoAccess
	}
	return t, err
}

// OfScope implements token.AccessStore.
func (s HTTPTokens) OfScope(ctx context.Context, scope access.Resource, now time.Time, w page.Window) (page.Page[token.Access], error) {
	return s.listed(ctx, w, goodHTTPToken+` AND t.scope_kind = $2 AND t.scope_id = $3`, `t.handle`, Micros(now), scope.Kind, scope.ID)
}

// Expiring implements token.AccessStore.
func (s HTTPTokens) Expiring(ctx context.Context, scope access.Resource, now, until time.Time, w page.Window) (page.Page[token.Access], error) {
	which, args := goodHTTPToken+` AND t.expires <= $2`, []any{Micros(now), Micros(until)}
	if scope.Kind != access.InstallationKind {
		which, args = which+` AND t.scope_kind = $3 AND t.scope_id = $4`, append(args, scope.Kind, scope.ID)
	}
	return s.listed(ctx, w, which, `t.expires, t.handle`, args...)
}

func (s HTTPTokens) listed(ctx context.Context, w page.Window, which, order string, args ...any) (page.Page[token.Access], error) {
	p := page.Page[token.Access]{Window: w}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM http_tokens t WHERE`+which, args...); err != nil {
			return err
		}
		limit := fmt.Sprintf(` LIMIT $%d OFFSET $%d`, len(args)+1, len(args)+2)
		p.Items, err = All(ctx, tx, scanHTTPToken, selectHTTPToken+` WHERE`+which+` ORDER BY `+order+limit, append(args, w.Limit, w.Offset)...)
		return err
	})
	return p, err
}

// Change implements token.AccessStore. The row is locked by a statement of its own: PostgreSQL locks no row that a join may lack.
func (s HTTPTokens) Change(ctx context.Context, id string, decide func(token.Access) (token.Access, error), e audit.Event) (token.Access, error) {
	var is token.Access
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := One(ctx, tx, Value[string], `SELECT id FROM http_tokens WHERE id = $1 AND revoked IS NULL`+s.DB.ForUpdate(), id); err != nil {
			return err
		}
		was, err := One(ctx, tx, scanHTTPToken, selectHTTPToken+` WHERE t.id = $1`, id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE http_tokens SET name = $2, permissions = $3, expires = $4 WHERE id = $1`, id, is.Name, JSON(is.Permissions), NullMicros(is.Expires))
		if err != nil {
			return err
		}
		return httpTokenChanged(ctx, tx, id, e)
	})
	if Absent(err) {
		err = token.ErrNoAccess
	}
	if err != nil {
		return token.Access{}, err
	}
	return is, nil
}

// Revoke implements token.AccessStore.
func (s HTTPTokens) Revoke(ctx context.Context, id string, at time.Time, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `UPDATE http_tokens SET revoked = $2 WHERE id = $1 AND revoked IS NULL`, id, Micros(at))
		if err != nil {
			return err
		}
		if n == 0 {
			return token.ErrNoAccess
		}
		return httpTokenChanged(ctx, tx, id, e)
	})
}

func httpTokenChanged(ctx context.Context, tx Tx, id string, e audit.Event) error {
	if err := tx.Notify(ctx, "token "+id); err != nil {
		return err
	}
	return insertEvents(ctx, tx, e)
}

// MarkUsed implements token.AccessStore.
func (s HTTPTokens) MarkUsed(ctx context.Context, uses []recent.Use) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		for _, u := range uses {
			_, err := tx.ExecContext(ctx, `UPDATE http_tokens SET last_used = $2, last_address = $3, last_door = $4 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)`,
				u.ID, Micros(u.At), u.Address, u.Door)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
