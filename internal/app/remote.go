package app

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/guard"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/secret"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// buildRemote makes the service of remote sessions. What dials and what records is added by who serves: a command changes and lists sessions alone.
func (h *House) buildRemote() {
	c, sessions := h.Config.Remote, store.Remotes{DB: h.DB}
	h.Remote = &remote.Service{
		Store: sessions, Access: h.Access, Audit: h.Audit, Users: remoteUsers{h, sessions}, Devices: h.Devices, Vault: h.Vault,
		Prove: func(ctx context.Context, by access.Caller, answer remote.Answer) error {
			return h.Login.StepUp(ctx, by, secret.New(answer.Code))
		},
		HasFactor: h.Login.CanStepUp,
		Stands: func(ctx context.Context, authorization string) (bool, error) {
			a, err := h.Authorizations.ForRemote(ctx, authorization)
			if fault.Is(err, fault.NotFound) {
				return false, nil
			}
			return a.Opens(h.Now()), err
		},
		Refusals: &guard.Failures{Store: store.Guards{DB: h.DB}, Now: h.Now, Threshold: 10, Window: time.Minute},
		Settings: remote.Settings{
			LinkLife: c.LinkLife, Grace: c.Grace, Wait: c.Wait, Idle: c.Idle, Absolute: c.Absolute, Notices: c.Notices, Reattach: c.Reattach,
			AddressScope: c.AddressScope, PinAlways: c.PinAlways, RequireCredential: c.RequireCredential, FinishedKept: c.FinishedKept, PerUser: c.PerUser,
			Beat: c.Beat, LostAfter: c.LostAfter, Look: c.Look, Sweep: c.Sweep, DialTimeout: c.DialTimeout,
			Channels: c.Channels, IdleNotice: c.IdleNotice, Frame: c.Frame, WatchLife: c.WatchLife,
		},
		Node: h.Node, Now: h.Now, NewID: newID, OnError: h.failed,
	}
}

// remoteUsers finds people for remote sessions.
type remoteUsers struct {
	house    *House
	sessions store.Remotes
}

// ForRemote implements remote.Users. Ids are looked for first: no login name looks like one.
func (u remoteUsers) ForRemote(ctx context.Context, nameOrID string) (remote.Person, error) {
	user, err := u.house.Users.Store.ByID(ctx, nameOrID)
	if fault.Is(err, fault.NotFound) {
		user, err = u.house.Users.ByName(ctx, u.house.Access.For(access.SystemCaller(u.house.Now())), nameOrID)
	}
	if fault.Is(err, fault.NotFound) {
		return remote.Person{}, remote.ErrNoUser
	}
	if err != nil {
		return remote.Person{}, err
	}
	groups, err := u.sessions.GroupsOf(ctx, user.ID)
	return remote.Person{User: user, Shut: user.Shut(), Groups: groups}, err
}
