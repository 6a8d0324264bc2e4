package login

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Hasher checks passwords, a bounded number at a time: a *secret.Hasher.
type Hasher interface {
	Check(ctx context.Context, phc string, password secret.String) (ok, rehash bool, err error)
	CheckNobody(ctx context.Context, password secret.String) error
}

// noName stands for what was presented as a name and can be none. No user is called that.
const noName = "\x00"

// who says under what an attempt is counted. An application is counted as itself, by whatever name it was presented; what a provider signed
// about somebody whom nobody has named yet, by where it comes from alone.
func (s *Service) who(ctx context.Context, p Presented) (guard.Who, error) {
	w := guard.Who{Address: p.Address}
	if p.Kind != AppSecret {
		if p.Name != "" || p.Kind == Password || p.Kind == LDAP {
			w.Name = cmp.Or(identity.Login(p.Name), noName)
		} else { // not under one name for all, or anybody could lock all of them out
			w.Program = string(p.Kind) + "/" + strings.ToLower(p.Account)
		}
		return w, nil
	}
	a, err := s.application(ctx, p)
	switch {
	case err == nil:
		w.Program = a.ID
	case fault.Is(err, fault.NotFound):
		w.Program = p.Account + "/" + p.Name
	default:
		return w, err
	}
	return w, nil
}

type passwords struct{ *Service }

// Prove implements Method with a user's own password. It costs one hash whoever is named (rule F6).
func (s passwords) Prove(ctx context.Context, p Presented) (Proof, error) {
	u, err := s.Users.ForLogin(ctx, p.Name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Proof{}, err
	}
	return s.proveOf(ctx, p, u, err)
}

// proveOf checks the password of a user, or of nobody where there is none.
func (s *Service) proveOf(ctx context.Context, p Presented, u identity.User, none error) (Proof, error) {
	if why := noPassword(u, none); why != "" {
		if err := forgiven(s.Hasher.CheckNobody(ctx, p.Secret)); err != nil {
			return Proof{}, err
		}
		return Proof{}, wrongUser(u, why)
	}
	ok, _, err := s.Hasher.Check(ctx, u.PasswordHash, p.Secret)
	if err := forgiven(err); err != nil {
		return Proof{}, err
	}
	if !ok {
		return Proof{}, wrongUser(u, "the password is wrong")
	}
	c := s.caller(p, access.Principal{Kind: access.User, ID: u.ID, Name: u.Name})
	return Proof{Caller: c, Stamp: u.PasswordHash}, nil
}

// passwordOf proves the password of one user, by whatever name the attempt is counted.
type passwordOf struct {
	s *Service
	u identity.User
}

// Prove implements Method.
func (m passwordOf) Prove(ctx context.Context, p Presented) (Proof, error) {
	return m.s.proveOf(ctx, p, m.u, nil)
}

// noPassword returns why no password opens the user, or "" (rule F12).
func noPassword(u identity.User, err error) string {
	switch {
	case err != nil:
		return "there is no such user"
	case u.Disabled:
		return "the user is disabled"
	case u.AccountShut:
		return "the account is disabled"
	case u.PasswordHash == "":
		return "the user has no password"
	}
	return ""
}

// forgiven makes a password that is refused before it is hashed a wrong one.
func forgiven(err error) error {
	if errors.Is(err, secret.ErrPasswordEmpty) || errors.Is(err, secret.ErrPasswordLong) {
		return nil
	}
	return err
}

func wrongUser(u identity.User, why string) *Wrong {
	w := &Wrong{Reason: why}
	if u.ID != "" {
		w.Who = access.Principal{Kind: access.User, ID: u.ID, Name: u.Name}
	}
	return w
}

type appSecrets struct{ *Service }

// Prove implements Method with an application's secret, or what it has instead of one. The secret is compared in constant time, with nothing's
// where there is no such application.
func (s appSecrets) Prove(ctx context.Context, p Presented) (Proof, error) {
	a, err := s.application(ctx, p)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Proof{}, err
	}
	ok := a.HasSecret(p.Secret, s.Now())
	if err == nil && a.AuthType != identity.BySecret {
		return s.byOther(ctx, p, a)
	}
	return s.program(p, a, Proof{}, unfit(a, err, ok, "the secret is wrong", p))
}

