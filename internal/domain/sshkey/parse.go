package sshkey

import (
	"crypto/dsa" //nolint:staticcheck // named to be refused
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// What Parse refuses besides what FromWire refuses.
var (
	ErrPrivateKey = fault.New(fault.Invalid,
		"this is a private key; send only the public key, and replace this key pair")
	ErrOptions = fault.New(fault.Invalid, "authorized_keys options are not accepted")
)

// maxText is the longest text of a key in bytes.
const maxText = 16 << 10

const (
	pemBegin     = "-----BEGIN PUBLIC KEY-----"
	rfc4716Begin = "---- BEGIN SSH2 PUBLIC KEY ----"
	rfc4716End   = "---- END SSH2 PUBLIC KEY ----"
)

// Parse reads exactly one public key: an OpenSSH line, a PEM "BEGIN PUBLIC KEY" block or an RFC 4716
// block, with white space around. It reports ErrPrivateKey, ErrOptions and what FromWire reports.
func Parse(text string) (Key, error) {
	if isPrivate(text) {
		return Key{}, ErrPrivateKey
	}
	if len(text) > maxText {
		return Key{}, ErrNotPublicKey
	}
	text, ok := clean(text)
	if !ok {
		return Key{}, ErrNotPublicKey
	}
	switch {
	case strings.HasPrefix(text, pemBegin):
		return parsePEM(text)
	case strings.HasPrefix(text, rfc4716Begin):
		return parseRFC4716(text)
	default:
		return parseLine(text)
	}
}

// ParseLine is Parse for texts that must be an OpenSSH line.
func ParseLine(text string) (Key, error) {
	if isPrivate(text) {
		return Key{}, ErrPrivateKey
	}
	text, ok := clean(text)
	if !ok || len(text) > maxText {
		return Key{}, ErrNotPublicKey
	}
	return parseLine(text)
}

// private finds private keys of OpenSSH, PKCS#1, SEC 1, PKCS#8, ssh.com, PuTTY and SSH 1, and the
// start of the base64 of an OpenSSH one that lost its frame.
var private = regexp.MustCompile(
	`(?i)BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File|SSH PRIVATE KEY FILE|b3BlbnNzaC1rZXktdjE`)

// isPrivate looks anywhere in the text, whatever else is in it and however long it is: the owner must
// learn that the key is no longer secret. The expression runs in linear time.
func isPrivate(text string) bool { return private.MatchString(text) }

// clean drops a byte order mark and white space around, and makes every line end "\n". It refuses
// control characters, which would reach a terminal with the comment, and broken UTF-8.
func clean(text string) (string, bool) {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	text = strings.TrimSpace(text)
	forbidden := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	return text, utf8.ValidString(text) && !strings.ContainsFunc(text, forbidden)
}

// parseLine reads "type base64 comment".
func parseLine(line string) (Key, error) {
	if strings.Contains(line, "\n") {
		return Key{}, ErrNotPublicKey
	}
	kind, rest := cutField(line)
	if err := checkType(kind); err != nil {
		if hasOptions(line) {
			return Key{}, ErrOptions
		}
		return Key{}, err
	}
	b64, comment := cutField(rest)
	blob, ok := decode(b64)
	if !ok {
		return Key{}, ErrNotPublicKey
	}
	return fromBlob(kind, blob, comment)
}

// cutField splits off what stands before the first run of spaces and tabs.
func cutField(text string) (field, rest string) {
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i], strings.Trim(text[i:], " \t")
	}
	return text, ""
}

// hasOptions reports whether a key type follows the first field, in which white space may be quoted
// (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
func hasOptions(line string) bool {
	quoted := false
	for i := range len(line) {
		switch c := line[i]; {
		case c == '"' && (i == 0 || line[i-1] != '\\'):
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			kind, _ := cutField(strings.Trim(line[i:], " \t"))
			return checkType(kind) != ErrNotPublicKey //nolint:errorlint // checkType returns it bare
		}
	}
	return false
}

// parsePEM reads one PKIX block and nothing around it.
func parsePEM(text string) (Key, error) {
	block, rest := pem.Decode([]byte(text))
	// The decoder skips a broken block and takes the next: there must be no next.
	if strings.Count(text, "-----BEGIN") != 1 || block == nil || block.Type != "PUBLIC KEY" || len(block.Headers) != 0 || strings.TrimSpace(string(rest)) != "" {
		return Key{}, ErrNotPublicKey
	}
	inner, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, ErrNotPublicKey
	}
	if _, ok := inner.(*dsa.PublicKey); ok {
		return Key{}, ErrDSA
	}
	pub, err := ssh.NewPublicKey(inner)
	if err != nil {
		return Key{}, ErrNotPublicKey
	}
	return FromWire(pub)
}

// parseRFC4716 reads one block of RFC 4716 section 3: headers, then base64.
func parseRFC4716(text string) (Key, error) {
	lines := strings.Split(text, "\n")
	last := len(lines) - 1
	if strings.TrimSpace(lines[0]) != rfc4716Begin || strings.TrimSpace(lines[last]) != rfc4716End {
		return Key{}, ErrNotPublicKey
	}
	comment, body, ok := cutHeaders(lines[1:last])
	if !ok {
		return Key{}, ErrNotPublicKey
	}
	var b64 strings.Builder
	for _, line := range body {
		b64.WriteString(strings.TrimSpace(line))
	}
	blob, ok := decode(b64.String())
	if !ok {
		return Key{}, ErrNotPublicKey
	}
	return fromBlob("", blob, comment)
}

// cutHeaders splits the lines of a block into headers, of which only the comment matters, and body. A
// header has a colon, which base64 has not; a backslash at its end continues it on the next line.
func cutHeaders(lines []string) (comment string, body []string, ok bool) {
	for len(lines) > 0 && strings.Contains(lines[0], ":") {
		header := lines[0]
		lines = lines[1:]
		for strings.HasSuffix(header, `\`) {
			if len(lines) == 0 {
				return "", nil, false
			}
			header = strings.TrimSuffix(header, `\`) + lines[0]
			lines = lines[1:]
		}
		tag, value, _ := strings.Cut(header, ":")
		if strings.EqualFold(tag, "Comment") {
			comment = unquote(strings.TrimSpace(value))
		}
	}
	return comment, lines, true
}

// unquote takes off the double quotes that many tools put around a comment.
func unquote(text string) string {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		return text[1 : len(text)-1]
	}
	return text
}

// decode reads padded base64 in its one spelling.
func decode(b64 string) ([]byte, bool) {
	blob, err := base64.StdEncoding.Strict().DecodeString(b64)
	return blob, err == nil
}
