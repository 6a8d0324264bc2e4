package store

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// SSHKeys keeps the SSH keys on file. The unique index of their digests is what makes a key one person's or one purpose's alone; the row
// of a key is the lock of what it was given.
type SSHKeys struct{ DB *DB }

var _ sshkey.Store = SSHKeys{}

const sshKeyColumns = `k.id, k.number, k.blob, k.role, COALESCE(k.user_id, ''), k.label, k.state, k.unsafe, k.expiry_days, k.created, k.expires, k.proven, k.last_used, k.last_address,
	COALESCE((SELECT u.name FROM users u WHERE u.id = k.user_id), ''),
	COALESCE((SELECT u.disabled OR c.disabled FROM users u JOIN accounts c ON c.id = u.account WHERE u.id = k.user_id), TRUE)`

func scanSSHKey(scan Scan) (sshkey.Registered, error) {
	var r sshkey.Registered
	var blob []byte
	if err := scan(sshKeyFields(&r, &blob)...); err != nil {
		return r, err
	}
	return r, r.Key.UnmarshalBinary(blob)
}

func sshKeyFields(r *sshkey.Registered, blob *[]byte) []any {
	return []any{
		&r.ID, &r.Number, blob, &r.Role, &r.User, &r.Label, &r.State, &r.Unsafe, &r.ExpiryDays, ScanTime(&r.Created), ScanTime(&r.Expires), ScanTime(&r.Proven), ScanTime(&r.LastUsed), &r.LastFrom,
		&r.UserName, &r.UserShut,
	}
}

// Insert implements sshkey.Store.
func (s SSHKeys) Insert(ctx context.Context, r sshkey.Registered, e audit.Event) (sshkey.Registered, error) {
	digest := r.Key.Fingerprint()
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if _, err := tx.ExecContext(ctx, `DELETE FROM ssh_keys WHERE digest = $1 AND expires IS NOT NULL AND expires <= $2`, digest[:], Micros(r.Created)); err != nil {
			return err
		}
		if r.Number, err = nextNumber(ctx, tx, "sshkey"); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO ssh_keys (id, number, digest, blob, role, user_id, label, label_folded, state, unsafe, expiry_days, created, expires, proven, last_used, last_address)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
			r.ID, r.Number, digest[:], r.Key.Blob(), string(r.Role), sql.NullString{String: r.User, Valid: r.User != ""}, r.Label, identity.Fold(r.Label), string(r.State), r.Unsafe,
			r.ExpiryDays, Micros(r.Created), NullMicros(r.Expires), NullMicros(r.Proven), NullMicros(r.LastUsed), r.LastFrom)
		if err != nil {
			return err
		}
		for _, g := range r.Grants {
			if err := insertKeyGrant(ctx, tx, r.ID, g); err != nil {
				return err
			}
		}
		return sshKeyChanged(ctx, tx, r.ID, e)
	})
	switch {
	case Violates(err, "ssh_keys_digest_key"):
		return sshkey.Registered{}, sshkey.ErrOnFile
	case ViolatesKind(err, ForeignKey):
		return sshkey.Registered{}, identity.ErrUnknown
	}
	return r, err
}

func sshKeyChanged(ctx context.Context, tx Tx, id string, events ...audit.Event) error {
	if err := tx.Notify(ctx, "sshkey "+id); err != nil {
		return err
	}
	return insertEvents(ctx, tx, events...)
}

const sshKeyUnexpired = ` AND (k.expires IS NULL OR k.expires > $2)`

// ByDigest implements sshkey.Store.
func (s SSHKeys) ByDigest(ctx context.Context, digest sshkey.Fingerprint, now time.Time) (sshkey.Registered, error) {
	return s.one(ctx, `SELECT `+sshKeyColumns+` FROM ssh_keys k WHERE k.digest = $1`+sshKeyUnexpired, digest[:], Micros(now))
}

