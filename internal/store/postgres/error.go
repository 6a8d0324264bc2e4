package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-project/gatehouse/internal/store"
)

// Classify implements store.Engine.
func (e *Engine) Classify(err error) error {
	var known *store.Violation
	if err == nil || errors.As(err, &known) || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrOutcomeUnknown) {
		return err
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		if kind, ok := violations[refused.Code]; ok {
			return &store.Violation{Kind: kind, Constraint: refused.ConstraintName, Cause: err}
		}
	}
	if unavailable(err, refused) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

var violations = map[string]store.ViolationKind{
	"23505": store.Unique,
	"23503": store.ForeignKey,
	"23514": store.Check,
}

func unavailable(err error, refused *pgconn.PgError) bool {
	if refused != nil {
		switch {
		case ended(refused), strings.HasPrefix(refused.Code, "53"): // full: disk, memory, connections
			return true
		}
		switch refused.Code {
		case "25006", "58030", "40001", "40P01": // read-only, I/O error, contention beyond all retries
			return true
		}
		return false
	}
	var connecting *pgconn.ConnectError
	return errors.As(err, &connecting) || lost(err)
}

// contended reports whether the server rolled back only because of what others did.
func contended(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "40001" || refused.Code == "40P01")
}

// lost reports whether an established connection is gone. A server that cannot be reached at all is
// not that: trying again at once would not help.
func lost(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var connecting *pgconn.ConnectError
	if errors.As(err, &connecting) {
		return false
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return ended(refused)
	}
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}

// ended reports whether the server ended the session: shut down, crashed, starting, or terminated.
func ended(refused *pgconn.PgError) bool {
	return strings.HasPrefix(refused.Code, "57P") || strings.HasPrefix(refused.Code, "08")
}
