package api

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Rule narrows what a member may be. Rules that do not concern a type are ignored by it.
type Rule func(*limits)

type limits struct {
	required, nullable, secret, text bool
	minLength, maxLength             int
	minCount, maxCount               int
	min, max                         int64
	options                          []string
}

func gather(rules []Rule, secret bool) limits {
	all := limits{secret: secret, min: math.MinInt64, max: math.MaxInt64}
	for _, rule := range rules {
		rule(&all)
	}
	return all
}

// Required makes an absent member a fault, reported at its object.
func Required(r *limits) { r.required = true }

// Nullable lets a member be null; without it null is a fault of the member's type.
func Nullable(r *limits) { r.nullable = true }

// Secret keeps what was sent, and all that lies in it, out of faults.
func Secret(r *limits) { r.secret = true }

// Text refuses control characters other than newline and tab, so that nobody can send terminal escapes
// to the person who will read it.
func Text(r *limits) { r.text = true }

// MaxLength bounds a text, in characters.
func MaxLength(most int) Rule { return func(r *limits) { r.maxLength = most } }

// MinLength asks for a text of at least that many characters.
func MinLength(least int) Rule { return func(r *limits) { r.minLength = least } }

// Count bounds the elements of an array.
func Count(least, most int) Rule {
	return func(r *limits) { r.minCount, r.maxCount = least, most }
}

// Between bounds a number, ends included.
func Between(least, most int64) Rule {
	return func(r *limits) { r.min, r.max = least, most }
}

// AtLeast bounds a number from below.
func AtLeast(least int64) Rule { return func(r *limits) { r.min = least } }

// OneOf lists the texts that are accepted.
func OneOf(options ...string) Rule { return func(r *limits) { r.options = options } }

func within32(r *limits) { r.min, r.max = math.MinInt32, math.MaxInt32 }

func readString(raw []byte, rule limits) (string, []string) {
	if raw[0] != '"' {
		return "", []string{"expected string"}
	}
	s := text(raw)
	return s, rule.judge(s)
}

// judge applies the rules of texts.
func (r limits) judge(s string) (wrong []string) {
	length := utf8.RuneCountInString(s)
	if r.options != nil && !slices.Contains(r.options, s) {
		wrong = append(wrong, `expected value to be one of "`+strings.Join(r.options, ", ")+`"`)
	}
	if length < r.minLength {
		wrong = append(wrong, "expected length >= "+strconv.Itoa(r.minLength))
	}
	if r.maxLength > 0 && length > r.maxLength {
		wrong = append(wrong, "expected length <= "+strconv.Itoa(r.maxLength))
	}
	if strings.ContainsFunc(s, r.forbidden) {
		wrong = append(wrong, "must not contain control characters")
	}
	return wrong
}

func (r limits) forbidden(c rune) bool {
	return c == 0 || r.text && unicode.IsControl(c) && c != '\n' && c != '\t'
}

func readBool(raw []byte, _ limits) (bool, []string) {
	if raw[0] != 't' && raw[0] != 'f' {
		return false, []string{"expected boolean"}
	}
	return raw[0] == 't', nil
}

func readInt64(raw []byte, rule limits) (int64, []string) { return parseInt(string(raw), rule) }

func parseInt(digits string, rule limits) (int64, []string) {
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err == nil:
		return n, rule.bound(n < rule.min, n > rule.max)
	case errors.Is(err, strconv.ErrRange):
		return 0, rule.bound(digits[0] == '-', digits[0] != '-')
	default:
		return 0, []string{"expected integer"}
	}
}

func readNumber(raw []byte, rule limits) (float64, []string) {
	if strings.IndexByte(`"{[tfn`, raw[0]) >= 0 {
		return 0, []string{"expected number"}
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return 0, rule.bound(raw[0] == '-', raw[0] != '-')
	}
	return n, rule.bound(n < float64(rule.min), n > float64(rule.max))
}

func (r limits) bound(below, above bool) []string {
	switch {
	case below:
		return []string{"expected number >= " + strconv.FormatInt(r.min, 10)}
	case above:
		return []string{"expected number <= " + strconv.FormatInt(r.max, 10)}
	default:
		return nil
	}
}

func readTime(raw []byte, _ limits) (time.Time, []string) {
	var t time.Time
	// UnmarshalText is strict about RFC 3339 where time.Parse is not.
	if raw[0] != '"' {
		return t, []string{"expected string"}
	}
	if err := t.UnmarshalText([]byte(text(raw))); err != nil {
		return t, []string{"expected string to be RFC 3339 date-time"}
	}
	return t.UTC(), nil
}
