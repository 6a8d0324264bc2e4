package keyproof_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-project/gatehouse/internal/domain/keyproof"
)

// model is what a session must be, worked out apart from the code under test: sets of letters for keys.
type model struct {
	kind                        keyproof.Kind
	all, several, over, confirm bool
	max, attempts               int
	status                      keyproof.Status
	expires                     time.Time
	listed, verified            string // letters
	recorded                    int    // keys in a collect session's connections
	gone                        bool
	changes                     int // of the status
	events                      int // audit events that must be there
	deliveries                  map[string]int
}

// line is one open connection as the model sees it.
type line struct {
	*connection
	listed, proven, offered string
	confirm, several        bool
}

func (m *model) due(now time.Time) bool {
	return m.status == keyproof.Pending && !m.expires.IsZero() && !m.expires.After(now)
}

// touch expires what is due, as whatever meets it does.
func (m *model) touch(now time.Time) {
	if m.due(now) {
		m.end(keyproof.Expired)
		m.events++
	}
}

func (m *model) end(status keyproof.Status) {
	m.status = status
	m.changes++
	m.deliveries["status_changed"]++
}

func (m *model) met() bool {
	if m.all {
		return len(m.verified) == len(m.listed)
	}
	return m.verified != ""
}

// both returns the letters of a that are in b.
func both(a, b string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(b, r) {
			return r
		}
		return -1
	}, a)
}

func without(a, b string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(b, r) {
			return -1
		}
		return r
	}, a)
}

func (m *model) commit(l *line, end keyproof.End, now time.Time) {
	if m.gone {
		return
	}
	m.events++ // every attempt is recorded
	m.touch(now)
	if m.status != keyproof.Pending {
		return
	}
	if m.kind == keyproof.Collect {
		m.commitOffers(l, end)
		return
	}
	proven := both(l.proven, m.listed)
	fresh := without(proven, m.verified)
	refused := l.confirm && end != keyproof.Finished && proven != ""
	switch {
	case m.over && m.met() && (refused || fresh == ""): // nothing is counted any more
	case m.over && !refused && fresh != "":
		m.verified += fresh
		m.deliveries["verified"] += len(fresh)
	case !m.over && !refused && proven != "" && (!m.all || len(proven) == len(m.listed)):
		m.verified += fresh
		m.deliveries["verified"] += len(fresh)
		m.end(keyproof.Verified)
	default:
		m.attempts++
		m.deliveries["failed_attempt"]++
		if m.attempts == m.max {
			m.end(keyproof.Failed)
		}
	}
}

func (m *model) commitOffers(l *line, end keyproof.End) {
	if l.offered == "" || (l.confirm && end != keyproof.Finished) {
		return
	}
	n := len(l.offered)
	if !l.several || !m.several {
		n = 1
	}
	m.recorded += n
	m.deliveries["key_collected"] += n
	if !m.over {
		m.end(keyproof.Completed)
	}
}

func (m *model) complete(now time.Time) (ok bool) {
	if m.gone {
		return false
	}
	m.touch(now)
	if !m.over || m.status != keyproof.Pending {
		return false
	}
	m.events++
	switch {
	case m.kind == keyproof.Collect:
		m.end(keyproof.Completed)
	case m.met():
		m.end(keyproof.Verified)
	default:
		m.end(keyproof.Failed)
	}
	return true
}

// ruled applies what follows from new rules.
func (m *model) ruled() {
	switch {
	case m.kind == keyproof.Collect:
	case !m.over && m.met():
		m.end(keyproof.Verified)
	case m.attempts >= m.max && !m.met():
		m.end(keyproof.Failed)
	}
}

// run is one session of the service beside its model.
type run struct {
	*rapid.T
	w     *world
	m     *model
	d     keyproof.Detail
	lines []*line
	last  keyproof.Status
}

const letters = "ABCDE"

func of(letters string) []person {
	var out []person
	for _, r := range letters {
		out = append(out, everybody()[r-'A'])
	}
	return out
}

// someKeys draws up to n different keys in any order.
func someKeys(t *rapid.T, atLeast int) string {
	order := rapid.Permutation([]rune(letters)).Draw(t, "order")
	return string(order[:rapid.IntRange(atLeast, len(order)).Draw(t, "keys")])
}

