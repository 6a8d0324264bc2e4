package sshkey

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Grant lets an access key open one place: a repository, or a project with all its repositories.
type Grant struct {
	Place      access.Resource
	Permission Permission
	Created    time.Time
}

// Permission is what an access key may do at a place.
type Permission string

// The permissions. Nothing more can be given to a key (rule W7).
const (
	Read  Permission = "read"  // clone and fetch
	Write Permission = "write" // push too
)

// Covers reports whether p allows what least does.
func (p Permission) Covers(least Permission) bool { return p == least || p == Write && least == Read }

// same reports whether two resources are one place.
func same(a, b access.Resource) bool { return a.Kind == b.Kind && a.ID == b.ID }

// Held is what an access key was given at one place.
type Held struct {
	Key   Registered
	Grant Grant
}

// AddAccessKey puts a key on file that opens a place for programs, or gives one that is there another place; label, expiry and state of
// that one stay. An empty permission is Read. Faults come in the order permission, text, label, expiry, conflict: that the key is a
// user's, ErrGranted, ErrGrantedProject. ErrAccessKeysOff comes before all of them.
func (s *Service) AddAccessKey(ctx context.Context, by access.Caller, at access.Resource, p Permission, n New) (Held, error) {
	if err := s.Access.Require(ctx, by, access.SSHKeyGrant, at); err != nil {
		return Held{}, err
	}
	if !s.AccessKeys {
		return Held{}, ErrAccessKeysOff
	}
	p, err := permission(p)
	if err != nil {
		return Held{}, err
	}
	r, err := s.draft(n)
	if err != nil {
		return Held{}, err
	}
	g := Grant{Place: at, Permission: p, Created: r.Created}
	r.Role, r.Grants = AccessKey, []Grant{g}
	return s.addAccessKey(ctx, by, r, g, n.Via)
}

func permission(p Permission) (Permission, error) {
	switch p {
	case "":
		return Read, nil
	case Read, Write:
		return p, nil
	}
	return "", fieldFault("permission", "Only read and write permissions can be granted to an access key.", nil)
}

func (s *Service) addAccessKey(ctx context.Context, by access.Caller, r Registered, g Grant, via Via) (Held, error) {
	for range tries {
		other, err := s.onFile(ctx, r.Key)
		switch {
		case err == nil && other.Role == UserKey:
			return Held{}, s.assigned(ctx, by, other)
		case err == nil:
			held, err := s.addGrant(ctx, by, other, g, via)
			if errors.Is(err, ErrUnknown) { // it went meanwhile
				continue
			}
			return held, err
		case !errors.Is(err, ErrUnknown):
			return Held{}, err
		}
		added, err := s.Store.Insert(ctx, r, r.granted(by, s.Now(), g, via))
		if !errors.Is(err, ErrOnFile) {
			return Held{added, g}, doing("insert ssh key", err)
		}
	}
	return Held{}, ErrOnFile
}

func (r Registered) granted(by access.Caller, now time.Time, g Grant, via Via) audit.Event {
	return r.event(by, now, access.SSHKeyGrant, r.Resource(g.Place)).
		With("change", "add").With("place", g.Place.String()).With("permission", string(g.Permission)).With("via", string(via))
}

// assigned is the conflict with a user's key.
func (s *Service) assigned(ctx context.Context, by access.Caller, other Registered) error {
	d, err := s.Access.Decide(ctx, by, access.SSHKeyRead, other.Resource())
	if err != nil {
		return err
	}
	if !d.Allowed {
		return errAssigned("")
	}
	return errAssigned(other.UserName)
}

func (s *Service) addGrant(ctx context.Context, by access.Caller, to Registered, g Grant, via Via) (Held, error) {
	if _, has := to.grantAt(g.Place); has {
		return Held{}, grantedAt(g.Place)
	}
	err := s.Store.AddGrant(ctx, to.ID, g, to.granted(by, s.Now(), g, via))
	s.Forget(to.ID)
	if errors.Is(err, ErrGranted) { // another call was faster
		return Held{}, grantedAt(g.Place)
	}
	to.Grants = append(to.Grants, g)
	return Held{to, g}, doing("grant to ssh key", err)
}

func grantedAt(place access.Resource) error {
	if place.Kind == access.ProjectKind {
		return ErrGrantedProject
	}
	return ErrGranted
}

// At selects the access keys of a place.
type At struct {
	Place     access.Resource
	Label     string     // its beginning, in any case; "" is all
	Least     Permission // "" is Read
	Effective bool       // with those of the project that a repository belongs to
	Window    page.Window
}

