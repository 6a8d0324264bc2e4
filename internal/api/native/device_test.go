package native_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
)

// hostKey is what the device at 10.2.0.11 shows.
const hostKey = "AAAAC3NzaC1lZDI1NTE5AAAAIGlVAVjn1kiLhkzahBgYK686R+UBMNS3fMDfli80ep8P"

// hostKeys are the wire forms of hostKey.
func hostKeys() showing {
	blob, err := base64.StdEncoding.DecodeString(hostKey)
	if err != nil {
		panic(err)
	}
	return showing{blob}
}

// showing is a device.Scanner of devices that show these host keys.
type showing [][]byte

func (s showing) HostKeys(_ context.Context, at netip.AddrPort) ([][]byte, error) {
	if at.String() != "10.2.0.11:22" {
		return nil, errors.New("connection refused")
	}
	return s, nil
}
