package remote

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
)

// node is what lives on this node.
type node struct {
	mu       sync.Mutex
	live     map[string]*Live // by session id; those that are starting too
	draining bool
	debts    []debt
	beaten   time.Time // when the store last took that this node lives

	made                    sync.Once
	doomed, grants, watches chan struct{} // something may have changed
	left                    chan struct{} // sessions of a node that is gone were ended
}

// debt is an end that could not be written yet.
type debt struct {
	session string
	why     Reason
	by      string
}

func (n *node) signals() *node {
	n.made.Do(func() {
		n.doomed, n.grants, n.watches, n.left = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	})
	return n
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is on its way already
	}
}

func (n *node) add(l *Live) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.draining {
		return ErrDraining
	}
	if n.live == nil {
		n.live = map[string]*Live{}
	}
	if n.live[l.x.ID] != nil {
		return ErrNotWaiting
	}
	n.live[l.x.ID] = l
	return nil
}

func (n *node) remove(l *Live) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.live, l.x.ID)
}

func (n *node) carried(id string) *Live {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live[id]
}

func (n *node) all() []*Live {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*Live, 0, len(n.live))
	for _, l := range n.live {
		all = append(all, l)
	}
	return all
}

// active are the sessions that have started: what only starts is not among them.
func (n *node) active() []*Live {
	return slices.DeleteFunc(n.all(), func(l *Live) bool { return l.Session().State != Active })
}

func (n *node) owe(d debt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.debts = append(n.debts, d)
}

// Living is how many sessions this node carries, and how many look on at them.
func (s *Service) Living() (sessions, watchers int) {
	for _, l := range s.node.all() {
		sessions++
		watchers += len(l.Watchers())
	}
	return sessions, watchers
}

// Run does what a node that carries sessions must until ctx ends: it says that it lives, ends sessions that must end, takes over those of nodes that are
// gone, and writes what passes for those who look on.
func (s *Service) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { s.beats(ctx) })
	loops.Go(func() { s.pulses(ctx) })
	loops.Go(func() { s.looks(ctx) })
	loops.Go(func() { s.frames(ctx) })
	loops.Go(func() { s.cuts(ctx) })
	loops.Wait()
}

// Heard is told by notice that a remote session changed, was ended or is asked to end.
func (s *Service) Heard(id string) {
	if s.node.carried(id) != nil {
		signal(s.node.signals().doomed)
	}
}

// HeardGrants is told by notice that somebody's grants, groups or account changed.
func (s *Service) HeardGrants() {
	n := s.node.signals()
	signal(n.grants)
	signal(n.doomed)
}

// HeardWatch is told by notice that somebody began to look on at a session, or stopped.
func (s *Service) HeardWatch(id string) {
	if l := s.node.carried(id); l != nil {
		l.screen.begin()
		signal(s.node.signals().watches)
	}
}

// Drain ends all sessions of this node, and starts none any more. It returns when all are over and their recordings closed, or ctx is.
func (s *Service) Drain(ctx context.Context) {
	s.node.mu.Lock()
	s.node.draining = true
	s.node.mu.Unlock()
	all := s.node.all()
	for _, l := range all {
		l.tell(Notice{Text: "The gate is being stopped: this session ends now. Start it again in a moment.", EndsAt: s.Now()})
		l.Close(Drained, "")
	}
	for _, l := range all {
		select {
		case <-l.gone:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) beats(ctx context.Context) {
	every := orDefault(s.Settings.Beat, 5*time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s.beat(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Service) lostAfter() time.Duration { return orDefault(s.Settings.LostAfter, 20*time.Second) }

// beat says that this node lives, and does what all nodes do now and then.
func (s *Service) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.lostAfter()/2)
	defer cancel()
	if err := s.beatOnce(ctx); err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.failed("say that this node lives", err)
		}
		return
	}
	s.payDebts(ctx)
	s.takeOver(ctx)
	if err := s.Store.DropFrames(ctx, s.Now().Add(-frameLife)); err != nil {
		s.failed("forget frames", err)
	}
}

func (s *Service) beatOnce(ctx context.Context) error {
	now := s.Now()             // before the call: from then on others count
	carried := s.node.active() // before it is known to live again: what starts from then on is nobody's to take
	if err := s.Store.Beat(ctx, s.Node, now); err != nil {
		return err
	}
	if s.node.heard(now, s.Now()) >= s.lostAfter() { // it was frozen, or cut off from the store: others have ended what it carries, and nobody could end that any more
		for _, l := range carried {
			l.Close(NodeLost, "")
		}
	}
	return nil
}