// application finds the application that is presented, by id or by account and name.
func (s *Service) application(ctx context.Context, p Presented) (identity.Application, error) {
	if p.Account != "" {
		return s.Applications.ForLoginByName(ctx, strings.ToLower(p.Account), p.Name)
	}
	if len(p.Name) > 64 || !utf8.ValidString(p.Name) || strings.ContainsRune(p.Name, 0) {
		return identity.Application{}, identity.ErrNoApplication
	}
	return s.Applications.ForLogin(ctx, strings.ToLower(p.Name))
}

func (s *Service) caller(p Presented, who access.Principal) access.Caller {
	return access.Caller{
		Principal: who, Method: string(p.Kind), At: s.Now(), Scopes: []access.Action{"*"},
		Address: p.Address, Door: p.Door, Request: p.Request,
	}
}

// bySession takes a session in the states that the door asks for. Tokens are not counted: nobody finds 512 random bits by trying.
func (s *Service) bySession(ctx context.Context, p Presented) (access.Caller, error) {
	x, err := s.Sessions.Check(ctx, p.Secret, p.Address)
	var refused *session.Refusal
	if errors.As(err, &refused) {
		w := &Wrong{Reason: refused.Reason, Who: refused.Session.Principal}
		return access.Caller{}, errors.Join(err, s.recordWrong(ctx, p, w, guard.Standing{}))
	}
	if err != nil {
		return access.Caller{}, err
	}
	if why := bound(x, p.Certificate); why != "" {
		w := &Wrong{Reason: why, Who: x.Principal}
		return access.Caller{}, errors.Join(session.ErrInvalid, s.recordWrong(ctx, p, w, guard.Standing{}))
	}
	c := x.Caller(p.Address, p.Door, p.Request)
	c.Cookie = p.Cookie
	if x.State == session.Active && p.States == nil || slices.Contains(p.States, x.State) {
		return c, nil
	}
	why := ErrPending
	switch x.State {
	case session.EnrolOnly:
		why = ErrEnrolFirst
	case session.Active:
		why = session.ErrNotActive
	}
	return access.Caller{}, errors.Join(why, s.recordWrong(ctx, p, &Wrong{Reason: "the session is " + string(x.State), Who: x.Principal}, guard.Standing{}))
}

// bound returns why a session that is bound to a certificate does not go with this one, or "".
func bound(x session.Session, certificate []byte) string {
	if x.Certificate == nil {
		return ""
	}
	sum := sha256.Sum256(certificate)
	if len(certificate) == 0 || !secret.Equal(sum[:], x.Certificate) {
		return "the session is bound to another certificate"
	}
	return ""
}

// ChangePassword gives the user who calls another password, once the old one is proved anew: wrong ones count as
// failed sign-ins and are a *Failed. All of the user's sessions end but the one it came with.
func (s *Service) ChangePassword(ctx context.Context, by access.Caller, old, fresh secret.String) error {
	u, err := s.self(ctx, by)
	if err != nil {
		return err
	}
	if err := s.proveAgain(ctx, by, u, old); err != nil {
		return err
	}
	return s.Users.ReplacePassword(ctx, s.Access.For(by), fresh)
}

// self loads the user who calls. Programs and strangers are refused.
func (s *Service) self(ctx context.Context, by access.Caller) (identity.User, error) {
	u, err := s.Users.Self(ctx, s.Access.For(by))
	if fault.Is(err, fault.NotFound) {
		err = ErrForbidden
	}
	return u, err
}

// proveAgain checks the password of a user who is signed in, as a sign-in does, and counts under the name by which they signed in: whoever fails too
// often gets on by signing in anew. A user who has a second factor needs more than the password to have failures forgotten.
func (s *Service) proveAgain(ctx context.Context, by access.Caller, u identity.User, password secret.String) error {
	name, err := s.nameOf(ctx, by, u)
	if err != nil {
		return err
	}
	p := Presented{Kind: Password, Name: name, Secret: password, Address: by.Address, Door: by.Door, Request: by.Request}
	got, err := s.prove(ctx, p, passwordOf{s, u})
	if err != nil {
		return err
	}
	set, err := s.Second.Of(ctx, u.ID)
	if err != nil || set.Enrolled() {
		return err
	}
	return s.Lockout.Succeed(ctx, got.who, got.before)
}

// nameOf is under which name wrong proofs of somebody who is signed in count.
func (s *Service) nameOf(ctx context.Context, by access.Caller, u identity.User) (string, error) {
	if by.Session == "" {
		return identity.Login(u.Email), nil
	}
	x, err := s.Sessions.Own(ctx, by)
	return cmp.Or(x.Login, identity.Login(u.Email)), err
}
