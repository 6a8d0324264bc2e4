package sshkey

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// maxLabel is the most characters of a label.
const maxLabel = 255

// maxDays is what an expiry counts at most, a thousand years: what is asked for beyond that is kept as a number and never comes.
const maxDays = 365_000

// draft judges what a caller wants on file, one fault at a time. The fault names the field, and wraps why Parse refused a text.
func (s *Service) draft(n New) (Registered, error) {
	key, err := ParseLine(n.Text)
	if err != nil {
		return Registered{}, textFault(err)
	}
	label, err := labelOf(n.Label, key.Comment())
	if err != nil {
		return Registered{}, err
	}
	r := Registered{ID: s.NewID(), Key: key, Label: label, State: s.state(n.Via), Created: s.Now(), Unsafe: UnsafeModulus(key)}
	if n.ExpiryDays == nil {
		return r, nil
	}
	if *n.ExpiryDays < 1 {
		return Registered{}, fieldFault("expiryDays", "expiryDays must be positive.", nil)
	}
	r.ExpiryDays, r.Expires = *n.ExpiryDays, expiry(r.Created, *n.ExpiryDays)
	return r, nil
}

func expiry(created time.Time, days int) time.Time {
	return created.UTC().AddDate(0, 0, min(days, maxDays))
}

// textFault says the one of two things that callers are told about a refused text.
func textFault(cause error) error {
	for _, known := range []*fault.Error{ErrDSA, ErrRSATooSmall, ErrRSATooLarge, ErrCertificate} {
		if cause == error(known) { //nolint:errorlint // Parse returns them bare
			return fieldFault("text", "This key type or length is not allowed.", cause)
		}
	}
	return fieldFault("text", "The SSH key is not valid.", cause)
}

// fieldFault is an Invalid fault about one field.
func fieldFault(path, text string, cause error) error {
	f := fault.New(fault.Invalid, text)
	if cause != nil {
		f = fault.Wrap(fault.Invalid, text, cause)
	}
	f.Fields = []fault.Field{{Path: path, Message: text}}
	return f
}

// labelOf returns the label that was asked for, or else the comment of the key, cut where it is too long. A label ends up in a line of
// authorized_keys, so it holds no line break.
func labelOf(asked, comment string) (string, error) {
	label := strings.TrimSpace(asked)
	switch {
	case label == "":
		return cut(comment), nil
	case !utf8.ValidString(label) || strings.ContainsFunc(label, unprintable):
		return "", fieldFault("label", "The label contains characters that are not allowed.", nil)
	case utf8.RuneCountInString(label) > maxLabel:
		return "", fieldFault("label", "The label must be at most 255 characters long.", nil)
	}
	return label, nil
}

// unprintable are control characters and the line ends of Unicode.
func unprintable(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

func cut(comment string) string {
	printable := strings.Map(func(r rune) rune {
		if unprintable(r) {
			return ' '
		}
		return r
	}, comment)
	if runes := []rune(printable); len(runes) > maxLabel {
		printable = string(runes[:maxLabel])
	}
	return strings.TrimSpace(printable)
}