// ByID implements sshkey.Store.
func (s SSHKeys) ByID(ctx context.Context, id string, now time.Time) (sshkey.Registered, error) {
	return s.one(ctx, `SELECT `+sshKeyColumns+` FROM ssh_keys k WHERE k.id = $1`+sshKeyUnexpired, id, Micros(now))
}

// ByNumber implements sshkey.Store.
func (s SSHKeys) ByNumber(ctx context.Context, number int64, now time.Time) (sshkey.Registered, error) {
	return s.one(ctx, `SELECT `+sshKeyColumns+` FROM ssh_keys k WHERE k.number = $1`+sshKeyUnexpired, number, Micros(now))
}

func (s SSHKeys) one(ctx context.Context, query string, args ...any) (sshkey.Registered, error) {
	var r sshkey.Registered
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		if r, err = One(ctx, tx, scanSSHKey, query, args...); err != nil || r.Role != sshkey.AccessKey {
			return err
		}
		r.Grants, err = keyGrants(ctx, tx, r.ID)
		return err
	})
	if Absent(err) {
		return sshkey.Registered{}, sshkey.ErrUnknown
	}
	return r, err
}

// OfUser implements sshkey.Store.
func (s SSHKeys) OfUser(ctx context.Context, user string, now time.Time, w page.Window) (page.Page[sshkey.Registered], error) {
	return s.listed(ctx, w, `k.user_id = $1 AND (k.expires IS NULL OR k.expires > $2)`, user, Micros(now))
}

// Unproven implements sshkey.Store.
func (s SSHKeys) Unproven(ctx context.Context, created, now time.Time, w page.Window) (page.Page[sshkey.Registered], error) {
	return s.listed(ctx, w, `k.proven IS NULL AND k.created <= $1 AND (k.expires IS NULL OR k.expires > $2)`, Micros(created), Micros(now))
}

// listed is a page of keys by number; which is an expression with the parameters $1 and $2.
func (s SSHKeys) listed(ctx context.Context, w page.Window, which string, one, two any) (page.Page[sshkey.Registered], error) {
	if w.Keyed {
		after, _ := strconv.ParseInt(w.After, 10, 64) // what is no number is the beginning
		all, err := readAll(ctx, s.DB, scanSSHKey, `SELECT `+sshKeyColumns+` FROM ssh_keys k WHERE `+which+` AND k.number > $3 ORDER BY k.number LIMIT $4`, one, two, after, w.Limit+1)
		return sshkey.Cut(all, w), err
	}
	p := page.Page[sshkey.Registered]{Window: w}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM ssh_keys k WHERE `+which, one, two); err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, scanSSHKey, `SELECT `+sshKeyColumns+` FROM ssh_keys k WHERE `+which+` ORDER BY k.number LIMIT $3 OFFSET $4`, one, two, w.Limit, w.Offset)
		return err
	})
	return p, err
}

// Remove implements sshkey.Store.
func (s SSHKeys) Remove(ctx context.Context, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM ssh_keys WHERE id = $1`, id)
		if err != nil || n == 0 {
			return err
		}
		return sshKeyChanged(ctx, tx, id, e)
	})
}

// RemoveOfUser implements sshkey.Store.
func (s SSHKeys) RemoveOfUser(ctx context.Context, user string, event func(sshkey.Registered) audit.Event) error {
	_, err := s.each(ctx, `k.user_id = $1`, []any{user}, `DELETE FROM ssh_keys WHERE id = $1`, event)
	return err
}

