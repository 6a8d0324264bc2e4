package remote

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// visitor answers a request of the browser that holds the session's cookie.
type visitor func(w http.ResponseWriter, r *http.Request, x remote.Session) error

// visit is for pages of a session; call is for what their scripts ask.
func (p *Pages) visit(h visitor) http.Handler { return p.resumed(h, p.fail) }
func (p *Pages) call(h visitor) http.Handler  { return p.resumed(h, p.problem) }

// resumed finds the session that the browser holds the cookie of.
func (p *Pages) resumed(h visitor, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return p.inTime(api.Adapter{Fail: fail}.Open(func(w http.ResponseWriter, r *http.Request) error {
		x, err := p.resume(r)
		if err != nil {
			return err
		}
		return h(w, r, x)
	}))
}

func (p *Pages) resume(r *http.Request) (remote.Session, error) {
	id := r.PathValue("id")
	token, ok := p.cookieOf(r, id)
	if !ok {
		return remote.Session{}, remote.ErrUnknown
	}
	return p.Sessions.Resume(r.Context(), id, token, api.Remote(r.Context()))
}

// own lets through what began at our own pages: also what changes nothing, as streams and files are nobody else's business (rule W1).
func (p *Pages) own(h visitor) visitor {
	return func(w http.ResponseWriter, r *http.Request, x remote.Session) error {
		if !p.Cookies.BeganHere(r) {
			return errForeign
		}
		return h(w, r, x)
	}
}

// form is for forms of the session's own pages.
func (p *Pages) form(h visitor) visitor {
	return p.own(func(w http.ResponseWriter, r *http.Request, x remote.Session) error {
		if err := readForm(w, r); err != nil {
			return err
		}
		return h(w, r, x)
	})
}

// show draws what the session has come to: the step that is due, the terminal, or why it is over.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	switch x.State {
	case remote.Waiting:
		step, err := p.Sessions.Due(r.Context(), x)
		if errors.Is(err, remote.ErrOver) { // while it was asked
			return p.showEnd(w, r, x)
		}
		if err != nil {
			p.guard(w, r, x, "")
			return err
		}
		if step.Kind != remote.NothingDue {
			return p.showStep(w, r, x, step, http.StatusOK, "")
		}
		return p.showTerminal(w, r, x)
	case remote.Active:
		return p.showTerminal(w, r, x)
	}
	return p.showEnd(w, r, x)
}

// stepPage asks for what is due before a session begins.
type stepPage struct {
	view
	Path    string
	Facts   [][2]string // name of a text, value
	Refresh bool        // for browsers without scripts
}

func (p *Pages) showStep(w http.ResponseWriter, r *http.Request, x remote.Session, step remote.Step, status int, alert string) error {
	name := string(step.Kind)
	page := stepPage{view: view{Language: languageOf(r), Title: name, Lead: name + ".do", Alert: alert, Forms: true}, Path: "/ws/" + x.ID}
	page.Facts = [][2]string{{"target", x.Username + "@" + x.Host}}
	more := ""
	if step.Kind == remote.ApprovalWanted {
		more, page.Script = scripts, "/ws/static/wait.js"
		page.Facts = append(page.Facts, [2]string{"approval.number", fmt.Sprint(step.Request.Number)})
		if step.Request.Reason != "" {
			page.Facts = append(page.Facts, [2]string{"approval.asked", step.Request.Reason})
		}
	}
	if !step.Until.IsZero() {
		page.Facts = append(page.Facts, [2]string{"approval.until", step.Until.UTC().Format(formTime)})
	}
	p.guard(w, r, x, more)
	return show(w, status, name, page)
}

// stepUp takes a second factor.
func (p *Pages) stepUp(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	answer := remote.Answer{Code: strings.TrimSpace(r.PostFormValue("code")), Address: api.Remote(r.Context())}
	_, err := p.Sessions.StepUp(r.Context(), x, answer)
	switch {
	case fault.Is(err, fault.Unauthenticated):
		return p.showStep(w, r, x, remote.Step{Kind: remote.StepUpDue, Until: x.Expires}, http.StatusUnauthorized, "step_up.wrong")
	case fault.Is(err, fault.Limited):
		return p.showStep(w, r, x, remote.Step{Kind: remote.StepUpDue, Until: x.Expires}, http.StatusTooManyRequests, "step_up.many")
	}
	return p.onward(w, r, x, err)
}

// explain takes the person's reason.
func (p *Pages) explain(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	_, err := p.Sessions.Explain(r.Context(), x, strings.TrimSpace(r.PostFormValue("reason")), strings.TrimSpace(r.PostFormValue("ticket")))
	if fault.Is(err, fault.Invalid) {
		return p.showStep(w, r, x, remote.Step{Kind: remote.ReasonDue, Until: x.Expires}, http.StatusBadRequest, "reason.wrong")
	}
	return p.onward(w, r, x, err)
}

