package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-project/gatehouse/bench/proc"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
	postgresql "github.com/gatehouse-project/gatehouse/internal/store/postgres"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

// writes orders sessions to be written straight into a store, with or without the audit log.
type writes struct {
	Path    string        `json:"path"` // of a SQLite file, or
	URL     string        `json:"url"`  // of a PostgreSQL database
	Nodes   int           `json:"nodes"`
	Audited bool          `json:"audited"`
	Whole   bool          `json:"whole"` // the whole life of a session, not its creation alone
	Lasting time.Duration `json:"lasting"`
}

type written struct {
	Sessions int64         `json:"sessions"`
	Sealed   int64         `json:"sealed"`
	Took     time.Duration `json:"took"`
	CPU      proc.CPU      `json:"cpu"` // of this process
}

// perNode is how many writers each node has.
const perNode = 16

// writeSessions runs writes; the nodes are handles of one process. Each seals, as every node does.
func writeSessions(o writes) (written, error) {
	ctx := context.Background()
	var nodes []*store.DB
	for range o.Nodes {
		engine, err := o.open(ctx)
		if err != nil {
			return written{}, err
		}
		defer engine.Close()
		if len(nodes) == 0 {
			if err := errors.Join(engine.Migrate(ctx), addProject(ctx, engine)); err != nil {
				return written{}, err
			}
		}
		if !o.Audited {
			engine = silent{engine}
		}
		nodes = append(nodes, &store.DB{Engine: engine})
	}
	sealing, stop := context.WithCancel(ctx)
	var sealers, writers sync.WaitGroup
	var sealed, sessions atomic.Int64
	if o.Audited {
		if err := startSealers(sealing, nodes, &sealers, &sealed); err != nil {
			stop()
			return written{}, err
		}
	}
	var first atomic.Value
	began := time.Now()
	for _, db := range nodes {
		for range perNode {
			writers.Go(func() {
				for time.Since(began) < o.Lasting {
					if err := writeOne(ctx, store.Keyproofs{DB: db}, o.Whole); err != nil {
						first.CompareAndSwap(nil, err)
						return
					}
					sessions.Add(1)
				}
			})
		}
	}
	writers.Wait()
	took := time.Since(began)
	stop() // what waits is sealed before it returns, and its CPU time counts
	sealers.Wait()
	if err, failed := first.Load().(error); failed {
		return written{}, err
	}
	cpu, err := proc.Of(os.Getpid())
	return written{sessions.Load(), sealed.Load(), took, cpu}, err
}

func (o writes) open(ctx context.Context) (store.Engine, error) {
	if o.URL == "" {
		return sqlite.Open(ctx, sqlite.Options{Path: o.Path})
	}
	return postgresql.Open(ctx, postgresql.Options{URL: o.URL})
}

const projectID = "019a4b10-0000-7a00-8a00-5f3c2b1a0d09"

