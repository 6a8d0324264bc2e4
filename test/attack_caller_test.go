package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// caller is a browser or a program of an attacker or a victim: it keeps the cookies that it is given, sends what it is told to, and comes
// from an address of its own, so that it is neither slowed down nor folded together with others.
type caller struct {
	g       *gate.Gate
	bearer  string            // sent as Authorization: Bearer
	cookies map[string]string // by name
	header  map[string]string // sent with every request
	client  *http.Client
}

var callers atomic.Int64

func visit(g *gate.Gate) *caller {
	n := callers.Add(1)
	return visitFrom(g, net.IPv4(127, 2+byte(n>>16), byte(n>>8), byte(n)))
}

func visitFrom(g *gate.Gate, from net.IP) *caller {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: peers.Patience}
	return &caller{
		g: g, cookies: map[string]string{}, header: map[string]string{},
		client: &http.Client{
			Timeout: 2 * peers.Patience, Transport: &http.Transport{DialContext: dialer.DialContext, IdleConnTimeout: time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// reply is an answer with the cookies that came along.
type reply struct {
	gate.Answer

	Cookies []*http.Cookie
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.Status, shorten(r.Body)) }

// object reads the answer as a JSON object.
func (r reply) object(t testing.TB) map[string]any {
	t.Helper()
	var o map[string]any
	r.JSON(t, &o)
	return o
}

// text is a member of the answer that is a text.
func (r reply) text(t testing.TB, member string) string {
	t.Helper()
	s, ok := r.object(t)[member].(string)
	if !ok || s == "" {
		t.Fatalf("no %s: %v", member, r)
	}
	return s
}

// call sends body as a form where it is url.Values, and as JSON otherwise. The request vouches for itself as our own pages do, or
// nothing would happen by cookie.
func (c *caller) call(t testing.TB, method, path string, body any) reply {
	t.Helper()
	r, err := c.try(method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *caller) try(method, path string, body any) (reply, error) {
	kind, in := "application/json", io.Reader(nil)
	switch b := body.(type) {
	case nil:
	case url.Values:
		kind, in = "application/x-www-form-urlencoded", strings.NewReader(b.Encode())
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		in = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, c.g.URL+path, in)
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("X-Gatehouse-Csrf", "1")
	if in != nil {
		request.Header.Set("Content-Type", kind)
	}
	if c.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	for name, value := range c.header {
		if name == "Host" {
			request.Host = value
		}
		request.Header.Set(name, value)
	}
	for name, value := range c.cookies {
		request.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	r, err := c.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	for _, one := range r.Cookies() {
		if c.cookies[one.Name] = one.Value; one.MaxAge < 0 {
			delete(c.cookies, one.Name)
		}
	}
	return reply{gate.Answer{Status: r.StatusCode, Header: r.Header, Body: text}, r.Cookies()}, err
}

// must is call for what has to be answered so.
func (c *caller) must(t testing.TB, status int, method, path string, body any) reply {
	t.Helper()
	r := c.call(t, method, path, body)
	if r.Status != status {
		t.Fatalf("%s %s: %v, want %d", method, path, r, status)
	}
	return r
}

// members is a JSON object, short to write.
type members = map[string]any

const (
	tsv    = "/rest/tsv/latest"
	sys    = "/sys/v1"
	native = "/api/v1"
)

// people makes users with danaPassword.
func people(t testing.TB, g *gate.Gate, names ...string) {
	t.Helper()
	for _, name := range names {
		person(t, g, name)
	}
}

// person makes a user with danaPassword.
func person(t testing.TB, g *gate.Gate, name string, flags ...string) {
	t.Helper()
	args := append([]string{"user", "add", name, "--email", name + "@example.test", "--password-stdin"}, flags...)
	if r := g.Command(t, danaPassword, args...); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
}

// talk begins a sign-in and returns its conversation.
func talk(t testing.TB, g *gate.Gate, name string) string {
	t.Helper()
	return visit(g).must(t, http.StatusPreconditionFailed, "POST", tsv+"/authenticate", members{"username": name, "password": danaPassword}).text(t, "conversationId")
}

// signedIn signs somebody in who has no second factor, as a browser.
func signedIn(t testing.TB, g *gate.Gate, name string) *caller {
	t.Helper()
	c := visit(g)
	c.must(t, http.StatusOK, "POST", tsv+"/authenticate", members{"username": name, "password": danaPassword})
	return c
}

// withToken signs somebody in as a program; with a second factor the token waits for it.
func withToken(t testing.TB, g *gate.Gate, name string) (*caller, reply) {
	t.Helper()
	c := visit(g)
	c.header["Authorization"] = "Basic " + basic(name+"@example.test", danaPassword)
	r := c.must(t, http.StatusOK, "POST", sys+"/session/auth", nil)
	delete(c.header, "Authorization")
	c.bearer = r.text(t, "access_token")
	return c, r
}

// app is an enrolled authenticator app.
type app struct{ secret, recovery string }

// withApp enrols an app for somebody who is signed in. The codes of now and later are good afterwards.
func withApp(t *testing.T, c *caller) app {
	t.Helper()
	c.must(t, http.StatusNoContent, "POST", tsv+"/elevate-permissions/password", members{"password": danaPassword})
	begun := c.must(t, http.StatusOK, "POST", tsv+"/totp/start-voluntary-enrollment", nil)
	secret := begun.text(t, "secret")
	done := c.must(t, http.StatusOK, "POST", tsv+"/totp/complete-voluntary-enrollment",
		members{"conversationId": begun.text(t, "conversationId"), "totpCode": code(t, secret, -1)})
	return app{secret, done.text(t, "recoveryCode")}
}

// unlockName forgets somebody's failures, which are not what the next lines are about.
func unlockName(t testing.TB, g *gate.Gate, name string) { g.Must(t, "user", "unlock", name) }

// hushed checks that none of these texts is in the log, in a file of the data, or in the record of what happened.
func hushed(t *testing.T, g *gate.Gate, texts ...string) {
	t.Helper()
	if _, err := os.Stat(g.Data); err == nil { // with PostgreSQL there is no such directory
		nowhere(t, g, texts...)
	}
	export := g.Log(t) + g.Must(t, "audit", "list", "--json")
	for _, row := range g.Rows(t, "SELECT body FROM audit_events") {
		export += row[0]
	}
	for _, text := range texts {
		if text == "" || strings.Contains(export, text) {
			t.Errorf("the log or the record of what happened holds %q", text)
		}
	}
}

// resident is the memory of a gate's process, in MiB.
func resident(t testing.TB, g *gate.Gate) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Process().Pid()))
	if err != nil {
		t.Skip("memory is read from /proc")
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kib >> 10
		}
	}
	t.Fatalf("no VmRSS:\n%s", text)
	return 0
}

// decoded is base64url as WebAuthn's JSON holds it.
func decoded(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) == 0 {
		t.Fatalf("%q: %v", text, err)
	}
	return raw
}

// jsonText is a JSON text inside another one.
func jsonText(raw []byte) json.RawMessage { return raw }

func shortenText(s string) string { return s[:min(len(s), 500)] }

// acme lets people come from a provider that nobody has to ask for anything, and returns its number.
func acme(t *testing.T, g *gate.Gate) string {
	t.Helper()
	return addProvider(t, g, clientSecret, "oidc", "--name", "Acme", "--issuer", "https://idp.example.test", "--client-id", "x", "--secret-stdin", "--no-discovery",
		"--auth-url", "https://idp.example.test/a", "--token-url", "https://idp.example.test/t", "--keys-url", "https://idp.example.test/k")
}
