package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// tape keeps what passes in one channel, or follows it.
type tape interface {
	toTarget(p []byte) error
	fromTarget(p []byte) error
	close(e Exit) error
}

// trackTape records a terminal or a command byte for byte.
type trackTape struct{ Tracker }

func (t trackTape) toTarget(p []byte) error   { return t.Input(p) }
func (t trackTape) fromTarget(p []byte) error { return t.Output(p) }
func (t trackTape) close(e Exit) error        { return t.Close(e) }

// fileTape notes what happens to files.
type fileTape struct{ FileTap }

func (t fileTape) toTarget(p []byte) error   { return t.ToTarget(p) }
func (t fileTape) fromTarget(p []byte) error { return t.FromTarget(p) }
func (t fileTape) close(Exit) error          { return t.Close() }

// channel is a Channel of the target as a door gets it: every byte is recorded before it is handed on. It buffers nothing: who does not read holds up the
// target.
type channel struct {
	l    *Live
	name string
	to   Channel
	errs io.Reader // Stderr
	tape tape      // nil where the session goes on unrecorded from before it was opened
	file bool      // SFTP: who looks on does not see it
	pty  bool

	shell bool // what it prints is nobody's use: a shell, or a command in a terminal

	in, out atomic.Int64 // bytes to the target and from it

	mu   sync.RWMutex // held for writing only to shut
	shut bool
	exit Exit
}

// Terminal opens a shell, or runs one command; an scp is asked for as Files. It reports ErrFeature, ErrNotOffered, ErrChannels and ErrOver. What
// is read and written is recorded before it is handed on. The channel has WriteTo and ReadFrom, so that io.Copy needs no buffer. Close it when all was
// read and Wait has returned.
func (l *Live) Terminal(ctx context.Context, t Terminal) (Channel, error) {
	kind, feature := "terminal", access.Shell
	if t.Command != "" {
		kind, feature = "exec", access.Exec
	}
	if isCopy(t.Command) {
		feature = access.Files
	}
	c, err := l.admit(feature, t.Command, kind)
	if err != nil {
		return nil, err
	}
	c.pty, c.shell = t.PTY, t.PTY || t.Command == ""
	if r := l.keeper(); r != nil { // before the first byte: rule S15
		if err := c.record(r, Track{Name: c.name, Kind: kind, Terminal: t}); err != nil {
			l.drop(c)
			return nil, err
		}
	}
	return l.opened(c, Note{Way: string(feature), Name: bounded(t.Command)}, func(link Link) (Channel, error) { return link.Terminal(ctx, t) }, t.Size)
}

// record begins the channel's track. A recorder that has not failed and takes no further track refuses this channel alone.
func (c *channel) record(r Recorder, t Track) error {
	track, err := r.Track(t)
	switch {
	case err == nil:
		c.tape = trackTape{track}
		return nil
	case r.Err() == nil:
		return fmt.Errorf("%w: %w", ErrUnrecorded, err)
	}
	return c.l.lost(err)
}

// Files opens the target's SFTP subsystem. It reports what Terminal does.
func (l *Live) Files(ctx context.Context) (Channel, error) {
	c, err := l.admit(access.Files, "", "files")
	if err != nil {
		return nil, err
	}
	c.file = true
	c.tape = fileTape{l.s.NewFileTap(func(n Note) error {
		if n.Channel == "" {
			n.Channel = c.name
		}
		return l.note(n)
	})}
	return l.opened(c, Note{Way: WayFiles}, func(link Link) (Channel, error) { return link.Files(ctx) }, Size{})
}

