package app

import (
	"net/netip"
	"testing"
)

// rule W8: through an API nobody gives a device an address that leads back to this machine, or to where clouds tell machines their secrets.
func TestAddresses_of_devices(t *testing.T) {
	t.Parallel()
	own := []netip.Addr{netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("2001:db8::9")}
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("169.254.7.0/24")}
	for text, want := range map[string]bool{
		"10.2.0.11": true, "192.168.1.1": true, "198.51.100.7": true, "2001:db8::1": true, "fd12::1": true, "64:ff9b::a02:b": true,
		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "0.0.0.0": false, "::": false,
		"169.254.169.254": false, "fe80::1": false, "fd00:ec2::254": false, "64:ff9b::a9fe:a9fe": false, "224.0.0.1": false, "ff02::1": false,
		"10.9.9.9": false, "::ffff:10.9.9.9": false, "2001:db8::9": false, "64:ff9b::a09:909": false,
		"127.0.0.2": true, "169.254.7.8": true, "::ffff:127.0.0.2": true,
	} {
		if got := mayBeDevice(netip.MustParseAddr(text), allowed, own); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestOwnAddresses_hold_loopback(t *testing.T) {
	t.Parallel()
	for _, a := range ownAddresses() {
		if a.IsLoopback() {
			return
		}
	}
	t.Error("this machine has no loopback address")
}
