package test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/browser"
	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// clientSecret is that of every client of the OpenID Connect providers.
const clientSecret = "a-secret-of-forty-characters-for-clients"

// clients are the clients that those providers know.
func clients(ids ...string) []peers.OIDCClient {
	var all []peers.OIDCClient
	for _, id := range ids {
		all = append(all, peers.OIDCClient{ID: id, Secret: clientSecret})
	}
	return all
}

// addOIDC lets people come from an OpenID Connect provider and returns the number by which the sign-in page knows it.
func addOIDC(t *testing.T, g *gate.Gate, p *peers.OIDCProvider, name, client string, more ...string) string {
	t.Helper()
	return addProvider(t, g, clientSecret, append([]string{"oidc", "--name", name, "--issuer", p.Issuer, "--client-id", client, "--secret-stdin"}, more...)...)
}

// addSAML does the same with a SAML provider.
func addSAML(t *testing.T, g *gate.Gate, p *peers.SAMLProvider, name string, more ...string) string {
	t.Helper()
	return addProvider(t, g, "", append([]string{"saml", "--name", name, "--issuer", p.EntityID, "--sso-url", p.SSOURL, "--certificate-file", file(t, p.Certificate)}, more...)...)
}

// addLDAP does the same with a directory.
func addLDAP(t *testing.T, g *gate.Gate, d *peers.Directory, name string, more ...string) string {
	t.Helper()
	return addProvider(t, g, d.ServicePassword, append([]string{
		"ldap", "--name", name, "--url", d.URL(), "--ca-file", file(t, string(d.CA)), "--bind-dn", d.Service, "--base-dn", d.People, "--resolve", "search", "--secret-stdin",
	}, more...)...)
}

