package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/load"
)

const authInfo = "/api/v1/auth/info"

func measureAPIKey(r *run) section {
	database := r.postgres()
	ask := load.Requests{Method: http.MethodGet, Path: authInfo, Want: http.StatusOK}
	all := []*checks{{house: r.open(nil, nil), target: 20000, ask: ask}, {house: r.open(&database, nil), target: 15000, ask: ask}}
	for round := range r.rounds {
		for _, c := range all {
			c.measure(r, round, r.lasting/2)
		}
	}
	s := section{Note: fmt.Sprintf("`GET %s` over %d connections that stay open, without a rate limit. Requests a core is what one core of CPU time "+
		"of the server's process would do. The tail is that of a paced load, counted from when each request was due.", authInfo, concurrency)}
	s.checks("API key check", all, true)
	return s
}

// checks is one kind of call, whose cost is mostly to find out who calls, on one database.
type checks struct {
	house  *house
	ask    load.Requests
	target float64 // requests a core

	rate, cpu, core, tail series
}

// measure is one round: as fast as it goes, and then at 70 % of that.
func (c *checks) measure(r *run, round int, lasting time.Duration) {
	ask := c.ask
	ask.Lasting = lasting
	stopProfile := r.profileOf(c.house.server, c.house.name+ask.Path)
	before := r.spent(c.house.server)
	full := c.house.request(ask)
	each := r.spent(c.house.server).Since(before).Per(full.Done).Sum()
	stopProfile()
	c.rate.add(float64(full.Done) / full.Took.Seconds())
	c.cpu.add(float64(each) / float64(time.Microsecond))
	c.core.add(1 / each.Seconds())
	ask.PerSec = 0.7 * c.rate.last()
	c.tail.add(milliseconds(c.house.request(ask).Latencies.P99))
	r.say("  round %d: %-22s %s %6.0f/s, %.1f us CPU each, p99 %.2f ms at 70 %%", round+1, c.house.name, ask.Path, c.rate.last(), c.cpu.last(), c.tail.last())
}

// checks adds the table of one kind of call, and its figures: held against their targets or, where there are none, told.
func (s *section) checks(what string, all []*checks, held bool) {
	t := table{Head: []string{what, "requests/s, saturated", "CPU each, us", "requests/s a core", "p99 at 70 %, ms"}}
	for _, c := range all {
		t.add(c.house.name, c.rate.text("%.0f"), c.cpu.text("%.1f"), c.core.text("%.0f"), c.tail.text("%.2f"))
		name, core, tail := what+", "+c.house.name, c.core.text("%.0f")+" a core", c.tail.text("%.2f")+" ms"
		if !held {
			s.figure(name, core+", p99 at 70 % load "+tail, "", true)
			continue
		}
		s.figure(name, core, fmt.Sprintf(">= %.0f a core", c.target), c.core.median() >= c.target)
		s.figure(name+": p99 at 70 % load", tail, "< 2 ms", c.tail.median() < 2)
	}
	s.Tables = append(s.Tables, t)
}
