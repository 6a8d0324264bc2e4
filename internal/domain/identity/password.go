package identity

import (
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const minPassword = 12 // bytes

// The faults of a password that people choose.
var (
	ErrPasswordShort  = fault.New(fault.Invalid, "a password has at least 12 bytes")
	ErrPasswordCommon = fault.New(fault.Invalid, "that password is among the first that anybody would try")
)

// CheckPassword returns why a person may not choose that password, or nil: 12 to 1,024 bytes, and none
// of those that attackers try first.
func CheckPassword(password secret.String) error {
	text := password.Reveal()
	switch {
	case len(text) < minPassword:
		return ErrPasswordShort
	case len(text) > secret.MaxPassword:
		return secret.ErrPasswordLong
	case isCommon(text):
		return ErrPasswordCommon
	}
	return nil
}

// isCommon compares folded, without what people put around a common word to please a rule. A text that is
// one short piece over and over is as easy to guess.
func isCommon(text string) bool {
	folded := Fold(text)
	bare := strings.Trim(folded, "0123456789!@#$%^&*().,-_ ")
	return slices.Contains(common, folded) || slices.Contains(common, bare) || len(bare) < 4 && !varied(folded) || repeats(folded)
}

// varied says that a text of digits and signs uses many different ones.
func varied(text string) bool {
	seen := make(map[rune]bool)
	for _, r := range text {
		seen[r] = true
	}
	return len(seen) >= 10 && !strings.Contains("01234567890123456789", text[:10])
}

// repeats says that a text is a piece of up to four bytes, again and again.
func repeats(text string) bool {
	for n := 1; n <= 4 && n < len(text); n++ {
		if strings.HasPrefix(strings.Repeat(text[:n], len(text)/n+1), text) {
			return true
		}
	}
	return false
}

// common are words and lines of keys that stand at the top of every list of leaked passwords, folded: those that reach the
// least length by themselves, and those that people lengthen with digits and signs.
var common = strings.Fields(`
	password passwort passw0rd p@ssw0rd p@ssword password1 motdepasse contraseña qwerty qwertyuiop qwertyuiopas qwerty123456
	qwertyuiop123 1q2w3e4r5t6y 1qaz2wsx3edc 1qaz2wsx3edc4rfv q1w2e3r4t5y6 zaq12wsx asdfghjkl asdfghjklzx asdfghjkl123 zxcvbnm
	zxcvbnmasdfg iloveyou iloveyou1234 letmein letmein12345 welcome welcome12345 welcometohell administrator admin adminadmin
	administrator1 changeme changeme1234 changemenow default secret topsecret supersecret computer internet football baseball
	basketball sunshine princess superman batman starwars dragon monkey master shadow michael jennifer charlie liverpool chelsea
	arsenal pokemon trustno1 whatever freedom abcdefghijkl abcdefghijklm abcdefghijklmnop abcd1234efgh aaaaaaaaaaaa correcthorsebatterystaple
	correct-horse-battery-staple gatehouse gatehousegatehouse mypassword mypassword123 yourpassword thisisapassword thisismypassword
	passwordpassword 123456789012 1234567890123 012345678901 987654321098 123123123123 111111111111 000000000000 qazwsxedcrfv
	unknown nothing password123 password1234 password12345 summer winter spring autumn january february october december`)
