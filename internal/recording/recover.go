package recording

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/gcerrors"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// nodeLost is why a recording was cut whose node did not live to end it.
const nodeLost = "node lost"

// Recover takes up what the spool holds of sessions that this process does not carry: a crash left them, or the bucket did not take them in time. Each is
// uploaded and signed; what cannot be finished now stays. Only the process that owns the spool may call it.
func (a *Archive) Recover(ctx context.Context) error {
	a.recovering.Lock()
	defer a.recovering.Unlock()
	entries, err := os.ReadDir(a.Spool)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	var failed []error
	for _, entry := range entries {
		session, aside := strings.CutPrefix(entry.Name(), orphan)
		if !entry.IsDir() || !lawfulID.MatchString(session) || a.carries(session) || ctx.Err() != nil {
			continue
		}
		err := a.takeBack(ctx, session, aside)
		if err == nil {
			err = a.recover(ctx, session)
		}
		if err != nil && !errors.Is(err, errAside) {
			failed = append(failed, fmt.Errorf("recording %s: %w", session, err))
		}
	}
	return errors.Join(failed...)
}

// takeBack makes a spool that was set aside one like all others once the database knows its recording. It reports errAside.
func (a *Archive) takeBack(ctx context.Context, session string, aside bool) error {
	if !aside {
		return nil
	}
	_, err := a.Store.Recording(ctx, session)
	if errors.Is(err, remote.ErrNoRecording) {
		return errAside
	}
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(a.Spool, orphan+session), filepath.Join(a.Spool, session))
}

var errAside = errors.New("it was set aside")

func (a *Archive) carries(session string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.live[session] != nil
}

// recover finishes one recording from its spool.
func (a *Archive) recover(ctx context.Context, session string) error {
	dir := filepath.Join(a.Spool, session)
	known, err := a.Store.Recording(ctx, session)
	switch {
	case errors.Is(err, remote.ErrNoRecording):
		return a.setAside(dir)
	case err != nil:
		return err
	case !known.Deleted.IsZero(): // retention has erased the rest of it
		return os.RemoveAll(dir)
	}
	if bare, err := a.bare(ctx, session); err != nil {
		return err
	} else if bare && known.Manifest == nil { // Cut signs that there is nothing, once the session is over
		return os.RemoveAll(dir)
	}
	return a.bringIn(ctx, dir, known)
}

// bringIn uploads what a spool holds, and signs the recording.
func (a *Archive) bringIn(ctx context.Context, dir string, known remote.Recording) error {
	left, err := mendAll(dir, a.Now())
	if err != nil {
		return fmt.Errorf("mend spool: %w", err)
	}
	for _, s := range left {
		if err := a.upload(ctx, s); err != nil {
			return err
		}
	}
	m, ended := readEnd(filepath.Join(dir, endFile), known.Session)
	if len(left) == 0 {
		if signed, err := a.signed(ctx, known, ended); err != nil {
			return err
		} else if signed {
			if err := a.settle(ctx, known.Session); err != nil {
				return err
			}
			return os.RemoveAll(dir)
		}
	}
	if ended {
		return a.conclude(ctx, dir, m)
	}
	about := readAbout(filepath.Join(dir, aboutFile), known)
	m, missing, err := a.readBack(ctx, about, known.Ended)
	if err != nil {
		return err
	}
	if err := a.replace(ctx, m, missing); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// signed reports whether a manifest says all that a spool without segments could add: it was signed before that could be removed. Whoever has the end of a
// session signs that; one that was cut has all segments, or will not get them.
func (a *Archive) signed(ctx context.Context, known remote.Recording, ended bool) (bool, error) {
	if known.Manifest == nil || known.Cut != nodeLost {
		return known.Manifest != nil, nil
	}
	m, _, err := readManifest(known.Manifest)
	if ended || err != nil {
		return false, err
	}
	pieces, err := a.Store.Pieces(ctx, known.Session)
	named := 0
	for _, t := range m.Tracks {
		for _, s := range t.Segments {
			if !s.Missing {
				named++
			}
		}
	}
	return named == len(pieces), err
}

// bare reports whether a recording had only begun: nothing was carried in its session.
func (a *Archive) bare(ctx context.Context, session string) (bool, error) {
	only, err := onlyBegan(filepath.Join(a.Spool, session))
	if err != nil || !only {
		return false, err
	}
	pieces, err := a.Store.Pieces(ctx, session)
	return len(pieces) == 0, err
}

// onlyBegan reports whether a spool holds no more than Begin writes.
func onlyBegan(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		switch entry.Name() {
		case aboutFile, aboutFile + ".new":
		case segmentName(eventsTrack, eventsFormat, 1):
			body, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil || bytes.Count(body, []byte{'\n'}) > 2 { // the link, and that it began
				return false, err
			}
		default:
			return false, nil
		}
	}
	return true, nil
}

