package signin

import (
	_ "embed"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

//go:embed pages.html
var source string

var pages = template.Must(template.New("pages").Parse(source))

// page is what every page has.
type page struct {
	Title, Lead, Alert string
	Target             string // where it goes on afterwards, as the browser says: what SafeTarget makes of it counts
}

// show answers with a page.
func show(w http.ResponseWriter, status int, name string, content any) error {
	guarded(w.Header())
	return api.WritePage(w, status, pages, name, content)
}

// guarded keeps pages out of caches, frames and other origins. Referrers stay on this origin: with none at all browsers would hide
// the origin of forms too.
func guarded(h http.Header) http.Header {
	if h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", policy("'self'"))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	return h
}

// policy lets pages load our own files alone, and send forms to the given places.
func policy(formAction string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action " + formAction + "; frame-ancestors 'none'; base-uri 'none'"
}

// onward sends the browser to a path of ours.
func onward(w http.ResponseWriter, r *http.Request, path string) error {
	guarded(w.Header())
	http.Redirect(w, r, path, http.StatusSeeOther) //nolint:gosec // G710: what visitors say is in the query alone, or went through SafeTarget
	return nil
}

var (
	errForeign = fault.New(fault.Denied, "This form did not come from a page of this server. Open the sign-in page and try again.")
	errForm    = fault.New(fault.Invalid, "The form could not be read.")
	errCookie  = fault.New(fault.Denied, "Signing in by browser needs an https address. Ask the operator to set public_url to one.")
	errNoPage  = fault.New(fault.NotFound, "There is nothing here.")
)

// handler answers, or returns an error that becomes a page.
type handler func(w http.ResponseWriter, r *http.Request) error

// open is for pages that anybody may see.
func (p *Pages) open(h handler) http.Handler {
	return p.inTime(api.Adapter{Fail: p.fail}.Open(h))
}

// step is for pages that begin something or use it up. Who asks for the head alone, as scanners of links do, gets nothing.
func (p *Pages) step(h handler) http.Handler {
	return p.open(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodHead {
			w.Header().Set("Allow", http.MethodGet)
			p.notAllowed(w, r)
			return nil
		}
		return h(w, r)
	})
}

// form is for forms that anybody may send from our own pages: others would sign their visitor in as somebody else.
func (p *Pages) form(h handler) http.Handler {
	return p.open(func(w http.ResponseWriter, r *http.Request) error {
		if !p.Cookies.Possible() {
			return errCookie
		}
		if !p.Cookies.BeganHere(r) {
			return errForeign
		}
		if err := readForm(w, r); err != nil {
			return err
		}
		return h(w, r)
	})
}

// inSession is for pages that a session in one of the states sees; who has none is sent to sign in.
func (p *Pages) inSession(h api.Handler, states []session.State) http.Handler {
	return p.inTime(api.Adapter{Authenticate: p.bySession(states), Fail: p.fail}.Handle(h))
}

// formInSession is for forms of a session's own pages.
func (p *Pages) formInSession(h api.Handler, states []session.State) http.Handler {
	return p.inSession(p.Cookies.Guard(func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if err := readForm(w, r); err != nil {
			return err
		}
		return h(w, r, by)
	}, errForeign), states)
}

func (p *Pages) bySession(states []session.State) func(*http.Request) (access.Caller, error) {
	return func(r *http.Request) (access.Caller, error) {
		token, ok := p.Cookies.Read(r)
		if !ok {
			return access.Caller{}, session.ErrInvalid
		}
		c := p.presented(r, login.Session)
		c.Secret, c.Cookie, c.States = token, true, states
		return p.Login.Authenticate(r.Context(), c)
	}
}

func (p *Pages) presented(r *http.Request, kind login.Kind) login.Presented {
	return login.Presented{
		Kind: kind, Address: api.Remote(r.Context()), Door: Name, Accepts: []login.Kind{kind}, Request: api.RequestID(r.Context()),
	}
}

// readForm reads a form as pages send it; nothing else is taken for one.
func readForm(w http.ResponseWriter, r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return errForm
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return errForm
	}
	return nil
}

// inTime bounds how long a form may take to arrive.
func (p *Pages) inTime(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.BodyWait > 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.BodyWait))
		}
		h.ServeHTTP(w, r)
	})
}

// fail answers with an error as a page. Who has no session for a step begins anew.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	if to := p.instead(r, err); to != "" {
		_ = onward(w, r, to) // writing a header cannot fail
		return
	}
	status, n := tell(err)
	switch status {
	case http.StatusInternalServerError:
		n.Lead = "The operator finds the reason in the log, under request " + api.RequestID(r.Context()) + "."
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
	}
	if errors.Is(err, login.ErrFailed) || errors.Is(err, login.ErrNoFlow) || errors.Is(err, login.ErrFormHidden) {
		n = p.failed(r, n.Title, n.Lead)
	}
	if err := show(w, status, "notice", n); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// instead is the page to which somebody belongs whose session is not one for this step, or "".
func (p *Pages) instead(r *http.Request, err error) string {
	switch {
	case errors.Is(err, login.ErrPending):
		return "/login/second"
	case errors.Is(err, login.ErrEnrolFirst):
		return "/login/enrol"
	case errors.Is(err, session.ErrNotActive):
		return again(r, againPath)
	case errors.Is(err, session.ErrInvalid), errors.Is(err, login.ErrNothingPending):
		if _, had := p.Cookies.Read(r); had {
			return overPath
		}
		return again(r, overPath)
	}
	return ""
}

// tell says what is told of an error, and by which status.
func tell(err error) (int, notice) {
	said := func(status int, title, lead string) (int, notice) {
		return status, noticeOf(title, lead)
	}
	switch {
	case errors.Is(err, secret.ErrBusy):
		return said(http.StatusServiceUnavailable, "Many people are signing in", "Try again in a moment.")
	case errors.Is(err, login.ErrFailed), errors.Is(err, login.ErrNoFlow):
		return said(http.StatusForbidden, "That sign-in did not work", "Begin again. If it keeps failing, an administrator finds the reason in the audit log.")
	case errors.Is(err, login.ErrFormHidden):
		return said(http.StatusForbidden, "Passwords are not taken here", "Sign in at your identity provider instead.")
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return said(http.StatusBadRequest, "That did not work", fault.Text(err))
	case fault.NotFound:
		return said(http.StatusNotFound, "Not found", fault.Text(err))
	case fault.Limited:
		return said(http.StatusTooManyRequests, "Too many attempts", "Wait a minute, then try again.")
	case fault.Denied, fault.Conflict, fault.Unauthenticated, fault.Expired:
		return said(http.StatusForbidden, "That is not possible", fault.Text(err))
	}
	return said(http.StatusInternalServerError, "Something went wrong here", "")
}

// notice is a page that says one thing, and where to go on.
type notice struct {
	page
	Buttons []button
}

func noticeOf(title, lead string) notice {
	return notice{page{Title: title, Lead: lead}, []button{{againPath, "Go to the sign-in page"}}}
}

func (p *Pages) notFound(w http.ResponseWriter, r *http.Request) { p.fail(w, r, errNoPage) }

func (p *Pages) notAllowed(w http.ResponseWriter, _ *http.Request) {
	n := noticeOf("Not here", "This address does not take that kind of request.")
	if err := show(w, http.StatusMethodNotAllowed, "notice", n); err != nil {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	}
}
