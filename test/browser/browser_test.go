package browser_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/browser"
)

func TestBrowser(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<title>one</title><input name=a>")) // the browser says what it got
	}))
	t.Cleanup(page.Close)
	b := browser.Start(t)
	if status := b.Goto(page.URL); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if got := b.Text(`await page.fill('[name=a]', args.text); return await page.title() + ' ' + await page.inputValue('[name=a]')`, map[string]any{"text": "b\"c"}); got != `one b"c` {
		t.Errorf("%q", got)
	}
	if _, err := b.Try(`throw new Error('no')`, nil); err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("%v", err)
	}
}
