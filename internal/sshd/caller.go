package sshd

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Bounds of what a client may ask for in a session channel (rule S7).
const (
	maxCommand   = 64 << 10
	maxVariables = 32
	maxValue     = 256
	maxModes     = 1024
	maxSize      = 10_000 // characters
)

var (
	variableName  = regexp.MustCompile(`^(LANG|LC_[A-Z]{1,20}|COLORTERM|NO_COLOR)$`) // what may go along (rule S17)
	variableValue = regexp.MustCompile(`^[A-Za-z0-9@._:/+=, -]{0,256}$`)
	terminalName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
	signalName    = regexp.MustCompile(`^(ABRT|ALRM|FPE|HUP|ILL|INT|KILL|PIPE|QUIT|SEGV|TERM|USR1|USR2)$`)
)

// caller is one session channel of a client: requests are answered here, and what is asked for runs beside.
type caller struct {
	passage  *passage
	channel  ssh.Channel
	terminal remote.Terminal
	running  sync.WaitGroup

	mu    sync.Mutex
	begun bool
	far   remote.Channel // at the target; nil before it begins
}

// session answers the requests of a session channel until the client has closed it.
func (p *passage) session(ctx context.Context, ch ssh.NewChannel) {
	channel, requests, err := ch.Accept()
	if err != nil {
		return
	}
	c := &caller{passage: p, channel: channel}
	defer channel.Close()
	p.mu.Lock()
	p.shown = append(p.shown, c)
	p.mu.Unlock()
	defer c.forget()
	for r := range requests {
		if !p.affords() {
			return
		}
		c.answer(ctx, r)
	}
	if far := c.target(); far != nil {
		far.Close()
	}
	c.running.Wait()
}

// forget takes the channel out of those that are shown notices.
func (c *caller) forget() {
	p := c.passage
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, one := range p.shown {
		if one == c {
			p.shown = append(p.shown[:i:i], p.shown[i+1:]...)
			return
		}
	}
}

func (c *caller) target() remote.Channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.far
}

// answer decides on one request (rule S14). What is not listed is refused, on record.
func (c *caller) answer(ctx context.Context, r *ssh.Request) {
	ok := false
	switch r.Type {
	case "pty-req":
		ok = c.pty(r.Payload)
	case "env":
		ok = c.variable(r.Payload)
	case "shell":
		c.begin(ctx, r, c.shell(""))
		return
	case "exec":
		command, whole := stringOf(r.Payload)
		if whole && command != "" && len(command) <= maxCommand {
			c.begin(ctx, r, c.shell(command))
			return
		}
		c.passage.refuse("exec", "malformed")
	case "subsystem":
		name, _ := stringOf(r.Payload)
		if name == "sftp" {
			c.begin(ctx, r, func(ctx context.Context) (remote.Channel, error) { return c.passage.live.Files(ctx) })
			return
		}
		c.passage.refuse("subsystem", name)
	case "window-change":
		ok = c.resize(r.Payload)
	case "signal":
		ok = c.signal(r.Payload)
	case "break": // RFC 4335
		if far := c.target(); far != nil {
			ok = far.Signal("BREAK") == nil
		}
	case "auth-agent-req@openssh.com": // rule S8: an agent goes no further
		c.passage.refuse("agent", "")
	case "x11-req":
		c.passage.refuse("x11", "")
	case "keepalive@openssh.com", "eow@openssh.com":
	default:
		c.passage.refuse("request", r.Type)
	}
	_ = r.Reply(ok, nil) // fails only when the client has gone
}

