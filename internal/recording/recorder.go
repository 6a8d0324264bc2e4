package recording

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// The files of a spool beside segments.
const (
	aboutFile = "session.json" // the Subject
	endFile   = "end.json"     // the Manifest without its segments, once the session is over
)

// recorder is a session that is being recorded.
type recorder struct {
	a     *Archive
	about Subject
	dir   string

	events *track
	failed chan struct{}
	bytes  atomic.Int64 // written to the spool

	mu       sync.Mutex
	tracks   []*track // terminals, in order
	coverage coverage
	err      error
	over     bool
	pending  []*segment    // closed, and not all the way in the bucket
	moved    chan struct{} // closed, and another, when one of them is
	brought  time.Time     // when one of them last was
	serving  bool          // somebody is at the pending ones
	queued   bool          // it is in the archive's queue
	unsynced []*os.File    // of closed segments
	left     bool          // its end could not be delivered: Recover has it once nobody serves it
}

var (
	_ remote.Recorder = (*recorder)(nil)
	_ remote.Tracker  = (*track)(nil)
)

func newRecorder(a *Archive, s remote.Session) *recorder {
	r := &recorder{a: a, about: subjectOf(s, a.Now()), dir: filepath.Join(a.Spool, s.ID), failed: make(chan struct{}), moved: make(chan struct{})}
	r.events = &track{r: r, name: eventsTrack, kind: eventsTrack, format: eventsFormat, start: a.Now()}
	return r
}

// begin puts the first bytes on the disk, and the recording into the database.
func (r *recorder) begin(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.a.Spool, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(r.dir))
		}
	}()
	if err := writeWhole(filepath.Join(r.dir, aboutFile), r.about); err != nil {
		return err
	}
	if err := r.Note(remote.Note{At: r.a.Now(), Kind: "began"}); err != nil {
		return err
	}
	if err := r.sync(); err != nil {
		return err
	}
	if err := errors.Join(syncDir(r.dir), syncDir(r.a.Spool)); err != nil {
		return err
	}
	return r.a.Store.BeginRecording(ctx, r.about.Recording, r.about.Started)
}

// sync brings what is spooled to the disk.
func (r *recorder) sync() error {
	for _, f := range r.dirty() {
		if err := r.syncFile(f); err != nil {
			return err
		}
	}
	return nil
}

// dirty returns the files that were written to since it was asked last: those of closed segments first, for they are older.
func (r *recorder) dirty() []*os.File {
	r.mu.Lock()
	files := r.unsynced
	r.unsynced = nil
	r.mu.Unlock()
	for _, t := range r.all() {
		if f := t.unsynced(); f != nil {
			files = append(files, f)
		}
	}
	return files
}

func (r *recorder) syncFile(f *os.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // whoever closed it has synced it
		return r.fail(fmt.Errorf("sync spool: %w", err))
	}
	return nil
}

func (r *recorder) all() []*track {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*track{r.events}, r.tracks...)
}

// lawfulTrack is the name of a track: it is part of file names.
var lawfulTrack = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// maxTracks bounds the open files of a session.
const maxTracks = 1000

// Track implements remote.Recorder.
func (r *recorder) Track(x remote.Track) (remote.Tracker, error) {
	if !lawfulTrack.MatchString(x.Name) || x.Name == eventsTrack {
		return nil, fmt.Errorf("begin track: %q cannot be the name of one", x.Name)
	}
	t := &track{r: r, name: x.Name, kind: boundedTo(x.Kind, maxLabel), format: castFormat, start: r.a.Now()}
	t.out.sum = sha256.New()
	if r.a.Settings.Keystrokes {
		t.in.sum = sha256.New()
	}
	head, err := headerOf(r.about, x, t.start)
	if err != nil {
		return nil, fmt.Errorf("begin track: %w", err)
	}
	t.head = head
	if err := r.add(t); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.open(); err != nil {
		return nil, r.fail(fmt.Errorf("begin track: %w", err))
	}
	t.head = nil
	return t, nil
}

