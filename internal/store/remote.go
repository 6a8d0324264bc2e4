package store

import (
	"context"
	"database/sql"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Remotes keeps remote sessions, and what belongs to them.
type Remotes struct{ DB *DB }

var _ remote.Store = Remotes{}

// remoteColumns are those of a session; the digests are never read.
const remoteColumns = `x.id, COALESCE(x.number, 0), COALESCE(x.code, ''), x.state, x.way, x.origin, x.session, x.user_id, x.user_name, x.credential, x.username,
	x.device, x.target, x.target_host, x.target_ip, x.protocol, x.port, x.screen, x.bound, x.address, x.request_id, x.grant_number, x.terms, x.stepped_up, x.reason,
	x.reference, x.node, x.created, x.expires, x.redeemed, x.started, x.ended, x.end_reason, x.end_asked, x.ended_by, x.hold`

const selectRemote = `SELECT ` + remoteColumns + ` FROM remote_sessions x WHERE `

func scanRemote(scan Scan) (remote.Session, error) {
	var x remote.Session
	err := scan(&x.ID, &x.Number, &x.Code, &x.State, &x.Way, ScanJSON(&x.Origin), &x.Session, &x.User.ID, &x.User.Name, &x.Credential, &x.Username,
		&x.Device, &x.Target, &x.Host, scanMaybeAddr(&x.IP), &x.Protocol, &x.Port, ScanJSON(&x.Screen), scanMaybeAddr(&x.Bound), scanMaybeAddr(&x.Address), &x.Request, &x.Grant,
		ScanJSON(&x.Terms), ScanTime(&x.SteppedUp), &x.Why, &x.Reference, &x.Node, ScanTime(&x.Created), ScanTime(&x.Expires), ScanTime(&x.Redeemed), ScanTime(&x.Started),
		ScanTime(&x.Ended), &x.End, &x.EndAsked, &x.EndedBy, &x.Hold)
	x.User.Kind = "user"
	return x, err
}

// scanMaybeAddr scans an address that may not be there: no text is none.
func scanMaybeAddr(a *netip.Addr) sql.Scanner { return maybeAddr{a} }

type maybeAddr struct{ into *netip.Addr }

// Scan implements sql.Scanner.
func (m maybeAddr) Scan(src any) error {
	if src == "" {
		*m.into = netip.Addr{}
		return nil
	}
	return scanAddr(m.into).Scan(src)
}

// addrText is an address as a column holds it.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// bytesOrNull is a digest as a column holds it.
func bytesOrNull(digest *[32]byte) []byte {
	if digest == nil {
		return nil
	}
	return digest[:]
}

// codeOrNull is a code as a column holds it: those who have none yet do not clash.
func codeOrNull(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }

func numberOrNull(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }

// counts says which sessions occupy a credential, and count against their user's limit. What waits too long does not, though nobody has ended it yet.
const counts = `(state = 'active' OR state IN ('issued', 'waiting') AND expires > `

// Insert implements remote.Store.
func (s Remotes) Insert(
	ctx context.Context, x remote.Session, pick []remote.Session, d remote.Digests, most int, e func(remote.Session) audit.Event,
) (remote.Session, error) {
	is := x
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if err := roomForMore(ctx, tx, x, most); err != nil {
			return err
		}
		is = x
		if len(pick) > 0 {
			if is, err = firstFree(ctx, tx, pick); err != nil {
				return err
			}
		}
		if err := insertRemote(ctx, tx, is, d); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e(is))
	})
	return is, err
}

