package remote_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

var everything = access.Terms{Features: access.Features}

// gone fails the test unless the session is over for that reason, here and in the store, and its recording is closed.
func (h *liveHouse) gone(l *remote.Live, why remote.Reason) {
	h.t.Helper()
	<-l.Done()
	synctest.Wait()
	if l.Ended() != why {
		h.t.Errorf("the session ended as %q, want %q", l.Ended(), why)
	}
	x := h.stored(l.Session().ID)
	if x.State != remote.Ended || x.End != why {
		h.t.Errorf("the store has it %s %q, want ended %q", x.State, x.End, why)
	}
	if tape := h.tape(x.ID); tape != nil {
		tape.mu.Lock()
		defer tape.mu.Unlock()
		if tape.ended == nil || tape.ended.End != why {
			h.t.Errorf("the recording was closed with %+v", tape.ended)
		}
	}
	if _, here := h.Lived(x.ID); here {
		h.t.Error("the node still says that it carries it")
	}
}

func TestStart(t *testing.T) {
	t.Run("records, then activates, then dials", func(t *testing.T) { // rule S15
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			h.target.before = func() {
				if x := h.stored("x"); x.State != remote.Active || h.tape("x") == nil {
					t.Errorf("dialled while the session was %s", x.State)
				}
			}
			l := h.start("x", "ana", everything)
			if got, here := h.Lived("x"); !here || got != l {
				t.Error("the node does not know what it carries")
			}
			to := h.target.asked[0]
			if to.Username != "root" || to.Password.Reveal() != "hunter2" || to.At.String() != "10.2.0.11:22" || len(to.HostKeys) != 1 {
				t.Errorf("the relay was given %+v", to)
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
		})
	})
	t.Run("a session that cannot be recorded does not start", func(t *testing.T) { // rule W14
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			h.begin = errDiskFull
			_, err := h.Start(t.Context(), h.waiting("x", "ana", everything), remote.Size{})
			if !errors.Is(err, remote.ErrUnrecorded) || len(h.target.asked) != 0 || h.stored("x").End != remote.Unrecorded {
				t.Errorf("%v, dialled %d times, ended %q", err, len(h.target.asked), h.stored("x").End)
			}
		})
	})
	t.Run("unless the device is set so, and then it is said loudly", func(t *testing.T) { // rule W14
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			h.begin, h.device.Unrecorded = errDiskFull, true
			l := h.start("x", "ana", everything)
			c, far := h.terminal(l)
			go func() { _, _ = far.print.Write([]byte("hello")) }()
			if got := readSome(t, c, 5); got != "hello" {
				t.Errorf("read %q", got)
			}
			if n := <-l.Notices(); !strings.Contains(n.Text, "not being recorded") {
				t.Errorf("the person was told %q", n.Text)
			}
			if l.Recorded() || h.loud != 1 || !slices.Contains(h.m.recorded(), "session.unrecorded") {
				t.Errorf("recorded %v, metric %d, events %v", l.Recorded(), h.loud, h.m.recorded())
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
		})
	})
	for name, bad := range map[string]error{"unreachable": remote.ErrUnreachable, "refused": remote.ErrTargetLogin, "strange": &remote.StrangeKey{Blob: strangeKey(t)}} {
		t.Run("a target that is "+name+" ends it", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newLiveHouse(t, "a", newLiveStore())
				h.target.err = bad
				_, err := h.Start(t.Context(), h.waiting("x", "ana", everything), remote.Size{})
				if !errors.Is(err, bad) || h.stored("x").End != remote.Failed {
					t.Errorf("%v, ended %q", err, h.stored("x").End)
				}
				if told := h.m.events[len(h.m.events)-1]; told.Action != "session.ended" || told.Reason != fault.Text(bad) { // who looks after the device reads why
					t.Errorf("%s because %q", told.Action, told.Reason)
				}
				if seen := len(h.strange); (seen == 1) != errors.Is(bad, remote.ErrHostKey) {
					t.Errorf("%d host keys wait for a decision", seen)
				}
				if tape := h.tape("x"); tape.ended == nil {
					t.Error("the recording was left open")
				}
			})
		})
	}
	t.Run("something is due yet", func(t *testing.T) { // rule S15: while approval is pending nothing is recorded, and nothing dialled
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			x := h.waiting("x", "ana", access.Terms{StepUp: true})
			_, err := h.Start(t.Context(), x, remote.Size{})
			if err == nil || h.tape("x") != nil || len(h.target.asked) != 0 {
				t.Errorf("%v, recorder %v, dialled %d times", err, h.tape("x"), len(h.target.asked))
			}
		})
	})
	t.Run("of two that start it one does", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newLiveStore()
			a, b := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m)
			a.slow, b.slow = time.Second, time.Second
			x := a.waiting("x", "ana", everything)
			lives := make(chan *remote.Live, 4)
			var starts sync.WaitGroup
			for _, h := range []*liveHouse{a, b, a, b} {
				starts.Go(func() {
					l, err := h.Start(context.Background(), x, remote.Size{})
					if err == nil {
						lives <- l
					} else if !errors.Is(err, remote.ErrNotWaiting) && !errors.Is(err, remote.ErrElsewhere) && !errors.Is(err, remote.ErrOver) {
						t.Errorf("refused with %v", err)
					}
				})
			}
			starts.Wait()
			if len(lives) != 1 || len(a.target.asked)+len(b.target.asked) != 1 || len(a.tapes)+len(b.tapes) != 1 {
				t.Fatalf("%d sessions, %d dials, %d recordings", len(lives), len(a.target.asked)+len(b.target.asked), len(a.tapes)+len(b.tapes))
			}
			l := <-lives
			l.Close(remote.Closed, "")
			<-l.Done()
			synctest.Wait()
		})
	})
	t.Run("somebody ends it while the target is slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			slow := slowDialer{make(chan struct{})}
			h.Dialers["ssh"] = slow
			defer h.runs()()
			failed := make(chan error)
			go func() {
				_, err := h.Start(context.Background(), h.waiting("x", "ana", everything), remote.Size{})
				failed <- err
			}()
			<-slow.asked
			h.m.doom("x", remote.Dropped)
			began := time.Now()
			if err := <-failed; !errors.Is(err, remote.ErrOver) || time.Since(began) > 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			if x := h.stored("x"); x.End != remote.Dropped {
				t.Errorf("it ended %q", x.End)
			}
		})
	})
}

