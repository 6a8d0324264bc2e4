package test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/browser"
	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

const (
	authconfig = "/rest/authconfig/latest"
	basicauth  = "/rest/basicauth/latest/config"
)

// administrator is the first administrator, with a Bearer and no browser.
func administrator(t *testing.T, g *gate.Gate) *caller {
	t.Helper()
	c := visit(g)
	c.header["Authorization"] = basicAuth("admin", phrase)
	token := c.must(t, http.StatusOK, "POST", auth, nil).text(t, "access_token")
	delete(c.header, "Authorization")
	c.bearer = token
	return c
}

// configure adds an identity provider by the wire and returns its id. Its secret does not come back.
func (c *caller) configure(t *testing.T, provider members) string {
	t.Helper()
	made := c.must(t, http.StatusOK, "POST", authconfig+"/idps", provider)
	if secret, ok := provider["client-secret"].(string); ok && strings.Contains(string(made.Body), secret) {
		t.Errorf("the secret is shown: %v", made)
	}
	id, _ := made.object(t)["id"].(float64)
	return strconv.Itoa(int(id))
}

// anOIDC is a provider that adds people and keeps them as it describes them; more are members in place of these.
func anOIDC(name, issuer string, more members) members {
	body := members{
		"name": name, "sso-type": "OIDC", "issuer-url": issuer, "client-id": "acme", "client-secret": clientSecret, "username-claim": "${preferred_username}",
		"jit-configuration": members{
			"user-provisioning-enabled": true, "mapping-display-name": "${name}", "mapping-email": "${email}", "mapping-groups": "groups", "additional-openid-scopes": []string{"groups"},
		},
	}
	maps.Copy(body, more)
	return body
}

// aSAML is the same with SAML.
func aSAML(name string, p *peers.SAMLProvider) members {
	return members{
		"name": name, "sso-type": "SAML", "sso-issuer": p.EntityID, "sso-url": p.SSOURL, "certificate": p.Certificate, "username-attribute": "${uid}",
		"jit-configuration": members{"user-provisioning-enabled": true, "mapping-display-name": "${displayName}", "mapping-email": "${mail}", "mapping-groups": "groups"},
	}
}

// groupsOf are the names of the groups that somebody is in, sorted.
func groupsOf(t *testing.T, g *gate.Gate, name string) (names []string) {
	t.Helper()
	for _, row := range g.Rows(t, "SELECT a.name FROM account_groups a JOIN group_members m ON m.group_id = a.id JOIN users u ON u.id = m.user_id WHERE u.name = $1 ORDER BY a.name", name) {
		names = append(names, row[0])
	}
	return names
}

// wantMade checks what the wire says of somebody whom a provider made, and their groups.
func wantMade(t *testing.T, c *caller, name, display, email string, groups ...string) {
	t.Helper()
	var all []members
	c.must(t, http.StatusOK, "GET", authconfig+"/jit-users", nil).JSON(t, &all)
	want := members{"username": name, "display-name": display, "email": email}
	if !slices.ContainsFunc(all, func(one members) bool { return maps.Equal(one, want) }) {
		t.Errorf("users whom providers made: %v, want %v among them", all, want)
	}
	if got := groupsOf(t, c.g, name); !slices.Equal(got, groups) {
		t.Errorf("%s is in %q, want %q", name, got, groups)
	}
}

// wantDetail waits for an event of that action whose detail holds all of these.
func wantDetail(t *testing.T, g *gate.Gate, action string, want map[string]string) {
	t.Helper()
	gate.Eventually(t, func() error {
		for _, e := range g.Audited(t, action) {
			left := maps.Clone(want)
			maps.DeleteFunc(left, func(name, value string) bool { return e.Detail[name] == value })
			if len(left) == 0 {
				return nil
			}
		}
		return fmt.Errorf("no %s with %v: %+v", action, want, g.Audited(t, action))
	})
}

// wantOut checks that the browser's session has ended.
func wantOut(t *testing.T, b *browser.Browser, g *gate.Gate) {
	t.Helper()
	b.Goto(g.Public("/"))
	wantTitle(t, b, "Welcome")
}

