package store

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Sessions keeps who is signed in, by the digest of their token alone.
type Sessions struct{ DB *DB }

var _ session.Store = Sessions{}

// selectSession reads sessions with what the principal is now.
const selectSession = `SELECT s.id, s.digest, s.kind, s.principal, COALESCE(u.name, a.name, ''), s.account, s.state, s.method, s.transport,
	s.created, s.authenticated, s.last_used, s.idle, s.deadline, s.elevated, s.ended, s.address, s.user_agent, s.provider, s.unlocked, s.tries, s.certificate, s.login, s.provider_session, s.until,
	COALESCE(u.disabled, a.disabled, TRUE) OR COALESCE(home.disabled, TRUE) OR COALESCE(chosen.disabled, FALSE), COALESCE(a.addresses, '[]')
	FROM sessions s
	LEFT JOIN users u ON s.kind = 'user' AND u.id = s.principal
	LEFT JOIN applications a ON s.kind = 'application' AND a.id = s.principal
	LEFT JOIN accounts home ON home.id = COALESCE(u.account, a.account)
	LEFT JOIN accounts chosen ON chosen.id = s.account`

func scanSignedIn(scan Scan) (session.Session, error) {
	var x session.Session
	var digest []byte
	var idle int64
	err := scan(&x.ID, &digest, &x.Principal.Kind, &x.Principal.ID, &x.Principal.Name, &x.Account, &x.State, &x.Method, &x.Transport,
		ScanTime(&x.Created), ScanTime(&x.Authenticated), ScanTime(&x.LastUsed), &idle, ScanTime(&x.Deadline), ScanTime(&x.Elevated), ScanTime(&x.Ended),
		&x.Address, &x.UserAgent, &x.Provider, ScanTime(&x.Unlocked), &x.Tries, &x.Certificate, &x.Login, &x.ProviderSession, ScanTime(&x.Until), &x.Shut, ScanJSON(&x.Networks))
	copy(x.Digest[:], digest)
	x.Idle = time.Duration(idle) * time.Microsecond
	return x, err
}

