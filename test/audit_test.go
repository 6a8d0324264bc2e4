package test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
	"github.com/gatehouse-project/gatehouse/test/gate"
)

// evidence is what an auditor keeps elsewhere: a head and the public key.
type evidence struct{ head, key string }

// export writes head and key of the gate's record to files.
func export(t *testing.T, g *gate.Gate) evidence {
	t.Helper()
	dir := t.TempDir()
	e := evidence{filepath.Join(dir, "head.json"), filepath.Join(dir, "key.pem")}
	g.Must(t, "audit", "head", "--out", e.head)
	if err := os.WriteFile(e.key, []byte(g.Must(t, "audit", "key")), 0o600); err != nil {
		t.Fatal(err)
	}
	return e
}

// copyOf copies a stopped gate's data and returns a gate on the copy, not started, and the copy's database.
func copyOf(t *testing.T, g *gate.Gate) (*gate.Gate, *sql.DB) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(g.Data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "master.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "gatehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return gate.Prepare(t, gate.Options{Data: dir}), db
}

// tamper changes the copy.
func tamper(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	r, err := db.ExecContext(t.Context(), statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s changed %d rows, %v", statement, n, err)
	}
}

// problems verifies a record against the evidence and returns what is wrong with it.
func problems(t *testing.T, g *gate.Gate, args ...string) []string {
	t.Helper()
	r := g.Command(t, "", append([]string{"audit", "verify", "--json"}, args...)...)
	var found struct {
		Whole    bool
		Problems []struct{ What string }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &found); err != nil {
		t.Fatalf("verify: %v\n%s%s", err, r.Stdout, r.Stderr)
	}
	if found.Whole != (r.Exit == 0) || found.Whole != (len(found.Problems) == 0) {
		t.Errorf("exit %d, whole %v, %d problems", r.Exit, found.Whole, len(found.Problems))
	}
	list := []string{}
	for _, p := range found.Problems {
		list = append(list, p.What)
	}
	return list
}

