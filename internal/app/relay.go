package app

import (
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/recording"
	"github.com/gatehouse-project/gatehouse/internal/relay/sshrelay"
	"github.com/gatehouse-project/gatehouse/internal/relay/telnetrelay"
)

// connectRemote gives the service what signs in to targets, one for each protocol, and what follows files.
func (s *Server) connectRemote() {
	out := s.toDevices()
	out.Patience = s.Config.Remote.DialTimeout
	s.Remote.Dialers = map[device.Protocol]remote.Dialer{device.SSH: &sshrelay.Dialer{Outward: out}, device.Telnet: &telnetrelay.Dialer{Outward: out}}
	s.Remote.NewFileTap = sshrelay.NewTap
	s.Remote.NewFilter = func() func(dst, p []byte) []byte { return new(recording.Filter).Append }
}