// slowDialer never answers.
type slowDialer struct{ asked chan struct{} }

func (d slowDialer) Dial(ctx context.Context, _ remote.Target) (remote.Link, error) {
	close(d.asked)
	<-ctx.Done()
	return nil, remote.ErrUnreachable
}

func readSome(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// strangeKey is a host key that nobody has accepted.
func strangeKey(t *testing.T) []byte {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key.Marshal()
}

// Rule S14: each channel is decided by itself, and what is not given is refused, noted and on record.
func TestChannels_are_given_by_the_terms(t *testing.T) {
	ways := map[string]struct {
		feature access.Feature
		open    func(l *remote.Live) error
	}{
		"shell": {access.Shell, func(l *remote.Live) error {
			_, err := l.Terminal(t.Context(), remote.Terminal{})
			return err
		}},
		"exec": {access.Exec, func(l *remote.Live) error {
			_, err := l.Terminal(t.Context(), remote.Terminal{Command: "id"})
			return err
		}},
		"sftp": {access.Files, func(l *remote.Live) error { _, err := l.Files(t.Context()); return err }},
		"scp": {access.Files, func(l *remote.Live) error {
			_, err := l.Terminal(t.Context(), remote.Terminal{Command: "scp -p -t -- /tmp/a"})
			return err
		}},
		"exec that looks like scp": {access.Exec, func(l *remote.Live) error {
			_, err := l.Terminal(t.Context(), remote.Terminal{Command: "scp -t /tmp/a;id"})
			return err
		}},
		"forward": {access.Forward, func(l *remote.Live) error { _, err := l.Forward(t.Context(), "10.0.0.5", 80); return err }},
	}
	for name, w := range ways {
		for _, f := range access.Features {
			t.Run(name+" with "+string(f), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newLiveHouse(t, "a", newLiveStore())
					l := h.start("x", "ana", access.Terms{Features: []access.Feature{f}})
					err := w.open(l)
					if w.feature == f && err != nil || w.feature != f && !errors.Is(err, remote.ErrFeature) {
						t.Errorf("%v", err)
					}
					refused := len(h.tape("x").said("refused"))
					if events := h.m.recorded(); (err != nil) != slices.Contains(events, "session.channel_refused") || (err != nil) != (refused == 1) {
						t.Errorf("%d notes, events %v", refused, events)
					}
					link := h.target.links[0]
					if link.mu.Lock(); err != nil && len(link.channels)+len(link.onward) > 0 {
						t.Error("the target was asked all the same")
					}
					link.mu.Unlock()
					l.Close(remote.Closed, "")
					h.gone(l, remote.Closed)
				})
			})
		}
	}
	t.Run("refusals without end are counted", func(t *testing.T) { // rule W5
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", access.Terms{Features: []access.Feature{access.Shell}})
			for port := range 1000 {
				if _, err := l.Forward(t.Context(), "10.0.0.5", port+1); !errors.Is(err, remote.ErrFeature) {
					t.Fatal(err)
				}
				l.Refuse("agent", "")
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
			if n := len(h.tape("x").said("refused")); n > 101 || n < 2 {
				t.Errorf("%d notes", n)
			}
		})
	})
	t.Run("a session has a bounded number of them", func(t *testing.T) { // rule W5
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			h.Settings.Channels = 3
			l := h.start("x", "ana", everything)
			c, _ := h.terminal(l)
			h.terminal(l)
			if _, err := l.Forward(t.Context(), "h", 1); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Files(t.Context()); !errors.Is(err, remote.ErrChannels) {
				t.Errorf("the fourth: %v", err)
			}
			_ = c.Close()
			if _, err := l.Files(t.Context()); err != nil {
				t.Errorf("after one was closed: %v", err)
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
			if _, err := l.Files(t.Context()); !errors.Is(err, remote.ErrOver) {
				t.Errorf("after the end: %v", err)
			}
		})
	})
}

