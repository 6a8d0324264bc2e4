package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

func TestRecording(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	r, terminal := begin(t, h, s)
	must(t, terminal.Output([]byte("Grüße \x1b[1mWelt\x1b[0m\r\n")))
	must(t, terminal.Input([]byte("secret\r")))
	must(t, terminal.Resize(remote.Size{Cols: 120, Rows: 40}))
	must(t, terminal.Mark("15 minutes left"))
	must(t, r.Note(remote.Note{At: time.Now(), Channel: "forward", Kind: "forward", Name: "10.0.0.1:80", Bytes: 10, Sent: 5, SHA256: "aa"}))
	must(t, r.Note(remote.Note{At: time.Now(), Channel: "exec", Kind: "refused", Way: "exec", Text: "the grant does not give it"}))
	must(t, terminal.Close(remote.Exit{Status: 3}))
	must(t, r.End(t.Context(), s))

	report := h.whole(t, s)
	if report.Segments != 2 || report.Recording != s.ID || report.Cut != "" {
		t.Errorf("%+v", report)
	}
	cast, err := os.ReadFile(filepath.Join(h.dir, s.ID, "terminal.000001.cast"))
	must(t, err)
	lines := strings.Split(string(cast), "\n")
	if !strings.HasPrefix(lines[0], `{"version":3,"term":{"cols":100,"rows":30,"type":"xterm-256color"},"timestamp":`) {
		t.Errorf("header: %s", lines[0])
	}
	for i, want := range []string{`, "o", "Grüße \u001b[1mWelt\u001b[0m\r\n"]`, `, "r", "120x40"]`, `, "m", "15 minutes left"]`, `, "x", "3"]`} {
		if got := lines[2+i]; !strings.HasSuffix(got, want) || !strings.HasPrefix(got, "[0.") {
			t.Errorf("line %d is %s, want ...%s", 3+i, got, want)
		}
	}
	// Without recording.keystrokes nothing remains of what was typed but its count.
	for _, name := range []string{"terminal.000001.cast", "events.000001.jsonl", "manifest.json"} {
		body, err := os.ReadFile(filepath.Join(h.dir, s.ID, name))
		must(t, err)
		sum := sha256.Sum256([]byte("secret\r"))
		if bytes.Contains(body, []byte("secret")) || bytes.Contains(body, []byte(hex.EncodeToString(sum[:]))) {
			t.Errorf("%s tells what was typed", name)
		}
	}
	want := []Channel{
		{Name: "terminal", Kind: "terminal", Is: recorded, Bytes: 22, Sent: 7, Text: "what was typed is counted, not recorded"},
		{Name: "forward", Kind: "forward", Is: notRecorded, To: "10.0.0.1:80", Times: 1, Bytes: 10, Sent: 5, SHA256: "aa", Text: "counted and hashed"},
		{Name: "exec", Kind: "exec", Is: refused, Times: 1, Text: "the grant does not give it"},
	}
	if len(report.Coverage) != len(want) {
		t.Fatalf("coverage %+v", report.Coverage)
	}
	want[0].SHA256 = report.Coverage[0].SHA256
	for i := range want {
		if report.Coverage[i] != want[i] {
			t.Errorf("coverage %+v, want %+v", report.Coverage[i], want[i])
		}
	}
	if entries, _ := os.ReadDir(h.Spool); len(entries) != 0 {
		t.Errorf("the spool still holds %v", entries)
	}
	if said := h.errors(); len(said) != 0 || h.Living() != 0 {
		t.Errorf("errors %q, living %d", said, h.Living())
	}
}

func TestRecording_refuses(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	r, _ := begin(t, h, s)
	if _, err := h.Begin(t.Context(), s); err == nil {
		t.Error("a session was recorded twice")
	}
	for _, name := range []string{"", "events", "terminal", "../x", "a/b", "ü", "a.b", strings.Repeat("a", 65)} {
		if _, err := r.Track(terminalTrack(name)); err == nil {
			t.Errorf("a track was named %q", name)
		}
	}
	for _, id := range []string{"", "..", "../../etc", "01930000-0000-7000-8000-00000000000G"} {
		if _, err := h.Begin(t.Context(), remote.Session{ID: id}); err == nil {
			t.Errorf("session %q was recorded", id)
		}
	}
	must(t, r.End(t.Context(), s))
	if err := r.Note(remote.Note{}); err == nil {
		t.Error("a note was taken after the end")
	}
	if _, err := r.Track(terminalTrack("late")); err == nil {
		t.Error("a track began after the end")
	}
	h.store.down = os.ErrClosed
	if _, err := h.Begin(t.Context(), newSession()); err == nil {
		t.Error("a session was recorded that the database does not know of")
	}
	if h.Living() != 0 {
		t.Error("what did not begin lives")
	}
}