// orphan begins the names of spools whose recording the database does not know.
const orphan = "orphan-"

// setAside keeps what the database knows nothing of, such as one that was restored from a copy that is older: somebody has to look at it. Where Begin did not
// come so far there is nothing to keep.
func (a *Archive) setAside(dir string) error {
	if bare, err := onlyBegan(dir); err != nil {
		return err
	} else if bare {
		return os.RemoveAll(dir)
	}
	aside := filepath.Join(filepath.Dir(dir), orphan+filepath.Base(dir))
	if err := os.Rename(dir, aside); err != nil {
		return err
	}
	return fmt.Errorf("the database does not know it; what was recorded is kept as %s, and taken up once the database does", aside)
}

// Cut signs what a node that is lost has brought to the bucket. Where it is signed it sees to it that the bucket has the manifest. It does nothing where the
// recording was never begun, and where the spool is here: Recover has more of it then.
func (a *Archive) Cut(ctx context.Context, s remote.Session) error {
	if _, err := os.Stat(filepath.Join(a.Spool, s.ID)); err == nil {
		return nil
	}
	known, err := a.Store.Recording(ctx, s.ID)
	if errors.Is(err, remote.ErrNoRecording) {
		return nil
	}
	if err == nil {
		err = a.cut(ctx, s, known)
	}
	if err != nil {
		return fmt.Errorf("cut recording: %w", err)
	}
	return nil
}

func (a *Archive) cut(ctx context.Context, s remote.Session, known remote.Recording) error {
	if known.Manifest != nil { // whoever signed it may not have come to put it there
		return a.settle(ctx, s.ID)
	}
	m, missing, err := a.readBack(ctx, subjectOf(s, known.Started), s.Ended)
	if err != nil {
		return err
	}
	if err := a.publish(ctx, m, missing, nil); !errors.Is(err, remote.ErrSigned) {
		return err
	}
	return nil // the node is back, and has signed it
}

// readBack reads a recording that was cut, and writes down what there is of it. missing are segments that the bucket does not have.
func (a *Archive) readBack(ctx context.Context, about Subject, ended time.Time) (m Manifest, missing map[string]bool, err error) {
	pieces, err := a.Store.Pieces(ctx, about.Recording)
	if err != nil {
		return m, nil, fmt.Errorf("list segments: %w", err)
	}
	re := replay{session: about.Recording, missing: map[string]bool{}}
	for _, p := range pieces {
		body, err := a.get(ctx, about.Recording, p.Name, p.Bytes)
		if gcerrors.Code(err) == gcerrors.NotFound {
			re.missing[p.Name] = true
			continue
		}
		if err != nil {
			return m, nil, fmt.Errorf("read segment: %w", err)
		}
		re.segment(p, body)
	}
	if ended.IsZero() {
		ended = a.Now()
	}
	m = Manifest{Version: 1, Session: about, Ended: ended.UTC().Truncate(time.Microsecond), Cut: nodeLost, Tracks: re.tracks(), Keystrokes: re.keystrokes}
	m.Coverage = re.coverage.statement(m.Tracks)
	return m, re.missing, nil
}

// mendAll cuts each segment of a spool to its last whole line, and returns them in order.
func mendAll(dir string, now time.Time) ([]*segment, error) {
	entries, err := os.ReadDir(dir) // by name: by track and number
	if err != nil {
		return nil, err
	}
	var all []*segment
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".cast") && !strings.HasSuffix(name, ".jsonl") {
			continue
		}
		s, err := mend(filepath.Join(dir, name), now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if s != nil {
			all = append(all, s)
		}
	}
	return all, nil
}

