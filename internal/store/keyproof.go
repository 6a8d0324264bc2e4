package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Keyproofs keeps sessions, the connections that came to them, and how many there are.
//
// The row of a session is the lock of all that belongs to it. Counts come last in a transaction: their
// rows are shared, and who holds one waits for nobody.
type Keyproofs struct {
	DB       *DB
	Webhooks Webhooks
}

var _ keyproof.Store = Keyproofs{}

var (
	errNoSession = fault.New(fault.NotFound, "session not found")
	errNoProject = fault.New(fault.NotFound, "project not found")
)

// sessionColumns takes strict from the project by a subquery: FOR UPDATE would lock a joined row too.
const sessionColumns = `s.id, s.project, s.kind, s.identifier, s.status, s.external_id, s.match_all_keys, s.multi_key, s.multi_connection,
	s.must_confirm, s.max_attempts, s.banner, s.message, s.attempts, s.created, s.updated, s.expires, s.keys, s.hooks,
	(SELECT p.strict_status FROM projects p WHERE p.id = s.project)`

// sessionRow is a session and how many webhooks it has.
type sessionRow struct {
	keyproof.Session
	hooks int
}

func scanSession(scan Scan) (sessionRow, error) {
	var s sessionRow
	err := scan(&s.ID, &s.Project, (*string)(&s.Kind), &s.Identifier, (*string)(&s.Status), &s.ExternalID, &s.MatchAllKeys, &s.MultiKey,
		&s.MultiConnection, &s.MustConfirm, &s.MaxAttempts, &s.Banner, &s.Message, &s.Attempts, ScanTime(&s.Created), ScanTime(&s.Updated),
		ScanTime(&s.Expires), ScanJSON(&s.Keys), &s.hooks, &s.Strict)
	return s, err
}

// keysOf is how a session's keys are stored.
func keysOf(s keyproof.Session) string {
	if len(s.Keys) == 0 {
		return "[]"
	}
	return JSON(s.Keys)
}

// Insert implements keyproof.Store. It reports fault.NotFound when the project is gone.
func (s Keyproofs) Insert(ctx context.Context, session keyproof.Session, hooks []webhook.Webhook, e audit.Event) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := insertSession(ctx, tx, session, len(hooks)); err != nil {
			return err
		}
		for _, w := range hooks {
			if err := s.Webhooks.insertWebhook(ctx, tx, w); err != nil {
				return err
			}
		}
		if err := insertEvents(ctx, tx, e); err != nil {
			return err
		}
		return addCount(ctx, tx, countOf(session, 1))
	})
	if ViolatesKind(err, ForeignKey) {
		return errNoProject
	}
	return err
}

func insertSession(ctx context.Context, tx Tx, s keyproof.Session, hooks int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO proof_sessions (id, project, kind, identifier, status, external_id, match_all_keys,
		multi_key, multi_connection, must_confirm, max_attempts, banner, message, attempts, created, updated, expires, hooks, keys)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		s.ID, s.Project, string(s.Kind), s.Identifier, string(s.Status), s.ExternalID, s.MatchAllKeys,
		s.MultiKey, s.MultiConnection, s.MustConfirm, s.MaxAttempts, s.Banner, s.Message, s.Attempts, Micros(s.Created), Micros(s.Updated),
		NullMicros(s.Expires), hooks, keysOf(s))
	if err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	return nil
}

// ByIdentifier implements keyproof.Store.
func (s Keyproofs) ByIdentifier(ctx context.Context, identifier string) (state keyproof.State, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) error {
		row, err := One(ctx, tx, scanSession, `SELECT `+sessionColumns+` FROM proof_sessions s WHERE s.identifier = $1`, identifier)
		if err != nil {
			return err
		}
		state, err = s.state(ctx, tx, row)
		return err
	})
	if Absent(err) {
		return keyproof.State{}, errNoSession
	}
	return state, err
}

// state adds the webhooks of a session.
func (s Keyproofs) state(ctx context.Context, tx Tx, row sessionRow) (state keyproof.State, err error) {
	state.Session = row.Session
	if row.hooks > 0 {
		state.Webhooks, err = All(ctx, tx, s.Webhooks.scan, webhooksOfOwner, row.ID)
	}
	return state, err
}

