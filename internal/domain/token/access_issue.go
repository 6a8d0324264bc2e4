package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Draft is what a token is made from.
type Draft struct {
	Name        string
	Permissions []Permission
	ExpiryDays  *int // nil is never
}

// AccessChange is what an update alters; nil keeps what is there.
type AccessChange struct {
	Name        *string
	Permissions []Permission // not nil: at least one
	ExpiryDays  *int         // counted from when the token was made
}

// The faults of names and expiries. Their fields name "name" and "expiry_days".
var (
	ErrNameMissing    = fault.New(fault.Invalid, "A name is required.")
	ErrNameLong       = fault.New(fault.Invalid, "The name must be at most 255 characters long.")
	ErrNameCharacters = fault.New(fault.Invalid, "The name contains characters that are not allowed.")

	ErrExpiryNotPositive = fault.New(fault.Invalid, "The days until expiry must be positive.")
	ErrExpiryRequired    = fault.New(fault.Invalid, "An expiry is required.")        // or a shorter one: Accesses.MaxDays, unless 0, is the most
	ErrExpiryLonger      = fault.New(fault.Invalid, "Expiry can only be shortened.") // of updates
)

// maxDays is what an expiry counts at most, a thousand years: what is asked for beyond that never comes either.
const maxDays = 365_000

// Issue makes a token and returns its plain text this once. Personal tokens people make for themselves alone (ErrOnlyOneself), having just proved who they are
// (access.ErrNotFresh); the others take the right token.issue on the place. No holder of a token has it (rule W6). One fault at a time is told, in the order name,
// permissions, expiry, count.
func (s *Accesses) Issue(ctx context.Context, by access.Caller, scope access.Resource, d Draft) (secret.String, Access, error) {
	if err := s.mayIssue(ctx, by, scope); err != nil {
		return secret.String{}, Access{}, err
	}
	t, err := s.draft(scope, d)
	if err != nil {
		return secret.String{}, Access{}, err
	}
	t.ID, t.Scope, t.Creator = s.NewID(), scope, by.ID
	if t.Personal() {
		t.UserName = by.Name
	}
	const tries = 4 // one in 900 thousand million is taken for each token there is
	for range tries {
		plain, parts := newAccessSecret()
		t.Handle, t.Digest = parts.Handle, parts.Digest
		if err = s.Store.Insert(ctx, t, s.MaxPerScope, t.event(by, t.Created, access.TokenIssue)); err == nil {
			return plain, t, nil
		}
		if !errors.Is(err, ErrHandleTaken) {
			break
		}
	}
	if fault.KindOf(err) == fault.Internal {
		err = fmt.Errorf("insert access token: %w", err)
	}
	return secret.String{}, Access{}, err
}

func (s *Accesses) mayIssue(ctx context.Context, by access.Caller, scope access.Resource) error {
	switch scope.Kind {
	case access.UserKind, access.ProjectKind, access.RepoKind:
	default:
		return fault.Newf(fault.Invalid, "access tokens are of users, projects and repositories, not of a %s", scope.Kind)
	}
	if err := s.Access.Require(ctx, by, access.TokenIssue, scope); err != nil {
		return err
	}
	if scope.Kind != access.UserKind {
		return nil
	}
	if by.Kind != access.User || by.ID != scope.ID {
		return ErrOnlyOneself
	}
	return access.Fresh(by, s.Now(), s.FreshFor) // rule F14
}

// draft judges what a caller wants.
func (s *Accesses) draft(scope access.Resource, d Draft) (Access, error) {
	name, err := checkAccessName(d.Name)
	if err != nil {
		return Access{}, err
	}
	permissions, err := checkPermissions(d.Permissions, scope)
	if err != nil {
		return Access{}, err
	}
	t := Access{Name: name, Permissions: permissions, Created: s.Now().UTC().Truncate(time.Microsecond)}
	switch {
	case d.ExpiryDays == nil && !s.ExpiryRequired && s.MaxDays == 0:
		return t, nil
	case d.ExpiryDays == nil, s.MaxDays > 0 && *d.ExpiryDays > s.MaxDays:
		return Access{}, at("expiry_days", ErrExpiryRequired)
	}
	t.Expires, err = t.after(*d.ExpiryDays)
	return t, err
}

// after is so many days after the token was made.
func (t Access) after(days int) (time.Time, error) {
	if days < 1 {
		return time.Time{}, at("expiry_days", ErrExpiryNotPositive)
	}
	return t.Created.UTC().AddDate(0, 0, min(days, maxDays)), nil
}

func checkAccessName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", at("name", ErrNameMissing)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", at("name", ErrNameCharacters)
	case utf8.RuneCountInString(name) > maxName:
		return "", at("name", ErrNameLong)
	}
	return name, nil
}

// Change alters a token of a scope; it holds at once here and within 2 s on other nodes. Of a person's tokens it takes who has just proved who they are. An expiry is only shortened:
// ErrExpiryLonger. It reports what Show does, and the faults of Issue in their order.
func (s *Accesses) Change(ctx context.Context, by access.Caller, scope access.Resource, handle string, c AccessChange) (Access, error) {
	t, err := s.one(ctx, by, access.TokenUpdate, scope, handle)
	if err == nil && t.Personal() {
		err = access.Fresh(by, s.Now(), s.FreshFor) // rule F14
	}
	if err != nil {
		return Access{}, err
	}
	is, err := t.changed(c)
	if err != nil {
		return Access{}, err
	}
	changed, err := s.Store.Change(ctx, t.ID, func(was Access) (Access, error) { return was.changed(c) }, is.event(by, s.Now(), access.TokenUpdate))
	s.Forget(t.ID) // also after an error: the store may have gone away just behind the commit
	return changed, err
}

// changed is the token as a change leaves it.
func (t Access) changed(c AccessChange) (Access, error) {
	var err error
	if c.Name != nil {
		if t.Name, err = checkAccessName(*c.Name); err != nil {
			return Access{}, err
		}
	}
	if c.Permissions != nil {
		if t.Permissions, err = checkPermissions(c.Permissions, t.Scope); err != nil {
			return Access{}, err
		}
	}
	if c.ExpiryDays == nil {
		return t, nil
	}
	until, err := t.after(*c.ExpiryDays)
	if err != nil {
		return Access{}, err
	}
	if !t.Expires.IsZero() && until.After(t.Expires) {
		return Access{}, at("expiry_days", ErrExpiryLonger)
	}
	t.Expires = until
	return t, nil
}
