// Package sshkey is SSH public keys: parse, fingerprint, compare; what was offered and what was proven.
//
// A Key is a plain public key of an accepted type and size; there is no other way to make one than
// Parse (what people send), FromWire (what a client presents) and UnmarshalText (what we stored), so
// whoever holds a Key need not check it again. Certificates, DSA and odd RSA keys never become one.
//
// A key that a client offered is an OfferedKey and proves nothing; a key that signed on this
// connection is a ProvenKey. The one does not convert to the other (rule S1).
package sshkey

import (
	"crypto/md5" //nolint:gosec // a legacy fingerprint that people compare by eye, never used to find a key
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Key is an accepted SSH public key. It does not change once made. The zero Key is no key and equals
// nothing, not even itself.
type Key struct {
	_       [0]func() // no ==, which would compare comments and take as long as the keys are alike
	kind    string
	comment string
	blob    string // the wire encoding, RFC 4253 section 6.6, in its one canonical form
	print   Fingerprint
}

// Type is the name of the key's format, such as "ssh-ed25519" or "ssh-rsa"; never that of a
// signature algorithm, such as "rsa-sha2-512".
func (k Key) Type() string { return k.kind }

// Comment is what the owner wrote beside the key: free text of strangers without control characters.
func (k Key) Comment() string { return k.comment }

// Blob is the key in SSH wire encoding, type name included. The caller may keep and change it.
func (k Key) Blob() []byte { return []byte(k.blob) }

// Fingerprint is the SHA-256 of the blob: what keys are looked up by (rule S12).
func (k Key) Fingerprint() Fingerprint { return k.print }

// SHA256 is the fingerprint as OpenSSH prints it: "SHA256:" and unpadded base64.
func (k Key) SHA256() string { return k.print.String() }

// MD5 is the fingerprint as old tools print it: "MD5:" and 16 colon-separated hex bytes.
func (k Key) MD5() string {
	sum := md5.Sum([]byte(k.blob)) //nolint:gosec // see the import
	pairs := make([]string, len(sum))
	for i := range sum {
		pairs[i] = hex.EncodeToString(sum[i : i+1])
	}
	return "MD5:" + strings.Join(pairs, ":")
}

// SSH is the key as an OpenSSH line, type and base64, without comment and newline.
func (k Key) SSH() string {
	if k.kind == "" {
		return ""
	}
	return k.kind + " " + base64.StdEncoding.EncodeToString([]byte(k.blob))
}

// PEM is the key as a PKIX "BEGIN PUBLIC KEY" block, ending in a newline. For a hardware (sk-) key it
// is the plain inner key: that PEM parses as another key, one that nobody can sign for.
func (k Key) PEM() string {
	held, ok := k.PublicKey().(ssh.CryptoPublicKey)
	if !ok {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(held.CryptoPublicKey())
	if err != nil {
		return "" // every accepted type has a PKIX form
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// PublicKey is the key as the SSH library knows it, nil for the zero Key.
func (k Key) PublicKey() ssh.PublicKey {
	pub, err := ssh.ParsePublicKey([]byte(k.blob))
	if err != nil {
		return nil // the zero Key only: every other blob was parsed before
	}
	return pub
}

// Hardware reports whether the private key lies in a security key (sk-). The SSH library refuses its
// signatures when nobody touched the device (rule S4).
func (k Key) Hardware() bool { return strings.HasPrefix(k.kind, "sk-") }

// Equal compares whole blobs in constant time; comments do not count.
func (k Key) Equal(other Key) bool {
	return k.blob != "" && secret.Equal([]byte(k.blob), []byte(other.blob))
}

// String is type and fingerprint, for logs.
func (k Key) String() string { return k.kind + " " + k.SHA256() }

// MarshalText gives the SSH line: how a key is stored. The comment is not part of it.
func (k Key) MarshalText() ([]byte, error) {
	if k.kind == "" {
		return nil, errors.New("marshal key: there is none")
	}
	return []byte(k.SSH()), nil
}

// UnmarshalText reads what MarshalText wrote: one line of type and base64, by all the rules of Parse. The
// search for other forms, and for private keys pasted by mistake, is for what people send.
func (k *Key) UnmarshalText(text []byte) error {
	parsed, err := parseLine(string(text))
	if err != nil {
		return fmt.Errorf("unmarshal key: %w", err)
	}
	*k = parsed
	return nil
}

// UnmarshalBinary reads what Blob gave, by all the rules of Parse. It keeps no comment.
func (k *Key) UnmarshalBinary(blob []byte) error {
	parsed, err := fromBlob("", blob, "")
	if err != nil {
		return fmt.Errorf("unmarshal key: %w", err)
	}
	*k = parsed
	return nil
}

// Fingerprint is the SHA-256 of a key's blob.
type Fingerprint [sha256.Size]byte

// String is the fingerprint as OpenSSH prints it.
func (f Fingerprint) String() string { return "SHA256:" + base64.RawStdEncoding.EncodeToString(f[:]) }

// ErrFingerprint says that a text is no SHA256 fingerprint.
var ErrFingerprint = fault.New(fault.Invalid, "not a fingerprint of the form SHA256: and 43 characters of base64")

// ParseFingerprint reads a fingerprint as OpenSSH prints it. Case matters: it is base64 (rule S12).
func ParseFingerprint(text string) (Fingerprint, error) {
	b64, ok := strings.CutPrefix(text, "SHA256:")
	raw, err := base64.RawStdEncoding.Strict().DecodeString(b64)
	// The length of the text rules out the line breaks that the decoder skips.
	if !ok || err != nil || len(raw) != sha256.Size || len(b64) != base64.RawStdEncoding.EncodedLen(sha256.Size) {
		return Fingerprint{}, ErrFingerprint
	}
	return Fingerprint(raw), nil
}
