package keyproof

import (
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// End says how a connection's dealings with a session ended.
type End string

// The ends.
const (
	Finished     End = "finished"        // nothing more was asked of the person, or they typed y
	Declined     End = "declined"        // the person did not type y
	NoAnswer     End = "confirm_timeout" // nobody typed anything in time
	Disconnected End = "disconnected"    // the connection ended before y
)

// proof is one verified signature of this connection.
type proof struct {
	key sshkey.Key
	at  time.Time
}

// brought is what one connection has to show at its end.
type brought struct {
	proofs  []proof      // verify
	offered []sshkey.Key // collect: noted, each once
	offers  int          // keys the client offered, listed or not
	end     End
	confirm bool // the person was to confirm, by the rules that the connection began with
}

// unconfirmed reports whether the person was asked and did not say yes.
func (b brought) unconfirmed() bool { return b.confirm && b.end != Finished }

// Verdict is what a connection came to.
type Verdict string

// The verdicts.
const (
	Proven     Verdict = "proven"     // its proofs count
	Recorded   Verdict = "recorded"   // collect: its keys were recorded
	Incomplete Verdict = "incomplete" // keys were proven, but not all that are needed
	NoMatch    Verdict = "no_match"   // no listed key was proven
	NoKey      Verdict = "no_key"     // the client offered nothing
	Cancelled  Verdict = "declined"
	TimedOut   Verdict = "confirm_timeout"
	Dropped    Verdict = "disconnected"
	LostRace   Verdict = "lost" // another connection or call ended the session first
	TooLate    Verdict = "expired"
)

// judgement is what a connection does to its session.
type judgement struct {
	session  Session
	verdict  Verdict
	counted  bool            // the attempt counts
	kept     []int           // indexes of keys that this connection verified first
	keys     []ConnectionKey // what the connection's record shows
	finished bool            // the session changed its status
}

// judge applies the rules of a session to what a connection brought (SSHVerify spec sections 4 and 6).
// newID makes ids of connection keys.
func judge(s Session, b brought, now time.Time, newID func() string) judgement {
	switch {
	case s.Due(now):
		s.Status, s.Updated = Expired, now
		return judgement{session: s, verdict: TooLate, finished: true}
	case s.Status == Expired:
		return judgement{session: s, verdict: TooLate}
	case s.Final():
		return judgement{session: s, verdict: LostRace}
	case s.Kind == Collect:
		return judgeCollect(s, b, now, newID)
	default:
		return judgeVerify(s, b, now, newID)
	}
}

func judgeCollect(s Session, b brought, now time.Time, newID func() string) judgement {
	if len(b.offered) == 0 {
		return judgement{session: s, verdict: nothingProven(b)}
	}
	if b.unconfirmed() {
		return judgement{session: s, verdict: Verdict(b.end)}
	}
	j := judgement{session: s, verdict: Recorded}
	for _, k := range b.offered[:min(len(b.offered), s.recordable())] {
		j.keys = append(j.keys, ConnectionKey{ID: newID(), Public: k, At: now})
	}
	j.session.Updated = now
	if !s.MultiConnection {
		j.session.Status, j.finished = Completed, true
	}
	return j
}

func judgeVerify(s Session, b brought, now time.Time, newID func() string) judgement {
	s.Keys = append([]Key(nil), s.Keys...) // the caller's stay as they were
	proofs := listed(s, b.proofs)
	if b.unconfirmed() && len(proofs) > 0 {
		return fail(s, judgement{verdict: Verdict(b.end)}, now)
	}
	j := judgement{keys: connectionKeys(s, proofs, newID)}
	if !s.MultiConnection {
		return judgeSingle(s, proofs, j, b, now)
	}
	metBefore := s.Met()
	j.kept = keep(&s, proofs)
	switch {
	case len(j.kept) > 0 || (metBefore && len(proofs) > 0):
		s.Updated = now
		j.session, j.verdict = s, Proven
		return j
	case len(proofs) > 0:
		j.verdict = Incomplete
	default:
		j.verdict = nothingProven(b)
	}
	return fail(s, j, now)
}

// judgeSingle: the rules are met in this one connection or not at all.
func judgeSingle(s Session, proofs []proof, j judgement, b brought, now time.Time) judgement {
	with := s
	with.Keys = append([]Key(nil), s.Keys...)
	kept := keep(&with, proofs)
	enough := len(proofs) > 0
	if s.MatchAllKeys {
		enough = len(proofs) == len(s.Keys)
	}
	switch {
	case enough:
		with.Status, with.Updated = Verified, now
		j.session, j.verdict, j.kept, j.finished = with, Proven, kept, true
		return j
	case len(proofs) > 0:
		j.verdict = Incomplete
	default:
		j.verdict = nothingProven(b)
	}
	return fail(s, j, now)
}

func nothingProven(b brought) Verdict {
	if b.offers == 0 {
		return NoKey
	}
	return NoMatch
}

// fail counts an attempt that added nothing, and ends the session with the last one. Where enough is
// proven already nothing is counted any more.
func fail(s Session, j judgement, now time.Time) judgement {
	j.session = s
	if s.MultiConnection && s.Met() {
		return j
	}
	j.counted = true
	j.session.Attempts++
	j.session.Updated = now
	j.session, j.finished = exhausted(j.session)
	return j
}

// exhausted ends a pending session that may be attempted no more and has not proven enough. It
// reports whether it did.
func exhausted(s Session) (Session, bool) {
	if s.Kind != Verify || s.Status != Pending || s.Attempts < s.MaxAttempts || s.Met() {
		return s, false
	}
	s.Status = Failed
	return s, true
}

// listed keeps the proofs of keys that the session lists now: an update may have removed some.
func listed(s Session, proofs []proof) []proof {
	var out []proof
	for _, p := range proofs {
		if s.keyIndex(p.key) >= 0 {
			out = append(out, p)
		}
	}
	return out
}

// keep marks keys as verified that were not, and returns their indexes.
func keep(s *Session, proofs []proof) []int {
	var kept []int
	for _, p := range proofs {
		if i := s.keyIndex(p.key); s.Keys[i].Verified.IsZero() {
			s.Keys[i].Verified = p.at
			kept = append(kept, i)
		}
	}
	return kept
}

func connectionKeys(s Session, proofs []proof, newID func() string) []ConnectionKey {
	keys := make([]ConnectionKey, 0, len(proofs))
	for _, p := range proofs {
		k := s.Keys[s.keyIndex(p.key)]
		keys = append(keys, ConnectionKey{ID: newID(), Key: k.ID, ExternalID: k.ExternalID, Name: k.Name, Public: k.Public, At: p.at})
	}
	return keys
}

// Errors of verbs on a session.
var (
	ErrNoSession = fault.New(fault.NotFound, "Session not found")
	ErrNoWebhook = fault.New(fault.NotFound, "Webhook not found")
	// ErrSingle refuses to complete a session that its connection completes.
	ErrSingle = fault.New(fault.Conflict, "The session is not a multi_connection session; it is completed by its connection")
	// ErrTwoExpiries and the next two are rules between fields: each names the field that breaks it.
	ErrTwoExpiries  = fault.New(fault.Invalid, "Cannot use both timeout and expired_at")
	ErrPastExpiry   = fault.New(fault.Invalid, "expired_at must be in the future")
	ErrDuplicateKey = fault.New(fault.Invalid, "The same public key is listed more than once")
)

// errEnded refuses a change of a session that has ended.
func errEnded(s Session, now time.Time) error {
	return fault.Newf(fault.Conflict, "The session is already %s", s.Shown(now))
}

// complete ends a session that stays open over several connections.
func complete(s Session, now time.Time) (Session, error) {
	switch {
	case !s.MultiConnection:
		return s, ErrSingle
	case s.At(now) != Pending:
		return s, errEnded(s, now)
	case s.Kind == Collect:
		s.Status = Completed
	case s.Met():
		s.Status = Verified
	default:
		s.Status = Failed
	}
	s.Updated = now
	return s, nil
}
