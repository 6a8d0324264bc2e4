package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

const (
	ringSize    = 64 << 10         // of the latest output that who comes late sees
	frameLife   = time.Minute      // how long frames lie in the store
	snapshotGap = 5 * time.Second  // how long after another one comes where something passes, so that somebody can begin there
	snapshotMay = 30 * time.Second // and where nothing does
	watchBack   = 10 * time.Second // how far back a feed looks for a frame to begin with: more than snapshotGap, and the difference of clocks
)

// Frames that hold all that there is to see begin with one of these events. Whoever begins to look on begins with such a frame. One that says "skipped" is for
// all: so much passed that not all of it was written.
const (
	snapshotMark = `[[0,"m","snapshot"]`
	skippedMark  = `[[0,"m","skipped"]`
)

// screen is what who looks on at a session sees: the terminal that was opened first of those that are open. It costs the session a copy into a ring, and no more
// while nobody looks on.
type screen struct {
	mu       sync.Mutex
	shown    *channel
	size     Size
	ring     []byte // the latest output; once it is ringSize long it goes round
	at       int    // where the next byte goes
	names    []string
	pending  []event
	bytes    int // of output that is pending
	skipped  bool
	due      bool // a snapshot is
	snapshot time.Time
	last     time.Time // of the last event that was written
	tail     []byte    // the beginning of a character that was not whole
	sequence int64

	newFilter func() func(dst, p []byte) []byte // nil: what is seen is as it was printed
	filter    func(dst, p []byte) []byte        // what passes goes through it; a frame that holds all begins anew
}

// event is one of asciicast v3.
type event struct {
	code byte // o, r, m
	data []byte
}

func (s *screen) watchers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// look says who looks on now, and returns who has come.
func (s *screen) look(names []string) (came []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := slices.Clone(s.names)
	for _, name := range names {
		if i := slices.Index(before, name); i >= 0 {
			before = slices.Delete(before, i, i+1)
		} else {
			came = append(came, name)
		}
	}
	s.names = slices.Clone(names)
	s.due = s.due || len(came) > 0
	if len(names) == 0 {
		s.pending, s.bytes, s.skipped, s.due = nil, 0, false, false
	}
	return came
}

// begin makes the next frame one with which somebody can begin.
func (s *screen) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = true
}

// show begins to show a channel, unless there is one with at least as much to see.
func (s *screen) show(c *channel, size Size) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown != nil && (s.shown.pty || !c.pty) {
		return
	}
	s.shown = c
	if c.pty && size.Cols > 0 && size.Rows > 0 {
		s.size = size
		s.add('r', []byte(size.String()))
	}
}

func (s *screen) hide(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown == c {
		s.shown = nil
	}
}

// String is how asciicast v3 writes a size.
func (s Size) String() string { return strconv.Itoa(s.Cols) + "x" + strconv.Itoa(s.Rows) }

func (s *screen) resize(c *channel, size Size) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown == c {
		s.size = size
		s.add('r', []byte(size.String()))
	}
}

// output shows what a channel printed.
func (s *screen) output(c *channel, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown == nil {
		s.shown = c // the one before was closed
	}
	if s.shown != c {
		return
	}
	s.keep(p)
	s.add('o', p)
}

// keep puts output into the ring.
func (s *screen) keep(p []byte) {
	if len(p) >= ringSize {
		p = p[len(p)-ringSize:]
	}
	if room := ringSize - len(s.ring); room > 0 {
		n := min(room, len(p))
		s.ring = append(s.ring, p[:n]...)
		p = p[n:]
		s.at = len(s.ring) % ringSize
	}
	for len(p) > 0 {
		n := copy(s.ring[s.at:], p)
		p = p[n:]
		s.at = (s.at + n) % ringSize
	}
}

// add keeps an event for who looks on. What is too much until the next frame is skipped: the ring has the end of it.
func (s *screen) add(code byte, p []byte) {
	if len(s.names) == 0 || s.skipped {
		return
	}
	if s.bytes += len(p); s.bytes > ringSize {
		s.pending, s.skipped = nil, true
		return
	}
	if n := len(s.pending); n > 0 && code == 'o' && s.pending[n-1].code == 'o' {
		s.pending[n-1].data = append(s.pending[n-1].data, p...)
		return
	}
	s.pending = append(s.pending, event{code, bytes.Clone(p)})
}

// remark tells who looks on of something that is not on the screen.
func (s *screen) remark(n Note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) == 0 {
		return
	}
	text := n.Kind + " " + n.Channel
	for _, part := range []string{n.Way, n.Name, n.Text} {
		if part != "" {
			text += " " + part
		}
	}
	s.add('m', []byte(text))
}