// admit decides on one channel by itself (rule S14), and counts it.
func (l *Live) admit(f access.Feature, what, kind string) (*channel, error) {
	if err := l.gives(f, what); err != nil {
		return nil, err
	}
	c := &channel{l: l, name: l.keys.name(kind), exit: Exit{Status: -1}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.roomLocked(); err != nil {
		return nil, err
	}
	l.open[c] = struct{}{}
	return c, nil
}

// gives asks the terms of the session for a feature. A refusal is on record.
func (l *Live) gives(f access.Feature, what string) error {
	if l.Session().Terms.Gives(f) {
		return nil
	}
	if l.keys.refused(string(f) + "\x00" + what) {
		l.refuse(string(f), what, "the grant does not give it")
	}
	return ErrFeature
}

// roomLocked bounds what one session holds at a time (rule W5).
func (l *Live) roomLocked() error {
	if l.why != "" || l.link == nil {
		return ErrOver
	}
	if len(l.open)+len(l.forwards) >= orDefault(l.s.Settings.Channels, 32) {
		return ErrChannels
	}
	return nil
}

// opened opens an admitted channel at the target.
func (l *Live) opened(c *channel, n Note, open func(Link) (Channel, error), size Size) (Channel, error) {
	l.mu.Lock()
	link := l.link
	l.mu.Unlock()
	n.Kind, n.Channel = "opened", c.name
	err := l.note(n)
	if err == nil {
		c.to, err = open(link)
	}
	if err == nil {
		c.errs = stderr{c}
		if !c.file {
			l.screen.show(c, size)
		}
		l.mu.Lock()
		if l.why != "" { // it ended meanwhile, and shutAll may not have seen this one
			err = ErrOver
		}
		l.mu.Unlock()
	}
	if err != nil {
		_ = c.Close() // the first error counts
		return nil, err
	}
	return c, nil
}

func (l *Live) drop(c *channel) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	l.screen.hide(c)
	l.wake()
}

// wake has the session's keeper look whether anything is open yet.
func (l *Live) wake() {
	select {
	case l.idle <- struct{}{}:
	default:
	}
}

// carry records bytes in one direction. Where it reports an error they must not be handed on.
func (c *channel) carry(p []byte, keep func(tape, []byte) error) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.shut || c.l.stopped.Load() {
		return ErrOver
	}
	if c.tape == nil || !c.file && !c.l.Recorded() {
		return c.l.carries()
	}
	err := keep(c.tape, p)
	if err == nil {
		return nil
	}
	if c.file && c.l.failedRecorder() == nil { // the tap cannot follow this target: the channel ends, not the session
		return err
	}
	return c.l.lost(err)
}

// carries refuses to go on without a recorder, unless the device is set so.
func (l *Live) carries() error {
	if l.Recorded() {
		return nil
	}
	if !l.device.Unrecorded {
		return ErrUnrecorded
	}
	return nil
}

// failedRecorder is why the recorder has failed, if it has.
func (l *Live) failedRecorder() error {
	if r := l.keeper(); r != nil {
		return r.Err()
	}
	return nil
}

func (c *channel) fromTarget(p []byte) error {
	if err := c.carry(p, tape.fromTarget); err != nil {
		return c.spoil(err)
	}
	c.out.Add(int64(len(p)))
	c.l.toPerson.add(len(p))
	if !c.shell { // a build that prints for an hour is not idle; a terminal that does is one that nobody looks at
		c.l.use()
	}
	if !c.file {
		c.l.screen.output(c, p)
	}
	return nil
}

func (c *channel) toTarget(p []byte) error {
	if err := c.carry(p, tape.toTarget); err != nil {
		return c.spoil(err)
	}
	c.in.Add(int64(len(p)))
	c.l.toTarget.add(len(p))
	c.l.use()
	return nil
}

// spoil ends a channel that can be recorded no longer.
func (c *channel) spoil(err error) error {
	if !errors.Is(err, ErrOver) {
		_ = c.to.Close() // nothing more comes of it
	}
	return err
}

// Read implements Channel.
func (c *channel) Read(p []byte) (int, error) { return c.read(c.to, p) }

func (c *channel) read(from io.Reader, p []byte) (int, error) {
	c.room(false)
	n, err := from.Read(p)
	if n > 0 {
		if bad := c.fromTarget(p[:n]); bad != nil {
			clear(p[:n])
			return 0, bad
		}
	}
	return n, err
}

// room waits until there is room for more to be recorded.
func (c *channel) room(input bool) {
	if r := c.l.keeper(); r != nil && !c.file {
		r.Room(input, c.l.done)
	}
}

// Write implements Channel.
func (c *channel) Write(p []byte) (int, error) {
	c.room(true)
	if err := c.toTarget(p); err != nil {
		return 0, err
	}
	return c.to.Write(p)
}

// WriteTo implements io.WriterTo: io.Copy uses it, and so needs no buffer of its own.
func (c *channel) WriteTo(w io.Writer) (int64, error) { return pipe(w, onlyRead{c}) }

// ReadFrom implements io.ReaderFrom.
func (c *channel) ReadFrom(r io.Reader) (int64, error) { return pipe(onlyWrite{c}, r) }

