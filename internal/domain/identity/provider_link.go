package identity

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const maxSubject = 1024 // bytes

// checkSubject returns why something is no subject, or nil.
func checkSubject(subject string) error {
	if subject == "" || len(subject) > maxSubject || !utf8.ValidString(subject) || strings.ContainsRune(subject, 0) {
		return fault.Fields("a subject has 1 to 1024 bytes of text", fault.Field{Path: "subject", Message: "1 to 1024 bytes of text"})
	}
	return nil
}

// Link says that a user is that subject of a provider. It needs the right to change the user as well. It reports ErrLinked, ErrNoProvider and ErrUnknown.
func (s *Providers) Link(ctx context.Context, by Authority, provider, user, subject string) (Link, error) {
	p, e, err := s.allowed(ctx, by, actionProviderLink, provider)
	if err != nil {
		return Link{}, err
	}
	if err := checkSubject(subject); err != nil {
		return Link{}, err
	}
	u, err := s.Users.ByID(ctx, user)
	if err != nil {
		return Link{}, err
	}
	if _, err := by.Authorize(ctx, actionUpdate, u.ID); err != nil { // whoever holds the subject signs in as the user from now on
		return Link{}, err
	}
	e.Object.Name = p.Name
	l := Link{Provider: p.ID, Subject: subject, User: u.ID, Created: s.Now()}
	return l, s.Store.InsertLink(ctx, l, e.With("user", u.ID).With("subject", subject))
}

// Unlink says that a user is nobody at a provider any more, and ends the sessions that began by it. It reports ErrNoLink.
func (s *Providers) Unlink(ctx context.Context, by Authority, provider, user string) error {
	p, e, err := s.allowed(ctx, by, actionProviderUnlink, provider)
	if err != nil {
		return err
	}
	e.Object.Name = p.Name
	return s.Store.DeleteLink(ctx, provider, user, e.With("user", user))
}

// LinksOf lists the links of a user, to themselves and to whoever may read users. It reports ErrUnknown to others.
func (s *Providers) LinksOf(ctx context.Context, by Authority, user string) ([]Link, error) {
	if _, err := by.Authorize(ctx, actionRead, user); err != nil {
		return nil, hidden(err, ErrUnknown)
	}
	return s.Store.LinksOf(ctx, user)
}
