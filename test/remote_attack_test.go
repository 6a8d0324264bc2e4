package test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/gate"
)

// from is a browser behind the trusted proxy at 127.0.0.1.
func from(g *gate.Gate, address string) *caller {
	c := visitFrom(g, net.IPv4(127, 0, 0, 1))
	c.header["X-Forwarded-For"] = address
	return c
}

// refusedLink checks that a link was not taken, by that page and that event, whose reference is the one on the page.
func refusedLink(t *testing.T, g *gate.Gate, r reply, status int, heading, action string) {
	t.Helper()
	if r.Status != status || !strings.Contains(string(r.Body), "<h1>"+heading) {
		t.Errorf("%d, want %d %q: %s", r.Status, status, heading, r.Body)
	}
	for _, c := range r.Cookies {
		if c.Value != "" {
			t.Errorf("a refusal gives cookie %s", c.Name)
		}
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "script-src") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
	wantEvent(t, g, action, "refused", func(e gate.Audited) bool {
		return e.Detail["request"] != "" && strings.Contains(string(r.Body), e.Detail["request"])
	})
}

// Rule W2: a link opens one session, once, for whom and from where it was made.
//
// What was broken elsewhere: links were good twice, for whoever saw them first, and were used up by the programs that preview them.
// How it is attacked: a link is used twice, by twenty at once, from another address, with a forged X-Forwarded-For, by a program that fetches ahead, and
// after it was cancelled; the cookie of its session is used from another address; others guess links.
// What must happen: one session; every other visit is refused, says why, and is on record.
func TestAttack_W2_links(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"trusted_proxies": "127.0.0.1/32", "senhasegura.sweep_every": "100ms"}
	e := build(t, gate.Options{Settings: settings})

	t.Run("twice", func(t *testing.T) {
		link, first := e.launch(t, nil), from(e.Gate, "203.0.113.1")
		p := redeem(t, first, link)
		refusedLink(t, e.Gate, from(e.Gate, "203.0.113.2").call(t, "GET", link.Path, nil), http.StatusGone, "This link was already used", "session_url.reused")
		again := first.call(t, "GET", link.Path, nil)
		refusedLink(t, e.Gate, again, http.StatusGone, "This link was already used", "session_url.reused")
		if !strings.Contains(string(again.Body), `href="`+p.path("")+`"`) {
			t.Errorf("who holds the session is shown no way back: %s", again.Body)
		}
	})
	t.Run("at once", func(t *testing.T) {
		link := e.launch(t, nil)
		var calls []func() (reply, error)
		for i := range 20 {
			c := from(e.Gate, fmt.Sprintf("203.0.113.%d", 20+i))
			calls = append(calls, func() (reply, error) { return c.try("GET", link.Path, nil) })
		}
		won := 0
		for _, r := range atOnce(t, calls...) {
			switch {
			case r.Status == http.StatusSeeOther:
				won++
			case r.Status != http.StatusGone:
				t.Errorf("%v", r)
			}
		}
		if won != 1 {
			t.Errorf("%d opened it", won)
		}
	})
	t.Run("from elsewhere", func(t *testing.T) {
		link := e.launch(t, members{"remoteAddr": "203.0.113.50"})
		for _, c := range []*caller{from(e.Gate, "203.0.113.51"), from(e.Gate, "203.0.113.50, 203.0.113.52"), from(e.Gate, "")} {
			refusedLink(t, e.Gate, c.call(t, "GET", link.Path, nil), http.StatusForbidden, "This link is for another computer or network", "session_url.wrong_address")
		}
		forged := visit(e.Gate) // no proxy of ours
		forged.header["X-Forwarded-For"] = "203.0.113.50"
		refusedLink(t, e.Gate, forged.call(t, "GET", link.Path, nil), http.StatusForbidden, "This link is for another computer or network", "session_url.wrong_address")

		right := from(e.Gate, "198.51.100.1, ::ffff:203.0.113.50")
		p := redeem(t, right, link)
		w := p.terminal(t)
		w.answers(t, 41)
		thief := from(e.Gate, "203.0.113.53") // has the cookie
		thief.cookies = right.cookies
		if r := thief.call(t, "GET", p.path(""), nil); r.Status != http.StatusForbidden {
			t.Errorf("%v", r)
		}
		if why := w.ends(t); why != "address" {
			t.Errorf("ended for %q", why)
		}
		wantEnd(t, e.Gate, p.id, "address")
	})
	t.Run("fetched ahead", func(t *testing.T) {
		link, c := e.launch(t, nil), from(e.Gate, "203.0.113.60")
		for _, method := range []string{"HEAD", "OPTIONS"} {
			if r := c.call(t, method, link.Path, nil); r.Status != http.StatusNoContent || len(r.Cookies) > 0 {
				t.Errorf("%s: %v", method, r)
			}
		}
		for name, value := range map[string]string{"Sec-Purpose": "prefetch;prerender", "Purpose": "prefetch", "X-Moz": "prefetch"} {
			c.header[name] = value
			if r := c.call(t, "GET", link.Path, nil); r.Status != http.StatusNoContent || len(r.Cookies) > 0 || len(r.Body) > 0 {
				t.Errorf("%s: %v", name, r)
			}
			delete(c.header, name)
		}
		if r := c.call(t, "POST", link.Path, nil); r.Status != http.StatusMethodNotAllowed {
			t.Errorf("POST: %v", r)
		}
		redeem(t, c, link)
	})
	t.Run("cancelled", func(t *testing.T) {
		link := e.launch(t, nil)
		e.tool.must(t, http.StatusOK, "DELETE", "/api/pam/session/drop/"+link.Token, nil)
		refusedLink(t, e.Gate, from(e.Gate, "203.0.113.70").call(t, "GET", link.Path, nil), http.StatusGone, "This link was cancelled", "session_url.cancelled")
	})
	t.Run("guessed", func(t *testing.T) {
		c := from(e.Gate, "203.0.113.80")
		for i := range 11 {
			r := c.call(t, "GET", "/modulos/auth?_sr="+strings.Repeat("A", 40)+fmt.Sprintf("%03d", i), nil)
			switch {
			case i == 0: // the others are folded into its event
				refusedLink(t, e.Gate, r, http.StatusGone, "This link is not valid", "session_url.unknown")
			case i < 10 && r.Status != http.StatusGone:
				t.Errorf("guess %d: %v", i, r)
			}
		}
		good := e.launch(t, nil)
		if r := c.call(t, "GET", good.Path, nil); r.Status != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
			t.Errorf("who guesses goes on: %v", r)
		}
		redeem(t, from(e.Gate, "203.0.113.81"), good)
	})
	t.Run("the token opens nothing", func(t *testing.T) {
		link := e.launch(t, nil)
		refusedLink(t, e.Gate, from(e.Gate, "203.0.113.82").call(t, "GET", "/modulos/auth?_sr="+link.Token, nil), http.StatusGone, "This link is not valid", "session_url.unknown")
	})
	t.Run("of somebody who is gone", func(t *testing.T) {
		person(t, e.Gate, "gina")
		e.Must(t, "grant", "add", "--user", "gina", "--device", "web-01")
		link := e.launch(t, members{"user": "gina"})
		e.Must(t, "user", "disable", "gina")
		c := from(e.Gate, "203.0.113.83")
		refusedLink(t, e.Gate, c.call(t, "GET", link.Path, nil), http.StatusForbidden, "You cannot start this session now", "session_url.denied")
		refusedLink(t, e.Gate, c.call(t, "GET", link.Path, nil), http.StatusGone, "This link was already used", "session_url.reused")
	})
	t.Run("of another browser", func(t *testing.T) {
		dana, erin := signedIn(t, e.Gate, "dana"), func() *caller { person(t, e.Gate, "erin"); return signedIn(t, e.Gate, "erin") }()
		made := dana.must(t, http.StatusCreated, "POST", "/api/v1/remote-sessions", members{"device": "web-01", "credential": e.target.Account.Name, "protocol": "ssh"}).text(t, "url")
		at, err := url.Parse(made)
		must(t, err)
		link := launched{Path: at.RequestURI()}
		for _, c := range []*caller{erin, from(e.Gate, "203.0.113.84")} {
			refusedLink(t, e.Gate, c.call(t, "GET", link.Path, nil), http.StatusForbidden, "This link is for another computer or network", "session_url.wrong_address")
		}
		redeem(t, dana, link)
	})
	t.Run("kept as digests alone", func(t *testing.T) {
		link := e.launch(t, nil)
		secret := link.Path[strings.Index(link.Path, "=")+1:]
		hushed(t, e.Gate, secret, link.Token)
		for _, path := range []string{"/api/session/remotesessions", "/api/pam/session/remotesessions?active=1"} {
			if r := e.tool.must(t, http.StatusOK, "GET", path, nil); strings.Contains(string(r.Body), secret) || strings.Contains(string(r.Body), link.Token) {
				t.Errorf("%s lists links: %s", path, r.Body)
			}
		}
	})
	t.Run("late", func(t *testing.T) {
		e.Stop(t)
		settings["senhasegura.url_life"], settings["senhasegura.sweep_every"] = "50ms", "1h"
		e.Serve(t)
		link := e.launch(t, nil)
		time.Sleep(60 * time.Millisecond) // as long as the link is good, and a little
		refusedLink(t, e.Gate, from(e.Gate, "203.0.113.90").call(t, "GET", link.Path, nil), http.StatusGone, "This link has expired", "session_url.expired")
		refusedLink(t, e.Gate, from(e.Gate, "203.0.113.91").call(t, "GET", link.Path, nil), http.StatusGone, "This link has expired", "session_url.expired")
	})
}

