package remote_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/console"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/test/browser"
)

// chromium opens a browser on the house. Without the console's scripts there is nothing to see.
func (h *house) chromium(t *testing.T) *browser.Browser {
	t.Helper()
	if !console.Built() {
		if os.Getenv("GATEHOUSE_PEERS") == "all" {
			t.Fatal("the console is not built: make console")
		}
		t.Skip("the console is not built: make console")
	}
	return browser.Start(t)
}

// visit gives the browser the session's cookie and opens its page.
func (h *house) visit(b *browser.Browser) {
	b.Do(`await context.addCookies([{ name: 'gh_ws', value: args.value, url: args.url }]); await page.goto(args.url + args.path)`,
		map[string]any{"value": someID + "." + token, "url": h.URL, "path": "/ws/" + someID})
}

// screen waits until the terminal shows a text, and returns what it shows.
func screen(b *browser.Browser, want string) string {
	return b.Text(`const rows = page.locator('.xterm-rows'); await rows.filter({ hasText: args.want }).waitFor(); return await rows.innerText()`, map[string]any{"want": want})
}

// shell prints a prompt and what is typed, line by line, as a terminal of a target does.
func shell() *channel {
	c := echo()
	const prompt = "\x1b[1;32msvc-web@web-01\x1b[0m:\x1b[1;34m~\x1b[0m$ "
	_, _ = c.out.Write([]byte("Debian GNU/Linux 12\r\nLast login: Sun Nov 22 09:00:12 2026\r\n\r\n" + prompt))
	c.onInput = func(p []byte) {
		_, _ = c.out.Write([]byte(strings.ReplaceAll(string(p), "\r", "\r\n"+prompt)))
	}
	return c
}