// pty takes the kind, size and modes of a terminal (RFC 4254 section 6.2).
func (c *caller) pty(payload []byte) bool {
	var asked struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if c.begun || ssh.Unmarshal(payload, &asked) != nil || len(asked.Modes) > maxModes {
		return false
	}
	if !terminalName.MatchString(asked.Term) {
		asked.Term = "xterm"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.terminal.PTY, c.terminal.Term, c.terminal.Size, c.terminal.Modes = true, asked.Term, sizeOf(asked.Cols, asked.Rows), []byte(asked.Modes)
	return true
}

func sizeOf(cols, rows uint32) remote.Size {
	return remote.Size{Cols: int(min(cols, maxSize)), Rows: int(min(rows, maxSize))}
}

// variable takes a variable that may go along.
func (c *caller) variable(payload []byte) bool {
	var set struct{ Name, Value string }
	if ssh.Unmarshal(payload, &set) != nil || c.begun {
		return false
	}
	if !variableName.MatchString(set.Name) || !variableValue.MatchString(set.Value) || len(c.terminal.Env) >= maxVariables {
		c.passage.refuse("env", set.Name)
		return false
	}
	c.terminal.Env = append(c.terminal.Env, remote.EnvVar{Name: set.Name, Value: set.Value})
	return true
}

func (c *caller) resize(payload []byte) bool {
	var to struct{ Cols, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &to) != nil {
		return false
	}
	size := sizeOf(to.Cols, to.Rows)
	far := c.target()
	if far == nil {
		c.terminal.Size = size
		return true
	}
	return far.Resize(size) == nil
}

func (c *caller) signal(payload []byte) bool {
	name, whole := stringOf(payload)
	far := c.target()
	return whole && far != nil && signalName.MatchString(name) && far.Signal(name) == nil
}

// shell opens a shell, or runs a command.
func (c *caller) shell(command string) func(context.Context) (remote.Channel, error) {
	return func(ctx context.Context) (remote.Channel, error) {
		t := c.terminal
		t.Command = command
		return c.passage.live.Terminal(ctx, t)
	}
}

// begin opens what was asked for at the target, once a channel, and carries it.
func (c *caller) begin(ctx context.Context, r *ssh.Request, open func(context.Context) (remote.Channel, error)) {
	if c.begun {
		_ = r.Reply(false, nil)
		return
	}
	c.begun = true
	p := c.passage
	if p.live == nil {
		_ = r.Reply(true, nil)
		c.answerAlone(ctx)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	far, err := open(ctx)
	if err != nil {
		if fault.Is(err, fault.Internal) {
			p.connection.server.Log.Error("open channel", "door", "sshd", "session", p.visit.session.ID, "error", err)
		}
		_ = r.Reply(true, nil) // who is told no is shown no text by OpenSSH's client
		_, _ = io.WriteString(c.channel.Stderr(), c.line(plain(fault.Text(err))))
		c.exit(remote.Exit{Status: exitFailed})
		return
	}
	c.mu.Lock()
	c.far = far
	c.mu.Unlock()
	_ = r.Reply(true, nil)
	if c.terminal.PTY && p.live.Recorded() {
		c.show(lineRecorded)
	}
	c.running.Go(func() {
		defer p.connection.guard()
		c.carry(far)
	})
}

// line is a line of ours on a terminal, or beside a command's output.
func (c *caller) line(text string) string {
	if c.terminal.PTY {
		return "\r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"
	}
	return text + "\n"
}

// show prints something on the client's terminal. What has none is not disturbed.
func (c *caller) show(text string) {
	c.mu.Lock()
	on := c.terminal.PTY && c.far != nil
	c.mu.Unlock()
	if on {
		_, _ = io.WriteString(c.channel, c.line("* "+plain(text)))
	}
}

// answerAlone tells somebody for whom there is no session why, or where they may go.
func (c *caller) answerAlone(ctx context.Context) {
	p := c.passage
	if p.failed != nil {
		_, _ = io.WriteString(c.channel.Stderr(), c.line(p.why()))
		c.exit(remote.Exit{Status: exitFailed})
		return
	}
	out := screen{c.channel, c.terminal.PTY}
	out.write(p.places(ctx))
	c.exit(remote.Exit{})
}

// exitFailed is the status by which ssh says that it failed, and not the command.
const exitFailed = 255

// exit ends the channel in the order that every client understands (RFC 4254 section 6.10).
func (c *caller) exit(e remote.Exit) {
	switch {
	case e.Signal != "":
		_, _ = c.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}{Signal: e.Signal}))
	case e.Status < 0:
		e.Status = exitFailed
		fallthrough
	default:
		_, _ = c.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(min(max(e.Status, 0), exitFailed))}))
	}
	_ = c.channel.CloseWrite()
	c.channel.Close()
}

// carry carries bytes in both directions until the target has ended it, and says how it ended.
func (c *caller) carry(far remote.Channel) {
	go func() { // ends with the channel
		if _, err := io.Copy(far, c.channel); err == nil {
			_ = far.CloseWrite()
		}
	}()
	var beside sync.WaitGroup
	beside.Go(func() { _, _ = io.Copy(c.channel.Stderr(), far.Stderr()) })
	_, err := io.Copy(c.channel, far)
	if err != nil && !errors.Is(err, io.EOF) { // the client has gone, or the session is over
		far.Close()
	}
	beside.Wait()
	e := far.Wait()
	far.Close()
	if e.Status < 0 && e.Signal == "" && c.over() {
		_, _ = io.WriteString(c.channel.Stderr(), c.line(c.passage.ending()))
	}
	c.exit(e)
}

// over waits a moment for the session to say that it is over, where a channel was lost.
func (c *caller) over() bool {
	timer := time.NewTimer(c.passage.connection.server.Limits.Leave)
	defer timer.Stop()
	select {
	case <-c.passage.live.Done():
		return true
	case <-timer.C:
		return false
	}
}
