package fortanix

import (
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// What this wire refuses by itself; the table of faults gives each its status.
var (
	errNotFound   = fault.New(fault.NotFound, "Not found")
	errMethod     = fault.New(fault.Invalid, "Method not allowed")
	errTooLarge   = fault.New(fault.Invalid, "Request too large")
	errTwoWays    = fault.New(fault.Invalid, "Only one authentication method may be used")
	errBindTo     = fault.New(fault.Invalid, "bind_to is not supported")
	errU2F        = fault.New(fault.Invalid, "U2F is no longer supported")
	errNoWay      = fault.New(fault.Unauthenticated, "Authentication required")
	errNoSession  = fault.New(fault.Unauthenticated, "Session is invalid or expired")
	errForbidden  = fault.New(fault.Denied, "This operation is forbidden")
	errNoAccount  = fault.New(fault.Denied, "No account selected")
	errOrigin     = fault.New(fault.Denied, "Origin check failed")
	errCookieHTTP = fault.New(fault.Denied, "Cookie login needs an https public URL")
	errUnreach    = fault.New(fault.Limited, "Unavailable")

	errNoFactor = invalid("no second factor pending")
)

// invalid is a request whose named member, or the whole for the given reason, is wrong. It never repeats a value.
func invalid(what string) *fault.Error { return fault.New(fault.Invalid, "Invalid request: "+what) }

// answers is the table of faults: the first row that an error matches gives status and body. What matches
// none goes by its kind.
var answers = []struct {
	is     error
	status int
	body   string
}{
	{secret.ErrBusy, http.StatusServiceUnavailable, "Busy"},
	{errUnreach, http.StatusServiceUnavailable, errUnreach.Text},
	{errTooLarge, http.StatusRequestEntityTooLarge, errTooLarge.Text},
	{errMethod, http.StatusMethodNotAllowed, errMethod.Text},
	{errTwoWays, http.StatusBadRequest, errTwoWays.Text},
	{errBindTo, http.StatusBadRequest, errBindTo.Text},
	{errU2F, http.StatusBadRequest, errU2F.Text},
	{login.ErrNothingPending, http.StatusBadRequest, errNoFactor.Text},
	{identity.ErrNoSecret, http.StatusBadRequest, "Invalid request: " + identity.ErrNoSecret.Text},
	{factor.ErrNoConversation, http.StatusBadRequest, "Invalid request: no challenge pending"},

	{errNoWay, http.StatusUnauthorized, errNoWay.Text},
	{login.ErrFailed, http.StatusUnauthorized, "Invalid credentials"},
	{login.ErrBlocked, http.StatusUnauthorized, "Invalid credentials"}, // never 429: callers would try again at once
	{login.ErrPending, http.StatusUnauthorized, "Two factor authentication required"},
	{session.ErrNotActive, http.StatusUnauthorized, errNoSession.Text}, // overtaken by its own end

	{login.ErrEnrolFirst, http.StatusForbidden, "Two factor authentication must be configured"},
	{access.ErrNotFresh, http.StatusForbidden, "Recent authentication required"},
	{login.ErrLocked, http.StatusForbidden, login.ErrLocked.Text},
	{errNoAccount, http.StatusForbidden, errNoAccount.Text},
	{errOrigin, http.StatusForbidden, errOrigin.Text},
	{errCookieHTTP, http.StatusForbidden, errCookieHTTP.Text},
	{login.ErrBasicBlocked, http.StatusForbidden, login.ErrBasicBlocked.Text},
}

// answerTo finds the status and body of an error.
func answerTo(err error) (status int, body string) {
	for _, row := range answers {
		if errors.Is(err, row.is) {
			return row.status, row.body
		}
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest, reasonOf(err)
	case fault.Unauthenticated, fault.Expired:
		return http.StatusUnauthorized, errNoSession.Text
	case fault.Denied:
		return http.StatusForbidden, errForbidden.Text
	case fault.NotFound:
		return http.StatusNotFound, errNotFound.Text
	case fault.Conflict:
		return http.StatusConflict, "Already exists"
	case fault.Limited:
		return http.StatusServiceUnavailable, "Busy"
	default:
		return http.StatusInternalServerError, "Internal error"
	}
}

// reasonOf names the member that the domain refused, or gives its text where it names none.
func reasonOf(err error) string {
	const begin = "Invalid request: "
	text := fault.Text(err)
	if fields := fault.FieldsOf(err); len(fields) > 0 && fields[0].Path != "" {
		text = fields[0].Path
	}
	if len(text) > len(begin) && text[:len(begin)] == begin {
		return text
	}
	return begin + text
}

// fail answers with an error: its bare text, to the byte, without a newline.
func fail(w http.ResponseWriter, _ *http.Request, err error) {
	status, body := answerTo(err)
	h := guarded(w.Header())
	h.Set("Content-Type", "text/plain; charset=utf-8")
	var failed *login.Failed
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="gatehouse"`) // not Basic: browsers would ask for a password
		if errors.As(err, &failed) && failed.CaptchaDue {
			h.Set("X-Gatehouse-Captcha", "required")
		}
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the caller has gone: nobody is left to tell
}

// guarded keeps an answer of this dialect out of caches and from being taken for something else.
func guarded(h http.Header) http.Header {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return h
}

// reply answers with v.
func reply(w http.ResponseWriter, v any) error { return api.WriteJSON(w, http.StatusOK, v) }

// done answers that it is done, with nothing more to say.
func done(w http.ResponseWriter) error {
	guarded(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// wireTime is a time as this wire writes it.
type wireTime time.Time

// MarshalText implements encoding.TextMarshaler.
func (t wireTime) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "20060102T150405Z"), nil
}

// wireAuth is the answer to a sign-in.
type wireAuth struct {
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	AccessToken string `json:"access_token,omitempty"` // not of a cookie's session
	EntityID    string `json:"entity_id"`
	wireWaiting
}
