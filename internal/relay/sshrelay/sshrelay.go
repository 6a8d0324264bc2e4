// Package sshrelay carries sessions to SSH servers.
//
// The target's host key is compared with those that an administrator accepted, by the bytes, and with nothing else (rules S8, S16). The stored credential is
// shown to no other server. Nothing that a target opens by itself is taken: no agent, no X11, no forwarded port.
package sshrelay

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/relay"
)

// Dialer signs in to SSH servers.
type Dialer struct {
	Outward relay.Outward
	// Alive is how often a silent target is asked whether it is still there; 30 s when zero. One that does not answer for as long is gone.
	Alive time.Duration
}

var (
	_ remote.Dialer  = (*Dialer)(nil)
	_ device.Scanner = (*Dialer)(nil)
)

const (
	// version is what targets are told that we are.
	version = "SSH-2.0-Gatehouse"
	// defaultAlive is how often a target is asked.
	defaultAlive = 30 * time.Second
)

// Dial implements remote.Dialer.
func (d *Dialer) Dial(ctx context.Context, to remote.Target) (remote.Link, error) {
	if len(to.HostKeys) > maxPinned {
		to.HostKeys = to.HostKeys[:maxPinned]
	}
	e := &entry{target: to}
	config, err := e.config()
	if err != nil {
		return nil, err
	}
	var client *ssh.Client
	err = d.Outward.To(ctx, to.At, func(ctx context.Context, c net.Conn) error {
		conn, channels, requests, err := ssh.NewClientConn(c, to.At.String(), config)
		if err != nil {
			return e.failed(ctx, err)
		}
		client = ssh.NewClient(conn, channels, requests)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newLink(client, d.alive()), nil
}

func (d *Dialer) alive() time.Duration {
	if d.Alive > 0 {
		return d.Alive
	}
	return defaultAlive
}

// HostKeys implements device.Scanner: one connection for each kind of key, which ends before anybody signs in. Keys that are too weak to be pinned
// are left out.
func (d *Dialer) HostKeys(ctx context.Context, at netip.AddrPort) ([][]byte, error) {
	return d.scan(ctx, at)
}
