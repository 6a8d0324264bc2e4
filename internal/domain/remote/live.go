package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// The faults of a session that lives.
var (
	ErrFeature    = fault.New(fault.Denied, "the grant of this session does not give that")
	ErrUnrecorded = fault.New(fault.Conflict, "the session cannot be recorded, so it is not carried")
	ErrChannels   = fault.New(fault.Limited, "the session has as many channels open as are allowed")
	ErrFull       = fault.New(fault.Conflict, "the recording is as large as recordings may be")
	ErrDraining   = fault.New(fault.Conflict, "this node is being stopped; start the session again")
)

// What is on record of sessions that live, beside their start and end.
const (
	eventRefused    access.Action = "session.channel_refused" // something was asked for that the grant does not give, or that nobody gets
	eventUnrecorded access.Action = "session.unrecorded"      // it goes on although it cannot be recorded: the device is set so
	eventWatched    access.Action = "session.watched"         // somebody began to look on
)

// Live is a session that this node carries, from its start to its end. All methods may be called at a time.
type Live struct {
	s      *Service
	device device.Device
	keys   coverage
	screen screen

	notices    chan Notice
	used       atomic.Int64 // when somebody last typed in a terminal, or anything passed beside terminals, in Unix nanoseconds
	unrecorded atomic.Bool  // it goes on without a recorder
	stopped    atomic.Bool  // nothing is carried any more
	toTarget   counter
	toPerson   counter

	ending chan struct{} // closed when it must end: why and by are set then
	done   chan struct{} // closed when nothing is carried any more
	gone   chan struct{} // closed when it is ended in the store too, and its recording is closed
	idle   chan struct{} // something was closed

	mu       sync.Mutex
	x        Session
	link     Link     // nil before the target let us in
	recorder Recorder // nil where there is none
	ready    bool     // Start has returned it
	why      Reason
	by       string
	trouble  string // what went wrong, where why is Failed, or Unrecorded for more than there may be
	open     map[*channel]struct{}
	forwards map[*forward]struct{}
}

// Notice is something that the person in a session is to be told.
type Notice struct {
	Text   string
	At     time.Time
	EndsAt time.Time // when the session will end because of it; zero: it will not
	Idle   bool      // it will end because nobody types: typing takes the notice back
}

func newLive(s *Service, x Session) *Live {
	return &Live{
		s: s, x: x, screen: screen{newFilter: s.NewFilter},
		notices: make(chan Notice, 8),
		ending:  make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}), idle: make(chan struct{}, 1),
		open: map[*channel]struct{}{}, forwards: map[*forward]struct{}{},
	}
}

// Session is the session as it became active.
func (l *Live) Session() Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.x
}

func (l *Live) set(x Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.x = x
}

// Recorded reports whether the session is recorded. It is not where it could not be and the device is set to go on all the same.
func (l *Live) Recorded() bool { return !l.unrecorded.Load() }

// use puts off the end of a session that nobody uses.
func (l *Live) use() { l.used.Store(l.s.Now().UnixNano()) }

// Notices is what the person is to be told. One reader at a time; what nobody reads in time is lost, oldest first. It is never closed.
func (l *Live) Notices() <-chan Notice { return l.notices }

// Watchers are the names of those who look on.
func (l *Live) Watchers() []string { return l.screen.watchers() }

// Done is closed when the session is over: nothing is carried any more. Ended says why then; it is "" before.
func (l *Live) Done() <-chan struct{} { return l.done }

