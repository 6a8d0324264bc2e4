package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// within fails the test unless the session is over at most that long from now.
func (h *liveHouse) within(l *remote.Live, most time.Duration, why remote.Reason) {
	h.t.Helper()
	began := time.Now()
	<-l.Done()
	if took := time.Since(began); took > most {
		h.t.Errorf("it took %v to end, at most %v was said", took, most)
	}
	h.gone(l, why)
}

// drain reads until there is no more.
func drain(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

func TestLimits(t *testing.T) {
	t.Run("who types nothing is out, with a notice before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", everything)
			c, far := h.terminal(l)
			began := time.Now()
			time.Sleep(20 * time.Minute)
			if _, err := c.Write([]byte("ls\n")); err != nil {
				t.Fatal(err)
			}
			go func() { // what the target prints is nobody's typing
				for range 100 {
					if _, err := far.print.Write([]byte(".")); err != nil {
						return
					}
					select {
					case <-l.Done():
						return
					case <-time.After(time.Minute):
					}
				}
			}()
			go drain(c)
			n := <-l.Notices()
			if at := time.Since(began); at != 49*time.Minute || !n.Idle || !n.EndsAt.Equal(began.Add(50*time.Minute)) || !strings.Contains(n.Text, "1 minute") {
				t.Errorf("after %v: %+v", at, n)
			}
			<-l.Done()
			if at := time.Since(began); at != 50*time.Minute {
				t.Errorf("out after %v", at)
			}
			h.gone(l, remote.Idle)
		})
	})
	t.Run("what a command prints is use", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", everything)
			began := time.Now()
			c, err := l.Terminal(t.Context(), remote.Terminal{Command: "make"})
			if err != nil {
				t.Fatal(err)
			}
			far := h.last()
			go drain(c)
			for range 90 {
				if _, err := far.print.Write([]byte(".")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			<-l.Done()
			if at := time.Since(began); at != 89*time.Minute+30*time.Minute {
				t.Errorf("out after %v", at)
			}
			h.gone(l, remote.Idle)
		})
	})
	t.Run("typing takes a notice back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", everything)
			c, _ := h.terminal(l)
			<-l.Notices()
			began := time.Now()
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if n := <-l.Notices(); time.Since(began) != 29*time.Minute || !n.Idle {
				t.Errorf("after %v: %+v", time.Since(began), n)
			}
			l.Close(remote.Closed, "")
			h.gone(l, remote.Closed)
		})
	})
	for name, x := range map[string]struct {
		terms access.Terms
		ends  time.Duration
		why   remote.Reason
	}{
		"the longest that sessions may last": {everything, 12 * time.Hour, remote.Absolute},
		"the end of the grant":               {access.Terms{NotAfter: time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)}, 2 * time.Hour, remote.Window},
		"the end of its hours":               {access.Terms{Hours: []access.Hours{{From: "00:00", To: "01:30"}}}, 90 * time.Minute, remote.Window},
	} {
		t.Run(name+", with notices 15, 10 and 5 minutes before", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which begins at midnight of 2000-01-01 UTC
				h := newLiveHouse(t, "a", newLiveStore())
				h.Settings.Idle = 0
				l := h.start("x", "ana", x.terms)
				began := time.Now()
				for _, before := range h.Settings.Notices {
					n := <-l.Notices()
					if at := time.Since(began); at != x.ends-before || !n.EndsAt.Equal(began.Add(x.ends)) || n.Idle {
						t.Errorf("after %v: %+v", at, n)
					}
				}
				<-l.Done()
				if at := time.Since(began); at != x.ends {
					t.Errorf("out after %v", at)
				}
				h.gone(l, x.why)
			})
		})
	}
	t.Run("a notice between does not repeat another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", access.Terms{NotAfter: time.Now().Add(44*time.Minute + 30*time.Second)}) // told so half a minute before it is out as idle
			first, second := <-l.Notices(), <-l.Notices()
			<-l.Done()
			if !first.Idle || second.Idle || len(l.Notices()) != 0 {
				t.Errorf("told %q, %q and %d more", first.Text, second.Text, len(l.Notices()))
			}
			h.gone(l, remote.Idle)
		})
	})
	t.Run("of notices that are due at once one is given", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			l := h.start("x", "ana", access.Terms{NotAfter: time.Now().Add(7 * time.Minute)})
			if n := <-l.Notices(); !strings.Contains(n.Text, "7 minutes") {
				t.Errorf("told %q", n.Text)
			}
			if n := <-l.Notices(); !strings.Contains(n.Text, "5 minutes") {
				t.Errorf("told %q", n.Text)
			}
			<-l.Done()
			h.gone(l, remote.Window)
		})
	})
}

