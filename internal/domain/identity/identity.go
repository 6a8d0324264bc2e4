// Package identity keeps who can act: accounts, the users, groups and applications in them.
//
// Service is for users, Accounts for accounts and their members, Groups and Applications for what
// belongs to an account. Everybody has one home account, where names and e-mail addresses are unique,
// and may be a member of others. A change that shuts somebody out (a disabled user, another password,
// a new secret) ends their sessions in its own transaction.
//
// A user's name has one canonical form, Fold, under which it is found, counted and compared
// everywhere (rule F6). Verbs that act for somebody take an Authority, which package access makes
// from its Caller: identity knows who exists, access knows who may, and only the latter imports the
// former.
package identity

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// DefaultAccount is the id of the account that is there from the first start and that people belong to
// unless something says otherwise; DefaultAccountName is what it is called at first.
const (
	DefaultAccount     = "00000000-0000-7000-8000-000000000001"
	DefaultAccountName = "default"
)

// What the first administrator is called.
const (
	FirstName  = "admin"
	FirstEmail = "admin@gatehouse.local"
)

// User is a person who can sign in. Name and Email are unique in their account, compared folded.
type User struct {
	ID            string
	Account       string // the home account
	Name          string
	Email         string
	EmailVerified bool
	PasswordHash  string // empty: no password opens this user
	Disabled      bool
	Created       time.Time
	Updated       time.Time
	LastLogin     time.Time // zero is never; written by the store with each new session

	Number      int64  // for wires that know it by an integer; the store gives it, and never twice
	Names       Names  // what people are called, for people
	DisabledBy  string // the provider whose re-check disabled the user; empty where a person did
	AccountShut bool   // the home account is disabled; read with the user, never written
}

// Names are what a user is called, for other people. Nothing is decided by them; each may be empty.
type Names struct {
	Display     string
	First, Last string
	Description string
}

// Shut says that the user may not sign in, nor go on (rule F12).
func (u User) Shut() bool { return u.Disabled || u.AccountShut }

// The faults of this room.
var (
	ErrUnknown    = fault.New(fault.NotFound, "user not found")
	ErrNameTaken  = fault.New(fault.Conflict, "a user of that name exists")
	ErrEmailTaken = fault.New(fault.Conflict, "a user with that e-mail address exists")
)

// The actions of this room.
const (
	actionCreate = "user.create"
	actionRead   = "user.read"
	actionUpdate = "user.update"

	actionPassword = "user.password"
	actionRename   = "user.rename"
)

// Authority is somebody who acts, bound to what they may do.
type Authority interface {
	// Authorize returns the event that records the action on the user, or why it is not allowed.
	// The id is empty where all users are meant.
	Authorize(ctx context.Context, action, user string) (audit.Event, error)
	// AuthorizeOn is Authorize for anything that belongs to an account, and for accounts themselves.
	AuthorizeOn(ctx context.Context, action string, on Target) (audit.Event, error)
	// Event records what everybody may do: it asks nothing.
	Event(action string, on Target) audit.Event
	// Self says who acts.
	Self() Self
}

// Target is what is acted on. The zero Target is the whole installation.
type Target struct {
	Kind    string // account, user, group, application
	ID      string
	Account string // the account it belongs to; empty for an account itself
}

// Self is who acts.
type Self struct {
	Kind    string // user, application, local, ...
	ID      string
	Session string // id of the session, where there is one
	Account string // the account that was chosen, or that an application belongs to
	Lesser  bool   // it came with a credential that is good for some things only: what people may do without any right is not for it (rule W6)
}

// Ending says which sessions a change ends, together with itself.
type Ending struct {
	Sessions bool
	Except   string // id of the one session that goes on; empty is none
}

// Hasher hashes passwords, a bounded number at a time, and refuses empty and overlong ones: a
// *secret.Hasher.
type Hasher interface {
	Hash(ctx context.Context, password secret.String) (string, error)
}

// FirstRole is a role on the installation that the first administrator is given.
type FirstRole struct {
	Binding string // id of the role binding
	Role    string
}

