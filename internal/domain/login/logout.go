package login

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// LogoutToken is what a provider ends sessions by. It signs nobody in, and names no method.
const LogoutToken Kind = "logout_token"

// overlap is for how long a session that a provider ended begins none here: a sign-in may be between the provider's word and its row.
const overlap = time.Minute

// ErrNoLogout says that what came ends nothing: the true reason is for the audit log alone.
var ErrNoLogout = fault.New(fault.Invalid, "the logout token was not accepted")

// LoggedOut ends the sessions here of whom a provider signed out, as OpenID Connect Back-Channel Logout 1.0 says: those that began by the session that
// the token names, or all that began by that provider for the subject. That nothing was left to end is a success. A token that is not the provider's word to us, or was
// used on any node, is an ErrNoLogout; wrong ones are counted by address, and are a *Blocked once there were too many.
func (s *Service) LoggedOut(ctx context.Context, number int64, token string, p Presented) error {
	p.Kind = LogoutToken
	err := s.loggedOut(ctx, number, token)
	var wrong *Wrong
	switch {
	case errors.As(err, &wrong):
		s.count(p.Kind, "failed")
		return s.refuse(ctx, p, &unheard{wrong.Reason, wrong.provider})
	case err != nil:
		s.count(p.Kind, "error")
		return err
	}
	s.count(p.Kind, "ok")
	return nil
}

// unheard is an ErrNoLogout with the reason and the provider, which go on record.
type unheard struct {
	reason   string
	provider access.Principal
}

func (u *unheard) Error() string { return u.reason }

func (u *unheard) Unwrap() error { return ErrNoLogout }

func (s *Service) loggedOut(ctx context.Context, number int64, token string) error {
	from, err := s.Providers.Store.ByNumber(ctx, number)
	switch {
	case fault.Is(err, fault.NotFound):
		return &Wrong{Reason: "there is no such identity provider"}
	case err != nil:
		return err
	case s.Federations[from.Kind] == nil || !from.Enabled: // what began by one that is disabled has ended
		return named(from, &Wrong{Reason: "the identity provider is disabled, or sends no logout tokens"})
	}
	return named(from, s.heard(ctx, from, token))
}

// heard does what a token of that provider says, once.
func (s *Service) heard(ctx context.Context, from identity.Provider, token string) error {
	ends, once, err := s.Federations[from.Kind].Logout(ctx, from, token)
	if err != nil {
		return err
	}
	for _, o := range once {
		if used, err := s.Once.Used(ctx, o.Key, s.Now()); err != nil || used {
			return orUsed(err)
		}
	}
	if err := s.endThere(ctx, from, ends); err != nil {
		return err
	}
	for _, o := range once { // after the work: a provider that got no answer may send the token again
		if err := s.use(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func orUsed(err error) error {
	if err != nil {
		return err
	}
	return &Wrong{Reason: "the token was used before"}
}

// endThere ends what a provider says is over. What is noted first stops the sign-ins that are not written down yet.
func (s *Service) endThere(ctx context.Context, from identity.Provider, ends Logout) error {
	v := session.Vouched{Provider: from.ID, Subject: ends.Subject, Session: session.AtProvider(ends.Session)}
	if v.Session != "" {
		now := s.Now()
		if _, err := s.Once.Use(ctx, goneKey(v.Provider, v.Session), now.Add(overlap), now); err != nil {
			return err
		}
	}
	if v.Subject != "" {
		l, err := s.Providers.Store.LinkOf(ctx, from.ID, v.Subject)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		v.User = l.User
	}
	_, err := s.Sessions.EndVouched(ctx, v, "the identity provider "+from.Name+" signed them out")
	return err
}

func goneKey(provider, session string) string { return "ended by provider " + provider + " " + session }

// goneThere says whether the provider ended just now the session by which it vouched.
func (s *Service) goneThere(ctx context.Context, of Proof) (bool, error) {
	if of.ProviderSession == "" {
		return false, nil
	}
	return s.Once.Used(ctx, goneKey(of.Provider, of.ProviderSession), s.Now())
}