// A session never says more than the signatures on its connections prove (rule S1), whatever comes in
// whatever order; and it does what the model does.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := begin(t)
		t.Repeat(map[string]func(*rapid.T){
			"dial": r.dial, "offer": r.offer, "sign": r.sign, "commit": r.commit, "update": r.update, "complete": r.complete,
			"read": r.read, "delete": r.remove, "wait": r.wait, "": r.check,
		})
	})
}

func begin(t *rapid.T) *run {
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	o := keyproof.Options{MatchAllKeys: flag("all"), MultiKey: flag("several"), MultiConnection: flag("over"), MustConfirm: flag("confirm"), MaxAttempts: rapid.IntRange(1, 4).Draw(t, "max")}
	r := &run{T: t, w: newWorld(t), last: keyproof.Pending}
	r.m = &model{
		kind: keyproof.Verify, all: o.MatchAllKeys, several: o.MultiKey, over: o.MultiConnection, confirm: o.MustConfirm,
		max: o.MaxAttempts, status: keyproof.Pending, events: 1, deliveries: map[string]int{},
	}
	draft := keyproof.Draft{Options: o}
	if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		r.m.kind = keyproof.Collect
	} else {
		r.m.listed = someKeys(t, 1)
		draft.Keys = drafts(of(r.m.listed)...)
	}
	if flag("expires") {
		draft.Timeout = time.Duration(rapid.IntRange(1, 20).Draw(t, "timeout")) * time.Second
		r.m.expires = start.Add(draft.Timeout)
	}
	r.d = r.w.create(r.m.kind, draft)
	return r
}

func (r *run) now() time.Time { return r.w.clock.Now() }

func (r *run) dial(t *rapid.T) {
	if len(r.lines) == 3 {
		t.Skip("enough")
	}
	a, err := r.w.service.Begin(context.Background(), r.d.Identifier, peer())
	if !r.m.gone {
		r.m.touch(r.now())
	}
	open := !r.m.gone && r.m.status == keyproof.Pending
	if (err == nil) != open {
		t.Fatalf("begin: %v, open %v", err, open)
	}
	if !open {
		return
	}
	a.Connected(context.Background())
	r.m.deliveries["new_connection"]++
	r.lines = append(r.lines, &line{connection: &connection{a, t}, listed: r.m.listed, confirm: r.m.confirm, several: r.m.several || (r.m.kind == keyproof.Verify && r.m.all)})
}

func (r *run) pick(t *rapid.T) *line {
	if len(r.lines) == 0 {
		t.Skip("no connection")
	}
	return r.lines[rapid.IntRange(0, len(r.lines)-1).Draw(t, "connection")]
}

func (r *run) offer(t *rapid.T) {
	l, key := r.pick(t), someKeys(t, 1)[:1]
	wanted := l.offers(of(key)[0])
	if r.m.kind == keyproof.Collect {
		if !strings.Contains(l.offered, key) && (l.several || l.offered == "") {
			l.offered += key
		}
		want(t, "wanted", wanted, false)
		return
	}
	want(t, "wanted", wanted, strings.Contains(l.listed, key) && !strings.Contains(l.proven, key))
}

func (r *run) sign(t *rapid.T) {
	l, key := r.pick(t), someKeys(t, 1)[:1]
	more := l.signs(of(key)[0])
	if strings.Contains(l.listed, key) && !strings.Contains(l.proven, key) {
		l.proven += key
	}
	if r.m.kind == keyproof.Verify {
		want(t, "more", more, (l.several && len(l.proven) < len(l.listed)) || l.proven == "")
	}
}

func (r *run) commit(t *rapid.T) {
	l := r.pick(t)
	end := rapid.SampledFrom([]keyproof.End{keyproof.Finished, keyproof.Finished, keyproof.Declined, keyproof.NoAnswer, keyproof.Disconnected}).Draw(t, "end")
	was := r.m.status
	r.m.commit(l, end, r.now())
	result := l.ends(end)
	if result.Verdict == keyproof.Proven && (was != keyproof.Pending || r.m.gone || both(l.proven, r.m.listed) == "") {
		t.Fatalf("proven, with %q of %q", l.proven, r.m.listed)
	}
	r.lines = slices.DeleteFunc(r.lines, func(other *line) bool { return other == l })
}

