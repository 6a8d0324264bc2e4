package factor

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

const (
	listLength     = 10
	recoveryLength = 20 // characters of base32: the wires fix four groups of five
	recoveryGroup  = 5
	saltBytes      = 16
)

// newCode makes a recovery code and what is kept of it.
func (s *Service) newCode(kind CodeKind) (secret.String, Code) {
	text := base32Text.EncodeToString(secret.Bytes(recoveryLength))[:recoveryLength]
	c := Code{ID: s.NewID(), Kind: kind, Salt: secret.Bytes(saltBytes), Created: s.Now()}
	c.Hash = codeHash(c.Salt, text)
	return secret.New(strings.Join(slices.Collect(groups(text)), "-")), c
}

func groups(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for group := range slices.Chunk([]byte(text), recoveryGroup) {
			if !yield(string(group)) {
				return
			}
		}
	}
}

func codeHash(salt []byte, text string) [32]byte {
	return sha256.Sum256(append(slices.Clone(salt), text...))
}

// recoveryText is a code as it was made: people copy dashes and blanks, and write small letters.
func recoveryText(code secret.String) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || r == '-':
			return -1
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		default:
			return r
		}
	}, code.Reveal())
}

// useCode finds the unused recovery code that was presented, in either set, and marks it as used. All are compared, so that time does not
// tell which it was.
func (set *Set) useCode(code secret.String, now time.Time) (ok bool) {
	text := recoveryText(code)
	if len(text) != recoveryLength || !set.Enrolled() { // codes alone are no second factor (rule S18)
		return false
	}
	found := -1
	for i, c := range set.Codes {
		hash := codeHash(c.Salt, text)
		if secret.Equal(hash[:], c.Hash[:]) && c.Used.IsZero() {
			found = i
		}
	}
	if found < 0 {
		return false
	}
	set.Codes[found].Used = now
	return true
}

// dropCodes removes all of one kind.
func (set *Set) dropCodes(kind CodeKind) {
	set.Codes = slices.DeleteFunc(set.Codes, func(c Code) bool { return c.Kind == kind })
}

// newKey replaces the recovery key.
func (s *Service) newKey(set *Set) secret.String {
	text, c := s.newCode(AsKey)
	set.dropCodes(AsKey)
	set.Codes = append(set.Codes, c)
	return text
}

// RotateKey replaces the recovery key of a TOTP app. It reports ErrNotEnrolled where there is no app.
func (s *Service) RotateKey(ctx context.Context, user string, c Change) (key secret.String, err error) {
	_, err = s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		if set.TOTP == nil {
			return Change{}, ErrNotEnrolled
		}
		key = s.newKey(set)
		return c, nil
	})
	return unless(err, key)
}

// NewList replaces the list of recovery codes. They are shown this once.
func (s *Service) NewList(ctx context.Context, user string, c Change) (texts []secret.String, err error) {
	_, err = s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		texts = nil
		set.dropCodes(InList)
		for range listLength {
			text, code := s.newCode(InList)
			texts, set.Codes = append(texts, text), append(set.Codes, code)
		}
		return c, nil
	})
	return unless(err, texts)
}

// unless keeps back what was not stored.
func unless[T any](err error, v T) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}
