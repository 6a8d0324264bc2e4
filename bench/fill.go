package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-project/gatehouse/internal/store"
	postgresql "github.com/gatehouse-project/gatehouse/internal/store/postgres"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// A benchmark that needs a million rows copies one that the product made, straight in the database and
// while no server runs: through the API it would take an hour.
const (
	fillBatch = 200   // rows of one statement
	fillWrite = 20000 // rows of one transaction
)

const copySession = `INSERT INTO proof_sessions (id, project, kind, identifier, status, external_id, match_all_keys,
	multi_key, multi_connection, must_confirm, max_attempts, banner, message, attempts, created, updated, expires, hooks, keys)
	SELECT v.id, p.id, m.kind, v.identifier, v.status, v.external_id, m.match_all_keys, m.multi_key, m.multi_connection, m.must_confirm,
	m.max_attempts, m.banner, m.message, m.attempts, v.created, v.created, NULL, m.hooks, m.keys
	FROM v, proof_sessions m, projects p WHERE m.id = $1 AND p.key = $2`

const countSessions = `INSERT INTO proof_counts (project, kind, shard, pending, verified, failed, completed, expired)
	SELECT p.id, 'verify', 0, $2, $3, $4, 0, $5 FROM projects p WHERE p.key = $1
	ON CONFLICT (project, kind, shard) DO UPDATE SET pending = proof_counts.pending + excluded.pending,
	verified = proof_counts.verified + excluded.verified, failed = proof_counts.failed + excluded.failed,
	expired = proof_counts.expired + excluded.expired`

// copied is how the statuses of copied sessions are spread: by the number of a session modulo ten.
var copied = [10]string{"pending", "verified", "verified", "failed", "verified", "verified", "expired", "verified", "verified", "failed"}

// fillSessions copies a session size times into a project, a session a second up to now.
func fillSessions(db *store.DB, project, model string, size int) error {
	begin := time.Now().Add(-time.Duration(size+1) * time.Second)
	err := fill(db, size, []string{"id TEXT", "identifier TEXT", "status TEXT", "external_id TEXT", "created BIGINT"}, copySession, []any{model, project},
		func(i int) []any {
			at := begin.Add(time.Duration(i) * time.Second)
			id := idAt(at, i)
			return []any{id, "s" + strings.ReplaceAll(id, "-", "")[17:], copied[i%10], fmt.Sprintf("order-%d", i/3), store.Micros(at)}
		})
	if err != nil {
		return err
	}
	n := make(map[string]int)
	for i := range size {
		n[copied[i%10]]++
	}
	return db.Write(context.Background(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, countSessions, project, n["pending"], n["verified"], n["failed"], n["expired"])
		return err
	})
}

// idAt is a UUIDv7 of a moment. Within one second the number keeps the order.
func idAt(at time.Time, n int) string {
	id := uuid.New() // random
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6], id[7] = 0x70|byte(n>>8)&0x0f, byte(n)
	return id.String()
}

const copyUser = `INSERT INTO users (id, number, account, name, name_folded, email, email_folded, password_hash, disabled, created, updated)
	SELECT v.id, v.number, m.account, v.name, v.name, v.email, v.email, m.password_hash, m.disabled, m.created, m.updated FROM v, users m WHERE m.id = $1`

const copyMembership = `INSERT INTO role_bindings (id, subject_kind, subject_id, role, resource_kind, resource_id, created)
	SELECT v.id, m.subject_kind, v.id, m.role, m.resource_kind, m.resource_id, m.created FROM v, role_bindings m WHERE m.id = $1`

// filledNumbers begins the numbers of users that are filled in, far from those that the store gives.
const filledNumbers = 1 << 30

// fillUsers copies a user n times, with the password and the membership of the home account.
func fillUsers(db *store.DB, model string, n int) ([]person, error) {
	all := make([]person, n)
	for i := range all {
		name := fmt.Sprintf("user-%d", i)
		all[i] = person{idAt(time.Now(), i), name, name + "@bench.test"}
	}
	columns := []string{"id TEXT", "name TEXT", "email TEXT", "number BIGINT"}
	row := func(i int) []any { return []any{all[i].id, all[i].name, all[i].email, filledNumbers + i} }
	if err := fill(db, n, columns, copyUser, []any{model}, row); err != nil {
		return nil, err
	}
	return all, fill(db, n, columns, copyMembership, []any{model}, row)
}

