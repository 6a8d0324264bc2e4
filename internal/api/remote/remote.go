// Package remote serves what a browser sees of remote sessions: the link that opens one, what must happen before it begins, the terminal with its files,
// who looks on, and the player of recordings.
//
//	/modulos/auth?_sr=... ── 303 and a cookie ──► /ws/ID ── step-up, reason, approval ──► terminal ──► why it ended
//	/ws/watch/REF   looks on at a session that lives, read-only
//	/ws/play/REF    plays a recording, in a frame that has no origin
//
// A session's pages know their browser by a cookie that is good for that one session and no login. Pages of people who look on or play are of the
// Gatehouse session. Each WebSocket passes upgrade, which judges where it began and takes a one-time ticket (rules W1 and W3).
//
// The node whose socket starts a session carries it: a terminal's sockets and files must reach that node. Between two sockets of one page the desk keeps
// what the terminal prints, so that a short loss of the network loses nothing.
package remote

import (
	"context"
	"embed"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Name is the pages' name among owners of paths, in logs and in the audit record.
const Name = "remote"

// Sessions is remote.Service as the pages use it.
type Sessions interface {
	Redeem(ctx context.Context, v remote.Visit) (remote.Session, secret.String, error)
	Resume(ctx context.Context, id string, cookie secret.String, address netip.Addr) (remote.Session, error)
	Due(ctx context.Context, x remote.Session) (remote.Step, error)
	StepUp(ctx context.Context, x remote.Session, answer remote.Answer) (remote.Session, error)
	Explain(ctx context.Context, x remote.Session, reason, reference string) (remote.Session, error)
	Note(ctx context.Context, x remote.Session) (string, error)
	MakeTicket(ctx context.Context, x remote.Session, purpose, subject, name string) (secret.String, error)
	UseTicket(ctx context.Context, plain secret.String, purpose string) (remote.Ticket, error)
	Foreign(ctx context.Context, x remote.Session, from netip.Addr, door, why string)
	Find(ctx context.Context, by access.Caller, ref string) (remote.Session, error)
}

// Engine carries sessions: remote.Service by EngineOf.
type Engine interface {
	Start(ctx context.Context, x remote.Session, first remote.Size) (Live, error)
	Lived(id string) (Live, bool)
	Watch(ctx context.Context, by access.Caller, ref string) (Feed, error)
}

// Live is a *remote.Live as the pages use it.
type Live interface {
	Terminal(ctx context.Context, t remote.Terminal) (remote.Channel, error)
	Files(ctx context.Context) (remote.Channel, error)
	Notices() <-chan remote.Notice
	Recorded() bool
	Watchers() []string
	Done() <-chan struct{}
	Ended() remote.Reason
	Close(why remote.Reason, by string)
}

// Feed is a *remote.Feed.
type Feed interface {
	Next(ctx context.Context) ([]remote.Frame, error)
	Close() error
}

// Library plays recordings: a *remote.Library.
type Library interface {
	Find(ctx context.Context, by access.Caller, ref string) (remote.Recording, error)
	Tracks(ctx context.Context, by access.Caller, ref string) ([]remote.TrackInfo, error)
	Play(ctx context.Context, by access.Caller, ref string, x remote.Export, to io.Writer) error
}

// Authenticator is login.Service as the pages use it.
type Authenticator interface {
	Authenticate(ctx context.Context, p login.Presented) (access.Caller, error)
}

// Pages serves the pages. Make it with New.
type Pages struct {
	Options
	desks *desks
}

// Options are what the pages need.
type Options struct {
	Sessions Sessions
	Engine   Engine
	Library  Library
	Login    Authenticator
	Cookies  api.Cookies

	// Ancestors are the origins that may frame the pages of an authorisation's sessions.
	Ancestors func(ctx context.Context, authorization string) ([]string, error)
	// Unbuilt answers for the pages that live by the console's scripts where those are not built; nil where they are.
	Unbuilt http.HandlerFunc

	Reattach time.Duration // how long a terminal is kept whose browser is away
	Look     time.Duration // how often a page that waits looks whether it may go on
	Ping     time.Duration // how often a silent socket is asked whether it is there
	BodyWait time.Duration // how long a form or a file may make us wait for its next bytes; 0 is for ever
	Now      func() time.Time
	OnError  func(doing string, err error)
}

// New returns Pages.
func New(o Options) *Pages {
	return &Pages{Options: o, desks: newDesks(o.Reattach, o.OnError)}
}

//go:embed static
var static embed.FS

// Owners are the pages' parts of the HTTP door. What lies beside the pages of a session is an owner of its own, as their patterns would overlap.
func (p *Pages) Owners() []api.Owner {
	of := func(name string, prefixes []string, routes ...api.Route) api.Owner {
		return api.Owner{Name: name, Prefixes: prefixes, FoldCase: true, Routes: routes, NotFound: p.notFound, MethodNotAllowed: p.notAllowed, Fail: p.fail}
	}
	files, _ := fs.Sub(static, "static") // fails for names that are no path alone
	return []api.Owner{
		of(Name, []string{"/modulos/auth", "/ws"}, p.routes()...),
		of(Name+" watch", []string{"/ws/watch"}, p.watchRoutes()...),
		of(Name+" play", []string{"/ws/play"}, p.playRoutes()...),
		api.Assets(Name+" static", "/ws/static", files, p.notFound),
	}
}

func (p *Pages) routes() []api.Route {
	return []api.Route{
		{Method: "", Pattern: "/modulos/auth", Action: access.Public, Handler: p.open(p.redeem)},

		{Method: "GET", Pattern: "/ws/{id}", Action: access.RemoteOpen, Handler: p.visit(p.show)},
		{Method: "POST", Pattern: "/ws/{id}/step-up", Action: access.RemoteOpen, Handler: p.visit(p.form(p.stepUp))},
		{Method: "POST", Pattern: "/ws/{id}/reason", Action: access.RemoteOpen, Handler: p.visit(p.form(p.explain))},
		{Method: "GET", Pattern: "/ws/{id}/events", Action: access.RemoteOpen, Handler: p.call(p.own(p.events))},
		{Method: "POST", Pattern: "/ws/{id}/ticket", Action: access.RemoteOpen, Handler: p.call(p.own(p.ticket))},
		{Method: "POST", Pattern: "/ws/{id}/end", Action: access.RemoteOpen, Handler: p.call(p.own(p.end))},
		{Method: "GET", Pattern: "/ws/{id}/terminal", Action: access.RemoteOpen, Handler: p.call(p.terminal)},
		{Method: "GET", Pattern: "/ws/{id}/files", Action: access.RemoteOpen, Handler: p.call(p.own(p.list))},
		{Method: "GET", Pattern: "/ws/{id}/files/content", Action: access.RemoteOpen, Handler: p.call(p.own(p.download))},
		{Method: "PUT", Pattern: "/ws/{id}/files/content", Action: access.RemoteOpen, Handler: p.call(p.own(p.upload))},
	}
}

func (p *Pages) watchRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Pattern: "/ws/watch/{ref}", Action: access.RemoteWatch, Handler: p.signedIn(p.watch, p.fail)},
		{Method: "POST", Pattern: "/ws/watch/{ref}/ticket", Action: access.RemoteWatch, Handler: p.signedIn(p.watchTicket, p.problem)},
		{Method: "GET", Pattern: "/ws/watch/{ref}/stream", Action: access.RemoteWatch, Handler: p.signedIn(p.stream, p.problem)},
	}
}

