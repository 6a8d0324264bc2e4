package outbound

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// cloudData is where a cloud answers its machines over IPv6, in the middle of the addresses that are one's own.
var cloudData = netip.MustParseAddr("fd00:ec2::254")

// DialInside connects to a host that an administrator named and that mostly lies in one's own network, such as a directory. Beside what the policy allows
// it takes private and loopback addresses. Link-local ones, where clouds tell machines their secrets, stay forbidden.
func (p Policy) DialInside(ctx context.Context, network, address string) (net.Conn, error) {
	if p.named(address) {
		return p.dial(ctx, network, address)
	}
	d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		target, err := netip.ParseAddrPort(address)
		if err != nil || !p.Allowed(target.Addr()) && !inside(target.Addr()) {
			return ErrForbidden
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}

// inside says whether an address belongs to one's own networks.
func inside(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	return (addr.IsPrivate() || addr.IsLoopback()) && addr != cloudData
}
