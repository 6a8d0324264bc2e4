package sshd

import (
	"strings"
	"unicode"
)

// plain keeps what may go to a terminal: a caller's text is data, and must not move the cursor, set the
// clipboard or turn the direction of writing (rule W10). Line breaks and tabs stay.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && hidden(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// oneLine is plain, on one line.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, plain(text))
}

// hidden reports whether a character acts on the terminal instead of showing. unicode.IsControl covers
// escape and the 8-bit controls, which some terminals obey.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
