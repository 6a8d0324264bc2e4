package recording

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// Filter takes out of terminal output what can harm whoever plays it (rule W10): OSC (links, clipboard, titles and all others), DCS, APC, PM and SOS
// strings, the title of screen, reports and queries, which make a terminal type, mouse modes, the printer, and control characters without a purpose.
// What it lets pass are whole units, characters, controls and complete sequences, each of which leaves the terminal where it found it: so
// pieces that come through can never join to something that would not have. Its answer does not depend on how the input is cut.
//
// The zero Filter is ready. It takes bytes as they come from a target and gives UTF-8; bytes that are part of no character become U+FFFD.
type Filter struct {
	Plain bool // sequences are dropped as well: text alone

	state    filterState
	sequence []byte // an escape sequence as far as it goes; never longer than maxSequence
	ended    bool   // in a string: an ESC may begin its end
	bel      bool   // in a string: BEL ends it
	tooLong  bool
	held     [utf8.UTFMax]byte
	nheld    int
}

// filterState is where the filter stands between two characters.
type filterState uint8

const (
	ground   filterState = iota
	escaped              // behind ESC
	between              // behind ESC and intermediates
	control              // in a CSI sequence
	stringed             // in an OSC, DCS, APC, PM or SOS string
)

// maxSequence is the longest control sequence that may pass.
const maxSequence = 128

const (
	bel = 0x07
	can = 0x18
	sub = 0x1a
	esc = 0x1b
)

// Append filters the next bytes of a stream and appends what passes to dst.
func (f *Filter) Append(dst, p []byte) []byte {
	for len(p) > 0 {
		if f.state == ground && f.nheld == 0 { // most of what there is
			n := 0
			for n < len(p) && p[n] >= 0x20 && p[n] < 0x7f {
				n++
			}
			dst = append(dst, p[:n]...)
			if p = p[n:]; len(p) == 0 {
				break
			}
		}
		var r rune
		r, p = f.next(p)
		if r >= 0 {
			dst = f.rune(dst, r)
		}
	}
	return dst
}

// next decodes one character; -1 where its rest has not come.
func (f *Filter) next(p []byte) (rune, []byte) {
	if f.nheld == 0 && p[0] < utf8.RuneSelf {
		return rune(p[0]), p[1:]
	}
	f.held[f.nheld] = p[0]
	with := f.held[:f.nheld+1]
	if !utf8.FullRune(with) {
		f.nheld++
		return -1, p[1:]
	}
	r, size := utf8.DecodeRune(with)
	if size == len(with) {
		f.nheld = 0
		return r, p[1:]
	}
	// What was held is no character; one replacement stands for it, and p[0] is looked at anew.
	f.nheld = 0
	return utf8.RuneError, p
}

func (f *Filter) rune(dst []byte, r rune) []byte {
	switch { // these hold in every state
	case r == can || r == sub:
		f.reset(ground)
		return dst
	case r == esc:
		if f.state == stringed {
			f.ended = true
			return dst
		}
		f.reset(escaped)
		return dst
	case r >= 0x80 && r < 0xa0:
		return f.c1(dst, r)
	}
	switch f.state {
	case escaped, between:
		return f.escape(dst, r)
	case control:
		return f.csi(dst, r)
	case stringed:
		return f.inString(dst, r)
	default:
		return f.plain(dst, r)
	}
}

func (f *Filter) reset(to filterState) {
	f.state, f.sequence, f.ended, f.tooLong = to, f.sequence[:0], false, false
}

// c1 takes the control characters of eight bits for the sequences that they stand for. In a string only its end counts.
func (f *Filter) c1(dst []byte, r rune) []byte {
	if f.state == stringed {
		if r == 0x9c {
			f.reset(ground)
		}
		return dst
	}
	switch r {
	case 0x9b:
		f.reset(control)
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f:
		f.reset(stringed)
		f.bel = r == 0x9d
	default:
		f.reset(ground)
	}
	return dst
}

// plain passes a character that stands for itself, or a control with a purpose.
func (f *Filter) plain(dst []byte, r rune) []byte {
	if r >= 0x20 && r != 0x7f {
		return utf8.AppendRune(dst, r)
	}
	return f.c0(dst, r)
}

