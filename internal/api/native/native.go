// Package native is Gatehouse's own HTTP API and the place where every API is described.
//
// Every operation is one line of the table in table.go: a route, the action that it stands for, and a function from what was asked to what
// is answered. The two types of that function are what is read, written and described, so the document cannot lie. Requests are read
// strictly: what is not known is refused by name. What fails is answered with a problem (RFC 9457).
//
// NewDocument begins one OpenAPI 3.1 document; app lets each API that belongs in it add its operations;
// New renders it once, as /openapi.json for programs and as /docs for people. The page is made on the
// server, loads nothing from anywhere, and works without script.
package native

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// New returns the owner of the native paths, with the routes of an API. It reports a document that cannot be written.
func New(doc *huma.OpenAPI, routes ...api.Route) (api.Owner, error) {
	spec, err := json.Marshal(doc)
	if err != nil {
		return api.Owner{}, fmt.Errorf("write OpenAPI document: %w", err)
	}
	page, policy, err := renderDocs(doc)
	if err != nil {
		return api.Owner{}, fmt.Errorf("render documentation: %w", err)
	}
	return api.Owner{
		Name:     name,
		Prefixes: []string{"/api/v1", "/openapi.json", "/docs"},
		Routes: append([]api.Route{
			{Method: http.MethodGet, Pattern: "/openapi.json", Action: access.Public, Handler: serveSpec(spec)},
			{Method: http.MethodGet, Pattern: "/docs", Action: access.Public, Handler: servePage(page, policy)},
		}, routes...),
		NotFound:         problem(http.StatusNotFound, "No such endpoint"),
		MethodNotAllowed: problem(http.StatusMethodNotAllowed, "Method not allowed"),
		Fail:             fail,
	}, nil
}

func problem(status int, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		api.WriteProblem(w, api.Problem{Status: status, Detail: detail})
	}
}

func serveSpec(spec []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(spec)
	}
}

func servePage(page []byte, policy string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(page)
	}
}
