package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const selectCustodies = `SELECT credential, holder_kind, holder, taken, until FROM custodies WHERE `

func scanCustody(scan Scan) (vault.Custody, error) {
	var c vault.Custody
	err := scan(&c.Credential, &c.Holder.Kind, &c.Holder.ID, ScanTime(&c.Taken), ScanTime(&c.Until))
	return c, err
}

// Take implements vault.Store. Who takes one credential waits for who took it before: the row is locked.
func (s Credentials) Take(
	ctx context.Context, held vault.Custody, check func(vault.Credential) error, event func(vault.Credential) audit.Event,
) (c vault.Credential, plain secret.String, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if c, err = s.locked(ctx, tx, held.Credential); err != nil {
			return err
		}
		if err := check(c); err != nil {
			return err
		}
		if c.Exclusive {
			if err := heldByOthers(ctx, tx, held); err != nil {
				return err
			}
		}
		if plain, err = s.open(ctx, tx, c.ID); err != nil {
			return err
		}
		c.NeedsRotation, c.LastUsed = true, held.Taken
		if err := take(ctx, tx, held); err != nil {
			return err
		}
		return insertEvents(ctx, tx, event(c))
	})
	if err != nil {
		return vault.Credential{}, secret.String{}, takenCredential(err)
	}
	return c, plain, nil
}

// heldByOthers reports ErrHeld where somebody else's custody has not ended.
func heldByOthers(ctx context.Context, tx Tx, held vault.Custody) error {
	others, err := One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM custodies WHERE credential = $1 AND NOT (holder_kind = $2 AND holder = $3) AND until > $4`,
		held.Credential, string(held.Holder.Kind), held.Holder.ID, Micros(held.Taken))
	if err == nil && others > 0 {
		return vault.ErrHeld
	}
	return err
}

func take(ctx context.Context, tx Tx, held vault.Custody) error {
	if _, err := tx.ExecContext(ctx, `UPDATE credentials SET needs_rotation = TRUE, last_used = $2 WHERE id = $1`, held.Credential, Micros(held.Taken)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO custodies (credential, holder_kind, holder, taken, until) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (credential, holder_kind, holder) DO UPDATE SET taken = excluded.taken, until = excluded.until`,
		held.Credential, string(held.Holder.Kind), held.Holder.ID, Micros(held.Taken), Micros(held.Until))
	return err
}

// Release implements vault.Store. Custody that is over is left for Expire, which records its end.
func (s Credentials) Release(ctx context.Context, credential string, holder access.Subject, now time.Time, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM custodies WHERE credential = $1 AND holder_kind = $2 AND holder = $3 AND until > $4`, credential, string(holder.Kind), holder.ID, Micros(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return vault.ErrNotHeld
		}
		if err := needsRotation(ctx, tx, credential); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

func needsRotation(ctx context.Context, tx Tx, credential string) error {
	_, err := tx.ExecContext(ctx, `UPDATE credentials SET needs_rotation = TRUE WHERE id = $1`, credential)
	return err
}

// Custodies implements vault.Store.
func (s Credentials) Custodies(ctx context.Context, credential string, now time.Time) ([]vault.Custody, error) {
	return readAll(ctx, s.DB, scanCustody, selectCustodies+`credential = $1 AND until > $2 ORDER BY taken, holder`, credential, Micros(now))
}

// Expire implements vault.Store. Most calls find nothing, and do not ask for the lock.
func (s Credentials) Expire(ctx context.Context, now time.Time, limit int, event func(vault.Custody) audit.Event) (int, error) {
	due := selectCustodies + `until <= $1 ORDER BY until, credential, holder LIMIT $2`
	over, err := readAll(ctx, s.DB, scanCustody, due, Micros(now), 1)
	if err != nil || len(over) == 0 {
		return 0, err
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if err := tx.Lock(ctx, "custody-expire"); err != nil {
			return err
		}
		if over, err = All(ctx, tx, scanCustody, due, Micros(now), limit); err != nil {
			return err
		}
		for _, c := range over {
			if err := expire(ctx, tx, c, now, event(c)); err != nil {
				return err
			}
		}
		return nil
	})
	return len(over), err
}

// expire ends one custody, unless it was renewed in the meantime. The credential goes first, as in Take.
func expire(ctx context.Context, tx Tx, c vault.Custody, now time.Time, e audit.Event) error {
	if err := needsRotation(ctx, tx, c.Credential); err != nil {
		return err
	}
	n, err := Exec(ctx, tx, `DELETE FROM custodies WHERE credential = $1 AND holder_kind = $2 AND holder = $3 AND until <= $4`, c.Credential, string(c.Holder.Kind), c.Holder.ID, Micros(now))
	if err != nil || n == 0 {
		return err
	}
	return insertEvents(ctx, tx, e)
}