// Rule S15: what is recorded is what was carried, byte for byte, however it was cut.
func TestRecording_holds_every_byte_that_passed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes, a.Settings.Keystrokes = 5000, true })
	rapid.Check(t, func(rt *rapid.T) {
		s := newSession()
		r, terminal := begin(t, h, s)
		piece := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 300),
			rapid.Map(rapid.StringN(0, 200, 600), func(s string) []byte { return []byte(s) }),
			rapid.Just([]byte("\xf0\x9f")), rapid.Just([]byte("\x98\x80")), rapid.Just([]byte("\xe2\x82A")), rapid.Just(bytes.Repeat([]byte("\x1b[m"), 9000)),
		)
		var carried, typed []byte
		for range rapid.IntRange(0, 20).Draw(rt, "writes") {
			p := piece.Draw(rt, "bytes")
			carried = append(carried, p...)
			if err := terminal.Output(p); err != nil {
				rt.Fatal(err)
			}
			q := piece.Draw(rt, "typed")
			typed = append(typed, q...)
			if err := terminal.Input(q); err != nil {
				rt.Fatal(err)
			}
		}
		if err := terminal.Close(remote.Exit{}); err != nil {
			rt.Fatal(err)
		}
		if err := r.End(t.Context(), s); err != nil {
			rt.Fatal(err)
		}
		report := h.verify(t, s)
		if len(report.Problems) > 0 {
			rt.Fatalf("%+v", report.Problems)
		}
		sum := sha256.Sum256(carried)
		if c := report.Coverage[0]; c.Bytes != int64(len(carried)) || c.SHA256 != hex.EncodeToString(sum[:]) || c.Sent != int64(len(typed)) {
			rt.Fatalf("%+v, carried %d, typed %d", c, len(carried), len(typed))
		}
		if got, want := h.output(t, s, "terminal"), string([]rune(string(carried))); got != want {
			rt.Fatalf("recorded %q, carried %q", got, want)
		}
	})
}

// Eight bytes at a time are the same as one at a time.
func TestPlainRun(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := rapid.SliceOfN(rapid.OneOf(rapid.ByteRange('a', 'z'), rapid.SampledFrom([]byte("\x00\x1f !\"#[\\]~\x7f\x80\xff")), rapid.Byte()), 0, 40).Draw(rt, "bytes")
		want := slices.IndexFunc(p, func(c byte) bool { return !plain[c] })
		if want < 0 {
			want = len(p)
		}
		if got := plainRun(p); got != want {
			rt.Fatalf("%d of %q, not %d", got, p, want)
		}
	})
}

// Rule W14: a spool that cannot be written ends the recording, and with it the session.
func TestRecording_fails_where_the_disk_is_full(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	r, terminal := begin(t, h, s)
	must(t, terminal.Output([]byte("before")))
	fill(t, terminal.(*track))
	if err := terminal.Output([]byte("after")); err == nil {
		t.Fatal("a full disk went unnoticed")
	}
	select {
	case <-r.Failed():
	default:
		t.Fatal("Failed is not closed")
	}
	if r.Err() == nil || r.Note(remote.Note{}) == nil || terminal.Input(nil) == nil || terminal.Mark("x") == nil {
		t.Error("something was taken after the failure")
	}
	if _, err := r.Track(terminalTrack("other")); err == nil {
		t.Error("a track began after the failure")
	}
	if err := terminal.Output([]byte("more")); err == nil {
		t.Error("output was taken after the failure")
	}
}

// fill makes the disk full under a track.
func fill(t *testing.T, tr *track) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	must(t, tr.file.Close())
	tr.file = full
}

