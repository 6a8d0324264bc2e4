package keyproof

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Peer is the far end of an SSH connection.
type Peer struct {
	Caller        access.Caller // nobody at an address, at the SSH door
	ClientVersion string        // the whole version line, made printable
}

// Attempt is one SSH connection's dealings with one session. Its methods are called in the order
// Connected, then Wants and Prove as keys come, then Commit; one goroutine at a time.
type Attempt struct {
	service    *Service
	peer       Peer
	state      State
	connection Connection

	timer      *time.Timer   // until the connection is recorded by itself; nil before Connected
	connected  chan struct{} // closed when that has ended
	connectErr error         // how it ended; read after connected is closed
	fresh      bool          // Commit came first: the connection is recorded together with its end
	brought    brought
	committed  *Result       // what Commit came to, once it was written
	gone       chan struct{} // closed when the session was deleted
	release    func()
}

// ErrNotValid is the one answer for identifiers that name no open session: unknown, expired,
// finished or deleted, so that nothing is learnt about which.
var ErrNotValid = fault.New(fault.NotFound, "This code is not valid (any more). Ask for a new one.")

// Begin looks up the session of an identifier for a connection. It writes nothing: a connection that
// never asks to authenticate leaves no trace. End must be called when the connection has ended.
func (s *Service) Begin(ctx context.Context, identifier string, from Peer) (*Attempt, error) {
	state, err := s.byIdentifier(ctx, identifier)
	if fault.Is(err, fault.NotFound) {
		return nil, ErrNotValid
	}
	if err != nil {
		return nil, err
	}
	if state.Session.Due(s.Now()) {
		if _, err := s.expire(ctx, state.Session); err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		return nil, ErrNotValid
	}
	if state.Session.Final() {
		return nil, ErrNotValid
	}
	a := &Attempt{service: s, peer: from, state: state}
	a.gone, a.release = s.live.join(state.Session.ID)
	return a, nil
}

// End releases what Begin took. It may be called more than once.
func (a *Attempt) End() { a.release() }

// Gone is closed when the session is deleted: the connection has nothing left to do.
func (a *Attempt) Gone() <-chan struct{} { return a.gone }

// Session is the session as it was when the connection began: for banner, message and confirmation.
func (a *Attempt) Session() Session { return a.state.Session }

// Connected notes the connection, as of now; called at the first request that makes it an attempt. It
// is recorded, and new_connection fired, beside the authentication: after RecordWait, or together with
// its end when Commit comes sooner. One write instead of two is most of what a quick proof costs.
func (a *Attempt) Connected(ctx context.Context) {
	if a.timer != nil {
		return
	}
	a.connected = make(chan struct{})
	a.connection = Connection{
		ID: a.service.NewID(), Session: a.state.Session.ID, Address: a.peer.Caller.Address.String(),
		ClientVersion: a.peer.ClientVersion, Created: a.service.Now(),
	}
	ctx = context.WithoutCancel(ctx)
	a.timer = time.AfterFunc(a.service.RecordWait, func() {
		defer close(a.connected)
		defer func() { // a fault of the store ends this attempt and no other (rule S5)
			if p := recover(); p != nil {
				a.connectErr = fmt.Errorf("record connection: panic: %v", p)
			}
		}()
		a.connectErr = a.record(ctx)
	})
}

// record writes the connection by itself.
func (a *Attempt) record(ctx context.Context) error {
	if a.state.Session.OnFile != "" {
		return nil // the audit event of the attempt says who came; nobody lists connections to a key on file
	}
	ctx, cancel := context.WithTimeout(ctx, a.service.CommitWait)
	defer cancel()
	f := firing{session: a.state.Session, to: a.state.Webhooks}
	f.connected(a.connection)
	deliveries, err := f.deliveries(a.service.Webhooks)
	if err != nil {
		return err
	}
	err = a.service.Store.Connect(ctx, a.connection, deliveries)
	if fault.Is(err, fault.NotFound) { // deleted after Begin had read it: Gone may have missed that
		a.service.Gone(a.state.Session.ID)
	}
	if err == nil && len(deliveries) > 0 {
		a.service.Webhooks.Wake()
	}
	return err
}

