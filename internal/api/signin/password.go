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
	Name    string
	Captcha string // id
	With    string // number of the directory that the password is for; empty: our own
	Buttons []button
}

type button struct{ Link, Text string }

func (p *Pages) showLogin(w http.ResponseWriter, r *http.Request) error {
	if !p.Cookies.Possible() {
		return errCookie
	}
	q := r.URL.Query()
	l := loginPage{page: page{Target: targetOf(q)}, With: q.Get("with")}
	if q.Has("over") {
		l.Alert = "You were signed out, or it took too long. Sign in again."
	}
	return p.askPassword(w, r, http.StatusOK, l)
}

// askPassword shows the form and the other ways to sign in.
func (p *Pages) askPassword(w http.ResponseWriter, r *http.Request, status int, l loginPage) error {
	l.Title, l.Form = "Sign in", true
	providers, err := p.Login.Buttons(r.Context())
	if err != nil {
		return err
	}
	for _, one := range providers {
		number := strconv.FormatInt(one.Number, 10)
		if number == l.With {
			l.Title = "Sign in with " + one.Name
			continue
		}
		l.Buttons = append(l.Buttons, buttonOf(one, number, l.Target))
	}
	if l.With != "" {
		l.Buttons = append(l.Buttons, button{withTarget("/login", url.Values{}, l.Target), "Use a password of this server"})
	}
	return show(w, status, "login", l)
}

// buttonOf leads to a provider: a directory takes the password on our own page, the others have pages of theirs.
func buttonOf(one identity.Provider, number, target string) button {
	text := one.Settings.Button
	if text == "" {
		text = "Log in with " + one.Name
	}
	if one.Kind == identity.LDAP {
		return button{withTarget("/login", url.Values{"with": {number}}, target), text}
	}
	return button{withTarget("/login/sso/"+number, url.Values{}, target), text}
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

// signIn judges a name and a password.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) error {
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
	return p.askPassword(w, r, http.StatusUnauthorized, l)
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

// signOut ends the session from one of our pages.
func (p *Pages) signOut(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := p.Sessions.Terminate(r.Context(), by); err != nil {
		return err
	}
	p.Cookies.Set(w, secret.String{})
	return onward(w, r, "/login")
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
