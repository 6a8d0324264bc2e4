package factor

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Of loads what a user has enrolled.
func (s *Service) Of(ctx context.Context, user string) (Set, error) {
	return s.Store.Of(ctx, user)
}

// StartEnrolment begins to set up a TOTP app (Voluntary) or to change it (Update), for the session of the conversation. An
// earlier beginning of the same is forgotten. It reports ErrEnrolled and ErrNotEnrolled.
func (s *Service) StartEnrolment(ctx context.Context, c Conversation, userName string) (Enrolment, error) {
	if c.Purpose != Voluntary && c.Purpose != Update {
		return Enrolment{}, ErrNoConversation
	}
	set, err := s.Store.Of(ctx, c.User)
	if err != nil {
		return Enrolment{}, err
	}
	if err := fits(c.Purpose, set); err != nil {
		return Enrolment{}, err
	}
	c.Secret = newTOTPSecret()
	token, c, err := s.Begin(ctx, c)
	if err != nil {
		return Enrolment{}, err
	}
	return s.enrolment(token, c, userName), nil
}

func (s *Service) enrolment(token secret.String, c Conversation, userName string) Enrolment {
	return Enrolment{Token: token, Secret: c.Secret, URL: s.enrolmentURL(c.Secret, userName), User: userName}
}

// fits says whether an enrolment can go on: an app is set up where there is none, and changed where there is one.
func fits(p Purpose, set Set) error {
	switch {
	case p == Update && set.TOTP == nil:
		return ErrNotEnrolled
	case p != Update && set.TOTP != nil, p == Enforced && set.Enrolled(): // a password alone adds no factor to those there are
		return ErrEnrolled
	default:
		return nil
	}
}

// StartEnforced begins to set up the TOTP app that a sign-in waits for. Begun once more it gives the same secret. The enrolment's
// token is empty: the caller has it. It reports ErrNoConversation and ErrEnrolled.
func (s *Service) StartEnforced(ctx context.Context, k Key, userName string) (Enrolment, error) {
	if k.Purpose != Enforced {
		return Enrolment{}, ErrNoConversation
	}
	var begun Conversation
	err := s.Store.Answer(ctx, k, func(c *Conversation, set *Set) (bool, Change, error) {
		if err := s.open(*c, k, k.Session); err != nil {
			return false, Change{}, err
		}
		if err := fits(c.Purpose, *set); err != nil {
			return false, Change{}, err
		}
		if c.Secret.Empty() {
			c.Secret = newTOTPSecret()
		}
		begun = *c
		return true, Change{}, nil
	})
	if err != nil {
		return Enrolment{}, err
	}
	return s.enrolment(secret.String{}, begun, userName), nil
}

// FinishEnrolment stores the app if the code is its, together with what change says. A new app comes with a recovery key, which is returned; a
// changed one keeps the key that there is. The session must be the one that began, empty where none did. It reports a *Miss, ErrNoConversation, also
// before an enrolment was begun, ErrEnrolled and ErrNotEnrolled.
func (s *Service) FinishEnrolment(ctx context.Context, k Key, code secret.String, session string, change func(Conversation) Change) (recovery secret.String, c Conversation, err error) {
	var miss *Miss
	err = s.Store.Answer(ctx, k, func(at *Conversation, set *Set) (bool, Change, error) {
		miss, recovery = nil, secret.String{}
		if err := s.enrolling(*at, k, session, *set); err != nil {
			return false, Change{}, err
		}
		c = *at
		step, reason := App{Secret: at.Secret}.accepts(code, s.Now())
		if reason != "" {
			keep, m := s.missed(at, reason)
			miss = m
			return keep, Change{}, nil
		}
		set.first()
		set.TOTP = &App{Secret: at.Secret, Enabled: s.Now(), LastStep: step}
		if at.Purpose != Update {
			recovery = s.newKey(set)
		}
		return false, change(*at), nil
	})
	if err == nil && miss != nil {
		err = miss
	}
	if err != nil {
		return secret.String{}, Conversation{}, err
	}
	return recovery, c, nil
}

func (s *Service) enrolling(c Conversation, k Key, session string, set Set) error {
	if err := s.open(c, k, session); err != nil {
		return err
	}
	if c.Purpose.challenges() || c.Secret.Empty() { // a challenge is no secret of an app
		return ErrNoConversation
	}
	return fits(c.Purpose, set)
}

// RemoveTOTP removes the app and its recovery key. It reports ErrNotEnrolled.
func (s *Service) RemoveTOTP(ctx context.Context, user string, c Change) error {
	_, err := s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		if set.TOTP == nil {
			return Change{}, ErrNotEnrolled
		}
		set.TOTP = nil
		set.dropCodes(AsKey)
		return c, nil
	})
	return err
}

// Reset removes everything and reports whether there was anything. Where there was nothing, nothing is recorded and nothing ends.
func (s *Service) Reset(ctx context.Context, user string, c Change) (some bool, err error) {
	_, err = s.Store.Change(ctx, user, func(set *Set) (Change, error) {
		some = set.Enrolled() || len(set.Codes) > 0
		if !some {
			return Change{}, nil
		}
		set.TOTP, set.Devices, set.Codes = nil, nil, nil
		return c, nil
	})
	return unless(err, some)
}
