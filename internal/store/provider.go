package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Providers keeps identity providers, their secrets sealed, and who users are there.
type Providers struct {
	DB     *DB
	Sealer *secret.Sealer
}

var _ identity.ProviderStore = Providers{}

const providerColumns = `id, number, handle, kind, name, enabled, settings, sealed, created, updated`

func (s Providers) scan(scan Scan) (identity.Provider, error) {
	var p identity.Provider
	var handle, sealed []byte
	err := scan(&p.ID, &p.Number, &handle, &p.Kind, &p.Name, &p.Enabled, ScanJSON(&p.Settings), &sealed, ScanTime(&p.Created), ScanTime(&p.Updated))
	if err != nil {
		return p, err
	}
	copy(p.Handle[:], handle)
	if len(sealed) == 0 {
		return p, nil
	}
	plain, err := s.Sealer.Open(sealed, providerSealedAt(p.ID))
	if err != nil {
		return p, fmt.Errorf("open secret of identity provider %s: %w", p.ID, err)
	}
	p.Secret = secret.New(string(plain))
	return p, nil
}

func providerSealedAt(id string) string { return "providers/sealed/" + id }

// seal returns NULL for no secret.
func (s Providers) seal(p identity.Provider) ([]byte, error) {
	if p.Secret.Empty() {
		return nil, nil
	}
	return s.Sealer.Seal([]byte(p.Secret.Reveal()), providerSealedAt(p.ID))
}

func takenProvider(err error) error {
	switch {
	case Violates(err, "providers_name_key"):
		return identity.ErrProviderTaken
	case Absent(err):
		return identity.ErrNoProvider
	default:
		return err
	}
}

// Insert implements identity.ProviderStore.
func (s Providers) Insert(ctx context.Context, p identity.Provider, e audit.Event) (identity.Provider, error) {
	sealed, err := s.seal(p)
	if err != nil {
		return identity.Provider{}, err
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if p.Number, err = nextNumber(ctx, tx, "provider"); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO providers (id, number, handle, kind, name, name_folded, enabled, settings, sealed, created, updated)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			p.ID, p.Number, p.Handle[:], string(p.Kind), p.Name, identity.Fold(p.Name), p.Enabled, JSON(p.Settings), sealed, Micros(p.Created), Micros(p.Updated))
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, "provider "+p.ID); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if err != nil {
		return identity.Provider{}, takenProvider(err)
	}
	return p, nil
}

// nextNumber gives a noun's next number, from 1 on; what a transaction that fails was given goes to another.
func nextNumber(ctx context.Context, tx Tx, noun string) (int64, error) {
	return One(ctx, tx, Value[int64], `INSERT INTO numbers (noun, next) VALUES ($1, 2) ON CONFLICT (noun) DO UPDATE SET next = numbers.next + 1 RETURNING next - 1`, noun)
}

// ByID implements identity.ProviderStore.
func (s Providers) ByID(ctx context.Context, id string) (identity.Provider, error) {
	return s.one(ctx, `SELECT `+providerColumns+` FROM providers WHERE id = $1`, id)
}

// ByNumber implements identity.ProviderStore.
func (s Providers) ByNumber(ctx context.Context, number int64) (identity.Provider, error) {
	return s.one(ctx, `SELECT `+providerColumns+` FROM providers WHERE number = $1`, number)
}

// ByHandle implements identity.ProviderStore.
func (s Providers) ByHandle(ctx context.Context, handle [16]byte) (identity.Provider, error) {
	return s.one(ctx, `SELECT `+providerColumns+` FROM providers WHERE handle = $1`, handle[:])
}

func (s Providers) one(ctx context.Context, query string, arg any) (identity.Provider, error) {
	var p identity.Provider
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		p, err = One(ctx, tx, s.scan, query, arg)
		return err
	})
	if err != nil {
		return identity.Provider{}, takenProvider(err)
	}
	return p, nil
}

// All implements identity.ProviderStore.
func (s Providers) All(ctx context.Context) ([]identity.Provider, error) {
	var all []identity.Provider
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, s.scan, `SELECT `+providerColumns+` FROM providers ORDER BY number`)
		return err
	})
	return all, err
}

