package remote

import (
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

//go:embed pages.html
var source string

var pages = template.Must(template.New("pages").Parse(source))

const (
	maxForm   = 16 << 10
	formTime  = "2006-01-02 15:04:05 UTC"
	readRests = 60 * time.Second // how long a file may pause on its way
)

var (
	errForeign = fault.New(fault.Denied, "this request did not begin at a page of this server")
	errForm    = fault.New(fault.Invalid, "the form could not be read")
	errSignIn  = fault.New(fault.Unauthenticated, "sign in first")
)

// view is what every page has.
type view struct {
	Language language
	Title    string // name of a text
	Lead     string // name of a text
	Alert    string // name of a text
	Script   string // file that the page runs; none where it is empty
	Style    string // of a page that a script draws in
	Forms    bool   // the page sends forms
}

// Say is a text in the page's language.
func (v view) Say(name string) string { return v.Language.say(name) }

// Lang is the page's language as browsers name it.
func (v view) Lang() string { return tags[v.Language] }

// notice is a page that says one thing.
type notice struct {
	view
	Reference, Time string
	Link, LinkText  string
	Facts           [][2]string // name of a text, value
}

// show answers with a page. The frames that may hold it were named before, by framedBy.
func show(w http.ResponseWriter, status int, name string, content any) error {
	guarded(w.Header())
	return api.WritePage(w, status, pages, name, content)
}

// guarded keeps pages out of caches, and of frames but for those that were allowed. No address of ours reaches another site.
func guarded(h http.Header) http.Header {
	if h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", policy("", "'none'"))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	return h
}

// policy lets pages load our own files alone. Without a script there is none that could run.
func policy(more, ancestors string) string {
	return "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors " + ancestors + more
}

// What pages with scripts are allowed beside. The terminal sets colours as styles of its own making.
const (
	scripts  = "; script-src 'self'; connect-src 'self'; img-src 'self'"
	terminal = "; script-src 'self'; connect-src 'self'; img-src 'self' data:; style-src-attr 'unsafe-inline'; style-src-elem 'self' 'unsafe-inline'"
	player   = "; script-src 'self'; connect-src 'self'; frame-src 'self'"
)

var origin = regexp.MustCompile(`^https?://[A-Za-z0-9.*-]+(:[0-9*]{1,5})?$`)

// ancestors are who may frame pages of the session: those whom the authorisation that asked for it names.
func (p *Pages) ancestors(r *http.Request, x remote.Session) string {
	if p.Ancestors == nil || x.Origin.Kind != access.Authorization {
		return "'none'"
	}
	named, err := p.Ancestors(r.Context(), x.Origin.ID)
	if err != nil { // it may be gone: nobody frames the page then
		return "'none'"
	}
	named = slices.DeleteFunc(slices.Clone(named), func(one string) bool { return !origin.MatchString(one) })
	if len(named) == 0 {
		return "'none'"
	}
	return strings.Join(named, " ")
}

// guard sets the policy of a page of the session.
func (p *Pages) guard(w http.ResponseWriter, r *http.Request, x remote.Session, more string) {
	w.Header().Set("Content-Security-Policy", policy(more, p.ancestors(r, x)))
}

// open is for pages that anybody may see.
func (p *Pages) open(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return p.inTime(api.Adapter{Fail: p.fail}.Open(h))
}

// inTime bounds how long a form may take to arrive.
func (p *Pages) inTime(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.BodyWait > 0 && r.Header.Get("Upgrade") == "" {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.BodyWait))
		}
		h.ServeHTTP(w, r)
	})
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

// refusal is how a fault is told on a page: its status, and the names of its texts.
type refusal struct {
	is     error
	status int
	name   string
}

