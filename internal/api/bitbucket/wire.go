package bitbucket

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// What this wire refuses by itself; the tables of faults give each its status.
var (
	errNotFound   = fault.New(fault.NotFound, "HTTP 404 Not Found")
	errMethod     = fault.New(fault.Invalid, "HTTP 405 Method Not Allowed")
	errTooLarge   = fault.New(fault.Invalid, "The request body is too large.")
	errUnread     = fault.New(fault.Invalid, "The request body could not be read.")
	errNotIn      = fault.New(fault.Unauthenticated, "You must be logged in.")
	errForbidden  = fault.New(fault.Denied, "You are not permitted to access this resource.")
	errCaptcha    = fault.New(fault.Denied, "CAPTCHA required. Log in on the web to continue.")
	errOrigin     = fault.New(fault.Denied, "XSRF check failed")
	errCookieHTTP = fault.New(fault.Denied, "Cookie login needs an https public URL.")
)

// row gives an error its status and the text of the answer; without a text the error's own.
type row struct {
	is     error
	status int
	text   string
}

// pluginRows is the table of faults of the parts that answer {"message":"..."}: the first row that an error matches counts, and
// what matches none goes by its kind.
var pluginRows = []row{
	{secret.ErrBusy, http.StatusServiceUnavailable, "Busy"},
	{errTooLarge, http.StatusRequestEntityTooLarge, ""},
	{errCaptcha, http.StatusForbidden, ""},
	{login.ErrBasicBlocked, http.StatusForbidden, "Basic Authentication has been disabled on this instance."},
	{errCookieHTTP, http.StatusForbidden, ""},
	{errNotIn, http.StatusUnauthorized, ""},
	{access.ErrNotFresh, http.StatusUnauthorized, "Log in again or confirm your identity to change credentials."},
	{session.ErrNotActive, http.StatusUnauthorized, errNotIn.Text}, // overtaken by its own end
	{factor.ErrWrongCode, http.StatusBadRequest, ""},
	{factor.ErrNoConversation, http.StatusBadRequest, ""},
	{factor.ErrEnrolled, http.StatusBadRequest, ""},
	{factor.ErrNotEnrolled, http.StatusBadRequest, ""},
	{login.ErrManaged, http.StatusBadRequest, ""},
}

// answerTo finds status and text of an error, in the rows that an operation has of its own before those of all.
func answerTo(err error, own []row) (status int, text string) {
	if r, ok := rowOf(err, own, pluginRows); ok {
		return r.status, r.text
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest, fault.Text(err)
	case fault.Unauthenticated, fault.Expired:
		return http.StatusUnauthorized, errNotIn.Text
	case fault.Denied:
		return http.StatusForbidden, errForbidden.Text
	case fault.NotFound:
		return http.StatusNotFound, fault.Text(err)
	case fault.Conflict:
		return http.StatusConflict, fault.Text(err)
	case fault.Limited:
		return http.StatusServiceUnavailable, "Busy"
	default:
		return http.StatusInternalServerError, "Internal error"
	}
}

// rowOf is the first row of the tables that an error matches, with its text.
func rowOf(err error, tables ...[]row) (row, bool) {
	for _, r := range slices.Concat(tables...) {
		if errors.Is(err, r.is) {
			r.text = cmp.Or(r.text, fault.Text(r.is))
			return r, true
		}
	}
	return row{}, false
}

// failPlugin answers with an error where one with a message is the form: own are rows of the operation itself.
func failPlugin(own ...row) func(w http.ResponseWriter, r *http.Request, err error) {
	return func(w http.ResponseWriter, _ *http.Request, err error) {
		status, text := answerTo(err, own)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		var elevate *login.NotElevated
		switch {
		case errors.Is(err, errOrigin): // the one answer that is bare text
			write(w, status, "text/plain; charset=utf-8", errOrigin.Text)
		case errors.As(err, &elevate):
			_ = api.WriteJSON(w, http.StatusUnauthorized, wireMethods{methods(elevate.Methods)}) // texts always encode
		default:
			_ = api.WriteJSON(w, status, wireMessage{text})
		}
	}
}

// unrouted answers for what is no route of this wire: as JSON where that is what the caller names or nothing is named, else as XML. No
// member "errors" tells callers that it is the route that is missing.
func unrouted(err *fault.Error, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if accept := strings.ToLower(strings.Join(r.Header.Values("Accept"), ",")); accept == "" || strings.Contains(accept, "application/json") {
			_ = api.WriteJSON(w, status, wireUnrouted{Message: err.Text, Status: status, Sub: -1}) // texts always encode
			return
		}
		code := strconv.Itoa(status)
		write(w, status, "application/xml", "<status><status-code>"+code+"</status-code><message>"+err.Text+"</message></status>")
	}
}

// write answers with a bare text.
func write(w http.ResponseWriter, status int, kind, body string) {
	h := guarded(w.Header())
	h.Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the caller has gone: nobody is left to tell
}

// challenge makes a 401 ask for a name and a password: never a browser that has a session, nor the script of a page, which would show its user a window
// that nobody has asked for.
func challenge(w http.ResponseWriter, r *http.Request, cookies api.Cookies) {
	if len(r.CookiesNamed(cookies.Name())) == 0 && r.Header.Get("X-Requested-With") == "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="Gatehouse"`)
	}
}

// guarded keeps an answer out of caches and from being taken for something else.
func guarded(h http.Header) http.Header {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return h
}

// reply answers with v.
func reply(w http.ResponseWriter, v any) error { return api.WriteJSON(w, http.StatusOK, v) }

// coreReply answers with v as the core does.
func coreReply(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // nosniff keeps it from being HTML
	if err := e.Encode(v); err != nil {
		return err
	}
	write(w, status, "application/json;charset=UTF-8", b.String())
	return nil
}

// done answers that it is done, with nothing more to say.
func done(w http.ResponseWriter) error {
	guarded(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// wireMessage is an error of a plugin.
type wireMessage struct {
	Message string `json:"message"`
}

// wireUnrouted is the error of a path or method that is no route.
type wireUnrouted struct {
	Message string `json:"message"`
	Status  int    `json:"status-code"`
	Sub     int    `json:"sub-code"`
}
