package identity

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	maxSentGroups     = 200  // groups that a user is in by a provider's word
	maxSentGroup      = 255  // characters of a name
	maxSentFolded     = 1024 // bytes of a folded name: it is in an index
	refreshTries      = 5
	providerCreator   = "provider"
	groupsHere        = DefaultAccount // whose groups a provider's are
	changedDisplay    = "display_name"
	changedEmail      = "email"
	changedVouched    = "email_verified"
	changedMembership = "groups"
)

// Standing is a user as a refresh finds them.
type Standing struct {
	User    User
	Remote  bool     // linked to a directory, which says who they are: no other provider changes them
	Guest   bool     // does not belong to the default account, so its groups are not theirs
	In      []Group  // the groups of the default account that they are in
	Vouched []string // ids of those among them that they are in by a provider's word
	Named   []Group  // those of the names that were asked for
}

// Update is what a refresh stores. Without an event it is nothing.
type Update struct {
	User     User
	Provider string   // by whose word they join
	Join     []string // ids of groups
	Make     []Group  // are made, and joined
	Leave    []string // ids of groups
	Event    audit.Event
}

// ErrOvertaken says that a group came or went between a look and a change.
var ErrOvertaken = fault.New(fault.Conflict, "another change was made at the same time; try again")

// refresh makes a user what their provider says now, at every sign-in, where its JIT adds people: display name, e-mail address, and the groups of the default account,
// which become those that the provider lists, or, where it says nothing of groups, lose what providers put them into; all in one change with one event, and nothing at all where nothing is new. People whom a directory knows are left
// alone. Whoever has rights over others keeps name and address, so that no provider gets hold of their mail; their groups follow.
func (s *Providers) refresh(ctx context.Context, p Provider, v Visitor, u User) (User, error) {
	if !p.Settings.JIT.Provision || u.Shut() {
		return u, nil
	}
	guarded, err := s.Guarded(ctx, u.ID)
	if err != nil {
		return User{}, err
	}
	r := refresh{s: s, p: p, v: v, guarded: guarded}
	r.sort(v.Groups)
	for range refreshTries {
		is, err := r.once(ctx, u.ID)
		switch {
		case errors.Is(err, ErrOvertaken):
			continue
		case errors.Is(err, ErrEmailTaken):
			return User{}, &Stranger{Reason: emailTaken, User: u}
		}
		return is, err
	}
	return User{}, ErrOvertaken
}

// refresh is one refresh of one user.
type refresh struct {
	s       *Providers
	p       Provider
	v       Visitor
	guarded bool

	sent     map[string]string // the names of groups that can be used, by folded name
	unusable int               // how many cannot

	asked []string        // folded names of groups that they are not in, and may join
	over  int             // how many groups there are beyond maxSentGroups
	held  map[string]bool // ids of groups among those asked for that nobody joins so
}

// sort keeps the names that can be those of groups.
func (r *refresh) sort(names []string) {
	r.sent = make(map[string]string)
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name == "" || !isLine(name, maxSentGroup) || strings.ContainsFunc(name, unseen) || len(Fold(name)) > maxSentFolded {
			r.unusable++
			continue
		}
		if _, twice := r.sent[Fold(name)]; !twice {
			r.sent[Fold(name)] = name
		}
	}
}

func (r *refresh) once(ctx context.Context, user string) (User, error) {
	now, err := r.s.Store.Standing(ctx, user, nil)
	if err != nil || now.Remote {
		return now.User, err
	}
	if r.v.Unmapped != "" {
		return User{}, &Stranger{Reason: r.v.Unmapped, User: now.User}
	}
	if r.ask(now); len(r.asked) > 0 {
		if now, err = r.s.Store.Standing(ctx, user, r.asked); err != nil {
			return User{}, err
		}
	}
	if err := r.weigh(ctx, now.Named); err != nil {
		return User{}, err
	}
	if to, err := r.decide(now); err != nil || to.Event.Action == "" {
		return to.User, err
	}
	return r.s.Store.Refresh(ctx, user, r.asked, r.decide)
}

// syncs says that the groups of a user follow the provider's.
func (r *refresh) syncs(now Standing) bool { return r.p.Settings.JIT.Groups != "" && !now.Guest }

