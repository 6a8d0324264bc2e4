package bitbucket

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// exchange hands the request over to git. An error after the first byte of the answer ends the connection, unless git has told the client itself.
func (v *gitCall) exchange() error {
	control := http.NewResponseController(v.w)
	out := &gitAnswer{ResponseWriter: v.w, control: control}
	with := git.Exchange{Out: out, Protocol: v.r.Header.Get("Git-Protocol"), Over: git.HTTP, Caller: v.shares(), Hangup: func() {
		_ = control.SetReadDeadline(time.Now()) // a writer that knows no deadlines has no connection either
		_ = control.SetWriteDeadline(time.Now())
	}}
	pushes := v.asks.Kind == git.Call && v.asks.Service.Writes()
	if pushes { // git answers while it still reads, and may leave a rest of the body
		_ = control.EnableFullDuplex() // HTTP/2 needs no leave
		v.w.Header().Set("Connection", "close")
	}
	if err := v.open(control, &with); err != nil {
		return err
	}
	guarded(v.w.Header()).Set("Content-Type", v.asks.Answers())
	ctx := v.r.Context()
	var err error
	switch {
	case v.asks.Kind == git.Announce:
		err = v.Served.Announce(ctx, v.repo.ID, v.asks.Service, with)
	case pushes:
		var moved []git.Moved
		moved, err = v.Served.Receive(ctx, v.repo.ID, with, func(ctx context.Context, _ []git.Move) error { return v.again(ctx) })
		v.recordPush(ctx, moved)
	default:
		err = v.Served.Upload(ctx, v.repo.ID, with)
	}
	if out.begun && toldByGit(err) {
		return nil
	}
	return err
}

// shares is who shares turns with the caller: all that act as the same principal, or that come from the same address as nobody.
func (v *gitCall) shares() string {
	if v.by.Kind == access.Nobody {
		return git.Stranger(v.by.Address)
	}
	return string(v.by.Kind) + " " + v.by.ID
}

// open undoes the packing of the body. Its first bytes are read here, so they have a deadline.
func (v *gitCall) open(control *http.ResponseController, with *git.Exchange) (err error) {
	if v.BodyWait > 0 {
		_ = control.SetReadDeadline(time.Now().Add(v.BodyWait))
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	with.In, err = git.Body(v.r.Header.Get("Content-Encoding"), v.r.Body)
	return err
}

// toldByGit says whether git's protocol has told the client already how an exchange ended.
func toldByGit(err error) bool {
	for _, known := range []error{errNoRight, errNoAnswer, git.ErrTooLarge, git.ErrPush, git.ErrManyRefs, git.ErrGit} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// gitAnswer notes whether the answer has begun, and flushes signs of life.
type gitAnswer struct {
	http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (a *gitAnswer) Write(p []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(p)
}

// Flush sends what lies in buffers.
func (a *gitAnswer) Flush() { _ = a.control.Flush() }

// gitRows is the table of faults of this door.
var gitRows = []row{
	{errCaptcha, http.StatusForbidden, ""},
	{login.ErrBasicBlocked, http.StatusForbidden, "Basic Authentication has been disabled on this instance."},
	{errGitMethod, http.StatusMethodNotAllowed, ""},
	{errGitType, http.StatusUnsupportedMediaType, ""},
	{secret.ErrBusy, http.StatusServiceUnavailable, "Busy"},
	{git.ErrTooLarge, http.StatusRequestEntityTooLarge, ""},
	{git.ErrNoRepository, http.StatusNotFound, errNoRepo.Text},
	{git.ErrStalled, http.StatusRequestTimeout, ""},
	{git.ErrTooLong, http.StatusRequestTimeout, ""},
}

// fail answers with an error in plain text.
func (g *Git) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := gitStatus(err)
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		challenge(w, r, g.Cookies)
	}
	write(w, status, "text/plain; charset=utf-8", text+"\n")
}

func gitStatus(err error) (status int, text string) {
	if r, ok := rowOf(err, gitRows); ok {
		return r.status, r.text
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		return http.StatusUnauthorized, errCredential.Text
	case fault.Limited:
		return http.StatusServiceUnavailable, fault.Text(err)
	case fault.Denied:
		return http.StatusForbidden, fault.Text(err)
	case fault.NotFound:
		return http.StatusNotFound, fault.Text(err)
	case fault.Invalid, fault.Conflict, fault.Expired:
		return http.StatusBadRequest, fault.Text(err)
	default:
		return http.StatusInternalServerError, "Internal error"
	}
}

// wireLFS is an error as clients of large file storage show it.
type wireLFS struct {
	Message string `json:"message"`
}

// noLFS says that large file storage is not offered, in the one form that its clients show.
func noLFS(w http.ResponseWriter) error {
	body, err := json.Marshal(wireLFS{"Git LFS is not offered here. Push the files themselves, or keep them elsewhere."})
	if err != nil {
		return err
	}
	write(w, http.StatusNotImplemented, "application/vnd.git-lfs+json", string(body))
	return nil
}
