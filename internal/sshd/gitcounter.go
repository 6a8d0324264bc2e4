package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/git"
)

// gitCounter is where an authenticated client of git is served: one session channel, in it one command. serve runs in the connection's
// goroutine until the client is gone; the command runs beside it, so that a busy channel keeps no request waiting.
type gitCounter struct {
	intake
	visit    *gitVisit
	channels <-chan ssh.NewChannel
	globals  <-chan *ssh.Request

	channel  ssh.Channel // the one session channel, or nil
	requests <-chan *ssh.Request
	protocol string        // GIT_PROTOCOL, where the client sent one that we take
	done     chan struct{} // closed when the command has ended; nil before it begins
}

// serve answers requests until the client has gone. Like a desk's, its one way out is the end of the channel list.
func (c *gitCounter) serve() {
	ctx, leave := context.WithCancel(c.connection.ctx)
	defer leave()
	timer := time.NewTimer(c.connection.server.Limits.Channel)
	defer timer.Stop()
	var done <-chan struct{}
	for {
		select {
		case ch, ok := <-c.channels:
			if !ok {
				leave()
				c.gone()
				return
			}
			c.take(ch)
		case r, ok := <-c.globals:
			if !ok {
				c.globals = nil
			} else if c.affords() {
				c.reply(r, false)
			}
		case r, ok := <-c.requests:
			if !ok {
				c.requests = nil
			} else if c.affords() && c.request(ctx, r) {
				timer.Stop()
				done = c.done
			}
		case <-done:
			done = nil
			timer.Reset(c.connection.server.Limits.Drain)
		case <-timer.C:
			c.connection.socket.Close()
		}
	}
}

func (c *gitCounter) take(ch ssh.NewChannel) {
	if channel, requests := c.open(ch, c.channel != nil); channel != nil {
		c.channel, c.requests = channel, requests
	}
}

// gone waits for the command, which notices that the client has left.
func (c *gitCounter) gone() {
	if c.done != nil {
		<-c.done
	}
}

// request answers a request on the session channel, and reports whether the command has begun with it. All that is not listed is refused
// (rule S14): terminals, subsystems, agents, every variable but one.
func (c *gitCounter) request(ctx context.Context, r *ssh.Request) (begun bool) {
	switch r.Type {
	case "env":
		c.reply(r, c.done == nil && c.setProtocol(r.Payload))
		return false
	case "exec", "shell":
		line, ok := "", true
		if r.Type == "exec" {
			line, ok = stringOf(r.Payload)
		}
		begun = ok && c.done == nil
		c.reply(r, begun)
		if begun {
			c.begin(ctx, line)
		}
		return begun
	}
	c.reply(r, false)
	return false
}

// setProtocol takes the one variable that git's clients send (rule S17).
func (c *gitCounter) setProtocol(payload []byte) bool {
	var set struct{ Name, Value string }
	if ssh.Unmarshal(payload, &set) != nil || set.Name != "GIT_PROTOCOL" || git.Protocol(set.Value) == "" {
		return false
	}
	c.protocol = set.Value
	return true
}

func stringOf(payload []byte) (string, bool) {
	var one struct{ Text string }
	err := ssh.Unmarshal(payload, &one)
	return one.Text, err == nil
}

// begin runs the command beside serve. It may take long: git's own limits end it, and no deadline of the connection.
func (c *gitCounter) begin(ctx context.Context, line string) {
	conn := c.connection
	c.done = make(chan struct{})
	conn.busy.Store(true)
	conn.deadline(time.Time{})
	go func() {
		defer close(c.done)
		defer conn.guard()
		why, said := c.visit.run(ctx, line, c.channel, c.protocol)
		conn.busy.Store(false)
		conn.deadline(time.Now().Add(conn.server.Limits.Drain)) // who does not read keeps nothing
		exit := uint32(0)
		if why != "" {
			exit = 1
		}
		if said {
			_, _ = io.WriteString(c.channel.Stderr(), oneLine(why)+"\n") // the client has gone: nobody is left to tell
		}
		screen{c.channel, false}.exit(exit)
	}()
}

// run runs one command. It returns why it failed, "" where it did not, and whether the client must be told: of a push git has told it already.
func (v *gitVisit) run(ctx context.Context, line string, channel ssh.Channel, protocol string) (why string, tell bool) {
	defer func() { v.said = why }()
	if line == "" {
		return fmt.Sprintf(lineGitOnly, v.name()), true
	}
	command, err := git.ParseCommand(line)
	if err != nil {
		return fault.Text(err), true
	}
	if v.server.Git.Served == nil {
		return lineNoGit, true
	}
	by, r, err := v.open(ctx, command)
	switch {
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Denied): // one text for what is not there and what is not allowed
		return lineNoRepository, true
	case err != nil:
		v.server.Log.Error("open repository", "door", "sshd", "error", err)
		return lineBroken, true
	}
	v.repo = r.ID
	with := git.Exchange{In: channel, Out: channel, Protocol: protocol, Over: git.SSH, Caller: string(by.Kind) + " " + by.ID, Hangup: func() { v.socket.Close() }}
	switch command.Service {
	case git.UploadPack:
		err = v.server.Git.Served.Upload(ctx, r.ID, with)
	case git.UploadArchive:
		err = v.server.Git.Served.Archive(ctx, r.ID, with)
	case git.ReceivePack:
		var moved []git.Moved
		moved, err = v.server.Git.Served.Receive(ctx, r.ID, with, func(ctx context.Context, _ []git.Move) error { return v.again(ctx, r) })
		v.recordPush(ctx, by, r, moved)
	}
	return v.ended(err)
}

// answered are the ends of a push of which git's protocol has told the client.
var answered = []error{errNoPush, errNotAsked, git.ErrTooLarge, git.ErrPush, git.ErrManyRefs}

// ended says how an exchange went, for the client and for the log.
func (v *gitVisit) ended(err error) (why string, tell bool) {
	if err == nil {
		return "", false
	}
	for _, known := range answered {
		if errors.Is(err, known) {
			return fault.Text(err), false
		}
	}
	if fault.Is(err, fault.Internal) {
		v.server.Log.Error("serve git", "door", "sshd", "repository", v.repo, "error", err)
		return lineBroken, true
	}
	return fault.Text(err), true
}

// name is as whom the client is signed in.
func (v *gitVisit) name() string {
	if v.held.Role == sshkey.AccessKey {
		return "access key " + v.held.Label
	}
	return v.held.UserName
}