func TestNode_ends_what_must_end(t *testing.T) {
	t.Run("whoever asked for it on another node, within two seconds without a notice", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			defer h.runs()()
			l := h.start("x", "ana", everything)
			c, _ := h.terminal(l)
			h.m.doom("x", remote.Dropped)
			h.within(l, 2*time.Second, remote.Dropped)
			if n, err := c.Read(make([]byte, 8)); n != 0 || err == nil {
				t.Errorf("read %d bytes after the end, %v", n, err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, remote.ErrOver) {
				t.Errorf("typed after the end: %v", err)
			}
		})
	})
	t.Run("and at once with one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			defer h.runs()()
			l := h.start("x", "ana", everything)
			h.m.doom("x", remote.Dropped)
			h.Heard("another")
			h.Heard("x")
			h.within(l, 0, remote.Dropped)
		})
	})
	t.Run("a grant that is taken back", func(t *testing.T) { // rule S14
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			defer h.runs()()
			l := h.start("x", "ana", everything)
			other := h.start("y", "ben", everything)
			h.grant("ana", access.Terms{Approval: true}) // another grant, which asks for more, does not stand in for it
			time.Sleep(10 * time.Second)
			if l.Ended() != "" {
				t.Fatalf("it ended %q before", l.Ended())
			}
			h.m.mu.Lock()
			h.m.bindings = slices.DeleteFunc(h.m.bindings, func(b access.Binding) bool { return b.Number == l.Session().Grant })
			h.m.mu.Unlock()
			h.within(l, 2*time.Second, remote.Revoked)
			if other.Ended() != "" {
				t.Error("somebody else's session ended too")
			}
			other.Close(remote.Closed, "")
			h.gone(other, remote.Closed)
		})
	})
	t.Run("asking once for each person", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			var lives []*remote.Live
			for i := range 500 {
				lives = append(lives, h.start(fmt.Sprint("x", i), fmt.Sprint("user", i%10), everything))
			}
			defer h.runs()()
			time.Sleep(time.Millisecond)
			h.m.mu.Lock()
			h.m.asked = 0
			h.m.mu.Unlock()
			time.Sleep(10 * time.Second)
			h.m.mu.Lock()
			if h.m.asked != 100 {
				t.Errorf("asked %d times in ten looks after 500 sessions of ten people", h.m.asked)
			}
			h.m.mu.Unlock()
			h.Drain(context.Background())
			for _, l := range lives {
				if l.Ended() != remote.Drained {
					t.Fatalf("ended %q", l.Ended())
				}
			}
		})
	})
	t.Run("all, when others must take the node for gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			defer h.runs()()
			l := h.start("x", "ana", everything)
			time.Sleep(7 * time.Second)
			h.m.away(errors.New("connection refused"))
			began := time.Now()
			<-l.Done()
			if took := time.Since(began); l.Ended() != remote.NodeLost || took > 21*time.Second {
				t.Errorf("ended %q after %v", l.Ended(), took)
			}
			h.m.away(nil)
			time.Sleep(6 * time.Second)
			if x := h.stored("x"); x.State != remote.Ended || x.End != remote.NodeLost {
				t.Errorf("when the store was back it had it %s %q", x.State, x.End)
			}
		})
	})
	t.Run("and while the store does not answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			h.Store = slowStore{liveStore: h.m, from: time.Now().Add(7 * time.Second), until: time.Now().Add(time.Minute)}
			defer h.runs()()
			l := h.start("x", "ana", everything)
			began := time.Now()
			<-l.Done()
			if took := time.Since(began); l.Ended() != remote.NodeLost || took > 26*time.Second { // it was heard after 5 seconds
				t.Errorf("ended %q after %v", l.Ended(), took)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		})
	})
}

