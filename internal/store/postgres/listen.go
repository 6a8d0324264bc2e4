package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Listen implements store.Engine. It listens on a connection of its own and makes a fresh one, with
// a growing pause, whenever that fails.
func (e *Engine) Listen(ctx context.Context, notice func(string), missed func()) error {
	defer e.hub.Add(notice)()
	wait := e.options.ListenBackoff
	for {
		heard := e.listenOnce(ctx, notice, missed)
		if ctx.Err() != nil {
			return nil
		}
		if heard {
			wait = e.options.ListenBackoff
		}
		if !pause(ctx, jitter(wait)) {
			return nil
		}
		wait = min(2*wait, 32*e.options.ListenBackoff)
	}
}

// listenOnce listens until the connection fails or ctx ends, and tells whether it ever began.
func (e *Engine) listenOnce(ctx context.Context, notice func(string), missed func()) (began bool) {
	conn, err := pgx.ConnectConfig(ctx, e.config.Copy())
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return false
	}
	missed()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		notice(n.Payload)
	}
}
