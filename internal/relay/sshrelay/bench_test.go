package sshrelay_test

import (
	"io"
	"testing"

	"github.com/pkg/sftp"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/relay/sshrelay"
	"github.com/gatehouse-project/gatehouse/test/peers"
)

// BenchmarkFiles copies a file of 256 MiB from OpenSSH's server, with the tap and without. It says what following costs.
func BenchmarkFiles(b *testing.B) {
	s := peers.Sshd(b, peers.SSHOptions{})
	link := dial(b, byKey(s))
	const size = 256 << 20
	file := b.TempDir() + "/file"
	if _, _, exit := run(b, link, remote.Terminal{Command: "truncate -s 256M " + file}, ""); exit.Status != 0 {
		b.Fatal(exit)
	}
	for _, c := range []struct {
		name string
		tap  bool
	}{{"plain", false}, {"tapped", true}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				ch, err := link.Files(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				over := ch
				if c.tap {
					over = tapped{ch, sshrelay.NewTap((&book{}).note)}
				}
				client, err := sftp.NewClientPipe(over, over)
				if err != nil {
					b.Fatal(err)
				}
				f, err := client.Open(file)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := f.WriteTo(io.Discard); n != size || err != nil {
					b.Fatal(n, err)
				}
				f.Close()
				client.Close()
			}
		})
	}
}

// BenchmarkTap is the tap alone: 32 KiB in each packet, cut as SSH cuts them.
func BenchmarkTap(b *testing.B) {
	tap, _ := opened(b, 1)
	data := make([]byte, 32<<10)
	b.SetBytes(int64(len(data)))
	var offset uint64
	for i := uint32(1); b.Loop(); i++ {
		if err := tap.ToTarget(packet(5, word(i), text("h"), long(offset), word(32<<10))); err != nil {
			b.Fatal(err)
		}
		if err := tap.FromTarget(packet(103, word(i), text(string(data)))); err != nil {
			b.Fatal(err)
		}
		offset += uint64(len(data))
	}
}
