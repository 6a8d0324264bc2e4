package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/test/browser"
	"github.com/gatehouse-project/gatehouse/test/gate"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

func authorized(t *testing.T, blob []byte) string {
	t.Helper()
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func read(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// onScreen waits until the terminal shows a text, and returns what it shows.
func onScreen(b *browser.Browser, want string) string {
	return b.Text(`const rows = page.locator('.xterm-rows'); await rows.filter({ hasText: args.want }).waitFor(); return await rows.innerText()`, map[string]any{"want": want})
}

// From the API call to a recorded shell in a real browser, its files, and the page that says why it ended.
func TestRemote_a_session_in_the_browser(t *testing.T) {
	t.Parallel()
	s, b := build(t, gate.Options{}), browser.Start(t)
	at := local(s.Gate, s.launch(t, nil).Path)
	b.Goto(at)
	if place := b.Text(`return page.url()`, nil); strings.Contains(place, "_sr") {
		t.Errorf("the link stays in the address bar: %s", place)
	}
	b.Do(`await page.locator('#state', { hasText: 'Connected' }).waitFor(); await page.keyboard.type('PS1="> "; stty size; echo $((40 + 2))-here'); await page.keyboard.press('Enter')`, nil)
	onScreen(b, "42-here")
	b.Picture("remote-session")
	if text := b.Text(`return await page.content()`, nil); strings.Contains(text, s.target.Account.Password) {
		t.Error("the password of the target stands in the page")
	}

	// Files go both ways.
	sent := strings.Repeat("0123456789abcdef", 40_000)
	b.Do(`await page.click('#files-toggle'); await page.locator('#listing').locator('table').waitFor();
		await page.setInputFiles('#upload', [{ name: 'sent.bin', mimeType: 'application/octet-stream', buffer: Buffer.from(args.text) }]);
		await page.locator('.transfer', { hasText: 'Uploaded' }).waitFor()`, map[string]any{"text": sent})
	if got, err := os.ReadFile(filepath.Join(s.target.Account.Home, "sent.bin")); err != nil || string(got) != sent {
		t.Errorf("%d bytes arrived: %v", len(got), err)
	}
	got := b.Text(`const [file] = await Promise.all([page.waitForEvent('download'), page.click('#listing a >> text=sent.bin')]);
		const { readFile } = await import('node:fs/promises'); return await readFile(await file.path(), 'utf8')`, nil)
	if got != sent {
		t.Errorf("%d bytes come back", len(got))
	}
	b.Picture("remote-files")

	// The same browser comes back to where it was.
	b.Do(`await page.reload()`, nil)
	onScreen(b, "42-here")

	// An administrator looks on, live, then ends it, and plays what was recorded.
	read := s.Must(t, "remote", "list", "--json")
	var all []struct {
		ID     string
		Number int64
	}
	if err := json.Unmarshal([]byte(read), &all); err != nil || len(all) != 1 {
		t.Fatalf("%v: %s", err, read)
	}
	if r := s.Command(t, danaPassword, "user", "add", "erik", "--email", "erik@example.test", "--password-stdin", "--admin"); r.Exit != 0 {
		t.Fatalf("%+v", r)
	}
	with := map[string]any{"url": local(s.Gate, ""), "number": all[0].Number, "password": danaPassword, "patience": peers.Patience.Milliseconds()}
	b.Do(`const erik = await browser.newContext({ viewport: { width: 1000, height: 760 } }); const page2 = globalThis.erik = await erik.newPage();
		page2.setDefaultTimeout(args.patience);
		await page2.goto(args.url + '/ws/watch/' + args.number); await page2.fill('[name=username]', 'erik'); await page2.fill('[name=password]', args.password); await page2.click('button');
		await page2.waitForURL('**/ws/watch/*'); await page2.locator('.xterm-rows', { hasText: '42-here' }).waitFor()`, with)
	b.Do(`await page.keyboard.type('echo $((50 + 5))-live'); await page.keyboard.press('Enter'); await erik.locator('.xterm-rows', { hasText: '55-live' }).waitFor()`, nil)
	if to := os.Getenv("GATEHOUSE_PICTURES"); to != "" {
		b.Do(`await erik.screenshot({ path: args.path })`, map[string]any{"path": filepath.Join(to, "remote-watch.png")})
	}
	s.Must(t, "remote", "end", fmt.Sprint(all[0].Number))
	b.Do(`await erik.locator('#over', { hasText: 'The session has ended' }).waitFor()`, nil)
	b.Do(`await page.locator('#over', { hasText: 'Somebody with the right to do so ended it.' }).waitFor()`, nil)
	b.Do(`await erik.goto(args.url + '/ws/play/' + args.number); const frame = erik.frameLocator('#player'); await frame.locator('.ap-player').click();
		await frame.locator('.ap-player').press('9'); await frame.locator('.ap-player', { hasText: '42-here' }).waitFor()`, with)
	if to := os.Getenv("GATEHOUSE_PICTURES"); to != "" {
		b.Do(`await erik.screenshot({ path: args.path })`, map[string]any{"path": filepath.Join(to, "remote-play.png")})
	}
	for _, what := range []string{"session_url.redeemed", "session.started", "session.watched", "session.ended", "recording.play"} {
		if len(s.Audited(t, what)) == 0 {
			t.Errorf("%s is not on record", what)
		}
	}
	b.Goto(at)
	if title(b) != "This link was already used" {
		t.Errorf("%q", title(b))
	}
	b.Picture("remote-used")
}