const copyKey = `INSERT INTO ssh_keys (id, number, digest, blob, role, user_id, label, label_folded, state, unsafe, expiry_days, created, expires, proven, last_used, last_address)
	SELECT v.id, v.number, v.digest, v.blob, m.role, v.holder, m.label, m.label_folded, m.state, m.unsafe, m.expiry_days, m.created, m.expires, m.proven, m.last_used, m.last_address
	FROM v, ssh_keys m WHERE m.id = $1`

// fillKeys copies a key on file n times, as other keys that belong to people in turns.
func fillKeys(db *store.DB, model string, people []person, n int) error {
	bytes := "BYTEA"
	if _, lite := db.Engine.(*sqlite.Engine); lite {
		bytes = "BLOB"
	}
	now := time.Now()
	return fill(db, n, []string{"id TEXT", "number BIGINT", "digest " + bytes, "blob " + bytes, "holder TEXT"}, copyKey, []any{model}, func(i int) []any {
		blob := blobOf(i)
		digest := sha256.Sum256(blob)
		return []any{idAt(now, i), filledNumbers + i, digest[:], blob, people[i%len(people)].id}
	})
}

const copyDelivery = `INSERT INTO webhook_deliveries (id, webhook, owner, project, entity, event, payload, triggered, state, attempts, due, status, reason)
	SELECT v.id, w.id, w.owner, w.project, 'verify_session', 'verified', $1, v.due, 'pending', 0, v.due, 0, ''
	FROM v JOIN webhooks w ON w.owner = v.owner`

// fillDeliveries queues n deliveries, in turns for the webhooks of the given sessions.
func fillDeliveries(db *store.DB, owners []session, payload string, n int) error {
	now := time.Now().Add(-time.Minute)
	return fill(db, n, []string{"id TEXT", "owner TEXT", "due BIGINT"}, copyDelivery, []any{payload},
		func(i int) []any {
			at := now.Add(time.Duration(i) * time.Millisecond)
			return []any{idAt(at, i), owners[i%len(owners)].ID, store.Micros(at)}
		})
}

// fill runs a statement over n rows, which it finds as the table v.
func fill(db *store.DB, n int, columns []string, statement string, fixed []any, row func(i int) []any) error {
	for from := 0; from < n; from += fillWrite {
		err := db.Write(context.Background(), func(ctx context.Context, tx store.Tx) error {
			to := min(from+fillWrite, n)
			for i := from; i < to; i += fillBatch {
				rows := min(fillBatch, to-i)
				args := append([]any(nil), fixed...)
				for k := range rows {
					args = append(args, row(i+k)...)
				}
				if _, err := tx.ExecContext(ctx, withRows(columns, rows, len(fixed))+statement, args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withRows is the head of a statement that reads parameters as the table v.
func withRows(columns []string, rows, before int) string {
	var names []string
	var b strings.Builder
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		for k, column := range columns {
			name, kind, _ := strings.Cut(column, " ")
			if i == 0 {
				names = append(names, name)
			}
			before++
			fmt.Fprintf(&b, "%sCAST($%d AS %s)", map[bool]string{true: "(", false: ", "}[k == 0], before, kind)
		}
		b.WriteString(")")
	}
	return "WITH v (" + strings.Join(names, ", ") + ") AS (VALUES " + b.String() + ") "
}

// store opens the house's database beside the server.
func (h *house) store() *store.DB {
	var engine store.Engine
	var err error
	if h.database == nil {
		engine, err = sqlite.Open(context.Background(), sqlite.Options{Path: h.file()})
	} else {
		engine, err = postgresql.Open(context.Background(), postgresql.Options{URL: h.database.url})
	}
	h.r.must(err, "open database")
	return &store.DB{Engine: engine}
}

// file is that of the SQLite database.
func (h *house) file() string { return filepath.Join(h.data, "gatehouse.db") }

// settle does to PostgreSQL what its autovacuum does within minutes. SQLite has nothing of the kind.
func (h *house) settle() {
	if h.database == nil {
		return
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, h.database.url)
	h.r.must(err, "connect to PostgreSQL")
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "VACUUM ANALYZE")
	h.r.must(err, "vacuum")
	_, err = conn.Exec(ctx, "CHECKPOINT")
	h.r.must(err, "checkpoint")
}
