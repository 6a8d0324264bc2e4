package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/bench/proc"
)

func measureIdle(r *run) section {
	count := 5000
	if r.quick {
		count = 500
	}
	var limit syscall.Rlimit
	r.must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit), "read the limit of open files")
	if most := int(limit.Max) - 200; most < count {
		r.say("  only %d files may be open here (ulimit -Hn): fewer connections", limit.Max)
		count = most
	}
	bare := r.bareSSH()
	house := r.open(nil, map[string]string{
		"SSHVERIFY_CONFIRM_TIMEOUT": "1h", "SSH_CONNECTION_TIMEOUT": "2h", "SSH_AUTH_TIMEOUT": "1h", "SSH_HANDSHAKE_TIMEOUT": "10m",
	})
	made, _ := house.sessions(1, `,"must_confirm":true,"multi_connection":true`)
	// Anew: what the first start and the API took, the hash of a password above all, would be reused here.
	house.stop(syscall.SIGTERM)
	house.start()
	s := section{Note: fmt.Sprintf(
		"%d connections, authenticated, each with a session channel on which a shell waits (for the typed y, at gatehouse). Resident memory of the "+
			"server's process per connection: at its highest, and after %v in which nothing happened.", count, settling)}
	t := table{Head: []string{"server", "connections", "KiB each, at most", "KiB each, settled", "before, MiB"}}
	var settled []float64
	for _, c := range []struct {
		server server
		user   string
	}{{bare, "bench"}, {house.server, made[0].Identifier}} {
		before, peak, after := r.hold(c.server, c.user, count)
		each := func(n int64) float64 { return float64(n-before) / float64(count) / 1024 }
		settled = append(settled, each(after))
		t.add(c.server.name, fmt.Sprint(count), fmt.Sprintf("%.1f", each(peak)), fmt.Sprintf("%.1f", each(after)), fmt.Sprintf("%.1f", float64(before)/(1<<20)))
	}
	s.Tables = append(s.Tables, t)
	s.figure(fmt.Sprintf("idle SSH connection, channel open, %d of them", count), fmt.Sprintf("%.1f KiB (bare %.1f)", settled[1], settled[0]), "<= 64 KiB", settled[1] <= 64)
	return s
}

const settling = 10 * time.Second

// hold opens connections and reads the server's memory before, at its highest, and when it has settled.
func (r *run) hold(s server, user string, count int) (before, peak, after int64) {
	read := func() int64 {
		n, err := proc.Resident(s.pid)
		r.must(err, "read memory of "+s.name)
		return n
	}
	before = read()
	text, err := json.Marshal(load.Idle{
		Address: s.ssh, KeyExchange: ssh.KeyExchangeCurve25519, Seed: seed, User: user, Count: count, Parallel: concurrency,
	})
	r.must(err, "write order")
	holder, line := r.speak(r.self("load-idle"), text)
	if want := fmt.Sprintf("open %d: ", count); !strings.HasPrefix(line, want) {
		r.Fatalf("%s: wanted %d connections: %s", s.name, count, line)
	}
	for end := time.Now().Add(settling); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		after = read()
		peak = max(peak, after)
	}
	r.say("  %s: %d connections, %.1f KiB each", s.name, count, float64(after-before)/float64(count)/1024)
	r.must(holder.stdin.Close(), "let go")
	var held load.Holding
	r.must(json.NewDecoder(holder.stdout).Decode(&held), "read how many were held")
	if held.Open < count {
		r.Fatalf("%s: closed %d of %d idle connections", s.name, count-held.Open, count)
	}
	return before, peak, after
}
