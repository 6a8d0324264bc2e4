package access

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// known are all actions there are.
var known = []Action{
	KeyproofCreate, KeyproofRead, KeyproofUpdate, KeyproofComplete, KeyproofDelete, KeyproofWebhook, KeyproofAttempt, KeyproofExpire,
	AuthInfo, TokenIssue, TokenRead, TokenUpdate, TokenRevoke,
	ProjectCreate, ProjectRead, ProjectUpdate, ProjectDelete,
	RepoCreate, RepoRead, RepoWrite, RepoUpdate, RepoDelete,
	UserCreate, UserRead, UserUpdate, UserDelete, UserPassword, UserRename,
	AccessGrant, AccessRevoke, AccessExplain,
	DeliveryRead, DeliveryResend,
	SSHKeyRead, SSHKeyAdd, SSHKeyRemove, SSHKeyGrant, SSHKeyProve, SSHKeyDisable, SSHKeyExpire,
	SessionStart, SessionRead, SessionKeep, SessionEnd, SessionExpire,
	AccountCreate, AccountRead, AccountUpdate, AccountMembers,
	GroupCreate, GroupRead, GroupDelete, GroupMembers,
	ApplicationCreate, ApplicationRead, ApplicationUpdate, ApplicationDelete, ApplicationReset, ApplicationCredential,
	GuardUnlock,
	FactorRead, FactorEnrol, FactorRemove, FactorCodes, FactorReset, FactorImport,
	ProviderCreate, ProviderRead, ProviderUpdate, ProviderDelete, ProviderTest, ProviderLink, ProviderUnlink,
	SSORead, SSOUpdate, BasicAuthRead, BasicAuthUpdate,
	DeviceCreate, DeviceRead, DeviceUpdate, DeviceTrust, DeviceHostKey,
	CredentialCreate, CredentialRead, CredentialUpdate, CredentialCheckOut, CredentialCheckIn, CredentialExpire, CredentialLend,
	RemoteOpen, RemoteLaunch, RemoteFor, RemoteApprove, RemoteRead, RemoteEnd, RemoteWatch,
	RecordingRead, RecordingHold, RecordingDelete,
	AuthorizationCreate, AuthorizationRead, AuthorizationUpdate,
	SubscriptionCreate, SubscriptionRead, SubscriptionDelete, SubscriptionTest, EventRead,
	Public,
}

// Actions lists all actions there are.
func Actions() []Action { return slices.Clone(known) }

// kinds are what can be acted on.
var kinds = []string{InstallationKind, AccountKind, UserKind, GroupKind, ApplicationKind, SessionKind, ProjectKind, RepoKind, "provider", "delivery", DeviceKind, CredentialKind, RemoteKind, AuthorizationKind}

// Explain answers whether a subject may do the action on the resource, and why: what Decide says of a caller who has signed in as them, and whether
// anybody can. Everybody may ask about themselves, and is answered for the very session that asks; others need a right. An action or a kind of resource that does not exist is an
// Invalid fault that lists those that do.
func (s *Service) Explain(ctx context.Context, by Caller, of Subject, do Action, on Resource) (Decision, error) {
	if err := s.Require(ctx, by, AccessExplain, Resource{Kind: string(of.Kind), ID: of.ID}); err != nil {
		return Decision{}, err
	}
	if err := checkQuestion(do, on); err != nil {
		return Decision{}, err
	}
	if do == Public {
		return Decision{true, []string{"it needs no right"}}, nil
	}
	who, shut := Caller{Principal: Principal{Kind: of.Kind, ID: of.ID}, Scopes: []Action{"*"}}, ""
	if by.Kind == of.Kind && by.ID == of.ID {
		who = by
	}
	if s.Standing != nil {
		name, why, err := s.Standing(ctx, of)
		if err != nil {
			return Decision{}, err
		}
		who.Name, shut = name, why
	}
	if s.Belongs != nil {
		var err error
		if on, err = s.Belongs(ctx, on); err != nil {
			return Decision{}, err
		}
		if of.Kind == Application && who.Account == "" {
			who.Account = s.accountOf(ctx, of)
		}
	}
	d, err := s.Decide(ctx, who, do, on)
	if err != nil || shut == "" {
		return d, err
	}
	return refuse(append([]string{shut}, d.Why...)...), nil
}

// accountOf finds the account of an application; one that is gone has none.
func (s *Service) accountOf(ctx context.Context, of Subject) string {
	on, err := s.Belongs(ctx, Resource{Kind: string(of.Kind), ID: of.ID})
	if err != nil || len(on.Parents) == 0 {
		return ""
	}
	return on.Parents[0].ID
}

func checkQuestion(do Action, on Resource) error {
	if !slices.Contains(known, do) {
		names := make([]string, len(known))
		for i, a := range known {
			names[i] = string(a)
		}
		slices.Sort(names)
		return fault.Fields("there is no such action; the actions are "+strings.Join(names, ", "), fault.Field{Path: "action", Message: "an action that exists"})
	}
	if !slices.Contains(kinds, on.Kind) {
		return fault.Fields("there is no such kind of resource; the kinds are "+strings.Join(kinds, ", "), fault.Field{Path: "resource_kind", Message: "a kind that exists"})
	}
	return nil
}