// onward goes to the next step. A step that was done already, in another window, is no error.
func (p *Pages) onward(w http.ResponseWriter, r *http.Request, x remote.Session, err error) error {
	if err != nil && !errors.Is(err, remote.ErrNotWaiting) && !errors.Is(err, remote.ErrOver) {
		return err
	}
	guarded(w.Header())
	http.Redirect(w, r, "/ws/"+x.ID, http.StatusSeeOther)
	return nil
}

// showEnd says why the session is over.
func (p *Pages) showEnd(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	n := p.refused(r, "ended")
	n.Lead = endText(x.End)
	n.Facts = [][2]string{{"target", x.Username + "@" + x.Host}}
	note, err := p.Sessions.Note(r.Context(), x)
	if err != nil {
		return err
	}
	if note != "" {
		n.Facts = append(n.Facts, [2]string{"ended.note", note})
	}
	if !x.Started.IsZero() {
		n.Facts = append(n.Facts, [2]string{"ended.from", x.Started.UTC().Format(formTime)})
	}
	if !x.Ended.IsZero() {
		n.Facts = append(n.Facts, [2]string{"ended.to", x.Ended.UTC().Format(formTime)})
	}
	p.guard(w, r, x, "")
	return show(w, http.StatusOK, "ended", n)
}

// endText is the name of the text that says why a session ended.
func endText(why remote.Reason) string {
	if _, ok := texts["ended."+string(why)]; ok && why != "" {
		return "ended." + string(why)
	}
	return "ended.closed"
}

// showTerminal is the page that the script of the terminal draws in.
func (p *Pages) showTerminal(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	if p.build(w, r) {
		return nil
	}
	page := newShell(r, "terminal", "session", x)
	page.Path, page.Patience = "/ws/"+x.ID, p.Reattach.Milliseconds()
	page.Shell = x.Terms.Gives(access.Shell)
	page.Files = x.Terms.Gives(access.Files) && x.Protocol == device.SSH
	page.Clip = x.Terms.Gives(access.Clipboard)
	p.guard(w, r, x, terminal)
	return show(w, http.StatusOK, "session", page)
}

// ticket gives the page of a session what opens its socket, once. A session that is over gives none, but for what its terminal printed last and the page
// has not seen.
func (p *Pages) ticket(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	if x.State != remote.Active && x.State != remote.Waiting && !p.desks.has(x.ID) {
		l := languageOf(r)
		api.WriteProblem(w, api.Problem{Status: http.StatusGone, Code: string(x.End), Detail: l.say(endText(x.End))})
		return nil
	}
	plain, err := p.Sessions.MakeTicket(r.Context(), x, terminalPurpose, x.User.ID, x.User.Name)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, wireTicket{plain.Reveal()})
}

// wireTicket is a ticket as scripts get it.
type wireTicket struct {
	Ticket string `json:"ticket"`
}

// end closes the session, as the person wishes.
func (p *Pages) end(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	live, here := p.Engine.Lived(x.ID)
	if !here && x.State == remote.Active {
		return remote.ErrElsewhere
	}
	if here {
		live.Close(remote.Closed, "")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// keepalive is how often a stream without news says that it is there.
const keepalive = 15 * time.Second

// events is the stream of a page that waits: it says when there is something else to show. The cookie is read again each time (rule W1).
func (p *Pages) events(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	before, err := p.standing(r, x)
	if err != nil {
		return err
	}
	h := guarded(w.Header())
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // a stream has none; where the connection knows no deadlines there is none anyway
	fmt.Fprint(w, ": waiting\n\n")
	changed, forget := p.desks.await(x.ID)
	defer forget()
	look, alive := time.NewTicker(p.Look), time.NewTicker(keepalive)
	defer look.Stop()
	defer alive.Stop()
	for {
		if err := out.Flush(); err != nil {
			return nil // the browser has gone
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-p.desks.closing:
			return nil
		case <-alive.C:
			fmt.Fprint(w, ": waiting\n\n")
			continue
		case <-changed:
		case <-look.C:
		}
		if x, err = p.resume(r); err == nil {
			var now string
			if now, err = p.standing(r, x); err == nil && now == before {
				continue
			}
		}
		fmt.Fprint(w, "event: change\ndata: {}\n\n") // whatever it is, the page shows it
		_ = out.Flush()
		return nil
	}
}

// standing is where a session stands, as a word that changes with it.
func (p *Pages) standing(r *http.Request, x remote.Session) (string, error) {
	if x.State != remote.Waiting {
		return string(x.State), nil
	}
	step, err := p.Sessions.Due(r.Context(), x)
	if err != nil {
		return "", err
	}
	return string(x.State) + " " + string(step.Kind), nil
}
