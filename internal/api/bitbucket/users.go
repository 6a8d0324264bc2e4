package bitbucket

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// directory are the routes by which people find one another.
func (d *Dialect) directory() []api.Route {
	const at = "/rest/api/{v}/users"
	return []api.Route{
		d.core("GET", at, access.UserRead, d.listUsers),
		d.core("GET", at+"/{userSlug}", access.UserRead, d.showUser),
	}
}

// listUsers lists the users whose name, display name or e-mail address begins with the filter.
func (d *Dialect) listUsers(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	beginning := storable(r.URL.Query().Get("filter"))
	all, err := listed(r, func(want page.Window) (page.Page[identity.User], error) {
		return d.Users.People(r.Context(), d.Access.For(by), beginning, want)
	}, func(u identity.User) (*wireUser, error) { return d.user(u), nil })
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, all)
}

// showUser shows one.
func (d *Dialect) showUser(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	name := storable(r.PathValue("userSlug"))
	u, err := d.Users.Named(r.Context(), d.Access.For(by), name)
	if fault.Is(err, fault.NotFound) {
		err = notThere(noSuchUser, "User %s does not exist.", name)
	}
	if err != nil {
		return err
	}
	return coreReply(w, http.StatusOK, d.user(u))
}
