// Package fault is the closed list of error kinds that every door can translate.
//
// A fault has a kind, a text that the caller may read, and, kept apart, a cause for the log.
// HTTP numbers and exit codes do not appear here: doors own a table from Kind to their own answer.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says how a caller can react to a fault.
type Kind uint8

// The kinds. A new one must need a different reaction from callers; a new text does not.
const (
	Internal        Kind = iota // our fault: nothing the caller can mend
	Invalid                     // the input breaks a rule; mend it and send again
	Unauthenticated             // we do not know who is asking
	Denied                      // we know, and may not
	NotFound                    // there is no such thing, or the caller may not know of it
	Conflict                    // the thing is in a state that forbids this
	Expired                     // it was valid once
	Limited                     // too much, or too soon; try later
)

func (k Kind) String() string {
	names := [...]string{"internal", "invalid", "unauthenticated", "denied", "not found", "conflict", "expired", "limited"}
	if int(k) < len(names) {
		return names[k]
	}
	return "internal"
}

// Field is one fault inside structured input.
type Field struct {
	Path    string // where, in the input's own words: "keys[1].public_key"; "" is the whole input
	Message string // what is wrong, for the caller
	Value   any    // what was sent, or nil where it is secret, large or a whole object
}

// Error is a fault with a kind. Make one with New, Wrap or Fields.
type Error struct {
	Kind   Kind
	Text   string  // for the caller
	Fields []Field // faults inside the input, in field order; may be empty
	cause  error   // for the log
}

// Error gives text and cause: for logs. Callers are shown Text.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Text + ": " + e.cause.Error()
	}
	if len(e.Fields) == 0 {
		return e.Text
	}
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Path + ": " + f.Message
	}
	return e.Text + " (" + strings.Join(parts, "; ") + ")"
}

// Unwrap returns the cause, so that errors.Is sees through a fault.
func (e *Error) Unwrap() error { return e.cause }

// New makes a fault whose text may be shown to the caller.
func New(kind Kind, text string) *Error { return &Error{Kind: kind, Text: text} }

// Newf is New with a format. Never format a secret into it.
func Newf(kind Kind, format string, args ...any) *Error {
	return New(kind, fmt.Sprintf(format, args...))
}

// Wrap makes a fault with a text for the caller and a cause for the log.
func Wrap(kind Kind, text string, cause error) *Error {
	return &Error{Kind: kind, Text: text, cause: cause}
}

// Fields makes an Invalid fault that lists what is wrong where.
func Fields(text string, fields ...Field) *Error {
	return &Error{Kind: Invalid, Text: text, Fields: fields}
}

// KindOf returns the kind of the outermost fault in err's chain, Internal where there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is a fault of that kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Text returns what the caller may read: the text of the outermost fault, "internal error" where
// the fault is Internal or none is in the chain.
func Text(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Kind != Internal {
		return e.Text
	}
	return "internal error"
}

// FieldsOf returns the field faults that err carries, or nil.
func FieldsOf(err error) []Field {
	var e *Error
	if errors.As(err, &e) {
		return e.Fields
	}
	return nil
}

// With returns a copy of the fault that names what is wrong where; errors.Is still finds the original.
func (e *Error) With(fields ...Field) *Error {
	return &Error{Kind: e.Kind, Text: e.Text, Fields: fields, cause: sentinel{e}}
}

// sentinel keeps the original findable by errors.Is without repeating its text.
type sentinel struct{ of *Error }

func (s sentinel) Error() string        { return s.of.Kind.String() }
func (s sentinel) Is(target error) bool { return target == error(s.of) }