// Rule W3: a socket opens for a page of exactly our own origin, with a one-time ticket in its first message.
//
// What was broken elsewhere: sockets took any Origin, or one that began or ended like their own, and cookies alone opened them.
// How it is attacked: with the cookies of the victim from foreign, null, missing, doubled and look-alike origins; with no ticket, a used one, one of another
// session, and one for another purpose.
// What must happen: nothing reaches the target, and the ticket that was not used stays good.
func TestAttack_W3_sockets(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{})
	p, other := e.open(t, nil), e.open(t, nil)
	own := local(e.Gate, "")
	ticket := p.ticket(t)
	for _, origin := range []string{
		"", "null", "https://evil.example", strings.Replace(own, "http:", "https:", 1), own + ".evil.example", strings.Replace(own, "localhost", "localhost.evil.example", 1),
		strings.Replace(own, "localhost", "evil-localhost", 1), strings.Replace(own, "localhost", "LOCALHOST", 1), own + "0", own + "/", strings.Replace(own, "http://", "http://x@", 1),
		"http://localhost", strings.Replace(own, "localhost", "127.0.0.2", 1), "file://", own + " https://evil.example",
	} {
		conn, r, err := p.dial(t, p.path("/terminal"), origin)
		if err == nil || r == nil || r.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: %v %v", origin, r, err)
		}
		if conn != nil {
			_ = conn.CloseNow()
		}
	}
	for name, hello := range map[string]any{
		"none": members{"cols": 80, "rows": 24}, "a wrong one": members{"ticket": strings.Repeat("A", 43)}, "of another session": members{"ticket": other.ticket(t)},
		"no object": []int{1}, "a number": members{"ticket": 1},
	} {
		conn, _, err := p.dial(t, p.path("/terminal"), own)
		if err != nil {
			t.Fatal(err)
		}
		w := &socket{conn: conn, done: make(chan struct{}), changed: make(chan struct{}, 1)}
		w.say(t, hello)
		w.read(t.Context())
		if w.code != 4003 || len(w.traffic()) > 0 {
			t.Errorf("ticket %s: closed with %d after %q", name, w.code, w.traffic())
		}
	}
	if came, _ := e.line.seen(); came != 0 {
		t.Errorf("%d came to the target", came)
	}
	w := p.terminalFrom(t, ticket, 0, false) // what was refused for its origin took no ticket
	w.answers(t, 41)
	conn, _, err := p.dial(t, p.path("/terminal"), own)
	if err != nil {
		t.Fatal(err)
	}
	used := follow(t, conn, members{"ticket": ticket}, false)
	if used.ends(t); used.code != 4003 || len(used.traffic()) > 0 {
		t.Errorf("a used ticket: closed with %d after %q", used.code, used.traffic())
	}
	w.answers(t, 51) // and throws nobody out
	wantEvent(t, e.Gate, "session.request_refused", "refused", func(a gate.Audited) bool {
		return strings.Contains(a.Reason, "did not begin at a page") && a.Object.ID == p.id
	})

	t.Run("streams", func(t *testing.T) {
		delete(p.header, "X-Gatehouse-Csrf")
		for _, path := range []string{"/events", "/files", "/files/content?path=x"} {
			for _, origin := range []string{"null", "https://evil.example"} {
				p.header["Origin"] = origin
				if r := p.call(t, "GET", p.path(path), nil); r.Status != http.StatusForbidden {
					t.Errorf("%s from %s: %v", path, origin, r)
				}
			}
			delete(p.header, "Origin")
		}
		for _, path := range []string{"/ticket", "/end", "/reason", "/step-up"} {
			p.header["Origin"] = "https://evil.example"
			if r := p.call(t, "POST", p.path(path), url.Values{}); r.Status != http.StatusForbidden {
				t.Errorf("%s: %v", path, r)
			}
			delete(p.header, "Origin")
		}
		w.answers(t, 61)
	})
}

