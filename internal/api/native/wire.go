package native

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// What this door refuses by itself.
var (
	errNoSession = fault.New(fault.Unauthenticated, "Sign in first: this needs the session of a user")
	errOrigin    = fault.New(fault.Denied, "The request did not begin at a page of this server: a program that sends the cookie sends X-Gatehouse-Csrf: 1 as well")
	errCursor    = fault.Fields("the cursor is none that an answer held", fault.Field{Path: "query.cursor", Message: "the next of an answer"})
	errNothing   = fault.New(fault.NotFound, "there is no such thing")
)

// The words for programs that stand in problems, where the status alone does not say what to do.
const (
	codeElevation  = "elevation_required" // prove once more who you are, or sign in again
	codeEnrolment  = "enrolment_required" // set up a second factor first
	codeWrongProof = "wrong_proof"        // the password or the code is not right
	codeOrigin     = "origin_required"    // a cookie came without where the request began
	elevationDoc   = "/docs#post-api-v1-session-elevate"
)

// answers is the table of faults that do not go by their kind: the first row that an error matches counts.
var answers = []struct {
	is     error
	status int
	code   string
	kind   string // address of what explains it
}{
	{access.ErrNotFresh, http.StatusForbidden, codeElevation, elevationDoc},
	{login.ErrLocked, http.StatusForbidden, codeElevation, elevationDoc},
	{login.ErrNotElevated, http.StatusForbidden, codeElevation, elevationDoc},
	{login.ErrEnrolFirst, http.StatusForbidden, codeEnrolment, ""},
	{login.ErrWrongPassword, http.StatusForbidden, codeWrongProof, ""},
	{factor.ErrWrongCode, http.StatusForbidden, codeWrongProof, ""},
	{login.ErrFailed, http.StatusForbidden, codeWrongProof, ""}, // of somebody who is signed in
	{errOrigin, http.StatusForbidden, codeOrigin, ""},
	{session.ErrNotActive, http.StatusUnauthorized, "", ""}, // overtaken by its own end
	{secret.ErrBusy, http.StatusServiceUnavailable, "", ""},
	{api.ErrFields, http.StatusBadRequest, "", ""},
}

// fail answers with an error as a problem (RFC 9457).
func fail(w http.ResponseWriter, r *http.Request, err error) {
	p := api.Problem{Status: api.Status(err), Detail: sentence(fault.Text(err)), Errors: api.ProblemErrors(err)}
	for _, row := range answers {
		if errors.Is(err, row.is) {
			p.Status, p.Code, p.Type = row.status, row.code, row.kind
			break
		}
	}
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatehouse"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusInternalServerError:
		p.Instance = api.RequestID(r.Context())
	}
	api.WriteProblem(w, p)
}

// sentence begins a text with a capital letter: the domain's are parts of sentences.
func sentence(text string) string {
	r, size := utf8.DecodeRuneInString(text)
	return strings.ToUpper(string(r)) + text[size:]
}

// window is how callers ask for a part of a listing.
type window struct {
	Cursor string `query:"cursor" doc:"The next of the part before; without it the listing begins."`
	Limit  int64  `query:"limit" minimum:"1" default:"100" doc:"Items to return; above 100 it is capped."`
}

// page reads the cursor, which is opaque to callers.
func (q window) page() (page.Window, error) {
	after, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err != nil || !utf8.Valid(after) || strings.ContainsRune(string(after), 0) {
		return page.Window{}, errCursor
	}
	return page.Behind(string(after), q.Limit), nil
}

// counted reads the cursor of a listing whose parts are counted from its beginning.
func (q window) counted() (page.Window, error) {
	w, err := q.page()
	if err != nil || w.After == "" {
		return page.Of(0, q.Limit), err
	}
	offset, err := strconv.ParseInt(w.After, 10, 64)
	if err != nil || offset < 0 {
		return page.Window{}, errCursor
	}
	return page.Of(offset, q.Limit), nil
}

// countedOf is a part of such a listing.
func countedOf[T, W any](p page.Page[T], wire func(T) W) wirePage[W] {
	if p.HasMore() {
		p.Next = strconv.FormatInt(p.Window.Offset+int64(len(p.Items)), 10)
	}
	return pageOf(p, wire)
}

// wirePage is a part of a listing.
type wirePage[T any] struct {
	Items []T     `json:"items" nullable:"false"`
	Next  *string `json:"next" nullable:"true" doc:"The cursor of the next part; null at the end."`
}

func pageOf[T, W any](p page.Page[T], wire func(T) W) wirePage[W] {
	out := whole(p.Items, wire)
	if p.Next != "" {
		next := base64.RawURLEncoding.EncodeToString([]byte(p.Next))
		out.Next = &next
	}
	return out
}

// whole is a listing that is never in parts.
func whole[T, W any](all []T, wire func(T) W) wirePage[W] {
	out := wirePage[W]{Items: make([]W, len(all))}
	for i, item := range all {
		out.Items[i] = wire(item)
	}
	return out
}

// moment is a time that is null where there is none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
