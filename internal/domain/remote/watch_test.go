package remote_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// watched is the id of the session that is looked on at.
const watched = "019a0f6e-0000-7000-8000-000000000001"

// watcher is somebody with the role to look on.
func (h *liveHouse) watcher(name string) access.Caller {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.m.bindings = append(h.m.bindings, access.Binding{Subject: access.Subject{Kind: access.User, ID: name}, Role: access.DeviceManage, Resource: access.Device(h.device.ID)})
	return access.Caller{Principal: access.Principal{Kind: access.User, ID: name, Name: name}, Scopes: []access.Action{"*"}, At: time.Now()}
}

// seen is what a watcher has been shown: output alone, where a frame that holds all takes the place of what was before.
type seen struct {
	text  string
	size  string
	marks []string
}

func (s *seen) take(t testing.TB, frames []remote.Frame) {
	t.Helper()
	for _, f := range frames {
		var events [][3]any
		if err := json.Unmarshal(f.Body, &events); err != nil {
			t.Fatalf("frame %q: %v", f.Body, err)
		}
		for _, e := range events {
			text := e[2].(string)
			switch e[1] {
			case "o":
				if rest, anew := strings.CutPrefix(text, "\x1bc"); anew {
					s.text, text = "", rest
				}
				s.text += text
			case "r":
				s.size = text
			case "m":
				s.marks = append(s.marks, text)
			}
		}
	}
}

// until reads a feed until what was seen is right.
func (s *seen) until(t testing.TB, f *remote.Feed, right func() bool) {
	t.Helper()
	for !right() {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		frames, err := f.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("feed: %v, with %d bytes seen, marks %v", err, len(s.text), s.marks)
		}
		s.take(t, frames)
	}
}