// rewrite seals the whole record of a copy anew, as somebody would who holds the master key: with the
// installation's own signing key, or with a fresh one where the old was removed.
func rewrite(t *testing.T, g *gate.Gate, batch int) {
	t.Helper()
	ctx := t.Context()
	engine, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(g.Data, "gatehouse.db"), BusyTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	db := &store.DB{Engine: engine}
	defer db.Close()
	master, err := secret.ReadMasterKeyFile(filepath.Join(g.Data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	keyset, err := store.Keysets{DB: db}.Current(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := secret.OpenKeyset(master, keyset.Wrapped)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.OpenSigner(ctx, store.Audit{DB: db}, sealer, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := audit.Service{Store: store.Audit{DB: db}, Signer: signer, Now: time.Now, SealBatch: batch, Folder: audit.NewFolder(time.Minute)}
	s.Finish(context.WithoutCancel(ctx))
	if n, err := s.Store.Waiting(ctx); n != 0 || err != nil {
		t.Fatalf("%d events wait, %v", n, err)
	}
}

// forge changes what an event says, with the digest that belongs to it.
func forge(t *testing.T, db *sql.DB, position int64) {
	t.Helper()
	var body string
	if err := db.QueryRowContext(t.Context(), `SELECT body FROM audit_events WHERE position = $1`, position).Scan(&body); err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(body, `"outcome":"done"`, `"outcome":"refused"`, 1)
	if forged == body {
		t.Fatalf("nothing to forge in %s", body)
	}
	digest := audit.DigestOf([]byte(forged))
	tamper(t, db, `UPDATE audit_events SET body = $1, digest = $2 WHERE position = $3`, forged, hex.EncodeToString(digest[:]), position)
}

// unseal takes every link and seal away.
func unseal(t *testing.T, db *sql.DB) {
	t.Helper()
	tamper(t, db, `UPDATE audit_events SET position = NULL, link = NULL`)
	tamper(t, db, `DELETE FROM audit_seals`)
}

// "Done when" of the house: whoever changes the record is found out by an exported head and a public key,
// each kind of change by its name.
func TestAudit_verify_names_what_was_done(t *testing.T) {
	t.Parallel()
	// One event a seal: who writes the chain anew can keep every number and every place.
	g := gate.Start(t, gate.Options{Settings: map[string]string{"audit.seal_batch": "1"}})
	key := gate.NewKeys(t, 1)[0]
	s := verifySession(t, g, nil, key)
	expect(t, connect(t, g, s, gate.With(key)...), 0, verifiedLine(key, 1))
	g.Stop(t)
	kept := export(t, g)
	against := []string{"--head", kept.head, "--key", kept.key}
	events := g.Count(t, `SELECT COUNT(*) FROM audit_events`)
	if seals := g.Count(t, `SELECT COUNT(*) FROM audit_seals`); seals != events || events < 5 {
		t.Fatalf("%d events under %d seals", events, seals)
	}
	g.Serve(t) // the record grows behind the exported head
	verifySession(t, g, nil, key)
	g.Stop(t)
	last := g.Count(t, `SELECT MAX(number) FROM audit_seals`)

	for _, c := range []struct {
		name string
		do   func(t *testing.T, copied *gate.Gate, db *sql.DB)
		want string // part of what is named; "" for nothing
	}{
		{"nothing", func(*testing.T, *gate.Gate, *sql.DB) {}, ""},
		{"a_changed_event", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			tamper(t, db, `UPDATE audit_events SET body = REPLACE(body, '"door":"sshverify"', '"door":"elsewhere"') WHERE body LIKE '%"keyproof.create"%' AND position <= $1`, events)
		}, "was changed after it was written"},
		{"a_changed_event_and_its_digest", func(t *testing.T, _ *gate.Gate, db *sql.DB) { forge(t, db, 3) }, "event 3 does not follow the event before it"},
		{"a_changed_event_and_all_links", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			forge(t, db, 3)
			relink(t, db)
		}, "the events up to position 3 are not those that seal 3 signed"},
		{"a_removed_event", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			tamper(t, db, `DELETE FROM audit_events WHERE position = 4`)
		}, "events 4 to 4 are missing"},
		{"events_of_the_end_removed", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			tamper(t, db, `DELETE FROM audit_events WHERE position >= $1`, events)
		}, "are missing"},
		{"seals_of_the_end_removed", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			tamper(t, db, `DELETE FROM audit_seals WHERE number >= $1`, events)
		}, "have no seal: seals were removed"},
		{"the_tail_cut_off", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			tamper(t, db, `DELETE FROM audit_events WHERE position >= $1`, events)
			tamper(t, db, `DELETE FROM audit_seals WHERE number >= $1`, events)
		}, "the tail was cut off"},
		{"everything_removed", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			tamper(t, db, `DELETE FROM audit_events`)
			tamper(t, db, `DELETE FROM audit_seals`)
		}, "the tail was cut off"},
		{"written_anew_by_the_same_key", func(t *testing.T, copied *gate.Gate, db *sql.DB) {
			forge(t, db, 3)
			unseal(t, db)
			rewrite(t, copied, 1)
		}, "differs from the exported head: the chain was written anew"},
		{"written_anew_by_the_same_key_under_one_seal", func(t *testing.T, copied *gate.Gate, db *sql.DB) {
			forge(t, db, 3)
			unseal(t, db)
			rewrite(t, copied, 1000)
		}, "differs from the exported head: the chain was written anew"},
		{"written_anew_without_an_event", func(t *testing.T, copied *gate.Gate, db *sql.DB) {
			tamper(t, db, `DELETE FROM audit_events WHERE position = 3`)
			unseal(t, db)
			rewrite(t, copied, 1)
		}, "differs from the exported head: the chain was written anew"},
		{"written_anew_by_a_fresh_key", func(t *testing.T, copied *gate.Gate, db *sql.DB) {
			forge(t, db, 3)
			unseal(t, db)
			tamper(t, db, `DELETE FROM signing_keys`)
			rewrite(t, copied, 1)
		}, "seal 1 is not signed by a trusted key"},
		{"signed_again_by_a_fresh_key", func(t *testing.T, _ *gate.Gate, db *sql.DB) {
			public, _, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			tamper(t, db, `UPDATE signing_keys SET public = $1`, []byte(public))
			tamper(t, db, `UPDATE audit_seals SET signature = $1 WHERE number = $2`, strings.Repeat("00", ed25519.SignatureSize), last)
		}, "is not signed by a trusted key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			copied, db := copyOf(t, g)
			c.do(t, copied, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			found := problems(t, copied, against...)
			if c.want == "" {
				if len(found) > 0 {
					t.Errorf("a whole record has problems: %q", found)
				}
				return
			}
			if !strings.Contains(strings.Join(found, "\n"), c.want) {
				t.Errorf("problems %q, want %q", found, c.want)
			}
		})
	}
}

// relink computes every link again, and leaves the seals as they are.
func relink(t *testing.T, db *sql.DB) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT position, digest FROM audit_events ORDER BY position`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	links := map[int64]string{}
	var link audit.Hash
	for rows.Next() {
		var position int64
		var digest string
		if err := rows.Scan(&position, &digest); err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(digest)
		if err != nil {
			t.Fatal(err)
		}
		link = audit.LinkOf(link, audit.Hash(raw))
		links[position] = hex.EncodeToString(link[:])
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for position, link := range links {
		tamper(t, db, `UPDATE audit_events SET link = $1 WHERE position = $2`, link, position)
	}
}
