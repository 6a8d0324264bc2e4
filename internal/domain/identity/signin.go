package identity

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// ErrNoSignUp says that strangers may not register themselves here.
var ErrNoSignUp = fault.New(fault.Denied, "registration is closed; ask an administrator")

const (
	maxLogin   = 320  // characters of a presented login name
	maxNumbers = 1000 // numbers tried behind a name that is taken
)

// Login returns the one form of a presented login name, an e-mail address or a user name, under which it
// is looked up and its failures are counted (rule F6). Something that can be neither gives "".
func Login(presented string) string {
	if !utf8.ValidString(presented) || len(presented) > 4*maxLogin || utf8.RuneCountInString(presented) > maxLogin ||
		strings.ContainsFunc(presented, unicode.IsControl) {
		return ""
	}
	return Fold(presented)
}

// ForLogin finds the user that a login name presents, by e-mail address or by name, for package login
// alone: there is nobody yet who could be asked for a right. It reports ErrUnknown.
func (s *Service) ForLogin(ctx context.Context, presented string) (User, error) {
	folded := Login(presented)
	switch {
	case folded == "":
		return User{}, ErrUnknown
	case strings.Contains(folded, "@"):
		return s.Store.ByEmail(ctx, DefaultAccount, folded)
	default:
		return s.Store.ByName(ctx, DefaultAccount, folded)
	}
}

// Self returns the user who acts.
func (s *Service) Self(ctx context.Context, by Authority) (User, error) {
	self := by.Self()
	if self.Kind != kindUser {
		return User{}, ErrUnknown
	}
	return s.ByID(ctx, by, self.ID)
}

// ByID returns a user to themselves and to whoever may read all users. It reports ErrUnknown to
// everybody else too. Members of an account are found with Accounts.Person.
func (s *Service) ByID(ctx context.Context, by Authority, id string) (User, error) {
	if _, err := by.Authorize(ctx, actionRead, id); err != nil {
		return User{}, hidden(err, ErrUnknown)
	}
	return s.Store.ByID(ctx, id)
}

// ReplacePassword gives the user who acts another password, which must keep the policy of CheckPassword, and ends
// all of the user's sessions but the one it came with. The caller has checked the old password.
func (s *Service) ReplacePassword(ctx context.Context, by Authority, password secret.String) error {
	id := by.Self().ID
	e, err := by.Authorize(ctx, actionPassword, id)
	if err != nil {
		return err
	}
	if err := CheckPassword(password); err != nil {
		return err
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return s.change(ctx, id, e, Ending{Sessions: true, Except: by.Self().Session}, func(u User) User {
		u.PasswordHash = hash
		return u
	})
}

// Register makes a user who is known by an e-mail address alone, named after its local part. Strangers may
// where SignUp is set; otherwise it needs the right to add users. The password keeps the policy of CheckPassword.
func (s *Service) Register(ctx context.Context, by Authority, email string, password secret.String) (User, error) {
	id := s.NewID()
	e, err := by.Authorize(ctx, actionCreate, id)
	stranger := err != nil
	if stranger {
		if !s.SignUp {
			return User{}, hidden(err, ErrNoSignUp)
		}
		e = by.Event(actionCreate, Target{Kind: kindUser, ID: id})
	}
	if err := CheckEmail(email); err != nil {
		return User{}, err
	}
	if err := CheckPassword(password); err != nil {
		return User{}, err
	}
	base := nameFrom(email)
	u, err := s.make(ctx, id, New{Name: base, Email: email, Password: password, Unverified: stranger})
	if err != nil {
		return User{}, err
	}
	for number := 2; ; number++ {
		e.Object.Name = u.Name
		err := s.Store.Insert(ctx, u, e)
		if !errors.Is(err, ErrNameTaken) || number > maxNumbers {
			return u, err
		}
		u.Name = base + "-" + strconv.Itoa(number)
	}
}

// nameFrom makes a user name of an e-mail address's local part: what a name cannot hold goes.
func nameFrom(email string) string {
	local, _, _ := strings.Cut(email, "@")
	kept := strings.TrimLeft(strings.Map(func(r rune) rune {
		if notInName(r) {
			return -1
		}
		return r
	}, compose(local)), "._-")
	if runes := []rune(kept); len(runes) > maxName-8 {
		kept = string(runes[:maxName-8])
	}
	if CheckName(kept) != nil {
		kept = "user-" + kept
	}
	if CheckName(kept) != nil {
		kept = "user"
	}
	return kept
}

// hidden turns a refusal into an answer that does not tell more.
func hidden(err, answer error) error {
	if fault.Is(err, fault.Denied) {
		return answer
	}
	return err
}