func (r *recorder) add(t *track) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return r.err
	case r.over:
		return errClosed
	case len(r.tracks) >= maxTracks:
		return fmt.Errorf("begin track: a session has at most %d", maxTracks)
	}
	for _, other := range r.tracks {
		if other.name == t.name {
			return fmt.Errorf("begin track: there is one named %s", t.name)
		}
	}
	r.tracks = append(r.tracks, t)
	return nil
}

// Note implements remote.Recorder.
func (r *recorder) Note(n remote.Note) error {
	n.At = n.At.UTC().Truncate(time.Microsecond)
	for _, text := range []*string{&n.Channel, &n.Kind, &n.Text, &n.Name, &n.SHA256, &n.SentSum, &n.Way} {
		*text = bounded(*text)
	}
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.coverage.note(n)
	r.mu.Unlock()
	t := r.events
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.lawful(); err != nil {
		return err
	}
	return t.write(append(line, '\n'))
}

// Failed implements remote.Recorder.
func (r *recorder) Failed() <-chan struct{} { return r.failed }

// Err implements remote.Recorder.
func (r *recorder) Err() error {
	select {
	case <-r.failed: // closed behind err
		return r.err
	default:
		return nil
	}
}

// fail ends the recording for good; the first reason counts, and is returned.
func (r *recorder) fail(err error) error {
	r.mu.Lock()
	first := r.err == nil
	if first {
		r.err = err
		close(r.failed)
	}
	err = r.err
	r.mu.Unlock()
	if first {
		if hook := r.a.Observe.Failed; hook != nil {
			hook(err.Error())
		}
		r.a.OnError("record session "+r.about.Recording, err)
	}
	return err
}

// closed takes over a segment that grows no more.
func (r *recorder) closed(s *segment) {
	r.mu.Lock()
	r.pending = append(r.pending, s)
	r.unsynced = append(r.unsynced, s.file)
	enqueue := !r.queued && !r.serving
	r.queued = r.queued || enqueue
	r.mu.Unlock()
	if enqueue {
		r.a.queue.add(r)
	}
}

// End implements remote.Recorder.
func (r *recorder) End(ctx context.Context, s remote.Session) error {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return errClosed
	}
	r.over = true
	r.mu.Unlock()
	m := r.finish(s)
	err := r.sync() // the end is on the disk behind what it sums up, not before
	if err == nil {
		err = writeWhole(filepath.Join(r.dir, endFile), m)
	}
	if err != nil {
		r.a.OnError("keep the end of recording "+r.about.Recording, err) // what is there is enough, unless we crash: then it counts as cut
	}
	err = r.deliver(ctx)
	if err == nil {
		err = r.a.conclude(ctx, r.dir, m)
	}
	r.mu.Lock()
	r.left = true
	leave := !r.serving
	r.mu.Unlock()
	if leave {
		r.a.leave(r)
	}
	if err != nil {
		return fmt.Errorf("end recording: %w", err)
	}
	return nil
}

// finish ends all tracks and writes down what they hold.
func (r *recorder) finish(s remote.Session) Manifest {
	ended := s.Ended
	if ended.IsZero() {
		ended = r.a.Now()
	}
	about := subjectOf(s, r.about.Started)
	if about.Recording != r.about.Recording {
		about = r.about
	}
	all := r.all()
	m := Manifest{Version: 1, Session: about, Ended: ended.UTC().Truncate(time.Microsecond), Keystrokes: r.a.Settings.Keystrokes}
	for _, t := range append(all[1:], all[0]) { // events last: nobody writes them any more
		t.mu.Lock()
		err := t.end(nil)
		t.mu.Unlock()
		if err != nil && r.Err() == nil {
			r.a.OnError("end track "+t.name+" of recording "+r.about.Recording, err)
		}
		m.Tracks = append(m.Tracks, t.entry())
	}
	if err := r.Err(); errors.Is(err, remote.ErrFull) {
		m.Cut = err.Error()
	} else if err != nil {
		m.Cut = "recording failed"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Coverage = r.coverage.statement(m.Tracks)
	return m
}
