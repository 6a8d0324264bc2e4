package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// view shows a demo. What it is given may hold anything; what it prints is clean (rule W10).
type view interface {
	begin(d *demo)
	question(q question)
	waiting(since time.Duration)
	skipped()
	event(h hook, name string)
	ended(path string, s session)
	menu(d *demo)
	journey(d *demo)
	link(at string)
	visited(d *demo, v visit)
	api(d *demo)
	ran(command []string, out, notes string)
	trouble(err error)
}

// screen is where a demo is seen, and what is typed there.
type screen struct {
	view    view
	pressed <-chan byte
	close   func()
}

// openScreen looks at what standard output and input are. On a terminal single keys are read, and q and
// Ctrl-C call quit; otherwise plain lines are written and nobody is asked.
func openScreen(p *process, quit func()) screen {
	out, ok := p.out.(*os.File)
	if !ok || !term.IsTerminal(fd(out)) {
		return screen{view: &lines{w: p.out}, close: func() {}}
	}
	panel := newPanel(out, p.env)
	in, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(fd(in)) {
		return screen{view: panel, close: panel.close}
	}
	before, err := term.MakeRaw(fd(in))
	if err != nil {
		return screen{view: panel, close: panel.close}
	}
	panel.raw, panel.asks = true, true
	pressed := make(chan byte, 1)
	go readKeys(in, pressed, quit)
	return screen{panel, pressed, func() {
		panel.close()
		_ = term.Restore(fd(in), before) // the terminal may be gone
	}}
}

func fd(f *os.File) int { return int(f.Fd()) }

// readKeys passes single keys on, in lower case. It ends with the process: a read from a terminal cannot
// be called back.
func readKeys(in io.Reader, pressed chan<- byte, quit func()) {
	const ctrlC, ctrlD, escape = 3, 4, 0x1b
	buf := make([]byte, 64)
	for {
		n, err := in.Read(buf)
		if err != nil {
			quit()
			return
		}
		if bytes.IndexByte(buf[:n], escape) >= 0 {
			continue // an arrow or a function key: its letters mean nothing
		}
		for _, key := range bytes.ToLower(buf[:n]) {
			if key == 'q' || key == ctrlC || key == ctrlD {
				quit()
				return
			}
			select {
			case pressed <- key:
			default: // one key ahead is enough
			}
		}
	}
}

// lines is the view of programs: one fact a line, each with its name in front, without colour or escapes.
type lines struct{ w io.Writer }

var _ view = (*lines)(nil)

func (l *lines) fact(name, format string, args ...any) {
	fmt.Fprintf(l.w, "%s: %s\n", name, clean(fmt.Sprintf(format, args...)))
}

func (l *lines) begin(d *demo) {
	l.fact("http", "%s", d.url())
	l.fact("docs", "%s/docs", d.url())
	l.fact("ssh-server", "%s", d.server.SSH)
	for _, key := range d.server.HostKeys {
		l.fact("host-key", "%s", key)
	}
	l.fact("data", "%s", d.data())
	for _, k := range d.mine.keys {
		l.fact("key", "%s %s %s (%s)", k.Type(), k.SHA256(), k.name, k.from)
	}
}

func (l *lines) question(q question) {
	l.fact("session", "%s", q.session.ID)
	l.fact("curl", "%s", strings.Join(q.curl, " "))
	l.fact("ssh", "%s", strings.Join(q.ssh, " "))
}

func (l *lines) event(h hook, name string) {
	switch h.Event {
	case "new_connection":
		l.fact("connection", "%s %s", h.Payload.Address, h.Payload.Client)
	case "verified":
		l.fact("proof", "%s %s", h.Payload.Fingerprint, name)
	case "key_collected":
		l.fact("offer", "%s %s", h.Payload.Fingerprint, name)
	case "failed_attempt":
		l.fact("failed-attempt", "%s", h.Payload.Reason)
	}
	l.fact("webhook", "%s, %s", h.Event, receipt(h))
}

// receipt says how a webhook came in.
func receipt(h hook) string {
	return fmt.Sprintf("%s, attempt %d, %s", signature(h), h.Attempt, h.latency())
}

func signature(h hook) string {
	if h.signed != nil {
		return "signature WRONG: " + h.signed.Error()
	}
	return "signature ok"
}

func (l *lines) ended(path string, s session) {
	l.fact("api", "GET %s", path)
	l.fact("status", "%s", s.Status)
}

func (l *lines) menu(d *demo) {
	l.fact("next", "%s webhook deliveries --data %s", d.program(), d.data())
	l.fact("next", "%s audit verify --data %s", d.program(), d.data())
	l.journey(d)
	l.fact("serving", "until SIGINT or SIGTERM")
}

func (l *lines) journey(d *demo) {
	l.fact("device-ssh", "%s", strings.Join(d.journey.ssh, " "))
	l.fact("administrator", "admin, password %s", d.password())
}

func (l *lines) link(at string) { l.fact("link", "%s", at) }

func (l *lines) visited(d *demo, v visit) {
	l.fact("visit", "%s %s %s to %s by %s %s", v.Type, v.Data.Detail.User, v.Data.Detail.Credential, v.Data.Detail.Device, v.Data.Detail.Protocol, v.Data.Detail.Why)
	l.fact("webhook", "%s, %s", v.Type, signature(v.hook))
	if v.Type == sessionEnded {
		l.fact("play", "%s", v.play)
		l.fact("next", "%s recording verify %d --data %s", d.program(), v.number, d.data())
	}
}

func (l *lines) waiting(time.Duration)       {}
func (l *lines) skipped()                    {}
func (l *lines) api(*demo)                   {}
func (l *lines) ran(_ []string, _, _ string) {}
func (l *lines) trouble(err error)           { l.fact("trouble", "%s", err) }
