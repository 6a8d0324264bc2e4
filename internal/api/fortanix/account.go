package fortanix

import (
	"net/http"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/session"
)

// neighbours are the operations that a caller needs right after it has signed in: what there is in its
// account, and how that is made.
func (d *Dialect) neighbours() []api.Route {
	h, scoped := d.handle, func(h api.Handler) http.Handler { return d.handle(inAccount(h)) }
	return []api.Route{
		{Method: "GET", Pattern: "/sys/v1/accounts", Action: access.AccountRead, Handler: h(d.listAccounts)},
		{Method: "POST", Pattern: "/sys/v1/accounts", Action: access.AccountCreate, Handler: h(usersOnly(d.createAccount))},
		{Method: "GET", Pattern: "/sys/v1/accounts/{account}", Action: access.AccountRead, Handler: h(d.showAccount)},

		{Method: "GET", Pattern: "/sys/v1/users", Action: access.UserRead, Handler: scoped(usersOnly(d.listUsers))},
		{Method: "POST", Pattern: "/sys/v1/users", Action: access.UserCreate, Handler: d.handleStranger(d.addingPeople(d.createUser))},
		{Method: "GET", Pattern: "/sys/v1/users/accounts", Action: access.AccountRead, Handler: h(usersOnly(d.listMemberships))},
		{Method: "POST", Pattern: "/sys/v1/users/change_password", Action: access.UserPassword, Handler: h(usersOnly(d.changePassword))},
		{Method: "GET", Pattern: "/sys/v1/users/{user}", Action: access.UserRead, Handler: h(d.showUser, session.Active, session.EnrolOnly)},
		{Method: "PATCH", Pattern: "/sys/v1/users/{user}", Action: access.UserRename, Handler: h(usersOnly(d.patchUser), session.Active, session.EnrolOnly)},
		{Method: "POST", Pattern: "/sys/v1/users/generate_recovery_codes", Action: access.FactorCodes, Handler: h(usersOnly(d.recoveryCodes), session.Active, session.EnrolOnly)},
		{Method: "POST", Pattern: "/sys/v1/users/generate_recovery_code", Action: access.FactorCodes, Handler: h(usersOnly(d.recoveryCodes), session.Active, session.EnrolOnly)},

		{Method: "GET", Pattern: "/sys/v1/groups", Action: access.GroupRead, Handler: scoped(d.listGroups)},
		{Method: "POST", Pattern: "/sys/v1/groups", Action: access.GroupCreate, Handler: scoped(usersOnly(d.createGroup))},

		{Method: "GET", Pattern: "/sys/v1/apps", Action: access.ApplicationRead, Handler: scoped(d.listApps)},
		{Method: "POST", Pattern: "/sys/v1/apps", Action: access.ApplicationCreate, Handler: scoped(usersOnly(d.createApp))},
		{Method: "GET", Pattern: "/sys/v1/apps/{app}", Action: access.ApplicationRead, Handler: scoped(d.showApp)},
		{Method: "DELETE", Pattern: "/sys/v1/apps/{app}", Action: access.ApplicationDelete, Handler: scoped(usersOnly(d.deleteApp))},
		{Method: "GET", Pattern: "/sys/v1/apps/{app}/credential", Action: access.ApplicationCredential, Handler: scoped(usersOnly(d.showCredential))},
		{Method: "POST", Pattern: "/sys/v1/apps/{app}/reset_secret", Action: access.ApplicationReset, Handler: scoped(usersOnly(d.resetSecret))},
	}
}

// usersOnly is for what no program may do, whatever its roles.
func usersOnly(h api.Handler) api.Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if by.Kind != access.User {
			return errForbidden
		}
		return h(w, r, by)
	}
}

// inAccount narrows the caller to the account that it works in: nothing outside is there for it, even
// where it belongs to other accounts too.
func inAccount(h api.Handler) api.Handler {
	return func(w http.ResponseWriter, r *http.Request, by access.Caller) error {
		if by.Account == "" {
			return errNoAccount
		}
		by.Limit = access.Account(by.Account)
		return h(w, r, by)
	}
}

func (d *Dialect) listAccounts(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	all, err := d.Accounts.Mine(r.Context(), d.Access.For(by))
	if err != nil {
		return err
	}
	return reply(w, list(all, func(j identity.Joined) wireAccount { return accountOf(j.Account) }))
}

func (d *Dialect) createAccount(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	name, err := named(r)
	if err != nil {
		return err
	}
	a, err := d.Accounts.Create(r.Context(), d.Access.For(by), name)
	if err != nil {
		return err
	}
	return reply(w, accountOf(a))
}

func (d *Dialect) showAccount(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	a, err := d.Accounts.ByID(r.Context(), d.Access.For(by), pathID(r, "account"))
	if err != nil {
		return err
	}
	return reply(w, accountOf(a))
}

// listMemberships answers with what the caller is in each of its accounts.
func (d *Dialect) listMemberships(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	all, err := d.Accounts.Mine(r.Context(), d.Access.For(by))
	if err != nil {
		return err
	}
	roles := make(map[string][]string, len(all))
	for _, j := range all {
		roles[j.Account.ID] = rolesOf(j.Member, j.Account.Disabled)
	}
	return reply(w, roles)
}

// named reads the body that an account or a group is made from.
func named(r *http.Request) (string, error) {
	body, err := read(r)
	if err != nil {
		return "", err
	}
	name := body.name("name")
	return name, body.wrong()
}

// pathID is the id in the path, in the one form that is kept. What is no id is nothing's id.
func pathID(r *http.Request, name string) string {
	id, _ := wireUUID(r.PathValue(name))
	return id
}

// list turns each into its form on the wire; none are an empty list, never null.
func list[From, To any](all []From, as func(From) To) []To {
	out := make([]To, len(all))
	for i := range all {
		out[i] = as(all[i])
	}
	return out
}

// wireAccount is an account. The purpose and the subscription are objects with one member that tells which; Gatehouse
// knows one of each.
type wireAccount struct {
	ID              string            `json:"acct_id"`
	Name            string            `json:"name"`
	Enabled         bool              `json:"enabled"`
	LoggingConfigs  struct{}          `json:"logging_configs"`
	MarkKeyDisable  bool              `json:"mark_key_disable_when_deactivated"`
	Purpose         wirePurpose       `json:"purpose"`
	OriginalPurpose wirePurpose       `json:"original_purpose"`
	Subscription    wireSubscription  `json:"subscription"`
	AuthConfig      wireAccountSignIn `json:"auth_config"`
}

type wirePurpose struct {
	Type string `json:"$type"`
}

type wireSubscription struct {
	OnPrem struct{} `json:"on_prem"`
}

// wireAccountSignIn says how the members of an account sign in.
type wireAccountSignIn struct {
	Password struct {
		Require2FA         bool `json:"require_2fa"`
		AdministratorsOnly bool `json:"administrators_only"`
	} `json:"password"`
}

func accountOf(a identity.Account) wireAccount {
	standard := wirePurpose{Type: "Standard"}
	w := wireAccount{ID: a.ID, Name: a.Name, Enabled: !a.Disabled, Purpose: standard, OriginalPurpose: standard}
	w.AuthConfig.Password.Require2FA = a.RequireFactor != identity.NobodyMust
	w.AuthConfig.Password.AdministratorsOnly = a.RequireFactor == identity.AdministratorsMust
	return w
}
