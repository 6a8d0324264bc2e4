package api

import (
	"errors"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Handler answers a request of a known caller. It returns an error before it writes anything, and the
// owner's Fail gives it the owner's form.
type Handler func(w http.ResponseWriter, r *http.Request, by access.Caller) error

// Adapter makes plain handlers of an owner's Handlers.
type Adapter struct {
	// Authenticate finds out who is calling, by the credentials that this door accepts and no others.
	// It reports fault.Unauthenticated, or fault.Limited for somebody who has guessed too often.
	Authenticate func(r *http.Request) (access.Caller, error)

	// Fail answers with an error in the owner's form. It gets every error and logs none.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

// Handle returns h behind Authenticate. Internal errors are logged here, once, with the request id;
// all others are the caller's own business.
func (a Adapter) Handle(h Handler) http.Handler {
	return a.Open(func(w http.ResponseWriter, r *http.Request) error {
		by, err := a.Authenticate(r)
		if err != nil {
			return err
		}
		return h(w, r, by)
	})
}

// Open returns a handler for routes that need no caller (access.Public), with the same treatment of errors.
func (a Adapter) Open(h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		t := traceOf(r.Context())
		if fault.Is(err, fault.Internal) && r.Context().Err() == nil { // the caller who has gone is no error of ours
			t.log.failed(r.Context(), t, err)
		}
		if t.started() {
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		a.Fail(w, r, err)
	})
}

// Problems returns a Fail for wires that speak RFC 9457: status gives each error its number, and a 500
// carries the request id as its instance.
func Problems(status func(err error) int) func(w http.ResponseWriter, r *http.Request, err error) {
	return func(w http.ResponseWriter, r *http.Request, err error) {
		p := Problem{Status: status(err), Detail: sentence(fault.Text(err)), Errors: ProblemErrors(err)}
		if p.Status >= http.StatusInternalServerError {
			p.Instance = RequestID(r.Context())
		}
		WriteProblem(w, p)
	}
}

// sentence makes the one text that is not written for a wire, "internal error", begin like the others.
func sentence(text string) string {
	if text == "internal error" {
		return "Internal error"
	}
	return text
}

// Status is the usual number for an error: the starting point of an owner's own table.
func Status(err error) int {
	switch {
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrMediaType):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, ErrFields):
		return http.StatusUnprocessableEntity
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Expired:
		return http.StatusGone
	case fault.Limited:
		return http.StatusTooManyRequests
	default:
		return http.StatusInternalServerError
	}
}
