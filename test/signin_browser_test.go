package test

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238: what authenticator apps compute
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/browser"
	"github.com/gatehouse-project/gatehouse/test/gate"
)

const danaPassword = "correct: horse battery"

// withDana starts a gate with a user.
func withDana(t *testing.T, settings map[string]string) *gate.Gate {
	t.Helper()
	g := gate.Start(t, gate.Options{Settings: settings})
	if r := g.Command(t, danaPassword, "user", "add", "dana", "--email", "dana@example.test", "--password-stdin"); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	return g
}

// local is the address that the browser uses: security keys know us by the name localhost.
func local(g *gate.Gate, path string) string {
	return strings.Replace(g.URL, "127.0.0.1", "localhost", 1) + path
}

// earlyInStep is the time, in a step of 30 s of which at least 5 s are left: a code of the step before is good for as long.
func earlyInStep() time.Time {
	now := time.Now()
	if left := 30 - now.Unix()%30; left <= 5 {
		time.Sleep(time.Until(time.Unix(now.Unix()+left, 0))) // the next step itself is waited for
	}
	return time.Now()
}

// code is what an authenticator app shows, that many steps of 30 s ahead.
func code(t *testing.T, secret string, ahead int64) string {
	t.Helper()
	key, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if ahead < 0 {
		now = earlyInStep()
	}
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, now.Unix()/30+ahead) // never fails
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff)%1_000_000)
}

// enter types a name and a password into the sign-in page.
func enter(b *browser.Browser, g *gate.Gate, password string) {
	b.Goto(local(g, "/login"))
	b.Do(`await page.fill('[name=username]', 'dana'); await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": password})
}

func title(b *browser.Browser) string { return b.Text(`return await page.textContent('h1')`, nil) }

func wantTitle(t *testing.T, b *browser.Browser, want string) {
	t.Helper()
	if got := title(b); got != want {
		t.Fatalf("the page says %q, want %q: %s", got, want, b.Text(`return page.url() + ' ' + await page.textContent('main')`, nil))
	}
}

func signOut(b *browser.Browser, g *gate.Gate) {
	b.Goto(local(g, "/"))
	b.Do(`await page.click('text=Sign out')`, nil)
}

func TestBrowser_an_authenticator_app_is_enrolled_and_used(t *testing.T) {
	t.Parallel()
	g, b := withDana(t, nil), browser.Start(t)
	b.Goto(local(g, "/"))
	b.Picture("home-nobody")
	b.Goto(local(g, "/login"))
	b.Picture("login")
	enter(b, g, "wrong horse")
	wantTitle(t, b, "Sign in")
	b.Picture("login-wrong")
	enter(b, g, danaPassword)
	wantTitle(t, b, "You are signed in")
	b.Picture("home")

	b.Do(`await page.click('text=Set up a second factor')`, nil)
	wantTitle(t, b, "Is it still you?")
	b.Picture("confirm")
	b.Do(`await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": danaPassword})
	wantTitle(t, b, "Second factor")
	b.Picture("enrol")
	b.Do(`await page.click('text=Set up an authenticator app')`, nil)
	b.Do(`await page.click('summary')`, nil)
	b.Picture("enrol-app")
	secret := b.Text(`return await page.textContent('code.secret')`, nil)
	b.Do(`await page.fill('[name=code]', args.code); await page.click('button')`, map[string]any{"code": code(t, secret, 0)})
	wantTitle(t, b, "The app is set up")
	b.Picture("enrol-app-done")
	recovery := b.Text(`return await page.textContent('code.secret')`, nil)

	signOut(b, g)
	enter(b, g, danaPassword)
	wantTitle(t, b, "Second factor")
	b.Picture("second-app")
	b.Goto(local(g, "/"))
	wantTitle(t, b, "Welcome") // nothing is open before the second factor
	b.Goto(local(g, "/login/second"))
	b.Do(`await page.fill('#code', '000000'); await page.click('text=Continue')`, nil)
	b.Picture("second-wrong")
	b.Do(`await page.fill('#code', args.code); await page.click('text=Continue')`, map[string]any{"code": code(t, secret, 1)})
	wantTitle(t, b, "You are signed in")

	signOut(b, g)
	enter(b, g, danaPassword)
	b.Do(`await page.click('summary'); await page.fill('#recovery', args.code.toLowerCase()); await page.click('details button')`, map[string]any{"code": recovery})
	wantTitle(t, b, "You are signed in")
	for _, text := range []string{secret, recovery, danaPassword} {
		if strings.Contains(g.Log(t), text) {
			t.Error("the log holds a secret")
		}
	}
}

func TestBrowser_a_security_key_is_enrolled_and_used(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"ctap2", "u2f"} {
		t.Run(protocol, func(t *testing.T) {
			g, b := withDana(t, nil), browser.Start(t)
			b.Do(`await cdp.send('WebAuthn.enable')
				await cdp.send('WebAuthn.addVirtualAuthenticator', { options: {
					protocol: args.protocol, transport: 'usb', hasUserVerification: args.protocol === 'ctap2', isUserVerified: args.protocol === 'ctap2', automaticPresenceSimulation: true } })`,
				map[string]any{"protocol": protocol})
			enter(b, g, danaPassword)
			b.Do(`await page.click('text=Set up a second factor'); await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": danaPassword})
			b.Do(`await page.fill('[name=name]', 'Blue key'); await page.click('text=Add the security key')`, nil)
			wantTitle(t, b, "Add Blue key")
			b.Picture("enrol-key-" + protocol)
			b.Do(`await page.click('text=Touch the security key'); await page.waitForSelector('code.secret')`, nil)
			wantTitle(t, b, "The security key is set up")
			b.Picture("enrol-key-done-" + protocol)

			signOut(b, g)
			enter(b, g, danaPassword)
			wantTitle(t, b, "Second factor")
			b.Picture("second-key-" + protocol)
			b.Do(`await page.click('text=Use your security key'); await page.waitForSelector('text=Sign out')`, nil)
			wantTitle(t, b, "You are signed in")
			if e := g.AwaitAudited(t, "session.start", "done", ""); e.Action == "" {
				t.Error("no session on record")
			}
		})
	}
}

// From the fifth wrong password on the page asks for a CAPTCHA, which people can see and a wrong answer does not pass.
func TestBrowser_a_CAPTCHA_is_due_after_five_wrong_passwords(t *testing.T) {
	t.Parallel()
	g, b := withDana(t, map[string]string{"auth.min_failure_ms": "10", "auth.captcha_after": "5"}), browser.Start(t)
	for range 5 {
		enter(b, g, "wrong horse")
	}
	b.Picture("captcha")
	loaded := b.Do(`const img = page.locator('img.captcha'); return await img.evaluate((i) => i.decode().then(() => i.naturalWidth))`, nil)
	var width int
	if err := json.Unmarshal(loaded, &width); err != nil || width < 100 {
		t.Fatalf("the picture is %d wide, %v", width, err)
	}
	b.Do(`await page.fill('[name=password]', args.password); await page.fill('[name=answer]', 'wrong!'); await page.click('button')`, map[string]any{"password": danaPassword})
	wantTitle(t, b, "Sign in")
	if b.Goto(local(g, "/")) != http.StatusOK || title(b) != "Welcome" {
		t.Error("the right password without the CAPTCHA opened something")
	}
}
