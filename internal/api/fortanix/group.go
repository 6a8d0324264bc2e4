package fortanix

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

func (d *Dialect) listGroups(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	all, err := d.Groups.List(r.Context(), d.Access.For(by), by.Account)
	if err != nil {
		return err
	}
	return reply(w, list(all, groupOf))
}

func (d *Dialect) createGroup(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	name, err := named(r)
	if err != nil {
		return err
	}
	g, err := d.Groups.Create(r.Context(), d.Access.For(by), by.Account, name)
	if err != nil {
		return err
	}
	return reply(w, groupOf(g))
}

type wireGroup struct {
	ID        string   `json:"group_id"`
	Account   string   `json:"acct_id"`
	Name      string   `json:"name"`
	CreatedAt wireTime `json:"created_at"`
	Creator   any      `json:"creator"`
}

func groupOf(g identity.Group) wireGroup {
	return wireGroup{ID: g.ID, Account: g.Account, Name: g.Name, CreatedAt: wireTime(g.Created), Creator: creatorOf(g.Creator)}
}

// creatorOf names who made a thing: a user, an application, or somebody at the server's own command line.
func creatorOf(c identity.Creator) any {
	switch c.Kind {
	case string(access.User):
		return map[string]string{"user": c.ID}
	case string(access.Application):
		return map[string]string{"app": c.ID}
	default:
		return "system"
	}
}
