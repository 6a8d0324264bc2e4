package recording

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// linkPrefix begins the line that chains a segment of an asciicast to the one before: players take it for a comment.
const linkPrefix = "# gatehouse: "

// Link is the line with which a segment says where it belongs.
type Link struct {
	Recording string `json:"recording"`
	Track     string `json:"track"`
	Kind      string `json:"kind"`
	Segment   int64  `json:"segment"`
	Previous  string `json:"previous"` // SHA-256 of the segment before, in hex; zeros in the first
}

// castHeader is the first line of an asciicast v3.
type castHeader struct {
	Version   int      `json:"version"`
	Term      castTerm `json:"term"`
	Timestamp int64    `json:"timestamp"`
	Command   string   `json:"command,omitempty"`
	Title     string   `json:"title,omitempty"`
}

type castTerm struct {
	Cols int    `json:"cols"`
	Rows int    `json:"rows"`
	Type string `json:"type,omitempty"`
}

// The size of a terminal that nobody named.
const defaultCols, defaultRows = 80, 24

// maxName bounds texts that strangers choose: what a command is, how a file is called.
const maxName = 4 << 10

// maxCommand bounds what a command is: as much as a door takes of one, or what stands behind would be run unrecorded (rule W14). In JSON it stays below maxLine.
const maxCommand = 64 << 10

func headerOf(about Subject, t remote.Track, start time.Time) ([]byte, error) {
	h := castHeader{
		Version: 3, Timestamp: start.Unix(), Command: boundedTo(t.Terminal.Command, maxCommand), Title: bounded(about.Username + "@" + about.Host),
		Term: castTerm{Cols: t.Terminal.Size.Cols, Rows: t.Terminal.Size.Rows, Type: bounded(t.Terminal.Term)},
	}
	if h.Term.Cols <= 0 || h.Term.Rows <= 0 {
		h.Term.Cols, h.Term.Rows = defaultCols, defaultRows
	}
	line, err := json.Marshal(h)
	return append(line, '\n'), err
}

// bounded cuts a text at a character's end.
func bounded(text string) string { return boundedTo(text, maxName) }

func boundedTo(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// replacement stands for a byte that is part of no character.
const replacement = "\uFFFD"

const hexDigits = "0123456789abcdef"

// plain are the bytes that stand for themselves in JSON.
var plain = func() (is [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

// plainRun is how many bytes at the beginning of p stand in a JSON string as they are. It looks at eight at a time: a borrow reaches only bytes behind the
// first that is not plain.
func plainRun(p []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	zero := func(w uint64) uint64 { return (w - ones) &^ w } // the high bit of the first byte that is 0
	n := 0
	for ; len(p)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(p[n:])
		odd := (w | (w-0x20*ones)&^w | zero(w^'"'*ones) | zero(w^'\\'*ones) | zero(w^0x7f*ones)) & highs
		if odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
	}
	for n < len(p) && plain[p[n]] {
		n++
	}
	return n
}

// appendText writes bytes as the inside of a JSON string. Each byte that is part of no character becomes one U+FFFD, as in Go.
func appendText(line, p []byte) (_ []byte, replaced int64) {
	for len(p) > 0 {
		n := plainRun(p)
		line = append(line, p[:n]...)
		p = p[n:]
		if len(p) == 0 {
			break
		}
		if c := p[0]; c < utf8.RuneSelf {
			line = appendControl(line, c)
			p = p[1:]
			continue
		}
		_, size := utf8.DecodeRune(p)
		if size == 1 {
			line = append(line, replacement...)
			replaced++
		} else {
			line = append(line, p[:size]...)
		}
		p = p[size:]
	}
	return line, replaced
}

func appendControl(line []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(line, '\\', c)
	case '\n':
		return append(line, '\\', 'n')
	case '\r':
		return append(line, '\\', 'r')
	case '\t':
		return append(line, '\\', 't')
	}
	return append(line, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// cutTail returns how many bytes at the end of p begin a character that is not complete.
func cutTail(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		tail := p[len(p)-n:]
		if !utf8.RuneStart(tail[0]) {
			continue
		}
		if utf8.FullRune(tail) {
			return 0
		}
		return n
	}
	return 0
}
