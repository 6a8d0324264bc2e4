package sshrelay

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Bounds of what a tap follows (rule W5). What goes beyond ends the channel: nothing is carried that is not followed.
const (
	maxPacket   = 1 << 20  // of a packet; OpenSSH takes and sends 256 KiB at most
	maxRequest  = 64 << 10 // of a request that is not a write: two paths
	maxHandle   = 256      // draft-ietf-secsh-filexfer-02 section 6.3
	maxPending  = 4096     // requests that wait for their answers
	maxFiles    = 1024     // that are open at a time
	maxName     = 4096     // bytes of a path that are kept
	maxOffset   = 1 << 62
	sftpVersion = 3 // the one that OpenSSH speaks; later ones mean other things by the same packets
)

// The packets of SFTP, draft-ietf-secsh-filexfer-02 section 3.
const (
	fxInit     = 1
	fxVersion  = 2
	fxOpen     = 3
	fxClose    = 4
	fxRead     = 5
	fxWrite    = 6
	fxLstat    = 7
	fxFstat    = 8
	fxSetstat  = 9
	fxFsetstat = 10
	fxOpendir  = 11
	fxReaddir  = 12
	fxRemove   = 13
	fxMkdir    = 14
	fxRmdir    = 15
	fxRealpath = 16
	fxStat     = 17
	fxRename   = 18
	fxReadlink = 19
	fxSymlink  = 20
	fxExtended = 200

	fxStatus        = 101
	fxHandle        = 102
	fxData          = 103
	fxName          = 104
	fxAttrs         = 105
	fxExtendedReply = 201
)

// What a file is opened for (section 6.3), and whether attributes have a size (section 5).
const (
	forReading = 0x01
	forWriting = 0x02 | 0x04 | 0x08 | 0x10 // or appending, creating, truncating
	hasSize    = 0x01
)

// NewTap returns a tap that follows one SFTP channel and hands what happens to files to note: each upload and download when its file is closed, with
// the size and SHA-256 of what was carried, and each removal, renaming and the like when the target has answered. It changes nothing.
//
// The hash is over the bytes in the order of their offsets. Where it is not of one piece from the first byte on, the note's text says so.
func NewTap(note func(remote.Note) error) remote.FileTap {
	t := &tap{note: note, pending: map[uint32]pending{}, files: map[string]*file{}}
	t.up.plan, t.up.handle = planRequest, t.request
	t.down.plan, t.down.handle = planAnswer, t.answer
	return t
}

// tap follows one SFTP channel.
type tap struct {
	note func(remote.Note) error

	mu       sync.Mutex
	up, down stream
	pending  map[uint32]pending // by id
	files    map[string]*file   // by handle
	held     int                // bytes that all files hold back
	begun    bool               // INIT has passed
	err      error              // why it follows no longer
}

// pending is a request that the target has not answered.
type pending struct {
	kind   byte
	file   *file       // that it is about
	offset uint64      // of a read
	size   uint32      // of a read
	note   remote.Note // to be kept with the answer; empty Way: none
}

// file is an open file.
type file struct {
	name     string
	flags    uint32
	waiting  int  // requests about it that were not answered
	closed   bool // the target has said so
	refused  bool // it refused something
	up, down digest
}

// ToTarget implements remote.FileTap.
func (t *tap) ToTarget(p []byte) error { return t.feed(&t.up, p) }

// FromTarget implements remote.FileTap.
func (t *tap) FromTarget(p []byte) error { return t.feed(&t.down, p) }

func (t *tap) feed(s *stream, p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = s.feed(p)
	}
	return t.err
}

// Close implements remote.FileTap.
func (t *tap) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, p := range t.pending {
		if p.note.Way != "" {
			p.note.Text = join(p.note.Text, "no answer")
			errs = append(errs, t.note(p.note))
		}
	}
	open := slices.SortedFunc(maps.Values(t.files), func(a, b *file) int { return cmp.Compare(a.name, b.name) })
	for _, f := range open {
		text := "left open"
		if f.closed {
			text = ""
		}
		errs = append(errs, t.finish(f, text))
	}
	clear(t.pending)
	clear(t.files)
	if t.err == nil {
		t.err = errors.New("the file channel is closed")
	}
	return errors.Join(errs...)
}

// planRequest says how many bytes of a packet to the target must be there before it can be understood.
func planRequest(body []byte, size int) (int, error) {
	switch body[0] {
	case fxInit:
		return 5, nil
	case fxWrite:
		if len(body) < 9 {
			return 9, nil
		}
		handle := number(body[5:])
		if handle > maxHandle {
			return 0, errors.New("a handle is too long")
		}
		return 9 + int(handle) + 12, nil
	}
	if size > maxRequest {
		return 0, errors.New("a request is too long")
	}
	return size, nil
}

