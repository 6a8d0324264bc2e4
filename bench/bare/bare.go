// Package bare is the work of a library with nothing behind it, to tell what Gatehouse adds.
//
// Serve is an SSH server that proves a key and keeps no memory of that; algorithms are those of Gatehouse's own door.
// Hash hashes passwords at the cost of Gatehouse's, for nobody. ServeRelay carries SSH from one connection to another; ServeTerminal is a target that shows
// what happened in a real terminal.
package bare

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
)

// Serve listens on a free port of 127.0.0.1, prints the address in a line of its own, and serves until
// the process is ended.
func Serve() error {
	config, err := config()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, l.Addr()); err != nil {
		return err
	}
	for {
		socket, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(socket, config)
	}
}

func config() (*ssh.ServerConfig, error) {
	host, err := signerOf(nil)
	if err != nil {
		return nil, err
	}
	c := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherAES128CTR},
		},
		PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoED25519},
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, nil // any key is right: what counts is that its signature is checked
		},
		MaxAuthTries: -1,
	}
	c.AddHostKey(host)
	return c, nil
}

// signerOf is the ed25519 key of a seed, or a new one without.
func signerOf(seed []byte) (ssh.Signer, error) {
	if seed == nil {
		seed = make([]byte, ed25519.SeedSize)
		_, _ = rand.Read(seed) // never fails
	}
	if len(seed) != ed25519.SeedSize {
		return nil, errors.New("the seed of an ed25519 key has 32 bytes")
	}
	return ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
}

// serve holds a connection, and any channel on it, until the client leaves.
func serve(socket net.Conn, config *ssh.ServerConfig) {
	defer socket.Close()
	conn, channels, requests, err := ssh.NewServerConn(socket, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(true, nil)
			}
			_ = channel.Close()
		}()
	}
}