// An administrator sets up two real providers by REST alone, and people who were never heard of come in by Chromium.
func TestBrowser_providers_are_configured_by_REST(t *testing.T) {
	t.Parallel()
	peers.Require(t, "node", "chromium")
	g := gate.Start(t, gate.Options{Settings: withProviders()})
	acme := peers.OIDC(t, peers.OIDCOptions{
		Clients: clients("acme"), Redirects: []string{g.Public("/oauth")},
		Accounts: map[string]map[string]any{"mia": {"name": "Mia Wallace", "groups": []string{"Dancers", "Writers"}}},
	})
	basement := peers.SAML(t, peers.SAMLServiceProvider{EntityID: g.Public("/saml/metadata.xml"), ACS: g.Public("/saml")})
	addPeople(t, g, "erin")
	admin := administrator(t, g)
	g.Must(t, "group", "create", "Operators")
	g.Must(t, "group", "grant", "Operators", "admin")
	byOIDC := admin.configure(t, anOIDC("Acme", acme.Issuer, members{"buttonText": "Come in by Acme"}))
	bySAML := admin.configure(t, aSAML("Basement", basement))
	chromium := browser.Start(t)
	viaAcme := func(t *testing.T) *browser.Browser {
		t.Helper()
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Come in by Acme")
		atOIDC(b, "mia")
		wantSignedIn(t, b, "mia")
		return b
	}
	viaBasement := func(t *testing.T) *browser.Browser {
		t.Helper()
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Log in with Basement")
		atSAML(b)
		wantSignedIn(t, b, "dana")
		return b
	}

	t.Run("whoever comes for the first time is added as the provider says", func(t *testing.T) {
		viaAcme(t)
		wantMade(t, admin, "mia", "Mia Wallace", "mia@example.test", "Dancers", "Writers")
		viaBasement(t)
		wantMade(t, admin, "dana", peers.SAMLDisplay, peers.SAMLMail, "agents", "basement")
		wantMade(t, admin, "mia", "Mia Wallace", "mia@example.test", "Dancers", "Writers") // one provider does not touch the other's people
	})
	t.Run("whoever comes again is what the provider says by then, and no administrator", func(t *testing.T) {
		acme.Describe(t, "mia", map[string]any{
			"name": "Mia Vincent", "email": "mia.vincent@example.test", "preferred_username": "vincent", "groups": []string{"writers", "OPERATORS", "Runners"},
		})
		viaAcme(t) // a user name stays
		wantMade(t, admin, "mia", "Mia Vincent", "mia.vincent@example.test", "Runners", "Writers")
		wantDetail(t, g, "user.update", map[string]string{"changed": "display_name, email, groups", "groups_left": "1", "groups_made": "1", "groups_held_back": "1"})
		if r := g.Command(t, "", "access", "explain", "mia", "user.create"); !strings.HasPrefix(r.Stdout, "refused") {
			t.Errorf("mia administers the installation: %+v", r)
		}
		acme.Describe(t, "mia", map[string]any{"name": "Mia Vincent", "email": "mia.vincent@example.test"})
		viaAcme(t)
		wantMade(t, admin, "mia", "Mia Vincent", "mia.vincent@example.test")

		basement.Describe(t, map[string][]string{"uid": {"scully"}, "mail": {peers.SAMLMail}, "displayName": {"Dr. Scully"}, "groups": {"agents", "operators"}})
		viaBasement(t)
		wantMade(t, admin, "dana", "Dr. Scully", peers.SAMLMail, "agents")
	})
	t.Run("whoever would get somebody else's address is refused", func(t *testing.T) {
		acme.Describe(t, "mia", map[string]any{"email": "erin@example.test"})
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Come in by Acme")
		atOIDC(b, "mia")
		wantTitle(t, b, "That sign-in did not work")
		acme.Describe(t, "mia", map[string]any{})
	})
	t.Run("whoever was removed there does not come in", func(t *testing.T) {
		basement.Describe(t, nil)
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Log in with Basement")
		b.Do(`await page.fill('[name=username]', args.name); await page.fill('[name=password]', args.password); await page.click('#submit_button, button[type=submit], [type=submit]')
			await page.waitForSelector('text=/incorrect/i')`, map[string]any{"name": peers.SAMLUser, "password": peers.SAMLPassword})
		wantOut(t, b, g)
		basement.Describe(t, map[string][]string{"uid": {"scully"}, "mail": {peers.SAMLMail}, "displayName": {"Dr. Scully"}, "groups": {"agents"}})
	})
	t.Run("disabling a provider ends the sessions that began there, and removing it too", func(t *testing.T) {
		b := viaAcme(t)
		admin.must(t, http.StatusOK, "PATCH", authconfig+"/idps/"+byOIDC, members{"enabled": false})
		wantOut(t, b, g)
		b.Goto(g.Public("/login"))
		wantWays(t, b, "Sign in", "Log in with Basement")
		admin.must(t, http.StatusOK, "PATCH", authconfig+"/idps/"+byOIDC, members{"enabled": true})
		wantOut(t, b, g)
		viaAcme(t)

		b = viaBasement(t)
		admin.must(t, http.StatusOK, "DELETE", authconfig+"/idps/"+bySAML, nil)
		wantOut(t, b, g)
		admin.must(t, http.StatusNotFound, "GET", authconfig+"/idps/"+bySAML, nil)
		wantMade(t, admin, "dana", "Dr. Scully", peers.SAMLMail, "agents") // people stay
	})
	t.Run("without the form people land at the only provider, and find the form where they may", func(t *testing.T) {
		acme.Describe(t, "mia", map[string]any{})
		admin.must(t, http.StatusOK, "PATCH", authconfig+"/sso", members{"show-login-form": false})
		options, _ := visit(g).must(t, http.StatusOK, "GET", authconfig+"/login-options", nil).object(t)["results"].([]any)
		if len(options) != 1 || !strings.Contains(fmt.Sprint(options[0]), "type:IDP") {
			t.Errorf("login options: %v", options)
		}
		b := chromium.Next(t)
		b.Goto(g.Public("/login?target=%2Fdocs"))
		atOIDC(b, "mia")
		wantAt(t, b, g, "/docs")
		form := func() { enterByName(b, "erin") }
		b = chromium.Next(t)
		b.Do(`await page.goto(args.page); await page.waitForSelector('[name=login]')`, map[string]any{"page": g.Public("/login?auth_fallback")})
		if r := visit(g).call(t, "POST", tsv+"/authenticate", members{"username": "erin", "password": danaPassword}); r.Status != http.StatusUnauthorized {
			t.Errorf("a password is taken: %v", r)
		}

		admin.must(t, http.StatusOK, "PATCH", authconfig+"/sso", members{"enable-authentication-fallback": true})
		b.Goto(g.Public("/login?auth_fallback"))
		form()
		wantSignedIn(t, b, "erin")
		visit(g).must(t, http.StatusOK, "POST", tsv+"/authenticate", members{"username": "erin", "password": danaPassword})
	})
	hushed(t, g, clientSecret, danaPassword)
}