// Disable implements sshkey.Store.
func (s SSHKeys) Disable(ctx context.Context, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		state, err := One(ctx, tx, Value[string], `SELECT state FROM ssh_keys WHERE id = $1`+s.DB.ForUpdate(), id)
		switch {
		case Absent(err):
			return sshkey.ErrUnknown
		case err != nil || state == string(sshkey.Disabled):
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE ssh_keys SET state = 'disabled', proven = NULL WHERE id = $1`, id); err != nil {
			return err
		}
		return sshKeyChanged(ctx, tx, id, e)
	})
}

// DisableUnproven implements sshkey.Store.
func (s SSHKeys) DisableUnproven(ctx context.Context, created time.Time, limit int, event func(sshkey.Registered) audit.Event) (int, error) {
	return s.each(ctx, `k.state = 'active' AND k.proven IS NULL AND k.created <= $1 ORDER BY k.created LIMIT $2`, []any{Micros(created), limit},
		`UPDATE ssh_keys SET state = 'disabled' WHERE id = $1`, event)
}

// Purge implements sshkey.Store.
func (s SSHKeys) Purge(ctx context.Context, now time.Time, limit int, event func(sshkey.Registered) audit.Event) (int, error) {
	return s.each(ctx, `k.expires IS NOT NULL AND k.expires <= $1 ORDER BY k.expires LIMIT $2`, []any{Micros(now), limit}, `DELETE FROM ssh_keys WHERE id = $1`, event)
}

// each does one thing to every key that is meant, under its lock, and records an event for each. PostgreSQL looks again at a row that it
// had to wait for, so what another node was faster with is left out.
func (s SSHKeys) each(ctx context.Context, which string, args []any, change string, event func(sshkey.Registered) audit.Event) (int, error) {
	n := 0
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		keys, err := All(ctx, tx, scanSSHKey, `SELECT `+sshKeyColumns+` FROM ssh_keys k WHERE `+which+s.DB.ForUpdate(), args...)
		if err != nil {
			return err
		}
		n = len(keys)
		for _, r := range keys {
			if r.Role == sshkey.AccessKey {
				if r.Grants, err = keyGrants(ctx, tx, r.ID); err != nil {
					return err
				}
			}
			if _, err := tx.ExecContext(ctx, change, r.ID); err != nil {
				return err
			}
			if err := sshKeyChanged(ctx, tx, r.ID, event(r)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// MarkUsed implements sshkey.Store.
func (s SSHKeys) MarkUsed(ctx context.Context, uses []recent.Use) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		for _, u := range uses {
			_, err := tx.ExecContext(ctx, `UPDATE ssh_keys SET last_used = $2, last_address = $3 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)`, u.ID, Micros(u.At), u.Address)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// At implements sshkey.Store.
func (s SSHKeys) At(ctx context.Context, of sshkey.Selection) (page.Page[sshkey.Held], error) {
	const which = ` FROM ssh_key_grants g JOIN ssh_keys k ON k.id = g.key_id
		WHERE (g.resource_kind = $1 AND g.resource_id = $2 OR g.resource_kind = $3 AND g.resource_id = $4) AND (k.expires IS NULL OR k.expires > $5)
		AND substr(k.label_folded, 1, $6) = $7 AND g.permission IN ($8, $9)`
	first, last := of.Places[0], of.Places[len(of.Places)-1]
	least := of.Least
	if least == sshkey.Read {
		least = sshkey.Write // both
	}
	args := []any{first.Kind, first.ID, last.Kind, last.ID, Micros(of.Now), len([]rune(of.Prefix)), of.Prefix, string(of.Least), string(least)}
	read := func(scan Scan) (sshkey.Held, error) { return scanHeld(scan, of.Places) }
	p := page.Page[sshkey.Held]{Window: of.Window}
	err := s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Total, err = One(ctx, tx, Value[int64], `SELECT COUNT(*)`+which, args...); err != nil {
			return err
		}
		p.Items, err = All(ctx, tx, read, `SELECT `+sshKeyColumns+`, g.resource_kind, g.resource_id, g.permission, g.created`+which+`
			ORDER BY k.number, CASE WHEN g.resource_kind = $1 AND g.resource_id = $2 THEN 0 ELSE 1 END LIMIT $10 OFFSET $11`, append(args, of.Window.Limit, of.Window.Offset)...)
		return err
	})
	return p, err
}

func scanHeld(scan Scan, places []access.Resource) (sshkey.Held, error) {
	var h sshkey.Held
	var blob []byte
	err := scan(append(sshKeyFields(&h.Key, &blob), &h.Grant.Place.Kind, &h.Grant.Place.ID, &h.Grant.Permission, ScanTime(&h.Grant.Created))...)
	if err != nil {
		return h, err
	}
	for _, place := range places {
		if place.Kind == h.Grant.Place.Kind && place.ID == h.Grant.Place.ID {
			h.Grant.Place = place
		}
	}
	return h, h.Key.Key.UnmarshalBinary(blob)
}

// keyGrants returns what a key was given, each repository with its project.
func keyGrants(ctx context.Context, tx Tx, id string) ([]sshkey.Grant, error) {
	return All(ctx, tx, scanKeyGrant, `SELECT g.resource_kind, g.resource_id, g.permission, g.created,
		COALESCE((SELECT r.project FROM repos r WHERE r.id = g.resource_id AND g.resource_kind = 'repo'), '')
		FROM ssh_key_grants g WHERE g.key_id = $1 ORDER BY g.created, g.resource_kind, g.resource_id`, id)
}

func scanKeyGrant(scan Scan) (sshkey.Grant, error) {
	var g sshkey.Grant
	var project string
	err := scan(&g.Place.Kind, &g.Place.ID, &g.Permission, ScanTime(&g.Created), &project)
	if project != "" {
		g.Place.Parents = []access.Resource{access.Project(project)}
	}
	return g, err
}

func insertKeyGrant(ctx context.Context, tx Tx, id string, g sshkey.Grant) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO ssh_key_grants (key_id, resource_kind, resource_id, permission, created) VALUES ($1, $2, $3, $4, $5)`,
		id, g.Place.Kind, g.Place.ID, string(g.Permission), Micros(g.Created))
	return err
}