func (p *Pages) playRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Pattern: "/ws/play/{ref}", Action: access.RecordingRead, Handler: p.signedIn(p.play, p.fail)},
		{Method: "GET", Pattern: "/ws/play/{ref}/frame", Action: access.Public, Handler: p.open(p.frame)},
		{Method: "POST", Pattern: "/ws/play/{ref}/ticket", Action: access.RecordingRead, Handler: p.signedIn(p.playTicket, p.problem)},
		{Method: "GET", Pattern: "/ws/play/{ref}/data", Action: access.RecordingRead, Handler: p.signedIn(p.data, p.problem)},
	}
}

// Heard is told that something changed with a session: a page that waits for it looks at once.
func (p *Pages) Heard(id string) { p.desks.changed(id) }

// Shut ends the streams of pages that wait: a server that is being stopped waits for them otherwise.
func (p *Pages) Shut() { p.desks.close() }

// Drain waits until ctx ends for the terminals, whose sessions somebody else ends.
func (p *Pages) Drain(ctx context.Context) { p.desks.drain(ctx) }

// EngineOf lets a Service carry what the pages show.
func EngineOf(s *remote.Service) Engine { return engine{s} }

type engine struct{ s *remote.Service }

func (e engine) Start(ctx context.Context, x remote.Session, first remote.Size) (Live, error) {
	l, err := e.s.Start(ctx, x, first)
	if err != nil {
		return nil, err // a nil *Live in the interface would not be nil
	}
	return l, nil
}

func (e engine) Lived(id string) (Live, bool) {
	l, ok := e.s.Lived(id)
	if !ok {
		return nil, false
	}
	return l, true
}

func (e engine) Watch(ctx context.Context, by access.Caller, ref string) (Feed, error) {
	f, err := e.s.Watch(ctx, by, ref)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// presented is the cookie of the browser's Gatehouse session, as login takes it.
func (p *Pages) presented(r *http.Request) (login.Presented, bool) {
	token, ok := p.Cookies.Read(r)
	return login.Presented{
		Kind: login.Session, Accepts: []login.Kind{login.Session}, Secret: token, Cookie: true,
		Address: api.Remote(r.Context()), Door: Name, Request: api.RequestID(r.Context()),
	}, ok
}

// signedIn is for people who look on or play: who is not signed in is sent to do so where fail shows pages.
func (p *Pages) signedIn(h api.Handler, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return p.inTime(api.Adapter{Fail: fail, Authenticate: func(r *http.Request) (access.Caller, error) {
		c, ok := p.presented(r)
		if !ok {
			return access.Caller{}, errSignIn
		}
		return p.Login.Authenticate(r.Context(), c)
	}}.Handle(p.Cookies.Guard(h, errForeign)))
}

// signInPath is where somebody signs in who wants a page.
func signInPath(r *http.Request) string {
	return "/login?target=" + url.QueryEscape(r.URL.EscapedPath())
}
