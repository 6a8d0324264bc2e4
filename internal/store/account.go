package store

import (
	"context"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Accounts keeps accounts. Who belongs to one stands in the role bindings.
type Accounts struct{ DB *DB }

var _ identity.AccountStore = Accounts{}

const accountColumns = `c.id, c.name, c.disabled, c.created, c.updated, c.require_factor`

func accountFields(a *identity.Account) []any {
	return []any{&a.ID, &a.Name, &a.Disabled, ScanTime(&a.Created), ScanTime(&a.Updated), &a.RequireFactor}
}

func scanAccount(scan Scan) (identity.Account, error) {
	var a identity.Account
	err := scan(accountFields(&a)...)
	return a, err
}

func takenAccount(err error) error {
	switch {
	case Violates(err, "accounts_name_key"):
		return identity.ErrAccountTaken
	case Absent(err):
		return identity.ErrNoAccount
	default:
		return err
	}
}

// Insert implements identity.AccountStore.
func (s Accounts) Insert(ctx context.Context, a identity.Account, first identity.Member, binding string, e audit.Event) error {
	return takenAccount(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO accounts (id, name, name_folded, disabled, created, updated, require_factor) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			a.ID, a.Name, identity.Fold(a.Name), a.Disabled, Micros(a.Created), Micros(a.Updated), string(a.RequireFactor))
		if err != nil {
			return err
		}
		if first.User != "" {
			if _, err := insertBinding(ctx, tx, memberBinding(binding, first)); err != nil {
				return err
			}
		}
		return insertEvents(ctx, tx, e)
	}))
}

// ByID implements identity.AccountStore.
func (s Accounts) ByID(ctx context.Context, id string) (identity.Account, error) {
	return s.one(ctx, `SELECT `+accountColumns+` FROM accounts c WHERE c.id = $1`, id)
}

// ByName implements identity.AccountStore.
func (s Accounts) ByName(ctx context.Context, folded string) (identity.Account, error) {
	return s.one(ctx, `SELECT `+accountColumns+` FROM accounts c WHERE c.name_folded = $1`, folded)
}

func (s Accounts) one(ctx context.Context, query, arg string) (identity.Account, error) {
	var a identity.Account
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		a, err = One(ctx, tx, scanAccount, query, arg)
		return err
	})
	return a, takenAccount(err)
}

// Change implements identity.AccountStore.
func (s Accounts) Change(ctx context.Context, id string, decide func(identity.Account) (identity.Account, error), e audit.Event) (identity.Account, error) {
	var is identity.Account
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := One(ctx, tx, scanAccount, `SELECT `+accountColumns+` FROM accounts c WHERE c.id = $1`+s.DB.ForUpdate(), id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE accounts SET name = $2, name_folded = $3, disabled = $4, updated = $5, require_factor = $6 WHERE id = $1`,
			id, is.Name, identity.Fold(is.Name), is.Disabled, Micros(is.Updated), string(is.RequireFactor))
		if err != nil {
			return err
		}
		if is.Disabled {
			_, err = tx.ExecContext(ctx, `UPDATE sessions SET state = 'terminated', ended = $2 WHERE ended IS NULL AND (account = $1
				OR kind = 'user' AND principal IN (SELECT id FROM users WHERE users.account = $1)
				OR kind = 'application' AND principal IN (SELECT id FROM applications WHERE applications.account = $1))`, id, Micros(is.Updated))
			if err != nil {
				return err
			}
		}
		if err := tx.Notify(ctx, "account "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, takenAccount(err)
}

// memberLevel ranks the roles of one user in one account; an administrator of the whole installation is one here too.
const (
	memberLevel = `MAX(CASE b.role WHEN 'account.administrator' THEN 3 WHEN 'account.member' THEN 2 WHEN 'account.auditor' THEN 1 ELSE 0 END)`
	isTop       = `(EXISTS (SELECT 1 FROM role_bindings t WHERE t.subject_kind = 'user' AND t.subject_id = m.user_id
		AND t.resource_kind = 'installation' AND t.role = 'sysadmin') OR EXISTS (SELECT 1 FROM ` + groupsThatCount + ` tg
		JOIN role_bindings t ON t.subject_kind = 'group' AND t.subject_id = tg.group_id AND t.resource_kind = 'installation' AND t.role = 'sysadmin'
		WHERE tg.user_id = m.user_id AND tg.account = '` + identity.DefaultAccount + `'))`
	membersOf = `(SELECT b.resource_id AS account, b.subject_id AS user_id, ` + memberLevel + ` AS level, MIN(b.created) AS since
		FROM role_bindings b WHERE b.subject_kind = 'user' AND b.resource_kind = 'account' AND `
	grouped = ` GROUP BY b.resource_id, b.subject_id) m`
)

// memberScan collects a member beside what else the row holds.
func memberScan(scan Scan, m *identity.Member, more ...any) error {
	var level int
	var top bool
	if err := scan(append([]any{&m.Account, &m.User, &level, &top, ScanTime(&m.Since)}, more...)...); err != nil {
		return err
	}
	m.Role = []identity.AccountRole{identity.Auditor, identity.Auditor, identity.Ordinary, identity.Administrator}[level]
	if top {
		m.Role = identity.Administrator
	}
	return nil
}

func scanJoined(scan Scan) (identity.Joined, error) {
	var j identity.Joined
	err := memberScan(scan, &j.Member, accountFields(&j.Account)...)
	return j, err
}

func scanPerson(scan Scan) (identity.Person, error) {
	var p identity.Person
	err := memberScan(scan, &p.Member, userFields(&p.User)...)
	return p, err
}

// OfUser implements identity.AccountStore.
func (s Accounts) OfUser(ctx context.Context, user string) ([]identity.Joined, error) {
	var all []identity.Joined
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanJoined, `SELECT m.account, m.user_id, m.level, `+isTop+`, m.since, `+accountColumns+`
			FROM `+membersOf+`b.subject_id = $1`+grouped+` JOIN accounts c ON c.id = m.account ORDER BY c.name_folded`, user)
		return err
	})
	return all, err
}

// Members implements identity.AccountStore.
func (s Accounts) Members(ctx context.Context, account string, w page.Window) (page.Page[identity.Person], error) {
	if w.Keyed {
		return s.membersBehind(ctx, account, w)
	}
	p := page.Page[identity.Person]{Window: w}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(DISTINCT subject_id) FROM role_bindings WHERE subject_kind = 'user' AND resource_kind = 'account' AND resource_id = $1`, account)
		if err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, scanPerson, `SELECT m.account, m.user_id, m.level, `+isTop+`, m.since, `+userColumns+`
			FROM `+membersOf+`b.resource_id = $1`+grouped+` JOIN users u ON u.id = m.user_id ORDER BY u.name_folded LIMIT $2 OFFSET $3`, account, w.Limit, w.Offset)
		return err
	})
	return p, err
}