// ListAt returns a page of the access keys of a place, by number.
func (s *Service) ListAt(ctx context.Context, by access.Caller, at At) (page.Page[Held], error) {
	var none page.Page[Held]
	if err := s.Access.Require(ctx, by, access.SSHKeyGrant, at.Place); err != nil {
		return none, err
	}
	least, err := permission(at.Least)
	if err != nil {
		return none, err
	}
	of := Selection{Places: []access.Resource{at.Place}, Prefix: identity.Fold(at.Label), Least: least, Now: s.Now(), Window: at.Window}
	for _, p := range at.Place.Parents {
		if at.Effective && p.Kind == access.ProjectKind {
			of.Places = append(of.Places, p)
		}
	}
	return s.Store.At(ctx, of)
}

// AccessAt returns what the key of that number was given at exactly that place. It reports ErrUnknown.
func (s *Service) AccessAt(ctx context.Context, by access.Caller, at access.Resource, number int64) (Held, error) {
	if err := s.Access.Require(ctx, by, access.SSHKeyGrant, at); err != nil {
		return Held{}, err
	}
	r, err := s.accessKey(ctx, number)
	if err != nil {
		return Held{}, err
	}
	g, has := r.grantAt(at)
	if !has {
		return Held{}, ErrUnknown
	}
	g.Place = at
	return Held{r, g}, nil
}

// accessKey reports ErrUnknown, for user keys too.
func (s *Service) accessKey(ctx context.Context, number int64) (Registered, error) {
	r, err := s.Store.ByNumber(ctx, number, s.Now())
	if err == nil && r.Role != AccessKey {
		return Registered{}, ErrUnknown
	}
	return r, err
}

// SetPermission changes what a key may do at a place. It reports ErrUnknown.
func (s *Service) SetPermission(ctx context.Context, by access.Caller, at access.Resource, number int64, to Permission) (Held, error) {
	held, err := s.AccessAt(ctx, by, at, number)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return Held{}, err
	}
	to, bad := permission(to)
	if bad != nil {
		return Held{}, bad
	}
	if err != nil {
		return Held{}, err
	}
	e := held.Key.event(by, s.Now(), access.SSHKeyGrant, held.Key.Resource(at)).
		With("change", "permission").With("place", at.String()).With("permission", string(to))
	err = s.Store.SetPermission(ctx, held.Key.ID, at, to, e)
	s.Forget(held.Key.ID)
	if err != nil {
		return Held{}, doing("change permission of ssh key", err)
	}
	return s.AccessAt(ctx, by, at, number)
}

// RemoveAccess takes a place away from a key, and the key off file with its last place. What it has not is no error.
func (s *Service) RemoveAccess(ctx context.Context, by access.Caller, at access.Resource, number int64) error {
	return s.RemoveFromMany(ctx, by, number, []access.Resource{at})
}

// RemoveFromMany is RemoveAccess for many places: all of them, or none where the caller may not administer one. It reports ErrNoPlace.
func (s *Service) RemoveFromMany(ctx context.Context, by access.Caller, number int64, at []access.Resource) error {
	if len(at) == 0 {
		return ErrNoPlace
	}
	for _, place := range at {
		if err := s.Access.Require(ctx, by, access.SSHKeyGrant, place); err != nil {
			return err
		}
	}
	r, err := s.accessKey(ctx, number)
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.Store.RemoveGrants(ctx, r.ID, at, func(place access.Resource) audit.Event {
		return r.event(by, s.Now(), access.SSHKeyGrant, r.Resource(place)).With("change", "remove").With("place", place.String())
	})
	s.Forget(r.ID)
	return doing("remove grants of ssh key", err)
}

// LocationsOf returns an access key with those of its places that the caller administers: the rest is left out in silence. It reports
// ErrUnknown for a number that is no access key's.
func (s *Service) LocationsOf(ctx context.Context, by access.Caller, number int64) (Registered, error) {
	r, err := s.accessKey(ctx, number)
	if err != nil {
		return Registered{}, err
	}
	r.Grants, err = s.administered(ctx, by, r.Grants)
	return r, err
}

// administered keeps the grants whose place the caller may administer.
func (s *Service) administered(ctx context.Context, by access.Caller, grants []Grant) ([]Grant, error) {
	var mine []Grant
	for _, g := range grants {
		d, err := s.Access.Decide(ctx, by, access.SSHKeyGrant, g.Place)
		if err != nil {
			return nil, err
		}
		if d.Allowed {
			mine = append(mine, g)
		}
	}
	return mine, nil
}

// PermissionAt returns the most that an access key may do in a repository, by what it was given there and on the project, and whether it
// may do anything (rule G1). What a user key opens its user's rights say.
func (s *Service) PermissionAt(r Registered, repo access.Resource) (Permission, bool) {
	var most Permission
	if r.Role != AccessKey || !s.AccessKeys {
		return "", false
	}
	for _, place := range append([]access.Resource{repo}, repo.Parents...) {
		if g, has := r.grantAt(place); has && (most == "" || g.Permission == Write) {
			most = g.Permission
		}
	}
	return most, most != ""
}