// Insert implements session.Store.
func (s Sessions) Insert(ctx context.Context, x session.Session, stamp string, limit int, e audit.Event, evict func(session.Session) audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := noteLogin(ctx, tx, x, stamp); err != nil { // locks the principal's row, so logins of one principal queue here
			return err
		}
		// A program may have a thousand sessions and begin another every second: they are counted in the index, and looked at only where one has to go.
		old, err := All(ctx, tx, scanSignedIn, selectSession+` WHERE s.id IN (SELECT o.id FROM sessions o WHERE o.kind = $1 AND o.principal = $2 AND o.ended IS NULL
			ORDER BY CASE WHEN o.state = 'pending' THEN 0 ELSE 1 END, o.last_used, o.id
			LIMIT (SELECT CASE WHEN count(*) > $3 THEN count(*) - $3 ELSE 0 END FROM sessions n WHERE n.kind = $1 AND n.principal = $2 AND n.ended IS NULL))`,
			string(x.Principal.Kind), x.Principal.ID, max(0, limit-1))
		if err != nil {
			return err
		}
		for _, o := range old { // those that wait go first: a password alone ends nobody's session
			if err := endOne(ctx, tx, o.ID, x.Created, evict(o)); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sessions (id, digest, kind, principal, account, state, method, transport, created, authenticated,
			last_used, idle, deadline, elevated, expires, address, user_agent, provider, unlocked, tries, certificate, login, provider_session, until)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)`,
			x.ID, x.Digest[:], string(x.Principal.Kind), x.Principal.ID, x.Account, string(x.State), x.Method, string(x.Transport), Micros(x.Created), Micros(x.Authenticated),
			Micros(x.LastUsed), x.Idle.Microseconds(), Micros(x.Deadline), NullMicros(x.Elevated), Micros(x.Expires()), x.Address, x.UserAgent,
			x.Provider, NullMicros(x.Unlocked), x.Tries, x.Certificate, x.Login, x.ProviderSession, NullMicros(x.Until))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// noteLogin makes sure that the principal may still sign in with what was checked (rule F12), and writes their last login unless the second factor is
// still due.
func noteLogin(ctx context.Context, tx Tx, x session.Session, stamp string) (err error) {
	var n int64
	switch x.Principal.Kind {
	case access.User:
		n, err = Exec(ctx, tx, `UPDATE users SET last_login = CASE WHEN $5 THEN last_login ELSE $2 END WHERE id = $1 AND NOT disabled AND ($3 OR password_hash = $4)
			AND EXISTS (SELECT 1 FROM accounts c WHERE c.id = users.account AND NOT c.disabled)
			AND ($6 = '' OR EXISTS (SELECT 1 FROM provider_links l JOIN providers p ON p.id = l.provider WHERE l.provider = $6 AND l.user_id = users.id AND p.enabled))`,
			x.Principal.ID, Micros(x.Created), stamp == "", stamp, x.State == session.Pending, x.Provider)
	case access.Application:
		var digest []byte
		if digest, err = hex.DecodeString(stamp); err != nil {
			return err
		}
		n, err = Exec(ctx, tx, `UPDATE applications SET last_login = $2 WHERE id = $1 AND NOT disabled AND ($3 OR digest = $4)
			AND EXISTS (SELECT 1 FROM accounts c WHERE c.id = applications.account AND NOT c.disabled)`,
			x.Principal.ID, Micros(x.Created), stamp == "", digest)
	}
	if err == nil && n == 0 {
		err = session.ErrChanged
	}
	return err
}

// ByDigest implements session.Store.
func (s Sessions) ByDigest(ctx context.Context, digest [32]byte) (session.Session, error) {
	return s.one(ctx, selectSession+` WHERE s.digest = $1`, digest[:])
}

// ByID implements session.Store.
func (s Sessions) ByID(ctx context.Context, id string) (session.Session, error) {
	return s.one(ctx, selectSession+` WHERE s.id = $1`, id)
}

func (s Sessions) one(ctx context.Context, query string, arg any) (session.Session, error) {
	var x session.Session
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		x, err = One(ctx, tx, scanSignedIn, query, arg)
		return err
	})
	if Absent(err) {
		err = session.ErrUnknown
	}
	return x, err
}

// Change implements session.Store. The row is locked by a statement of its own: PostgreSQL locks no row that
// a join may lack.
func (s Sessions) Change(ctx context.Context, id string, decide func(session.Session) (session.Session, error), e audit.Event) (session.Session, error) {
	var is session.Session
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := One(ctx, tx, Value[string], `SELECT id FROM sessions WHERE id = $1`+s.DB.ForUpdate(), id); err != nil {
			return err
		}
		was, err := One(ctx, tx, scanSignedIn, selectSession+` WHERE s.id = $1`, id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE sessions SET digest = $2, account = $3, state = $4, authenticated = $5, last_used = $6, deadline = $7,
			elevated = $8, expires = $9, ended = $10, unlocked = $11, tries = $12 WHERE id = $1`, id, is.Digest[:], is.Account, string(is.State), Micros(is.Authenticated), Micros(is.LastUsed),
			Micros(is.Deadline), NullMicros(is.Elevated), Micros(is.Expires()), NullMicros(is.Ended), NullMicros(is.Unlocked), is.Tries)
		if err != nil {
			return err
		}
		if was.State == session.Pending && is.State == session.Active {
			if _, err := tx.ExecContext(ctx, `UPDATE users SET last_login = $2 WHERE id = $1`, is.Principal.ID, Micros(is.LastUsed)); err != nil {
				return err
			}
		}
		if err := tx.Notify(ctx, "session "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if Absent(err) {
		err = session.ErrUnknown
	}
	return is, err
}