// enterByName types a name and danaPassword into the form.
func enterByName(b *browser.Browser, name string) {
	b.Do(`await page.fill('[name=username]', args.name); await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"name": name, "password": danaPassword})
}

// What a SAML provider says of its own session bounds ours, what is set bounds all that began at providers, and whoever is gone there does not come in again. Whom a
// directory has not any more is the business of TestDirectory_who_is_gone_is_out; what an OpenID Connect provider ends, of TestProvider_ends_sessions_on_every_node.
func TestProviders_bound_sessions(t *testing.T) {
	t.Parallel()
	const most, ends = 12 * time.Second, 8 * time.Second
	g := gate.Start(t, gate.Options{Settings: withProviders("public_url", pairURL, "sso.session_max", most.String())})
	acme := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme"), Redirects: []string{pairURL + "/oauth"}})
	basement := peers.SAML(t, peers.SAMLServiceProvider{EntityID: pairURL + "/saml/metadata.xml", ACS: pairURL + "/saml", Session: ends})
	admin := administrator(t, g)
	byOIDC, bySAML := admin.configure(t, anOIDC("Acme", acme.Issuer, nil)), admin.configure(t, aSAML("Basement", basement))
	addPeople(t, g, "erin")

	began := time.Now()
	ann := g.Visitor(t)
	ann.Get(landed(t, ann.Get(arrive(t, ann, acme, byOIDC, "ann"))))
	wantOpen(t, ann)
	own := g.Visitor(t)
	enterByForm(t, own, "erin", danaPassword, "")
	fromThere := time.Now()
	dana := g.Visitor(t)
	dana.Get(landed(t, dana.Post("/saml", arriveSAML(t, dana, basement, bySAML))))
	wantOpen(t, dana)
	for name, longest := range map[string]time.Duration{"ann": most, "dana": ends} {
		if n := g.Count(t, "SELECT max(s.deadline - s.created) FROM sessions s JOIN users u ON u.id = s.principal WHERE u.name = $1", name); n > int(longest.Microseconds()) {
			t.Errorf("a session of %s lasts for %d µs", name, n)
		}
	}

	late := g.Visitor(t) // is on the way back when they are removed there
	path := arrive(t, late, acme, byOIDC, "ann")
	acme.Describe(t, "ann", nil)
	wantRefused(t, g, late, late.Get(path), http.StatusForbidden, "login.oidc", "the token endpoint refused the code: invalid_grant")

	wantShut(t, fromThere, ends+2*time.Second, dana)
	wantShut(t, began, most+2*time.Second, ann)
	wantOpen(t, own)
}

// The day on which the providers are down: one command, while the servers run, shows the form on both within two seconds.
func TestSSO_is_disabled_while_the_provider_is_down(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	addPeople(t, p.a, "erin")
	admin := administrator(t, p.a)
	acme := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme"), Redirects: []string{pairURL + "/oauth"}})
	number := admin.configure(t, anOIDC("Acme", acme.Issuer, nil))
	v := p.a.Visitor(t)
	if comeBack(v, arrive(t, v, acme, number, "ann")); who(v) != "ann" {
		t.Fatal("ann is not in")
	}
	admin.must(t, http.StatusOK, "PATCH", authconfig+"/sso", members{"show-login-form": false})
	shows := func(g *gate.Gate) bool {
		return strings.Contains(string(g.Visitor(t).Get("/login?again=1").Body), `name="password"`)
	}
	nodes := []*gate.Gate{p.a, p.b}
	for _, g := range nodes {
		gate.Eventually(t, func() error {
			if shows(g) {
				return errors.New("the form is shown")
			}
			return nil
		})
	}
	acme.Process.Kill()
	lost := p.a.Visitor(t)
	if a := comeBack(lost, "/login/sso/"+number); a.Status == http.StatusOK || who(lost) != "" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}

	r := p.a.Command(t, "", "sso", "disable")
	if r.Exit != 0 || !strings.Contains(r.Stderr, "the login form is shown") || !strings.Contains(r.Stderr, "Acme is disabled") || !strings.Contains(r.Stderr, "ann") {
		t.Fatalf("%+v", r)
	}
	ended := time.Now()
	for _, g := range nodes {
		for !shows(g) {
			if took(ended) > 2*time.Second {
				t.Fatal("no form after 2 s")
			}
			time.Sleep(20 * time.Millisecond) // the time between two looks
		}
		erin := g.Visitor(t)
		if enterByForm(t, erin, "erin", danaPassword, ""); who(erin) != "erin" {
			t.Error("erin does not come in by the form")
		}
	}
	wantShut(t, ended, 2*time.Second, v, v.At(p.b))
	p.a.AwaitAudited(t, "sso.update", "done", "")
	p.a.AwaitAudited(t, "provider.update", "done", "")
}