const sessionByID = `SELECT ` + sessionColumns + ` FROM proof_sessions s WHERE s.id = $1 AND s.project = $2 AND s.kind = $3`

// ByID implements keyproof.Store.
func (s Keyproofs) ByID(ctx context.Context, project string, kind keyproof.Kind, id string) (keyproof.Session, error) {
	var row sessionRow
	err := s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		row, err = One(ctx, tx, scanSession, sessionByID, id, project, string(kind))
		return err
	})
	if Absent(err) {
		return keyproof.Session{}, errNoSession
	}
	return row.Session, err
}

// DetailByID implements keyproof.Store.
func (s Keyproofs) DetailByID(ctx context.Context, project string, kind keyproof.Kind, id string) (d keyproof.Detail, err error) {
	err = s.DB.ReadSnapshot(ctx, func(ctx context.Context, tx Tx) error {
		row, err := One(ctx, tx, scanSession, sessionByID, id, project, string(kind))
		if err != nil {
			return err
		}
		state, err := s.state(ctx, tx, row)
		if err != nil {
			return err
		}
		connections, err := All(ctx, tx, scanConnection, `SELECT id, session, address, client_version, created, keys
			FROM proof_connections WHERE session = $1 ORDER BY created, id`, id)
		d = keyproof.Detail{Session: state.Session, Connections: connections, Webhooks: state.Webhooks}
		return err
	})
	if Absent(err) {
		return keyproof.Detail{}, errNoSession
	}
	return d, err
}

func scanConnection(scan Scan) (keyproof.Connection, error) {
	var c keyproof.Connection
	err := scan(&c.ID, &c.Session, &c.Address, &c.ClientVersion, ScanTime(&c.Created), ScanJSON(&c.Keys))
	return c, err
}

// Connect implements keyproof.Store. The row's foreign key holds the session until the deliveries are in.
func (s Keyproofs) Connect(ctx context.Context, c keyproof.Connection, deliveries []webhook.Delivery) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		if err := insertConnection(ctx, tx, c); err != nil {
			return err
		}
		return insertDeliveries(ctx, tx, deliveries...)
	})
	if ViolatesKind(err, ForeignKey) {
		return errNoSession
	}
	return err
}

func insertConnection(ctx context.Context, tx Tx, c keyproof.Connection) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO proof_connections (id, session, address, client_version, created, keys)
		VALUES ($1, $2, $3, $4, $5, $6)`, c.ID, c.Session, c.Address, c.ClientVersion, Micros(c.Created), connectionKeys(c))
	if err != nil {
		return fmt.Errorf("insert connection: %w", err)
	}
	return nil
}

func connectionKeys(c keyproof.Connection) string {
	if len(c.Keys) == 0 {
		return "[]"
	}
	return JSON(c.Keys)
}

// Delete implements keyproof.Store. Connections and webhooks go with the row; a delivery under way
// stays and is recorded.
func (s Keyproofs) Delete(ctx context.Context, project string, kind keyproof.Kind, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		status, err := One(ctx, tx, Value[string], `DELETE FROM proof_sessions WHERE id = $1 AND project = $2 AND kind = $3 RETURNING status`,
			id, project, string(kind))
		if Absent(err) {
			return errNoSession
		}
		if err != nil {
			return err
		}
		if err := dropUnsent(ctx, tx, id, e.At); err != nil {
			return err
		}
		if err := insertEvents(ctx, tx, e); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "keyproof.gone "+id); err != nil {
			return err
		}
		gone := keyproof.Session{ID: id, Project: project, Kind: kind, Status: keyproof.Status(status)}
		return addCount(ctx, tx, countOf(gone, -1))
	})
}

// dropUnsent removes the deliveries of a session that have not started.
func dropUnsent(ctx context.Context, tx Tx, session string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM webhook_deliveries
		WHERE owner = $1 AND state = 'pending' AND attempts = 0 AND (leased IS NULL OR leased <= $2)`, session, Micros(now))
	return err
}

// Due implements keyproof.Store.
func (s Keyproofs) Due(ctx context.Context, now time.Time, limit int) ([]string, error) {
	return readAll(ctx, s.DB, Value[string], `SELECT id FROM proof_sessions
		WHERE status = 'pending' AND expires IS NOT NULL AND expires <= $1 ORDER BY expires LIMIT $2`,
		Micros(now), limit)
}
