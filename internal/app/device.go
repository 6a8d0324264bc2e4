package app

import (
	"net"
	"net/netip"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/relay"
	"github.com/gatehouse-project/gatehouse/internal/relay/sshrelay"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

func (h *House) buildDevices() {
	h.Devices = &device.Service{
		Store: store.Devices{DB: h.DB}, Access: h.Access, Now: h.Now, NewID: newID,
		Allowed: func(a netip.Addr) bool { return mayBeDevice(a, h.Config.Device.Allow, ownAddresses()) },
		Scanner: &sshrelay.Dialer{Outward: h.toDevices()},
	}
	h.Vault = &vault.Service{
		Store: store.Credentials{DB: h.DB, Sealer: h.Sealer}, Access: h.Access, Devices: h.Devices, Now: h.Now, NewID: newID,
		Held: h.Config.Remote.Custody, FreshFor: h.Config.Auth.Fresh, Every: h.Config.Session.SweepEvery, OnError: h.failed,
	}
}

// toDevices is the way to targets: into one's own networks and out of them, but not where clouds tell machines their secrets.
func (h *House) toDevices() relay.Outward {
	var allow []string
	for _, p := range h.Config.Device.Allow {
		allow = append(allow, p.String())
	}
	reach, err := outbound.NewPolicy(allow)
	if err != nil {
		panic("config let a bad device.allow through: " + err.Error())
	}
	return relay.Outward{Connect: reach.DialInside}
}

// cloudData is where a cloud tells its machines their secrets over IPv6, in the middle of the addresses that are one's own.
var cloudData = netip.MustParseAddr("fd00:ec2::254")

// nat64 is the prefix under which IPv4 addresses are reached from IPv6 alone (RFC 6052 section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// mayBeDevice reports whether a caller of an API may give an address to a device: not one that leads back to this machine, nor a link-local one, where
// clouds tell machines their secrets (rule W8), unless the operator allows it. Private networks are where devices lie.
func mayBeDevice(a netip.Addr, allowed []netip.Prefix, own []netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	if nat64.Contains(a) {
		inside := a.As16()
		return mayBeDevice(netip.AddrFrom4([4]byte(inside[12:])), allowed, own)
	}
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified() && !a.IsMulticast() && a != cloudData && !slices.Contains(own, a)
}

// ownAddresses are those of this machine now; where it does not tell, there are none.
func ownAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, one := range all {
		if p, err := netip.ParsePrefix(one.String()); err == nil {
			own = append(own, p.Addr().Unmap().WithZone(""))
		}
	}
	return own
}