// membersBehind is Members for a Keyed window. Members of other home accounts may share a name, so the key holds the id too.
func (s Accounts) membersBehind(ctx context.Context, account string, w page.Window) (page.Page[identity.Person], error) {
	name, id, _ := strings.Cut(w.After, "/") // no name holds a slash
	all, err := readAll(ctx, s.DB, scanPerson, `SELECT m.account, m.user_id, m.level, `+isTop+`, m.since, `+userColumns+`
		FROM `+membersOf+`b.resource_id = $1`+grouped+` JOIN users u ON u.id = m.user_id WHERE (u.name_folded, u.id) > ($2, $3) ORDER BY u.name_folded, u.id LIMIT $4`,
		account, name, id, w.Limit+1)
	return page.Cut(all, w, func(p identity.Person) string { return identity.Fold(p.User.Name) + "/" + p.User.ID }), err
}

// Member implements identity.AccountStore.
func (s Accounts) Member(ctx context.Context, account, user string) (identity.Person, error) {
	var p identity.Person
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		p, err = One(ctx, tx, scanPerson, `SELECT m.account, m.user_id, m.level, `+isTop+`, m.since, `+userColumns+`
			FROM `+membersOf+`b.resource_id = $1 AND b.subject_id = $2`+grouped+` JOIN users u ON u.id = m.user_id`, account, user)
		return err
	})
	if Absent(err) {
		err = identity.ErrNoMember
	}
	return p, err
}

// SetMember implements identity.AccountStore.
func (s Accounts) SetMember(ctx context.Context, m identity.Member, binding string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := One(ctx, tx, Value[string], `SELECT id FROM users WHERE id = $1`, m.User)
		if Absent(err) {
			return identity.ErrUnknown
		}
		if err != nil {
			return err
		}
		if _, err := s.leave(ctx, tx, m.Account, m.User, m.Role != identity.Administrator); err != nil {
			return err
		}
		if _, err := insertBinding(ctx, tx, memberBinding(binding, m)); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// RemoveMember implements identity.AccountStore. Sessions that work in the account go back to none.
func (s Accounts) RemoveMember(ctx context.Context, account, user string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := s.leave(ctx, tx, account, user, true)
		if err != nil {
			return err
		}
		if n == 0 {
			return identity.ErrNoMember
		}
		if err := leaveGroups(ctx, tx, account, user); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE sessions SET account = '' WHERE kind = 'user' AND principal = $1 AND account = $2 AND ended IS NULL`, user, account)
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, "user "+user); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// leave takes a user's roles in an account. The account's row is locked, so that of two administrators who leave at the same
// moment one stays.
func (s Accounts) leave(ctx context.Context, tx Tx, account, user string, mustRemain bool) (int64, error) {
	_, err := One(ctx, tx, Value[string], `SELECT id FROM accounts WHERE id = $1`+s.DB.ForUpdate(), account)
	if err != nil {
		return 0, takenAccount(err)
	}
	if mustRemain {
		was, others, err := administrators(ctx, tx, account, user)
		if err != nil {
			return 0, err
		}
		if was > 0 && others == 0 {
			return 0, identity.ErrLastAdmin
		}
	}
	return Exec(ctx, tx, `DELETE FROM role_bindings WHERE subject_kind = 'user' AND subject_id = $2 AND resource_kind = 'account' AND resource_id = $1`, account, user)
}

func administrators(ctx context.Context, tx Tx, account, user string) (was, others int64, err error) {
	const count = `SELECT COUNT(*) FROM role_bindings WHERE resource_kind = 'account' AND resource_id = $1 AND role = 'account.administrator' AND subject_kind = 'user'`
	if was, err = One(ctx, tx, Value[int64], count+` AND subject_id = $2`, account, user); err != nil {
		return 0, 0, err
	}
	others, err = One(ctx, tx, Value[int64], count+` AND subject_id <> $2`, account, user)
	return was, others, err
}
