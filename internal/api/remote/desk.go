package remote

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Budgets of one session's terminal.
const (
	mostUnacked = 1 << 20   // output that the browser has not drawn; beyond it the target is not read (rule W5)
	keptTail    = 64 << 10  // output that it has, for a page that is loaded again
	mostInput   = 512 << 10 // input that the target has not taken; browsers keep far below it
	piece       = 32 << 10  // carried at a time
	mostNotices = 4

	exitWait = 2 * time.Second
)

// desks keeps the terminals of the sessions that this node carries for browsers, whether a browser is there or away for a moment.
type desks struct {
	reattach time.Duration
	onError  func(doing string, err error)
	closing  chan struct{} // closed when the doors close
	shut     sync.Once
	work     sync.WaitGroup

	mu      sync.Mutex
	held    map[string]*desk
	waiting map[string][]chan struct{} // pages that wait for a change of a session
}

func newDesks(reattach time.Duration, onError func(string, error)) *desks {
	return &desks{reattach: reattach, onError: onError, closing: make(chan struct{}), held: map[string]*desk{}, waiting: map[string][]chan struct{}{}}
}

// desk is one terminal. What it prints waits there for the browser, and what was typed for the target.
type desk struct {
	id   string
	live Live
	ch   remote.Channel // nil in a session without a terminal

	tasks chan struct{} // files and folders under way

	begun chan struct{} // closed once start has ended, with err
	err   error

	mu             sync.Mutex
	out            replay
	shown          int64  // output before it was sent to some page
	input          []byte // that the target has not taken
	arrived, taken int64
	stopped, over  bool // the session is over: nothing is read from the target any more; all it printed is in out
	notices        []remote.Notice
	notified       int // how many there were in all
	seat           *seat
	away           *time.Timer
	moved          *sync.Cond // there may be room for output, or input to take
}

// has reports whether the terminal of a session is kept here.
func (s *desks) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.held[id]
	return ok
}

// find returns the desk of a session that is carried here.
func (s *desks) find(id string) (*desk, bool) {
	s.mu.Lock()
	d, ok := s.held[id]
	s.mu.Unlock()
	if !ok {
		return nil, false
	}
	<-d.begun
	return d, d.err == nil
}

// get returns the desk of a session, and starts it where there is none: of two who come at once one does, and both get what comes of it.
func (s *desks) get(id string, start func() (Live, remote.Channel, error)) (*desk, error) {
	s.mu.Lock()
	d, ok := s.held[id]
	if !ok {
		d = &desk{id: id, begun: make(chan struct{}), tasks: make(chan struct{}, mostTasks), out: replay{unacked: mostUnacked, tail: keptTail}}
		d.moved = sync.NewCond(&d.mu)
		s.held[id] = d
	}
	s.mu.Unlock()
	if ok {
		<-d.begun
		return d, d.err
	}
	if d.live, d.ch, d.err = start(); d.err != nil {
		s.drop(d)
	} else {
		s.run(d)
	}
	close(d.begun)
	return d, d.err
}

func (s *desks) drop(d *desk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[d.id] == d {
		delete(s.held, d.id)
	}
}

// run carries the terminal until the session is over. The desk stays a while longer, for a browser that was away when it ended.
func (s *desks) run(d *desk) {
	d.leave(s.reattach, nil) // until the first browser sits down
	var pumps sync.WaitGroup
	if d.ch != nil {
		pumps.Go(d.print)
		pumps.Go(d.feed)
	}
	s.work.Go(func() {
		d.hearNotices()
		d.stop()
		pumps.Wait()
		d.mu.Lock()
		d.over = true
		d.wake()
		d.mu.Unlock()
		time.AfterFunc(s.reattach, func() { s.drop(d) })
	})
}

// hearNotices keeps what the person is to be told, until the session is over.
func (d *desk) hearNotices() {
	for {
		select {
		case n := <-d.live.Notices():
			d.mu.Lock()
			d.notices = append(d.notices, n)
			d.notices = d.notices[max(0, len(d.notices)-mostNotices):]
			d.notified++
			d.wake()
			d.mu.Unlock()
		case <-d.live.Done():
			return
		}
	}
}

// stop lets the pumps end: what waits for room or for input waits no longer.
func (d *desk) stop() {
	d.mu.Lock()
	d.stopped = true
	d.moved.Broadcast()
	d.mu.Unlock()
	if d.ch != nil {
		_ = d.ch.Close() // the session is over: it may be closed already
	}
}

