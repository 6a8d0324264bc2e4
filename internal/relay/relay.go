// Package relay holds what all relays to targets share: the way out.
//
// A relay signs in to a target for somebody and carries bytes; each protocol has its own package below. Targets are taken for hostile: whatever they
// send is bounded before it is kept (rule W5).
package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Outward connects to targets.
type Outward struct {
	// Connect makes the connection: outbound.Policy.DialInside, which takes one's own networks, refuses link-local addresses, where clouds tell machines
	// their secrets, and knows no proxies.
	Connect func(ctx context.Context, network, address string) (net.Conn, error)
	// Patience bounds the connection and all that must pass before the person is in; 15 s when zero.
	Patience time.Duration
}

// defaultPatience is how long a target has to let somebody in.
const defaultPatience = 15 * time.Second

// To connects to a target, and calls with to sign in: both end with the context, and with Patience. The connection has no deadline afterwards, and is
// closed when with fails. What with returns is passed on; a connection that cannot be made is remote.ErrUnreachable.
func (o Outward) To(ctx context.Context, at netip.AddrPort, with func(ctx context.Context, c net.Conn) error) error {
	patience := o.Patience
	if patience <= 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := o.Connect(ctx, "tcp", at.String())
	if err != nil {
		return fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
	}
	err = o.under(ctx, c, with)
	if err != nil {
		c.Close()
	}
	return err
}

// under calls with while a deadline and the context hang over the connection.
func (o Outward) under(ctx context.Context, c net.Conn, with func(ctx context.Context, c net.Conn) error) error {
	at, _ := ctx.Deadline()
	if err := c.SetDeadline(at); err != nil {
		return fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	err := with(ctx, c)
	if !stop() && err == nil { // it is being closed
		return fmt.Errorf("%w: %w", remote.ErrUnreachable, context.Cause(ctx))
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
	}
	return nil
}