func TestBrowser_a_session(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.engine.shell, h.engine.root = shell, t.TempDir()
	write(t, filepath.Join(h.engine.root, "access.log"), strings.Repeat("x", 84_213))
	write(t, filepath.Join(h.engine.root, "notes \u202egpj.txt"), "x")
	for _, name := range []string{"deploy", "etc", "releases"} {
		if err := os.Mkdir(filepath.Join(h.engine.root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.sessions.put(waiting())
	b := h.chromium(t)
	b.Do(`page.on('console', m => { if (m.type() === 'error') (globalThis.complaints ??= []).push(m.text()) }); page.on('pageerror', e => (globalThis.complaints ??= []).push(String(e)))`, nil)
	h.visit(b)
	screen(b, "svc-web@web-01")
	b.Do(`await page.keyboard.type('uptime'); await page.keyboard.press('Enter'); await page.keyboard.type('systemctl status nginx')`, nil)
	screen(b, "systemctl status nginx")
	b.Picture("session")
	if got := b.Text(`return await page.textContent('.recorded') + ' / ' + await page.textContent('#state')`, nil); got != "You are being recorded / Connected" {
		t.Errorf("%q", got)
	}

	// What a target prints reaches the terminal alone (rule W10).
	l, _ := h.engine.live(someID)
	_, _ = l.shell().out.Write([]byte("\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b]8;;https://evil.example\x07link\x1b]8;;\x07\x1b]11;?\x07\x1bP$q\"p\x1b\\\x1b[21t done\r\n"))
	screen(b, "link done")
	if title := b.Text(`return await page.title()`, nil); strings.Contains(title, "owned") {
		t.Errorf("the target gave the page a title: %q", title)
	}
	if n := b.Text(`return String(await page.locator('.xterm a').count()) + (await page.locator('.xterm-rows').innerText())`, nil); !strings.HasPrefix(n, "0") || strings.Contains(n, "rgb:") {
		t.Errorf("a link of the target lives, or it was answered: %q", n)
	}

	// The network goes for a moment: what was printed meanwhile is not lost, nor what was typed.
	b.Do(`await context.setOffline(true)`, nil)
	h.line.cut()
	b.Do(`await page.locator('#state', { hasText: 'Reconnecting' }).waitFor(); await page.keyboard.type(' --no-pager')`, nil)
	_, _ = l.shell().out.Write([]byte("while you were away "))
	b.Picture("session-lost")
	b.Do(`await context.setOffline(false); await page.locator('#state', { hasText: 'Connected' }).waitFor()`, nil)
	if got := screen(b, "--no-pager"); strings.Count(got, "while you were away") != 1 || strings.Count(got, "--no-pager") != 1 {
		t.Errorf("%s", got)
	}

	// Loaded again it shows the same.
	b.Do(`await page.reload()`, nil)
	if got := screen(b, "--no-pager"); !strings.Contains(got, "Debian GNU/Linux 12") {
		t.Errorf("%s", got)
	}

	at := time.Now().Add(5 * time.Minute)
	l.notices <- remote.Notice{Text: "soon", EndsAt: at}
	b.Do(`await page.locator('#notices', { hasText: 'This session ends at' }).waitFor(); await page.click('#files-toggle'); await page.locator('#listing a', { hasText: 'access.log' }).waitFor()`, nil)
	b.Do(`await page.setInputFiles('#upload', [{ name: 'release.tar', mimeType: 'application/x-tar', buffer: Buffer.alloc(300000, 'y') }]); await page.locator('.transfer', { hasText: 'Uploaded' }).waitFor()`, nil)
	b.Picture("session-files")
	if got, err := os.ReadFile(filepath.Join(h.engine.root, "release.tar")); err != nil || len(got) != 300_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	got := b.Text(`const [file] = await Promise.all([page.waitForEvent('download'), page.click('#listing a >> text=access.log')]);
		const { readFile } = await import('node:fs/promises'); return file.suggestedFilename() + ' ' + (await readFile(await file.path())).length`, nil)
	if got != "access.log 84213" {
		t.Errorf("%q", got)
	}
	b.Do(`await page.setViewportSize({ width: 390, height: 780 })`, nil)
	b.Picture("session-phone-files")
	b.Do(`await page.click('#files-close')`, nil)
	b.Picture("session-phone")
	b.Do(`await page.setViewportSize({ width: 1280, height: 720 }); await page.emulateMedia({ colorScheme: 'dark' })`, nil)
	b.Picture("session-dark")

	l.Close(remote.Idle, "")
	b.Do(`await page.locator('#over', { hasText: 'Nobody typed for too long.' }).waitFor()`, nil)
	b.Picture("session-over")
	b.Do(`await page.reload()`, nil)
	b.Picture("session-ended-page")
	if said := b.Text(`return JSON.stringify((globalThis.complaints ?? []).filter(c => !/ERR_|WebSocket|Failed to (load|fetch)/.test(c)))`, nil); said != "[]" {
		t.Errorf("the browser complains: %s", said)
	}
}

func TestBrowser_steps(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.engine.shell = shell
	h.sessions.put(waiting())
	h.sessions.due = []remote.Step{
		{Kind: remote.StepUpDue},
		{Kind: remote.ReasonDue},
		{Kind: remote.ApprovalWanted, Request: remote.Request{Number: 17, Reason: "disk is full on web-01"}, Until: time.Now().Add(10 * time.Minute)},
		{},
	}
	b := h.chromium(t)
	h.visit(b)
	b.Picture("step-up")
	b.Do(`await page.fill('#code', '000000'); await page.click('button'); await page.locator('.alert').waitFor()`, nil)
	b.Picture("step-up-wrong")
	b.Do(`await page.fill('#code', '123456'); await page.click('button'); await page.locator('#reason').waitFor()`, nil)
	b.Picture("step-reason")
	b.Do(`await page.fill('#reason', 'disk is full on web-01'); await page.fill('#ticket', 'OPS-1'); await page.click('button'); await page.locator('.wait').waitFor()`, nil)
	b.Picture("step-approval")
	h.sessions.done()
	h.pages.Heard(someID)
	screen(b, "svc-web@web-01")

	h.sessions.redeem = func(remote.Visit) (remote.Session, error) { return remote.Session{}, remote.ErrLinkLate }
	b.Goto(h.URL + link)
	b.Picture("refusal-late")
	b.Do(`await page.setViewportSize({ width: 360, height: 640 })`, nil)
	b.Picture("refusal-phone")
}

func TestBrowser_two_windows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.engine.shell = shell
	h.sessions.put(waiting())
	b := h.chromium(t)
	h.visit(b)
	screen(b, "svc-web@web-01")
	b.Do(`globalThis.other = await context.newPage(); await other.goto(page.url()); await other.locator('.xterm-rows', { hasText: 'svc-web@web-01' }).waitFor();
		await page.locator('#over', { hasText: 'another window' }).waitFor()`, nil)
	b.Picture("session-replaced")
	b.Do(`await page.click('#over-do'); await page.locator('#state', { hasText: 'Connected' }).waitFor(); await other.locator('#over', { hasText: 'another window' }).waitFor()`, nil)
	screen(b, "svc-web@web-01")
	b.Do(`await page.keyboard.type('hello'); `, nil)
	screen(b, "hello")
}

// cast is a recording as asciicast v3 has it.
func cast() string {
	var b strings.Builder
	b.WriteString(`{"version":3,"term":{"cols":80,"rows":24,"type":"xterm-256color"},"timestamp":1795338000}` + "\n")
	for i := range 60 {
		fmt.Fprintf(&b, "[0.5,\"o\",\"\\u001b[32mline %d\\u001b[0m of what was printed\\r\\n\"]\n", i)
	}
	b.WriteString(`[0.1,"r","100x30"]` + "\n" + `[0.1,"x","0"]` + "\n")
	return b.String()
}

// A recording is played in a frame that reads neither cookie nor page (rule W4).
func TestBrowser_a_recording(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.library.cast, h.library.cut = cast(), "node lost"
	b := h.chromium(t)
	b.Do(`await context.addCookies([{ name: 'gatehouse', value: 'dana', url: args.url }]); await page.goto(args.url + args.path)`, map[string]any{"url": h.URL, "path": "/ws/play/" + someID})
	b.Do(`const frame = page.frameLocator('#player'); await frame.locator('.ap-player').waitFor(); await frame.locator('.ap-player').click(); await frame.locator('.ap-player').press('5')`, nil)
	got := b.Text(`const frame = page.frames().find(f => f.url().endsWith('/frame'));
		return await frame.evaluate(() => { const out = [self.origin]; try { out.push(String(document.cookie)) } catch { out.push('no cookie') }
			try { out.push(String(parent.document.title)) } catch { out.push('no page') } return out.join(', ') })`, nil)
	if got != "null, no cookie, no page" {
		t.Errorf("%q", got)
	}
	b.Picture("play")
	// Faster, it goes on from where it was.
	b.Do(`const frame = page.frameLocator('#player'); await frame.locator('select').selectOption('8'); await frame.locator('.ap-time-elapsed', { hasText: '00:30' }).waitFor()`, nil)
	b.Do(`await page.setViewportSize({ width: 390, height: 780 }); await page.frameLocator('#player').locator('.ap-player').press('5')`, nil)
	b.Picture("play-phone")
}

func TestBrowser_looking_on(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	x := waiting()
	x.State = remote.Active
	h.sessions.put(x)
	h.engine.feed = []remote.Frame{{Body: []byte(`[[0,"r","120x30"],[0,"o","\u001b]0;owned\u0007dana@web-01:~$ ls\r\naccess.log  deploy\r\n"]]`)}}
	h.engine.hold = make(chan struct{})
	b := h.chromium(t)
	b.Do(`await context.addCookies([{ name: 'gatehouse', value: 'erik', url: args.url }]); await page.goto(args.url + args.path)`, map[string]any{"url": h.URL, "path": "/ws/watch/" + someID})
	screen(b, "access.log")
	b.Do(`await page.locator('#who', { hasText: 'erik' }).waitFor()`, nil)
	b.Picture("watch")
	close(h.engine.hold)
	b.Do(`await page.locator('#over', { hasText: 'The session has ended' }).waitFor()`, nil)
}
