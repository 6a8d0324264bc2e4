package gate

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Visitor is a browser without a screen: it keeps cookies, follows nothing by itself, and comes from an address of its own, so that
// what it is refused is not folded together with anybody else's refusals in the audit log.
type Visitor struct {
	Cookies map[string]string // by name: tests plant and steal them
	Origin  string            // where its forms say that they began: at our own pages, unless a test says otherwise
	Address string            // where it comes from
	Bearer  string            // sent as a program does, where set

	tb     testing.TB
	gate   *Gate
	client *http.Client
}

var visitors atomic.Int64

// Visitor returns a browser that nobody has used yet.
func (g *Gate) Visitor(tb testing.TB) *Visitor {
	tb.Helper()
	n := visitors.Add(1)
	from := net.IPv4(127, 1, byte(n>>8), byte(n)) //nolint:gosec // no test has 65536 visitors
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	return &Visitor{
		Cookies: map[string]string{}, Origin: strings.TrimSuffix(g.Public("/"), "/"), Address: from.String(), tb: tb, gate: g,
		client: &http.Client{
			Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Public is the address of a path as browsers know it.
func (g *Gate) Public(path string) string {
	if public := g.options.Settings["public_url"]; public != "" {
		return public + path
	}
	return strings.Replace(g.URL, "127.0.0.1", "localhost", 1) + path
}

// At is a browser like this one, with the same cookies and address, whose requests reach another node.
func (v *Visitor) At(g *Gate) *Visitor {
	other := *v
	other.gate, other.Cookies = g, maps.Clone(v.Cookies)
	return &other
}

// Get asks for a path.
func (v *Visitor) Get(path string) Answer {
	v.tb.Helper()
	return v.Send(http.MethodGet, path, "", nil)
}

// Post sends a form.
func (v *Visitor) Post(path string, form url.Values) Answer {
	v.tb.Helper()
	return v.Send(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

// JSON sends a body as programs do, with the visitor's cookies.
func (v *Visitor) JSON(path string, body any) Answer {
	v.tb.Helper()
	return v.Send(http.MethodPost, path, "application/json", reader(v.tb, body))
}

// Send sends a request with the visitor's cookies and keeps those of the answer.
func (v *Visitor) Send(method, path, kind string, body io.Reader) Answer {
	v.tb.Helper()
	request, err := http.NewRequestWithContext(v.tb.Context(), method, v.gate.URL+path, body)
	if err != nil {
		v.tb.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	if method != http.MethodGet && v.Origin != "" {
		request.Header.Set("Origin", v.Origin)
	}
	for name, value := range maps.All(v.Cookies) {
		request.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if v.Bearer != "" {
		request.Header.Set("Authorization", "Bearer "+v.Bearer)
	}
	r, err := v.client.Do(request)
	if err != nil {
		v.tb.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		v.tb.Fatal(err)
	}
	for _, c := range r.Cookies() {
		if c.MaxAge < 0 {
			delete(v.Cookies, c.Name)
		} else {
			v.Cookies[c.Name] = c.Value
		}
	}
	return Answer{r.StatusCode, r.Header, text}
}
