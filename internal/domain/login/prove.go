package login

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
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

// who says under what an attempt is counted. An application is counted as itself, by whatever name it was presented.
func (s *Service) who(ctx context.Context, p Presented) (guard.Who, error) {
	w := guard.Who{Address: p.Address, Solved: p.Solved}
	if p.Kind != AppSecret {
		w.Name = identity.Login(p.Name)
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
	if why := noPassword(u, err); why != "" {
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

// Prove implements Method with an application's secret. The secret is compared in constant time, with nothing's
// where there is no such application.
func (s appSecrets) Prove(ctx context.Context, p Presented) (Proof, error) {
	a, err := s.application(ctx, p)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Proof{}, err
	}
	ok := a.HasSecret(p.Secret, s.Now())
	if why := noSecret(a, err, ok, p); why != "" {
		w := &Wrong{Reason: why}
		if a.ID != "" {
			w.Who = access.Principal{Kind: access.Application, ID: a.ID, Name: a.Name}
		}
		return Proof{}, w
	}
	c := s.caller(p, access.Principal{Kind: access.Application, ID: a.ID, Name: a.Name})
	c.Account = a.Account
	return Proof{Caller: c, Stamp: hex.EncodeToString(a.Digest[:])}, nil
}

func noSecret(a identity.Application, err error, ok bool, p Presented) string {
	switch {
	case err != nil:
		return "there is no such application"
	case a.Disabled:
		return "the application is disabled"
	case a.AccountShut:
		return "the account is disabled"
	case !ok:
		return "the secret is wrong"
	case !a.From(p.Address): // rule W7
		return "the application may not come from that address"
	}
	return ""
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

// ChangePassword gives the user who calls another password, once the old one is proved anew: wrong ones count as
// failed sign-ins and are a *Failed. All of the user's sessions end but the one it came with.
func (s *Service) ChangePassword(ctx context.Context, by access.Caller, old, fresh secret.String) error {
	if err := s.proveAgain(ctx, by, old); err != nil {
		return err
	}
	return s.Users.ReplacePassword(ctx, s.Access.For(by), fresh)
}

// Elevate makes the session of the user who calls fresh for a while, once the password is proved anew, as
// ChangePassword does. A cookie's session gets a new token, which is returned.
func (s *Service) Elevate(ctx context.Context, by access.Caller, password secret.String, lasting time.Duration) (secret.String, session.Session, error) {
	if err := s.proveAgain(ctx, by, password); err != nil {
		return secret.String{}, session.Session{}, err
	}
	return s.Sessions.Elevate(ctx, by, lasting)
}

func (s *Service) proveAgain(ctx context.Context, by access.Caller, password secret.String) error {
	u, err := s.Users.Self(ctx, s.Access.For(by))
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			err = fault.New(fault.Denied, "This operation is forbidden")
		}
		return err
	}
	_, err = s.prove(ctx, Presented{Kind: Password, Name: u.Email, Secret: password, Address: by.Address, Door: by.Door, Request: by.Request})
	return err
}
