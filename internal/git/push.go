package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Move is a change of one ref that a push asks for.
type Move struct {
	Ref string // "refs/heads/main"
	Old string // the commit, in hexadecimal digits, that the client believes it stands at; empty for a new ref
	New string // where it shall stand; empty to delete it
}

// Moved is what became of a Move.
type Moved struct {
	Move
	Done    bool   // the ref stands at New now
	Refused string // why not, in git's words or ours
}

// What the head of a push may hold. A ref's name and the capabilities beside the first of them are
// bounded before they are kept (rule G3).
const (
	maxRef          = 1024
	maxCapabilities = 4096
	maxHeadLine     = header + 2*64 + 2 + maxRef + 1 + maxCapabilities + 1
	perMove         = 512 // bytes of head that one ref may take on average
)

// Faults of a push that its sender must mend.
var (
	ErrPush     = fault.New(fault.Invalid, "the push is malformed")
	ErrManyRefs = fault.New(fault.Limited, "the push moves too many refs at once; push fewer")
)

// head is the list of commands with which a push begins.
type head struct {
	raw   []byte // as it came, to be passed on
	moves []Move
	caps  map[string]bool
}

// readHead reads the head of a push and not a byte more. A client that only asks whether it may come
// in sends an empty one. Beside an error it returns what came before. It reports ErrPush, ErrManyRefs, io.EOF when nothing came, or what reading reported.
func readHead(r io.Reader, most int) (*head, error) {
	h := &head{}
	kept := &headKeeper{r: r, most: maxHeadLine + most*perMove}
	lines := &LineReader{R: kept, Most: maxHeadLine}
	for {
		line, sign, err := lines.Next()
		switch {
		case err != nil:
			return h, headFault(err)
		case sign == Flush:
			h.raw = kept.kept
			return h, h.check()
		case sign != None:
			return h, ErrPush
		}
		if bytes.HasPrefix(line, []byte("shallow ")) {
			if !objectID(strings.TrimSuffix(string(line[len("shallow "):]), "\n")) || len(h.moves) > 0 {
				return h, ErrPush
			}
			continue
		}
		if len(h.moves) == most {
			return h, ErrManyRefs
		}
		if err := h.add(string(line)); err != nil {
			return h, err
		}
	}
}

func headFault(err error) error {
	if errors.Is(err, ErrLine) {
		return ErrPush
	}
	return err
}

// headKeeper keeps what is read through it, up to a bound.
type headKeeper struct {
	r    io.Reader
	kept []byte
	most int
}

func (k *headKeeper) Read(p []byte) (int, error) {
	if len(k.kept)+len(p) > k.most {
		return 0, ErrManyRefs
	}
	n, err := k.r.Read(p)
	k.kept = append(k.kept, p[:n]...)
	return n, err
}

// add takes one command: old, new, ref, and in the first line what the client is capable of.
func (h *head) add(line string) error {
	line, caps, first := strings.Cut(strings.TrimSuffix(line, "\n"), "\x00")
	if first != (len(h.moves) == 0) || len(caps) > maxCapabilities {
		return ErrPush
	}
	if first {
		h.caps = make(map[string]bool)
		for name := range strings.FieldsSeq(caps) {
			h.caps[name] = true
		}
	}
	fields := strings.SplitN(line, " ", 3)
	if len(fields) != 3 || !objectID(fields[0]) || !objectID(fields[1]) || len(fields[0]) != len(fields[1]) || !refName(fields[2]) {
		return ErrPush
	}
	h.moves = append(h.moves, Move{Ref: fields[2], Old: unlessZero(fields[0]), New: unlessZero(fields[1])})
	return nil
}

// check says whether the list as a whole can be served. Without a report nobody would learn what moved;
// every client since 2005 asks for one.
func (h *head) check() error {
	seen := make(map[string]bool, len(h.moves))
	for _, m := range h.moves {
		if seen[m.Ref] {
			return ErrPush
		}
		seen[m.Ref] = true
	}
	if len(h.moves) > 0 && !h.reports() {
		return fault.New(fault.Invalid, "the client must ask for a report of its push (report-status)")
	}
	return nil
}

func (h *head) reports() bool { return h.caps["report-status"] || h.caps["report-status-v2"] }
func (h *head) banded() bool  { return h.caps["side-band-64k"] }

// objectID says whether a text is the name of an object: SHA-1 or SHA-256 in lower case hexadecimal digits.
func objectID(text string) bool {
	return (len(text) == 40 || len(text) == 64) && strings.Trim(text, "0123456789abcdef") == ""
}

func unlessZero(id string) string {
	if strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}

