package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// Forward connects from the target to another place. It reports what Terminal does. What passes is not recorded but counted, and summed by SHA-256 in each
// direction: both are noted when it is closed. What it returns has CloseWrite where the target's protocol does, WriteTo and ReadFrom.
func (l *Live) Forward(ctx context.Context, host string, port int) (io.ReadWriteCloser, error) {
	place := net.JoinHostPort(host, strconv.Itoa(port))
	if err := l.gives(access.Forward, place); err != nil {
		return nil, err
	}
	f := &forward{l: l, name: l.keys.name("forward"), place: place}
	f.out.sum, f.in.sum = sha256.New(), sha256.New()
	l.mu.Lock()
	link, err := l.link, l.roomLocked()
	if err == nil {
		l.forwards[f] = struct{}{}
	}
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err = l.note(Note{Kind: "opened", Channel: f.name, Way: WayForward, Name: place}); err == nil { // rule S15
		f.to, err = link.Forward(ctx, host, port)
	}
	if err == nil && l.over() {
		err = ErrOver
	}
	if err != nil {
		_ = f.Close() // the first error counts
		return nil, err
	}
	return f, nil
}

func (l *Live) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why != ""
}

// forward is a connection that the target makes onward.
type forward struct {
	l     *Live
	name  string
	place string
	to    io.ReadWriteCloser
	out   flow // from the target
	in    flow // to it
}

// flow counts and sums one direction.
type flow struct {
	mu    sync.Mutex
	sum   hash.Hash
	bytes int64
	shut  bool
	whole bool // it ended in peace
}

func (f *flow) add(l *Live, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shut || l.stopped.Load() {
		return ErrOver
	}
	f.sum.Write(p) // never fails
	f.bytes += int64(len(p))
	return nil
}

// close ends the direction and returns what passed; false where it was closed before.
func (f *flow) close() (bytes int64, sum string, whole, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, f.shut = !f.shut, true
	return f.bytes, hex.EncodeToString(f.sum.Sum(nil)), f.whole, first
}

func (f *flow) ended() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = true
}

// Read implements io.Reader.
func (f *forward) Read(p []byte) (int, error) {
	n, err := f.to.Read(p)
	if n > 0 {
		if bad := f.out.add(f.l, p[:n]); bad != nil {
			clear(p[:n])
			return 0, bad
		}
		f.l.toPerson.add(n)
		f.l.use()
	}
	if errors.Is(err, io.EOF) {
		f.out.ended()
	}
	return n, err
}

// Write implements io.Writer.
func (f *forward) Write(p []byte) (int, error) {
	if err := f.in.add(f.l, p); err != nil {
		return 0, err
	}
	f.l.toTarget.add(len(p))
	f.l.use()
	return f.to.Write(p)
}

// WriteTo implements io.WriterTo.
func (f *forward) WriteTo(w io.Writer) (int64, error) { return pipe(w, onlyRead{f}) }

// ReadFrom implements io.ReaderFrom.
func (f *forward) ReadFrom(r io.Reader) (int64, error) { return pipe(onlyWrite{f}, r) }

// onlyRead and onlyWrite hide WriteTo and ReadFrom.
type (
	onlyRead  struct{ from io.Reader }
	onlyWrite struct{ to io.Writer }
)

func (o onlyRead) Read(p []byte) (int, error)   { return o.from.Read(p) }
func (o onlyWrite) Write(p []byte) (int, error) { return o.to.Write(p) }

// CloseWrite says that no more is sent.
func (f *forward) CloseWrite() error {
	f.in.ended()
	if to, ok := f.to.(interface{ CloseWrite() error }); ok {
		return to.CloseWrite()
	}
	return nil
}

// Close implements io.Closer.
func (f *forward) Close() error {
	var err error
	if f.to != nil {
		err = f.to.Close()
	}
	f.end()
	return err
}

// end notes what passed, once.
func (f *forward) end() {
	sent, sentSum, _, _ := f.in.close()
	bytes, sum, whole, first := f.out.close()
	if !first {
		return
	}
	n := Note{Kind: "forward", Channel: f.name, Name: f.place, Bytes: bytes, SHA256: sum, Sent: sent, SentSum: sentSum, Done: whole}
	if f.to == nil {
		n.Text = "the target did not open it"
	}
	_ = f.l.note(n) // a recorder that fails here has ended the session
	f.l.mu.Lock()
	delete(f.l.forwards, f)
	f.l.mu.Unlock()
	f.l.wake()
}
