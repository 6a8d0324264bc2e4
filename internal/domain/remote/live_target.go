package remote

import (
	"context"
	"net/netip"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
)

// target is all that the relay needs: the host keys that are accepted for the port, and the credential, which is lent here and nowhere else.
func (s *Service) target(ctx context.Context, x Session, d device.Device) (Target, error) {
	keys, err := s.Devices.Accepted(ctx, x.Target, x.Port)
	if err != nil {
		return Target{}, err
	}
	plain, c, err := s.Vault.Lend(ctx, x.Credential, s.eventOf(s.visitor(x), access.CredentialLend, x, audit.Done))
	if err != nil {
		return Target{}, err
	}
	if c.Username != x.Username { // it was renamed since somebody asked, and perhaps approved
		return Target{}, ErrLinkDenied
	}
	t := Target{
		Host: x.Host, At: netip.AddrPortFrom(x.IP, uint16(x.Port)), Protocol: x.Protocol, //nolint:gosec // a port was checked where it came in
		Username: c.Username, Domain: c.Domain, HostKeys: keys, Script: d.Script, Screen: x.Screen,
	}
	if c.Kind == vault.SSHKey {
		t.Key = plain
	} else {
		t.Password = plain
	}
	return t, nil
}

// opening is what the session opens, as grants are asked for it.
func (s Session) opening() access.Opening {
	return access.Opening{Device: s.Device, Credential: s.Credential, Target: s.Target, Protocol: string(s.Protocol), Port: s.Port}
}

// lostEvent is the end of a session whose node is gone.
func (s *Service) lostEvent(x Session) audit.Event {
	return s.eventOf(s.clock(), sessionEnded, x, audit.Done).With("why", string(NodeLost)).With("node", x.Node)
}
