package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const conversationColumns = `c.id, c.digest, c.kind, c.user_id, c.session, c.name, c.method, c.stamp, c.provider, c.provider_session, c.until, c.target, c.sealed, c.tries, c.created, c.expires`

func (s Factors) scanConversation(scan Scan) (c factor.Conversation, err error) {
	var digest, sealed []byte
	err = scan(&c.ID, &digest, &c.Purpose, &c.User, &c.Session, &c.Name, &c.Method, &c.Stamp, &c.Provider, &c.ProviderSession, ScanTime(&c.Until), &c.Target, &sealed, &c.Tries,
		ScanTime(&c.Created), ScanTime(&c.Expires))
	copy(c.Digest[:], digest)
	if err != nil || sealed == nil {
		return c, err
	}
	plain, err := s.Sealer.Open(sealed, conversationContext(c.ID))
	if err != nil {
		return c, fmt.Errorf("open secret of conversation %s: %w", c.ID, err)
	}
	c.Secret = secret.New(string(plain))
	return c, nil
}

// sealConversation gives nil where there is no secret.
func (s Factors) sealConversation(c factor.Conversation) ([]byte, error) {
	if c.Secret.Empty() {
		return nil, nil
	}
	return s.Sealer.Seal([]byte(c.Secret.Reveal()), conversationContext(c.ID))
}

// Open implements factor.Store.
func (s Factors) Open(ctx context.Context, c factor.Conversation) error {
	sealed, err := s.sealConversation(c)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := s.hold(ctx, tx, c.User); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM factor_conversations WHERE user_id = $1 AND kind = $2 AND session = $3 AND session <> ''`, c.User, string(c.Purpose), c.Session)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO factor_conversations (id, digest, kind, user_id, session, name, method, stamp, provider, target, sealed,
			tries, created, expires, provider_session, until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
			c.ID, c.Digest[:], string(c.Purpose), c.User, c.Session, c.Name, c.Method, c.Stamp, c.Provider, c.Target, sealed, int64(c.Tries),
			Micros(c.Created), Micros(c.Expires), c.ProviderSession, NullMicros(c.Until))
		return err
	})
}

// hold holds the row of a user.
func (s Factors) hold(ctx context.Context, tx Tx, user string) error {
	_, err := One(ctx, tx, Value[string], `SELECT id FROM users WHERE id = $1`+s.DB.ForUpdate(), user)
	if Absent(err) {
		return identity.ErrUnknown
	}
	return err
}

// Find implements factor.Store.
func (s Factors) Find(ctx context.Context, k factor.Key) (c factor.Conversation, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		c, err = s.find(ctx, tx, k, "")
		return err
	})
	return c, err
}

// find looks by the session where one is named: its digest is not known to it.
func (s Factors) find(ctx context.Context, tx Tx, k factor.Key, lock string) (c factor.Conversation, err error) {
	const all = `SELECT ` + conversationColumns + ` FROM factor_conversations c WHERE c.kind = $1`
	if k.Session != "" {
		c, err = One(ctx, tx, s.scanConversation, all+` AND c.session = $2 AND c.session <> ''`+lock, string(k.Purpose), k.Session)
	} else {
		c, err = One(ctx, tx, s.scanConversation, all+` AND c.digest = $2`+lock, string(k.Purpose), k.Digest[:])
	}
	if Absent(err) {
		err = factor.ErrNoConversation
	}
	return c, err
}

// Answer implements factor.Store. The user's row is held before the conversation is read for good, in the order of every other change.
func (s Factors) Answer(ctx context.Context, k factor.Key, decide func(*factor.Conversation, *factor.Set) (keep bool, c factor.Change, err error)) error {
	return takenDevice(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		seen, err := s.find(ctx, tx, k, "")
		if err != nil {
			return err
		}
		was, err := s.locked(ctx, tx, seen.User)
		if err != nil {
			return err
		}
		at, err := s.find(ctx, tx, k, s.DB.ForUpdate())
		if err != nil {
			return err
		}
		if at.User != seen.User {
			return factor.ErrNoConversation
		}
		is := copied(was)
		keep, c, err := decide(&at, &is)
		if err != nil {
			return err
		}
		if err := s.leave(ctx, tx, at, keep); err != nil {
			return err
		}
		if c.Alone {
			if err := dropSignIns(ctx, tx, at); err != nil {
				return err
			}
		}
		return s.store(ctx, tx, was, is, c)
	}))
}

// leave stores what is left of a conversation. Whom it is for and when it ends stays.
func (s Factors) leave(ctx context.Context, tx Tx, c factor.Conversation, keep bool) error {
	if !keep {
		_, err := tx.ExecContext(ctx, `DELETE FROM factor_conversations WHERE id = $1`, c.ID)
		return err
	}
	sealed, err := s.sealConversation(c)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE factor_conversations SET sealed = $2, tries = $3 WHERE id = $1`, c.ID, sealed, int64(c.Tries))
	return err
}

// Drop implements factor.Store.
func (s Factors) Drop(ctx context.Context, user string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		return dropConversations(ctx, tx, user, "")
	})
}

// dropConversations ends what is under way for a user, but in one session where one is named. Whatever ends a user's sessions does it too: a sign-in that waits
// for its second factor would outlive the password that began it.
func dropConversations(ctx context.Context, tx Tx, user, except string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM factor_conversations WHERE user_id = $1 AND (session = '' OR session <> $2)`, user, except)
	return err
}

// dropSignIns ends the sign-ins of a user that wait for a second factor, but one.
func dropSignIns(ctx context.Context, tx Tx, but factor.Conversation) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM factor_conversations WHERE user_id = $1 AND kind = $2 AND id <> $3`, but.User, string(factor.SignIn), but.ID)
	return err
}

// Sweep implements factor.Store.
func (s Factors) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	some, err := s.over(ctx, before)
	if !some || err != nil {
		return 0, err
	}
	var n int64
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		n, err = Exec(ctx, tx, `DELETE FROM factor_conversations WHERE id IN (SELECT id FROM factor_conversations WHERE expires < $1 ORDER BY expires LIMIT $2)`, Micros(before), limit)
		return err
	})
	return int(n), err
}

// over tells, without a write transaction, whether there is something to sweep: most often there is not.
func (s Factors) over(ctx context.Context, before time.Time) (bool, error) {
	var n int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		n, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM (SELECT 1 FROM factor_conversations WHERE expires < $1 LIMIT 1) AS one`, Micros(before))
		return err
	})
	return n > 0, err
}
