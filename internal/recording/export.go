package recording

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Tracks implements remote.Archive. Of a recording that goes on it lists what has closed segments.
func (a *Archive) Tracks(ctx context.Context, session string) ([]remote.TrackInfo, error) {
	pieces, err := a.Store.Pieces(ctx, session)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	type opened struct {
		remote.TrackInfo
		at int64
	}
	var all []opened
	for _, p := range pieces {
		if p.Number != 1 || formatOf(p.Name) != castFormat {
			continue
		}
		t := opened{TrackInfo: remote.TrackInfo{Name: p.Track}}
		if body, err := a.beginning(ctx, session, p.Name); err == nil { // what is lost can still be named
			if link := linkOf(body); link != nil {
				t.Kind = link.Kind
			}
			first, _, _ := bytes.Cut(body, []byte{'\n'})
			if c, err := parseCast(first); err == nil && c.header != nil {
				t.at = c.header.Timestamp
			}
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(x, y opened) int { return cmp.Compare(x.at, y.at) })
	infos := make([]remote.TrackInfo, len(all))
	for i, t := range all {
		infos[i] = t.TrackInfo
	}
	return infos, nil
}

// beginning reads the first two lines of a segment, and perhaps more: most are short, and a header with a long command is not.
func (a *Archive) beginning(ctx context.Context, session, name string) ([]byte, error) {
	body, err := a.first(ctx, session, name, 64<<10)
	if err == nil && linkOf(body) == nil {
		return a.first(ctx, session, name, maxLine)
	}
	return body, err
}

func (a *Archive) first(ctx context.Context, session, name string, most int64) (_ []byte, err error) {
	r, err := a.Bucket.NewRangeReader(ctx, session+"/"+name, 0, most, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// Export implements remote.Archive.
func (a *Archive) Export(ctx context.Context, session string, x remote.Export, to io.Writer) error {
	pieces, err := a.Store.Pieces(ctx, session)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	var names []string
	for _, p := range pieces {
		if p.Track == x.Track && formatOf(p.Name) == castFormat {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return remote.ErrNoRecording
	}
	w := exporter{Export: x, to: to}
	for i, name := range names {
		r, err := a.Bucket.NewReader(ctx, session+"/"+name, nil)
		if gcerrors.Code(err) == gcerrors.NotFound && i > 0 { // its node was lost before it could be stored: what is left is played
			continue
		}
		if err != nil {
			return fmt.Errorf("read segment %s: %w", name, err)
		}
		err = w.segment(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("export segment %s: %w", name, err)
		}
	}
	return nil
}

// Rewrite writes one asciicast v3 in another way: a file that was exported, say.
func Rewrite(from io.Reader, x remote.Export, to io.Writer) error {
	w := exporter{Export: x, to: to}
	return w.segment(from)
}

// exporter writes the segments of a track one after the other.
type exporter struct {
	remote.Export
	to      io.Writer
	began   bool
	at      time.Duration // of the last event, since the track began
	written time.Duration // of the last event that was written
	filter  Filter
	buffer  []byte
	text    []byte
}

func (w *exporter) segment(r io.Reader) error {
	if w.Raw && w.Format == remote.AsciicastV3 {
		_, err := io.Copy(w.to, r)
		return err
	}
	w.filter.Plain = w.Format == remote.PlainText
	return scanLines(r, func(l line) error {
		c, err := parseCast(l.text)
		switch {
		case err != nil:
			return fmt.Errorf("line %d: %w", l.number, err)
		case c.header != nil && !w.began:
			w.began = true
			return w.header(*c.header)
		case c.event != nil:
			return w.event(*c.event)
		}
		return nil
	})
}

// header begins the export. Texts of the target's and the person's choosing lose what could harm.
func (w *exporter) header(h castHeader) error {
	if !w.Raw {
		h.Command, h.Title, h.Term.Type = safe(h.Command), safe(h.Title), safe(h.Term.Type)
	}
	var out any = h
	switch w.Format {
	case remote.PlainText:
		return nil
	case remote.AsciicastV2:
		v2 := castHeaderV2{Version: 2, Width: h.Term.Cols, Height: h.Term.Rows, Timestamp: h.Timestamp, Command: h.Command, Title: h.Title}
		if h.Term.Type != "" {
			v2.Env = map[string]string{"TERM": h.Term.Type}
		}
		out = v2
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	_, err = w.to.Write(append(text, '\n'))
	return err
}

// castHeaderV2 is the first line of an asciicast v2.
type castHeaderV2 struct {
	Version   int               `json:"version"`
	Width     int               `json:"width"`
	Height    int               `json:"height"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Command   string            `json:"command,omitempty"`
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
}

// safe is a text without sequences.
func safe(text string) string {
	f := Filter{Plain: true}
	return string(f.Append(nil, []byte(text)))
}

func (w *exporter) event(e event) error {
	w.at += e.interval
	text := []byte(e.data)
	if e.code == 'o' && (!w.Raw || w.Format == remote.PlainText) {
		w.text = w.filter.Append(w.text[:0], text)
		if text = w.text; len(text) == 0 { // all of it was dropped, or goes on
			return nil
		}
	} else if e.code != 'o' && !w.Raw {
		text = []byte(safe(e.data))
	}
	if w.Format == remote.PlainText {
		if e.code != 'o' {
			return nil
		}
		_, err := w.to.Write(bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), nil))
		return err
	}
	if w.Format == remote.AsciicastV2 && e.code != 'o' && e.code != 'i' && e.code != 'm' && e.code != 'r' {
		return nil // v2 has no exits
	}
	when := w.at - w.written
	if w.Format == remote.AsciicastV2 {
		when = w.at
	}
	w.written = w.at
	line := append(w.buffer[:0], '[')
	line = strconv.AppendFloat(line, float64(when.Microseconds())/1e6, 'f', 6, 64)
	line = append(line, ',', ' ', '"')
	line, _ = appendText(line, []byte{e.code})
	line = append(line, '"', ',', ' ', '"')
	line, _ = appendText(line, text)
	w.buffer = append(line, '"', ']', '\n')
	_, err := w.to.Write(w.buffer)
	return err
}

// Erase implements remote.Archive.
func (a *Archive) Erase(ctx context.Context, session string) error {
	pieces, err := a.Store.Pieces(ctx, session)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for _, p := range pieces {
		if err := a.erase(ctx, session+"/"+p.Name); err != nil {
			return err
		}
	}
	return a.eraseRest(ctx, session+"/")
}

func (a *Archive) erase(ctx context.Context, object string) error {
	if err := a.Bucket.Delete(ctx, object); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("erase %s: %w", object, err)
	}
	return nil
}

// eraseRest erases what the database does not know of, but for the manifest: a crash may have left it.
func (a *Archive) eraseRest(ctx context.Context, prefix string) error {
	all := a.Bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list what is left of a recording: %w", err)
		}
		if o.Key == prefix+manifestName {
			continue
		}
		if err := a.erase(ctx, o.Key); err != nil {
			return err
		}
	}
}