// Change implements identity.ProviderStore.
func (s Providers) Change(ctx context.Context, id string, decide func(identity.Provider) (identity.Provider, error), event func(was, is identity.Provider) audit.Event) (identity.Provider, error) {
	var is identity.Provider
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		was, err := One(ctx, tx, s.scan, `SELECT `+providerColumns+` FROM providers WHERE id = $1`+s.DB.ForUpdate(), id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		sealed, err := s.seal(is)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE providers SET kind = $2, name = $3, name_folded = $4, enabled = $5, settings = $6, sealed = $7, updated = $8 WHERE id = $1`,
			id, string(is.Kind), is.Name, identity.Fold(is.Name), is.Enabled, JSON(is.Settings), sealed, Micros(is.Updated))
		if err != nil {
			return err
		}
		said := event(was, is)
		if was.Enabled && !is.Enabled {
			if said, err = endVouched(ctx, tx, id, "", is.Updated, said); err != nil {
				return err
			}
		}
		if err := tx.Notify(ctx, "provider "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, said)
	})
	if err != nil {
		return identity.Provider{}, takenProvider(err)
	}
	return is, nil
}

// endVouched ends what began by the word of a provider, of one user or of all: sessions, and sign-ins under way. It returns the event with how many
// sessions there were.
func endVouched(ctx context.Context, tx Tx, provider, user string, at time.Time, e audit.Event) (audit.Event, error) {
	n, err := Exec(ctx, tx, `UPDATE sessions SET state = 'terminated', ended = $3 WHERE provider = $1 AND ($2 = '' OR principal = $2) AND ended IS NULL`, provider, user, Micros(at))
	if err != nil {
		return e, err
	}
	if n > 0 {
		e = e.With("sessions_ended", strconv.FormatInt(n, 10))
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM factor_conversations WHERE provider = $1 AND ($2 = '' OR user_id = $2)`, provider, user); err != nil {
		return e, err
	}
	if user == "" {
		_, err = tx.ExecContext(ctx, `DELETE FROM login_flows WHERE provider = $1`, provider)
	}
	return e, err
}

// Delete implements identity.ProviderStore.
func (s Providers) Delete(ctx context.Context, id string, e audit.Event) error {
	return takenProvider(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		said, err := endVouched(ctx, tx, id, "", e.At, e)
		if err != nil {
			return err
		}
		n, err := Exec(ctx, tx, `DELETE FROM providers WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return identity.ErrNoProvider
		}
		if err := tx.Notify(ctx, "provider "+id); err != nil {
			return err
		}
		return insertEvents(ctx, tx, said)
	}))
}

const linkColumns = `provider, subject, user_id, made, created, checked`

func scanLink(scan Scan) (identity.Link, error) {
	var l identity.Link
	err := scan(&l.Provider, &l.Subject, &l.User, &l.Made, ScanTime(&l.Created), ScanTime(&l.Checked))
	return l, err
}

func takenLink(err error) error {
	switch {
	case Violates(err, "provider_links_pkey"), Violates(err, "provider_links_user_key"):
		return identity.ErrLinked
	case ViolatesKind(err, ForeignKey):
		return identity.ErrNoProvider
	case Absent(err):
		return identity.ErrNoLink
	default:
		return takenUser(err)
	}
}

// LinkOf implements identity.ProviderStore.
func (s Providers) LinkOf(ctx context.Context, provider, subject string) (identity.Link, error) {
	var l identity.Link
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		l, err = One(ctx, tx, scanLink, `SELECT `+linkColumns+` FROM provider_links WHERE provider = $1 AND subject = $2`, provider, subject)
		return err
	})
	return l, takenLink(err)
}

// LinksOf implements identity.ProviderStore.
func (s Providers) LinksOf(ctx context.Context, user string) ([]identity.Link, error) {
	var all []identity.Link
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		all, err = All(ctx, tx, scanLink, `SELECT `+linkColumns+` FROM provider_links WHERE user_id = $1 ORDER BY created, provider`, user)
		return err
	})
	return all, err
}

// InsertLink implements identity.ProviderStore.
func (s Providers) InsertLink(ctx context.Context, l identity.Link, e audit.Event) error {
	return takenLink(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := insertLink(ctx, tx, l); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	}))
}

func insertLink(ctx context.Context, tx Tx, l identity.Link) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO provider_links (`+linkColumns+`) VALUES ($1, $2, $3, $4, $5, $6)`,
		l.Provider, l.Subject, l.User, l.Made, Micros(l.Created), NullMicros(l.Checked))
	return err
}

// InsertMade implements identity.ProviderStore.
func (s Providers) InsertMade(ctx context.Context, u identity.User, l identity.Link, e audit.Event) error {
	return takenLink(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := insertUser(ctx, tx, u, identity.Ordinary); err != nil {
			return err
		}
		if err := markMade(ctx, tx, u.ID); err != nil {
			return err
		}
		if err := insertLink(ctx, tx, l); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	}))
}

