package remote_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// endless prints the same block for as long as it is read: a target that costs nothing, so that only the engine is measured.
type endless struct {
	liveChannel
	left int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.left, 32<<10))
	e.left -= int64(n)
	return n, nil
}
func (e *endless) Write(p []byte) (int, error) { return len(p), nil }
func (e *endless) Close() error                { return nil }
func (e *endless) Resize(remote.Size) error    { return nil }

type endlessLink struct {
	liveLink
	bytes int64
}

func (l *endlessLink) Terminal(context.Context, remote.Terminal) (remote.Channel, error) {
	return &endless{left: l.bytes}, nil
}

func (l *endlessLink) Forward(context.Context, string, int) (io.ReadWriteCloser, error) {
	return &endless{left: l.bytes}, nil
}

type endlessTarget struct{ bytes int64 }

func (t endlessTarget) Dial(context.Context, remote.Target) (remote.Link, error) {
	return &endlessLink{liveLink: liveLink{gone: make(chan struct{})}, bytes: t.bytes}, nil
}

// forgetful records nothing, so that only the engine is measured.
type forgetful struct{}

func (forgetful) Begin(context.Context, remote.Session) (remote.Recorder, error) {
	return forgetful{}, nil
}
func (forgetful) Track(remote.Track) (remote.Tracker, error) { return forgetful{}, nil }
func (forgetful) Note(remote.Note) error                     { return nil }
func (forgetful) Failed() <-chan struct{}                    { return nil }
func (forgetful) Cut(context.Context, remote.Session) error  { return nil }
func (forgetful) Room(bool, <-chan struct{})                 {}
func (forgetful) Err() error                                 { return nil }
func (forgetful) End(context.Context, remote.Session) error  { return nil }
func (forgetful) Output([]byte) error                        { return nil }
func (forgetful) Input([]byte) error                         { return nil }
func (forgetful) Resize(remote.Size) error                   { return nil }
func (forgetful) Mark(string) error                          { return nil }
func (forgetful) Close(remote.Exit) error                    { return nil }

func benchHouse(b *testing.B, bytes int64) *liveHouse {
	h := newLiveHouse(b, "a", newLiveStore())
	h.Recordings = forgetful{}
	h.Dialers["ssh"] = endlessTarget{bytes}
	return h
}

// BenchmarkChannel is what the engine adds to a byte of a terminal, and of a forward with its SHA-256.
func BenchmarkChannel(b *testing.B) {
	const size = 64 << 20
	for name, open := range map[string]func(l *remote.Live) (io.Reader, error){
		"terminal": func(l *remote.Live) (io.Reader, error) {
			return l.Terminal(context.Background(), remote.Terminal{PTY: true})
		},
		"forward": func(l *remote.Live) (io.Reader, error) { return l.Forward(context.Background(), "h", 1) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for i := range b.N {
				h := benchHouse(b, size)
				l := h.start(fmt.Sprint("x", i), "ana", everything)
				r, err := open(l)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, onlyReads{r}); n != size || err != nil {
					b.Fatal(n, err)
				}
				l.Close(remote.Closed, "")
				<-l.Done()
			}
		})
	}
}

// BenchmarkForward_over_TCP compares a forward with a plain relay between the same sockets.
func BenchmarkForward_over_TCP(b *testing.B) {
	const size = 256 << 20
	for _, gated := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "gate"}[gated], func(b *testing.B) {
			b.SetBytes(size)
			for i := range b.N {
				from, to := tcpPair(b), tcpPair(b)
				go func() { // the target
					_, _ = io.CopyN(from[1], &endless{left: size}, size)
					_ = from[1].Close()
				}()
				var middle io.Reader = onlyReads{from[0]}
				var l *remote.Live
				if gated {
					h := benchHouse(b, 0)
					h.Dialers["ssh"] = tcpTarget{conn: from[0]}
					l = h.start(fmt.Sprint("x", i), "ana", everything)
					f, err := l.Forward(context.Background(), "h", 1)
					if err != nil {
						b.Fatal(err)
					}
					middle = f
				}
				go func() {
					_, _ = io.Copy(onlyWrites{to[0]}, middle)
					_ = to[0].Close()
				}()
				if n, err := io.Copy(io.Discard, onlyReads{to[1]}); n != size || err != nil {
					b.Fatal(n, err)
				}
				if l != nil {
					l.Close(remote.Closed, "")
					<-l.Done()
				}
			}
		})
	}
}

type onlyWrites struct{ w io.Writer }

func (o onlyWrites) Write(p []byte) (int, error) { return o.w.Write(p) }

type tcpTarget struct{ conn net.Conn }

func (t tcpTarget) Dial(context.Context, remote.Target) (remote.Link, error) {
	return tcpLink{&endlessLink{liveLink: liveLink{gone: make(chan struct{})}}, t.conn}, nil
}

type tcpLink struct {
	*endlessLink
	conn net.Conn
}

func (l tcpLink) Forward(context.Context, string, int) (io.ReadWriteCloser, error) {
	return l.conn, nil
}

func tcpPair(b *testing.B) [2]net.Conn {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { near.Close(); far.Close() })
	return [2]net.Conn{near, far}
}

// BenchmarkKeystroke is what the engine adds to a key on its way.
func BenchmarkKeystroke(b *testing.B) {
	h := benchHouse(b, 0)
	l := h.start("x", "ana", everything)
	c, err := l.Terminal(context.Background(), remote.Terminal{PTY: true})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write([]byte{'x'}); err != nil {
			b.Fatal(err)
		}
	}
	l.Close(remote.Closed, "")
	<-l.Done()
}

// BenchmarkLook is one look of a node after 500 sessions of as many people, and what the engine holds for each of them once 64 KiB were printed.
func BenchmarkLook(b *testing.B) {
	h := benchHouse(b, 96<<10)
	before := heap()
	var lives []*remote.Live
	for i := range 500 {
		l := h.start(fmt.Sprint("x", i), fmt.Sprint("user", i), access.Terms{})
		c, err := l.Terminal(context.Background(), remote.Terminal{PTY: true})
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		lives = append(lives, l)
	}
	held := heap() - before
	h.Settings.Look = time.Millisecond
	stop := h.runs()
	asked := func() int { h.m.mu.Lock(); defer h.m.mu.Unlock(); return h.m.asked }
	for b.Loop() {
		for n := asked(); asked() < n+500; {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(held)/500, "B/session")
	stop()
	h.Drain(context.Background())
	runtime.KeepAlive(lives)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