// Ended is why the session is over, or "".
func (l *Live) Ended() Reason {
	select {
	case <-l.done:
	default:
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// Close ends the session, once: the first reason counts. by names who wanted it; empty is the person, or nobody. It does not wait.
func (l *Live) Close(why Reason, by string) { l.closeIn(why, by, "") }

// closeIn is Close with what went wrong.
func (l *Live) closeIn(why Reason, by, trouble string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != "" {
		return
	}
	l.why, l.by, l.trouble = why, by, trouble
	close(l.ending)
}

// Refuse keeps, in the recording and the audit log, that something was asked for which a door does not do at all: a kind such as agent, x11, subsystem,
// tcpip-forward or env, and what of it.
func (l *Live) Refuse(kind, text string) {
	if l.keys.refused(kind + "\x00" + text) {
		l.refuse(kind, text, "not offered")
	}
}

// refuse writes down a refusal. The channel is refused whether or not it can be: nothing was carried.
func (l *Live) refuse(kind, what, why string) {
	_ = l.note(Note{Kind: "refused", Channel: kind, Way: kind, Name: bounded(what), Text: why}) // a recorder that fails here has ended the session
	e := l.event(eventRefused, audit.Refused).With("kind", kind).With("what", bounded(what))
	e.Reason = why
	l.record(e)
}

// bounded keeps what others chose, and that is written down more than once, short.
func bounded(text string) string {
	const most = 1024
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// event is an audit event of what the person of the session did.
func (l *Live) event(do access.Action, outcome audit.Outcome) audit.Event {
	x := l.Session()
	return l.s.eventOf(l.s.visitor(x), do, x, outcome)
}

func (l *Live) record(e audit.Event) {
	ctx, cancel := context.WithTimeout(context.Background(), l.s.patience())
	defer cancel()
	if err := l.s.Audit.Record(ctx, e); err != nil {
		l.s.failed("record "+e.Action, err)
	}
}

// note writes into the recording, and tells those who look on.
func (l *Live) note(n Note) error {
	if n.At.IsZero() {
		n.At = l.s.Now()
	}
	l.screen.remark(n)
	r := l.keeper()
	if r == nil {
		return nil
	}
	if err := r.Note(n); err != nil {
		return l.lost(err)
	}
	return nil
}

// keeper is the recorder, or nil where the session goes on without.
func (l *Live) keeper() Recorder {
	if l.unrecorded.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recorder
}

// lost says what to do when something could not be recorded: nil is to go on without, as the device is set; otherwise the session ends, and nothing that
// has not been recorded may be handed on (rule W14).
func (l *Live) lost(cause error) error {
	trouble := ""
	if errors.Is(cause, ErrFull) { // or whoever is recorded could print until nobody records them
		trouble = ErrFull.Text
	}
	if trouble != "" || !l.device.Unrecorded {
		l.closeIn(Unrecorded, "", trouble)
		l.s.failed("record session "+l.Session().ID, cause)
		return ErrUnrecorded
	}
	if l.unrecorded.CompareAndSwap(false, true) {
		l.loud(cause)
	}
	return nil
}

// loud tells everybody that the session is not recorded from here on.
func (l *Live) loud(cause error) {
	l.s.failed("record session "+l.Session().ID+", which goes on", cause)
	if hook := l.s.Observe.Unrecorded; hook != nil {
		hook()
	}
	l.tell(Notice{Text: "This session is not being recorded any more: the recorder has failed, and an administrator has set this device to go on."})
	e := l.event(eventUnrecorded, audit.Failed)
	e.Reason = "the recorder failed; the device is set to go on unrecorded"
	l.record(e)
	n := Note{At: l.s.Now(), Channel: "session", Kind: "unrecorded", Text: e.Reason}
	l.screen.remark(n)
	l.mu.Lock()
	r := l.recorder
	l.mu.Unlock()
	if r != nil {
		_ = r.Note(n) // it may still take this one; what it lost it says itself
	}
}

// tell tells the person something. Where nobody listens the oldest notice goes.
func (l *Live) tell(n Notice) {
	n.At = l.s.Now()
	for {
		select {
		case l.notices <- n:
			return
		default:
		}
		select {
		case <-l.notices:
		default:
		}
	}
}

// Start takes a waiting session to its target: the recorder begins, the session becomes active, the credential is lent, and the target is dialled, in this
// order. first is the size of the person's terminal, for who looks on before one is open. An error has ended the session, unless another node has taken it up
// meanwhile, but for ErrNotWaiting, ErrOver, ErrElsewhere and ErrDraining; it is one of these, ErrUnrecorded, ErrUnreachable, ErrTargetLogin, ErrHostKey or
// ErrLinkDenied, or Internal. ctx bounds the start alone.
func (s *Service) Start(ctx context.Context, x Session, first Size) (*Live, error) {
	l := newLive(s, x)
	l.screen.size = first
	if err := s.node.add(l); err != nil {
		return nil, err
	}
	err := s.beatFirst(ctx) // or others take the session for that of a node that is gone
	if err == nil {
		x, err = s.claim(ctx, x)
	}
	if err != nil {
		s.node.remove(l)
		close(l.gone)
		return nil, err
	}
	l.set(x)
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // whoever ends it need not wait for a slow target
		select {
		case <-l.ending:
			cancel()
		case <-starting.Done():
		}
	}()
	if err := l.begin(starting); err != nil {
		err = l.unbegun(ctx, err)
		l.finish()
		return nil, err
	}
	l.mu.Lock()
	l.ready = true
	l.mu.Unlock()
	if hook := s.Observe.Started; hook != nil {
		hook(x.Way, x.Protocol)
	}
	go l.keep()
	return l, nil
}

// claim makes this node the only one that may start the session, by the grant that governs now: of two that try one must not begin a recording. A grant
// that asks for more than the one before leaves the session waiting.
func (s *Service) claim(ctx context.Context, x Session) (Session, error) {
	step, err := s.Due(ctx, x)
	if err != nil {
		return x, err
	}
	if step.Kind != NothingDue { // rule S15
		return x, ErrNotWaiting
	}
	grant, err := s.mayStart(ctx, x)
	if fault.Is(err, fault.Denied) {
		if _, err := s.finish(ctx, x.ID, Revoked, "", ""); err != nil && !errors.Is(err, ErrOver) {
			return x, err
		}
		return x, ErrLinkDenied
	}
	if err != nil {
		return x, err
	}
	approved := x.Terms.Approval // or it would be due
	x, err = s.Store.Change(ctx, x.ID, nil, func(x Session) (Session, []audit.Event, error) {
		switch {
		case x.State == Ended || x.State == Cancelled || x.State == Expired:
			return x, nil, ErrOver
		case s.elsewhere(x):
			return x, nil, ErrElsewhere
		case x.State != Waiting:
			return x, nil, ErrNotWaiting
		}
		x.Grant, x.Terms = grant.Number, grant.Terms
		if due := x.next(); due == NothingDue || due == ApprovalWanted && approved {
			x.Node = s.Node
		}
		return x, nil, nil
	})
	if err == nil && x.Node != s.Node {
		err = ErrNotWaiting
	}
	return x, err
}

// elsewhere reports whether another node starts or carries a session: nothing of it is this node's to change, but that it is asked to end.
func (s *Service) elsewhere(x Session) bool {
	return (x.State == Active || x.State == Waiting) && x.Node != "" && x.Node != s.Node
}

// begin records, activates and dials.
func (l *Live) begin(ctx context.Context) error {
	s, x := l.s, l.Session()
	var err error
	if l.device, err = s.Devices.Get(ctx, x.Target); err != nil {
		return err
	}
	recorder, err := s.Recordings.Begin(ctx, x)
	if err == nil {
		l.mu.Lock()
		l.recorder = recorder
		l.mu.Unlock()
	} else if err := l.lost(fmt.Errorf("begin recording: %w", err)); err != nil {
		return err
	}
	if x, err = s.activate(ctx, x); err != nil {
		return err
	}
	l.set(x)
	l.used.Store(s.Now().UnixNano())
	link, err := s.dial(ctx, x, l.device)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.link = link
	if l.why != "" {
		return ErrOver
	}
	return nil
}

// dial lends the credential to the relay, and takes the session to its target.
func (s *Service) dial(ctx context.Context, x Session, d device.Device) (Link, error) {
	dialer, known := s.Dialers[x.Protocol]
	if !known {
		return nil, ErrProtocolOff
	}
	to, err := s.target(ctx, x, d)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	link, err := dialer.Dial(ctx, to)
	var strange *StrangeKey
	if errors.As(err, &strange) {
		s.saw(context.WithoutCancel(ctx), x, strange)
	}
	return link, err
}

// saw keeps a strange host key, so that an administrator can look at it.
func (s *Service) saw(ctx context.Context, x Session, k *StrangeKey) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	if err := s.Devices.Saw(ctx, x.Target, x.Port, k.Blob); err != nil {
		s.failed("keep a strange host key", err)
	}
}

// unbegun ends what could not begin, for the reason that there is. A session that somebody ended meanwhile is over.
func (l *Live) unbegun(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrUnrecorded): // lost has ended it
	case errors.Is(err, ErrLinkDenied), errors.Is(err, ErrNoAccess):
		l.Close(Revoked, "")
	case ctx.Err() != nil:
		l.Close(Closed, "") // the person went away
	default:
		l.closeIn(Failed, "", fault.Text(err)) // or nobody but the person could tell a wrong password from a machine that is down
	}
	l.mu.Lock()
	why := l.why
	l.mu.Unlock()
	switch why {
	case Failed, Unrecorded:
		return err
	case Revoked:
		if errors.Is(err, ErrLinkDenied) || errors.Is(err, ErrNoAccess) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrOver, err)
}

