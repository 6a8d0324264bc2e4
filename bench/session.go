package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/load"
)

// Calls of an API that a session opens. The first checks the session and then answers the same to everybody, so it is the check alone.
const (
	checkPath     = "/sys/v1/session/auth/2fa/u2f"
	checkAnswer   = http.StatusBadRequest
	accountsPath  = "/sys/v1/accounts"
	terminatePath = "/sys/v1/session/terminate"
)

// sitting is how many sessions there are.
const sitting = 256

func measureSession(r *run) section {
	database := r.postgres()
	lite, post := r.open(nil, nil), r.open(&database, nil)
	people := make(map[*house][]person)
	var all, real []*checks
	for _, c := range []checks{{house: lite, target: 20000}, {house: post, target: 15000}} {
		people[c.house] = c.house.people(sitting)
		tokens := c.house.tokens(people[c.house])
		for i := range tokens {
			tokens[i] = "Bearer " + tokens[i]
		}
		alone, whole := c, c
		alone.ask = load.Requests{Method: http.MethodPost, Path: checkPath, Authorize: tokens, Want: checkAnswer}
		whole.ask = load.Requests{Method: http.MethodGet, Path: accountsPath, Authorize: tokens, Want: http.StatusOK}
		all, real = append(all, &alone), append(real, &whole)
	}
	for round := range r.rounds {
		for i := range all {
			all[i].measure(r, round, r.lasting/4)
			real[i].measure(r, round, r.lasting/5)
		}
	}
	s := section{Note: fmt.Sprintf("`POST %s` checks the session of a Bearer and then answers the same %d to everybody: it is the check alone. `GET %s` reads the accounts of the caller from the database "+
		"after it. Both over %d connections that stay open, as %d people in turns. The tail is that of a paced load, counted from when each request was due. Then sessions are ended by `POST %s` while "+
		"they are looked at all the time, on the same node and on another one of the same PostgreSQL; what counts is the time from the answer to the first refusal, at most. To cut "+
		"notices, the other node's connection that listens goes through a proxy which lets nothing more through.", checkPath, checkAnswer, accountsPath, concurrency, sitting, terminatePath)}
	s.checks("session check", all, true)
	s.checks("accounts of a session", real, false)
	r.terminations(&s, lite, post, people)
	return s
}

// terminations ends sessions and sees how soon that is known.
func (r *run) terminations(s *section, lite, post *house, people map[*house][]person) {
	proxy := r.proxy(post.database.url)
	far := post.beside(proxy.url)
	t := table{Head: []string{"ended on", "looked at on", "sessions", "p50, ms", "p99, ms", "greatest, ms", "let in when asked later"}}
	one := func(at, elsewhere *house, where string, count, parallel int, every, before time.Duration) load.TerminationsDone {
		done := order[load.TerminationsDone](r, "load-terminate", load.Terminations{
			At: at.http, Elsewhere: elsewhere.http, End: terminatePath, Ended: http.StatusNoContent, Look: checkPath, LetIn: checkAnswer,
			Tokens: at.tokens(people[at][:count]), Parallel: parallel, Every: every, Before: before,
		})
		l := done.Latencies
		t.add(at.name, where, fmt.Sprint(done.Done), fmt.Sprintf("%.1f", milliseconds(l.P50)), fmt.Sprintf("%.1f", milliseconds(l.P99)), fmt.Sprintf("%.1f", milliseconds(l.Max)), fmt.Sprint(done.Late))
		r.say("  %s, looked at on %s: refused after %.1f ms p50, %.1f ms p99; %d late", at.name, where, milliseconds(l.P50), milliseconds(l.P99), done.Late)
		return done
	}
	for _, h := range []*house{lite, post} {
		done := one(h, h, "the same node", 200, 8, time.Millisecond, 0)
		s.figure("session ended, "+h.name+": let in afterwards on its node", fmt.Sprintf("%d of %d", done.Late, done.Done), "none", done.Late == 0)
	}
	heard := one(post, far, "another node", 200, 8, time.Millisecond, 0)
	s.figure("session ended, "+post.name+": refused on another node, p99", fmt.Sprintf("%.1f ms (p50 %.1f)", milliseconds(heard.Latencies.P99), milliseconds(heard.Latencies.P50)), "<= 300 ms", heard.Latencies.P99 <= 300*time.Millisecond)
	proxy.cut.Store(true)
	unheard := one(post, far, "another node, notices cut", 96, 32, 10*time.Millisecond, 2*time.Second)
	s.figure("session ended, "+post.name+": refused on another node, notices cut, p99", fmt.Sprintf("%.0f ms (p50 %.0f)", milliseconds(unheard.Latencies.P99), milliseconds(unheard.Latencies.P50)), "<= 2 s", unheard.Latencies.P99 <= 2*time.Second)
	s.Tables = append(s.Tables, t)
}
