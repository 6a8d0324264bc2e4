package telnetrelay

import (
	"bytes"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, from, text, answers string }{
		{"text", "hello\r\nworld", "hello\r\nworld", ""},
		{"a return alone", "a\r\x00b", "a\rb", ""},
		{"a byte 255", "a\xff\xffb", "a\xffb", ""},
		{"commands for teletypes", "a\xff\xf1\xff\xf9\xff\xf2b", "ab", ""},
		{"what we have", "\xff\xfd\x18\xff\xfd\x03", "", "\xff\xfb\x18\xff\xfb\x03"},
		{"what we have not", "\xff\xfd\x22\xff\xfd\x20", "", "\xff\xfc\x22\xff\xfc\x20"},
		{"variables (RFC 1572)", "\xff\xfd\x27", "", "\xff\xfc\x27"},
		{"what the target may", "\xff\xfb\x01\xff\xfb\x03", "", "\xff\xfd\x01\xff\xfd\x03"},
		{"what the target may not", "\xff\xfb\x26", "", "\xff\xfe\x26"},
		{"the same twice", "\xff\xfb\x01\xff\xfb\x01", "", "\xff\xfd\x01"},
		{"off again", "\xff\xfb\x01\xff\xfc\x01\xff\xfc\x01", "", "\xff\xfd\x01\xff\xfe\x01"},
		{"the size", "\xff\xfd\x1f", "", "\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0"},
		{"the kind", "\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0", "", "\xff\xfb\x18\xff\xfa\x18\x00xterm-256color\xff\xf0"},
		{"the kind, not agreed on", "\xff\xfa\x18\x01\xff\xf0x", "x", ""},
		{"a subnegotiation of something else", "\xff\xfa\x27\x01user\xff\xff\xff\xf0x", "x", ""},
	} {
		for cut := range len(c.from) + 1 { // wherever the bytes are cut
			p := protocol{size: remote.Size{Cols: 80, Rows: 24}}
			text, answers, err := p.decode([]byte(c.from[:cut]))
			more, further, bad := p.decode([]byte(c.from[cut:]))
			if got := string(text) + string(more); got != c.text || err != nil || bad != nil {
				t.Errorf("%s: text %q, %v, %v", c.name, got, err, bad)
			}
			if got := string(answers) + string(further); got != c.answers {
				t.Errorf("%s: answers %q", c.name, got)
			}
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	var p protocol
	if got := string(p.encode([]byte("a\rb\xffc\r\nd"))); got != "a\r\x00b\xff\xffc\r\nd" {
		t.Errorf("got %q", got)
	}
	p.us[optBinary] = true
	if got := string(p.encode([]byte("a\rb\xff"))); got != "a\rb\xff\xff" {
		t.Errorf("binary: %q", got)
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	var p protocol
	if got := string(p.echo([]byte("ls\x1b\x7f\r"))); got != "ls\b \b\r\n" {
		t.Errorf("got %q", got)
	}
	p.them[optEcho] = true
	if p.echo([]byte("ls")) != nil {
		t.Error("two echoes")
	}
}

// FuzzDecode: whatever a target sends, and however it is cut, is understood in the same way, with answers that are well formed and few.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0login: "), 3)
	f.Add([]byte("\xff\xfa\x1f\xff\xff\xff\xf0\r\x00\r\n"), 5)
	f.Add(bytes.Repeat([]byte("\xff\xfb\x63"), 3000), 9)
	f.Fuzz(func(t *testing.T, from []byte, cut int) {
		cut = min(max(cut, 0), len(from))
		var whole, halves protocol
		text, answers, err := whole.decode(from)
		first, a, bad := halves.decode(from[:cut])
		if bad == nil {
			var b, more []byte
			more, b, bad = halves.decode(from[cut:])
			first, a = append(first, more...), append(a, b...)
		}
		if (err == nil) != (bad == nil) || err == nil && (!bytes.Equal(text, first) || !bytes.Equal(answers, a)) {
			t.Errorf("whole %q %q %v, in halves %q %q %v", text, answers, err, first, a, bad)
		}
		if len(text) > len(from) || len(whole.parameters) > maxParameters+1 || len(answers) > 40*(maxAnswers+1) {
			t.Error("too much is kept")
		}
	})
}
