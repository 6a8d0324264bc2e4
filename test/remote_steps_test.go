package test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/browser"
	"github.com/gatehouse-project/gatehouse/test/gate"
)

// openLink opens a link in the browser.
func openLink(t *testing.T, b *browser.Browser, e *estate) {
	t.Helper()
	b.Goto(local(e.Gate, e.launch(t, nil).Path))
}

// submit fills a form in and sends it.
func submit(b *browser.Browser, fields map[string]any) {
	b.Do(`for (const [name, value] of Object.entries(args)) await page.fill('[name=' + name + ']', value); await Promise.all([page.waitForEvent('load'), page.click('main button')])`, fields)
}

// wantOnPage checks that the page has these texts.
func wantOnPage(t *testing.T, b *browser.Browser, texts ...string) {
	t.Helper()
	shown := b.Text(`return await page.innerText('main')`, nil)
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			t.Errorf("no %q on the page: %s", text, shown)
		}
	}
}

// onTelephone is how people see the pages at night.
const onTelephone = `await page.setViewportSize({ width: 390, height: 760 }); await page.emulateMedia({ colorScheme: 'dark' })`

// onDesk is how the browser begins.
const onDesk = `await page.setViewportSize({ width: 1000, height: 760 }); await page.emulateMedia({ colorScheme: null })`

// pictures leaves a picture as on a desk and one as on a telephone.
func pictures(b *browser.Browser, name string) {
	b.Picture(name)
	if os.Getenv("GATEHOUSE_PICTURES") != "" {
		b.Do(onTelephone, nil)
		b.Picture(name + "-telephone")
		b.Do(onDesk, nil)
	}
}

// What a grant asks for is asked in the browser, one step after the other; the page goes on by itself when somebody else has agreed, and says why where
// nobody did (rules S13, S15, S18).
func TestSteps_in_the_browser(t *testing.T) {
	t.Parallel()
	e, b := build(t, gate.Options{}), browser.Start(t)
	person(t, e.Gate, "erik")
	e.Must(t, "grant", "add", "--user", "dana", "--device", "web-01", "--step-up", "--reason", "--approver", "erik", "--within", "5m")
	erik, dana := signedIn(t, e.Gate, "erik"), signedIn(t, e.Gate, "dana")

	openLink(t, b, e)
	wantTitle(t, b, "A second factor is required here")
	pictures(b, "steps-no-factor")
	if at := b.Text(`return await page.getAttribute('main a', 'href')`, nil); at != "/login/enrol" {
		t.Errorf("the way on leads to %q", at)
	}

	app := withApp(t, dana)
	openLink(t, b, e)
	wantTitle(t, b, "Confirm that it is you")
	wantOnPage(t, b, e.target.Account.Name+"@web-01")
	pictures(b, "steps-step-up")
	submit(b, map[string]any{"code": "000000"})
	wantTitle(t, b, "Confirm that it is you")
	wantOnPage(t, b, "That code is not right, or was used already.")
	pictures(b, "steps-step-up-wrong")
	submit(b, map[string]any{"code": code(t, app.secret, 0)})

	wantTitle(t, b, "Why do you need this session?")
	pictures(b, "steps-reason")
	submit(b, map[string]any{"reason": "   "})
	wantOnPage(t, b, "Say in a few words what you are going to do.")
	pictures(b, "steps-reason-blank")
	const why = "The disk of <b>web-01</b> is full & the backup fails"
	submit(b, map[string]any{"reason": why, "ticket": "OPS-7"})

	wantTitle(t, b, "Waiting for approval")
	wantOnPage(t, b, why, "Request", "Waits until")
	pictures(b, "steps-approval")
	if came, _ := e.line.seen(); came != 0 {
		t.Error("somebody came to the target before the approval")
	}
	erik.must(t, http.StatusOK, "POST", native+"/remote-requests/1/approve", members{})
	b.Do(`await page.locator('#state', { hasText: 'Connected' }).waitFor(); await page.keyboard.type('echo $((40 + 2))-here'); await page.keyboard.press('Enter')`, nil)
	onScreen(b, "42-here")
	b.Do(`page.once('dialog', d => d.accept()); await page.click('#disconnect'); await page.locator('#over', { hasText: 'The session has ended' }).waitFor()`, nil)
	id, _, _ := strings.Cut(strings.TrimPrefix(b.Text(`return new URL(page.url()).pathname`, nil), "/ws/"), "/")
	wantEnd(t, e.Gate, id, "closed")
	keep(t, e.Gate, id)
	if text := string(bytesOf(t, filepath.Join(e.Data, "recordings", id, "manifest.json"))); !strings.Contains(text, "OPS-7") || !strings.Contains(text, "the backup fails") {
		t.Errorf("the reason is not kept with the recording: %s", text)
	}
	b.Do(`await page.reload()`, nil)
	wantTitle(t, b, "The session has ended")
	pictures(b, "steps-closed")

	// Denied: the page that waits says so by itself. The second factor was proved in this browser a moment ago.
	openLink(t, b, e)
	wantTitle(t, b, "Why do you need this session?")
	submit(b, map[string]any{"reason": "once more"})
	wantTitle(t, b, "Waiting for approval")
	erik.must(t, http.StatusOK, "POST", native+"/remote-requests/2/deny", members{"note": "not today"})
	b.Do(`await page.locator('h1', { hasText: 'The session has ended' }).waitFor()`, nil)
	wantOnPage(t, b, "The request was denied, or nobody answered it in time.", "not today")
	pictures(b, "steps-denied")
	wantEvent(t, e.Gate, "session.refused", "done", func(a gate.Audited) bool { return a.Actor.Name == "erik" })
	hushed(t, e.Gate, e.target.Account.Password, app.secret)
}

// Who does not do in time what is asked starts again; so does who finds nobody to agree.
func TestSteps_abandoned(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{Settings: map[string]string{"senhasegura.launch_wait": "1s", "senhasegura.sweep_every": "200ms"}}, "--reason")
	b := browser.Start(t)
	openLink(t, b, e)
	rows := e.Rows(t, "SELECT id FROM remote_sessions ORDER BY created DESC LIMIT 1")
	wantEnd(t, e.Gate, rows[0][0], "abandoned")
	b.Do(`await page.reload()`, nil)
	wantTitle(t, b, "The session has ended")
	wantOnPage(t, b, "What it waited for did not happen in time.")
	pictures(b, "steps-abandoned")
}

func TestSteps_unanswered(t *testing.T) {
	t.Parallel()
	e := build(t, gate.Options{Settings: map[string]string{"senhasegura.sweep_every": "200ms"}}, "--approval", "--within", "2s")
	b := browser.Start(t)
	openLink(t, b, e)
	b.Do(`await page.locator('h1', { hasText: 'The session has ended' }).waitFor()`, nil)
	wantOnPage(t, b, "The request was denied, or nobody answered it in time.")
	if came, _ := e.line.seen(); came != 0 {
		t.Error("somebody came to the target")
	}
}
