package sshd_test

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// BenchmarkVerification is a whole verification, client and server in one process, to be read beside
// BenchmarkBareServer: what the door adds to the library. Storage is memory here.
func BenchmarkVerification(b *testing.B) {
	d := open(b)
	key := newED()
	s := d.verify(b, keyproof.Options{MultiConnection: true, MaxAttempts: 1000}, key.PublicKey())
	measure(b, func() {
		connect(b, d.addr, s.Identifier, key)
		d.closed(b)
		d.store.forget()
	})
}

// BenchmarkBareServer is the library's server that accepts every key.
func BenchmarkBareServer(b *testing.B) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(hostED())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	closed := make(chan struct{})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { closed <- struct{}{} }()
				sc, channels, requests, err := ssh.NewServerConn(conn, config)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				for ch := range channels {
					_ = ch.Reject(ssh.Prohibited, "")
				}
				sc.Close()
			}()
		}
	}()
	key := newED()
	measure(b, func() {
		connect(b, l.Addr().String(), "bare", key)
		<-closed
	})
}

func connect(b *testing.B, addr, user string, key ssh.Signer) {
	var banner strings.Builder
	c, err := ssh.Dial("tcp", addr, client(user, &banner, key))
	if err != nil {
		b.Fatal(err)
	}
	c.Close()
}

// measure reports the CPU time of the process for each round: it does not hear of a loaded machine.
func measure(b *testing.B, round func()) {
	b.Helper()
	b.ReportAllocs()
	before := cpu(b)
	n := 0
	for b.Loop() {
		round()
		n++
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(n)/1e3, "cpu-us/op")
}

func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