// refName says whether git takes a name for a ref (git-check-ref-format), within our bound. Git judges
// again; we keep only names that are harmless wherever they are shown.
func refName(name string) bool {
	if len(name) > maxRef || !strings.HasPrefix(name, "refs/") || strings.HasSuffix(name, ".") ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") {
		return false
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune(`~^:?*[\`, r) }) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// report listens to what git answers to a push, and learns which refs did move.
type report struct {
	banded   bool
	announce bool // git first says what it has, up to a flush
	outer    lineSplitter
	inner    lineSplitter
	said     map[string]string // by ref: empty when it moved, or why not
	unpack   string            // why the objects were not taken
	complete bool              // the list came to its end
}

// feed listens to the next piece of the answer.
func (r *report) feed(p []byte) { r.outer.feed(p, r.line) }

func (r *report) line(text []byte, sign Sign) {
	switch {
	case r.announce:
		r.announce = sign != Flush
	case !r.banded:
		r.status(text, sign)
	case sign == None && len(text) > 0 && text[0] == 1:
		r.inner.feed(text[1:], r.status)
	}
}

// status takes one line of the list: "unpack ok", "ok REF", "ng REF why", or an option of the ref above.
func (r *report) status(text []byte, sign Sign) {
	if sign == Flush {
		r.complete = true
	}
	if sign != None || r.complete {
		return
	}
	verb, rest, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), " ")
	ref, why, _ := strings.Cut(rest, " ")
	switch verb {
	case "unpack":
		if rest != "ok" {
			r.unpack = rest
		}
	case "ok":
		r.said[ref] = ""
	case "ng":
		if why == "" {
			why = "refused"
		}
		r.said[ref] = why
	}
}

// results tells of each move what git said. A ref that it did not mention has not moved, as far as it said.
func (r *report) results(moves []Move) []Moved {
	out := make([]Moved, len(moves))
	for i, m := range moves {
		out[i] = Moved{Move: m, Refused: "git said nothing of it"}
		if why, mentioned := r.said[m.Ref]; mentioned {
			out[i].Done, out[i].Refused = why == "", why
		}
	}
	return out
}

// refusal is the answer to a push that git shall not see or see no more of: a line for the person, and a
// report that no ref moved.
func (h *head) refusal(why string) []byte {
	why = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, why)
	list := AppendLine(nil, "unpack ok\n")
	for _, m := range h.moves {
		list = AppendLine(list, "ng "+m.Ref+" "+why+"\n")
	}
	list = AppendFlush(list)
	if !h.banded() {
		return list
	}
	out := appendBand(nil, 2, []byte(why+"\n"))
	return AppendFlush(appendBand(out, 1, list))
}

// push is a push on its way to git.
type push struct {
	allow  func(context.Context, []Move) error
	most   int // refs
	report report
	empty  bool // nothing came

	head   atomic.Pointer[head]
	passed atomic.Bool // git gets to see it
	muted  atomic.Bool // the client hears from us, not from git

	within bool // what the client heard ends within a line
	told   bool // it heard the whole report
}

// behead reads the head of the push. A push of nothing is none of its faults: git has words for that.
func (p *push) behead(from io.Reader) error {
	h, err := readHead(from, p.most)
	p.head.Store(h)
	if err == io.EOF { //nolint:errorlint // the end of the stream is bare
		p.empty, err = true, nil
	}
	return err
}

// open reads the head of the push, unless that is done, and asks whether it may pass. It returns the whole push, as git shall read it.
func (p *push) open(ctx context.Context, from io.Reader) (io.Reader, error) {
	if p.head.Load() == nil {
		err := p.behead(from)
		switch {
		case errors.Is(err, ErrManyRefs), fault.Is(err, fault.Invalid):
			return nil, err
		case err != nil:
			return nil, left(err)
		}
	}
	if p.empty {
		return nil, io.EOF
	}
	if err := p.again(ctx); err != nil {
		return nil, &refused{err}
	}
	p.passed.Store(true)
	return io.MultiReader(bytes.NewReader(p.head.Load().raw), from), nil
}

// again asks whether the push may go on. One that moves nothing may.
func (p *push) again(ctx context.Context) error {
	h := p.head.Load()
	if h == nil || len(h.moves) == 0 {
		return nil
	}
	return p.allow(ctx, h.moves)
}

// hear takes the next piece of git's answer, and says whether the client must not hear it.
func (p *push) hear(answer []byte) bool {
	if h := p.head.Load(); h != nil {
		p.report.banded = h.banded()
	}
	p.report.feed(answer)
	if p.muted.Load() {
		return true
	}
	p.within, p.told = !p.report.outer.between(), p.report.complete
	return false
}

// refuse tells the client why its push ended, unless git was cut off within a line. A client that does
// not listen gets as long as an idle one.
func (p *push) refuse(with Exchange, idle time.Duration, err error) {
	h := p.head.Load()
	if h == nil || p.within || p.told {
		return
	}
	if with.Hangup != nil {
		defer time.AfterFunc(idle, with.Hangup).Stop()
	}
	_, _ = with.Out.Write(h.refusal(fault.Text(err))) // whoever does not read it knows that the push failed
}

// lookAfter is how long looking up refs may take after an exchange has ended.
const lookAfter = 30 * time.Second

// results tells what became of each ref. When git was ended before it could report, the refs themselves
// tell: a push that is not recorded would be worse than a late answer.
func (r *Repositories) results(ctx context.Context, id string, p *push) []Moved {
	h := p.head.Load()
	if h == nil || !p.passed.Load() || len(h.moves) == 0 {
		return nil
	}
	out := p.report.results(h.moves)
	if p.report.complete {
		return out
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookAfter)
	defer cancel()
	stands, err := r.stands(ctx, id, h.moves)
	for i := range out {
		switch {
		case err != nil:
			out[i].Refused = "unknown: " + err.Error()
		case stands[i] == out[i].New:
			out[i].Done, out[i].Refused = true, ""
		default:
			out[i].Refused = "the push was cut off"
		}
	}
	return out
}

// stands looks up where refs stand: empty for one that is not there.
func (r *Repositories) stands(ctx context.Context, id string, moves []Move) ([]string, error) {
	directory, err := r.served(id)
	if err != nil {
		return nil, err
	}
	var names strings.Builder
	for _, m := range moves {
		names.WriteString(m.Ref + "\n")
	}
	answer, err := r.ask(ctx, names.String(), "--git-dir="+directory, "cat-file", "--batch-check=%(objectname)")
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
	if len(lines) != len(moves) {
		return nil, errors.New("git answered for other refs than asked")
	}
	for i, line := range lines {
		if !objectID(line) {
			lines[i] = "" // "NAME missing"
		}
	}
	return lines, nil
}
