package api

import (
	"bytes"
	"html/template"
	"net/http"
)

// WritePage answers with a page. It is made before anything is sent; the other headers are the caller's.
func WritePage(w http.ResponseWriter, status int, pages *template.Template, name string, content any) error {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, name, content); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the browser has gone: nobody is left to tell
	return nil
}
