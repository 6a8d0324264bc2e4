package recording

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// The formats of tracks.
const (
	castFormat   = "asciicast-v3"
	eventsFormat = "events"
	eventsTrack  = "events" // the name of the one track of events
)

// maxChunk is how much of one write becomes one line: a line is then at most six times as long, and readers bound what they take.
const maxChunk = 16 << 10

// track writes one channel into segments. Each write goes straight to the file; the loop of the archive syncs it.
type track struct {
	r      *recorder
	name   string
	kind   string
	format string
	head   []byte // the header of an asciicast, for the first segment

	mu       sync.Mutex
	file     *os.File
	path     string
	size     int64
	begun    int64 // bytes of the lines with which the segment began
	opened   time.Time
	sum      hash.Hash // of the segment
	number   int64
	previous audit.Hash
	dirty    bool
	start    time.Time
	last     time.Duration // of the last event, since start; whole microseconds
	stamped  time.Duration // of the event that is being written

	out, in stream
	lost    int64 // bytes that came after recording had failed
	exit    *remote.Exit
	closed  bool
}

// stream is one direction of a channel: it counts bytes exactly as they passed, before they became text.
type stream struct {
	bytes    int64
	sum      hash.Hash         // nil: counted alone
	replaced int64             // bytes that are part of no character
	held     [utf8.UTFMax]byte // a character that a read cut
	nheld    int
}

func (s *stream) add(p []byte) {
	s.bytes += int64(len(p))
	if s.sum != nil {
		s.sum.Write(p)
	}
}

func (s *stream) total() *Total {
	total := &Total{Bytes: s.bytes, Replaced: s.replaced}
	if s.sum != nil {
		total.SHA256 = hex.EncodeToString(s.sum.Sum(nil))
	}
	return total
}

// complete adds the character that was held back once its rest is there. What turns out not to be one becomes a replacement for each of its bytes.
func (s *stream) complete(line, p []byte) (_, rest []byte) {
	for s.nheld > 0 && len(p) > 0 {
		s.held[s.nheld] = p[0]
		with := s.held[:s.nheld+1]
		if !utf8.FullRune(with) {
			s.nheld++
			p = p[1:]
			continue
		}
		if _, size := utf8.DecodeRune(with); size == len(with) {
			line = append(line, with...)
			p = p[1:]
			s.nheld = 0
		} else {
			line = s.giveUp(line)
		}
	}
	return line, p
}

// giveUp replaces what was held back.
func (s *stream) giveUp(line []byte) []byte {
	for range s.nheld {
		line = append(line, replacement...)
		s.replaced++
	}
	s.nheld = 0
	return line
}

// lines are buffers for what is written at once: a session at rest holds none.
var lines = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// Output implements remote.Tracker.
func (t *track) Output(p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text('o', p, &t.out)
}

// Input implements remote.Tracker.
func (t *track) Input(p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.r.a.Settings.Keystrokes {
		t.in.add(p) // counted alone: a hash of it would let passwords be guessed
		return t.r.Err()
	}
	return t.text('i', p, &t.in)
}

// text writes bytes as events. A character that is cut waits for its rest.
func (t *track) text(code byte, p []byte, s *stream) error {
	if err := t.lawful(); err != nil {
		t.lost += int64(len(p))
		return err
	}
	for len(p) > 0 {
		n := min(len(p), maxChunk)
		if err := t.chunk(code, p[:n], s); err != nil {
			t.lost += int64(len(p))
			return err
		}
		s.add(p[:n])
		p = p[n:]
	}
	return nil
}

// lawful returns why nothing more can be recorded.
func (t *track) lawful() error {
	if err := t.r.Err(); err != nil {
		return err
	}
	if t.closed {
		return errClosed
	}
	return nil
}

var errClosed = errors.New("the track is closed")

// chunk writes one line behind what was held back of the one before, and holds back what is cut.
func (t *track) chunk(code byte, p []byte, s *stream) error {
	b := lines.Get().(*[]byte)
	defer release(b)
	line := t.stamp((*b)[:0], code)
	empty := len(line)
	line, p = s.complete(line, p)
	whole := len(p) - cutTail(p)
	line, replaced := appendText(line, p[:whole])
	s.replaced += replaced
	s.nheld += copy(s.held[s.nheld:], p[whole:])
	*b = line
	if len(line) == empty { // nothing but the beginning of a character: its time is that of its end
		return nil
	}
	*b = append(line, '"', ']', '\n')
	return t.write(*b)
}

// event writes one event whose text is complete.
func (t *track) event(code byte, text []byte) error {
	b := lines.Get().(*[]byte)
	defer release(b)
	line, _ := appendText(t.stamp((*b)[:0], code), text)
	*b = append(line, '"', ']', '\n')
	return t.write(*b)
}

func release(b *[]byte) {
	if cap(*b) <= 128<<10 {
		lines.Put(b)
	}
}

// stamp begins an event: its interval is that to the event before, in whole microseconds of the track's clock, so that no error adds up.
func (t *track) stamp(line []byte, code byte) []byte {
	t.stamped = max(t.last, t.r.a.Now().Sub(t.start).Truncate(time.Microsecond)) // clocks are set back
	interval := t.stamped - t.last
	line = append(line, '[')
	line = strconv.AppendInt(line, int64(interval/time.Second), 10)
	line = append(line, '.')
	micros := int64(interval % time.Second / time.Microsecond)
	for place := int64(100_000); place > 0; place /= 10 {
		line = append(line, byte('0'+micros/place%10))
	}
	return append(line, ',', ' ', '"', code, '"', ',', ' ', '"')
}

