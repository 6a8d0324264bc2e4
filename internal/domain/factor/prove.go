package factor

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Regression is the action of the event that records a security key whose counter did not grow: it may have a copy (rule F8).
const Regression = "factor.regression"

// Miss is a wrong answer: an ErrWrongCode.
type Miss struct {
	Reason       string // for the audit log alone
	Left         int    // tries that are left; 0: the conversation is gone; -1: there is none
	Conversation Conversation
}

func (m *Miss) Error() string { return ErrWrongCode.Error() }

// Unwrap makes a Miss an ErrWrongCode.
func (m *Miss) Unwrap() error { return ErrWrongCode }

// Prove checks an answer to a conversation of the purpose SignIn or ElevationKey. A right one ends it, is noted so that it is not right
// again, and is recorded with the event that record makes. A wrong one is counted and reported as a *Miss, and ends the user's other sign-ins that wait
// for an answer. It reports ErrNoConversation, and a Fault of
// the kind Invalid for an assertion that is malformed, which does not count.
func (s *Service) Prove(ctx context.Context, k Key, a Answer, record func(Conversation) audit.Event) (Conversation, error) {
	var proved Conversation
	var miss *Miss
	err := s.Store.Answer(ctx, k, func(c *Conversation, set *Set) (bool, Change, error) {
		miss = nil
		if err := s.open(*c, k, k.Session); err != nil {
			return false, Change{}, err
		}
		if c.Purpose != SignIn && c.Purpose != ElevationKey {
			return false, Change{}, ErrNoConversation
		}
		proved = *c
		reason, err := s.check(a, *c, set)
		if err != nil {
			return false, Change{}, err
		}
		if reason == "" {
			return false, Change{Events: []audit.Event{record(*c)}}, nil
		}
		keep, m := s.missed(c, reason)
		miss = m
		change := s.regression(reason, a, *set, record, *c)
		change.Alone = true // else whoever knows the password begins many, and has the tries of all of them (rule F7)
		return keep, change, nil
	})
	if err == nil && miss != nil {
		err = miss
	}
	return unless(err, proved)
}

// check tries an answer and notes in the set that it was used. An empty reason says that it is right.
func (s *Service) check(a Answer, c Conversation, set *Set) (reason string, err error) {
	switch a.Kind {
	case TOTP, Recovery:
		if c.Purpose == ElevationKey {
			return reasonUnknown, nil
		}
		return set.use(a, s.Now()), nil
	case FIDO2:
		return s.assert(a.Assertion, c, set)
	default:
		return reasonUnknown, nil
	}
}

// use checks a code and notes that it was used.
func (set *Set) use(a Answer, now time.Time) (reason string) {
	switch a.Kind {
	case TOTP:
		if set.TOTP == nil {
			return reasonNoApp // rule S18
		}
		step, reason := set.TOTP.accepts(a.Code, now)
		if reason == "" {
			set.TOTP.LastStep = step
		}
		return reason
	case Recovery:
		if !set.useCode(a.Code, now) {
			return reasonNoCode
		}
		return ""
	case FIDO2: // wants a challenge
	}
	return reasonUnknown
}

// regression is what a wrong answer changes beside the count: nothing, or one more event.
func (s *Service) regression(reason string, a Answer, set Set, record func(Conversation) audit.Event, c Conversation) Change {
	if reason != reasonCounter {
		return Change{}
	}
	like := record(c)
	e := audit.NewEvent(s.Now(), Regression, audit.Refused)
	e.Actor, e.Object, e.Project, e.Address, e.Door, e.Reason = like.Actor, like.Object, like.Project, like.Address, like.Door, reason
	if i := set.deviceOf(a.Assertion.ID); i >= 0 {
		e = e.With("device", set.Devices[i].Name)
	}
	return Change{Events: []audit.Event{e}}
}

// Confirm checks a TOTP or recovery code outside a conversation. A right one is noted, with the event. It reports a *Miss, and
// ErrNotEnrolled where the user has nothing of the kind to prove.
func (s *Service) Confirm(ctx context.Context, user string, a Answer, e audit.Event) error {
	_, err := s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		if !set.confirms(a.Kind) {
			return Change{}, ErrNotEnrolled
		}
		if reason := set.use(a, s.Now()); reason != "" {
			return Change{}, &Miss{Reason: reason, Left: -1}
		}
		return Change{Events: []audit.Event{e}}, nil
	})
	return err
}

// confirms says that a code of that kind may be right. Security keys want a challenge, and so a conversation.
func (set *Set) confirms(k Kind) bool {
	return k == TOTP && set.TOTP != nil || k == Recovery && set.Enrolled()
}

// Replace uses up a recovery code of either set and makes a new recovery key. It reports a *Miss and ErrNotEnrolled: the key belongs to a
// TOTP app.
func (s *Service) Replace(ctx context.Context, user string, code secret.String, e audit.Event) (key secret.String, err error) {
	_, err = s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		if set.TOTP == nil {
			return Change{}, ErrNotEnrolled
		}
		if reason := set.use(Answer{Kind: Recovery, Code: code}, s.Now()); reason != "" {
			return Change{}, &Miss{Reason: reason, Left: -1}
		}
		key = s.newKey(set)
		return Change{Events: []audit.Event{e}}, nil
	})
	return unless(err, key)
}
