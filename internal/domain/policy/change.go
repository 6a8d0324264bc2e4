package policy

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
)

// tries is how often a change of SSO is decided anew because another came in between.
const tries = 5

// ReadSSO returns the policy as it is now.
func (s *Service) ReadSSO(ctx context.Context, by access.Caller) (SSO, error) {
	if err := s.Access.Require(ctx, by, access.SSORead, access.Installation); err != nil {
		return SSO{}, err
	}
	return s.Store.SSO(ctx)
}

// ChangeSSO hands the policy to decide and keeps what that returns; a change that changes nothing is none. decide may run more than once.
// It reports an Invalid fault that names the fields, and ErrOvertaken where others were faster every time.
func (s *Service) ChangeSSO(ctx context.Context, by access.Caller, decide func(SSO) (SSO, error)) (SSO, error) {
	if err := s.Access.Require(ctx, by, access.SSOUpdate, access.Installation); err != nil {
		return SSO{}, err
	}
	for left := tries; ; left-- {
		is, err := s.changeSSO(ctx, by, decide)
		if left == 1 || !errors.Is(err, ErrOvertaken) {
			return is, err
		}
	}
}

func (s *Service) changeSSO(ctx context.Context, by access.Caller, decide func(SSO) (SSO, error)) (SSO, error) {
	was, err := s.Store.SSO(ctx)
	if err != nil {
		return SSO{}, err
	}
	given := was
	given.Extra = maps.Clone(was.Extra)
	to, err := decide(given)
	if err != nil {
		return SSO{}, err
	}
	if err := to.check(); err != nil {
		return SSO{}, err
	}
	changed := to.differs(was)
	if len(changed) == 0 {
		return was, nil
	}
	now := s.Now()
	to.Version, to.Updated = was.Version+1, moment(now)
	if err := s.Store.ChangeSSO(ctx, was.Version, to, changedEvent(by, now, access.SSOUpdate, "sso", changed)); err != nil {
		return SSO{}, err
	}
	s.Forget()
	return to, nil
}

// ReadBasic returns the policy as it is now.
func (s *Service) ReadBasic(ctx context.Context, by access.Caller) (Basic, error) {
	if err := s.Access.Require(ctx, by, access.BasicAuthRead, access.Installation); err != nil {
		return Basic{}, err
	}
	return s.freshBasic(ctx)
}

// ChangeBasic hands the policy to decide and keeps what that returns. The first change ends Start for good, even one that changes nothing; a later one
// that changes nothing is none. It reports an Invalid fault that names the fields, and ErrOvertaken at once where another change came in between.
func (s *Service) ChangeBasic(ctx context.Context, by access.Caller, decide func(Basic) (Basic, error)) (Basic, error) {
	if err := s.Access.Require(ctx, by, access.BasicAuthUpdate, access.Installation); err != nil {
		return Basic{}, err
	}
	was, err := s.freshBasic(ctx)
	if err != nil {
		return Basic{}, err
	}
	given := was
	given.Paths, given.Users = slices.Clone(was.Paths), slices.Clone(was.Users)
	to, err := decide(given)
	if err != nil {
		return Basic{}, err
	}
	if err := to.check(); err != nil {
		return Basic{}, err
	}
	changed := to.differs(was)
	if len(changed) == 0 && was.Version > 0 {
		return was, nil
	}
	now := s.Now()
	to.Version, to.Updated = was.Version+1, moment(now)
	e := changedEvent(by, now, access.BasicAuthUpdate, "basicauth", changed)
	e = withPatterns(withPatterns(e, "paths", was.Paths, to.Paths), "users", was.Users, to.Users)
	if err := s.Store.ChangeBasic(ctx, was.Version, to, e); err != nil {
		return Basic{}, err
	}
	s.Forget()
	return to, nil
}

// moment is a time as a store gives it back.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// changedEvent says which members changed, and no values: what a wire keeps in Extra is nobody's to read.
func changedEvent(by access.Caller, now time.Time, action access.Action, name string, changed []string) audit.Event {
	e := by.Event(now, action, access.Resource{Kind: "policy", ID: name}, audit.Done)
	e.Object.Name = name
	if len(changed) == 0 {
		return e.With("changed", "nothing; the setting no longer counts")
	}
	return e.With("changed", strings.Join(changed, ", "))
}

// withPatterns says which patterns came and went, as lists in JSON: they tell whom the policy lets through, and are no secret.
func withPatterns(e audit.Event, of string, was, is []string) audit.Event {
	for name, list := range map[string][]string{"added": without(is, was), "removed": without(was, is)} {
		if text, err := json.Marshal(list); err == nil && len(list) > 0 {
			e = e.With(of+"_"+name, string(text))
		}
	}
	return e
}

// without returns what of a list is not in another.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(one string) bool { return slices.Contains(other, one) })
}

// differs names the members in which two policies differ.
func (p SSO) differs(from SSO) []string {
	return named(
		member{"hide_form", p.HideForm != from.HideForm},
		member{"fallback", p.Fallback != from.Fallback},
		member{"extra", !maps.Equal(p.Extra, from.Extra)},
	)
}

// differs names the members in which two policies differ.
func (b Basic) differs(from Basic) []string {
	return named(
		member{"block", b.Block != from.Block},
		member{"paths", !slices.Equal(b.Paths, from.Paths)},
		member{"users", !slices.Equal(b.Users, from.Users)},
		member{"warn", b.Warn != from.Warn},
	)
}

type member struct {
	name    string
	differs bool
}

func named(members ...member) []string {
	var names []string
	for _, m := range members {
		if m.differs {
			names = append(names, m.name)
		}
	}
	return names
}
