package recording

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Problem is one thing that is wrong with a recording.
type Problem struct {
	Segment string `json:"segment,omitempty"` // name of the object; empty where the whole is meant
	From    int64  `json:"from,omitempty"`    // first byte, where there is a range
	To      int64  `json:"to,omitempty"`      // the byte behind the last
	Line    int    `json:"line,omitempty"`    // 1, 2, 3, ... in the segment
	What    string `json:"what"`
}

// Report is what a verification found. The recording is whole when Problems is empty.
type Report struct {
	Recording string    `json:"recording"`
	Trust     string    `json:"trust"` // signature, or integrity only
	KeyID     string    `json:"key_id,omitempty"`
	Cut       string    `json:"cut,omitempty"`
	Erased    bool      `json:"erased,omitempty"` // retention erased the segments: manifest and signature were checked alone
	Segments  int       `json:"segments"`
	Bytes     int64     `json:"bytes"`
	Problems  []Problem `json:"problems"`
	Coverage  []Channel `json:"coverage"`
}

// What a report may rest on.
const (
	Signed        = "signature"
	IntegrityOnly = "integrity only"
)

// Verification is what a recording is held against.
type Verification struct {
	Keys     []ed25519.PublicKey // trusted; none: the manifest vouches for itself
	Pieces   []remote.Piece      // hashes that the database has; nil: not asked
	Manifest []byte              // that the database has; nil: not asked
	Erased   bool                // retention has erased the segments
	Name     string              // by which it was found, such as that of its directory; counts where it is the id of a recording
}

// maxProblems ends a report that would only repeat itself.
const maxProblems = 100

// Verify reads a recording and checks signature, hashes, chain and content. prefix is that of its objects in the bucket: "ID/", or nothing. An error means
// that it could not be read.
func Verify(ctx context.Context, b *blob.Bucket, prefix string, v Verification) (Report, error) {
	c := checker{Verification: v, bucket: b, prefix: prefix, report: Report{Trust: IntegrityOnly, Problems: []Problem{}, Coverage: []Channel{}}}
	names, err := c.list(ctx)
	if err != nil {
		return c.report, fmt.Errorf("list recording: %w", err)
	}
	if len(names) == 0 {
		return c.report, errors.New("there is no recording")
	}
	m, ok, err := c.manifest(ctx)
	if err != nil {
		return c.report, err
	}
	if !ok {
		m = c.guess(names)
	}
	c.report.Coverage = append(c.report.Coverage, m.Coverage...)
	c.strangers(m, names)
	c.database(m)
	for _, t := range m.Tracks {
		if err := c.track(ctx, m, t); err != nil {
			return c.report, err
		}
	}
	return c.report, nil
}

// OpenDir opens the directory of one recording, to be verified without the server.
func OpenDir(dir string) (*blob.Bucket, error) { return openDir(dir) }

type checker struct {
	Verification
	bucket *blob.Bucket
	prefix string
	report Report
}

func (c *checker) problem(p Problem) {
	if len(c.report.Problems) < maxProblems {
		c.report.Problems = append(c.report.Problems, p)
	}
}

// maxObjects bounds what a hostile directory costs.
const maxObjects = 1_000_000

func (c *checker) list(ctx context.Context) ([]string, error) {
	var names []string
	all := c.bucket.List(&blob.ListOptions{Prefix: c.prefix, Delimiter: "/"})
	for {
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		if name := strings.TrimPrefix(o.Key, c.prefix); name != "" {
			names = append(names, name)
		}
		if len(names) > maxObjects {
			return nil, fmt.Errorf("there are more than %d objects", maxObjects)
		}
	}
}

// manifest reads manifest.json and judges its signature.
func (c *checker) manifest(ctx context.Context) (m Manifest, ok bool, err error) {
	text, err := read(ctx, c.bucket, c.prefix+manifestName, maxManifest)
	if gcerrors.Code(err) == gcerrors.NotFound {
		c.problem(Problem{Segment: manifestName, What: "the manifest is missing: the recording goes on, was never finished, or the manifest was removed"})
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read manifest: %w", err)
	}
	if c.Manifest != nil && !bytes.Equal(c.Manifest, text) {
		c.problem(Problem{Segment: manifestName, What: "the database has another manifest"})
	}
	m, signed, err := readManifest(text)
	if err != nil {
		c.problem(Problem{Segment: manifestName, What: "the manifest cannot be read: " + err.Error()})
		return m, false, nil
	}
	c.report.Recording, c.report.Cut = m.Session.Recording, m.Cut
	if name := cmp.Or(strings.TrimSuffix(c.prefix, "/"), c.Name); lawfulID.MatchString(name) && name != m.Session.Recording {
		c.problem(Problem{Segment: manifestName, What: "the manifest is that of recording " + m.Session.Recording})
	}
	switch {
	case signed == nil:
		c.problem(Problem{Segment: manifestName, What: "the manifest was changed: its signature is not of what it says"})
	case len(c.Keys) == 0:
		c.report.KeyID = audit.KeyIDOf(signed)
	case slices.ContainsFunc(c.Keys, func(k ed25519.PublicKey) bool { return k.Equal(signed) }):
		c.report.Trust, c.report.KeyID = Signed, audit.KeyIDOf(signed)
	default:
		c.report.KeyID = audit.KeyIDOf(signed)
		c.problem(Problem{Segment: manifestName, What: "the manifest is signed by key " + audit.KeyIDOf(signed) + ", which is not trusted"})
	}
	return m, true, nil
}

