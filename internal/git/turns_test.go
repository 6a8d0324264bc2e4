package git_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/git"
)

// hold takes a turn for a caller, over SSH, and returns how to end the exchange.
func (h *house) hold(t *testing.T, caller string) (end func()) {
	t.Helper()
	p := play(func(with git.Exchange) error {
		with.Caller = caller
		return h.Upload(t.Context(), repoID, with)
	})
	if err := p.announced(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_, _ = io.WriteString(p.in, "0000")
		_, _ = io.Copy(io.Discard, p.out)
		if err := <-p.done; err != nil {
			t.Error(err)
		}
	}
}

// look asks for nothing, over HTTP.
func (h *house) look(t *testing.T, caller string) error {
	t.Helper()
	return h.Upload(t.Context(), repoID, git.Exchange{In: strings.NewReader("0000"), Out: io.Discard, Over: git.HTTP, Caller: caller})
}

// Rule G3: nobody occupies all that there is.
func TestShares_of_turns(t *testing.T) {
	t.Parallel()
	l := limits()
	l.Running, l.Queue = 8, 50*time.Millisecond
	at := func(address string) string { return git.Stranger(netip.MustParseAddr(address)) }
	for name, c := range map[string]struct {
		hold        []string
		busy, still []string
	}{
		"one caller holds half at most": {
			[]string{"user a", "user a", "user a", "user a"}, []string{"user a"}, []string{"user b", at("192.0.2.1")},
		},
		"strangers together hold a quarter at most": {
			[]string{at("192.0.2.1"), at("2001:db8::1")}, []string{at("192.0.2.1"), at("192.0.2.9")}, []string{"user a"},
		},
		"who is not named has a share like others": {[]string{"", "", "", ""}, []string{""}, []string{"user a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, l)
			for _, caller := range c.hold {
				defer h.hold(t, caller)()
			}
			for _, caller := range c.busy {
				if err := h.look(t, caller); !errors.Is(err, git.ErrBusy) {
					t.Errorf("%s: %v", caller, err)
				}
			}
			for _, caller := range c.still {
				if err := h.look(t, caller); err != nil {
					t.Errorf("%s: %v", caller, err)
				}
			}
		})
	}
}

// Who waits for a share of their own is passed by others, and served as soon as it is free.
func TestShares_wait_apart(t *testing.T) {
	t.Parallel()
	l := limits()
	l.Running, l.Queue = 2, time.Minute
	h := newHouse(t, l)
	end := h.hold(t, "user a")
	waited := make(chan error, 1)
	go func() { waited <- h.look(t, "user a") }()
	for range 3 {
		if err := h.look(t, "user b"); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-waited:
		t.Errorf("served beyond their share: %v", err)
	default:
	}
	end()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7": "address 192.0.2.7/32", "::ffff:192.0.2.7": "address 192.0.2.7/32", "2001:db8::1%eth0": "address 2001:db8::/64", "2001:db8::ffff": "address 2001:db8::/64",
	} {
		if got := git.Stranger(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
	if got := git.Stranger(netip.Addr{}); got != "address unknown" {
		t.Error(got)
	}
}

// drip sends a byte now and then until it is hung up.
type drip struct {
	text   string
	closed chan struct{}
	hung   atomic.Bool
	begun  chan struct{}
	sent   int
}

func newDrip(text string) *drip {
	return &drip{text: text, closed: make(chan struct{}), begun: make(chan struct{})}
}

func (d *drip) hangup() {
	if d.hung.CompareAndSwap(false, true) {
		close(d.closed)
	}
}

func (d *drip) Read(p []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, io.ErrClosedPipe
	case <-time.After(10 * time.Millisecond):
	}
	p[0] = d.text[d.sent%len(d.text)]
	if d.sent++; d.sent == 1 {
		close(d.begun)
	}
	return 1, nil
}