// frames are what has passed since the last call, for who looks on: nothing where nobody does.
func (s *screen) frames(now time.Time) []Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) == 0 {
		return nil
	}
	var out []Frame
	switch {
	case s.skipped:
		out = append(out, s.frame(now, s.whole(skippedMark)))
	case len(s.pending) > 0:
		out = append(out, s.frame(now, s.passed(now)))
	}
	since := now.Sub(s.snapshot)
	late := since >= snapshotGap && len(out) > 0 || since >= snapshotMay
	if (s.due || late) && !s.skipped {
		out = append(out, s.frame(now, s.whole(snapshotMark)))
	}
	if s.skipped || s.due || late {
		s.snapshot = now
	}
	s.pending, s.bytes, s.skipped, s.due = nil, 0, false, false
	return out
}

func (s *screen) frame(now time.Time, body []byte) Frame {
	s.sequence = max(s.sequence+1, now.UnixMicro())
	return Frame{Sequence: s.sequence, At: now, Body: body}
}

// passed is the body of a frame with what is pending.
func (s *screen) passed(now time.Time) []byte {
	b := []byte{'['}
	for _, e := range s.pending {
		if e.code == 'o' {
			text := append(s.tail, s.tamed(e.data)...)
			whole := len(text) - unfinished(text)
			s.tail = bytes.Clone(text[whole:])
			if e.data = text[:whole]; len(e.data) == 0 {
				continue
			}
		}
		interval := 0.0
		if !s.last.IsZero() {
			interval = now.Sub(s.last).Seconds()
		}
		s.last = now
		b = appendEvent(b, interval, e)
	}
	return append(b, ']')
}

// whole is the body of a frame with all that there is to see.
func (s *screen) whole(mark string) []byte {
	text := slices.Concat(s.ring[s.at%max(len(s.ring), 1):], s.ring[:s.at%max(len(s.ring), 1)])
	if len(s.ring) == ringSize { // what went before is gone: begin with a line, or with a character at least
		if i := bytes.IndexByte(text[:ringSize/4], '\n'); i >= 0 {
			text = text[i+1:]
		}
		for len(text) > 0 && !utf8.RuneStart(text[0]) {
			text = text[1:]
		}
	}
	s.filter = nil // whoever sees this has seen nothing before
	text = s.tamed(text)
	end := len(text) - unfinished(text)
	s.tail = bytes.Clone(text[end:])
	b := append([]byte(mark), ',')
	if s.size.Cols > 0 && s.size.Rows > 0 {
		b = appendEvent(b[:len(b)-1], 0, event{'r', []byte(s.size.String())})
		b = append(b, ',')
	}
	s.last = time.Time{}
	return append(appendEvent(b[:len(b)-1], 0, event{'o', append([]byte("\x1bc"), text[:end]...)}), ']') // ESC c: a terminal as new
}

// tamed is output without what could harm those who see it.
func (s *screen) tamed(p []byte) []byte {
	if s.newFilter == nil {
		return p
	}
	if s.filter == nil {
		s.filter = s.newFilter()
	}
	return s.filter(nil, p)
}

// unfinished is the length of the beginning of a character at the end of text that is not whole.
func unfinished(text []byte) int {
	for n := 1; n <= min(utf8.UTFMax-1, len(text)); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// appendEvent writes an event behind "[" or another event.
func appendEvent(b []byte, interval float64, e event) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, '[')
	b = strconv.AppendFloat(b, interval, 'f', -1, 64)
	b = append(b, ',', '"', e.code, '"', ',')
	text, err := json.Marshal(string(e.data)) // what is no UTF-8 becomes U+FFFD
	if err != nil {
		text = []byte(`""`)
	}
	return append(append(b, text...), ']')
}

// frames writes what passes in sessions that somebody looks on at, until ctx ends.
func (s *Service) frames(ctx context.Context) {
	tick := time.NewTicker(orDefault(s.Settings.Frame, 200*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, l := range s.node.all() {
				s.flushOne(ctx, l)
			}
		}
	}
}

func (s *Service) flushOne(ctx context.Context, l *Live) {
	frames := l.screen.frames(s.Now())
	if len(frames) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	if err := s.Store.AddFrames(ctx, l.Session().ID, frames); err != nil && ctx.Err() == nil {
		s.failed("write what passes for who looks on", err)
		l.screen.lost()
	}
}

// lost makes the next frame one that holds all.
func (s *screen) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped = true
}

