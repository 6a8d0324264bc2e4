package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ana@laptop":                   "ana@laptop",
		"Zoë 日本 ✓":                     "Zoë 日本 ✓",
		"\x1b[31mred\x1b[0m":           `\x1b[31mred\x1b[0m`,
		"\x1b]52;c;Y2xpcA==\a":         `\x1b]52;c;Y2xpcA==\x07`,
		"a\r\nb\tc":                    `a\x0d\x0ab\x09c`,
		"\u009b31m":                    `\u009b31m`,
		"\x9b31m":                      `\x9b31m`,
		"\xff":                         `\xff`,
		"user\u202egnp.exe":            `user\u202egnp.exe`,
		"zero\u200bwidth \U000e0041":   `zero\u200bwidth \U000e0041`,
		"\u2028line \u2029 paragraph":  `\u2028line \u2029 paragraph`,
		"del\x7f":                      `del\x7f`,
		"replacement \ufffd character": "replacement \ufffd character",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// No sequence survives, wherever the input is split (rule W10).
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"plain", "\x1b]8;;http://x\x1b\\", "\x1bP$q\x1b\\", "\xc2\x9b0m", "\xe2\x80\xae", "\xf0\x9f"} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, text string, split int) {
		split = max(0, min(split, len(text)))
		for _, out := range []string{clean(text), clean(text[:split]) + clean(text[split:])} {
			if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				t.Errorf("clean(%q) left %q", text, out)
			}
		}
		if again := clean(clean(text)); again != clean(text) {
			t.Errorf("clean twice: %q", again)
		}
	})
}

func TestTable_cleans_every_cell(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table(&b, []string{"A", "B"}, [][]string{{"x\x1b[2J", ""}, {"tab\there", "line\nbreak"}})
	if got := b.String(); got != "A            B\nx\\x1b[2J     -\ntab\\x09here  line\\x0abreak\n" {
		t.Errorf("%q", got)
	}
}

func TestShow_cleans_what_a_receiver_answered(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := &process{out: &b}
	p.show(deliveryJSON{ID: "d", Payload: []byte(`{"a":1}`), Log: []attemptJSON{{Number: 1, Status: 500, Reason: "status 500", Answer: "no\x1b]0;title\a\r\nsecond"}}})
	if out := b.String(); strings.ContainsAny(out, "\x1b\a\r") || !strings.Contains(out, "  | second\n") {
		t.Errorf("%q", out)
	}
}
