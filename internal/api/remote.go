package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// remote settles where a request comes from: the peer of the connection, or, where that is a trusted
// proxy, the rightmost address of X-Forwarded-For that is none. An entry that is no address ends the walk:
// whoever wrote it cannot be believed about what stands left of it (rule F13).
func (d *Door) remote(r *http.Request) netip.AddrPort {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	at := netip.AddrPortFrom(plainAddr(peer.Addr()), peer.Port())
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !d.trusts(at.Addr()) {
			break
		}
		addr, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			break
		}
		at = netip.AddrPortFrom(addr, 0)
	}
	return at
}

func (d *Door) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(d.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseHop reads one entry of X-Forwarded-For: an address, with a port from some proxies.
func parseHop(hop string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(strings.Trim(hop, "[]")); err == nil {
		return plainAddr(addr), true
	}
	if pair, err := netip.ParseAddrPort(hop); err == nil {
		return plainAddr(pair.Addr()), true
	}
	return netip.Addr{}, false
}

// plainAddr writes IPv4 as IPv4 and drops the zone, so that one client has one address.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// dropIdentity removes the headers by which proxies tell who is calling and from where. They are read
// above, or not at all; nothing behind the door may see them.
func dropIdentity(h http.Header) {
	for name := range h {
		lower := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		switch {
		case lower == "x-gatehouse-csrf": // names nobody: it only says that a page's own script sent the request
		case strings.HasPrefix(lower, "x-forwarded-"), strings.HasPrefix(lower, "x-gatehouse-"),
			slices.Contains(identityHeaders, lower):
			delete(h, name)
		}
	}
}

var identityHeaders = []string{
	"forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-request-id",
	"remote-user", "x-remote-user", "x-user", "x-authenticated-user", "x-webauth-user",
	"x-original-url", "x-rewrite-url", "x-http-method-override", "x-method-override",
}
