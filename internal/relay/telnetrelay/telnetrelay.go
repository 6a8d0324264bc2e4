// Package telnetrelay carries sessions to Telnet servers (RFC 854, RFC 855).
//
// Telnet has no sign-in of its own: a script waits for what a target asks and types what is stored. What passes meanwhile is neither shown nor recorded.
// No option that would carry a variable is ever agreed to.
package telnetrelay

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/relay"
)

// Dialer signs in to Telnet servers.
type Dialer struct {
	Outward relay.Outward
}

var _ remote.Dialer = (*Dialer)(nil)

// Dial implements remote.Dialer.
func (d *Dialer) Dial(ctx context.Context, to remote.Target) (remote.Link, error) {
	return nil, remote.ErrNotOffered
}
