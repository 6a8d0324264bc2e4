package sshkey

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// Service keeps keys on file: adds and removes them, and finds the one that a client of git presents.
type Service struct {
	Store     Store
	Access    *access.Service
	Now       func() time.Time
	NewID     func() string
	CacheFor  time.Duration // how long a good key is believed without asking the store; at most 2 s
	UsedEvery time.Duration // how often a key's last use is written at most; 60 s by default
	FreshFor  time.Duration // how long ago people may have proved who they are when they add a key (rule F14); 10 minutes by default

	RequireProof  RequireProof
	AccessKeys    bool          // access keys may be added and work
	UnprovenAfter time.Duration // how long a key may go unproven before it is disabled; 0 is for ever
	SweepEvery    time.Duration // how often expired and unproven keys are looked for

	OnError func(doing string, err error) // hears of errors that no caller sees

	cache recent.Answers[Fingerprint, Registered]
	used  recent.Uses
}

// RequireProof says which new keys open nothing before their owner has proved to hold the private half.
type RequireProof string

// The choices.
const (
	ProofConsole RequireProof = "console" // those that people add where they can prove them at once
	ProofOff     RequireProof = "off"
	ProofAll     RequireProof = "all"
)

// Via says how a key came in.
type Via string

// The ways.
const (
	Console Via = "console" // the native API and what is built on it
	Wire    Via = "wire"    // a dialect whose callers know nothing of proofs
)

// state is that of a key that comes in now.
func (s *Service) state(via Via) State {
	if s.RequireProof == ProofAll || s.RequireProof == ProofConsole && via == Console {
		return Waiting
	}
	return Active
}

// New is a key that a caller wants on file.
type New struct {
	Text       string // one OpenSSH line
	Label      string // "" is the comment of the line
	ExpiryDays *int   // nil is never
	Via        Via
}

// AddUserKey puts a key on file that signs the user in for git. It takes a caller who has just proved who they are, and is not for HTTP
// tokens, which have no scope for it. Faults come in the order text, label, expiry, conflict: ErrAccessKey, ErrOnFile.
func (s *Service) AddUserKey(ctx context.Context, by access.Caller, user string, n New) (Registered, error) {
	if err := s.mayAdd(ctx, by, user); err != nil {
		return Registered{}, err
	}
	r, err := s.draft(n)
	if err != nil {
		return Registered{}, err
	}
	r.Role, r.User = UserKey, user
	return s.addUserKey(ctx, by, r, n.Via)
}

func (s *Service) mayAdd(ctx context.Context, by access.Caller, user string) error {
	if err := s.Access.Require(ctx, by, access.SSHKeyAdd, ofUser(user)); err != nil {
		return err
	}
	return access.Fresh(by, s.Now(), s.FreshFor) // rule F14
}

// tries is how often a key is judged anew when another call put it on file, or took it off, between look and write.
const tries = 4

func (s *Service) addUserKey(ctx context.Context, by access.Caller, r Registered, via Via) (Registered, error) {
	for range tries {
		other, err := s.onFile(ctx, r.Key)
		switch {
		case err == nil && other.Role == AccessKey:
			return Registered{}, ErrAccessKey
		case err == nil:
			return Registered{}, ErrOnFile
		case !errors.Is(err, ErrUnknown):
			return Registered{}, err
		}
		e := r.event(by, s.Now(), access.SSHKeyAdd, r.Resource()).With("via", string(via))
		added, err := s.Store.Insert(ctx, r, e)
		if !errors.Is(err, ErrOnFile) {
			return added, doing("insert ssh key", err)
		}
	}
	return Registered{}, ErrOnFile
}

// onFile returns the key on file with the same bytes. It reports ErrUnknown.
func (s *Service) onFile(ctx context.Context, key Key) (Registered, error) {
	r, err := s.Store.ByDigest(ctx, key.Fingerprint(), s.Now())
	if err == nil && !r.Key.Equal(key) { // rule S12: whatever the database takes for equal
		return Registered{}, fault.New(fault.Internal, "the database found another key than was asked for")
	}
	return r, err
}

// event is the audit record of something that was done with the key.
func (r Registered) event(by access.Caller, now time.Time, do access.Action, on access.Resource) audit.Event {
	e := by.Event(now, do, on, audit.Done).With("fingerprint", r.Key.SHA256()).With("role", string(r.Role))
	e.Object.Name = r.Label
	if r.Unproven() {
		e = e.With("unproven", "true")
	}
	if r.State != Active {
		e = e.With("state", string(r.State))
	}
	if !r.Expires.IsZero() {
		e = e.With("expires", r.Expires.UTC().Format(time.RFC3339))
	}
	if r.Unsafe {
		e = e.With("unsafe", "true")
	}
	return e
}