// Rule W14: so does a bucket that does not take what was recorded.
func TestRecording_fails_where_the_bucket_is_lost(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes, a.Settings.Patience = 4096, 100*time.Millisecond })
	h.run(t)
	s := newSession()
	r, terminal := begin(t, h, s)
	must(t, os.Remove(h.dir))
	must(t, os.WriteFile(h.dir, nil, 0o600)) // where the directory was
	must(t, terminal.Output(bytes.Repeat([]byte("x"), 5000)))
	select {
	case <-r.Failed():
	case <-time.After(10 * time.Second):
		t.Fatal("the lost bucket went unnoticed")
	}
	is(t, r.Err(), errLate)
	if err := r.End(t.Context(), s); err == nil {
		t.Error("the recording ended in peace")
	}
	// What the spool holds is finished once there is a bucket again.
	must(t, os.Remove(h.dir))
	eventually(t, func() bool {
		known, err := h.store.Recording(t.Context(), s.ID)
		return err == nil && known.Settled
	})
	report := h.whole(t, s)
	if report.Cut != "recording failed" {
		t.Errorf("%+v", report)
	}
	if got := h.output(t, s, "terminal"); got != strings.Repeat("x", 5000) {
		t.Errorf("%d bytes are left", len(got))
	}
}

func TestRecording_ends_where_it_is_as_large_as_it_may_be(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes, a.Settings.MaxBytes = 2048, 8192 })
	h.run(t)
	s := newSession()
	r, terminal := begin(t, h, s)
	var err error
	kept := 0
	for ; err == nil && kept < 100; kept++ {
		err = terminal.Output(bytes.Repeat([]byte("x"), 1000))
	}
	kept--
	is(t, err, remote.ErrFull)
	is(t, r.Err(), remote.ErrFull)
	if kept < 6 || kept > 8 {
		t.Errorf("%d KB were kept", kept)
	}
	must(t, r.End(t.Context(), s))
	if report := h.whole(t, s); report.Cut != remote.ErrFull.Error() {
		t.Errorf("%+v", report)
	}
	if got := h.output(t, s, "terminal"); got != strings.Repeat("x", kept*1000) {
		t.Errorf("%d bytes are kept", len(got))
	}
}

// A disk that is nearly full is left to the database: what is recorded ends before.
func TestRecording_leaves_room_on_the_disk(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(501)
	var told atomic.Int64
	h := newHouse(t, func(a *Archive) {
		a.Settings.MinFree, a.Observe.Free = 500, told.Store
		a.free = func(string) (int64, error) { return free.Load(), nil }
	})
	h.run(t)
	s := newSession()
	r, terminal := begin(t, h, s)
	must(t, terminal.Output([]byte("before")))
	free.Store(499)
	select {
	case <-r.Failed():
	case <-time.After(10 * time.Second):
		t.Fatal("the disk went unnoticed")
	}
	is(t, r.Err(), errLow)
	must(t, r.End(t.Context(), s))
	if report := h.whole(t, s); report.Cut != "recording failed" || h.output(t, s, "terminal") != "before" {
		t.Errorf("%+v", report)
	}
	if _, err := h.Begin(t.Context(), newSession()); !errors.Is(err, errLow) || told.Load() != 499 {
		t.Errorf("began with %v, told %d", err, told.Load())
	}
	if _, err := freeOf(t.TempDir()); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// What is printed waits for what was printed before to be stored.
func TestRoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes, a.Settings.Patience = 1024, time.Hour })
	r, terminal := begin(t, h, newSession()) // nobody uploads yet
	for range maxPending {
		r.Room(false, nil)
		must(t, terminal.Output(bytes.Repeat([]byte("x"), 1024)))
	}
	r.Room(true, nil) // what people type is counted alone
	over := make(chan struct{})
	close(over)
	r.Room(false, over) // returns, though there is none
	waited := make(chan struct{})
	go func() { r.Room(false, nil); close(waited) }()
	select {
	case <-waited:
		t.Fatal("there is room")
	default:
	}
	h.run(t)
	<-waited
}

