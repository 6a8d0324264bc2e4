package native

import (
	"context"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
)

// wireAccount is an account.
type wireAccount struct {
	ID            string    `json:"id" format:"uuid"`
	Name          string    `json:"name"`
	Role          string    `json:"role,omitempty" enum:"auditor,member,administrator" doc:"What you are in it; in the list of your own alone."`
	Disabled      bool      `json:"disabled" doc:"Nobody of it signs in."`
	RequireFactor string    `json:"require_factor" enum:"nobody,administrators,all" doc:"Of whom a second factor is demanded."`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

func accountOf(a identity.Account) wireAccount {
	return wireAccount{ID: a.ID, Name: a.Name, Disabled: a.Disabled, RequireFactor: demandWords[a.RequireFactor], CreatedAt: a.Created.UTC(), UpdatedAt: a.Updated.UTC()}
}

var demandWords = map[identity.RequireFactor]string{identity.NobodyMust: "nobody", identity.AdministratorsMust: "administrators", identity.EverybodyMust: "all"}

var roleWords = map[identity.AccountRole]string{identity.Auditor: "auditor", identity.Ordinary: "member", identity.Administrator: "administrator"}

// meant finds what a word of the wire stands for.
func meant[K comparable](words map[K]string, word string) K {
	for k, w := range words {
		if w == word {
			return k
		}
	}
	var zero K
	return zero
}

func (a *API) listAccounts(ctx context.Context, by access.Caller, _ none) (wirePage[wireAccount], error) {
	all, err := a.Accounts.Mine(ctx, a.Access.For(by))
	return whole(all, func(j identity.Joined) wireAccount {
		w := accountOf(j.Account)
		w.Role = roleWords[j.Member.Role]
		return w
	}), err
}

type createAccount struct {
	Body wireAccountDraft
}

type wireAccountDraft struct {
	Name string `json:"name" maxLength:"4096" example:"Shop"`
}

func (a *API) createAccount(ctx context.Context, by access.Caller, in createAccount) (wireAccount, error) {
	made, err := a.Accounts.Create(ctx, a.Access.For(by), in.Body.Name)
	return accountOf(made), err
}

type oneAccount struct {
	Account string `path:"account" doc:"Its id."`
}

func (a *API) showAccount(ctx context.Context, by access.Caller, in oneAccount) (wireAccount, error) {
	found, err := a.Accounts.ByID(ctx, a.Access.For(by), in.Account)
	return accountOf(found), err
}

type changeAccount struct {
	Account string `path:"account" doc:"Its id."`
	Body    wireAccountChange
}

type wireAccountChange struct {
	RequireFactor *string `json:"require_factor,omitempty" enum:"nobody,administrators,all" doc:"Of whom a second factor is demanded, from their next sign-in on."`
	Disabled      *bool   `json:"disabled,omitempty" doc:"Shut everybody of it out and end their sessions."`
}

func (a *API) changeAccount(ctx context.Context, by access.Caller, in changeAccount) (wireAccount, error) {
	as := a.Access.For(by)
	if _, err := a.Accounts.ByID(ctx, as, in.Account); err != nil {
		return wireAccount{}, err
	}
	if of := in.Body.RequireFactor; of != nil {
		if err := a.Accounts.SetRequireFactor(ctx, as, in.Account, meant(demandWords, *of)); err != nil {
			return wireAccount{}, err
		}
	}
	if in.Body.Disabled != nil {
		if err := a.Accounts.SetDisabled(ctx, as, in.Account, *in.Body.Disabled); err != nil {
			return wireAccount{}, err
		}
	}
	return a.showAccount(ctx, by, oneAccount{in.Account})
}

// wireMember is a user in an account.
type wireMember struct {
	User     string    `json:"user_id" format:"uuid"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	Role     string    `json:"role" enum:"auditor,member,administrator"`
	Disabled bool      `json:"disabled" doc:"The user cannot sign in."`
	Since    time.Time `json:"since"`
}

func memberOf(p identity.Person) wireMember {
	return wireMember{User: p.User.ID, Name: p.User.Name, Email: p.User.Email, Role: roleWords[p.Member.Role], Disabled: p.User.Shut(), Since: p.Member.Since.UTC()}
}

type listMembers struct {
	Account string `path:"account" doc:"Its id."`
	window
}

func (a *API) listMembers(ctx context.Context, by access.Caller, in listMembers) (wirePage[wireMember], error) {
	w, err := in.page()
	if err != nil {
		return wirePage[wireMember]{}, err
	}
	p, err := a.Accounts.Members(ctx, a.Access.For(by), in.Account, w)
	return pageOf(p, memberOf), err
}

type setMember struct {
	oneMember
	Body wireMemberDraft
}

type oneMember struct {
	Account string `path:"account" doc:"Id of the account."`
	User    string `path:"user" doc:"Id of the user."`
}

type wireMemberDraft struct {
	Role string `json:"role" enum:"auditor,member,administrator"`
}

func (a *API) setMember(ctx context.Context, by access.Caller, in setMember) (wireMember, error) {
	as := a.Access.For(by)
	if err := a.Accounts.SetMember(ctx, as, in.Account, in.User, meant(roleWords, in.Body.Role)); err != nil {
		return wireMember{}, err
	}
	p, err := a.Accounts.Person(ctx, as, in.Account, in.User)
	return memberOf(p), err
}

func (a *API) removeMember(ctx context.Context, by access.Caller, in oneMember) (none, error) {
	return none{}, a.Accounts.RemoveMember(ctx, a.Access.For(by), in.Account, in.User)
}
