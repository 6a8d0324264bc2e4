package fortanix

import (
	"encoding/base64"
	"testing"
	"unicode/utf8"
)

// Strangers write what follows "Basic": whatever it is, what comes out is text, and what was packed comes out again.
func FuzzUnpack(f *testing.F) {
	f.Add("ZGFuYTpwYXNz", "dana", "pa:ss")
	f.Add("ZGFuYTpwYXNz==", "", "")
	f.Add("-_+/", "\u00fc", "=")
	f.Fuzz(func(t *testing.T, sent, name, password string) {
		if n, p, _ := unpack(sent); !utf8.ValidString(n) || !utf8.ValidString(p) {
			t.Errorf("%q gave %q and %q", sent, n, p)
		}
		plain := name + ":" + password
		for _, packed := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			n, p, ok := unpack(packed.EncodeToString([]byte(plain)))
			if ok != utf8.ValidString(plain) || ok && n+":"+p != plain {
				t.Errorf("%q came back as %q and %q, %v", plain, n, p, ok)
			}
		}
	})
}