// ask finds the groups to join. Who is in one that is listed stays; of the others the first by name fill what is left, so that the same
// come out however a provider orders them.
func (r *refresh) ask(now Standing) {
	r.asked, r.over = nil, 0
	if !r.syncs(now) {
		return
	}
	left := maxSentGroups
	missing := maps.Clone(r.sent)
	for _, g := range now.In {
		if _, listed := missing[Fold(g.Name)]; listed {
			delete(missing, Fold(g.Name))
			left--
		}
	}
	r.asked = slices.Sorted(maps.Keys(missing))
	if left = max(left, 0); len(r.asked) > left {
		r.over, r.asked = len(r.asked)-left, r.asked[:left]
	}
}

// weigh finds out which groups nobody joins by a provider's word. A group that is given more a moment later is given it with its members, by
// somebody who may.
func (r *refresh) weigh(ctx context.Context, named []Group) error {
	r.held = make(map[string]bool, len(named))
	for _, g := range named {
		heavy := false
		if !r.s.JITAdminGroups {
			var err error
			if heavy, err = r.s.Heavy(ctx, g.ID); err != nil {
				return err
			}
		}
		r.held[g.ID] = heavy
	}
	return nil
}

// decide says what becomes of a user who stands so.
func (r *refresh) decide(now Standing) (Update, error) {
	to := Update{User: now.User, Provider: r.p.ID}
	if now.Remote || now.User.Shut() {
		return to, nil
	}
	changed, err := r.person(&to.User)
	if err != nil {
		return Update{}, err
	}
	held, err := r.groups(now, &to)
	if err != nil {
		return Update{}, err
	}
	e := r.s.said(actionUpdate, r.p, r.v, now.User)
	if len(to.Join)+len(to.Make)+len(to.Leave) > 0 {
		changed = append(changed, changedMembership)
		for name, n := range map[string]int{
			"groups_joined": len(to.Join) + len(to.Make), "groups_made": len(to.Make), "groups_left": len(to.Leave),
			"groups_held_back": held, "groups_unusable": r.unusable, "groups_too_many": r.over,
		} {
			if n > 0 {
				e = e.With(name, strconv.Itoa(n))
			}
		}
	}
	if len(changed) > 0 {
		to.User.Updated, to.Event = r.s.Now(), e.With("changed", strings.Join(changed, ", "))
	}
	return to, nil
}

// person brings name and address up to date, and says which members are new.
func (r *refresh) person(u *User) (changed []string, err error) {
	if r.guarded {
		return nil, nil
	}
	if d := r.v.Display; d != "" && d != u.Names.Display && checkText("display name", d) == nil {
		u.Names.Display, changed = d, append(changed, changedDisplay)
	}
	switch email := r.v.Email; {
	case email == "": // nothing maps it
	case CheckEmail(email) != nil:
		return nil, &Stranger{Reason: noEmail, User: *u}
	case FoldEmail(email) != FoldEmail(u.Email):
		u.Email, u.EmailVerified, changed = email, r.v.EmailVerified, append(changed, changedEmail)
	default:
		if email != u.Email {
			u.Email, changed = email, append(changed, changedEmail)
		}
		if r.v.EmailVerified && !u.EmailVerified { // what somebody vouched for once is not taken back for the same address
			u.EmailVerified, changed = true, append(changed, changedVouched)
		}
	}
	return changed, nil
}

// groups says which groups are joined, made and left, and how many were held back. Leaving is always done, also where somebody was put by hand; by hand they
// stay only where the provider says nothing of groups, which may be a claim that it forgot.
func (r *refresh) groups(now Standing, to *Update) (held int, err error) {
	if !r.syncs(now) {
		return 0, nil
	}
	in, named := make(map[string]bool), make(map[string]Group)
	for _, g := range now.In {
		in[Fold(g.Name)] = true
		if _, listed := r.sent[Fold(g.Name)]; !listed && (r.v.GroupsSaid || slices.Contains(now.Vouched, g.ID)) {
			to.Leave = append(to.Leave, g.ID)
		}
	}
	for _, g := range now.Named {
		named[Fold(g.Name)] = g
	}
	for _, name := range r.asked {
		if in[name] {
			continue
		}
		g, there := named[name]
		heavy, weighed := r.held[g.ID]
		switch {
		case !there:
			to.Make = append(to.Make, Group{ID: r.s.NewID(), Account: groupsHere, Name: r.sent[name], Creator: Creator{Kind: providerCreator, ID: r.p.ID}, Created: r.s.Now()})
		case !weighed: // somebody made it a moment ago
			return 0, ErrOvertaken
		case heavy:
			held++
		default:
			to.Join = append(to.Join, g.ID)
		}
	}
	return held, nil
}
