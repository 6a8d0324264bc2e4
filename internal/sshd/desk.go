package sshd

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// intake bounds what an authenticated client may ask for (rule S7).
type intake struct {
	connection *connection
	opened     int // channels asked for
	spent      int // requests in this second
	second     int64
}

// open accepts one session channel and nothing else (rule S14): no direct-tcpip, no second session.
func (i *intake) open(ch ssh.NewChannel, taken bool) (ssh.Channel, <-chan *ssh.Request) {
	if i.opened++; i.opened > i.connection.server.Limits.ChannelsPerConnection { // rule S7
		i.connection.socket.Close()
		return nil, nil
	}
	if ch.ChannelType() != "session" || taken {
		_ = ch.Reject(ssh.Prohibited, "not offered here") // fails only when the client has gone
		return nil, nil
	}
	channel, requests, err := ch.Accept()
	if err != nil {
		return nil, nil
	}
	return channel, requests
}

// affords counts a request against the connection's allowance, and ends connections that flood (rule S7).
func (i *intake) affords() bool {
	if now := time.Now().Unix(); now != i.second {
		i.second, i.spent = now, 0
	}
	if i.spent++; i.spent <= i.connection.server.Limits.RequestsPerSecond {
		return true
	}
	i.connection.socket.Close()
	return false
}

// reply answers where an answer is wanted. It fails only when the client has gone, which serve hears of.
func (i *intake) reply(r *ssh.Request, ok bool) { _ = r.Reply(ok, nil) }

// desk is where an authenticated person is told how it went: one session channel, and requests that are
// answered one by one. serve runs in the connection's goroutine until the client is gone; talk writes and
// asks beside it, because a client that does not read must not keep requests waiting.
type desk struct {
	intake
	proof    *proof
	conn     *ssh.ServerConn
	channels <-chan ssh.NewChannel
	globals  <-chan *ssh.Request
	answerBy time.Time

	channel  ssh.Channel // the one session channel, or nil
	requests <-chan *ssh.Request
	pty      bool
	agent    bool          // the client offered its agent
	talked   chan struct{} // closed when talk has ended; nil before it begins
	readers  sync.WaitGroup
}

// serveDesk commits what needs no confirmation and shows the result, until the connection has ended.
func (p *proof) serveDesk(conn *ssh.ServerConn, channels <-chan ssh.NewChannel, globals <-chan *ssh.Request) {
	limits := p.server.Limits
	d := &desk{intake: intake{connection: p.connection}, proof: p, conn: conn, channels: channels, globals: globals, answerBy: time.Now().Add(limits.Confirm)}
	patience := limits.Confirm
	if !p.attempt.Session().MustConfirm || len(p.attempt.Brought()) == 0 {
		p.commit(keyproof.Finished) // before any channel: ssh -N opens none
		patience = limits.Channel
	}
	d.serve(patience)
	p.commit(p.dropped())
}

// serve answers requests until the client has gone. Its one way out is the end of the channel list,
// which the library closes last: whoever left earlier would leave the library's goroutines waiting.
func (d *desk) serve(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var talked <-chan struct{}
	gone := d.proof.attempt.Gone()
	for {
		select {
		case ch, ok := <-d.channels:
			if !ok {
				d.gone()
				return
			}
			d.take(ch)
		case r, ok := <-d.globals:
			if !ok {
				d.globals = nil
			} else if d.affords() {
				d.reply(r, false)
			}
		case r, ok := <-d.requests:
			if !ok {
				d.requests = nil
			} else if d.affords() && d.request(r) {
				timer.Stop()
				talked = d.talked
			}
		case <-gone: // the session was deleted
			gone = nil
			d.connection.socket.Close()
		case <-talked:
			talked = nil
			timer.Reset(d.connection.server.Limits.Leave)
		case <-timer.C:
			if d.talked == nil { // nobody opened a shell in time
				d.proof.commit(keyproof.NoAnswer)
			}
			d.connection.socket.Close()
		}
	}
}

func (d *desk) take(ch ssh.NewChannel) {
	if channel, requests := d.open(ch, d.channel != nil); channel != nil {
		d.channel, d.requests = channel, requests
	}
}

// gone waits for what still runs after the client has left.
func (d *desk) gone() {
	if d.talked != nil {
		<-d.talked
	}
	d.readers.Wait()
}

