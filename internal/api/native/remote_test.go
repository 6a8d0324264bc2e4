package native_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// comes lets dana come by the link that was made last: the session waits, and asks for approval where the grant wants it.
func (h *house) comes(t *testing.T) {
	t.Helper()
	x, err := h.api.Remote.Store.Change(t.Context(), h.lastRemote(t), nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
		x.State, x.Redeemed, x.Expires = remote.Waiting, h.clock.Now(), h.clock.Now().Add(10*60e9)
		return x, nil, nil
	})
	must(t, err)
	_, err = h.api.Remote.Due(t.Context(), x)
	must(t, err)
}

// begins lets the last session of dana start.
func (h *house) begins(t *testing.T) {
	t.Helper()
	_, err := h.api.Remote.Store.Change(t.Context(), h.lastRemote(t), nil, func(x remote.Session) (remote.Session, []audit.Event, error) {
		x.State, x.Started, x.Node, x.Code = remote.Active, h.clock.Now(), "node", strings.Repeat("4be1c07d92", 4)
		return x, nil, nil
	})
	must(t, err)
}

func (h *house) lastRemote(t *testing.T) string {
	t.Helper()
	var id string
	must(t, h.db.Read(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		id, err = store.One(ctx, tx, store.Value[string], `SELECT MAX(id) FROM remote_sessions WHERE user_id = $1`, h.ids["dana"])
		return err
	}))
	return id
}
