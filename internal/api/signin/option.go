package signin

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
)

// fallback, in the query, asks for a form that is hidden; the page's own links and forms hand it on.
const fallback = "auth_fallback"

// What the sign-in page is called with says why somebody is there. None of them is passed on to a provider by itself: whoever signs
// out there, or fails there, would be back at once as the same person or with the same failure.
const (
	outPath   = "/login?out=1"   // signed out
	overPath  = "/login?over=1"  // the session is gone
	againPath = "/login?again=1" // another try
)

type button struct{ Link, Text string }

// alone finds the provider that is the only way to sign in.
func alone(o login.LoginOptions) (to string, ok bool) {
	for _, one := range o.Providers {
		if one.Kind == identity.LDAP || one.Settings.Unsupported != "" {
			continue
		}
		if to != "" {
			return "", false
		}
		to = numberOf(one)
	}
	return to, to != ""
}

// buttons lead to the providers. A directory takes the password in our own form, so it is offered where the form is; with is the one that the form is for.
// What is not supported is left out: its page says so to whoever comes by a link.
func buttons(o login.LoginOptions, form bool, with, target string) []button {
	var all []button
	for _, one := range o.Providers {
		switch {
		case one.Settings.Unsupported != "", one.Kind == identity.LDAP && !form, one.Kind == identity.LDAP && numberOf(one) == with:
			continue
		}
		text := one.Settings.Button
		if text == "" {
			text = "Log in with " + one.Name
		}
		link := withTarget("/login/sso/"+numberOf(one), url.Values{}, target)
		if one.Kind == identity.LDAP {
			link = formLink(o, numberOf(one), target)
		}
		all = append(all, button{link, text})
	}
	return all
}

// ways are buttons for whoever failed: a form that can be reached is among them.
func ways(o login.LoginOptions, target string) []button {
	form := o.Form || o.Hidden
	all := buttons(o, form, "", target)
	if form {
		all = append(all, button{formLink(o, "", target), "Sign in with a password"})
	}
	return all
}

// formLink leads to the form: for passwords of our own, or of the directory of that number.
func formLink(o login.LoginOptions, with, target string) string {
	q := url.Values{}
	if !o.Form {
		q.Set(fallback, "1")
	}
	if with != "" {
		q.Set("with", with)
	}
	return withTarget("/login", q, target)
}

func numberOf(one identity.Provider) string { return strconv.FormatInt(one.Number, 10) }

// directory finds the name of the directory of that number.
func directory(o login.LoginOptions, number string) (name string, ok bool) {
	for _, one := range o.Providers {
		if one.Kind == identity.LDAP && numberOf(one) == number {
			return one.Name, true
		}
	}
	return "", false
}

// failed is the page for somebody whose sign-in failed. What it offers does not depend on the reason.
func (p *Pages) failed(r *http.Request, title, lead string) notice {
	n := noticeOf(title, lead)
	o, err := p.Login.LoginOptions(r.Context())
	if all := ways(o, targetOf(r.URL.Query())); err == nil && len(all) > 0 { // else the sign-in page says what is wrong
		n.Buttons = all
	}
	return n
}

// again is the sign-in page for whoever asked for something that only a session gets. A form must not end at a provider, so whoever sent
// one is shown the other page: browsers hold each redirect that follows a form against the policy of the page that it was on.
func again(r *http.Request, other string) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return "/login"
	}
	return other
}