func (f *Filter) c0(dst []byte, r rune) []byte {
	switch r {
	case '\n', '\t', '\r':
		return append(dst, byte(r))
	case bel, '\b', '\v', '\f', 0x0e, 0x0f:
		if !f.Plain {
			return utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// escape goes on behind ESC.
func (f *Filter) escape(dst []byte, r rune) []byte {
	if r < 0x20 || r == 0x7f {
		return f.c0(dst, r)
	}
	if f.state == escaped {
		switch r {
		case '[':
			f.reset(control)
			return dst
		case ']', 'P', '_', '^', 'X', 'k': // k: the title of screen
			f.reset(stringed)
			f.bel = r == ']' || r == 'k'
			return dst
		}
	}
	if r >= 0x20 && r < 0x30 && len(f.sequence) < 2 {
		f.sequence = append(f.sequence, byte(r))
		f.state = between
		return dst
	}
	if !f.Plain && lawfulEscape(f.sequence, r) {
		dst = append(dst, esc)
		dst = append(dst, f.sequence...)
		dst = utf8.AppendRune(dst, r)
	}
	f.reset(ground)
	if r >= 0x80 { // no part of a sequence
		return f.plain(dst, r)
	}
	return dst
}

// lawfulEscape lists the sequences that may pass: cursor, tabs, keypad, character sets, reset, alignment.
func lawfulEscape(between []byte, final rune) bool {
	if final >= 0x7f {
		return false
	}
	switch {
	case len(between) == 0:
		return bytes.ContainsRune([]byte("78DEHMc=>"), final)
	case len(between) == 1 && bytes.IndexByte([]byte("()*+-./"), between[0]) >= 0:
		return final >= 0x30
	case len(between) == 1 && between[0] == '#':
		return final >= '3' && final <= '8'
	}
	return false
}

// csi goes on in a control sequence. Control characters inside take effect at once, as terminals have it.
func (f *Filter) csi(dst []byte, r rune) []byte {
	switch {
	case r < 0x20 || r == 0x7f:
		return f.c0(dst, r)
	case r >= 0x80:
		f.reset(ground)
		return f.plain(dst, r)
	case r < 0x40:
		if len(f.sequence) >= maxSequence {
			f.tooLong = true
			return dst
		}
		f.sequence = append(f.sequence, byte(r))
		return dst
	}
	if !f.Plain && !f.tooLong && lawfulControl(f.sequence, byte(r)) {
		dst = append(dst, esc, '[')
		dst = append(dst, f.sequence...)
		dst = append(dst, byte(r))
	}
	f.reset(ground)
	return dst
}

// lawfulControl lists the control sequences that may pass: those that move, erase, scroll, colour and switch modes.
func lawfulControl(sequence []byte, final byte) bool {
	params := bytes.TrimLeft(sequence, "0123456789;:<=>?")
	private, between := byte(0), string(params)
	values := sequence[:len(sequence)-len(params)]
	if len(values) > 0 && values[0] >= '<' {
		private, values = values[0], values[1:]
	}
	if bytes.ContainsAny(values, "<=>?") {
		return false
	}
	switch {
	case between == " " && private == 0:
		return final == 'q' // the shape of the cursor
	case between == "!" && private == 0:
		return final == 'p' // reset
	case between != "":
		return false
	case private == '?':
		return final == 'J' || final == 'K' || (final == 'h' || final == 'l') && lawfulModes(values)
	case private != 0:
		return false
	case final == 'b':
		return len(values) <= 4 // repeats: bounded (rule W5)
	}
	return bytes.IndexByte([]byte("@ABCDEFGHIJKLMPSTXZ`adefghlmrsu"), final) >= 0
}

// typing are the modes in which a terminal types by itself: mouse, focus, paste.
var typing = []string{"9", "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1015", "1016", "2004", "2031", "2048", "5522"}

func lawfulModes(values []byte) bool {
	for mode := range bytes.SplitSeq(values, []byte{';'}) {
		if slices.Contains(typing, string(bytes.TrimLeft(mode, "0"))) {
			return false
		}
	}
	return true
}

// inString drops a string to its end.
func (f *Filter) inString(dst []byte, r rune) []byte {
	switch {
	case f.ended && r == '\\', f.bel && r == bel:
		f.reset(ground)
	case f.ended: // the ESC began another sequence, which ends the string
		f.reset(escaped)
		return f.escape(dst, r)
	}
	return dst
}