// Rule S15: recorded bytes per channel equal bytes carried; rule W14: where recording fails, nothing more is carried than was recorded.
func TestChannels_carry_what_is_recorded(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := newLiveHouse(t, "a", newLiveStore())
		h.Settings.Absolute = time.Hour
		l := h.start("x", "ana", everything)
		room := int64(1 << 40)
		if rapid.Bool().Draw(r, "fails") {
			room = rapid.Int64Range(0, 200_000).Draw(r, "room")
		}
		h.tape("x").room.Store(room)
		type carried struct {
			c   remote.Channel
			far *liveChannel
			out []byte
		}
		var all []*carried
		for range rapid.IntRange(1, 3).Draw(r, "channels") {
			command := rapid.SampledFrom([]string{"", "cat"}).Draw(r, "command")
			c, err := l.Terminal(context.Background(), remote.Terminal{Command: command})
			if err != nil {
				r.Fatal(err)
			}
			all = append(all, &carried{c: c, far: h.last()})
		}
		copied := rapid.Bool().Draw(r, "by io.Copy")
		var wg sync.WaitGroup
		for _, x := range all {
			printed := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 40_000), 0, 4).Draw(r, "printed")
			typed := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 100), 0, 4).Draw(r, "typed")
			wg.Go(func() {
				for _, p := range printed {
					if _, err := x.far.print.Write(p); err != nil {
						break
					}
				}
				x.far.ends(0)
			})
			wg.Go(func() {
				for _, p := range typed {
					if copied {
						_, _ = io.Copy(x.c, bytes.NewReader(p))
					} else if _, err := x.c.Write(p); err != nil {
						return
					}
				}
			})
			wg.Go(func() {
				var b bytes.Buffer
				if copied {
					_, _ = io.Copy(&b, x.c)
				} else {
					_, _ = io.Copy(&b, onlyReads{x.c})
				}
				x.out = b.Bytes()
				_ = x.far.out.Close()
			})
		}
		wg.Wait()
		l.Close(remote.Closed, "")
		<-l.Done()
		recorded, handed := 0, 0
		for _, tr := range h.tape("x").tracks {
			recorded += tr.out.Len() + tr.in.Len()
		}
		for _, x := range all {
			handed += len(x.out) + len(x.far.got())
			if !someTrackIs(h.tape("x"), x.out, []byte(x.far.got())) {
				r.Errorf("no track has the %d bytes that the person got and the %d that the target did", len(x.out), len(x.far.got()))
			}
		}
		if recorded != handed {
			r.Errorf("recorded %d bytes, carried %d", recorded, handed)
		}
		if h.tape("x").Err() != nil && l.Ended() != remote.Unrecorded {
			r.Errorf("the recorder failed, and the session ended %q", l.Ended())
		}
	})
}

type onlyReads struct{ r io.Reader }

func (o onlyReads) Read(p []byte) (int, error) { return o.r.Read(p) }

// someTrackIs reports whether a track holds exactly these bytes.
func someTrackIs(t *liveTape, out, in []byte) bool {
	for _, tr := range t.tracks {
		if bytes.Equal(tr.out.Bytes(), out) && bytes.Equal(tr.in.Bytes(), in) {
			return true
		}
	}
	return false
}