func addProject(ctx context.Context, engine store.Engine) error {
	return engine.Write(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO projects (id, key, name, strict_status, created, updated) VALUES ($1, 'BENCH', 'bench', FALSE, 0, 0)`, projectID)
		return err
	})
}

func startSealers(ctx context.Context, nodes []*store.DB, sealers *sync.WaitGroup, sealed *atomic.Int64) error {
	master := secret.NewMasterKey()
	keyset, err := secret.NewKeyset(master)
	if err != nil {
		return err
	}
	sealer, err := secret.OpenKeyset(master, keyset)
	if err != nil {
		return err
	}
	for _, db := range nodes {
		signer, err := audit.OpenSigner(ctx, store.Audit{DB: db}, sealer, time.Now())
		if err != nil {
			return err
		}
		s := &audit.Service{
			Store: store.Audit{DB: db}, Signer: signer, Now: time.Now, SealEvery: 250 * time.Millisecond, SealBatch: 1000,
			Folder: audit.NewFolder(time.Minute), OnSeal: func(n int, _ time.Duration, _ error) { sealed.Add(int64(n)) },
		}
		sealers.Go(func() { s.Run(ctx) })
	}
	return nil
}

var listed = sync.OnceValues(func() (sshkey.Key, error) { return sshkey.Parse(publicKey()) })

var eventActor = audit.Actor{Kind: "api_key", ID: projectID, Name: "bench", Method: "api_key"}

// writeOne makes a session, and for its whole life the connection that proves it and the proof.
func writeOne(ctx context.Context, proofs store.Keyproofs, whole bool) error {
	key, err := listed()
	if err != nil {
		return err
	}
	now := time.Now()
	s := keyproof.Session{
		ID: newID(), Project: projectID, Kind: keyproof.Verify, Identifier: keyproof.NewIdentifier(), Status: keyproof.Pending,
		Options: keyproof.Options{MaxAttempts: 1}, Created: now, Updated: now, Keys: []keyproof.Key{{ID: newID(), Public: key}},
	}
	if err := proofs.Insert(ctx, s, nil, eventOf(s, "keyproof.create", eventActor)); err != nil {
		return err
	}
	if !whole {
		return nil
	}
	c := keyproof.Connection{ID: newID(), Session: s.ID, Address: "203.0.113.7", ClientVersion: "SSH-2.0-OpenSSH_9.6", Created: now}
	if err := proofs.Connect(ctx, c, nil); err != nil {
		return err
	}
	_, err = proofs.Change(ctx, s.ID, func(was keyproof.State) (keyproof.Change, error) {
		is := was.Session
		is.Status, is.Updated = keyproof.Verified, time.Now()
		is.Keys[0].Verified = is.Updated
		c.Keys = []keyproof.ConnectionKey{{ID: newID(), Key: is.Keys[0].ID, Public: key, At: is.Updated}}
		return keyproof.Change{Session: &is, Connection: &c, Events: []audit.Event{eventOf(is, "keyproof.attempt", audit.Actor{Kind: "nobody"})}}, nil
	})
	return err
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// eventOf is about as large as the product's own.
func eventOf(s keyproof.Session, action string, by audit.Actor) audit.Event {
	e := audit.NewEvent(s.Updated, action, audit.Done)
	e.Actor, e.Object, e.Project = by, audit.Object{Kind: "verify_session", ID: s.ID}, s.Project
	e.Address, e.Door = "203.0.113.7", "sshverify"
	e.Detail = map[string]string{"identifier_prefix": s.Identifier[:4], "key_00": s.Keys[0].Public.SHA256()}
	return e
}

// silent is an engine on which nothing is recorded: the product has no such switch, and should not.
type silent struct{ store.Engine }

func (s silent) Write(ctx context.Context, fn store.Func) error {
	return s.Engine.Write(ctx, func(ctx context.Context, tx store.Tx) error { return fn(ctx, silentTx{tx}) })
}

type silentTx struct{ store.Tx }

func (t silentTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if strings.HasPrefix(query, "INSERT INTO audit_events") {
		return nothing{}, nil
	}
	return t.Tx.ExecContext(ctx, query, args...)
}

// nothing is the result of a statement that was not run.
type nothing struct{}

func (nothing) LastInsertId() (int64, error) { return 0, nil }
func (nothing) RowsAffected() (int64, error) { return 1, nil }

// auditCase is one comparison, with the audit log and without.
type auditCase struct {
	name     string
	nodes    int
	postgres bool
	whole    bool
	rate     map[bool]*series
	cpu      map[bool]*series
}

func measureAudit(r *run) section {
	var all []*auditCase
	for _, whole := range []bool{true, false} {
		for _, c := range []*auditCase{{name: "SQLite, 1 node", nodes: 1}, {name: "PostgreSQL, 1 node", nodes: 1, postgres: true}, {name: "PostgreSQL, 4 nodes", nodes: 4, postgres: true}} {
			c.whole, c.rate, c.cpu = whole, map[bool]*series{true: {}, false: {}}, map[bool]*series{true: {}, false: {}}
			all = append(all, c)
		}
	}
	database := r.postgres()
	for round := range r.rounds {
		for _, c := range all {
			for _, audited := range []bool{round%2 == 0, round%2 != 0} { // who begins changes, too
				c.write(r, database, audited)
			}
			r.say("  round %d: %-20s %-16s %6.0f/s without, %6.0f/s with the audit log", round+1, c.name, c.what(), c.rate[false].last(), c.rate[true].last())
		}
	}
	return auditSection(all)
}

func (c *auditCase) what() string {
	if c.whole {
		return "whole life"
	}
	return "creation alone"
}

// write is one half of a round, on a database of its own.
func (c *auditCase) write(r *run, database postgres, audited bool) {
	o := writes{Nodes: c.nodes, Audited: audited, Whole: c.whole, Lasting: r.lasting / 2}
	var before proc.CPU
	if c.postgres {
		o.URL = database.another(r)
		before = database.spent(r)
	} else {
		o.Path = filepath.Join(r.TempDir(), "audit.db")
	}
	done := order[written](r, "audit-writes", o)
	spent := done.CPU.Sum()
	if c.postgres {
		spent += database.spent(r).Since(before).Sum()
	}
	c.rate[audited].add(float64(done.Sessions) / done.Took.Seconds())
	c.cpu[audited].add(float64(spent) / float64(done.Sessions) / 1e3)
}

// another makes one more database on the server and returns its URL.
func (p postgres) another(r *run) string {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, p.url)
	r.must(err, "connect to PostgreSQL")
	defer conn.Close(ctx)
	name := "audit_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	r.must(err, "create database")
	_, err = conn.Exec(ctx, "CHECKPOINT")
	r.must(err, "checkpoint")
	at := strings.LastIndex(p.url, "/")
	return p.url[:at+1] + name + p.url[strings.Index(p.url, "?"):]
}

func auditSection(all []*auditCase) section {
	s := section{Note: fmt.Sprintf("Sessions written straight into the store, %d writers a node, nodes as handles of one process, fsync on. A whole life is three transactions "+
		"(create, connect, prove) with two audit events; sealing runs beside it on every node. Without: the same, but the inserts of audit events are dropped and nothing is sealed. "+
		"CPU is of the writing process and the database together.", perNode)}
	t := table{Head: []string{"store", "of a session", "sessions/s without", "with", "rate lost, %", "CPU us without", "with", "CPU added, %"}}
	for _, c := range all {
		lost, added := percents(ratio(*c.rate[true], *c.rate[false]), -1), percents(ratio(*c.cpu[true], *c.cpu[false]), 1)
		t.add(c.name, c.what(), c.rate[false].text("%.0f"), c.rate[true].text("%.0f"), lost.text("%.0f"), c.cpu[false].text("%.0f"), c.cpu[true].text("%.0f"), added.text("%.0f"))
		s.figure("audit, "+c.name+", "+c.what()+": write rate lost", lost.text("%.0f")+" %", "<= 10 %", lost.median() <= 10)
	}
	s.Tables = append(s.Tables, t)
	return s
}

// percents turns ratios into how much more (sign 1) or less (sign -1) they are than one.
func percents(of series, sign float64) series {
	var out series
	for _, v := range of {
		out = append(out, sign*(v-1)*100)
	}
	return out
}
