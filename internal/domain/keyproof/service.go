package keyproof

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/domain/webhook"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Service makes, changes and ends sessions, and takes part in the connections that prove keys.
type Service struct {
	Store    Store
	Access   *access.Service
	Projects *project.Service
	Webhooks *webhook.Service
	Keys     *sshkey.Service // keys on file
	OnFile   OnFileStore     // and their proofs
	Now      func() time.Time
	NewID    func() string

	MaxKeys    int           // keys that a verify session may list; 32 by default
	MaxHooks   int           // webhooks that a session may be created with; 10 by default
	RecordWait time.Duration // how long a connection may go unrecorded while its end is awaited; 50 ms by default
	CommitWait time.Duration // how long the end of an attempt may wait for the store
	SweepEvery time.Duration // how often overdue sessions are expired; 5 s by default
	KeepFor    time.Duration // how long ended sessions are kept; 90 days by default
	OnFileTime time.Duration // how long the proof of a key on file may take; 15 minutes by default

	Observe func(Event)                   // hears of proofs, attempts and status changes; may be nil
	OnError func(doing string, err error) // hears of errors that no caller sees

	live live
}

// Event is something that happened, for metrics.
type Event struct {
	Kind    Kind
	What    string // "proof", "attempt", "status"
	Verdict Verdict
	Status  Status
}

func (s *Service) observe(e Event) {
	if s.Observe != nil {
		s.Observe(e)
	}
}

// Draft is a session that a caller asks for. Texts and numbers were checked at the door against the
// limits of this room.
type Draft struct {
	Options
	Keys     []KeyDraft
	Timeout  time.Duration // 0 is none
	Expires  time.Time     // zero is none
	Webhooks []webhook.Webhook
}

// KeyDraft is a key that a caller lists.
type KeyDraft struct {
	Public     sshkey.Key
	Name       *string
	ExternalID *string
}

// Create makes a session in a project.
func (s *Service) Create(ctx context.Context, by access.Caller, projectID string, kind Kind, d Draft) (Detail, error) {
	if err := s.Access.Require(ctx, by, access.KeyproofCreate, access.Project(projectID)); err != nil {
		return Detail{}, err
	}
	now := s.Now()
	expires, err := expiry(d.Timeout, d.Expires, now)
	if err != nil {
		return Detail{}, err
	}
	session := Session{
		ID: s.NewID(), Project: projectID, Kind: kind, Identifier: NewIdentifier(), Status: Pending, Options: d.Options,
		Created: now, Updated: now, Expires: expires,
	}
	if session.Keys, err = s.listKeys(nil, d.Keys); err != nil {
		return Detail{}, err
	}
	if err := session.check(s.MaxKeys); err != nil {
		return Detail{}, err
	}
	hooks, err := s.newHooks(session, d.Webhooks)
	if err != nil {
		return Detail{}, err
	}
	e := by.Event(now, access.KeyproofCreate, session.resource(), audit.Done)
	e.Detail = session.describe()
	if err := s.Store.Insert(ctx, session, hooks, e); err != nil {
		return Detail{}, err
	}
	return Detail{Session: session, Connections: []Connection{}, Webhooks: hooks}, nil
}

func (s *Service) newHooks(of Session, drafts []webhook.Webhook) ([]webhook.Webhook, error) {
	if len(drafts) > s.MaxHooks {
		return nil, fault.Newf(fault.Invalid, "a session has at most %d webhooks", s.MaxHooks)
	}
	hooks := make([]webhook.Webhook, 0, len(drafts))
	for _, d := range drafts {
		w, err := s.Webhooks.New(of.ID, of.Project, d)
		if err != nil {
			return nil, err
		}
		hooks = append(hooks, w)
	}
	return hooks, nil
}

// expiry returns when a session ends by time, from at most one of the two ways to say so.
func expiry(timeout time.Duration, at, now time.Time) (time.Time, error) {
	switch {
	case timeout != 0 && !at.IsZero():
		return time.Time{}, ErrTwoExpiries.With(fault.Field{Path: "expired_at", Message: "Cannot be used with timeout", Value: at})
	case timeout != 0:
		return now.Add(timeout), nil
	case !at.IsZero() && !at.After(now):
		return time.Time{}, ErrPastExpiry.With(fault.Field{Path: "expired_at", Message: "Must be in the future", Value: at})
	default:
		return at, nil
	}
}

