package store

import (
	"errors"
)

// ErrUnavailable says that the database cannot do it now: it is away, full or read-only. Nothing
// was written; the same call may succeed later.
var ErrUnavailable = errors.New("database unavailable")

// ErrOutcomeUnknown says that the connection was lost while a commit was under way: the write is
// whole or absent, and only reading tells which.
var ErrOutcomeUnknown = errors.New("commit outcome unknown")

// ErrNotWriting is what Lock and Notify report inside Read.
var ErrNotWriting = errors.New("not in a write transaction")

// ErrNoticeTooLong is what Notify reports for a payload above MaxNotice.
var ErrNoticeTooLong = errors.New("notice too long")

// ViolationKind says what sort of constraint refused a row.
type ViolationKind uint8

// The kinds of Violation.
const (
	Unique ViolationKind = iota + 1
	ForeignKey
	Check
)

func (k ViolationKind) String() string {
	switch k {
	case Unique:
		return "unique"
	case ForeignKey:
		return "foreign key"
	case Check:
		return "check"
	default:
		return "constraint"
	}
}

// Violation is a row that a constraint refused.
type Violation struct {
	Kind ViolationKind
	// Constraint is the constraint's name: that of the unique index, TABLE_pkey for a primary key.
	// SQLite does not tell which foreign key it was: the name is empty there.
	Constraint string
	Cause      error
}

func (v *Violation) Error() string {
	return v.Kind.String() + " constraint " + v.Constraint + " violated: " + v.Cause.Error()
}

// Unwrap returns the driver's error.
func (v *Violation) Unwrap() error { return v.Cause }

// Violates reports whether err comes from the unique index (or primary key) of that name.
func Violates(err error, constraint string) bool {
	var v *Violation
	return errors.As(err, &v) && v.Kind == Unique && v.Constraint == constraint
}

// ViolatesKind reports whether err comes from a constraint of that kind.
func ViolatesKind(err error, kind ViolationKind) bool {
	var v *Violation
	return errors.As(err, &v) && v.Kind == kind
}
