package secret

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// masterKeySize is the length of a master key in bytes: AES-256.
const masterKeySize = 32

// ErrMasterKeyExists says that a master key file is already there. It is never overwritten:
// everything sealed under it would be lost.
var ErrMasterKeyExists = fault.New(fault.Conflict, "a master key file is already there")

// MasterKey wraps the keyset that seals everything else. Like String, it never prints itself.
type MasterKey struct{ key *[masterKeySize]byte }

// NewMasterKey makes a random master key.
func NewMasterKey() MasterKey {
	return MasterKey{key: (*[masterKeySize]byte)(Bytes(masterKeySize))}
}

// ParseMasterKey reads 32 bytes in base64, with any white space around. The error never holds the text.
func ParseMasterKey(text string) (MasterKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != masterKeySize {
		return MasterKey{}, fault.New(fault.Invalid,
			"the master key must be 32 bytes in base64 (44 characters); make one with: head -c 32 /dev/urandom | base64")
	}
	if sameBytes(raw) {
		return MasterKey{}, fault.New(fault.Invalid,
			"the master key is one byte repeated, not random; make one with: head -c 32 /dev/urandom | base64")
	}
	return MasterKey{key: (*[masterKeySize]byte)(raw)}, nil
}

// sameBytes catches a placeholder such as 32 zero bytes.
func sameBytes(raw []byte) bool {
	for _, b := range raw {
		if b != raw[0] {
			return false
		}
	}
	return true
}

// ReadMasterKeyFile reads a master key from a file that only its owner can read.
// It reports fs.ErrNotExist in the chain when there is no such file.
func ReadMasterKeyFile(path string) (MasterKey, error) {
	// Without O_NONBLOCK, opening a named pipe would hang the start.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return MasterKey{}, fault.Wrap(fault.Invalid, "cannot open the master key file "+path, err)
	}
	defer func() { _ = f.Close() }()
	if err := checkPrivate(f); err != nil {
		return MasterKey{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return MasterKey{}, fault.Wrap(fault.Invalid, "cannot read the master key file "+path, err)
	}
	if len(text) == 0 {
		return MasterKey{}, fault.Newf(fault.Invalid,
			"the master key file %s is empty: put the key back, or remove the file if no server ever started with it", path)
	}
	m, err := ParseMasterKey(string(text))
	if err != nil {
		return MasterKey{}, fault.Newf(fault.Invalid, "master key file %s: %s", path, fault.Text(err))
	}
	return m, nil
}

// checkPrivate refuses a file that others can read or change. It asks the open file, not the path,
// so that the answer is about the bytes that are read next.
func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(fault.Invalid, "cannot inspect the master key file "+f.Name(), err)
	}
	if !info.Mode().IsRegular() {
		return fault.Newf(fault.Invalid, "the master key file %s is not a regular file", f.Name())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fault.Newf(fault.Invalid, "the master key file %s is open to other users (mode %04o); run: chmod 600 %s",
			f.Name(), info.Mode().Perm(), f.Name())
	}
	return nil
}

// CreateMasterKeyFile makes a master key and keeps it in a new file of mode 0600. When it returns, the
// file is on disk. It reports ErrMasterKeyExists, and changes nothing, when the file is there.
func CreateMasterKeyFile(path string) (MasterKey, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return MasterKey{}, ErrMasterKeyExists
	}
	if err != nil {
		return MasterKey{}, fault.Wrap(fault.Invalid, "cannot create the master key file "+path, err)
	}
	m := NewMasterKey()
	if err := keep(f, m.Text().Reveal()+"\n"); err != nil {
		// Ours by O_EXCL, and nothing was sealed with it yet.
		_ = os.Remove(path)
		return MasterKey{}, fault.Wrap(fault.Invalid, "cannot write the master key file "+path, err)
	}
	return m, nil
}

// keep writes a new file and its directory entry through to the disk.
func keep(f *os.File, text string) error {
	_, err := f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Text gives the key in base64, as ParseMasterKey reads it.
func (m MasterKey) Text() String {
	if m.key == nil {
		return String{}
	}
	return New(base64.StdEncoding.EncodeToString(m.key[:]))
}

// ID names the key without telling anything about it: what lies beside a wrapped keyset, and what an
// operator compares when the two do not fit.
func (m MasterKey) ID() string {
	if m.key == nil {
		return ""
	}
	sum := sha256.Sum256(append([]byte("gatehouse master key id\x00"), m.key[:]...))
	return hex.EncodeToString(sum[:8])
}

// String gives "[secret]".
func (MasterKey) String() string { return mask }

// GoString gives "[secret]", for %#v.
func (MasterKey) GoString() string { return mask }

// Format writes "[secret]" for every verb.
func (MasterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// LogValue gives "[secret]".
func (MasterKey) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText gives "[secret]": the key leaves only by Text and Reveal.
func (MasterKey) MarshalText() ([]byte, error) { return []byte(mask), nil }