func TestWatch(t *testing.T) {
	t.Run("from another node, from the size and the latest output on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newLiveStore()
			a, b := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m)
			defer a.runs()()
			defer b.runs()()
			l := a.start(watched, "ana", everything)
			c, far := a.terminal(l)
			go drain(c)
			_, _ = far.print.Write([]byte("before "))
			f, err := b.Watch(t.Context(), b.watcher("eve"), watched)
			if err != nil {
				t.Fatal(err)
			}
			var s seen
			s.until(t, f, func() bool { return s.text == "before " })
			if s.size != "100x30" {
				t.Errorf("size %q", s.size)
			}
			began := time.Now()
			_, _ = far.print.Write([]byte("after"))
			s.until(t, f, func() bool { return s.text == "before after" })
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("what was printed was seen after %v", took)
			}
			if err := c.Resize(remote.Size{Cols: 120, Rows: 40}); err != nil {
				t.Fatal(err)
			}
			s.until(t, f, func() bool { return s.size == "120x40" })
			if !slices.Equal(l.Watchers(), []string{"eve"}) || len(a.tape(watched).said("watched")) != 1 || !slices.Contains(m.recorded(), "session.watched") {
				t.Errorf("watchers %v, notes %v, events %v", l.Watchers(), a.tape(watched).kinds(), m.recorded())
			}

			second, err := b.Watch(t.Context(), b.watcher("mal"), watched) // who comes late has it all, and disturbs nobody
			if err != nil {
				t.Fatal(err)
			}
			var late seen
			late.until(t, second, func() bool { return late.text == "before after" && late.size == "120x40" })
			_, _ = far.print.Write([]byte("!"))
			s.until(t, f, func() bool { return s.text == "before after!" })
			late.until(t, second, func() bool { return late.text == "before after!" })
			if err := second.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute) // the first is prolonged
			if !slices.Equal(l.Watchers(), []string{"eve"}) && !slices.Equal(l.Watchers(), nil) {
				t.Errorf("watchers %v", l.Watchers())
			}

			_, _ = far.print.Write([]byte("end"))
			l.Close(remote.Closed, "")
			for {
				frames, err := f.Next(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				s.take(t, frames)
			}
			a.gone(l, remote.Closed)
		})
	})
	t.Run("in somebody's place, which no node hears of", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			defer h.runs()()
			l := h.start(watched, "ana", everything)
			c, far := h.terminal(l)
			go drain(c)
			_, _ = far.print.Write([]byte("there"))
			by := h.watcher("eve")
			for range 2 {
				f, err := h.Watch(t.Context(), by, watched)
				if err != nil {
					t.Fatal(err)
				}
				var s seen
				began := time.Now()
				s.until(t, f, func() bool { return s.text == "there" })
				if took := time.Since(began); took > 31*time.Second {
					t.Errorf("it began after %v", took)
				}
				time.Sleep(20*time.Second + 100*time.Millisecond) // what the first began with is too old, and between two looks
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
		})
	})
	t.Run("a flood is skipped to its end, and costs no more than that", func(t *testing.T) { // rule W5
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			defer h.runs()()
			l := h.start(watched, "ana", everything)
			c, far := h.terminal(l)
			go drain(c)
			f, err := h.Watch(t.Context(), h.watcher("eve"), watched)
			if err != nil {
				t.Fatal(err)
			}
			var s seen
			s.until(t, f, func() bool { return s.size != "" })
			line := strings.Repeat("y", 79) + "\n"
			for range 100_000 { // 8 MB
				_, _ = far.print.Write([]byte(line))
			}
			_, _ = far.print.Write([]byte("the end"))
			s.until(t, f, func() bool { return strings.HasSuffix(s.text, "the end") })
			if !slices.Contains(s.marks, "skipped") || len(s.text) > 64<<10 || !strings.HasPrefix(s.text, line) {
				t.Errorf("marks %v, %d bytes, beginning %.20q", s.marks, len(s.text), s.text)
			}
			h.m.mu.Lock()
			for _, frame := range h.m.rows[watched] {
				if len(frame.Body) > 80<<10 {
					t.Errorf("a frame has %d bytes", len(frame.Body))
				}
			}
			h.m.mu.Unlock()
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
		})
	})
	t.Run("by right alone, for as long as it is had", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			defer h.runs()()
			l := h.start(watched, "ana", everything)
			nobody := access.Caller{Principal: access.Principal{Kind: access.User, ID: "mal", Name: "mal"}, Scopes: []access.Action{"*"}, At: time.Now()}
			if _, err := h.Watch(t.Context(), nobody, watched); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Denied) {
				t.Errorf("a stranger: %v", err)
			}
			f, err := h.Watch(t.Context(), h.watcher("eve"), watched)
			if err != nil {
				t.Fatal(err)
			}
			h.m.mu.Lock()
			h.m.bindings = slices.DeleteFunc(h.m.bindings, func(b access.Binding) bool { return b.Subject.ID == "eve" })
			h.m.mu.Unlock()
			began := time.Now()
			for err == nil {
				_, err = f.Next(t.Context())
			}
			if !fault.Is(err, fault.Denied) || time.Since(began) > 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
			if _, err := h.Watch(t.Context(), h.watcher("eve"), watched); !errors.Is(err, remote.ErrOver) {
				t.Errorf("after the end: %v", err)
			}
		})
	})
	t.Run("not where it cannot be put on record", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start(watched, "ana", everything)
			by := h.watcher("eve")
			h.Audit = &audit.Service{Store: liveAudit{m: &liveStore{down: errDiskFull}}, Now: time.Now}
			if _, err := h.Watch(t.Context(), by, watched); !errors.Is(err, errDiskFull) || len(h.m.watches) != 0 {
				t.Errorf("%v, %d watches", err, len(h.m.watches))
			}
			l.Close(remote.Closed, "")
			<-l.Done()
			synctest.Wait()
		})
	})
}

// Whoever looks on from the beginning sees every byte, whatever is a character and however it is cut; whoever comes later sees the end of it.
func TestWatch_shows_what_was_printed(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune{'a', 'ß', '€', '😀', '\n', '\x1b', '"', '<'})).Draw(r, "text")
		parts := []byte(text)
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(parts)), 0, 8).Draw(r, "cuts")
		slices.Sort(cuts)
		joins := rapid.IntRange(0, len(cuts)).Draw(r, "when somebody comes late")
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			stop := h.runs()
			l := h.start(watched, "ana", everything)
			c, far := h.terminal(l)
			go drain(c)
			first, err := h.Watch(context.Background(), h.watcher("eve"), watched)
			if err != nil {
				t.Fatal(err)
			}
			var feeds []*remote.Feed
			feeds = append(feeds, first)
			at := 0
			for i, cut := range append(cuts, len(parts)) {
				time.Sleep(1500 * time.Millisecond)
				if i == joins {
					late, err := h.Watch(context.Background(), h.watcher("mal"), watched)
					if err != nil {
						t.Fatal(err)
					}
					feeds = append(feeds, late)
				}
				if cut > at {
					_, _ = far.print.Write(parts[at:cut])
					at = cut
				}
			}
			for _, f := range feeds {
				var s seen
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				for {
					frames, err := f.Next(ctx)
					if err != nil {
						break
					}
					s.take(t, frames)
				}
				cancel()
				if s.text != text {
					t.Errorf("saw %q of %q", s.text, text)
				}
			}
			l.Close(remote.Closed, "")
			<-l.Done()
			stop()
		})
	})
}
