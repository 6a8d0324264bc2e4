package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/load"
)

func measureKeystroke(r *run) section {
	count := 2000
	if r.quick {
		count = 200
	}
	const pause = 2 * time.Millisecond
	daemon := r.sshd()
	relay, h := r.bareRelay(daemon), r.open(nil, nil)
	ways := []struct {
		name string
		door load.Door
		p50  series // ms
		p99  series
		more series // p50 of what is added to the direct way in the same turn
		most series // p99 of that
	}{
		{name: "straight to sshd", door: r.directly(daemon)},
		{name: relay.name, door: load.Door{Address: relay.ssh, User: "bench", Seed: seed}},
		{name: h.name, door: h.leadTo(daemon)},
	}
	o := load.Keystrokes{Command: "exec cat", Count: count, Pause: pause}
	for _, w := range ways {
		o.Doors = append(o.Doors, w.door)
	}
	for round := range r.rounds {
		done := order[load.KeystrokesDone](r, "load-keystroke", o)
		for i := range ways {
			w := &ways[i]
			w.p50.add(milliseconds(done.Latencies[i].P50))
			w.p99.add(milliseconds(done.Latencies[i].P99))
			w.more.add(milliseconds(done.Added[i].P50))
			w.most.add(milliseconds(done.Added[i].P99))
			r.say("  round %d: %-22s %.2f ms, p99 %.2f ms; added %.2f ms, p99 %.2f ms", round+1, w.name, w.p50.last(), w.p99.last(), w.more.last(), w.most.last())
		}
	}
	s := section{Note: fmt.Sprintf("A byte is typed into a terminal at a real sshd and its echo awaited, %d times a round, %v after the one before: straight, through a plain Go relay and through the gate, "+
		"in turns one by one. Added is what it took longer than straight in the same turn, turn by turn; its p99 so holds the hiccups of the machine too, which the plain relay shows as well.", count, pause)}
	t := table{Head: []string{"way", "p50, ms", "p99, ms", "added p50, ms", "added p99, ms"}}
	for _, w := range ways {
		t.add(w.name, w.p50.text("%.3f"), w.p99.text("%.3f"), w.more.text("%.3f"), w.most.text("%.3f"))
	}
	s.Tables = append(s.Tables, t)
	bare, gate := ways[1], ways[2]
	s.figure("keystroke through the gate: added, p50", gate.more.text("%.2f")+" ms (plain relay "+bare.more.text("%.2f")+")", "", true)
	s.figure("keystroke through the gate: added, p99", gate.most.text("%.2f")+" ms (plain relay "+bare.most.text("%.2f")+")", "< 2 ms", gate.most.median() < 2)
	return s
}

// carriage is one way to a target, by which bytes of one kind go.
type carriage struct {
	name   string
	server server
	door   load.Door
	rate   series // MiB/s
	cpu    series // s/GiB of the server's process
}

// What goes through the gate, and at least how much of the plain relay's rate it must keep.
var carried = []struct {
	what  string
	share float64
}{
	{load.SFTPGet, 0.9}, {load.SFTPPut, 0.9}, {load.ForwardGet, 0.9}, {load.ForwardPut, 0.9}, {load.ShellText, 0.5}, {load.CommandText, 0.5},
}

func measureRelay(r *run) section {
	size := int64(256 << 20)
	if r.quick {
		size = 16 << 20
	}
	daemon := r.sshd()
	relay, h := r.bareRelay(daemon), r.open(nil, nil)
	door := h.leadTo(daemon)
	_, behind := r.speak(r.self("bare-bytes"), nil)
	file := r.textFile(size)
	s := section{Note: fmt.Sprintf("%d MiB each time to and from a real sshd: straight, through a relay that only accepts, dials and copies, and through the gate, which decides, notes and hashes files and "+
		"forwards and records each byte of output. Uploads go into /dev/null there; the file lies in the page cache. The client is Go's, with 64 SFTP requests under way. CPU is that of the server's process "+
		"alone, until it has stored what it recorded. Client, servers and sshd share the processors.", size>>20)}
	t := table{Head: []string{"what", "way", "MiB/s", "x plain relay", "CPU, s/GiB", "x plain relay"}}
	for _, c := range carried {
		ways := []*carriage{
			{name: "straight to sshd", server: daemon, door: r.directly(daemon)},
			{name: relay.name, server: relay, door: load.Door{Address: relay.ssh, User: "bench", Seed: seed}},
			{name: h.name, server: h.server, door: door},
		}
		for round := range r.rounds {
			for _, w := range ways {
				w.carry(r, load.Transfer{Door: w.door, What: c.what, File: file, Size: size, Via: behind})
				r.say("  round %d: %-24s %-20s %6.0f MiB/s, %.2f s CPU a GiB", round+1, c.what, w.name, w.rate.last(), w.cpu.last())
			}
		}
		bare, gate := ways[1], ways[2]
		for _, w := range ways {
			t.add(c.what, w.name, w.rate.text("%.0f"), ratio(w.rate, bare.rate).text("%.2f"), w.cpu.text("%.2f"), ratio(w.cpu, bare.cpu).text("%.2f"))
		}
		share := ratio(gate.rate, bare.rate)
		s.figure("through the gate, "+c.what+": rate of the plain relay's", share.text("%.2f"), fmt.Sprintf(">= %.2f", c.share), share.median() >= c.share)
		s.figure("through the gate, "+c.what+": CPU a GiB", fmt.Sprintf("%s s (plain relay %s)", gate.cpu.text("%.2f"), bare.cpu.text("%.2f")), "", true)
	}
	s.Tables = append(s.Tables, t)
	return s
}

// carry is one transfer.
func (w *carriage) carry(r *run, o load.Transfer) {
	stopProfile := r.profileOf(w.server, o.What+" "+w.name)
	before := r.calm(w.server)
	done := order[load.Transferred](r, "load-transfer", o)
	spent := r.calm(w.server) - before
	stopProfile()
	w.rate.add(float64(done.Bytes) / (1 << 20) / done.Took.Seconds())
	w.cpu.add(spent.Seconds() / (float64(done.Bytes) / (1 << 30)))
}

// textFile is a log of that many bytes.
func (r *run) textFile(size int64) string {
	var text bytes.Buffer
	for n := 0; int64(text.Len()) < size; n++ {
		fmt.Fprintf(&text, "2026-03-01T12:%02d:%02dZ web-01 worker[%d]: request %08x from 10.2.%d.%d took %d ms, \"GET /things/%d\" 200\n", n/60%60, n%60, 1000+n%7, n*2654435761, n%256, n/256%256, n%977, n)
	}
	path := filepath.Join(r.TempDir(), "log.txt")
	r.must(os.WriteFile(path, text.Bytes()[:size], 0o644), "write file")
	return path
}
