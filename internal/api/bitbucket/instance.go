package bitbucket

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// statusPath is the one path of this wire that lies outside /rest.
const statusPath = "/status"

// instance are the routes by which programs look what they talk to.
func (d *Dialect) instance() []api.Route {
	return []api.Route{d.coreOpen("GET", "/rest/api/{v}/application-properties", showProperties)}
}

// wireProperties says which product of the vendor's this wire is that of.
type wireProperties struct {
	Version string `json:"version"`
	Build   string `json:"buildNumber"`
	Date    string `json:"buildDate"`
	Name    string `json:"displayName"`
}

func showProperties(w http.ResponseWriter, _ *http.Request) error {
	return coreReply(w, http.StatusOK, wireProperties{"9.4.0", "9004000", "0", "Bitbucket"})
}

// wireState is whether the instance answers.
type wireState struct {
	State string `json:"state"`
}

// running is a route for whoever watches over the instance: why it is not ready is in the logs, and at our own door.
func (d *Dialect) running() api.Route {
	return api.Route{Method: "GET", Pattern: statusPath, Action: access.Public, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, state := http.StatusOK, "RUNNING"
		if len(d.Ready(r.Context())) > 0 {
			status, state = http.StatusServiceUnavailable, "ERROR"
		}
		_ = api.WriteJSON(w, status, wireState{state}) // texts always encode
	})}
}