// Rule W1: an id is no credential, whoever it is of.
//
// What was broken elsewhere: who knew the id of a session saw it, and replays were files that anybody fetched.
// How it is attacked: with the ids of dana's session, by nobody, by the cookie of another session, by somebody who is signed in, by the tool's token.
// What must happen: nobody learns that there is such a session; looking on and playing take the right to.
func TestAttack_W1_ids(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{})
	p, w := e.session(t, nil)
	person(t, e.Gate, "erin")
	e.Must(t, "grant", "add", "--user", "erin", "--device", "web-01")
	erins := e.open(t, members{"user": "erin"})
	swapped := visit(e.Gate) // the cookie of one session under the id of another
	for name, value := range erins.cookies {
		swapped.cookies[name] = strings.ReplaceAll(value, erins.id, p.id)
	}
	erin := signedIn(t, e.Gate, "erin")
	code := e.Rows(t, "SELECT code FROM remote_sessions WHERE id = $1", p.id)[0][0]
	for who, c := range map[string]*caller{"nobody": visit(e.Gate), "another session": erins.caller, "a swapped cookie": swapped, "somebody else": erin, "the tool": e.tool} {
		for _, path := range []string{"", "/events", "/files", "/files/content?path=.profile", "/terminal"} {
			if r := c.call(t, "GET", p.path(path), nil); r.Status != http.StatusNotFound {
				t.Errorf("%s gets %s: %v", who, path, r)
			}
		}
		for _, path := range []string{"/ticket", "/end"} {
			if r := c.call(t, "POST", p.path(path), nil); r.Status != http.StatusNotFound {
				t.Errorf("%s posts %s: %v", who, path, r)
			}
		}
		if conn, r, err := c.dial(t, p.path("/terminal"), local(e.Gate, "")); err == nil || r == nil || r.StatusCode != http.StatusNotFound {
			t.Errorf("%s opens the terminal: %v %v", who, r, err)
			_ = conn.CloseNow()
		}
		for _, ref := range []string{p.id, standing(t, e.Gate, p.id).Number, code} {
			for _, path := range []string{"/ws/watch/" + ref + "/ticket", "/ws/play/" + ref + "/ticket"} {
				if r := c.call(t, "POST", path, nil); r.Status != http.StatusNotFound && r.Status != http.StatusForbidden && r.Status != http.StatusUnauthorized {
					t.Errorf("%s posts %s: %v", who, path, r)
				}
			}
			for _, path := range []string{"/ws/watch/" + ref + "/stream", "/ws/play/" + ref + "/data", "/api/v1/remote-sessions/" + ref, "/api/v1/recordings/" + ref} {
				if r := c.call(t, "GET", path, nil); r.Status != http.StatusNotFound && r.Status != http.StatusForbidden && r.Status != http.StatusUnauthorized {
					t.Errorf("%s gets %s: %v", who, path, r)
				}
			}
			if r := c.call(t, "POST", "/api/v1/remote-sessions/"+ref+"/end", nil); r.Status != http.StatusNotFound && r.Status != http.StatusForbidden && r.Status != http.StatusUnauthorized {
				t.Errorf("%s ends %s: %v", who, ref, r)
			}
		}
	}
	for _, event := range []string{"session.watched", "recording.play"} {
		for _, one := range e.Audited(t, event) {
			if one.Outcome == "done" {
				t.Errorf("%+v", one)
			}
		}
	}
	w.answers(t, 51)
	if now := standing(t, e.Gate, p.id); now.State != "active" {
		t.Errorf("%+v", now)
	}
}