// seeWatchers finds out who looks on. Each who comes is noted in the recording.
func (s *Service) seeWatchers(ctx context.Context, all []*Live) error {
	ids := make([]string, 0, len(all))
	for _, l := range all {
		ids = append(ids, l.Session().ID)
	}
	names, err := s.Store.Watched(ctx, ids, s.Now())
	if err != nil {
		return err
	}
	for _, l := range all {
		for _, name := range l.screen.look(names[l.Session().ID]) {
			_ = l.note(Note{Kind: "watched", Channel: "session", Name: name}) // a recorder that fails here has ended the session
		}
	}
	return nil
}

// Feed is what passes in a session, for one who looks on.
type Feed struct {
	s  *Service
	by access.Caller
	x  Session
	w  Watching

	after  int64
	begun  bool
	over   bool
	looked time.Time // when the right was last looked at
	kept   time.Time // when the watch was last prolonged
}

// Watch lets somebody with the right look on at a session that is active, on whichever node: by id, number or code. It is on record. The first frame holds
// the size of the terminal and up to 64 KiB of its latest output. Close the feed.
func (s *Service) Watch(ctx context.Context, by access.Caller, ref string) (*Feed, error) {
	x, err := s.Find(ctx, by, ref)
	if err != nil {
		return nil, err
	}
	if err := s.Access.Require(ctx, by, access.RemoteWatch, x.Resource()); err != nil {
		return nil, err
	}
	if x.State != Active {
		return nil, ErrOver
	}
	now := s.Now()
	if err := s.Audit.Record(ctx, s.eventOf(by, eventWatched, x, audit.Done)); err != nil {
		return nil, fmt.Errorf("record watch: %w", err)
	}
	name := by.Name
	if name == "" {
		name = by.ID
	}
	f := &Feed{s: s, by: by, x: x, after: now.Add(-watchBack).UnixMicro(), looked: now}
	f.w = Watching{ID: s.NewID(), Session: x.ID, Watcher: name}
	return f, f.prolong(ctx)
}

// Session is the session as it was when the watch began.
func (f *Feed) Session() Session { return f.x }

// Next waits for the next frames. It reports io.EOF when the session is over and all was read, and Denied when the caller has lost the right. Frames hold
// what the target sent, as it sent it: whoever shows them filters them (rule W10). One caller at a time.
func (f *Feed) Next(ctx context.Context) ([]Frame, error) {
	every := time.NewTicker(orDefault(f.s.Settings.Frame, 200*time.Millisecond))
	defer every.Stop()
	for {
		if err := f.look(ctx); err != nil {
			return nil, err
		}
		frames, err := f.s.Store.Frames(ctx, f.x.ID, f.after, 32)
		if err != nil {
			return nil, err
		}
		if len(frames) > 0 {
			f.after = frames[len(frames)-1].Sequence
			if frames = f.choose(frames); len(frames) > 0 {
				return frames, nil
			}
			continue
		}
		if f.over {
			return nil, io.EOF
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-every.C:
		}
	}
}

// choose leaves out what comes before the first frame that holds all, and such frames that are for others. The latest of those that were there when the feed began
// is the first.
func (f *Feed) choose(frames []Frame) []Frame {
	if !f.begun {
		for i, frame := range slices.Backward(frames) {
			if beginning(frame) {
				f.begun = true
				return append([]Frame{frame}, f.choose(frames[i+1:])...)
			}
		}
		return nil
	}
	return slices.DeleteFunc(frames, func(frame Frame) bool { return bytes.HasPrefix(frame.Body, []byte(snapshotMark)) })
}

func beginning(f Frame) bool {
	return bytes.HasPrefix(f.Body, []byte(snapshotMark)) || bytes.HasPrefix(f.Body, []byte(skippedMark))
}

// look prolongs the watch, and sees from time to time whether the session lives and the caller has the right yet.
func (f *Feed) look(ctx context.Context) error {
	now := f.s.Now()
	if now.Sub(f.looked) >= orDefault(f.s.Settings.Look, time.Second) && !f.over {
		f.looked = now
		x, err := f.s.Store.ByID(ctx, f.x.ID)
		if err != nil {
			return err
		}
		f.over = x.State != Active
		if err := f.s.Access.Require(ctx, f.by, access.RemoteWatch, f.x.Resource()); err != nil {
			return err
		}
	}
	if now.Sub(f.kept) >= f.s.watchLife()/3 && !f.over {
		return f.prolong(ctx)
	}
	return nil
}

func (s *Service) watchLife() time.Duration { return orDefault(s.Settings.WatchLife, 30*time.Second) }

func (f *Feed) prolong(ctx context.Context) error {
	now := f.s.Now()
	f.kept = now
	f.w.Until = now.Add(f.s.watchLife())
	return f.s.Store.Watch(ctx, f.w)
}

// Close ends the watch.
func (f *Feed) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), f.s.patience())
	defer cancel()
	return f.s.Store.Unwatch(ctx, f.w.ID)
}
