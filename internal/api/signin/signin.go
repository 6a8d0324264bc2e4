// Package signin serves the steps of signing in that take a browser, the same for every door: the password, the second
// factor, its enrolment, and the way to an identity provider and back.
//
// The pages are plain forms that work without a script, but for security keys. Each form is sent to us by our own page or not at
// all, the session lies in the one cookie that all doors share, and where somebody goes afterwards is a path of ours.
//
//	/login ── password ─┬─► done
//	   │                ├─► /login/second ── key, code, recovery code ──► done
//	   │                └─► /login/enrol ── app or key ──► done
//	   └─ /login/sso/N ─► provider ─► /oauth, /saml ─► /login/finish ─► as after a password
//
// The form for a password may be hidden. Then /login leads on to the provider by itself where there is one alone, but not whoever was signed
// out or failed: they find a button.
//
// A provider's answer opens nothing where it arrives: /login/finish demands the cookie of the browser that
// began, so nobody is signed in by an answer that somebody else fetched.
package signin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
)

// Name is the pages' name among owners of paths, in logs and in the audit record.
const Name = "signin"

const maxForm = 512 << 10 // a SAML response of 256 KiB, percent-encoded

// Captcha makes and checks CAPTCHAs: a *guard.Captcha.
type Captcha interface {
	New() (id string, err error)
	Text(id string) (text string, ok bool)
	Check(ctx context.Context, id, answer string) (bool, error)
}

// Pages serves the steps.
type Pages struct {
	Login    *login.Service
	Sessions *session.Service
	Captcha  Captcha
	Pictures *api.Pictures // of CAPTCHAs
	Cookies  api.Cookies
	Metadata func(context.Context) ([]byte, error) // of us as a SAML service provider
	BodyWait time.Duration                         // how long a form may take to arrive; 0 is for ever
}

//go:embed static
var static embed.FS

// Owner is the pages' part of the HTTP door.
func (p *Pages) Owner() api.Owner {
	return api.Owner{
		Name: Name, Prefixes: []string{"/login", "/saml", "/oauth", "/captcha", "/logout"}, Routes: p.Routes(),
		NotFound: p.notFound, MethodNotAllowed: p.notAllowed, Fail: p.fail,
	}
}

// Home is the page at the root, for people who come without a path.
func (p *Pages) Home() api.Owner {
	return api.Owner{
		Name: "home", Prefixes: []string{"/"}, NotFound: p.notFound, MethodNotAllowed: p.notAllowed, Fail: p.fail,
		Routes: []api.Route{{Method: "GET", Pattern: "/", Action: access.Public, Handler: p.open(p.home)}},
	}
}

// Routes are the steps.
func (p *Pages) Routes() []api.Route {
	pending := []session.State{session.Pending}
	enrolling := []session.State{session.EnrolOnly, session.Active}
	each := []session.State{session.Pending, session.EnrolOnly, session.Active}
	return []api.Route{
		{Method: "GET", Pattern: "/login", Action: access.Public, Handler: p.open(p.showLogin)},
		{Method: "POST", Pattern: "/login", Action: access.Public, Handler: p.form(p.signIn)},
		{Method: "GET", Pattern: "/login/second", Action: access.SessionKeep, Handler: p.inSession(p.showSecond, pending)},
		{Method: "POST", Pattern: "/login/second", Action: access.SessionKeep, Handler: p.formInSession(p.second, pending)},
		{Method: "POST", Pattern: "/login/cancel", Action: access.SessionEnd, Handler: p.formInSession(p.signOut(againPath), each)},
		{Method: "POST", Pattern: "/login/out", Action: access.SessionEnd, Handler: p.formInSession(p.signOut(outPath), each)},
		{Method: "POST", Pattern: "/logout", Action: access.SessionEnd, Handler: p.open(p.logout)},

		{Method: "GET", Pattern: "/login/confirm", Action: access.SessionKeep, Handler: p.inSession(p.showConfirm, enrolling)},
		{Method: "POST", Pattern: "/login/confirm", Action: access.SessionKeep, Handler: p.formInSession(p.confirm, enrolling)},
		{Method: "GET", Pattern: "/login/enrol", Action: access.SessionKeep, Handler: p.inSession(p.showEnrol, enrolling)},
		{Method: "POST", Pattern: "/login/enrol/app", Action: access.FactorEnrol, Handler: p.formInSession(p.enrolApp, enrolling)},
		{Method: "POST", Pattern: "/login/enrol/key", Action: access.FactorEnrol, Handler: p.formInSession(p.enrolKey, enrolling)},
		{Method: "POST", Pattern: "/login/enrol/codes", Action: access.FactorCodes, Handler: p.formInSession(p.newCodes, enrolling)},

		{Method: "GET", Pattern: "/login/sso/{number}", Action: access.Public, Handler: p.step(p.depart)},
		{Method: "GET", Pattern: "/oauth", Action: access.Public, Handler: p.step(p.oauth)},
		{Method: "POST", Pattern: "/oauth/logout/{number}", Action: access.Public, Handler: p.open(p.loggedOut)},
		{Method: "POST", Pattern: "/saml", Action: access.Public, Handler: p.open(p.saml)},
		{Method: "GET", Pattern: "/saml/metadata.xml", Action: access.Public, Handler: p.open(p.metadata)},
		{Method: "GET", Pattern: "/login/finish", Action: access.Public, Handler: p.step(p.finish)},

		{Method: "GET", Pattern: "/captcha/{file}", Action: access.Public, Handler: p.open(p.captcha)},
		{Method: "GET", Pattern: "/login/static/{file}", Action: access.Public, Handler: p.open(p.file)},
	}
}

// file serves what the pages are drawn with. Browsers keep it and ask each time whether it is still the same, so a new version is not drawn with the old files.
func (p *Pages) file(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	body, err := static.ReadFile("static/" + name)
	if err != nil {
		return errNoPage
	}
	h := guarded(w.Header())
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(body)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	return nil
}
