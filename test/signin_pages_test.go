package test

import (
	"encoding/json"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/browser"
)

// fits finds what is wrong with a page for somebody with a small screen, poor sight or a screen reader: parts that stick out, fields
// without a label, texts and edges of fields with too little contrast (WCAG 2.2, AA).
const fits = `return await page.evaluate(() => {
	const wrong = []
	const wide = document.documentElement.scrollWidth
	if (wide > innerWidth) wrong.push('the page is ' + wide + ' wide')
	const shows = (e) => e.checkVisibility() && e.getClientRects().length > 0
	for (const e of document.querySelectorAll('input:not([type=hidden])')) {
		if (shows(e) && !e.labels.length) wrong.push(e.name + ' has no label')
	}
	const rgb = (text) => { const n = text.match(/[\d.]+/g).map(Number); return n.length > 3 && n[3] === 0 ? null : n }
	const light = (c) => [0, 1, 2].map((i) => c[i] / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
	const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05) }
	const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c } return [255, 255, 255] }
	for (const e of document.querySelectorAll('body *:not(script):not(svg *)')) {
		const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())
		if (shows(e) && text && ratio(rgb(getComputedStyle(e).color), behind(e)) < 4.5) wrong.push('faint: ' + e.textContent.trim())
		if (shows(e) && e.matches('input:not([type=hidden]), button') && !rgb(getComputedStyle(e).backgroundColor)?.every((v, i) => v !== behind(e.parentElement)[i]) && ratio(rgb(getComputedStyle(e).borderTopColor), behind(e.parentElement)) < 3) wrong.push('faint edge: ' + (e.name || e.textContent))
	}
	return wrong
})`

// look checks the page in both colour schemes, wide and small, and leaves pictures.
func look(t *testing.T, b *browser.Browser, name string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for size, width := range map[string]int{"": 1000, "-small": 320} {
			b.Do(`await page.emulateMedia({ colorScheme: args.scheme }); await page.setViewportSize({ width: args.width, height: 760 })`, map[string]any{"scheme": scheme, "width": width})
			var wrong []string
			if err := json.Unmarshal(b.Do(fits, nil), &wrong); err != nil {
				t.Fatal(err)
			}
			for _, one := range wrong {
				t.Errorf("%s, %s%s: %s", name, scheme, size, one)
			}
			b.Picture("page-" + name + "-" + scheme + size)
		}
	}
}

// The pages can be read and used by everybody, and no page does what its own policy forbids.
func TestBrowser_pages_fit_and_can_be_read(t *testing.T) {
	t.Parallel()
	g := withDana(t, map[string]string{"auth.min_failure_ms": "10", "sso.allow_http": "true"})
	if r := g.Command(t, "", "idp", "add", "--kind", "ldap", "--name", "Corporate Directory", "--url", "ldap://127.0.0.1:1", "--resolve", "construct", "--template", "uid={name},dc=example,dc=test"); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	b := browser.Start(t)
	b.Do(`globalThis.said = []; page.on('console', (m) => { if (['error', 'warning'].includes(m.type()) && !/status of 4/.test(m.text())) globalThis.said.push(m.text()) }); page.on('pageerror', (e) => globalThis.said.push(String(e)))
		await cdp.send('WebAuthn.enable')
		await cdp.send('WebAuthn.addVirtualAuthenticator', { options: { protocol: 'ctap2', transport: 'usb', hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true } })`, nil)
	b.Goto(local(g, "/"))
	look(t, b, "home-nobody")
	for range 5 {
		enter(b, g, "wrong horse")
	}
	look(t, b, "captcha")
	if r := g.Command(t, "", "user", "unlock", "dana"); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	b.Goto(local(g, "/login"))
	look(t, b, "login")
	enter(b, g, danaPassword)
	look(t, b, "home")
	b.Goto(local(g, "/login/confirm"))
	look(t, b, "confirm")
	b.Do(`await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": danaPassword})
	look(t, b, "enrol")
	b.Do(`await page.fill('[name=name]', 'Blue key on the ring with a rather long name that goes on'); await page.click('text=Add the security key')`, nil)
	look(t, b, "key")
	b.Do(`await page.click('text=Touch the security key'); await page.waitForSelector('code.secret')`, nil)
	look(t, b, "key-done")
	b.Goto(local(g, "/login/confirm"))
	b.Do(`await page.fill('[name=password]', args.password); await page.click('button')`, map[string]any{"password": danaPassword})
	look(t, b, "enrol-with-key")
	b.Do(`await page.click('text=Set up an authenticator app'); await page.click('summary')`, nil)
	look(t, b, "app")
	secret := b.Text(`return await page.textContent('code.secret')`, nil)
	b.Do(`await page.fill('[name=code]', '000000'); await page.click('button')`, nil)
	wantTitle(t, b, "Once more")
	look(t, b, "app-again")
	b.Do(`await page.fill('[name=code]', args.code); await page.click('button')`, map[string]any{"code": code(t, secret, 0)})
	wantTitle(t, b, "The app is set up")
	look(t, b, "app-done")
	signOut(b, g)
	enter(b, g, danaPassword)
	b.Do(`await page.click('summary')`, nil)
	look(t, b, "second")
	b.Goto(local(g, "/login/nowhere"))
	look(t, b, "not-found")
	var said, planted []string
	b.Do(`await page.evaluate(() => { document.querySelector('h1').style = 'color: var(--card); width: 2000px'; document.querySelector('main').insertAdjacentHTML('beforeend', '<input name="bare">') })`, nil)
	if err := json.Unmarshal(b.Do(fits, nil), &planted); err != nil || len(planted) < 3 {
		t.Errorf("what was planted was not found: %q, %v", planted, err)
	}
	if err := json.Unmarshal(b.Do(`return globalThis.said`, nil), &said); err != nil || len(said) > 0 {
		t.Errorf("the console says %q, %v", said, err)
	}
}

// Whoever has switched scripts off signs in all the same, and is told what security keys need.
func TestBrowser_pages_work_without_scripts(t *testing.T) {
	t.Parallel()
	g, b := withDana(t, nil), browser.Start(t)
	got := b.Text(`
		const plain = await (await context.browser().newContext({ javaScriptEnabled: false })).newPage()
		await plain.goto(args.login)
		await plain.fill('[name=username]', 'dana'); await plain.fill('[name=password]', args.password); await plain.click('button')
		await plain.click('text=Set up a second factor')
		await plain.fill('[name=password]', args.password); await plain.click('button')
		await plain.fill('[name=name]', 'Blue'); await plain.click('text=Add the security key')
		const told = await plain.textContent('noscript, .alert:visible')
		await plain.goto(args.home); await plain.click('text=Sign out')
		return told + ' / ' + await plain.textContent('h1')`,
		map[string]any{"login": local(g, "/login"), "home": local(g, "/"), "password": danaPassword})
	if got != "Security keys need JavaScript, which is off in this browser. / Sign in" {
		t.Error(got)
	}
}
