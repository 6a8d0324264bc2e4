package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Factors keeps what users have enrolled and the conversations that wait for an answer. The secret of an app and that of a conversation
// are sealed, each bound to its row.
//
// Whoever changes something of a user here holds the user's row, so that all changes of one set come one after the other.
type Factors struct {
	DB     *DB
	Sealer *secret.Sealer
}

var _ factor.Store = Factors{}

func totpContext(user string) string       { return "factor_totp/secret/" + user }
func conversationContext(id string) string { return "factor_conversations/secret/" + id }

// Of implements factor.Store.
func (s Factors) Of(ctx context.Context, user string) (set factor.Set, err error) {
	err = s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) (err error) {
		set, err = s.set(ctx, tx, user)
		return err
	})
	return set, err
}

func (s Factors) set(ctx context.Context, tx Tx, user string) (factor.Set, error) {
	set := factor.Set{User: user}
	app, err := One(ctx, tx, s.scanApp(user), `SELECT sealed, enabled, last_step FROM factor_totp WHERE user_id = $1`, user)
	switch {
	case err == nil:
		set.TOTP = &app
	case !Absent(err):
		return set, err
	}
	set.Devices, err = All(ctx, tx, scanDevice, `SELECT `+deviceColumns+` FROM factor_devices d WHERE d.user_id = $1 ORDER BY d.created, d.id`, user)
	if err != nil {
		return set, err
	}
	set.Codes, err = All(ctx, tx, scanCode, `SELECT id, kind, salt, hash, created, used FROM factor_codes WHERE user_id = $1 ORDER BY created, id`, user)
	return set, err
}

func (s Factors) scanApp(user string) func(Scan) (factor.App, error) {
	return func(scan Scan) (a factor.App, err error) {
		var sealed []byte
		if err := scan(&sealed, ScanTime(&a.Enabled), &a.LastStep); err != nil {
			return a, err
		}
		plain, err := s.Sealer.Open(sealed, totpContext(user))
		if err != nil {
			return a, fmt.Errorf("open secret of the authenticator app of user %s: %w", user, err)
		}
		a.Secret = secret.New(string(plain))
		return a, nil
	}
}

const deviceColumns = `d.id, d.name, d.kind, d.credential, d.public_key, d.counter, d.origin, d.transports, d.aaguid, d.format, d.flags, d.created, d.last_used`

func scanDevice(scan Scan) (d factor.Device, err error) {
	err = scan(deviceFields(&d)...)
	return d, err
}

func deviceFields(d *factor.Device) []any {
	return []any{
		&d.ID, &d.Name, &d.Kind, &d.Credential, &d.PublicKey, &d.Counter, &d.Origin, ScanJSON(&d.Transports), &d.AAGUID, &d.Format, &d.Flags,
		ScanTime(&d.Created), ScanTime(&d.LastUsed),
	}
}

func scanCode(scan Scan) (c factor.Code, err error) {
	var hash []byte
	err = scan(&c.ID, &c.Kind, &c.Salt, &hash, ScanTime(&c.Created), ScanTime(&c.Used))
	copy(c.Hash[:], hash)
	return c, err
}

// Change implements factor.Store.
func (s Factors) Change(ctx context.Context, user string, decide func(*factor.Set) (factor.Change, error)) (is factor.Set, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := s.locked(ctx, tx, user)
		if err != nil {
			return err
		}
		is = copied(was)
		c, err := decide(&is)
		if err != nil {
			return err
		}
		return s.store(ctx, tx, was, is, c)
	})
	return is, takenDevice(err)
}

// locked loads a set and holds the row of its user.
func (s Factors) locked(ctx context.Context, tx Tx, user string) (factor.Set, error) {
	if err := s.hold(ctx, tx, user); err != nil {
		return factor.Set{}, err
	}
	return s.set(ctx, tx, user)
}

// copied is a set that may be changed while the other still says what it was.
func copied(set factor.Set) factor.Set {
	if set.TOTP != nil {
		app := *set.TOTP
		set.TOTP = &app
	}
	set.Devices, set.Codes = slices.Clone(set.Devices), slices.Clone(set.Codes)
	return set
}

func takenDevice(err error) error {
	switch {
	case Violates(err, "factor_devices_name_key"):
		return factor.ErrNameTaken
	case Violates(err, "factor_devices_credential_key"):
		return factor.ErrKnownKey
	default:
		return err
	}
}

// store writes what a decision left in a set, and what it returned.
func (s Factors) store(ctx context.Context, tx Tx, was, is factor.Set, c factor.Change) error {
	if err := s.storeApp(ctx, tx, was, is); err != nil {
		return err
	}
	if err := storeDevices(ctx, tx, was, is); err != nil {
		return err
	}
	if err := storeCodes(ctx, tx, was, is); err != nil {
		return err
	}
	if err := finishFactors(ctx, tx, was.User, c); err != nil {
		return err
	}
	return tx.Notify(ctx, "user "+was.User)
}

// errUnrecorded is a mistake of the caller: the moment when sessions end is that of the event.
var errUnrecorded = errors.New("a change of second factors ends sessions and has no event")

