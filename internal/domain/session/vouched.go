package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// Vouched names what began by the word of an identity provider. One of User, Subject and Session is set at least.
type Vouched struct {
	Provider string // its id
	User     string // who signed in; empty: whoever did, or, with a Subject, nobody who is a user
	Subject  string // their name at the provider, for sign-ins that are no user's yet; empty: whoever's
	Session  string // as Session.ProviderSession; empty: whichever. A user's sessions of which the provider named none are meant by any
}

// AtProvider is how a name that a provider gave to a session, or to somebody who has none yet, is kept: hex of its SHA-256, nothing for none.
func AtProvider(name string) string {
	if name == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// EndVouched ends what began by the word of a provider, because the provider says so: at once on this node and within 2 s on the others. It returns how many
// sessions there were.
func (s *Service) EndVouched(ctx context.Context, v Vouched, reason string) (int, error) {
	now := s.Now()
	event := func(x Session) audit.Event {
		e := access.SystemCaller(now).Event(now, access.SessionEnd, x.resource(), audit.Done).With("provider", v.Provider)
		e.Reason = reason
		return e
	}
	n, err := s.Store.EndVouched(ctx, v, now, event)
	if v.User != "" {
		s.ForgetPrincipal(v.User) // also after an error: the store may have gone away just behind the commit
	} else {
		s.cache.forgetVouched(v.Provider, v.Session)
	}
	return n, err
}

// before returns the earlier of two times, of which the second may be none.
func before(a, limit time.Time) time.Time {
	if limit.IsZero() || a.Before(limit) {
		return a
	}
	return limit
}
