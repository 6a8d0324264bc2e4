package senhasegura

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever comes as a body, in whichever form, is read or refused: never with text that cannot be kept, and the same twice.
func FuzzParse(f *testing.F) {
	for _, seed := range [][2]string{
		{"application/json", `{"user":"mlopes","port":22,"a":[1,"b",true],"o":{"x":null},"n":null}`},
		{"application/x-www-form-urlencoded", "user=mlopes&port=22&a=%F0%9F%98%80&a=2"},
		{"application/x-www-form-urlencoded", `{"user":"mlopes"}`},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nmlopes\r\n--x--\r\n"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=00\r\n--x--"},
		{"", `{"session_settings":[{"SSH":"1"}],"connectivities":"SSH:22, HTTPS:443"}`},
		{"", "\xff\xfe"},
		{"application/json", `{"a":"\u0000"}`},
		{"text/plain", "x"},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, kind string, raw []byte) {
		one, err := parse(kind, raw)
		if (err == nil) == (one == nil) {
			t.Fatalf("%v with %v", one, err)
		}
		if err != nil {
			return
		}
		for name, text := range one.texts {
			if !utf8.ValidString(name) || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				t.Errorf("kept %q = %q", name, text)
			}
		}
		for name := range one.nested {
			one.object(name)
			one.text(name)
		}
		for name := range one.texts {
			one.object(name)
			one.list(name)
			one.connectivities(name)
			one.screen(name)
			one.address(name)
			one.integer(name, 0, 10, errPort)
			one.remoteApp(name)
		}
		one.settings()
		one.credential()
		two, err := parse(kind, raw)
		if err != nil || len(two.texts) != len(one.texts) || len(two.nested) != len(one.nested) {
			t.Errorf("read otherwise the second time: %v", err)
		}
	})
}

// A path is spelled the same once it was spelled, and keeps what a caller has put in.
func FuzzSpell(f *testing.F) {
	for _, seed := range []string{"/ISO/pam/Remote/Session", "/api/credential/Custody/A@B", "/api/device/PAM", "/iso", "/api/pam", "/api/%70am/device/x", "/API/Pam/pam/device"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		once := spell(path)
		if !strings.HasPrefix(once, "/api") {
			t.Errorf("%q became %q", path, once)
		}
		if names := strings.Split(once, "/"); len(names) > 2 && names[2] == "pam" { // one "pam" goes, another is a name
			return
		}
		if twice := spell(once); twice != once {
			t.Errorf("%q became %q, and then %q", path, once, twice)
		}
	})
}