// finishFactors ends the sessions that a change ends and records its events. How many sessions those were is said with the first event.
func finishFactors(ctx context.Context, tx Tx, user string, c factor.Change) error {
	events := slices.Clone(c.Events)
	if c.End.Sessions {
		if len(events) == 0 {
			return errUnrecorded
		}
		said, err := endedBy(ctx, tx, access.User, user, c.End, events[0].At, events[0])
		if err != nil {
			return err
		}
		events[0] = said
	}
	return insertEvents(ctx, tx, events...)
}

func (s Factors) storeApp(ctx context.Context, tx Tx, was, is factor.Set) error {
	switch {
	case is.TOTP == nil && was.TOTP == nil:
		return nil
	case is.TOTP == nil:
		_, err := tx.ExecContext(ctx, `DELETE FROM factor_totp WHERE user_id = $1`, was.User)
		return err
	case was.TOTP != nil && was.TOTP.Secret.Equal(is.TOTP.Secret): // the most frequent: a code was used
		_, err := tx.ExecContext(ctx, `UPDATE factor_totp SET enabled = $2, last_step = $3 WHERE user_id = $1`, was.User, Micros(is.TOTP.Enabled), is.TOTP.LastStep)
		return err
	}
	sealed, err := s.Sealer.Seal([]byte(is.TOTP.Secret.Reveal()), totpContext(was.User))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO factor_totp (user_id, sealed, enabled, last_step) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id) DO UPDATE SET sealed = excluded.sealed, enabled = excluded.enabled, last_step = excluded.last_step`,
		was.User, sealed, Micros(is.TOTP.Enabled), is.TOTP.LastStep)
	return err
}

// storeDevices writes what differs. What a key is does not change: only its name, its counter and when it was used.
func storeDevices(ctx context.Context, tx Tx, was, is factor.Set) error {
	old := make(map[string]factor.Device, len(was.Devices))
	for _, d := range was.Devices {
		old[d.ID] = d
	}
	kept := make(map[string]bool, len(is.Devices))
	for _, d := range is.Devices {
		kept[d.ID] = true
	}
	for _, d := range was.Devices { // those that go make room for a name first
		if kept[d.ID] {
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM factor_devices WHERE id = $1`, d.ID); err != nil {
			return err
		}
	}
	for _, d := range is.Devices {
		before, there := old[d.ID]
		if err := storeDevice(ctx, tx, is.User, d, before, there); err != nil {
			return err
		}
	}
	return nil
}

func storeDevice(ctx context.Context, tx Tx, user string, d, before factor.Device, there bool) error {
	if !there {
		_, err := tx.ExecContext(ctx, `INSERT INTO factor_devices (id, user_id, name, kind, credential, public_key, counter, origin, transports,
			aaguid, format, flags, created, last_used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			d.ID, user, d.Name, string(d.Kind), d.Credential, d.PublicKey, int64(d.Counter), d.Origin, JSON(d.Transports), d.AAGUID, d.Format, int64(d.Flags),
			Micros(d.Created), NullMicros(d.LastUsed))
		return err
	}
	if d.Name == before.Name && d.Counter == before.Counter && d.LastUsed.Equal(before.LastUsed) {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE factor_devices SET name = $2, counter = $3, last_used = $4 WHERE id = $1`,
		d.ID, d.Name, int64(d.Counter), NullMicros(d.LastUsed))
	return err
}

// storeCodes writes what differs. Of a code only its use changes.
func storeCodes(ctx context.Context, tx Tx, was, is factor.Set) error {
	old := make(map[string]factor.Code, len(was.Codes))
	for _, c := range was.Codes {
		old[c.ID] = c
	}
	for _, c := range is.Codes {
		before, there := old[c.ID]
		delete(old, c.ID)
		if err := storeCode(ctx, tx, is.User, c, before, there); err != nil {
			return err
		}
	}
	for id := range old {
		if _, err := tx.ExecContext(ctx, `DELETE FROM factor_codes WHERE id = $1`, id); err != nil {
			return err
		}
	}
	return nil
}

func storeCode(ctx context.Context, tx Tx, user string, c, before factor.Code, there bool) error {
	switch {
	case !there:
		_, err := tx.ExecContext(ctx, `INSERT INTO factor_codes (id, user_id, kind, salt, hash, created, used) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			c.ID, user, string(c.Kind), c.Salt, c.Hash[:], Micros(c.Created), NullMicros(c.Used))
		return err
	case !c.Used.Equal(before.Used):
		_, err := tx.ExecContext(ctx, `UPDATE factor_codes SET used = $2 WHERE id = $1`, c.ID, NullMicros(c.Used))
		return err
	default:
		return nil
	}
}

// ByCredential implements factor.Store.
func (s Factors) ByCredential(ctx context.Context, credential []byte) (user string, d factor.Device, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		d, err = One(ctx, tx, func(scan Scan) (d factor.Device, err error) {
			err = scan(append(deviceFields(&d), &user)...)
			return d, err
		}, `SELECT `+deviceColumns+`, d.user_id FROM factor_devices d WHERE d.credential = $1`, credential)
		return err
	})
	if Absent(err) {
		err = factor.ErrNoDevice
	}
	return user, d, err
}