// impostor is an SSH server with a host key of its own, which counts those who tell it a password.
type impostor struct {
	at   string
	key  ssh.PublicKey
	told atomic.Int64
}

func newImpostor(t *testing.T) *impostor {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	i := &impostor{key: signer.PublicKey()}
	config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
		i.told.Add(1)
		return nil, errors.New("no")
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	i.at = l.Addr().String()
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				_, _, _, _ = ssh.NewServerConn(c, config) // nobody is let in
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return i
}

// Rules S8 and S16: a target is known by the keys that an administrator accepted, each at one port.
//
// What was broken elsewhere: a changed host key was taken with a warning, and a key that was accepted for one hop opened another.
// How it is attacked: the target changes its host key under the address that was accepted; the key of one port is shown at another; a key waits as seen.
// What must happen: the session ends, no password is told, the key waits for an administrator, and only their acceptance opens.
func TestAttack_S8_S16_host_keys(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{})
	wrong := newImpostor(t)
	e.session(t, nil)

	e.line.lead(wrong.at)
	for range 2 { // seeing a key once accepts nothing
		p := e.open(t, nil)
		w := p.terminal(t)
		if why := w.ends(t); why != "error" || !strings.Contains(string(w.traffic()), "host key") {
			t.Errorf("ended for %q: %s", why, w.tail())
		}
		wantEnd(t, e.Gate, p.id, "error")
	}
	if n := wrong.told.Load(); n != 0 {
		t.Errorf("the impostor was told %d passwords", n)
	}
	wantEvent(t, e.Gate, "device.hostkey", "done", func(a gate.Audited) bool {
		return a.Object.Name == "web-01" && a.Detail["host_key"] == ssh.FingerprintSHA256(wrong.key)
	})
	if list := e.Must(t, "device", "host-key", "list", "web-01"); !strings.Contains(list, ssh.FingerprintSHA256(wrong.key)) {
		t.Errorf("the key does not wait: %s", list)
	}

	// The key of one port is none of another (rule S16).
	second := newLine(t, e.target.At.String())
	e.Must(t, "device", "set", "web-01", "--connect", fmt.Sprintf("ssh:%d", second.port))
	p := e.open(t, nil)
	if why := p.terminal(t).ends(t); why != "error" {
		t.Errorf("ended for %q", why)
	}
	e.Must(t, "device", "host-key", "accept", "web-01", ssh.FingerprintSHA256(hostKey(t, e)))
	e.session(t, nil)

	e.Must(t, "device", "set", "web-01", "--connect", fmt.Sprintf("ssh:%d", e.line.port))
	e.line.lead(e.target.At.String())
	e.session(t, nil) // the right one is still right
}

