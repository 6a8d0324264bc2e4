package store

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

const standingFacts = `SELECT EXISTS (SELECT 1 FROM provider_links l JOIN providers p ON p.id = l.provider WHERE l.user_id = $1 AND p.kind = 'ldap'),
	NOT ` + belongs + `$1` + toAccount + `$2)`

const groupsVouched = `SELECT g.id FROM group_members gm JOIN account_groups g ON g.id = gm.group_id WHERE gm.user_id = $1 AND g.account = $2 AND gm.provider <> ''
	ORDER BY g.name_folded`

// Standing implements identity.ProviderStore. What changes between its statements is found by Refresh.
func (s Providers) Standing(ctx context.Context, user string, names []string) (identity.Standing, error) {
	var is identity.Standing
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		u, err := One(ctx, tx, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.id = $1`, user)
		if err != nil {
			return err
		}
		is, err = standing(ctx, tx, u, names)
		return err
	})
	if Absent(err) {
		err = identity.ErrUnknown
	}
	return is, err
}

// standing reads what else there is about a user.
func standing(ctx context.Context, tx Tx, u identity.User, names []string) (is identity.Standing, err error) {
	is.User = u
	if err := tx.QueryRowContext(ctx, standingFacts, u.ID, identity.DefaultAccount).Scan(&is.Remote, &is.Guest); err != nil {
		return is, err
	}
	if is.In, err = All(ctx, tx, scanGroup, groupsOfMember, u.ID, identity.DefaultAccount); err != nil {
		return is, err
	}
	if is.Vouched, err = All(ctx, tx, Value[string], groupsVouched, u.ID, identity.DefaultAccount); err != nil {
		return is, err
	}
	for _, name := range names {
		g, err := One(ctx, tx, scanGroup, groupByName, identity.DefaultAccount, name)
		switch {
		case Absent(err):
		case err != nil:
			return is, err
		default:
			is.Named = append(is.Named, g)
		}
	}
	return is, nil
}

// Refresh implements identity.ProviderStore. The user's row is locked, so of two sign-ins at once the second finds what the first did.
func (s Providers) Refresh(ctx context.Context, user string, names []string, decide func(identity.Standing) (identity.Update, error)) (identity.User, error) {
	var to identity.Update
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		u, err := One(ctx, tx, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.id = $1`+s.DB.ForUpdate(), user)
		if Absent(err) {
			return identity.ErrUnknown
		}
		if err != nil {
			return err
		}
		now, err := standing(ctx, tx, u, names)
		if err != nil {
			return err
		}
		if to, err = decide(now); err != nil || to.Event.Action == "" {
			return err
		}
		if err := saveUser(ctx, tx, user, to.User); err != nil {
			return err
		}
		if err := moveGroups(ctx, tx, user, to); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "user "+user); err != nil {
			return err
		}
		return insertEvents(ctx, tx, to.Event)
	})
	if ViolatesKind(err, ForeignKey) { // a group is gone
		return identity.User{}, identity.ErrOvertaken
	}
	return to.User, takenUser(err)
}

// moveGroups makes, joins and leaves groups. They come by folded name, so of two sign-ins that make the same ones none waits for the other in a circle.
func moveGroups(ctx context.Context, tx Tx, user string, to identity.Update) error {
	for _, g := range to.Make {
		n, err := Exec(ctx, tx, insertGroup+` ON CONFLICT (account, name_folded) DO NOTHING`,
			g.ID, g.Account, g.Name, identity.Fold(g.Name), g.Creator.Kind, g.Creator.ID, Micros(g.Created))
		if err != nil {
			return err
		}
		if n == 0 { // somebody made it meanwhile, and it may hold more than nothing by now
			return identity.ErrOvertaken
		}
		to.Join = append(to.Join, g.ID)
	}
	for _, group := range to.Join {
		if _, err := insertGroupMember(ctx, tx, group, user, to.Provider, to.Event.At); err != nil {
			return err
		}
	}
	for _, group := range to.Leave {
		if _, err := deleteGroupMember(ctx, tx, group, user); err != nil {
			return err
		}
	}
	return nil
}

// Made implements identity.ProviderStore.
func (s Providers) Made(ctx context.Context) ([]identity.User, error) {
	return readAll(ctx, s.DB, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.made ORDER BY u.name_folded, u.id`)
}

// markMade remembers that a provider made the user, also when the provider is gone.
func markMade(ctx context.Context, tx Tx, user string) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET made = TRUE WHERE id = $1`, user)
	return err
}