func (r *run) update(t *rapid.T) {
	next, e := *r.m, keyproof.Edit{}
	set := func(name string, to *keyproof.To[bool], field *bool) {
		if rapid.IntRange(0, 2).Draw(t, name) == 0 {
			*field = rapid.Bool().Draw(t, "value")
			*to = keyproof.SetTo(*field)
		}
	}
	set("all", &e.MatchAllKeys, &next.all)
	set("several", &e.MultiKey, &next.several)
	set("over", &e.MultiConnection, &next.over)
	set("confirm", &e.MustConfirm, &next.confirm)
	if rapid.Bool().Draw(t, "set max") {
		next.max = rapid.IntRange(1, 4).Draw(t, "max")
		e.MaxAttempts = keyproof.SetTo(next.max)
	}
	if next.kind == keyproof.Verify && rapid.Bool().Draw(t, "set keys") {
		next.listed = someKeys(t, 1)
		next.verified = both(next.verified, next.listed)
		e.Keys = keyproof.SetTo(drafts(of(next.listed)...))
	}
	switch rapid.IntRange(0, 3).Draw(t, "expiry") {
	case 0:
		next.expires = time.Time{}
		e.Expires = keyproof.SetTo(next.expires)
	case 1:
		next.expires = r.now().Add(5 * time.Second)
		e.Timeout = keyproof.SetTo(5 * time.Second)
	}
	if !r.m.gone {
		r.m.touch(r.now())
	}
	_, err := r.w.update(r.d, e)
	allowed := !r.m.gone && r.m.status == keyproof.Pending
	if (err == nil) != allowed {
		t.Fatalf("update: %v, allowed %v", err, allowed)
	}
	if allowed {
		*r.m = next
		r.m.events++
		r.m.ruled()
	}
}

func (r *run) complete(t *rapid.T) {
	if rapid.IntRange(0, 2).Draw(t, "really") != 0 {
		t.Skip("too often would end every session")
	}
	allowed := r.m.complete(r.now())
	if _, err := r.w.complete(r.d); (err == nil) != allowed {
		t.Fatalf("complete: %v, allowed %v", err, allowed)
	}
}

func (r *run) read(t *rapid.T) {
	if !r.m.gone {
		r.m.touch(r.now())
	}
	if _, err := r.w.get(r.d); (err == nil) != !r.m.gone {
		t.Fatalf("read: %v", err)
	}
}

func (r *run) remove(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "really") != 0 {
		t.Skip("too often would end every session")
	}
	if err := r.w.remove(r.d); (err == nil) != !r.m.gone {
		t.Fatalf("delete: %v", err)
	}
	if !r.m.gone {
		r.m.events++
	}
	r.m.gone = true
	for _, l := range r.lines {
		<-l.Gone()
	}
}

func (r *run) wait(t *rapid.T) {
	r.w.clock.pass(time.Duration(rapid.IntRange(1, 5).Draw(t, "seconds")) * time.Second)
}

// check compares what is stored with the model, and holds what must be true whatever the model says.
func (r *run) check(t *rapid.T) {
	want(t, "audit events", r.w.eventCount(), r.m.events)
	if r.m.gone {
		return
	}
	s := r.w.read(r.d)
	want(t, "status", s.Status, r.m.status)
	want(t, "attempts", s.Attempts, r.m.attempts)
	want(t, "verified keys", inOrder(kept(s.Session)), inOrder(r.m.verified))
	if r.last != keyproof.Pending && s.Status != r.last {
		t.Fatalf("the final status %s became %s", r.last, s.Status)
	}
	r.last = s.Status
	if s.Kind == keyproof.Verify && s.Status == keyproof.Pending && s.Attempts >= s.MaxAttempts && !s.Met() {
		t.Fatalf("pending after %d attempts of %d", s.Attempts, s.MaxAttempts)
	}
	if s.Status == keyproof.Verified && !s.Met() {
		t.Fatal("verified without the proofs that its rules ask for")
	}
	fired := strings.Fields(r.w.fired(r.d))
	for _, event := range append(keyproof.Events(s.Kind), "status_changed") {
		if event != "new_connection" { // written beside the connection
			want(t, event, count(strings.Join(fired, " "), event), r.m.deliveries[event])
		}
	}
	recorded := 0
	for _, c := range s.Connections {
		recorded += len(c.Keys)
	}
	if s.Kind == keyproof.Collect {
		want(t, "recorded keys", recorded, r.m.recorded)
	}
}

func inOrder(letters string) string {
	out := []rune(letters)
	slices.Sort(out)
	return fmt.Sprint(string(out))
}
