package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Users keeps the people of the installation.
type Users struct{ DB *DB }

var _ identity.Store = Users{}

const userColumns = `u.id, u.number, u.account, u.name, u.email, u.email_verified, u.password_hash, u.disabled, u.created, u.updated, u.last_login,
	u.display_name, COALESCE(u.first_name, ''), COALESCE(u.last_name, ''), COALESCE(u.description, ''), u.disabled_by,
	COALESCE((SELECT c.disabled FROM accounts c WHERE c.id = u.account), TRUE)`

func scanUser(scan Scan) (identity.User, error) {
	var u identity.User
	err := scan(userFields(&u)...)
	return u, err
}

func userFields(u *identity.User) []any {
	return []any{
		&u.ID, &u.Number, &u.Account, &u.Name, &u.Email, &u.EmailVerified, &u.PasswordHash, &u.Disabled, ScanTime(&u.Created), ScanTime(&u.Updated),
		ScanTime(&u.LastLogin), &u.Names.Display, &u.Names.First, &u.Names.Last, &u.Names.Description, &u.DisabledBy, &u.AccountShut,
	}
}

// insertUser adds the user as a member of the home account. That binding has the user's own id.
func insertUser(ctx context.Context, tx Tx, u identity.User, role identity.AccountRole) error {
	number, err := nextNumber(ctx, tx, "user")
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO users (id, number, account, name, name_folded, email, email_folded, email_verified, password_hash, disabled, created, updated,
		display_name, first_name, last_name, description, disabled_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		u.ID, number, u.Account, u.Name, identity.Fold(u.Name), u.Email, identity.FoldEmail(u.Email), u.EmailVerified, u.PasswordHash, u.Disabled, Micros(u.Created), Micros(u.Updated),
		u.Names.Display, u.Names.First, u.Names.Last, u.Names.Description, u.DisabledBy)
	if err != nil {
		return err
	}
	_, err = insertBinding(ctx, tx, memberBinding(u.ID, identity.Member{Account: u.Account, User: u.ID, Role: role, Since: u.Created}))
	return err
}

func memberBinding(id string, m identity.Member) access.Binding {
	return access.Binding{
		ID: id, Subject: access.Subject{Kind: access.User, ID: m.User}, Role: access.Role(m.Role), Resource: access.Account(m.Account), Created: m.Since,
	}
}

func takenUser(err error) error {
	switch {
	case Violates(err, "users_name_key"):
		return identity.ErrNameTaken
	case Violates(err, "users_email_key"):
		return identity.ErrEmailTaken
	default:
		return err
	}
}

// Insert implements identity.Store.
func (s Users) Insert(ctx context.Context, u identity.User, e audit.Event) error {
	return takenUser(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := insertUser(ctx, tx, u, identity.Ordinary); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	}))
}

// InsertFirst implements identity.Store.
func (s Users) InsertFirst(ctx context.Context, u identity.User, roles []identity.FirstRole, e audit.Event) (bool, error) {
	made := false
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		made = false
		if err := tx.Lock(ctx, "first-user"); err != nil {
			return err
		}
		n, err := One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM users`)
		if err != nil || n > 0 {
			return err
		}
		if err := insertUser(ctx, tx, u, identity.Administrator); err != nil {
			return err
		}
		for _, role := range roles {
			b := access.Binding{ID: role.Binding, Subject: access.Subject{Kind: access.User, ID: u.ID}, Role: access.Role(role.Role), Resource: access.Installation, Created: u.Created}
			if _, err := insertBinding(ctx, tx, b); err != nil {
				return err
			}
		}
		made = true
		return insertEvents(ctx, tx, e)
	})
	return made && err == nil, err
}

// Any implements identity.Store.
func (s Users) Any(ctx context.Context) (bool, error) {
	var n int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		n, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM (SELECT 1 FROM users LIMIT 1) AS one`)
		return err
	})
	return n > 0, err
}

// Change implements identity.Store.
func (s Users) Change(ctx context.Context, id string, decide func(identity.User) (identity.User, error), end identity.Ending, e audit.Event) (identity.User, error) {
	var is identity.User
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := One(ctx, tx, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.id = $1`+s.DB.ForUpdate(), id)
		if Absent(err) {
			return identity.ErrUnknown
		}
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		if err := saveUser(ctx, tx, id, is); err != nil {
			return err
		}
		said, err := endedBy(ctx, tx, access.User, id, end, is.Updated, e)
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, "user "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, said)
	})
	return is, takenUser(err)
}

func saveUser(ctx context.Context, tx Tx, id string, is identity.User) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET name = $2, name_folded = $3, email = $4, email_folded = $5, email_verified = $6, password_hash = $7, disabled = $8, updated = $9,
		display_name = $10, first_name = $11, last_name = $12, description = $13, disabled_by = $14 WHERE id = $1`,
		id, is.Name, identity.Fold(is.Name), is.Email, identity.FoldEmail(is.Email), is.EmailVerified, is.PasswordHash, is.Disabled, Micros(is.Updated),
		is.Names.Display, is.Names.First, is.Names.Last, is.Names.Description, is.DisabledBy)
	return err
}

// ByID implements identity.Store.
func (s Users) ByID(ctx context.Context, id string) (identity.User, error) {
	return s.one(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = $1`, id)
}

// ByName implements identity.Store.
func (s Users) ByName(ctx context.Context, account, folded string) (identity.User, error) {
	return s.one(ctx, `SELECT `+userColumns+` FROM users u WHERE u.account = $1 AND u.name_folded = $2`, account, folded)
}

// ByEmail implements identity.Store.
func (s Users) ByEmail(ctx context.Context, account, folded string) (identity.User, error) {
	return s.one(ctx, `SELECT `+userColumns+` FROM users u WHERE u.account = $1 AND u.email_folded = $2`, account, folded)
}

func (s Users) one(ctx context.Context, query string, args ...any) (identity.User, error) {
	var u identity.User
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		u, err = One(ctx, tx, scanUser, query, args...)
		return err
	})
	if Absent(err) {
		err = identity.ErrUnknown
	}
	return u, err
}

// List implements identity.Store.
func (s Users) List(ctx context.Context, account string, w page.Window) (page.Page[identity.User], error) {
	if w.Keyed {
		all, err := readAll(ctx, s.DB, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.account = $1 AND u.name_folded > $2 ORDER BY u.name_folded LIMIT $3`, account, w.After, w.Limit+1)
		return page.Cut(all, w, func(u identity.User) string { return identity.Fold(u.Name) }), err
	}
	p := page.Page[identity.User]{Window: w}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM users WHERE account = $1`, account); err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.account = $1 ORDER BY u.name_folded LIMIT $2 OFFSET $3`, account, w.Limit, w.Offset)
		return err
	})
	return p, err
}
