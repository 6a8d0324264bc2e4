package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// AuthorizationToken is a kind of credential: Secret is a token that IssueToken gave, and Referrer the page that led to the call.
const AuthorizationToken Kind = "authorization_token"

// What is recorded of authorizations that are refused.
const (
	actionClientFailed access.Action = "a2a.auth_failed"
	actionClientDenied access.Action = "a2a.denied"
)

// Issued is a token that was issued just now.
type Issued struct {
	Token         secret.String
	Life          time.Duration
	Authorization identity.Authorization
}

// ProveClient returns the authorization of the client named in p.Name, who shows its secret. It reports identity.ErrBadClient, identity.ErrElsewhere, and a
// *Blocked where that client has failed ten times in a minute from that address, whatever is presented then. The authorization comes along with refusals
// too where it is known.
func (s *Service) ProveClient(ctx context.Context, p Presented) (identity.Authorization, error) {
	kind := fmt.Sprintf("client %x", secret.Digest(p.Name)) // a stranger's text, of any length
	if held := s.ClientFailures.Held(kind, p.Address); held.Blocked {
		return identity.Authorization{}, &Blocked{RetryAfter: held.RetryAfter, cause: identity.ErrBadClient}
	}
	a, err := s.Authorizations.Prove(ctx, p.Name, p.Secret)
	switch {
	case errors.Is(err, identity.ErrBadClient):
		if _, err := s.ClientFailures.Fail(ctx, kind, p.Address); err != nil {
			return a, fmt.Errorf("guard login: %w", err)
		}
		return a, s.refuseClient(ctx, p, a, actionClientFailed, err)
	case err == nil && !a.From(p.Address, p.Referrer):
		return a, s.refuseClient(ctx, p, a, actionClientDenied, identity.ErrElsewhere)
	}
	return a, err
}

// IssueToken is ProveClient, and gives the client a token. It reports identity.ErrTooManyTokens too.
func (s *Service) IssueToken(ctx context.Context, p Presented) (Issued, error) {
	a, err := s.ProveClient(ctx, p)
	if err != nil {
		return Issued{Authorization: a}, err
	}
	plain, life, err := s.Authorizations.Issue(ctx, a, p.Address, p.Door)
	return Issued{Token: plain, Life: life, Authorization: a}, err
}

// ByAuthorization returns the Caller that a token stands for, and its authorization, which comes along with refusals too where it is known. It reports
// identity.ErrBadClient for whatever opens nothing, a *Blocked once the address has failed too often, and identity.ErrElsewhere.
func (s *Service) ByAuthorization(ctx context.Context, p Presented) (access.Caller, identity.Authorization, error) {
	if p.Kind != AuthorizationToken || !slices.Contains(p.Accepts, p.Kind) {
		return access.Caller{}, identity.Authorization{}, s.refuseUnknown(ctx, p, identity.Authorization{})
	}
	a, err := s.Authorizations.Check(ctx, p.Secret)
	switch {
	case errors.Is(err, identity.ErrBadClient):
		return access.Caller{}, a, s.refuseUnknown(ctx, p, a)
	case err != nil:
		return access.Caller{}, a, err
	case !a.From(p.Address, p.Referrer):
		return access.Caller{}, a, s.refuseClient(ctx, p, a, actionClientDenied, identity.ErrElsewhere)
	}
	return s.callerOf(p, a), a, nil
}

// DenyAuthorization records that a call of an authorization was refused for what it lacks, and returns why.
func (s *Service) DenyAuthorization(ctx context.Context, by access.Caller, why error) error {
	e := by.Event(s.Now(), actionClientDenied, access.Resource{Kind: access.AuthorizationKind, ID: by.ID}, audit.Refused)
	e.Reason = why.Error()
	if err := s.Audit.Refuse(ctx, e); err != nil {
		return errors.Join(why, fmt.Errorf("record refusal: %w", err))
	}
	return why
}

// refuseUnknown is for tokens: whoever tries many from one address is told to wait.
func (s *Service) refuseUnknown(ctx context.Context, p Presented, a identity.Authorization) error {
	verdict, err := s.Failures.Fail(ctx, string(AuthorizationToken), p.Address)
	if err != nil {
		return fmt.Errorf("guard login: %w", err)
	}
	refused := s.refuseClient(ctx, p, a, actionClientFailed, identity.ErrBadClient)
	if verdict.Blocked {
		return &Blocked{RetryAfter: verdict.RetryAfter, cause: refused}
	}
	return refused
}

// refuseClient records a refusal, folded with others like it, and returns why.
func (s *Service) refuseClient(ctx context.Context, p Presented, a identity.Authorization, what access.Action, why error) error {
	e := access.NobodyAt(p.Address, p.Door, s.Now()).Event(s.Now(), what, access.Resource{Kind: access.AuthorizationKind, ID: a.ID}, audit.Refused)
	e.Reason = why.Error()
	if a.ID != "" {
		e.Object.Name = a.Title()
	}
	if err := s.Audit.Refuse(ctx, e); err != nil {
		return errors.Join(why, fmt.Errorf("record refusal: %w", err))
	}
	return why
}

func (s *Service) callerOf(p Presented, a identity.Authorization) access.Caller {
	return access.Caller{
		Principal: access.Principal{Kind: access.Authorization, ID: a.ID, Name: a.Title()},
		Method:    string(AuthorizationToken), At: s.Now(), Scopes: scopesOf(a), Address: p.Address, Door: p.Door, Request: p.Request,
	}
}

// What the resources of an authorization are as scopes: to read, and to write besides.
var authorizationScopes = map[string]struct{ reads, writes []access.Action }{
	identity.PAMCore: {
		reads: []access.Action{access.DeviceRead, access.CredentialRead, access.CredentialCheckOut, access.RemoteRead},
		writes: []access.Action{
			access.DeviceCreate, access.DeviceUpdate, access.CredentialCreate, access.CredentialUpdate, access.CredentialCheckIn, access.RemoteEnd,
		},
	},
	identity.WebProxySession: {
		writes: []access.Action{access.RemoteLaunch, access.RemoteFor, access.DeviceRead, access.CredentialRead}, // a link is made for what it can find
	},
}

// scopesOf is all that an authorization can do, where its lists let it.
func scopesOf(a identity.Authorization) []access.Action {
	var all []access.Action
	for _, resource := range a.Resources {
		all = append(all, authorizationScopes[resource].reads...)
		if a.Writes {
			all = append(all, authorizationScopes[resource].writes...)
		}
	}
	return all
}