// roomForMore reports ErrTooMany where the user of a session has as many as they may have.
func roomForMore(ctx context.Context, tx Tx, x remote.Session, most int) error {
	if most == 0 {
		return nil
	}
	if err := tx.Lock(ctx, "remote user "+x.User.ID); err != nil {
		return err
	}
	living, err := One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM (SELECT 1 FROM remote_sessions WHERE user_id = $1 AND `+counts+`$2) LIMIT $3) living`,
		x.User.ID, Micros(x.Created), most)
	if err == nil && living >= int64(most) {
		err = remote.ErrTooMany
	}
	return err
}

// firstFree is the first session whose credential is free. Who picks on one device waits for who picked there before.
func firstFree(ctx context.Context, tx Tx, pick []remote.Session) (remote.Session, error) {
	if err := tx.Lock(ctx, "remote pick "+pick[0].Device); err != nil {
		return remote.Session{}, err
	}
	for _, x := range pick {
		taken, err := One(ctx, tx, Value[bool], `SELECT EXISTS (SELECT 1 FROM remote_sessions WHERE credential = $1 AND device = $2 AND `+counts+`$3))`,
			x.Credential, x.Device, Micros(x.Created))
		if err != nil {
			return remote.Session{}, err
		}
		if !taken {
			return x, nil
		}
	}
	return remote.Session{}, remote.ErrNoneFree
}

func insertRemote(ctx context.Context, tx Tx, x remote.Session, d remote.Digests) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO remote_sessions (id, state, way, sr, handle, cookie, origin, session, user_id, user_name, credential, username, device, target,
		target_host, target_ip, protocol, port, screen, bound, address, request_id, grant_number, terms, stepped_up, reason, reference, node, created, expires, redeemed,
		end_reason, end_asked, ended_by, hold)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, '', '', '', FALSE)`,
		x.ID, string(x.State), string(x.Way), bytesOrNull(d.Link), bytesOrNull(d.Handle), bytesOrNull(d.Cookie), JSON(x.Origin), x.Session, x.User.ID, x.User.Name,
		x.Credential, x.Username, x.Device, x.Target, x.Host, addrText(x.IP), string(x.Protocol), x.Port, JSON(x.Screen), addrText(x.Bound), addrText(x.Address), x.Request,
		x.Grant, JSON(x.Terms), NullMicros(x.SteppedUp), x.Why, x.Reference, x.Node, Micros(x.Created), Micros(x.Expires), NullMicros(x.Redeemed))
	return err
}

// ByID implements remote.Store.
func (s Remotes) ByID(ctx context.Context, id string) (remote.Session, error) {
	return s.one(ctx, selectRemote+`x.id = $1`, id)
}

// ByNumber implements remote.Store.
func (s Remotes) ByNumber(ctx context.Context, number int64) (remote.Session, error) {
	return s.one(ctx, selectRemote+`x.number = $1`, number)
}

// ByCode implements remote.Store.
func (s Remotes) ByCode(ctx context.Context, code string) (remote.Session, error) {
	return s.one(ctx, selectRemote+`x.code = $1`, code)
}

// ByHandle implements remote.Store.
func (s Remotes) ByHandle(ctx context.Context, digest [32]byte) (remote.Session, error) {
	return s.one(ctx, selectRemote+`x.handle = $1`, digest[:])
}

// ByLink implements remote.Store.
func (s Remotes) ByLink(ctx context.Context, digest [32]byte) (remote.Session, error) {
	return s.one(ctx, selectRemote+`x.sr = $1`, digest[:])
}

// ByCookie implements remote.Store.
func (s Remotes) ByCookie(ctx context.Context, id string, digest [32]byte) (remote.Session, error) {
	var x remote.Session
	var cookie []byte
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		if cookie, err = One(ctx, tx, Value[[]byte], `SELECT cookie FROM remote_sessions WHERE id = $1`, id); err != nil {
			return err
		}
		x, err = One(ctx, tx, scanRemote, selectRemote+`x.id = $1`, id)
		return err
	})
	if Absent(err) || err == nil && !secret.Equal(cookie, digest[:]) {
		return remote.Session{}, remote.ErrUnknown
	}
	return x, err
}

func (s Remotes) one(ctx context.Context, query string, arg any) (remote.Session, error) {
	var x remote.Session
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		x, err = One(ctx, tx, scanRemote, query, arg)
		return err
	})
	if Absent(err) {
		err = remote.ErrUnknown
	}
	return x, err
}

// SteppedUp implements remote.Store.
func (s Remotes) SteppedUp(ctx context.Context, user string, cookies [][32]byte) (time.Time, error) {
	var last time.Time
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		last = time.Time{}
		for _, c := range cookies {
			var at time.Time
			if err := tx.QueryRowContext(ctx, `SELECT MAX(stepped_up) FROM remote_sessions WHERE user_id = $1 AND cookie = $2`, user, c[:]).Scan(ScanTime(&at)); err != nil {
				return err
			}
			if at.After(last) {
				last = at
			}
		}
		return nil
	})
	return last, err
}
