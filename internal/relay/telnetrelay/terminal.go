package telnetrelay

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// terminal is what a person has of a link.
type terminal struct {
	link *link
	once sync.Once
	over chan struct{} // closed when all was read
}

// Read gives what the target prints.
func (t *terminal) Read(p []byte) (int, error) {
	l := t.link
	if len(l.rest) == 0 {
		select {
		case l.rest = <-l.output:
		case <-l.done:
			t.end()
			return 0, io.EOF
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// Write types. Where the target does not echo, what was typed is shown as if it had (RFC 857).
func (t *terminal) Write(p []byte) (int, error) {
	echo, err := t.link.typed(p)
	if err != nil {
		return 0, err
	}
	if len(echo) > 0 {
		select {
		case t.link.output <- echo:
		case <-t.link.done:
		case <-t.link.shut:
		}
	}
	return len(p), nil
}

// Stderr implements remote.Channel.
func (t *terminal) Stderr() io.Reader { return strings.NewReader("") }

// CloseWrite implements remote.Channel. Telnet cannot end the input alone.
func (t *terminal) CloseWrite() error { return nil }

// Close implements remote.Channel, and ends the link.
func (t *terminal) Close() error {
	t.end()
	return t.link.Close()
}

func (t *terminal) end() { t.once.Do(func() { close(t.over) }) }

// Resize implements remote.Channel (RFC 1073).
func (t *terminal) Resize(s remote.Size) error {
	l := t.link
	l.sending.Lock()
	defer l.sending.Unlock()
	if message := l.protocol.resize(s); message != nil {
		return l.send(message)
	}
	return nil
}

// Signal implements remote.Channel: an interrupt and a break are all that Telnet has (RFC 854).
func (t *terminal) Signal(name string) error {
	code, ok := map[string]byte{"INT": ip, "BREAK": brk}[name]
	if !ok {
		return fmt.Errorf("%w: signal", remote.ErrNotOffered)
	}
	l := t.link
	l.sending.Lock()
	defer l.sending.Unlock()
	return l.send([]byte{iac, code})
}

// Wait implements remote.Channel. Telnet has no status: an end in peace is 0.
func (t *terminal) Wait() remote.Exit {
	<-t.link.done
	<-t.over
	if t.link.Err() != nil {
		return remote.Exit{Status: -1}
	}
	return remote.Exit{}
}
