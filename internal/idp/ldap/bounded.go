package ldap

import (
	"net"
	"sync/atomic"
)

// bounded is a connection that brings so many bytes and then fails. One goroutine reads it; others may ask why it failed.
type bounded struct {
	net.Conn
	left int
	over atomic.Bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.over.Store(true)
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *bounded) exceeded() bool { return b.over.Load() }
