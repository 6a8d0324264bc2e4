package remote

import (
	"context"
	"strconv"

	"github.com/google/uuid"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Find returns a session that the caller may see, by id, number or code. It reports ErrUnknown for all others. An authorization sees those whose device
// and credential are on its lists.
func (s *Service) Find(ctx context.Context, by access.Caller, ref string) (Session, error) {
	x, err := s.named(ctx, ref)
	if err != nil {
		return Session{}, err
	}
	return s.visible(ctx, by, x)
}

// codeLength and handleLength are how many hexadecimal characters they have.
const (
	codeLength   = 40
	handleLength = 64
)

func (s *Service) named(ctx context.Context, ref string) (Session, error) {
	if uuid.Validate(ref) == nil {
		return s.Store.ByID(ctx, ref)
	}
	if len(ref) == codeLength {
		return s.Store.ByCode(ctx, ref)
	}
	if number, err := strconv.ParseInt(ref, 10, 64); err == nil && number > 0 {
		return s.Store.ByNumber(ctx, number)
	}
	return Session{}, ErrUnknown
}

// visible hides a session from who may not see it.
func (s *Service) visible(ctx context.Context, by access.Caller, x Session) (Session, error) {
	d, err := s.Access.Decide(ctx, by, access.RemoteRead, x.Resource())
	if err == nil && d.Allowed && by.Kind == access.Authorization {
		d, err = s.Access.Decide(ctx, by, access.DeviceRead, access.Device(x.Target))
	}
	if err == nil && !d.Allowed {
		err = ErrUnknown
	}
	if err != nil {
		return Session{}, err
	}
	return x, nil
}

// List returns the sessions that started and that the caller may see, newest first. Which.Seen is filled in here.
func (s *Service) List(ctx context.Context, by access.Caller, which Which, w page.Window) (page.Page[Session], error) {
	var err error
	if which.Seen, err = s.seen(ctx, by, access.RemoteRead); err != nil {
		return page.Page[Session]{}, err
	}
	return s.Store.List(ctx, which, w)
}

// seen tells of which sessions a caller may do the action.
func (s *Service) seen(ctx context.Context, by access.Caller, do access.Action) (seen Seen, err error) {
	onDevice := do
	if by.Kind == access.Authorization {
		onDevice, seen.Both = access.DeviceRead, true
	}
	if seen.AllDevices, seen.Devices, err = s.Access.Reach(ctx, by, onDevice, access.DeviceKind); err != nil {
		return Seen{}, err
	}
	if seen.AllCredentials, seen.Credentials, err = s.Access.Reach(ctx, by, do, access.CredentialKind); err != nil {
		return Seen{}, err
	}
	if do == access.RemoteRead && by.Kind == access.User && by.Covers(do, access.Resource{Kind: access.RemoteKind, Parents: []access.Resource{{Kind: access.UserKind, ID: by.ID}}}) {
		seen.Own = by.ID
	}
	return seen, nil
}

// byHandle finds the session that a caller made, by the handle that it was given.
func (s *Service) byHandle(ctx context.Context, by access.Caller, handle string) (Session, error) {
	x, err := s.Store.ByHandle(ctx, secret.Digest(handle))
	if err == nil && x.Origin != (access.Subject{Kind: by.Kind, ID: by.ID}) {
		err = ErrUnknown
	}
	if err != nil {
		return Session{}, err
	}
	return x, nil
}
