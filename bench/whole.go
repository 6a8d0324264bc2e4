package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/proc"
)

func measureWhole(r *run) section {
	info, err := os.Stat(r.gatehouse())
	r.must(err, "measure the binary")
	size := float64(info.Size()) / (1 << 20)
	database := r.postgres()
	s := section{Note: "The binary is static and stripped. Start is from fork to the first 200 of `/readyz`; the first start makes database and keys. " +
		"Idle memory is resident, after 5 s in which nothing was asked of the server; what its own loops cost meanwhile is its idle CPU."}
	t := table{Head: []string{"server", "first start, ms", "start, ms", "idle, MiB", "idle CPU, ms/s"}}
	for _, of := range []*postgres{nil, &database} {
		first, again, idle, busy := r.starts(of)
		name := "gatehouse, SQLite"
		if of != nil {
			name = "gatehouse, PostgreSQL"
		}
		t.add(name, first.text("%.0f"), again.text("%.0f"), idle.text("%.1f"), busy.text("%.0f"))
		s.figure(name+": start to ready", again.text("%.0f")+" ms", "< 1 s", again.median() < 1000)
		s.figure(name+": idle memory", idle.text("%.1f")+" MiB", "<= 80 MiB", idle.median() <= 80)
	}
	s.figure("binary, stripped", fmt.Sprintf("%.1f MiB", size), "<= 60 MiB", size <= 60)
	s.Tables = append(s.Tables, t)
	return s
}

// starts starts a server on new data, and again on the same data.
func (r *run) starts(database *postgres) (first, again, idle, busy series) {
	h := r.open(database, nil)
	first.add(milliseconds(h.firstStart))
	for range 2*r.rounds - 1 {
		h.stop(syscall.SIGTERM)
		again.add(milliseconds(h.start()))
	}
	wait := 5 * time.Second
	if r.quick {
		wait = time.Second
	}
	spent := r.spent(h.server)
	time.Sleep(wait)
	busy.add(milliseconds(r.spent(h.server).Since(spent).Sum()) / wait.Seconds())
	memory, err := proc.Resident(h.pid)
	r.must(err, "read memory")
	idle.add(float64(memory) / (1 << 20))
	r.say("  %s: first start %.0f ms, then %.0f ms; idle %.1f MiB", h.name, first.last(), again.median(), idle.last())
	h.stop(syscall.SIGTERM)
	return first, again, idle, busy
}
