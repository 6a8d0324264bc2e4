package peers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// OIDCClient is a client that an OpenID Connect provider knows.
type OIDCClient struct {
	ID     string `json:"id"`
	Secret string `json:"secret,omitempty"`
	Auth   string `json:"auth,omitempty"`   // how it proves itself: client_secret_basic (default), client_secret_post or none
	Alg    string `json:"alg,omitempty"`    // what signs its ID tokens: RS256 (default), ES256 or PS256
	Logout string `json:"logout,omitempty"` // where it hears who has signed out (back-channel logout); nowhere when empty
}

// OIDCOptions says what a provider knows.
type OIDCOptions struct {
	Clients         []OIDCClient              `json:"clients"`
	Redirects       []string                  `json:"redirects"`                    // registered for every client
	Accounts        map[string]map[string]any `json:"accounts,omitempty"`           // claims by name; NAME has the verified address NAME@example.test unless this says otherwise
	ClaimsInIDToken bool                      `json:"claims_in_id_token,omitempty"` // userinfo alone has them otherwise
}

// OIDCProvider is a running OpenID Connect provider, whose login page takes any name with any password. Its address is its issuer.
type OIDCProvider struct {
	Issuer  string
	Process *Process

	mu       sync.Mutex
	browsers map[string]*http.Client // of the last sign-in under each name
}

// OIDC starts a provider, over plain http, that ends with the test. Each call is another issuer.
func OIDC(tb testing.TB, options OIDCOptions) *OIDCProvider {
	tb.Helper()
	Require(tb, "node")
	folder := nodeFolder(tb, "oidc-provider")
	port := Port(tb)
	settings, err := json.Marshal(struct {
		OIDCOptions
		Port int `json:"port"`
	}{options, port})
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("node", "oidc.mjs", string(settings))
	cmd.Dir = folder
	p := &OIDCProvider{Issuer: fmt.Sprintf("http://127.0.0.1:%d", port), Process: Start(tb, cmd)}
	Await(tb, p.Process, func() error {
		answer, err := http.Get(p.Issuer + "/.well-known/openid-configuration")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the provider answered %s", answer.Status)
		}
		return nil
	})
	return p
}

// nodeFolder finds the programs of Node.js, and the package that one of them needs.
func nodeFolder(tb testing.TB, module string) string {
	tb.Helper()
	folder, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(folder) == folder {
			tb.Fatal("no go.mod above the working directory")
		}
		folder = filepath.Dir(folder)
	}
	folder = filepath.Join(folder, "test", "node")
	if _, err := os.Stat(filepath.Join(folder, "node_modules", module)); err != nil {
		missing(tb, "npm "+module)
	}
	return folder
}

// Rotate gives the provider new keys. With keep it still publishes the old ones.
func (p *OIDCProvider) Rotate(tb testing.TB, keep bool) {
	tb.Helper()
	address := p.Issuer + "/test/rotate"
	if keep {
		address += "?keep=1"
	}
	tell(tb, address, nil)
}

// Describe says what the claims of somebody are from now on, beyond those that everybody has; nil removes them from the provider.
func (p *OIDCProvider) Describe(tb testing.TB, name string, claims map[string]any) {
	tb.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	tell(tb, p.Issuer+"/test/account?name="+url.QueryEscape(name), body)
}

// tell has the provider do what only tests ask for.
func tell(tb testing.TB, address string, body []byte) {
	tb.Helper()
	answer, err := http.Post(address, "application/json", bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		tb.Fatalf("%s: %s", address, answer.Status)
	}
}

// SignIn goes where a browser is sent, signs in under that name, consents, and returns the query with which the provider sends the
// browser back to redirect, which is not called: code, state and iss, or an error.
func (p *OIDCProvider) SignIn(tb testing.TB, authorize, redirect, name string) url.Values {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p.mu.Lock()
	if p.browsers == nil {
		p.browsers = map[string]*http.Client{}
	}
	p.browsers[name] = browser
	p.mu.Unlock()
	answer, err := browser.Get(authorize)
	for range 12 {
		if err != nil {
			tb.Fatal(err)
		}
		page, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			answer, err = browser.PostForm(answer.Request.URL.String(), interaction(string(page), name))
			continue
		}
		to, bad := answer.Location()
		if bad != nil {
			tb.Fatalf("the provider answered %s: %.300s", answer.Status, page)
		}
		if strings.HasPrefix(to.String(), redirect) {
			return to.Query()
		}
		answer, err = browser.Get(to.String())
	}
	tb.Fatal("the provider's pages go in circles")
	return nil
}

// SignOut signs the browser of the last sign-in under that name out at the provider, which tells the clients that want to hear of it before it answers.
func (p *OIDCProvider) SignOut(tb testing.TB, name string) {
	tb.Helper()
	p.mu.Lock()
	browser := p.browsers[name]
	p.mu.Unlock()
	answer, err := browser.Get(p.Issuer + "/session/end")
	if err != nil {
		tb.Fatal(err)
	}
	page, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	_, token, _ := strings.Cut(string(page), `name="xsrf" value="`)
	token, _, found := strings.Cut(token, `"`)
	if !found {
		tb.Fatalf("the provider answered %s: %.300s", answer.Status, page)
	}
	answer, err = browser.PostForm(p.Issuer+"/session/end/confirm", url.Values{"xsrf": {token}, "logout": {"yes"}})
	if err != nil {
		tb.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		tb.Fatalf("sign out: %s", answer.Status)
	}
}

// interaction fills in the form of the provider's page.
func interaction(page, name string) url.Values {
	if strings.Contains(page, `name="login"`) {
		return url.Values{"prompt": {"login"}, "login": {name}, "password": {"anything"}}
	}
	return url.Values{"prompt": {"consent"}}
}
