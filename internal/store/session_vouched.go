package store

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
)

// EndVouched implements session.Store.
func (s Sessions) EndVouched(ctx context.Context, v session.Vouched, at time.Time, event func(session.Session) audit.Event) (int, error) {
	ended := 0
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		over, err := vouchedSessions(ctx, tx, v)
		if err != nil {
			return err
		}
		ended = len(over)
		for _, x := range over {
			if err := endOne(ctx, tx, x.ID, at, event(x)); err != nil {
				return err
			}
		}
		return dropVouched(ctx, tx, v)
	})
	return ended, err
}

// vouchedSessions finds the living sessions: each case by the index that fits it. Somebody whom the provider names and who is no user has none.
func vouchedSessions(ctx context.Context, tx Tx, v session.Vouched) ([]session.Session, error) {
	const living = selectSession + ` WHERE s.ended IS NULL AND s.provider = $1`
	switch {
	case v.User != "":
		return All(ctx, tx, scanSignedIn, living+` AND s.kind = 'user' AND s.principal = $2 AND ($3 = '' OR s.provider_session IN ('', $3))`, v.Provider, v.User, v.Session)
	case v.Subject == "" && v.Session != "":
		return All(ctx, tx, scanSignedIn, living+` AND s.provider_session = $2 AND s.provider_session <> ''`, v.Provider, v.Session)
	}
	return nil, nil
}

// dropVouched ends the sign-ins that wait for a second factor, or for the browser that began them.
func dropVouched(ctx context.Context, tx Tx, v session.Vouched) error {
	const waits = `DELETE FROM factor_conversations WHERE provider = $1`
	var err error
	switch {
	case v.User != "":
		_, err = tx.ExecContext(ctx, waits+` AND user_id = $2 AND ($3 = '' OR provider_session IN ('', $3))`, v.Provider, v.User, v.Session)
	case v.Subject == "" && v.Session != "":
		_, err = tx.ExecContext(ctx, waits+` AND provider_session = $2`, v.Provider, v.Session)
	}
	if err != nil {
		return err
	}
	const answered = `DELETE FROM login_flows WHERE provider = $1 AND length(finish) > 0`
	switch {
	case v.Subject != "":
		_, err = tx.ExecContext(ctx, answered+` AND subject = $2 AND ($3 = '' OR provider_session IN ('', $3))`, v.Provider, session.AtProvider(v.Subject), v.Session)
	case v.Session != "":
		_, err = tx.ExecContext(ctx, answered+` AND provider_session = $2`, v.Provider, v.Session)
	}
	return err
}
