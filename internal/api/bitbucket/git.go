package bitbucket

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/repo"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
)

// Git is the HTTP door of repositories, /scm: git's smart protocol and nothing else. It answers in plain text, which git shows to people.
//
// A request is judged in this order: the path (404), the dumb protocol (403) and large file storage (501), the method (405), the form of the body (415), the
// credential (401, 403, 503), whether the caller may do that (401, 403, 404), whether git is there and has room (503), and its body while git reads it.
type Git struct {
	Login  *login.Service
	Repos  *repo.Service
	Served Repositories // nil where git is not installed
	Now    func() time.Time

	Cookies   api.Cookies   // none opens anything here, but a browser that has a session is not asked for a password
	Passwords bool          // people's passwords are taken
	BodyWait  time.Duration // how long the first bytes of a packed body may take; 0 is for ever
	OnError   func(doing string, err error)
}

// Repositories serves git to clients: a *git.Repositories.
type Repositories interface {
	Announce(ctx context.Context, id string, service git.Service, with git.Exchange) error
	Upload(ctx context.Context, id string, with git.Exchange) error
	Receive(ctx context.Context, id string, with git.Exchange, allow func(context.Context, []git.Move) error) ([]git.Moved, error)
}

var _ Repositories = (*git.Repositories)(nil)

// GitName is the name of the door among owners of paths, in logs and in the audit record.
const GitName = "git"

// What this door refuses by itself.
var (
	errDumb      = fault.New(fault.Denied, "Only git's smart protocol is served here.")
	errGitMethod = fault.New(fault.Invalid, "Method Not Allowed")
	errGitType   = fault.New(fault.Invalid, "That is no request of git.")
	errNoRight   = fault.New(fault.Denied, "You are not permitted to do that in this repository.")
	errNoRepo    = fault.New(fault.NotFound, "There is no such repository.")
	errNoGit     = fault.New(fault.Limited, "git is not installed here; ask who runs this server.")
	errNoAnswer  = fault.New(fault.Limited, "Rights cannot be looked up now; try again later.")
)

// Owner is this door's part of the HTTP door. Its paths must reach it as they were sent: see Verbatim.
func (g *Git) Owner() api.Owner {
	return api.Owner{
		Name: GitName, Prefixes: []string{"/scm"}, Routes: g.Routes(), Fail: g.fail,
		NotFound: func(w http.ResponseWriter, r *http.Request) { g.fail(w, r, git.ErrPath) },
	}
}

// Verbatim says which requests this door reads by itself.
func (g *Git) Verbatim(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/scm/") }

// Routes are what git asks for. All of them are read by the same grammar; they stand apart for logs and metrics.
func (g *Git) Routes() []api.Route {
	const at = "/scm/{project}/{slug}"
	all := api.Adapter{Fail: g.fail}.Open(g.serve)
	return []api.Route{
		{Pattern: at + "/info/refs", Action: access.RepoRead, Handler: all},
		{Pattern: at + "/git-upload-pack", Action: access.RepoRead, Handler: all},
		{Pattern: at + "/git-receive-pack", Action: access.RepoWrite, Handler: all},
		{Pattern: at + "/{rest...}", Action: access.RepoRead, Handler: all},
	}
}

func (g *Git) serve(w http.ResponseWriter, r *http.Request) error {
	asks, err := git.ParsePath(r.URL.Path, r.URL.Query())
	if err != nil {
		return err
	}
	switch {
	case asks.Kind == git.Dumb:
		return errDumb
	case asks.Kind == git.LFS:
		return noLFS(w)
	case r.Method != asks.Method():
		w.Header().Set("Allow", asks.Method())
		return errGitMethod
	case asks.Kind == git.Call && r.Header.Get("Content-Type") != asks.Takes():
		return errGitType
	}
	v := &gitCall{Git: g, w: w, r: r, asks: asks}
	if err := v.enter(); err != nil {
		return err
	}
	return v.exchange()
}

// gitCall is one request of git on its way.
type gitCall struct {
	*Git
	w    http.ResponseWriter
	r    *http.Request
	asks git.Request

	shown gitCredential // what came with it
	by    access.Caller
	repo  repo.Repo
}

// enter finds out who calls, and opens the repository for them.
func (v *gitCall) enter() (err error) {
	ctx, writes := v.r.Context(), v.asks.Service.Writes()
	if v.by, err = v.authenticate(); err != nil {
		return err
	}
	v.repo, err = v.Repos.Open(ctx, v.by, v.asks.Project, v.asks.Slug, writes)
	switch {
	case err == nil && v.Served == nil:
		return errNoGit
	case err == nil:
		return nil
	case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Denied):
		return err
	case v.by.Kind == access.Nobody: // whether it is there is no stranger's to know
		return errCredential
	case fault.Is(err, fault.Denied):
		return errNoRight
	}
	// Who is signed in is told apart what is missing from what is not theirs, as the REST operations of this wire tell.
	if _, missing := v.Repos.Find(ctx, v.by, v.asks.Project, v.asks.Slug); missing == nil {
		return errNoRight
	}
	return errNoRepo
}

// again answers, while a push is under way, whether it may go on: the credential must still be good, and still open the repository. A password is not hashed
// anew each time, but whose it is must still be let in.
func (v *gitCall) again(ctx context.Context) error {
	by, err := v.by, error(nil)
	if p := v.shown.presented; p.Kind == login.Session || p.Kind == login.HTTPToken {
		by, err = v.Login.Authenticate(ctx, p)
	} else if by.Kind == access.User {
		err = v.Login.Stands(ctx, by)
	}
	if err == nil {
		err = v.Repos.Allow(ctx, by, v.repo, true)
	}
	switch {
	case err == nil:
		return nil
	case fault.Is(err, fault.Internal):
		v.failed("ask again about a push", err)
		return errNoAnswer
	}
	return errNoRight
}

func (v *gitCall) failed(doing string, err error) {
	if v.OnError != nil {
		v.OnError(doing, err)
	}
}

// recordPush keeps what a push did.
func (v *gitCall) recordPush(ctx context.Context, moved []git.Moved) {
	var refs []repo.Ref
	for _, m := range moved {
		if m.Done {
			refs = append(refs, repo.Ref{Name: m.Ref, Old: m.Old, New: m.New})
		}
	}
	if err := v.Repos.RecordPush(ctx, v.by, v.repo, refs); err != nil {
		v.failed("record push", err)
	}
}
