package keyproof_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

func TestIdentifier(t *testing.T) {
	t.Parallel()
	for user, ok := range map[string]bool{
		"7k2m9qxw4tbz0hdn": true, "7K2M9QXW4TBZ0HDN": true, "0000000000000000": true,
		"": false, "7k2m9qxw4tbz0hd": false, "7k2m9qxw4tbz0hdnn": false,
		"7k2m9qxw4tbz0hdi": false, "7k2m9qxw4tbz0hdl": false, "7k2m9qxw4tbz0hdo": false, "7k2m9qxw4tbz0hdu": false,
		"git": false, "7k2m9qxw4tbz0hd:": false, "7k2m9qxw4tbz0hd\x00": false,
		"7\u212a2m9qxw4tbz0h": false, // the Kelvin sign, whose lower case is k
	} {
		got, is := keyproof.Identifier(user)
		if is != ok || (is && got != strings.ToLower(user)) || (!is && got != "") {
			t.Errorf("%q: %q, %v", user, got, is)
		}
	}
}

func TestNewIdentifier(t *testing.T) {
	t.Parallel()
	seen, letters := map[string]bool{}, map[rune]bool{}
	for range 2000 {
		made := keyproof.NewIdentifier()
		if got, ok := keyproof.Identifier(made); !ok || got != made || seen[made] {
			t.Fatalf("%q is no identifier or not new", made)
		}
		seen[made] = true
		for _, r := range made {
			letters[r] = true
		}
	}
	want(t, "letters in use", len(letters), 32)
}

func FuzzIdentifier(f *testing.F) {
	for _, seed := range []string{"7k2m9qxw4tbz0hdn", "7K2M9QXW4TBZ0HDN", "git", "a:b", "7\u212a2m9qxw4tbz0h", "\u212a\u212a\u212a\u212a\u212a0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, user string) {
		got, ok := keyproof.Identifier(user)
		if !ok {
			want(t, "what is none", got, "")
			return
		}
		if !strings.EqualFold(got, user) || len(user) != keyproof.IdentifierLength || strings.ContainsAny(got, "ilou:/@") {
			t.Errorf("%q became %q", user, got)
		}
		if again, ok := keyproof.Identifier(got); !ok || again != got {
			t.Errorf("%q is not stable", got)
		}
	})
}
