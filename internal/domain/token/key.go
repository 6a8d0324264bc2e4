package token

import (
	"hash/crc32"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// An API key is "gate_", 32 characters that hold 190 random bits, and 6 that check those 32, so that
// secret scanners can tell a key from noise without asking us.
const (
	keyPrefix   = "gate_"
	keyRandom   = 32
	keyChecksum = 6
	keyLength   = len(keyPrefix) + keyRandom + keyChecksum

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// NewAPIKey returns a fresh key from the system's randomness (rule F10).
func NewAPIKey() secret.String {
	random := secret.Token(keyRandom)
	return secret.New(keyPrefix + random + checksum(random))
}

// WellFormed reports whether a text is spelled like an API key: prefix, length, alphabet and checksum.
func WellFormed(text string) bool {
	if len(text) != keyLength || !strings.HasPrefix(text, keyPrefix) {
		return false
	}
	random, sum := text[len(keyPrefix):keyLength-keyChecksum], text[keyLength-keyChecksum:]
	for i := range len(random) {
		if strings.IndexByte(base62, random[i]) < 0 {
			return false
		}
	}
	return checksum(random) == sum
}

// checksum is the CRC-32 (IEEE) of the random part as six digits of base 62, the greatest first. Six
// always suffice: 62^6 is more than 2^32.
func checksum(random string) string {
	sum := crc32.ChecksumIEEE([]byte(random))
	var digits [keyChecksum]byte
	for i := keyChecksum - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}
