package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// Health owns /healthz and /readyz. Both answer in plain text to anybody.
//
// /healthz is 200 as long as the process answers at all. /readyz is 200 when ready returns nothing, and
// otherwise 503 with one reason a line; strangers read them, so they must name no secret and no address.
func Health(ready func(ctx context.Context) []string) Owner {
	return Owner{
		Name:     "health",
		Prefixes: []string{"/healthz", "/readyz"},
		Routes: []Route{
			{http.MethodGet, "/healthz", access.Public, http.HandlerFunc(alive)},
			{http.MethodGet, "/readyz", access.Public, readiness(ready)},
		},
	}
}

func alive(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") }

func readiness(ready func(ctx context.Context) []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if reasons := ready(r.Context()); len(reasons) > 0 {
			plain(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n"))
			return
		}
		plain(w, http.StatusOK, "ok")
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	send(w, status, "text/plain; charset=utf-8", []byte(text+"\n"))
}