// guess makes up a manifest from what lies there, so that the chain can be checked at least.
func (c *checker) guess(names []string) Manifest {
	var m Manifest
	at := map[string]int{}
	slices.Sort(names)
	for _, name := range names {
		track, _, _ := strings.Cut(name, ".")
		if !strings.HasSuffix(name, ".cast") && !strings.HasSuffix(name, ".jsonl") {
			continue
		}
		i, known := at[track]
		if !known {
			i = len(m.Tracks)
			at[track] = i
			m.Tracks = append(m.Tracks, Track{Name: track, Format: formatOf(name)})
		}
		m.Tracks[i].Segments = append(m.Tracks[i].Segments, Segment{Name: name, Bytes: -1})
	}
	return m
}

// strangers names what lies there and does not belong.
func (c *checker) strangers(m Manifest, names []string) {
	belongs := map[string]bool{manifestName: true}
	for _, t := range m.Tracks {
		for _, s := range t.Segments {
			belongs[s.Name] = true
		}
	}
	for _, name := range names {
		if !belongs[name] {
			c.problem(Problem{Segment: name, What: "the manifest does not know it: it was added, or closed after the manifest was signed"})
		}
	}
}

// database compares the manifest with what the database was told when segments were closed.
func (c *checker) database(m Manifest) {
	if c.Pieces == nil || c.report.Recording == "" {
		return
	}
	told := map[string]remote.Piece{}
	for _, p := range c.Pieces {
		told[p.Name] = p
	}
	for _, t := range m.Tracks {
		for _, s := range t.Segments {
			p, known := told[s.Name]
			switch delete(told, s.Name); {
			case !known:
				c.problem(Problem{Segment: s.Name, What: "the database does not know it"})
			case hex.EncodeToString(p.Digest[:]) != s.SHA256:
				c.problem(Problem{Segment: s.Name, What: "the database has another hash of it than the manifest"})
			}
		}
	}
	for _, p := range c.Pieces {
		if _, left := told[p.Name]; left {
			c.problem(Problem{Segment: p.Name, What: "the database knows it, and the manifest does not"})
		}
	}
}

// walk is how far the check of a track has come.
type walk struct {
	previous audit.Hash
	chained  bool // previous is known
	out, in  stream
	broken   bool // something of it was not read
}

func (c *checker) track(ctx context.Context, m Manifest, t Track) error {
	w := walk{chained: true}
	w.out.sum, w.in.sum = sha256.New(), sha256.New()
	for i, s := range t.Segments {
		if s.Missing && slices.ContainsFunc(t.Segments[i+1:], func(behind Segment) bool { return !behind.Missing }) {
			c.problem(Problem{Segment: s.Name, What: "the segment is missing, and one behind it is there: they are stored in order, so it was removed before the manifest was signed"})
		}
		if s.Missing || c.Erased {
			w.chained, w.broken = false, true
			if sum, ok := digestOf(s.SHA256); ok {
				w.previous, w.chained = sum, true
			}
			c.report.Erased = c.report.Erased || c.Erased
			continue
		}
		body, found, err := c.body(ctx, s)
		if err != nil {
			return err
		}
		if !found {
			w.broken = true
			c.problem(Problem{Segment: s.Name, What: "the segment is missing"})
		} else {
			c.segment(m, t, i, body, &w)
		}
		w.previous, w.chained = digestOf(s.SHA256)
		if s.Bytes < 0 && found { // without a manifest the next one is held against what is there
			w.previous, w.chained = sha256.Sum256(body), true
		}
	}
	c.totals(m, t, w)
	return nil
}