// Stderr implements Channel.
func (c *channel) Stderr() io.Reader { return c.errs }

// CloseWrite implements Channel.
func (c *channel) CloseWrite() error { return c.to.CloseWrite() }

// Resize implements Channel.
func (c *channel) Resize(s Size) error {
	err := c.mark(func(t Tracker) error { return t.Resize(s) })
	if err != nil {
		return err
	}
	c.l.screen.resize(c, s)
	return c.to.Resize(s)
}

// Signal implements Channel.
func (c *channel) Signal(name string) error {
	if err := c.mark(func(t Tracker) error { return t.Mark("signal " + bounded(name)) }); err != nil {
		return err
	}
	return c.to.Signal(name)
}

// mark records something that is no byte.
func (c *channel) mark(keep func(Tracker) error) error {
	return c.carry(nil, func(t tape, _ []byte) error {
		if track, ok := t.(trackTape); ok {
			return keep(track.Tracker)
		}
		return nil
	})
}

// Wait implements Channel.
func (c *channel) Wait() Exit {
	e := c.to.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exit = e
	return e
}

// Close implements Channel.
func (c *channel) Close() error {
	var err error
	if c.to != nil {
		err = c.to.Close()
	}
	c.end()
	return err
}

// end closes the track: what was read of the target and not recorded yet is not handed on either.
func (c *channel) end() {
	c.mu.Lock()
	was := c.shut
	c.shut = true
	e := c.exit
	c.mu.Unlock()
	if was {
		return
	}
	if c.tape != nil {
		if err := c.tape.close(e); err != nil && c.l.keeper() != nil {
			_ = c.l.lost(err) // it is over anyway; the session is not
		}
	}
	n := Note{Channel: c.name, Kind: "closed", Bytes: c.out.Load(), Sent: c.in.Load(), Done: e.Status >= 0}
	if c.tape == nil {
		n.Text = "not recorded"
	}
	_ = c.l.note(n) // a recorder that fails here has ended the session
	c.l.drop(c)
}

// shutAll closes whatever the doors have left open.
func (l *Live) shutAll() {
	l.mu.Lock()
	var channels []*channel
	for c := range l.open {
		channels = append(channels, c)
	}
	var forwards []*forward
	for f := range l.forwards {
		forwards = append(forwards, f)
	}
	l.mu.Unlock()
	slices.SortFunc(channels, func(a, b *channel) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(forwards, func(a, b *forward) int { return strings.Compare(a.name, b.name) })
	for _, c := range channels {
		c.end()
	}
	for _, f := range forwards {
		f.end()
	}
	if n := l.keys.unwritten(); n > 0 {
		_ = l.note(Note{Channel: "session", Kind: "refused", Text: strconv.Itoa(n) + " more, counted only"})
	}
}

// stderr is the other stream of a command.
type stderr struct{ c *channel }

func (s stderr) Read(p []byte) (int, error) { return s.c.read(s.c.to.Stderr(), p) }

func (s stderr) WriteTo(w io.Writer) (int64, error) { return pipe(w, onlyRead{s}) }

// buffers are lent to copies while they run. SSH carries 32 KiB at most in one message.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// pipe copies until there is no more.
func pipe(w io.Writer, r io.Reader) (int64, error) {
	b := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(b)
	var all int64
	for {
		n, err := r.Read(b[:])
		if n > 0 {
			m, bad := w.Write(b[:n])
			all += int64(m)
			if bad != nil {
				return all, bad
			}
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// isCopy reports whether a command is what scp runs at the other end, and nothing more: no character has a meaning for a shell.
func isCopy(command string) bool {
	words := strings.Fields(command)
	if len(words) < 3 || words[0] != "scp" || strings.ContainsFunc(command, func(r rune) bool { return !plain(r) }) {
		return false
	}
	direction := false
	options := words[1 : len(words)-1]
	for i, w := range options {
		switch {
		case w == "-t", w == "-f":
			direction = true
		case w == "--" && i == len(options)-1:
		case !strings.HasPrefix(w, "-"), strings.Trim(w[1:], "rpdvq") != "", w == "-":
			return false
		}
	}
	return direction && (words[len(words)-2] == "--" || !strings.HasPrefix(words[len(words)-1], "-"))
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" ./_-,:@%+=~", r)
}