// Store keeps users.
type Store interface {
	// Insert adds u, as an ordinary member of its account, and records e, all or nothing. It reports ErrNameTaken when the account has a
	// user of the same Fold(Name), and ErrEmailTaken for the same FoldEmail(Email).
	Insert(ctx context.Context, u User, e audit.Event) error
	// InsertFirst adds u, as administrator of its account, its roles on the installation and e, all or nothing, if there is no user at
	// all, and reports whether it did. Of many nodes that try at once exactly one does.
	InsertFirst(ctx context.Context, u User, roles []FirstRole, e audit.Event) (bool, error)
	// Any reports whether there is a user.
	Any(ctx context.Context) (bool, error)
	// Change loads the user, hands it to decide, stores what that returns together with e, ends sessions
	// as end says and tells all nodes, all or nothing. decide may run more than once. It reports ErrUnknown,
	// and ErrNameTaken and ErrEmailTaken as Insert does.
	Change(ctx context.Context, id string, decide func(User) (User, error), end Ending, e audit.Event) (User, error)
	// ByID reports ErrUnknown.
	ByID(ctx context.Context, id string) (User, error)
	// ByEmail finds a user by FoldEmail(Email). It reports ErrUnknown.
	ByEmail(ctx context.Context, account, folded string) (User, error)
	// ByName finds a user by Fold(Name). It reports ErrUnknown.
	ByName(ctx context.Context, account, folded string) (User, error)
	// List returns the users of an account in the order of their folded names.
	List(ctx context.Context, account string, w page.Window) (page.Page[User], error)
	// Beginning returns, by number, the users of an account whose folded name, display name or e-mail address begins with a text.
	Beginning(ctx context.Context, account, folded string, w page.Window) (page.Page[User], error)
	// ByIDs returns, in no order, those of the users who are there.
	ByIDs(ctx context.Context, ids []string) ([]User, error)
	// Delete removes the user with all that is theirs alone, ends their sessions, records e and tells all nodes, all or nothing: Service.Remove says what that
	// is. It reports ErrUnknown, and ErrLastSysAdmin; of two system administrators who remove one another at the same moment one stays.
	Delete(ctx context.Context, id string, at time.Time, e audit.Event) error
}

// Service adds and changes users.
type Service struct {
	Store     Store
	Hasher    Hasher
	Now       func() time.Time
	NewID     func() string
	TopRoles  []string        // what the first administrator holds on the installation
	SignUp    bool            // strangers may register themselves
	OnChanged func(id string) // where set, hears of every user whose password or status changed
}

// New is what a user is made from.
type New struct {
	Account  string // DefaultAccount when empty
	Name     string
	Email    string
	Password secret.String // may be empty: then no password opens the user

	Names      Names // may be empty
	Unverified bool  // nobody vouches for the e-mail address
}

// Add makes a user.
func (s *Service) Add(ctx context.Context, by Authority, in New) (User, error) {
	id := s.NewID()
	e, err := by.Authorize(ctx, actionCreate, id)
	if err != nil {
		return User{}, err
	}
	u, err := s.make(ctx, id, in)
	if err != nil {
		return User{}, err
	}
	e.Object.Name = u.Name
	if err := s.Store.Insert(ctx, u, e); err != nil {
		return User{}, err
	}
	return u, nil
}

// make checks the input and hashes the password.
func (s *Service) make(ctx context.Context, id string, in New) (User, error) {
	if in.Account == "" {
		in.Account = DefaultAccount
	}
	if err := CheckName(in.Name); err != nil {
		return User{}, err
	}
	if err := CheckEmail(in.Email); err != nil {
		return User{}, err
	}
	if err := CheckNames(in.Names); err != nil {
		return User{}, err
	}
	now := s.Now()
	u := User{ID: id, Account: in.Account, Name: compose(in.Name), Names: in.Names, Email: in.Email, EmailVerified: !in.Unverified, Created: now, Updated: now}
	if in.Password.Empty() {
		return u, nil
	}
	var err error
	u.PasswordHash, err = s.Hasher.Hash(ctx, in.Password)
	return u, err
}