func TestRecorder_that_fails(t *testing.T) { // rule W14
	t.Run("ends the session at the next byte", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", everything)
			c, far := h.terminal(l)
			h.tape("x").room.Store(3)
			go func() { _, _ = far.print.Write([]byte("secret")) }()
			b := make([]byte, 16)
			if n, err := c.Read(b); n != 0 || !errors.Is(err, remote.ErrUnrecorded) || bytes.Contains(b, []byte("secret")) {
				t.Errorf("read %d bytes %q, %v", n, b, err)
			}
			h.gone(l, remote.Unrecorded)
		})
	})
	t.Run("ends the session when nothing passes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", everything)
			h.terminal(l)
			h.tape("x").breaks()
			h.gone(l, remote.Unrecorded)
		})
	})
	t.Run("lets the session of a device that is set so go on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			h.device.Unrecorded = true
			l := h.start("x", "ana", everything)
			c, far := h.terminal(l)
			h.tape("x").room.Store(3)
			go func() { _, _ = far.print.Write([]byte("carried")) }()
			if got := readSome(t, c, 7); got != "carried" {
				t.Errorf("read %q", got)
			}
			if n := <-l.Notices(); !strings.Contains(n.Text, "not being recorded") || h.loud != 1 {
				t.Errorf("told %q, metric %d", n.Text, h.loud)
			}
			if _, err := c.Write([]byte("x")); err != nil || far.got() != "x" {
				t.Errorf("typed %q: %v", far.got(), err)
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
		})
	})
}

// Rule W14: whoever prints until nobody can record it gets nowhere.
func TestRecorder_that_is_full_ends_the_session_of_every_device(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHouse(t, "a", newLiveStore())
		h.device.Unrecorded = true
		l := h.start("x", "ana", everything)
		c, far := h.terminal(l)
		tape := h.tape("x")
		tape.trouble = fmt.Errorf("write: %w", remote.ErrFull)
		tape.room.Store(3)
		go func() { _, _ = far.print.Write([]byte("carried")) }()
		if n, err := c.Read(make([]byte, 16)); n != 0 || !errors.Is(err, remote.ErrUnrecorded) {
			t.Errorf("read %d bytes, %v", n, err)
		}
		h.gone(l, remote.Unrecorded)
		if e := h.m.events[len(h.m.events)-1]; e.Reason != "the recording is as large as recordings may be" {
			t.Errorf("on record: %+v", e)
		}
	})
}

// A target prints no faster than its output is stored, and nobody waits for that to end a session.
func TestRecorder_that_is_behind_holds_up_the_target(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHouse(t, "a", newLiveStore())
		l := h.start("x", "ana", everything)
		c, far := h.terminal(l)
		tape := h.tape("x")
		tape.behind = make(chan struct{})
		printed := make(chan error, 1)
		go func() { _, err := far.print.Write([]byte("later")); printed <- err }()
		got := make(chan string, 1)
		go func() { got <- readSome(t, c, 5) }()
		synctest.Wait()
		select {
		case text := <-got:
			t.Errorf("read %q while the recorder was behind", text)
		default:
		}
		if _, err := c.Write([]byte("\x03")); err != nil || far.got() != "\x03" {
			t.Errorf("typed %q: %v", far.got(), err)
		}
		close(tape.behind)
		if text := <-got; text != "later" || <-printed != nil {
			t.Errorf("read %q", text)
		}
		tape.mu.Lock()
		tape.behind = make(chan struct{}) // for ever
		tape.mu.Unlock()
		ended := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
		synctest.Wait()
		l.Close(remote.Dropped, "eve")
		if err := <-ended; err == nil {
			t.Error("something was read")
		}
		h.gone(l, remote.Dropped)
	})
}

func TestRecorder_that_hangs_keeps_nobody_in(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHouse(t, "a", newLiveStore())
		l := h.start("x", "ana", everything)
		c, _ := h.terminal(l)
		tape := h.tape("x")
		tape.hang = make(chan struct{}) // a disk that does not answer
		go func() { _, _ = c.Write([]byte("x")) }()
		synctest.Wait()
		began := time.Now()
		l.Close(remote.Dropped, "eve")
		<-l.Done()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		close(tape.hang)
		h.gone(l, remote.Dropped)
	})
}