// recorded waits until the connection is on record, or takes it over to be recorded by Commit.
func (a *Attempt) recorded(ctx context.Context) error {
	if a.fresh = a.fresh || a.timer.Stop(); a.fresh {
		return nil
	}
	select {
	case <-a.connected:
		return a.connectErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wants reports whether the client should sign with an offered key. For a collect session, which
// never wants a signature, it notes the offer.
func (a *Attempt) Wants(offered sshkey.OfferedKey) bool {
	a.brought.offers++
	key, session := offered.Key(), a.state.Session
	if session.Kind == Collect {
		a.note(key)
		return false
	}
	return session.keyIndex(key) >= 0 && !a.has(key)
}

// Saw counts an offer of a key that no rule admits, so that "no key" is not told to somebody who has keys.
func (a *Attempt) Saw() { a.brought.offers++ }

func (a *Attempt) note(key sshkey.Key) {
	for _, known := range a.brought.offered {
		if known.Equal(key) {
			return
		}
	}
	if len(a.brought.offered) < a.state.Session.recordable() {
		a.brought.offered = append(a.brought.offered, key)
	}
}

func (a *Attempt) has(key sshkey.Key) bool {
	for _, p := range a.brought.proofs {
		if p.key.Equal(key) {
			return true
		}
	}
	return false
}

// Prove notes a verified signature and reports whether more keys are wanted on this connection.
func (a *Attempt) Prove(proven sshkey.ProvenKey) (more bool) {
	key, session := proven.Key(), a.state.Session
	if session.keyIndex(key) >= 0 && !a.has(key) {
		a.brought.proofs = append(a.brought.proofs, proof{key: key, at: a.service.Now()})
		a.service.observe(Event{Kind: session.Kind, What: "proof"})
	}
	if !session.several() {
		return len(a.brought.proofs) == 0
	}
	return len(a.brought.proofs) < len(session.Keys)
}

// Brought lists the keys that wait for confirmation: proven ones, or offered ones of a collect session.
func (a *Attempt) Brought() []BroughtKey {
	var out []BroughtKey
	for _, p := range a.brought.proofs {
		name := ""
		if i := a.state.Session.keyIndex(p.key); i >= 0 && a.state.Session.Keys[i].Name != nil {
			name = *a.state.Session.Keys[i].Name
		}
		out = append(out, BroughtKey{Name: name, Key: p.key})
	}
	for _, k := range a.brought.offered {
		out = append(out, BroughtKey{Key: k})
	}
	return out
}

// BroughtKey is a key that a connection brought, with the name that the caller gave it.
type BroughtKey struct {
	Name string
	Key  sshkey.Key
}

// Result is what a connection came to, for the person at its other end.
type Result struct {
	Verdict Verdict
	Keys    []BroughtKey // what the connection's record shows: proven keys that are listed, or recorded ones
	Have    int          // how many listed keys are proven now, by this connection or one before
	Of      int          // how many keys the session lists
	Last    bool         // the session can be used no more because of this attempt
	Open    bool         // the session stays open for further connections
}

// Commit ends the attempt: it applies the rules and writes proofs, counts, status, audit event and
// deliveries in one transaction. An error means that nothing was written and nothing was counted. What
// was written once is not written again: a second call answers as the first did.
func (a *Attempt) Commit(ctx context.Context, end End) (Result, error) {
	if a.timer == nil { // a connection that asked for nothing is no attempt
		return Result{Verdict: NoKey}, nil
	}
	if a.committed != nil {
		return *a.committed, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.service.CommitWait)
	defer cancel()
	j, err := a.commit(ctx, end)
	if fault.Is(err, fault.NotFound) { // the session was deleted
		return Result{Verdict: LostRace}, nil
	}
	if err != nil {
		return Result{}, err
	}
	if j.finished {
		a.service.ended(j.session)
	}
	a.service.observe(Event{Kind: a.state.Session.Kind, What: "attempt", Verdict: j.verdict})
	a.committed = new(a.result(j))
	return *a.committed, nil
}

func (a *Attempt) commit(ctx context.Context, end End) (judgement, error) {
	if err := a.recorded(ctx); err != nil {
		return judgement{}, err
	}
	a.brought.end, a.brought.confirm = end, a.state.Session.MustConfirm
	var j judgement
	_, err := a.service.write(ctx, a.state.Session, func(now State) (Change, error) {
		at := a.service.Now()
		j = judge(now.Session, a.brought, at, a.service.NewID)
		return a.change(now, j, at)
	})
	return j, err
}

func (a *Attempt) result(j judgement) Result {
	r := Result{
		Verdict: j.verdict, Have: max(len(j.keys), j.session.proven()), Of: len(j.session.Keys),
		Last: j.counted && j.finished, Open: j.session.MultiConnection && !j.session.Final(),
	}
	for _, k := range j.keys {
		brought := BroughtKey{Key: k.Public}
		if k.Name != nil {
			brought.Name = *k.Name
		}
		r.Keys = append(r.Keys, brought)
	}
	return r
}

// change turns a judgement into what is written.
func (a *Attempt) change(was State, j judgement, at time.Time) (Change, error) {
	c := Change{Events: []audit.Event{a.event(j, at)}}
	f := firing{session: j.session, to: was.Webhooks}
	if a.fresh {
		f.connected(a.connection)
	}
	if a.fresh || len(j.keys) > 0 {
		connection := a.connection
		connection.Keys = j.keys
		c.Connection, c.NewConnection = &connection, a.fresh
	}
	switch {
	case j.verdict == TooLate && j.finished: // this connection is the first to see that the time is up
		c.Session = &j.session
		c.Events = append(c.Events, expired(j.session, at))
		f.statusChanged(j.session.Expires)
	case j.verdict == LostRace || j.verdict == TooLate:
	default:
		c.Session = &j.session
		a.fire(&f, j, at)
		a.provesOnFile(&c, j, at)
	}
	var err error
	c.Deliveries, err = f.deliveries(a.service.Webhooks)
	return c, err
}

// fire adds what happened to the session, in the order in which webhooks are told.
func (a *Attempt) fire(f *firing, j judgement, at time.Time) {
	for _, k := range j.keys {
		if j.verdict == Recorded {
			f.collected(a.connection, k, at)
		} else if j.keeps(k) {
			f.verified(a.connection, k, at)
		}
	}
	if j.counted {
		f.failedAttempt(a.connection, j.reason(), at)
	}
	if j.finished {
		f.statusChanged(at)
	}
}

// keeps reports whether this connection's proof of k is the first that the session keeps.
func (j judgement) keeps(k ConnectionKey) bool {
	for _, i := range j.kept {
		if j.session.Keys[i].ID == k.Key {
			return true
		}
	}
	return false
}

// reason is the verdict in the words of the failed_attempt event: a client without keys matched nothing.
func (j judgement) reason() string {
	if j.verdict == NoKey {
		return string(NoMatch)
	}
	return string(j.verdict)
}

// event is the audit record of the attempt, with the fingerprints that were proven or recorded.
func (a *Attempt) event(j judgement, at time.Time) audit.Event {
	outcome, reason := audit.Done, ""
	if j.verdict != Proven && j.verdict != Recorded {
		outcome, reason = audit.Refused, string(j.verdict)
	}
	session := a.state.Session
	e := a.peer.Caller.Event(at, access.KeyproofAttempt, session.resource(), outcome)
	e.Reason = reason
	var prints []string
	for _, k := range a.Brought() {
		prints = append(prints, k.Key.SHA256())
	}
	e.Detail = map[string]string{"connection": a.connection.ID, "offers": strconv.Itoa(a.brought.offers)}
	if len(prints) > 0 {
		e.Detail["fingerprints"] = strings.Join(prints, " ")
	}
	if j.finished {
		e.Detail["status"] = string(j.session.Status)
	}
	return e
}

// live knows which sessions have connections on this node, so that deleting one ends them.
type live struct {
	mu       sync.Mutex
	sessions map[string]map[chan struct{}]struct{}
}

func (l *live) join(session string) (chan struct{}, func()) {
	gone := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions == nil {
		l.sessions = make(map[string]map[chan struct{}]struct{})
	}
	if l.sessions[session] == nil {
		l.sessions[session] = make(map[chan struct{}]struct{})
	}
	l.sessions[session][gone] = struct{}{}
	return gone, func() { l.leave(session, gone) }
}

func (l *live) leave(session string, gone chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions[session], gone)
	if len(l.sessions[session]) == 0 {
		delete(l.sessions, session)
	}
}

// end closes the connections of a session.
func (l *live) end(session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for gone := range l.sessions[session] {
		close(gone)
	}
	delete(l.sessions, session)
}