// SetPassword gives a user another password, and ends all of the user's sessions.
func (s *Service) SetPassword(ctx context.Context, by Authority, id string, password secret.String) error {
	e, err := by.Authorize(ctx, actionUpdate, id)
	if err != nil {
		return err
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return s.change(ctx, id, e.With("changed", "password"), Ending{Sessions: true}, func(u User) User {
		u.PasswordHash = hash
		return u
	})
}

// SetDisabled shuts a user out, ending all of their sessions, or lets them in again.
func (s *Service) SetDisabled(ctx context.Context, by Authority, id string, disabled bool) error {
	e, err := by.Authorize(ctx, actionUpdate, id)
	if err != nil {
		return err
	}
	what := "enabled"
	if disabled {
		what = "disabled"
	}
	return s.change(ctx, id, e.With("changed", what), Ending{Sessions: disabled}, func(u User) User {
		u.Disabled, u.DisabledBy = disabled, ""
		return u
	})
}

const maxNames = 4096 // bytes of one of Names

// Rename changes what a user is called: one's own names, or anybody's with the right to change users. to is given the names as they are.
func (s *Service) Rename(ctx context.Context, by Authority, id string, to func(Names) Names) error {
	e, err := by.Authorize(ctx, actionRename, id)
	if err != nil {
		return hidden(err, ErrUnknown)
	}
	now := s.Now()
	_, err = s.Store.Change(ctx, id, func(u User) (User, error) {
		u.Names, u.Updated = to(u.Names), now
		return u, CheckNames(u.Names)
	}, Ending{}, e)
	return err
}

// CheckNames returns why nobody can be called that for people, or nil.
func CheckNames(n Names) error {
	for _, name := range []string{n.Display, n.First, n.Last, n.Description} {
		if len(name) > maxNames || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
			return fault.New(fault.Invalid, "a name has at most 4096 bytes of text")
		}
	}
	return nil
}

func (s *Service) change(ctx context.Context, id string, e audit.Event, end Ending, to func(User) User) error {
	now := s.Now()
	_, err := s.Store.Change(ctx, id, func(u User) (User, error) {
		u = to(u)
		u.Updated = now
		return u, nil
	}, end, e)
	if err == nil && s.OnChanged != nil {
		s.OnChanged(id)
	}
	return err
}

// ByName finds a user of the default account under any spelling of the name.
func (s *Service) ByName(ctx context.Context, by Authority, name string) (User, error) {
	if _, err := by.Authorize(ctx, actionRead, ""); err != nil {
		return User{}, err
	}
	return s.Store.ByName(ctx, DefaultAccount, Fold(name))
}

// List returns the users of the default account in the order of their names.
func (s *Service) List(ctx context.Context, by Authority, w page.Window) (page.Page[User], error) {
	if _, err := by.Authorize(ctx, actionRead, ""); err != nil {
		return page.Page[User]{}, err
	}
	return s.Store.List(ctx, DefaultAccount, w)
}

// EnsureFirst makes the first administrator when there is no user at all, and reports whether it did.
// Nodes that start at the same moment make one between them.
func (s *Service) EnsureFirst(ctx context.Context, password secret.String) (bool, error) {
	if someone, err := s.Store.Any(ctx); someone || err != nil {
		return false, err
	}
	if password.Empty() {
		return false, secret.ErrPasswordEmpty
	}
	u, err := s.make(ctx, s.NewID(), New{Name: FirstName, Email: FirstEmail, Password: password})
	if err != nil {
		return false, err
	}
	roles := make([]FirstRole, len(s.TopRoles))
	for i, role := range s.TopRoles {
		roles[i] = FirstRole{Binding: s.NewID(), Role: role}
	}
	e := audit.NewEvent(s.Now(), actionCreate, audit.Done)
	e.Actor = audit.Actor{Kind: "system", Name: "gatehouse"}
	e.Object = audit.Object{Kind: "user", ID: u.ID, Name: u.Name}
	e.Reason = "first start without users"
	return s.Store.InsertFirst(ctx, u, roles, e)
}