// An answer that does not come once is none; for long it is a disk of which nobody knows. A disk that hangs holds up neither what is recorded nor its end.
func TestRecording_asks_the_disk_apart_from_all_else(t *testing.T) {
	t.Parallel()
	var bad atomic.Bool
	hang := make(chan struct{})
	h := newHouse(t, func(a *Archive) {
		a.Settings.MinFree, a.Settings.Patience, a.Settings.SegmentTime = 500, 3*time.Second, 10*time.Millisecond
		a.free = func(string) (int64, error) {
			if bad.Load() {
				<-hang
				return 0, errLow
			}
			return 1000, nil
		}
	})
	must(t, h.Space())
	h.run(t)
	t.Cleanup(sync.OnceFunc(func() { close(hang) }))
	s := newSession()
	r, terminal := begin(t, h, s)
	bad.Store(true)
	must(t, terminal.Output([]byte("on and on")))
	eventually(t, func() bool { // its segment is closed and stored all the same
		pieces, err := h.store.Pieces(t.Context(), s.ID)
		return err == nil && slices.ContainsFunc(pieces, func(p remote.Piece) bool { return p.Track == "terminal" })
	})
	select {
	case <-r.Failed():
	case <-time.After(time.Minute):
		t.Fatal("nobody asks any more")
	}
	is(t, r.Err(), errNoAnswer)
	if strings.Contains(r.Err().Error(), "%!") {
		t.Errorf("it says %q", r.Err())
	}
	if _, err := h.Begin(t.Context(), newSession()); !errors.Is(err, errNoAnswer) {
		t.Errorf("began with %v", err)
	}
}

// Whoever prints most keeps nobody from being recorded, and is recorded however slow the place is where recordings are kept.
func TestRecording_of_others_goes_on_in_a_flood(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) {
		a.Settings.SegmentBytes, a.Settings.SegmentTime, a.Settings.Patience = 4096, 10*time.Millisecond, 3*time.Second
	})
	h.store.slow = 100 * time.Millisecond
	h.run(t)
	stop := make(chan struct{})
	var floods sync.WaitGroup
	for range 2 * uploaders {
		r, terminal := begin(t, h, newSession())
		floods.Go(func() {
			for {
				r.Room(false, stop)
				select {
				case <-stop:
					return
				default:
				}
				if err := terminal.Output(bytes.Repeat([]byte("x"), 4096)); err != nil {
					t.Errorf("a flood: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		s := newSession()
		r, terminal := begin(t, h, s)
		must(t, terminal.Output([]byte("hello")))
		eventually(t, func() bool {
			pieces, err := h.store.Pieces(t.Context(), s.ID)
			return err != nil || r.Err() != nil || slices.ContainsFunc(pieces, func(p remote.Piece) bool { return p.Track == "terminal" })
		})
		must(t, r.Err())
	}
	close(stop)
	floods.Wait()
}

func TestRecording_segments_close_by_time(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) { a.Settings.SegmentTime = 20 * time.Millisecond })
	h.run(t)
	s := newSession()
	r, terminal := begin(t, h, s)
	for i := range 3 {
		must(t, terminal.Output([]byte("tick")))
		eventually(t, func() bool {
			pieces, _ := h.store.Pieces(t.Context(), s.ID)
			n := 0
			for _, p := range pieces {
				if p.Track == "terminal" {
					n++
				}
			}
			return n == i+1
		})
	}
	must(t, r.End(t.Context(), s))
	h.whole(t, s)
	if got := h.output(t, s, "terminal"); got != "tickticktick" {
		t.Errorf("%q", got)
	}
}

// eventually waits for the loops of the archive.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatal("it did not happen")
		case <-tick.C:
		}
	}
}

