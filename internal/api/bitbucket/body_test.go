package bitbucket

import (
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

// Strangers write bodies: whatever one is, what is read from it is text without NUL, or refused.
func FuzzRead(f *testing.F) {
	f.Add(`{"username":"dana","password":"x"}`)
	f.Add(`{"username":7,"username":null}`)
	f.Add(`{"username":"\u0000","password":["x"]}`)
	f.Add(" \n")
	f.Add("[{}]")
	f.Fuzz(func(t *testing.T, body string) {
		o, err := read(httptest.NewRequest("POST", "/", strings.NewReader(body)))
		if err != nil {
			return
		}
		for _, member := range []string{"username", "password"} {
			s := o.text(member)
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				t.Errorf("%q read as %q", body, s)
			}
			if s != "" && !o.has(member) {
				t.Errorf("%q holds no %s and was read as %q", body, member, s)
			}
			o.loose(member)
		}
	})
}