func TestForward_is_counted_and_summed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHouse(t, "a", newLiveStore())
		l := h.start("x", "ana", everything)
		f, err := l.Forward(t.Context(), "10.0.0.5", 5432)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Forward(t.Context(), "closed.example", 1); err == nil {
			t.Error("a place that cannot be reached was")
		}
		far := h.target.links[0].onward[0]
		answer := bytes.Repeat([]byte("answer"), 20_000)
		go func() {
			_, _ = far.print.Write(answer)
			_ = far.print.Close()
		}()
		if _, err := f.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := io.Copy(&got, f); err != nil || !bytes.Equal(got.Bytes(), answer) {
			t.Errorf("%d bytes came: %v", got.Len(), err)
		}
		_ = f.Close()
		_ = f.Close()
		sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
		n := h.tape("x").said("forward")
		if len(n) != 2 {
			t.Fatalf("notes %+v", n)
		}
		if n[1].Name != "10.0.0.5:5432" || n[1].Bytes != int64(len(answer)) || n[1].SHA256 != sum(answer) || n[1].Sent != 8 || n[1].SentSum != sum([]byte("question")) || !n[1].Done {
			t.Errorf("noted %+v", n[1])
		}
		if kinds := h.tape("x").kinds(); kinds[0] != "opened forward" {
			t.Errorf("notes %v", kinds)
		}
		l.Close(remote.Closed, "")
		h.gone(l, remote.Closed)
	})
}

func TestFiles_are_followed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHouse(t, "a", newLiveStore())
		l := h.start("x", "ana", everything)
		c, err := l.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = h.last().print.Write([]byte("data")) }()
		readSome(t, c, 4)
		_ = c.Close()
		if n := h.tape("x").said("file"); len(n) != 1 || n[0].Channel != "files" || n[0].Bytes != 4 {
			t.Errorf("noted %+v", n)
		}

		c, err = l.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.tap.lost = errors.New("that is no SFTP")
		if _, err := c.Write([]byte("?")); err == nil || h.last().got() != "" {
			t.Errorf("what the tap cannot follow was carried: %q, %v", h.last().got(), err)
		}
		if _, err := l.Terminal(t.Context(), remote.Terminal{}); err != nil {
			t.Errorf("the session ended with it: %v", err)
		}
		l.Close(remote.Closed, "")
		h.gone(l, remote.Closed)
	})
}

func TestTarget_that_goes(t *testing.T) {
	t.Run("in peace, once what it printed was read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", everything)
			c, far := h.terminal(l)
			go func() { _, _ = far.print.Write([]byte("logout")); far.ends(3) }()
			h.target.links[0].goes(nil)
			synctest.Wait()
			if got := readSome(t, c, 6); got != "logout" {
				t.Errorf("read %q", got)
			}
			if e := c.Wait(); e.Status != 3 {
				t.Errorf("exit %+v", e)
			}
			_ = c.Close()
			h.gone(l, remote.Closed)
			if tr := h.tape("x").tracks["terminal"]; tr.output() != "logout" || tr.closed == nil || tr.closed.Status != 3 {
				t.Errorf("the track has %q, %+v", tr.output(), tr.closed)
			}
		})
	})
	t.Run("for a reason, although nobody reads", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", everything)
			h.terminal(l)
			h.target.links[0].goes(errors.New("connection reset"))
			h.gone(l, remote.Failed)
		})
	})
}

// answeredStore is a store where every request was approved.
type answeredStore struct{ *liveStore }

func (answeredStore) RequestOf(_ context.Context, session string) (remote.Request, error) {
	return remote.Request{ID: "request", Session: session, State: remote.Approved}, nil
}

// rule S15: somebody approved what one grant gives. Another one, whose requests others answer, is not opened by that.
func TestStart_takes_no_approval_of_another_grant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asks := func(who string) access.Terms {
			return access.Terms{Approval: true, Approvers: []access.Subject{{Kind: access.User, ID: who}}}
		}
		h := newLiveHouse(t, "a", newLiveStore())
		h.Store = answeredStore{h.m}
		l, err := h.Start(t.Context(), h.waiting("x", "ana", asks("ben")), remote.Size{})
		if err != nil {
			t.Fatalf("approved: %v", err)
		}
		l.Close(remote.Closed, "")
		h.gone(l, remote.Closed)
		x := h.waiting("y", "dan", asks("ben"))
		h.m.mu.Lock()
		h.m.bindings = slices.DeleteFunc(h.m.bindings, func(b access.Binding) bool { return b.Subject.ID == "dan" })
		h.m.bindings = append(h.m.bindings, access.Binding{Number: 77, Subject: access.Subject{Kind: access.User, ID: "dan"}, Role: access.DeviceConnect, Resource: access.Device(h.device.ID), Terms: asks("eve")})
		h.m.mu.Unlock()
		if l, err = h.Start(t.Context(), x, remote.Size{}); !errors.Is(err, remote.ErrLinkDenied) {
			t.Errorf("by a grant that nobody approved: %v", err)
		}
		if l != nil {
			l.Close(remote.Closed, "")
			<-l.Done()
		}
		synctest.Wait()
		if x := h.stored("y"); x.State != remote.Ended || x.End != remote.Revoked {
			t.Errorf("it is %s %q", x.State, x.End)
		}
	})
}
