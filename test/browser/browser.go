// Package browser lets tests work in a real Chromium, through a driver that runs in Node.js.
//
// A step is a piece of JavaScript for playwright-core, which the driver runs with page, context and cdp in scope:
//
//	b := browser.Start(t)
//	b.Do(`await page.goto(args.url); await page.fill('[name=username]', 'dana')`, map[string]any{"url": url})
//
// With GATEHOUSE_PICTURES set to a folder, Picture leaves what a person would see there.
package browser

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/test/peers"
)

// Browser is one Chromium with one page, with cookies of its own.
type Browser struct {
	tb  testing.TB
	in  io.WriteCloser
	out *bufio.Scanner

	mu   sync.Mutex
	last int
}

// Few browsers run at a time: each wants more of the machine than all else that tests do.
var turns = make(chan struct{}, 2)

// Start starts a browser, which ends with the test. It skips the test where Chromium or Node.js is missing.
func Start(tb testing.TB) *Browser {
	tb.Helper()
	peers.Require(tb, "node", "chromium")
	driver := filepath.Join(folder(), "browser.mjs")
	peers.Require(tb, filepath.Join(folder(), "node_modules", ".bin", "playwright-core"))
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		tb.Fatal(err)
	}
	turns <- struct{}{}
	tb.Cleanup(func() { <-turns })
	node := exec.CommandContext(tb.Context(), "node", driver)
	node.Env = append(os.Environ(), "CHROMIUM="+chromium, "PATIENCE_MS="+strconv.Itoa(int(peers.Patience/time.Millisecond)), "HOME="+tb.TempDir())
	node.Stderr = os.Stderr
	in, err := node.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	node.Cancel = in.Close // the driver closes the browser then
	node.WaitDelay = peers.Patience
	if err := node.Start(); err != nil {
		tb.Fatal(err)
	}
	b := &Browser{tb: tb, in: in, out: bufio.NewScanner(out)}
	b.out.Buffer(nil, 64<<20)
	tb.Cleanup(func() {
		_ = in.Close()
		_ = node.Wait() // the browser has gone, however it went
	})
	b.answer(0)
	return b
}

// folder is where the programs of Node.js lie.
func folder() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(filepath.Dir(here)), "node")
}

// Next hands the browser to the next subtest, without any cookie. Subtests that share one run one after the other: a browser takes longer to start
// than most of them do.
func (b *Browser) Next(tb testing.TB) *Browser {
	tb.Helper()
	b.tb = tb
	b.Do(`await context.clearCookies(); await page.goto('about:blank')`, nil)
	return b
}

// Do runs a step and fails the test when it fails. What the step returns comes back as JSON.
func (b *Browser) Do(script string, args map[string]any) json.RawMessage {
	b.tb.Helper()
	result, err := b.Try(script, args)
	if err != nil {
		b.tb.Fatalf("in the browser: %v\nstep: %s", err, script)
	}
	return result
}

// Try runs a step and returns its error.
func (b *Browser) Try(script string, args map[string]any) (json.RawMessage, error) {
	b.tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	line, err := json.Marshal(map[string]any{"id": b.last, "script": script, "args": args})
	if err != nil {
		b.tb.Fatal(err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.tb.Fatalf("the browser has gone: %v", err)
	}
	return b.answer(b.last)
}

// Text runs a step that returns a text.
func (b *Browser) Text(script string, args map[string]any) string {
	b.tb.Helper()
	var text string
	if err := json.Unmarshal(b.Do(script, args), &text); err != nil {
		b.tb.Fatalf("the step returned no text: %v", err)
	}
	return text
}

// Goto opens an address and returns the status of the answer.
func (b *Browser) Goto(url string) int {
	b.tb.Helper()
	var status int
	if err := json.Unmarshal(b.Do(`return (await page.goto(args.url)).status()`, map[string]any{"url": url}), &status); err != nil {
		b.tb.Fatal(err)
	}
	return status
}

// Picture leaves a picture of the page in the folder that GATEHOUSE_PICTURES names, if any.
func (b *Browser) Picture(name string) {
	b.tb.Helper()
	if to := os.Getenv("GATEHOUSE_PICTURES"); to != "" {
		b.Do(`await page.screenshot({ path: args.path, fullPage: true })`, map[string]any{"path": filepath.Join(to, name+".png")})
	}
}

func (b *Browser) answer(id int) (json.RawMessage, error) {
	b.tb.Helper()
	if !b.out.Scan() {
		b.tb.Fatalf("the browser has gone: %v", b.out.Err())
	}
	var a struct {
		ID     int
		Result json.RawMessage
		Error  string
	}
	if err := json.Unmarshal(b.out.Bytes(), &a); err != nil || a.ID != id {
		b.tb.Fatalf("the browser answered %q", b.out.Text())
	}
	if a.Error != "" {
		return nil, fmt.Errorf("%s", a.Error)
	}
	return a.Result, nil
}
