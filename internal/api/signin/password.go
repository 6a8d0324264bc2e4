package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// loginPage asks who it is.
type loginPage struct {
	page
	Form    bool
	Action  string // of the form
	Name    string
	Captcha string // id
	With    string // number of the directory that the password is for; empty: our own
	Buttons []button
}

// showLogin shows the ways to sign in. Where there is only one, at a provider, it is taken at once, unless the visitor has just come from there.
func (p *Pages) showLogin(w http.ResponseWriter, r *http.Request) error {
	if !p.Cookies.Possible() {
		return errCookie
	}
	o, err := p.Login.LoginOptions(r.Context())
	if err != nil {
		return err
	}
	q := r.URL.Query()
	l := loginPage{page: page{Target: targetOf(q)}, Form: o.Form || o.Hidden && q.Has(fallback), With: q.Get("with")}
	switch to, ok := alone(o); {
	case q.Has("over"):
		l.Alert = "You were signed out, or it took too long. Sign in again."
	case q.Has("out") && l.Form:
		l.Lead = "You are signed out."
	case q.Has("out"):
		l.Lead = "You are signed out here. At your identity provider you may still be signed in."
	case ok && !l.Form && !q.Has("again"):
		return onward(w, r, withTarget("/login/sso/"+to, url.Values{}, l.Target))
	}
	return showWays(w, http.StatusOK, l, o)
}

// showWays shows the form, where l wants it, and the providers.
func showWays(w http.ResponseWriter, status int, l loginPage, o login.LoginOptions) error {
	l.Title, l.Action = "Sign in", formLink(o, "", "")
	name, ok := directory(o, l.With)
	if !ok || !l.Form {
		l.With = ""
	}
	l.Buttons = append(l.Buttons, buttons(o, l.Form, l.With, l.Target)...)
	switch {
	case l.With != "":
		l.Title = "Sign in with " + name
		l.Buttons = append(l.Buttons, button{formLink(o, "", l.Target), "Use a password of this server"})
	case l.Form, l.Lead != "", l.Alert != "": // that is enough to read
	case len(l.Buttons) > 1:
		l.Lead = "Choose where you sign in. You come back here afterwards."
	default:
		l.Lead = "You sign in at your identity provider and come back here."
	}
	return show(w, status, "login", l)
}

// targetOf reads where to go afterwards; links of login options call it targetUrl.
func targetOf(q url.Values) string {
	if q.Has("target") {
		return q.Get("target")
	}
	return q.Get("targetUrl")
}

func withTarget(path string, query url.Values, target string) string {
	if target != "" {
		query.Set("target", target)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// signIn judges a name and a password, where the form for them can be reached; where not, it looks at neither.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) error {
	reachable, err := p.Login.FormReachable(r.Context())
	if err != nil {
		return err
	}
	if !reachable {
		return login.ErrFormHidden
	}
	c, err := p.named(r)
	if err != nil {
		return err
	}
	in, err := p.Login.SignIn(r.Context(), c, p.begin(r, r.PostFormValue("target")))
	var failed *login.Failed
	if errors.As(err, &failed) {
		return p.askAgain(w, r, failed)
	}
	if err != nil {
		return err
	}
	return p.begun(w, r, in)
}

func (p *Pages) begin(r *http.Request, target string) login.Begin {
	return login.Begin{Transport: session.Cookie, UserAgent: r.UserAgent(), Target: target, Elevated: true}
}

// named reads who it claims to be.
func (p *Pages) named(r *http.Request) (login.Presented, error) {
	c := p.presented(r, login.Password)
	if number, err := strconv.ParseInt(r.PostFormValue("with"), 10, 64); err == nil {
		provider, err := p.Login.Button(r.Context(), number)
		if err != nil {
			return c, err
		}
		if provider.Kind != identity.LDAP { // the others take passwords on pages of their own
			return c, identity.ErrNoProvider
		}
		c = p.presented(r, login.LDAP)
		c.Provider = provider.Handle
	}
	c.Name, c.Secret = r.PostFormValue("username"), secret.New(r.PostFormValue("password"))
	id, answer := r.PostFormValue("captcha"), r.PostFormValue("answer")
	c.Solve = func(ctx context.Context) (bool, error) { return p.Captcha.Check(ctx, id, answer) }
	return c, nil
}

// askAgain shows the form once more. It says the same whatever was wrong with the name or the password, and of everybody, existing or not (rule F6).
func (p *Pages) askAgain(w http.ResponseWriter, r *http.Request, failed *login.Failed) error {
	l := loginPage{
		page: page{Alert: "That user name and password do not open anything.", Target: r.PostFormValue("target")},
		Name: r.PostFormValue("username"), With: r.PostFormValue("with"),
	}
	if failed.CaptchaDue {
		id, err := p.Captcha.New()
		if err != nil {
			return err
		}
		l.Captcha = id
	}
	switch {
	case failed.Unread && r.PostFormValue("captcha") != "":
		l.Alert = "The characters were not right. Here are new ones."
	case failed.Unread:
		l.Alert = "There were too many attempts. Type the characters of the picture as well."
	}
	o, err := p.Login.LoginOptions(r.Context())
	if err != nil {
		return err
	}
	l.Form = o.Form || o.Hidden
	return showWays(w, http.StatusUnauthorized, l, o)
}

// begun is signedIn for a session that has just begun: one that the browser had before ends (rule F11).
func (p *Pages) begun(w http.ResponseWriter, r *http.Request, in login.Signed) error {
	if old, had := p.Cookies.Read(r); had {
		x, err := p.Sessions.Check(r.Context(), old, api.Remote(r.Context()))
		if err == nil {
			err = p.Sessions.Terminate(r.Context(), x.Caller(api.Remote(r.Context()), Name, api.RequestID(r.Context())))
		}
		if err != nil && !errors.Is(err, session.ErrInvalid) {
			return err
		}
	}
	return p.signedIn(w, r, in)
}

// signedIn gives the browser its session, and goes where that leads.
func (p *Pages) signedIn(w http.ResponseWriter, r *http.Request, in login.Signed) error {
	p.Cookies.Set(w, in.Token)
	switch {
	case in.Pending != nil && in.Pending.Enrol:
		return onward(w, r, withTarget("/login/enrol", url.Values{}, in.Target))
	case in.Pending != nil:
		return onward(w, r, "/login/second")
	}
	return onward(w, r, p.Login.SafeTarget(in.Target))
}

// signOut ends the session from one of our pages, and goes on to that one.
func (p *Pages) signOut(to string) api.Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if err := p.Sessions.Terminate(r.Context(), by); err != nil {
			return err
		}
		p.Cookies.Set(w, secret.String{})
		return onward(w, r, to)
	}
}

// logout ends the session of the cookie for programs. Without a living one there is nothing to end, and the cookie goes all the same.
func (p *Pages) logout(w http.ResponseWriter, r *http.Request) error {
	if !p.Cookies.BeganHere(r, api.HeaderVoucher("X-Atlassian-Token", "no-check"), api.JSONVoucher) {
		return errForeign
	}
	by, err := p.bySession([]session.State{session.Pending, session.EnrolOnly, session.Active})(r)
	if err == nil {
		err = p.Sessions.Terminate(r.Context(), by)
	}
	if err != nil && !errors.Is(err, session.ErrInvalid) {
		return err
	}
	p.Cookies.Set(w, secret.String{})
	p.Cookies.SetPreLogin(w, secret.String{})
	guarded(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}
