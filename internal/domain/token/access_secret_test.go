package token_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/token"
)

func spelled(handle, random string) string {
	return base64.StdEncoding.EncodeToString([]byte(handle + ":" + random))
}

func TestParseAccess(t *testing.T) {
	t.Parallel()
	random := strings.Repeat("\xfb\xff", 10) // + and / occur
	good := spelled("482915037761", random)
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"with the prefix":           {"BBDC-" + good, true},
		"without":                   {good, true},
		"the prefix twice":          {"BBDC-BBDC-" + good, false},
		"another prefix":            {"bbdc-" + good, false},
		"nothing":                   {"", false},
		"the prefix alone":          {"BBDC-", false},
		"the prefix and too little": {"BBDC-" + good[:43], false},
		"the prefix and too much":   {"BBDC-" + good + "A", false},
		"the prefix and no handle":  {"BBDC-" + strings.Repeat("A", 44), false},
		"one character less":        {good[:43], false},
		"one character more":        {good + "A", false},
		"padding":                   {good[:43] + "=", false},
		"a line break":              {good[:20] + "\n" + good[21:], false},
		"the alphabet of addresses": {strings.NewReplacer("+", "-", "/", "_").Replace(good), false},
		"a first digit 0":           {spelled("082915037761", random), false},
		"a letter in the handle":    {spelled("48291503776a", random), false},
		"no colon":                  {strings.TrimRight(spelled("4829150377611", random[1:])+"", "="), false},
		"a digit of another script": {spelled("48291503776", random)[:44], false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := token.ParseAccess(c.text)
			if ok != c.ok || ok && (got.Handle != "482915037761" || got.Digest != sha256.Sum256([]byte(random))) || !ok && got != (token.AccessSecret{}) {
				t.Errorf("%+v, %v", got, ok)
			}
			if is := token.IsAccess(c.text); is != (c.ok || strings.HasPrefix(c.text, "BBDC-") && len(c.text) == 49) {
				t.Errorf("taken for a token: %v", is)
			}
		})
	}
}

// What is read has one spelling with the prefix and one without.
func FuzzParseAccess(f *testing.F) {
	f.Add("BBDC-" + spelled("482915037761", strings.Repeat("\xfb\xff", 10)))
	f.Add(spelled("100000000000", strings.Repeat("\x00", 20)))
	f.Add("BBDC-")
	f.Add(strings.Repeat("=", 44))
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := token.ParseAccess(text)
		if !ok {
			if got != (token.AccessSecret{}) {
				t.Errorf("%+v", got)
			}
			return
		}
		bare := strings.TrimPrefix(text, "BBDC-")
		raw, err := base64.StdEncoding.DecodeString(bare)
		if err != nil || base64.StdEncoding.EncodeToString(raw) != bare || len(raw) != 33 || string(raw[:12]) != got.Handle || raw[12] != ':' || sha256.Sum256(raw[13:]) != got.Digest {
			t.Errorf("%q is read as %+v", text, got)
		}
		if len(got.Handle) != 12 || strings.Trim(got.Handle, "0123456789") != "" || got.Handle[0] == '0' {
			t.Errorf("handle %q", got.Handle)
		}
	})
}