// refusals are the faults that have a page of their own. The texts of name and name.do are heading and advice.
var refusals = []refusal{
	{remote.ErrLinkLate, http.StatusGone, "late"},
	{remote.ErrLinkUsed, http.StatusGone, "used"},
	{remote.ErrLinkCancelled, http.StatusGone, "cancelled"},
	{remote.ErrLinkUnknown, http.StatusGone, "unknown"},
	{remote.ErrLinkElsewhere, http.StatusForbidden, "elsewhere"},
	{remote.ErrLinkDenied, http.StatusForbidden, "denied"},
	{remote.ErrTooManyLinks, http.StatusTooManyRequests, "many"},
	{remote.ErrNoFactor, http.StatusForbidden, "nofactor"},
	{remote.ErrUnknown, http.StatusNotFound, "nothing"},
	{errTicket, http.StatusNotFound, "nothing"},
	{remote.ErrNoRecording, http.StatusNotFound, "nothing"},
	{errForeign, http.StatusForbidden, "foreign"},
}

// fail answers with an error as a page without script.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	if unsigned(err) && r.Method == http.MethodGet {
		guarded(w.Header())
		http.Redirect(w, r, signInPath(r), http.StatusSeeOther) //nolint:gosec // G710: the path is the request's own, in the query of a fixed one
		return
	}
	status, name := api.Status(err), "wrong"
	switch {
	case status < http.StatusInternalServerError && fault.Is(err, fault.NotFound):
		name = "nothing"
	case fault.Is(err, fault.Limited):
		name = "many"
	case fault.Is(err, fault.Denied):
		name = "denied"
	}
	for _, one := range refusals {
		if errors.Is(err, one.is) {
			status, name = one.status, one.name
		}
	}
	n := p.refused(r, name)
	switch name {
	case "many":
		w.Header().Set("Retry-After", "60")
	case "nofactor":
		n.Link, n.LinkText = "/login/enrol", "nofactor.link"
	}
	if err := show(w, status, "notice", n); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// unsigned reports whether a browser has no session of the kind that a page wants.
func unsigned(err error) bool {
	return errors.Is(err, errSignIn) || errors.Is(err, session.ErrInvalid) || errors.Is(err, session.ErrNotActive) ||
		errors.Is(err, login.ErrPending) || errors.Is(err, login.ErrEnrolFirst)
}

// refused is a page that says why something is not done, with what the operator needs to find it.
func (p *Pages) refused(r *http.Request, name string) notice {
	return notice{
		view:      view{Language: languageOf(r), Title: name, Lead: name + ".do"},
		Reference: api.RequestID(r.Context()), Time: p.Now().UTC().Format(formTime),
	}
}

func (p *Pages) notFound(w http.ResponseWriter, r *http.Request) { p.fail(w, r, remote.ErrUnknown) }

func (p *Pages) notAllowed(w http.ResponseWriter, r *http.Request) {
	if err := show(w, http.StatusMethodNotAllowed, "notice", p.refused(r, "method")); err != nil {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	}
}

// problem answers a script with an error.
func (p *Pages) problem(w http.ResponseWriter, r *http.Request, err error) {
	api.Problems(api.Status)(w, r, err)
}

// shell is a page that a script draws in.
type shell struct {
	view
	Path     string // of the session, without slash at the end
	Host     string // of the target
	Who      string // user name at the target
	Person   string // who is taken there
	Texts    string // JSON, for the script
	Patience int64  // ms
	Files    bool
	Shell    bool
	Clip     bool
	Facts    [][2]string
	Tracks   []remote.TrackInfo
	Empty    string // name of a text, where there is nothing to show
}

// newShell is a page of the session with a script of the console.
func newShell(r *http.Request, title, script string, x remote.Session) shell {
	l := languageOf(r)
	texts, _ := json.Marshal(l.script()) // a map of texts always marshals
	return shell{
		view: view{Language: l, Title: title, Script: "/assets/" + script + ".js", Style: "/assets/" + script + ".css"}, Texts: string(texts), Host: x.Host, Who: x.Username, Person: x.User.Name,
	}
}

// build answers with the page that says how to build the console, where it is not built.
func (p *Pages) build(w http.ResponseWriter, r *http.Request) bool {
	if p.Unbuilt == nil {
		return false
	}
	p.Unbuilt(w, r)
	return true
}
