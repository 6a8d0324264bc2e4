package main

import (
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/bench/proc"
)

// concurrency is how many clients log in at a time.
const concurrency = 16

// contender is a server and how its logins are made.
type contender struct {
	label    string
	server   server
	kex      string
	house    *house    // nil: not gatehouse
	database *postgres // nil: none, or SQLite
	hot      bool      // all connections to one session

	rate, user, system, cpu, database1 series
	perSecCreated                      series
}

func measureVerify(r *run) section {
	one, two := r.postgres(), r.open(nil, nil)
	onPostgres := r.open(&one, nil)
	plain, daemon := r.bareSSH(), r.sshd()
	const curve, mlkem = ssh.KeyExchangeCurve25519, ssh.KeyExchangeMLKEM768X25519
	all := []*contender{
		{label: "OpenSSH sshd", server: daemon, kex: curve},
		{label: "bare x/crypto", server: plain, kex: curve},
		{label: "gatehouse, SQLite", server: two.server, kex: curve, house: two},
		{label: "gatehouse, PostgreSQL", server: onPostgres.server, kex: curve, house: onPostgres, database: &one},
		{label: "gatehouse, SQLite, one session for all", server: two.server, kex: curve, house: two, hot: true},
		{label: "gatehouse, PostgreSQL, one session for all", server: onPostgres.server, kex: curve, house: onPostgres, database: &one, hot: true},
		{label: "bare x/crypto, mlkem768x25519", server: plain, kex: mlkem},
		{label: "gatehouse, SQLite, mlkem768x25519", server: two.server, kex: mlkem, house: two},
	}
	for round := range r.rounds {
		for _, c := range all {
			c.logIn(r)
			r.say("  round %d: %-45s %7.0f/s  %s CPU each", round+1, c.label, c.rate.last(), micros(c.cpu.last()))
		}
	}
	return verifySection(all)
}

// logIn is one round. A login of gatehouse counts when it is stored, which is after the client has gone.
func (c *contender) logIn(r *run) {
	users := []string{me(r)}
	before := 0.0
	if c.house != nil {
		users = c.identifiers(r)
		before = c.house.metric("gatehouse_keyproof_attempts_total")
	}
	var databaseBefore proc.CPU
	if c.database != nil {
		databaseBefore = c.database.spent(r)
	}
	stopProfile := r.profileOf(c.server, c.label)
	spent := r.spent(c.server)
	done := order[load.LoginsDone](r, "load-login", load.Logins{
		Address: c.server.ssh, KeyExchange: c.kex, Seed: seed, Users: users, Parallel: concurrency, Lasting: r.lasting,
	})
	if done.Failed > 0 || done.Done == 0 {
		r.Fatalf("%s: %d logins failed: %s", c.label, done.Failed, done.FirstFail)
	}
	took := done.Took
	if c.house != nil {
		r.await(c.label+": stored", 30*time.Second, func() error {
			if n := int64(c.house.metric("gatehouse_keyproof_attempts_total") - before); n < done.Done {
				return fmt.Errorf("%d of %d", n, done.Done)
			}
			return nil
		})
		took = max(took, time.Since(done.Began))
	} else {
		time.Sleep(200 * time.Millisecond) // sshd waits for its children
	}
	each := r.spent(c.server).Since(spent).Per(done.Done)
	stopProfile()
	c.rate.add(float64(done.Done) / took.Seconds())
	c.user.add(float64(each.User.Microseconds()))
	c.system.add(float64(each.System.Microseconds()))
	c.cpu.add(float64(each.Sum().Microseconds()))
	if c.database != nil {
		c.database1.add(float64(c.database.spent(r).Since(databaseBefore).Per(done.Done).Sum().Microseconds()))
	}
}

// identifiers makes the sessions of a round: one for each login, or one for all.
func (c *contender) identifiers(r *run) []string {
	n, options := int(1400*r.lasting.Seconds()), `,"max_attempts":1`
	if c.hot {
		n, options = 1, `,"max_attempts":1000,"multi_connection":true`
	}
	made, done := c.house.sessions(n, options)
	if !c.hot {
		c.perSecCreated.add(float64(done.Done) / done.Took.Seconds())
	}
	var users []string
	for _, s := range made {
		users = append(users, s.Identifier)
	}
	return users
}

func verifySection(all []*contender) section {
	sshd, bare, bareMLKEM := all[0], all[1], all[6]
	s := section{Note: fmt.Sprintf(
		"Connect, exchange keys, prove an ed25519 key, close; %d at a time. All use curve25519-sha256, which sshd 9.2 knows, but for the last two. "+
			"A login of gatehouse is a session of its own, made through the API before, and counts when connection, proof, status and audit event are durable "+
			"(fsync on). CPU is of the server's process, for sshd with its children; the database's is apart.", concurrency)}
	t := table{Head: []string{"server", "logins/s", "CPU each, us", "user", "system", "PostgreSQL, us", "x sshd's rate", "x bare's CPU"}}
	for _, c := range all {
		of := bare
		if c.kex == bareMLKEM.kex {
			of = bareMLKEM
		}
		database := ""
		if c.database != nil {
			database = c.database1.text("%.0f")
		}
		t.add(c.label, c.rate.text("%.0f"), c.cpu.text("%.0f"), c.user.text("%.0f"), c.system.text("%.0f"), database,
			ratio(c.rate, sshd.rate).text("%.1f"), ratio(c.cpu, of.cpu).text("%.2f"))
	}
	s.Tables = append(s.Tables, t)
	for _, c := range all[2:4] {
		rate, cpu := ratio(c.rate, sshd.rate), ratio(c.cpu, bare.cpu)
		s.figure(c.label+": logins/s against sshd", rate.text("%.1f")+" x", ">= 10 x", rate.median() >= 10)
		s.figure(c.label+": server CPU against bare x/crypto", cpu.text("%.2f")+" x", "<= 1.5 x, better 1.25 x", cpu.median() <= 1.5)
		s.figure(c.label+": sessions made through the API", c.perSecCreated.text("%.0f")+"/s", "", true)
	}
	return s
}
