package api

import (
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Names of cookies; where the public URL is https they carry a prefix that browsers honour.
const (
	sessionCookie  = "gatehouse"
	preLoginCookie = "gatehouse-login" // names a sign-in that is under way and opens nothing (rule F11)
	remoteCookie   = "gh_ws"           // holds the tokens of remote sessions, each good for one; no sign-in
	hostPrefix     = "__Host-"
)

// Cookies gives every door the same cookies, by the public URL, and judges where requests that come with one began (rule W12).
//
// A door that sets one asks Possible first and Foreign too, or a stranger's page could sign its visitor in as somebody else. A door
// that reads the session's cookie puts Guard around its handlers.
type Cookies struct {
	PublicURL *url.URL // where browsers reach us
	Origins   []string // whose pages are ours, in the form of the Origin header; empty: those of PublicURL
}

// Possible reports whether there can be cookies at all: one that travels in the open is anybody's.
func (c Cookies) Possible() bool {
	return c.secure() || isLoopback(c.PublicURL.Hostname())
}

func (c Cookies) secure() bool { return c.PublicURL.Scheme == "https" }

// Read returns the token in the session's cookie. Two cookies are none: a neighbouring site may have set one of them.
func (c Cookies) Read(r *http.Request) (secret.String, bool) { return c.read(r, sessionCookie) }

// Set gives the browser the token of a session, or takes it away with an empty one.
func (c Cookies) Set(w http.ResponseWriter, token secret.String) { c.set(w, sessionCookie, token) }

// ReadPreLogin returns what ties the browser to the sign-in that it began. It is no session.
func (c Cookies) ReadPreLogin(r *http.Request) (secret.String, bool) {
	return c.read(r, preLoginCookie)
}

// SetPreLogin ties the browser to the sign-in that it begins, or unties it with an empty value.
func (c Cookies) SetPreLogin(w http.ResponseWriter, value secret.String) {
	c.set(w, preLoginCookie, value)
}

// RemoteCookie is what a browser holds of one remote session: a token that is good for its pages and nothing else.
type RemoteCookie struct {
	Session string // id
	Token   secret.String
}

// ReadRemote returns what the browser holds of remote sessions. A browser has several open at a time and one cookie, so it lists them:
// "id.token~id.token". What is malformed is left out.
func (c Cookies) ReadRemote(r *http.Request) []RemoteCookie {
	value, ok := c.read(r, remoteCookie)
	if !ok {
		return nil
	}
	var all []RemoteCookie
	for one := range strings.SplitSeq(value.Reveal(), "~") {
		if id, token, ok := strings.Cut(one, "."); ok && id != "" && token != "" {
			all = append(all, RemoteCookie{id, secret.New(token)})
		}
	}
	return all
}

// SetRemote gives the browser what it holds of remote sessions.
func (c Cookies) SetRemote(w http.ResponseWriter, all []RemoteCookie) {
	held := make([]string, len(all))
	for i, one := range all {
		held[i] = one.Session + "." + one.Token.Reveal()
	}
	c.set(w, remoteCookie, secret.New(strings.Join(held, "~")))
}

// Name is what the session's cookie is called.
func (c Cookies) Name() string { return c.name(sessionCookie) }

func (c Cookies) name(plain string) string {
	if c.secure() {
		return hostPrefix + plain
	}
	return plain
}

func (c Cookies) read(r *http.Request, plain string) (secret.String, bool) {
	if !c.Possible() {
		return secret.String{}, false
	}
	found := r.CookiesNamed(c.name(plain))
	if len(found) != 1 {
		return secret.String{}, false
	}
	return secret.New(found[0].Value), true
}

// set writes nothing where there can be no cookies.
func (c Cookies) set(w http.ResponseWriter, plain string, value secret.String) {
	if !c.Possible() {
		return
	}
	line := c.name(plain) + "=" + value.Reveal() + "; Path=/"
	if value.Empty() {
		line += "; Max-Age=0"
	}
	if c.secure() {
		line += "; Secure"
	}
	w.Header().Add("Set-Cookie", line+"; HttpOnly; SameSite=Lax")
}

// Voucher reports whether a request without an Origin carries what a page of another site could not have made a browser send.
type Voucher func(r *http.Request) bool

// HeaderVoucher vouches by a header that browsers let no foreign page set unasked.
func HeaderVoucher(name, value string) Voucher {
	return func(r *http.Request) bool {
		sent := r.Header.Values(name)
		return len(sent) == 1 && sent[0] == value
	}
}

// JSONVoucher vouches by a body that is declared as JSON, which no form of a page can send.
func JSONVoucher(r *http.Request) bool {
	sent := r.Header.Values("Content-Type")
	if len(sent) != 1 {
		return false
	}
	kind, _, err := mime.ParseMediaType(sent[0])
	return err == nil && kind == "application/json"
}

var ownVouchers = []Voucher{HeaderVoucher("Sec-Fetch-Site", "same-origin"), HeaderVoucher("X-Gatehouse-Csrf", "1")}

// Guard refuses requests by cookie that change something and did not begin at our own pages. more are what the dialect accepts
// beside our own two headers.
func (c Cookies) Guard(h Handler, refused error, more ...Voucher) Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if by.Cookie && !isSafe(r.Method) && !c.BeganHere(r, more...) {
			return refused
		}
		return h(w, r, by)
	}
}

func isSafe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method)
}

// BeganHere reports whether a browser says, or a program vouches, that the request began at our own pages. What the Origin
// says outweighs every voucher.
func (c Cookies) BeganHere(r *http.Request, more ...Voucher) bool {
	if len(r.Header.Values("Origin")) > 0 {
		return !c.Foreign(r)
	}
	return slices.ContainsFunc(slices.Concat(ownVouchers, more), func(vouches Voucher) bool { return vouches(r) })
}

// Foreign reports whether the request names an origin that is not ours. Two are foreign: nobody knows which one counts.
func (c Cookies) Foreign(r *http.Request) bool {
	sent := r.Header.Values("Origin")
	return len(sent) > 0 && (len(sent) > 1 || !slices.Contains(c.Own(), sent[0]))
}

// Own lists the origins of our own pages as browsers write them: the configured ones, or those of the public URL. On
// loopback localhost and 127.0.0.1 are one machine.
func (c Cookies) Own() []string {
	if len(c.Origins) > 0 {
		return c.Origins
	}
	scheme, host, port := c.PublicURL.Scheme, strings.ToLower(c.PublicURL.Hostname()), c.PublicURL.Port()
	written := func(host string) string {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
			return scheme + "://" + host
		}
		return scheme + "://" + host + ":" + port
	}
	if host == "localhost" || host == "127.0.0.1" {
		return []string{written("localhost"), written("127.0.0.1")}
	}
	return []string{written(host)}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
