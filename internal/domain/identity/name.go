package identity

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	maxName      = 64  // characters
	maxNameBytes = 256 // before composing, so that hostile input is cheap to refuse
	maxEmail     = 254 // bytes, RFC 5321 section 4.5.3.1.3 less the brackets
)

// reserved names mean something else at a door.
var reserved = map[string]string{
	"git": "it is the SSH user name of git commands",
}

// CheckName returns why a user cannot be called that, or nil. At the SSH door a user name decides what
// a connection is for, so a name must have one reading only (rule F6): it holds no separator of that
// door, and it never looks like the identifier of a proof.
func CheckName(name string) error {
	if name == "" || len(name) > maxNameBytes || !utf8.ValidString(name) || utf8.RuneCountInString(Fold(name)) > maxName {
		return fault.Newf(fault.Invalid, "a user name has 1 to %d characters", maxName)
	}
	if strings.ContainsFunc(compose(name), notInName) {
		return fault.New(fault.Invalid, "a user name holds letters, digits, dots, underscores and hyphens only")
	}
	folded := Fold(name)
	if strings.ContainsFunc(folded, notInName) {
		return fault.New(fault.Invalid, "a user name holds letters, digits, dots, underscores and hyphens only")
	}
	if first, _ := utf8.DecodeRuneInString(folded); strings.ContainsRune("._-", first) {
		return fault.New(fault.Invalid, "a user name begins with a letter or a digit")
	}
	if looksLikeIdentifier(folded) {
		return fault.New(fault.Invalid, "a user name must not look like a connection identifier (16 letters and digits)")
	}
	if why, ok := reserved[folded]; ok {
		return fault.Newf(fault.Invalid, "the user name %s is reserved: %s", folded, why)
	}
	return nil
}

func notInName(r rune) bool {
	return !unicode.IsLetter(r) && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}

// unseen says that a character formats others, as joiners, soft hyphens and changes of direction do: two names that differ in it alone look the same.
func unseen(r rune) bool { return unicode.Is(unicode.Cf, r) }

// looksLikeIdentifier reports whether a folded name is 16 characters of Crockford base32.
func looksLikeIdentifier(folded string) bool {
	return len(folded) == 16 && strings.Trim(folded, "0123456789abcdefghjkmnpqrstvwxyz") == ""
}

// Fold returns the one form under which all spellings of a name are the same: surrounding space,
// case, width, ligatures and the order of accents make no difference.
func Fold(name string) string {
	folded := foldOnce(name)
	for range 4 { // composing can bring out a letter that folds once more
		again := foldOnce(folded)
		if again == folded {
			break
		}
		folded = again
	}
	return folded
}

// foldOnce lowers what it folded, because Cherokee folds to upper case and the table swaps some of its
// letters there and back.
func foldOnce(name string) string {
	return compose(strings.ToLower(cases.Fold().String(compose(strings.TrimSpace(name)))))
}

// compose returns the name with every character in its plain, composed form (Unicode NFKC).
func compose(name string) string { return norm.NFKC.String(name) }

// CheckEmail returns why something is no e-mail address, or nil.
func CheckEmail(email string) error {
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > maxEmail || strings.ContainsFunc(email, notInEmail) {
		return fault.New(fault.Invalid, "expected an e-mail address, such as ana@example.com")
	}
	return nil
}

func notInEmail(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }

// FoldEmail returns the form under which addresses are compared.
func FoldEmail(email string) string { return Fold(email) }
