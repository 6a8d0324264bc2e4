package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Applications keeps programs, their secrets as digests, and a fresh secret sealed for a short while.
type Applications struct {
	DB     *DB
	Sealer *secret.Sealer
}

var _ identity.ApplicationStore = Applications{}

const applicationColumns = `a.id, a.account, a.name, a.description, a.auth_type, a.digest, a.old_digest, a.old_until, a.disabled, a.addresses, a.groups_in,
	a.default_group, a.role, a.creator_kind, a.creator_id, a.created, a.updated, a.last_login, a.certificate, a.authorities, a.certificate_subject, a.provider,
	COALESCE((SELECT c.disabled FROM accounts c WHERE c.id = a.account), TRUE)`

func scanApplication(scan Scan) (identity.Application, error) {
	var a identity.Application
	var digest, old, certificate []byte
	err := scan(&a.ID, &a.Account, &a.Name, &a.Description, &a.AuthType, &digest, &old, ScanTime(&a.OldUntil), &a.Disabled, ScanJSON(&a.Addresses), ScanJSON(&a.Groups),
		&a.Default, &a.Role, &a.Creator.Kind, &a.Creator.ID, ScanTime(&a.Created), ScanTime(&a.Updated), ScanTime(&a.LastLogin), &certificate, &a.Authorities, &a.Subject, &a.Provider, &a.AccountShut)
	copy(a.Digest[:], digest)
	copy(a.Certificate[:], certificate)
	copy(a.OldDigest[:], old)
	return a, err
}

func takenApplication(err error) error {
	switch {
	case Violates(err, "applications_name_key"):
		return identity.ErrApplicationTaken
	case ViolatesKind(err, ForeignKey):
		return identity.ErrNoAccount
	case Absent(err):
		return identity.ErrNoApplication
	default:
		return err
	}
}

func addressesOf(a identity.Application) string {
	if a.Addresses == nil {
		return JSON([]netip.Prefix{})
	}
	return JSON(a.Addresses)
}

// certificateOf is NULL for an application without a certificate of its own.
func certificateOf(a identity.Application) []byte {
	if a.AuthType != identity.ByCertificate {
		return nil
	}
	return a.Certificate[:]
}

func groupsOf(a identity.Application) string {
	if a.Groups == nil {
		return JSON([]string{})
	}
	return JSON(a.Groups)
}

// Insert implements identity.ApplicationStore.
func (s Applications) Insert(ctx context.Context, a identity.Application, plain secret.String, until time.Time, e audit.Event) error {
	return takenApplication(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := inAccount(ctx, tx, a); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO applications (id, account, name, description, auth_type, digest, old_digest, old_until, disabled, addresses, groups_in,
			default_group, role, creator_kind, creator_id, created, updated, certificate, authorities, certificate_subject, provider)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`,
			a.ID, a.Account, a.Name, a.Description, string(a.AuthType), a.Digest[:], a.OldDigest[:], NullMicros(a.OldUntil), a.Disabled, addressesOf(a), groupsOf(a),
			a.Default, a.Role, a.Creator.Kind, a.Creator.ID, Micros(a.Created), Micros(a.Updated), certificateOf(a), a.Authorities, a.Subject, a.Provider)
		if err != nil {
			return err
		}
		if err := s.keep(ctx, tx, a.ID, identity.Fresh{Plain: plain, Until: until}); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	}))
}

// inAccount reports ErrNoGroup for a group that is not the account's.
func inAccount(ctx context.Context, tx Tx, a identity.Application) error {
	for _, g := range a.Groups {
		n, err := One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM account_groups WHERE id = $1 AND account = $2`, g, a.Account)
		if err != nil {
			return err
		}
		if n == 0 {
			return identity.ErrNoGroup
		}
	}
	return nil
}

func sealedAt(id string) string { return "applications/sealed/" + id }

