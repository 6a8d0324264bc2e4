package main

import (
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/bare"
	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/bench/proc"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

const signInPath = "/sys/v1/session/auth"

// What sign-ins are measured with.
const (
	crowd    = 1000 // passwords presented at the same moment
	hashWait = 3 * time.Second
	hashSize = 19 << 20 // bytes that one password hash takes
	programs = 32
)

// gate is one database's side of signing in.
type gate struct {
	house    *house
	people   []person
	programs []string

	bareRate, bareCPU      series // just before each round
	rate, cpu, tail        series
	appRate, appCPU        series
	hotRate, hotCPU        series
	factorRate, factorCPU  series
	idle, peak, crowdPeak  int64
	crowdIn, crowdBusy     int64
	crowdTook, crowdLatest time.Duration
}

func measureSignIn(r *run) section {
	database := r.postgres()
	all := []*gate{r.gate(nil), r.gate(&database)}
	for round := range r.rounds {
		for _, g := range all {
			g.passwords(r)
			r.say("  round %d: %-22s %5.1f passwords/s (bare %.1f), %s CPU each (bare %s)", round+1, g.house.name, g.rate.last(), g.bareRate.last(), micros(g.cpu.last()), micros(g.bareCPU.last()))
		}
	}
	for _, g := range all {
		g.flood(r)
		r.say("  %s: %d at once: %d let in, %d busy, %.1f MiB at most (%.1f before, %.1f with %d)", g.house.name, crowd, g.crowdIn, g.crowdBusy, mebi(g.crowdPeak), mebi(g.idle), mebi(g.peak), concurrency)
	}
	for round := range r.rounds {
		for _, g := range all {
			g.secrets(r)
			g.factors(r, round)
			r.say("  round %d: %-22s %5.0f secrets/s, %s CPU each; %5.0f/s of one program; %5.0f codes/s, %s CPU each", round+1, g.house.name, g.appRate.last(), micros(g.appCPU.last()), g.hotRate.last(), g.factorRate.last(), micros(g.factorCPU.last()))
		}
	}
	return signInSection(all)
}

func (r *run) gate(database *postgres) *gate {
	h := r.open(database, map[string]string{"AUTH_HASH_WAIT": hashWait.String()})
	g := &gate{house: h, people: h.people(crowd)}
	h.enrol(g.people[:crowd/2])
	g.programs = h.programs(programs)
	var err error
	g.idle, err = proc.Resident(h.pid)
	r.must(err, "read memory")
	return g
}

// alone are those whom a password alone lets in; the others prove a second factor as well.
func (g *gate) alone() []person { return g.people[crowd/2:] }

// passwords is one round of passwords, and of bare hashes just before it: on as many processors, for as long.
func (g *gate) passwords(r *run) {
	lasting := r.lasting * 2 / 5
	hashes := order[bare.HashesDone](r, "bare-argon2", bare.Hashes{Parallel: runtime.NumCPU(), Lasting: lasting})
	g.bareRate.add(float64(hashes.Done) / hashes.Took.Seconds())
	g.bareCPU.add(float64(hashes.CPU.Per(hashes.Done).Sum().Microseconds()))
	r.must(proc.ForgetPeak(g.house.pid), "read memory at its highest")
	done := g.signIn(r, basics(g.alone()), &g.rate, &g.cpu, lasting)
	g.tail.add(milliseconds(done.Latencies.P99))
	peak, err := proc.Peak(g.house.pid)
	r.must(err, "read memory at its highest")
	g.peak = max(g.peak, peak)
}

// secrets is one round of many applications, and of one that has as many sessions as it may.
func (g *gate) secrets(r *run) {
	g.signIn(r, g.programs[1:], &g.appRate, &g.appCPU, r.lasting/4)
	g.signIn(r, g.programs[:1], &g.hotRate, &g.hotCPU, r.lasting/4)
}

func (g *gate) signIn(r *run, as []string, rate, cpu *series, lasting time.Duration) load.RequestsDone {
	return g.paid(r, load.Requests{Method: http.MethodPost, Path: signInPath, Authorize: as, Want: http.StatusOK, Lasting: lasting}, rate, cpu)
}

// paid makes requests and notes what they cost the server.
func (g *gate) paid(r *run, o load.Requests, rate, cpu *series) load.RequestsDone {
	stopProfile := r.profileOf(g.house.server, g.house.name)
	before := r.spent(g.house.server)
	done := g.house.request(o)
	each := r.spent(g.house.server).Since(before).Per(done.Done).Sum()
	stopProfile()
	rate.add(float64(done.Done) / done.Took.Seconds())
	cpu.add(float64(each) / float64(time.Microsecond))
	return done
}

// flood presents the passwords of everybody at the same moment.
func (g *gate) flood(r *run) {
	r.must(proc.ForgetPeak(g.house.pid), "read memory at its highest")
	done := g.house.request(load.Requests{
		Method: http.MethodPost, Path: signInPath, Authorize: basics(g.people), Want: http.StatusOK, Busy: http.StatusServiceUnavailable, Parallel: crowd, Count: crowd,
	})
	var err error
	g.crowdPeak, err = proc.Peak(g.house.pid)
	r.must(err, "read memory at its highest")
	g.crowdIn, g.crowdBusy, g.crowdTook, g.crowdLatest = done.Done, done.Busy, done.Took, done.Latencies.Max
}

// factors completes sign-ins that wait for a code, for other people in each round: a code opens once.
func (g *gate) factors(r *run, round int) {
	some := crowd / 2 / r.rounds
	who := g.people[round*some:][:some]
	waiting := g.house.pending(who)
	for i := range waiting {
		waiting[i] = "Bearer " + waiting[i]
	}
	g.paid(r, load.Requests{
		Method: http.MethodPost, Path: signInPath + "/2fa/totp", Authorize: waiting, Want: http.StatusNoContent, Count: some,
		Body: fmt.Sprintf(`{"totp_code":%q}`, authenticator.Code(authenticatorApp, time.Now())),
	}, &g.factorRate, &g.factorCPU)
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

// perVisitor is what a connection that waits may take: as much as one over SSH.
const perVisitor = 64 << 10

func signInSection(all []*gate) section {
	pool := int64(runtime.NumCPU()) * hashSize
	s := section{Note: fmt.Sprintf("`POST %s` with Basic, %d at a time: e-mail address and password (Argon2id, 19 MiB, t=2, p=1), or id and secret of an application; each ends in a session "+
		"and its audit event, durable. Bare is Argon2id alone in a process of its own, one hash for each processor, just before each round. Then %d people present their passwords at the same "+
		"moment: hashes run one for each processor, so the pool is %.0f MiB, and who waits longer than `auth.hash_wait`, here %v, gets a 503. Memory is resident, at its highest. "+
		"One program has as many sessions as it may have, so that each login ends one. A code is the TOTP of a sign-in that waits for it.", signInPath, concurrency, crowd, mebi(pool), hashWait)}
	rates := table{Head: []string{"server", "passwords/s", "bare hashes/s", "x bare's rate", "CPU each, us", "bare CPU, us", "secrets/s", "CPU each, us", "of one program", "CPU each, us", "codes/s", "CPU each, us"}}
	crowds := table{Head: []string{"server", "before, MiB", fmt.Sprintf("%d at a time, MiB", concurrency), fmt.Sprintf("%d at once, MiB", crowd), "let in", "503", "took, s", "slowest answer, s"}}
	for _, g := range all {
		name, part := g.house.name, ratio(g.rate, g.bareRate)
		rates.add(name, g.rate.text("%.1f"), g.bareRate.text("%.1f"), part.text("%.2f"), g.cpu.text("%.0f"), g.bareCPU.text("%.0f"),
			g.appRate.text("%.0f"), g.appCPU.text("%.0f"), g.hotRate.text("%.0f"), g.hotCPU.text("%.0f"), g.factorRate.text("%.0f"), g.factorCPU.text("%.0f"))
		crowds.add(name, fmt.Sprintf("%.1f", mebi(g.idle)), fmt.Sprintf("%.1f", mebi(g.peak)), fmt.Sprintf("%.1f", mebi(g.crowdPeak)), fmt.Sprint(g.crowdIn), fmt.Sprint(g.crowdBusy),
			fmt.Sprintf("%.1f", g.crowdTook.Seconds()), fmt.Sprintf("%.1f", g.crowdLatest.Seconds()))
		percent := make(series, len(part))
		for i, p := range part {
			percent[i] = 100 * p
		}
		s.figure("password logins, "+name+": of the bare Argon2id rate", percent.text("%.0f")+" %", ">= 90 %", percent.median() >= 90)
		limit := g.peak + crowd*perVisitor
		s.figure(fmt.Sprintf("password logins, %s: memory with %d at once", name, crowd), fmt.Sprintf("%.0f MiB (%.0f with %d; pool %.0f)", mebi(g.crowdPeak), mebi(g.peak), concurrency, mebi(pool)),
			fmt.Sprintf("<= %.0f MiB: as with %d, and 64 KiB each", mebi(limit), concurrency), g.crowdPeak <= limit)
		s.figure(fmt.Sprintf("password logins, %s: %d at once", name, crowd), fmt.Sprintf("%d let in, %d got 503, none failed", g.crowdIn, g.crowdBusy), "", true)
		s.figure("application logins, "+name, g.appRate.text("%.0f")+"/s", "", true)
		s.figure("application logins, "+name+": of one with 1000 sessions", g.hotRate.text("%.0f")+"/s", "", true)
		s.figure("second factors, "+name+": TOTP codes", g.factorRate.text("%.0f")+"/s", "", true)
	}
	s.Tables = append(s.Tables, rates, crowds)
	return s
}
