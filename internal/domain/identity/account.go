package identity

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// The kinds of targets.
const (
	kindUser        = "user"
	kindAccount     = "account"
	kindGroup       = "group"
	kindApplication = "application"
)

const (
	actionAccountCreate = "account.create"
	actionAccountRead   = "account.read"
	actionAccountUpdate = "account.update"
	actionMember        = "account.member"
)

// Account holds users, groups and applications together.
type Account struct {
	ID       string
	Name     string // unique, compared folded
	Disabled bool   // nobody of it signs in
	Created  time.Time
	Updated  time.Time

	RequireFactor RequireFactor // whose password it takes only together with a second factor
}

// RequireFactor says of which members of an account a second factor is demanded.
type RequireFactor string

// The demands.
const (
	NobodyMust         RequireFactor = ""
	AdministratorsMust RequireFactor = "administrators"
	EverybodyMust      RequireFactor = "all"
)

// AccountRole is what a member may do in an account. It is a role of package access on the account.
type AccountRole string

// The roles in an account, from the least to the most.
const (
	Auditor       AccountRole = "account.auditor"
	Ordinary      AccountRole = "account.member"
	Administrator AccountRole = "account.administrator"
)

func (r AccountRole) known() bool { return r == Auditor || r == Ordinary || r == Administrator }

// Member says that a user belongs to an account.
type Member struct {
	Account string
	User    string
	Role    AccountRole // the highest, where a user has several; an administrator of the installation is Administrator
	Since   time.Time
}

// Joined is an account with what its member is there.
type Joined struct {
	Account Account
	Member  Member
}

// Person is a user as a member of an account.
type Person struct {
	User   User
	Member Member
}

// The faults of accounts.
var (
	ErrNoAccount    = fault.New(fault.NotFound, "account not found")
	ErrAccountTaken = fault.New(fault.Conflict, "an account of that name exists")
	ErrNoMember     = fault.New(fault.NotFound, "member not found")
	ErrLastAdmin    = fault.New(fault.Conflict, "an account keeps at least one administrator")
	ErrKeptEnabled  = fault.New(fault.Conflict, "the default account holds the installation's administrators; it cannot be disabled")
)

// AccountStore keeps accounts and who belongs to them.
type AccountStore interface {
	// Insert adds a, first as its member where that has a user, and e, all or nothing. It reports ErrAccountTaken.
	Insert(ctx context.Context, a Account, first Member, binding string, e audit.Event) error
	// ByID reports ErrNoAccount.
	ByID(ctx context.Context, id string) (Account, error)
	// ByName finds an account by Fold(Name). It reports ErrNoAccount.
	ByName(ctx context.Context, folded string) (Account, error)
	// Change loads the account, hands it to decide, stores what that returns together with e and tells all
	// nodes, all or nothing. An account that is disabled by it loses its sessions: those of its applications, of users whose
	// home it is, and those that chose it. It reports ErrNoAccount and ErrAccountTaken.
	Change(ctx context.Context, id string, decide func(Account) (Account, error), e audit.Event) (Account, error)
	// OfUser lists the accounts that a user is a member of, by folded name.
	OfUser(ctx context.Context, user string) ([]Joined, error)
	// Members lists the members of an account by folded user name.
	Members(ctx context.Context, account string, w page.Window) (page.Page[Person], error)
	// Member finds one member. It reports ErrNoMember.
	Member(ctx context.Context, account, user string) (Person, error)
	// SetMember gives the user that one role in the account, instead of any other, and records e, both or neither. It
	// reports ErrUnknown, ErrNoAccount, and ErrLastAdmin when it would take the last administrator's role.
	SetMember(ctx context.Context, m Member, binding string, e audit.Event) error
	// RemoveMember takes every role in the account and records e, both or neither. It reports ErrNoMember and ErrLastAdmin.
	RemoveMember(ctx context.Context, account, user string, e audit.Event) error
}

