package identity

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	actionGroupCreate = "group.create"
	actionGroupRead   = "group.read"
	actionGroupDelete = "group.delete"
	actionGroupMember = "group.member"
)

// Creator is who made a thing.
type Creator struct {
	Kind string // user, application, local, provider
	ID   string
}

// Group is a named set of users inside an account. What it holds, they hold, as long as they belong to the account.
type Group struct {
	ID      string
	Account string
	Name    string // unique in the account, compared folded
	Creator Creator
	Created time.Time
}

// The faults of groups.
var (
	ErrNoGroup    = fault.New(fault.NotFound, "group not found")
	ErrGroupTaken = fault.New(fault.Conflict, "a group of that name exists in the account")
)

// GroupStore keeps groups.
type GroupStore interface {
	// Insert adds g and e, both or neither. It reports ErrGroupTaken and ErrNoAccount.
	Insert(ctx context.Context, g Group, e audit.Event) error
	// ByID reports ErrNoGroup.
	ByID(ctx context.Context, id string) (Group, error)
	// OfAccount lists the groups of an account by folded name.
	OfAccount(ctx context.Context, account string) ([]Group, error)
	// Delete removes the group with its members and all roles that it holds, and records e, all or nothing. It reports ErrNoGroup.
	Delete(ctx context.Context, id string, e audit.Event) error

	// ByName finds a group by Fold(Name). It reports ErrNoGroup.
	ByName(ctx context.Context, account, folded string) (Group, error)
	// Members lists who is in a group, by folded name.
	Members(ctx context.Context, group string) ([]GroupMember, error)
	// AddMember puts a user into a group and records e, both or neither. Who is there already stays as they are, with no second event. It reports
	// ErrNoGroup, and ErrNoMember for who does not belong to the account of the group.
	AddMember(ctx context.Context, group, user string, now time.Time, e audit.Event) error
	// RemoveMember takes a user out of a group and records e, both or neither. It reports ErrNotInGroup.
	RemoveMember(ctx context.Context, group, user string, e audit.Event) error
	// OfUser lists the groups that a user is in, of all accounts, by folded name.
	OfUser(ctx context.Context, user string) ([]Group, error)
}

// Groups adds and removes groups, and who is in them.
type Groups struct {
	Store GroupStore
	Now   func() time.Time
	NewID func() string

	// Weigh returns why somebody may not give away all that a group holds, or nil: access.Service.Weigh. Nobody takes away what they could not give, either.
	Weigh func(ctx context.Context, by Authority, group string) error
}

// Create makes a group in an account.
func (s *Groups) Create(ctx context.Context, by Authority, account, name string) (Group, error) {
	g := Group{ID: s.NewID(), Account: account, Name: name, Creator: creator(by), Created: s.Now()}
	e, err := by.AuthorizeOn(ctx, actionGroupCreate, g.target())
	if err != nil {
		return Group{}, err
	}
	if err := CheckLabel(name); err != nil {
		return Group{}, err
	}
	e.Object.Name = name
	return g, s.Store.Insert(ctx, g, e)
}

// List returns the groups of an account.
func (s *Groups) List(ctx context.Context, by Authority, account string) ([]Group, error) {
	if _, err := by.AuthorizeOn(ctx, actionGroupRead, Target{Kind: kindAccount, ID: account}); err != nil {
		return nil, err
	}
	return s.Store.OfAccount(ctx, account)
}

// Delete removes a group, and what its members held by it. It reports ErrNoGroup also to who may not.
func (s *Groups) Delete(ctx context.Context, by Authority, id string) error {
	_, e, err := s.allowed(ctx, by, actionGroupDelete, id)
	if err != nil {
		return err
	}
	if err := s.Weigh(ctx, by, id); err != nil {
		return err
	}
	return s.Store.Delete(ctx, id, e)
}

// ByID returns a group to whoever may read those of its account. It reports ErrNoGroup to others too.
func (s *Groups) ByID(ctx context.Context, by Authority, id string) (Group, error) {
	g, _, err := s.allowed(ctx, by, actionGroupRead, id)
	return g, err
}

// ByName finds a group of an account under any spelling of its name. It reports ErrNoGroup, also to who may not read groups there.
func (s *Groups) ByName(ctx context.Context, by Authority, account, name string) (Group, error) {
	if _, err := by.AuthorizeOn(ctx, actionGroupRead, Target{Kind: kindAccount, ID: account}); err != nil {
		return Group{}, hidden(err, ErrNoGroup)
	}
	return s.Store.ByName(ctx, account, Fold(name))
}

// allowed loads a group and asks for a right. Who has none is told that there is no such group.
func (s *Groups) allowed(ctx context.Context, by Authority, action, id string) (Group, audit.Event, error) {
	g, err := s.Store.ByID(ctx, id)
	if err != nil {
		return Group{}, audit.Event{}, err
	}
	e, err := by.AuthorizeOn(ctx, action, g.target())
	if err != nil {
		return Group{}, audit.Event{}, hidden(err, ErrNoGroup)
	}
	e.Object.Name = g.Name
	return g, e, nil
}

func (g Group) target() Target { return Target{Kind: kindGroup, ID: g.ID, Account: g.Account} }

func creator(by Authority) Creator { return Creator{Kind: by.Self().Kind, ID: by.Self().ID} }
