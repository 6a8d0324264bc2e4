package peers

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// TelnetServer is inetutils' telnetd on 127.0.0.1.
type TelnetServer struct{ At netip.AddrPort }

// Telnetd starts a server that runs login, a shell script, in place of the system's own, which would take root and an account of the system. telnetd has
// no listener: each connection gets one of its own.
func Telnetd(tb testing.TB, login string) *TelnetServer {
	tb.Helper()
	Require(tb, "/usr/sbin/telnetd")
	s := &TelnetServer{}
	script := filepath.Join(tb.TempDir(), "login.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+login), 0o700); err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // on this machine
	if err != nil {
		tb.Fatal(err)
	}
	s.At = l.Addr().(*net.TCPAddr).AddrPort()
	var running sync.WaitGroup
	stop := make(chan struct{})
	running.Go(func() { accept(tb, l, script, stop) })
	tb.Cleanup(func() {
		l.Close()
		close(stop)
		running.Wait()
	})
	return s
}

func accept(tb testing.TB, l net.Listener, script string, stop <-chan struct{}) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		file, err := c.(*net.TCPConn).File()
		c.Close()
		if err != nil {
			tb.Error(err)
			return
		}
		cmd := exec.Command("/usr/sbin/telnetd", "-h", "-E", script) //nolint:noctx // it ends with its connection
		running.Go(func() { serveTelnet(tb, cmd, file, stop) })
	}
}

// serveTelnet runs one telnetd, until stop at the latest.
func serveTelnet(tb testing.TB, cmd *exec.Cmd, socket *os.File, stop <-chan struct{}) {
	defer socket.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, socket
	if err := cmd.Start(); err != nil {
		tb.Error(err)
		return
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its exit code says nothing
		close(ended)
	}()
	select {
	case <-ended:
	case <-stop:
		_ = cmd.Process.Kill()
		<-ended
	}
}