// planAnswer is planRequest for packets from the target.
func planAnswer(body []byte, size int) (int, error) {
	switch body[0] {
	case fxStatus, fxData:
		return 9, nil
	case fxHandle:
		if size > 9+maxHandle {
			return 0, errors.New("a handle is too long")
		}
		return size, nil
	}
	return 5, nil
}

// request follows a packet to the target.
func (t *tap) request(body []byte, size int) (into carrier, data int, err error) {
	f := fields{rest: body[1:]}
	id := f.number()
	if body[0] == fxInit {
		if t.begun {
			return into, 0, errors.New("the client begins twice")
		}
		t.begun = true
		return into, 0, nil
	}
	if f.bad || len(body) < 5 {
		return into, 0, errMalformed
	}
	if _, taken := t.pending[id]; taken {
		return into, 0, errors.New("the client asks twice under one number")
	}
	if len(t.pending) >= maxPending {
		return into, 0, errors.New("the client asks for too much at a time")
	}
	p := pending{kind: body[0]}
	switch body[0] {
	case fxWrite:
		p.file = t.files[string(f.bytes())]
		offset := f.long()
		data = int(f.number())
		if f.bad || data != size-len(body) {
			return into, 0, errMalformed
		}
		if p.file != nil {
			into = carrier{&p.file.up, offset}
		}
	case fxRead:
		p.file = t.files[string(f.bytes())]
		p.offset, p.size = f.long(), f.number()
	case fxClose:
		p.file = t.files[string(f.bytes())]
	default:
		if p.note, err = describe(body[0], &f, t.files); err != nil {
			return into, 0, err
		}
		p.file = t.opening(body[0], p.note, &f)
	}
	if f.bad || p.offset > maxOffset || into.offset > maxOffset {
		return into, 0, errMalformed
	}
	if p.file != nil {
		p.file.waiting++
	}
	t.pending[id] = p
	return into, data, nil
}

// opening makes the file of an open request.
func (t *tap) opening(kind byte, n remote.Note, f *fields) *file {
	if kind != fxOpen {
		return nil
	}
	return &file{name: n.Name, flags: f.number()}
}

// describe says what a request does to which file. Those that change nothing have no Way; one that nobody here knows may do anything, and is noted as such.
func describe(kind byte, f *fields, open map[string]*file) (remote.Note, error) {
	n := remote.Note{Kind: "file"}
	switch kind {
	case fxOpen:
		n.Name = f.name()
	case fxOpendir:
		n.Way, n.Name = "list", f.name()
	case fxRemove:
		n.Way, n.Name = "remove", f.name()
	case fxMkdir:
		n.Way, n.Name = "mkdir", f.name()
	case fxRmdir:
		n.Way, n.Name = "rmdir", f.name()
	case fxSetstat:
		n.Way, n.Name = "attributes", f.name()
	case fxFsetstat: // each upload ends with one, for mode and times
		if file := open[string(f.bytes())]; file != nil && f.number()&hasSize != 0 {
			n.Way, n.Name = "truncate", file.name
		}
	case fxRename:
		n.Way, n.Name, n.Text = "rename", f.name(), "to "+f.name()
	case fxSymlink: // OpenSSH has what the link leads to first, unlike the draft
		to := f.name()
		n.Way, n.Name, n.Text = "symlink", f.name(), "to "+to
	case fxExtended:
		return n, describeExtended(&n, f, open)
	case fxLstat, fxFstat, fxReaddir, fxRealpath, fxStat, fxReadlink:
	default:
		n.Way, n.Text = unknownWay, fmt.Sprintf("packet %d", kind)
	}
	return n, nil
}

// unknownWay is that of a request of which nobody here knows what it does.
const unknownWay = "unknown"

// describeExtended knows the requests of OpenSSH's PROTOCOL file, section 4, and copy-file, which other servers have.
func describeExtended(n *remote.Note, f *fields, open map[string]*file) error {
	switch name := f.name(); name {
	case "posix-rename@openssh.com":
		n.Way, n.Name, n.Text = "rename", f.name(), "to "+f.name()
	case "hardlink@openssh.com":
		to := f.name()
		n.Way, n.Name, n.Text = "link", f.name(), "to "+to
	case "lsetstat@openssh.com":
		n.Way, n.Name = "attributes", f.name()
	case "copy-data":
		from := open[string(f.bytes())]
		f.long()
		f.long()
		if to := open[string(f.bytes())]; from != nil && to != nil {
			n.Way, n.Name, n.Text = "copy", from.name, "to "+to.name
		}
	case "copy-file":
		n.Way, n.Name, n.Text = "copy", f.name(), "to "+f.name()
	case "version-select": // later versions mean other things by the same packets
		return errors.New("the client asks for another version of SFTP, which cannot be followed")
	case "fsync@openssh.com", "statvfs@openssh.com", "fstatvfs@openssh.com", "limits@openssh.com", "expand-path@openssh.com", "home-directory", "users-groups-by-id@openssh.com":
	default:
		n.Way, n.Text = unknownWay, name
	}
	return nil
}

