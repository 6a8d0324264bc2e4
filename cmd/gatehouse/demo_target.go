package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// target is the machine behind the gate: an SSH server of its own, as far from Gatehouse as any other, with a shell that is made up. Nothing that is typed
// there reaches the computer that the demo runs on.
type target struct {
	address  string
	port     int
	host     ssh.PublicKey
	password secret.String // of targetUser; the person of the demo never sees it

	listener net.Listener
	config   *ssh.ServerConfig
	running  sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil: closed
	files    sftp.Handlers     // what was uploaded lies in memory
}

const (
	targetName = "web-01"
	targetUser = "deploy"
)

var errTargetPassword = errors.New("demo target: wrong user or password")

func startTarget() (*target, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	at := l.Addr().(*net.TCPAddr)
	t := &target{
		address: at.IP.String(), port: at.Port, host: signer.PublicKey(), password: secret.New(fmt.Sprintf("%x", secret.Bytes(16))),
		listener: l, open: map[net.Conn]bool{}, files: sftp.InMemHandler(),
	}
	t.config = &ssh.ServerConfig{PasswordCallback: func(who ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if who.User() != targetUser || !secret.Equal(password, []byte(t.password.Reveal())) {
			return nil, errTargetPassword
		}
		return nil, nil //nolint:nilnil // no permissions, no error: signed in
	}}
	t.config.AddHostKey(signer)
	t.running.Go(t.accept)
	return t, nil
}

func (t *target) accept() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return // ends by close
		}
		t.mu.Lock()
		if t.open == nil {
			t.mu.Unlock()
			_ = conn.Close()
			return
		}
		t.open[conn] = true
		t.mu.Unlock()
		t.running.Go(func() {
			t.serve(conn)
			t.mu.Lock()
			delete(t.open, conn)
			t.mu.Unlock()
		})
	}
}

// close ends all connections and waits for them.
func (t *target) close() {
	_ = t.listener.Close()
	t.mu.Lock()
	for conn := range t.open {
		_ = conn.Close()
	}
	t.open = nil
	t.mu.Unlock()
	t.running.Wait()
}

func (t *target) serve(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(10*time.Second)) != nil {
		return
	}
	in, channels, requests, err := ssh.NewServerConn(conn, t.config)
	if err != nil || conn.SetDeadline(time.Time{}) != nil {
		return
	}
	defer in.Close()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	sessions.Go(func() { ssh.DiscardRequests(requests) })
	for asked := range channels {
		if asked.ChannelType() != "session" {
			_ = asked.Reject(ssh.UnknownChannelType, "the demo's machine has sessions alone")
			continue
		}
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { (&madeUp{channel: channel, files: t.files}).session(requests) })
	}
}

// madeUp is one session on a machine that does not exist.
type madeUp struct {
	channel  ssh.Channel
	files    sftp.Handlers
	terminal *term.Terminal // nil: none was asked for
	working  sync.WaitGroup
}

// session answers requests until the channel ends. A shell or a command runs beside, since sizes change meanwhile, once its request is answered: a quick one
// would have closed the channel before.
func (m *madeUp) session(requests <-chan *ssh.Request) {
	defer m.working.Wait()
	started := false
	for r := range requests {
		ok := true
		var work func()
		switch r.Type {
		case "pty-req": // RFC 4254 section 6.2: the name of the terminal, columns, rows
			var pty struct {
				Term       string
				Cols, Rows uint32
				Rest       []byte `ssh:"rest"`
			}
			if ok = !started && ssh.Unmarshal(r.Payload, &pty) == nil; ok {
				m.terminal = term.NewTerminal(m.channel, targetUser+"@"+targetName+":~$ ")
				m.resize(pty.Cols, pty.Rows)
			}
		case "window-change": // section 6.7: columns, rows
			if len(r.Payload) >= 8 && m.terminal != nil {
				m.resize(binary.BigEndian.Uint32(r.Payload), binary.BigEndian.Uint32(r.Payload[4:]))
			}
		case "shell":
			if ok = !started; ok {
				work = m.shell
			}
			started = true
		case "exec":
			var command struct{ Line string }
			if ok = !started && ssh.Unmarshal(r.Payload, &command) == nil; ok {
				work = func() {
					status, _ := m.run(command.Line, m.channel)
					m.exit(status)
				}
			}
			started = true
		case "subsystem":
			var subsystem struct{ Name string }
			if ok = !started && ssh.Unmarshal(r.Payload, &subsystem) == nil && subsystem.Name == "sftp"; ok {
				work = m.sftp
			}
			started = started || ok
		default:
			ok = false
		}
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if work != nil {
			m.working.Go(work)
		}
	}
}

