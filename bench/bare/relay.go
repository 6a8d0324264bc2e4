package bare

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Relayed orders a relay to one SSH server.
type Relayed struct {
	To   string `json:"to"`   // its address
	User string `json:"user"` // as whom to sign in there
	Seed []byte `json:"seed"` // of the ed25519 key
}

// ServeRelay is a relay as plain as it can be: it accepts, dials, signs in, and copies. Nothing is decided, recorded, counted or bounded, and nothing lies
// in a database. It reads its order from standard input, prints its address in a line of its own and stays until the process is ended.
func ServeRelay() error {
	var order Relayed
	if err := json.NewDecoder(os.Stdin).Decode(&order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	signer, err := signerOf(order.Seed)
	if err != nil {
		return err
	}
	inward, err := config()
	if err != nil {
		return err
	}
	outward := ssh.ClientConfig{
		User: order.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		Config:            ssh.Config{KeyExchanges: inward.KeyExchanges, Ciphers: inward.Ciphers},
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		// The server is a process that this program has just started, on this machine.
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
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
		go relay(socket, inward, order.To, &outward)
	}
}

// relay carries one connection.
func relay(socket net.Conn, inward *ssh.ServerConfig, to string, outward *ssh.ClientConfig) {
	defer socket.Close()
	near, channels, globals, err := ssh.NewServerConn(socket, inward)
	if err != nil {
		return
	}
	defer near.Close()
	go ssh.DiscardRequests(globals)
	far, err := ssh.Dial("tcp", to, outward)
	if err != nil {
		return
	}
	defer far.Close()
	for offered := range channels {
		go relayChannel(offered, far)
	}
}

// relayChannel carries one channel with its requests, whatever its kind.
func relayChannel(offered ssh.NewChannel, far *ssh.Client) {
	there, answers, err := far.OpenChannel(offered.ChannelType(), offered.ExtraData())
	if err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, "")
		return
	}
	defer there.Close()
	here, asked, err := offered.Accept()
	if err != nil {
		return
	}
	defer here.Close()
	go func() {
		passOn(asked, there)
		there.Close() // the client has
	}()
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(here, there) })
	back.Go(func() { _, _ = io.Copy(here.Stderr(), there.Stderr()) })
	go func() {
		_, _ = io.Copy(there, here)
		_ = there.CloseWrite()
	}()
	go func() {
		back.Wait()
		_ = here.CloseWrite()
	}()
	passOn(answers, here) // how it ended is the last that the server says
	back.Wait()
}

// passOn passes requests on, with their answers.
func passOn(requests <-chan *ssh.Request, to ssh.Channel) {
	for r := range requests {
		ok, err := to.SendRequest(r.Type, r.WantReply, r.Payload)
		_ = r.Reply(ok && err == nil, nil)
	}
}
