package sshkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/recent"
)

// Refusal is an ErrUnknown that remembers, for the audit log alone, why.
type Refusal struct {
	Reason string
	Key    Registered // the key that opens nothing; the zero value where there is none
}

func (r *Refusal) Error() string { return ErrUnknown.Text + ": " + r.Reason }

// Unwrap makes a Refusal an ErrUnknown.
func (r *Refusal) Unwrap() error { return ErrUnknown }

// Find returns the key on file that a client of git presents. Whatever opens nothing now gets ErrUnknown, as a *Refusal: keys that are
// not on file, expired, waiting for their proof, disabled, of a user who is shut out, or access keys while those are switched off. Other
// errors mean that we could not look. To find a key says nothing of who presents it: that takes a ProvenKey (rule S1).
func (s *Service) Find(ctx context.Context, key Key) (Registered, error) {
	now := s.Now()
	r, remembered := s.cache.ByKey(key.Fingerprint(), now)
	era := s.cache.Era()
	if !remembered {
		var err error
		r, err = s.Store.ByDigest(ctx, key.Fingerprint(), now)
		if errors.Is(err, ErrUnknown) {
			return Registered{}, &Refusal{Reason: "there is no such key"}
		}
		if err != nil {
			return Registered{}, fmt.Errorf("find ssh key: %w", err)
		}
	}
	if !r.Key.Equal(key) { // rule S12: whatever the database takes for equal
		return Registered{}, &Refusal{Reason: "there is no such key"}
	}
	if why := s.shut(r, now); why != "" { // rules W7 and W11: read at every use
		return Registered{}, &Refusal{Reason: why, Key: r}
	}
	if !remembered && s.CacheFor > 0 { // good keys alone: a stranger who tries keys cannot push them out
		s.cache.Keep(recent.Answer[Fingerprint, Registered]{Key: key.Fingerprint(), ID: r.ID, Value: r, Until: now.Add(s.CacheFor)}, now, era)
	}
	return r, nil
}

// shut returns why a key on file opens nothing, or "".
func (s *Service) shut(r Registered, now time.Time) string {
	switch {
	case r.expired(now):
		return "the key has expired"
	case r.State == Waiting:
		return "nobody has proved to hold the key"
	case r.State != Active:
		return "the key is " + string(r.State)
	case r.Role == UserKey && r.UserShut:
		return "its user is disabled"
	case r.Role == AccessKey && !s.AccessKeys:
		return "access keys are switched off"
	}
	return ""
}

// Forget drops a key from memory: it was changed here or on another node.
func (s *Service) Forget(id string) { s.cache.Forget(id) }

// ForgetUser drops the keys of a user from memory, who may be shut out now.
func (s *Service) ForgetUser(user string) {
	s.cache.ForgetIf(func(r Registered) bool { return r.User == user })
}

// ForgetAll drops all keys from memory: notices of changes may have been lost.
func (s *Service) ForgetAll() { s.cache.ForgetAll() }

// Used notes that a key was used. It costs no write: Run writes the latest use of each key.
func (s *Service) Used(id string, from netip.Addr, at time.Time) {
	address := ""
	if from.IsValid() {
		address = from.String()
	}
	s.used.Note(recent.Use{ID: id, At: at, Address: address})
}

// Run writes last uses every UsedEvery until ctx ends, and then what is left.
func (s *Service) Run(ctx context.Context) {
	s.used.Run(ctx, s.UsedEvery, s.Store.MarkUsed, func(err error) { s.OnError("write last use of ssh keys", err) })
}

// Sweep takes expired keys off file, which open nothing before that either, and disables what went unproven for too long, every SweepEvery
// until ctx ends. All nodes may sweep: each key is swept once.
func (s *Service) Sweep(ctx context.Context) {
	tick := time.NewTicker(s.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sweep(ctx)
		}
	}
}

func (s *Service) sweep(ctx context.Context) {
	by := access.SystemCaller(s.Now())
	s.batches(ctx, "remove expired ssh keys", func(limit int) (int, error) {
		return s.Store.Purge(ctx, by.At, limit, func(r Registered) audit.Event {
			return r.event(by, by.At, access.SSHKeyExpire, r.Resource(placesOf(r)...))
		})
	})
	if s.UnprovenAfter == 0 {
		return
	}
	s.batches(ctx, "disable unproven ssh keys", func(limit int) (int, error) {
		return s.Store.DisableUnproven(ctx, by.At.Add(-s.UnprovenAfter), limit, func(r Registered) audit.Event {
			return r.event(by, by.At, access.SSHKeyDisable, r.Resource(placesOf(r)...))
		})
	})
}

// batches repeats a change of up to limit keys while there are that many.
func (s *Service) batches(ctx context.Context, doing string, change func(limit int) (int, error)) {
	const limit = 200
	for ctx.Err() == nil {
		n, err := change(limit)
		if err != nil && ctx.Err() == nil {
			s.OnError(doing, err)
		}
		if err != nil || n < limit {
			return
		}
	}
}

// placesOf is the place of a key that has one alone: the event of its end belongs to that project.
func placesOf(r Registered) []access.Resource {
	if len(r.Grants) != 1 {
		return nil
	}
	return []access.Resource{r.Grants[0].Place}
}