func (m *madeUp) resize(cols, rows uint32) {
	_ = m.terminal.SetSize(int(min(max(cols, 1), 1000)), int(min(max(rows, 1), 1000))) // a size that is refused leaves the one before
}

// exit ends the session with a status (RFC 4254 section 6.10).
func (m *madeUp) exit(status uint32) {
	_, _ = m.channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
	_ = m.channel.Close()
}

// sftp serves files, which no command of the shell shows.
func (m *madeUp) sftp() {
	_ = sftp.NewRequestServer(m.channel, m.files).Serve() // ends when the channel does
	m.exit(0)
}

// shell reads lines until exit or the end of input.
func (m *madeUp) shell() {
	var out io.Writer = m.channel
	plain := bufio.NewScanner(m.channel)
	read := func() (string, bool) {
		ok := plain.Scan()
		return plain.Text(), ok
	}
	if m.terminal != nil {
		out = m.terminal
		read = func() (string, bool) {
			line, err := m.terminal.ReadLine()
			return line, err == nil
		}
	}
	fmt.Fprintf(out, "This is %s, a machine that the demo made up. Try help.\n", targetName)
	var status uint32
	for {
		line, ok := read()
		if !ok {
			break
		}
		var end bool
		if status, end = m.run(line, out); end {
			break
		}
	}
	m.exit(status)
}

// madeUpFiles are what there is on the machine.
var madeUpFiles = map[string]string{
	"notes.txt":       "Everything you type here ends at the demo, and everything you see is recorded.\n",
	"orders.csv":      "number,item,state\n1001,anvil,sent\n1002,rocket skates,waiting for approval\n",
	"log/today.log":   "09:00 shop started\n09:14 order 1001 sent\n",
	"log/release.txt": "shop 4.2\n",
}

// run does one line. end says that the person leaves.
func (m *madeUp) run(line string, out io.Writer) (status uint32, end bool) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return 0, false
	}
	argument := ""
	if len(words) > 1 {
		argument = strings.Trim(strings.TrimPrefix(words[1], "./"), "/")
	}
	switch words[0] {
	case "help":
		fmt.Fprintln(out, "cat FILE, date, exit, help, hostname, ls [FOLDER], pwd, whoami")
	case "exit", "logout":
		return 0, true
	case "date":
		fmt.Fprintln(out, time.Now().Format(time.UnixDate))
	case "whoami":
		fmt.Fprintln(out, targetUser)
	case "hostname":
		fmt.Fprintln(out, targetName)
	case "pwd":
		fmt.Fprintln(out, "/home/"+targetUser)
	case "ls":
		return list(out, argument), false
	case "cat":
		text, ok := madeUpFiles[argument]
		if !ok {
			fmt.Fprintf(out, "cat: %s: there is no such file; ls shows them\n", clean(argument))
			return 1, false
		}
		fmt.Fprint(out, text)
	default:
		fmt.Fprintf(out, "%s: there is no such command here; try help\n", clean(words[0]))
		return 127, false
	}
	return 0, false
}

// list prints what is in a folder, folders with a slash behind them.
func list(out io.Writer, folder string) (status uint32) {
	prefix := ""
	if folder != "" && folder != "." {
		prefix = folder + "/"
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(madeUpFiles)) {
		inside, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if first, _, deeper := strings.Cut(inside, "/"); deeper {
			inside = first + "/"
		}
		if !slices.Contains(names, inside) {
			names = append(names, inside)
		}
	}
	if len(names) == 0 {
		fmt.Fprintf(out, "ls: %s: there is no such folder\n", clean(folder))
		return 1
	}
	fmt.Fprintln(out, strings.Join(names, "  "))
	return 0
}