func addProvider(t *testing.T, g *gate.Gate, secret string, args ...string) string {
	t.Helper()
	r := g.Command(t, secret, append([]string{"idp", "add", "--json", "--kind"}, args...)...)
	if r.Exit != 0 {
		t.Fatalf("idp add %v: %s%s", args, r.Stdout, r.Stderr)
	}
	var made struct{ Number int64 }
	gate.Answer{Body: []byte(r.Stdout)}.JSON(t, &made)
	return strconv.FormatInt(made.Number, 10)
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// addPeople adds somebody with NAME@example.test and danaPassword.
func addPeople(t *testing.T, g *gate.Gate, names ...string) {
	t.Helper()
	for _, name := range names {
		if r := g.Command(t, danaPassword, "user", "add", name, "--email", name+"@example.test", "--password-stdin"); r.Exit != 0 {
			t.Fatalf("%+v", r)
		}
	}
}

// withProviders are the settings of a gate whose providers listen on loopback.
func withProviders(more ...string) map[string]string {
	return unlimited(append([]string{"sso.allow_http", "true", "sso.discover_limit", "100000", "auth.min_failure_ms", "10"}, more...)...)
}

// atOIDC signs in at the provider's own pages and consents.
func atOIDC(b *browser.Browser, name string) {
	b.Do(`await page.fill('[name=login]', args.name); await page.fill('[name=password]', 'anything'); await page.click('button[type=submit]')
		await page.waitForSelector('[name=login]', { state: 'detached' }); await page.click('button[type=submit]')
		await page.waitForURL((url) => url.hostname === 'localhost', { waitUntil: 'commit' })`, map[string]any{"name": name})
}

// atSAML signs in at the provider's own pages.
func atSAML(b *browser.Browser) {
	b.Do(`await page.fill('[name=username]', args.name); await page.fill('[name=password]', args.password); await page.click('#submit_button, button[type=submit], [type=submit]')
		await page.waitForURL((url) => url.hostname === 'localhost', { waitUntil: 'commit' })`, map[string]any{"name": peers.SAMLUser, "password": peers.SAMLPassword})
}

func press(b *browser.Browser, text string) {
	b.Do(`await page.click('text=' + args.text)`, map[string]any{"text": text})
}

func wantSignedIn(t *testing.T, b *browser.Browser, name string) {
	t.Helper()
	wantTitle(t, b, "You are signed in")
	if got := b.Text(`return await page.textContent('dd')`, nil); got != name {
		t.Errorf("signed in as %q, want %q", got, name)
	}
}

// wantAt checks where the browser has ended up.
func wantAt(t *testing.T, b *browser.Browser, g *gate.Gate, path string) {
	t.Helper()
	if at := b.Text(`return page.url()`, nil); strings.TrimSuffix(at, "/") != strings.TrimSuffix(g.Public(path), "/") {
		t.Errorf("the browser is at %s, want %s", at, g.Public(path))
	}
}

// People sign in by Chromium at real providers, which lie on another site than the gate does (127.0.0.1 and localhost).
func TestBrowser_people_come_from_providers(t *testing.T) {
	t.Parallel()
	peers.Require(t, "node", "chromium")
	g := gate.Start(t, gate.Options{Settings: withProviders("auth.mfa_after_sso", "true")})
	there := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme", "guests", "strict"), Redirects: []string{g.Public("/oauth")}})
	addPeople(t, g, "erin", "finn", "hana", "ivan", "dana", "lena")
	addOIDC(t, g, there, "Acme", "acme", "--link-by", "email")
	addOIDC(t, g, there, "Guests", "guests", "--provision", "--button", "Come in as a guest")
	addOIDC(t, g, there, "Strict", "strict")
	chromium := browser.Start(t)

	t.Run("an OpenID Connect provider signs in a user whose verified address it knows", func(t *testing.T) {
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Log in with Acme")
		atOIDC(b, "erin")
		wantSignedIn(t, b, "erin")
		wantAt(t, b, g, "/")
		signOut(b, g)
		if b.Goto(g.Public("/")) != http.StatusOK || title(b) != "Welcome" {
			t.Error("signing out left something open")
		}
		b.Goto(g.Public("/login"))
		press(b, "Log in with Acme") // who is signed in there still is asked nothing
		wantSignedIn(t, b, "erin")
		if n := g.Count(t, "SELECT count(*) FROM provider_links l JOIN users u ON u.id = l.user_id WHERE u.name = 'erin'"); n != 1 {
			t.Errorf("%d links", n)
		}
	})
	t.Run("an OpenID Connect provider adds somebody whom nobody has added", func(t *testing.T) {
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Come in as a guest")
		atOIDC(b, "gus")
		wantSignedIn(t, b, "gus")
		if e := g.AwaitAudited(t, "user.create", "done", "came from identity provider Guests"); e.Object.Name != "gus" {
			t.Errorf("on record: %+v", e)
		}
	})
	t.Run("a stranger is refused without a reason, which is on record", func(t *testing.T) {
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Log in with Strict")
		atOIDC(b, "finn") // a user has the address, but nobody linked them (rule F12)
		wantTitle(t, b, "That sign-in did not work")
		b.Picture("sso-stranger")
		if text := b.Text(`return await page.textContent('body')`, nil); strings.Contains(text, "linked") || strings.Contains(text, "finn") {
			t.Errorf("the page tells why: %s", text)
		}
		g.AwaitAudited(t, "login.oidc", "refused", "no user is linked to the subject")
		if b.Goto(g.Public("/")) != http.StatusOK || title(b) != "Welcome" {
			t.Error("the stranger is in")
		}
	})
	t.Run("a second factor is asked for after a provider", func(t *testing.T) {
		b := chromium.Next(t)
		secret := enrolApp(t, b, g, "hana")
		b.Goto(g.Public("/login?target=%2Fdocs"))
		press(b, "Log in with Acme")
		atOIDC(b, "hana")
		wantTitle(t, b, "Second factor")
		b.Goto(g.Public("/"))
		wantTitle(t, b, "Welcome") // nothing is open before it
		b.Goto(g.Public("/login/second"))
		b.Do(`await page.fill('#code', args.code); await page.click('text=Continue')`, map[string]any{"code": code(t, secret, 1)})
		wantAt(t, b, g, "/docs")
		b.Goto(g.Public("/"))
		wantSignedIn(t, b, "hana")
	})
	t.Run("the way leads to a path of ours, and nowhere else", func(t *testing.T) { // rule F4
		b := chromium.Next(t)
		b.Goto(g.Public("/login?target=%2Fdocs"))
		press(b, "Log in with Acme")
		atOIDC(b, "ivan")
		wantAt(t, b, g, "/docs")
		for i, evil := range []string{"//evil.example", `/\evil.example`, `/\x`, "https://evil.example/", "/\n/evil.example"} {
			signOut(b, g)
			b.Do(`await page.goto(args.page + '?target=' + encodeURIComponent(args.target))`, map[string]any{"page": g.Public("/login"), "target": evil})
			if i%2 == 0 {
				press(b, "Log in with Acme")
			} else {
				b.Do(`await page.fill('[name=username]', 'ivan'); await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": danaPassword})
			}
			wantSignedIn(t, b, "ivan")
			wantAt(t, b, g, "/")
		}
	})
	t.Run("a SAML provider signs in a user whose address it knows", func(t *testing.T) {
		basement := peers.SAML(t, peers.SAMLServiceProvider{EntityID: g.Public("/saml/metadata.xml"), ACS: g.Public("/saml")})
		addSAML(t, g, basement, "Basement", "--link-by", "email")
		b := chromium.Next(t)
		b.Goto(g.Public("/login?target=%2Fdocs"))
		b.Picture("login-providers")
		b.Do(`await context.route('**/signin.js', (route) => route.abort()); await page.click('text=Log in with Basement')`, nil)
		wantTitle(t, b, "On to Basement") // where scripts are blocked there is a button
		b.Picture("onward")
		b.Do(`await context.unroute('**/signin.js'); await page.click('text=Go on to Basement'); await page.waitForSelector('[name=username]')`, nil)
		b.Goto(g.Public("/login?target=%2Fdocs"))
		press(b, "Log in with Basement") // and where they are not the form goes by itself, which the page's policy must let through
		atSAML(b)
		wantAt(t, b, g, "/docs")
		b.Goto(g.Public("/"))
		wantSignedIn(t, b, "dana")
		if n := startsOf(t, g, "dana"); n != 1 {
			t.Errorf("%d sessions on record", n)
		}
	})
	t.Run("a directory takes the password on our own page", func(t *testing.T) {
		d := peers.Slapd(t)
		addLDAP(t, g, d, "Directory", "--link-by", "email")
		d.AddPerson(t, "lena")
		b := chromium.Next(t)
		b.Goto(g.Public("/login?target=%2Fdocs"))
		press(b, "Log in with Directory")
		wantTitle(t, b, "Sign in with Directory")
		b.Picture("login-directory")
		fill := `await page.fill('[name=username]', args.name); await page.fill('[name=password]', args.password); await page.click('button')`
		b.Do(fill, map[string]any{"name": "lena@example.test", "password": danaPassword}) // ours is not the directory's
		wantTitle(t, b, "Sign in with Directory")
		b.Picture("login-directory-wrong")
		b.Do(fill, map[string]any{"name": "lena@example.test", "password": "lena-password"})
		wantAt(t, b, g, "/docs")
		b.Goto(g.Public("/"))
		wantSignedIn(t, b, "lena")
		g.AwaitAudited(t, "login.ldap", "refused", "")
	})
}

// enrolApp gives somebody an authenticator app, signs them out and returns the app's secret.
func enrolApp(t *testing.T, b *browser.Browser, g *gate.Gate, name string) string {
	t.Helper()
	b.Goto(g.Public("/login"))
	b.Do(`await page.fill('[name=username]', args.name); await page.fill('[name=password]', args.password); await page.click('button')
		await page.click('text=Set up a second factor'); await page.fill('[name=password]', args.password); await page.click('button')
		await page.click('text=Set up an authenticator app')`, map[string]any{"name": name, "password": danaPassword})
	secret := b.Text(`return await page.textContent('code.secret')`, nil)
	b.Do(`await page.fill('[name=code]', args.code); await page.click('button')`, map[string]any{"code": code(t, secret, 0)})
	wantTitle(t, b, "The app is set up")
	signOut(b, g)
	return secret
}
