package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func TestLineReader(t *testing.T) {
	t.Parallel()
	t.Run("reads_what_was_written_and_not_a_byte_more", func(t *testing.T) {
		t.Parallel()
		longest := strings.Repeat("x", maxLine-header)
		stream := AppendFlush(AppendLine(AppendLine(AppendLine(nil, "a\n"), longest), ""))
		r := strings.NewReader(string(stream) + "0001" + "0002" + "rest")
		lines := &LineReader{R: iotest.OneByteReader(r)}
		for _, want := range []string{"a\n", longest, ""} {
			if got, sign, err := lines.Next(); string(got) != want || sign != None || err != nil {
				t.Fatalf("got %.20q %v %v", got, sign, err)
			}
		}
		for _, want := range []Sign{Flush, Delimiter, ResponseEnd} {
			if _, sign, err := lines.Next(); sign != want || err != nil {
				t.Fatalf("got %v %v", sign, err)
			}
		}
		if rest, _ := io.ReadAll(r); string(rest) != "rest" {
			t.Errorf("the rest is %q", rest)
		}
	})
	t.Run("tells_a_cut_line_from_the_end", func(t *testing.T) {
		t.Parallel()
		for text, want := range map[string]error{"": io.EOF, "00": io.ErrUnexpectedEOF, "0005": io.ErrUnexpectedEOF, "0008abc": io.ErrUnexpectedEOF} {
			if _, _, err := (&LineReader{R: strings.NewReader(text)}).Next(); !errors.Is(err, want) {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
	// Rule G3: a length is judged before anything is allocated.
	t.Run("refuses_lengths_that_are_none_or_too_long", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{"0003", "fff1", "ffff", "-001", "+004", "0x10", "00g0", "    ", "\x00\x00\x00\x08"} {
			if _, _, err := (&LineReader{R: strings.NewReader(text + strings.Repeat("x", 70_000))}).Next(); !errors.Is(err, ErrLine) {
				t.Errorf("%q: %v", text, err)
			}
		}
		if _, _, err := (&LineReader{R: strings.NewReader("0100"), Most: 255}).Next(); !errors.Is(err, ErrLine) {
			t.Errorf("a line over its bound: %v", err)
		}
	})
}

const (
	one   = "1111111111111111111111111111111111111111"
	two   = "2222222222222222222222222222222222222222"
	nil40 = "0000000000000000000000000000000000000000"
)

func command(old, new, ref string, caps ...string) string {
	line := old + " " + new + " " + ref
	if len(caps) > 0 {
		line += "\x00 " + strings.Join(caps, " ")
	}
	return string(AppendLine(nil, line))
}

func TestReadHead(t *testing.T) {
	t.Parallel()
	t.Run("tells_which_refs_would_move_and_passes_on_what_it_read", func(t *testing.T) {
		t.Parallel()
		text := string(AppendLine(nil, "shallow "+one+"\n")) + command(nil40, one, "refs/heads/new", "report-status", "side-band-64k", "agent=git/2") +
			command(one, two, "refs/heads/main") + command(two, nil40, "refs/tags/v1") + "0000"
		r := strings.NewReader(text + "PACK")
		h, err := readHead(r, 3)
		if err != nil {
			t.Fatal(err)
		}
		want := []Move{{"refs/heads/new", "", one}, {"refs/heads/main", one, two}, {"refs/tags/v1", two, ""}}
		if !slices.Equal(h.moves, want) || !h.banded() || !h.reports() || string(h.raw) != text || r.Len() != len("PACK") {
			t.Errorf("read %+v, left %d", h, r.Len())
		}
	})
	t.Run("takes_an_empty_list_from_who_only_asks", func(t *testing.T) {
		t.Parallel()
		if h, err := readHead(strings.NewReader("0000"), 3); err != nil || len(h.moves) != 0 {
			t.Errorf("%+v %v", h, err)
		}
		if _, err := readHead(strings.NewReader(""), 3); !errors.Is(err, io.EOF) {
			t.Errorf("nothing at all: %v", err)
		}
	})
	t.Run("refuses_what_git_clients_never_send", func(t *testing.T) {
		t.Parallel()
		ok := "report-status"
		for name, text := range map[string]string{
			"no report":              command(nil40, one, "refs/heads/a", "x"),
			"no capabilities":        command(nil40, one, "refs/heads/a"),
			"capabilities twice":     command(nil40, one, "refs/heads/a", ok) + command(nil40, one, "refs/heads/b", ok),
			"a ref twice":            command(nil40, one, "refs/heads/a", ok) + command(nil40, two, "refs/heads/a"),
			"short ids":              command("00", "11", "refs/heads/a", ok),
			"ids of two lengths":     command(nil40, strings.Repeat("1", 64), "refs/heads/a", ok),
			"upper case":             command(nil40, strings.Repeat("A", 40), "refs/heads/a", ok),
			"a certificate":          string(AppendLine(nil, "push-cert\x00report-status")),
			"shallow after commands": command(nil40, one, "refs/heads/a", ok) + string(AppendLine(nil, "shallow "+one)),
			"a delimiter":            "0001",
			"no ref":                 command(nil40, one, "", ok),
			"HEAD":                   command(nil40, one, "HEAD", ok),
			"a long name":            command(nil40, one, "refs/heads/"+strings.Repeat("a", maxRef), ok),
			"long capabilities":      command(nil40, one, "refs/heads/a", ok, strings.Repeat("a", maxCapabilities)),
		} {
			if h, err := readHead(strings.NewReader(text+"0000"), 3); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %+v, %v", name, h, err)
			}
		}
		for _, ref := range []string{
			"refs/heads/a..b", "refs/heads/.a", "refs/heads/a.lock", "refs/heads/a.lock/b", "refs/heads//a", "refs/heads/a/", "refs/heads/a b", "refs/heads/a\tb",
			"refs/heads/a\x1bb", "refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?", "refs/heads/a*", "refs/heads/[a", `refs/heads/a\b`, "refs/heads/a@{1}", "refs/heads/a.",
			"refs/heads/a\u0085b", "../refs/heads/a", "-refs/heads/a",
		} {
			if h, err := readHead(strings.NewReader(command(nil40, one, ref, ok)+"0000"), 3); !errors.Is(err, ErrPush) {
				t.Errorf("%q: %+v, %v", ref, h, err)
			}
		}
	})
	// Rule G3: a million refs, and a line that never ends a list, cost what the first few thousand cost.
	t.Run("stops_reading_at_too_many_refs", func(t *testing.T) {
		t.Parallel()
		flood := &refFlood{}
		if _, err := readHead(flood, 10_000); !errors.Is(err, ErrManyRefs) {
			t.Errorf("a million refs: %v", err)
		}
		if flood.sent > 10_001 {
			t.Errorf("%d refs were read", flood.sent)
		}
		shallow := &endless{line: string(AppendLine(nil, "shallow "+one))}
		if _, err := readHead(shallow, 10); !errors.Is(err, ErrManyRefs) {
			t.Errorf("endless shallow lines: %v", err)
		}
		if shallow.sent > 100_000 {
			t.Errorf("%d bytes were read", shallow.sent)
		}
	})
}

// refFlood is a push of a million refs.
type refFlood struct {
	sent int
	rest string
}

func (f *refFlood) Read(p []byte) (int, error) {
	if f.rest == "" && f.sent < 1_000_000 {
		f.rest = command(nil40, one, fmt.Sprint("refs/heads/b", f.sent), []string{"report-status"}[:max(0, 1-f.sent)]...)
		f.sent++
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// endless sends a line again and again.
type endless struct {
	line string
	sent int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.line[e.sent%len(e.line):])
	e.sent += n
	return n, nil
}

func TestReport(t *testing.T) {
	t.Parallel()
	moves := []Move{{Ref: "refs/heads/a", New: one}, {Ref: "refs/heads/b", New: one}, {Ref: "refs/heads/c", New: one}}
	list := AppendLine(nil, "unpack ok\n")
	list = AppendLine(list, "ok refs/heads/a\n")
	list = AppendLine(list, "option refname refs/heads/a\n")
	list = AppendFlush(AppendLine(list, "ng refs/heads/b non-fast-forward\n"))
	announced := AppendFlush(AppendLine(nil, one+" refs/heads/a\x00report-status\n"))
	banded := appendBand(append(slices.Clone(announced), "0005\x01"...), 2, []byte("ok refs/heads/c"))
	for i := range list { // as finely cut as can be
		banded = appendBand(banded, 1, list[i:i+1])
	}
	for name, stream := range map[string]struct {
		report
		bytes []byte
	}{
		"plain over HTTP":  {report{}, list},
		"plain over SSH":   {report{announce: true}, append(slices.Clone(announced), list...)},
		"banded over SSH":  {report{announce: true, banded: true}, AppendFlush(banded)},
		"banded over HTTP": {report{banded: true}, appendBand(nil, 1, list)},
	} {
		r := stream.report
		r.said = map[string]string{}
		for _, b := range stream.bytes {
			r.feed([]byte{b})
		}
		want := []Moved{{Move: moves[0], Done: true}, {Move: moves[1], Refused: "non-fast-forward"}, {Move: moves[2], Refused: "git said nothing of it"}}
		if got := r.results(moves); !slices.Equal(got, want) || !r.complete || !r.outer.between() {
			t.Errorf("%s: %+v, complete %v", name, got, r.complete)
		}
	}
}

// What we say in git's place is understood by what we read of git.
func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, caps := range []string{"report-status", "report-status-v2 side-band-64k"} {
		h, err := readHead(strings.NewReader(command(nil40, one, "refs/heads/a", caps)+"0000"), 1)
		if err != nil {
			t.Fatal(err)
		}
		r := report{banded: h.banded(), said: map[string]string{}}
		r.feed(h.refusal("not\nthis \x1bone"))
		if got := r.results(h.moves); got[0].Done || got[0].Refused != "not this  one" || !r.complete {
			t.Errorf("%s: %+v", caps, got)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add(AppendFlush(AppendLine(nil, "hello\n")), 3)
	f.Add([]byte("0001000200040005a"), 1)
	f.Add([]byte("fff0"), 2)
	f.Fuzz(func(t *testing.T, stream []byte, at int) {
		var read, split []string
		lines := &LineReader{R: bytes.NewReader(stream)}
		for {
			line, sign, err := lines.Next()
			if err != nil {
				break
			}
			read = append(read, fmt.Sprint(sign, string(line)))
		}
		at = max(0, min(at, len(stream)))
		var s lineSplitter
		each := func(text []byte, sign Sign) { split = append(split, fmt.Sprint(sign, string(text))) }
		s.feed(stream[:at], each)
		s.feed(stream[at:], each)
		if !slices.Equal(read, split) {
			t.Errorf("read %q, split %q", read, split)
		}
	})
}

func FuzzReadHead(f *testing.F) {
	f.Add([]byte(command(nil40, one, "refs/heads/a", "report-status", "side-band-64k") + "0000PACK"))
	f.Add([]byte(string(AppendLine(nil, "shallow "+one)) + command(one, two, "refs/tags/ü", "report-status-v2") + command(one, nil40, "refs/x") + "0000"))
	f.Add([]byte("0000"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		h, err := readHead(r, 4)
		if err != nil {
			return
		}
		if !bytes.Equal(append(h.raw, stream[len(stream)-r.Len():]...), stream) {
			t.Error("what is passed on is not what came")
		}
		for _, m := range h.moves {
			if strings.ContainsFunc(m.Ref, func(r rune) bool { return r <= ' ' || r == 0x7f }) || len(m.Ref) > maxRef {
				t.Errorf("a ref is called %q", m.Ref)
			}
		}
		r2 := report{banded: h.banded(), said: map[string]string{}}
		r2.feed(h.refusal("no"))
		for _, m := range r2.results(h.moves) {
			if m.Done || m.Refused != "no" {
				t.Errorf("a refused move is %+v", m)
			}
		}
	})
}

func FuzzReport(f *testing.F) {
	f.Add(AppendFlush(AppendLine(AppendLine(nil, "unpack ok\n"), "ok refs/heads/a\n")), true, false)
	f.Add(appendBand(nil, 1, AppendLine(nil, "ng refs/heads/a why\n")), false, true)
	f.Fuzz(func(_ *testing.T, stream []byte, announce, banded bool) {
		r := report{announce: announce, banded: banded, said: map[string]string{}}
		r.feed(stream)
		r.results([]Move{{Ref: "refs/heads/a"}})
	})
}
