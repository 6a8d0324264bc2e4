package remote

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// mostCookies is how many sessions one browser holds at a time. Those that it has not opened for longest go first.
const mostCookies = 16

// redeem takes the link by which a person comes. Whoever looks at links without meaning it - a scanner of mails, a browser that fetches ahead - gets
// nothing, and uses nothing up.
func (p *Pages) redeem(w http.ResponseWriter, r *http.Request) error {
	if !p.Cookies.Possible() {
		return show(w, http.StatusForbidden, "notice", p.refused(r, "plain"))
	}
	if r.Method == http.MethodHead || r.Method == http.MethodOptions || ahead(r) {
		guarded(w.Header())
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		p.notAllowed(w, r)
		return nil
	}
	visit := remote.Visit{
		Link: secret.New(r.URL.Query().Get("_sr")), Address: api.Remote(r.Context()), Door: Name, Request: api.RequestID(r.Context()), Session: p.browser(r),
	}
	held := p.Cookies.ReadRemote(r)
	for _, one := range held {
		visit.Earlier = append(visit.Earlier, one.Token)
	}
	x, cookie, err := p.Sessions.Redeem(r.Context(), visit)
	if err != nil {
		return p.notRedeemed(w, r, x, err)
	}
	held = append([]api.RemoteCookie{{Session: x.ID, Token: cookie}}, held...)
	p.Cookies.SetRemote(w, held[:min(len(held), mostCookies)])
	guarded(w.Header())
	http.Redirect(w, r, "/ws/"+x.ID, http.StatusSeeOther)
	return nil
}

// notRedeemed says why not. A browser that holds the cookie of the session that a used link opened is shown the way back.
func (p *Pages) notRedeemed(w http.ResponseWriter, r *http.Request, x remote.Session, err error) error {
	w.Header().Set("Content-Security-Policy", policy("", p.ancestors(r, x)))
	if !errors.Is(err, remote.ErrLinkUsed) || x.ID == "" || x.State != remote.Active && x.State != remote.Waiting {
		return err
	}
	if _, mine := p.cookieOf(r, x.ID); !mine {
		return err
	}
	n := p.refused(r, "used")
	n.Link, n.LinkText = "/ws/"+x.ID, "used.back"
	return show(w, http.StatusGone, "notice", n)
}

// ahead reports whether a browser fetches the page in case somebody wants it.
func ahead(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		for _, value := range r.Header.Values(name) {
			if strings.Contains(strings.ToLower(value), "prefetch") || strings.Contains(strings.ToLower(value), "prerender") {
				return true
			}
		}
	}
	return false
}

// browser is the id of the Gatehouse session that the browser has, or "": a link that somebody asked for themselves belongs to it.
func (p *Pages) browser(r *http.Request) string {
	c, ok := p.presented(r)
	if !ok {
		return ""
	}
	by, err := p.Login.Authenticate(r.Context(), c)
	if err != nil { // a session that is over is none
		return ""
	}
	return by.Session
}

// cookieOf is the token that the browser holds of a session.
func (p *Pages) cookieOf(r *http.Request, id string) (secret.String, bool) {
	for _, one := range p.Cookies.ReadRemote(r) {
		if one.Session == id {
			return one.Token, true
		}
	}
	return secret.String{}, false
}
