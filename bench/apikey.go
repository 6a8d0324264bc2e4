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
	type side struct {
		house                 *house
		target                float64
		rate, cpu, core, tail series
	}
	all := []*side{{house: r.open(nil, nil), target: 20000}, {house: r.open(&database, nil), target: 15000}}
	for round := range r.rounds {
		for _, s := range all {
			ask := load.Requests{Method: http.MethodGet, Path: authInfo, Want: http.StatusOK, Lasting: r.lasting / 2}
			stopProfile := r.profileOf(s.house.server, s.house.name)
			before := r.spent(s.house.server)
			full := s.house.request(ask)
			each := r.spent(s.house.server).Since(before).Per(full.Done).Sum()
			stopProfile()
			s.rate.add(float64(full.Done) / full.Took.Seconds())
			s.cpu.add(float64(each) / float64(time.Microsecond))
			s.core.add(1 / each.Seconds())
			ask.PerSec = 0.7 * s.rate.last()
			s.tail.add(milliseconds(s.house.request(ask).Latencies.P99))
			r.say("  round %d: %-22s %6.0f/s, %.1f us CPU each, p99 %.2f ms at 70 %%", round+1, s.house.name, s.rate.last(), s.cpu.last(), s.tail.last())
		}
	}
	s := section{Note: fmt.Sprintf("`GET %s` over %d connections that stay open, without a rate limit. Requests a core is what one core of CPU time "+
		"of the server's process would do. The tail is that of a paced load, counted from when each request was due.", authInfo, concurrency)}
	t := table{Head: []string{"server", "requests/s, saturated", "CPU each, us", "requests/s a core", "p99 at 70 %, ms"}}
	for _, x := range all {
		t.add(x.house.name, x.rate.text("%.0f"), x.cpu.text("%.1f"), x.core.text("%.0f"), x.tail.text("%.2f"))
		s.figure("API key check, "+x.house.name, x.core.text("%.0f")+" a core", fmt.Sprintf(">= %.0f a core", x.target), x.core.median() >= x.target)
		s.figure("API key check, "+x.house.name+": p99 at 70 % load", x.tail.text("%.2f")+" ms", "< 2 ms", x.tail.median() < 2)
	}
	s.Tables = append(s.Tables, t)
	return s
}
