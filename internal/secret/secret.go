// Package secret makes, hashes, seals and compares secrets.
//
// Hold a secret that came from outside in a String: it prints, logs and marshals as "[secret]".
// Make random secrets with Token and keep only their Digest. Hash passwords with a Hasher. What must
// be readable again is sealed with a Sealer, whose keyset is wrapped by the MasterKey.
// Compare with Equal, never with ==.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// mask is all that is ever printed of a secret.
const mask = "[secret]"

// String is a text that never prints itself. Its zero value is the empty text.
//
// The text lies behind a pointer, so that fmt does not find it in an unexported field of a struct
// either, where it cannot call Format. For the same reason == compares nothing useful: use Equal.
type String struct{ text *string }

// New makes a String of a text.
func New(text string) String { return String{text: &text} }

// Reveal gives the text. Every call is a place to look at in a review.
func (s String) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no text.
func (s String) Empty() bool { return s.Reveal() == "" }

// Equal compares two texts in constant time.
func (s String) Equal(other String) bool {
	return Equal([]byte(s.Reveal()), []byte(other.Reveal()))
}

// String gives "[secret]".
func (String) String() string { return mask }

// GoString gives "[secret]", for %#v.
func (String) GoString() string { return mask }

// Format writes "[secret]" for every verb, so that %x and %q tell no more than %v.
func (String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// LogValue gives "[secret]".
func (String) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText gives "[secret]": a secret leaves only by Reveal.
func (String) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON gives "[secret]" as a JSON string.
func (String) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// Digest is the SHA-256 of a text: how random tokens lie in the database. It is no password hash.
func Digest(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// Equal compares in a time that depends only on the lengths.
func Equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Token makes a random text of n characters [0-9A-Za-z], 5.95 bits each: 27 or more for a secret of
// 160 bits, unless a wire fixes less (rule F10).
func Token(n int) string {
	// Bytes from 248 on are thrown away: 248 is the last multiple of 62, so no character is likelier.
	const fair = 256 - 256%len(base62)
	out := make([]byte, 0, max(n, 0))
	for len(out) < n {
		for _, b := range Bytes(n + n/16 + 1) {
			if int(b) < fair && len(out) < n {
				out = append(out, base62[int(b)%len(base62)])
			}
		}
	}
	return string(out)
}

// Bytes makes n random bytes.
func Bytes(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.Read(out) // never fails: crypto/rand ends the process instead
	return out
}