// holdKey locks the row of an access key, so that its last place is not taken away while it gets another.
func (s SSHKeys) holdKey(ctx context.Context, tx Tx, id string) error {
	_, err := One(ctx, tx, Value[string], `SELECT id FROM ssh_keys WHERE id = $1 AND role = 'access'`+s.DB.ForUpdate(), id)
	if Absent(err) {
		return sshkey.ErrUnknown
	}
	return err
}

// AddGrant implements sshkey.Store.
func (s SSHKeys) AddGrant(ctx context.Context, id string, g sshkey.Grant, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := s.holdKey(ctx, tx, id); err != nil {
			return err
		}
		if err := insertKeyGrant(ctx, tx, id, g); err != nil {
			return err
		}
		return sshKeyChanged(ctx, tx, id, e)
	})
	if Violates(err, "ssh_key_grants_pkey") {
		return sshkey.ErrGranted
	}
	return err
}

// SetPermission implements sshkey.Store.
func (s SSHKeys) SetPermission(ctx context.Context, id string, at access.Resource, to sshkey.Permission, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `UPDATE ssh_key_grants SET permission = $4 WHERE key_id = $1 AND resource_kind = $2 AND resource_id = $3`, id, at.Kind, at.ID, string(to))
		if err != nil {
			return err
		}
		if n == 0 {
			return sshkey.ErrUnknown
		}
		return sshKeyChanged(ctx, tx, id, e)
	})
}

// RemoveGrants implements sshkey.Store.
func (s SSHKeys) RemoveGrants(ctx context.Context, id string, at []access.Resource, event func(access.Resource) audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := s.holdKey(ctx, tx, id); err != nil {
			return err
		}
		var events []audit.Event
		for _, place := range at {
			n, err := Exec(ctx, tx, `DELETE FROM ssh_key_grants WHERE key_id = $1 AND resource_kind = $2 AND resource_id = $3`, id, place.Kind, place.ID)
			if err != nil {
				return err
			}
			if n > 0 {
				events = append(events, event(place))
			}
		}
		if len(events) == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM ssh_keys WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM ssh_key_grants g WHERE g.key_id = $1)`, id)
		if err != nil {
			return err
		}
		return sshKeyChanged(ctx, tx, id, events...)
	})
	if err == error(sshkey.ErrUnknown) { //nolint:errorlint // holdKey returns it bare; of a key that is gone nothing is left to remove
		return nil
	}
	return err
}