// verdict is what the door does with a type of channel request.
type verdict int

const (
	refuse verdict = iota
	accept
	acceptPTY
	acceptShell
	refuseAgent // and tell the person that it was not needed
)

// decide knows every request type that is taken; all others are refused (rule S14). A command is not
// run, so exec is a shell.
func decide(kind string) verdict {
	switch kind {
	case "pty-req":
		return acceptPTY
	case "shell", "exec":
		return acceptShell
	case "window-change":
		return accept
	case "auth-agent-req@openssh.com":
		return refuseAgent
	default:
		return refuse
	}
}

// request answers a request on the session channel, and reports whether talk has begun with it.
func (d *desk) request(r *ssh.Request) (begun bool) {
	switch decide(r.Type) {
	case accept:
		d.reply(r, true)
	case acceptPTY:
		d.pty = true
		d.reply(r, true)
	case acceptShell:
		begun = d.talked == nil
		d.reply(r, begun)
		if begun {
			d.begin()
		}
	case refuseAgent:
		d.agent = true
		d.reply(r, false)
	case refuse:
		d.reply(r, false)
	}
	return begun
}

// begin starts talk. From now on pty and agent do not matter: a client sends them before the shell.
func (d *desk) begin() {
	d.talked = make(chan struct{})
	go d.talk(screen{d.channel, d.pty}, d.agent)
}

// talk shows message, question and result. While it runs, serve does not touch the attempt.
func (d *desk) talk(out screen, agent bool) {
	defer close(d.talked)
	defer d.connection.guard()
	p := d.proof
	session := p.attempt.Session()
	text := ""
	if session.Message != nil {
		text = plain(*session.Message) + "\n"
	}
	if !p.committed {
		out.write(text + question(p.attempt.Brought()))
		p.commit(d.answer(out.channel))
		text = "\n"
	}
	said, exit := lines(session.Kind, p.result, p.failed, p.server.address(session.Identifier))
	if agent {
		said = append(said, lineAgent)
	}
	out.write(text + strings.Join(said, "\n") + "\n")
	out.exit(exit)
}

// answer waits for the first key that is pressed, return aside.
func (d *desk) answer(channel ssh.Channel) keyproof.End {
	answers := make(chan keyproof.End, 1)
	d.readers.Go(func() {
		defer d.connection.guard()
		answers <- d.read(channel)
	})
	timer := time.NewTimer(time.Until(d.answerBy))
	defer timer.Stop()
	select {
	case end := <-answers:
		return end
	case <-timer.C:
		return keyproof.NoAnswer
	}
}

func (d *desk) read(channel io.Reader) keyproof.End {
	var b [1]byte
	for {
		_, err := io.ReadFull(channel, b[:])
		switch {
		case err != nil && d.alive():
			return keyproof.Declined // the end of input, while the client listens on
		case err != nil:
			return keyproof.Disconnected
		case b[0] == '\r' || b[0] == '\n':
		case b[0] == 'y' || b[0] == 'Y':
			return keyproof.Finished
		default: // Ctrl-C and Ctrl-D among them
			return keyproof.Declined
		}
	}
}

// alive asks whether the client is still there: every client must answer a global request, if only to
// refuse it (RFC 4254 section 4).
func (d *desk) alive() bool {
	_, _, err := d.conn.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}

// address is how people are told to connect to a session.
func (s *Server) address(identifier string) string {
	if s.PublicPort == 0 || s.PublicPort == 22 {
		return identifier + "@" + s.PublicHost
	}
	return fmt.Sprintf("%s@%s -p %d", identifier, s.PublicHost, s.PublicPort)
}

// screen is the far end of a session channel. Its errors mean that the client has gone, which serve
// hears of too.
type screen struct {
	channel ssh.Channel
	pty     bool
}

func (s screen) write(text string) {
	if s.pty { // in raw mode a line feed alone does not return to the left
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	_, _ = io.WriteString(s.channel, text)
}

// exit ends the channel in the order that every client understands. The connection stays: a client
// that finds it closed says "broken pipe" instead of the exit status.
func (s screen) exit(status uint32) {
	_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	_ = s.channel.CloseWrite()
	s.channel.Close()
}