// Accounts adds and changes accounts and their members.
type Accounts struct {
	Store     AccountStore
	Now       func() time.Time
	NewID     func() string
	UsersMake bool // every user may make an account; otherwise administrators of the installation

	// Weigh returns why somebody may not take a user out of an account's groups, or nil: Groups.WeighLeaving.
	Weigh func(ctx context.Context, by Authority, account, user string) error
}

// CheckLabel returns why an account, group or application cannot be called that, or nil: 1 to 4,096 characters in one
// line, not all of them blank, none of them unseen.
func CheckLabel(name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > 4096 || !utf8.ValidString(name) || strings.TrimSpace(name) == "" || strings.ContainsAny(name, "\n\x00") || strings.ContainsFunc(name, unseen) {
		return fault.Fields("a name has 1 to 4096 characters in one line", fault.Field{Path: "name", Message: "1 to 4096 characters in one line"})
	}
	return nil
}

// Create makes an account. The user who makes it becomes its administrator.
func (s *Accounts) Create(ctx context.Context, by Authority, name string) (Account, error) {
	id, self := s.NewID(), by.Self()
	e, err := by.AuthorizeOn(ctx, actionAccountCreate, Target{Kind: kindAccount, ID: id})
	if err != nil {
		if !s.UsersMake || self.Kind != kindUser || self.Lesser || !fault.Is(err, fault.Denied) {
			return Account{}, err
		}
		e = by.Event(actionAccountCreate, Target{Kind: kindAccount, ID: id})
	}
	if err := CheckLabel(name); err != nil {
		return Account{}, err
	}
	now := s.Now()
	a := Account{ID: id, Name: name, Created: now, Updated: now}
	first := Member{Account: id, Role: Administrator, Since: now}
	if self.Kind == kindUser {
		first.User = self.ID
	}
	e.Object.Name = name
	return a, s.Store.Insert(ctx, a, first, s.NewID(), e)
}

// ByID returns an account to its members, its own applications and administrators. It reports ErrNoAccount to others too.
func (s *Accounts) ByID(ctx context.Context, by Authority, id string) (Account, error) {
	if _, err := by.AuthorizeOn(ctx, actionAccountRead, Target{Kind: kindAccount, ID: id}); err != nil {
		return Account{}, hidden(err, ErrNoAccount)
	}
	return s.Store.ByID(ctx, id)
}

// ByName returns an account by its name, as ByID does.
func (s *Accounts) ByName(ctx context.Context, by Authority, name string) (Account, error) {
	a, err := s.Store.ByName(ctx, Fold(name))
	if err != nil {
		return Account{}, err
	}
	return s.ByID(ctx, by, a.ID)
}

// Mine lists the accounts that the caller belongs to: a user's memberships, an application's own account.
func (s *Accounts) Mine(ctx context.Context, by Authority) ([]Joined, error) {
	self := by.Self()
	switch self.Kind {
	case kindUser:
		return s.Store.OfUser(ctx, self.ID)
	case kindApplication:
		a, err := s.ByID(ctx, by, self.Account)
		if err != nil {
			return nil, err
		}
		return []Joined{{Account: a}}, nil
	default:
		return nil, nil
	}
}

// SetDisabled shuts an account and everybody in it out, ending their sessions, or lets them in again. It reports ErrNoAccount, and ErrKeptEnabled for
// the default account: nobody would be left to enable it.
func (s *Accounts) SetDisabled(ctx context.Context, by Authority, id string, disabled bool) error {
	e, err := by.AuthorizeOn(ctx, actionAccountUpdate, Target{Kind: kindAccount, ID: id})
	if err != nil {
		return err
	}
	if disabled && id == DefaultAccount {
		return ErrKeptEnabled
	}
	what := "enabled"
	if disabled {
		what = "disabled"
	}
	now := s.Now()
	_, err = s.Store.Change(ctx, id, func(a Account) (Account, error) {
		a.Disabled, a.Updated = disabled, now
		return a, nil
	}, e.With("changed", what))
	return err
}

