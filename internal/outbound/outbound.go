// Package outbound makes every HTTP call to an address that somebody else chose.
//
// Its dialer looks at the address after the name was resolved, for each connection, so a name that
// changes its answer gains nothing (rule W8). No proxy is taken from the environment, no redirect is
// followed, and what comes back is bounded.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// ErrForbidden says that an address is not one that Gatehouse may call.
var ErrForbidden = errors.New("target address is not allowed")

// Policy says which addresses may be called. Public ones always may.
type Policy struct {
	guard *ssrf.Guardian
	hosts []string // lower case; their addresses are not looked at
}

// NewPolicy returns a policy with the operator's exceptions: each an address, a CIDR or a host name.
func NewPolicy(allow []string) (Policy, error) {
	var v4, v6 []netip.Prefix
	p := Policy{}
	for _, entry := range allow {
		prefix, err := parsePrefix(entry)
		switch {
		case err == nil && prefix.Addr().Is4():
			v4 = append(v4, prefix)
		case err == nil:
			v6 = append(v6, prefix)
		case strings.ContainsAny(entry, "/: ") || entry == "":
			return p, fmt.Errorf("%q is neither an address, a CIDR nor a host name", entry)
		default:
			p.hosts = append(p.hosts, strings.ToLower(strings.TrimSuffix(entry, ".")))
		}
	}
	p.guard = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
	return p, nil
}

func parsePrefix(entry string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(entry); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(entry)
	return prefix.Masked(), err
}

// Allowed reports whether an address may be called. Addresses that carry an IPv4 address inside,
// mapped or by NAT64, are judged by that one too.
func (p Policy) Allowed(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	network := "tcp6"
	if addr.Is4() {
		network = "tcp4"
	}
	return p.guard.Safe(network, netip.AddrPortFrom(addr, 1).String(), nil) == nil
}

// control is called with the resolved address of each connection before it is made.
func (p Policy) control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil || !p.Allowed(target.Addr()) {
		return ErrForbidden
	}
	return nil
}

// dial connects to an allowed address.
func (p Policy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, Control: p.control}
	if p.named(address) {
		d.Control = nil // the operator named this very host
	}
	return d.DialContext(ctx, network, address)
}

// named says whether the operator excepted the host of an address by its name.
func (p Policy) named(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && slices.Contains(p.hosts, strings.ToLower(strings.TrimSuffix(host, ".")))
}

// Client returns an HTTP client that obeys the policy.
func (p Policy) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would connect for us, past the check
			DialContext:            p.dial,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    64,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // a bomb stays as small as it was sent
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