// body reads a segment; one that is longer than it was, up to a block more than that.
func (c *checker) body(ctx context.Context, s Segment) (_ []byte, found bool, err error) {
	if strings.ContainsAny(s.Name, "/\\") || s.Name == "" { // of a hostile manifest
		return nil, false, nil
	}
	most := s.Bytes
	if most < 0 {
		most = maxManifest
	}
	if most > maxSegment {
		return nil, false, fmt.Errorf("segment %s is said to have %d bytes, more than the %d that are read", s.Name, s.Bytes, maxSegment)
	}
	r, err := c.bucket.NewReader(ctx, c.prefix+s.Name, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read segment %s: %w", s.Name, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	body, err := io.ReadAll(io.LimitReader(r, most+blockSize))
	if err != nil {
		return nil, false, fmt.Errorf("read segment %s: %w", s.Name, err)
	}
	c.report.Segments++
	c.report.Bytes += int64(len(body))
	return body, true, nil
}

// maxSegment is the largest that is read into memory.
const maxSegment = 1 << 30

// segment checks one: first its hash, and where that is wrong, where; then its place in the chain, and what it says.
func (c *checker) segment(m Manifest, t Track, i int, body []byte, w *walk) {
	s := t.Segments[i]
	same := s.Bytes < 0 || hexSum(body) == s.SHA256
	link := linkOf(body)
	switch {
	case link == nil && same:
		c.problem(Problem{Segment: s.Name, Line: 1, What: "it does not say where it belongs"})
	case !same && c.misplaced(m, t, i, body):
		w.broken = true
		return
	case !same:
		w.broken = true
		c.changed(s, body)
		return
	case link.Recording != c.report.Recording && c.report.Recording != "" || link.Track != t.Name || link.Segment != int64(i+1):
		c.problem(Problem{Segment: s.Name, Line: 1, What: fmt.Sprintf("it is segment %d of track %s of recording %s: it stands in another's place", link.Segment, link.Track, link.Recording)})
	case w.chained && link.Previous != hex.EncodeToString(w.previous[:]):
		c.problem(Problem{Segment: s.Name, Line: 1, What: "it does not follow the segment before it: one was changed, removed or put in another's place"})
	}
	c.content(t, s, body, w)
}

// misplaced reports, and says, that an object holds another segment of the recording: somebody has reordered them.
func (c *checker) misplaced(m Manifest, t Track, i int, body []byte) bool {
	sum := hexSum(body)
	for _, other := range m.Tracks {
		for n, s := range other.Segments {
			if s.SHA256 == sum && s.Name != t.Segments[i].Name {
				c.problem(Problem{Segment: t.Segments[i].Name, What: fmt.Sprintf("it holds what %s held, segment %d of track %s: the segments were reordered", s.Name, n+1, other.Name)})
				return true
			}
		}
	}
	return false
}

// changed says which bytes and lines differ from what was signed.
func (c *checker) changed(s Segment, body []byte) {
	was, err := hex.DecodeString(s.Blocks)
	if err != nil {
		was = nil
	}
	is := blocksOf(body[:min(int64(len(body)), s.Bytes)])
	first, last := differing(was, is)
	p := Problem{Segment: s.Name}
	size := int64(len(body))
	switch {
	case size < s.Bytes && first*blockSize >= size/blockSize*blockSize:
		p.From, p.To = size, s.Bytes
		p.What = fmt.Sprintf("it was truncated: %d of %d bytes are left", size, s.Bytes)
	case size > s.Bytes && first < 0:
		p.From, p.To = s.Bytes, size
		p.What = fmt.Sprintf("something was added behind its %d bytes", s.Bytes)
	case first < 0:
		p.To = size
		p.What = "it was changed"
	default:
		p.From, p.To = first*blockSize, min((last+1)*blockSize, size)
		p.What = fmt.Sprintf("it was changed: bytes %d to %d are not those that were signed", p.From, p.To)
		if size != s.Bytes {
			p.To = size
			p.What = fmt.Sprintf("it was changed from byte %d on: it has %d bytes, and %d were signed", p.From, size, s.Bytes)
		}
	}
	p.Line = 1 + bytes.Count(body[:min(p.From, size)], []byte{'\n'})
	to := 1 + bytes.Count(body[:max(0, min(p.To, size)-1)], []byte{'\n'})
	switch {
	case size < s.Bytes && p.From == size:
		p.What += fmt.Sprintf("; what was in line %d and behind it is gone", p.Line)
	case to > p.Line:
		p.What += fmt.Sprintf(" (lines %d to %d)", p.Line, to)
	default:
		p.What += fmt.Sprintf(" (line %d)", p.Line)
	}
	c.problem(p)
}

// differing returns the first and the last block that is not the same in both; -1 where none is.
func differing(was, is []byte) (first, last int64) {
	first, last = -1, -1
	for n := 0; n*blockHash < max(len(was), len(is)); n++ {
		at, to := n*blockHash, (n+1)*blockHash
		if to > len(was) || to > len(is) || !bytes.Equal(was[at:to], is[at:to]) {
			if first < 0 {
				first = int64(n)
			}
			last = int64(n)
		}
	}
	return first, last
}

// content reads every line.
func (c *checker) content(t Track, s Segment, body []byte, w *walk) {
	err := scanLines(bytes.NewReader(body), func(l line) error {
		if !l.whole {
			c.problem(Problem{Segment: s.Name, Line: l.number, From: l.offset, To: l.offset + int64(len(l.text)), What: fmt.Sprintf("line %d is not whole", l.number)})
		}
		if t.Format == eventsFormat {
			if len(l.text) == 0 || l.text[0] != '{' {
				c.problem(Problem{Segment: s.Name, Line: l.number, What: fmt.Sprintf("line %d is no event", l.number)})
			}
			return nil
		}
		parsed, err := parseCast(l.text)
		switch {
		case err != nil:
			w.broken = true
			c.problem(Problem{Segment: s.Name, Line: l.number, What: fmt.Sprintf("line %d: %v", l.number, err)})
		case parsed.event != nil && parsed.event.code == 'o':
			w.out.text(parsed.event.data)
		case parsed.event != nil && parsed.event.code == 'i':
			w.in.text(parsed.event.data)
		}
		return nil
	})
	if err != nil {
		w.broken = true
		c.problem(Problem{Segment: s.Name, What: err.Error()})
	}
}

// totals compares what was read with the counts of what passed. Where bytes were replaced, and where the recording was cut, they differ rightly.
func (c *checker) totals(m Manifest, t Track, w walk) {
	if w.broken || m.Cut != "" {
		return
	}
	for _, way := range []struct {
		name string
		said *Total
		is   *stream
	}{{"output", t.Output, &w.out}, {"input", t.Input, &w.in}} {
		if way.said == nil || way.said.SHA256 == "" || way.said.Replaced > 0 {
			continue
		}
		if is := way.is.total(); is.SHA256 != way.said.SHA256 {
			c.problem(Problem{What: fmt.Sprintf("track %s: its %s is not what passed: %d bytes are recorded, %d were counted", t.Name, way.name, is.Bytes, way.said.Bytes)})
		}
	}
}

// VerifyExport checks the chain inside a track that was exported as it was signed: each segment in it says what the hash of the one before was. That shows
// what was changed in all of them but the last; who needs that too, and the signature, verifies the recording itself.
func VerifyExport(r io.Reader, keys []ed25519.PublicKey) (Report, error) {
	report := Report{Trust: IntegrityOnly, Problems: []Problem{}, Coverage: []Channel{}}
	c := checker{report: report}
	if len(keys) > 0 {
		c.problem(Problem{What: "an exported track carries no signature; verify the directory or the id of the recording"})
	}
	sum, previous, open := sha256.New(), make([]byte, sha256.Size), false
	err := scanLines(r, func(l line) error {
		parsed, err := parseCast(l.text)
		if err != nil {
			c.problem(Problem{Line: l.number, From: l.offset, To: l.offset + int64(len(l.text)), What: fmt.Sprintf("line %d: %v", l.number, err)})
		}
		if link := parsed.link; link != nil {
			c.report.Segments++
			c.report.Recording = link.Recording
			if link.Segment > 1 {
				previous = sum.Sum(previous[:0])
				sum.Reset()
			} else {
				previous = make([]byte, sha256.Size)
			}
			switch {
			case link.Segment != int64(c.report.Segments):
				c.problem(Problem{Line: l.number, From: l.offset, What: fmt.Sprintf("segment %d stands where segment %d belongs", link.Segment, c.report.Segments)})
			case link.Previous != hex.EncodeToString(previous):
				c.problem(Problem{Line: l.number, From: l.offset, What: fmt.Sprintf("segment %d was changed, or cut: the one behind it, from line %d on, names another hash", link.Segment-1, l.number)})
			}
			open = true
		}
		if !l.whole {
			c.problem(Problem{Line: l.number, From: l.offset, What: fmt.Sprintf("line %d is not whole", l.number)})
		}
		sum.Write(l.text)
		if l.whole {
			sum.Write([]byte{'\n'})
		}
		c.report.Bytes += int64(len(l.text)) + 1
		return nil
	})
	if err == nil && !open {
		err = errors.New("it is no recording: give a directory, a manifest.json, or a track that was exported with --format v3 --raw")
	}
	return c.report, err
}