// heard keeps that the store has taken a beat, and tells for how long it had taken none by now: a store that hung told nobody meanwhile.
func (n *node) heard(beat, now time.Time) (silent time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	silent = now.Sub(n.beaten)
	if beat.After(n.beaten) { // of two at a time the one that was begun first may return last
		n.beaten = beat
	}
	return silent
}

// beatFirst makes sure that others know this node before it carries anything.
func (s *Service) beatFirst(ctx context.Context) error {
	s.node.mu.Lock()
	beaten := s.node.beaten
	s.node.mu.Unlock()
	if s.Now().Sub(beaten) < s.lostAfter()/2 {
		return nil
	}
	return s.beatOnce(ctx)
}

// payDebts writes the ends that could not be written when they came.
func (s *Service) payDebts(ctx context.Context) {
	s.node.mu.Lock()
	debts := s.node.debts
	s.node.debts = nil
	s.node.mu.Unlock()
	for _, d := range debts {
		if _, err := s.finish(ctx, d.session, d.why, d.by, ""); err != nil && !stands(err) {
			s.failed("end session "+d.session, err)
			s.node.owe(d)
		}
	}
}

// takeOver ends the sessions of nodes that are gone, and has their recordings closed. A node that lives and could not reach the store for so long
// ends them itself when it does again: see beatOnce and endTaken.
func (s *Service) takeOver(ctx context.Context) {
	now := s.Now()
	lost, err := s.Store.Lost(ctx, now.Add(-s.lostAfter()), now, s.lostEvent)
	if err != nil {
		s.failed("take over from nodes that are gone", err)
		return
	}
	for _, x := range lost {
		if hook := s.Observe.Ended; hook != nil {
			hook(x.Way, x.Protocol, NodeLost, now.Sub(x.Started))
		}
	}
	if len(lost) > 0 {
		signal(s.node.signals().left)
	}
}

// cuts closes the recordings of nodes that are gone. That takes as long as reading them does; where it fails, such as without the bucket, it is tried again,
// here or on another node.
func (s *Service) cuts(ctx context.Context) {
	n := s.node.signals()
	again := time.NewTicker(cutAgain)
	defer again.Stop()
	for {
		s.cutAll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-n.left:
		case <-again.C:
		}
	}
}

const (
	cutAgain   = time.Minute
	cutTime    = 30 * time.Minute // for one recording
	cutsAtOnce = 100
)

func (s *Service) cutAll(ctx context.Context) {
	for after := ""; ctx.Err() == nil; {
		uncut, err := s.Store.Uncut(ctx, s.Now().Add(-s.lostAfter()), after, cutsAtOnce)
		if err != nil {
			s.failed("look for recordings of nodes that are gone", err)
			return
		}
		if len(uncut) > 0 {
			after = uncut[len(uncut)-1].ID
		}
		for i := range uncut {
			x := uncut[(i+s.turn())%len(uncut)]
			if err := s.cut(ctx, x); err != nil && ctx.Err() == nil {
				s.failed("close recording "+x.ID+" of a node that is gone", err)
			}
		}
		if len(uncut) < cutsAtOnce {
			return
		}
	}
}

// turn is where this node begins with what all nodes are at.
func (s *Service) turn() (n int) {
	for _, b := range []byte(s.Node) {
		n += int(b)
	}
	return n
}

func (s *Service) cut(ctx context.Context, x Session) error {
	ctx, cancel := context.WithTimeout(ctx, cutTime)
	defer cancel()
	return s.Recordings.Cut(ctx, x)
}

// pulses does each second what asks nobody, so that no store that hangs keeps it.
func (s *Service) pulses(ctx context.Context) {
	tick := time.NewTicker(orDefault(s.Settings.Look, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.alive()
			for _, l := range s.node.all() {
				s.carriedOf(l)
			}
		}
	}
}

// alive ends what a node carries that the others must take for gone: nobody could end its sessions, or look on, any more. What only starts is nobody's to take.
func (s *Service) alive() {
	s.node.mu.Lock()
	beaten := s.node.beaten
	s.node.mu.Unlock()
	if s.Now().Sub(beaten) < s.lostAfter() {
		return
	}
	for _, l := range s.node.active() {
		l.Close(NodeLost, "")
	}
}