func TestRecover_finishes_what_a_crash_left(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 }), newSession()
	r, terminal := begin(t, h, s)
	must(t, r.Note(remote.Note{Channel: "files", Kind: "file", Name: "/etc/passwd", Bytes: 9, SHA256: "bb", Way: "download"}))
	must(t, terminal.Output(bytes.Repeat([]byte("0123456789"), 500)))
	must(t, terminal.Output([]byte("last words")))
	// The process dies with half a line on the disk.
	spool := filepath.Join(h.Spool, s.ID)
	f, err := os.OpenFile(filepath.Join(spool, "terminal.000002.cast"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(`[0.5, "o", "half a li`)
	must(t, err)
	must(t, f.Close())
	must(t, os.WriteFile(filepath.Join(spool, "exec.000001.cast"), []byte(`{"version":3,`), 0o600))

	next := h.after(t, h.Spool)
	must(t, next.Recover(t.Context()))
	report := next.whole(t, s)
	if report.Cut != nodeLost || report.Segments != 3 {
		t.Errorf("%+v", report)
	}
	if got := next.output(t, s, "terminal"); got != strings.Repeat("0123456789", 500)+"last words" {
		t.Errorf("%q", got)
	}
	if c := report.Coverage; len(c) != 2 || c[0].Bytes != 5010 || c[1].Is != notRecorded || c[1].To != "/etc/passwd" {
		t.Errorf("%+v", c)
	}
	if entries, _ := os.ReadDir(next.Spool); len(entries) != 0 {
		t.Errorf("the spool still holds %v", entries)
	}
	must(t, next.Recover(t.Context())) // once more is nothing
}

func TestRecover_leaves_what_never_began(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	must(t, os.MkdirAll(filepath.Join(h.Spool, newSession().ID), 0o700))
	must(t, os.MkdirAll(filepath.Join(h.Spool, "not-ours"), 0o700))
	must(t, h.Recover(t.Context()))
	entries, err := os.ReadDir(h.Spool)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "not-ours" {
		t.Errorf("%v", entries)
	}
}

// Another node signs what a lost one has brought to the bucket. When that one comes back with more, it signs anew, and says of which manifest.
func TestCut_by_another_node(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 }), newSession()
	_, terminal := begin(t, h, s)
	must(t, terminal.Output(bytes.Repeat([]byte("a"), 5000)))
	h.uploads(t)
	must(t, terminal.Output([]byte("and what never left the node")))

	other := h.after(t, t.TempDir())
	must(t, other.Cut(t.Context(), s))
	report := other.whole(t, s)
	if report.Cut != nodeLost || report.Segments != 1 || report.Coverage[0].Bytes != 5000 {
		t.Errorf("%+v", report)
	}
	first, err := os.ReadFile(filepath.Join(h.dir, s.ID, manifestName))
	must(t, err)
	must(t, other.Cut(t.Context(), s)) // it is signed
	must(t, other.Cut(t.Context(), newSession()))

	back := h.after(t, h.Spool)
	must(t, back.Recover(t.Context()))
	if report := back.whole(t, s); report.Segments != 3 || report.Coverage[0].Bytes != 5028 {
		t.Errorf("%+v", report)
	}
	again, err := os.ReadFile(filepath.Join(h.dir, s.ID, manifestName))
	must(t, err)
	m, _, err := readManifest(again)
	must(t, err)
	if m.Replaces != hexSum(first) {
		t.Error("the second manifest does not name the first")
	}
}

// Both may sign at a time. What its own node signs is what stays, and the bucket has what the database has.
func TestCut_while_the_node_is_back(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"Pieces", "FinishRecording", "finished"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			h, s := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 }), newSession()
			_, terminal := begin(t, h, s)
			must(t, terminal.Output(bytes.Repeat([]byte("a"), 5000)))
			h.uploads(t)
			must(t, terminal.Output([]byte("and what never left the node")))
			back, other := h.after(t, h.Spool), h.after(t, t.TempDir())
			h.store.during = map[string]func(){when: func() { must(t, back.Recover(t.Context())) }}
			must(t, other.Cut(t.Context(), s))
			if report := back.whole(t, s); report.Segments != 3 || report.Coverage[0].Bytes != 5028 {
				t.Errorf("%+v", report)
			}
			known, err := h.store.Recording(t.Context(), s.ID)
			must(t, err)
			kept, err := os.ReadFile(filepath.Join(h.dir, s.ID, manifestName))
			must(t, err)
			if !bytes.Equal(kept, known.Manifest) {
				t.Error("the bucket has another manifest than the database")
			}
		})
	}
}

// What was uploaded and could not be signed is signed the next time, also where another node had signed what there was before.
func TestRecover_that_did_not_come_to_sign(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{true, false} {
		h, s := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 }), newSession()
		_, terminal := begin(t, h, s)
		must(t, terminal.Output(bytes.Repeat([]byte("a"), 5000)))
		h.uploads(t)
		must(t, terminal.Output([]byte("and what never left the node")))
		if cut {
			must(t, h.after(t, t.TempDir()).Cut(t.Context(), s))
		}
		h.store.during = map[string]func(){"FinishRecording": func() { h.store.fails(errors.New("connection refused")) }}
		if err := h.after(t, h.Spool).Recover(t.Context()); err == nil {
			t.Error("it was signed without a database")
		}
		h.store.fails(nil)
		back := h.after(t, h.Spool)
		must(t, back.Recover(t.Context()))
		if report := back.whole(t, s); report.Segments != 3 || report.Coverage[0].Bytes != 5028 {
			t.Errorf("%+v", report)
		}
		wantSpooled(t, h)
	}
}

