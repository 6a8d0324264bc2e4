package app

import (
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/sshd"
)

// sshDoor is the SSH door with its limits as configured.
func (s *Server) sshDoor(keys []ssh.Signer) *sshd.Server {
	c, limits := s.Config, sshd.DefaultLimits()
	limits.Handshake, limits.Auth, limits.Connection = c.SSHDoor.HandshakeTimeout, c.SSHDoor.AuthTimeout, c.SSHDoor.ConnectionTimeout
	limits.PerAddress, limits.Total = c.SSHDoor.UnauthenticatedPerAddress, c.SSHDoor.UnauthenticatedTotal
	limits.Confirm, limits.Channel, limits.Leave = c.SSHVerify.ConfirmTimeout, c.SSHVerify.ChannelWait, c.SSHVerify.LeaveWait
	limits.Grace, limits.Drain = c.ShutdownTimeout, c.Git.IdleTimeout
	host, port := s.publicSSH()
	return &sshd.Server{
		Keyproof: s.Keyproof, Git: s.gitOverSSH(), Audit: s.Audit, Remote: &sshd.Remote{Keys: s.Keys, Login: s.Login, Sessions: s.Remote}, HostKeys: keys, Now: s.Now, Log: s.Log, Limits: limits, PublicHost: host, PublicPort: port,
		Hooks: sshd.Hooks{Closed: s.metrics.sshClosed, HandshakeFailed: s.metrics.sshHandshakeFailed},
	}
}

// publicSSH is where people reach the SSH door.
func (s *Server) publicSSH() (host string, port int) {
	host, text, err := net.SplitHostPort(s.Config.PublicSSH)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		panic("config let a bad public_ssh through: " + err.Error())
	}
	return host, port
}

func (m *metrics) sshClosed(outcome string, _ time.Duration) {
	m.connections.WithLabelValues(outcome).Inc()
}

func (m *metrics) sshHandshakeFailed(reason string) { m.handshakes.WithLabelValues(reason).Inc() }
