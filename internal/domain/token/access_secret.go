package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// An HTTP access token is "BBDC-" and 44 characters of base64, which hold its handle, a colon and 160 random bits. Clients of this form know it by
// the prefix; it is taken without it as well.
const (
	accessPrefix = "BBDC-"
	handleLength = 12
	accessRandom = 20
	accessRaw    = handleLength + 1 + accessRandom
	accessText   = accessRaw / 3 * 4

	leastHandle = 100_000_000_000 // the first digit is not 0
	handles     = 9 * leastHandle
)

// AccessSecret is what a token's plain text says: which token it is, and the digest of its random part.
type AccessSecret struct {
	Handle string
	Digest [32]byte // SHA-256
}

// newAccessSecret returns a fresh plain text from the system's randomness (rule F10), and what it says.
func newAccessSecret() (secret.String, AccessSecret) {
	random := secret.Bytes(accessRandom)
	s := AccessSecret{Handle: newHandle(), Digest: sha256.Sum256(random)}
	raw := append([]byte(s.Handle+":"), random...)
	return secret.New(accessPrefix + base64.StdEncoding.EncodeToString(raw)), s
}

// newHandle returns one of all handles, each as likely as any other.
func newHandle() string {
	const fair = math.MaxUint64 - math.MaxUint64%handles
	for {
		if n := binary.BigEndian.Uint64(secret.Bytes(8)); n < fair {
			return strconv.FormatUint(leastHandle+n%handles, 10)
		}
	}
}

// ParseAccess reads a token's plain text, with or without the prefix. There is one spelling of each: no padding, no line breaks, no other alphabet.
func ParseAccess(text string) (AccessSecret, bool) {
	text = strings.TrimPrefix(text, accessPrefix)
	if len(text) != accessText {
		return AccessSecret{}, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != accessRaw || raw[handleLength] != ':' || !isHandle(string(raw[:handleLength])) {
		return AccessSecret{}, false
	}
	return AccessSecret{Handle: string(raw[:handleLength]), Digest: sha256.Sum256(raw[handleLength+1:])}, true
}

// IsAccess recognises what every door takes for an HTTP access token, and never for a password or a session: what is spelled like one, and what has its
// prefix and its length, whatever it holds. A shorter password that happens to begin so stays one.
func IsAccess(text string) bool {
	_, ok := ParseAccess(text)
	return ok || strings.HasPrefix(text, accessPrefix) && len(text) == len(accessPrefix)+accessText
}

// isHandle reports whether a text has the form of a handle.
func isHandle(text string) bool {
	if len(text) != handleLength || text[0] == '0' {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}
