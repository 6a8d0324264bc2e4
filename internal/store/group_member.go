package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// What a user who belongs to an account has, in whatever role: the user stands behind belongs, the account behind toAccount.
const (
	belongs   = `EXISTS (SELECT 1 FROM role_bindings am WHERE am.subject_kind = 'user' AND am.resource_kind = 'account' AND am.subject_id = `
	toAccount = ` AND am.resource_id = `
)

// groupsThatCount are the users in groups who hold what the groups hold: the account of the group is not disabled, and they belong to it.
const groupsThatCount = `(SELECT gm.user_id, gm.group_id, g.account, g.name FROM group_members gm JOIN account_groups g ON g.id = gm.group_id
	JOIN accounts ga ON ga.id = g.account WHERE NOT ga.disabled AND ` + belongs + `gm.user_id` + toAccount + `g.account))`

func scanGroupMember(scan Scan) (identity.GroupMember, error) {
	var m identity.GroupMember
	err := scan(&m.User, &m.Name, &m.Email, &m.Provider, ScanTime(&m.Since))
	return m, err
}

// Members implements identity.GroupStore.
func (s Groups) Members(ctx context.Context, group string) ([]identity.GroupMember, error) {
	return readAll(ctx, s.DB, scanGroupMember, `SELECT u.id, u.name, u.email, gm.provider, gm.created FROM group_members gm JOIN users u ON u.id = gm.user_id
		WHERE gm.group_id = $1 ORDER BY u.name_folded, u.id`, group)
}

const groupForMember = `SELECT ` + belongs + `$2` + toAccount + `g.account) FROM account_groups g WHERE g.id = $1`

// AddMember implements identity.GroupStore. Who leaves the account at the same moment is in a group that gives them nothing.
func (s Groups) AddMember(ctx context.Context, group, user string, now time.Time, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		member, err := One(ctx, tx, Value[bool], groupForMember, group, user)
		switch {
		case Absent(err):
			return identity.ErrNoGroup
		case err != nil:
			return err
		case !member:
			return identity.ErrNoMember
		}
		n, err := insertGroupMember(ctx, tx, group, user, "", now)
		if err != nil || n == 0 {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if ViolatesKind(err, ForeignKey) {
		return identity.ErrNoGroup
	}
	return err
}

func insertGroupMember(ctx context.Context, tx Tx, group, user, provider string, now time.Time) (int64, error) {
	return Exec(ctx, tx, `INSERT INTO group_members (group_id, user_id, provider, created) VALUES ($1, $2, $3, $4) ON CONFLICT (group_id, user_id) DO NOTHING`,
		group, user, provider, Micros(now))
}

// RemoveMember implements identity.GroupStore.
func (s Groups) RemoveMember(ctx context.Context, group, user string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := deleteGroupMember(ctx, tx, group, user)
		if err != nil {
			return err
		}
		if n == 0 {
			return identity.ErrNotInGroup
		}
		return insertEvents(ctx, tx, e)
	})
}

func deleteGroupMember(ctx context.Context, tx Tx, group, user string) (int64, error) {
	return Exec(ctx, tx, `DELETE FROM group_members WHERE group_id = $1 AND user_id = $2`, group, user)
}

// leaveGroups takes a user out of all groups of an account.
func leaveGroups(ctx context.Context, tx Tx, account, user string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM group_members WHERE user_id = $2 AND group_id IN (SELECT id FROM account_groups WHERE account = $1)`, account, user)
	return err
}

const (
	groupsOfUser   = `SELECT g.id, g.account, g.name, g.creator_kind, g.creator_id, g.created FROM group_members gm JOIN account_groups g ON g.id = gm.group_id WHERE gm.user_id = $1`
	byGroupName    = ` ORDER BY g.name_folded, g.id`
	groupsOfMember = groupsOfUser + ` AND g.account = $2` + byGroupName
)

// OfUser implements identity.GroupStore.
func (s Groups) OfUser(ctx context.Context, user string) ([]identity.Group, error) {
	return readAll(ctx, s.DB, scanGroup, groupsOfUser+byGroupName, user)
}