func hostKey(t *testing.T, e *estate) ssh.PublicKey {
	t.Helper()
	key, err := ssh.ParsePublicKey(e.target.HostKeys[0])
	must(t, err)
	return key
}

// Rule S15: the recorder runs before the first byte, and who waits for approval reaches nothing.
//
// What was broken elsewhere: channels other than the one that waited were open, and what came before the recorder was lost.
// How it is attacked: while approval, a reason or a factor is due, by every other path of the session; with a recorder that cannot begin.
// What must happen: nobody dials the target.
func TestAttack_S15_nothing_before_its_time(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{}, "--approval", "--reason", "--within", "10m")
	p := e.open(t, nil)
	untouchable := func(what string) {
		t.Helper()
		ticket := p.ticket(t)
		conn, _, err := p.dial(t, p.path("/terminal"), local(e.Gate, ""))
		if err != nil {
			t.Fatal(err)
		}
		if w := follow(t, conn, members{"ticket": ticket, "cols": 80, "rows": 24}, false); w.ends(t) == "" || w.screen() != "" {
			t.Errorf("%s: the terminal opens: %s", what, w.tail())
		}
		for _, path := range []string{"/files", "/files/content?path=.profile"} {
			if r := p.call(t, "GET", p.path(path), nil); r.Status != http.StatusConflict {
				t.Errorf("%s: %s: %v", what, path, r)
			}
		}
		if r := p.call(t, "PUT", p.path("/files/content?path=x"), "x"); r.Status != http.StatusConflict {
			t.Errorf("%s: upload: %v", what, r)
		}
		if now := standing(t, e.Gate, p.id); now.State != "waiting" {
			t.Errorf("%s: %+v", what, now)
		}
	}
	untouchable("reason")
	p.must(t, http.StatusSeeOther, "POST", p.path("/reason"), url.Values{"reason": {"mend the printer"}, "ticket": {"CHG-1"}})
	p.must(t, http.StatusOK, "GET", p.path(""), nil) // the page that waits makes the request
	untouchable("approval")
	if came, _ := e.line.seen(); came != 0 {
		t.Errorf("%d came to the target before approval", came)
	}
	e.Must(t, "request", "approve", "1")
	w := p.terminal(t)
	w.answers(t, 41)
	wantEvent(t, e.Gate, "session.approved", "done", nil)
	_ = p.call(t, "POST", p.path("/end"), nil)
	w.ends(t)

	// Without a recorder nobody is taken anywhere.
	came, _ := e.line.seen()
	spool := filepath.Join(e.Data, "spool")
	keep(t, e.Gate, p.id)
	must(t, os.RemoveAll(spool))
	must(t, os.WriteFile(spool, nil, 0o600))
	e.Must(t, "grant", "add", "--user", "dana", "--device", "web-01") // without conditions
	p = e.open(t, nil)
	w = p.terminal(t)
	if why := w.ends(t); why != "unrecorded" || w.screen() != "" {
		t.Errorf("ended for %q: %s", why, w.tail())
	}
	wantEnd(t, e.Gate, p.id, "unrecorded")
	if now, _ := e.line.seen(); now != came {
		t.Error("somebody came to the target unrecorded")
	}
}

