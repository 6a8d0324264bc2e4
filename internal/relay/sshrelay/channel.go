package sshrelay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// channel is a terminal, a command, an SFTP subsystem or a forward at the target. The library keeps at most 2 MiB of what was not read yet, and takes packets
// of 32 KiB.
type channel struct {
	ssh.Channel
	alone  bool          // nothing comes beside the output
	ended  chan struct{} // closed once the target has closed it
	closed chan struct{} // closed once we have
	read   [2]end        // of output, of errors

	mu   sync.Mutex
	exit remote.Exit
	shut sync.Once
}

// end is closed when there is nothing more to read.
type end struct {
	once sync.Once
	is   chan struct{}
}

func (e *end) set() { e.once.Do(func() { close(e.is) }) }

var _ remote.Channel = (*channel)(nil)

func newChannel(raw ssh.Channel, requests <-chan *ssh.Request, alone bool) *channel {
	c := &channel{Channel: raw, alone: alone, ended: make(chan struct{}), closed: make(chan struct{}), exit: remote.Exit{Status: -1}}
	c.read[0].is, c.read[1].is = make(chan struct{}), make(chan struct{})
	go c.listen(requests)
	if alone { // nothing comes here; if a hostile target sends some, it must not stop the rest
		go func() { _, _ = io.Copy(io.Discard, stderr{c}) }()
	}
	return c
}

// listen hears how it ended (RFC 4254 section 6.10). Whatever else the target asks for is refused.
func (c *channel) listen(requests <-chan *ssh.Request) {
	defer close(c.ended)
	for r := range requests {
		switch r.Type {
		case "exit-status":
			if len(r.Payload) >= 4 {
				c.ends(remote.Exit{Status: int(binary.BigEndian.Uint32(r.Payload) & 0xff)})
			}
		case "exit-signal":
			if name := firstString(r.Payload); signalName.MatchString(name) {
				c.ends(remote.Exit{Status: 128 + signals[name], Signal: name})
			}
		}
		_ = r.Reply(false, nil) // fails only when the connection is lost
	}
}

// firstString reads the string at the beginning of a payload (RFC 4251 section 5), or nothing.
func firstString(p []byte) string {
	if len(p) < 4 {
		return ""
	}
	size, rest := binary.BigEndian.Uint32(p), p[4:]
	if uint64(size) > uint64(len(rest)) {
		return ""
	}
	return string(rest[:size])
}

// signalName is what a signal may be called; RFC 4254 section 6.10 has the names, and local ones with an @.
var signalName = regexp.MustCompile(`^[A-Z0-9][A-Za-z0-9@._-]{0,63}$`)

// signals have the numbers by which shells report them; others count as 0.
var signals = map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15}

func (c *channel) ends(e remote.Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exit = e
}

// Read implements remote.Channel.
func (c *channel) Read(p []byte) (int, error) {
	n, err := c.Channel.Read(p)
	if err != nil {
		c.read[0].set()
	}
	return n, err
}

// stderr reads what comes beside the output.
type stderr struct{ of *channel }

func (s stderr) Read(p []byte) (int, error) {
	n, err := s.of.Channel.Stderr().Read(p)
	if err != nil {
		s.of.read[1].set()
	}
	return n, err
}

// Stderr implements remote.Channel.
func (c *channel) Stderr() io.Reader {
	if c.alone {
		return strings.NewReader("") // a terminal carries both
	}
	return stderr{c}
}

// Close implements remote.Channel.
func (c *channel) Close() error {
	err := c.Channel.Close()
	c.shut.Do(func() {
		close(c.closed)
		c.read[0].set()
		c.read[1].set()
	})
	if errors.Is(err, io.EOF) { // the target was first
		return nil
	}
	return err
}

// Resize implements remote.Channel (RFC 4254 section 6.7).
func (c *channel) Resize(s remote.Size) error {
	return c.tell("window-change", struct{ Cols, Rows, Width, Height uint32 }{size(s.Cols), size(s.Rows), 0, 0})
}

// size is a number of characters on the wire.
func size(n int) uint32 { return uint32(min(max(n, 0), 0xffff)) }

// Signal implements remote.Channel. BREAK is that of RFC 4335, of a length that the target chooses.
func (c *channel) Signal(name string) error {
	if name == "BREAK" {
		return c.tell("break", struct{ Length uint32 }{0})
	}
	return c.tell("signal", struct{ Name string }{name})
}

// Wait implements remote.Channel.
func (c *channel) Wait() remote.Exit {
	select {
	case <-c.ended:
	case <-c.closed:
	}
	<-c.read[0].is
	<-c.read[1].is
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exit
}

// tell sends a request that nobody answers.
func (c *channel) tell(kind string, payload any) error {
	_, err := c.SendRequest(kind, false, ssh.Marshal(payload))
	return err
}

// want sends a request without which there is nothing to do.
func (c *channel) want(kind string, payload any) error {
	var body []byte
	if payload != nil {
		body = ssh.Marshal(payload)
	}
	ok, err := c.SendRequest(kind, true, body)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s: %w", remote.ErrUnreachable, kind, err)
	case !ok:
		return fmt.Errorf("%w: %s", remote.ErrNotOffered, kind)
	}
	return nil
}

// defaultTerm is the terminal of who names none.
const defaultTerm = "xterm-256color"

// ptyRequest is RFC 4254 section 6.2.
func ptyRequest(t remote.Terminal) any {
	term := t.Term
	if term == "" {
		term = defaultTerm
	}
	modes := t.Modes
	if len(modes) == 0 {
		modes = []byte{0} // TTY_OP_END
	}
	return struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{term, size(t.Size.Cols), size(t.Size.Rows), 0, 0, string(modes)}
}
