package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Audit keeps what happened, the chain that seals it, and the keys that sign the chain.
type Audit struct{ DB *DB }

var (
	_ audit.Store    = Audit{}
	_ webhook.Chain  = Audit{}
	_ audit.KeyStore = Audit{}
)

// insertEvents adds events to the transaction of the change that they record. Nothing shared is
// touched: they wait for the sealer.
func insertEvents(ctx context.Context, tx Tx, events ...audit.Event) error {
	for _, e := range events {
		body := e.Body()
		_, err := tx.ExecContext(ctx, `INSERT INTO audit_events (id, body, digest, concerns) VALUES ($1, $2, $3, $4)`,
			e.ID, string(body), hexOf(audit.DigestOf(body)), sql.NullString{String: e.Concerns, Valid: e.Concerns != ""})
		if err != nil {
			return fmt.Errorf("insert audit event: %w", err)
		}
	}
	return nil
}

// Append implements audit.Store.
func (s Audit) Append(ctx context.Context, events ...audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error { return insertEvents(ctx, tx, events...) })
}

// Concerning implements audit.Store.
func (s Audit) Concerning(ctx context.Context, user string, w page.Window) (page.Page[audit.Event], error) {
	all, err := readAll(ctx, s.DB, func(scan Scan) (audit.Event, error) {
		e := audit.Event{Concerns: user}
		return e, scan(ScanJSON(&e))
	}, `SELECT body FROM audit_events WHERE concerns = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, user, below(w.After), w.Limit+1)
	return page.Cut(all, w, func(e audit.Event) string { return e.ID }), err
}

// waitingEvent is an event without a position.
type waitingEvent struct {
	id     string
	digest audit.Hash
}

// SealNext implements audit.Store. Ids grow with time, so their order is the order of what happened
// as far as the nodes' clocks agree.
func (s Audit) SealNext(ctx context.Context, limit int, seal func(audit.Seal, []audit.Hash) (audit.Seal, []audit.Hash)) (int, error) {
	if n, err := s.Waiting(ctx); n == 0 || err != nil { // most often: then no node has to wait for the lock
		return 0, err
	}
	sealed := 0
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		sealed = 0
		if err := tx.Lock(ctx, "audit-seal"); err != nil {
			return err
		}
		events, err := waitingEvents(ctx, tx, limit)
		if err != nil || len(events) == 0 {
			return err
		}
		previous, err := One(ctx, tx, scanSeal, `SELECT `+sealColumns+` FROM audit_seals ORDER BY number DESC LIMIT 1`)
		if err != nil && !Absent(err) {
			return err
		}
		digests := make([]audit.Hash, len(events))
		for i, e := range events {
			digests[i] = e.digest
		}
		next, links := seal(previous, digests)
		sealed = len(events)
		if err := setLinks(ctx, tx, events, links, next.First); err != nil {
			return err
		}
		if err := insertSeal(ctx, tx, next); err != nil {
			return err
		}
		return tx.Notify(ctx, "audit") // those who follow the chain
	})
	if err != nil {
		return 0, fmt.Errorf("seal audit events: %w", err)
	}
	return sealed, nil
}

func waitingEvents(ctx context.Context, tx Tx, limit int) ([]waitingEvent, error) {
	return All(ctx, tx, func(scan Scan) (waitingEvent, error) {
		var e waitingEvent
		err := scan(&e.id, scanHash(&e.digest))
		return e, err
	}, `SELECT id, digest FROM audit_events WHERE position IS NULL ORDER BY id LIMIT $1`, limit)
}

// linkBatch is how many events one statement links: a thousand statements would keep PostgreSQL
// waiting for as many round trips.
const linkBatch = 50

const (
	linkOne   = `UPDATE audit_events SET position = $2, link = $3 WHERE id = $1 AND position IS NULL`
	linkMany1 = `WITH sealed (id, position, link) AS (VALUES `
	linkMany2 = `) UPDATE audit_events SET position = sealed.position, link = sealed.link
		FROM sealed WHERE audit_events.id = sealed.id AND audit_events.position IS NULL`
)

// linkMany is linkOne for linkBatch events.
var linkMany = func() string {
	rows := make([]string, linkBatch)
	for i := range rows {
		rows[i] = fmt.Sprintf("(CAST($%d AS TEXT), CAST($%d AS BIGINT), CAST($%d AS TEXT))", 3*i+1, 3*i+2, 3*i+3)
	}
	return linkMany1 + strings.Join(rows, ", ") + linkMany2
}()

// setLinks gives events their places from position first on.
func setLinks(ctx context.Context, tx Tx, events []waitingEvent, links []audit.Hash, first int64) error {
	if len(links) != len(events) {
		return fmt.Errorf("%d links for %d events", len(links), len(events))
	}
	args := make([]any, 0, 3*len(events))
	for i, e := range events {
		args = append(args, e.id, first+int64(i), hexOf(links[i]))
	}
	for len(args) > 0 {
		statement, n := linkOne, 1
		if len(args) >= 3*linkBatch {
			statement, n = linkMany, linkBatch
		}
		changed, err := Exec(ctx, tx, statement, args[:3*n]...)
		if err != nil {
			return fmt.Errorf("link events: %w", err)
		}
		if changed != int64(n) {
			return fmt.Errorf("linked %d events of %d", changed, n)
		}
		args = args[3*n:]
	}
	return nil
}

const sealColumns = `number, first_position, last_position, link, previous, at, key_id, signature`

func scanSeal(scan Scan) (audit.Seal, error) {
	var s audit.Seal
	err := scan(&s.Number, &s.First, &s.Last, scanHash(&s.Link), scanHash(&s.Previous), ScanTime(&s.At), &s.KeyID, scanHex(&s.Signature))
	return s, err
}

func insertSeal(ctx context.Context, tx Tx, s audit.Seal) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit_seals (`+sealColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		s.Number, s.First, s.Last, hexOf(s.Link), hexOf(s.Previous), Micros(s.At), s.KeyID, hex.EncodeToString(s.Signature))
	return err
}

