package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/browser"
	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// chooseForm says whether the sign-in page shows the form, and whether it does to who asks, and waits until it does so.
func chooseForm(t *testing.T, g *gate.Gate, shown, fallback string) {
	t.Helper()
	if r := g.Command(t, "", "sso", "set", "--login-form", shown, "--fallback", fallback); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	gate.Eventually(t, func() error { // the command is a process of its own
		for query, want := range map[string]bool{"": shown == "on", "&auth_fallback": shown == "on" || fallback == "on"} {
			a := g.Visitor(t).Get("/login?again=1" + query)
			if has := strings.Contains(string(a.Body), `name="password"`); has != want {
				return fmt.Errorf("the page with %q has the form: %v", query, has)
			}
		}
		return nil
	})
}

// ways are the texts of the buttons of the page, in order.
func ways(t *testing.T, b *browser.Browser) []string {
	t.Helper()
	var texts []string
	if err := json.Unmarshal(b.Do(`return await page.$$eval('main .button, main button', (all) => all.map((one) => one.textContent.trim()))`, nil), &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

func wantWays(t *testing.T, b *browser.Browser, want ...string) {
	t.Helper()
	if got := ways(t, b); !slices.Equal(got, want) {
		t.Errorf("the page %q offers %q, want %q", title(b), got, want)
	}
}

// Administrators hide the form. Then people come from a provider, by themselves where there is one alone, and those with a password
// still find the form where that is allowed.
func TestBrowser_the_form_is_hidden(t *testing.T) {
	t.Parallel()
	peers.Require(t, "node", "chromium")
	g := gate.Start(t, gate.Options{Settings: withProviders()})
	there := peers.OIDC(t, peers.OIDCOptions{Clients: clients("acme", "guests"), Redirects: []string{g.Public("/oauth")}})
	addPeople(t, g, "erin", "finn", "dana")
	addOIDC(t, g, there, "Acme", "acme", "--link-by", "email")
	chromium := browser.Start(t)
	chooseForm(t, g, "off", "off")

	t.Run("with one provider people land there by themselves, and where they wanted to go afterwards", func(t *testing.T) {
		b := chromium.Next(t)
		b.Goto(g.Public("/login?target=%2Fdocs"))
		atOIDC(b, "erin")
		wantAt(t, b, g, "/docs")
		b.Goto(g.Public("/"))
		wantSignedIn(t, b, "erin")
	})
	t.Run("who signs out stays signed out", func(t *testing.T) {
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		atOIDC(b, "erin")
		signOut(b, g)
		wantAt(t, b, g, "/login?out=1")
		wantWays(t, b, "Log in with Acme")
		look(t, b, "signed-out")
		b.Goto(g.Public("/"))
		wantTitle(t, b, "Welcome")
		press(b, "Sign in") // who is signed in there still is asked nothing
		wantSignedIn(t, b, "erin")
	})
	t.Run("a page of a session that is over leads to a button, also by a form", func(t *testing.T) {
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		atOIDC(b, "erin")
		b.Do(`await context.clearCookies({ domain: 'localhost' })`, nil)
		press(b, "Sign out")
		wantAt(t, b, g, "/login?over=1")
		wantWays(t, b, "Log in with Acme")
		look(t, b, "over")
	})
	t.Run("who fails there is offered another try, and not sent there again", func(t *testing.T) {
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		atOIDC(b, "nobody")
		wantTitle(t, b, "That sign-in did not work")
		wantWays(t, b, "Log in with Acme")
		look(t, b, "sso-failed")
	})
	t.Run("the form is not to be had for asking, and takes nothing", func(t *testing.T) {
		b := chromium.Next(t)
		b.Do(`await page.goto(args.page); await page.waitForSelector('[name=login]')`, map[string]any{"page": g.Public("/login?auth_fallback")})
		chooseForm(t, g, "on", "off")
		b.Goto(g.Public("/login")) // a page that was open before
		chooseForm(t, g, "off", "off")
		b.Do(`await page.fill('[name=username]', 'dana'); await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": danaPassword})
		wantTitle(t, b, "Passwords are not taken here")
		look(t, b, "form-hidden")
		wantWays(t, b, "Log in with Acme")
	})
	t.Run("the form is shown to who asks, where that is allowed", func(t *testing.T) {
		chooseForm(t, g, "off", "on")
		b := chromium.Next(t)
		b.Do(`await page.goto(args.page); await page.waitForSelector('[name=login]')`, map[string]any{"page": g.Public("/login")})
		b.Goto(g.Public("/login?auth_fallback&target=%2Fdocs"))
		look(t, b, "fallback")
		fill := `await page.fill('[name=username]', 'dana'); await page.fill('[name=password]', args.password); await page.click('button')`
		b.Do(fill, map[string]any{"password": "wrong horse"})
		wantWays(t, b, "Sign in", "Log in with Acme")
		b.Do(fill, map[string]any{"password": danaPassword})
		wantAt(t, b, g, "/docs")
		b.Goto(g.Public("/"))
		wantSignedIn(t, b, "dana")
	})
	t.Run("with two providers there are two buttons", func(t *testing.T) {
		addOIDC(t, g, there, "Guests", "guests", "--link-by", "email", "--button", "Come in as a guest")
		b := chromium.Next(t)
		b.Goto(g.Public("/login?target=%2Fdocs"))
		wantTitle(t, b, "Sign in")
		wantWays(t, b, "Log in with Acme", "Come in as a guest")
		look(t, b, "buttons")
		b.Do(`await page.keyboard.press('Tab'); await page.keyboard.press('Tab')`, nil)
		b.Picture("buttons-focus")
		b.Do(`await page.keyboard.press('Enter')`, nil)
		atOIDC(b, "finn")
		wantAt(t, b, g, "/docs")
	})
	t.Run("when a provider is down the others and the form are left", func(t *testing.T) {
		addOIDC(t, g, &peers.OIDCProvider{Issuer: "http://127.0.0.1:1"}, "Down", "down", "--disabled")
		if r := g.Command(t, "", "idp", "enable", "Down"); r.Exit != 0 {
			t.Fatalf("%+v", r)
		}
		b := chromium.Next(t)
		b.Goto(g.Public("/login"))
		press(b, "Log in with Down")
		wantTitle(t, b, "That sign-in did not work")
		wantWays(t, b, "Log in with Acme", "Come in as a guest", "Log in with Down", "Sign in with a password")
		look(t, b, "sso-down")
		press(b, "Sign in with a password")
		b.Do(`await page.fill('[name=username]', 'dana'); await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": danaPassword})
		wantSignedIn(t, b, "dana")
	})
}