// hostile is what a target prints to harm who plays it: each must not come through the filter, each with what of it must not.
var hostile = map[string]string{
	"clipboard":            `\033]52;c;ZXZpbA==\007`,
	"clipboard, ST":        `\033]52;p;ZXZpbA==\033\\`,
	"title":                `\033]0;evil-title\007`,
	"icon":                 `\033]1;evil-title\033\\`,
	"link":                 `\033]8;;http://evil.example/\033\\text\033]8;;\033\\`,
	"DCS":                  `\033Pevil-dcs\033\\`,
	"DCS, request":         `\033P$qevil-dcs\033\\`,
	"APC":                  `\033_evil-apc\033\\`,
	"PM":                   `\033^evil-pm\033\\`,
	"SOS":                  `\033Xevil-sos\033\\`,
	"device attributes":    `\033[c`,
	"status report":        `\033[6n`,
	"title report":         `\033[21t`,
	"mouse":                `\033[?1000h`,
	"printer":              `\033[5i`,
	"8-bit OSC, as UTF-8":  `\302\23552;c;ZXZpbA==\302\234`,
	"8-bit DCS, as UTF-8":  `\302\220evil-dcs\302\234`,
	"in two halves of OSC": `\033]5`,
}

// Rule W10: what a target prints is data to whoever looks on or plays.
//
// What was broken elsewhere: recordings set the title and the clipboard of who played them, and made terminals type.
// How it is attacked: a target prints OSC 8, 52, titles, DCS, APC, PM, SOS and questions.
// What must happen: what is played, watched and exported holds none of it, and everything else.
func TestAttack_W10_hostile_output(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{})
	person(t, e.Gate, "erik", "--admin")
	erik := signedIn(t, e.Gate, "erik")
	p, w := e.session(t, nil)
	watching := lookOn(t, erik, p.id)
	script := "printf 'before\\n'\n"
	for _, text := range hostile {
		script += "printf '" + text + "'\n"
	}
	script += "printf '52;c;ZXZpbA==\\007'\nprintf 'after-all\\n'\n"
	must(t, os.WriteFile(filepath.Join(e.target.Account.Home, "hostile.sh"), []byte(script), 0o600))
	w.enter(t, "sh ./hostile.sh")
	w.shows(t, "after-all")
	watching.await(t, "what passes", func() bool { return strings.Contains(string(watching.traffic()), "after-all") })
	tame(t, "who looks on", string(watching.traffic()))
	late := lookOn(t, erik, p.id) // sees what there is, in one piece
	tame(t, "who comes late", string(late.traffic()))

	if r := p.call(t, "POST", p.path("/end"), nil); r.Status != http.StatusNoContent {
		t.Errorf("%v", r)
	}
	w.ends(t)
	keep(t, e.Gate, p.id)
	tame(t, "export", e.Must(t, "recording", "export", p.id))
	tame(t, "export as text", e.Must(t, "recording", "export", p.id, "--format", "txt"))
	raw := e.Must(t, "recording", "export", p.id, "--raw")
	if !strings.Contains(raw, "evil-title") || !strings.Contains(raw, "ZXZpbA==") {
		t.Errorf("what was printed is not in the recording: %q", raw)
	}

	erik.header["Recording-Ticket"] = erik.must(t, http.StatusOK, "POST", "/ws/play/"+p.id+"/ticket", nil).text(t, "ticket")
	played := erik.must(t, http.StatusOK, "GET", "/ws/play/"+p.id+"/data", nil)
	tame(t, "player", string(played.Body))
	if csp := played.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "sandbox") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	if r := erik.call(t, "GET", "/ws/play/"+p.id+"/data", nil); r.Status == http.StatusOK { // rule W1
		t.Errorf("a used ticket plays: %v", r)
	}
	delete(erik.header, "Recording-Ticket")
	frame := erik.call(t, "GET", "/ws/play/"+p.id+"/frame", nil)
	if csp := frame.Header.Get("Content-Security-Policy"); frame.Status == http.StatusOK && (!strings.Contains(csp, "sandbox allow-scripts") || strings.Contains(csp, "allow-same-origin")) {
		t.Errorf("Content-Security-Policy of the frame: %q", csp)
	}
	wantEvent(t, e.Gate, "recording.play", "done", func(a gate.Audited) bool { return a.Actor.Name == "erik" })
	wantEvent(t, e.Gate, "session.watched", "done", func(a gate.Audited) bool { return a.Actor.Name == "erik" })
}

