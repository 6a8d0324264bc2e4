package recording

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// BenchmarkOutput is the path of every byte that a terminal prints: nothing is allocated on it.
func BenchmarkOutput(b *testing.B) {
	listing := bytes.Repeat([]byte("drwxr-xr-x 2 root root 4096 \x1b[01;34mdirectory\x1b[0m\r\n"), 700)
	for name, p := range map[string][]byte{"keystroke": []byte("l"), "line": listing[:54], "32KiB": listing[:32<<10]} {
		b.Run(name, func(b *testing.B) {
			h := newHouse(b, func(a *Archive) { a.Settings.SegmentBytes, a.Settings.Sync = 64<<20, time.Second })
			h.run(b)
			_, terminal := begin(b, h, newSession())
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if err := terminal.Output(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSessions tells what a session costs that is recorded and at rest.
func BenchmarkSessions(b *testing.B) {
	h := newHouse(b)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before, n := heap(), 0
	var open []remote.Tracker
	for b.Loop() {
		_, terminal := begin(b, h, newSession())
		if err := terminal.Output([]byte("$ ")); err != nil {
			b.Fatal(err)
		}
		open = append(open, terminal)
		n++
	}
	b.ReportMetric(float64(heap()-before)/float64(n), "B/session")
	runtime.KeepAlive(open)
}

// BenchmarkSync is one round of syncing that many sessions.
func BenchmarkSync(b *testing.B) {
	h := newHouse(b)
	var open []remote.Tracker
	for range 500 {
		_, terminal := begin(b, h, newSession())
		open = append(open, terminal)
	}
	h.sync()
	for b.Loop() {
		for _, terminal := range open {
			if err := terminal.Output([]byte("x")); err != nil {
				b.Fatal(err)
			}
		}
		h.sync()
	}
}

// BenchmarkExport plays a recording through the filter.
func BenchmarkExport(b *testing.B) {
	h := newHouse(b)
	s := newSession()
	r, terminal := begin(b, h, s)
	p := bytes.Repeat([]byte("drwxr-xr-x 2 root root 4096 \x1b[01;34mdirectory\x1b[0m\r\n"), 20)
	for range 2000 {
		must(b, terminal.Output(p))
	}
	must(b, terminal.Close(remote.Exit{}))
	must(b, r.End(b.Context(), s))
	b.SetBytes(int64(2000 * len(p)))
	b.ReportAllocs()
	for b.Loop() {
		var out countWriter
		must(b, h.Export(b.Context(), s.ID, remote.Export{Track: "terminal", Format: remote.AsciicastV3}, &out))
	}
}

type countWriter int

func (w *countWriter) Write(p []byte) (int, error) { *w += countWriter(len(p)); return len(p), nil }

// Output allocates nothing, a recording at rest holds little: design figures that a test can hold.
func TestMemory(t *testing.T) {
	h := newHouse(t)
	_, terminal := begin(t, h, newSession())
	p := []byte("a line that a terminal prints\r\n")
	for range 10 {
		must(t, terminal.Output(p))
	}
	if n := testing.AllocsPerRun(1000, func() { _ = terminal.Output(p) }); n > 0.5 {
		t.Errorf("%v allocations for each write", n)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const sessions = 100
	open := make([]remote.Tracker, 0, sessions)
	for range sessions {
		_, terminal := begin(t, h, newSession())
		must(t, terminal.Output(p))
		open = append(open, terminal)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / sessions; each > 32<<10 { //nolint:gosec // sizes of a heap
		t.Errorf("%d bytes for each session", each)
	}
	runtime.KeepAlive(open)
}
