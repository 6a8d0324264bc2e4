package access

import (
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ErrNotFresh says that the caller proved who it is too long ago for what it wants. Sign in again, or
// prove it once more in the same session.
var ErrNotFresh = fault.New(fault.Denied, "Recent authentication required")

// Fresh returns nil when the caller authenticated, or was elevated, within the given time, and
// ErrNotFresh otherwise. Whatever makes or changes a credential of a person asks it first (rule F14).
// Whoever sits at the server's own command line is always fresh.
func Fresh(by Caller, now time.Time, within time.Duration) error {
	switch {
	case by.Kind == Local, by.Kind == System:
		return nil
	case by.Kind == Nobody, by.Kind == "":
		return ErrNotFresh
	case now.Before(by.Elevated):
		return nil
	case !by.At.IsZero() && now.Sub(by.At) < within && by.At.Sub(now) < within: // a clock set back makes nothing fresh for ever
		return nil
	}
	return ErrNotFresh
}
