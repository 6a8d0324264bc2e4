package api

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// Assets is an owner that serves the files of one folder at a path of one segment: scripts and styles, which anybody may see.
// Files of a kind that it does not know, and files that are not there, are what missing answers.
func Assets(name, prefix string, files fs.FS, missing http.HandlerFunc) Owner {
	return Owner{
		Name: name, Prefixes: []string{prefix}, NotFound: missing,
		Routes: []Route{{Method: http.MethodGet, Pattern: prefix + "/{file}", Action: access.Public, Handler: assets{files, missing}}},
	}
}

type assets struct {
	files   fs.FS
	missing http.HandlerFunc
}

// assetKinds are types by the ends of names. The machine's own table is not asked: it differs from one to the next.
var assetKinds = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8",
}

// ServeHTTP serves one file. Browsers keep it and ask each time whether it is still the same, so a new version is not drawn with the old files.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kind, known := assetKinds[path.Ext(name)]
	body, err := fs.ReadFile(a.files, name) // refuses names that lead elsewhere
	if err != nil || !known || strings.Contains(name, "/") {
		a.missing(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(body)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
}
