package main

import (
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/load"
)

// listing is one way to ask for a page.
type listing struct {
	what  string
	query func(sessions int) string
}

var listings = []listing{
	{"first page", func(int) string { return "?limit=100" }},
	{"status=verified", func(int) string { return "?limit=100&status=verified" }},
	{"status=pending", func(int) string { return "?limit=100&status=pending" }},
	{"offset in the middle", func(n int) string { return fmt.Sprintf("?limit=100&offset=%d", n/2) }},
	{"middle of status=verified", func(n int) string { return fmt.Sprintf("?limit=100&status=verified&offset=%d", n/3) }},
	{"last page", func(n int) string { return fmt.Sprintf("?limit=100&offset=%d", n-100) }},
}

func measureList(r *run) section {
	sizes := []int{10_000, 1_000_000}
	if r.quick {
		sizes = []int{1_000, 50_000}
	}
	database := r.postgres()
	s := section{Note: "Pages of 100 with their exact total, one request at a time over the API. Both projects lie in one database; six in ten sessions are " +
		"verified, a tenth is pending."}
	t := table{Head: []string{"server", "sessions", "page", "p50, ms", "p99, ms", "server CPU, ms"}}
	for _, of := range []*postgres{nil, &database} {
		worst, first := r.list(of, sizes, &t)
		for _, size := range sizes {
			w, front := worst[size], first[size]
			s.figure(fmt.Sprintf("list page with total, %d sessions, %s: first page, p50", size, w.name), fmt.Sprintf("%.1f ms", front), "<= 100 ms", front <= 100)
			s.figure(fmt.Sprintf("list page with total, %d sessions, %s: slowest p50", size, w.name), fmt.Sprintf("%.1f ms (%s)", w.p50, w.what), "<= 100 ms", w.p50 <= 100)
		}
	}
	s.Tables = append(s.Tables, t)
	return s
}

type slowest struct {
	name, what string
	p50        float64
}

func (r *run) list(of *postgres, sizes []int, t *table) (worst map[int]slowest, first map[int]float64) {
	h := r.open(of, nil)
	projects := map[int]string{sizes[0]: "BENCH", sizes[1]: "MANY"}
	h.command("project", "add", "MANY", "--name", "many")
	keys := map[int]string{sizes[0]: h.key, sizes[1]: h.command("apikey", "add", "--project", "MANY", "--name", "many")}
	h.fillList(sizes, projects)
	worst, first = make(map[int]slowest), make(map[int]float64)
	for _, size := range sizes {
		for _, l := range listings {
			before := r.spent(h.server)
			h.key = keys[size]
			done := h.request(load.Requests{
				Method: http.MethodGet, Path: sessionsPath + l.query(size), Want: http.StatusOK, Parallel: 1, Lasting: r.lasting / 4,
			})
			cpu := r.spent(h.server).Since(before).Per(done.Done).Sum()
			p50, p99 := milliseconds(done.Latencies.P50), milliseconds(done.Latencies.P99)
			t.add(h.name, fmt.Sprint(size), l.what, fmt.Sprintf("%.1f", p50), fmt.Sprintf("%.1f", p99), fmt.Sprintf("%.1f", milliseconds(cpu)))
			r.say("  %s, %d sessions, %s: p50 %.1f ms, p99 %.1f ms", h.name, size, l.what, p50, p99)
			if _, ok := first[size]; !ok {
				first[size] = p50
			}
			if w, ok := worst[size]; !ok || p50 > w.p50 {
				worst[size] = slowest{h.name, l.what, p50}
			}
		}
	}
	return worst, first
}

// fillList makes the sessions of both projects.
func (h *house) fillList(sizes []int, projects map[int]string) {
	began := time.Now()
	model, _ := h.sessions(1, "")
	h.stop(syscall.SIGTERM)
	db := h.store()
	for _, size := range sizes {
		h.r.must(fillSessions(db, projects[size], model[0].ID, size), "fill the list")
	}
	h.r.must(db.Close(), "close database")
	h.settle()
	h.start()
	h.r.say("  %s: %v sessions in %v", h.name, sizes, time.Since(began).Round(time.Second))
}
