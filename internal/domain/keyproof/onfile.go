package keyproof

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// OnFileStore keeps the proofs of keys on file, at most one for each key, apart from the sessions of projects: who calls for a project
// neither lists nor ends one. A proof goes with its key. Their Session has OnFile and Owner, no project, and one key.
type OnFileStore interface {
	// Put makes s the proof of its key, in place of one before, whose identifier opens nothing then, and records e, both or neither. It
	// reports sshkey.ErrUnknown when the key is gone.
	Put(ctx context.Context, s Session, e audit.Event) error
	// ByIdentifier returns the proof of an identifier, or fault.NotFound.
	ByIdentifier(ctx context.Context, identifier string) (State, error)
	// Change is Store.Change. Where the change has Proven, the key on file is active and proven as of then in the same transaction, and
	// all nodes are told: a crash leaves both or neither.
	Change(ctx context.Context, id string, decide func(State) (Change, error)) (Session, error)
	// Purge removes the proofs whose time was up before that moment.
	Purge(ctx context.Context, before time.Time) error
}

// ErrProven says that a key on file needs no proof any more.
var ErrProven = fault.New(fault.Conflict, "The key is proven already")

// ErrNotOwner says that the key on file is somebody else's to prove.
var ErrNotOwner = fault.New(fault.Denied, "Only the owner of a key can prove it")

// onFileAttempts is how many connections may fail to prove a key on file.
const onFileAttempts = 10

// ProveRegistered begins the proof of a key on file and returns it with the identifier to connect to; a proof of the key that was begun
// before is void. It reports sshkey.ErrUnknown, ErrNotOwner and ErrProven.
//
// Only what is begun here proves a key on file, and only the owner begins it: of a user key the user, of an access key whoever
// administers one of its places. A session that a project made for purposes of its own shows the same signature, but the person who
// signed answered another question: "are you who logs in there", not "does this key act for that user here". Whoever runs a project
// could otherwise put a stranger's public key on file as their own and have the stranger prove it unawares. For the same reason the
// person is told what for, and asked.
func (s *Service) ProveRegistered(ctx context.Context, by access.Caller, id string) (Detail, error) {
	key, err := s.Keys.ByID(ctx, by, id)
	if err != nil {
		return Detail{}, err
	}
	if err := s.mayProve(ctx, by, key); err != nil {
		return Detail{}, err
	}
	if !key.Unproven() {
		return Detail{}, ErrProven
	}
	now := s.Now()
	session := Session{
		ID: s.NewID(), Kind: Verify, Identifier: NewIdentifier(), Status: Pending, OnFile: key.ID, Owner: key.User,
		Options: Options{MustConfirm: true, MaxAttempts: onFileAttempts, Message: new(askedOf(key))},
		Created: now, Updated: now, Expires: now.Add(s.OnFileTime),
		Keys: []Key{{ID: key.ID, Public: key.Key}},
	}
	if key.Label != "" {
		session.Keys[0].Name = &key.Label
	}
	e := by.Event(now, access.KeyproofCreate, session.resource(), audit.Done)
	e.Detail = session.describe()
	if err := s.OnFile.Put(ctx, session, e); err != nil {
		return Detail{}, err
	}
	return Detail{Session: session}, nil
}

// mayProve asks for the right by which the key could be added.
func (s *Service) mayProve(ctx context.Context, by access.Caller, key sshkey.Registered) error {
	if key.Role == sshkey.AccessKey {
		return nil // ByID shows it to none but who administers one of its places
	}
	if by.Kind != access.User || by.ID != key.User { // an administrator who adds a key for somebody does not hold it
		return ErrNotOwner
	}
	return s.Access.Require(ctx, by, access.SSHKeyAdd, access.Resource{Kind: access.UserKind, ID: key.User})
}

// askedOf is what the person at the other end reads before they say yes.
func askedOf(key sshkey.Registered) string {
	if key.Role == sshkey.AccessKey {
		return "Confirm that this key is meant to open repositories here for whoever holds it."
	}
	return "Confirm that this key is yours and that it acts for the user " + key.UserName + " here."
}

// stored changes a session where it is kept.
func (s *Service) stored(ctx context.Context, of Session, decide func(State) (Change, error)) (Session, error) {
	if of.OnFile != "" {
		return s.OnFile.Change(ctx, of.ID, decide)
	}
	return s.Store.Change(ctx, of.ID, decide)
}

// byIdentifier finds a session of a project, or the proof of a key on file.
func (s *Service) byIdentifier(ctx context.Context, identifier string) (State, error) {
	state, err := s.Store.ByIdentifier(ctx, identifier)
	if fault.Is(err, fault.NotFound) && s.OnFile != nil {
		return s.OnFile.ByIdentifier(ctx, identifier)
	}
	return state, err
}

// provesOnFile adds to a change that the key on file is proven, where this connection did that.
func (a *Attempt) provesOnFile(c *Change, j judgement, at time.Time) {
	if j.session.OnFile == "" || j.verdict != Proven {
		return
	}
	c.Proven = at
	e := a.peer.Caller.Event(at, access.SSHKeyProve, j.session.resource(), audit.Done).With("fingerprint", j.session.Keys[0].Public.SHA256())
	c.Events = append(c.Events, e)
}
