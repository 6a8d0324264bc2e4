package console

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatehouse-project/gatehouse/internal/api"
)

func ask(t *testing.T, files fs.FS, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	mux, err := api.Mount(owner(files))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func TestOwner(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"session.js": {Data: []byte("one()")}, "session.css": {Data: []byte("a {}")}, "index.html": {Data: []byte("<p>")}, "deep/x.js": {Data: []byte("x")}, "odd.exe": {Data: []byte("x")},
	}
	t.Run("serves what was built", func(t *testing.T) {
		t.Parallel()
		for name, kind := range map[string]string{"session.js": "text/javascript; charset=utf-8", "session.css": "text/css; charset=utf-8"} {
			w := ask(t, files, "/assets/"+name)
			if w.Code != 200 || w.Header().Get("Content-Type") != kind || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: %d %v", name, w.Code, w.Header())
			}
			if again := ask(t, files, "/assets/"+name, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
				t.Errorf("%s is sent again: %d", name, again.Code)
			}
		}
	})
	t.Run("serves nothing else", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/assets", "/assets/nothing.js", "/assets/index.html", "/assets/odd.exe", "/assets/deep/x.js", "/assets/deep%2fx.js", "/assets/..%2fconsole.go"} {
			if w := ask(t, files, path); w.Code != http.StatusNotFound {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	})
	t.Run("says how to build what was not built", func(t *testing.T) {
		t.Parallel()
		w := ask(t, fstest.MapFS{"index.html": files["index.html"]}, "/assets/session.js")
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "make build") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// What is built lies beside the committed page: both are what the program embeds.
func TestBuilt(t *testing.T) {
	t.Parallel()
	if _, err := fs.Stat(built(), "index.html"); err != nil {
		t.Error(err)
	}
	if !Built() {
		t.Skip("the console is not built: make console")
	}
	for _, name := range []string{"session.js", "session.css", "watch.js", "watch.css", "play.js", "play.css", "player.js", "player.css"} {
		if w := ask(t, built(), "/assets/"+name); w.Code != 200 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}
