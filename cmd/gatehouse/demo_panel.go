package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// panel is the view of people. It scrolls like any program; only the line that waits is written anew.
// Bold, dim, green and red read well on dark and on light.
type panel struct {
	out   *os.File
	raw   bool // the terminal does not return the carriage by itself
	asks  bool // keys are read
	color bool
	moves bool // a line can be written anew
	marks marks
	wait  bool // the last line waits, without an end
	step  int
}

var _ view = (*panel)(nil)

// marks are characters that not every terminal has.
type marks struct{ good, bad, dot, dash, dots string }

func newPanel(out *os.File, env []string) *panel {
	dumb := variable(env, "TERM") == "dumb" || variable(env, "TERM") == ""
	p := &panel{out: out, moves: !dumb, color: !dumb && variable(env, "NO_COLOR") == "", marks: marks{"+", "x", "*", "-", "..."}}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := variable(env, name); locale != "" {
			if upper := strings.ToUpper(locale); strings.Contains(upper, "UTF-8") || strings.Contains(upper, "UTF8") {
				p.marks = marks{"✓", "✗", "•", "·", "…"}
			}
			break
		}
	}
	return p
}

// Write writes to the terminal, with the ends of lines that it needs.
func (p *panel) Write(text []byte) (int, error) {
	n := len(text)
	if p.raw {
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	_, err := p.out.Write(text)
	return n, err
}

func (p *panel) width() int {
	w, _, err := term.GetSize(fd(p.out))
	if err != nil || w < 40 {
		return 80
	}
	return min(w, 120)
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (p *panel) paint(style, text string) string {
	if !p.color || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// say writes a line that is clean already, indented.
func (p *panel) say(text string) {
	p.wipe()
	fmt.Fprintln(p, strings.TrimRight("  "+text, " "))
}

// wipe takes the waiting line away.
func (p *panel) wipe() {
	if !p.wait {
		return
	}
	p.wait = false
	if p.moves {
		fmt.Fprint(p, "\r\x1b[2K")
	}
}

// heading begins the next step.
func (p *panel) heading(text string) {
	p.step++
	p.say("")
	p.say(p.paint(bold, fmt.Sprintf("%d  %s", p.step, clean(text))))
}

// prose writes a text in lines that fit.
func (p *panel) prose(style, indent, text string) {
	line := ""
	for _, word := range strings.Fields(clean(text)) {
		if line != "" && utf8.RuneCountInString(indent+line+word)+4 > p.width() {
			p.say(indent + p.paint(style, line))
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	p.say(indent + p.paint(style, line))
}

// row writes a name and a value, and behind them, or below where that does not fit, a remark.
func (p *panel) row(mark, name, value, remark string) {
	const indent = 18 // of values, with the margin
	value, remark = clean(value), clean(remark)
	head := " " + p.marked(mark) + fmt.Sprintf(" %-11s  ", name)
	if room := p.width() - indent; remark != "" && utf8.RuneCountInString(value+remark)+4 > room {
		p.say(head + value)
		p.say(strings.Repeat(" ", indent-2) + p.paint(dim, remark))
		return
	}
	p.say(head + value + "   " + p.paint(dim, remark))
}

// marked paints a mark by what it says.
func (p *panel) marked(mark string) string {
	switch mark {
	case p.marks.good:
		return p.paint(green, mark)
	case p.marks.bad:
		return p.paint(red, mark)
	}
	return mark
}

func (p *panel) begin(d *demo) {
	p.say("")
	p.say(p.paint(bold, "Gatehouse demo"))
	p.prose(dim, "", "A server on throwaway data, all of it on this machine. It is removed when you quit.")
	p.say("")
	p.row(" ", "API", d.url(), "documentation: "+d.url()+"/docs")
	p.row(" ", "SSH", d.server.SSH.String(), "")
	for _, key := range d.server.HostKeys {
		kind, print, _ := strings.Cut(key, " ")
		p.row(" ", "host key", print, strings.TrimPrefix(kind, "ssh-"))
	}
	p.heading(d.mine.title())
	p.keys(d.mine.keys)
	if d.mine.made {
		p.prose(dim, "   ", "No private key was found in an agent or in ~/.ssh, so one was made for this demo.")
	}
}

// title says where the keys come from.
func (o *ownKeys) title() string {
	if o.made {
		return "A key for you"
	}
	return "Your public keys, from your agent and ~/.ssh"
}

// keys lists keys, the first few of many.
func (p *panel) keys(keys []ownKey) {
	const most = 6
	for _, k := range keys[:min(len(keys), most)] {
		kind := strings.TrimSuffix(strings.TrimPrefix(k.Type(), "ssh-"), "@openssh.com")
		p.row(" ", shorten(kind, 11), k.SHA256(), shorten(k.name, 40)+", "+k.from)
	}
	if more := len(keys) - most; more > 0 {
		p.say(p.paint(dim, fmt.Sprintf("   and %d more", more)))
	}
}

func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "~"
	}
	return text
}

func (p *panel) question(q question) {
	p.heading(q.title)
	if q.about != "" {
		p.prose("", "   ", q.about)
	}
	p.row(" ", "request", "POST "+sessionsPath(q.kind), "session "+q.session.ID)
	p.command(dim, q.curl)
	p.heading("Your turn. In another terminal, type:")
	p.say("")
	p.command(bold, q.ssh)
	p.say("")
	if !p.moves {
		p.say("   " + p.hint())
	}
	p.waiting(0)
}

// command writes a command on lines that fit.
func (p *panel) command(style string, words []string) {
	for i, part := range p.fold(words) {
		p.say("   " + strings.Repeat("  ", min(i, 1)) + p.paint(style, clean(part)))
	}
}

// fold breaks a command into lines that fit and can still be pasted.
func (p *panel) fold(words []string) []string {
	room := p.width() - 9
	folded := []string{words[0]}
	for _, word := range words[1:] {
		last := folded[len(folded)-1]
		if len(last)+1+len(word) <= room {
			folded[len(folded)-1] = last + " " + word
			continue
		}
		folded[len(folded)-1] = last + ` \`
		folded = append(folded, word)
	}
	return folded
}

func (p *panel) hint() string {
	if !p.asks {
		return "Ctrl-C quits"
	}
	return "s skips " + p.marks.dash + " q quits"
}

func (p *panel) waiting(since time.Duration) {
	if !p.moves {
		return
	}
	p.wait = true
	text := fmt.Sprintf("waiting for your connection%s %d s %s %s", p.marks.dots, int(since.Seconds()), p.marks.dash, p.hint())
	fmt.Fprint(p, "\r\x1b[2K     "+p.paint(dim, text))
}

func (p *panel) skipped() { p.say(p.paint(dim, "   skipped")) }

func (p *panel) event(h hook, name string) {
	mark, what, value := p.marks.dot, h.Event, h.status()
	switch h.Event {
	case "new_connection":
		what, value = "connection", "from "+h.Payload.Address+" with "+strings.TrimPrefix(h.Payload.Client, "SSH-2.0-")
	case "verified":
		mark, what, value = p.marks.good, "proof", h.Payload.Fingerprint
	case "key_collected":
		what, value = "offer", h.Payload.Fingerprint
	case "failed_attempt":
		mark, what, value = p.marks.bad, "failed", strings.ReplaceAll(h.Payload.Reason, "_", " ")
	case "status_changed":
		what = "status"
		switch h.status() {
		case "verified", "completed":
			mark = p.marks.good
		default:
			mark = p.marks.bad
		}
	}
	if name != "" {
		name = shorten(name, 24) + ", "
	}
	p.row(mark, what, value, name+"webhook "+h.Event+": "+receipt(h))
}

func (p *panel) ended(path string, s session) {
	var verdict string
	switch s.Status {
	case "verified":
		verdict = p.paint(green+";"+bold, "Proven.") + " The API says the same:"
	case "completed":
		verdict = p.paint(bold, "Recorded, not proven.") + " The API says the same:"
	default:
		verdict = p.paint(red+";"+bold, "Not proven.") + " The API says the same:"
	}
	p.say("")
	p.say(" " + verdict)
	p.say("   GET " + clean(path))
	p.say("   " + clean(fmt.Sprintf("status: %s, %s, %s", s.Status, count(len(s.Connections), "connection"), count(s.proven(), "key"))))
}

func (p *panel) menu(d *demo) {
	p.say("")
	p.say(p.paint(bold, "What next?"))
	if !p.asks {
		p.journey(d)
		for _, command := range []string{"webhook deliveries", "audit verify"} {
			p.say("   " + clean(d.program()+" "+command+" --data "+d.data()))
		}
		p.say("   " + p.paint(dim, "Ctrl-C quits and removes everything."))
		return
	}
	for _, choice := range [][2]string{
		{"g", "go to a machine with your own ssh: a recorded session"},
		{"b", "the same in the browser, by a link that a program asks for"},
		{"Enter", "the proof again, but the person must press y"},
		{"o", "which keys does a client offer? (a collect session)"},
		{"f", "a key that you do not have: see it fail"},
		{"a", "call the API yourself, with curl"},
		{"d", "the list of webhook deliveries"},
		{"v", "verify the audit log"},
		{"q", "quit, and remove everything"},
	} {
		p.say("   " + p.paint(bold, fmt.Sprintf("%-7s", choice[0])) + choice[1])
	}
	p.say("")
}

// journey shows how the person goes to the machine behind the gate.
func (p *panel) journey(d *demo) {
	p.heading("Go to " + targetName + ", a machine behind the gate")
	p.prose("", "   ", fmt.Sprintf("%s is allowed to, by a grant. She signs in with your key; the password of %s there is lent to the session, and she never sees it. In another terminal, type:", visitor, targetUser))
	p.say("")
	p.command(bold, d.journey.ssh)
	p.say("")
}

// link shows a link that was made.
func (p *panel) link(at string) {
	p.heading("Go there in the browser")
	p.row(" ", "request", "POST "+linkPath, "by a program, with its own credential")
	p.prose("", "   ", "Open this within 30 seconds; it opens once:")
	p.say("")
	p.command(bold, []string{at})
	p.say("")
}

// visited shows a session behind the gate that began or ended.
func (p *panel) visited(d *demo, v visit) {
	told := v.Data.Detail
	remark := "webhook " + v.Type + ": " + signature(v.hook) + ", " + v.latency().String()
	if v.Type != sessionEnded {
		p.row(p.marks.dot, "session", fmt.Sprintf("%s is on %s as %s, by %s", told.User, told.Device, told.Credential, told.Protocol), remark)
		p.row(" ", "look on", v.watch, "as admin, "+d.password())
		return
	}
	p.row(p.marks.good, "ended", told.User+" on "+told.Device+": "+told.Why, remark)
	if v.number != 0 {
		p.say("")
		p.say(" " + p.paint(bold, "Recorded.") + " Play it in the browser, as admin with the password " + clean(d.password()) + ":")
		p.command(bold, []string{v.play})
		p.say("   Or, in another terminal:")
		for _, verb := range []string{"export", "verify"} {
			p.command(bold, []string{d.program(), fmt.Sprintf("recording %s %d", verb, v.number), "--data " + d.data()})
		}
	}
}

func (p *panel) api(d *demo) {
	p.heading("The API, with curl")
	for _, call := range []struct {
		what string
		line []string
	}{
		{"What is this key?", d.curl("/api/v1/auth/info/")},
		{"The sessions, newest first", d.curl(sessionsPath("verify"), "-G -d limit=5")},
		{"Ask for one more; its webhooks show here", d.curl(sessionsPath("verify"), "--json @"+filepath.Join(d.dir, "verify.json"))},
	} {
		p.say("")
		p.prose("", "   ", call.what)
		p.command(bold, call.line)
	}
	p.say("")
	p.prose("", "   ", "Every call is described at "+d.url()+"/docs")
}

// ran shows a command and what it printed: a table cut at the edge of the screen, and notes that wrap.
func (p *panel) ran(command []string, out, notes string) {
	p.say("")
	p.command(bold, append([]string{"$"}, command...))
	for line := range strings.Lines(out) {
		p.say("   " + shorten(strings.TrimRight(line, "\n"), p.width()-6))
	}
	for line := range strings.Lines(notes) {
		p.prose(dim, "   ", strings.TrimRight(line, "\n"))
	}
}

func (p *panel) trouble(err error) {
	p.prose(red, "   ", err.Error())
}

func (p *panel) close() {
	p.say("")
	p.say(p.paint(dim, "Stopping, and removing the demo's data."))
}
