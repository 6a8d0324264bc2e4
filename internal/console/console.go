// Package console holds the built scripts and styles of the pages that need them, and serves them under /assets.
//
// Their source lies in console/ at the root. `make console` builds them into dist, which is not committed; a program that was built without them
// says so where they are wanted.
package console

import (
	"embed"
	"io/fs"
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
)

// all: lets the folder hold nothing but the committed page, whatever a build left there.
//
//go:embed all:dist
var dist embed.FS

// Name is the console's name among owners of paths, and in logs.
const Name = "console"

// Owner is the console's part of the HTTP door.
func Owner() api.Owner { return owner(built()) }

// Built reports whether the scripts are there. Pages that live by them answer with Stub where they are not.
func Built() bool { return whole(built()) }

// Stub says that the scripts were not built, and how to build them.
func Stub(w http.ResponseWriter, _ *http.Request) {
	page, _ := fs.ReadFile(built(), "index.html") // committed: a program without it does not compile
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(page)
}

func built() fs.FS {
	files, _ := fs.Sub(dist, "dist") // fails for names that are no path alone
	return files
}

func whole(files fs.FS) bool {
	_, err := fs.Stat(files, "session.js")
	return err == nil
}

func owner(files fs.FS) api.Owner {
	return api.Assets(Name, "/assets", files, func(w http.ResponseWriter, r *http.Request) {
		if !whole(files) {
			Stub(w, r)
			return
		}
		http.Error(w, "404 page not found", http.StatusNotFound)
	})
}
