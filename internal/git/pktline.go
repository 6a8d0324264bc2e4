package git

import (
	"io"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// A packet line is four hexadecimal digits, which count themselves, and what they count. Three lengths
// that could hold nothing are signs instead.
const (
	maxLine = 65520 // the longest line, its length included
	header  = 4
	maxBand = maxLine - header - 1 // what one line carries beside the number of its band
)

// Sign is a packet line that carries nothing but its meaning.
type Sign uint8

// The signs.
const (
	None        Sign = iota // an ordinary line
	Flush                   // 0000, the end of a list
	Delimiter               // 0001
	ResponseEnd             // 0002
)

// ErrLine is what a stream gets that is not made of packet lines.
var ErrLine = fault.New(fault.Invalid, "the packet line is malformed")

// lineLength reads the four digits that begin a line (rule G3: before anything is allocated for it).
func lineLength(digits []byte) (int, Sign, error) {
	n := 0
	for _, d := range digits[:header] {
		switch {
		case d >= '0' && d <= '9':
			n = n<<4 | int(d-'0')
		case d >= 'a' && d <= 'f':
			n = n<<4 | int(d-'a'+10)
		case d >= 'A' && d <= 'F':
			n = n<<4 | int(d-'A'+10)
		default:
			return 0, None, ErrLine
		}
	}
	switch {
	case n < int(ResponseEnd):
		return header, Sign(n + 1), nil
	case n < header || n > maxLine:
		return 0, None, ErrLine
	}
	return n, None, nil
}

// LineReader reads packet lines, and not a byte beyond the one asked for. The zero Most allows what git does.
type LineReader struct {
	R    io.Reader
	Most int // the longest line taken, its four digits included

	buffer []byte
}

// Next returns the next line without its length, or its sign. What it returns holds until the next call.
// It reports ErrLine for a malformed or too long line, io.EOF at the end of the stream between two lines,
// and io.ErrUnexpectedEOF within one.
func (l *LineReader) Next() ([]byte, Sign, error) {
	most := l.Most
	if most == 0 || most > maxLine {
		most = maxLine
	}
	if l.buffer == nil {
		l.buffer = make([]byte, header, 256)
	}
	digits := l.buffer[:header]
	if _, err := io.ReadFull(l.R, digits); err != nil {
		return nil, None, err
	}
	n, sign, err := lineLength(digits)
	if err != nil || sign != None {
		return nil, sign, err
	}
	if n > most {
		return nil, None, ErrLine
	}
	if cap(l.buffer) < n-header {
		l.buffer = make([]byte, n-header)
	}
	line := l.buffer[:n-header]
	if _, err := io.ReadFull(l.R, line); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, None, err
	}
	return line, None, nil
}

// AppendLine appends a packet line. The text is at most 65516 bytes long.
func AppendLine(to []byte, text string) []byte {
	return append(appendLength(to, header+len(text)), text...)
}

// AppendFlush appends the sign that ends a list.
func AppendFlush(to []byte) []byte { return append(to, "0000"...) }

// appendBand appends text to one of the bands that share a stream, in as many lines as it takes.
func appendBand(to []byte, band byte, text []byte) []byte {
	for len(text) > 0 {
		part := text[:min(len(text), maxBand)]
		text = text[len(part):]
		to = append(append(appendLength(to, header+1+len(part)), band), part...)
	}
	return to
}

func appendLength(to []byte, n int) []byte {
	digits := strconv.FormatInt(int64(n), 16)
	return append(append(to, "0000"[len(digits):]...), digits...)
}

// lineSplitter finds packet lines in a stream that passes by in pieces. A stream that is not made of
// them ends the finding, not the passing.
type lineSplitter struct {
	line   []byte // what came of the present line, its length included
	wanted int    // how long it is, 0 until its length is known
	broken bool
}

// feed calls each with every line that p completes; text holds only for the call.
func (s *lineSplitter) feed(p []byte, each func(text []byte, sign Sign)) {
	for len(p) > 0 && !s.broken {
		upTo := s.wanted
		if upTo == 0 {
			upTo = header
		}
		n := min(upTo-len(s.line), len(p))
		s.line, p = append(s.line, p[:n]...), p[n:]
		if len(s.line) < upTo {
			return
		}
		sign := None
		if s.wanted == 0 {
			var err error
			if s.wanted, sign, err = lineLength(s.line); err != nil {
				s.broken = true
				return
			}
			if s.wanted > header {
				continue
			}
		}
		text := s.line[header:]
		s.line, s.wanted = s.line[:0], 0
		each(text, sign)
	}
}

// between says whether the stream stands at the end of a line.
func (s *lineSplitter) between() bool { return !s.broken && len(s.line) == 0 }