// wantSpooled expects what a spool holds.
func wantSpooled(t *testing.T, h *house, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(h.Spool)
	must(t, err)
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the spool holds %q, not %q", got, want)
	}
}

// Whoever signed may not have come to put the manifest there.
func TestCut_sees_to_it_that_the_manifest_is_there(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	_, terminal := begin(t, h, s)
	must(t, terminal.Output([]byte("hello")))
	other := h.after(t, t.TempDir())
	must(t, other.Cut(t.Context(), s))
	must(t, os.Remove(filepath.Join(h.dir, s.ID, manifestName)))
	must(t, other.Cut(t.Context(), s))
	other.whole(t, s)
	must(t, os.WriteFile(filepath.Join(h.dir, s.ID, manifestName), []byte("one that lost"), 0o600))
	must(t, other.Cut(t.Context(), s))
	other.whole(t, s)
}

// A node may be away for longer than recordings are kept.
func TestRecover_does_not_fill_what_was_erased(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 }), newSession()
	_, terminal := begin(t, h, s)
	must(t, terminal.Output(bytes.Repeat([]byte("a"), 5000)))
	h.uploads(t)
	other := h.after(t, t.TempDir())
	must(t, other.Cut(t.Context(), s))
	must(t, os.WriteFile(filepath.Join(h.dir, s.ID, "terminal.000009.cast.18.tmp"), []byte("what a crash left"), 0o600))
	must(t, other.Erase(t.Context(), s.ID))
	h.store.known[s.ID].Deleted = time.Now()
	must(t, h.after(t, h.Spool).Recover(t.Context()))
	wantSpooled(t, h)
	left, err := os.ReadDir(filepath.Join(h.dir, s.ID))
	must(t, err)
	if len(left) != 1 || left[0].Name() != manifestName {
		t.Errorf("%v", left)
	}
}

// A database that was restored from an older copy knows nothing of what was recorded since.
func TestRecover_keeps_what_the_database_does_not_know(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	_, terminal := begin(t, h, s)
	must(t, terminal.Output([]byte("precious")))
	delete(h.store.known, s.ID)
	back := h.after(t, h.Spool)
	if err := back.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), orphan+s.ID) {
		t.Errorf("it is said that %v", err)
	}
	wantSpooled(t, h, orphan+s.ID)
	must(t, back.Recover(t.Context()))
	if text, err := os.ReadFile(filepath.Join(h.Spool, orphan+s.ID, "terminal.000001.cast")); err != nil || !strings.Contains(string(text), "precious") {
		t.Errorf("%q, %v", text, err)
	}
	must(t, h.store.BeginRecording(t.Context(), s.ID, s.Started)) // it was the wrong database
	must(t, back.Recover(t.Context()))
	wantSpooled(t, h)
	if report := back.whole(t, s); report.Coverage[0].Bytes != 8 {
		t.Errorf("%+v", report)
	}
}

// A crash may come when half of a spool is removed, and its end first. What was signed is whole, and stays.
func TestRecover_signs_nothing_twice(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		h, s := newHouse(t), newSession()
		r, terminal := begin(t, h, s)
		must(t, terminal.Output([]byte("all of it")))
		if cut {
			must(t, h.after(t, h.Spool).Recover(t.Context()))
		} else {
			must(t, r.End(t.Context(), s))
		}
		was := h.store.known[s.ID].Manifest
		must(t, os.Mkdir(filepath.Join(h.Spool, s.ID), 0o700))
		must(t, os.WriteFile(filepath.Join(h.Spool, s.ID, aboutFile), []byte("{}"), 0o600))
		must(t, h.after(t, h.Spool).Recover(t.Context()))
		wantSpooled(t, h)
		if is := h.store.known[s.ID].Manifest; !bytes.Equal(is, was) {
			t.Errorf("cut: %t: it was signed anew: %s", cut, is)
		}
	}
}