// DeleteLink implements identity.ProviderStore.
func (s Providers) DeleteLink(ctx context.Context, provider, user string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM provider_links WHERE provider = $1 AND user_id = $2`, provider, user)
		if err != nil {
			return err
		}
		if n == 0 {
			return identity.ErrNoLink
		}
		said, err := endVouched(ctx, tx, provider, user, e.At, e)
		if err != nil {
			return err
		}
		if err := tx.Notify(ctx, "user "+user); err != nil {
			return err
		}
		return insertEvents(ctx, tx, said)
	})
}

const (
	dueLink    = ` FROM provider_links WHERE provider = $1 AND (checked IS NULL OR checked < $2)`
	dueLinks   = `SELECT ` + linkColumns + dueLink + ` ORDER BY COALESCE(checked, 0), subject LIMIT $3`
	anyDueLink = `SELECT subject` + dueLink + ` LIMIT 1`
)

// DueLinks implements identity.ProviderStore. Most calls find nothing, and do not ask for the lock.
func (s Providers) DueLinks(ctx context.Context, provider string, before time.Time, limit int, now time.Time) ([]identity.Link, error) {
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		_, err := One(ctx, tx, Value[string], anyDueLink, provider, Micros(before))
		return err
	})
	if Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var due []identity.Link
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if err := tx.Lock(ctx, "provider-recheck"); err != nil {
			return err
		}
		if due, err = All(ctx, tx, scanLink, dueLinks, provider, Micros(before), limit); err != nil {
			return err
		}
		for _, l := range due {
			if _, err := tx.ExecContext(ctx, `UPDATE provider_links SET checked = $3 WHERE provider = $1 AND subject = $2`, l.Provider, l.Subject, Micros(now)); err != nil {
				return err
			}
		}
		return nil
	})
	return due, err
}

var errLinkGone = errors.New("the link is gone")

// Checked implements identity.ProviderStore. Whoever was unlinked in the meantime is nobody's to disable.
func (s Providers) Checked(ctx context.Context, l identity.Link, present bool, now time.Time, event func(change string) audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `UPDATE provider_links SET checked = $4 WHERE provider = $1 AND subject = $2 AND user_id = $3`, l.Provider, l.Subject, l.User, Micros(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return errLinkGone
		}
		if present {
			return returned(ctx, tx, l, now, event)
		}
		return left(ctx, tx, l, now, event)
	})
	if errors.Is(err, errLinkGone) {
		return nil
	}
	return err
}

func returned(ctx context.Context, tx Tx, l identity.Link, now time.Time, event func(string) audit.Event) error {
	n, err := Exec(ctx, tx, `UPDATE users SET disabled = FALSE, disabled_by = '', updated = $3 WHERE id = $1 AND disabled AND disabled_by = $2`, l.User, l.Provider, Micros(now))
	if n == 0 || err != nil {
		return err
	}
	if err := tx.Notify(ctx, "user "+l.User); err != nil {
		return err
	}
	return insertEvents(ctx, tx, event("enabled"))
}

func left(ctx context.Context, tx Tx, l identity.Link, now time.Time, event func(string) audit.Event) error {
	n, err := Exec(ctx, tx, `UPDATE users SET disabled = TRUE, disabled_by = $2, updated = $3 WHERE id = $1 AND NOT disabled`, l.User, l.Provider, Micros(now))
	if n == 0 || err != nil {
		return err
	}
	said, err := endedBy(ctx, tx, access.User, l.User, identity.Ending{Sessions: true}, now, event("disabled"))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM factor_conversations WHERE user_id = $1`, l.User); err != nil {
		return err
	}
	if err := tx.Notify(ctx, "user "+l.User); err != nil {
		return err
	}
	return insertEvents(ctx, tx, said)
}