// Touch implements session.Store.
func (s Sessions) Touch(ctx context.Context, id string, used, expires time.Time) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE sessions SET last_used = $2, expires = $3 WHERE id = $1 AND ended IS NULL AND last_used < $2`,
			id, Micros(used), Micros(expires))
		return err
	})
}

// End implements session.Store.
func (s Sessions) End(ctx context.Context, id string, at time.Time, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error { return endOne(ctx, tx, id, at, e) })
}

// endOne ends a session that lives.
func endOne(ctx context.Context, tx Tx, id string, at time.Time, e audit.Event) error {
	n, err := Exec(ctx, tx, `UPDATE sessions SET state = 'terminated', ended = $2 WHERE id = $1 AND ended IS NULL`, id, Micros(at))
	if n == 0 || err != nil {
		return err
	}
	if err := tx.Notify(ctx, "session "+id); err != nil {
		return err
	}
	return insertEvents(ctx, tx, e)
}

// endOf ends the living sessions of a principal but one, and tells how many.
func endOf(ctx context.Context, tx Tx, of access.Subject, except string, at time.Time) (int64, error) {
	return Exec(ctx, tx, `UPDATE sessions SET state = 'terminated', ended = $4 WHERE kind = $1 AND principal = $2 AND id <> $3 AND ended IS NULL`,
		string(of.Kind), of.ID, except, Micros(at))
}

// endedBy ends what a change of a principal ends, and returns the change's event with how many those were.
func endedBy(ctx context.Context, tx Tx, kind access.PrincipalKind, id string, end identity.Ending, at time.Time, e audit.Event) (audit.Event, error) {
	if !end.Sessions {
		return e, nil
	}
	n, err := endOf(ctx, tx, access.Subject{Kind: kind, ID: id}, end.Except, at)
	if err == nil && kind == access.User {
		err = dropConversations(ctx, tx, id, end.Except)
	}
	if n > 0 {
		e = e.With("sessions_ended", strconv.FormatInt(n, 10))
	}
	return e, err
}

// EndAll implements session.Store.
func (s Sessions) EndAll(ctx context.Context, of access.Subject, except string, at time.Time, e audit.Event) (int, error) {
	var n int64
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if n, err = endOf(ctx, tx, of, except, at); n == 0 || err != nil {
			return err
		}
		if err := tx.Notify(ctx, string(of.Kind)+" "+of.ID); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e.With("sessions_ended", strconv.FormatInt(n, 10)))
	})
	return int(n), err
}

// Of implements session.Store.
func (s Sessions) Of(ctx context.Context, of access.Subject, now time.Time) ([]session.Session, error) {
	var all []session.Session
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanSignedIn, selectSession+` WHERE s.kind = $1 AND s.principal = $2 AND s.ended IS NULL AND s.expires > $3 ORDER BY s.id DESC`,
			string(of.Kind), of.ID, Micros(now))
		return err
	})
	return all, err
}

// List implements session.Store.
func (s Sessions) List(ctx context.Context, now time.Time, w page.Window) (page.Page[session.Session], error) {
	if w.Keyed {
		all, err := readAll(ctx, s.DB, scanSignedIn, selectSession+` WHERE s.ended IS NULL AND s.expires > $1 AND s.id < $2 ORDER BY s.id DESC LIMIT $3`, Micros(now), below(w.After), w.Limit+1)
		return page.Cut(all, w, func(x session.Session) string { return x.ID }), err
	}
	p := page.Page[session.Session]{Window: w}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM sessions WHERE ended IS NULL AND expires > $1`, Micros(now)); err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, scanSignedIn, selectSession+` WHERE s.ended IS NULL AND s.expires > $1 ORDER BY s.id DESC LIMIT $2 OFFSET $3`, Micros(now), w.Limit, w.Offset)
		return err
	})
	return p, err
}

// Expire implements session.Store. A session that was used in the meantime lives on.
func (s Sessions) Expire(ctx context.Context, now time.Time, limit int, event func(session.Session) audit.Event) (int, error) {
	if some, err := s.any(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE ended IS NULL AND expires <= $1 LIMIT 1) AS one`, now); !some || err != nil {
		return 0, err
	}
	ended := 0
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		ended = 0
		over, err := All(ctx, tx, scanSignedIn, selectSession+` WHERE s.ended IS NULL AND s.expires <= $1 ORDER BY s.expires LIMIT $2`, Micros(now), limit)
		if err != nil {
			return err
		}
		for _, x := range over {
			n, err := Exec(ctx, tx, `UPDATE sessions SET state = 'terminated', ended = $2 WHERE id = $1 AND ended IS NULL AND expires <= $2`, x.ID, Micros(now))
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			ended++
			if err := insertEvents(ctx, tx, event(x)); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}

// Purge implements session.Store.
func (s Sessions) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	if some, err := s.any(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE ended IS NOT NULL AND ended < $1 LIMIT 1) AS one`, before); !some || err != nil {
		return 0, err
	}
	var n int64
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		n, err = Exec(ctx, tx, `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ended IS NOT NULL AND ended < $1 ORDER BY ended LIMIT $2)`, Micros(before), limit)
		return err
	})
	return int(n), err
}

// any tells, without a write transaction, whether there is something to do: most often there is not.
func (s Sessions) any(ctx context.Context, query string, at time.Time) (bool, error) {
	var n int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		n, err = One(ctx, tx, Value[int64], query, Micros(at))
		return err
	})
	return n > 0, err
}
