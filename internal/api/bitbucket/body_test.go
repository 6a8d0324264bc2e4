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
	f.Add(`{"username":{"username":["x",7,null]},"password":[true,"x"]}`)
	f.Add(`{"username":"TRUE","password":-7}`)
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
			judged(t, o, member)
			judged(t, o.object(member), member)
		}
	})
}

// judged reads a member in every way that names what is wrong: a value is within its bounds, or refused.
func judged(t *testing.T, o *object, member string) {
	t.Helper()
	top := o
	if o.within != nil {
		top = o.within
	}
	top.fault = nil
	if s := o.line(member, 5); top.fault == nil && s != nil && (utf8.RuneCountInString(*s) > 5 || strings.ContainsRune(*s, 0)) {
		t.Errorf("%s read as %q", o.members[member], *s)
	}
	top.fault = nil
	for _, s := range o.list(member) {
		if top.fault == nil && (utf8.RuneCountInString(s) > maxEntry || strings.ContainsRune(s, 0)) {
			t.Errorf("%s read as a list with %q", o.members[member], s)
		}
	}
	for what, read := range map[string]bool{"true or false": o.flag(member) != nil, "a number": o.number(member) != nil} {
		if read != o.has(member) {
			t.Errorf("%s read as %s: %t", o.members[member], what, read)
		}
	}
}

// Programs write flags and numbers as texts.
func TestReaders_are_lenient(t *testing.T) {
	t.Parallel()
	for raw, flag := range map[string]bool{"true": true, "false": false, `"true"`: true, `"True"`: true, `"FALSE"`: false} {
		o, err := read(httptest.NewRequest("POST", "/", strings.NewReader(`{"x":`+raw+`}`)))
		if is := o.flag("x"); err != nil || o.wrong() != nil || *is != flag {
			t.Errorf("%s: %v, %v", raw, err, o.wrong())
		}
	}
	for raw, number := range map[string]int64{"7": 7, `"7"`: 7, "-1": -1, "9223372036854775807": 1<<63 - 1} {
		o, err := read(httptest.NewRequest("POST", "/", strings.NewReader(`{"x":`+raw+`}`)))
		if is := o.number("x"); err != nil || o.wrong() != nil || *is != number {
			t.Errorf("%s: %v, %v", raw, err, o.wrong())
		}
	}
	for _, raw := range []string{"1.0", "1e2", `""`, `"x"`, "[]", "true", "9223372036854775808", `"\"7"`} {
		o, err := read(httptest.NewRequest("POST", "/", strings.NewReader(`{"x":`+raw+`}`)))
		if o.number("x"); err != nil || o.wrong() == nil {
			t.Errorf("%s is a number: %v", raw, err)
		}
	}
}
