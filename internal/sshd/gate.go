package sshd

import (
	"net"
	"net/netip"
	"sync"
)

// gate counts the connections that have not authenticated (rule S7).
type gate struct {
	perAddress int
	all        int

	mu    sync.Mutex
	total int
	by    map[netip.Prefix]int
}

// enter takes a place among all. It reports whether there was one.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.all {
		return false
	}
	g.total++
	return true
}

// claim takes one of the places of an address, for somebody who has entered.
func (g *gate) claim(from netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.by[from] >= g.perAddress {
		return false
	}
	if g.by == nil {
		g.by = make(map[netip.Prefix]int)
	}
	g.by[from]++
	return true
}

// leave gives back what enter and, where from is valid, claim took.
func (g *gate) leave(from netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if !from.IsValid() {
		return
	}
	if g.by[from]--; g.by[from] == 0 {
		delete(g.by, from)
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

// host is what the cap on an address counts: an IPv4 address, or the /64 network in which an IPv6 host
// takes as many addresses as it likes.
func host(a netip.Addr) netip.Prefix {
	switch {
	case a.Is4():
		return netip.PrefixFrom(a, 32)
	case a.Is6():
		return netip.PrefixFrom(a, 64).Masked()
	default: // no IP address, such as a Unix socket's: all of them are one host
		return netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	}
}

// addressOf is where a connection comes from, IPv4 as IPv4 and without a zone. Behind a proxy it may
// have to wait for the PROXY header.
func addressOf(socket net.Conn) netip.Addr {
	remote := socket.RemoteAddr()
	if tcp, ok := remote.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	if remote == nil {
		return netip.Addr{}
	}
	pair, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}
	}
	return pair.Addr().Unmap().WithZone("")
}
