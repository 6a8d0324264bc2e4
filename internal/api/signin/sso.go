package signin

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// onwardPage posts a form to a provider.
type onwardPage struct {
	page
	Action   string
	Fields   []field
	Provider string
}

type field struct{ Name, Value string }

// depart sends the browser to a provider.
func (p *Pages) depart(w http.ResponseWriter, r *http.Request) error {
	if !p.Cookies.Possible() {
		return errCookie
	}
	number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
	if err != nil {
		return errNoPage
	}
	d, err := p.Login.Depart(r.Context(), number, targetOf(r.URL.Query()), p.presented(r, login.OIDC))
	if err != nil {
		return err
	}
	p.Cookies.SetPreLogin(w, d.Flow.Browser)
	if d.Form == nil {
		guarded(w.Header())
		http.Redirect(w, r, d.URL, http.StatusSeeOther)
		return nil
	}
	return post(w, d)
}

// post lets the browser post a form to the provider. Only http and https addresses are gone to (rule F3). The policy names their scheme
// alone: Chromium holds every redirect of a posted form against it, and providers pass people on to other hosts of theirs.
func post(w http.ResponseWriter, d login.Departure) error {
	to, err := url.Parse(d.URL)
	if err != nil || to.Scheme != "https" && to.Scheme != "http" || to.Host == "" {
		return fault.Wrap(fault.Internal, "internal error", err)
	}
	o := onwardPage{page: page{Title: "On to " + d.Provider.Name, Lead: "You sign in there and come back here."}, Action: d.URL, Provider: d.Provider.Name}
	for _, name := range slices.Sorted(maps.Keys(d.Form)) {
		o.Fields = append(o.Fields, field{name, d.Form.Get(name)})
	}
	w.Header().Set("Content-Security-Policy", policy("'self' "+to.Scheme+":"))
	return show(w, http.StatusOK, "onward", o)
}

// oauth takes what an OpenID Connect provider sends back.
func (p *Pages) oauth(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	return p.land(w, r, identity.OIDC, login.Return{Code: q.Get("code"), State: q.Get("state"), Refused: q.Get("error"), Issuer: q.Get("iss")})
}

// saml takes what a SAML provider has the browser post: from its own page, so where it began says nothing.
func (p *Pages) saml(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	return p.land(w, r, identity.SAML, login.Return{Response: r.PostFormValue("SAMLResponse")})
}

// land checks what came back and sends the browser where its cookie is looked at. The request itself may come without
// it: a form that another site posts brings no cookies.
func (p *Pages) land(w http.ResponseWriter, r *http.Request, kind identity.ProviderKind, back login.Return) error {
	landing, err := p.Login.Land(r.Context(), kind, back, p.presented(r, kindOf(kind)))
	if err != nil {
		return err
	}
	if landing.Program {
		return show(w, http.StatusOK, "notice", notice{page: page{Title: "You can go back now", Lead: "The program that sent you here finishes the sign-in."}})
	}
	return onward(w, r, "/login/finish?flow="+url.QueryEscape(landing.Finish.Reveal()))
}

func kindOf(kind identity.ProviderKind) login.Kind {
	if kind == identity.SAML {
		return login.SAML
	}
	return login.OIDC
}

// finish opens the session for the browser that began.
func (p *Pages) finish(w http.ResponseWriter, r *http.Request) error {
	browser, _ := p.Cookies.ReadPreLogin(r) // without one nothing is found, and that goes on record
	in, err := p.Login.Finish(r.Context(), secret.New(r.URL.Query().Get("flow")), browser, p.presented(r, login.OIDC), p.begin(r, ""))
	if err != nil {
		return err
	}
	p.Cookies.SetPreLogin(w, secret.String{})
	return p.begun(w, r, in)
}

// metadata describes us to SAML providers.
func (p *Pages) metadata(w http.ResponseWriter, r *http.Request) error {
	text, err := p.Metadata(r.Context())
	if err != nil {
		return err
	}
	guarded(w.Header()).Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(text) // the caller has gone: nobody is left to tell
	return nil
}