// A node may die, or lose the database, between the beginning of a recording and that of its session. Nothing was carried: that is what is signed once the
// session is over.
func TestRecover_what_only_began(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	_, err := h.Begin(t.Context(), s)
	must(t, err)
	back := h.after(t, h.Spool)
	if _, err := back.Begin(t.Context(), s); err == nil {
		t.Error("what another has begun is taken over")
	}
	wantSpooled(t, h, s.ID) // and left alone
	must(t, back.Recover(t.Context()))
	wantSpooled(t, h)
	if _, err := back.Begin(t.Context(), s); !errors.Is(err, remote.ErrRecorded) {
		t.Errorf("it begins anew with %v", err)
	}
	wantSpooled(t, h)
	must(t, back.Cut(t.Context(), s))
	if report := back.whole(t, s); report.Cut != nodeLost || report.Segments != 0 {
		t.Errorf("%+v", report)
	}
}

// Where a write hangs, or a sync, nothing is on the disk any more: nobody goes on as if it were.
func TestRecording_fails_where_the_disk_hangs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) { a.Settings.Patience = 100 * time.Millisecond })
	_, terminal := begin(t, h, newSession())
	other, _ := begin(t, h, newSession())
	h.run(t)
	stuck := terminal.(*track)
	stuck.mu.Lock() // as a write does
	t.Cleanup(stuck.mu.Unlock)
	select {
	case <-other.Failed():
		is(t, other.Err(), errHangs)
	case <-time.After(time.Minute):
		t.Error("nobody looks any more")
	}
}

// A second is what a crash of the machine may cost, of closed segments that wait for the bucket too.
func TestRecording_syncs_closed_segments(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 })
	made, terminal := begin(t, h, newSession())
	r := made.(*recorder)
	must(t, r.sync())
	must(t, terminal.Output(bytes.Repeat([]byte("a"), 5000)))
	must(t, terminal.Output([]byte("b")))
	var names []string
	for _, f := range r.dirty() {
		names = append(names, filepath.Base(f.Name()))
	}
	if want := []string{"terminal.000001.cast", "terminal.000002.cast"}; !slices.Equal(names, want) {
		t.Errorf("%q are synced, not %q", names, want)
	}
	if more := r.dirty(); len(more) > 0 {
		t.Errorf("%v are synced once more", more)
	}
}

// Files that a crash left beside the recordings go, once nobody writes them any more.
func TestRun_sweeps_the_bucket(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	fresh, old := filepath.Join(h.dir, newPrefix+"1"), filepath.Join(h.dir, newPrefix+"2")
	for _, name := range []string{fresh, old} {
		must(t, os.WriteFile(name, []byte("half"), 0o600))
	}
	must(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*abandoned)))
	h.run(t)
	eventually(t, func() bool { _, err := os.Stat(old); return errors.Is(err, os.ErrNotExist) })
	if _, err := os.Stat(fresh); err != nil {
		t.Error(err)
	}
}

// What was open when the node died is not passed over.
func TestRecover_names_what_was_open(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	r, _ := begin(t, h, s)
	for _, n := range []remote.Note{
		{Kind: "opened", Channel: "forward", Way: "forward", Name: "db:5432"},
		{Kind: "opened", Channel: "forward-2", Way: "forward", Name: "db:5433"},
		{Kind: "forward", Channel: "forward", Name: "db:5432", Bytes: 7},
		{Kind: "opened", Channel: "files", Way: "files"},
		{Kind: "opened", Channel: "terminal", Way: "shell"},
		{Kind: "opened", Channel: "exec", Way: "files", Name: "scp -t /tmp"},
	} {
		must(t, r.Note(n))
	}
	back := h.after(t, h.Spool)
	must(t, back.Recover(t.Context()))
	var lines []string
	for _, c := range back.whole(t, s).Coverage {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %d %s", c.Name, c.Kind, c.Is, c.Bytes, c.To)))
	}
	want := []string{"terminal terminal recorded 0", "forward forward not recorded 7 db:5432", "files file not recorded 0", "forward-2 forward not recorded 0 db:5433"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q, not %q", lines, want)
	}
}

