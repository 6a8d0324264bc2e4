package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// series are the values of one figure, a round each.
type series []float64

func (s *series) add(v float64) { *s = append(*s, v) }

func (s series) last() float64 { return s[len(s)-1] }

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// text is the median, and where there are several values the least and the greatest.
func (s series) text(format string) string {
	switch len(s) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(format, s[0])
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", s.median(), slices.Min(s), slices.Max(s))
}

// ratio divides two series round by round: the two values of a round were measured under the same load.
func ratio(of, by series) series {
	var out series
	for i := range min(len(of), len(by)) {
		out = append(out, of[i]/by[i])
	}
	return out
}

func micros(us float64) string {
	return time.Duration(us * float64(time.Microsecond)).Round(time.Microsecond).String()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// section is what one benchmark found.
type section struct {
	Name, Title, Note string
	Took              time.Duration
	Figures           []figure
	Tables            []table
}

// figure is a number that is held against what the design asks for.
type figure struct {
	What, Is, Target string
	Holds            bool
}

type table struct {
	Head []string
	Rows [][]string
}

func (t *table) add(cells ...string) { t.Rows = append(t.Rows, cells) }

func (s *section) figure(what, is, target string, holds bool) {
	s.Figures = append(s.Figures, figure{what, is, target, holds})
}

func (f figure) verdict() string {
	switch {
	case f.Target == "":
		return "-"
	case f.Holds:
		return "holds"
	default:
		return "falls short"
	}
}

// write writes a table in Markdown that also reads well as plain text.
func (t table) write(w io.Writer) error {
	widths := make([]int, len(t.Head))
	rows := append([][]string{t.Head, make([]string, len(t.Head))}, t.Rows...)
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i := range t.Head {
			cell, fill := row[i], " "
			if n == 1 {
				fill = "-"
			}
			b.WriteString("|" + fill + cell + strings.Repeat(fill, widths[i]-len([]rune(cell))+1))
		}
		b.WriteString("|\n")
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

// print writes the tables and figures of one benchmark.
func (s section) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "\n### %s: %s\n\n%s\n\n", s.Name, s.Title, s.Note); err != nil {
		return err
	}
	for _, t := range s.Tables {
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}

// shortfalls say why a figure falls short, by how the figure begins. They are written by people who
// looked into it, and shown only while it does.
var shortfalls = []struct{ figure, reason string }{
	{"gatehouse, SQLite: logins/s against sshd", "the load generator runs on the same processors and takes as much as a bare server, whose row is the ceiling; by CPU each the distance is larger"},
	{"gatehouse, PostgreSQL: logins/s against sshd", "as with SQLite, and PostgreSQL runs on the same processors, too"},
	{"gatehouse, SQLite: server CPU against bare x/crypto", "by profile more than half of the time is the SSH library, a fifth the write of a login " +
		"(connection, proof, status and audit event in one transaction), a twelfth reading the session before it"},
	{"gatehouse, PostgreSQL: server CPU against bare x/crypto", "as with SQLite, and each login is a read and a transaction of seven round trips"},
	{"audit, ", "measured at the bare store, where nothing else costs: an event is a row more in the change, and the sealer writes its position and link into that row later"},
	{"idle SSH connection", "the library alone takes most of it (see the bare server); the session's own state comes on top"},
	{"webhook deliveries, gatehouse, PostgreSQL", "each result is a transaction of its own, on processors that the database, the receiver and whatever else runs share"},
	{"password logins, gatehouse, PostgreSQL: of", "beside the hash a login is a few reads and one transaction (1 to 2 ms of 60); PostgreSQL, the server and the hashes share the processors, so what the database takes is missing"},
	{"session check", "server and load generator share the processors; by profile the check itself is a few hundredths of the call, the rest is HTTP"},
	{"HTTP token check", "server and load generator share the processors; the route answers with JSON and moves the deadline of the connection beside the check, and what it spends on that has not been taken apart"},
	{"clone of", "the client inflates, hashes and writes on the same processors, so rounds differ by more than the servers do; the stream of the same pack leaves that out"},
	{"API key check", "server and load generator share the processors"},
	{"keystroke through the gate: added, p99", "the plain relay adds most of it, and the way straight to sshd alone takes as long now and then: hiccups of the machine"},
	{"through the gate, sftp", "SHA-256 of what is carried: 1.2 s of CPU a GiB beside the relay's 3 to 4, while client, sshd and gate share the processors"},
	{"through the gate, forward", "as with SFTP: what is carried is hashed"},
	{"through the gate, output of a command", "each byte is written to the spool before it is handed on, and hashed three times on its way into a signed segment"},
	{"list page with total, 1000000 sessions", "an offset is reached by walking the index, from the nearer end; only the middle of a long list is that far"},
}

func (f figure) reason() string {
	if f.Holds || f.Target == "" {
		return ""
	}
	for _, s := range shortfalls {
		if strings.HasPrefix(f.What, s.figure) {
			return s.reason
		}
	}
	return "not looked into yet"
}

// figures is the table that a reader wants first.
func figures(all []section) table {
	t := table{Head: []string{"work", "measured", "to hold", "stands", "why"}}
	for _, s := range all {
		for _, f := range s.Figures {
			t.add(f.What, f.Is, f.Target, f.verdict(), f.reason())
		}
	}
	return t
}

// machine is where the figures come from.
type machine struct{ date, cpu, memory, system, load, fsync, commit string }

func machineNow() machine {
	m := machine{
		date: time.Now().UTC().Format("2006-01-02 15:04 MST"), cpu: firstOf("/proc/cpuinfo", "model name"), memory: firstOf("/proc/meminfo", "MemTotal"),
		system: runtime.Version() + ", " + output("uname", "-sr"), commit: output("git", "describe", "--always", "--dirty"),
	}
	m.cpu = fmt.Sprintf("%d x %s", runtime.NumCPU(), m.cpu)
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	m.fsync = fsyncTime()
	return m
}

// warning says so when the machine was not free for this run.
func (m machine) warning() string {
	load, err := strconv.ParseFloat(strings.Fields(m.load + " 0")[0], 64)
	if err != nil || load < 0.5*float64(runtime.NumCPU()) {
		return ""
	}
	return fmt.Sprintf("**Other programs kept the machine busy (load %.1f on %d processors): rates and latencies are worse than on a free one, "+
		"and ratios uncertain. Measure again.**\n\n", load, runtime.NumCPU())
}

func firstOf(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// fsyncTime is how long the disk takes to make 4 KiB durable: half of what a commit costs is this.
func fsyncTime() string {
	f, err := os.CreateTemp("", "gatehouse-fsync-")
	if err != nil {
		return "unknown"
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for range 200 {
		start := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return "unknown"
		}
		if err := f.Sync(); err != nil {
			return "unknown"
		}
		took = append(took, time.Since(start))
	}
	slices.SortFunc(took, cmp.Compare)
	return fmt.Sprintf("%v median, %v p99", took[100].Round(time.Microsecond), took[198].Round(time.Microsecond))
}

const preface = `# Measured

Written by ` + "`make bench`" + `. Do not edit: the next run overwrites it.

What counts is the ratio to the peer that ran in turns with Gatehouse, and the CPU time per operation of the
server's own process. Absolute rates belong to this machine, on which load generator, server and database share
the processors. Values are the median of the rounds, in parentheses the least and the greatest.

`

// publish prints the figures, and writes RESULTS.md after a whole run.
func (r *run) publish(m machine, found map[string]section, took time.Duration) error {
	var all []section
	for _, b := range benchmarks {
		if s, ok := found[b.name]; ok {
			all = append(all, s)
		}
	}
	text := &strings.Builder{}
	fmt.Fprint(text, preface)
	fmt.Fprintf(text, "Command: `go run ./bench%s`, %d rounds of %v, %v in all, at commit %s.\n\n", arguments(), r.rounds, r.lasting, took.Round(time.Second), m.commit)
	fmt.Fprintf(text, "Machine: %s, %s, %s; making 4 KiB durable takes %s; load before %s; %s.\n\n", m.cpu, m.memory, m.system, m.fsync, m.load, m.date)
	fmt.Fprint(text, m.warning())
	fmt.Fprint(text, "## Figures\n\n")
	if err := figures(all).write(text); err != nil {
		return err
	}
	fmt.Fprint(text, "## Details\n")
	for _, s := range all {
		if err := s.print(text); err != nil {
			return err
		}
	}
	r.say("")
	if err := figures(all).write(os.Stdout); err != nil {
		return err
	}
	if r.quick || len(all) < len(benchmarks) {
		r.say("bench/RESULTS.md is written by a whole run only")
		return nil
	}
	return os.WriteFile(filepath.Join("bench", "RESULTS.md"), []byte(strings.TrimRight(text.String(), "\n")+"\n"), 0o644)
}

// arguments are those of this run; the folders of whoever ran it are nobody's business.
func arguments() string {
	text := ""
	for _, a := range os.Args[1:] {
		text += " " + filepath.Base(a)
	}
	return text
}