// listKeys turns drafts into listed keys. A key that was listed before keeps its id and its proof.
func (s *Service) listKeys(before []Key, drafts []KeyDraft) ([]Key, error) {
	was := Session{Keys: before}
	seen := map[sshkey.Fingerprint]int{}
	keys := make([]Key, 0, len(drafts))
	for i, d := range drafts {
		if first, twice := seen[d.Public.Fingerprint()]; twice {
			return nil, ErrDuplicateKey.With(fault.Field{
				Path: fmt.Sprintf("keys[%d].public_key", i), Message: fmt.Sprintf("Duplicate of body.keys[%d]", first),
			})
		}
		seen[d.Public.Fingerprint()] = i
		k := Key{Public: d.Public, Name: d.Name, ExternalID: d.ExternalID}
		if old := was.keyIndex(d.Public); old >= 0 {
			k.ID, k.Verified = before[old].ID, before[old].Verified
		} else {
			k.ID = s.NewID()
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// check holds the invariants of a session, whatever door it came through.
func (s Session) check(maxKeys int) error {
	switch {
	case s.Kind == Collect && len(s.Keys) > 0:
		return fault.New(fault.Invalid, "a collect session lists no keys")
	case s.Kind == Collect:
		return nil
	case len(s.Keys) < 1 || len(s.Keys) > maxKeys:
		return fault.Newf(fault.Invalid, "a verify session lists 1 to %d keys", maxKeys)
	case s.MaxAttempts < 1 || s.MaxAttempts > MaxAttempts:
		return fault.Newf(fault.Invalid, "max_attempts is 1 to %d", MaxAttempts)
	}
	return nil
}

func (s Session) resource() access.Resource {
	if s.OnFile != "" {
		on := access.Resource{Kind: "ssh_key", ID: s.OnFile}
		if s.Owner != "" {
			on.Parents = []access.Resource{{Kind: access.UserKind, ID: s.Owner}}
		}
		return on
	}
	return access.Within(s.Project, s.Kind.Entity(), s.ID)
}

// describe is what the audit keeps of a session: its rules and the fingerprints it lists.
func (s Session) describe() map[string]string {
	d := map[string]string{"identifier_prefix": s.Identifier[:4]}
	for name, on := range map[string]bool{
		"match_all_keys": s.MatchAllKeys, "multi_key": s.MultiKey, "multi_connection": s.MultiConnection, "must_confirm": s.MustConfirm,
	} {
		if on {
			d[name] = "true"
		}
	}
	for i, k := range s.Keys {
		d[fmt.Sprintf("key_%02d", i)] = k.Public.SHA256()
	}
	if !s.Expires.IsZero() {
		d["expires"] = s.Expires.UTC().Format(time.RFC3339)
	}
	return d
}

// Session returns all of a session. A session whose time is up is expired first, at once.
func (s *Service) Session(ctx context.Context, by access.Caller, projectID string, kind Kind, id string) (Detail, error) {
	if err := s.require(ctx, by, access.KeyproofRead, projectID, kind, id); err != nil {
		return Detail{}, err
	}
	d, err := s.Store.DetailByID(ctx, projectID, kind, id)
	if err != nil {
		return Detail{}, known(err)
	}
	if d.Due(s.Now()) {
		if d.Session, err = s.expire(ctx, d.Session); err != nil {
			return Detail{}, known(err)
		}
	}
	return d, nil
}

// require hides what lies outside the caller's reach: there is no such session.
func (s *Service) require(ctx context.Context, by access.Caller, do access.Action, projectID string, kind Kind, id string) error {
	d, err := s.Access.Decide(ctx, by, do, access.Within(projectID, kind.Entity(), id))
	if err == nil && !d.Allowed {
		return ErrNoSession
	}
	return err
}

// known gives a session that is not there the text that callers know.
func known(err error) error {
	if fault.Is(err, fault.NotFound) {
		return ErrNoSession
	}
	return err
}

// Query selects sessions of a project for a caller.
type Query struct {
	Status     Status // "" is all
	ExternalID *string
	Window     page.Window
}

// List returns a page of a project's sessions. Sessions on it whose time is up are expired.
func (s *Service) List(ctx context.Context, by access.Caller, projectID string, kind Kind, q Query) (page.Page[Session], error) {
	var none page.Page[Session]
	if err := s.Access.Require(ctx, by, access.KeyproofRead, access.Project(projectID)); err != nil {
		return none, err
	}
	statuses, err := s.statuses(ctx, projectID, kind, q.Status)
	if err != nil {
		return none, err
	}
	now := s.Now()
	p, err := s.Store.List(ctx, Filter{Project: projectID, Kind: kind, Statuses: statuses, ExternalID: q.ExternalID, Window: q.Window, Now: now})
	if err != nil {
		return none, err
	}
	for i, session := range p.Items {
		if !session.Due(now) {
			continue
		}
		if p.Items[i], err = s.expire(ctx, session); fault.Is(err, fault.NotFound) { // deleted meanwhile
			session.Status = Expired
			p.Items[i] = session
		} else if err != nil {
			return none, err
		}
	}
	return p, nil
}

// statuses returns the stored statuses that a caller's filter means. Under strict_status nobody sees
// expired verify sessions as such, so failed finds both and expired is no status.
func (s *Service) statuses(ctx context.Context, projectID string, kind Kind, want Status) ([]Status, error) {
	if want == "" {
		return nil, nil
	}
	known := []Status{Pending, Verified, Failed, Expired}
	if kind == Collect {
		known = []Status{Pending, Completed, Expired}
	}
	settings, err := s.Projects.SettingsOf(ctx, projectID)
	if err != nil {
		return nil, err
	}
	if settings.StrictStatus && kind == Verify {
		known = []Status{Pending, Verified, Failed}
		if want == Failed {
			return []Status{Failed, Expired}, nil
		}
	}
	for _, k := range known {
		if want == k {
			return []Status{want}, nil
		}
	}
	return nil, fault.Fields("validation failed", fault.Field{Path: "status", Message: "expected value to be one of " + quoted(known), Value: string(want)})
}

func quoted(all []Status) string {
	text := ""
	for i, s := range all {
		if i > 0 {
			text += ", "
		}
		text += string(s)
	}
	return `"` + text + `"`
}

// Complete ends a session that stays open over several connections.
func (s *Service) Complete(ctx context.Context, by access.Caller, projectID string, kind Kind, id string) (Detail, error) {
	return s.change(ctx, by, access.KeyproofComplete, projectID, kind, id, func(was Session, now time.Time) (Session, error) {
		return complete(was, now)
	})
}

// change loads a session for a caller, expires it if its time is up, applies edit under the store's
// lock and returns the session as it is then.
func (s *Service) change(ctx context.Context, by access.Caller, do access.Action, projectID string, kind Kind, id string, edit func(Session, time.Time) (Session, error)) (Detail, error) {
	if err := s.require(ctx, by, do, projectID, kind, id); err != nil {
		return Detail{}, err
	}
	session, err := s.Store.ByID(ctx, projectID, kind, id)
	if err != nil {
		return Detail{}, known(err)
	}
	if session.Due(s.Now()) {
		if _, err := s.expire(ctx, session); err != nil {
			return Detail{}, known(err)
		}
	}
	ended := false
	after, err := s.write(ctx, session, func(was State) (Change, error) {
		now := s.Now()
		edited, err := edit(was.Session, now)
		if err != nil {
			return Change{}, err
		}
		e := by.Event(now, do, edited.resource(), audit.Done)
		e.Detail = edited.describe()
		ended = edited.Final()
		return s.changed(was, edited, now, e)
	})
	if err != nil {
		return Detail{}, known(err)
	}
	if ended {
		s.ended(after)
	}
	d, err := s.Store.DetailByID(ctx, projectID, kind, id)
	return d, known(err)
}

// changed is the change that replaces a session by its edited self, with status_changed where it ended.
func (s *Service) changed(was State, edited Session, now time.Time, e audit.Event) (Change, error) {
	c := Change{Session: &edited, Events: []audit.Event{e}}
	if edited.Status == was.Session.Status {
		return c, nil
	}
	c.Events[0] = e.With("status", string(edited.Status))
	f := firing{session: edited, to: was.Webhooks}
	f.statusChanged(now)
	var err error
	c.Deliveries, err = f.deliveries(s.Webhooks)
	return c, err
}

// write is Change of the session's store, and wakes the deliverer when there is something to deliver.
func (s *Service) write(ctx context.Context, of Session, decide func(State) (Change, error)) (Session, error) {
	fired := false
	session, err := s.stored(ctx, of, func(was State) (Change, error) {
		c, err := decide(was)
		fired = len(c.Deliveries) > 0
		return c, err
	})
	if err == nil && fired {
		s.Webhooks.Wake()
	}
	return session, err
}

// ended tells of a session that came to its end.
func (s *Service) ended(session Session) {
	s.observe(Event{Kind: session.Kind, What: "status", Status: session.Status})
}

// Delete removes a session with all that belongs to it. Its connections end, on this node at once.
func (s *Service) Delete(ctx context.Context, by access.Caller, projectID string, kind Kind, id string) error {
	if err := s.require(ctx, by, access.KeyproofDelete, projectID, kind, id); err != nil {
		return err
	}
	on := access.Within(projectID, kind.Entity(), id)
	if err := s.Store.Delete(ctx, projectID, kind, id, by.Event(s.Now(), access.KeyproofDelete, on, audit.Done)); err != nil {
		return known(err)
	}
	s.Gone(id)
	return nil
}

// Gone ends this node's connections to a session that was deleted here or on another node.
func (s *Service) Gone(id string) { s.live.end(id) }