// Entries implements audit.Source. What was tampered with is returned as it lies there, for Verify to
// name: a digest that is no hex reads as zero.
func (s Audit) Entries(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	return readAll(ctx, s.DB, scanEntry, entriesBehind, after, limit)
}

const (
	entryColumns  = `position, id, body, digest, link`
	entriesBehind = `SELECT ` + entryColumns + ` FROM audit_events WHERE position > $1 ORDER BY position LIMIT $2`
)

func scanEntry(scan Scan) (audit.Entry, error) {
	var e audit.Entry
	err := scan(&e.Position, &e.ID, &e.Body, scanHash(&e.Digest), scanHash(&e.Link))
	return e, err
}

// EntriesConcerning implements webhook.Chain.
func (s Audit) EntriesConcerning(ctx context.Context, user string, after int64, limit int) ([]audit.Entry, error) {
	return readAll(ctx, s.DB, scanEntry, `SELECT `+entryColumns+` FROM audit_events WHERE concerns = $1 AND position > $2 ORDER BY position LIMIT $3`, user, after, limit)
}

// Head implements webhook.Chain.
func (s Audit) Head(ctx context.Context) (n int64, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		n, err = headOf(ctx, tx)
		return err
	})
	return n, err
}

// headOf is the position of the last entry of the chain, 0 before the first.
func headOf(ctx context.Context, tx Tx) (int64, error) {
	n, err := One(ctx, tx, Value[int64], `SELECT last_position FROM audit_seals ORDER BY number DESC LIMIT 1`)
	if Absent(err) {
		return 0, nil
	}
	return n, err
}

// Seals implements audit.Source.
func (s Audit) Seals(ctx context.Context, after int64, limit int) ([]audit.Seal, error) {
	return readAll(ctx, s.DB, scanSeal, `SELECT `+sealColumns+` FROM audit_seals WHERE number > $1 ORDER BY number LIMIT $2`, after, limit)
}

// Waiting implements audit.Source.
func (s Audit) Waiting(ctx context.Context) (n int64, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		n, err = One(ctx, tx, Value[int64], `SELECT COUNT(*) FROM audit_events WHERE position IS NULL`)
		return err
	})
	return n, err
}

const keyColumns = `id, public, sealed, created`

func scanSigningKey(scan Scan) (audit.SigningKey, error) {
	var k audit.SigningKey
	err := scan(&k.ID, (*[]byte)(&k.Public), &k.Sealed, ScanTime(&k.Created))
	return k, err
}

const currentKey = `SELECT ` + keyColumns + ` FROM signing_keys ORDER BY created DESC, id DESC LIMIT 1`

// errNoSigningKey says that the installation has no key yet.
var errNoSigningKey = fault.New(fault.NotFound, "signing key not found")

// CurrentKey implements audit.KeyStore.
func (s Audit) CurrentKey(ctx context.Context) (k audit.SigningKey, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		k, err = One(ctx, tx, scanSigningKey, currentKey)
		return err
	})
	if Absent(err) {
		return audit.SigningKey{}, errNoSigningKey
	}
	return k, err
}

// Keys implements audit.KeyStore.
func (s Audit) Keys(ctx context.Context) ([]audit.SigningKey, error) {
	return readAll(ctx, s.DB, scanSigningKey, `SELECT `+keyColumns+` FROM signing_keys ORDER BY created, id`)
}

// InsertFirstKey implements audit.KeyStore.
func (s Audit) InsertFirstKey(ctx context.Context, k audit.SigningKey, e audit.Event) (is audit.SigningKey, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.Lock(ctx, "signing-key"); err != nil {
			return err
		}
		if is, err = One(ctx, tx, scanSigningKey, currentKey); !Absent(err) {
			return err
		}
		is = k
		_, err = tx.ExecContext(ctx, `INSERT INTO signing_keys (`+keyColumns+`) VALUES ($1, $2, $3, $4)`,
			k.ID, []byte(k.Public), k.Sealed, Micros(k.Created))
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, err
}

// readAll is All in a Read of its own.
func readAll[T any](ctx context.Context, db *DB, read func(Scan) (T, error), query string, args ...any) (all []T, err error) {
	err = db.Read(ctx, func(ctx context.Context, tx Tx) error {
		all, err = All(ctx, tx, read, query, args...)
		return err
	})
	return all, err
}

func hexOf(h audit.Hash) string { return hex.EncodeToString(h[:]) }

// scanHash reads a column of hex into h. What is no hash reads as zero, so that a verification goes
// on and names the row.
func scanHash(h *audit.Hash) sql.Scanner { return hexScanner{func(b []byte) { *h = hashOf(b) }} }

// scanHex reads a column of hex into b; what is no hex reads as nothing.
func scanHex(b *[]byte) sql.Scanner { return hexScanner{func(raw []byte) { *b = raw }} }

func hashOf(b []byte) audit.Hash {
	if len(b) != len(audit.Hash{}) {
		return audit.Hash{}
	}
	return audit.Hash(b)
}

type hexScanner struct{ set func([]byte) }

// Scan implements sql.Scanner.
func (s hexScanner) Scan(src any) error {
	var text sql.NullString
	if err := text.Scan(src); err != nil {
		return err
	}
	raw, err := hex.DecodeString(text.String)
	if err != nil {
		raw = nil
	}
	s.set(raw)
	return nil
}