// Lived returns a session that this node carries.
func (s *Service) Lived(id string) (*Live, bool) {
	l := s.node.carried(id)
	if l == nil {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l, l.ready && l.why == ""
}

// finish closes all there is of a session, in the order in which it counts: the target first, then the tracks, then the store, then the recording.
func (l *Live) finish() {
	l.stopped.Store(true)
	l.mu.Lock()
	link := l.link
	l.mu.Unlock()
	if link != nil {
		_ = link.Close() // it is over either way
	}
	close(l.done) // a recorder that hangs keeps nobody in
	l.shutAll()
	l.s.flushOne(context.Background(), l)
	x := l.end()
	if hook := l.s.Observe.Ended; hook != nil && !x.Started.IsZero() {
		hook(x.Way, x.Protocol, x.End, x.Ended.Sub(x.Started))
	}
	l.endRecording(x)
	l.s.carriedOf(l)
	l.s.node.remove(l)
	close(l.gone)
}

// end ends the session in the store. While the store is away this node remembers what it could not write.
func (l *Live) end() Session {
	l.mu.Lock()
	x, why, by, trouble := l.x, l.why, l.by, l.trouble
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), l.s.patience())
	defer cancel()
	ended, err := l.s.finish(ctx, x.ID, why, by, trouble)
	switch {
	case err == nil:
		return ended
	case errors.Is(err, ErrOver) && ended.State == Ended: // somebody was faster: another node that took this one for lost, or the sweep
		return ended
	case !stands(err):
		l.s.failed("end session "+x.ID, err)
		l.s.node.owe(debt{x.ID, why, by})
	}
	x.State, x.End, x.EndedBy, x.Ended = Ended, why, by, l.s.Now()
	return x
}

// stands reports whether nothing is left to write of an end: the session is over, gone, or another node's.
func stands(err error) bool { return errors.Is(err, ErrOver) || errors.Is(err, ErrUnknown) }

// endRecording closes the recording, if there is one.
func (l *Live) endRecording(x Session) {
	l.mu.Lock()
	r := l.recorder
	l.mu.Unlock()
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*l.s.patience())
	defer cancel()
	if err := r.End(ctx, x); err != nil {
		l.s.failed("end recording "+x.ID, err)
	}
}

// patience bounds what a session waits for in the store, and at its target.
func (s *Service) patience() time.Duration { return orDefault(s.Settings.DialTimeout, 15*time.Second) }

func orDefault[T int | time.Duration](set, usual T) T {
	if set > 0 {
		return set
	}
	return usual
}

func (s *Service) failed(doing string, err error) {
	if s.OnError != nil {
		s.OnError(doing, err)
	}
}