// keep seals a fresh secret for as long as it can be seen.
func (s Applications) keep(ctx context.Context, tx Tx, id string, fresh identity.Fresh) error {
	if fresh.Plain.Empty() {
		return nil
	}
	sealed, err := s.Sealer.Seal([]byte(fresh.Plain.Reveal()), sealedAt(id))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE applications SET sealed = $2, sealed_until = $3 WHERE id = $1`, id, sealed, Micros(fresh.Until))
	return err
}

// ByID implements identity.ApplicationStore.
func (s Applications) ByID(ctx context.Context, id string) (identity.Application, error) {
	return s.one(ctx, `SELECT `+applicationColumns+` FROM applications a WHERE a.id = $1`, id)
}

// ByName implements identity.ApplicationStore.
func (s Applications) ByName(ctx context.Context, account, name string) (identity.Application, error) {
	return s.one(ctx, `SELECT `+applicationColumns+` FROM applications a WHERE a.account = $1 AND a.name = $2`, account, name)
}

func (s Applications) one(ctx context.Context, query string, args ...any) (identity.Application, error) {
	var a identity.Application
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		a, err = One(ctx, tx, scanApplication, query, args...)
		return err
	})
	return a, takenApplication(err)
}

// OfAccount implements identity.ApplicationStore.
func (s Applications) OfAccount(ctx context.Context, account string) ([]identity.Application, error) {
	var all []identity.Application
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanApplication, `SELECT `+applicationColumns+` FROM applications a WHERE a.account = $1 ORDER BY a.name, a.id`, account)
		return err
	})
	return all, err
}

// ByCertificate implements identity.ApplicationStore.
func (s Applications) ByCertificate(ctx context.Context, digest [32]byte) ([]identity.Application, error) {
	var all []identity.Application
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanApplication, `SELECT `+applicationColumns+` FROM applications a WHERE a.certificate = $1 OR a.auth_type = 'trusted_ca' ORDER BY a.id`, digest[:])
		return err
	})
	return all, err
}

// Change implements identity.ApplicationStore.
func (s Applications) Change(ctx context.Context, id string, decide func(identity.Application) (identity.Application, error), fresh identity.Fresh, end identity.Ending, e audit.Event) (identity.Application, error) {
	var is identity.Application
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := One(ctx, tx, scanApplication, `SELECT `+applicationColumns+` FROM applications a WHERE a.id = $1`+s.DB.ForUpdate(), id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE applications SET name = $2, description = $3, digest = $4, old_digest = $5, old_until = $6, disabled = $7, addresses = $8,
			groups_in = $9, default_group = $10, role = $11, updated = $12 WHERE id = $1`, id, is.Name, is.Description, is.Digest[:], is.OldDigest[:], NullMicros(is.OldUntil),
			is.Disabled, addressesOf(is), groupsOf(is), is.Default, is.Role, Micros(is.Updated))
		if err != nil {
			return err
		}
		if err := s.keep(ctx, tx, id, fresh); err != nil {
			return err
		}
		said, err := endedBy(ctx, tx, access.Application, id, end, is.Updated, e)
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, "application "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, said)
	})
	return is, takenApplication(err)
}

// Delete implements identity.ApplicationStore.
func (s Applications) Delete(ctx context.Context, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM role_bindings WHERE subject_kind = 'authorization' AND subject_id IN (SELECT id FROM authorizations WHERE application = $1)`, id); err != nil {
			return err
		}
		n, err := Exec(ctx, tx, `DELETE FROM applications WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return identity.ErrNoApplication
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM role_bindings WHERE subject_kind = 'application' AND subject_id = $1`, id); err != nil {
			return err
		}
		said, err := endedBy(ctx, tx, access.Application, id, identity.Ending{Sessions: true}, e.At, e)
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, "application "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, said)
	})
}

type sealedSecret struct {
	sealed []byte
	until  time.Time
}

func scanFreshSecret(scan Scan) (sealedSecret, error) {
	var x sealedSecret
	err := scan(&x.sealed, ScanTime(&x.until))
	return x, err
}

// Plain implements identity.ApplicationStore.
func (s Applications) Plain(ctx context.Context, id string, now time.Time, e audit.Event) (secret.String, error) {
	var plain secret.String
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		x, err := One(ctx, tx, scanFreshSecret, `SELECT sealed, sealed_until FROM applications WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if x.sealed == nil || !now.Before(x.until) { // rule W11: erased or not
			return identity.ErrNoCredential
		}
		open, err := s.Sealer.Open(x.sealed, sealedAt(id))
		if err != nil {
			return fmt.Errorf("open secret of application %s: %w", id, err)
		}
		plain = secret.New(string(open))
		return insertEvents(ctx, tx, e)
	})
	if err != nil {
		return secret.String{}, takenApplication(err)
	}
	return plain, nil
}

// Erase implements identity.ApplicationStore. It writes only where there is something to erase.
func (s Applications) Erase(ctx context.Context, now time.Time) error {
	var n int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		n, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM applications WHERE sealed_until IS NOT NULL AND sealed_until <= $1`, Micros(now))
		return err
	})
	if n == 0 || err != nil {
		return err
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE applications SET sealed = NULL, sealed_until = NULL WHERE sealed_until IS NOT NULL AND sealed_until <= $1`, Micros(now))
		return err
	})
}
