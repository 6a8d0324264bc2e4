package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Credentials keeps what opens targets, the secrets sealed, and who has them in custody.
type Credentials struct {
	DB     *DB
	Sealer *secret.Sealer
}

var _ vault.Store = Credentials{}

const (
	credentialColumns = `c.id, c.number, c.identifier, c.username, c.kind, c.type, c.domain, c.additional, c.tags, c.parent, c.protocols, c.remote_app, c.extra, c.secret IS NOT NULL,
		c.never_shown, c.exclusive, c.needs_rotation, c.disabled, c.created, c.updated, c.last_used, ` + targetColumns
	credentialTables  = `credentials c JOIN devices d ON d.id = c.device`
	selectCredentials = `SELECT ` + credentialColumns + ` FROM ` + credentialTables + ` WHERE `
)

func scanCredential(scan Scan) (vault.Credential, error) {
	var c vault.Credential
	var parent sql.NullInt64
	err := scan(append([]any{
		&c.ID, &c.Number, &c.Identifier, &c.Username, &c.Kind, &c.Type, &c.Domain, &c.Additional, ScanJSON(&c.Tags), &parent, ScanJSON(&c.Protocols), &c.RemoteApp, ScanJSON(&c.Extra), &c.HasSecret,
		&c.NeverShown, &c.Exclusive, &c.NeedsRotation, &c.Disabled, ScanTime(&c.Created), ScanTime(&c.Updated), ScanTime(&c.LastUsed),
	}, targetFields(&c.Device)...)...)
	c.Parent = parent.Int64
	return c, err
}

func credentialSealedAt(id string) string { return "credentials/secret/" + id }

// seal returns NULL for no secret.
func (s Credentials) seal(id string, plain secret.String) ([]byte, error) {
	if plain.Empty() {
		return nil, nil
	}
	return s.Sealer.Seal([]byte(plain.Reveal()), credentialSealedAt(id))
}

// open reads the secret of a credential; the empty one where there is none.
func (s Credentials) open(ctx context.Context, tx Tx, id string) (secret.String, error) {
	sealed, err := One(ctx, tx, Value[[]byte], `SELECT secret FROM credentials WHERE id = $1`, id)
	if err != nil || len(sealed) == 0 {
		return secret.String{}, err
	}
	plain, err := s.Sealer.Open(sealed, credentialSealedAt(id))
	if err != nil {
		return secret.String{}, fmt.Errorf("open secret of credential %s: %w", id, err)
	}
	return secret.New(string(plain)), nil
}

func takenCredential(err error) error {
	switch {
	case Violates(err, "credentials_identifier_key"), Violates(err, "credentials_username_key"):
		return vault.ErrTaken
	case ViolatesKind(err, ForeignKey):
		return device.ErrUnknown
	case Absent(err):
		return vault.ErrUnknown
	default:
		return err
	}
}

// registeredDomain returns a credential's domain as it was registered; it may have none.
func registeredDomain(ctx context.Context, tx Tx, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	all, err := registered(ctx, tx, []string{name})
	if err != nil {
		return "", err
	}
	return all[0], nil
}

func nullParent(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }

// nullProtocols tells a list that nobody has given, which is NULL, from one with nothing in it.
func nullProtocols(list *[]device.Protocol) sql.NullString {
	if list == nil {
		return sql.NullString{}
	}
	return sql.NullString{String: JSON(*list), Valid: true}
}

// Insert implements vault.Store.
func (s Credentials) Insert(ctx context.Context, c vault.Credential, plain secret.String, listed []access.Binding, e audit.Event) (vault.Credential, error) {
	sealed, err := s.seal(c.ID, plain)
	if err != nil {
		return vault.Credential{}, err
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if c.Domain, err = registeredDomain(ctx, tx, c.Domain); err != nil {
			return err
		}
		if c.Number, err = nextNumber(ctx, tx, "credential"); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO credentials (id, number, identifier, device, username, kind, type, domain, additional, tags, parent, protocols, remote_app, extra, secret,
			never_shown, exclusive, needs_rotation, disabled, created, updated, last_used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, NULL)`,
			c.ID, c.Number, c.Identifier, c.Device.ID, c.Username, string(c.Kind), c.Type, c.Domain, c.Additional, JSON(c.Tags), nullParent(c.Parent), nullProtocols(c.Protocols), c.RemoteApp, JSON(c.Extra), sealed,
			c.NeverShown, c.Exclusive, c.NeedsRotation, c.Disabled, Micros(c.Created), Micros(c.Updated))
		if err != nil {
			return err
		}
		if err := insertListed(ctx, tx, listed); err != nil {
			return err
		}
		if err := insertEvents(ctx, tx, e); err != nil {
			return err
		}
		c, err = One(ctx, tx, scanCredential, selectCredentials+`c.id = $1`, c.ID)
		return err
	})
	if err != nil {
		return vault.Credential{}, takenCredential(err)
	}
	return c, nil
}

// locked reads a credential that the same transaction will change. The device with it is not locked.
func (s Credentials) locked(ctx context.Context, tx Tx, id string) (vault.Credential, error) {
	if _, err := One(ctx, tx, Value[string], `SELECT id FROM credentials WHERE id = $1`+s.DB.ForUpdate(), id); err != nil {
		return vault.Credential{}, err
	}
	return One(ctx, tx, scanCredential, selectCredentials+`c.id = $1`, id)
}

// Change implements vault.Store.
func (s Credentials) Change(
	ctx context.Context, id string, fresh secret.String, decide func(vault.Credential) (vault.Credential, error), event func(was, is vault.Credential, secret bool) audit.Event,
) (vault.Credential, bool, error) {
	var is vault.Credential
	var changed bool
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		changed = false
		was, err := s.locked(ctx, tx, id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		if is.Domain, err = registeredDomain(ctx, tx, is.Domain); err != nil {
			return err
		}
		other, err := s.other(ctx, tx, id, fresh)
		if err != nil {
			return err
		}
		if was.Same(is) && !other {
			is = was
			return nil
		}
		changed = true
		if other {
			is.HasSecret, is.NeedsRotation = true, false
			if err := s.changeSecret(ctx, tx, id, fresh); err != nil {
				return err
			}
		}
		return s.change(ctx, tx, was, is, event(was, is, other))
	})
	if err != nil {
		return vault.Credential{}, false, takenCredential(err)
	}
	return is, changed, nil
}

// other reports whether fresh is a secret, and not the one that is there.
func (s Credentials) other(ctx context.Context, tx Tx, id string, fresh secret.String) (bool, error) {
	if fresh.Empty() {
		return false, nil
	}
	there, err := s.open(ctx, tx, id)
	return !there.Equal(fresh), err
}

func (s Credentials) changeSecret(ctx context.Context, tx Tx, id string, fresh secret.String) error {
	sealed, err := s.seal(id, fresh)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE credentials SET secret = $2 WHERE id = $1`, id, sealed)
	return err
}