// tame checks that a text has what was harmless and nothing of what was not.
func tame(t *testing.T, who, text string) {
	t.Helper()
	for _, want := range []string{"before", "after-all"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s: %q is missing", who, want)
		}
	}
	for _, evil := range []string{"evil", `\u001b]`, `\u001bP`, `\u001b_`, `\u001b^`, `\u001bX`, `\u001b[c`, `\u001b[6n`, `\u001b[21t`, `\u001b[?1000h`, `\u001b[5i`, "\x1b]", "\u009d", "\u0090", `\u009d`, `\u0090`} {
		if i := strings.Index(text, evil); i >= 0 {
			t.Errorf("%s: %q comes through: %q", who, evil, text[max(0, i-80):min(len(text), i+80)])
		}
	}
}

// lookOn opens the socket of somebody who looks on.
func lookOn(t *testing.T, c *caller, ref string) *socket {
	t.Helper()
	ticket := c.must(t, http.StatusOK, "POST", "/ws/watch/"+ref+"/ticket", nil).text(t, "ticket")
	conn, r, err := c.dial(t, "/ws/watch/"+ref+"/stream", c.ours())
	if err != nil {
		t.Fatalf("%v %v", r, err)
	}
	w := follow(t, conn, members{"ticket": ticket}, true)
	w.await(t, "the first frame", func() bool { return w.told("frames") })
	return w
}