// print carries what the target prints to the desk, as long as there is room.
func (d *desk) print() {
	buffer := make([]byte, piece)
	for {
		room := d.room()
		if room == 0 {
			return
		}
		n, err := d.ch.Read(buffer[:min(room, piece)])
		d.mu.Lock()
		d.out.add(buffer[:n])
		d.wake()
		d.mu.Unlock()
		if err != nil {
			d.exited()
			d.live.Close(remote.Closed, "") // the shell has ended; where the session has too, its own reason counts
			return
		}
	}
}

// exited waits for how the shell ended, which follows its output, unless the target keeps it back.
func (d *desk) exited() {
	told := make(chan struct{})
	go func() {
		d.ch.Wait()
		close(told)
	}()
	late := time.NewTimer(exitWait)
	defer late.Stop()
	select {
	case <-told:
	case <-late.C:
	case <-d.live.Done():
	}
}

// room waits until there is room for output. 0 is that the session is over.
func (d *desk) room() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.out.room() == 0 && !d.stopped {
		d.moved.Wait()
	}
	if d.stopped {
		return 0
	}
	return d.out.room()
}

// feed carries what was typed to the target.
func (d *desk) feed() {
	buffer := make([]byte, piece)
	for {
		n := d.next(buffer)
		if n == 0 {
			return
		}
		if _, err := d.ch.Write(buffer[:n]); err != nil {
			return // the session ends with the terminal
		}
		d.mu.Lock()
		d.taken += int64(n)
		d.wake()
		d.mu.Unlock()
	}
}

// next waits for input and takes some of it. 0 is that the session is over.
func (d *desk) next(into []byte) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.input) == 0 && !d.stopped {
		d.moved.Wait()
	}
	if d.stopped {
		return 0
	}
	n := copy(into, d.input)
	d.input = slices.Delete(d.input, 0, n)
	return n
}

// arrive takes input of the browser. It refuses more than browsers may send ahead. What a browser sent that was replaced meanwhile is not taken: the next
// one was told how much had arrived, and sends the rest again.
func (d *desk) arrive(from *seat, p []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seat != from {
		return true
	}
	if d.arrived-d.taken+int64(len(p)) > mostInput {
		return false
	}
	if d.ch == nil || d.stopped {
		return true // nobody reads it
	}
	d.input = append(d.input, p...)
	d.arrived += int64(len(p))
	d.moved.Broadcast()
	return true
}

// ack hears what the browser has drawn.
func (d *desk) ack(offset int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.out.ack(offset)
	d.moved.Broadcast()
	return err
}

// wake tells the browser's seat that there is something to send. The lock is held.
func (d *desk) wake() {
	if d.seat != nil {
		d.seat.wake()
	}
}

// take gives a seat the desk. Whoever sat there before is told to go.
func (d *desk) take(by *seat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away != nil {
		d.away.Stop()
	}
	if d.seat != nil {
		d.seat.replace()
	}
	d.seat = by
	by.sent = d.out.resume(by.from)
	by.until = by.sent
	if by.from != by.sent || by.from == 0 { // a page that has nothing of it yet
		by.until = max(d.shown, by.sent)
	}
	by.arrived, by.taken = d.arrived, d.arrived
	by.notified = max(0, d.notified-1) // the last is told again: it still holds
}

// leave is that a seat is empty: the session is closed when nobody comes back in time.
func (d *desk) leave(within time.Duration, by *seat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seat != by || d.over {
		return
	}
	d.seat = nil
	d.away = time.AfterFunc(within, func() {
		d.mu.Lock()
		empty := d.seat == nil
		d.mu.Unlock()
		if empty {
			d.live.Close(remote.Closed, "")
		}
	})
}

// await returns a channel that is told of changes of a session, and what ends that.
func (s *desks) await(id string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[id] = append(s.waiting[id], c)
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting[id] = slices.DeleteFunc(s.waiting[id], func(other chan struct{}) bool { return other == c })
		if len(s.waiting[id]) == 0 {
			delete(s.waiting, id)
		}
	}
}

// changed tells pages that wait for it that something changed with a session.
func (s *desks) changed(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.waiting[id] {
		select {
		case c <- struct{}{}:
		default: // told already
		}
	}
}

// close ends the streams of pages that wait.
func (s *desks) close() { s.shut.Do(func() { close(s.closing) }) }

// drain waits until the terminals are done, whose sessions somebody else ends.
func (s *desks) drain(ctx context.Context) {
	s.close()
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