// What the store has as over, or as another node's, is not carried, whatever the clocks say.
func TestNode_whose_sessions_were_taken(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*remote.Session)
		why    remote.Reason
	}{
		"somebody ended it": {func(x *remote.Session) {
			x.State, x.End, x.EndedBy, x.Ended = remote.Ended, remote.Dropped, "root", time.Now()
		}, remote.Dropped},
		"another node carries it": {func(x *remote.Session) { x.Node = "b" }, remote.NodeLost},
		"nobody knows it":         {nil, remote.NodeLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newLiveHouse(t, "a", newLiveStore())
				defer h.runs()()
				l, other := h.start("x", "ana", everything), h.start("y", "ben", everything)
				time.Sleep(time.Minute)
				if err := h.m.Beat(t.Context(), "b", time.Now().Add(time.Hour)); err != nil { // it lives
					t.Fatal(err)
				}
				h.m.becomes("x", x.change)
				was, _ := h.m.ByID(t.Context(), "x")
				time.Sleep(2 * time.Second)
				if why := l.Ended(); why != x.why {
					l.Close(remote.Closed, "")
					t.Errorf("it ended as %q", why)
				}
				<-l.Done()
				synctest.Wait()
				if is, _ := h.m.ByID(t.Context(), "x"); is.State != was.State || is.End != was.End || !is.Ended.Equal(was.Ended) {
					t.Errorf("the store has it %s %q, ended at %v", is.State, is.End, is.Ended)
				}
				if tape := h.tape("x"); tape.ended == nil || tape.ended.State != remote.Ended || tape.ended.End != x.why {
					t.Errorf("the recording was closed with %+v", tape.ended)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if other.Ended() != "" || len(h.failures) > 0 {
					t.Errorf("the other ended as %q; %q", other.Ended(), h.failures)
				}
				other.Close(remote.Closed, "")
				h.gone(other, remote.Closed)
			})
		})
	}
	t.Run("by a node whose clock is ahead", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newLiveStore()
			a, b := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m)
			b.Now = func() time.Time { return time.Now().Add(30 * time.Second) }
			defer a.runs()()
			l := a.start("x", "ana", everything)
			time.Sleep(7 * time.Second)
			defer b.runs()()
			a.within(l, 2*time.Second, remote.NodeLost)
			if len(a.failures)+len(b.failures) > 0 {
				t.Errorf("%q, %q", a.failures, b.failures)
			}
		})
	})
	t.Run("while the store did not answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newLiveStore()
			a, b := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m)
			began := time.Now()
			a.Store, a.Settings.Look = slowStore{liveStore: m, from: began.Add(time.Second), until: began.Add(24 * time.Second)}, time.Hour
			stop := a.runs()
			l := a.start("x", "ana", everything)
			time.Sleep(time.Second)
			defer b.runs()()
			time.Sleep(21 * time.Second)
			if x := a.stored("x"); x.End != remote.NodeLost {
				t.Fatalf("it is %s %q", x.State, x.End)
			}
			time.Sleep(3 * time.Second) // the beat that was begun after 15 seconds is answered
			if why := l.Ended(); why != remote.NodeLost {
				l.Close(remote.Closed, "")
				t.Errorf("it ended as %q", why)
			}
			a.gone(l, remote.NodeLost)
			stop()
		})
	})
	t.Run("but not one that starts or ends while the store is asked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHouse(t, "a", newLiveStore())
			h.Store = slowStore{liveStore: h.m, stale: 3 * time.Second}
			defer h.runs()()
			ends := h.start("x", "ana", everything)
			time.Sleep(2 * time.Second)
			starts := h.start("y", "ben", everything)
			ends.Close(remote.Closed, "")
			h.gone(ends, remote.Closed)
			time.Sleep(time.Minute)
			synctest.Wait()
			if starts.Ended() != "" || len(h.failures) > 0 {
				t.Errorf("the one that started ended as %q; %q", starts.Ended(), h.failures)
			}
			starts.Close(remote.Closed, "")
			h.gone(starts, remote.Closed)
		})
	})
}

// A node that was frozen while it started a session leaves it to the node that has taken it up meanwhile.
func TestNode_that_was_frozen_while_it_started_one(t *testing.T) {
	for name, x := range map[string]struct {
		begin error         // of the recording of the node that was frozen
		slow  time.Duration // of the recording of the other
		away  bool          // the store, when the first one thaws
		want  error
	}{
		"and cannot record it":               {begin: errDiskFull, want: remote.ErrUnrecorded},
		"and cannot write that it ended":     {begin: errDiskFull, away: true, want: remote.ErrUnrecorded},
		"and would make it active":           {want: remote.ErrElsewhere},
		"and would make it active before":    {slow: 10 * time.Second, want: remote.ErrElsewhere},
		"and cannot record it, and is first": {begin: errDiskFull, slow: 10 * time.Second, want: remote.ErrUnrecorded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newLiveStore()
				a, b := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m)
				a.slow, a.begin, b.slow = 30*time.Second, x.begin, x.slow
				session := a.waiting("x", "ana", everything)
				failed, lives := make(chan error, 1), make(chan *remote.Live, 1)
				go func() {
					_, err := a.Start(context.Background(), session, remote.Size{})
					failed <- err
				}()
				defer b.runs()()
				time.Sleep(28 * time.Second)
				go func() {
					l, err := b.Start(context.Background(), session, remote.Size{})
					if err != nil {
						t.Errorf("the other could not start it: %v", err)
					}
					lives <- l
				}()
				time.Sleep(time.Second)
				if x.away {
					m.away(errors.New("connection refused"))
				}
				if err := <-failed; !errors.Is(err, x.want) {
					t.Errorf("it failed as %v", err)
				}
				m.away(nil)
				l := <-lives
				if l == nil {
					return
				}
				defer a.runs()() // it pays its debts
				time.Sleep(time.Minute)
				synctest.Wait()
				if x := b.stored("x"); x.State != remote.Active || x.Node != "b" || l.Ended() != "" {
					t.Errorf("it is %s %q on %s, and ended as %q", x.State, x.End, x.Node, l.Ended())
				}
				if len(a.ended) > 0 {
					t.Errorf("counted as ended: %v", a.ended)
				}
				l.Close(remote.Closed, "")
				b.gone(l, remote.Closed)
			})
		})
	}
}

