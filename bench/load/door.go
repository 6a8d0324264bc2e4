package load

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// Door is where and as whom somebody comes by SSH.
type Door struct {
	Address string `json:"address"`
	User    string `json:"user"`
	Seed    []byte `json:"seed"` // of the ed25519 key
}

func (d Door) enter() (*ssh.Client, error) {
	config, err := clientConfig(d.Seed, ssh.KeyExchangeCurve25519)
	if err != nil {
		return nil, err
	}
	return dial(d.Address, d.User, config)
}

// terminal is a channel with a terminal of 100 by 30, in which a command runs, or a shell without one.
type terminal struct {
	ssh.Channel
	client *ssh.Client
}

func (d Door) terminal(command string) (*terminal, error) {
	client, err := d.enter()
	if err != nil {
		return nil, err
	}
	t := &terminal{client: client}
	if err := t.open(command); err != nil {
		client.Close()
		return nil, err
	}
	return t, nil
}

func (t *terminal) open(command string) error {
	channel, requests, err := t.client.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(requests)
	t.Channel = channel
	go func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }()
	pty := struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{"xterm-256color", 100, 30, 0, 0, "\x00"}
	if err := want(channel, "pty-req", ssh.Marshal(pty)); err != nil {
		return err
	}
	if command == "" {
		return want(channel, "shell", nil)
	}
	return want(channel, "exec", ssh.Marshal(struct{ Command string }{command}))
}

func (t *terminal) close() { t.client.Close() }

func want(channel ssh.Channel, kind string, payload []byte) error {
	ok, err := channel.SendRequest(kind, true, payload)
	if err == nil && !ok {
		err = errors.New("it is refused")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// until reads up to a byte and with it.
func (t *terminal) until(last byte) error {
	one := make([]byte, 1)
	for one[0] != last {
		if _, err := io.ReadFull(t, one); err != nil {
			return fmt.Errorf("read until %q: %w", last, err)
		}
	}
	return nil
}
