package sshverify

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// authInfo tells the holder of a key what the key is.
func (d *Dialect) authInfo(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	t, err := d.Tokens.Self(r.Context(), by)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, wireAuthInfo{
		ID: t.ID, Name: t.Name, ProjectID: t.Project, CreatedAt: moment(t.Created), ExpiredAt: maybe(t.Expires),
	})
}
