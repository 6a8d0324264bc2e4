package sshrelay

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// scanned are the algorithms that a target is asked for, one connection each: a target shows one key in a key exchange.
var scanned = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512}

// errSeen ends a key exchange whose key was seen.
var errSeen = errors.New("the host key was seen")

func (d *Dialer) scan(ctx context.Context, at netip.AddrPort) ([][]byte, error) {
	var blobs [][]byte
	var last error
	for _, algorithm := range scanned {
		key, err := d.show(ctx, at, algorithm)
		var none *ssh.AlgorithmNegotiationError
		switch {
		case err == nil && !weak(key):
			blobs = append(blobs, key.Marshal())
		case err == nil || errors.As(err, &none):
		default:
			last = err
		}
		if last != nil {
			break
		}
	}
	if len(blobs) == 0 && last == nil {
		last = errors.Join(remote.ErrUnreachable, errors.New("the target has no host key that can be trusted"))
	}
	if len(blobs) == 0 {
		return nil, last
	}
	return blobs, nil
}

// show returns the key that a target proves by an algorithm.
func (d *Dialer) show(ctx context.Context, at netip.AddrPort, algorithm string) (ssh.PublicKey, error) {
	var key ssh.PublicKey
	err := d.Outward.To(ctx, at, func(_ context.Context, c net.Conn) error {
		_, _, _, err := ssh.NewClientConn(c, at.String(), &ssh.ClientConfig{
			Config:            algorithms(),
			HostKeyAlgorithms: []string{algorithm},
			ClientVersion:     version,
			HostKeyCallback: func(_ string, _ net.Addr, shown ssh.PublicKey) error {
				key = shown
				return errSeen
			},
		})
		if key != nil {
			return errSeen
		}
		return errors.Join(remote.ErrUnreachable, err)
	})
	if key != nil {
		return key, nil
	}
	return nil, err
}
