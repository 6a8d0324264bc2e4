package fortanix

import "net/http"

// wireVersion names the release of the vendor's service whose wire this is; clients compare it.
type wireVersion struct {
	Version    string `json:"version"`
	APIVersion string `json:"api_version"`
	ServerMode string `json:"server_mode"`
}

// version tells anybody which wire is spoken.
func version(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, wireVersion{"4.37.2500", "v1-20260526", "Software"})
}

// health tells anybody whether the store can be reached.
func (d *Dialect) health(w http.ResponseWriter, r *http.Request) error {
	if d.Ready(r.Context()) != nil {
		return errUnreach
	}
	return done(w)
}
