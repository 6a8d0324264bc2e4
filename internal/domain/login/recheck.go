package login

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// recheckBatch is how many people of a directory are looked up between two looks at who is due.
const recheckBatch = 100

// Recheck asks every so often each directory that has a service account whether its people are still there, until ctx ends. Somebody whom it
// definitely has not any more is disabled, with their sessions and whatever they have under way; back there, they are enabled, unless a person
// disabled them meanwhile. A directory that cannot answer changes nothing. Of many nodes one looks a person up: the claim is in the store.
func (s *Service) Recheck(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(max(time.Second, every/4)) // so that nobody is late by a whole round more
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.RecheckDue(ctx, every)
		}
	}
}

// RecheckDue looks up everybody who was last looked up that long ago.
func (s *Service) RecheckDue(ctx context.Context, age time.Duration) {
	all, err := s.Providers.Store.All(ctx)
	if err != nil {
		s.failed(ctx, "list identity providers", err)
		return
	}
	for _, p := range all {
		if p.Kind == identity.LDAP && p.Enabled && p.Settings.LDAP != nil && p.Settings.LDAP.BindDN != "" {
			s.recheck(ctx, p, age)
		}
	}
}

// recheck ends early when the directory cannot answer: the claims of the others run out, and they are due again.
func (s *Service) recheck(ctx context.Context, p identity.Provider, age time.Duration) {
	for ctx.Err() == nil {
		now := s.Now()
		due, err := s.Providers.Store.DueLinks(ctx, p.ID, now.Add(-age), recheckBatch, now)
		if err != nil {
			s.failed(ctx, "claim people to look up", err)
			return
		}
		for _, l := range due {
			if err := s.recheckOne(ctx, p, l); err != nil {
				s.failed(ctx, "look up people at identity provider "+p.Name, err)
				return
			}
		}
		if len(due) < recheckBatch {
			return
		}
	}
}

func (s *Service) recheckOne(ctx context.Context, p identity.Provider, l identity.Link) error {
	present, err := s.Directory.Present(ctx, p, l.Subject)
	if err != nil {
		return err
	}
	now := s.Now()
	return s.Providers.Store.Checked(ctx, l, present, now, func(change string) audit.Event {
		e := access.SystemCaller(now).Event(now, access.UserUpdate, access.Resource{Kind: access.UserKind, ID: l.User}, audit.Done)
		e.Reason = "identity provider " + p.Name + " was asked"
		return e.With("changed", change).With("provider", p.ID)
	})
}

func (s *Service) failed(ctx context.Context, doing string, err error) {
	if s.OnError != nil && ctx.Err() == nil {
		s.OnError(doing, err)
	}
}
