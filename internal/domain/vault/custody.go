package vault

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// CheckOut shows the secret of a credential, which may be empty, to who has the right to see it, and gives them custody until they check it in or it
// ends by itself; once more renews it. The credential is marked for rotation. It reports ErrUnknown, ErrInactive, ErrNotShown and ErrHeld, and
// access.ErrNotFresh to people who signed in too long ago.
func (s *Service) CheckOut(ctx context.Context, by access.Caller, key string) (Credential, secret.String, Custody, error) {
	c, err := s.Find(ctx, by, key)
	if err != nil {
		return Credential{}, secret.String{}, Custody{}, err
	}
	if err := s.maySee(ctx, by, c); err != nil {
		return Credential{}, secret.String{}, Custody{}, err
	}
	now := s.Now()
	held := Custody{Credential: c.ID, Holder: access.Subject{Kind: by.Kind, ID: by.ID}, Taken: now, Until: now.Add(s.Held)}
	c, plain, err := s.Store.Take(ctx, held, shown, func(c Credential) audit.Event {
		return named(by.Event(now, access.CredentialCheckOut, c.Resource(), audit.Done), c).With("until", held.Until.UTC().Format(time.RFC3339))
	})
	if err != nil {
		return Credential{}, secret.String{}, Custody{}, err
	}
	return c, plain, held, nil
}

// maySee asks for the right, and of people, who are not programs, for a fresh proof of who they are (rule F14).
func (s *Service) maySee(ctx context.Context, by access.Caller, c Credential) error {
	err := s.Access.Require(ctx, by, access.CredentialCheckOut, c.Resource())
	if err != nil || by.Kind != access.User {
		return err
	}
	return access.Fresh(by, s.Now(), s.FreshFor)
}

func shown(c Credential) error {
	if err := active(c); err != nil {
		return err
	}
	if c.NeverShown {
		return ErrNotShown
	}
	return nil
}

// CheckIn ends the caller's custody of a credential. It reports ErrUnknown and ErrNotHeld.
func (s *Service) CheckIn(ctx context.Context, by access.Caller, key string) (Credential, error) {
	return s.release(ctx, by, key, access.Subject{Kind: by.Kind, ID: by.ID})
}

// CheckInFor ends somebody else's custody of a credential, by the right to change the credential.
func (s *Service) CheckInFor(ctx context.Context, by access.Caller, key string, holder access.Subject) (Credential, error) {
	c, err := s.Find(ctx, by, key)
	if err != nil {
		return Credential{}, err
	}
	if err := s.Access.Require(ctx, by, access.CredentialUpdate, c.Resource()); err != nil {
		return Credential{}, err
	}
	return s.release(ctx, by, c.ID, holder)
}

func (s *Service) release(ctx context.Context, by access.Caller, key string, holder access.Subject) (Credential, error) {
	c, err := s.Find(ctx, by, key)
	if err != nil {
		return Credential{}, err
	}
	if err := s.Access.Require(ctx, by, access.CredentialCheckIn, c.Resource()); err != nil {
		return Credential{}, err
	}
	now := s.Now()
	e := named(by.Event(now, access.CredentialCheckIn, c.Resource(), audit.Done), c).With("holder", string(holder.Kind)+" "+holder.ID)
	return c, s.Store.Release(ctx, c.ID, holder, now, e)
}

// Custodies tells who has checked a credential out, to who may see the credential.
func (s *Service) Custodies(ctx context.Context, by access.Caller, id string) ([]Custody, error) {
	if _, err := s.may(ctx, by, access.CredentialRead, id); err != nil {
		return nil, err
	}
	return s.Store.Custodies(ctx, id, s.Now())
}

// batch is how many custodies one transaction ends.
const batch = 500

// Run ends custody that is over, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.OnError("end custody of credentials", err)
			}
		}
	}
}

// Sweep ends all custody that is over now, each with an event.
func (s *Service) Sweep(ctx context.Context) error {
	for {
		now := s.Now()
		n, err := s.Store.Expire(ctx, now, batch, func(c Custody) audit.Event {
			e := access.SystemCaller(now).Event(now, access.CredentialExpire, access.Resource{Kind: access.CredentialKind, ID: c.Credential}, audit.Done)
			return e.With("holder", string(c.Holder.Kind)+" "+c.Holder.ID).With("until", c.Until.UTC().Format(time.RFC3339))
		})
		if err != nil || n < batch {
			return err
		}
	}
}