func TestNode_that_is_gone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLiveStore()
		a, b := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m)
		b.uncuttable = 2 // without the bucket, say
		stop := a.runs()
		defer b.runs()()
		l := a.start("x", "ana", everything)
		kept := b.start("y", "ben", everything)
		time.Sleep(time.Minute)
		if x := b.stored("x"); x.State != remote.Active {
			t.Fatalf("a node that lives lost its session: %s %q", x.State, x.End)
		}
		stop()
		time.Sleep(30 * time.Second)
		if x := b.stored("x"); x.State != remote.Ended || x.End != remote.NodeLost {
			t.Errorf("it is %s %q", x.State, x.End)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !slices.Equal(b.cut, []string{"x"}) || !slices.Equal(b.ended, []remote.Reason{remote.NodeLost}) || !slices.Contains(m.recorded(), "session.ended") {
			t.Errorf("recordings cut: %v, ends counted: %v, events %v", b.cut, b.ended, m.recorded())
		}
		l.Close(remote.Closed, "") // it comes back to itself
		<-l.Done()
		synctest.Wait()
		if x := b.stored("x"); x.End != remote.NodeLost {
			t.Errorf("what was said of its end became %q", x.End)
		}
		kept.Close(remote.Closed, "")
		b.gone(kept, remote.Closed)
	})
}

// What is left to close of a node that is gone is in the store: whoever runs later closes it.
func TestNodes_that_are_gone_one_after_the_other(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLiveStore()
		a, b, c := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m), newLiveHouse(t, "c", m)
		b.uncuttable = 1000 // without the bucket
		stopA, stopB := a.runs(), b.runs()
		l := a.start("x", "ana", everything)
		stopA()
		time.Sleep(time.Minute)
		if x := b.stored("x"); x.End != remote.NodeLost || len(b.cut) > 0 {
			t.Fatalf("it is %s %q, cut: %v", x.State, x.End, b.cut)
		}
		stopB()
		time.Sleep(time.Hour)
		stopC := c.runs()
		time.Sleep(2 * time.Minute)
		stopC()
		if !slices.Equal(c.cut, []string{"x"}) {
			t.Errorf("recordings cut: %v", c.cut)
		}
		l.Close(remote.Closed, "")
		<-l.Done()
		synctest.Wait()
	})
}

// A node that was frozen, or cut off from the store, for so long that the others took it for gone has lost its sessions although it lives: nobody could list,
// watch or end them any more.
func TestNode_that_comes_back(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLiveStore()
		a, b := newLiveHouse(t, "a", m), newLiveHouse(t, "b", m)
		stop := a.runs()
		defer b.runs()()
		l := a.start("x", "ana", everything)
		time.Sleep(time.Minute)
		stop()
		time.Sleep(30 * time.Second)
		if x := b.stored("x"); x.State != remote.Ended || x.End != remote.NodeLost {
			t.Fatalf("it is %s %q", x.State, x.End)
		}
		defer a.runs()() // its first act is to say that it lives
		time.Sleep(2 * time.Second)
		if why := l.Ended(); why != remote.NodeLost {
			l.Close(remote.Closed, "")
			t.Errorf("its session ended as %q", why)
		}
		<-l.Done()
		synctest.Wait()
		again := a.start("y", "ben", everything)
		time.Sleep(time.Minute)
		if why := again.Ended(); why != "" {
			t.Errorf("a later one ended as %q", why)
		}
		again.Close(remote.Closed, "")
		a.gone(again, remote.Closed)
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHouse(t, "a", newLiveStore())
		l := h.start("x", "ana", everything)
		c, far := h.terminal(l)
		go drain(c)
		_, _ = far.print.Write([]byte("bye"))
		if _, err := c.Write([]byte("logout")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.Drain(t.Context())
		if n := <-l.Notices(); !strings.Contains(n.Text, "stopped") {
			t.Errorf("told %q", n.Text)
		}
		h.gone(l, remote.Drained)
		if h.carried["from_target"] != 3 || h.carried["to_target"] != 6 {
			t.Errorf("counted %v", h.carried)
		}
		_, err := h.Start(t.Context(), h.waiting("y", "ana", everything), remote.Size{})
		if !errors.Is(err, remote.ErrDraining) || h.stored("y").State != remote.Waiting {
			t.Errorf("%v, %s", err, h.stored("y").State)
		}
	})
}
