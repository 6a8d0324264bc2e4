package bitbucket

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
)

// basicAuth are the routes of the policy on passwords by Basic.
func (d *Dialect) basicAuth() []api.Route {
	const at = "/rest/basicauth/{v}/config"
	return []api.Route{
		d.office("GET", at, access.BasicAuthRead, d.showBasic),
		d.office("PUT", at, access.BasicAuthUpdate, d.changeBasic, row{policy.ErrOvertaken, http.StatusConflict, "Another update is in progress."}),
	}
}

const (
	allowedPaths = "allowed-paths"
	allowedUsers = "allowed-users"
)

// wireBasic is a BasicAuthConfigEntity.
type wireBasic struct {
	Block bool     `json:"block-requests"`
	Paths []string `json:"allowed-paths"`
	Users []string `json:"allowed-users"`
	Warn  bool     `json:"show-warning-message"`
}

// showBasic shows who may send a password by Basic.
func (d *Dialect) showBasic(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	is, err := d.Policy.ReadBasic(r.Context(), by)
	if err != nil {
		return err
	}
	return reply(w, wireBasic{is.Block, append([]string{}, is.Paths...), append([]string{}, is.Users...), is.Warn})
}

// changeBasic changes the members that come.
func (d *Dialect) changeBasic(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	block, warn, paths, users := body.flag("block-requests"), body.flag("show-warning-message"), body.list(allowedPaths), body.list(allowedUsers)
	if err := body.wrong(); err != nil {
		return err
	}
	_, err = d.Policy.ChangeBasic(r.Context(), by, func(is policy.Basic) (policy.Basic, error) {
		if block != nil {
			is.Block = *block
		}
		if warn != nil {
			is.Warn = *warn
		}
		if paths != nil {
			is.Paths = paths
		}
		if users != nil {
			is.Users = users
		}
		return is, nil
	})
	if err != nil {
		return inWireWords(err)
	}
	return done(w)
}

// warned tells who sends a password by Basic what the policy says of that, right or wrong.
func (d *Dialect) warned(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := byBasic(r); ok {
			if text, err := d.Login.BasicWarning(r.Context(), p); err == nil { // an error meets the password as well, and is told there
				api.Warn(w, text)
			}
		}
		h.ServeHTTP(w, r)
	})
}