// The node itself has more of it than the bucket does.
func TestCut_leaves_what_is_in_the_spool(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	_, terminal := begin(t, h, s)
	must(t, terminal.Output([]byte("in the spool")))
	back := h.after(t, h.Spool)
	must(t, back.Cut(t.Context(), s))
	if known, err := h.store.Recording(t.Context(), s.ID); err != nil || known.Manifest != nil {
		t.Errorf("%+v, %v", known, err)
	}
	must(t, back.Recover(t.Context()))
	back.whole(t, s)
}

func TestCut_names_what_never_reached_the_bucket(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 }), newSession()
	_, terminal := begin(t, h, s)
	must(t, terminal.Output(bytes.Repeat([]byte("a"), 5000)))
	must(t, terminal.Output(bytes.Repeat([]byte("b"), 5000)))
	h.uploads(t)
	must(t, os.Remove(filepath.Join(h.dir, s.ID, "terminal.000002.cast")))
	other := h.after(t, t.TempDir())
	must(t, other.Cut(t.Context(), s))
	other.whole(t, s)
	text, err := os.ReadFile(filepath.Join(h.dir, s.ID, manifestName))
	must(t, err)
	m, _, err := readManifest(text)
	must(t, err)
	if seg := m.Tracks[0].Segments; len(seg) != 2 || seg[0].Missing || !seg[1].Missing {
		t.Errorf("%+v", seg)
	}
}

// Segments reach the bucket in order. A hole among them is no crash: somebody has removed one before the recording of a lost node was signed.
func TestCut_names_a_hole(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t, func(a *Archive) { a.Settings.SegmentBytes = 4096 }), newSession()
	_, terminal := begin(t, h, s)
	must(t, terminal.Output(bytes.Repeat([]byte("a"), 5000)))
	must(t, terminal.Output(bytes.Repeat([]byte("b"), 5000)))
	h.uploads(t)
	must(t, os.Remove(filepath.Join(h.dir, s.ID, "terminal.000001.cast")))
	must(t, h.after(t, t.TempDir()).Cut(t.Context(), s))
	report := verifyDir(t, filepath.Join(h.dir, s.ID), h.Signer.Public())
	if len(report.Problems) != 1 || report.Problems[0].Segment != "terminal.000001.cast" || report.Trust != Signed || report.Cut == "" {
		t.Errorf("%+v", report)
	}
}

// rule W14: a command is recorded as long as it is run, or who writes 4 KiB of blanks before it runs it unseen.
func TestTrack_keeps_the_whole_command(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSession()
	r, _ := begin(t, h, s)
	command := "true" + strings.Repeat(" ", 40_000) + strings.Repeat("\x01", 20_000) + "; rm -r hidden"
	track, err := r.Track(remote.Track{Name: "exec", Kind: "exec", Terminal: remote.Terminal{Command: command}})
	must(t, err)
	must(t, track.Close(remote.Exit{}))
	must(t, r.End(t.Context(), s))
	h.whole(t, s)
	var out bytes.Buffer
	must(t, h.Export(t.Context(), s.ID, remote.Export{Track: "exec", Format: remote.AsciicastV3, Raw: true}, &out))
	if !strings.Contains(out.String(), "rm -r hidden") {
		t.Errorf("what was run is not in the %d bytes of the track", out.Len())
	}
	tracks, err := h.Tracks(t.Context(), s.ID)
	must(t, err)
	if i := slices.IndexFunc(tracks, func(one remote.TrackInfo) bool { return one.Name == "exec" }); i < 0 || tracks[i].Kind != "exec" {
		t.Errorf("%+v", tracks)
	}
}

func TestCoverage_is_bounded(t *testing.T) {
	t.Parallel()
	var c coverage
	for i := range 10_000 {
		c.note(remote.Note{Kind: "forward", Channel: "forward-" + string(rune('a'+i%26)) + strings.Repeat("x", i%300), Name: strings.Repeat("n", 5000), Bytes: 1})
	}
	text, err := json.Marshal(c.lines)
	must(t, err)
	var sum int64
	for _, l := range c.lines {
		sum += l.Bytes
	}
	if len(c.lines) > maxChannels+1 || len(text) > 400<<10 || sum != 10_000 {
		t.Errorf("%d lines of %d bytes for %d", len(c.lines), len(text), sum)
	}
}
