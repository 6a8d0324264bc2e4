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
)

// Creator is who made a thing.
type Creator struct {
	Kind string // user, application, local
	ID   string
}

// Group is a named set inside an account.
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
	// Delete removes the group and records e, both or neither. It reports ErrNoGroup.
	Delete(ctx context.Context, id string, e audit.Event) error
}

// Groups adds and removes groups.
type Groups struct {
	Store GroupStore
	Now   func() time.Time
	NewID func() string
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

// Delete removes a group. It reports ErrNoGroup also to who may not.
func (s *Groups) Delete(ctx context.Context, by Authority, id string) error {
	g, err := s.Store.ByID(ctx, id)
	if err != nil {
		return err
	}
	e, err := by.AuthorizeOn(ctx, actionGroupDelete, g.target())
	if err != nil {
		return hidden(err, ErrNoGroup)
	}
	e.Object.Name = g.Name
	return s.Store.Delete(ctx, id, e)
}

func (g Group) target() Target { return Target{Kind: kindGroup, ID: g.ID, Account: g.Account} }

func creator(by Authority) Creator { return Creator{Kind: by.Self().Kind, ID: by.Self().ID} }