// looks ends what must end. Notices make it quick; the looking makes it sure.
func (s *Service) looks(ctx context.Context) {
	n := s.node.signals()
	every := orDefault(s.Settings.Look, time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var asked time.Time // when grants were last looked at because of a notice
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look(ctx, s.endDoomed, s.endTaken, s.endRevoked, s.seeWatchers)
		case <-n.doomed:
			s.look(ctx, s.endDoomed, s.endTaken)
		case <-n.grants:
			if now := s.Now(); now.Sub(asked) >= every/4 { // the next tick sees the rest of a flood of them
				asked = now
				s.look(ctx, s.endRevoked)
			}
		case <-n.watches:
			s.look(ctx, s.seeWatchers)
		}
	}
}

// look runs some of what a node looks for, where there is anything to look for.
func (s *Service) look(ctx context.Context, for_ ...func(context.Context, []*Live) error) {
	all := s.node.all()
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	for _, f := range for_ {
		if err := f(ctx, all); err != nil && !errors.Is(err, context.Canceled) {
			s.failed("look after remote sessions", err)
		}
	}
}

// endDoomed ends the sessions that somebody has asked to end, on whichever node, and those of users, devices and credentials that are gone.
func (s *Service) endDoomed(ctx context.Context, _ []*Live) error {
	doomed, err := s.Store.Doomed(ctx, s.Node)
	if err != nil {
		return err
	}
	for _, x := range doomed {
		if l := s.node.carried(x.ID); l != nil {
			l.Close(x.EndAsked, x.EndedBy)
		} else if _, err := s.finish(ctx, x.ID, x.EndAsked, x.EndedBy, ""); err != nil && !errors.Is(err, ErrOver) {
			return err // it ended here, and that could not be written
		}
	}
	return nil
}

// endTaken ends what the store does not have as carried here any more: another node took this one for gone, and it did not notice. A clock that stood still
// with its machine, or another's that is ahead, tells it nothing.
func (s *Service) endTaken(ctx context.Context, _ []*Live) error {
	started := s.node.active() // before the store is asked, which has all of them then
	ids, err := s.Store.Carried(ctx, s.Node)
	if err != nil {
		return err
	}
	carried := make(map[string]bool, len(ids))
	for _, id := range ids {
		carried[id] = true
	}
	for _, l := range started {
		if id := l.Session().ID; !carried[id] && l.Ended() == "" { // it says that it is over before the store does
			l.Close(s.fate(ctx, id))
		}
	}
	return nil
}

// fate is why a session is over that this node does not carry any more, and who wanted it.
func (s *Service) fate(ctx context.Context, id string) (why Reason, by string) {
	x, err := s.Store.ByID(ctx, id)
	if err != nil || x.End == "" { // whatever it is, it is not carried here
		return NodeLost, ""
	}
	return x.End, x.EndedBy
}

// endRevoked ends the sessions whose grant is gone. It asks once for each user.
func (s *Service) endRevoked(ctx context.Context, all []*Live) error {
	slices.SortFunc(all, func(a, b *Live) int { return compareUsers(a, b) })
	var held access.Held
	user := ""
	for _, l := range all {
		x := l.Session()
		if x.State != Active { // it is starting: activate looks
			continue
		}
		if x.User.ID != user {
			var err error
			if held, err = s.Access.Held(ctx, x.User.ID); err != nil {
				return err
			}
			user = x.User.ID
		}
		if held.Keeps(x.Grant, x.opening()) {
			continue
		}
		why := Revoked
		if until := x.Terms.Until(x.Started); !until.IsZero() && !s.Now().Before(until) {
			why = Window
		}
		l.Close(why, "")
	}
	return nil
}

func compareUsers(a, b *Live) int {
	x, y := a.Session().User.ID, b.Session().User.ID
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// carriedOf tells the metrics what passed since it was last asked.
func (s *Service) carriedOf(l *Live) {
	hook := s.Observe.Carried
	if hook == nil {
		return
	}
	if n := l.toTarget.news(); n > 0 {
		hook("to_target", n)
	}
	if n := l.toPerson.news(); n > 0 {
		hook("from_target", n)
	}
}
