package identity_test

import (
	"context"
	"errors"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

type inGroup struct{ group, user, provider string }

func (o *outside) Standing(ctx context.Context, user string, names []string) (identity.Standing, error) {
	o.looks++
	var is identity.Standing
	var err error
	if is.User, err = o.memory.ByID(ctx, user); err != nil {
		return is, err
	}
	is.Guest = is.User.Account != identity.DefaultAccount
	for _, l := range o.links {
		p, err := o.find(func(p identity.Provider) bool { return p.ID == l.Provider })
		is.Remote = is.Remote || l.User == user && err == nil && p.Kind == identity.LDAP
	}
	for _, g := range o.groups {
		if g.Account != identity.DefaultAccount {
			continue
		}
		if slices.ContainsFunc(o.in, func(m inGroup) bool { return m.group == g.ID && m.user == user }) {
			is.In = append(is.In, g)
		}
		if slices.Contains(names, identity.Fold(g.Name)) {
			is.Named = append(is.Named, g)
		}
	}
	return is, nil
}

// Refresh is all or nothing: what cannot be stored leaves no trace.
func (o *outside) Refresh(ctx context.Context, user string, names []string, decide func(identity.Standing) (identity.Update, error)) (identity.User, error) {
	if between := o.between; between != nil {
		o.between = nil
		between()
	}
	now, err := o.Standing(ctx, user, names)
	if err != nil {
		return identity.User{}, err
	}
	to, err := decide(now)
	if err != nil || to.Event.Action == "" {
		return to.User, err
	}
	for _, g := range to.Make {
		if slices.ContainsFunc(o.groups, func(x identity.Group) bool {
			return x.Account == g.Account && identity.Fold(x.Name) == identity.Fold(g.Name)
		}) {
			return identity.User{}, identity.ErrOvertaken
		}
	}
	other, err := o.ByEmail(ctx, to.User.Account, identity.FoldEmail(to.User.Email))
	if err == nil && other.ID != user {
		return identity.User{}, identity.ErrEmailTaken
	}
	if err != nil && !errors.Is(err, identity.ErrUnknown) {
		return identity.User{}, err
	}
	for i := range o.users {
		if o.users[i].ID == user {
			o.users[i] = to.User
		}
	}
	o.groups = append(o.groups, to.Make...)
	for _, g := range to.Make {
		to.Join = append(to.Join, g.ID)
	}
	for _, g := range to.Join {
		o.in = append(o.in, inGroup{g, user, to.Provider})
	}
	o.in = slices.DeleteFunc(o.in, func(m inGroup) bool { return m.user == user && slices.Contains(to.Leave, m.group) })
	o.events = append(o.events, to.Event)
	return to.User, nil
}

func (o *outside) Made(context.Context) (found []identity.User, _ error) {
	for _, u := range o.users {
		if slices.Contains(o.made, u.ID) {
			found = append(found, u)
		}
	}
	return found, nil
}