// mend cuts a segment to its last whole line. One without is removed: nothing was recorded in it.
func mend(path string, now time.Time) (*segment, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	whole := body[:bytes.LastIndexByte(body, '\n')+1]
	link := linkOf(whole)
	if link == nil {
		return nil, os.Remove(path)
	}
	if len(whole) < len(body) {
		if err := os.Truncate(path, int64(len(whole))); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &segment{file: f, path: path, piece: remote.Piece{
		Session: link.Recording, Track: link.Track, Number: link.Segment, Name: filepath.Base(path), Bytes: int64(len(whole)), Digest: audit.Hash(sha256.Sum256(whole)), Closed: now,
	}}, nil
}

// linkOf finds the link of a segment: its first line, or its second where the first is a header.
func linkOf(body []byte) *Link {
	for range 2 {
		text, rest, found := bytes.Cut(body, []byte{'\n'})
		if !found {
			return nil
		}
		if after, is := bytes.CutPrefix(text, []byte(linkPrefix)); is {
			text = after
		}
		if l, err := parseLink(text); err == nil {
			return l
		}
		body = rest
	}
	return nil
}

func readEnd(path, session string) (m Manifest, ok bool) {
	text, err := os.ReadFile(path)
	return m, err == nil && json.Unmarshal(text, &m) == nil && m.Session.Recording == session
}

// readAbout reads what the session was, or makes it up from what the database knows.
func readAbout(path string, known remote.Recording) Subject {
	var about Subject
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &about) == nil && about.Recording == known.Session {
		about.Number, about.Code = known.Number, known.Code // given after it was written
		return about
	}
	return Subject{
		Recording: known.Session, Number: known.Number, Code: known.Code, User: known.User.Name, UserID: known.User.ID, Username: known.Username, Host: known.Host,
		Device: known.Target, Protocol: known.Protocol, Started: known.Started.UTC(),
	}
}

// replay finds out what a recording holds by reading it.
type replay struct {
	session    string
	missing    map[string]bool
	order      []string
	found      map[string]*replayed
	coverage   coverage
	keystrokes bool
}

type replayed struct {
	entry   Track
	out, in stream
}

func (re *replay) segment(p remote.Piece, body []byte) {
	t := re.track(p)
	if link := linkOf(body); link != nil {
		t.entry.Kind = link.Kind
	}
	_ = scanLines(bytes.NewReader(body), func(l line) error { // what cannot be read is not counted: the hash of the segment stands all the same
		if t.entry.Format == eventsFormat {
			var n remote.Note
			if json.Unmarshal(l.text, &n) == nil {
				re.coverage.note(n)
			}
			return nil
		}
		c, err := parseCast(l.text)
		if err != nil || c.event == nil {
			return nil //nolint:nilerr // as above
		}
		t.event(*c.event)
		re.keystrokes = re.keystrokes || c.event.code == 'i'
		return nil
	})
}

func (re *replay) track(p remote.Piece) *replayed {
	if re.found == nil {
		re.found = map[string]*replayed{}
	}
	t := re.found[p.Track]
	if t == nil {
		t = &replayed{entry: Track{Name: p.Track, Format: formatOf(p.Name)}}
		t.out.sum, t.in.sum = sha256.New(), sha256.New()
		re.found[p.Track] = t
		re.order = append(re.order, p.Track)
	}
	return t
}

func (t *replayed) event(e event) {
	switch e.code {
	case 'o':
		t.out.text(e.data)
	case 'i':
		t.in.text(e.data)
	case 'x':
		exit := Exit{}
		if name, signalled := strings.CutPrefix(e.data, "SIG"); signalled {
			exit.Signal = name
		} else if _, err := fmt.Sscan(e.data, &exit.Status); err != nil {
			return
		}
		t.entry.Exit = &exit
	}
}

// text counts what is recorded. Which replacements stand for a byte nobody knows any more.
func (s *stream) text(data string) {
	s.add([]byte(data))
	s.replaced += int64(strings.Count(data, replacement))
}

func (re *replay) tracks() []Track {
	var all []Track
	for _, name := range re.order {
		t := re.found[name]
		if t.entry.Format == castFormat {
			t.entry.Output = t.out.total()
			if t.in.bytes > 0 {
				t.entry.Input = t.in.total()
			}
		}
		all = append(all, t.entry)
	}
	return all
}

// digestOf reads a hash in hex.
func digestOf(text string) (sum audit.Hash, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(sum) {
		return sum, false
	}
	return audit.Hash(raw), true
}