func (s Credentials) change(ctx context.Context, tx Tx, was, is vault.Credential, e audit.Event) error {
	_, err := tx.ExecContext(ctx, `UPDATE credentials SET identifier = $2, username = $3, kind = $4, type = $5, domain = $6, additional = $7, tags = $8, parent = $9, protocols = $10, remote_app = $11, extra = $12,
		never_shown = $13, exclusive = $14, needs_rotation = $15, disabled = $16, updated = $17 WHERE id = $1`,
		is.ID, is.Identifier, is.Username, string(is.Kind), is.Type, is.Domain, is.Additional, JSON(is.Tags), nullParent(is.Parent), nullProtocols(is.Protocols), is.RemoteApp, JSON(is.Extra),
		is.NeverShown, is.Exclusive, is.NeedsRotation, is.Disabled, Micros(is.Updated))
	if err != nil {
		return err
	}
	if is.Disabled && !was.Disabled {
		if err := askEnd(ctx, tx, endOfCredential, is.ID, e); err != nil {
			return err
		}
	}
	return insertEvents(ctx, tx, e)
}

// ByID implements vault.Store.
func (s Credentials) ByID(ctx context.Context, id string) (vault.Credential, error) {
	return s.one(ctx, selectCredentials+`c.id = $1`, id)
}

// ByNumber implements vault.Store.
func (s Credentials) ByNumber(ctx context.Context, number int64) (vault.Credential, error) {
	return s.one(ctx, selectCredentials+`c.number = $1`, number)
}

// ByIdentifier implements vault.Store.
func (s Credentials) ByIdentifier(ctx context.Context, identifier string) (vault.Credential, error) {
	return s.one(ctx, selectCredentials+`c.identifier = $1`, identifier)
}

func (s Credentials) one(ctx context.Context, query string, arg any) (c vault.Credential, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		c, err = One(ctx, tx, scanCredential, query, arg)
		return err
	})
	return c, takenCredential(err)
}

// OfDevice implements vault.Store.
func (s Credentials) OfDevice(ctx context.Context, device string) ([]vault.Credential, error) {
	return readAll(ctx, s.DB, scanCredential, selectCredentials+`c.device = $1 ORDER BY c.number`, device)
}

// List implements vault.Store.
func (s Credentials) List(ctx context.Context, all bool, ids, devices []string, w page.Window) (page.Page[vault.Credential], error) {
	l := byNumber[vault.Credential]{
		db: s.DB, scan: scanCredential, query: selectCredentials, count: `SELECT COUNT(*) FROM ` + credentialTables + ` WHERE `, number: `c.number`, window: w,
		numberOf: func(c vault.Credential) int64 { return c.Number },
	}
	if all {
		return l.read(ctx)
	}
	return l.of(
		within[vault.Credential]{`c.id`, ids, func(c vault.Credential) string { return c.ID }},
		within[vault.Credential]{`c.device`, devices, func(c vault.Credential) string { return c.Device.ID }},
	).read(ctx)
}

// Secret implements vault.Store.
func (s Credentials) Secret(
	ctx context.Context, id string, used time.Time, check func(vault.Credential) error, event func(vault.Credential) audit.Event,
) (c vault.Credential, plain secret.String, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if c, err = s.locked(ctx, tx, id); err != nil {
			return err
		}
		if err := check(c); err != nil {
			return err
		}
		if plain, err = s.open(ctx, tx, id); err != nil {
			return err
		}
		if plain.Empty() {
			return vault.ErrNoSecret
		}
		c.LastUsed = used
		if _, err := tx.ExecContext(ctx, `UPDATE credentials SET last_used = $2 WHERE id = $1`, id, Micros(used)); err != nil {
			return err
		}
		return insertEvents(ctx, tx, event(c))
	})
	if err != nil {
		return vault.Credential{}, secret.String{}, takenCredential(err)
	}
	return c, plain, nil
}