// Resize implements remote.Tracker.
func (t *track) Resize(s remote.Size) error {
	return t.mark('r', strconv.Itoa(s.Cols)+"x"+strconv.Itoa(s.Rows))
}

// Mark implements remote.Tracker.
func (t *track) Mark(text string) error { return t.mark('m', text) }

func (t *track) mark(code byte, text string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.lawful(); err != nil {
		return err
	}
	return t.event(code, []byte(text[:min(len(text), maxChunk)]))
}

// Close implements remote.Tracker.
func (t *track) Close(e remote.Exit) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end(&e)
}

// end writes what is held back and how the channel ended, and closes the last segment. It may be called again.
func (t *track) end(e *remote.Exit) error {
	if t.closed {
		return t.r.Err()
	}
	var err error
	if t.format == castFormat && t.r.Err() == nil {
		err = errors.Join(t.rest('o', &t.out), t.rest('i', &t.in))
		if e != nil && err == nil {
			err = t.event('x', []byte(statusOf(*e)))
		}
	}
	t.exit, t.closed = e, true
	t.rotate()
	return errors.Join(err, t.r.Err())
}

// rest writes what is held back and will never be whole.
func (t *track) rest(code byte, s *stream) error {
	if s.nheld == 0 {
		return nil
	}
	b := lines.Get().(*[]byte)
	defer release(b)
	*b = append(s.giveUp(t.stamp((*b)[:0], code)), '"', ']', '\n')
	return t.write(*b)
}

func statusOf(e remote.Exit) string {
	if e.Signal != "" {
		return "SIG" + e.Signal
	}
	return strconv.Itoa(e.Status)
}

// write puts lines into the segment, which it opens where there is none and closes once it is large.
func (t *track) write(p []byte) error {
	if err := t.open(); err != nil {
		return t.r.fail(fmt.Errorf("open segment: %w", err))
	}
	if err := t.r.grow(len(p)); err != nil {
		return err
	}
	n, err := t.file.Write(p)
	if err != nil && n > 0 && t.file.Truncate(t.size) == nil { // on a full disk: half a line would make a segment that is not whole
		n = 0
	}
	t.sum.Write(p[:n])
	t.size += int64(n)
	t.dirty = true
	if err != nil {
		return t.r.fail(fmt.Errorf("write spool: %w", err))
	}
	if hook := t.r.a.Observe.Spooled; hook != nil {
		hook(n)
	}
	t.last = t.stamped
	if t.size >= t.r.a.Settings.SegmentBytes {
		t.rotate()
	}
	return nil
}

// open begins a segment where none is open: with the header, if it is the first of a terminal, and what chains it to the one before.
func (t *track) open() error {
	if t.file != nil {
		return nil
	}
	t.number++
	path := filepath.Join(t.r.dir, segmentName(t.name, t.format, t.number))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	link, err := json.Marshal(Link{Recording: t.r.about.Recording, Track: t.name, Kind: t.kind, Segment: t.number, Previous: hex.EncodeToString(t.previous[:])})
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	var head []byte
	if t.format == castFormat {
		if t.number == 1 {
			head = append(head, t.head...)
		}
		head = append(head, linkPrefix...)
	}
	head = append(append(head, link...), '\n')
	if _, err := f.Write(head); err != nil { // on a full disk: a segment without its beginning could not be read
		t.number--
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	t.file, t.path, t.sum, t.opened, t.dirty = f, path, sha256.New(), t.r.a.Now(), true
	t.sum.Write(head)
	t.size, t.begun = int64(len(head)), int64(len(head))
	return nil
}

// rotate closes the segment and hands it over.
func (t *track) rotate() {
	if t.file == nil {
		return
	}
	s := &segment{file: t.file, path: t.path, piece: remote.Piece{
		Session: t.r.about.Recording, Track: t.name, Number: t.number, Name: filepath.Base(t.path), Bytes: t.size, Digest: audit.Hash(t.sum.Sum(nil)), Closed: t.r.a.Now(),
	}}
	t.file, t.sum, t.dirty, t.previous = nil, nil, false, s.piece.Digest
	t.r.closed(s)
}

// old closes the segment where it has had its time.
func (t *track) old(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil && t.size > t.begun && now.Sub(t.opened) >= t.r.a.Settings.SegmentTime {
		t.rotate()
	}
}

// unsynced returns the file where it has been written to since it was asked last.
func (t *track) unsynced() *os.File {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dirty {
		return nil
	}
	t.dirty = false
	return t.file
}

// entry is what the manifest says of the track, but for its segments.
func (t *track) entry() Track {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := Track{Name: t.name, Kind: t.kind, Format: t.format}
	if t.format == castFormat {
		e.Output, e.Input, e.Lost = t.out.total(), t.in.total(), t.lost
	}
	if t.exit != nil {
		e.Exit = &Exit{Status: t.exit.Status, Signal: t.exit.Signal}
	}
	return e
}

// segmentName is that of an object: its order is that of the track.
func segmentName(track, format string, number int64) string {
	ending := ".cast"
	if format == eventsFormat {
		ending = ".jsonl"
	}
	return fmt.Sprintf("%s.%06d%s", track, number, ending)
}