// answer follows a packet from the target.
func (t *tap) answer(body []byte, size int) (into carrier, data int, err error) {
	f := fields{rest: body[1:]}
	id := f.number()
	if body[0] == fxVersion {
		if !t.begun || f.bad || id > sftpVersion {
			return into, 0, fmt.Errorf("the target speaks version %d of SFTP, which cannot be followed; version 3 can", id)
		}
		return into, 0, nil
	}
	p, asked := t.pending[id]
	if f.bad || !asked {
		return into, 0, errors.New("the target answers what nobody asked")
	}
	delete(t.pending, id)
	switch body[0] {
	case fxStatus:
		code := f.number()
		if f.bad {
			return into, 0, errMalformed
		}
		return into, 0, t.status(p, code)
	case fxHandle:
		handle := string(f.bytes())
		if f.bad {
			return into, 0, errMalformed
		}
		return into, 0, t.opened(p, handle)
	case fxData:
		data = int(f.number())
		if f.bad || p.kind != fxRead || p.file == nil || data > size-len(body) || data > int(p.size) {
			return into, 0, errors.New("the target sends what nobody asked for")
		}
		p.file.waiting--
		return carrier{&p.file.down, p.offset}, data, nil
	case fxName, fxAttrs, fxExtendedReply:
		return into, 0, t.answered(p, true, "")
	}
	return into, 0, fmt.Errorf("the target sends packet %d, which is no answer", body[0])
}

// fxOK is the status code of success (section 7).
const fxOK = 0

// status follows an answer that is a code.
func (t *tap) status(p pending, code uint32) error {
	switch p.kind {
	case fxOpen:
		p.note.Way = p.file.way()
		p.note.Text = refusedWith(code)
		return t.note(p.note)
	case fxClose:
		if p.file == nil {
			return nil
		}
		p.file.waiting--
		p.file.closed = true
		p.file.refused = p.file.refused || code != fxOK
		return t.forget(p.file)
	case fxWrite:
		if p.file == nil && code == fxOK {
			return errors.New("the target takes a write to a file that is not open")
		}
		if p.file != nil {
			p.file.refused = p.file.refused || code != fxOK
		}
	}
	text := ""
	if code != fxOK {
		text = refusedWith(code)
	}
	return t.answered(p, code == fxOK, text)
}

func refusedWith(code uint32) string { return fmt.Sprintf("refused with status %d", code) }

// answered keeps the note of a request, and lets its file go on.
func (t *tap) answered(p pending, ok bool, text string) error {
	if p.file != nil && p.kind != fxOpen {
		p.file.waiting--
		if err := t.forget(p.file); err != nil {
			return err
		}
	}
	if p.note.Way == "" {
		return nil
	}
	p.note.Done, p.note.Text = ok, join(p.note.Text, text)
	return t.note(p.note)
}

// opened follows an answer that is a handle.
func (t *tap) opened(p pending, handle string) error {
	if p.kind != fxOpen { // of a directory, which carries no bytes
		return t.answered(p, true, "")
	}
	if _, taken := t.files[handle]; taken {
		return errors.New("the target gives one handle twice")
	}
	if len(t.files) >= maxFiles {
		return errors.New("too many files are open at a time")
	}
	p.file.waiting--
	p.file.up.budget, p.file.down.budget = &t.held, &t.held
	t.files[handle] = p.file
	return nil
}

// forget notes a file that is closed once all is answered, and drops it.
func (t *tap) forget(f *file) error {
	if !f.closed || f.waiting > 0 {
		return nil
	}
	maps.DeleteFunc(t.files, func(_ string, open *file) bool { return open == f })
	return t.finish(f, "")
}

// way is what a file was opened for.
func (f *file) way() string {
	if f.flags&forWriting != 0 {
		return "upload"
	}
	return "download"
}

// finish notes what was carried of a file.
func (t *tap) finish(f *file, text string) error {
	if f.refused {
		text = join(text, "the target refused part of it")
	}
	var errs []error
	done := f.closed && !f.refused
	if f.flags&forWriting != 0 || f.up.bytes > 0 {
		errs = append(errs, t.note(f.up.note(f.name, "upload", text, done)))
	}
	if f.down.bytes > 0 || f.flags&forWriting == 0 {
		errs = append(errs, t.note(f.down.note(f.name, "download", text, done)))
	}
	return errors.Join(errs...)
}

// join puts two remarks together.
func join(a, b string) string { return strings.Trim(a+"; "+b, "; ") }
