package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/bare"
	"github.com/gatehouse-project/gatehouse/bench/load"
	"github.com/gatehouse-project/gatehouse/bench/proc"
)

// perSession is what a recorded session may take.
const perSession = 1 << 20

func measureRecorded(r *run) section {
	count := 500
	if r.quick {
		count = 20
	}
	keys, lasting, err := bare.Terminal()
	r.must(err, "read recording")
	watched := lasting // so that each session shows all of the recording
	if r.quick {
		watched = r.lasting
	}
	stage, address := r.speak(r.self("bare-terminal"), nil)
	target := server{name: "replaying target", pid: stage.cmd.Process.Pid, ssh: address}
	h := r.open(nil, nil)
	door := h.leadTo(target)
	relay := r.bareRelay(target)
	h.stop(syscall.SIGTERM) // anew: what the first start took would be reused here
	h.start()
	s := section{Note: fmt.Sprintf("%d sessions at a time by SSH through the gate, each with a terminal in which the target shows %v of somebody's real work (a shell, top and vim; "+
		"committed beside the benchmark) at its own pace, again and again, each from another moment on. In all of them somebody types, as fast as in the recording. Everything is recorded "+
		"into segments that are synced each second, hashed, stored and signed. Memory is resident, of the server's process, per session: at its highest, their opening included, and at the end. CPU is "+
		"that of %v, and what a core carries is what follows from it.", count, lasting.Round(time.Second), watched.Round(time.Second))}
	t := table{Head: []string{"server", "sessions", "KiB each, at most", "KiB each, in the end", "before, MiB", "CPU of one core", "CPU a session, ms/s", "sessions a core", "output, KiB/s", "keys/s"}}
	for _, of := range []struct {
		server server
		door   load.Door
		house  *house
	}{{relay, load.Door{Address: relay.ssh, User: "bench", Seed: seed}, nil}, {h.server, door, h}} {
		p := playing{server: of.server, house: of.house, count: count}
		r.play(&p, load.Terminals{Door: of.door, Count: count, Parallel: concurrency, Keys: keys, Over: lasting}, watched)
		each := func(n int64) float64 { return float64(n-p.before) / float64(count) / 1024 }
		t.add(p.server.name, fmt.Sprint(count), fmt.Sprintf("%.0f", each(p.peak)), fmt.Sprintf("%.0f", each(p.after)), fmt.Sprintf("%.1f", mebi(p.before)), fmt.Sprintf("%.2f", p.busy),
			fmt.Sprintf("%.3f", 1000*p.busy/float64(count)), fmt.Sprintf("%.0f", float64(count)/p.busy), fmt.Sprintf("%.0f", p.output/1024), fmt.Sprintf("%.0f", p.typed))
		if of.house == nil {
			continue
		}
		s.figure(fmt.Sprintf("recorded SSH session, %d at a time: memory", count), fmt.Sprintf("%.0f KiB at most, %.0f in the end", each(p.peak), each(p.after)), "<= 1024 KiB", each(p.peak) <= perSession>>10)
		s.figure(fmt.Sprintf("recorded SSH session, %d at a time: CPU", count), fmt.Sprintf("%.2f ms a second each: %.0f sessions a core", 1000*p.busy/float64(count), float64(count)/p.busy), "", true)
	}
	s.Tables = append(s.Tables, t)
	return s
}

// playing is one server with its sessions.
type playing struct {
	server server
	house  *house // nil: not gatehouse
	count  int

	before, peak, after int64
	busy                float64 // CPU time by time
	output, typed       float64 // bytes and keys a second
}

// play opens terminals and looks at the server for a while.
func (r *run) play(p *playing, o load.Terminals, watched time.Duration) {
	resident := func() int64 {
		n, err := proc.Resident(p.server.pid)
		r.must(err, "read memory of "+p.server.name)
		return n
	}
	p.before = resident()
	r.must(proc.ForgetPeak(p.server.pid), "read memory at its highest")
	text, err := json.Marshal(o)
	r.must(err, "write order")
	player, line := r.speak(r.self("load-terminals"), text)
	if want := fmt.Sprintf("open %d: ", p.count); !strings.HasPrefix(line, want) {
		r.Fatalf("%s: wanted %d terminals: %s", p.server.name, p.count, line)
	}
	time.Sleep(settling) // for what opening them has left
	stopProfile := r.profileOf(p.server, p.server.name)
	began, spent := time.Now(), r.spent(p.server)
	time.Sleep(watched)
	took := time.Since(began).Seconds()
	p.busy = r.spent(p.server).Since(spent).Sum().Seconds() / took
	stopProfile()
	p.after = resident()
	p.peak, err = proc.Peak(p.server.pid)
	r.must(err, "read memory at its highest")
	if p.house != nil {
		p.house.recorded(p.count)
	}
	r.must(player.stdin.Close(), "let go")
	var done load.TerminalsDone
	r.must(json.NewDecoder(player.stdout).Decode(&done), "read what was played")
	if done.Open < p.count {
		r.Fatalf("%s: closed %d of %d terminals", p.server.name, p.count-done.Open, p.count)
	}
	p.output, p.typed = float64(done.Bytes)/done.Took.Seconds(), float64(done.Typed)/done.Took.Seconds()
	r.say("  %s: %d terminals, %.0f KiB each at most, %.2f of a core, %.0f KiB/s", p.server.name, p.count, float64(p.peak-p.before)/float64(p.count)/1024, p.busy, p.output/1024)
}

// recorded ends the benchmark unless so many sessions are being recorded.
func (h *house) recorded(count int) {
	if n := int(h.metric("gatehouse_recordings_live")); n != count || h.metric("gatehouse_recordings_failed_total") > 0 {
		h.r.Fatalf("%d of %d sessions are recorded", n, count)
	}
}