// doing adds what was being done to an error that is no answer.
func doing(what string, err error) error {
	if err == nil || fault.KindOf(err) != fault.Internal {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ListOf returns a page of a user's keys by number.
func (s *Service) ListOf(ctx context.Context, by access.Caller, user string, w page.Window) (page.Page[Registered], error) {
	if err := s.Access.Require(ctx, by, access.SSHKeyRead, ofUser(user)); err != nil {
		return page.Page[Registered]{}, err
	}
	return s.Store.OfUser(ctx, user, s.Now(), w)
}

// ByNumber returns a user's key. It reports ErrUnknown, for access keys too.
func (s *Service) ByNumber(ctx context.Context, by access.Caller, number int64) (Registered, error) {
	r, err := s.Store.ByNumber(ctx, number, s.Now())
	if err == nil && r.Role != UserKey {
		err = ErrUnknown
	}
	if err != nil {
		return Registered{}, err
	}
	return r, s.Access.Require(ctx, by, access.SSHKeyRead, r.Resource())
}

// ByID returns a key in either role. It reports ErrUnknown also to who may see neither its user's keys nor those of one of its places; of
// an access key the caller sees the places alone that they administer.
func (s *Service) ByID(ctx context.Context, by access.Caller, id string) (Registered, error) {
	r, err := s.Store.ByID(ctx, id, s.Now())
	if err != nil {
		return Registered{}, err
	}
	if r.Role == UserKey {
		d, err := s.Access.Decide(ctx, by, access.SSHKeyRead, r.Resource())
		if err == nil && !d.Allowed {
			err = ErrUnknown
		}
		return r, err
	}
	if r.Grants, err = s.administered(ctx, by, r.Grants); err == nil && len(r.Grants) == 0 {
		err = ErrUnknown
	}
	return r, err
}

// RemoveUserKey takes a user's key off file. A number that is no user key's is no error: it is off file.
func (s *Service) RemoveUserKey(ctx context.Context, by access.Caller, number int64) error {
	if err := s.Access.Require(ctx, by, access.SSHKeyRemove, ofUser(by.ID)); err != nil {
		return err // whoever may not remove keys learns nothing of what there is
	}
	r, err := s.Store.ByNumber(ctx, number, s.Now())
	if errors.Is(err, ErrUnknown) || err == nil && r.Role != UserKey {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.Access.Require(ctx, by, access.SSHKeyRemove, r.Resource()); err != nil {
		return err
	}
	err = s.Store.Remove(ctx, r.ID, r.event(by, s.Now(), access.SSHKeyRemove, r.Resource()))
	s.Forget(r.ID) // also after an error: the store may have gone away just behind the commit
	return err
}

// RemoveAllOf takes all keys of a user off file.
func (s *Service) RemoveAllOf(ctx context.Context, by access.Caller, user string) error {
	if err := s.Access.Require(ctx, by, access.SSHKeyRemove, ofUser(user)); err != nil {
		return err
	}
	err := s.Store.RemoveOfUser(ctx, user, func(r Registered) audit.Event {
		return r.event(by, s.Now(), access.SSHKeyRemove, r.Resource())
	})
	s.ForgetUser(user)
	return err
}

// Disable shuts a key out, in either role, until its owner has proved anew to hold the private half; it opens nothing at once here, and within 2 s on
// other nodes. To disable it twice is no error. It reports ErrUnknown, and takes the right for all keys.
func (s *Service) Disable(ctx context.Context, by access.Caller, id string) error {
	if err := s.Access.Require(ctx, by, access.SSHKeyDisable, access.Installation); err != nil {
		return err
	}
	r, err := s.Store.ByID(ctx, id, s.Now())
	if err != nil {
		return err
	}
	err = s.Store.Disable(ctx, r.ID, r.event(by, s.Now(), access.SSHKeyDisable, r.Resource(placesOf(r)...)))
	s.Forget(r.ID) // also after an error: the store may have gone away just behind the commit
	return doing("disable ssh key", err)
}

// Unproven returns a page, by number, of the keys that are older than that and that nobody has proved, for who may read all keys.
func (s *Service) Unproven(ctx context.Context, by access.Caller, olderThan time.Duration, w page.Window) (page.Page[Registered], error) {
	if err := s.Access.Require(ctx, by, access.SSHKeyRead, access.Installation); err != nil {
		return page.Page[Registered]{}, err
	}
	now := s.Now()
	return s.Store.Unproven(ctx, now.Add(-olderThan), now, w)
}

// numbered is the place of a key in a listing by number, for Keyed windows.
func (r Registered) numbered() string { return strconv.FormatInt(r.Number, 10) }

// Cut makes a page of a Keyed window by number from up to Limit+1 keys: for stores.
func Cut(keys []Registered, w page.Window) page.Page[Registered] {
	return page.Cut(keys, w, Registered.numbered)
}
