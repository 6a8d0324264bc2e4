package identity_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"a", "ana", "Ana.Maria", "ana_2", "x-y", "josé", "jose\u0301", "Łukasz", "анна", "太郎", "0day", strings.Repeat("a", 64),
		"abcdefghjkmnpqr", "abcdefghjkmnpqrsx", "abcdefghijklmnop", // 15 and 17 characters, and an i: no identifier
	} {
		if err := identity.CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for what, bad := range map[string]string{
		"empty": "", "space": "ana maria", "leading space": " ana", "trailing newline": "ana\n", "NUL": "ana\x00",
		"colon": "ana:host", "slash": "ana/x", "backslash": `dom\ana`, "at": "ana@host", "percent": "ana%", "wide colon": "ana：host", "wide at": "ana＠host",
		"escape": "a\x1b[31m", "zero width": "an\u200ba", "direction": "ana\u202e", "soft hyphen": "an\u00ada", "not UTF-8": "an\xffa",
		"too long": strings.Repeat("a", 65), "too long when composed": strings.Repeat("ﬃ", 22), "huge": strings.Repeat("a", 1<<20),
		"dot first": ".ana", "dots": "..", "hyphen first": "-oProxyCommand", "accent alone": "\u0301",
		"identifier": "7k2m9qxw4tbz0hdn", "identifier in upper case": "7K2M9QXW4TBZ0HDN", "identifier of letters": "abcdefghjkmnpqrs", "wide identifier": "７k2m9qxw4tbz0hdn",
		"git": "git", "Git": "Git", "wide git": "ｇｉｔ",
	} {
		if err := identity.CheckName(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %q was accepted", what, bad)
		}
	}
}

func TestFold_makes_one_of_all_spellings(t *testing.T) {
	t.Parallel()
	for spelling, want := range map[string]string{
		"ANA": "ana", " ana\t": "ana", "ａｎａ": "ana", "jose\u0301": "josé", "JOSÉ": "josé", "ﬁona": "fiona", "STRASSE": "strasse", "straße": "strasse", "Ᏺ": "ᏺ", "ᏺ": "ᏺ", "\u212Aim": "kim", "ſam": "sam",
	} {
		if got := identity.Fold(spelling); got != want {
			t.Errorf("Fold(%q) = %q, want %q", spelling, got, want)
		}
	}
}

// TestFold_is_the_one_canonical_form is rule F6: variants of case and space, and a second folding,
// change nothing.
func TestFold_is_the_one_canonical_form(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		folded := identity.Fold(name)
		if again := identity.Fold(folded); again != folded {
			t.Fatalf("folded twice: %q, then %q", folded, again)
		}
		if spaced := identity.Fold(" " + name + "\t"); spaced != folded {
			t.Fatalf("with space: %q, without %q", spaced, folded)
		}
		ascii := rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "ascii")
		if identity.Fold(strings.ToUpper(ascii)) != identity.Fold(strings.ToLower(ascii)) {
			t.Fatalf("case of %q", ascii)
		}
	})
}

var identifier = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{16}$`)

// FuzzCheckName holds that an accepted name has one reading at the SSH door, in every spelling.
func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"ana", "git", "a:b", "user:device@host", "7K2M9QXW4TBZ0HDN", "jose\u0301", "ａｎａ", "\u212Aim", "..", "-x", "ﷺ", "\u0345", "İstanbul"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if identity.CheckName(name) != nil {
			return
		}
		folded := identity.Fold(name)
		for _, form := range []string{name, folded, strings.ToLower(name)} {
			if strings.ContainsAny(form, ":/@\\% \x00") || strings.ContainsFunc(form, unicode.IsControl) || strings.ContainsFunc(form, unicode.IsSpace) {
				t.Errorf("accepted %q", form)
			}
			if identifier.MatchString(strings.ToLower(form)) || strings.EqualFold(form, "git") {
				t.Errorf("accepted %q, which the SSH door reads otherwise", form)
			}
		}
		if n := utf8.RuneCountInString(folded); n < 1 || n > 64 {
			t.Errorf("%q has %d characters folded", name, n)
		}
		if identity.Fold(folded) != folded || identity.CheckName(folded) != nil {
			t.Errorf("the folded form %q of %q is not itself a name: %v", folded, name, identity.CheckName(folded))
		}
	})
}