// SetRequireFactor says of which members a second factor is demanded, from their next sign-in on.
func (s *Accounts) SetRequireFactor(ctx context.Context, by Authority, id string, of RequireFactor) error {
	if of != NobodyMust && of != AdministratorsMust && of != EverybodyMust {
		return fault.Newf(fault.Invalid, "a second factor is demanded of nobody, of administrators or of all, not of %q", string(of))
	}
	e, err := by.AuthorizeOn(ctx, actionAccountUpdate, Target{Kind: kindAccount, ID: id})
	if err != nil {
		return err
	}
	now := s.Now()
	_, err = s.Store.Change(ctx, id, func(a Account) (Account, error) {
		a.RequireFactor, a.Updated = of, now
		return a, nil
	}, e.With("require_factor", string(of)))
	return err
}

// Demands says that an account to which the user belongs demands a second factor of them, for package login alone.
func (s *Accounts) Demands(ctx context.Context, user string) (bool, error) {
	all, err := s.Store.OfUser(ctx, user)
	return slices.ContainsFunc(all, func(j Joined) bool {
		switch j.Account.RequireFactor {
		case NobodyMust:
			return false
		case AdministratorsMust:
			return j.Member.Role == Administrator
		default:
			return true
		}
	}), err
}

// Members lists the members of an account to whoever may read its users.
func (s *Accounts) Members(ctx context.Context, by Authority, account string, w page.Window) (page.Page[Person], error) {
	if _, err := by.AuthorizeOn(ctx, actionRead, Target{Kind: kindAccount, ID: account}); err != nil {
		return page.Page[Person]{}, err
	}
	return s.Store.Members(ctx, account, w)
}

// Person returns one member of an account to whoever may read its users. It reports ErrNoMember to others too.
func (s *Accounts) Person(ctx context.Context, by Authority, account, user string) (Person, error) {
	if _, err := by.AuthorizeOn(ctx, actionRead, Target{Kind: kindAccount, ID: account}); err != nil {
		return Person{}, hidden(err, ErrNoMember)
	}
	return s.Store.Member(ctx, account, user)
}

// SetMember makes a user a member of an account, or gives a member another role.
func (s *Accounts) SetMember(ctx context.Context, by Authority, account, user string, role AccountRole) error {
	if !role.known() {
		return fault.Newf(fault.Invalid, "there is no role %q in an account", role)
	}
	e, err := by.AuthorizeOn(ctx, actionMember, Target{Kind: kindAccount, ID: account})
	if err != nil {
		return err
	}
	return s.Store.SetMember(ctx, Member{Account: account, User: user, Role: role, Since: s.Now()}, s.NewID(), e.With("user", user).With("role", string(role)))
}

// RemoveMember takes a user out of an account and of its groups. Nobody takes what they could not give: whoever manages members, and lacks what
// one of those groups holds, is refused. It reports ErrNoMember and ErrLastAdmin.
func (s *Accounts) RemoveMember(ctx context.Context, by Authority, account, user string) error {
	e, err := by.AuthorizeOn(ctx, actionMember, Target{Kind: kindAccount, ID: account})
	if err != nil {
		return err
	}
	if err := s.Weigh(ctx, by, account, user); err != nil {
		return err
	}
	return s.Store.RemoveMember(ctx, account, user, e.With("removed", user))
}

// Membership says what a user is in an account, for package session alone. It reports ErrNoMember, also for
// an account that is disabled.
func (s *Accounts) Membership(ctx context.Context, account, user string) (Member, error) {
	a, err := s.Store.ByID(ctx, account)
	if err != nil || a.Disabled {
		if err == nil || fault.Is(err, fault.NotFound) {
			err = ErrNoMember
		}
		return Member{}, err
	}
	p, err := s.Store.Member(ctx, account, user)
	return p.Member, err
}
