package access

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// ErrNoGrantOf says that there is no grant of that number that the caller may see.
var ErrNoGrantOf = fault.New(fault.NotFound, "grant not found")

// GrantTerms gives a user or a group DeviceConnect or CredentialConnect, under terms; where they have it already the terms are replaced. It takes the
// right to give roles there, not a grant of one's own.
func (s *Service) GrantTerms(ctx context.Context, by Caller, to Subject, role Role, on Resource, terms Terms) (Binding, error) {
	if !role.opens() {
		return Binding{}, fault.Newf(fault.Invalid, "role %q has no terms; those with terms are %s and %s", role, DeviceConnect, CredentialConnect)
	}
	if err := terms.Check(); err != nil {
		return Binding{}, err
	}
	return s.give(ctx, by, to, role, on, terms)
}

// Grants lists grants by number: all, or those of a subject itself. Who may give roles on the whole installation sees all of them, others their own.
func (s *Service) Grants(ctx context.Context, by Caller, of Subject, w page.Window) (page.Page[Binding], error) {
	if of != (Subject{by.Kind, by.ID}) || !by.Covers(RemoteRead, Resource{Kind: string(by.Kind), ID: by.ID}) {
		if err := s.Require(ctx, by, AccessGrant, Installation); err != nil {
			return page.Page[Binding]{}, err
		}
	}
	return s.Store.Grants(ctx, of, w)
}

// GrantsSeen is Grants that narrows a question for all to the caller's own where they may not see all.
func (s *Service) GrantsSeen(ctx context.Context, by Caller, of Subject, w page.Window) (page.Page[Binding], error) {
	if of == (Subject{}) {
		d, err := s.Decide(ctx, by, AccessGrant, Installation)
		if err != nil {
			return page.Page[Binding]{}, err
		}
		if !d.Allowed {
			of = Subject{by.Kind, by.ID}
		}
	}
	return s.Grants(ctx, by, of, w)
}

// GrantByNumber returns a grant. Who may give roles where it holds sees it, and who has it; for all others it is ErrNoGrantOf.
func (s *Service) GrantByNumber(ctx context.Context, by Caller, number int64) (Binding, error) {
	b, err := s.Store.GrantByNumber(ctx, number)
	if fault.Is(err, fault.NotFound) {
		return Binding{}, ErrNoGrantOf
	}
	if err != nil {
		return Binding{}, err
	}
	if b.Subject == (Subject{by.Kind, by.ID}) && by.Covers(RemoteRead, Resource{Kind: string(by.Kind), ID: by.ID}) {
		return b, nil
	}
	on, err := s.place(ctx, b.Resource)
	if err != nil {
		return Binding{}, err
	}
	d, err := s.Decide(ctx, by, AccessGrant, on)
	if err == nil && !d.Allowed {
		err = ErrNoGrantOf
	}
	return b, err
}

// RevokeGrant takes a grant back, by number. Sessions by it that live end within two seconds. It reports ErrNoGrantOf, and a Denied fault.
func (s *Service) RevokeGrant(ctx context.Context, by Caller, number int64) error {
	b, err := s.GrantByNumber(ctx, by, number)
	if err != nil {
		return err
	}
	on, err := s.place(ctx, b.Resource)
	if err != nil {
		return err
	}
	return s.Revoke(ctx, by, b.Subject, b.Role, on)
}

// place is what a resource belongs to, as far as somebody can tell.
func (s *Service) place(ctx context.Context, on Resource) (Resource, error) {
	if s.Belongs == nil {
		return on, nil
	}
	return s.Belongs(ctx, on)
}

// Covers reports whether the caller's scopes and the place that it is limited to let it try the action on the resource. It says nothing of rights.
func (c Caller) Covers(do Action, on Resource) bool {
	_, ok := c.scopeFor(do, on)
	return ok && (c.Limit.Kind == "" || on.inside(c.Limit))
}

// opens reports whether bindings with the role are grants.
func (r Role) opens() bool { return r == DeviceConnect || r == CredentialConnect }

// Opens reports whether the binding is a grant.
func (b Binding) Opens() bool { return b.Role.opens() }

// lists reports whether the role is one by which authorisations list things.
func (r Role) lists() bool {
	return slices.Contains([]Role{DeviceListed, CredentialListed, UserListed, GroupListed}, r)
}

// suits returns why a kind of subject cannot have the role, or nil.
func (r Role) suits(kind PrincipalKind) error {
	switch {
	case r.lists() != (kind == Authorization):
		return fault.Newf(fault.Invalid, "role %q is not for subjects of kind %s", r, kind)
	case r.opens() && kind != User && kind != Group:
		return fault.New(fault.Invalid, "grants are given to users and groups")
	}
	return nil
}

// String is the terms in short, for the audit log.
func (t Terms) String() string {
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Sprint("terms that cannot be written: ", err) // no Terms are
	}
	return string(text)
}