// Rule G3: a body that does not come takes no turn, and bytes now and then do not keep it alive.
func TestStalledBodies_take_no_turn(t *testing.T) {
	t.Parallel()
	late := errors.New("not tried")
	for _, idle := range []time.Duration{time.Second, 5 * time.Second, patience} {
		if late = stalledBodies(t, idle); late == nil {
			return
		}
	}
	t.Error(late)
}

// stalledBodies tells when it could not look before the bodies had stalled: because the machine is slow, or because they were in the way.
func stalledBodies(t *testing.T, idle time.Duration) (late error) {
	t.Helper()
	l := limits()
	l.Running, l.Queue, l.Idle = 1, time.Minute, idle
	h := newHouse(t, l)
	done := make(chan error, 2)
	began := time.Now()
	for what, text := range map[string]string{
		"fetch": pktLine("want " + strings.Repeat("1", 40)),
		"push":  strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/main",
	} {
		d := newDrip(text)
		with := git.Exchange{In: d, Out: io.Discard, Over: git.HTTP, Caller: what, Hangup: d.hangup}
		if what == "push" {
			with.In = io.MultiReader(strings.NewReader("1000"), d) // a line that takes its time
		}
		go func() {
			if what == "push" {
				_, err := h.Receive(t.Context(), repoID, with, h.allow)
				done <- err
				return
			}
			done <- h.Upload(t.Context(), repoID, with)
		}()
		select {
		case <-d.begun:
		case <-d.closed:
			late = errors.New("it stalled before its first byte was read")
		}
	}
	err := h.look(t, "user a")
	if took := time.Since(began); took >= idle {
		late = fmt.Errorf("looked after %v, one may stall for %v: %w", took, idle, err)
	} else if err != nil {
		t.Error(err)
	}
	if late == nil && len(done) > 0 {
		t.Errorf("one had ended: %v", <-done)
	}
	for range 2 {
		if err := <-done; !errors.Is(err, git.ErrStalled) {
			t.Error(err)
		}
	}
	h.note(func() {
		for _, r := range h.ran {
			if late == nil && r.Outcome != git.Done && (r.Outcome != git.Stalled || r.Waited != 0) {
				t.Errorf("observed %+v", r)
			}
		}
	})
	h.untouched(t)
	return late
}

// Bodies that are kept have bounds: each its own, and all of a caller together.
func TestKeptBodies_are_bounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, limits())
	with := git.Exchange{In: zeros{}, Out: io.Discard, Over: git.HTTP, Caller: git.Stranger(netip.MustParseAddr("192.0.2.1"))}
	if err := h.Upload(t.Context(), repoID, with); !errors.Is(err, git.ErrTooLarge) {
		t.Error(err)
	}
	done := make(chan error, 4)
	held := make([]*io.PipeWriter, 4)
	for n := range held { // strangers may keep 64 MiB
		r, w := io.Pipe()
		held[n] = w
		with := with
		with.In = r
		go func() { done <- h.Upload(t.Context(), repoID, with) }()
		for _, size := range []int{16<<20 - 2, 1} { // who reads the second has room for the first
			if _, err := w.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fifth := with
	fifth.In = bytes.NewReader(make([]byte, 1<<20))
	if err := h.Upload(t.Context(), repoID, fifth); !errors.Is(err, git.ErrBusy) {
		t.Errorf("the fifth: %v", err)
	}
	if err := h.look(t, with.Caller); err != nil {
		t.Errorf("a small one: %v", err)
	}
	for n := range held {
		held[n].CloseWithError(io.ErrUnexpectedEOF)
		if err := <-done; !errors.Is(err, git.ErrLeft) {
			t.Error(err)
		}
	}
	fifth.In = bytes.NewReader(make([]byte, 1<<20))
	if err := h.Upload(t.Context(), repoID, fifth); errors.Is(err, git.ErrBusy) {
		t.Errorf("the room was not given back: %v", err)
	}
}
