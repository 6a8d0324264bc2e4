package bare

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// recorded is a minute of somebody's work in a real terminal, in asciicast v3: a shell, top and vim.
//
//go:embed terminal.cast
var recorded []byte

// event is what passed at a moment.
type event struct {
	after time.Duration // the event before
	code  string        // o: output, i: input
	text  []byte
}

// Terminal is what somebody typed in the recording, one key after the other, and how long it lasts.
func Terminal() (keys []byte, lasting time.Duration, err error) {
	events, err := script()
	for _, e := range events {
		lasting += e.after
		if e.code == "i" {
			keys = append(keys, e.text...)
		}
	}
	return keys, lasting, err
}

// script reads the recording.
func script() ([]event, error) {
	_, body, found := bytes.Cut(recorded, []byte("\n"))
	if !found {
		return nil, errors.New("the recording is empty")
	}
	var all []event
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		var after float64
		var code, text string
		err := d.Decode(&[]any{&after, &code, &text})
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read recording: %w", err)
		}
		all = append(all, event{time.Duration(after * float64(time.Second)), code, []byte(text)})
	}
}

// ServeTerminal is an SSH server whose shells show the recording again and again, as fast as it was made, each from another moment on. It prints its
// address in a line of its own and stays until the process is ended. What is typed is read and forgotten.
func ServeTerminal() error {
	events, err := script()
	if err != nil {
		return err
	}
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
	for s := (&stage{events: events}); ; {
		socket, err := l.Accept()
		if err != nil {
			return err
		}
		go s.serve(socket, config)
	}
}

// stage is where the recording is shown.
type stage struct {
	events []event
	shells atomic.Int64
}

func (s *stage) serve(socket net.Conn, config *ssh.ServerConfig) {
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
		go s.shell(channel, requests)
	}
}

// shell shows the recording until the client closes the channel.
func (s *stage) shell(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		_ = r.Reply(true, nil)
		if r.Type == "shell" {
			go s.show(channel, int(s.shells.Add(1)*97)%len(s.events))
			go func() { _, _ = io.Copy(io.Discard, channel) }()
		}
	}
}

// show is paced by the recording's clock, so that a late line does not put off those behind it.
func (s *stage) show(to io.Writer, from int) {
	due := time.Now()
	for at := from; ; at = (at + 1) % len(s.events) {
		e := s.events[at]
		due = due.Add(e.after)
		if e.code != "o" {
			continue
		}
		time.Sleep(time.Until(due))
		if _, err := to.Write(e.text); err != nil {
			return
		}
	}
}
