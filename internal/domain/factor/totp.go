package factor

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // authenticator apps know HMAC-SHA-1 alone (RFC 6238); its collisions do not weaken the HMAC
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	stepSeconds = 30
	skew        = 1 // steps either way
	codeDigits  = 6
	secretBytes = 20 // 160 bits (rule F10): 32 characters of base32
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

func newTOTPSecret() secret.String {
	return secret.New(base32Text.EncodeToString(secret.Bytes(secretBytes)))
}

// The reasons of a refusal, for the audit log alone.
const (
	reasonWrongCode = "the code is wrong"
	reasonUsedCode  = "the code was used already"
	reasonNoApp     = "no authenticator app is enrolled"
	reasonNoCode    = "no unused recovery code is like it"
	reasonUnknown   = "there is no such kind of second factor"
)

// accepts finds the time step that a code belongs to, later than the last that was accepted (rule F7). An app without a secret accepts
// nothing (rule S18).
func (a App) accepts(code secret.String, now time.Time) (step int64, reason string) {
	key, err := base32Text.DecodeString(a.Secret.Reveal())
	given := digitsOf(code.Reveal())
	if err != nil || len(key) == 0 || len(given) != codeDigits {
		return 0, reasonWrongCode
	}
	reason = reasonWrongCode
	at := now.Unix() / stepSeconds
	for s := at - skew; s <= at+skew; s++ {
		if s < 0 || !secret.Equal(given, codeAt(key, uint64(s))) {
			continue
		}
		if s > a.LastStep {
			return s, ""
		}
		reason = reasonUsedCode
	}
	return 0, reason
}

// digitsOf drops the blanks that people copy with a code. What else is no digit makes a code that nothing is equal to.
func digitsOf(code string) []byte {
	return []byte(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, code))
}

// codeAt is the code of a step (RFC 4226 section 5.3, RFC 6238 section 4.2).
func codeAt(key []byte, step uint64) []byte {
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes everything
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	return fmt.Appendf(nil, "%0*d", codeDigits, n%1_000_000)
}

// enrolmentURL is what an authenticator app reads from a QR code.
func (s *Service) enrolmentURL(key secret.String, user string) secret.String {
	issuer := escape(s.RPName)
	return secret.New(fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		issuer, escape(user), key.Reveal(), issuer, codeDigits, stepSeconds))
}

// escape writes a blank as %20: apps show a plus as it is.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
